import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { readCatalogue } from '../../regions/read-catalogue.ts';
import { type Fault, faultText, type LinkChoice, type Timed } from '../faults/fault.ts';
import { chooseLinks, linksOf } from '../faults/links.ts';
import { WARM_MS } from '../scenario.ts';
import { readScheduleFile } from '../schedule.ts';
import { drawRound, endOf, ROLES_REST_MS } from './draw-round.ts';

const REGIONS = ['us', 'eu', 'asia'];
const ROUNDS = Array.from({ length: 400 }, (_, round) =>
  drawRound({ seed: 7, round: round + 1, regions: REGIONS, wan: false }),
);
const TIMED = ROUNDS.flatMap(({ schedule }) => schedule);

test('the same seed and round give the same plan, any others another one', () => {
  const drawn = (seed: number, round: number) =>
    JSON.stringify(drawRound({ seed, round, regions: REGIONS, wan: false }));
  expect(drawn(7, 3)).toBe(drawn(7, 3));
  const plans = [1, 2, 3, 7, 8].flatMap((seed) => [1, 2, 3].map((round) => drawn(seed, round)));
  expect(new Set(plans).size).toBe(plans.length);
});

test('a plan can be written to a file and played again', () => {
  for (const file of ROUNDS) expect(readScheduleFile(JSON.stringify(file))).toEqual(file);
});

/** A storm decides nothing that costs somebody their data. */
type ByHand = 'accept-loss' | 'refill';

test('every kind of fault there is comes, and all have words', () => {
  const kinds = new Set(TIMED.map(({ fault }) => fault.kind));
  const all: Record<Exclude<Fault['kind'], ByHand>, true> = {
    cut: true,
    hole: true,
    slow: true,
    narrow: true,
    reset: true,
    limit: true,
    slice: true,
    flap: true,
    kill: true,
    freeze: true,
    stutter: true,
    'pause-replay': true,
    clock: true,
    switchover: true,
    policy: true,
  };
  expect([...kinds].sort()).toEqual(Object.keys(all).sort());
  for (const { fault } of TIMED) expect(faultText(fault)).not.toMatch(/undefined|NaN/);
});

test('every region and every role is hit', () => {
  const hit = new Set(
    TIMED.flatMap(({ fault }) =>
      'who' in fault && 'region' in fault.who
        ? [`${fault.who.role ?? 'all'} of ${fault.who.region}`]
        : [],
    ),
  );
  const roles = ['primary', 'replica', 'airlock', 'edge', 'keeper', 'all'];
  const all = REGIONS.flatMap((region) => roles.map((role) => `${role} of ${region}`));
  expect([...hit].sort()).toEqual(all.sort());
});

test('rounds begin warm, end within about a minute, and have several faults that overlap', () => {
  let overlapping = 0;
  for (const { schedule, seconds } of ROUNDS) {
    expect(schedule.length).toBeGreaterThanOrEqual(2);
    expect(Math.min(...schedule.map(({ atMs }) => atMs))).toBeGreaterThanOrEqual(WARM_MS);
    expect(endOf(schedule)).toBeLessThanOrEqual(seconds * 1_000);
    expect(seconds).toBeLessThanOrEqual(62);
    if (schedule.some((one) => schedule.some((two) => one !== two && meet(one, two))))
      overlapping++;
  }
  expect(overlapping).toBeGreaterThan(ROUNDS.length / 2);
});

describe('bounds', () => {
  test('what takes servers from a region comes alone, unless both are drawn together', () => {
    for (const { schedule } of ROUNDS) {
      for (const region of REGIONS) {
        const taking = schedule.filter(({ fault }) => takes(fault, region));
        for (const [i, one] of taking.entries()) {
          for (const two of taking.slice(i + 1)) {
            if (isDouble(one.fault, two.fault)) continue;
            const restMs = two.atMs - (one.atMs + (one.forMs ?? 0));
            expect(restMs, JSON.stringify([one, two])).toBeGreaterThanOrEqual(ROLES_REST_MS);
          }
        }
      }
    }
  });

  test('a standby and then its primary: both are away together only for a while', () => {
    let found = 0;
    for (const { schedule } of ROUNDS) {
      for (const one of schedule) {
        for (const two of schedule) {
          if (one === two || !isDouble(one.fault, two.fault) || !meet(one, two)) continue;
          found++;
          expect(two.atMs).toBeGreaterThan(one.atMs);
          expect(endOf([one]) - two.atMs).toBeLessThanOrEqual(6_000);
        }
      }
    }
    expect(found).toBeGreaterThan(5);
  });

  test('a policy that was changed is as it was at the end of the round', () => {
    for (const { schedule } of ROUNDS) {
      const changes = schedule.flatMap(({ fault }) =>
        fault.kind === 'policy' ? [fault.change] : [],
      );
      if (changes.length > 0) expect(changes.at(-1)).toBe('as it was');
    }
  });
});

test('every fault on links means links that a world has', () => {
  const path = 'examples/witness/regions.yaml';
  const reading = readCatalogue(readFileSync(path, 'utf8'), path);
  if ('complaints' in reading) throw new Error(path);
  const { catalogue } = reading;
  // As `domicile up --links all` calls them.
  const proxies = [...catalogue.regions.values()].flatMap(({ id, nodes, airlocks, edges }) => [
    ...REGIONS.filter((from) => from !== id).flatMap((from) =>
      [...edges, ...airlocks].map(({ name }) => `${from}-to-${name}`),
    ),
    ...nodes.flatMap(({ name }) => [
      ...['edges', 'keeper', 'feed'].map((who) => `${who}-${id}-to-${name}`),
      ...nodes.filter((two) => two.name !== name).map((two) => `${two.name}-to-${name}`),
    ]),
    `edges-${id}-to-keeper-${id}`,
    ...[...edges, ...airlocks].map(({ name }) => `keeper-${id}-to-${name}`),
  ]);
  const links = linksOf(catalogue, proxies);
  const primaries = new Map(
    [...catalogue.regions.values()].map(({ id, nodes }) => [id, nodes[0]?.name ?? '']),
  );
  const choices = new Map<string, LinkChoice>();
  for (const { fault } of TIMED) {
    if ('links' in fault) choices.set(JSON.stringify(fault.links), fault.links);
  }
  expect(choices.size).toBeGreaterThan(50);
  for (const choice of choices.values()) {
    expect(chooseLinks(links, choice, primaries), JSON.stringify(choice)).not.toEqual([]);
  }
});

function meet(one: Timed, two: Timed): boolean {
  return one.atMs < endOf([two]) && two.atMs < endOf([one]);
}

/** Whether a server of the region is away, or is moved. */
function takes(fault: Fault, region: string): boolean {
  if (fault.kind === 'pause-replay' || fault.kind === 'switchover') return fault.region === region;
  if ('who' in fault && 'region' in fault.who) {
    const { role } = fault.who;
    const isServer = role === undefined || role === 'primary' || role === 'replica';
    return fault.kind !== 'clock' && isServer && fault.who.region === region;
  }
  if (!('links' in fault)) return false;
  const { from, to, bothWays } = fault.links;
  const isServer = (place: typeof to) =>
    place !== undefined &&
    'region' in place &&
    place.region === region &&
    (place.role === 'primary' || place.role === 'replica');
  if (!isServer(to)) return false;
  return (from === undefined && bothWays === true) || isServer(from);
}

function isDouble(one: Fault, two: Fault): boolean {
  const isAway = (fault: Fault, kinds: readonly Fault['kind'][], role: string) => {
    const place = 'who' in fault ? fault.who : 'links' in fault ? fault.links.to : undefined;
    if (place === undefined || !('region' in place) || place.role !== role) return undefined;
    return kinds.includes(fault.kind) ? place.region : undefined;
  };
  const region = isAway(one, ['freeze', 'hole'], 'replica');
  return region !== undefined && isAway(two, ['freeze', 'kill'], 'primary') === region;
}
