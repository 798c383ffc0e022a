/**
 * What does one see in Grafana?
 *
 * Three dashboards as plain objects; `write-dashboards.ts` puts them into files, which a test holds to
 * what stands here. Every query runs as it is written, without variables, so that `validate.ts` can
 * put it to a real Prometheus. Figures of a server are told by every edge of its region: `max`, not `sum`.
 */
type Unit = 's' | 'bytes' | 'reqps' | 'ops' | 'percentunit' | 'short';
type Query = { expr: string; legend: string };
export type Panel = { title: string; about: string; unit: Unit; queries: readonly Query[] };
export type Dashboard = { uid: string; title: string; panels: readonly Panel[] };

/** Of the grid's 24 columns: three panels a row. */
const WIDTH = 8;
const HEIGHT = 8;
const COLUMNS = 24;
const PROMETHEUS = { type: 'prometheus', uid: 'prometheus' };
const SCHEMA_VERSION = 39;

const nodeBy = 'domicile_region, domicile_node';
const perNode = (metric: string) => `max by (${nodeBy}) (${metric})`;
const perRegion = (metric: string) => `max by (domicile_region) (${metric})`;
const rate = (metric: string) => `rate(${metric}[1m])`;
const node = '{{domicile_node}}';
const region = '{{domicile_region}}';
const percentile = (share: number, metric: string, by: string, where = '') =>
  `histogram_quantile(${share}, sum by (le, ${by}) (${rate(`${metric}_bucket${where}`)}))`;
const served = (share: number) =>
  percentile(
    share,
    'http_server_request_duration',
    'domicile_region',
    '{domicile_decision="serve"}',
  );

export const DASHBOARDS: readonly Dashboard[] = [
  {
    uid: 'regions',
    title: 'Regions',
    panels: [
      panel('Edges that answer', 'One edge away is a region that nobody reaches.', 'short', [
        ['sum by (region) (up{job="domicile", edge!=""})', '{{region}}'],
      ]),
      panel('Primaries', 'The node that each region writes to.', 'short', [
        [`${perNode('domicile_node_role{domicile_role="primary"}')} == 1`, node],
      ]),
      panel('Commits alone', '1: a lost primary now loses writes.', 'short', [
        [perRegion('domicile_alone'), region],
      ]),
      panel('Log not replayed', 'How far each replica is behind.', 'bytes', [
        [perNode('domicile_replica_lag'), node],
      ]),
      panel('Age of what a replica shows', 'An upper bound.', 's', [
        [perNode('domicile_replica_staleness'), node],
      ]),
      panel('Age of mirrors', 'What a region shows of others.', 's', [
        [
          'max by (domicile_region, domicile_from) (domicile_mirror_age)',
          '{{domicile_from}} in {{domicile_region}}',
        ],
      ]),
      panel('Timelines', 'A step is a promotion.', 'short', [
        [perNode('domicile_node_timeline'), node],
      ]),
      panel('Since a node was seen', 'Grows while a node does not answer.', 's', [
        [perNode('domicile_node_seen_age'), node],
      ]),
      panel('Open circuits', 'Peers that are passed over.', 'short', [
        [
          'max by (domicile_region, domicile_edge) (domicile_peer_circuit{domicile_circuit="open"})',
          '{{domicile_edge}} from {{domicile_region}}',
        ],
      ]),
      panel('Policy in force', 'One version everywhere, or a roll-out is under way.', 'short', [
        [perRegion('domicile_policy_in_force'), region],
      ]),
      panel('Findings of the audit', 'Bytes that are where policy does not let them be.', 'short', [
        [perRegion('domicile_audit_findings'), 'findings, {{domicile_region}}'],
        [perRegion('domicile_audit_blind'), 'not looked at, {{domicile_region}}'],
      ]),
      panel('Age of the audit', 'Since somebody last looked.', 's', [
        [perRegion('domicile_audit_age'), region],
      ]),
      panel('Keepers that answer', 'Without one a lost primary is not replaced.', 'short', [
        ['sum by (region) (up{job="domicile", keeper!=""})', '{{region}}'],
      ]),
      panel('How primaries look to their keepers', '1 for what is the case.', 'short', [
        [
          'max by (domicile_region, domicile_primary_health) (domicile_keeper_primary_health) == 1',
          '{{domicile_primary_health}}, {{domicile_region}}',
        ],
      ]),
      panel('Standbys that may take over', '0: the primary is on its own.', 'short', [
        [perRegion('domicile_keeper_heirs'), region],
      ]),
      panel('Versions of the record', 'A step is a decision of the keeper.', 'short', [
        [perRegion('domicile_keeper_version'), region],
      ]),
      panel('Decided and not yet done', 'Above 0 for long: an act does not succeed.', 'short', [
        [perRegion('domicile_keeper_pending'), region],
      ]),
      panel('Silence of nodes', 'For how long each has not answered its keeper.', 's', [
        [perNode('domicile_keeper_node_silence'), node],
      ]),
    ],
  },
  {
    uid: 'requests',
    title: 'Requests',
    panels: [
      panel('Requests by decision', 'What edges did with what came.', 'reqps', [
        [
          `sum by (domicile_region, domicile_decision) (${rate('domicile_decisions_total')})`,
          '{{domicile_decision}}, {{domicile_region}}',
        ],
      ]),
      panel('Latency of what is served', 'Half of the requests, and the slowest hundredth.', 's', [
        [served(0.5), 'p50 {{domicile_region}}'],
        [served(0.95), 'p95 {{domicile_region}}'],
        [served(0.99), 'p99 {{domicile_region}}'],
      ]),
      panel('Rungs', 'Who served a read, and whether it had to wait.', 'reqps', [
        [
          `sum by (domicile_rung) (${rate('domicile_decisions_total{domicile_rung!=""}')})`,
          '{{domicile_rung}}',
        ],
      ]),
      panel('Levels', 'How fresh clients want what they read.', 'reqps', [
        [
          `sum by (domicile_level) (${rate('domicile_decisions_total{domicile_level!=""}')})`,
          '{{domicile_level}}',
        ],
      ]),
      panel('Sent to another region', 'Requests that arrived far from home.', 'reqps', [
        [
          `sum by (domicile_region, domicile_to) (${rate('domicile_decisions_total{domicile_decision="forward"}')})`,
          '{{domicile_region}} to {{domicile_to}}',
        ],
      ]),
      panel('Refusals by reason', 'Kinds of docs/problems.md.', 'reqps', [
        [
          `sum by (domicile_refusal) (${rate('domicile_decisions_total{domicile_decision="refuse"}')})`,
          '{{domicile_refusal}}',
        ],
      ]),
      panel('Latency of hops', 'From one edge to the other and back.', 's', [
        [
          percentile(
            0.95,
            'http_client_request_duration',
            'domicile_region, domicile_to',
            '{domicile_errand="request"}',
          ),
          'p95 {{domicile_region}} to {{domicile_to}}',
        ],
      ]),
      panel('Under way, and the limit', 'At the limit, requests are turned away.', 'short', [
        ['sum by (domicile_comer) (domicile_admission_under_way)', 'under way, {{domicile_comer}}'],
        ['sum by (domicile_comer) (domicile_admission_limit)', 'limit, {{domicile_comer}}'],
      ]),
      panel('Turned away at the door', 'Overload.', 'reqps', [
        [
          `sum by (domicile_region, domicile_comer) (${rate('domicile_admission_refused_total')})`,
          '{{domicile_comer}}, {{domicile_region}}',
        ],
      ]),
      panel('Delay of the event loop', 'How late an edge comes to its work.', 's', [
        ['max by (service_instance_id) (domicile_event_loop_delay)', '{{service_instance_id}}'],
      ]),
      panel('Waiting for a primary', 'Requests that stand through a promotion.', 'short', [
        ['sum by (domicile_region) (domicile_primary_waiting)', region],
      ]),
      panel('Not sent: no edge there', 'Requests for a region that is dark.', 'reqps', [
        [
          `sum by (domicile_region, domicile_to) (${rate('domicile_peer_passed_over_total')})`,
          '{{domicile_region}} to {{domicile_to}}',
        ],
      ]),
    ],
  },
  {
    uid: 'postgres',
    title: 'PostgreSQL',
    panels: [
      panel('Latency of reads and transactions', 'As the edges see it.', 's', [
        [
          percentile(0.95, 'db_client_operation_duration', 'domicile_region'),
          'p95 {{domicile_region}}',
        ],
        [
          percentile(0.99, 'db_client_operation_duration', 'domicile_region'),
          'p99 {{domicile_region}}',
        ],
      ]),
      panel(
        'Sessions over the most there may be',
        'At 1, connections are refused.',
        'percentunit',
        [
          [
            `sum by (${nodeBy}) (max by (${nodeBy}, domicile_session_state) (domicile_postgres_sessions)) / ${perNode('domicile_postgres_sessions_max')}`,
            node,
          ],
        ],
      ),
      panel(
        'Pools in use',
        'Connections that carry a request, over all there may be.',
        'percentunit',
        [
          [
            'sum by (db_client_connection_pool_name) (db_client_connection_count{db_client_connection_state="used"}) / sum by (db_client_connection_pool_name) (db_client_connection_max)',
            '{{db_client_connection_pool_name}}',
          ],
        ],
      ),
      panel('Waiting for a connection', 'Above 0 for long: overload, or a slow server.', 'short', [
        [
          'sum by (db_client_connection_pool_name) (db_client_connection_pending_requests)',
          '{{db_client_connection_pool_name}}',
        ],
      ]),
      panel('Slow queries', 'Those that have run for more than a second.', 'short', [
        [perNode('domicile_postgres_slow_queries'), node],
      ]),
      panel('Longest transaction', 'Holds vacuum and locks.', 's', [
        [perNode('domicile_postgres_longest_transaction'), node],
      ]),
      panel('Sessions that wait for a lock', 'Then look at the longest transaction.', 'short', [
        [perNode('domicile_postgres_lock_waiters'), node],
      ]),
      panel('Blocks found in the buffers', 'Since the statistics began.', 'percentunit', [
        [perNode('domicile_postgres_hit_ratio'), node],
      ]),
      panel('Transactions', 'Committed and rolled back.', 'ops', [
        [`max by (${nodeBy}) (${rate('domicile_postgres_commits_total')})`, `commits ${node}`],
        [`max by (${nodeBy}) (${rate('domicile_postgres_rollbacks_total')})`, `rollbacks ${node}`],
      ]),
      panel('Deadlocks', 'PostgreSQL ended one of two.', 'ops', [
        [`max by (${nodeBy}) (${rate('domicile_postgres_deadlocks_total')})`, node],
      ]),
      panel('Log kept for slots', 'A copy that is away, before it has lost its place.', 'bytes', [
        [
          `max by (${nodeBy}, domicile_slot) (domicile_postgres_slot_retained)`,
          '{{domicile_slot}} at {{domicile_node}}',
        ],
      ]),
      panel('Age of transaction ids', 'Vacuum has until two thousand million.', 'short', [
        [perNode('domicile_postgres_xid_age'), node],
      ]),
    ],
  },
];

/** What Grafana reads. */
export function dashboardFile({ uid, title, panels }: Dashboard): string {
  const file = {
    uid,
    title: `Domicile: ${title}`,
    tags: ['domicile'],
    schemaVersion: SCHEMA_VERSION,
    editable: false,
    refresh: '5s',
    time: { from: 'now-15m', to: 'now' },
    links: [{ type: 'dashboards', title: 'Domicile', tags: ['domicile'], asDropdown: false }],
    panels: panels.map(({ title, about, unit, queries }, i) => ({
      id: i + 1,
      type: 'timeseries',
      title,
      description: about,
      datasource: PROMETHEUS,
      gridPos: {
        x: (i * WIDTH) % COLUMNS,
        y: Math.floor((i * WIDTH) / COLUMNS) * HEIGHT,
        w: WIDTH,
        h: HEIGHT,
      },
      fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
      options: { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi' } },
      targets: queries.map(({ expr, legend }, j) => ({
        refId: String.fromCharCode('A'.charCodeAt(0) + j),
        datasource: PROMETHEUS,
        expr,
        legendFormat: legend,
      })),
    })),
  };
  return `${JSON.stringify(file, null, 2)}\n`;
}

function panel(
  title: string,
  about: string,
  unit: Unit,
  queries: readonly (readonly [expr: string, legend: string])[],
): Panel {
  return { title, about, unit, queries: queries.map(([expr, legend]) => ({ expr, legend })) };
}
