/**
 * Which numbers follow from a seed? The same ones on every machine, in [0, 1).
 *
 * The generator is sfc32, "small fast counting", by Chris Doty-Humphrey (PractRand, public
 * domain). One seed gives many streams, so that more draws for one thing leave the others alone.
 */
export type Random = () => number;

/** The author's number of rounds until every bit of the state depends on every bit of the seed. */
const WARM_UP_ROUNDS = 12;

export function seededRandom(seed: number, stream: number): Random {
  let a = stream >>> 0;
  let b = seed >>> 0;
  let c = Math.floor(seed / 2 ** 32) >>> 0;
  let counter = 1;
  const next = () => {
    const out = (a + b + counter) >>> 0;
    counter = (counter + 1) >>> 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) >>> 0;
    c = (((c << 21) | (c >>> 11)) + out) >>> 0;
    return out / 2 ** 32;
  };
  for (let round = 0; round < WARM_UP_ROUNDS; round++) next();
  return next;
}

/** A whole number from 0 up to, not including, `below`. */
export function drawBelow(random: Random, below: number): number {
  return Math.floor(random() * below);
}

export function drawOne<T>(random: Random, from: readonly T[]): T {
  const one = from[drawBelow(random, from.length)];
  if (one === undefined) throw new RangeError('nothing to draw from');
  return one;
}

/** Draws an index with a chance in proportion to its weight. */
export function weightedDraw(weights: readonly number[]): (random: Random) => number {
  let sum = 0;
  const sums = weights.map((weight) => {
    sum += weight;
    return sum;
  });
  return (random) => {
    const at = random() * sum;
    let low = 0;
    let high = sums.length - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((sums[middle] ?? 0) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/** Fisher and Yates, in place. */
export function shuffle<T>(random: Random, items: T[]): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = drawBelow(random, i + 1);
    [items[i], items[j]] = [items[j] as T, items[i] as T];
  }
}
