/**
 * What must this caller not fail to see?
 *
 * A session is a value: whose it is, where that subject lives, and for every region a floor, below
 * which nothing may be read. Floors only rise, and two sessions of one subject merge into one that
 * has seen what both have. How a session is carried between requests is the router's business.
 */

import type { RegionId } from '../regions/catalogue.ts';
import type { History, Position } from '../regions/position.ts';
import {
  boundFloor,
  type Floor,
  mergeFloors,
  NO_FLOOR,
  type Seen,
  salvage,
  sameHistory,
} from './standing.ts';

export type Session = {
  /** Directory key of the subject; undefined while the session has only touched reference data. */
  subject: string | undefined;
  home: RegionId | undefined;
  /** The subject's move count. */
  epoch: number;
  floors: ReadonlyMap<RegionId, Floor>;
  /**
   * Whose data was read from a copy, and in which region. What a copy shows has a position in its
   * home's log that nobody abroad can name, but it lies below the home's present one, and the copy
   * itself has a position in the log of the region that keeps it.
   */
  seenThrough: ReadonlyMap<RegionId, RegionId | typeof SEVERAL>;
};

/** Copies in more than one region were read: none of them can vouch for what the others showed. */
export const SEVERAL = '*';

export const NO_SESSION: Session = {
  subject: undefined,
  home: undefined,
  epoch: 0,
  floors: new Map(),
  seenThrough: new Map(),
};

export function floorOf(session: Session, region: RegionId): Floor {
  return session.floors.get(region) ?? NO_FLOOR;
}

/**
 * The same session, after `region` has shown it what there is up to `seen`, on a server that was
 * found to have all of `compared`. That much is settled by it: older histories of the region go, and
 * what a primary has shown needs no replica's word. What else the session has seen meanwhile, or
 * was not compared, counts as it did. Returns itself if it knew.
 */
export function raise(
  session: Session,
  region: RegionId,
  seen: Seen,
  compared: Floor = floorOf(session, region),
): Session {
  const floor = floorOf(session, region);
  const open = floor.filter((one) => !settles(seen, compared, one));
  const raised = mergeFloors(open, [seen]);
  if (raised.length === floor.length && raised.every((one, at) => isSame(one, floor[at]))) {
    return session;
  }
  return { ...session, floors: new Map(session.floors).set(region, raised) };
}

function settles(seen: Seen, compared: Floor, one: Seen): boolean {
  if (sameHistory(seen, one) && seen.lsn < one.lsn) return false;
  return compared.some(
    (other) =>
      sameHistory(other, one) && other.lsn >= one.lsn && (other.onReplica || !one.onReplica),
  );
}

function isSame(a: Seen, b: Seen | undefined): boolean {
  return b !== undefined && sameHistory(a, b) && a.lsn === b.lsn && a.onReplica === b.onReplica;
}

/**
 * The same session, after `region` has shown something without a look at the floor: whatever it had
 * seen before counts as it did. Returns itself if it knew.
 */
export function alsoSaw(session: Session, region: RegionId, seen: Seen): Session {
  return raise(session, region, seen, NO_FLOOR);
}

/** The same session with nothing left of what it had seen of this region but this. */
export function goOnFrom(session: Session, region: RegionId, seen: Seen): Session {
  return { ...session, floors: new Map(session.floors).set(region, [seen]) };
}

/** The same session without what this history of the region does not have any more. */
export function goOnIn(
  session: Session,
  region: RegionId,
  at: Position,
  history: History | undefined,
): Session {
  const left = salvage(floorOf(session, region), at, history);
  return { ...session, floors: new Map(session.floors).set(region, left) };
}

/** The home has shown something that is not older than any copy was. */
export function seenAtHome(session: Session, home: RegionId): Session {
  if (!session.seenThrough.has(home)) return session;
  const seenThrough = new Map(session.seenThrough);
  seenThrough.delete(home);
  return { ...session, seenThrough };
}

/** A copy of `home`'s data was read in `region`. */
export function seeThrough(session: Session, home: RegionId, region: RegionId): Session {
  const before = session.seenThrough.get(home);
  const through = before === undefined || before === region ? region : SEVERAL;
  if (through === before) return session;
  return { ...session, seenThrough: new Map(session.seenThrough).set(home, through) };
}

/** The session of `subject`, with whatever floors it brought. */
export function bind(session: Session, subject: string, home: RegionId, epoch: number): Session {
  if (session.subject === subject && session.home === home && session.epoch === epoch)
    return session;
  return { ...session, subject, home, epoch };
}

/**
 * One session that has seen what both have: commutative, associative, idempotent, and it lowers
 * nothing. Undefined when they belong to two subjects.
 */
export function merge(a: Session, b: Session): Session | undefined {
  if (a === b) return a;
  if (a.subject !== undefined && b.subject !== undefined && a.subject !== b.subject) {
    return undefined;
  }
  const floors = new Map(a.floors);
  for (const [region, floor] of b.floors)
    floors.set(region, mergeFloors(floorOf(a, region), floor));
  const seenThrough = new Map(a.seenThrough);
  for (const [home, region] of b.seenThrough) {
    const known = seenThrough.get(home) ?? region;
    seenThrough.set(home, known === region ? region : SEVERAL);
  }
  const { subject, home, epoch } = laterBinding(a, b);
  return { subject, home, epoch, floors, seenThrough };
}

/** The same session as it may travel: no floor is easier to reach, and each has an end. */
export function bounded(session: Session): Session {
  const floors = new Map<RegionId, Floor>();
  let changed = false;
  for (const [region, floor] of session.floors) {
    const kept = boundFloor(floor);
    floors.set(region, kept);
    changed ||= kept !== floor;
  }
  return changed ? { ...session, floors } : session;
}

/** Every region that a session says something about. */
export function regionsOf({ home, floors, seenThrough }: Session): Set<RegionId> {
  const regions = new Set<RegionId>(floors.keys());
  if (home !== undefined) regions.add(home);
  for (const [home, through] of seenThrough) {
    regions.add(home);
    if (through !== SEVERAL) regions.add(through);
  }
  return regions;
}

/** Of two bindings of one subject the one with more moves is the present one. */
function laterBinding(a: Session, b: Session): Session {
  if (a.subject === undefined) return b;
  if (b.subject === undefined) return a;
  if (a.epoch !== b.epoch) return a.epoch > b.epoch ? a : b;
  // One epoch has one home; an order for the impossible keeps the merge commutative.
  return (a.home ?? '') >= (b.home ?? '') ? a : b;
}
