/**
 * How long does a region acknowledge nothing when its primary or its standby is lost?
 *
 * Clients write and read through the edges of two regions while the servers of eu are killed, frozen,
 * cut off and handed over, each many times. The time is from the fault to the answer of the first
 * acknowledged write that began after it. Every acknowledged write must be there in the end, exactly
 * once, and no `strong` read may lack one that was acknowledged before it began.
 */
import { randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { LeasePool } from '../regions/postgres.ts';
import type { Faults } from '../regions/toxiproxy.ts';
import { keeperToken } from '../router/password-names.ts';
import { inThrowAwayWorld } from '../router/throw-away-world.ts';
import type { World } from '../router/world.ts';
import { edgeOf, FILES } from './measured-world.ts';

/** The shop itself: its orders are what must not be lost. */
const SHOP = {
  ...FILES,
  app: fileURLToPath(new URL('../examples/storefront/app.ts', import.meta.url)),
};

const KINDS = ['kill', 'pause', 'isolate', 'standbyLoss', 'switchover'] as const;
type Kind = (typeof KINDS)[number];

export type FailoverOptions = {
  runs: number;
  /** Which faults; all of them by default. */
  kinds?: readonly string[];
  report: (line: string) => void;
  signal: AbortSignal;
};

export type Figure = { medianMs: number; worstMs: number; runs: number };
export type Failover = Partial<Record<Exclude<Kind, 'switchover'>, Figure>> & {
  switchover?: { pauseMs: number; worstMs: number; failed: number; runs: number };
  acknowledgedLost: number;
  doubled: number;
  staleStrongReads: number;
  writes: Record<string, number>;
};

const WRITERS = 4;
/** Between two requests of one client, so that four of them look every few milliseconds. */
const BREATH_MS = 20;
const WELL_MS_MAX = 60_000;
/** Under load for so long before the next fault, and without an answer for so long at the most. */
const CALM_MS = 1_000;
const ANSWER_MS_MAX = 15_000;

export async function measureFailover({
  runs,
  kinds = KINDS,
  report,
  signal,
}: FailoverOptions): Promise<Failover> {
  const world = { wan: false, durable: false, keepers: true, innerLinks: true, files: SHOP };
  return inThrowAwayWorld({ ...world, report, signal }, async (running) => {
    const region = new Region(running);
    await region.begin();
    const took = new Map<Kind, number[]>();
    let failed = 0;
    try {
      for (let run = 0; run < runs && !signal.aborted; run++) {
        for (const kind of KINDS.filter((one) => kinds.includes(one))) {
          await region.well();
          await pause(CALM_MS);
          const before = region.failed;
          const ms = await region.suffer(kind);
          if (kind === 'switchover') failed += region.failed - before;
          took.set(kind, [...(took.get(kind) ?? []), ms]);
          report(`run ${run + 1}: ${kind} ${Math.round(ms)} ms`);
        }
      }
      await region.well();
    } finally {
      await region.end();
    }
    const figures = [...took].map(([kind, ms]) => {
      const { medianMs, worstMs } = figureOf(ms);
      return kind === 'switchover'
        ? [kind, { pauseMs: medianMs, worstMs, failed, runs: ms.length }]
        : [kind, { medianMs, worstMs, runs: ms.length }];
    });
    return {
      ...(Object.fromEntries(figures) as Partial<Failover>),
      ...(await region.count()),
      staleStrongReads: region.staleStrongReads,
      writes: Object.fromEntries(region.answers),
    };
  });
}

type Answer = { status: number; body: string };

/** The region under test with its clients, who remember what they were told. */
class Region {
  readonly #world: World;
  readonly #agent = new Agent({ keepAlive: true, maxSockets: WRITERS * 4 });
  readonly #user = `failover-${randomUUID()}`;
  readonly #acknowledged: { id: string; begunAtMs: number; answeredAtMs: number }[] = [];
  readonly answers = new Map<string, number>();
  #ending = false;
  #clients: Promise<void>[] = [];
  failed = 0;
  staleStrongReads = 0;

  constructor(world: World) {
    this.#world = world;
  }

  async begin(): Promise<void> {
    const created = await this.#call('us', 'POST', '/users', {
      id: this.#user,
      displayName: 'Failover',
      email: 'failover@mail.example',
      country: 'DE',
    });
    if (created.status !== 201) throw new Error(`no user: ${created.body}`);
    for (let i = 0; i < WRITERS; i++) this.#clients.push(this.#write(i % 2 === 0 ? 'us' : 'eu'));
    this.#clients.push(this.#readStrong('us'), this.#readStrong('eu'));
  }

  async end(): Promise<void> {
    this.#ending = true;
    await Promise.all(this.#clients);
    this.#agent.destroy();
  }

  /** Until a standby is lawful again. */
  async well(): Promise<void> {
    const untilMs = performance.now() + WELL_MS_MAX;
    for (;;) {
      const record = await this.#primary();
      if (record?.pending === null && record.standbys.length > 0) return;
      if (performance.now() > untilMs) throw new Error('the region does not recover');
      await pause(100);
    }
  }

  /** How long nothing was acknowledged, ms. */
  async suffer(kind: Kind): Promise<number> {
    const record = await this.#primary();
    if (record === undefined) throw new Error('no keeper answers');
    const { primary, standbys } = record;
    const [standby = ''] = standbys;
    const { clusters } = this.#world;
    const faults = this.#world.faults as Faults;
    const atMs = performance.now();
    let ms: number;
    switch (kind) {
      case 'kill':
        clusters.kill(primary, 'SIGKILL');
        return this.#firstAfter(atMs);
      case 'pause':
        clusters.kill(primary, 'SIGSTOP');
        ms = await this.#firstAfter(atMs);
        clusters.kill(primary, 'SIGCONT');
        return ms;
      case 'isolate': {
        const links = [...(await faults.proxies()).keys()].filter((name) =>
          name.endsWith(`-to-${primary}`),
        );
        const cutAtMs = performance.now();
        await Promise.all(links.map((name) => blackHole(faults, name)));
        ms = await this.#firstAfter(cutAtMs);
        // The old primary lives on by itself for a while.
        await pause(CALM_MS);
        for (const name of links) {
          for (const stream of STREAMS) await faults.removeToxic(name, `hole-${stream}`);
        }
        return ms;
      }
      case 'standbyLoss':
        clusters.kill(standby, 'SIGSTOP');
        ms = await this.#firstAfter(atMs);
        clusters.kill(standby, 'SIGCONT');
        return ms;
      case 'switchover': {
        const url = this.#keeper();
        const token = clusters.password(keeperToken('eu'));
        const response = await fetch(`${url}/orders/switchover`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
          body: JSON.stringify({ by: 'the bench' }),
        });
        const outcome = (await response.json()) as { kind: string; why?: string };
        if (outcome.kind !== 'done') throw new Error(`no switchover: ${outcome.why}`);
        await pause(CALM_MS);
        return this.#longestPauseSince(atMs);
      }
    }
  }

  /** What the new primary holds against what was acknowledged. */
  async count(): Promise<{ acknowledgedLost: number; doubled: number }> {
    const record = await this.#primary();
    const pool = new LeasePool({
      endpoint: this.#world.clusters.superuser(record?.primary ?? ''),
      connectionsMax: 1,
      waitersMax: 1,
      connectTimeoutMs: 5_000,
    });
    try {
      const rows = await pool.run(
        (sql) => sql<{ id: string }[]>`
          select id::text as id from app.orders where user_id = ${this.#user}`,
        { timeoutMs: 30_000 },
      );
      const there = new Set(rows.map(({ id }) => id));
      const lost = this.#acknowledged.filter(({ id }) => !there.has(id));
      return { acknowledgedLost: lost.length, doubled: rows.length - there.size };
    } finally {
      await pool.close({ timeoutMs: 1_000 });
    }
  }

  async #write(edge: string): Promise<void> {
    const body = { items: [{ product: 'lamp-brass', quantity: 1 }] };
    while (!this.#ending) {
      const begunAtMs = performance.now();
      const answer = await this.#call(edge, 'POST', `/users/${this.#user}/orders`, body);
      if (answer.status === 201) {
        const { id } = JSON.parse(answer.body) as { id: string };
        this.#acknowledged.push({ id, begunAtMs, answeredAtMs: performance.now() });
      }
      this.#note(answer);
      await pause(BREATH_MS);
    }
  }

  /** The newest order that was acknowledged before must be the first one, or not be the newest. */
  async #readStrong(edge: string): Promise<void> {
    const headers = { 'domicile-consistency': 'strong' };
    while (!this.#ending) {
      const known = this.#acknowledged.at(-1)?.id;
      if (known !== undefined) {
        const path = `/users/${this.#user}/orders/${known}`;
        const answer = await this.#call(edge, 'GET', path, undefined, headers);
        if (answer.status === 404) this.staleStrongReads++;
        else this.#note(answer);
      }
      await pause(BREATH_MS * 2);
    }
  }

  #note({ status, body }: Answer): void {
    const type = /problems\.md#([a-z-]+)/.exec(body)?.[1] ?? '';
    const what = `${status} ${type}`.trim();
    this.answers.set(what, (this.answers.get(what) ?? 0) + 1);
    if (status >= 400) this.failed++;
  }

  async #firstAfter(atMs: number): Promise<number> {
    for (;;) {
      const first = this.#acknowledged.find(({ begunAtMs }) => begunAtMs >= atMs);
      if (first !== undefined) return first.answeredAtMs - atMs;
      if (performance.now() - atMs > WELL_MS_MAX) throw new Error('nothing is acknowledged again');
      await pause(5);
    }
  }

  #longestPauseSince(atMs: number): number {
    const times = this.#acknowledged.map(({ answeredAtMs }) => answeredAtMs).sort((a, b) => a - b);
    return times.reduce((longest, time, index) => {
      const before = times[index - 1];
      return time < atMs || before === undefined ? longest : Math.max(longest, time - before);
    }, 0);
  }

  #keeper(): string {
    return this.#world.catalogue.regions.get('eu')?.keeper?.url ?? '';
  }

  async #primary(): Promise<
    { primary: string; standbys: string[]; pending: object | null } | undefined
  > {
    try {
      const response = await fetch(`${this.#keeper()}/primary`);
      return response.ok ? ((await response.json()) as never) : undefined;
    } catch {
      return undefined;
    }
  }

  #call(
    edge: string,
    method: string,
    path: string,
    body?: object,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    return new Promise((resolve) => {
      const asked = request(
        `${edgeOf(this.#world, edge)}${path}`,
        {
          method,
          agent: this.#agent,
          headers: {
            ...headers,
            ...(body !== undefined && { 'content-type': 'application/json' }),
          },
          timeout: ANSWER_MS_MAX,
        },
        (response) => {
          let text = '';
          response.setEncoding('utf8');
          response.on('data', (part) => {
            text += part;
          });
          response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        },
      );
      asked.on('timeout', () => asked.destroy(new Error('no answer')));
      asked.on('error', () => resolve({ status: 599, body: '' }));
      asked.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}

const STREAMS = ['upstream', 'downstream'] as const;

/** Nothing passes, and nobody is told. */
async function blackHole(faults: Faults, name: string): Promise<void> {
  for (const stream of STREAMS) {
    await faults.addToxic(name, {
      type: 'timeout',
      stream,
      name: `hole-${stream}`,
      attributes: { timeout: 0 },
    });
  }
}

function figureOf(ms: readonly number[]): Figure {
  const sorted = [...ms].sort((a, b) => a - b);
  return {
    medianMs: Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0),
    worstMs: Math.round(sorted.at(-1) ?? 0),
    runs: ms.length,
  };
}
