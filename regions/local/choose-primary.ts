/**
 * Which node of a region takes writes when the world starts?
 *
 * Nobody is running yet, so only the files can tell. One node that is no replica is the usual
 * case. Two of them are what a promotion leaves behind: the promoted one wins, provided that its
 * history says that it grew out of the other. Under synchronous replication it then has every
 * acknowledged commit. Anything else is a person's decision.
 */
import type { ClusterHistory } from './cluster-history.ts';

export type PrimaryChoice =
  /** No node has data: a new region. */
  | { kind: 'new'; primary: string }
  /** `replace` are nodes without a usable copy: empty, or primaries before a promotion. */
  | { kind: 'known'; primary: string; replace: readonly Replacement[] }
  | { kind: 'refuse'; why: string };

export type Replacement = { node: string; because: 'no_data' | 'superseded' };

/** `found` holds what each node's files say; undefined for a node without data. */
export function choosePrimary(
  found: ReadonlyMap<string, ClusterHistory | undefined>,
): PrimaryChoice {
  const names = [...found.keys()];
  const filled = [...found].flatMap(([node, history]) => (history ? [{ node, ...history }] : []));
  const first = names[0];
  if (first === undefined) return { kind: 'refuse', why: 'it has no nodes' };
  if (filled.length === 0) return { kind: 'new', primary: first };

  const [one] = filled;
  const stranger = filled.find(({ systemId }) => systemId !== one?.systemId);
  if (one !== undefined && stranger !== undefined) {
    return {
      kind: 'refuse',
      why: `${one.node} and ${stranger.node} are different databases, not copies of one (system identifiers ${one.systemId} and ${stranger.systemId})`,
    };
  }
  const primaries = filled
    .filter(({ role }) => role === 'primary')
    .sort((a, b) => b.timeline - a.timeline);
  const [newest, ...older] = primaries;
  if (newest === undefined) {
    const replicas = filled.map(({ node }) => node).join(', ');
    return {
      kind: 'refuse',
      why: `only replicas have data (${replicas}) and the primary's is gone; to make one of them the primary, remove its standby.signal`,
    };
  }
  const rival = older.find(
    ({ timeline }) => timeline === newest.timeline || !newest.ancestors.includes(timeline),
  );
  if (rival !== undefined) {
    return {
      kind: 'refuse',
      why: `both ${newest.node} (timeline ${newest.timeline}) and ${rival.node} (timeline ${rival.timeline}) look like primaries, and neither was promoted from the other; move away the data of the one you do not trust, and it is rebuilt as a replica`,
    };
  }
  return {
    kind: 'known',
    primary: newest.node,
    replace: [
      ...names.filter((node) => found.get(node) === undefined).map(replacement('no_data')),
      ...older.map(({ node }) => node).map(replacement('superseded')),
    ],
  };
}

function replacement(because: Replacement['because']): (node: string) => Replacement {
  return (node) => ({ node, because });
}
