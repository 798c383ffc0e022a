/**
 * Can the primary of a region go to another of its sites now, and what could be lost by it?
 *
 * While the primary lives nothing can: commits are made to wait for a node of the new site, which
 * then takes over. When it is gone, nothing is lost only where the record says that a node of the
 * new site has everything. Else somebody has to answer for it, and is told how much it may be.
 */
import type { SiteId } from '../../regions/catalogue.ts';
import { formatLsn } from '../../regions/position.ts';
import { answering, furthest, healthOf, type Outlook, type Ready } from './decide.ts';
import type { KeeperRecord } from './record.ts';

export type RelocationPlan =
  | { kind: 'refuse'; why: string }
  /** Nobody knows yet whether the primary lives. */
  | { kind: 'wait'; why: string }
  /** One of these takes over and has everything. */
  | { kind: 'move'; to: readonly string[] }
  /** This one takes over if somebody answers for what it lacks. */
  | { kind: 'loss'; node: string; because: string; mayLack: string };

/** Where the primary's log stood when it was last seen as one. */
export type LastSeen = { lsn: bigint; msAgo: number };

export function planRelocation(
  record: KeeperRecord,
  outlook: Outlook,
  site: SiteId,
  lastSeen: LastSeen | undefined,
): RelocationPlan {
  const { primary, standbys } = record;
  const { sites, nodes } = outlook;
  if (sites.get(primary) === site) return refuse(`${primary}, the primary, is at ${site} already`);
  if (record.pending !== null) return refuse(`a ${record.pending.kind} is under way already`);
  const there = [...sites].filter(([, one]) => one === site).map(([node]) => node);
  const health = healthOf(record, outlook);
  switch (health.kind) {
    case 'serves': {
      const answer = there.filter((node) => {
        const state = nodes.get(node)?.state;
        return state?.kind === 'seen' && state.role === 'replica';
      });
      if (answer.length > 0) return { kind: 'move', to: answer };
      return refuse(`no node at ${site} answers as a standby`);
    }
    case 'hidden':
      return refuse(`${primary} lives: ${health.heardBy} hears it, only this keeper does not`);
    case 'doubtful':
      return { kind: 'wait', why: `${primary} is not known to be gone: ${health.why}` };
    case 'gone':
      break;
  }
  const { ready } = answering(record, outlook, there);
  const next = furthest(ready, () => false);
  if (next === undefined) {
    return refuse(`no node at ${site} answers as a standby on timeline ${record.timeline}`);
  }
  const named = answering(record, outlook, standbys);
  if (standbys.length > 0 && named.missing.length === 0) {
    const best = furthest(named.ready, ({ node }) => there.includes(node));
    if (best !== undefined && there.includes(best.node)) return { kind: 'move', to: there };
    return refuse(
      `${best?.node} at ${sites.get(best?.node ?? '')} answers and has all that was acknowledged, so nothing need be lost: let it take over first`,
    );
  }
  const because = `${primary} is gone: ${health.why}`;
  const mayLack = `${whyLess(record, named.missing)}; ${farBehind(next, primary, lastSeen)}`;
  return { kind: 'loss', node: next.node, because, mayLack };
}

function whyLess({ primary, standbys, commits }: KeeperRecord, missing: readonly string[]): string {
  if (standbys.length > 0) return `${missing.join(' and ')} may have more, and is silent`;
  return commits === 'asynchronous'
    ? `commits of ${primary} waited for nobody, as the policy wants it`
    : `${primary} ran alone`;
}

function farBehind(
  { node, state }: Ready,
  primary: string,
  lastSeen: LastSeen | undefined,
): string {
  const has = `${node} has the log up to ${formatLsn(state.lsn)}`;
  if (lastSeen === undefined) {
    return `${has}, and no keeper that runs now has seen how far ${primary} was`;
  }
  const bytes = lastSeen.lsn - state.lsn;
  const seen = `${primary} was last seen at ${formatLsn(lastSeen.lsn)}, ${(lastSeen.msAgo / 1_000).toFixed(1)} s ago`;
  const lack = bytes > 0n ? `${bytes} bytes further` : 'not further';
  return `${has}; ${seen}, ${lack}; what it wrote after that nobody knows`;
}

function refuse(why: string): RelocationPlan {
  return { kind: 'refuse', why };
}
