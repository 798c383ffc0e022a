/** What is kept of announcements, and when it ends. */
import { describe, expect, test } from 'vitest';
import {
  Announcement,
  EXPERIMENTS_MAX,
  Experiments,
  FAULTS_MAX,
  SILENT_MS_MAX,
} from './experiments.ts';

const RUN = { id: 'run-1' };
const started = () => {
  const experiments = new Experiments();
  experiments.announce({ kind: 'start', ...RUN, name: 'lost primary' }, 100);
  return experiments;
};

test('a run is shown with its faults, from when until when', () => {
  const experiments = started();
  experiments.announce({ kind: 'fault', ...RUN, fault: 'f', what: 'killed', where: ['eu-a'] }, 200);
  expect(experiments.views(250)).toEqual([
    {
      id: 'run-1',
      name: 'lost primary',
      startedAtMs: 100,
      endedAtMs: null,
      verdict: null,
      faults: [{ what: 'killed', where: ['eu-a'], fromMs: 200, toMs: null }],
    },
  ]);
  experiments.announce({ kind: 'heal', ...RUN, fault: 'f' }, 300);
  expect(experiments.views(350)[0]?.faults[0]?.toMs).toBe(300);
  experiments.announce({ kind: 'end', ...RUN, verdict: 'holds' }, 400);
  expect(experiments.views(450)[0]).toMatchObject({ endedAtMs: 400, verdict: 'holds' });
});

test('a run that ends ends its faults', () => {
  const experiments = started();
  experiments.announce({ kind: 'fault', ...RUN, fault: 'f', what: 'killed', where: [] }, 200);
  experiments.announce({ kind: 'end', ...RUN }, 400);
  expect(experiments.views(450)[0]?.faults[0]?.toMs).toBe(400);
});

describe('an announcement that fits nothing is refused', () => {
  test('of an unknown run, of one that has ended, of an unknown fault', () => {
    const experiments = started();
    const heal = { kind: 'heal', fault: 'f' } as const;
    expect(experiments.announce({ ...heal, id: 'other' }, 200).kind).toBe('unknown-experiment');
    expect(experiments.announce({ ...heal, ...RUN }, 200).kind).toBe('unknown-fault');
    experiments.announce({ kind: 'end', ...RUN }, 300);
    expect(experiments.announce({ ...heal, ...RUN }, 400).kind).toBe('unknown-experiment');
  });

  test('and so is one of another shape, or too long', () => {
    const bad = [
      { kind: 'start', id: 'x' },
      { kind: 'start', id: 'x', name: 'y', more: 1 },
      { kind: 'start', id: 'x', name: 'y'.repeat(301) },
      { kind: 'pause', id: 'x' },
      { kind: 'fault', id: 'x', fault: 'f', what: 'w', where: Array(33).fill('a') },
    ];
    for (const one of bad) expect(Announcement.safeParse(one).success).toBe(false);
  });
});

describe('what is kept is bounded', () => {
  test('in runs: the eldest goes', () => {
    const experiments = new Experiments();
    for (let n = 0; n <= EXPERIMENTS_MAX; n++) {
      experiments.announce({ kind: 'start', id: `run-${n}`, name: 'n' }, n);
    }
    const ids = experiments.views(0).map(({ id }) => id);
    expect([ids.length, ids[0], ids.at(-1)]).toEqual([EXPERIMENTS_MAX, 'run-16', 'run-1']);
  });

  test('in faults', () => {
    const experiments = started();
    const fault = { kind: 'fault', ...RUN, fault: 'f', what: 'w', where: [] as string[] } as const;
    for (let n = 0; n < FAULTS_MAX; n++) {
      expect(experiments.announce(fault, n).kind).toBe('noted');
    }
    expect(experiments.announce(fault, 1).kind).toBe('too-many-faults');
  });

  test('in time: a run that nobody ends is over when nobody has spoken for so long', () => {
    const experiments = started();
    expect(experiments.views(100 + SILENT_MS_MAX - 1)[0]?.endedAtMs).toBeNull();
    expect(experiments.views(100 + SILENT_MS_MAX)[0]).toMatchObject({
      endedAtMs: 100,
      verdict: 'nobody said how it ended',
    });
  });
});
