import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { faultText, regionsOf } from './faults/fault.ts';
import { QUICK, SCENARIOS } from './scenarios.ts';
import { readScheduleFile, replayed, scheduleOf } from './schedule.ts';

const SEEDS = [1, 7, 4_294_967_295];
const START_SECONDS = 60;
const SETTLE_SECONDS = 10;

test('every file of scenarios/ is a scenario that can be run by its name', () => {
  const files = readdirSync('chaos/scenarios').map((name) => name.replace(/\.ts$/, ''));
  expect(SCENARIOS.map(({ name }) => name).sort()).toEqual(files.sort());
});

test('the quick set takes at most five minutes by what its scenarios say', () => {
  const seconds = QUICK.reduce((sum, one) => sum + one.seconds + SETTLE_SECONDS, START_SECONDS);
  expect(seconds).toBeLessThanOrEqual(300);
});

describe.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))(
  '%s',
  (_, scenario) => {
    test('follows from its seed', () => {
      for (const seed of SEEDS)
        expect(scheduleOf(scenario, seed)).toEqual(scheduleOf(scenario, seed));
    });

    test('leaves time for what comes after, and has words for each fault', () => {
      for (const seed of SEEDS) {
        const schedule = scheduleOf(scenario, seed);
        expect(schedule.length).toBeGreaterThan(0);
        for (const { atMs, forMs = 0, fault } of schedule) {
          expect(atMs + forMs).toBeLessThan(scenario.seconds * 1_000 - 5_000);
          expect(faultText(fault)).not.toMatch(/undefined|NaN|\[object/);
          expect(regionsOf(fault, ['us', 'eu', 'asia']).length).toBeGreaterThan(0);
        }
      }
    });

    test('can be written to a file and played again', () => {
      const schedule = scheduleOf(scenario, 7);
      const file = { format: 1, mix: 'everything', seconds: 30, wan: false, seed: 7, schedule };
      const read = readScheduleFile(JSON.stringify(file));
      if ('complaint' in read) throw new Error(read.complaint);
      expect(scheduleOf(replayed(read), 1)).toEqual(schedule);
    });
  },
);

describe('a file that is no schedule', () => {
  const good = {
    format: 1,
    mix: 'everything',
    seconds: 30,
    wan: false,
    seed: 7,
    schedule: [{ atMs: 1, fault: { kind: 'switchover', region: 'eu' } }],
  };
  test.each<[string, object | string, RegExp]>([
    ['is not JSON', 'kill eu', /is not JSON/],
    [
      'knows no such fault',
      { ...good, schedule: [{ atMs: 1, fault: { kind: 'quake' } }] },
      /schedule\[0\]\.fault/,
    ],
    [
      'names no region',
      { ...good, schedule: [{ atMs: 1, fault: { kind: 'switchover' } }] },
      /region/,
    ],
    [
      'has a fault too many keys',
      { ...good, schedule: [{ ...good.schedule[0], until: 3 }] },
      /until/,
    ],
    ['is empty', { ...good, schedule: [] }, /schedule/],
    ['names no mix of ours', { ...good, mix: 'chaos' }, /mix/],
  ])('%s', (_, file, complaint) => {
    const read = readScheduleFile(typeof file === 'string' ? file : JSON.stringify(file));
    expect(read).toEqual({ complaint: expect.stringMatching(complaint) });
  });
});
