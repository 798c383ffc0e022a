/**
 * Does any composition of faults break a promise?
 *
 * Rounds of faults that nobody has thought of, each with its own users, healed and judged before the
 * next one begins: so a violation is found near its cause, and an hour needs no more memory than a
 * minute. Afterwards, what failed is shrunk to what still fails.
 */
import type { FaultKind, Schedule } from '../faults/fault.ts';
import type { Judgement, RunRecord } from '../run-record.ts';
import type { ScheduleFile } from '../schedule.ts';
import { drawRound, endOf } from './draw-round.ts';
import { shrink } from './shrink.ts';

/** What came of one schedule: the record of its run, or why there is none. */
export type Outcome = { kind: 'played'; record: RunRecord } | { kind: 'not-played'; why: string };

export type StormOptions = {
  seed: number;
  minutes: number;
  regions: readonly string[];
  wan: boolean;
  shrinking: { minutes: number; ofTries: { tries: number; atLeast: number } };
  play: (file: ScheduleFile, what: { name: string; command: string }) => Promise<Outcome>;
  /** Keeps a file under this name and answers with its path. */
  keep: (name: string, text: string) => string;
  /** Shown to whoever keeps reports; the record is gone afterwards. */
  keepRecord: (name: string, record: RunRecord) => void;
  /** Monotonic. */
  now: () => number;
  say: (line: string) => void;
  signal: AbortSignal;
};

export type StormViolation = {
  round: number;
  judge: string;
  promise: string;
  says: string;
  /** The file of the schedule that was played. */
  schedule: string;
};

export type ShrunkRound = {
  round: number;
  judges: readonly string[];
  faults: number;
  plays: number;
  minimal: boolean;
  /** What plays the shortest schedule that still failed. */
  command: string;
};

export type StormResult = {
  scenario: 'storm';
  seed: number;
  verdict: RunRecord['verdict'];
  bit: boolean;
  minutes: number;
  rounds: number;
  verdicts: Readonly<Record<RunRecord['verdict'], number>>;
  /** By kind, those that something shows to have been done. */
  faults: Readonly<Partial<Record<FaultKind, number>>>;
  /** Those that met what another one had taken already. */
  notDone: number;
  operations: number;
  violations: readonly StormViolation[];
  shrunk: readonly ShrunkRound[];
};

const MINUTE_MS = 60_000;
/** A world that cannot be made so often will not be made. */
const NOT_PLAYED_MAX = 3;
const VIOLATIONS_TOLD = 3;

type Failed = { round: number; file: ScheduleFile; judges: readonly string[] };

export async function storm(options: StormOptions): Promise<StormResult> {
  const { seed, minutes, regions, wan, play, keep, now, say, signal } = options;
  const beganAtMs = now();
  const verdicts = { holds: 0, broken: 0, inconclusive: 0, void: 0 };
  const faults: Partial<Record<FaultKind, number>> = {};
  const violations: StormViolation[] = [];
  const failed: Failed[] = [];
  let [rounds, operations, notDone, notPlayed] = [0, 0, 0, 0];
  while (!signal.aborted && now() - beganAtMs < minutes * MINUTE_MS && notPlayed < NOT_PLAYED_MAX) {
    const round = ++rounds;
    const file = drawRound({ seed, round, regions, wan });
    const path = keep(`round-${round}.json`, fileText(file));
    const command = `npm run chaos -- replay ${path} --seed ${file.seed}`;
    say(`\nround ${round}: ${file.schedule.length} faults in ${file.seconds} s, ${file.mix}`);
    say(`  ${command}`);
    const outcome = await play(file, { name: `storm-${seed}-round-${round}`, command });
    if (outcome.kind === 'not-played') {
      // Ended by a person: that is no round.
      if (signal.aborted) {
        rounds--;
        break;
      }
      notPlayed++;
      verdicts.void++;
      say(`  void: ${outcome.why}`);
      continue;
    }
    notPlayed = 0;
    const { record } = outcome;
    options.keepRecord(`round-${round}`, record);
    verdicts[record.verdict]++;
    operations += record.history.operations.length;
    for (const { kind, evidence } of record.faults) {
      if (evidence === undefined) notDone++;
      else faults[kind as FaultKind] = (faults[kind as FaultKind] ?? 0) + 1;
    }
    notDone += Math.max(0, file.schedule.length - record.faults.length);
    const broken = record.judgements.filter(({ verdict }) => verdict === 'broken');
    for (const line of roundText(round, record)) say(`  ${line}`);
    if (broken.length === 0) continue;
    violations.push(...violationsOf(broken, round, path));
    failed.push({ round, file, judges: broken.map(({ judge }) => judge).sort() });
  }
  const shrunk = await shrinkAll(failed, options);
  const verdict = verdictOf(verdicts);
  return {
    scenario: 'storm',
    seed,
    verdict,
    bit: verdicts.holds + verdicts.broken + verdicts.inconclusive > 0,
    minutes: Math.round((now() - beganAtMs) / (MINUTE_MS / 10)) / 10,
    rounds,
    verdicts,
    faults,
    notDone,
    operations,
    violations,
    shrunk,
  };
}

/** For a person. */
export function stormText(result: StormResult): string[] {
  const { verdicts, faults, notDone, operations, violations, shrunk } = result;
  const kinds = Object.entries(faults).map(([kind, count]) => `${count} ${kind}`);
  return [
    `${result.rounds} rounds in ${result.minutes} min: ${verdicts.holds} hold, ${verdicts.broken} broken, ${verdicts.inconclusive} inconclusive, ${verdicts.void} void`,
    `faults: ${kinds.join(', ')}; ${notDone} could not be done`,
    `${operations} operations, ${violations.length} violations`,
    ...violations.map(({ round, promise, says }) => `round ${round}: ${promise}: ${says}`),
    ...shrunk.map(({ faults: left, judges, command }) => {
      return `${left} faults break ${judges.join(' and ')}: ${command}`;
    }),
    `verdict: ${result.verdict}`,
  ];
}

/** A round that proves nothing does not make a storm green, and neither does it make it red. */
function verdictOf(verdicts: StormResult['verdicts']): RunRecord['verdict'] {
  if (verdicts.broken > 0) return 'broken';
  if (verdicts.inconclusive > 0) return 'inconclusive';
  return verdicts.holds > 0 ? 'holds' : 'void';
}

function roundText(round: number, record: RunRecord): string[] {
  const { verdict, history, faults, judgements, bit } = record;
  const done = faults.filter(({ evidence }) => evidence !== undefined).length;
  const checked = judgements.reduce((sum, one) => sum + one.checked, 0);
  const found = judgements.flatMap((one) => one.violations);
  const undecided = judgements.flatMap(({ judge, why }) =>
    why === undefined ? [] : [`${judge}: ${why}`],
  );
  return [
    `round ${round}: ${verdict}: ${history.operations.length} operations, looked at ${checked} times by ${judgements.length} judges, ${found.length} violations; ${done} of ${faults.length} faults done`,
    ...(verdict === 'void' ? bit.evidence.map((why) => `void: ${why}`) : []),
    ...(verdict === 'inconclusive' ? undecided : []),
    ...found.slice(0, VIOLATIONS_TOLD).map(({ promise, says }) => `${promise}: ${says}`),
  ];
}

function violationsOf(
  broken: readonly Judgement[],
  round: number,
  schedule: string,
): StormViolation[] {
  return broken.flatMap(({ judge, violations }) =>
    violations
      .slice(0, VIOLATIONS_TOLD)
      .map(({ promise, says }) => ({ round, judge, promise, says, schedule })),
  );
}

/** The first round that broke the same promises stands for all of them. */
async function shrinkAll(failed: readonly Failed[], options: StormOptions): Promise<ShrunkRound[]> {
  const { shrinking, play, keep, now, say, signal } = options;
  const beganAtMs = now();
  const isOver = () => signal.aborted || now() - beganAtMs >= shrinking.minutes * MINUTE_MS;
  const shrunk: ShrunkRound[] = [];
  const seen = new Set<string>();
  for (const { round, file, judges } of failed) {
    const same = judges.join();
    if (seen.has(same) || isOver()) continue;
    seen.add(same);
    say(`\nshrinking round ${round}, which broke ${judges.join(' and ')}`);
    let plays = 0;
    const fails = async (schedule: Schedule): Promise<boolean> => {
      const outcome = await play(shortened(file, schedule), {
        name: `storm-${options.seed}-round-${round}-part-${++plays}`,
        command: 'a part of a schedule that is being shrunk',
      });
      return outcome.kind === 'played' && breaksAnyOf(outcome.record, judges);
    };
    const shortest = await shrink(file.schedule, {
      fails,
      ofTries: shrinking.ofTries,
      isOver,
      report: (line) => say(`  ${line}`),
    });
    const path = keep(`round-${round}-shrunk.json`, fileText(shortened(file, shortest.schedule)));
    const command = `npm run chaos -- replay ${path} --seed ${file.seed}`;
    const { minimal } = shortest;
    say(`  ${shortest.schedule.length} faults are enough: ${command}`);
    shrunk.push({
      round,
      judges,
      faults: shortest.schedule.length,
      plays: shortest.plays,
      minimal,
      command,
    });
  }
  return shrunk;
}

function shortened(file: ScheduleFile, schedule: Schedule): ScheduleFile {
  return { ...file, schedule, seconds: Math.ceil(endOf(schedule) / 1_000) };
}

function breaksAnyOf({ judgements }: RunRecord, judges: readonly string[]): boolean {
  return judgements.some(({ judge, verdict }) => verdict === 'broken' && judges.includes(judge));
}

function fileText(file: ScheduleFile): string {
  return `${JSON.stringify(file, null, 2)}\n`;
}
