import { describe, expect, test } from 'vitest';
import { simulate } from './simulate.ts';
import { World } from './world.ts';

test('a million steps break no promise, and use every rung', () => {
  const { steps, broken, idle } = simulate(1, 1_000_000);
  expect([steps, broken?.violations, idle]).toEqual([1_000_000, undefined, []]);
});

describe('a world', () => {
  test('is the same each time', () => {
    const [once, again] = [new World(7).run(), new World(7, { traced: true }).run()];
    expect([again.steps, again.hash, again.tally]).toEqual([once.steps, once.hash, once.tally]);
    expect(again.trace.length).toBeGreaterThan(100);
    expect(new World(7, { traced: true }).run().trace).toEqual(again.trace);
  });

  test('is another one for another seed', () => {
    const hashes = Array.from({ length: 20 }, (_, seed) => new World(seed).run().hash);
    expect(new Set(hashes).size).toBe(20);
  });

  test('can be ended early, and has then gone the same way', () => {
    const [short, long] = [400, 4_000].map((steps) => new World(7, { traced: true }).run(steps));
    expect(short?.steps).toBe(400);
    expect(long?.trace.slice(0, short?.trace.length)).toEqual(short?.trace);
  });
});

test('two runs of one seed are equal, and a run of another one is not', () => {
  const run = (seed: number) => simulate(seed, 50_000).hash;
  expect(run(3)).toBe(run(3));
  expect(run(3)).not.toBe(run(4));
});
