/**
 * How does a test get a whole Domicile, and look at it from every side?
 *
 * Real clusters and real edge processes in a folder and on ports of its own, shared by one test
 * file. A test is a client of the edges, a superuser of the nodes, and may start further edges
 * with other settings or with a tap in between.
 */
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Policy } from '../policies/policy.ts';
import type { Catalogue, Region, RegionId } from '../regions/catalogue.ts';
import { portsNeeded, withPorts } from '../regions/local/catalogue-ports.ts';
import { type LocalChild, startChild } from '../regions/local/child-process.ts';
import { freePorts } from '../regions/local/ports.ts';
import { postgresPidsOn } from '../regions/local/process-identity.ts';
import type { LocalClusters } from '../regions/local/start-clusters.ts';
import { dataDirectories } from '../regions/local/world-folder.ts';
import { ask } from '../regions/local/world-for-tests.ts';
import { lsnFromPostgres } from '../regions/position.ts';
import { type Sql, verbatim } from '../regions/postgres.ts';
import { edgePassword, keyFrom, subjectKeyName } from './provision.ts';
import { besideApp, readFiles } from './read-files.ts';
import { SessionTokens } from './session-token.ts';
import { catalogueText, startWorld, type World } from './world.ts';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const MAIN = at('./main.ts');
export const STOREFRONT = at('../examples/storefront/app.ts');

export const REGIONS = ['us', 'eu', 'asia'] as const;
export type Where = (typeof REGIONS)[number];
/** A country whose users are at home there. */
export const COUNTRY_OF: Record<Where, string> = { us: 'US', eu: 'DE', asia: 'JP' };

/** For facts that are true within a second on an idle machine. */
export const SOON_MS = 20_000;
const CALL_MS_MAX = 15_000;
/**
 * Most looks are a new connection, which costs the machine some 15 ms: what takes long is not
 * looked at so often that the looking is what it waits for.
 */
const LOOK_MS_MIN = 20;
const LOOK_MS_MAX = 150;
const LOOK_GROWTH = 1.3;

export type Answer = {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: each test knows what it asked for.
  json: any;
  ms: number;
};

export type Call = {
  token?: string | undefined;
  headers?: Record<string, string>;
  /** Sent as JSON, or as it is when it is text. */
  body?: unknown;
  /** Keeps connections, as a load balancer would. */
  agent?: Agent;
};

export type FurtherEdge = { url: string; child: LocalChild; log: string };

export type TestDomicile = {
  root: string;
  catalogue: Catalogue;
  policy: Policy;
  world: World;
  clusters: LocalClusters;
  url(region: string): string;
  call(to: string, method: string, path: string, call?: Call): Promise<Answer>;
  /** Runs statements as superuser, on any node or airlock. */
  sql<T>(node: string, use: (sql: Sql) => Promise<T>, timeoutMs?: number): Promise<T>;
  /** The directory key of a subject, as the edges compute it. */
  keyOf(subject: string): Buffer;
  tokens: SessionTokens;
  secret(purpose: string): Buffer;
  /** Another edge process of a region, which sees the catalogue that it is given. */
  startEdge(options: {
    region: Where;
    app?: string;
    catalogue?: Catalogue;
    settings?: Record<string, string>;
  }): Promise<FurtherEdge>;
  remove(): Promise<void>;
};

export async function startTestDomicile(
  options: {
    app?: string;
    /** Other files than the storefront's. */
    policy?: string;
    schema?: string;
    edgeSettings?: Record<string, string>;
    recordWire?: boolean;
    /** Each edge answers `/metrics`, and tells all its traces to the collector of `environment`. */
    metrics?: boolean;
    environment?: Record<string, string>;
    /** Without them a test promotes by hand. */
    keepers?: boolean;
    /** Archive the log of each region; base backups are then taken by command. */
    backups?: boolean;
  } = {},
): Promise<TestDomicile> {
  const parent = await mkdtemp(join(tmpdir(), 'domicile-test-'));
  // As root the servers run as somebody else, who has to get in.
  await chmod(parent, 0o711);
  const root = join(parent, 'world');
  const files = besideApp(STOREFRONT, options);
  if (options.app !== undefined) files.app = options.app;
  const read = await readFiles(files);
  if ('complaints' in read) throw new Error(read.complaints.join('\n'));
  const catalogue = withPorts(read.catalogue, await freePorts(portsNeeded(read.catalogue)));
  const further: LocalChild[] = [];
  let world: World | undefined;
  const remove = async () => {
    await Promise.all(further.map((child) => child.stop()));
    await world?.stop().catch(() => {});
    const data = await dataDirectories(root);
    for (const pid of data.flatMap(postgresPidsOn)) process.kill(pid, 'SIGKILL');
    await rm(parent, { recursive: true, force: true, maxRetries: 20 });
  };
  try {
    world = await startWorld({
      root,
      files,
      catalogue,
      policy: read.policy,
      durable: false,
      wan: false,
      keepers: options.keepers === true,
      recordWire: options.recordWire === true,
      ...(options.backups === true && {
        backups: { everyMs: undefined, wallClock: Date.now },
      }),
      metrics: options.metrics === true,
      environment: options.environment ?? {},
      edgeSettings: options.edgeSettings ?? {},
      report: () => {},
    });
  } catch (error) {
    await remove();
    throw error;
  }
  const { clusters } = world;
  const secret = (purpose: string) => keyFrom(clusters.password(purpose));
  const url = (region: string) => {
    const known = catalogue.regions.get(region)?.edges[0]?.url;
    if (known === undefined) throw new RangeError(`no region ${region}`);
    return known;
  };
  return {
    root,
    catalogue,
    policy: read.policy,
    world,
    clusters,
    url,
    call: (to, method, path, call) =>
      callUrl(to.startsWith('http') ? to : url(to), method, path, call),
    sql: (node, use, timeoutMs) => ask(clusters, node, use, timeoutMs),
    keyOf: (subject) =>
      createHmac('sha256', secret('directory')).update(subject).digest().subarray(0, 16),
    tokens: new SessionTokens([secret('session tokens')]),
    secret,
    async startEdge({ region, app = files.app, catalogue: seen = catalogue, settings = {} }) {
      const [port = 0] = await freePorts(1);
      const name = `edge-${region}-${port}`;
      const regions = join(root, 'run', `regions-of-${name}.yaml`);
      const log = join(root, 'run', `${name}.log`);
      await writeFile(regions, catalogueText(seen));
      const key = (purpose: string) => secret(purpose).toString('base64url');
      const child = await startChild({
        name,
        command: process.execPath,
        args: [
          MAIN,
          'edge',
          ...['--region', region, '--listen', `127.0.0.1:${port}`],
          ...['--app', app, '--policy', files.policy, '--regions', regions],
        ],
        env: {
          DOMICILE_DATABASE_PASSWORD: clusters.password(edgePassword(region)),
          DOMICILE_SESSION_KEYS: key('session tokens'),
          DOMICILE_HOP_KEY: key('hops'),
          DOMICILE_DIRECTORY_KEY: key('directory'),
          DOMICILE_SUBJECT_KEY: key(subjectKeyName(region)),
          DOMICILE_HEALTH: 'whole',
          ...settings,
        },
        cwd: process.cwd(),
        logFile: log,
        ready: { kind: 'message', is: (message) => message === 'ready' },
        readyLimitMs: 30_000,
        stopLimitMs: 5_000,
        onExit: () => {},
      });
      further.push(child);
      return { url: `http://127.0.0.1:${port}`, child, log };
    },
    remove,
  };
}

/** One request on a connection of its own, as it is: no redirects, no retries. */
export function callUrl(
  origin: string,
  method: string,
  path: string,
  { token, headers = {}, body, agent = new Agent({ keepAlive: false }) }: Call = {},
): Promise<Answer> {
  const began = performance.now();
  const sent = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const call = request(
      new URL(path, origin),
      {
        method,
        agent,
        timeout: CALL_MS_MAX,
        headers: {
          ...(sent !== undefined && {
            'content-type': 'application/json',
            'content-length': Buffer.byteLength(sent),
          }),
          ...(token !== undefined && { 'domicile-session': token }),
          ...headers,
        },
      },
      (answer) => {
        const parts: Buffer[] = [];
        answer.on('data', (part: Buffer) => parts.push(part));
        answer.on('error', reject);
        answer.on('end', () => {
          const text = Buffer.concat(parts).toString();
          resolve({
            status: answer.statusCode ?? 0,
            headers: answer.headers,
            text,
            json: parsed(text),
            ms: performance.now() - began,
          });
        });
      },
    );
    call.on('timeout', () => call.destroy(new Error(`${method} ${path} has no answer`)));
    call.on('error', reject);
    call.end(sent);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A client that keeps what it was told, and nothing else. */
export class Client {
  token: string | undefined;
  #domicile: TestDomicile;

  constructor(domicile: TestDomicile, token?: string) {
    this.#domicile = domicile;
    this.token = token;
  }

  async call(to: string, method: string, path: string, body?: unknown): Promise<Answer> {
    const answer = await this.#domicile.call(to, method, path, { token: this.token, body });
    this.token = tokenOf(answer) ?? this.token;
    return answer;
  }
}

export function tokenOf({ headers }: Answer): string | undefined {
  const told = headers['domicile-session'];
  return typeof told === 'string' ? told : undefined;
}

/** What a refusal says: status, kind, and whether to ask again. */
export function problemOf({ status, json }: Answer): unknown[] {
  return [status, json?.type?.replace('/docs/problems.md#', ''), json?.retry];
}

let drawn = 0;
/** An id that no other test uses. */
export function newId(what = 'user'): string {
  return `${what}-${process.pid.toString(36)}-${++drawn}`;
}

export function newUser(country: string, id = newId()) {
  return { id, displayName: `Name of ${id}`, email: `${id}@mail.example`, country };
}

export const LAMP = { items: [{ product: 'lamp-brass', quantity: 1 }] };

/** Asks until the answer is true; the last error, or what was hoped for, is in the complaint. */
export async function eventually(
  what: string,
  is: () => Promise<boolean>,
  timeoutMs = SOON_MS,
): Promise<void> {
  let last: unknown;
  const deadline = performance.now() + timeoutMs;
  let pauseMs = LOOK_MS_MIN;
  for (;;) {
    try {
      if (await is()) return;
    } catch (error) {
      // What must hold at every look is not given a second chance.
      if (error instanceof Error && error.name === 'AssertionError') throw error;
      last = error;
    }
    if (performance.now() >= deadline) break;
    await pause(pauseMs);
    pauseMs = Math.min(pauseMs * LOOK_GROWTH, LOOK_MS_MAX);
  }
  throw new Error(`not within ${timeoutMs} ms: ${what}`, { cause: last });
}

/** The tables of a cluster's app database in which any row, as text, contains `canary`. */
export function tablesWith(
  domicile: Pick<TestDomicile, 'sql'>,
  node: string,
  canary: string,
): Promise<string[]> {
  return domicile.sql(node, async (sql) => {
    const tables = await sql<{ name: string }[]>`
      select format('%I.%I', n.nspname, c.relname) as name
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind = 'r' and n.nspname !~ '^(pg_|information_schema)' order by 1`;
    const found: string[] = [];
    for (const { name } of tables) {
      const query = `select 1 from ${name} t where t::text like '%${canary}%' limit 1`;
      const rows = await sql(verbatim(query));
      if (rows.length > 0) found.push(name);
    }
    return found;
  });
}

/** The replica shows nothing new while `use` runs. */
export async function whileReplayRests<T>(
  { sql }: Pick<TestDomicile, 'sql'>,
  replica: string,
  use: () => Promise<T>,
): Promise<T> {
  await sql(replica, (sql) => sql`select pg_wal_replay_pause()`);
  try {
    await eventually('replay rests', async () => {
      const [row] = await sql(
        replica,
        (sql) => sql`select pg_get_wal_replay_pause_state() as state`,
      );
      return row?.state === 'paused';
    });
    return await use();
  } finally {
    await sql(replica, (sql) => sql`select pg_wal_replay_resume()`);
  }
}

export async function flushedAt(domicile: TestDomicile, node: string): Promise<bigint> {
  const [row] = await domicile.sql(
    node,
    (sql) => sql<{ lsn: string }[]>`select pg_current_wal_flush_lsn()::text as lsn`,
  );
  return lsnFromPostgres(row?.lsn ?? '');
}

/** Every node and airlock. */
export function clustersOf({ catalogue }: TestDomicile): { region: RegionId; node: string }[] {
  return [...catalogue.regions.values()].flatMap(({ id, nodes, airlocks }) =>
    [...nodes, ...airlocks].map(({ name }) => ({ region: id, node: name })),
  );
}

/** The same catalogue with one region changed. */
export function withRegion(
  catalogue: Catalogue,
  region: RegionId,
  change: (region: Region) => Region,
): Catalogue {
  return {
    ...catalogue,
    regions: new Map(
      [...catalogue.regions].map(([id, one]) => [id, id === region ? change(one) : one]),
    ),
  };
}

export type Ran = { status: number | null; stdout: string; stderr: string };

/** Runs `domicile` to its end. */
export async function domicile(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  timeoutMs = 30_000,
): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...env, NO_COLOR: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: timeoutMs,
  });
  const ran: Ran = { status: null, stdout: '', stderr: '' };
  child.stdout.on('data', (part) => {
    ran.stdout += part;
  });
  child.stderr.on('data', (part) => {
    ran.stderr += part;
  });
  [ran.status] = (await once(child, 'close')) as [number | null];
  return ran;
}
