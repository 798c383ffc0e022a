/** The keeper's decisions under faults drawn at random, and one by one where words matter. */
import { describe, expect, test } from 'vitest';
import { Model, type ModelOptions } from './model-for-tests.ts';

const RUNS = 250;
/** Of each kind beyond the first two. */
const FURTHER_RUNS = 80;
/** Some hundred worlds, on a machine that may have much else to do. */
const LIMIT_MS = 240_000;
const STEPS = 400;

type Case = [title: string, nodes: string[], options: ModelOptions];
const CASES: Case[] = [
  ['two nodes', ['a', 'b'], {}],
  ['a quorum of three', ['a', 'b', 'c'], {}],
  ['three nodes, of which one confirms', ['a', 'b', 'c'], { commits: 'synchronous' }],
  [
    'two nodes and one at another site',
    ['a', 'b', 'c'],
    { commits: 'synchronous', sites: { c: 'two' } },
  ],
  [
    'two sites between which the keeper may move the primary',
    ['a', 'b', 'c', 'd'],
    { commits: 'synchronous', sites: { c: 'two', d: 'two' }, betweenSites: 'automatic' },
  ],
  ['a quorum with a second site', ['a', 'b', 'c', 'd'], { sites: { d: 'two' } }],
];

describe.each(CASES)('%s', (_, names, options) => {
  const runs = Object.keys(options).length === 0 ? RUNS : FURTHER_RUNS;
  test(
    'nothing acknowledged is lost, by whatever faults, and the region serves again',
    () => {
      let promotions = 0;
      let acknowledged = 0;
      let moves = 0;
      for (let seed = 1; seed <= runs; seed++) {
        const model = new Model(seed, names, options);
        for (let i = 0; i < STEPS && model.broken === undefined; i++) model.step();
        expect({ seed, broken: model.broken }).toEqual({ seed, broken: undefined });
        const isWell = model.heal();
        expect({ seed, broken: model.broken }).toEqual({ seed, broken: undefined });
        expect({ seed, isWell, record: model.record }).toMatchObject({ seed, isWell: true });
        promotions += model.promotions;
        acknowledged += model.acknowledged.size;
        moves += model.moves;
      }
      // What never happens proves nothing. A quorum of four misses its primary less often.
      const isQuorumOfFour = names.length === 4 && options.commits === undefined;
      expect(promotions).toBeGreaterThan(runs / (isQuorumOfFour ? 20 : 10));
      expect(acknowledged).toBeGreaterThan(runs * 10);
      if (options.sites !== undefined) expect(moves).toBeGreaterThan(runs / 25);
    },
    LIMIT_MS,
  );
});
