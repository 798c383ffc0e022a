import { describe, expect, test } from 'vitest';
import { settingsText } from '../../regions/local/postgres-settings.ts';
import { namesAnybody, RULES } from './leaky-settings.ts';

test.each([
  ['*', true],
  ['ANY 1 (*)', true],
  ['FIRST 2 (a, *)', true],
  ['"*"', false],
  ['ANY 1 ("us-b", "us-c")', false],
  ['"a""*"', false],
  ['', false],
])('synchronous_standby_names %s names anybody: %s', (value, anybody) => {
  expect(namesAnybody(value)).toBe(anybody);
});

describe('what the local world sets', () => {
  test.each(['private', 'airlock'] as const)('for a cluster that is %s leaks nothing', (kind) => {
    const node = { name: 'us-a', host: '127.0.0.1', port: 1 };
    const text = settingsText({ kind, node, durable: true, follows: undefined });
    const leaking = text.split('\n').filter((line) => {
      const [, name = '', value = ''] = /^(\S+) = '?([^']*)'?$/.exec(line) ?? [];
      return RULES[name] !== undefined && !RULES[name].harmless(value);
    });
    expect(leaking).toEqual([]);
  });
});
