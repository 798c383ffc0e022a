import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { seededRandom } from '../toxiproxy/seeded-random.ts';
import { judgeAll } from './all.ts';
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
