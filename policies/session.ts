/**
 * What must this caller not fail to see?
 *
 * A session is a value: whose it is, where that subject lives, and for every region a floor, the
 * position below which nothing may be read. Floors only rise. How a session is carried between
 * requests is the router's business.
 */

import type { RegionId } from '../regions/catalogue.ts';
import type { Position } from '../regions/position.ts';

export type Session = {
  /** Directory key of the subject; undefined while the session has only touched reference data. */
  subject: string | undefined;
  home: RegionId | undefined;
  /** The subject's move count. */
  epoch: number;
  floors: ReadonlyMap<RegionId, Position>;
};

export const NO_SESSION: Session = {
  subject: undefined,
  home: undefined,
  epoch: 0,
  floors: new Map(),
};

/** The same session, knowing that it has seen `region` at `position`. Returns itself if it knew. */
export function raise(session: Session, region: RegionId, position: Position): Session {
  const floor = session.floors.get(region);
  const raised = floor === undefined ? position : higher(floor, position);
  if (raised === floor) return session;
  const floors = new Map(session.floors);
  floors.set(region, raised);
  return { ...session, floors };
}

/**
 * The later of two floors of one region. A later timeline is the continuing history. Two clusters
 * have no order: what was seen last (`b`) is the region's present one.
 */
function higher(a: Position, b: Position): Position {
  if (a.systemId !== b.systemId) return b;
  if (a.timeline !== b.timeline) return a.timeline > b.timeline ? a : b;
  return a.lsn >= b.lsn ? a : b;
}

/** The session of `subject`, with whatever floors it brought. */
export function bind(session: Session, subject: string, home: RegionId, epoch: number): Session {
  if (session.subject === subject && session.home === home && session.epoch === epoch)
    return session;
  return { subject, home, epoch, floors: session.floors };
}
