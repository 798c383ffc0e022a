import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { percentile } from './percentile.ts';
import { calmRecord, emptyRecord, killRecord, stormRecord } from './record-for-tests.ts';
import { BUCKETS_MAX, bucketWidthMs, timeBuckets } from './time-buckets.ts';

describe('the slices of a run', () => {
  const runs = {
    calm: calmRecord(),
    kill: killRecord(),
    storm: stormRecord(),
    empty: emptyRecord(),
  };

  test.each(Object.entries(runs))('of %s add up to the whole', (_, record) => {
    const { list } = timeBuckets(record);
    const { operations } = record.history;
    const sums = { ok: 0, fail: 0, unknown: 0 };
    let decisions = 0;
    let times = 0;
    for (const bucket of list) {
      for (const kind of ['ok', 'fail', 'unknown'] as const) sums[kind] += bucket.outcomes[kind];
      for (const value of Object.values(bucket.decisions)) decisions += value;
      for (const { count } of bucket.latency.values()) times += count;
    }
    for (const kind of ['ok', 'fail', 'unknown'] as const)
      expect(sums[kind]).toBe(operations.filter(({ outcome }) => outcome.kind === kind).length);
    expect([decisions, times]).toEqual([operations.length, operations.length]);
  });

  test('lie side by side from the begin to the end', () => {
    for (const record of Object.values(runs)) {
      const { list, endMs } = timeBuckets(record);
      expect(list.length).toBeLessThanOrEqual(BUCKETS_MAX);
      expect([list[0]?.fromMs, list.at(-1)?.untilMs]).toEqual([0, endMs]);
      for (const [index, { untilMs }] of list.entries())
        expect(list[index + 1]?.fromMs ?? endMs).toBe(untilMs);
    }
  });

  test('take in what was sent at the very end, and a clock that ran a little ahead', () => {
    const [one] = runs.calm.history.operations;
    if (one === undefined) throw new Error('The sample has no operation.');
    const operations = [-3, 1_000].map((at) => ({ ...one, invokedAtMs: at, endedAtMs: 1_000 }));
    const { list, widthMs } = timeBuckets({
      ...emptyRecord(),
      durationMs: 1_000,
      history: { operations, settled: [], acceptedLosses: [] },
    });
    expect(1_000 % widthMs).toBe(0);
    expect([list[0]?.outcomes.ok, list.at(-1)?.outcomes.ok]).toEqual([1, 1]);
  });

  test('have the percentiles of their own operations', () => {
    const record = runs.kill;
    const { list } = timeBuckets(record);
    for (const { fromMs, untilMs, latency } of list) {
      const isLast = untilMs === list.at(-1)?.untilMs;
      const mine = record.history.operations
        .filter(({ edge }) => edge === 'eu')
        .filter(({ invokedAtMs: at }) => at >= fromMs && (at < untilMs || isLast))
        .map(({ invokedAtMs, endedAtMs }) => endedAtMs - invokedAtMs);
      expect(latency.get('eu')?.p95).toBe(percentile(Float64Array.from(mine).sort(), 95));
    }
  });

  test('have the most that a replica was behind in them', () => {
    const look = { region: 'eu', lagBytes: { 'eu-b': 5 } };
    const { list } = timeBuckets({
      ...emptyRecord(),
      durationMs: 1_000,
      looks: [
        { ...look, atMs: 10 },
        { ...look, atMs: 20, lagBytes: { 'eu-b': 9 } },
        { ...look, atMs: 30, lagBytes: { 'eu-b': 7 } },
        { ...look, atMs: 150 },
      ],
    });
    expect(list.map(({ lagBytes }) => lagBytes.get('eu-b')).slice(0, 3)).toEqual([9, 5, undefined]);
  });

  test('are as few as allowed and as round as can be, however long the run is', async () => {
    await fc.assert(
      fc.property(fc.integer({ min: 1, max: 1e10 }), (endMs) => {
        const width = bucketWidthMs(endMs);
        expect(Math.ceil(endMs / width)).toBeLessThanOrEqual(BUCKETS_MAX);
        expect(String(width)).toMatch(/^[125]0+$/);
      }),
    );
    expect([bucketWidthMs(15_000), bucketWidthMs(15_001)]).toEqual([100, 200]);
  });
});
