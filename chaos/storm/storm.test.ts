import { expect, test } from 'vitest';
import type { Judgement, RunRecord } from '../run-record.ts';
import { readScheduleFile, type ScheduleFile } from '../schedule.ts';
import { drawRound } from './draw-round.ts';
import { type Outcome, type StormOptions, storm } from './storm.ts';

const MINUTE_MS = 60_000;
const judged = (judge: string, verdict: Judgement['verdict']): Judgement => ({
  judge,
  verdict,
  checked: 5,
  violations:
    verdict === 'broken' ? [{ promise: 'P', says: `${judge} is broken`, operations: [1] }] : [],
});

/** A run in which all faults but the last one were done. */
function recordOf(file: ScheduleFile, verdict: RunRecord['verdict'], judges: Judgement[]) {
  const faults = file.schedule.map(({ fault }, at) => ({
    says: fault.kind,
    kind: fault.kind,
    regions: [],
    fromMs: 0,
    ...(at < file.schedule.length - 1 && { evidence: 'it was' }),
  }));
  const operations = Array.from({ length: 10 });
  return {
    faults,
    verdict,
    judgements: judges,
    bit: { bit: true, evidence: [] },
    history: { operations },
  } as unknown as RunRecord;
}

function stormy(play: (file: ScheduleFile, name: string) => Outcome, minutes: number) {
  let nowMs = 0;
  const files = new Map<string, string>();
  const lines: string[] = [];
  const options: StormOptions = {
    seed: 7,
    minutes,
    regions: ['us', 'eu', 'asia'],
    wan: false,
    shrinking: { minutes: 60, ofTries: { tries: 1, atLeast: 1 } },
    play: async (file, { name }) => {
      nowMs += MINUTE_MS;
      return play(file, name);
    },
    keep: (name, text) => {
      files.set(name, text);
      return `kept/${name}`;
    },
    keepRecord: () => {},
    now: () => nowMs,
    say: (line) => lines.push(line),
    signal: new AbortController().signal,
  };
  return { options, files, lines };
}

const good = (file: ScheduleFile): Outcome => ({
  kind: 'played',
  record: recordOf(file, 'holds', [judged('acknowledged', 'holds')]),
});

test('rounds follow each other until the minutes are over, each with its file', async () => {
  const { options, files } = stormy(good, 3);
  const result = await storm(options);
  const plans = [1, 2, 3].map((round) => drawRound({ ...options, round }));
  expect(result).toMatchObject({
    verdict: 'holds',
    bit: true,
    rounds: 3,
    minutes: 3,
    operations: 30,
    verdicts: { holds: 3, broken: 0, inconclusive: 0, void: 0 },
    notDone: 3,
    violations: [],
    shrunk: [],
  });
  const done = Object.values(result.faults).reduce((sum, count) => sum + count, 0);
  expect(done).toBe(plans.reduce((sum, { schedule }) => sum + schedule.length - 1, 0));
  expect([...files.keys()]).toEqual(['round-1.json', 'round-2.json', 'round-3.json']);
  expect(readScheduleFile(files.get('round-2.json') ?? '')).toEqual(plans[1]);
});

test('a round that proves nothing is void and not green', async () => {
  const { options } = stormy((file) => ({ kind: 'played', record: recordOf(file, 'void', []) }), 2);
  expect(await storm(options)).toMatchObject({ verdict: 'void', bit: false, rounds: 2 });
});

test('a world that cannot be made three times in a row ends the storm', async () => {
  const { options, lines } = stormy(() => ({ kind: 'not-played', why: 'no such luck' }), 30);
  expect(await storm(options)).toMatchObject({ verdict: 'void', bit: false, rounds: 3 });
  expect(lines.join('\n')).toContain('no such luck');
});

test('one inconclusive round is told, and a broken one outweighs it', async () => {
  const verdicts = ['holds', 'inconclusive', 'broken'] as const;
  const ends = (rounds: number) => {
    let round = 0;
    const play = (file: ScheduleFile): Outcome => {
      const verdict = verdicts[round++] ?? 'holds';
      const judges = verdict === 'broken' ? [judged('stock', verdict)] : [];
      return { kind: 'played', record: recordOf(file, verdict, judges) };
    };
    return storm(stormy(play, rounds).options);
  };
  expect((await ends(2)).verdict).toBe('inconclusive');
  expect((await ends(3)).verdict).toBe('broken');
});

test('a broken round is shrunk to what breaks the same promise, and printed as a command', async () => {
  const [, second] = [1, 2].map((round) =>
    drawRound({ seed: 7, round, regions: ['us', 'eu', 'asia'], wan: false }),
  );
  const culprit = second?.schedule[1];
  const play = (file: ScheduleFile, name: string): Outcome => {
    const isIn = file.schedule.some(
      ({ fault }) => JSON.stringify(fault) === JSON.stringify(culprit?.fault),
    );
    const isSecond = name.includes('round-2');
    if (!isSecond) return good(file);
    // Other parts break something else, which is not what is looked for.
    const judge = isIn ? 'stock' : 'liveness';
    return { kind: 'played', record: recordOf(file, 'broken', [judged(judge, 'broken')]) };
  };
  const { options, files } = stormy(play, 2);
  const { verdict, violations, shrunk } = await storm(options);
  expect(verdict).toBe('broken');
  expect(violations).toEqual([
    {
      round: 2,
      judge: 'stock',
      promise: 'P',
      says: 'stock is broken',
      schedule: 'kept/round-2.json',
    },
  ]);
  expect(shrunk).toMatchObject([
    {
      round: 2,
      judges: ['stock'],
      faults: 1,
      minimal: true,
      command: `npm run chaos -- replay kept/round-2-shrunk.json --seed ${second?.seed}`,
    },
  ]);
  const file = readScheduleFile(files.get('round-2-shrunk.json') ?? '');
  if ('complaint' in file) throw new Error(file.complaint);
  expect(file.schedule.map(({ fault }) => fault)).toEqual([culprit?.fault]);
});

test('rounds that break the same promises are shrunk once', async () => {
  const play = (file: ScheduleFile): Outcome => ({
    kind: 'played',
    record: recordOf(file, 'broken', [judged('stock', 'broken')]),
  });
  const { violations, shrunk } = await storm(stormy(play, 3).options);
  expect(violations).toHaveLength(3);
  expect(shrunk).toHaveLength(1);
});
