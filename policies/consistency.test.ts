import { expect, test } from 'vitest';
import { levelText, readLevel } from './consistency.ts';

test.each([
  ['session', { kind: 'session' }],
  ['strong', { kind: 'strong' }],
  ['eventual', { kind: 'eventual' }],
  ['bounded; max-staleness=2s', { kind: 'bounded', maxStalenessMs: 2_000 }],
  ['bounded;max-staleness=250ms', { kind: 'bounded', maxStalenessMs: 250 }],
  ['bounded; max-staleness=0ms', { kind: 'bounded', maxStalenessMs: 0 }],
  ['bounded; max-staleness=60m', { kind: 'bounded', maxStalenessMs: 3_600_000 }],
])('%s is a level', (text, level) => {
  expect(readLevel(text)).toEqual({ kind: 'level', level });
});

test.each([
  ['', 'There is no such level'],
  ['Session', 'There is no such level'],
  ['latest', 'There is no such level'],
  ['session, strong', 'One level at a time'],
  ['bounded; max-staleness=2s, strong', 'One level at a time'],
  ['strong; max-staleness=2s', '"strong" takes no parameter'],
  ['session;', '"session" takes no parameter'],
  ['bounded', '"bounded" needs max-staleness, such as 2s'],
  ['bounded; max-staleness', '"bounded" takes max-staleness and nothing else'],
  ['bounded; max-age=2s', '"bounded" takes max-staleness and nothing else'],
  ['bounded; max-staleness=2s; max-staleness=3s', '"bounded" takes one parameter'],
  ['bounded; max-staleness=2', 'max-staleness is a number with ms, s or m, from 0ms to 60m'],
  ['bounded; max-staleness=-2s', 'max-staleness is a number with ms, s or m, from 0ms to 60m'],
  ['bounded; max-staleness=61m', 'max-staleness is a number with ms, s or m, from 0ms to 60m'],
])('%j is none, and the complaint says why', (text, why) => {
  expect(readLevel(text)).toEqual({ kind: 'complaint', why });
});

test.each(['session', 'strong', 'eventual', 'bounded; max-staleness=1500ms'])(
  '%s is written as it is read',
  (text) => {
    const reading = readLevel(text);
    expect(reading.kind === 'level' && levelText(reading.level)).toBe(text);
  },
);
