import { expect, test } from 'vitest';
import { uuid8, uuid8From } from './uuid8.ts';

test('the layout is time, version 8, variant 10, and everything else random', () => {
  expect(uuid8(0x0123_4567_89ab, new Uint8Array(10))).toBe('01234567-89ab-8000-8000-000000000000');
  expect(uuid8(0, new Uint8Array(10).fill(255))).toBe('00000000-0000-8fff-bfff-ffffffffffff');
});

test('an id made from a hash has version and variant, and the rest of it is the hash', () => {
  expect(uuid8From(new Uint8Array(32))).toBe('00000000-0000-8000-8000-000000000000');
  expect(uuid8From(new Uint8Array(32).fill(255))).toBe('ffffffff-ffff-8fff-bfff-ffffffffffff');
});
