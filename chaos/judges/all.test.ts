import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { History } from '../history.ts';
import { seededRandom } from '../toxiproxy/seeded-random.ts';
import { judgeAll } from './all.ts';
import { history, read, settled, transaction, wrote } from './history-for-tests.ts';
import { randomHistory } from './random-history-for-tests.ts';

const ALL = { isolation: 'serializable', healedAtMs: 0, graceMs: 0 } as const;

describe('an honest database', () => {
  test('is never accused', () => {
    fc.assert(
      fc.property(fc.nat(), fc.integer({ min: 1, max: 200 }), (seed, operations) => {
        const history = randomHistory(seededRandom(seed), { operations, unknown: 0.1, fail: 0.05 });
        const judged = judgeAll(history, { isolation: 'serializable' });
        const accused = judged.filter(({ verdict }) => verdict === 'broken');
        expect(accused).toEqual([]);
        expect(judged.flatMap(({ apart }) => apart ?? [])).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });

  test('is never accused when everything overlaps', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const shape = { operations: 60, clients: 12, takesMsMax: 600, subjects: 1, unknown: 0.3 };
        const judged = judgeAll(randomHistory(seededRandom(seed), shape), ALL);
        const accused = judged.filter(
          ({ verdict, judge }) => verdict === 'broken' && judge !== 'liveness',
        );
        expect(accused).toEqual([]);
      }),
      { numRuns: 300 },
    );
  });
});

test('the order of judges is the same for every history', () => {
  expect(
    judgeAll({ operations: [], settled: [], acceptedLosses: [] }).map(({ judge, verdict }) => [
      judge,
      verdict,
    ]),
  ).toEqual(
    [
      'acknowledged',
      'session-guarantees',
      'linearizable',
      'cycles',
      'bounded-staleness',
      'exactly-once',
      'stock',
      'one-epoch',
      'liveness',
      'availability',
    ].map((judge) => [judge, 'inconclusive']),
  );
});

test('a long run is judged', () => {
  const shape = { operations: 20_000, subjects: 20, clients: 20, unknown: 0.05 };
  const judged = judgeAll(randomHistory(seededRandom(7), shape), { isolation: 'serializable' });
  expect(judged.filter(({ verdict }) => verdict === 'broken')).toEqual([]);
  // No search has run into its bound.
  expect(judged.find(({ judge }) => judge === 'linearizable')?.verdict).toBe('holds');
});

describe('an operator accepts a loss', () => {
  const lines = [
    transaction(0, [0, 10], 'ax1'),
    transaction(0, [20, 30], 'ax2'),
    wrote(0, [32, 34], 5),
    wrote(0, [35, 38], 6),
    transaction(1, [40, 45], 'rx1,2'),
    read(1, [46, 49], 6),
    transaction(2, [60, 70], 'rx1'),
    read(2, [60, 70], 5),
    transaction(2, [80, 90], 'ax3'),
  ];
  const end = { settled: [settled({ lists: { x: [1, 3] }, registers: { r: 5 } })] };
  const broken = (more: Partial<History>) =>
    judgeAll(history(lines, { ...end, ...more }))
      .filter(({ verdict }) => verdict === 'broken')
      .map(({ judge }) => judge);

  test('and what was sent before may be gone', () => {
    expect(broken({ acceptedLosses: [{ home: 'eu', atMs: 50, doneAtMs: 55, by: 'ada' }] })).toEqual(
      [],
    );
  });

  test('which nobody else may', () => {
    expect(broken({})).toEqual(['acknowledged', 'linearizable', 'cycles']);
  });
});
