/**
 * Which node of this region should run this read?
 *
 * The local replica when it has replayed everything the session saw, or may soon have; otherwise
 * the primary. Nothing here waits: the rung `replica_after_wait` asks the router to stand at that
 * node for a bounded moment, and to come back with the node in `tried` when it was in vain.
 */
import { order, type Position } from '../regions/position.ts';
import type { Sighting } from '../regions/sighting.ts';

/**
 * Past this age a sighting is rumour: twelve looks missed at one every 250 ms. Long enough that a
 * busy event loop does not empty the region, short against a failover of seconds.
 */
export const SIGHTING_AGE_MS_MAX = 3_000;

export type ReadRequest = {
  /** Nearest first; what each node is, its sighting says. */
  nodes: readonly string[];
  /** The session's floor in this region; undefined when it has none. */
  floor: Position | undefined;
  /** Nodes that were tried for this read already, and what was wrong with them. */
  tried: ReadonlyMap<string, Objection>;
};

export type Rung = 'replica' | 'replica_after_wait' | 'primary';

export type ReadPlacement =
  | { kind: 'serve'; node: string; rung: Rung; passedOver: readonly PassedOver[] }
  | { kind: 'refuse'; passedOver: readonly PassedOver[] };

export type PassedOver = { node: string; because: Objection };
export type Objection =
  | 'never_seen'
  | 'seen_too_long_ago'
  | 'other_timeline'
  | 'other_cluster'
  | 'behind'
  | 'unreachable'
  | 'two_primaries';

export function placeRead(
  { nodes, floor, tried }: ReadRequest,
  sighting: (node: string) => Sighting | undefined,
  nowMs: number,
): ReadPlacement {
  const passedOver: PassedOver[] = [];
  let primary: Sighting | undefined;
  let waiting: Sighting | undefined;
  for (const node of nodes) {
    const seen = sighting(node);
    const because = tried.get(node) ?? objection(seen, nowMs);
    if (because !== undefined || seen === undefined) {
      passedOver.push({ node, because: because ?? 'never_seen' });
      continue;
    }
    if (seen.role === 'primary') {
      // After a promotion the old primary may still answer; only the newest timeline is the region.
      if (primary === undefined || seen.at.timeline > primary.at.timeline) primary = seen;
      continue;
    }
    const stands = standing(seen.at, floor);
    if (stands === 'reached') return { kind: 'serve', node, rung: 'replica', passedOver };
    if (stands === 'behind') waiting ??= seen;
    else passedOver.push({ node, because: stands });
  }
  if (waiting !== undefined) {
    return { kind: 'serve', node: waiting.node, rung: 'replica_after_wait', passedOver };
  }
  if (primary !== undefined) {
    const stands = standing(primary.at, floor);
    // A primary has every write of its own history; only another history is an objection.
    if (stands === 'reached' || stands === 'behind') {
      return { kind: 'serve', node: primary.node, rung: 'primary', passedOver };
    }
    passedOver.push({ node: primary.node, because: stands });
  }
  return { kind: 'refuse', passedOver };
}

function objection(seen: Sighting | undefined, nowMs: number): Objection | undefined {
  if (seen === undefined) return 'never_seen';
  return nowMs - seen.seenAtMs > SIGHTING_AGE_MS_MAX ? 'seen_too_long_ago' : undefined;
}

/** How a node, or a mirror, at this position stands to a session's floor. */
export function standing(
  at: Position,
  floor: Position | undefined,
): 'reached' | 'behind' | 'other_timeline' | 'other_cluster' {
  if (floor === undefined) return 'reached';
  const seen = order(floor, at);
  if (seen === 'before') return 'behind';
  return seen === 'same' || seen === 'after' ? 'reached' : seen;
}
