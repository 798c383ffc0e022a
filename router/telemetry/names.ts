/**
 * What are spans, attributes and metrics called?
 *
 * The whole vocabulary, explained in `docs/telemetry.md`: semantic conventions of OpenTelemetry 1.45
 * where they have a name for it, `domicile.*` for the rest. A value is a word of Domicile's own, a
 * number, or a name from policy, catalogue or app; never something that came with a request.
 */

/** Parts of a request, as spans below the one of the request. */
export const PARTS = {
  /** From arrival until it was known where the request is handled. */
  decide: 'domicile.decide',
  /** Finding the home of a subject that this edge had not heard of. */
  directory: 'domicile.directory',
  /** Making a chosen id this home's, in a majority of the regions. */
  claim: 'domicile.claim',
  /** Standing somewhere; `domicile.wait.for` says for what. */
  wait: 'domicile.wait',
} as const;
export type Part = keyof typeof PARTS;

export const ATTRIBUTES = {
  method: 'http.request.method',
  route: 'http.route',
  path: 'url.path',
  status: 'http.response.status_code',
  scheme: 'url.scheme',
  urlTemplate: 'url.template',
  errorType: 'error.type',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  dbSystem: 'db.system.name',
  dbNamespace: 'db.namespace',
  dbOperation: 'db.operation.name',
  dbStatus: 'db.response.status_code',
  poolName: 'db.client.connection.pool.name',
  poolState: 'db.client.connection.state',

  decision: 'domicile.decision',
  to: 'domicile.to',
  node: 'domicile.node',
  rung: 'domicile.rung',
  refusal: 'domicile.refusal',
  passedOver: 'domicile.passed_over',
  because: 'domicile.because',
  level: 'domicile.level',
  home: 'domicile.home',
  from: 'domicile.from',
  floor: 'domicile.floor',
  position: 'domicile.position',
  stalenessMs: 'domicile.staleness_ms',
  durability: 'domicile.durability',
  policyVersion: 'domicile.policy.version',
  policySource: 'domicile.policy.source',
  placementRule: 'domicile.placement.rule',
  decidedAnew: 'domicile.decided_anew',
  subject: 'domicile.subject',
  waitFor: 'domicile.wait.for',
  poolWaitMs: 'domicile.pool.wait_ms',
  login: 'domicile.login',
  role: 'domicile.role',
  comer: 'domicile.comer',
  errand: 'domicile.errand',
  edge: 'domicile.edge',
  circuit: 'domicile.circuit',
  verdict: 'domicile.audit.verdict',
  sessionState: 'domicile.session.state',
  lockState: 'domicile.lock.state',
  slot: 'domicile.slot',
  health: 'domicile.primary.health',
  event: 'domicile.keeper.event',
  act: 'domicile.keeper.act',
} as const;

export type MetricKind = 'histogram' | 'counter' | 'gauge' | 'updown';
export type MetricName = keyof typeof METRICS;

/** Name, what it is, its unit (UCUM), and what it counts. */
export const METRICS = {
  requestDuration: metric('http.server.request.duration', 'histogram', 's', 'Requests by decision'),
  hopDuration: metric('http.client.request.duration', 'histogram', 's', 'Requests put to a peer'),
  dbDuration: metric('db.client.operation.duration', 'histogram', 's', 'Reads and transactions'),
  decisions: metric('domicile.decisions', 'counter', '{request}', 'How requests were decided'),
  passedOver: metric('domicile.passed_over', 'counter', '{time}', 'Options passed over, and why'),

  lagBytes: metric('domicile.replica.lag', 'gauge', 'By', 'Log that a replica has not replayed'),
  lagSeconds: metric('domicile.replica.staleness', 'gauge', 's', 'Age of what a node shows'),
  mirrorAge: metric('domicile.mirror.age', 'gauge', 's', 'Age of what is mirrored from a region'),
  nodeRole: metric('domicile.node.role', 'gauge', '1', '1 for the role that a node was seen in'),
  nodeTimeline: metric('domicile.node.timeline', 'gauge', '1', 'Timeline that a node is on'),
  nodeSeen: metric('domicile.node.seen_age', 'gauge', 's', 'Time since a node was last seen'),
  alone: metric(
    'domicile.alone',
    'gauge',
    '1',
    '1 while commits wait for no standby that they should wait for',
  ),
  policyVersion: metric(
    'domicile.policy.in_force',
    'gauge',
    '1',
    'Version of the policy in force here',
  ),

  poolConnections: metric(
    'db.client.connection.count',
    'updown',
    '{connection}',
    'Connections by state',
  ),
  poolMax: metric(
    'db.client.connection.max',
    'updown',
    '{connection}',
    'Connections that a pool may have',
  ),
  poolWaiting: metric(
    'db.client.connection.pending_requests',
    'updown',
    '{request}',
    'Requests that wait for a connection',
  ),
  poolRefused: metric(
    'domicile.pool.refused',
    'counter',
    '{request}',
    'Requests turned away because of the line',
  ),
  poolDiscarded: metric(
    'domicile.pool.discarded',
    'counter',
    '{connection}',
    'Connections thrown away',
  ),
  admitted: metric('domicile.admission.under_way', 'gauge', '{request}', 'Requests under way'),
  admissionLimit: metric(
    'domicile.admission.limit',
    'gauge',
    '{request}',
    'Requests that may be under way',
  ),
  admissionRefused: metric(
    'domicile.admission.refused',
    'counter',
    '{request}',
    'Requests turned away at the door',
  ),
  behind: metric(
    'domicile.event_loop.delay',
    'gauge',
    's',
    'How late the process came to its work',
  ),
  primaryWaiters: metric(
    'domicile.primary.waiting',
    'gauge',
    '{request}',
    'Requests that wait for a primary',
  ),
  peerUnderWay: metric(
    'domicile.peer.under_way',
    'gauge',
    '{request}',
    'Requests under way to a region',
  ),
  peerPassedOver: metric(
    'domicile.peer.passed_over',
    'counter',
    '{request}',
    'Requests not sent because no edge there answers',
  ),
  peerCircuit: metric(
    'domicile.peer.circuit',
    'gauge',
    '1',
    '1 for the state that a peer edge is in',
  ),

  auditFindings: metric(
    'domicile.audit.findings',
    'gauge',
    '{finding}',
    'Findings of the last audit',
  ),
  auditBlind: metric(
    'domicile.audit.blind',
    'gauge',
    '{check}',
    'What the last audit could not look at',
  ),
  auditVerdict: metric(
    'domicile.audit.verdict',
    'gauge',
    '1',
    '1 for the verdict of the last audit',
  ),
  auditAge: metric('domicile.audit.age', 'gauge', 's', 'Time since the last audit'),

  serverSessions: metric(
    'domicile.postgres.sessions',
    'gauge',
    '{session}',
    'Client sessions of a server by state',
  ),
  serverSessionsMax: metric(
    'domicile.postgres.sessions.max',
    'gauge',
    '{session}',
    'Client sessions that a server takes',
  ),
  slowQueries: metric(
    'domicile.postgres.slow_queries',
    'gauge',
    '{query}',
    'Queries that have run for more than a second',
  ),
  longestQuery: metric(
    'domicile.postgres.longest_query',
    'gauge',
    's',
    'Age of the oldest query that runs',
  ),
  longestTransaction: metric(
    'domicile.postgres.longest_transaction',
    'gauge',
    's',
    'Age of the oldest transaction',
  ),
  lockWaiters: metric(
    'domicile.postgres.lock_waiters',
    'gauge',
    '{session}',
    'Sessions that wait for a lock',
  ),
  locks: metric('domicile.postgres.locks', 'gauge', '{lock}', 'Locks by whether they are held'),
  deadlocks: metric('domicile.postgres.deadlocks', 'counter', '{deadlock}', 'Deadlocks'),
  blocksHit: metric(
    'domicile.postgres.blocks_hit',
    'counter',
    '{block}',
    'Blocks found in the buffers',
  ),
  blocksRead: metric(
    'domicile.postgres.blocks_read',
    'counter',
    '{block}',
    'Blocks read from the system',
  ),
  hitRatio: metric(
    'domicile.postgres.hit_ratio',
    'gauge',
    '1',
    'Part of the blocks found in the buffers since the statistics began',
  ),
  commits: metric(
    'domicile.postgres.commits',
    'counter',
    '{transaction}',
    'Transactions committed',
  ),
  rollbacks: metric(
    'domicile.postgres.rollbacks',
    'counter',
    '{transaction}',
    'Transactions rolled back',
  ),
  tempBytes: metric(
    'domicile.postgres.temp_bytes',
    'counter',
    'By',
    'Bytes written to temporary files',
  ),
  xidAge: metric(
    'domicile.postgres.xid_age',
    'gauge',
    '{transaction}',
    'Transactions since the oldest frozen one',
  ),
  archiveFailures: metric(
    'domicile.postgres.archive_failures',
    'counter',
    '{file}',
    'Log files that could not be archived',
  ),
  slotBytes: metric(
    'domicile.postgres.slot_retained',
    'gauge',
    'By',
    'Log that a replication slot keeps',
  ),
} as const;

/** What a keeper tells. */
export const KEEPER_METRICS = {
  recordVersion: metric('domicile.keeper.version', 'gauge', '1', 'Version of the record'),
  recordTimeline: metric('domicile.keeper.timeline', 'gauge', '1', 'Timeline that is recorded'),
  recordPrimary: metric('domicile.keeper.primary', 'gauge', '1', '1 for the recorded primary'),
  heirs: metric('domicile.keeper.heirs', 'gauge', '{node}', 'Standbys that may take over'),
  keeperAlone: metric(
    'domicile.keeper.alone',
    'gauge',
    '1',
    '1 while the record lets the primary go on alone',
  ),
  pending: metric(
    'domicile.keeper.pending',
    'gauge',
    '1',
    '1 while something is decided and not yet done',
  ),
  primaryHealth: metric(
    'domicile.keeper.primary.health',
    'gauge',
    '1',
    '1 for how the primary looks to the keeper',
  ),
  nodeSilence: metric(
    'domicile.keeper.node.silence',
    'gauge',
    's',
    'Time for which a node has not answered the keeper',
  ),
  recorded: metric(
    'domicile.keeper.recorded',
    'counter',
    '{decision}',
    'Decisions that this process has recorded',
  ),
  notDone: metric('domicile.keeper.not_done', 'counter', '{act}', 'Acts that did not succeed'),
} as const;

export type Metric = { name: string; kind: MetricKind; unit: string; help: string };

function metric(name: string, kind: MetricKind, unit: string, help: string): Metric {
  return { name, kind, unit, help };
}

/** As Prometheus spells them. */
export function prometheusName({ name, kind }: Metric): string {
  return name.replace(/[^a-z0-9]+/g, '_') + (kind === 'counter' ? '_total' : '');
}
