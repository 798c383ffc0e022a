/**
 * Does this copy have what that session has seen?
 *
 * The one place that compares positions. Two positions of one timeline compare as integers. Across
 * a promotion only the fork point tells: what was seen at or below it is part of the new timeline,
 * what was seen above it may be gone, and that is said aloud.
 */
import type { History, Position } from '../regions/position.ts';

/**
 * What a session has seen of one region: a position for each history that it met, usually one. Two
 * are kept after a promotion until the home has compared them with the fork. Ordered, so that equal
 * floors look equal.
 */
export type Floor = readonly Seen[];

export type Seen = Position & {
  /**
   * A replica showed it. A synchronous replica shows a commit before its primary does, so a primary
   * that has flushed this position may still not show it. What a primary itself has shown it shows.
   */
  onReplica: boolean;
};

export const NO_FLOOR: Floor = [];

/** More histories than the promotions of one region that anybody waits for with one session. */
export const POSITIONS_MAX = 4;

/** PostgreSQL counts timelines from 1, so this one is nobody's ancestor: what stands on it is lost. */
export const NO_TIMELINE = 0;

/** From best to worst: of several positions the worst counts. */
const STANDINGS = [
  'reached',
  /** It may get there. */
  'behind',
  /** The session has met a newer timeline: this copy has missed a promotion. */
  'older_timeline',
  /** Nobody has said yet where the older timeline ended. */
  'history_unknown',
  /** Written after the fork on a timeline that ended there: gone with the old primary. */
  'lost',
  'other_cluster',
] as const;
export type Standing = (typeof STANDINGS)[number];

/** How a copy at `at` stands to what was seen. `history` is that of its timeline, where it is known. */
export function standing(at: Position, floor: Floor, history: History | undefined): Standing {
  let worst = 0;
  for (const seen of floor) {
    const one = STANDINGS.indexOf(standingTo(at, seen, history));
    if (one > worst) worst = one;
  }
  return STANDINGS[worst] as Standing;
}

function standingTo(at: Position, seen: Seen, history: History | undefined): Standing {
  if (seen.systemId !== at.systemId) return 'other_cluster';
  if (seen.timeline > at.timeline) return 'older_timeline';
  if (seen.timeline < at.timeline) {
    if (history?.systemId !== at.systemId || history.timeline !== at.timeline) {
      return 'history_unknown';
    }
    const ancestor = history.ancestors.find(({ timeline }) => timeline === seen.timeline);
    // A timeline that is nobody's ancestor was a dead end, whatever was written on it.
    if (ancestor === undefined || seen.lsn > ancestor.end) return 'lost';
  }
  return seen.lsn <= at.lsn ? 'reached' : 'behind';
}

/**
 * What is left of a floor where `at` is the region's history. Of older timelines everything is left
 * that this one began with, and no more; what it has written itself is not given up with the rest.
 */
export function salvage(floor: Floor, at: Position, history: History | undefined): Floor {
  const begin = history?.ancestors.at(-1)?.end ?? at.lsn;
  let left = NO_FLOOR;
  for (const seen of floor) {
    const stands = standingTo(at, seen, history);
    const isOther = stands === 'other_cluster';
    const isOlder = seen.timeline < at.timeline && stands !== 'history_unknown';
    const lsn = isOther ? at.lsn : begin;
    left = mergeFloors(left, [isOther || isOlder ? { ...at, lsn, onReplica: false } : seen]);
  }
  return left;
}

/** What both have seen. Commutative, associative, idempotent, and never below either. */
export function mergeFloors(a: Floor, b: Floor): Floor {
  if (a.length === 0 || a === b) return b;
  if (b.length === 0) return a;
  const merged = [...a];
  for (const seen of b) {
    const at = merged.findIndex((known) => sameHistory(known, seen));
    const known = merged[at];
    if (known === undefined) merged.push(seen);
    else merged[at] = both(known, seen);
  }
  return merged.sort(byHistory);
}

/**
 * The same floor in at most `POSITIONS_MAX` positions, and never easier to reach. The newest timelines
 * stay as they are; the older ones become one position that counts as lost.
 */
export function boundFloor(floor: Floor): Floor {
  if (floor.length <= POSITIONS_MAX) return floor;
  const [first] = floor;
  const last = floor.at(-1);
  if (first === undefined || last === undefined) return floor;
  // Of two clusters no copy is: it stands to them as it does to all.
  if (first.systemId !== last.systemId) return [first, last];
  const at = 1 - POSITIONS_MAX;
  const folded = floor.slice(0, at).reduce(both);
  return [{ ...folded, timeline: NO_TIMELINE }, ...floor.slice(at)];
}

/** The higher one, and on a replica if either was: what lies below it may have been seen there. */
function both(a: Seen, b: Seen): Seen {
  const [lower, higher] = a.lsn < b.lsn ? [a, b] : [b, a];
  return lower.onReplica && !higher.onReplica ? { ...higher, onReplica: true } : higher;
}

export function sameHistory(a: Position, b: Position): boolean {
  return a.systemId === b.systemId && a.timeline === b.timeline;
}

function byHistory(a: Position, b: Position): number {
  if (a.systemId !== b.systemId) return a.systemId < b.systemId ? -1 : 1;
  return a.timeline - b.timeline;
}
