/**
 * How does an edge come to serve on nodes that a test has started by other means?
 *
 * One region without peers: the schema, roles and policy of a small app on its primary, and an edge
 * process that is given the nodes and nothing else. And clients that write down what they were
 * told, for a judge.
 */
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  type Catalogue,
  type Keeper,
  type Region,
  type RegionNode,
  slotName,
} from '../../regions/catalogue.ts';
import { type LocalChild, startChild } from '../../regions/local/child-process.ts';
import { freePorts } from '../../regions/local/ports.ts';
import { SUPERUSER } from '../../regions/local/postgres-settings.ts';
import { ask } from '../../regions/local/world-for-tests.ts';
import type { Endpoint, Sql } from '../../regions/postgres.ts';
import { catalogueText } from '../catalogue-text.ts';
import { LOCAL_ROLES } from '../local-operator.ts';
import { DIRECTORY_KEY_NAME, edgePassword, keyFrom, subjectKeyName } from '../password-names.ts';
import { provision } from '../provision.ts';
import { readPolicyText } from '../read-files.ts';
import { LOGINS } from '../region-database.ts';
import { callUrl } from '../world-for-tests.ts';
import { NOTES_POLICY, NOTES_SCHEMA } from './notes-app-for-tests.ts';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const SCHEMA = at('../../regions/schema');

export const DATABASE = 'app';
export const password = (name: string) => `password of ${name}`;

export type TestRegion = {
  catalogue: Catalogue;
  /** The regions file that the edge reads. */
  regionsFile: string;
  policyFile: string;
  edgeUrl: string;
  edge: LocalChild;
};

/** The login with which the edges of this region look at their nodes. */
export function routerEndpoint({ nodes, database }: Region, node: string): Endpoint {
  const found = nodes.find(({ name }) => name === node);
  if (found === undefined) throw new RangeError(`no node ${node}`);
  return { ...found, database, user: LOGINS.router, password: password(edgePassword('eu')) };
}

export async function serveNotesOn(
  folder: string,
  nodes: readonly RegionNode[],
  superuser: (node: string, database?: string) => Endpoint,
  {
    primary,
    replicationRole,
    keeper,
    policy = NOTES_POLICY,
    settings = {},
  }: {
    primary: string;
    replicationRole: string;
    keeper: Keeper;
    policy?: string;
    /** Further ones of the edge. */
    settings?: Readonly<Record<string, string>>;
  },
): Promise<TestRegion> {
  const [port = 0, nobody = 0] = await freePorts(2);
  const edgeUrl = `http://127.0.0.1:${port}`;
  const catalogue: Catalogue = {
    regions: new Map([
      [
        'eu',
        {
          id: 'eu',
          title: 'Europe',
          database: DATABASE,
          edges: [{ name: 'edge-eu', url: edgeUrl }],
          nodes,
          // Nobody reads what leaves, and an edge never asks.
          airlocks: [],
          keeper,
        },
      ],
    ]),
    distances: [],
  };
  await ask({ superuser }, primary, (sql) => sql`create database app`);
  await ask({ superuser: (node) => superuser(node, DATABASE) }, primary, makeUpForOldServer);
  const read = readPolicyText(policy, 'residency.yaml', catalogue);
  if ('complaints' in read) throw new Error(read.complaints.join('\n'));
  const names = (await readdir(SCHEMA)).filter((name) => /^\d/.test(name)).sort();
  await provision({
    operator: {
      catalogue,
      superuser: (node) => superuser(node, DATABASE),
      password,
      key: (name) => keyFrom(password(name)),
      passfile: () => Promise.reject(new Error('nobody subscribes here')),
      link: (_from, to) => to,
      slotOfNode: slotName,
      installed: () => ({
        private: new Map([
          [SUPERUSER, LOCAL_ROLES.installed('eu').private.get(SUPERUSER) ?? []],
          [replicationRole, ['login', 'replication']],
        ]),
        airlock: new Map(),
      }),
    },
    policy: read.policy,
    policyText: policy,
    today: undefined,
    by: 'a test',
    migrations: await Promise.all(
      names.map(async (name) => ({ name, text: await readFile(join(SCHEMA, name), 'utf8') })),
    ),
    airlockMigrations: [],
    appSchema: { name: 'schema.sql', text: NOTES_SCHEMA },
    appMigrations: [],
    report: () => {},
  });
  await mkdir(folder, { recursive: true });
  const files = { policy: join(folder, 'residency.yaml'), regions: join(folder, 'regions.yaml') };
  await writeFile(files.policy, policy);
  // The file form has no region without an airlock.
  const airlocks = [{ name: 'eu-x', host: '127.0.0.1', port: nobody, peers: [] }];
  const regions = new Map([...catalogue.regions].map(([id, one]) => [id, { ...one, airlocks }]));
  await writeFile(files.regions, catalogueText({ ...catalogue, regions }));
  const key = (purpose: string) => keyFrom(password(purpose)).toString('base64url');
  const edge = await startChild({
    name: 'edge-eu',
    command: process.execPath,
    args: [
      at('../main.ts'),
      'edge',
      ...['--region', 'eu', '--app', at('./notes-app-for-tests.ts')],
      ...['--policy', files.policy, '--regions', files.regions],
    ],
    env: {
      DOMICILE_DATABASE_PASSWORD: password(edgePassword('eu')),
      DOMICILE_SESSION_KEYS: key('session tokens'),
      DOMICILE_HOP_KEY: key('hops'),
      DOMICILE_HEALTH: 'whole',
      DOMICILE_DIRECTORY_KEY: key(DIRECTORY_KEY_NAME),
      DOMICILE_SUBJECT_KEY: key(subjectKeyName('eu')),
      ...settings,
    },
    cwd: process.cwd(),
    logFile: join(folder, 'edge.log'),
    ready: { kind: 'message', is: (message) => message === 'ready' },
    readyLimitMs: 30_000,
    stopLimitMs: 5_000,
    onExit: () => {},
  });
  return { catalogue, regionsFile: files.regions, policyFile: files.policy, edgeUrl, edge };
}

/**
 * The released scripts need one function of PostgreSQL 16: to read a file that may be missing. On 15
 * the same function has two more parameters.
 */
async function makeUpForOldServer(sql: Sql): Promise<void> {
  const [row] = await sql<{ version: number }[]>`
    select current_setting('server_version_num')::int as version`;
  if ((row?.version ?? 0) >= 160_000) return;
  await sql`
    create function public.pg_read_file(text, boolean) returns text language sql
    return pg_read_file($1, 0, 1048576, $2)`;
}

/** Clients that write as fast as they are answered, each note once. */
export class Writers {
  /** What was acknowledged, and when the answer was here. */
  readonly acknowledged: { note: string; atMs: number }[] = [];
  /** Answers of any other kind, by status. */
  readonly others = new Map<string, number>();
  #stopped = false;
  readonly #writers: Promise<void>[];

  constructor(edgeUrl: string, user: string, count: number) {
    this.#writers = Array.from({ length: count }, (_, nth) => this.#write(edgeUrl, user, nth));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#writers);
  }

  /** The longest time without an acknowledgement from there on, and the first one after it. */
  pauseSince(fromMs: number): { pauseMs: number; untilMs: number } {
    const times = this.acknowledged.map(({ atMs }) => atMs).sort((a, b) => a - b);
    let longest = { pauseMs: 0, untilMs: fromMs };
    let before = fromMs;
    for (const atMs of times) {
      if (atMs <= fromMs) continue;
      if (atMs - before > longest.pauseMs) longest = { pauseMs: atMs - before, untilMs: atMs };
      before = atMs;
    }
    return longest;
  }

  async #write(edgeUrl: string, user: string, nth: number): Promise<void> {
    for (let turn = 0; !this.#stopped; turn++) {
      const note = `${nth}-${turn}-${Math.round(performance.now())}`;
      const answer = await callUrl(edgeUrl, 'POST', `/users/${user}/notes/${note}`).catch(
        () => undefined,
      );
      if (answer?.status === 201) {
        this.acknowledged.push({ note, atMs: performance.now() });
        continue;
      }
      const kind = `${answer?.status} ${answer?.json?.type?.split('#')[1]}`;
      this.others.set(kind, (this.others.get(kind) ?? 0) + 1);
      await new Promise((done) => setTimeout(done, 20));
    }
  }
}
