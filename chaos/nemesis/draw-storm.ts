/**
 * What does a storm do?
 *
 * Rounds of a minute, each a schedule of its own that follows from the seed and its number: a few
 * faults of all kinds, drawn at random, some at the same time, all over before the round is.
 */
import { hampered, slower } from '../bite.ts';
import {
  around,
  between,
  edge,
  type Fault,
  keeper,
  type Place,
  primary,
  replica,
  type Schedule,
  type Timed,
} from '../faults/fault.ts';
import type { Draw, Scenario } from '../scenario.ts';
import { WARM_MS } from '../scenario.ts';
import { drawFrom } from '../schedule.ts';

/** Faults begin within so long, and have ended so much later; the rest is for healing. */
const FAULTS_MS = 26_000;
const LASTS_MS_MAX = 10_000;
const LASTS_MS_MIN = 2_000;
export const ROUND_SECONDS = 54;
const FAULTS_MIN = 2;
const FAULTS_MAX = 5;
/** So that no two rounds of neighbouring seeds are the same. */
const ROUNDS_OF_A_SEED = 100_003;
const HOUR_MS = 3_600_000;

export function stormRounds(seed: number, minutes: number, regions: readonly string[]): Scenario[] {
  return Array.from({ length: minutes }, (_, i) => round(seed, i + 1, regions));
}

function round(seed: number, number: number, regions: readonly string[]): Scenario {
  const schedule = drawRound(drawFrom((seed * ROUNDS_OF_A_SEED + number) % 2 ** 32), regions);
  return {
    name: `storm-${seed}-${number}`,
    claim: 'Whatever a storm does, every promise holds.',
    mix: 'everything',
    seconds: ROUND_SECONDS,
    schedule: () => schedule,
    bit: (seen) => [...hampered(seen), ...slower(seen, 500)],
  };
}

export function drawRound(draw: Draw, regions: readonly string[]): Schedule {
  const count = draw(FAULTS_MIN, FAULTS_MAX);
  const drawn = Array.from({ length: count }, (): Timed => {
    const fault = drawFault(draw, regions);
    const atMs = WARM_MS + draw(0, FAULTS_MS - WARM_MS);
    // An operator's act takes as long as it takes.
    if (fault.kind === 'switchover') return { atMs, fault };
    return { atMs, forMs: draw(LASTS_MS_MIN, LASTS_MS_MAX), fault };
  });
  return drawn.sort((a, b) => a.atMs - b.atMs);
}

function drawFault(draw: Draw, regions: readonly string[]): Fault {
  const one = <T>(of: readonly T[]): T => of[draw(0, of.length - 1)] as T;
  const region = one(regions);
  const other = one(regions.filter((id) => id !== region));
  const place = one<Place>([primary(region), replica(region), edge(region), keeper(region)]);
  const links = one([
    between(region, other),
    between(region, other),
    between(region),
    around(place),
    { from: edge(region), to: primary(region) },
    { from: replica(region), to: primary(region) },
  ]);
  const direction = one(['both', 'upstream', 'downstream'] as const);
  return one<() => Fault>([
    () => ({ kind: 'cut', links }),
    () => ({ kind: 'hole', links, direction }),
    () => ({ kind: 'hole', links: around(primary(region)) }),
    () => ({ kind: 'slow', links, latencyMs: draw(20, 600), jitterMs: draw(1, 100) }),
    () => ({ kind: 'narrow', links, kBps: draw(8, 200) }),
    () => ({ kind: 'reset', links, afterMs: draw(0, 100) }),
    () => ({ kind: 'limit', links, bytes: draw(700, 4_000), direction: 'downstream' }),
    () => ({ kind: 'slice', links, bytes: draw(16, 256), delayUs: draw(0, 20_000) }),
    () => ({
      kind: 'flap',
      links,
      how: one(['cut', 'hole']),
      upMs: draw(200, 1_500),
      downMs: draw(100, 1_500),
    }),
    () => ({ kind: 'kill', who: place }),
    () => ({ kind: 'kill', who: primary(region), startAgain: draw(0, 1) === 1 }),
    () => ({ kind: 'freeze', who: place }),
    () => ({ kind: 'stutter', who: place, stopMs: draw(100, 500), goMs: draw(50, 300) }),
    () => ({ kind: 'pause-replay', region }),
    () => ({ kind: 'clock', who: edge(region), byMs: one([-HOUR_MS, HOUR_MS]) }),
    () => ({ kind: 'switchover', region }),
  ])();
}
