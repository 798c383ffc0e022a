/**
 * Which faults does a round of a storm bring?
 *
 * They follow from the seed and the number of the round alone. Anything may overlap, with one bound
 * for each region: what takes a server from it comes alone, and the next such thing only when the
 * region has had time to find its roles again. Then the standby that may be promoted is never gone
 * together with the primary, unless that is what was drawn; and nothing that was acknowledged lies on
 * a server that never comes back, so every round has a verdict.
 */
import { MIXES, type MixName } from '../clients/mixes.ts';
import {
  airlock,
  around,
  between,
  edge,
  type Fault,
  keeper,
  type LinkChoice,
  type NetworkFault,
  type Place,
  primary,
  replica,
  type Timed,
} from '../faults/fault.ts';
import { type Draw, WARM_MS } from '../scenario.ts';
import { drawFrom, type ScheduleFile } from '../schedule.ts';

export type RoundDraw = { seed: number; round: number; regions: readonly string[]; wan: boolean };

const FAULTS_MIN = 3;
const FAULTS_MAX = 8;
/** Of the part of a round in which faults begin. */
const STORM_MS_MIN = 20_000;
const STORM_MS_MAX = 40_000;
const LASTS_MS_MIN = 1_500;
const LASTS_MS_MAX = 12_000;
/** A standby is promoted or taken back, and the other one copied, on a busy machine. */
export const ROLES_REST_MS = 8_000;
/** A standby that is away for less may still be waited for. */
const ALONE_MS_MIN = 5_000;
const ALONE_MS_MAX = 9_000;
/** Nobody can be promoted while both are away; then the first one is back. */
const BOTH_AWAY_MS_MAX = 6_000;
/** Draws without a place for what they bring; a round with fewer faults is as good. */
const TRIES = 40;
const HOUR_MS = 3_600_000;

/** What is drawn together; times count from its beginning. */
type Part = {
  faults: readonly Timed[];
  /** The region whose servers it takes, or what else cannot be taken twice at a time. */
  takes?: string;
};

export function drawRound({ seed, round, regions, wan }: RoundDraw): ScheduleFile {
  const draw = drawFrom(mixed(seed, round));
  const clients = draw(0, 2 ** 31 - 1);
  const mix = oneOf(draw, MIX_WEIGHTS);
  const stormMs = draw(STORM_MS_MIN, STORM_MS_MAX);
  const wanted = draw(FAULTS_MIN, FAULTS_MAX);
  const schedule: Timed[] = [];
  const taken = new Map<string, { fromMs: number; untilMs: number }[]>();
  for (let tries = 0; tries < TRIES && schedule.length < wanted; tries++) {
    const region = oneOf(draw, regions);
    const other = oneOf(
      draw,
      regions.filter((one) => one !== region),
    );
    const part = weighted(draw, PARTS)(draw, region, other);
    const atMs = WARM_MS + draw(0, stormMs);
    const faults = part.faults.map((timed) => ({ ...timed, atMs: atMs + timed.atMs }));
    if (part.takes !== undefined) {
      const spans = taken.get(part.takes) ?? [];
      const span = { fromMs: atMs, untilMs: endOf(faults) + ROLES_REST_MS };
      if (spans.some((one) => span.fromMs < one.untilMs && one.fromMs < span.untilMs)) continue;
      taken.set(part.takes, [...spans, span]);
    }
    schedule.push(...faults);
  }
  schedule.sort((a, b) => a.atMs - b.atMs);
  const seconds = Math.ceil(endOf(schedule) / 1_000);
  return { format: 1, mix, seconds, wan, seed: clients, schedule };
}

/** When the last of them is over; what is over at once is felt for a little longer. */
export function endOf(schedule: readonly Timed[]): number {
  return Math.max(0, ...schedule.map(({ atMs, forMs = 0 }) => atMs + forMs));
}

/** Neighbouring rounds and seeds have nothing in common. */
function mixed(seed: number, round: number): number {
  return (Math.imul(seed, 0x9e37_79b1) ^ Math.imul(round + 1, 0x85eb_ca6b)) >>> 0;
}

type Make = (draw: Draw, region: string, other: string) => Part;

const one = (draw: Draw, fault: Fault, takes?: string): Part => ({
  faults: [{ atMs: 0, forMs: draw(LASTS_MS_MIN, LASTS_MS_MAX), fault }],
  ...(takes !== undefined && { takes }),
});

/** Links whose loss takes no server from a region. */
const LINKS: readonly ((region: string, other: string) => LinkChoice)[] = [
  (region, other) => between(region, other),
  (region) => between(region),
  (region, other) => ({ from: { region }, to: { region: other } }),
  (region) => ({ from: edge(region), to: primary(region) }),
  (region) => ({ from: edge(region), to: replica(region) }),
  (region, other) => ({ from: edge(other), to: edge(region) }),
  (region, other) => ({ from: { region: other }, to: airlock(region) }),
  (region) => ({ from: airlock(region), to: primary(region) }),
  (region) => ({ from: keeper(region), to: primary(region) }),
  (region) => ({ from: keeper(region), to: replica(region) }),
  (region) => ({ from: edge(region), to: keeper(region) }),
  (region) => around(edge(region)),
  (region) => around(keeper(region)),
  (region) => around(airlock(region)),
];
const LINKS_TO_SERVERS: readonly ((region: string) => LinkChoice)[] = [
  (region) => around(primary(region)),
  (region) => around(replica(region)),
  (region) => ({ from: replica(region), to: primary(region) }),
];

/** Each with its weight, so that no kind is rare and none crowds out the others. */
const PARTS: readonly (readonly [number, Make])[] = [
  [40, (draw, region, other) => one(draw, networkFault(draw, oneOf(draw, LINKS)(region, other)))],
  [
    14,
    (draw, region) => {
      const links = oneOf(draw, LINKS_TO_SERVERS)(region);
      return one(draw, networkFault(draw, links), region);
    },
  ],
  [10, (draw, region) => one(draw, kill(draw, oneOf(draw, SERVERS)(region)), region)],
  [10, (draw, region) => one(draw, { kind: 'freeze', who: oneOf(draw, SERVERS)(region) }, region)],
  [6, (draw, region) => one(draw, stutter(draw, oneOf(draw, SERVERS)(region)), region)],
  [4, (draw, region) => one(draw, { kind: 'pause-replay', region }, region)],
  [8, (draw, region) => one(draw, kill(draw, oneOf(draw, OTHERS)(region)))],
  [8, (draw, region) => one(draw, { kind: 'freeze', who: oneOf(draw, OTHERS)(region) })],
  [4, (draw, region) => one(draw, stutter(draw, oneOf(draw, OTHERS)(region)))],
  [4, (draw, region) => one(draw, { kind: 'kill', who: { region } }, region)],
  [2, (draw, region) => one(draw, { kind: 'freeze', who: { region } }, region)],
  [
    4,
    (draw, region) =>
      one(draw, {
        kind: 'clock',
        who: edge(region),
        byMs: (draw(0, 1) === 0 ? -1 : 1) * oneOf(draw, [HOUR_MS, HOUR_MS / 60, 500]),
      }),
  ],
  [
    4,
    (_, region) => ({
      faults: [{ atMs: 0, fault: { kind: 'switchover', region } }],
      takes: region,
    }),
  ],
  [3, (draw) => policyAndBack(draw)],
  [5, (draw, region) => doubleFailure(draw, region)],
];
const SERVERS = [primary, replica] as const;
const OTHERS = [edge, keeper, airlock] as const;
/** `everything` most often: the other ones ask few things, often. */
const MIX_WEIGHTS: readonly MixName[] = [
  ...(Object.keys(MIXES) as MixName[]),
  'everything',
  'everything',
  'everything',
];

/** So that the next round begins with what this one began with. */
function policyAndBack(draw: Draw): Part {
  const policy = (change: string): Fault => ({ kind: 'policy', change });
  return {
    faults: [
      { atMs: 0, fault: policy('notices of asia stay in asia') },
      { atMs: draw(LASTS_MS_MIN, LASTS_MS_MAX), fault: policy('as it was') },
    ],
    takes: 'policy',
  };
}

/** The standby first, for so long that the primary may run alone; then the primary. */
function doubleFailure(draw: Draw, region: string): Part {
  const laterMs = draw(ALONE_MS_MIN, ALONE_MS_MAX);
  const bothMs = draw(LASTS_MS_MIN, BOTH_AWAY_MS_MAX);
  const gone: Fault =
    draw(0, 1) === 0
      ? { kind: 'freeze', who: replica(region) }
      : { kind: 'hole', links: around(replica(region)) };
  const then: Fault =
    draw(0, 1) === 0
      ? { kind: 'kill', who: primary(region) }
      : { kind: 'freeze', who: primary(region) };
  return {
    faults: [
      { atMs: 0, forMs: laterMs + bothMs, fault: gone },
      { atMs: laterMs, forMs: draw(LASTS_MS_MIN, BOTH_AWAY_MS_MAX), fault: then },
    ],
    takes: region,
  };
}

function kill(draw: Draw, who: Place): Fault {
  return { kind: 'kill', who, ...(draw(0, 2) === 0 && { startAgain: true }) };
}

function stutter(draw: Draw, who: Place): Fault {
  return { kind: 'stutter', who, stopMs: draw(100, 2_000), goMs: draw(50, 1_000) };
}

function networkFault(draw: Draw, links: LinkChoice): NetworkFault {
  const direction = oneOf(draw, ['upstream', 'downstream', 'both'] as const);
  const faults: readonly (() => NetworkFault)[] = [
    () => ({ kind: 'cut', links }),
    () => ({ kind: 'hole', links, direction }),
    () => ({ kind: 'slow', links, latencyMs: draw(20, 600), jitterMs: draw(1, 200) }),
    () => ({ kind: 'narrow', links, kBps: draw(4, 128), direction }),
    () => ({ kind: 'reset', links, afterMs: draw(0, 200) }),
    () => ({ kind: 'limit', links, bytes: draw(400, 20_000), direction }),
    () => ({ kind: 'slice', links, bytes: draw(1, 64), delayUs: draw(0, 2_000) }),
    () => ({
      kind: 'flap',
      links,
      how: oneOf(draw, ['cut', 'hole'] as const),
      upMs: draw(150, 2_000),
      downMs: draw(100, 1_500),
    }),
  ];
  return oneOf(draw, faults)();
}

function oneOf<T>(draw: Draw, from: readonly T[]): T {
  const found = from[draw(0, from.length - 1)];
  if (found === undefined) throw new RangeError('nothing to draw from');
  return found;
}

function weighted<T>(draw: Draw, weights: readonly (readonly [number, T])[]): T {
  let rest = draw(0, weights.reduce((sum, [weight]) => sum + weight, 0) - 1);
  for (const [weight, what] of weights) {
    rest -= weight;
    if (rest < 0) return what;
  }
  throw new RangeError('nothing to draw from');
}
