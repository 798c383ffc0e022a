import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { encodingsOf } from './canary-encodings.ts';
import { CanaryScanner } from './canary-scanner.ts';

const CANARY = 'Cn7Qx2mv9kT4hZ';

function found(haystack: string | Buffer, canary = CANARY): string[] {
  const hits = new CanaryScanner(encodingsOf(canary))
    .stream()
    .push(Buffer.from(haystack as string));
  return [...new Set(hits.map(({ encoding }) => encoding))];
}

describe('a canary is found', () => {
  const bytes = Buffer.from(CANARY);
  const rows: [string, string | Buffer][] = [
    ['utf-8', `x${CANARY}y`],
    ['upper-case', CANARY.toUpperCase()],
    ['lower-case', CANARY.toLowerCase()],
    ['utf-16le', Buffer.from(`${CANARY}x`, 'utf16le')],
    ['utf-16be', Buffer.from(`x${CANARY}`, 'utf16le').swap16()],
    ['hex', `\\x${bytes.toString('hex')}`],
    ['hex', bytes.toString('hex').toUpperCase()],
    ['percent', [...bytes].map((byte) => `%${byte.toString(16)}`).join('')],
    ['percent', [...bytes].map((byte) => `%${byte.toString(16).toUpperCase()}`).join('')],
    [
      'json-escapes',
      [...CANARY].map((c) => `\\u00${c.charCodeAt(0).toString(16).toUpperCase()}`).join(''),
    ],
    ['reversed', Buffer.from(bytes).reverse()],
  ];
  test.each(rows)('as %s in %s', (encoding, haystack) => {
    expect(found(haystack)).toEqual([encoding]);
  });

  test('in the base64 of anything that holds it', () => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array(), (before, after) => {
        const whole = Buffer.concat([before, bytes, after]);
        expect(found(whole.toString('base64'))).toContain('base64');
        // In both alphabets alike where no sign of either is needed.
        expect(found(whole.toString('base64url')).join()).toContain('base64');
      }),
    );
  });

  test('in the URL-safe base64 of signs that the common one writes differently', () => {
    // 0xfb 0xff and their like are + and / in one alphabet and - and _ in the other.
    const canary = 'ÿûÿ~~??>>ÿûÿ~~';
    const whole = Buffer.from(`..${canary}..`);
    expect(found(whole.toString('base64url'), canary)).toEqual(['base64url']);
    expect(found(whole.toString('base64'), canary)).toEqual(['base64']);
  });

  test('as URLs and JSON write signs that mean something to them', () => {
    const canary = 'Cn7Q "x2"/9kT4 hZ';
    expect(found(encodeURIComponent(canary), canary)).toEqual(['percent']);
    expect(found(JSON.stringify(canary), canary)).toEqual(['json-escapes']);
  });
});

test('what is not there is not found', () => {
  expect(found(CANARY.slice(1))).toEqual([]);
  expect(found(CANARY.slice(0, -1))).toEqual([]);
  expect(found('')).toEqual([]);
});
