/**
 * Somebody says which node is the primary: is it so?
 *
 * Only when the node itself says so over SQL, and when no newer timeline of the same cluster is known:
 * whoever moves the primary may be late, cut off, or asked about another cluster. Doubt names no
 * primary, and says why.
 */
import type { NodeView } from './steward.ts';

export type Claim = {
  /** `Patroni`, `db.example:5432`: for words. */
  by: string;
  node: string;
};

export type Believed =
  | { primary: string; timeline: number; doubt?: undefined }
  | { primary?: undefined; timeline?: undefined; doubt: string };

/** The highest timeline of each cluster that was ever seen. It is never forgotten. */
export class NewestTimelines {
  readonly #newest = new Map<bigint, number>();

  notice(nodes: readonly NodeView[]): void {
    for (const seen of nodes) {
      if (seen.kind !== 'seen') continue;
      const before = this.#newest.get(seen.systemId) ?? 0;
      this.#newest.set(seen.systemId, Math.max(before, seen.timeline));
    }
  }

  of(systemId: bigint): number {
    return this.#newest.get(systemId) ?? 0;
  }
}

export function believe(
  { by, node }: Claim,
  nodes: readonly NodeView[],
  newest: NewestTimelines,
): Believed {
  const seen = nodes.find((one) => one.node === node);
  const calls = `${by} calls ${node} the primary`;
  if (seen === undefined) return { doubt: `${calls}, and the catalogue has no such node` };
  if (seen.kind === 'silent') {
    const why = seen.because === 'refused' ? 'nobody listens there' : 'it does not answer';
    return { doubt: `${calls}, and over SQL ${why}` };
  }
  if (seen.role === 'replica') return { doubt: `${calls}, and over SQL it is a replica` };
  const known = newest.of(seen.systemId);
  if (known > seen.timeline) {
    return {
      doubt: `${calls}, and it is on timeline ${seen.timeline}; timeline ${known} has begun`,
    };
  }
  const other = nodes.find(
    (one) => one.kind === 'seen' && one.role === 'primary' && one.node !== node,
  );
  if (other?.kind === 'seen' && other.systemId !== seen.systemId) {
    return { doubt: `${calls}, and ${other.node} is the primary of another cluster` };
  }
  if (other?.kind === 'seen' && other.timeline === seen.timeline) {
    return { doubt: `${calls}, and ${other.node} is a primary on the same timeline` };
  }
  return { primary: node, timeline: seen.timeline };
}
