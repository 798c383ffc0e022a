/**
 * Does the core keep its promises in every world of so many steps?
 *
 * World after world, each from a seed of its own, so that a broken one is repeated alone. What was
 * served is counted: a core that refuses everything breaks no promise and is of no use.
 */
import { Random } from './random.ts';
import { type Tally, World, type WorldEnd } from './world.ts';

/** Of a thousand reads in worlds where something is broken most of the time. */
const SERVED_PER_MILLE_MIN = 800;
/** Each of these happens often in a million steps; in shorter runs one may be missing. */
const STEPS_TO_MEET_ALL = 1_000_000;
const MUST_HAPPEN = [
  'session: replica',
  'session: replica_after_wait',
  'session: primary',
  'strong: primary',
  'bounded: replica',
  'bounded: primary',
  'eventual: replica',
  'eventual: primary',
  'write: applied',
  'write: unknown',
  'session-guarantee-lost',
  'loss told',
  'session-floor-unmet',
  'staleness-unmet',
  'primary-unconfirmed',
  'strong-unprovable',
  'promotion',
  'acknowledged and gone',
] as const;

export type Simulation = {
  steps: number;
  worlds: number;
  tally: Tally;
  /** Of all worlds: equal for equal seeds. */
  hash: number;
  /** The shortest world that was found to break a promise. */
  broken: WorldEnd | undefined;
  /** What a core that only refuses would not have done. */
  idle: readonly string[];
};

export function simulate(seed: number, steps: number): Simulation {
  const seeds = new Random(seed);
  const tally: Tally = {};
  let [done, worlds, hash] = [0, 0, 0];
  let broken: WorldEnd | undefined;
  while (done < steps && broken === undefined) {
    const end = new World(seeds.seed()).run(steps - done);
    done += end.steps;
    worlds++;
    hash = (Math.imul(hash, 31) + end.hash) | 0;
    for (const [what, times] of Object.entries(end.tally)) tally[what] = (tally[what] ?? 0) + times;
    if (end.violations.length > 0) broken = shortest(end, seeds);
  }
  return { steps: done, worlds, tally, hash, broken, idle: idleness(tally, done) };
}

/** Looks for the same break in worlds with fewer clients and edges. */
function shortest(found: WorldEnd, seeds: Random): WorldEnd {
  let best = found;
  for (let attempt = 0; attempt < 60; attempt++) {
    const end = new World(seeds.seed()).run(best.steps);
    if (end.violations.length > 0 && end.steps < best.steps) best = end;
  }
  return new World(best.seed, { traced: true }).run();
}

function idleness(tally: Tally, steps: number): string[] {
  if (steps < STEPS_TO_MEET_ALL) return [];
  const never = MUST_HAPPEN.filter((what) => !tally[what]).map((what) => `never: ${what}`);
  const [served, refused] = servedAndRefused(tally);
  const perMille = Math.floor((1_000 * served) / Math.max(1, served + refused));
  return perMille >= SERVED_PER_MILLE_MIN
    ? never
    : [...never, `only ${perMille} of 1,000 requests were served`];
}

const BESIDES = /^(answer lost|no room to write|promotion|acknowledged and gone|loss told.*)$/;

export function servedAndRefused(tally: Tally): [served: number, refused: number] {
  let [served, refused] = [0, 0];
  for (const [what, times] of Object.entries(tally)) {
    if (BESIDES.test(what)) continue;
    if (what.includes(': ') && what !== 'write: unknown') served += times;
    else refused += times;
  }
  return [served, refused];
}
