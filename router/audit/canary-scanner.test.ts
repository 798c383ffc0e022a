import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { EncodedCanary } from './canary-encodings.ts';
import { CanaryScanner, PATTERN_BYTES_MIN } from './canary-scanner.ts';

function pattern(text: string): EncodedCanary {
  return { canary: text, encoding: 'utf-8', bytes: Buffer.from(text) };
}

/** The slow and obvious way. */
function plainly(patterns: readonly EncodedCanary[], bytes: Buffer): string[] {
  return patterns
    .flatMap(({ canary, bytes: wanted }) => {
      const found: string[] = [];
      for (let at = bytes.indexOf(wanted); at >= 0; at = bytes.indexOf(wanted, at + 1)) {
        found.push(`${canary}@${at}`);
      }
      return found;
    })
    .sort();
}

function scanned(patterns: readonly EncodedCanary[], chunks: readonly Buffer[]): string[] {
  const stream = new CanaryScanner(patterns).stream();
  return chunks
    .flatMap((chunk) => stream.push(chunk))
    .map(({ canary, offset }) => `${canary}@${offset}`)
    .sort();
}

/** Few letters, so that patterns overlap, repeat and nearly match. */
const letters = (min: number, max: number) =>
  fc
    .array(fc.constantFrom('a', 'b'), { minLength: min, maxLength: max })
    .map((parts) => parts.join(''));

test('finds what a plain search finds, however the stream is cut', () => {
  const patterns = fc.uniqueArray(letters(PATTERN_BYTES_MIN, 12), { minLength: 1, maxLength: 6 });
  const chunks = fc.array(letters(0, 40), { maxLength: 12 });
  fc.assert(
    fc.property(patterns, chunks, (texts, parts) => {
      const wanted = texts.map(pattern);
      const buffers = parts.map((part) => Buffer.from(part));
      expect(scanned(wanted, buffers)).toEqual(plainly(wanted, Buffer.concat(buffers)));
    }),
    { numRuns: 1_000 },
  );
});

test('patterns of very different lengths are all found', () => {
  const long = 'x'.repeat(300).concat('the end');
  const patterns = [pattern('shortest'), pattern(long), pattern('in between them')];
  const text = Buffer.from(`..in between them${long}shortest${'x'.repeat(299)}the end`);
  expect(scanned(patterns, [text])).toEqual(plainly(patterns, text));
  expect(scanned(patterns, [text]).length).toBe(3);
});

describe('a pattern at a border', () => {
  const text = 'abcdefghij';
  test.each(Array.from({ length: 11 }, (_, at) => at))('cut after %i bytes is found once', (at) => {
    const bytes = Buffer.from(text);
    expect(scanned([pattern(text)], [bytes.subarray(0, at), bytes.subarray(at)])).toEqual([
      `${text}@0`,
    ]);
  });

  test('that arrives byte by byte is found once, at the right place', () => {
    const bytes = [...Buffer.from(`12345${text}67890`)].map((byte) => Buffer.of(byte));
    expect(scanned([pattern(text)], bytes)).toEqual([`${text}@5`]);
  });
});

test('a pattern too short to mean anything is refused', () => {
  expect(() => new CanaryScanner([pattern('1234567')])).toThrow(/7 bytes as utf-8/);
  expect(() => new CanaryScanner([pattern('12345678')])).not.toThrow();
});

test('without patterns nothing is found', () => {
  expect(scanned([], [Buffer.from('anything')])).toEqual([]);
});
