/**
 * Which sessions, floors and histories might there be?
 *
 * Arbitraries for properties: few regions, clusters and timelines, so that two of them meet often,
 * and now and then the largest numbers.
 */
import fc from 'fast-check';
import type { History, Position } from '../regions/position.ts';
import { SEVERAL, type Session } from './session.ts';
import { type Floor, mergeFloors, NO_FLOOR, POSITIONS_MAX, type Seen } from './standing.ts';

const anySystemId = fc.constantFrom(1n, 7_000_000_000_000_000_001n, 2n ** 64n - 1n);
const anyTimeline = fc.oneof(
  { weight: 9, arbitrary: fc.integer({ min: 1, max: 4 }) },
  { weight: 1, arbitrary: fc.constant(2 ** 32 - 1) },
);
const anyLsn = fc.oneof(
  { weight: 4, arbitrary: fc.bigInt(0n, 9n) },
  { weight: 1, arbitrary: fc.bigInt(0n, 2n ** 64n - 1n) },
);

export const anyPosition: fc.Arbitrary<Position> = fc.record({
  systemId: anySystemId,
  timeline: anyTimeline,
  lsn: anyLsn,
});

export const anySeen: fc.Arbitrary<Seen> = fc.record({
  systemId: anySystemId,
  timeline: anyTimeline,
  lsn: anyLsn,
  onReplica: fc.boolean(),
});

const floorOf = (seen: readonly Seen[]): Floor =>
  seen.reduce<Floor>((floor, one) => mergeFloors(floor, [one]), NO_FLOOR);

export const anyFloor: fc.Arbitrary<Floor> = fc.array(anySeen, { maxLength: 6 }).map(floorOf);

/** Timelines from 1 up, each of them forked from the one before, or some left out: dead ends. */
export const anyHistory: fc.Arbitrary<History> = fc
  .record({
    systemId: anySystemId,
    timeline: fc.integer({ min: 1, max: 4 }),
    ends: fc.array(fc.bigInt(0n, 9n), { minLength: 3, maxLength: 3 }),
    missing: fc.nat(7),
  })
  .map(({ systemId, timeline, ends, missing }) => ({
    systemId,
    timeline,
    ancestors: [...ends]
      .sort((a, b) => (a < b ? -1 : 1))
      .map((end, i) => ({ timeline: i + 1, end }))
      .filter((ancestor, i) => ancestor.timeline < timeline && (missing & (1 << i)) === 0),
  }));

const anyRegion = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('eu', 'us', 'asia') },
  { weight: 1, arbitrary: fc.stringMatching(/^[a-z][a-z0-9-]{0,15}$/) },
);

/** 16 bytes, zeros among them. */
export const anySubject: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom('A'.repeat(22), `${'_'.repeat(21)}w`),
  fc
    .uint8Array({ minLength: 16, maxLength: 16 })
    .map((bytes) => Buffer.from(bytes).toString('base64url')),
);

/** As they travel: no more positions of a region than a token holds, and none empty. */
export const anySession: fc.Arbitrary<Session> = fc.record({
  subject: fc.option(anySubject, { nil: undefined }),
  home: fc.option(anyRegion, { nil: undefined }),
  epoch: fc.oneof(fc.integer({ min: 0, max: 3 }), fc.constant(2 ** 32 - 1)),
  floors: fc
    .array(
      fc.tuple(
        anyRegion,
        fc.array(anySeen, { minLength: 1, maxLength: POSITIONS_MAX }).map(floorOf),
      ),
      { maxLength: 4 },
    )
    .map((pairs) => new Map(pairs)),
  seenThrough: fc
    .array(fc.tuple(anyRegion, fc.oneof(anyRegion, fc.constant(SEVERAL))), { maxLength: 3 })
    .map((pairs) => new Map(pairs)),
});
