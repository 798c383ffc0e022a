/**
 * May two regions be shown different things of a third one, and does neither get what is the
 * other's? By passwords, by what each cluster holds, and by what arrives.
 */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { peerRole } from '../policies/desired-state.ts';
import { portsNeeded, withPorts } from '../regions/local/catalogue-ports.ts';
import { freePorts } from '../regions/local/ports.ts';
import { wipe } from '../regions/local/wipe-world.ts';
import { ask } from '../regions/local/world-for-tests.ts';
import { type Endpoint, LeasePool, type Sql, verbatim } from '../regions/postgres.ts';
import { peerPassword } from './provision.ts';
import { besideApp, readFiles } from './read-files.ts';
import { startWorld, type World } from './world.ts';
import { callUrl, eventually, newUser, STOREFRONT, tablesWith } from './world-for-tests.ts';

/** The airlock of eu that each peer has been given. */
const AIRLOCK = { us: 'eu-x', asia: 'eu-y' } as const;
/** What eu lets out: us may have addresses, asia names. */
const MIRRORS = [
  { as: 'addresses', columns: ['id', 'email'], homes: ['eu'], to: ['us'] },
  { as: 'names', columns: ['id', 'display_name'], homes: ['eu'], to: ['asia'] },
];
const EMAIL = 'canary-email@mail.example';
const NAME = 'Canary Displayname';
const ada = { ...newUser('DE'), email: EMAIL, displayName: NAME };

let parent = '';
let world: World;

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'domicile-two-airlocks-'));
  await chmod(parent, 0o711);
  const files = {
    ...besideApp(STOREFRONT, {}),
    policy: join(parent, 'residency.yaml'),
    regions: join(parent, 'regions.yaml'),
  };
  const beside = (name: string) => readFile(join(dirname(STOREFRONT), name), 'utf8');
  const policy = parseDocument(await beside('residency.yaml'));
  policy.setIn(['jurisdictions', 'europe', 'copies'], ['us', 'asia']);
  policy.setIn(['jurisdictions', 'europes-neighbours', 'copies'], ['us', 'asia']);
  for (const mirror of MIRRORS) policy.addIn(['tables', 'users', 'mirrors'], mirror);
  await writeFile(files.policy, String(policy));
  const regions = parseDocument(await beside('regions.yaml'));
  regions.deleteIn(['regions', 'eu', 'airlock']);
  const airlock = (name: string, port: number, peer: string) => ({
    ...{ name, host: '127.0.0.1', port },
    for: [peer],
  });
  regions.setIn(
    ['regions', 'eu', 'airlocks'],
    [airlock(AIRLOCK.us, 7122, 'us'), airlock(AIRLOCK.asia, 7123, 'asia')],
  );
  await writeFile(files.regions, String(regions));

  const read = await readFiles(files);
  if ('complaints' in read) throw new Error(read.complaints.join('\n'));
  world = await startWorld({
    root: join(parent, 'world'),
    files,
    catalogue: withPorts(read.catalogue, await freePorts(portsNeeded(read.catalogue))),
    policy: read.policy,
    durable: false,
    wan: false,
    environment: {},
    report: () => {},
  });
  const edge = world.catalogue.regions.get('asia')?.edges[0]?.url ?? '';
  expect((await callUrl(edge, 'POST', '/users', { body: ada })).status).toBe(201);
  for (const [peer, column] of [
    ['us', 'email'],
    ['asia', 'display_name'],
  ] as const) {
    await eventually(
      `her ${column} arrives in ${peer}`,
      async () => {
        const rows = await sql(
          `${peer}-a`,
          (there) => there`select ${there(column)} from mirror_eu.users where id = ${ada.id}`,
        );
        return rows.length === 1;
      },
      60_000,
    );
  }
}, 180_000);

afterAll(async () => {
  await world?.stop();
  await wipe(join(parent, 'world'), () => {});
  await rm(parent, { recursive: true, force: true });
}, 60_000);

function sql<T>(node: string, use: (there: Sql) => Promise<T>): Promise<T> {
  return ask(world.clusters, node, use);
}

function asPeer(peer: keyof typeof AIRLOCK, airlock: string): Endpoint {
  return {
    ...world.clusters.superuser(airlock),
    user: peerRole(peer),
    password: world.clusters.password(peerPassword('eu', peer)),
  };
}

async function run<T>(endpoint: Endpoint, use: (there: Sql) => Promise<T>): Promise<T> {
  const pool = new LeasePool({
    endpoint,
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: 5_000,
  });
  try {
    return await pool.run(use, { timeoutMs: 10_000 });
  } finally {
    await pool.close({ timeoutMs: 1_000 });
  }
}

function tablesOfUsers(node: string, canary: string): Promise<string[]> {
  return tablesWith({ sql: (_, use) => sql(node, use) }, node, canary);
}

test('a peer’s password opens its own airlock of eu, not the other one and no private node', async () => {
  for (const peer of ['us', 'asia'] as const) {
    for (const node of ['eu-x', 'eu-y', 'eu-a', 'eu-b']) {
      const login = await run(asPeer(peer, node), (there) => there`select 1`).then(
        () => 'let in',
        (error) => error.failure.sqlstate ?? error.failure.code,
      );
      expect(login, `${peer} at ${node}`).toBe(node === AIRLOCK[peer] ? 'let in' : '28P01');
    }
  }
});

test('each airlock holds what its own peer may have and nothing of the other’s', async () => {
  // The positive control: the same search finds both where she lives.
  expect(await tablesOfUsers('eu-a', EMAIL)).toEqual(['app.users']);
  expect(await tablesOfUsers('eu-a', NAME)).toEqual(['app.users']);
  expect(await tablesOfUsers('eu-x', EMAIL)).toEqual(['mirror_eu.users']);
  expect(await tablesOfUsers('eu-x', NAME)).toEqual([]);
  expect(await tablesOfUsers('eu-y', NAME)).toEqual(['mirror_eu.users']);
  expect(await tablesOfUsers('eu-y', EMAIL)).toEqual([]);
});

test('a peer that reads all it can of its airlock finds no column of the other’s', async () => {
  for (const [peer, own, others] of [
    ['us', EMAIL, NAME],
    ['asia', NAME, EMAIL],
  ] as const) {
    const seen = await run(asPeer(peer, AIRLOCK[peer]), async (there) => {
      const tables = await there<{ name: string }[]>`
        select format('%I.%I', n.nspname, c.relname) as name
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where c.relkind in ('r', 'p', 'v', 'm') and n.nspname <> 'information_schema'
          and has_schema_privilege(n.oid, 'usage') and has_table_privilege(c.oid, 'select')`;
      const texts: string[] = [];
      for (const { name } of tables) {
        const query = `select string_agg(t::text, ' ') as text from ${name} t`;
        const [row] = await there<{ text: string | null }[]>(verbatim(query));
        texts.push(row?.text ?? '');
      }
      return texts.join('\n');
    });
    expect(seen).toContain(own);
    expect(seen).not.toContain(others);
    const [asked] = MIRRORS.filter(({ to }) => !to.includes(peer));
    expect(seen, 'not even the name of the column').not.toContain(asked?.columns[1]);
  }
});

test('nothing that only one peer may have arrives at the other', async () => {
  for (const [peer, own, others] of [
    ['us', EMAIL, NAME],
    ['asia', NAME, EMAIL],
  ] as const) {
    for (const node of [`${peer}-a`, `${peer}-b`]) {
      await eventually(`the row is on ${node}`, async () => {
        return (await tablesOfUsers(node, own)).includes('mirror_eu.users');
      });
      expect(await tablesOfUsers(node, others)).toEqual([]);
    }
    expect(await tablesOfUsers(`${peer}-x`, others)).toEqual([]);
  }
});

test('the private primary keeps one slot and one publication for each airlock', async () => {
  const found = await sql('eu-a', async (there) => ({
    slots: await there`
      select slot_name, failover, active from pg_replication_slots
      where slot_type = 'logical' order by 1`,
    publications: await there`
      select pubname as name, attnames::text[] as columns from pg_publication_tables
      where tablename = 'users' order by 1`,
  }));
  expect(found).toEqual({
    slots: [
      { slot_name: 'domicile_home_eu_x', failover: true, active: true },
      { slot_name: 'domicile_home_eu_y', failover: true, active: true },
    ],
    publications: [
      { name: 'domicile_out_eu_x', columns: ['id', 'email'] },
      { name: 'domicile_out_eu_y', columns: ['id', 'display_name'] },
    ],
  });
});
