/**
 * Which of the things that may happen happens now?
 *
 * A small generator of numbers that a seed determines, so that every run can be repeated.
 * `sfc32`, public domain.
 */
export class Random {
  #a = 0;
  #b = 0;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#c = seed | 0;
    for (let i = 0; i < 15; i++) this.#next();
  }

  #next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }

  /** From `low` up to, and without, `high`. */
  between(low: number, high: number): number {
    return low + (this.#next() / 0x1_0000_0000) * (high - low);
  }

  /** A whole number below `bound`. */
  below(bound: number): number {
    return this.#next() % bound;
  }

  chance(probability: number): boolean {
    return this.#next() < probability * 0x1_0000_0000;
  }

  pick<T>(from: readonly T[]): T {
    if (from.length === 0) throw new RangeError('nothing to pick from');
    return from[this.below(from.length)] as T;
  }

  /** A seed for something that draws on its own. */
  seed(): number {
    return this.#next();
  }
}
