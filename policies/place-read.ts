/**
 * Which node of this region should run this read?
 *
 * The freshness ladder. A replica that has replayed everything the session saw; else a replica that
 * will soon have, and is worth a wait; else the primary, as far as it has room for reads; else a
 * refusal. Nothing here waits: the answer says how long the router may stand at a node, and the
 * router comes back with the node in `tried` when it was in vain.
 */
import type { History, Position } from '../regions/position.ts';
import type { Sighting } from '../regions/sighting.ts';
import type { Level } from './consistency.ts';
import { type Floor, NO_FLOOR, type Standing, standing } from './standing.ts';

/**
 * Past this age a sighting is rumour: twelve looks missed at one every 250 ms. Long enough that a
 * busy event loop does not empty the region, short against a failover of seconds.
 */
export const SIGHTING_AGE_MS_MAX = 3_000;

export type ReadRequest = {
  /** Nearest first; what each node is, its sighting says. */
  nodes: readonly string[];
  level: Level;
  /** What the session has seen of this region. */
  floor: Floor;
  /** Nodes that were tried for this read already, and what was wrong with them. */
  tried: ReadonlyMap<string, Objection>;
  /** How long a read may stand at a replica that keeps up. */
  waitMsMax: number;
  /** What is left of the request's budget. */
  budgetMs: number;
  /** Whether the primary takes another read: replicas are for reading, the primary is for writing. */
  primaryHasRoom: boolean;
};

export type Rung = 'replica' | 'replica_after_wait' | 'primary';

/**
 * What proves that the answer is what the level promises.
 * - `none`: what is known of the node is enough.
 * - `before`: a commit must be acknowledged before the read begins. A synchronous replica shows a
 *   commit that its primary has not been told of, and whoever saw it there must see it here.
 * - `after`: a commit must be acknowledged after the read has ended: a primary that was replaced
 *   without knowing it answers reads, and cannot commit.
 * - `both`: what a replica has shown must be here, and the server must be the primary still.
 */
export type Proof = 'none' | 'before' | 'after' | 'both';

export type ReadPlacement =
  | {
      kind: 'serve';
      node: string;
      rung: Rung;
      proof: Proof;
      /** How long to stand at the node; 0 where it has everything. */
      waitMs: number;
      passedOver: readonly PassedOver[];
    }
  /** What the session has seen is not in this region's history, and will not come back. */
  | { kind: 'lost'; because: Loss; node: string; passedOver: readonly PassedOver[] }
  | { kind: 'refuse'; passedOver: readonly PassedOver[] };

/** Cut off by a promotion, or written to another cluster than the region has now. */
export type Loss = 'lost' | 'other_cluster';

export type PassedOver = { node: string; because: Objection };
export type Objection =
  | Exclude<Standing, 'reached'>
  | 'never_seen'
  | 'seen_too_long_ago'
  /** It has not kept up lately, so nobody waits for it. */
  | 'lagging'
  | 'too_stale'
  | 'unreachable'
  | 'not_the_primary'
  | 'older_primary'
  | 'has_no_room'
  | 'not_confirmed'
  /** A copy, where the level is for the home alone. */
  | 'not_the_home'
  /** A copy, and the session has read the same data from a copy in another region. */
  | 'seen_elsewhere';

export type Known = {
  sighting: (node: string) => Sighting | undefined;
  /** Of this region's clusters, as far as it was read. */
  history: (systemId: bigint, timeline: number) => History | undefined;
  /** Whether a newer timeline is known than that of this position. */
  isSuperseded: (at: Position) => boolean;
};

export function placeRead(request: ReadRequest, known: Known, nowMs: number): ReadPlacement {
  const { nodes, level, tried, waitMsMax, budgetMs, primaryHasRoom } = request;
  const floor = comparedAt(level, request.floor);
  const { sighting, history } = known;
  const passedOver: PassedOver[] = [];
  let primary: Sighting | undefined;
  let waiting: Sighting | undefined;
  let lagging: Sighting | undefined;
  let loss: { node: string; because: Loss } | undefined;
  const passOver = (node: string, because: Objection) => passedOver.push({ node, because });
  for (const node of nodes) {
    const seen = sighting(node);
    const because = tried.get(node) ?? objection(seen, nowMs);
    if (because !== undefined || seen === undefined) {
      passOver(node, because ?? 'never_seen');
      continue;
    }
    if (seen.role === 'primary') {
      // After a promotion the old primary may still answer; only the newest timeline is the region.
      if (known.isSuperseded(seen.at) || primary !== undefined) passOver(node, 'older_primary');
      else primary = seen;
      continue;
    }
    if (level.kind === 'strong') {
      passOver(node, 'not_the_primary');
      continue;
    }
    if (level.kind === 'bounded' && !isWithin(seen, level.maxStalenessMs, nowMs)) {
      passOver(node, 'too_stale');
      continue;
    }
    const stands = standing(seen.at, floor, history(seen.at.systemId, seen.at.timeline));
    if (stands === 'reached') {
      return { kind: 'serve', node, rung: 'replica', proof: 'none', waitMs: 0, passedOver };
    }
    if (stands === 'behind') {
      if (seen.keepsUp) waiting ??= seen;
      else lagging ??= seen;
    }
    if (isLoss(stands)) loss ??= { node, because: stands };
    if (stands !== 'behind' || !seen.keepsUp) {
      passOver(node, stands === 'behind' ? 'lagging' : stands);
    }
  }
  if (waiting !== undefined) {
    // Half the budget at most, so that the next rung has time to answer.
    return standAt(waiting, Math.min(waitMsMax, budgetMs / 2), passedOver);
  }
  if (primary !== undefined) {
    const { node, at } = primary;
    const stands = standing(at, floor, history(at.systemId, at.timeline));
    if (isLoss(stands)) loss ??= { node, because: stands };
    // A primary has every write of its own history; only another history is an objection.
    if (stands !== 'reached' && stands !== 'behind') passOver(node, stands);
    else if (!primaryHasRoom && level.kind !== 'strong') passOver(node, 'has_no_room');
    else {
      const proof = proofAt(primary, level, floor, nowMs);
      return { kind: 'serve', node, rung: 'primary', proof, waitMs: 0, passedOver };
    }
  }
  if (loss !== undefined) return { kind: 'lost', ...loss, passedOver };
  // Better late than never: nobody else has room.
  if (lagging !== undefined) {
    const at = passedOver.findIndex(({ node }) => node === lagging.node);
    return standAt(lagging, budgetMs / 2, passedOver.toSpliced(at, 1));
  }
  return { kind: 'refuse', passedOver };
}

/**
 * What of the session's floor a read at this level is compared with. `strong` shows no less than
 * `session`: a loss is told there as well, and what a replica has shown is there.
 */
export function comparedAt(level: Level, floor: Floor): Floor {
  return level.kind === 'session' || level.kind === 'strong' ? floor : NO_FLOOR;
}

export function isLoss(stands: Standing): stands is Loss {
  return stands === 'lost' || stands === 'other_cluster';
}

function standAt({ node }: Sighting, waitMs: number, passedOver: readonly PassedOver[]) {
  return {
    kind: 'serve',
    node,
    rung: 'replica_after_wait',
    proof: 'none',
    waitMs,
    passedOver,
  } as const;
}

function proofAt(primary: Sighting, level: Level, floor: Floor, nowMs: number): Proof {
  switch (level.kind) {
    case 'strong':
      return isOpen(primary, floor) ? 'both' : 'after';
    case 'bounded':
      return isWithin(primary, level.maxStalenessMs, nowMs) ? 'none' : 'after';
    case 'eventual':
      return 'none';
    case 'session':
      return isOpen(primary, floor) ? 'before' : 'none';
  }
}

/** Whether a replica has shown the session what this primary may not show yet. */
function isOpen({ acknowledged, at }: Sighting, floor: Floor): boolean {
  return floor.some(
    ({ timeline, lsn, onReplica }) =>
      onReplica && timeline === at.timeline && (acknowledged === undefined || lsn > acknowledged),
  );
}

function isWithin({ freshAsOfMs }: Sighting, maxStalenessMs: number, nowMs: number): boolean {
  return freshAsOfMs !== undefined && nowMs - freshAsOfMs <= maxStalenessMs;
}

function objection(seen: Sighting | undefined, nowMs: number): Objection | undefined {
  if (seen === undefined) return 'never_seen';
  return nowMs - seen.seenAtMs > SIGHTING_AGE_MS_MAX ? 'seen_too_long_ago' : undefined;
}
