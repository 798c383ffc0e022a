/**
 * What does a keeper do next?
 *
 * One step at a time, from the record and from what was seen. A step is either a new version of the
 * record or an act that brings the servers to what the record says, never both: so a keeper that is
 * killed anywhere finds in the record what was decided, sees what has been done, and goes on.
 */

import type { SiteId } from '../../regions/catalogue.ts';
import type { BetweenSites, Commits } from '../policy.ts';
import {
  type Hearsay,
  judgePrimary,
  type NodeFacts,
  type NodeState,
  type PrimaryHealth,
  REFUSED_MS,
  SILENT_MS,
} from './judge-primary.ts';
import type { AcceptedLoss, KeeperEvent, KeeperRecord, RecordChange } from './record.ts';

/** A replica that answers but has no stream may be between two attempts to connect. */
export const NOT_STREAMING_MS = 3_000;
/** With fewer, the loss of one standby would leave the primary alone. */
const QUORUM_STANDBYS_MIN = 2;
/** A server that was replaced and stays silent is ended, where its machine still obeys. */
export const ZOMBIE_MS = 10_000;

export type Outlook = {
  /** One for each node of the region that was looked at. */
  nodes: ReadonlyMap<string, NodeFacts>;
  hearsay: Hearsay;
  /** For each node, how long the primary has not streamed to it, ms; 0 while it does. */
  unstreamedForMs: ReadonlyMap<string, number>;
  /** For each node, how long it has not confirmed what the primary had flushed, ms. */
  unconfirmedForMs: ReadonlyMap<string, number>;
  /** What the machines say of the servers' processes; nothing where they do not answer. */
  processes: ReadonlyMap<string, 'runs' | 'ended'>;
  /** Nodes that an act is under way for. */
  busy: ReadonlySet<string>;
  /** This process was late itself, so its silence is no evidence. */
  hasStalled: boolean;
  commits: Commits;
  /** Which loss the policy accepts; with asynchronous commits only. */
  possibleLoss?: string;
  /** Where each node stands; nodes of which nothing is said stand together. */
  sites: ReadonlyMap<string, SiteId>;
  betweenSites: BetweenSites;
  /** This process carries out the move that is pending. */
  isMoving: boolean;
};

export type Step =
  | { kind: 'rest'; health: PrimaryHealth; why?: string }
  | { kind: 'record'; change: RecordChange }
  | { kind: 'act'; act: Act };

export type Act =
  | { kind: 'promote'; node: string; from: { timeline: number } }
  /** Stops what a standby receives, so that what it holds can be compared. */
  | { kind: 'detach'; node: string }
  /** Lets commits of the primary wait for exactly these. */
  | { kind: 'require'; primary: string; standbys: readonly string[] }
  /** The same and a proof that commits do wait; only then may the record say so. */
  | { kind: 'require_proved'; primary: string; standbys: readonly string[]; event: KeeperEvent }
  /** Starts a server as what its files say it is. */
  | { kind: 'start'; node: string }
  /** Makes a standby of the primary out of whatever this node is. */
  | { kind: 'follow'; node: string; primary: string; copy: boolean; keepData: boolean };

export function decide(record: KeeperRecord, outlook: Outlook): Step {
  const health = healthOf(record, outlook);
  const rest = (why?: string): Step => ({
    kind: 'rest',
    health,
    ...(why !== undefined && { why }),
  });
  if (outlook.hasStalled) return rest('this keeper was asleep itself, so it looks again first');
  const strangers = strangersTo(record, outlook);
  if (strangers !== undefined) return rest(strangers);
  if (record.pending?.kind === 'promotion') return finishPromotion(record, outlook, rest);
  if (record.pending?.kind === 'switchover') {
    return finishSwitchover(record, health, outlook, rest);
  }
  if (record.pending?.kind === 'move' && !outlook.isMoving) {
    const because = 'the keeper that was to move it has ended';
    return change({ pending: null, event: { kind: 'called_off', because } });
  }
  switch (health.kind) {
    case 'serves':
      return tend(record, outlook) ?? rest();
    case 'gone':
      return replace(record, health.why, outlook, rest);
    default:
      return rest();
  }
}

export function healthOf(record: KeeperRecord, { nodes, hearsay }: Outlook): PrimaryHealth {
  const others = [...nodes.values()].filter(({ node }) => node !== record.primary);
  return judgePrimary(nodes.get(record.primary), record.timeline, others, hearsay);
}

/** The primary serves: keep settings and record in step, and standbys with it. */
function tend(record: KeeperRecord, outlook: Outlook): Step | undefined {
  const { nodes, commits, busy } = outlook;
  const primary = stateOf(nodes, record.primary);
  if (primary?.kind !== 'seen' || busy.has(record.primary)) return undefined;
  if (record.commits !== commits) {
    return change({ commits, standbys: [], event: { kind: 'commits', mode: commits } });
  }
  return (
    keepInStep(record, primary.commitsWaitFor) ??
    dismissLost(record, primary, outlook) ??
    admitNext(record, primary, outlook) ??
    dismissNeedless(record, primary, outlook) ??
    goOnAlone(record, primary) ??
    forgetRejoined(record, primary) ??
    bringBack(record, outlook)
  );
}

/** While the primary is to move, commits wait for one standby only, whatever the policy says. */
function modeOf({ commits, pending }: KeeperRecord): Commits {
  return pending?.kind === 'move' ? 'synchronous' : commits;
}

/** Where standbys should stand: with the primary, or where the primary is to go. */
function isNear({ primary, pending }: KeeperRecord, { sites }: Outlook, node: string): boolean {
  return pending?.kind === 'move'
    ? pending.to.includes(node)
    : sites.get(node) === sites.get(primary);
}

/** Servers must be at least as strict as the record. */
function keepInStep(record: KeeperRecord, waitFor: readonly string[]): Step | undefined {
  const { primary, standbys } = record;
  if (modeOf(record) === 'asynchronous') {
    // What a move that was called off has left.
    if (standbys.length > 0) {
      return change({ standbys: [], event: { kind: 'commits', mode: record.commits } });
    }
    return waitFor.length === 0
      ? undefined
      : { kind: 'act', act: { kind: 'require', primary, standbys: [] } };
  }
  const isLenient =
    (waitFor.length === 0 && standbys.length > 0) ||
    (standbys.length > 0 && waitFor.some((node) => !standbys.includes(node)));
  if (isLenient) {
    const because = 'the server waits for others than the record says; somebody has changed it';
    return change({ standbys: [], event: { kind: 'alone', because } });
  }
  if (standbys.some((node) => !waitFor.includes(node))) {
    return { kind: 'act', act: { kind: 'require', primary, standbys } };
  }
  return undefined;
}

function dismissLost(record: KeeperRecord, primary: Seen, outlook: Outlook): Step | undefined {
  const losses = record.standbys.flatMap((node) => {
    const because = lossOf(node, outlook);
    return because === undefined ? [] : [{ node, because }];
  });
  if (losses.length === 0) return undefined;
  const left = record.standbys.filter((one) => !losses.some(({ node }) => node === one));
  const because = losses.map((loss) => loss.because).join('; ');
  if (left.length === 0) return change({ standbys: [], event: { kind: 'alone', because } });
  // Without one that confirms there would be no proof; they are about to be lost, or to catch up.
  if (!primary.streaming.some(({ node, isLevel }) => isLevel && left.includes(node))) {
    return undefined;
  }
  const node = losses.map((loss) => loss.node).join(' and ');
  const event: KeeperEvent = { kind: 'dismissed', node, because };
  return {
    kind: 'act',
    act: { kind: 'require_proved', primary: record.primary, standbys: left, event },
  };
}

/** Why commits need not wait for this standby any longer; undefined while they should. */
function lossOf(
  node: string,
  { nodes, unstreamedForMs, unconfirmedForMs }: Outlook,
): string | undefined {
  const facts = nodes.get(node);
  if (facts === undefined) return undefined;
  const { state, forMs } = facts;
  if (state.kind === 'silent') {
    const patienceMs = state.because === 'refused' ? REFUSED_MS : SILENT_MS;
    const unconfirmedMs = unconfirmedForMs.get(node) ?? 0;
    if (Math.min(forMs, unconfirmedMs) < patienceMs) return undefined;
    return `${node} is silent for ${Math.round(forMs)} ms, and has confirmed nothing for ${Math.round(unconfirmedMs)} ms`;
  }
  const withoutMs = unstreamedForMs.get(node) ?? 0;
  if (withoutMs < NOT_STREAMING_MS) return undefined;
  return `${node} answers, but the primary has not streamed to it for ${Math.round(withoutMs)} ms`;
}

function admitNext(record: KeeperRecord, primary: Seen, outlook: Outlook): Step | undefined {
  const { nodes, busy } = outlook;
  const { former } = record;
  const mode = modeOf(record);
  if (mode === 'asynchronous') {
    const isBack = primary.streaming.some(({ node }) => node === former?.node);
    return former !== null && isBack
      ? change({ event: { kind: 'admitted', node: former.node } })
      : undefined;
  }
  const near = record.standbys.filter((node) => isNear(record, outlook, node));
  const byDistance = [...primary.streaming].sort(
    (a, b) => Number(isNear(record, outlook, b.node)) - Number(isNear(record, outlook, a.node)),
  );
  for (const { node, isLevel } of byDistance) {
    const state = stateOf(nodes, node);
    if (record.standbys.includes(node) || busy.has(node) || !isLevel) continue;
    if (state?.kind !== 'seen' || state.role !== 'replica' || !state.feedsReady) continue;
    // One is enough, but one at the right site is better than one elsewhere.
    const isNeeded =
      mode === 'synchronous'
        ? record.standbys.length === 0 || (near.length === 0 && isNear(record, outlook, node))
        : near.length < QUORUM_STANDBYS_MIN || isNear(record, outlook, node);
    if (!isNeeded) continue;
    const standbys = [...record.standbys, node].sort();
    const event: KeeperEvent = { kind: 'admitted', node };
    // One more that may confirm makes the record more lenient; the first one makes it stricter.
    if (record.standbys.length > 0) return change({ standbys, event });
    return {
      kind: 'act',
      act: { kind: 'require_proved', primary: record.primary, standbys, event },
    };
  }
  return undefined;
}

/**
 * Where there are enough at the right site, commits need not wait for others. Each one that they
 * may wait for has to answer before a successor is chosen, so needless ones stand in its way.
 */
function dismissNeedless(record: KeeperRecord, primary: Seen, outlook: Outlook): Step | undefined {
  const { standbys } = record;
  const near = standbys.filter((node) => isNear(record, outlook, node));
  const isLevel = (node: string) =>
    primary.streaming.some((one) => one.node === node && one.isLevel);
  const kept =
    modeOf(record) === 'synchronous'
      ? (near.length > 0 ? near : standbys).filter(isLevel).slice(0, 1)
      : near.length >= QUORUM_STANDBYS_MIN
        ? near
        : standbys;
  if (kept.length === 0 || kept.length === standbys.length || !kept.some(isLevel)) return undefined;
  const node = standbys.filter((one) => !kept.includes(one)).join(' and ');
  const because = `${kept.join(' and ')} ${kept.length === 1 ? 'is' : 'are'} enough`;
  const event: KeeperEvent = { kind: 'dismissed', node, because };
  return {
    kind: 'act',
    act: { kind: 'require_proved', primary: record.primary, standbys: kept, event },
  };
}

/** What a node may have held beyond the primary's log is put aside once it streams again. */
function forgetRejoined({ mayHoldMore = [] }: KeeperRecord, primary: Seen): Step | undefined {
  const node = mayHoldMore.find((one) => primary.streaming.some((stream) => stream.node === one));
  if (node === undefined) return undefined;
  const left = mayHoldMore.filter((one) => one !== node);
  return change({ mayHoldMore: left, event: { kind: 'rejoined', node } });
}

/** A standby that went away while it was being admitted must not keep commits waiting. */
function goOnAlone(
  { primary, standbys }: KeeperRecord,
  { commitsWaitFor }: Seen,
): Step | undefined {
  if (standbys.length > 0 || commitsWaitFor.length === 0) return undefined;
  return { kind: 'act', act: { kind: 'require', primary, standbys } };
}

/** Every other node becomes a standby of the primary again. */
function bringBack(record: KeeperRecord, outlook: Outlook): Step | undefined {
  const { nodes, busy, processes, unstreamedForMs } = outlook;
  const { primary, former } = record;
  for (const { node, state, forMs } of nodes.values()) {
    if (node === primary || busy.has(node)) continue;
    const isLost =
      state.kind === 'silent'
        ? processes.get(node) === 'ended' ||
          (processes.get(node) === 'runs' && forMs >= ZOMBIE_MS && node === former?.node)
        : state.role === 'primary' ||
          Math.min(unstreamedForMs.get(node) ?? 0, forMs) >= NOT_STREAMING_MS;
    if (!isLost) continue;
    const wasPrimary = node === former?.node;
    const copy = wasPrimary ? !former.isClean : state.kind === 'seen' && state.role === 'primary';
    const keepData = wasPrimary ? former.keepData : (record.mayHoldMore ?? []).includes(node);
    return { kind: 'act', act: { kind: 'follow', node, primary, copy, keepData } };
  }
  return undefined;
}

/** The primary is gone: who may follow it? */
function replace(
  record: KeeperRecord,
  why: string,
  outlook: Outlook,
  rest: (why?: string) => Step,
): Step {
  const { processes, busy } = outlook;
  const restart: Step | undefined =
    processes.get(record.primary) === 'ended' && !busy.has(record.primary)
      ? { kind: 'act', act: { kind: 'start', node: record.primary } }
      : undefined;
  const heirs = heirsOf(record, outlook);
  if (heirs.length === 0) return restart ?? rest(WITHOUT_HEIR);
  const isAccepted = isLossAccepted(record);
  const { ready, missing } = answering(record, outlook, heirs);
  // Any one of them may be the only one that has a commit which was acknowledged.
  if (ready.length === 0 || (!isAccepted && missing.length > 0)) {
    return restart ?? rest(`${missing.join(' and ')} may have what it acknowledged, and is silent`);
  }
  const isLawful = ({ node }: Ready) => mayTakeOver(record, outlook, node);
  const compared = isAccepted ? ready.filter(isLawful) : ready;
  if (!compared.some(isLawful)) return restart ?? rest(elsewhereText(ready, outlook));
  if (compared.length > 1) {
    const attached = compared.find(({ state }) => state.heardMsAgo !== undefined);
    if (attached !== undefined) {
      if (busy.has(attached.node)) return rest();
      return { kind: 'act', act: { kind: 'detach', node: attached.node } };
    }
  }
  const chosen = furthest(compared, isLawful);
  if (chosen === undefined || !isLawful(chosen)) {
    return restart ?? rest(elsewhereText(compared, outlook));
  }
  if (!isAccepted) return change(depose(record, chosen.node, why));
  const loss = { by: 'the policy', why: outlook.possibleLoss ?? 'commits are asynchronous' };
  return change(depose(record, chosen.node, why, { loss }));
}

const WITHOUT_HEIR =
  'it ran alone, so no standby has all that it acknowledged: bring it back, or promote a standby with --accept-loss';

/** One of these has all that the primary acknowledged; or anybody may follow, where losses are accepted. */
function heirsOf(record: KeeperRecord, { nodes }: Outlook): string[] {
  const heirs = isLossAccepted(record) ? [...nodes.keys()] : record.standbys;
  return heirs.filter((node) => node !== record.primary);
}

/** While a move is pending commits do wait for somebody. */
function isLossAccepted({ commits, standbys }: KeeperRecord): boolean {
  return commits === 'asynchronous' && standbys.length === 0;
}

/** Whether the policy, or an operator's order, lets it take over from the primary's site. */
function mayTakeOver(record: KeeperRecord, outlook: Outlook, node: string): boolean {
  const { sites, betweenSites } = outlook;
  const { pending, primary } = record;
  const isOrdered =
    pending?.kind === 'move'
      ? pending.to.includes(node)
      : pending?.kind === 'switchover' && pending.to === node;
  return isOrdered || betweenSites === 'automatic' || sites.get(node) === sites.get(primary);
}

export type Ready = { node: string; state: Seen };

/** Those of `asked` that could be promoted, and the others. */
export function answering(
  record: KeeperRecord,
  { nodes }: Outlook,
  asked: readonly string[],
): { ready: Ready[]; missing: string[] } {
  const ready: Ready[] = [];
  for (const node of asked) {
    const state = stateOf(nodes, node);
    if (state?.kind === 'seen' && state.role === 'replica' && state.timeline === record.timeline) {
      ready.push({ node, state });
    }
  }
  const missing = asked.filter((node) => !ready.some((one) => one.node === node));
  return { ready, missing };
}

/** The one that has most of the log; of several, one that is preferred. */
export function furthest(
  ready: readonly Ready[],
  isPreferred: (one: Ready) => boolean,
): Ready | undefined {
  return ready.reduce<Ready | undefined>((best, one) => {
    if (best === undefined || one.state.lsn > best.state.lsn) return one;
    const isBetter = isPreferred(one) && !isPreferred(best);
    return one.state.lsn === best.state.lsn && isBetter ? one : best;
  }, undefined);
}

function elsewhereText(ready: readonly Ready[], { sites }: Outlook): string {
  const where = ready.map(({ node }) => `${node} at ${sites.get(node)}`).join(' and ');
  return `${where} could take over, but the policy leaves a move to another site to an operator: relocate-primary --to SITE`;
}

/** Another node takes over; what the deposed one is told, if it hears anything, comes later. */
export function depose(
  { primary, standbys, mayHoldMore = [] }: KeeperRecord,
  node: string,
  because: string,
  { isClean = false, loss }: { isClean?: boolean; loss?: AcceptedLoss } = {},
): RecordChange {
  return {
    primary: node,
    standbys: [],
    pending: { kind: 'promotion', deposed: primary },
    former: { node: primary, isClean, keepData: loss !== undefined },
    // Whoever commits waited for may have what the new primary lacks.
    ...(loss !== undefined && {
      feedsAreUnsure: true,
      mayHoldMore: [...new Set([...mayHoldMore, ...standbys])].filter((one) => one !== node),
    }),
    event: { kind: 'deposed', node: primary, because, ...(loss !== undefined && { loss }) },
  };
}

function finishPromotion(
  record: KeeperRecord,
  { nodes, busy, processes }: Outlook,
  rest: (why?: string) => Step,
): Step {
  const node = record.primary;
  const state = stateOf(nodes, node);
  if (busy.has(node)) return rest();
  if (state?.kind !== 'seen') {
    if (processes.get(node) === 'ended') return { kind: 'act', act: { kind: 'start', node } };
    return rest(`${node} is to be promoted, and is silent`);
  }
  if (state.role === 'primary' && state.timeline > record.timeline) {
    const { timeline } = state;
    return change({ timeline, pending: null, event: { kind: 'promoted', node } });
  }
  if (state.role === 'replica' && state.timeline === record.timeline) {
    return { kind: 'act', act: { kind: 'promote', node, from: { timeline: record.timeline } } };
  }
  return rest(
    `${node} is to be promoted from timeline ${record.timeline}, but says that it is a ${state.role} on timeline ${state.timeline}`,
  );
}

/** What a keeper that was cut off in a switchover finds: the primary still in office, or ended. */
function finishSwitchover(
  record: KeeperRecord,
  health: PrimaryHealth,
  outlook: Outlook,
  rest: (why?: string) => Step,
): Step {
  if (outlook.busy.has(record.primary)) return rest();
  if (health.kind === 'serves') {
    const because = 'it was cut off before the primary was taken out of service';
    return change({ pending: null, event: { kind: 'called_off', because } });
  }
  // Nobody knows whether it was the switchover that has ended it.
  return health.kind === 'gone' ? replace(record, health.why, outlook, rest) : rest();
}

type Seen = Extract<NodeState, { kind: 'seen' }>;

function stateOf(nodes: ReadonlyMap<string, NodeFacts>, node: string): NodeState | undefined {
  return nodes.get(node)?.state;
}

/** A server of another cluster at one of the addresses is nothing that anybody should act on. */
function strangersTo({ systemId }: KeeperRecord, { nodes }: Outlook): string | undefined {
  for (const { node, state } of nodes.values()) {
    if (state.kind !== 'seen' || String(state.systemId) === systemId) continue;
    return `${node} is a copy of another cluster (system identifier ${state.systemId}, not ${systemId})`;
  }
  return undefined;
}

function change(record: RecordChange): Step {
  return { kind: 'record', change: record };
}
