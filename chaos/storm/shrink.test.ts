import { expect, test } from 'vitest';
import type { Schedule } from '../faults/fault.ts';
import { LASTS_MS_MIN, shrink } from './shrink.ts';

const SCHEDULE: Schedule = ['us', 'eu', 'asia'].flatMap((region, i) => [
  { atMs: 4_000 + i, forMs: 8_000, fault: { kind: 'freeze', who: { region, role: 'primary' } } },
  { atMs: 5_000 + i, fault: { kind: 'switchover', region } },
]);
const ONCE = { tries: 1, atLeast: 1 };
const quiet = { isOver: () => false, report: () => {} };

/** Fails while the primary of eu is frozen for so long and asia is switched over. */
const needs = (ms: number) => (schedule: Schedule) =>
  schedule.some(
    ({ fault, forMs = 0 }) =>
      fault.kind === 'freeze' && 'region' in fault.who && fault.who.region === 'eu' && forMs >= ms,
  ) && schedule.some(({ fault }) => fault.kind === 'switchover' && fault.region === 'asia');

test('the faults that are needed are left, each no longer than it has to be', async () => {
  const fails = async (schedule: Schedule) => needs(1_500)(schedule);
  const { schedule, minimal } = await shrink(SCHEDULE, { ...quiet, fails, ofTries: ONCE });
  expect(schedule).toEqual([
    { atMs: 4_001, forMs: 2_000, fault: SCHEDULE[2]?.fault },
    { atMs: 5_002, fault: SCHEDULE[5]?.fault },
  ]);
  expect(minimal).toBe(true);
});

test('no fault becomes so short that it is none', async () => {
  const fails = async (schedule: Schedule) => needs(0)(schedule);
  const { schedule } = await shrink(SCHEDULE, { ...quiet, fails, ofTries: ONCE });
  expect(schedule[0]?.forMs).toBe(LASTS_MS_MIN);
});

test('what fails every third time is found with three tries, and not with one', async () => {
  const third = () => {
    let plays = 0;
    return async (schedule: Schedule) => needs(0)(schedule) && ++plays % 3 === 0;
  };
  const often = await shrink(SCHEDULE, {
    ...quiet,
    fails: third(),
    ofTries: { tries: 3, atLeast: 1 },
  });
  expect(often.schedule).toHaveLength(2);
  const once = await shrink(SCHEDULE, { ...quiet, fails: third(), ofTries: ONCE });
  expect(once.schedule.length).toBeGreaterThan(2);
});

test('a schedule that fails too rarely is not one that fails', async () => {
  let plays = 0;
  const { schedule } = await shrink(SCHEDULE, {
    ...quiet,
    fails: async () => ++plays % 3 === 0,
    ofTries: { tries: 3, atLeast: 2 },
  });
  expect(schedule).toEqual(SCHEDULE);
});

test('tries that cannot change the answer are not made', async () => {
  let plays = 0;
  const always = async () => {
    plays++;
    return true;
  };
  const { plays: told } = await shrink(SCHEDULE.slice(1, 4), {
    ...quiet,
    fails: always,
    ofTries: { tries: 5, atLeast: 2 },
  });
  expect(told).toBe(plays);
  expect(plays % 2).toBe(0);
});

test('when its time is over the best so far is the answer', async () => {
  let plays = 0;
  const { schedule, minimal } = await shrink(SCHEDULE, {
    fails: async (tried) => {
      plays++;
      return needs(0)(tried);
    },
    ofTries: ONCE,
    isOver: () => plays >= 4,
    report: () => {},
  });
  expect(minimal).toBe(false);
  expect(needs(0)(schedule)).toBe(true);
});
