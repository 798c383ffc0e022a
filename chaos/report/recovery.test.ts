import { describe, expect, test } from 'vitest';
import type { Operation, Outcome } from '../history.ts';
import type { FaultSpan } from '../run-record.ts';
import { faultTime, phaseOf } from './phase.ts';
import { killRecord } from './record-for-tests.ts';
import { recoveries, slowest, writesSomething } from './recovery.ts';

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

describe('recovery', () => {
  test('ends with the first answer to a write that began at the fault or later', () => {
    const [one] = recoveries([kill], [write(999, 1_500), write(1_200, 3_000), write(1_000, 2_500)]);
    expect(one).toEqual([{ kind: 'acknowledged', home: 'eu', afterMs: 1_500, operation: id }]);
  });

  test('is not what was refused, unknown, read, without effect or of another home', () => {
    const outcome = { kind: 'fail', because: 'x' } as const;
    const unchanged = { kind: 'unchanged', because: 'not-equal', found: 1 } as const;
    const [one] = recoveries(
      [kill],
      [
        write(1_100, 1_200, { outcome }),
        write(1_100, 1_200, { outcome: { kind: 'unknown', because: 'x' } }),
        write(1_100, 1_200, { action: { kind: 'register-read', register: 'x' } }),
        write(1_100, 1_200, { home: 'us' }),
        write(1_100, 1_200, {
          action: { kind: 'register-swap', register: 'x', expected: 2, value: 3 },
          outcome: { kind: 'ok', shown: unchanged },
        }),
      ],
    );
    expect(one).toEqual([{ kind: 'never', home: 'eu', tried: 3 }]);
  });

  test('is not known where nobody wrote after the fault', () => {
    expect(recoveries([kill], [write(0, 5_000)])).toEqual([[{ kind: 'not-tried', home: 'eu' }]]);
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
        const after = history.operations.filter(
          (one) => one.home === home && writesSomething(one.action) && one.invokedAtMs >= fromMs,
        );
        const acknowledged = after.filter(
          ({ outcome }) => outcome.kind === 'ok' && outcome.shown.kind !== 'unchanged',
        );
        if (after.length === 0) return 'not-tried';
        return acknowledged.length === 0
          ? 'never'
          : Math.min(...acknowledged.map(({ endedAtMs }) => endedAtMs)) - fromMs;
      }),
    );
    const found = recoveries(faults, history.operations).map((all) =>
      all.map((one) => (one.kind === 'acknowledged' ? one.afterMs : one.kind)),
    );
    expect(found).toEqual(expected);
  });

  test('that never came is slower than any', () => {
    const quick = { kind: 'acknowledged', home: 'eu', afterMs: 5, operation: 1 } as const;
    const slow = { ...quick, afterMs: 9 };
    const never = { kind: 'never', home: 'us', tried: 2 } as const;
    expect(slowest([quick, slow, { kind: 'not-tried', home: 'asia' }])).toBe(slow);
    expect(slowest([quick, never, slow])).toBe(never);
    expect(slowest([{ kind: 'not-tried', home: 'asia' }])).toBeUndefined();
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

  test('a kill is over when its homes had a write acknowledged, or never', () => {
    const after = [{ kind: 'acknowledged', home: 'eu', afterMs: 700, operation: 1 }] as const;
    expect(faultTime([kill], [after])).toEqual({ fromMs: 1_000, untilMs: 1_700 });
    const never = [{ kind: 'never', home: 'eu', tried: 1 }] as const;
    expect(phaseOf(write(9e9, 9e9), faultTime([kill], [never]))).toBe('during');
  });

  test('without a fault everything is before', () => {
    expect(phaseOf(write(5, 6), faultTime([], []))).toBe('before');
  });
});
