/**
 * What does telemetry cost an edge?
 *
 * The same session read at four edges of one region that differ in nothing else: telemetry off, and
 * with none, a hundredth and all of the traces recorded, which a collector on this machine takes. One
 * variant at a time, in interleaved slices; each edge is a process of its own. Processor time is the
 * edge's alone: throughput on two cores pays for the collector as well.
 */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type LocalChild, startChild } from '../regions/local/child-process.ts';
import { freePorts } from '../regions/local/ports.ts';
import { waitUntil } from '../regions/local/wait-until.ts';
import { edgePassword, keyFrom, subjectKeyName } from '../router/provision.ts';
import { cpuTimeUs } from './cpu-time.ts';
import { load } from './load.ts';
import { type Bench, edgeOf, FILES, signUp } from './measured-world.ts';
import { inWords, ratios, type Spread, spread } from './ratio.ts';

export type TelemetryCost = {
  /** Requests a second against telemetry off: 1 is free. */
  throughput: Record<Recorded, Spread>;
  /** Processor time of the edge for a request, against telemetry off. */
  cpu: Record<Recorded, Spread>;
  cpuUsPerRequest: Record<Variant, Spread>;
  /** Resident memory at the end, in MB. */
  memoryMb: Record<Variant, number>;
  spansTaken: boolean;
};

type Recorded = 'none' | 'hundredth' | 'all';
type Variant = 'off' | Recorded;
type Run = { requests: number; seconds: number; cpuUs: number };

const MAIN = fileURLToPath(new URL('../router/main.ts', import.meta.url));
const RATIO: Record<Recorded, string> = { none: '0', hundredth: '0.01', all: '1' };
const VARIANTS: readonly Variant[] = ['off', 'none', 'hundredth', 'all'];
const USER = 'measured-telemetry';
const CONNECTIONS = 8;
/** A round gives each variant its time in so many slices, so that a slow moment befalls all. */
const SLICES = 4;
/** None of the edges turns anybody away, however busy the machine is. */
const PATIENT = {
  DOMICILE_BUDGET_MS: '20000',
  DOMICILE_QUEUE_MS_MAX: '20000',
  DOMICILE_CONNECTIONS_MAX: '64',
};
const WARM_UP_ROUNDS = 1;
/** Of Linux on the platforms of Node that this is measured on; proc(5), statm. */
const PAGE_BYTES = 4_096;

export async function measureTelemetry(
  bench: Bench,
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<TelemetryCost> {
  const { world, report } = bench;
  const session = { 'domicile-session': await signUp(edgeOf(world, 'eu'), USER) };
  const collector = await startSink();
  const edges = new Map<Variant, { url: string; child: LocalChild }>();
  try {
    for (const variant of VARIANTS) {
      const settings: Record<string, string> =
        variant === 'off'
          ? {}
          : {
              OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
              DOMICILE_TRACE_RATIO: RATIO[variant],
            };
      edges.set(variant, await startEdge(bench, variant, settings));
    }
    for (const { url } of edges.values()) await untilAtReplica(`${url}/users/${USER}`, session);
    const run = async (variant: Variant): Promise<Run> => {
      const edge = edges.get(variant);
      if (edge === undefined) throw new RangeError(variant);
      const { pid } = edge.child;
      const beforeUs = cpuTimeUs(pid) ?? Number.NaN;
      const { requests, perSecond } = await load({
        url: `${edge.url}/users/${USER}`,
        method: 'GET',
        headers: session,
        connections: CONNECTIONS,
        seconds: seconds / SLICES,
      });
      const cpuUs = (cpuTimeUs(pid) ?? Number.NaN) - beforeUs;
      return { requests, seconds: requests / perSecond, cpuUs };
    };
    const seen = new Map(VARIANTS.map((variant) => [variant, [] as Run[]]));
    const rates = (variant: Variant) =>
      (seen.get(variant) ?? []).map((sum) => sum.requests / sum.seconds);
    const costs = (variant: Variant) =>
      (seen.get(variant) ?? []).map((sum) => sum.cpuUs / sum.requests);
    for (let round = 1 - WARM_UP_ROUNDS; round <= rounds; round++) {
      const sums = new Map(VARIANTS.map((one) => [one, { requests: 0, seconds: 0, cpuUs: 0 }]));
      for (let slice = 0; slice < SLICES; slice++) {
        for (const variant of slice % 2 === 0 ? VARIANTS : VARIANTS.toReversed()) {
          const sum = sums.get(variant);
          const ran = await run(variant);
          if (sum === undefined) continue;
          sum.requests += ran.requests;
          sum.seconds += ran.seconds;
          sum.cpuUs += ran.cpuUs;
        }
      }
      if (round < 1) continue;
      for (const [variant, sum] of sums) seen.get(variant)?.push(sum);
      const line = VARIANTS.map((one) => `${one} ${Math.round(rates(one).at(-1) ?? 0)}/s`);
      report(`round ${round}: ${line.join(', ')}`);
    }
    const recorded = ['none', 'hundredth', 'all'] as const;
    const of = <T>(names: readonly Variant[], value: (name: Variant) => T) =>
      Object.fromEntries(names.map((name) => [name, value(name)]));
    const result = {
      throughput: of(recorded, (one) => ratios(rates(one), rates('off'))),
      cpu: of(recorded, (one) => ratios(costs(one), costs('off'))),
      cpuUsPerRequest: of(VARIANTS, (one) => spread(costs(one))),
      memoryMb: of(VARIANTS, (one) => residentMb(edges.get(one)?.child.pid ?? 0)),
      spansTaken: collector.taken() > 0,
    } as TelemetryCost;
    for (const one of recorded) {
      report(`${one.padEnd(10)} throughput / off  ${inWords(result.throughput[one])}`);
      report(`${one.padEnd(10)} processor / off   ${inWords(result.cpu[one])}`);
    }
    for (const one of VARIANTS) {
      const cost = inWords(result.cpuUsPerRequest[one], ' µs a request');
      report(`${one.padEnd(10)} ${cost}, ${result.memoryMb[one]} MB`);
    }
    return result;
  } finally {
    await Promise.all([...edges.values()].map(({ child }) => child.stop()));
    await collector.close();
  }
}

async function startEdge(
  { world, root, report }: Bench,
  variant: Variant,
  settings: Readonly<Record<string, string>>,
): Promise<{ url: string; child: LocalChild }> {
  const [port = 0] = await freePorts(1);
  const { clusters } = world;
  const key = (purpose: string) => keyFrom(clusters.password(purpose)).toString('base64url');
  const name = `edge-telemetry-${variant}`;
  const child = await startChild({
    name,
    command: process.execPath,
    args: [
      ...[MAIN, 'edge', '--region', 'eu', '--listen', `127.0.0.1:${port}`, '--app', FILES.app],
      ...['--policy', FILES.policy, '--regions', join(root, 'run', 'regions-seen-from-eu.yaml')],
    ],
    env: {
      DOMICILE_DATABASE_PASSWORD: clusters.password(edgePassword('eu')),
      DOMICILE_SESSION_KEYS: key('session tokens'),
      DOMICILE_HOP_KEY: key('hops'),
      DOMICILE_HEALTH: 'whole',
      DOMICILE_DIRECTORY_KEY: key('directory'),
      DOMICILE_SUBJECT_KEY: key(subjectKeyName('eu')),
      ...PATIENT,
      ...settings,
    },
    cwd: process.cwd(),
    logFile: join(root, 'run', `${name}.log`),
    ready: { kind: 'message', is: (message) => message === 'ready' },
    readyLimitMs: 60_000,
    stopLimitMs: 5_000,
    onExit: () => report(`the edge ${variant} ended`),
  });
  return { url: `http://127.0.0.1:${port}`, child };
}

/** A new edge on a busy machine needs a moment until it trusts its replica. */
async function untilAtReplica(url: string, headers: Readonly<Record<string, string>>) {
  const found = await waitUntil(
    async () => {
      const answer = await fetch(url, { headers });
      await answer.text();
      return answer.headers.get('domicile-decision')?.includes('rung=replica') || undefined;
    },
    { timeoutMs: 60_000 },
  );
  if (found === undefined) throw new Error(`${url} is not read at a replica`);
}

/** Takes everything at once, and looks at nothing. */
async function startSink(): Promise<{
  url: string;
  taken: () => number;
  close: () => Promise<void>;
}> {
  let taken = 0;
  const server = createServer((request, response) => {
    if (request.url === '/v1/traces') taken++;
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken: () => taken,
    async close() {
      server.closeAllConnections();
      await new Promise<void>((done) => server.close(() => done()));
    },
  };
}

function residentMb(pid: number): number {
  const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
  return Math.round((pages * PAGE_BYTES) / 1_000_000);
}
