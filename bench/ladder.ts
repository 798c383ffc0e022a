/**
 * On which rung are session reads served when the replica lags, and what does it add?
 *
 * Clients write and read at once what they wrote, over and over, while the replica applies each
 * commit so much later (`recovery_min_apply_delay`). A client that has written nothing reads beside
 * them: its latency, from the replica, is what the others are compared with.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { LeasePool, verbatim } from '../regions/postgres.ts';
import { type Bench, edgeOf, signUp } from './measured-world.ts';

export type Ladder = {
  lagMs: number;
  reads: number;
  /** Share of the reads on each rung; `refused` among them. */
  rungs: Record<string, number>;
  /** Of reads right after a write, in milliseconds. */
  afterWriteMs: { p50: number; p99: number };
  /** Of the same reads by a session that has nothing to wait for. */
  plainMs: { p50: number; p99: number };
  /** What a session pays for its promise, at the median. */
  addedMs: number;
};

export const LAGS_MS = [0, 10, 100, 1_000];
const CLIENTS = 8;
/** A lagging replica has to be found out, and recovers in a second. */
const SETTLE_MS = 2_000;

export async function measureLadder(
  { world, report }: Bench,
  { seconds }: { seconds: number },
): Promise<Ladder[]> {
  const edge = edgeOf(world, 'eu');
  const replica = world.clusters.superuser('eu-b');
  const admin = new LeasePool({
    endpoint: replica,
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: 5_000,
  });
  const results: Ladder[] = [];
  try {
    const plain = await signUp(edge, 'reader');
    const clients = Array.from({ length: CLIENTS }, (_, client) => client);
    await Promise.all(clients.map((client) => signUp(edge, `writer-${client}`)));
    for (const lagMs of LAGS_MS) {
      await admin.run(
        async (sql) => {
          await sql(verbatim(`alter system set recovery_min_apply_delay = '${lagMs}ms'`));
          await sql`select pg_reload_conf()`;
        },
        { timeoutMs: 5_000 },
      );
      await sleep(SETTLE_MS);
      const rungs = new Map<string, number>();
      const afterWrite: number[] = [];
      const beside: number[] = [];
      const until = performance.now() + seconds * 1_000;
      const write = async (client: number) => {
        const path = `${edge}/users/writer-${client}`;
        let token = '';
        while (performance.now() < until) {
          const written = await call(path, 'POST', token);
          token = written.token ?? token;
          const read = await call(path, 'GET', token);
          token = read.token ?? token;
          afterWrite.push(read.ms);
          rungs.set(read.rung, (rungs.get(read.rung) ?? 0) + 1);
        }
      };
      const look = async () => {
        while (performance.now() < until) {
          beside.push((await call(`${edge}/users/reader`, 'GET', plain)).ms);
          await sleep(2);
        }
      };
      await Promise.all([...clients.map(write), look()]);
      const afterWriteMs = percentiles(afterWrite);
      const plainMs = percentiles(beside);
      const result: Ladder = {
        lagMs,
        reads: afterWrite.length,
        rungs: Object.fromEntries(
          [...rungs].map(([rung, n]) => [rung, round(n / afterWrite.length)]),
        ),
        afterWriteMs,
        plainMs,
        addedMs: round(afterWriteMs.p50 - plainMs.p50),
      };
      results.push(result);
      const shares = Object.entries(result.rungs).map(([rung, share]) => `${rung} ${share}`);
      report(
        `lag ${lagMs} ms: ${shares.join(', ')}; p50 ${afterWriteMs.p50} ms, p99 ${afterWriteMs.p99} ms; ` +
          `without a floor p50 ${plainMs.p50} ms, p99 ${plainMs.p99} ms`,
      );
    }
    return results;
  } finally {
    await admin.close({ timeoutMs: 1_000 });
  }
}

async function call(url: string, method: string, token: string) {
  const startedAtMs = performance.now();
  const answer = await fetch(url, {
    method,
    headers: token === '' ? {} : { 'domicile-session': token },
  });
  await answer.arrayBuffer();
  const ms = performance.now() - startedAtMs;
  const decision = answer.headers.get('domicile-decision') ?? '';
  const rung = /rung=(\w+)/.exec(decision)?.[1] ?? `refused ${answer.status}`;
  return { ms, rung, token: answer.headers.get('domicile-session') ?? undefined };
}

function percentiles(values: readonly number[]): { p50: number; p99: number } {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => round(sorted[Math.floor(sorted.length * share)] ?? Number.NaN);
  return { p50: at(0.5), p99: at(0.99) };
}

function round(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
