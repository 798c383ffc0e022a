/**
 * Who asks what of a running system, and what were they told?
 *
 * Creates the first users of the witness app, then lets clients loose at all edges at once: each
 * takes its next plan, carries it out over real HTTP, and notes what came of it. `stop` lets what is
 * under way end; `settle` then reads what is there, when faults are healed.
 */
import { Agent } from 'node:http';
import type { History, Operation, Settled } from '../history.ts';
import { ChaosError } from '../world.ts';
import { askEdge } from './ask-edge.ts';
import { Client, type ClientOptions } from './client.ts';
import { MIXES, type Mix, type MixName } from './mixes.ts';
import { ATTEMPTS_MAX, type Edge, type Plan, plansOf } from './next-plan.ts';
import { type Mark, Population, type Subject } from './population.ts';
import { problemOf, readOutcome } from './read-outcome.ts';
import { Sessions } from './sessions.ts';
import { everythingOf, settledFrom, settledWithout } from './witness-requests.ts';

export type StartClientsOptions = {
  /** Addresses of the edges of each region. */
  edges: ReadonlyMap<string, readonly string[]>;
  seed: number;
  /** Monotonic milliseconds since the run began. */
  now: () => number;
  mix?: MixName | Mix;
  clients?: number;
  subjectsPerHome?: number;
  /** Begins the users' ids, which must be new to the world that is asked; else it is the seed. */
  run?: string;
  /** A client rests up to so long before each operation. */
  restMsMax?: number;
  /** After so long without a whole answer, a client gives an attempt up. */
  answerMsMax?: number;
};

export type Clients = {
  /** What has ended so far, in order of invocation; ids of what is under way are missing. */
  operations(): readonly Operation[];
  /** Ends all, and waits for what is under way. */
  stop(): Promise<History['operations']>;
  /**
   * Reads all users with `strong` at their homes, after `stop`; tries until `withinMs` are over. Those
   * whose creation was refused, too: that nothing of them is there is to be seen.
   */
  settle(options?: { withinMs?: number }): Promise<readonly Settled[]>;
  /** Users who were created, or may have been. */
  subjects(): readonly Subject[];
  /** The texts that lie in what was written, and where they may be. */
  marks(): readonly Mark[];
};

/**
 * Twelve clients with these rests make about two hundred operations a second, which leaves two cores
 * some time for six databases.
 */
const CLIENTS = 12;
const REST_MS_MAX = 90;
const SUBJECTS_PER_HOME = 2;
/** An edge ends a request within 2 s by itself, hops included. */
const ANSWER_MS_MAX = 5_000;
/** A failover takes less, so most operations with a key are answered in the end. */
const RETRY_MS_MAX = 15_000;
const SETTLE_MS_MAX = 60_000;
const SETTLE_PAUSE_MS = 250;
/** A long run has created thousands, and all are read. */
const SETTLE_AT_ONCE = 6;

/** @throws ChaosError when the first users cannot be created; they need a world that works. */
export async function startClients(options: StartClientsOptions): Promise<Clients> {
  const { seed, now, mix = 'everything', restMsMax = REST_MS_MAX } = options;
  const { answerMsMax = ANSWER_MS_MAX, clients = CLIENTS } = options;
  const run = options.run ?? `run-${seed}`;
  const subjectsPerHome = options.subjectsPerHome ?? SUBJECTS_PER_HOME;
  const population = new Population(run, options.edges.keys(), subjectsPerHome);
  const chosen: Mix = typeof mix === 'string' ? MIXES[mix] : mix;
  const edges = edgesOf(options.edges);
  const operations: Operation[] = [];
  const created = new Map<string, Subject>();
  const named = new Map<string, Subject>();
  const ending = new AbortController();
  const draw = { client: counter(), operation: counter(), session: counter() };

  const note = (operation: Operation, subject: Subject) => {
    operations.push(operation);
    named.set(subject.id, subject);
    const { action, outcome } = operation;
    if (action.kind === 'create' && outcome.kind !== 'fail') created.set(subject.id, subject);
  };
  const clientOptions = (number: number, sessions: Sessions): ClientOptions => ({
    population,
    sessions,
    number,
    draw,
    now,
    rest: (ms) => rest(ms, ending.signal),
    isEnding: () => ending.signal.aborted,
    answerMsMax,
    retryMsMax: RETRY_MS_MAX,
  });

  // Before the loop, so that client numbers and numbers of plans are the same.
  const numbers = Array.from({ length: clients }, () => draw.client());
  await createFirst(new Client(clientOptions(draw.client(), new Sessions(draw.session))));

  let before: Sessions | undefined;
  const loops = numbers.map((number) => {
    const isShared = before !== undefined && isAmong(number, chosen.shares);
    const sessions = isShared && before !== undefined ? before : new Sessions(draw.session);
    before = sessions;
    const client = new Client(clientOptions(number, sessions));
    const next = plansOf({ seed, client: number, population, edges, mix: chosen, restMsMax });
    return loop(client, next);
  });

  async function loop(client: Client, next: () => Plan): Promise<void> {
    while (!ending.signal.aborted) {
      const plan = next();
      await rest(plan.restMs, ending.signal);
      if (ending.signal.aborted) break;
      note(await client.carryOut(plan), plan.subject);
    }
    client.close();
  }

  async function createFirst(client: Client): Promise<void> {
    for (const subject of population.first) {
      const at = edges.filter(({ region }) => region === subject.home);
      const operation = await client.carryOut({
        restMs: 0,
        subject,
        action: { kind: 'create', country: subject.country },
        level: 'session',
        maxStalenessMs: undefined,
        key: `create-${subject.id}`,
        edges: Array.from({ length: ATTEMPTS_MAX }, (_, i) => at[i % at.length] as Edge),
        newSession: false,
      });
      note(operation, subject);
      const { outcome } = operation;
      if (outcome.kind === 'ok') continue;
      client.close();
      throw new ChaosError(
        `the edge of ${subject.home} did not create the user ${subject.id}: ${outcome.because}`,
      );
    }
    client.close();
  }

  const ended = () => operations.toSorted((a, b) => a.id - b.id);
  return {
    operations: ended,
    async stop() {
      ending.abort();
      await Promise.all(loops);
      return ended();
    },
    settle: (within = {}) =>
      settle([...named.values()], {
        edges: options.edges,
        now,
        answerMsMax,
        withinMs: within.withinMs ?? SETTLE_MS_MAX,
      }),
    subjects: () => [...created.values()],
    marks: () => population.marks(),
  };
}

type SettleOptions = {
  edges: ReadonlyMap<string, readonly string[]>;
  now: () => number;
  answerMsMax: number;
  withinMs: number;
};

async function settle(
  subjects: readonly Subject[],
  { edges, now, answerMsMax, withinMs }: SettleOptions,
): Promise<Settled[]> {
  const agent = new Agent({ keepAlive: true });
  const until = now() + withinMs;
  const settled: Settled[] = [];
  const queue = subjects.values();
  await Promise.all(Array.from({ length: SETTLE_AT_ONCE }, readSome));
  agent.destroy();
  return settled;

  async function readSome(): Promise<void> {
    for (const subject of queue) await readOne(subject);
  }

  async function readOne({ id, home }: Subject): Promise<void> {
    const urls = edges.get(home) ?? [];
    for (let attempt = 0; ; attempt++) {
      const exchange = await askEdge(
        urls[attempt % urls.length] ?? '',
        { ...everythingOf(id), headers: { 'domicile-consistency': 'strong' } },
        { agent, limitMs: answerMsMax },
      );
      const outcome = readOutcome(exchange);
      const found = outcome.kind === 'ok' ? settledFrom(id, outcome.body) : undefined;
      const isAbsent =
        exchange.kind === 'answered' && problemOf(exchange)?.kind === 'unknown-subject';
      if (found !== undefined || isAbsent) {
        settled.push(found ?? settledWithout(id));
        return;
      }
      if (now() > until) return;
      await rest(SETTLE_PAUSE_MS, undefined);
    }
  }
}

function edgesOf(edges: StartClientsOptions['edges']): Edge[] {
  const all = [...edges].map(([region, urls]) => urls.map((url) => ({ region, url })));
  // One of each region before the second ones, so that few clients meet every region.
  const most = Math.max(0, ...all.map(({ length }) => length));
  return Array.from({ length: most }, (_, at) => at).flatMap((at) =>
    all.flatMap((ofRegion) => ofRegion[at] ?? []),
  );
}

/** Spreads a share evenly over the numbers. */
function isAmong(number: number, share: number): boolean {
  return Math.floor((number + 1) * share) > Math.floor(number * share);
}

function counter(): () => number {
  let next = 0;
  return () => next++;
}

function rest(ms: number, early: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    if (early?.aborted) return resolve();
    const end = () => {
      clearTimeout(timer);
      early?.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    early?.addEventListener('abort', end);
  });
}
