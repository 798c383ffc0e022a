/**
 * What does the record of a run look like, for tests that need one?
 *
 * Drawn from a seed: clients that ask at three edges, and what a world under faults would have told
 * them. Nothing runs here; it only has to look like it.
 */
import type { Action, Operation, Outcome, Told } from '../history.ts';
import type { FaultSpan, Incident, Judgement, Look, RunRecord } from '../run-record.ts';
import { seededRandom } from '../toxiproxy/seeded-random.ts';

const REGIONS = ['us', 'eu', 'asia'] as const;
type Region = (typeof REGIONS)[number];
const SUBJECTS_PER_HOME = 8;
/** Round trips, as between real places. */
const WAN_MS: Readonly<Record<string, number>> = { 'eu us': 85, 'asia us': 150, 'asia eu': 230 };

type Plan = {
  seed: number;
  durationMs: number;
  operations: number;
  faults: readonly FaultSpan[];
  incidents?: readonly Incident[];
  /** Writes of a home are held up until a moment, or refused. */
  stalls?: readonly { home: Region; fromMs: number; untilMs: number; refuses: boolean }[];
  looks?: (atMs: number, region: Region) => Partial<Look>;
};

export function calmRecord(operations = 3_000): RunRecord {
  const plan = { seed: 3, durationMs: 20_000, operations, faults: [] };
  return {
    ...recordOf(plan),
    scenario: 'calm',
    claim: 'Without any fault, every promise holds and no request fails.',
    bit: { bit: true, evidence: ['no fault is planned, so none has to bite'] },
  };
}

export function killRecord(operations = 6_000): RunRecord {
  const faults: FaultSpan[] = [
    {
      says: 'SIGSTOP to the primary of eu (eu-a)',
      kind: 'freeze',
      regions: ['eu'],
      fromMs: 11_800,
      untilMs: 13_800,
      evidence: 'no look reached eu-a for 2 s',
    },
    {
      says: 'SIGKILL to the primary of eu (eu-a)',
      kind: 'kill',
      regions: ['eu'],
      fromMs: 13_800,
      evidence: 'eu-a ended with SIGKILL; eu-b was promoted to timeline 2',
    },
  ];
  const plan: Plan = {
    seed: 7,
    durationMs: 40_000,
    operations,
    faults,
    incidents: [
      { atMs: 13_806, region: 'eu', says: 'eu-a ended: SIGKILL' },
      {
        atMs: 15_412,
        region: 'eu',
        says: 'the keeper of eu promoted eu-b; timeline 2 begins at 0/3A1F0C8',
      },
      { atMs: 16_020, region: 'eu', says: 'eu-b goes on alone, recorded before it took effect' },
      { atMs: 24_350, region: 'eu', says: 'eu-a was started again' },
      { atMs: 26_900, region: 'eu', says: 'eu-a was rewound and follows eu-b' },
      { atMs: 30_000, says: 'policy version 4 was applied' },
    ],
    stalls: [{ home: 'eu', fromMs: 11_800, untilMs: 15_640, refuses: true }],
    looks: (atMs, region) => {
      if (region !== 'eu') return {};
      if (atMs < 13_800) return atMs > 11_800 ? { primary: 'eu-a', lagBytes: {} } : {};
      if (atMs < 15_412) return { primary: undefined, lagBytes: {} } as unknown as Partial<Look>;
      const alone = atMs < 27_200;
      const lag = atMs < 26_900 ? {} : { 'eu-a': Math.max(0, 9e6 * (1 - (atMs - 26_900) / 2_500)) };
      return { primary: 'eu-b', timeline: 2, alone, lagBytes: lag };
    },
  };
  return {
    ...recordOf(plan),
    scenario: 'eu-primary-frozen-then-killed',
    claim:
      'When the primary of eu freezes and then dies, its replica takes over and no acknowledged write is lost.',
    bit: {
      bit: true,
      evidence: [
        'no look reached eu-a from 11.8 s to 13.8 s',
        'eu-a ended with SIGKILL at 13.806 s',
        'eu-b leads eu on timeline 2 from 15.412 s',
        '312 requests of home eu were refused as residency-unavailable',
      ],
    },
  };
}

export function brokenRecord(): RunRecord {
  const record = recordOf({
    seed: 11,
    durationMs: 30_000,
    operations: 4_000,
    faults: [
      {
        says: 'partition between us and eu',
        kind: 'partition',
        regions: ['us', 'eu'],
        fromMs: 8_000,
        untilMs: 14_000,
        evidence: '204 connections were refused on the link us-eu',
      },
      {
        says: 'latency of 400 ms ± 100 ms on replication eu-a to eu-b',
        kind: 'latency',
        regions: ['eu'],
        fromMs: 9_000,
        untilMs: 19_500,
        evidence: 'eu-b was up to 4 MB behind',
      },
      {
        says: 'RST in the middle of COMMIT on asia-a',
        kind: 'reset',
        regions: ['asia'],
        fromMs: 22_000,
      },
    ],
    stalls: [{ home: 'eu', fromMs: 8_000, untilMs: 14_000, refuses: false }],
    looks: (atMs, region) =>
      region === 'eu' && atMs > 9_000 && atMs < 20_000
        ? {
            primary: 'eu-a',
            timeline: 1,
            lagBytes: { 'eu-b': 4e6 * Math.abs(Math.sin(atMs / 1_500)) },
          }
        : {},
  });
  const { operations, added } = contradictions(record.history.operations);
  return {
    ...record,
    scenario: 'partition-us-eu',
    claim:
      'While us and eu cannot reach each other, each serves its own subjects, and sessions keep their order.',
    bit: {
      bit: true,
      evidence: ['204 connections were refused on the link us-eu', 'eu-b was up to 4 MB behind'],
    },
    history: { ...record.history, operations },
    judgements: added,
    verdict: 'broken',
  };
}

export function stormRecord(operations = 20_000, faults = 400): RunRecord {
  const random = seededRandom(23);
  const durationMs = 1_800_000;
  const vocabulary = [
    'partition',
    'latency',
    'kill',
    'freeze',
    'reset',
    'bandwidth',
    'flap',
    'slow primary',
    'replica paused',
    'half-open',
    'isolate',
    'loss one way',
    'keeper killed',
    'edge killed',
    'clock jump',
    'limit',
  ];
  const spans = Array.from({ length: faults }, (_, index): FaultSpan => {
    const kind = vocabulary[Math.floor(random() ** 1.6 * vocabulary.length)] ?? 'latency';
    const region = REGIONS[Math.floor(random() * 3)] ?? 'us';
    const fromMs = Math.round(((index + random()) / faults) * (durationMs - 30_000)) + 2_000;
    const atOnce = kind.includes('kill') || kind === 'reset';
    return {
      says: `${kind} of ${region}-a${random() < 0.3 ? `, from ${region}-b` : ''}`,
      kind,
      regions: [region],
      fromMs,
      ...(atOnce ? {} : { untilMs: fromMs + Math.round(500 + random() * 9_000) }),
      ...(random() < 0.06 ? {} : { evidence: `${Math.ceil(random() * 90)} requests felt it` }),
    };
  });
  const kills = spans.filter(({ untilMs }) => untilMs === undefined);
  const plan: Plan = {
    seed: 23,
    durationMs,
    operations,
    faults: spans,
    incidents: kills.map(({ fromMs, regions: [region = 'us'] }) => ({
      atMs: fromMs + 1_400,
      region,
      says: `the keeper of ${region} promoted its standby`,
    })),
    stalls: spans
      .filter((_, index) => index % 5 === 0)
      .map(({ fromMs, untilMs, regions }) => ({
        home: (regions[0] ?? 'us') as Region,
        fromMs,
        untilMs: (untilMs ?? fromMs) + 1_500,
        refuses: true,
      })),
    looks: (atMs, region) => {
      const before = kills.filter(({ fromMs, regions }) => regions[0] === region && fromMs < atMs);
      const sinceMs = atMs - (before.at(-1)?.fromMs ?? -1e9);
      const leads = before.length % 2 === 0 ? 'a' : 'b';
      const follows = leads === 'a' ? 'b' : 'a';
      if (sinceMs < 1_500) return { primary: undefined, lagBytes: {} } as unknown as Partial<Look>;
      return {
        primary: `${region}-${leads}`,
        timeline: before.length + 1,
        alone: sinceMs < 20_000,
        lagBytes: {
          [`${region}-${follows}`]:
            10 ** (2 + 4 * Math.abs(Math.sin(atMs / 70_000 + region.length))),
        },
      };
    },
  };
  return {
    ...recordOf(plan),
    scenario: 'storm',
    claim: 'Whatever breaks, in any order and together, no promise is broken.',
    command: 'npm run chaos -- storm --minutes 30 --seed 23',
    bit: {
      bit: true,
      evidence: spans
        .slice(0, 60)
        .flatMap(({ says, evidence }) => (evidence === undefined ? [] : [`${says}: ${evidence}`])),
    },
    verdict: 'inconclusive',
    judgements: judgements(operations).map((judged) =>
      judged.judge === 'bounded-staleness'
        ? { ...judged, verdict: 'inconclusive', checked: 0, why: 'no bounded read was answered' }
        : judged,
    ),
  };
}

export function emptyRecord(): RunRecord {
  return {
    ...recordOf({ seed: 1, durationMs: 0, operations: 0, faults: [] }),
    scenario: 'empty',
    claim: 'Nothing was asked.',
    looks: [],
    regions: [],
    judgements: [],
    bit: { bit: false, evidence: [] },
    notRepeated: '',
    verdict: 'void',
  };
}

/** Every text is an attack, and every list is as long or as strange as a bug could make it. */
export function hostileRecord(text: string): RunRecord {
  const record = brokenRecord();
  const told: Told = { status: 500, servedBy: text, decision: text, problem: text };
  return {
    ...record,
    scenario: text,
    claim: text,
    command: text,
    notRepeated: text,
    startedAt: text,
    toxiproxy: text,
    regions: [{ id: text, title: text, edges: [text], nodes: [text] }],
    faults: [{ says: text, kind: text, regions: [text], fromMs: 1_000, evidence: text }],
    incidents: [{ atMs: 2_000, region: text, says: text }],
    looks: [{ atMs: 500, region: text, primary: text, timeline: 1, lagBytes: { [text]: 7 } }],
    bit: { bit: true, evidence: [text] },
    judgements: record.judgements.map(({ violations, ...judged }) => ({
      ...judged,
      judge: text,
      why: text,
      violations: violations.map(({ operations }) => ({ promise: text, says: text, operations })),
    })),
    history: {
      operations: record.history.operations.map((operation, index) => ({
        ...operation,
        subject: text,
        home: text,
        edge: text,
        told,
        action: { kind: 'register-read', register: text },
        outcome:
          index % 2 === 0 ? { kind: 'fail', because: text } : { kind: 'unknown', because: text },
      })),
      settled: [],
      acceptedLosses: [{ home: text, atMs: 5, by: text }],
    },
  };
}

function recordOf({
  seed,
  durationMs,
  operations,
  faults,
  incidents = [],
  stalls = [],
  looks,
}: Plan): RunRecord {
  const random = seededRandom(seed);
  const history: Operation[] = [];
  const clients = Math.max(3, Math.min(24, Math.ceil(operations / 200)));
  const freeAt = Array.from({ length: clients }, () => random() * 50);
  const gapMs = (durationMs * clients) / Math.max(1, operations);
  for (let id = 0; id < operations; id += 1) {
    const client = freeAt.indexOf(Math.min(...freeAt));
    const invokedAtMs = freeAt[client] ?? 0;
    if (invokedAtMs >= durationMs) break;
    const edge = REGIONS[client % 3] ?? 'us';
    const home = random() < 0.7 ? edge : (REGIONS[Math.floor(random() * 3)] ?? 'us');
    const action = drawAction(random, id);
    const isWrite =
      !/read/.test(action.kind) &&
      !(action.kind === 'lists' && action.steps.every((step) => step.do === 'read'));
    const stall = stalls.find(
      (one) => one.home === home && invokedAtMs >= one.fromMs && invokedAtMs < one.untilMs,
    );
    const { tookMs, outcome, told } = answer({
      random,
      edge,
      home,
      action,
      isWrite,
      stall,
      invokedAtMs,
    });
    const endedAtMs = Math.min(durationMs, invokedAtMs + tookMs);
    freeAt[client] = Math.max(endedAtMs, invokedAtMs + gapMs * (0.5 + random()));
    history.push({
      id,
      client,
      session: client,
      subject: `${home}-witness-${Math.floor(random() * SUBJECTS_PER_HOME)}`,
      home,
      edge,
      action,
      level: isWrite ? 'session' : random() < 0.2 ? 'strong' : 'session',
      keyed: isWrite && random() < 0.5,
      attempts: outcome.kind === 'unknown' ? 3 : 1,
      invokedAtMs,
      endedAtMs,
      outcome,
      ...(told === undefined ? {} : { told }),
    });
  }
  history.sort((a, b) => a.invokedAtMs - b.invokedAtMs);
  const everyMs = Math.max(250, durationMs / 2_000);
  const seen: Look[] = [];
  for (let atMs = 100; atMs < durationMs; atMs += everyMs)
    for (const region of REGIONS) {
      const plain = {
        primary: `${region}-a`,
        timeline: 1,
        alone: false,
        lagBytes: { [`${region}-b`]: Math.floor(random() ** 4 * 30_000) },
      };
      const look = { atMs, region, ...plain, ...looks?.(atMs, region) };
      seen.push(
        Object.fromEntries(Object.entries(look).filter(([, value]) => value !== undefined)) as Look,
      );
    }
  return {
    format: 1,
    scenario: 'sample',
    claim: 'A claim.',
    seed,
    command: `npm run chaos -- sample --seed ${seed}`,
    notRepeated:
      'how long each answer takes, and so which requests are under way when a fault begins.',
    startedAt: '2026-11-22T00:10:00.000Z',
    durationMs,
    regions: REGIONS.map((id) => ({
      id,
      title: { us: 'United States', eu: 'European Union', asia: 'Asia' }[id],
      edges: [`edge-${id}`],
      nodes: [`${id}-a`, `${id}-b`, `${id}-airlock`],
    })),
    toxiproxy: 'the built-in Toxiproxy',
    faults,
    incidents,
    looks: seen,
    history: {
      operations: history.map((operation, id) => ({ ...operation, id })),
      settled: [],
      acceptedLosses: [],
    },
    bit: { bit: true, evidence: [] },
    judgements: judgements(operations),
    verdict: 'holds',
  };
}

function drawAction(random: () => number, value: number): Action {
  const roll = random();
  const list = `basket-${Math.floor(random() * 3)}`;
  if (roll < 0.3) return { kind: 'lists', steps: [{ do: 'read', list }] };
  if (roll < 0.5)
    return {
      kind: 'lists',
      steps: [
        { do: 'append', list, value },
        { do: 'read', list },
      ],
    };
  if (roll < 0.65) return { kind: 'register-read', register: 'x' };
  if (roll < 0.75) return { kind: 'register-write', register: 'x', value };
  if (roll < 0.8) return { kind: 'register-swap', register: 'x', expected: value - 9, value };
  if (roll < 0.88) return { kind: 'order', product: 'lamp', quantity: 1, value };
  if (roll < 0.96) return { kind: 'notice-read' };
  return { kind: 'notice-write', value };
}

type Asked = {
  random: () => number;
  edge: Region;
  home: Region;
  action: Action;
  isWrite: boolean;
  stall: { untilMs: number; refuses: boolean } | undefined;
  invokedAtMs: number;
};

function answer({ random, edge, home, action, isWrite, stall, invokedAtMs }: Asked): {
  tookMs: number;
  outcome: Outcome;
  told?: Told;
} {
  const wanMs = edge === home ? 0 : (WAN_MS[[edge, home].sort().join(' ')] ?? 0);
  const tail = random() < 0.01 ? 60 : 0;
  const baseMs = 2 + random() ** 3 * 14 + tail;
  const away = edge === home ? '' : `forward;to=${home}, `;
  if (stall !== undefined && (isWrite || random() < 0.35)) {
    const roll = random();
    if (roll < 0.18)
      return {
        tookMs: Math.min(5_000, stall.untilMs - invokedAtMs + 300 + random() * 900),
        outcome: {
          kind: 'unknown',
          because: roll < 0.1 ? 'the answer never came' : 'write-outcome-unknown',
        },
        ...(roll < 0.1
          ? {}
          : {
              told: {
                status: 504,
                problem: 'write-outcome-unknown',
                decision: `${away}serve;node=${home}-a;rung=primary`,
              },
            }),
      };
    const problem = stall.refuses ? 'residency-unavailable' : 'region-unavailable';
    return {
      tookMs: baseMs + wanMs + (roll < 0.3 ? 1_200 * random() : 20),
      outcome: { kind: 'fail', because: problem },
      told: {
        status: 503,
        problem,
        decision:
          edge === home
            ? `refuse;because=${problem}`
            : `forward;to=${home}, refuse;because=${problem}`,
      },
    };
  }
  const mirror = action.kind === 'notice-read' && edge !== home;
  const rung = isWrite
    ? 'primary'
    : mirror
      ? 'mirror'
      : random() < 0.1
        ? 'primary'
        : random() < 0.05
          ? 'replica_after_wait'
          : 'replica';
  const at = mirror ? edge : home;
  const node = `${at}-${rung === 'primary' ? 'a' : 'b'}`;
  const told: Told = {
    status: 200,
    servedBy: `${at}/${node}`,
    decision: `${mirror ? '' : away}serve;node=${node};rung=${rung}`,
  };
  if (random() < 0.004)
    return {
      tookMs: baseMs,
      outcome: { kind: 'fail', because: 'overloaded' },
      told: { ...told, status: 503, problem: 'overloaded', decision: 'refuse;because=overloaded' },
    };
  return {
    tookMs: baseMs + (mirror ? 0 : wanMs),
    outcome: { kind: 'ok', shown: shownBy(action) },
    told,
  };
}

function shownBy(action: Action): Extract<Outcome, { kind: 'ok' }>['shown'] {
  switch (action.kind) {
    case 'lists':
      return {
        kind: 'lists',
        lists: action.steps.map((step) => (step.do === 'read' ? [3, 9, 14] : undefined)),
      };
    case 'register-read':
      return { kind: 'register', value: 9 };
    case 'register-swap':
      return { kind: 'unchanged', because: 'not-equal', found: undefined };
    default:
      return { kind: 'nothing' };
  }
}

function judgements(checked: number): Judgement[] {
  const names = [
    'acknowledged',
    'sessions',
    'linearizable',
    'list-cycles',
    'bounded-staleness',
    'exactly-once',
    'liveness',
  ];
  return names.map((judge, index) => ({
    judge,
    verdict: 'holds',
    checked: Math.ceil(checked / (index + 1)),
    violations: [],
  }));
}

/** Operations that contradict each other, put into a history in place of others. */
function contradictions(operations: readonly Operation[]): {
  operations: Operation[];
  added: Judgement[];
} {
  const all = [...operations];
  const nearest = (ms: number, used: Set<number>) =>
    all.findIndex((one, index) => one.invokedAtMs >= ms && !used.has(index));
  const used = new Set<number>();
  const put = (atMs: number, change: Partial<Operation>): number => {
    const index = nearest(atMs, used);
    used.add(index);
    const old = all[index];
    if (old === undefined) throw new Error('The history is too short for a contradiction.');
    all[index] = {
      ...old,
      subject: 'eu-witness-3',
      home: 'eu',
      outcome: { kind: 'ok', shown: { kind: 'nothing' } },
      told: { status: 200, servedBy: 'eu/eu-a', decision: 'serve;node=eu-a;rung=primary' },
      ...change,
      id: old.id,
      invokedAtMs: old.invokedAtMs,
      endedAtMs: Math.min(30_000, old.invokedAtMs + 14 + (index % 30)),
    };
    return old.id;
  };
  const read = (values: number[]): Partial<Operation> => ({
    action: { kind: 'lists', steps: [{ do: 'read', list: 'basket-1' }] },
    outcome: { kind: 'ok', shown: { kind: 'lists', lists: [values] } },
  });
  const append = (value: number): Partial<Operation> => ({
    action: { kind: 'lists', steps: [{ do: 'append', list: 'basket-1', value }] },
  });
  const a1 = put(8_400, { ...append(90_117), client: 4, session: 4 });
  const r1 = put(8_700, {
    ...read([90_002, 90_117]),
    client: 4,
    session: 4,
    told: { status: 200, servedBy: 'eu/eu-b', decision: 'serve;node=eu-b;rung=replica' },
  });
  const r2 = put(9_300, {
    ...read([90_002]),
    client: 4,
    session: 4,
    edge: 'us',
    told: {
      status: 200,
      servedBy: 'eu/eu-b',
      decision: 'forward;to=eu, serve;node=eu-b;rung=replica;passed-over="eu-a:unreachable"',
    },
  });
  const w1 = put(12_000, {
    action: { kind: 'register-write', register: 'x', value: 501 },
    client: 2,
    edge: 'asia',
  });
  const w2 = put(12_400, {
    action: { kind: 'register-write', register: 'x', value: 502 },
    client: 7,
    edge: 'us',
    outcome: { kind: 'unknown', because: 'the answer never came' },
  });
  const s1 = put(12_900, {
    action: { kind: 'register-read', register: 'x' },
    level: 'strong',
    client: 1,
    outcome: { kind: 'ok', shown: { kind: 'register', value: 502 } },
  });
  const s2 = put(13_900, {
    action: { kind: 'register-read', register: 'x' },
    level: 'strong',
    client: 5,
    edge: 'asia',
    outcome: { kind: 'ok', shown: { kind: 'register', value: 501 } },
  });
  const o1 = put(5_000, {
    action: { kind: 'order', product: 'lamp', quantity: 2, value: 777 },
    keyed: true,
    attempts: 2,
    client: 6,
  });
  const o2 = put(28_500, {
    action: { kind: 'stock-read', product: 'lamp' },
    level: 'strong',
    client: 3,
    outcome: {
      kind: 'ok',
      shown: {
        kind: 'stock',
        left: 96,
        ordered: [
          { value: 777, quantity: 2 },
          { value: 777, quantity: 2 },
        ],
      },
    },
  });
  const judged = judgements(operations.length);
  const broken: Record<string, Judgement['violations']> = {
    sessions: [
      {
        promise: 'monotonic reads',
        says: `Client 4 read basket-1 of eu-witness-3 as [90002, 90117] at 8.7 s and as [90002] at 9.3 s, in one session: what it had seen, its own append of 90117 (#${a1}), is gone.`,
        operations: [a1, r1, r2],
      },
    ],
    linearizable: [
      {
        promise: 'strong is linearizable per subject',
        says: 'Register x of eu-witness-3 was read as 502 by client 1, and after that read had ended as 501 by client 5; no write of 501 began in between.',
        operations: [w1, w2, s1, s2],
      },
    ],
    'exactly-once': [
      {
        promise: 'an idempotency key makes a retry exactly once',
        says: 'Order 777 was sent twice under one key and stands twice in the orders of lamp.',
        operations: [o1, o2],
      },
    ],
  };
  return {
    operations: all,
    added: judged.map((one) => {
      const violations = broken[one.judge];
      if (one.judge === 'bounded-staleness')
        return { ...one, verdict: 'inconclusive', checked: 0, why: 'no bounded read was answered' };
      return violations === undefined ? one : { ...one, verdict: 'broken', violations };
    }),
  };
}
