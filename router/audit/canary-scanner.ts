/**
 * Where in a stream of bytes does any of these patterns occur?
 *
 * Many patterns at once, over gigabytes, at the speed of a disk. The window of the shortest pattern
 * moves over the bytes, and its last two decide how far it may jump (Wu and Manber, "A fast
 * algorithm for multi-pattern searching", 1994). A stream is searched across the borders of its
 * chunks.
 */
import type { EncodedCanary } from './canary-encodings.ts';

export type Hit = Omit<EncodedCanary, 'bytes'> & {
  /** Of its first byte, from the start of the stream. */
  offset: number;
};

/** Shorter patterns would be found by chance, and would make every jump a step. */
export const PATTERN_BYTES_MIN = 8;

export class CanaryScanner {
  readonly #patterns: readonly EncodedCanary[];
  /** Bytes of each pattern that the window covers. */
  readonly #window: number;
  readonly #longest: number;
  /** How far the window may jump when it ends with these two bytes; 0: look closer. */
  readonly #jumps = new Uint8Array(65_536);
  readonly #endingWith = new Map<number, EncodedCanary[]>();

  /** @throws RangeError when a pattern is too short to mean anything. */
  constructor(patterns: readonly EncodedCanary[]) {
    const short = patterns.find(({ bytes }) => bytes.length < PATTERN_BYTES_MIN);
    if (short !== undefined) {
      throw new RangeError(
        `a canary of ${short.bytes.length} bytes as ${short.encoding} would be found by chance`,
      );
    }
    const lengths = patterns.map(({ bytes }) => bytes.length);
    this.#patterns = patterns;
    this.#window = Math.min(255, ...lengths);
    this.#longest = Math.max(0, ...lengths);
    this.#jumps.fill(this.#window - 1);
    for (const pattern of patterns) {
      for (let end = 1; end < this.#window; end++) {
        const pair = pairBefore(pattern.bytes, end);
        const jump = this.#window - 1 - end;
        this.#jumps[pair] = Math.min(this.#jumps[pair] ?? 0, jump);
        if (jump > 0) continue;
        this.#endingWith.set(pair, [...(this.#endingWith.get(pair) ?? []), pattern]);
      }
    }
  }

  /** What an uninterrupted stream holds, as its chunks arrive. */
  stream(): { push(chunk: Buffer): Hit[] } {
    // The end of what came before, as much as a pattern could begin in.
    let tail = Buffer.alloc(0);
    let offset = 0;
    const keep = Math.max(0, this.#longest - 1);
    return {
      push: (chunk) => {
        const hits: Hit[] = [];
        if (tail.length > 0) {
          const border = Buffer.concat([tail, chunk.subarray(0, keep)]);
          for (const hit of this.#search(border, offset - tail.length)) {
            const from = hit.offset - (offset - tail.length);
            if (from < tail.length && from + hit.length > tail.length) hits.push(hitOf(hit));
          }
        }
        for (const hit of this.#search(chunk, offset)) hits.push(hitOf(hit));
        offset += chunk.length;
        tail =
          chunk.length >= keep
            ? Buffer.from(chunk.subarray(chunk.length - keep))
            : Buffer.concat([tail, chunk]).subarray(-keep);
        return hits;
      },
    };
  }

  #search(bytes: Buffer, offset: number): Found[] {
    const found: Found[] = [];
    if (this.#patterns.length === 0) return found;
    const jumps = this.#jumps;
    const before = this.#window - 1;
    const { length } = bytes;
    for (let at = before; at < length; ) {
      const pair = ((bytes[at - 1] as number) << 8) | (bytes[at] as number);
      const jump = jumps[pair] as number;
      if (jump > 0) {
        at += jump;
        continue;
      }
      const start = at - before;
      for (const { canary, encoding, bytes: wanted } of this.#endingWith.get(pair) ?? []) {
        const end = start + wanted.length;
        if (end <= length && wanted.compare(bytes, start, end) === 0) {
          found.push({ canary, encoding, offset: offset + start, length: wanted.length });
        }
      }
      at++;
    }
    return found;
  }
}

type Found = Hit & { length: number };

function hitOf({ canary, encoding, offset }: Found): Hit {
  return { canary, encoding, offset };
}

function pairBefore(bytes: Buffer, end: number): number {
  return ((bytes[end - 1] ?? 0) << 8) | (bytes[end] ?? 0);
}
