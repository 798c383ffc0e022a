/**
 * What do the gauges show, and what have the counters counted, when somebody looks?
 *
 * Read from what the edge knows anyway, at the moment of the look: a request pays nothing for it.
 */
import type { Edge } from '../edge.ts';
import { ATTRIBUTES as A, type MetricName } from './names.ts';
import type { ServerStats } from './server-stats.ts';
import type { Attributes } from './telemetry.ts';

export type Observation = { metric: MetricName; value: number; attributes: Attributes };

type Observe = (metric: MetricName, value: number, attributes?: Attributes) => void;

/** Everything that is observed and not recorded as it happens. */
export const OBSERVED: readonly MetricName[] = [
  ...(['decisions', 'lagBytes', 'lagSeconds', 'mirrorAge', 'nodeRole', 'nodeTimeline'] as const),
  ...(['nodeSeen', 'alone', 'policyVersion', 'poolConnections', 'poolMax', 'poolWaiting'] as const),
  ...(['poolRefused', 'poolDiscarded', 'admitted', 'admissionLimit', 'admissionRefused'] as const),
  ...(['behind', 'primaryWaiters', 'peerUnderWay', 'peerPassedOver', 'peerCircuit'] as const),
  ...(['auditFindings', 'auditBlind', 'auditVerdict', 'auditAge', 'serverSessions'] as const),
  ...(['serverSessionsMax', 'slowQueries', 'longestQuery', 'longestTransaction'] as const),
  ...(['lockWaiters', 'locks', 'deadlocks', 'blocksHit', 'blocksRead', 'hitRatio'] as const),
  ...(['commits', 'rollbacks', 'tempBytes', 'xidAge', 'archiveFailures', 'slotBytes'] as const),
];

const VERDICTS = ['clean', 'findings', 'could-not-look'] as const;
const ROLES = ['primary', 'replica'] as const;
const CIRCUITS = ['closed', 'open', 'half_open'] as const;

export function observe(edge: Edge, servers: ServerStats): Observation[] {
  const observations: Observation[] = [];
  const see: Observe = (metric, value, attributes = {}) => {
    observations.push({ metric, value, attributes });
  };
  seeDecisions(edge, see);
  seeNodes(edge, see);
  seePools(edge, see);
  seePeers(edge, see);
  seeServers(servers, edge.now(), see);
  return observations;
}

/** The edge's own count, such as `serve;rung=replica;level=session`. */
function seeDecisions({ decisions }: Edge, see: Observe): void {
  const nameOf: Record<string, string> = {
    rung: A.rung,
    level: A.level,
    because: A.refusal,
    to: A.to,
  };
  for (const [counted, times] of decisions) {
    const [kind = '', ...parameters] = counted.split(';');
    const attributes: Record<string, string> = { [A.decision]: kind };
    for (const parameter of parameters) {
      const [name = '', value = ''] = parameter.split('=');
      attributes[nameOf[name] ?? name] = value;
    }
    see('decisions', times, attributes);
  }
}

function seeNodes({ sightings, now, database, policies }: Edge, see: Observe): void {
  const nowMs = now();
  const all = [...sightings.all()];
  const primary = all.find(({ role, at }) => role === 'primary' && !sightings.isSuperseded(at));
  for (const { node, role, at, seenAtMs, freshAsOfMs } of all) {
    const of = { [A.node]: node };
    for (const one of ROLES) see('nodeRole', one === role ? 1 : 0, { ...of, [A.role]: one });
    see('nodeTimeline', at.timeline, of);
    see('nodeSeen', seconds(nowMs - seenAtMs), of);
    if (role !== 'replica') continue;
    if (freshAsOfMs !== undefined) see('lagSeconds', seconds(nowMs - freshAsOfMs), of);
    if (primary?.at.systemId !== at.systemId || primary.at.timeline !== at.timeline) continue;
    // Of two looks, the replica's may be the later one.
    see('lagBytes', Math.max(0, Number(primary.at.lsn - at.lsn)), of);
  }
  for (const { region, ageMs, seenAtMs } of sightings.mirrors()) {
    see('mirrorAge', seconds(ageMs + nowMs - seenAtMs), { [A.from]: region });
  }
  const { durability } = database;
  if (durability !== undefined) see('alone', durability === 'alone' ? 1 : 0);
  const { version, source } = policies.current;
  see('policyVersion', version, { [A.policySource]: source });
}

function seePools({ database, admission }: Edge, see: Observe): void {
  for (const [name, stats] of Object.entries(database.stats())) {
    const of = { [A.poolName]: name };
    see('poolConnections', stats.leased, { ...of, [A.poolState]: 'used' });
    see('poolConnections', stats.idle, { ...of, [A.poolState]: 'idle' });
    see('poolMax', stats.max, of);
    see('poolWaiting', stats.waiting, of);
    see('poolRefused', stats.refused, of);
    see('poolDiscarded', stats.discarded, of);
  }
  see('primaryWaiters', database.waiting().waiting);
  const { behindMs, ...comers } = admission.stats();
  see('behind', seconds(behindMs));
  for (const [comer, { underWay, limit, refused }] of Object.entries(comers)) {
    const of = { [A.comer]: comer };
    see('admitted', underWay, of);
    see('admissionLimit', limit, of);
    see('admissionRefused', refused, of);
  }
}

function seePeers({ peers }: Edge, see: Observe): void {
  for (const [region, { requests, questions, passedOver, edges }] of Object.entries(
    peers.stats(),
  )) {
    const to = { [A.to]: region };
    see('peerUnderWay', requests.underWay, { ...to, [A.errand]: 'request' });
    see('peerUnderWay', questions.underWay, { ...to, [A.errand]: 'question' });
    see('peerPassedOver', passedOver, to);
    for (const { edge, circuit } of edges) {
      for (const state of CIRCUITS) {
        const value = state === circuit ? 1 : 0;
        see('peerCircuit', value, { ...to, [A.edge]: edge, [A.circuit]: state });
      }
    }
  }
}

/** What the function of `regions/schema/0008-telemetry.sql` calls it, and under which name it is told. */
const SERVER: Readonly<Record<string, readonly [metric: MetricName, label?: string]>> = {
  sessions: ['serverSessions', A.sessionState],
  sessions_max: ['serverSessionsMax'],
  slow_queries: ['slowQueries'],
  longest_query_s: ['longestQuery'],
  longest_transaction_s: ['longestTransaction'],
  lock_waiters: ['lockWaiters'],
  locks: ['locks', A.lockState],
  deadlocks: ['deadlocks'],
  blocks_hit: ['blocksHit'],
  blocks_read: ['blocksRead'],
  commits: ['commits'],
  rollbacks: ['rollbacks'],
  temp_bytes: ['tempBytes'],
  xid_age: ['xidAge'],
  archive_failures: ['archiveFailures'],
  slot_retained: ['slotBytes', A.slot],
};

function seeServers({ nodes, audit }: ServerStats, nowMs: number, see: Observe): void {
  for (const { node, stats } of nodes) {
    const of = { [A.node]: node };
    let hit = 0;
    let read = 0;
    for (const { what, label, value } of stats) {
      const [metric, labelName] = SERVER[what] ?? [];
      if (metric === undefined) continue;
      see(metric, value, labelName === undefined ? of : { ...of, [labelName]: label });
      if (what === 'blocks_hit') hit = value;
      if (what === 'blocks_read') read = value;
    }
    if (hit + read > 0) see('hitRatio', hit / (hit + read), of);
  }
  if (audit === undefined) return;
  see('auditFindings', audit.findings);
  see('auditBlind', audit.blind);
  see('auditAge', seconds(nowMs - audit.endedAtMs));
  for (const verdict of VERDICTS) {
    see('auditVerdict', verdict === audit.verdict ? 1 : 0, { [A.verdict]: verdict });
  }
}

function seconds(ms: number): number {
  return ms / 1_000;
}
