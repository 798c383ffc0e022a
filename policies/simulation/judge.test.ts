import { describe, expect, test } from 'vitest';
import type { Level } from '../consistency.ts';
import { type Before, Judge, type Knowledge, knowNothing } from './judge.ts';
import { include, noWrites } from './writes.ts';

const of = (...numbers: number[]) => {
  const writes = noWrites();
  for (const number of numbers) include(writes, number);
  return writes;
};
const knowing = ({ written = [] as number[], read = [] as number[] }): Knowledge => ({
  written: of(...written),
  read: of(...read),
});

/** Reads at 1,000 ms what `shown` says. */
function read(
  judge: Judge,
  shown: number[],
  {
    level = { kind: 'session' } as Level,
    knew = knowNothing(),
    before = undefined as Before | undefined,
  } = {},
) {
  const answer = { level, subject: 0, value: of(...shown), knew, before, placedAtMs: 1_000 };
  judge.read(answer, 1_000);
  return judge.violations.map(({ promise, writes }) => [promise, ...writes]);
}
const write = (number: number) => ({ subject: 0, number });

describe('a session', () => {
  test('that misses its own write is noticed', () => {
    const knew = knowing({ written: [1, 40] });
    expect(read(new Judge(1), [1], { knew })).toEqual([['read your writes', 40]]);
    expect(read(new Judge(1), [1, 40], { knew })).toEqual([]);
  });

  test('that misses what it had read is noticed, at strong as well', () => {
    const knew = knowing({ read: [3] });
    for (const kind of ['session', 'strong'] as const) {
      expect(read(new Judge(1), [4], { knew, level: { kind } })).toEqual([['monotonic reads', 3]]);
    }
  });

  test('may see less where it asked for that', () => {
    const knew = knowing({ written: [1], read: [3] });
    const bounded = { kind: 'bounded', maxStalenessMs: 5 } as const;
    for (const level of [bounded, { kind: 'eventual' } as const]) {
      expect(read(new Judge(1), [], { knew, level })).toEqual([]);
    }
  });
});

describe('of two writes', () => {
  test('the later one of a session is not seen without the earlier one', () => {
    for (const before of [{ written: [1] }, { read: [1] }]) {
      const judge = new Judge(1);
      judge.sent(write(1), knowNothing());
      judge.sent(write(2), knowing(before));
      expect(read(judge, [1, 2])).toEqual([]);
      expect(read(judge, [2], { level: { kind: 'eventual' } })).toEqual([['writes in order', 1]]);
    }
  });

  test('those that knew nothing of each other come in any order', () => {
    const judge = new Judge(1);
    judge.sent(write(1), knowNothing());
    judge.sent(write(2), knowNothing());
    expect(read(judge, [2])).toEqual([]);
  });
});

test('a write that was reported as not applied is not there', () => {
  const judge = new Judge(1);
  judge.notApplied(write(65));
  expect(read(judge, [64], { level: { kind: 'eventual' } })).toEqual([]);
  expect(read(judge, [64, 65], { level: { kind: 'eventual' } })).toEqual([
    ['not applied stays away', 65],
  ]);
});

describe('strong', () => {
  const level = { kind: 'strong' } as const;

  test('shows what was acknowledged before it began, and need not show what was later', () => {
    const judge = new Judge(1);
    judge.acknowledged(write(1), 10);
    const before = judge.before(0);
    judge.acknowledged(write(2), 20);
    expect(read(judge, [1], { level, before })).toEqual([]);
    expect(read(judge, [], { level, before: judge.before(0) })).toEqual([
      ['strong', 1, 2],
      ['strong', 1],
    ]);
  });

  test('shows what a strong read before it has shown', () => {
    const judge = new Judge(1);
    read(judge, [5], { level, before: judge.before(0) });
    expect(read(judge, [], { level, before: judge.before(0) })).toEqual([['strong', 5]]);
  });

  test('does not show what an operator gave up', () => {
    const judge = new Judge(1);
    judge.acknowledged(write(1), 10);
    judge.gone(write(1));
    expect(read(judge, [], { level, before: judge.before(0) })).toEqual([]);
  });
});

test.each([
  [900, []],
  [899, [['bounded', 1]]],
])('bounded by 100 ms, at 1,000: acknowledged at %s', (atMs, found) => {
  const judge = new Judge(1);
  judge.acknowledged(write(1), atMs);
  const level = { kind: 'bounded', maxStalenessMs: 100 } as const;
  expect(read(judge, [], { level })).toEqual(found);
});
