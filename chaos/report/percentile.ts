/**
 * Which value do so many of a hundred not exceed?
 *
 * The nearest rank: always a value that was measured, never one between two.
 */

/** Of values in ascending order; undefined of none. `percent` is above 0 and at most 100. */
export function percentile(ascending: Float64Array, percent: number): number | undefined {
  return ascending[Math.max(1, Math.ceil((percent * ascending.length) / 100)) - 1];
}

export type Spread = { count: number; p50: number; p95: number; p99: number; max: number };

/** Undefined of no values. */
export function spread(values: Iterable<number>): Spread | undefined {
  const ascending = Float64Array.from(values).sort();
  const max = ascending.at(-1);
  if (max === undefined) return undefined;
  const at = (percent: number) => percentile(ascending, percent) ?? max;
  return { count: ascending.length, p50: at(50), p95: at(95), p99: at(99), max };
}
