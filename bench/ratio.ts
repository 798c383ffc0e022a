/**
 * How much of the baseline is left?
 *
 * Variants run in turn within each round and are compared within it, so that whatever else the
 * machine does meanwhile befalls both. A figure is a ratio, with its spread over the rounds.
 */

export type Spread = { min: number; median: number; max: number };

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (index: number) => sorted[index] ?? Number.NaN;
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  return { min: round(at(0)), median: round(median), max: round(at(sorted.length - 1)) };
}

/** Each round's first list divided by the same round's second. */
export function ratios(values: readonly number[], baseline: readonly number[]): Spread {
  return spread(values.map((value, round) => value / (baseline[round] ?? Number.NaN)));
}

export function inWords({ min, median, max }: Spread, unit = ''): string {
  return `${median}${unit} [${min}..${max}]`;
}

export function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
