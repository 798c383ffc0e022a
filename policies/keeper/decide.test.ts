/** The keeper's decisions under faults drawn at random, and one by one where words matter. */
import { describe, expect, test } from 'vitest';
import { Model } from './model-for-tests.ts';

const RUNS = 250;
const STEPS = 400;

describe.each([
  ['two nodes', ['a', 'b']],
  ['a quorum of three', ['a', 'b', 'c']],
])('%s', (_, names) => {
  test('nothing acknowledged is lost, by whatever faults, and the region serves again', () => {
    let promotions = 0;
    let acknowledged = 0;
    for (let seed = 1; seed <= RUNS; seed++) {
      const model = new Model(seed, names);
      for (let i = 0; i < STEPS && model.broken === undefined; i++) model.step();
      expect({ seed, broken: model.broken }).toEqual({ seed, broken: undefined });
      const isWell = model.heal();
      expect({ seed, broken: model.broken }).toEqual({ seed, broken: undefined });
      expect({ seed, isWell, record: model.record }).toMatchObject({ seed, isWell: true });
      promotions += model.promotions;
      acknowledged += model.acknowledged.size;
    }
    // What never happens proves nothing.
    expect(promotions).toBeGreaterThan(RUNS / 10);
    expect(acknowledged).toBeGreaterThan(RUNS * 10);
  });
});
