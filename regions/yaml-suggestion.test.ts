import { expect, test } from 'vitest';
import { nearest } from './yaml-suggestion.ts';

const KEYS = ['subject', 'transit', 'mirrors', 'reference'];

test.each([
  ['subjct', 'subject'],
  ['sbujetc', 'subject'],
  ['Transit', 'transit'],
  ['mirror', 'mirrors'],
  ['refference', 'reference'],
])('%s was probably meant to be %s', (word, meant) => {
  expect(nearest(word, KEYS)).toBe(meant);
});

test.each(['', 'x', 'owner', 'trasnits-of-bodies', 'subject'])('%j suggests nothing', (word) => {
  expect(nearest(word, KEYS)).toBeUndefined();
});

test('two letters swapped are one edit, so a short word is still recognised', () => {
  expect(nearest('ue', ['us', 'eu', 'asia'])).toBe('us');
  expect(nearest('ue', ['eu', 'asia'])).toBe('eu');
});

test('a word of one letter is not one edit away from every other', () => {
  expect(nearest('a', ['b', 'c'])).toBeUndefined();
});

test('a very long word is not compared at all', () => {
  expect(nearest('a'.repeat(65), ['a'.repeat(64)])).toBeUndefined();
  expect(nearest('a'.repeat(63), ['a'.repeat(64)])).toBe('a'.repeat(64));
});
