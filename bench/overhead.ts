/**
 * What does Domicile cost over bare Hono and `postgres`?
 *
 * The same handlers, the same replica, the same client, one variant at a time in interleaved
 * rounds; each server is a process of its own. With two cores the server has one and shares the
 * other with PostgreSQL and the load, so the throughput is the server's.
 */
import { randomBytes } from 'node:crypto';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { startChild } from '../regions/local/child-process.ts';
import { freePorts } from '../regions/local/ports.ts';
import { cpuTimeUs } from './cpu-time.ts';
import { load } from './load.ts';
import { type Bench, signUp } from './measured-world.ts';
import { inWords, ratios, type Spread, spread } from './ratio.ts';

export type Overhead = {
  sessionReadVsBare: Spread;
  naiveCheckVsBare: Spread;
  writeVsBare: Spread;
  /** Requests a second of the bare read, for orientation. */
  bareReadsPerSecond: Spread;
  /** Processor time of the server process alone, in microseconds. */
  cpuUsPerRequest: Record<Variant, Spread>;
};

type Variant = 'bare' | 'naive' | 'domicile' | 'bareWrite' | 'domicileWrite';
type Run = { requests: number; seconds: number; cpuUs: number };

export type OverheadOptions = {
  rounds: number;
  seconds: number;
  connections: number;
};

const here = dirname(fileURLToPath(import.meta.url));
/**
 * A round gives each variant its time in so many slices. On two cores a run is fast or slow by up
 * to two, as the scheduler happens to lay server, PostgreSQL and load; slices share its moods.
 */
const SLICES = 6;
/** Compilers, plans and pools settle in these, which are not counted; after one, some still move. */
const WARM_UP_ROUNDS = 2;

/** Ids of a run are random, so that none is found in a world that is used twice. */
const USER = `measured-${randomBytes(4).toString('hex')}`;

export async function measureOverhead(
  { world, root, report }: Bench,
  { rounds, seconds, connections }: OverheadOptions,
): Promise<Overhead> {
  const eu = world.catalogue.regions.get('eu');
  const url = eu?.edges[0]?.url;
  if (eu === undefined || url === undefined) throw new RangeError('no region eu');
  const token = await signUp(url, USER);
  const at = (role: string) =>
    eu.nodes.find(({ name }) => world.clusters.role(name) === role)?.port;
  const { user, password } = world.clusters.superuser('eu-a');
  const startBare = async (name: string) => {
    const [port = 0] = await freePorts(1);
    const child = await startChild({
      name,
      command: process.execPath,
      args: [
        // As the edge has it, so that the difference is Domicile's own.
        '--no-allocation-site-pretenuring',
        join(here, 'bare-server.ts'),
        ...[port, at('replica'), at('primary'), eu.database, user].map(String),
      ],
      env: { PGPASSWORD: password },
      cwd: process.cwd(),
      logFile: join(root, 'run', `${name}.log`),
      ready: { kind: 'message', is: (message) => message === 'ready' },
      readyLimitMs: 10_000,
      stopLimitMs: 2_000,
      onExit: () => report(`the ${name} server ended`),
    });
    return { child, pid: child.pid, url: `http://127.0.0.1:${port}` };
  };
  // One process a variant: the compiler serves each of them alone, which is the best case for them.
  const bare = await startBare('bare');
  const naive = await startBare('naive');
  const bareWrite = await startBare('bare-write');
  try {
    const edge = { pid: world.edges.get(eu.edges[0]?.name ?? '')?.pid ?? 0, url };
    const run = async (
      { pid, url: origin }: { pid: number; url: string },
      path: string,
      method: 'GET' | 'POST',
      headers = {},
    ): Promise<Run> => {
      const cpuBeforeUs = cpuTimeUs(pid) ?? Number.NaN;
      const { requests, perSecond } = await load({
        url: origin + path,
        method,
        headers,
        connections,
        seconds: seconds / SLICES,
      });
      const cpuUs = (cpuTimeUs(pid) ?? Number.NaN) - cpuBeforeUs;
      return { requests, seconds: requests / perSecond, cpuUs };
    };
    const session = { 'domicile-session': token };
    const path = `/users/${USER}`;
    const variants = {
      bare: () => run(bare, path, 'GET'),
      naive: () => run(naive, `/naive${path}`, 'GET'),
      domicile: () => run(edge, path, 'GET', session),
      bareWrite: () => run(bareWrite, path, 'POST'),
      domicileWrite: () => run(edge, path, 'POST', session),
    };
    const names = Object.keys(variants) as Variant[];
    const seen = new Map(names.map((name) => [name, [] as Run[]]));
    const rates = (name: Variant) =>
      (seen.get(name) ?? []).map((run) => run.requests / run.seconds);
    const costs = (name: Variant) => (seen.get(name) ?? []).map((run) => run.cpuUs / run.requests);
    for (let round = 1 - WARM_UP_ROUNDS; round <= rounds; round++) {
      const sums = new Map(names.map((name) => [name, { requests: 0, seconds: 0, cpuUs: 0 }]));
      for (let slice = 0; slice < SLICES; slice++) {
        for (const name of slice % 2 === 0 ? names : names.toReversed()) {
          add(sums.get(name), await variants[name]());
        }
      }
      for (const [name, sum] of sums) if (round > 0) seen.get(name)?.push(sum);
      if (round > 0) {
        const line = names.map((name) => `${name} ${Math.round(rates(name).at(-1) ?? 0)}/s`);
        report(`round ${round}: ${line.join(', ')}`);
      }
    }
    return {
      sessionReadVsBare: ratios(rates('domicile'), rates('bare')),
      naiveCheckVsBare: ratios(rates('naive'), rates('bare')),
      writeVsBare: ratios(rates('domicileWrite'), rates('bareWrite')),
      bareReadsPerSecond: spread(rates('bare')),
      cpuUsPerRequest: {
        bare: spread(costs('bare')),
        naive: spread(costs('naive')),
        domicile: spread(costs('domicile')),
        bareWrite: spread(costs('bareWrite')),
        domicileWrite: spread(costs('domicileWrite')),
      },
    };
  } finally {
    await Promise.all([bare, naive, bareWrite].map(({ child }) => child.stop()));
  }
}

function add(sum: Run | undefined, run: Run): void {
  if (sum === undefined) return;
  sum.requests += run.requests;
  sum.seconds += run.seconds;
  sum.cpuUs += run.cpuUs;
}

export function overheadTable(result: Overhead): string[] {
  return [
    '',
    `bare Hono + postgres   ${inWords(result.bareReadsPerSecond, ' reads/s')}`,
    `session read / bare    ${inWords(result.sessionReadVsBare)}`,
    `naive check / bare     ${inWords(result.naiveCheckVsBare)}`,
    `write / bare write     ${inWords(result.writeVsBare)}`,
    ...Object.entries(result.cpuUsPerRequest).map(
      ([name, cost]) =>
        `server's processor time, ${name.padEnd(14)} ${inWords(cost, ' µs a request')}`,
    ),
  ];
}
