import { expect, test } from 'vitest';
import { formatLsn, order, parseLsn } from './position.ts';

test.each([
  ['0/0', 0n],
  ['9/FF', 0x9_0000_00ffn],
  ['16/B374D848', 0x16_b374_d848n],
  ['FFFFFFFF/FFFFFFFF', 2n ** 64n - 1n],
])('%s survives the way there and back', (text, lsn) => {
  expect(parseLsn(text)).toBe(lsn);
  expect(formatLsn(lsn)).toBe(text);
});

test.each(['', '0', '/', '1/G', '1/2/3', '100000000/0', '-1/0', ' 1/2'])(
  '%j is not an LSN',
  (text) => {
    expect(parseLsn(text)).toBeUndefined();
  },
);

test('10/0 comes after 9/FF although its text sorts before', () => {
  const at = (lsn: bigint) => ({ systemId: 1n, timeline: 1, lsn });
  expect(order(at(0x9_0000_00ffn), at(0x10_0000_0000n))).toBe('after');
  expect('10/0' < '9/FF').toBe(true);
});

test('positions of two timelines or two clusters have no order', () => {
  const here = { systemId: 1n, timeline: 1, lsn: 5n };
  expect(order(here, { ...here, timeline: 2 })).toBe('other_timeline');
  expect(order(here, { ...here, systemId: 2n })).toBe('other_cluster');
  expect(order(here, { ...here })).toBe('same');
});
