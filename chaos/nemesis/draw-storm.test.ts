import { expect, test } from 'vitest';
import { readScheduleFile, scheduleOf } from '../schedule.ts';
import { ROUND_SECONDS, stormRounds } from './draw-storm.ts';

const REGIONS = ['us', 'eu', 'asia'];
const rounds = Array.from({ length: 20 }, (_, seed) => stormRounds(seed, 30, REGIONS)).flat();

test('a storm follows from its seed, and each round is another one', () => {
  const texts = rounds.map((round) => JSON.stringify(scheduleOf(round, 0)));
  expect(texts).toEqual(
    Array.from({ length: 20 }, (_, seed) => stormRounds(seed, 30, REGIONS))
      .flat()
      .map((round) => JSON.stringify(scheduleOf(round, 1))),
  );
  expect(new Set(texts).size).toBe(texts.length);
});

test('a longer storm begins with the rounds of a shorter one', () => {
  const names = (minutes: number) =>
    stormRounds(7, minutes, REGIONS).map((round) => [round.name, scheduleOf(round, 0)]);
  expect(names(30).slice(0, 5)).toEqual(names(5));
});

test('every round can be written down and leaves time to heal', () => {
  for (const round of rounds) {
    const schedule = scheduleOf(round, 0);
    const file = {
      format: 1,
      mix: 'everything',
      seconds: ROUND_SECONDS,
      wan: false,
      seed: 1,
      schedule,
    };
    expect(readScheduleFile(JSON.stringify(file))).toMatchObject({ schedule });
    for (const { atMs, forMs = 0 } of schedule) {
      expect(atMs + forMs).toBeLessThan((ROUND_SECONDS - 15) * 1_000);
    }
  }
});

test('storms use every kind of fault but a change of policy', () => {
  const kinds = new Set(
    rounds.flatMap((round) => scheduleOf(round, 0).map(({ fault }) => fault.kind)),
  );
  expect([...kinds].sort()).toEqual(
    [
      ...['clock', 'cut', 'flap', 'freeze', 'hole', 'kill', 'limit', 'narrow', 'pause-replay'],
      ...['reset', 'slice', 'slow', 'stutter', 'switchover'],
    ].sort(),
  );
});
