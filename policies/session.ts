/**
 * What must this caller not fail to see?
 *
 * A session is a value: whose it is, where that subject lives, and for every region a floor, below
 * which nothing may be read. Floors only rise, and two sessions of one subject merge into one that
 * has seen what both have. How a session is carried between requests is the router's business.
 */

import type { RegionId } from '../regions/catalogue.ts';
import {
  boundFloor,
  type Floor,
  mergeFloors,
  NO_FLOOR,
  type Seen,
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
 * The same session, after `region` has shown it what there is up to `seen`. Whoever shows something
 * has compared the floor with it before, so older histories of the region go, and what a primary
 * has shown needs no replica's word. Returns itself if it knew.
 */
export function raise(session: Session, region: RegionId, seen: Seen): Session {
  const floor = floorOf(session, region);
  const known = floor.find((one) => sameHistory(one, seen));
  if (known !== undefined && known.lsn >= seen.lsn) {
    const knew = floor.length === 1 && (known.lsn > seen.lsn || !known.onReplica || seen.onReplica);
    if (knew) return session;
    const settled = known.lsn === seen.lsn && !seen.onReplica ? seen : known;
    return goOnFrom(session, region, settled);
  }
  return goOnFrom(session, region, seen);
}

/**
 * The same session, after `region` has shown something without a look at the floor: whatever it had
 * seen before counts as it did. Returns itself if it knew.
 */
export function alsoSaw(session: Session, region: RegionId, seen: Seen): Session {
  const floor = floorOf(session, region);
  const known = floor.find((one) => sameHistory(one, seen));
  if (known !== undefined && known.lsn >= seen.lsn && (known.onReplica || !seen.onReplica)) {
    return session;
  }
  return { ...session, floors: new Map(session.floors).set(region, mergeFloors(floor, [seen])) };
}

/** The same session with nothing left of what it had seen of this region but this. */
export function goOnFrom(session: Session, region: RegionId, seen: Seen): Session {
  return { ...session, floors: new Map(session.floors).set(region, [seen]) };
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
