/**
 * How much later does a peer see a row because it comes through the airlock?
 *
 * One transaction in us writes two rows: one travels through the airlock, the other through a
 * subscription that goes straight to the private primary, made for this measurement. Both are
 * waited for in eu, so that both paths share every moment of the run; first idle, then beside a
 * steady thousand commits a second.
 */
import { randomBytes } from 'node:crypto';
import { LeasePool, type Sql, verbatim } from '../regions/postgres.ts';
import type { Bench } from './measured-world.ts';

export type AirlockLag = { idle: Lags; busy: Lags & { commitsPerSecond: number } };
export type Lags = { airlock: Percentiles; direct: Percentiles };
/** Milliseconds between the acknowledgement in us and the row in eu. */
export type Percentiles = { p50: number; p99: number; max: number };

export type AirlockOptions = { probes: number; commitsPerSecond: number };

const LIMIT_MS = 60_000;
/** Enough for the wanted rate at a few milliseconds a commit. */
const LANES = 16;

export async function measureAirlock(
  { world, report }: Bench,
  { probes, commitsPerSecond }: AirlockOptions,
): Promise<AirlockLag> {
  const us = new LeasePool(pool(world.clusters.superuser('us-a'), LANES + 1));
  const eu = new LeasePool(pool(world.clusters.superuser('eu-a'), 1));
  try {
    await straightPath(us, eu, world.clusters.superuser('us-a'));
    const idle = await measure(us, eu, probes);
    report(inWords('idle', idle));
    const load = steady(us, commitsPerSecond);
    const busy = await measure(us, eu, probes);
    const reached = await load.stop();
    report(inWords(`${Math.round(reached)} commits/s`, busy));
    return { idle, busy: { ...busy, commitsPerSecond: Math.round(reached) } };
  } finally {
    await eu
      .run((sql) => sql(verbatim('drop subscription if exists lag_direct')), {
        timeoutMs: LIMIT_MS,
      })
      .catch(() => undefined);
    await Promise.all([us, eu].map((one) => one.close({ timeoutMs: 1_000 })));
  }
}

async function straightPath(
  us: LeasePool,
  eu: LeasePool,
  {
    host,
    port,
    database,
    user,
    password,
  }: { host: string; port: number; database: string; user: string; password: string },
): Promise<void> {
  const table = ['create schema lag', 'create table lag.probes (key bytea primary key)'];
  const run = async (lent: LeasePool, statements: readonly string[]) => {
    for (const statement of statements) {
      await lent.run((sql) => sql(verbatim(statement)), { timeoutMs: LIMIT_MS });
    }
  };
  await run(us, [...table, 'create publication lag_direct for table lag.probes']);
  await run(eu, [
    ...table,
    `create subscription lag_direct connection 'host=${host} port=${port} dbname=${database} user=${user} password=${password}' publication lag_direct with (synchronous_commit = 'on')`,
  ]);
}

/** One probe after the other, each waited for on both paths. */
async function measure(us: LeasePool, eu: LeasePool, probes: number): Promise<Lags> {
  const airlock: number[] = [];
  const direct: number[] = [];
  for (let probe = 0; probe < probes; probe++) {
    const key = randomBytes(16);
    await commit(us, key);
    const acknowledgedAtMs = performance.now();
    await eu.run(
      async (sql) => {
        let missing = 2;
        let seen: Seen = { airlock: false, direct: false };
        while (missing > 0) {
          const now = await look(sql, key);
          const afterMs = performance.now() - acknowledgedAtMs;
          if (afterMs > LIMIT_MS) throw new Error('a row has not arrived');
          if (now.airlock && !seen.airlock) missing -= airlock.push(afterMs) > 0 ? 1 : 0;
          if (now.direct && !seen.direct) missing -= direct.push(afterMs) > 0 ? 1 : 0;
          seen = now;
        }
      },
      { timeoutMs: LIMIT_MS },
    );
  }
  return { airlock: percentiles(airlock), direct: percentiles(direct) };
}

type Seen = { airlock: boolean; direct: boolean };

async function look(sql: Sql, key: Buffer): Promise<Seen> {
  const [seen] = await sql<Seen[]>`
    select exists (select from domicile.directory where key = ${key}) as airlock,
      exists (select from lag.probes where key = ${key}) as direct`;
  return seen ?? { airlock: false, direct: false };
}

async function commit(us: LeasePool, key: Buffer): Promise<void> {
  const outcome = await us.transaction(
    async (sql) => {
      await sql`insert into domicile.directory (key, home) values (${key}, 'us')`;
      await sql`insert into lag.probes (key) values (${key})`;
    },
    { timeoutMs: LIMIT_MS },
  );
  if (outcome.kind !== 'applied') throw new Error(`a probe was ${outcome.kind}`);
}

/** Commits at a steady rate until it is told to stop; answers with the rate that it reached. */
function steady(us: LeasePool, perSecond: number): { stop: () => Promise<number> } {
  const startedAtMs = performance.now();
  let stopped = false;
  let begun = 0;
  let done = 0;
  const lane = async () => {
    while (!stopped) {
      const dueAtMs = startedAtMs + (begun++ / perSecond) * 1000;
      const earlyMs = dueAtMs - performance.now();
      if (earlyMs > 0) await new Promise((resolve) => setTimeout(resolve, earlyMs));
      await commit(us, randomBytes(16));
      done++;
    }
  };
  const lanes = Promise.all(Array.from({ length: LANES }, lane));
  // Told by `stop`; until then a failure must not end the process with its servers running.
  lanes.catch(() => undefined);
  return {
    stop: async () => {
      const ranMs = performance.now() - startedAtMs;
      stopped = true;
      const rate = (done / ranMs) * 1000;
      await lanes;
      return rate;
    },
  };
}

function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) =>
    Math.round(
      (sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0) * 100,
    ) / 100;
  return { p50: at(0.5), p99: at(0.99), max: at(1) };
}

function inWords(when: string, { airlock, direct }: Lags): string {
  const one = ({ p50, p99, max }: Percentiles) => `p50 ${p50} ms, p99 ${p99} ms, max ${max} ms`;
  return `${when}: airlock ${one(airlock)}; direct ${one(direct)}`;
}

function pool<E>(endpoint: E, connectionsMax: number) {
  return { endpoint, connectionsMax, waitersMax: LANES, connectTimeoutMs: 5_000, settings: {} };
}
