/** Judges that look at one thing each: keys, stock, epochs, service after faults and beside them. */
import { describe, expect, test } from 'vitest';
import { availability } from './availability.ts';
import { exactlyOnce } from './exactly-once.ts';
import {
  counted,
  FAIL,
  history,
  type Line,
  ordered,
  read,
  settled,
  transaction,
  UNKNOWN,
  wrote,
} from './history-for-tests.ts';
import { liveness } from './liveness.ts';
import { oneEpoch } from './one-epoch.ts';
import { stock } from './stock.ts';

describe('exactly once', () => {
  const sent = (rest = {}) => transaction(0, [0, 90], 'ax1', { keyed: true, attempts: 3, ...rest });
  const verdict = (line: Line, x: number[]) =>
    exactlyOnce(history([line], { settled: [settled({ lists: { x } })] })).verdict;

  test('what was sent three times under one key is there once if it was acknowledged', () => {
    expect(verdict(sent(), [1])).toBe('holds');
    expect(verdict(sent(), [1, 1])).toBe('broken');
    expect(verdict(sent(), [])).toBe('broken');
  });

  test('else at most once', () => {
    expect(verdict(sent({ outcome: UNKNOWN }), [])).toBe('holds');
    expect(verdict(sent({ outcome: UNKNOWN }), [1])).toBe('holds');
    expect(verdict(sent({ outcome: UNKNOWN }), [1, 1])).toBe('broken');
  });

  test('nobody has ever seen it twice', () => {
    const lines = [sent(), transaction(1, [50, 60], 'rx1,1', { level: 'eventual' })];
    const judged = exactlyOnce(history(lines, { settled: [settled({ lists: { x: [1] } })] }));
    expect(judged).toMatchObject({ verdict: 'broken', violations: [{ operations: [0, 1] }] });
  });

  test('keys that were used once prove nothing', () => {
    expect(verdict(sent({ attempts: 1 }), [1])).toBe('inconclusive');
  });
});

describe('stock', () => {
  const orders = [ordered(0, [0, 10], 1, 2), ordered(0, [20, 30], 2, 3)];
  const verdict = (...looks: Line[]) => stock(history([...orders, ...looks])).verdict;

  test('what is left and what was ordered are one sum in every answer, however old', () => {
    const eventual = { level: 'eventual' } as const;
    expect(
      verdict(
        counted(1, [40, 50], 15, { 1: 2, 2: 3 }),
        counted(2, [40, 50], 18, { 1: 2 }, eventual),
      ),
    ).toBe('holds');
    expect(
      verdict(
        counted(1, [40, 50], 15, { 1: 2, 2: 3 }),
        counted(2, [40, 50], 17, { 1: 2 }, eventual),
      ),
    ).toBe('broken');
  });

  test('and the same sum in the end', () => {
    const end = (left: number) => ({
      settled: [settled({ stock: { tea: { left, ordered: [{ value: 1, quantity: 2 }] } } })],
    });
    const lines = [...orders, counted(1, [12, 15], 18, { 1: 2 })];
    expect(stock(history(lines, end(18))).verdict).toBe('holds');
    expect(stock(history(lines, end(20))).verdict).toBe('broken');
  });

  test('nothing is sold that is not there, nor more of it than was asked for', () => {
    expect(verdict(counted(1, [40, 50], 0, { 1: 2 }))).toBe('holds');
    expect(verdict(counted(1, [40, 50], -1, { 1: 2 }))).toBe('broken');
    expect(verdict(counted(1, [40, 50], 5, { 1: 3 }))).toBe('broken');
  });
});

describe('one epoch', () => {
  const by = (node: string, at: readonly [number, number], value: number) =>
    wrote(0, at, value, { told: { status: 200, servedBy: `eu/${node}` } });
  const back = [by('eu-a', [0, 10], 1), by('eu-b', [20, 30], 2), by('eu-a', [40, 50], 3)];

  test('who acknowledges, then another, then the first again: the primary changed twice', () => {
    const judged = oneEpoch(history(back), { changesOfPrimary: { eu: 1 } });
    expect(judged).toMatchObject({ verdict: 'broken', violations: [{ operations: [0, 1, 2] }] });
    expect(oneEpoch(history(back), { changesOfPrimary: { eu: 2 } }).verdict).toBe('holds');
  });

  test('two that overlap may have come in either order', () => {
    const lines = [by('eu-a', [0, 25], 1), by('eu-b', [20, 30], 2), by('eu-a', [28, 50], 3)];
    expect(oneEpoch(history(lines), { changesOfPrimary: { eu: 1 } }).verdict).toBe('holds');
    expect(oneEpoch(history(lines), { changesOfPrimary: {} }).verdict).toBe('broken');
  });

  test('nothing follows while nobody has counted', () => {
    expect(oneEpoch(history(back)).verdict).toBe('inconclusive');
    expect(oneEpoch(history(back.slice(0, 1))).verdict).toBe('holds');
  });

  test('a replica that answers reads acknowledges nothing', () => {
    const told = { status: 200, servedBy: 'eu/eu-b' };
    const lines = [by('eu-a', [0, 10], 1), read(1, [20, 30], 1, { level: 'session', told })];
    expect(oneEpoch(history(lines), { changesOfPrimary: {} }).verdict).toBe('holds');
  });
});

describe('liveness', () => {
  const late = wrote(0, [150, 160], 1, { outcome: FAIL });

  test('what is sent later than a grace after the healing succeeds', () => {
    expect(liveness(history([late]), { healedAtMs: 50, graceMs: 100 }).verdict).toBe('broken');
    expect(liveness(history([late]), { healedAtMs: 51, graceMs: 100 }).verdict).toBe(
      'inconclusive',
    );
    const fine = wrote(0, [150, 160], 1);
    expect(liveness(history([fine]), { healedAtMs: 50, graceMs: 100 }).verdict).toBe('holds');
  });

  test('an unknown outcome is no success; to be told of a loss is an answer', () => {
    const options = { healedAtMs: 0, graceMs: 0 };
    expect(liveness(history([{ ...late, outcome: UNKNOWN }]), options).verdict).toBe('broken');
    expect(liveness(history([{ ...late, guaranteeLost: true }]), options).verdict).toBe('holds');
  });

  test('without a time of healing there is nothing to say', () => {
    expect(liveness(history([late]))).toMatchObject({ why: 'nobody said when all was healed' });
  });
});

describe('availability', () => {
  const many = (from: number, takesMs: number, rest = {}) =>
    Array.from({ length: 60 }, (_, index) =>
      read(index, [from + index, from + index + takesMs], undefined, rest),
    );
  const options = { untouched: [{ regions: ['eu'], fromMs: 1_000, untilMs: 2_000 }] };

  test('untouched regions serve all their own, as fast as before', () => {
    const judged = availability(history([...many(0, 5), ...many(1_000, 9)]), options);
    expect(judged).toMatchObject({ verdict: 'holds', checked: 60 });
  });

  test('a single failure breaks it, elsewhere it does not matter', () => {
    const failed = read(99, [1_500, 1_510], undefined, { outcome: FAIL });
    const lines = [...many(0, 5), ...many(1_000, 5)];
    expect(availability(history([...lines, failed]), options).verdict).toBe('broken');
    for (const rest of [{ edge: 'us' }, { home: 'us' }]) {
      const elsewhere = { ...failed, ...rest };
      expect(availability(history([...lines, elsewhere]), options).verdict).toBe('holds');
    }
  });

  test('nobody is missed who was never created, and others are from then on', () => {
    const lines = [...many(0, 5), ...many(1_000, 5)];
    const failed = read(98, [1_500, 1_510], undefined, { outcome: FAIL, subject: 'nobody' });
    const judged = (outcome: Line['outcome'], endedAtMs: number) => {
      const creation: Line = {
        ...read(99, [1_400, endedAtMs], undefined, { subject: 'nobody', outcome }),
        action: { kind: 'create', country: 'DE' },
      };
      return availability(history([...lines, creation, failed]), options).verdict;
    };
    expect(judged(FAIL, 1_450)).toBe('holds');
    expect(judged({ kind: 'ok', shown: { kind: 'nothing' } }, 1_550)).toBe('holds');
    expect(judged({ kind: 'ok', shown: { kind: 'nothing' } }, 1_450)).toBe('broken');
  });

  test('much slower breaks it, where that is more than noise', () => {
    const slow = (takesMs: number) =>
      availability(history([...many(0, 20), ...many(1_000, takesMs)]), options).verdict;
    expect(slow(119)).toBe('holds');
    expect(slow(121)).toBe('broken');
  });

  test('is compared for as long as is asked for, and failures count to the end', () => {
    const until = (comparedUntilMs: number, ...more: ReturnType<typeof read>[]) => {
      const [stretch = { regions: [], fromMs: 0, untilMs: 0 }] = options.untouched;
      const slow = [...many(0, 20), ...many(1_000, 500), ...many(1_500, 5), ...many(1_500, 5)];
      const asked = { untouched: [{ ...stretch, comparedUntilMs }], quantile: 0.4 };
      return availability(history([...slow, ...more]), asked).verdict;
    };
    expect(until(1_200)).toBe('broken');
    expect(until(2_000)).toBe('holds');
    const failed = read(99, [1_990, 1_995], undefined, { outcome: FAIL });
    expect(until(2_000, failed)).toBe('broken');
  });

  test('of a few operations nothing follows', () => {
    const few = many(0, 5).slice(0, 49);
    expect(availability(history([...few, ...many(1_000, 5)]), options)).toMatchObject({
      verdict: 'inconclusive',
      why: '49 operations of eu are too few to compare',
    });
  });
});
