import { readdir, readFile, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { STANDBY_ROLE, SUPERUSER } from './postgres-settings.ts';
import type { LocalClusters } from './start-clusters.ts';
import { ask, makeTestWorld, type TestWorld } from './world-for-tests.ts';

let world: TestWorld;
let clusters: LocalClusters;

beforeAll(async () => {
  world = await makeTestWorld();
  clusters = await world.start();
});
afterAll(() => world.remove());

/**
 * What a server answers to the first message of a client: 'asks for a password', or the SQLSTATE
 * of its refusal. Raw protocol, because every client library hides the difference.
 */
async function greet(node: string, parameters: Record<string, string>): Promise<string> {
  const { host, port } = clusters.superuser(node);
  const words = Object.entries(parameters).flat().join('\0');
  const body = Buffer.concat([Buffer.from([0, 3, 0, 0]), Buffer.from(`${words}\0\0`)]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length + 4);
  const socket = connect(port, host);
  try {
    socket.write(Buffer.concat([length, body]));
    const chunks: Buffer[] = [];
    for await (const chunk of socket) {
      chunks.push(chunk as Buffer);
      const answer = Buffer.concat(chunks);
      if (answer[0] === 0x52) return 'asks for a password';
      const sqlstate = /\0C([0-9A-Z]{5})\0/.exec(answer.toString('latin1'))?.[1];
      if (sqlstate !== undefined) return sqlstate;
    }
    return 'closed';
  } finally {
    socket.destroy();
  }
}

const NOT_IN_HBA = '28000';

test('an airlock lets nobody replicate physically, not even its superuser', async () => {
  for (const user of [SUPERUSER, STANDBY_ROLE]) {
    expect(await greet('us-airlock', { user, replication: 'true' })).toBe(NOT_IN_HBA);
  }
  // The same client is heard where it may come in, so the refusal is not its own fault.
  expect(await greet('us-airlock', { user: SUPERUSER, database: 'app' })).toBe(
    'asks for a password',
  );
});

test('on private nodes only the standby role may replicate physically', async () => {
  for (const node of ['us-a', 'us-b']) {
    expect(await greet(node, { user: STANDBY_ROLE, replication: 'true' })).toBe(
      'asks for a password',
    );
    expect(await greet(node, { user: SUPERUSER, replication: 'true' })).toBe(NOT_IN_HBA);
  }
});

test('the standby role exists on private nodes and can do nothing but replicate', async () => {
  const roles = (node: string) =>
    ask(
      clusters,
      node,
      (sql) => sql`
        select rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolreplication, rolcanlogin
        from pg_roles where rolname = ${STANDBY_ROLE}`,
    );
  expect(await roles('us-a')).toEqual([
    {
      rolsuper: false,
      rolcreaterole: false,
      rolcreatedb: false,
      rolbypassrls: false,
      rolreplication: true,
      rolcanlogin: true,
    },
  ]);
  expect(await roles('us-airlock')).toEqual([]);
});

test('an airlock does not open with the password of the private nodes', async () => {
  const inside = clusters.superuser('us-a');
  expect(clusters.superuser('us-b').password).toBe(inside.password);
  expect(clusters.superuser('us-airlock').password).not.toBe(inside.password);
});

test('servers listen on loopback only, and on no socket file', async () => {
  for (const node of ['us-a', 'us-b', 'us-airlock']) {
    const rows = await ask(
      clusters,
      node,
      (sql) => sql`
        select current_setting('listen_addresses') as at,
          current_setting('unix_socket_directories') as sockets`,
    );
    expect(rows).toEqual([{ at: '127.0.0.1', sockets: '' }]);
  }
});

test('no password lies in a data directory or a log', async () => {
  const passwords = Object.values(
    JSON.parse(await readFile(join(world.root, 'secrets.json'), 'utf8')) as object,
  ).map(String);
  expect(passwords).toHaveLength(3);
  // Something must go wrong first, or the logs would hold too little to prove anything.
  const wrong = { ...clusters.superuser('us-a'), password: 'wrong' };
  expect(await greet('us-a', { user: wrong.user, database: 'nowhere' })).toBe(
    'asks for a password',
  );
  await clusters.stop();

  const holding = async (needles: readonly string[], folder: string) => {
    const names: string[] = [];
    for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const content = await readFile(path);
      if (needles.some((needle) => content.includes(needle))) names.push(path);
    }
    return names.sort();
  };
  const passfile = join(world.root, 'postgres', 'passfiles', 'us-b.upstream');
  expect(await holding(passwords, world.root)).toEqual([
    passfile,
    join(world.root, 'secrets.json'),
  ]);
  // The same search finds what does lie there, in tables, in the log files and beyond.
  const known = await holding([STANDBY_ROLE, 'ready to accept'], world.root);
  expect(known).toContain(join(clusters.dataDirectory('us-b'), 'postgresql.conf'));
  expect(known).toContain(join(world.root, 'logs', 'us-airlock.log'));
  expect(known.some((path) => path.includes(join('us-a', 'data', 'global')))).toBe(true);
  clusters = await world.start();
});

test('secrets and password files can be read by their owner only', async () => {
  const passfile = await clusters.passfile('peer', [
    { to: { host: '127.0.0.1', port: 1 }, user: 'peer:us', password: 'a\\b' },
  ]);
  expect(await readFile(passfile, 'utf8')).toBe('127.0.0.1:1:*:peer\\:us:a\\\\b\n');
  for (const path of [passfile, join(world.root, 'secrets.json')]) {
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  }
  const owner = (await stat(clusters.dataDirectory('us-a'))).uid;
  expect((await stat(passfile)).uid).toBe(owner);
});

test('a password asked for by name stays the same over restarts', async () => {
  const drawn = clusters.password('edge');
  await clusters.stop();
  clusters = await world.start();
  expect(clusters.password('edge')).toBe(drawn);
  expect(clusters.password('other')).not.toBe(drawn);
});
