import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { percentile, spread } from './percentile.ts';

test('a percentile is the least value that so many of a hundred do not exceed', async () => {
  const values = fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 1, maxLength: 300 });
  await fc.assert(
    fc.property(values, fc.integer({ min: 1, max: 100 }), (all, percent) => {
      const enough = (bound: number) =>
        all.filter((value) => value <= bound).length * 100 >= percent * all.length;
      const least = Math.min(...all.filter(enough));
      expect(percentile(Float64Array.from(all).sort(), percent)).toBe(least);
    }),
  );
});

test('of a hundred values in order, the nearest rank is the number itself', () => {
  const all = Array.from({ length: 100 }, (_, index) => 100 - index);
  expect(spread(all)).toEqual({ count: 100, p50: 50, p95: 95, p99: 99, max: 100 });
});

test('of one value all are that one, and of none there is none', () => {
  expect(spread([7])).toEqual({ count: 1, p50: 7, p95: 7, p99: 7, max: 7 });
  expect(spread([])).toBeUndefined();
});
