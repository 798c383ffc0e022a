import { randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { IdempotencyHashes, KEY_CHARS_MAX, readIdempotencyKey } from './idempotency-key.ts';

describe('the field', () => {
  test.each([
    ['"8e03978e-40d5-43dd-bc93-6894a57f9324"', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    ['8e03978e-40d5-43dd-bc93-6894a57f9324', '8e03978e-40d5-43dd-bc93-6894a57f9324'],
    [' "a" ', 'a'],
    ['order:17/a+b=', 'order:17/a+b='],
    ['"with space, comma; and so on"', 'with space, comma; and so on'],
    ['"\\"\\\\"', '"\\'],
    ['a'.repeat(KEY_CHARS_MAX), 'a'.repeat(KEY_CHARS_MAX)],
    [`"${'a'.repeat(KEY_CHARS_MAX)}"`, 'a'.repeat(KEY_CHARS_MAX)],
  ])('%s is a key', (value, key) => {
    expect(readIdempotencyKey(value)).toEqual({ key });
  });

  test.each([
    '',
    ' ',
    '""',
    '"',
    '"a',
    'a"',
    '"a" b',
    '"a";b=1',
    '"a", "b"',
    'a, b',
    'a b',
    'a,b',
    'a;b',
    'a\\b',
    '"\\a"',
    '"\\"',
    '"ä"',
    'ä',
    'a\tb',
    '"a\tb"',
    'a'.repeat(KEY_CHARS_MAX + 1),
    `"${'a'.repeat(KEY_CHARS_MAX + 1)}"`,
  ])('%j is none, and the complaint does not repeat it', (value) => {
    const reading = readIdempotencyKey(value);
    expect(reading).toEqual({ why: expect.stringMatching(/^It is /) });
    if (value.length > 5) expect(JSON.stringify(reading)).not.toContain(value);
  });
});

describe('the hashes', () => {
  const root = randomBytes(32);
  const hashes = new IdempotencyHashes(root);
  const none = new Uint8Array();

  test('are the same at every edge, and others under another root', () => {
    const same = new IdempotencyHashes(root);
    const other = new IdempotencyHashes(randomBytes(32));
    expect(same.ofKey('u', 'k')).toEqual(hashes.ofKey('u', 'k'));
    expect(same.ofRequest('PUT', '/', none)).toEqual(hashes.ofRequest('PUT', '/', none));
    expect(same.idOf('k')).toBe(hashes.idOf('k'));
    expect(other.ofKey('u', 'k')).not.toEqual(hashes.ofKey('u', 'k'));
    expect(other.ofRequest('PUT', '/', none)).not.toEqual(hashes.ofRequest('PUT', '/', none));
    expect(other.idOf('k')).not.toBe(hashes.idOf('k'));
  });

  test('keep scope and key apart, and method, target and body', () => {
    expect(hashes.ofKey('a', 'bc')).not.toEqual(hashes.ofKey('ab', 'c'));
    const bytes = (text: string) => new TextEncoder().encode(text);
    const all = [
      hashes.ofRequest('PUT', '/a', none),
      hashes.ofRequest('POST', '/a', none),
      hashes.ofRequest('PUT', '/a?b', none),
      hashes.ofRequest('PUT', '/a', bytes('1')),
      hashes.ofRequest('PUT', '/a', bytes('2')),
    ].map((hash) => hash.toString('hex'));
    expect(new Set(all).size).toBe(all.length);
  });

  test('make ids that only an edge can give out', () => {
    expect(hashes.idOf('k')).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-/);
    expect(hashes.idOf('k')).not.toBe(hashes.idOf('l'));
  });
});
