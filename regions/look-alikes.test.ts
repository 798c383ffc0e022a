import { expect, test } from 'vitest';
import { appearance, unmasked } from './look-alikes.ts';
import { quote } from './yaml-complaint.ts';

test.each([
  ['a Cyrillic letter in a Latin word', 'еu', '\\u0435u'],
  ['a word of Cyrillic letters only', 'АТ', '\\u0410\\u0422'],
  ['a Greek letter', 'Αsia', '\\u0391sia'],
  ['full-width letters', 'ｕｓ', '\\uff55\\uff53'],
  ['a space that does not break', 'eu\u00a0', 'eu\\u00a0'],
  ['one word of two', 'the еu', 'the \\u0435u'],
  ['a plain word', 'asia-pacific', 'asia-pacific'],
  ['an accent', 'Zürich', 'Zürich'],
  ['a Russian word', 'Россия', 'Россия'],
  ['a Greek word', 'Ελλάδα', 'Ελλάδα'],
  ['a Japanese word', '東京', '東京'],
])('%s', (_, text, shown) => {
  expect(unmasked(text)).toBe(shown);
  expect(quote(text)).toBe(`"${shown}"`);
});

test('texts that look the same have one appearance', () => {
  expect(appearance('еu-оnly')).toBe('eu-only');
  expect(appearance('eu\u200b-only')).toBe('eu-only');
  expect(appearance('cafe\u0301')).toBe(appearance('caf\u00e9'));
  expect(appearance('free')).not.toBe(appearance('fre'));
  expect(appearance('Free')).not.toBe(appearance('free'));
});
