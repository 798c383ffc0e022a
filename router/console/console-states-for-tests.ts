/**
 * What may a console have to show?
 *
 * Pictures of a system that is well, under load, in a failover, without a region, in an experiment,
 * and one whose every text is an attack, at a moment that is given.
 */
import type { RecordedRefusal } from '../telemetry/telemetry.ts';
import type {
  ConsoleState,
  LinkView,
  NodeView,
  RegionView,
  SubjectAnswer,
  TraceAnswer,
  TracesAnswer,
  Traffic,
} from './console-state.ts';

const SECONDS = 120;
const PLACES = {
  us: { title: 'Virginia, United States', latitude: 38.9, longitude: -77.5 },
  eu: { title: 'Frankfurt, Germany', latitude: 50.1, longitude: 8.7 },
  asia: { title: 'Tokyo, Japan', latitude: 35.7, longitude: 139.7 },
} as const;
type Id = keyof typeof PLACES;
const IDS = ['us', 'eu', 'asia'] as const;
const ROUND_TRIPS: Readonly<Record<string, number>> = {
  'us-eu': 86,
  'us-asia': 151,
  'eu-asia': 232,
};

/** Looks like chance and is the same at every run. */
function wobble(index: number, of: number): number {
  const sine = Math.sin(index * 12.9898 + of * 78.233) * 43758.5453;
  return sine - Math.floor(sine);
}

function series(of: number, level: (second: number) => number): number[] {
  return Array.from({ length: SECONDS }, (_, second) => {
    const wanted = level(second);
    return wanted <= 0 ? 0 : Math.max(0, Math.round(wanted * (0.75 + wobble(second, of) / 2)));
  });
}

function busy(of: number, rate: number): Traffic {
  return {
    seconds: SECONDS,
    decisions: {
      serve: series(of, () => rate),
      forward: series(of + 1, () => rate / 6),
      answer: series(of + 2, () => 1),
    },
    latency: { p50Ms: 2.1 + of / 3, p95Ms: 11.8 + of, p99Ms: 96 + of * 31, requests: rate * 70 },
    rungs: {
      replica: rate * 40,
      replica_after_wait: rate * 2,
      primary: rate * 6,
      mirror: rate * 5,
    },
    refusals: {},
  };
}

export function idleTraffic(): Traffic {
  return {
    seconds: SECONDS,
    decisions: { serve: new Array(SECONDS).fill(0) },
    latency: null,
    rungs: {},
    refusals: {},
  };
}

function node(name: string, role: 'primary' | 'replica', more: Partial<NodeView> = {}): NodeView {
  return {
    name,
    site: name.split('-')[0] ?? name,
    health: 'serves',
    role,
    timeline: 1,
    lsn: role === 'primary' ? '0/51A3F28' : '0/51A3EF0',
    lagBytes: role === 'primary' ? 0 : 56,
    ageMs: role === 'primary' ? 0 : 14,
    seenMsAgo: 110,
    ...more,
  };
}

function region(id: Id, index: number, rate: number): RegionView {
  const { title, ...place } = PLACES[id];
  const did = rate === 0 ? idleTraffic() : busy(index, rate);
  return {
    id,
    title,
    place,
    edge:
      id === 'eu'
        ? { kind: 'here', roundTripMs: 0, traffic: did }
        : { kind: 'answers', roundTripMs: id === 'us' ? 86.4 : 232, traffic: did },
    nodes: [node(`${id}-a`, 'primary'), node(`${id}-b`, 'replica')],
    keeper: { kind: 'says', primary: `${id}-a`, alone: false, pending: null, why: null },
  };
}

function links(): LinkView[] {
  const found: LinkView[] = [];
  for (const from of IDS) {
    found.push({ kind: 'replication', from: `${from}-a`, to: `${from}-b`, health: 'well', ms: 14 });
    for (const to of IDS) {
      if (from === to) continue;
      const ms = ROUND_TRIPS[`${from}-${to}`] ?? ROUND_TRIPS[`${to}-${from}`] ?? 0;
      found.push({ kind: 'hop', from, to, health: 'well', ms });
      found.push({ kind: 'mirror', from, to, health: 'well', ms: 300 + ms });
    }
  }
  return found;
}

export function wellState(atMs: number, rates: readonly number[] = [31, 24, 12]): ConsoleState {
  return {
    atMs,
    edge: { region: 'eu', version: '0.1.0', startedAtMs: atMs - 7_543_000 },
    operator: { name: 'local', role: 'operator' },
    policy: {
      version: 3,
      sha256: '7d9c1f0b6a2e4d58c3b1a09f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b',
      source: 'recorded',
      drift: [],
    },
    regions: IDS.map((id, index) => region(id, index, rates[index] ?? 10)),
    links: links(),
    failovers: [
      {
        region: 'asia',
        at: new Date(atMs - 86_400_000 * 2).toISOString(),
        version: 2,
        what: 'asia-b did not answer for 3 s, so asia-a took over.',
        primary: 'asia-a',
        timeline: 2,
      },
    ],
    experiments: [],
  };
}

export function idleState(atMs: number): ConsoleState {
  return { ...wellState(atMs, [0, 0, 0]), failovers: [] };
}

function withRegion(
  state: ConsoleState,
  id: Id,
  change: (region: RegionView) => Partial<RegionView>,
): ConsoleState {
  const regions = state.regions.map((one) => (one.id === id ? { ...one, ...change(one) } : one));
  return { ...state, regions };
}

const KILLED_AGO_S = 41;

/** eu-a was killed; before the takeover nobody leads, after it eu-b does, alone. */
export function failoverState(atMs: number, tookOver: boolean): ConsoleState {
  const killed = SECONDS - KILLED_AGO_S;
  const back = tookOver ? killed + 6 : SECONDS;
  const down = (second: number) => second >= killed && second < back;
  const traffic: Traffic = {
    seconds: SECONDS,
    decisions: {
      serve: series(1, (second) => (down(second) ? 15 : 24)),
      forward: series(2, () => 4),
      answer: series(3, () => 1),
      refuse: series(4, (second) => (down(second) ? 9 : 0)),
    },
    latency: { p50Ms: 2.8, p95Ms: 214, p99Ms: 5_004, requests: 1_790 },
    rungs: { replica: 580, replica_after_wait: 230, primary: 90, mirror: 114 },
    refusals: { 'region-unavailable': 49, 'write-outcome-unknown': 2 },
  };
  const state = withRegion(wellState(atMs), 'eu', () => ({
    edge: { kind: 'here', roundTripMs: 0, traffic },
    nodes: [
      node('eu-a', 'primary', { health: 'silent', seenMsAgo: KILLED_AGO_S * 1_000, ageMs: null }),
      tookOver
        ? node('eu-b', 'primary', { timeline: 2, lsn: '0/53B0128' })
        : node('eu-b', 'replica', { ageMs: 5_200, lagBytes: null, health: 'lags' }),
    ],
    keeper: tookOver
      ? { kind: 'says', primary: 'eu-b', alone: true, pending: null, why: 'no standby is left' }
      : {
          kind: 'says',
          primary: 'eu-a',
          alone: false,
          pending: 'promote eu-b',
          why: 'eu-a has not answered for 3 s, eu-b is asked to take over',
        },
  }));
  const what = 'eu-a did not answer for 3 s, so eu-b took over. It runs alone.';
  const at = new Date(atMs - (KILLED_AGO_S - 6) * 1_000).toISOString();
  const failover = { region: 'eu', at, version: 3, what, primary: 'eu-b', timeline: 2 };
  return {
    ...state,
    links: state.links.map((link) =>
      link.kind === 'replication' && link.to === 'eu-b'
        ? { ...link, health: 'unknown', ms: null }
        : link,
    ),
    failovers: tookOver ? [failover, ...state.failovers] : state.failovers,
  };
}

/** Clients ask for what does not exist, and eu's standby has come back after a takeover. */
export function ordinaryState(atMs: number): ConsoleState {
  const state = withRegion(wellState(atMs), 'us', ({ edge }) => ({
    edge:
      edge.kind === 'silent'
        ? edge
        : { ...edge, traffic: { ...edge.traffic, refusals: { 'unknown-subject': 12 } } },
  }));
  const record = (version: number, primary: string, secondsAgo: number) => ({
    region: 'eu',
    at: new Date(atMs - secondsAgo * 1_000).toISOString(),
    version,
    what: `record ${version}`,
    primary,
    timeline: primary === 'eu-a' ? 1 : 2,
  });
  const failovers = [record(3, 'eu-b', 20), record(2, 'eu-b', 60), record(1, 'eu-a', 90)];
  return { ...state, failovers };
}

export function darkRegionState(atMs: number): ConsoleState {
  const state = withRegion(wellState(atMs), 'asia', () => ({
    edge: { kind: 'silent', forMs: 34_000, why: 'no connection within 2 s' },
    nodes: [],
    keeper: { kind: 'silent', why: 'its edge cannot be asked' },
  }));
  const traffic: Traffic = {
    ...busy(1, 24),
    decisions: { ...busy(1, 24).decisions, refuse: series(9, (second) => (second > 85 ? 3 : 0)) },
    refusals: { 'residency-unavailable': 96 },
  };
  return {
    ...withRegion(state, 'eu', () => ({ edge: { kind: 'here', roundTripMs: 0, traffic } })),
    links: state.links.map((link) =>
      link.kind !== 'replication' && (link.from === 'asia' || link.to === 'asia')
        ? { ...link, health: 'broken', ms: null }
        : link,
    ),
    policy: { ...state.policy, drift: [{ region: 'us', version: 2, sha256: 'c0ffee'.repeat(10) }] },
  };
}

export function experimentState(atMs: number): ConsoleState {
  const state = wellState(atMs);
  const slow = withRegion(state, 'us', ({ nodes }) => ({
    nodes: nodes.map((one) =>
      one.role === 'replica' ? { ...one, health: 'lags', ageMs: 8_400, lagBytes: 1_840_000 } : one,
    ),
  }));
  return {
    ...slow,
    operator: { name: 'auditor', role: 'viewer' },
    links: state.links.map((link) =>
      link.kind === 'hop' && link.to === 'us' ? { ...link, health: 'slow', ms: 640 } : link,
    ),
    experiments: [
      {
        id: 'run-7',
        name: 'near-region-falls-behind',
        startedAtMs: atMs - 95_000,
        endedAtMs: null,
        verdict: null,
        faults: [
          { what: 'latency of 500 ms', where: ['us'], fromMs: atMs - 88_000, toMs: atMs - 52_000 },
          { what: 'replay paused', where: ['us-b'], fromMs: atMs - 31_000, toMs: null },
        ],
      },
      {
        id: 'run-6',
        name: 'promote-under-load',
        startedAtMs: atMs - 900_000,
        endedAtMs: atMs - 780_000,
        verdict: 'holds',
        faults: [
          { what: 'eu-a killed', where: ['eu-a'], fromMs: atMs - 880_000, toMs: atMs - 860_000 },
        ],
      },
    ],
  };
}

/** A takeover amid faults, two of them at once, as a run of chaos makes them. */
export function crowdedState(atMs: number): ConsoleState {
  const state = failoverState(atMs, true);
  const fault = (what: string, where: string[], from: number, to: number | null) => ({
    ...{ what, where, fromMs: atMs - from * 1_000 },
    toMs: to === null ? null : atMs - to * 1_000,
  });
  const faults = [
    fault('SIGKILL to the primary of eu (eu-a)', ['eu'], 64, null),
    fault('the link between us and eu is cut', ['eu', 'us'], 62, 4),
    fault('replay is paused', ['eu-b'], 61, 12),
    fault('one more than there is room for', ['eu'], 60, 10),
  ];
  const about = { id: 'run-8', name: 'crowded', startedAtMs: atMs - 70_000 };
  return { ...state, experiments: [{ ...about, endedAtMs: null, verdict: null, faults }] };
}

/** After a switchover whose former primary does not follow yet, of edges that remember nothing. */
export function replacedState(atMs: number): ConsoleState {
  const state = withRegion(failoverState(atMs, true), 'eu', ({ nodes }) => ({
    nodes: nodes.map((one) =>
      one.name === 'eu-a' ? { ...one, role: 'replaced', health: 'serves', timeline: 1 } : one,
    ),
  }));
  return {
    ...state,
    telemetry: 'off',
    regions: state.regions.map((region) =>
      region.edge.kind === 'silent'
        ? region
        : {
            ...region,
            edge: {
              ...region.edge,
              telemetry: region.id === 'eu' ? 'off' : 'on',
              operatorsBrokenForMs: region.id === 'us' ? 95_000 : null,
            },
          },
    ),
  };
}

/** Every text that comes from elsewhere is this one. */
export function hostileState(atMs: number, text: string): ConsoleState {
  const state = failoverState(atMs, true);
  const [us, ...others] = state.regions;
  if (us === undefined) throw new Error('no region');
  const bad: RegionView = {
    ...us,
    id: text,
    title: text,
    nodes: us.nodes.map((one, index) => ({
      ...one,
      name: `${text}${index}`,
      lsn: text,
      site: text,
    })),
    edge: { kind: 'silent', forMs: 3_000, why: text },
    keeper: { kind: 'says', primary: text, alone: true, pending: text, why: text },
  };
  return {
    ...state,
    edge: { ...state.edge, version: text },
    operator: { name: text, role: 'operator' },
    policy: {
      version: 1,
      sha256: text,
      source: text,
      drift: [{ region: text, version: 2, sha256: text }],
    },
    regions: [bad, ...others],
    links: [...state.links, { kind: 'mirror', from: text, to: 'eu', health: 'broken', ms: null }],
    failovers: state.failovers.map((one) => ({ ...one, what: text, primary: text })),
    experiments: [
      {
        id: text,
        name: text,
        startedAtMs: atMs - 60_000,
        endedAtMs: null,
        verdict: text,
        faults: [{ what: text, where: [text], fromMs: atMs - 50_000, toMs: null }],
      },
    ],
  };
}

const ROUTES = ['/users/:user', '/users/:user/orders', '/users/:user/card', '/products'];

export function traceId(index: number): string {
  return (index + 1).toString(16).padStart(32, '4bf92f3577b34da6a3ce929d0e0e4736');
}

export function traceLines(atMs: number, count = 80): TracesAnswer {
  const traces = Array.from({ length: count }, (_, index) => {
    const chance = wobble(index, 5);
    const kind = chance < 0.72 ? 'serve' : chance < 0.92 ? 'forward' : 'refuse';
    const rung = wobble(index, 6) < 0.8 ? 'replica' : 'primary';
    return {
      traceId: traceId(index),
      startedAtMs: atMs - index * 740,
      durationMs:
        kind === 'forward' ? 88 + chance * 60 : kind === 'refuse' ? 5_002 : 1.4 + chance * 12,
      method: index % 5 === 0 ? 'POST' : 'GET',
      route: ROUTES[index % ROUTES.length] ?? null,
      status: kind === 'refuse' ? 503 : index % 5 === 0 ? 201 : 200,
      decision: kind,
      to: kind === 'forward' ? 'us' : null,
      rung: kind === 'serve' ? rung : null,
      subject: `s${traceId(index).slice(0, 11)}`,
      spans: kind === 'forward' ? 6 : 3,
    };
  });
  return { traces };
}

/** Of an edge that was met in eu, whose home in us has a clock that goes wrong, while asia is silent. */
export function wholeTraceAnswer(atMs: number, of: string): TraceAnswer {
  const span = (
    spanId: string,
    parentSpanId: string | undefined,
    name: string,
    kind: 'server' | 'client' | 'internal',
    at: number,
    durationMs: number,
    attributes: Record<string, string | number | readonly string[]> = {},
  ) => ({
    spanId,
    parentSpanId,
    name,
    kind,
    startedAtMs: atMs + at,
    durationMs,
    error: false,
    attributes,
    region: spanId.startsWith('a') ? 'eu' : 'us',
  });
  return {
    parts: [
      { region: 'eu', kind: 'told', movedMs: 0 },
      { region: 'us', kind: 'told', movedMs: 212.4 },
      { region: 'asia', kind: 'silent', isPart: true, why: 'it does not answer in time' },
    ],
    trace: {
      traceId: of,
      spans: [
        span('a1', undefined, 'POST /users/:user/orders', 'server', 0, 97.4, {
          'domicile.decision': 'forward',
          'domicile.to': 'us',
          'domicile.home': 'us',
          'domicile.policy.version': 3,
          'domicile.policy.source': 'recorded',
          'domicile.subject': 's4bf92f3577b',
          'http.request.method': 'POST',
          'http.route': '/users/:user/orders',
          'http.response.status_code': 201,
        }),
        span('a2', 'a1', 'domicile.directory', 'internal', 0.4, 1.2),
        span('a3', 'a1', 'POST /users/:user/orders', 'client', 2, 94.8, { 'domicile.to': 'us' }),
        span('b1', 'a3', 'POST /users/:user/orders', 'server', 45, 8.9, {
          'domicile.decision': 'serve',
          'domicile.node': 'us-a',
          'domicile.rung': 'primary',
          'domicile.level': 'session',
          'domicile.passed_over': ['us-b:behind'],
          'domicile.durability': 'replicated',
          'domicile.floor': '1/0/51A3E10',
          'domicile.position': '1/0/51A3F28',
        }),
        span('b2', 'b1', 'domicile.wait', 'internal', 45.6, 2.1, {
          'domicile.wait.for': 'replica',
        }),
        span('b3', 'b1', 'write storefront', 'client', 48.2, 5.1, {
          'db.system.name': 'postgresql',
          'db.namespace': 'storefront',
          'domicile.node': 'us-a',
        }),
        span('a4', 'a1', 'POST /.domicile/claims', 'client', 2, 40.1, {
          'domicile.to': 'asia',
          'domicile.errand': 'question',
        }),
      ],
    },
  };
}

export function someRefusals(atMs: number): RecordedRefusal[] {
  const kinds = ['region-unavailable', 'session-floor-unmet', 'residency-unavailable', 'conflict'];
  return Array.from({ length: 12 }, (_, index) => {
    const because = kinds[index % kinds.length] ?? 'conflict';
    return {
      atMs: atMs - 900 - index * 2_300,
      because,
      method: index % 3 === 0 ? 'POST' : 'GET',
      route: ROUTES[index % ROUTES.length],
      status: because === 'conflict' ? 409 : 503,
      home: because === 'residency-unavailable' ? 'asia' : 'eu',
      passedOver:
        because === 'session-floor-unmet'
          ? [
              { node: 'eu-b', because: 'behind' as const },
              { node: 'eu-a', because: 'unreachable' as const },
            ]
          : [],
      traceId: index % 2 === 0 ? traceId(index) : undefined,
    };
  });
}

export function subjectAnswer(atMs: number): SubjectAnswer {
  return {
    kind: 'found',
    subject: 's4bf92f3577b34da6',
    home: 'eu',
    because: [
      'Rule “Europeans stay in Europe” placed it in eu: the declared country is in the jurisdiction “eu”.',
      'us and asia may hold a copy of public_profiles, and nothing else of it.',
    ],
    recent: traceLines(atMs, 5).traces,
  };
}
