/**
 * Which writes of one subject does somebody see?
 *
 * A set of small numbers in a few words: reads copy it, the judge compares it.
 */
export type Writes = Uint32Array;

/** Writes that one subject may have in one world. */
export const WRITES_MAX = 512;

export function noWrites(): Writes {
  return new Uint32Array(WRITES_MAX / 32);
}

export function copyOf(writes: Writes): Writes {
  return writes.slice();
}

export function include(writes: Writes, number: number): void {
  writes[number >> 5] = (writes[number >> 5] as number) | (1 << (number & 31));
}

export function includeAll(writes: Writes, others: Writes): void {
  for (let i = 0; i < writes.length; i++) {
    writes[i] = (writes[i] as number) | (others[i] as number);
  }
}

export function contains(writes: Writes, number: number): boolean {
  return ((writes[number >> 5] as number) & (1 << (number & 31))) !== 0;
}

/** Those of `expected` that `writes` lacks. */
export function missing(writes: Writes, expected: Writes): number[] {
  let found: number[] | undefined;
  for (let i = 0; i < expected.length; i++) {
    const lacks = (expected[i] as number) & ~(writes[i] as number);
    if (lacks !== 0) {
      found ??= [];
      for (let bit = 0; bit < 32; bit++) if (lacks & (1 << bit)) found.push(i * 32 + bit);
    }
  }
  return found ?? NONE;
}

const NONE: number[] = [];
