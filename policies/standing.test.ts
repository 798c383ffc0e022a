import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { History } from '../regions/position.ts';
import { anyFloor, anyHistory, anyPosition, anySeen } from './sessions-for-tests.ts';
import {
  boundFloor,
  type Floor,
  mergeFloors,
  NO_FLOOR,
  POSITIONS_MAX,
  type Seen,
  type Standing,
  standing,
} from './standing.ts';

const RANK: readonly Standing[] = [
  'reached',
  'behind',
  'older_timeline',
  'history_unknown',
  'lost',
  'other_cluster',
];
const rank = (stands: Standing) => RANK.indexOf(stands);

/** A copy, and what may be known of how its timeline came about. */
const anyCopy = fc
  .tuple(anyPosition, anyHistory, fc.constantFrom('none', 'its own', 'any'))
  .map(([at, history, known]): [typeof at, History | undefined] => [
    at,
    known === 'none'
      ? undefined
      : known === 'any'
        ? history
        : { ...history, systemId: at.systemId, timeline: at.timeline },
  ]);

const at: Seen = { systemId: 7n, timeline: 2, lsn: 0x500n, onReplica: false };
const history: History = {
  systemId: 7n,
  timeline: 2,
  ancestors: [{ timeline: 1, end: 0x400n }],
};

describe('how a copy at 0/500 of timeline 2, which left timeline 1 at 0/400, stands to', () => {
  test.each<[string, Partial<Seen>, Standing]>([
    ['its own position', {}, 'reached'],
    ['the next byte', { lsn: 0x501n }, 'behind'],
    ['the fork point', { timeline: 1, lsn: 0x400n }, 'reached'],
    ['the byte after the fork', { timeline: 1, lsn: 0x401n }, 'lost'],
    ['a newer timeline', { timeline: 3, lsn: 1n }, 'older_timeline'],
    ['a timeline that is nobody’s ancestor', { timeline: 0, lsn: 1n }, 'lost'],
    ['another cluster', { systemId: 8n }, 'other_cluster'],
  ])('%s', (_what, seen, expected) => {
    expect(standing(at, [{ ...at, ...seen }], history)).toBe(expected);
  });

  test('an ancestor, before anybody has read where it ended', () => {
    const seen = [{ ...at, timeline: 1, lsn: 1n }];
    expect(standing(at, seen, undefined)).toBe('history_unknown');
    expect(standing(at, seen, { ...history, systemId: 8n })).toBe('history_unknown');
    expect(standing(at, seen, { ...history, timeline: 3 })).toBe('history_unknown');
  });

  test('nothing', () => {
    expect(standing(at, NO_FLOOR, undefined)).toBe('reached');
  });
});

describe('merged floors', () => {
  test('are the same in either order, however they are put together, and by repetition', () => {
    fc.assert(
      fc.property(anyFloor, anyFloor, anyFloor, (a, b, c) => {
        expect(mergeFloors(a, b)).toEqual(mergeFloors(b, a));
        expect(mergeFloors(mergeFloors(a, b), c)).toEqual(mergeFloors(a, mergeFloors(b, c)));
        expect(mergeFloors(a, a)).toEqual(a);
        expect(mergeFloors(a, mergeFloors(a, b))).toEqual(mergeFloors(a, b));
      }),
    );
  });

  test('hold every position of both, or a higher one of its history', () => {
    fc.assert(
      fc.property(anyFloor, anyFloor, (a, b) => {
        const merged = mergeFloors(a, b);
        for (const seen of [...a, ...b]) {
          const kept = merged.filter(
            ({ systemId, timeline }) => systemId === seen.systemId && timeline === seen.timeline,
          );
          expect(kept).toHaveLength(1);
          expect(kept[0]?.lsn).toBeGreaterThanOrEqual(seen.lsn);
          // What a replica showed stays in need of a proof.
          if (seen.onReplica) expect(kept[0]?.onReplica).toBe(true);
        }
        // And nothing that neither has.
        for (const { lsn } of merged) {
          expect([...a, ...b].some((seen) => seen.lsn === lsn)).toBe(true);
        }
      }),
    );
  });

  test('stand as the worse of both, at any copy, whatever is known of its history', () => {
    fc.assert(
      fc.property(anyFloor, anyFloor, anyCopy, (a, b, [at, history]) => {
        const [alone, other, both] = [a, b, mergeFloors(a, b)].map((floor) =>
          rank(standing(at, floor, history)),
        );
        expect(both).toBe(Math.max(alone ?? 0, other ?? 0));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('a bounded floor', () => {
  const many = fc
    .array(anySeen, { minLength: 1, maxLength: 20 })
    .chain((seen) =>
      fc.constantFrom(
        seen,
        seen.map((one) => ({ ...one, systemId: 1n })),
      ),
    )
    .map((seen) => seen.map((one, i) => ({ ...one, timeline: (one.timeline % 9) + (i % 7) })))
    .map((seen) => seen.reduce<Floor>((all, one) => mergeFloors(all, [one]), NO_FLOOR));

  test('is never easier to reach, and holds no more than a token does', () => {
    let folded = 0;
    fc.assert(
      fc.property(many, anyCopy, (floor, [at, history]) => {
        const kept = boundFloor(floor);
        folded += kept === floor ? 0 : 1;
        expect(kept.length).toBeLessThanOrEqual(POSITIONS_MAX);
        expect(rank(standing(at, kept, history))).toBeGreaterThanOrEqual(
          rank(standing(at, floor, history)),
        );
        expect(boundFloor(kept)).toBe(kept);
        expect(mergeFloors(kept, NO_FLOOR)).toEqual(mergeFloors(kept, kept));
      }),
      { numRuns: 2_000 },
    );
    expect(folded).toBeGreaterThan(200);
  });

  test('merged with another one is not easier to reach than both whole', () => {
    fc.assert(
      fc.property(many, many, anyCopy, (a, b, [at, history]) => {
        const kept = boundFloor(mergeFloors(boundFloor(a), boundFloor(b)));
        expect(rank(standing(at, kept, history))).toBeGreaterThanOrEqual(
          rank(standing(at, mergeFloors(a, b), history)),
        );
      }),
      { numRuns: 2_000 },
    );
  });

  test('of as many positions as fit is the floor itself', () => {
    const floor = Array.from({ length: POSITIONS_MAX }, (_, i) => ({ ...at, timeline: i + 1 }));
    expect(boundFloor(floor)).toBe(floor);
    expect(boundFloor([...floor, { ...at, timeline: 9 }])).not.toBe(floor);
  });
});
