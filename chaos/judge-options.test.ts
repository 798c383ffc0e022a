import { expect, test } from 'vitest';
import { judgeOptionsOf, type RunFacts } from './judge-options.ts';
import type { Look } from './run-record.ts';
import { CLOCK_JUMPS } from './scenarios/clock-jumps.ts';

const FACTS: RunFacts = {
  scenario: {},
  faults: [
    { says: 'cut', kind: 'cut', regions: ['eu'], fromMs: 9_000, untilMs: 12_000 },
    { says: 'kill', kind: 'kill', regions: ['eu'], fromMs: 8_000 },
  ],
  looks: [1, 1, 3].map((timeline, atMs): Look => ({ atMs, region: 'eu', timeline })),
  regions: ['us', 'eu', 'asia'],
  beganAtMs: 4_000,
  healedAtMs: 12_000,
  graceMs: 8_000,
};

test('regions that no fault concerned are compared with what clients saw when they were warm', () => {
  expect(judgeOptionsOf(FACTS).untouched).toEqual([
    { regions: ['us', 'asia'], fromMs: 8_000, untilMs: 20_000, comparedFromMs: 5_000 },
  ]);
  const everywhere = [{ says: '', kind: 'cut', regions: FACTS.regions, fromMs: 8_000 }];
  expect(judgeOptionsOf({ ...FACTS, faults: everywhere }).untouched).toEqual([]);
  expect(judgeOptionsOf({ ...FACTS, faults: [] }).untouched).toEqual([]);
});

test('how fast others were is measured while faults last, if they do for long enough', () => {
  const until = (untilMs: number) => {
    const faults = [{ says: 'cut', kind: 'cut', regions: ['eu'], fromMs: 7_000, untilMs }];
    const [one] = judgeOptionsOf({ ...FACTS, faults, healedAtMs: untilMs }).untouched ?? [];
    return one?.comparedUntilMs;
  };
  expect([until(12_000), until(11_999)]).toEqual([12_000, undefined]);
});

test('a primary was replaced as often as a timeline began', () => {
  expect(judgeOptionsOf(FACTS).changesOfPrimary).toEqual({ us: 0, eu: 2, asia: 0 });
});

test('judges hear what a scenario knows of clocks, and nothing where it knows nothing', () => {
  expect(judgeOptionsOf(FACTS)).not.toHaveProperty('clocksDifferMs');
  expect(judgeOptionsOf({ ...FACTS, scenario: { clocksDifferMs: 250 } })).toMatchObject({
    clocksDifferMs: 250,
  });
  expect(CLOCK_JUMPS.clocksDifferMs).toBe(0);
});
