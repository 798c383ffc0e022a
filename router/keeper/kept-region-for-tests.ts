/**
 * How does a test get one region with a real keeper, and lose a whole site of it?
 *
 * Servers, keeper and edge are processes of their own. Between the keeper and the machine that
 * starts servers stands somebody who stays silent for sites that are lost: a supervisor on the same
 * computer would start what was killed within a second, as it should.
 */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { KeeperRecord } from '../../policies/keeper/record.ts';
import type { Catalogue, Region, RegionNode } from '../../regions/catalogue.ts';
import { type LocalChild, startChild } from '../../regions/local/child-process.ts';
import { machineSecret, serveMachine } from '../../regions/local/machine-server.ts';
import { freePorts } from '../../regions/local/ports.ts';
import { STANDBY_ROLE } from '../../regions/local/postgres-settings.ts';
import { postgresPidsOn } from '../../regions/local/process-identity.ts';
import { type LocalClusters, startClusters } from '../../regions/local/start-clusters.ts';
import { dataDirectories } from '../../regions/local/world-folder.ts';
import { ask } from '../../regions/local/world-for-tests.ts';
import type { Sql } from '../../regions/postgres.ts';
import { LOCAL_ROLES, noteWorld } from '../local-operator.ts';
import { keeperToken, keyFrom } from '../password-names.ts';
import {
  type Answer,
  type Call,
  callUrl,
  domicile,
  eventually,
  type Ran,
} from '../world-for-tests.ts';
import type { KeeperStatus } from './keeper.ts';
import { NOTES_POLICY } from './notes-app-for-tests.ts';
import { DATABASE, serveNotesOn, type TestRegion } from './region-for-tests.ts';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** A copy of a server and its start, on a machine that does ten other things. */
const SETTLED_MS_MAX = 150_000;

export type KeptRegion = {
  clusters: LocalClusters;
  edgeUrl: string;
  policyFile: string;
  status(): Promise<KeeperStatus>;
  record(): Promise<KeeperRecord>;
  history(): Promise<KeeperRecord[]>;
  /** `domicile region eu …` */
  command(...words: string[]): Promise<Ran>;
  /** What the command asks the keeper for, without a process in between. */
  order(name: string, body: object): Promise<{ kind: string; why?: string }>;
  call(method: string, path: string, call?: Call): Promise<Answer>;
  sql<T>(node: string, use: (sql: Sql) => Promise<T>): Promise<T>;
  /** Kills these servers, and their machine starts nothing until they are back. */
  lose(...nodes: string[]): void;
  /** Starts them again as what their files say they are, and lets their machine obey. */
  bring(...nodes: string[]): Promise<void>;
  /** SIGKILL for the keeper, and a new one. */
  restartKeeper(): Promise<void>;
  /** Notes that this node holds. */
  notesAt(node: string): Promise<Set<string>>;
  /** How often data of this node was put aside instead of being thrown away. */
  keptAside(node: string): Promise<number>;
  /** Waits until the record is as wanted and nothing is pending. */
  settled(what: string, is: (record: KeeperRecord) => boolean): Promise<KeeperRecord>;
  remove(): Promise<void>;
};

export async function startKeptRegion(
  nodes: readonly { name: string; site?: string }[],
  failover: string,
): Promise<KeptRegion> {
  const parent = await mkdtemp(join(tmpdir(), 'domicile-kept-'));
  // As root the servers run as somebody else, who has to get in.
  await chmod(parent, 0o711);
  const root = join(parent, 'world');
  const [keeperPort = 0, ...ports] = await freePorts(nodes.length + 1);
  const keeper = { url: `http://127.0.0.1:${keeperPort}` };
  const servers: RegionNode[] = nodes.map((node, nth) => ({
    ...node,
    host: '127.0.0.1',
    port: ports[nth] ?? 0,
  }));
  const [first = { name: '' }] = servers;
  // The app's database is made later, with what belongs into it.
  const bare: Region = {
    id: 'eu',
    title: 'Europe',
    database: 'postgres',
    edges: [],
    nodes: servers,
    airlocks: [],
  };
  const catalogue: Catalogue = { regions: new Map([['eu', bare]]), distances: [] };
  const children: LocalChild[] = [];
  const machines: { close(): Promise<void> }[] = [];
  let clusters: LocalClusters | undefined;
  const remove = async () => {
    for (const child of children.reverse()) await child.stop();
    for (const machine of machines) await machine.close();
    await clusters?.stop().catch(() => {});
    for (const pid of (await dataDirectories(root)).flatMap(postgresPidsOn)) {
      process.kill(pid, 'SIGKILL');
    }
    await rm(parent, { recursive: true, force: true, maxRetries: 20 });
  };
  try {
    const running = await startClusters({ root, catalogue, durable: false, report: () => {} });
    clusters = running;
    const region: TestRegion = await serveNotesOn(join(root, 'run'), servers, running.superuser, {
      primary: first.name,
      replicationRole: STANDBY_ROLE,
      keeper,
      // A promotion takes seconds on a machine that does ten other things.
      settings: { DOMICILE_BUDGET_MS: '6000' },
      policy: NOTES_POLICY.replace('failover: { scope: region }', failover),
    });
    children.push(region.edge);
    const lost = new Set<string>();
    const machine = await serveMachine({
      catalogue,
      clusters: running,
      // The test starts its edge and keeper itself.
      supervised: { list: () => [], start: async () => {} },
      report: () => {},
    });
    const front = await serveInFront(machine.url, lost);
    machines.push(front, machine);
    const token = running.password(keeperToken('eu'));
    const startKeeper = async () => {
      const child = await startChild({
        name: 'keeper-eu',
        command: process.execPath,
        args: [
          at('../main.ts'),
          'keeper',
          ...['--region', 'eu', '--record', join(root, 'keepers', 'eu')],
          ...['--app', at('./notes-app-for-tests.ts')],
          ...['--policy', region.policyFile, '--regions', region.regionsFile],
        ],
        env: {
          DOMICILE_KEEPER_PASSWORD: running.superuser(first.name).password,
          DOMICILE_OPERATOR_TOKEN: token,
          DOMICILE_MACHINE_URL: front.url,
          DOMICILE_MACHINE_TOKEN: running.password(machineSecret('eu')),
        },
        cwd: process.cwd(),
        logFile: join(root, 'run', 'keeper-eu.log'),
        ready: { kind: 'message', is: (message) => message === 'ready' },
        readyLimitMs: 30_000,
        stopLimitMs: 5_000,
        onExit: () => {},
      });
      children.push(child);
      return child;
    };
    let child = await startKeeper();
    // For commands, which look the keeper up in the world's note; the file form wants an airlock.
    const airlocks = [{ name: 'eu-x', host: '127.0.0.1', port: 1, peers: [] }];
    const noted = new Map([
      ['eu', { ...bare, edges: [{ name: 'edge-eu', url: region.edgeUrl }], airlocks, keeper }],
    ]);
    await noteWorld(root, {
      operator: {
        catalogue: { regions: noted, distances: [] },
        superuser: (node) => running.superuser(node),
        password: (name) => running.password(name),
        key: (name) => keyFrom(running.password(name)),
        passfile: (name, entries) => running.passfile(name, entries),
        link: (_from, { host, port }) => ({ host, port }),
        ...LOCAL_ROLES,
      },
      files: {
        app: '',
        policy: region.policyFile,
        regions: region.regionsFile,
        schema: '',
        migrations: '',
      },
    });
    const asked = async <T>(path: string) =>
      (await (await fetch(`${keeper.url}${path}`)).json()) as T;
    const record = () => asked<KeeperRecord>('/primary');
    const sql = <T>(node: string, use: (sql: Sql) => Promise<T>) =>
      ask({ superuser: (one) => running.superuser(one, DATABASE) }, node, use);
    return {
      clusters: running,
      edgeUrl: region.edgeUrl,
      policyFile: region.policyFile,
      status: () => asked<KeeperStatus>('/status'),
      record,
      history: () => asked<KeeperRecord[]>('/history?count=1000'),
      command: (...words) => domicile(['region', 'eu', ...words, '--root', root], {}, 120_000),
      order: async (name, body) => {
        const response = await fetch(`${keeper.url}/orders/${name}`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
          body: JSON.stringify(body),
        });
        return (await response.json()) as { kind: string; why?: string };
      },
      call: (method, path, call) => callUrl(region.edgeUrl, method, path, call),
      sql,
      lose(...names) {
        for (const name of names) lost.add(name);
        for (const name of names) running.kill(name, 'SIGKILL');
      },
      async bring(...names) {
        for (const name of names) await running.start(name);
        for (const name of names) lost.delete(name);
      },
      async restartKeeper() {
        child.kill('SIGKILL');
        await child.ended;
        child = await startKeeper();
      },
      notesAt: (node) =>
        sql(node, (run) => run<{ id: string }[]>`select id from app.notes`).then(
          (rows) => new Set(rows.map(({ id }) => id)),
        ),
      keptAside: async (node) =>
        (await readdir(join(running.dataDirectory(node), '..'))).filter((name) =>
          name.startsWith('kept-'),
        ).length,
      async settled(what, is) {
        let last: KeeperRecord | undefined;
        await eventually(
          what,
          async () => {
            last = await record();
            return last.pending === null && is(last);
          },
          SETTLED_MS_MAX,
        );
        return last as KeeperRecord;
      },
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Passes orders on, but nothing about servers that are lost. */
async function serveInFront(
  machine: string,
  lost: ReadonlySet<string>,
): Promise<{ url: string; close(): Promise<void> }> {
  const server: Server = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const [, , node] = (request.url ?? '').split('/');
      if (node !== undefined && lost.has(node)) {
        request.socket.destroy();
        return;
      }
      const said = await fetch(`${machine}${request.url}`, {
        method: request.method ?? 'GET',
        headers: { authorization: request.headers.authorization ?? '' },
        ...(request.method === 'POST' && { body: Buffer.concat(chunks).toString() }),
      });
      const body = (await said.json()) as Record<string, unknown>;
      const known = Object.entries(body).filter(([name]) => !lost.has(name));
      response.writeHead(said.status, { 'content-type': 'application/json' });
      response.end(JSON.stringify(Object.fromEntries(known)));
    })().catch(() => request.socket.destroy());
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}
