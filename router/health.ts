/**
 * How is this edge, and what does it see of its region?
 *
 * For whoever runs the system. Anybody may learn that the edge serves, because load balancers and
 * peers ask without a credential; names of nodes, timelines, the policy and the load are for signed
 * hops, operators at the console, and everybody where a setting says so.
 */
import { formatLsn } from '../regions/position.ts';
import type { Edge } from './edge.ts';

/** What anybody is told who asks. */
export type OpenHealth = 'status' | 'whole';

export const STATUS = { status: 'ok' } as const;

export function healthOf(edge: Edge) {
  const nowMs = edge.now();
  const nodes = [...edge.sightings.all()].map((seen) => ({
    node: seen.node,
    role: seen.role,
    timeline: seen.at.timeline,
    lsn: formatLsn(seen.at.lsn),
    seenMsAgo: Math.round(nowMs - seen.seenAtMs),
  }));
  const mirrors = [...edge.sightings.mirrors()].map((seen) => ({
    region: seen.region,
    lsn: formatLsn(seen.at.lsn),
    ageMs: Math.round(seen.ageMs + nowMs - seen.seenAtMs),
  }));
  const { version, source, sha256, openings } = edge.policies.current;
  return {
    ...STATUS,
    region: edge.here,
    policyVersion: version,
    policySource: source,
    policySha256: sha256,
    openings: openings.kind === 'recorded' ? openings.open : openings.kind,
    nodes,
    durability: edge.database.durability ?? null,
    waiting: edge.database.waiting(),
    mirrors,
    pools: edge.database.stats(),
    decisions: Object.fromEntries(edge.decisions),
    admission: edge.admission.stats(),
    peers: edge.peers.stats(),
  };
}
