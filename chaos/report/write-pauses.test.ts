import { describe, expect, test } from 'vitest';
import type { Operation, Outcome } from '../history.ts';
import type { FaultSpan } from '../run-record.ts';
import { faultTime, phaseOf } from './phase.ts';
import { killRecord } from './record-for-tests.ts';
import { longest, writePauses, writesSomething } from './write-pauses.ts';

const OK: Outcome = { kind: 'ok', shown: { kind: 'nothing' } };
const kill: FaultSpan = { says: 'kill', kind: 'kill', regions: ['eu'], fromMs: 1_000 };
let id = 0;

function write(invokedAtMs: number, endedAtMs: number, change: Partial<Operation> = {}): Operation {
  id += 1;
  const action = { kind: 'register-write', register: 'x', value: id } as const;
  const who = { id, client: 1, session: 1, subject: 's', home: 'eu', edge: 'us' };
  const how = { level: 'session', keyed: false, attempts: 1, outcome: OK } as const;
  return { ...who, action, ...how, invokedAtMs, endedAtMs, ...change };
}

describe('a pause of writes', () => {
  const over = (home: string, fromMs: number, untilMs: number) =>
    ({ kind: 'over', home, fromMs, untilMs, operation: expect.any(Number) }) as const;
  const cut = { ...kill, kind: 'cut', untilMs: 4_000 };

  test('lasts from the last acknowledgement before to the first one after', () => {
    const writes = [write(800, 900), write(950, 3_900), write(1_200, 3_500), write(3_600, 3_700)];
    expect(writePauses([kill], writes)).toEqual([[over('eu', 950, 3_500)]]);
  });

  test('counts also when a killed server has answered for a moment longer', () => {
    const writes = [write(900, 950), write(980, 1_168), write(1_050, 4_200), write(4_300, 4_400)];
    expect(writePauses([kill], writes)).toEqual([[over('eu', 1_168, 4_200)]]);
  });

  test('is of the fault when it began before the fault was over, to the millisecond', () => {
    const ends = (...times: number[]) => times.map((at) => write(0, at));
    const [lasting, later] = [ends(900, 1_100, 3_999, 9_000), ends(900, 1_100, 4_000, 9_000)];
    expect(writePauses([cut], lasting)).toEqual([[over('eu', 3_999, 9_000)]]);
    expect(writePauses([cut], later)).toEqual([[over('eu', 1_100, 4_000)]]);
    // What is over at once is felt for a while.
    expect(writePauses([kill], ends(900, 5_999, 20_000))).toEqual([[over('eu', 5_999, 20_000)]]);
    expect(writePauses([kill], ends(900, 6_000, 20_000))).toEqual([[over('eu', 900, 6_000)]]);
  });

  test('is not ended by what was refused, unknown, read, without effect or of another home', () => {
    const outcome = { kind: 'fail', because: 'x' } as const;
    const unchanged = { kind: 'unchanged', because: 'not-equal', found: 1 } as const;
    const others = [
      write(1_100, 1_200, { outcome }),
      write(1_100, 1_300, { outcome: { kind: 'unknown', because: 'x' } }),
      write(1_100, 1_200, { action: { kind: 'register-read', register: 'x' } }),
      write(1_100, 1_200, { home: 'us' }),
      write(1_100, 1_200, {
        action: { kind: 'register-swap', register: 'x', expected: 2, value: 3 },
        outcome: { kind: 'ok', shown: unchanged },
      }),
    ];
    expect(writePauses([kill], [write(0, 500), ...others])).toEqual([
      [{ kind: 'never', home: 'eu', fromMs: 1_100, tried: 2 }],
    ]);
    const ended = [...others, write(0, 500), write(1_000, 2_000)];
    expect(writePauses([kill], ended)).toEqual([[over('eu', 1_000, 2_000)]]);
  });

  test('that began after an acknowledgement, and never ended, is one', () => {
    const outcome = { kind: 'fail', because: 'x' } as const;
    const writes = [write(900, 950), write(1_000, 1_100), write(5_000, 9_000, { outcome })];
    expect(writePauses([kill], writes)).toEqual([
      [{ kind: 'never', home: 'eu', fromMs: 5_000, tried: 1 }],
    ]);
  });

  test('is none where the last write of the run was refused in passing', () => {
    const outcome = { kind: 'fail', because: 'x' } as const;
    const writes = [write(900, 950), write(1_000, 2_000), write(2_000, 2_100, { outcome })];
    expect(writePauses([kill], writes)).toEqual([[over('eu', 1_000, 2_000)]]);
  });

  test('is none where nobody waited: time without a write is not counted', () => {
    const swap = { kind: 'register-swap', register: 'x', expected: 2, value: 3 } as const;
    const outcome = { kind: 'ok', shown: { kind: 'unchanged', because: 'not-equal', found: 1 } };
    const idle = write(2_000, 2_100, { action: swap, outcome: outcome as Outcome });
    const writes = [write(900, 950), write(3_000, 3_100), idle];
    expect(writePauses([cut], writes)).toEqual([[over('eu', 3_000, 3_100)]]);
    const failed = write(1_500, 1_600, { outcome: { kind: 'fail', because: 'x' } });
    expect(writePauses([cut], [...writes, failed])).toEqual([[over('eu', 1_500, 3_100)]]);
  });

  test('is not known where nobody wrote after the fault', () => {
    expect(writePauses([kill], [write(0, 500)])).toEqual([[{ kind: 'not-tried', home: 'eu' }]]);
    expect(writePauses([kill], [])).toEqual([[{ kind: 'not-tried', home: 'eu' }]]);
  });

  test('is found for each fault and each of its regions, as by looking at everything', () => {
    const { history } = killRecord();
    const faults = Array.from({ length: 60 }, (_, index) => ({
      ...kill,
      regions: ['eu', 'us'],
      fromMs: index * 690,
    }));
    const expected = faults.map(({ fromMs, regions }) =>
      regions.map((home) => {
        const tries = history.operations.filter(
          (one) =>
            one.home === home &&
            writesSomething(one.action) &&
            (one.outcome.kind !== 'ok' || one.outcome.shown.kind !== 'unchanged'),
        );
        const ends = tries
          .filter(({ outcome }) => outcome.kind === 'ok')
          .map(({ endedAtMs }) => endedAtMs)
          .sort((a, b) => a - b);
        const pauses = ends.flatMap((end, at) => {
          const since = at === 0 ? fromMs : (ends[at - 1] ?? 0);
          const later = tries.filter(({ endedAtMs }) => endedAtMs > since);
          const waits = Math.max(since, Math.min(...later.map(({ invokedAtMs }) => invokedAtMs)));
          return end > fromMs && since < fromMs + 5_000 ? [end - waits] : [];
        });
        return pauses.length === 0 ? 'none' : Math.max(...pauses);
      }),
    );
    const found = writePauses(faults, history.operations).map((all) =>
      all.map((one) => (one.kind === 'over' ? one.untilMs - one.fromMs : 'none')),
    );
    expect(found).toEqual(expected);
    expect(found.flat().filter((one) => one !== 'none').length).toBeGreaterThan(60);
  });

  test('that never ended is longer than any', () => {
    const [quick, slow] = [over('eu', 0, 5), over('eu', 0, 9)];
    const never = { kind: 'never', home: 'us', fromMs: 0, tried: 2 } as const;
    expect(longest([quick, slow, quick, { kind: 'not-tried', home: 'asia' }])).toBe(slow);
    expect(longest([never, slow])).toBe(never);
    expect(longest([{ kind: 'not-tried', home: 'asia' }])).toBeUndefined();
  });
});

describe('before, during and after', () => {
  const slow = { ...kill, kind: 'latency', fromMs: 2_000, untilMs: 4_000 };

  test('part at the first begin and the last end of a fault', () => {
    const time = faultTime([slow], [[]]);
    expect(phaseOf(write(1_900, 1_999), time)).toBe('before');
    expect(phaseOf(write(1_900, 2_000), time)).toBe('during');
    expect(phaseOf(write(4_000, 4_010), time)).toBe('during');
    expect(phaseOf(write(4_001, 4_010), time)).toBe('after');
  });

  test('a kill is over when the pause of writes is, or never', () => {
    const after = [
      { kind: 'over', home: 'eu', fromMs: 900, untilMs: 1_700, operation: 1 },
    ] as const;
    expect(faultTime([kill], [after])).toEqual({ fromMs: 1_000, untilMs: 1_700 });
    const never = [{ kind: 'never', home: 'eu', fromMs: 0, tried: 1 }] as const;
    expect(phaseOf(write(9e9, 9e9), faultTime([kill], [never]))).toBe('during');
  });

  test('without a fault everything is before', () => {
    expect(phaseOf(write(5, 6), faultTime([], []))).toBe('before');
  });
});
