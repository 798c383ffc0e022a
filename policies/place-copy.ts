/**
 * May this region's copy of another home's data answer, or must the request go home?
 *
 * A copy comes with a pulse that says how far into the home's log it certainly is; what it shows
 * may be younger, by an amount that nobody here knows. So a session that has read a copy has no
 * position of it in the home's log. It has one in the log of the region that keeps the copy, and
 * that is how the same region goes on serving it.
 */
import type { RegionId } from '../regions/catalogue.ts';
import type { MirrorSighting, Sighting } from '../regions/sighting.ts';
import type { Level } from './consistency.ts';
import type { Known, Objection } from './place-read.ts';
import { floorOf, type Session } from './session.ts';
import { standing } from './standing.ts';

export type CopyPlacement =
  | { kind: 'serve'; seen: MirrorSighting }
  | { kind: 'go-home'; because: Objection };

export function placeCopy(
  {
    level,
    session,
    home,
    here,
  }: { level: Level; session: Session; home: RegionId; here: RegionId },
  seen: MirrorSighting | undefined,
  node: Sighting | undefined,
  { history }: Pick<Known, 'history'>,
  nowMs: number,
): CopyPlacement {
  if (level.kind === 'strong') return goHome('not_the_home');
  if (seen === undefined) return goHome('never_seen');
  if (level.kind === 'eventual') return { kind: 'serve', seen };
  if (level.kind === 'bounded') {
    const ageMs = seen.ageMs + nowMs - seen.seenAtMs;
    return ageMs <= level.maxStalenessMs ? { kind: 'serve', seen } : goHome('too_stale');
  }
  // How the home's timelines hang together is known at home.
  const stands = standing(seen.at, floorOf(session, home), undefined);
  if (stands !== 'reached') return goHome(stands);
  const through = session.seenThrough.get(home);
  if (through === undefined) return { kind: 'serve', seen };
  if (through !== here) return goHome('seen_elsewhere');
  if (node === undefined) return goHome('never_seen');
  const keeps = standing(
    node.at,
    floorOf(session, here),
    history(node.at.systemId, node.at.timeline),
  );
  return keeps === 'reached' ? { kind: 'serve', seen } : goHome(keeps);
}

function goHome(because: Objection): CopyPlacement {
  return { kind: 'go-home', because };
}
