/**
 * What does a keeper do next?
 *
 * One step at a time, from the record and from what was seen. A step is either a new version of the
 * record or an act that brings the servers to what the record says, never both: so a keeper that is
 * killed anywhere finds in the record what was decided, sees what has been done, and goes on.
 */

import type { Commits } from '../policy.ts';
import {
  type Hearsay,
  judgePrimary,
  type NodeFacts,
  type NodeState,
  type PrimaryHealth,
  REFUSED_MS,
  SILENT_MS,
} from './judge-primary.ts';
import type { AcceptedLoss, KeeperEvent, KeeperRecord, Pending, RecordChange } from './record.ts';

/** A replica that answers but has no stream may be between two attempts to connect. */
export const NOT_STREAMING_MS = 3_000;
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
    return finishSwitchover(record, record.pending, health, outlook, rest);
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
    dismissLost(record, outlook) ??
    admitNext(record, primary, outlook) ??
    goOnAlone(record, primary) ??
    bringBack(record, outlook)
  );
}

/** Servers must be at least as strict as the record. */
function keepInStep(
  { primary, standbys, commits }: KeeperRecord,
  waitFor: readonly string[],
): Step | undefined {
  if (commits === 'asynchronous') {
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

function dismissLost(record: KeeperRecord, outlook: Outlook): Step | undefined {
  for (const node of record.standbys) {
    const because = lossOf(node, outlook);
    if (because === undefined) continue;
    const left = record.standbys.filter((other) => other !== node);
    if (left.length === 0) return change({ standbys: [], event: { kind: 'alone', because } });
    const event: KeeperEvent = { kind: 'dismissed', node, because };
    return {
      kind: 'act',
      act: { kind: 'require_proved', primary: record.primary, standbys: left, event },
    };
  }
  return undefined;
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

function admitNext(
  record: KeeperRecord,
  primary: Seen,
  { nodes, busy }: Outlook,
): Step | undefined {
  const { former } = record;
  if (record.commits === 'asynchronous') {
    const isBack = primary.streaming.some(({ node }) => node === former?.node);
    return former !== null && isBack
      ? change({ event: { kind: 'admitted', node: former.node } })
      : undefined;
  }
  for (const { node, isLevel } of primary.streaming) {
    const state = stateOf(nodes, node);
    if (record.standbys.includes(node) || busy.has(node) || !isLevel) continue;
    if (state?.kind !== 'seen' || state.role !== 'replica' || !state.feedsReady) continue;
    const standbys = [...record.standbys, node].sort();
    const event: KeeperEvent = { kind: 'admitted', node };
    if (record.commits === 'synchronous' && record.standbys.length > 0) return undefined;
    // One more that may confirm makes the record more lenient; the first one makes it stricter.
    if (record.standbys.length > 0) return change({ standbys, event });
    return {
      kind: 'act',
      act: { kind: 'require_proved', primary: record.primary, standbys, event },
    };
  }
  return undefined;
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
    const keepData = wasPrimary && former.keepData;
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
  const { nodes, processes, busy } = outlook;
  const restart: Step | undefined =
    processes.get(record.primary) === 'ended' && !busy.has(record.primary)
      ? { kind: 'act', act: { kind: 'start', node: record.primary } }
      : undefined;
  const heirs = record.commits === 'asynchronous' ? [...nodes.keys()] : record.standbys;
  const others = heirs.filter((node) => node !== record.primary);
  if (others.length === 0) {
    return (
      restart ??
      rest(
        'it ran alone, so no standby has all that it acknowledged: bring it back, or promote a standby with --accept-loss',
      )
    );
  }
  const ready: { node: string; state: Seen }[] = [];
  for (const node of others) {
    const state = stateOf(nodes, node);
    if (state?.kind === 'seen' && state.role === 'replica' && state.timeline === record.timeline) {
      ready.push({ node, state });
    }
  }
  const [first] = ready;
  const missing = others.filter((node) => !ready.some((one) => one.node === node));
  // Any one of them may be the only one that has a commit which was acknowledged.
  if (first === undefined || (record.commits !== 'asynchronous' && missing.length > 0)) {
    return restart ?? rest(`${missing.join(' and ')} may have what it acknowledged, and is silent`);
  }
  if (ready.length > 1) {
    const attached = ready.find(({ state }) => state.heardMsAgo !== undefined);
    if (attached !== undefined) {
      if (busy.has(attached.node)) return rest();
      return { kind: 'act', act: { kind: 'detach', node: attached.node } };
    }
  }
  const chosen = ready.reduce((best, one) => (one.state.lsn > best.state.lsn ? one : best), first);
  return change(depose(record, chosen.node, why));
}

/** Another node takes over; what the deposed one is told, if it hears anything, comes later. */
export function depose(
  { primary }: KeeperRecord,
  node: string,
  because: string,
  { isClean = false, loss }: { isClean?: boolean; loss?: AcceptedLoss } = {},
): RecordChange {
  return {
    primary: node,
    standbys: [],
    pending: { kind: 'promotion', deposed: primary },
    former: { node: primary, isClean, keepData: loss !== undefined },
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
  { to }: Extract<Pending, { kind: 'switchover' }>,
  health: PrimaryHealth,
  { nodes, busy }: Outlook,
  rest: (why?: string) => Step,
): Step {
  if (busy.has(record.primary)) return rest();
  if (health.kind === 'serves') {
    const because = 'it was cut off before the primary was taken out of service';
    return change({ pending: null, event: { kind: 'called_off', because } });
  }
  const heir = stateOf(nodes, to);
  const isReady =
    heir?.kind === 'seen' && heir.role === 'replica' && heir.timeline === record.timeline;
  if (health.kind !== 'gone' || !isReady || !record.standbys.includes(to)) return rest();
  return change(depose(record, to, `a switchover to ${to} had taken it out of service`));
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
