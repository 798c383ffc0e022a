/**
 * One world, hurt in one way after the other. Each test leaves it stopped and whole.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { postmasterOn } from './postmaster-file.ts';
import { isAlive } from './process-identity.ts';
import { serverUser, spawnAs } from './process-user.ts';
import { waitUntil } from './wait-until.ts';
import { dataDirectories } from './world-folder.ts';
import { ask, makeTestWorld, superviseElsewhere, type TestWorld } from './world-for-tests.ts';

let world: TestWorld;
/** Where the data directory of a node lies, whether or not it exists. */
let dataOf: (node: string) => string;

beforeAll(async () => {
  world = await makeTestWorld();
  dataOf = (node) => join(world.root, 'postgres', 'clusters', node, 'data');
});
afterAll(() => world.remove());

async function drafts(): Promise<string[]> {
  const found: string[] = [];
  for (const node of ['us-a', 'us-b', 'us-airlock']) {
    const folder = dirname(dataOf(node));
    const names = await readdir(folder).catch(() => []);
    found.push(
      ...names.filter((name) => /^unfinished-/.test(name)).map((name) => join(folder, name)),
    );
  }
  return found;
}

/** Kills a supervisor at the moment when something unfinished lies there. */
async function superviseUntilHalfDone(node: string): Promise<void> {
  const supervisor = superviseElsewhere(world);
  const halfDone = async () => {
    const own = (await drafts()).filter((draft) => dirname(draft) === dirname(dataOf(node)));
    return own.some((draft) => existsSync(join(draft, 'data', 'global'))) || undefined;
  };
  await waitUntil(halfDone, { timeoutMs: 20_000, everyMs: 1 });
  await supervisor.kill();
  expect(await drafts()).not.toEqual([]);
  expect(existsSync(dataOf(node))).toBe(false);
}

test('a supervisor killed while it made the clusters is no obstacle', async () => {
  await superviseUntilHalfDone('us-a');

  const clusters = await world.start();
  expect(world.steps.join('\n')).toContain('removed what a start that was cut off had left');
  expect(await ask(clusters, 'us-b', (sql) => sql`select 1 as up`)).toEqual([{ up: 1 }]);
  expect(await drafts()).toEqual([]);
  await clusters.stop();
});

test('a supervisor killed while it copied the primary is no obstacle', async () => {
  await rm(dataOf('us-b'), { recursive: true });
  await superviseUntilHalfDone('us-b');

  const clusters = await world.start();
  expect(world.steps.join('\n')).toContain('which an earlier supervisor had left running');
  expect(world.steps.join('\n')).toContain('us-b: removed what a start that was cut off had left');
  expect(world.steps).toContain('us-b has no data; it becomes a copy of us-a');
  expect(await ask(clusters, 'us-b', (sql) => sql`select 1 as up`)).toEqual([{ up: 1 }]);
  expect(await drafts()).toEqual([]);
  await clusters.stop();
});

test('servers of a killed supervisor are recognised, ended and started anew', async () => {
  const supervisor = superviseElsewhere(world);
  expect(await supervisor.said(/everything runs/)).toBe(true);
  await supervisor.kill();
  const data = await dataDirectories(world.root);
  const before = await Promise.all(data.map(postmasterOn));
  expect(before.filter((pid) => pid !== undefined && isAlive(pid))).toHaveLength(3);

  const clusters = await world.start();
  for (const pid of before) expect(world.steps.join('\n')).toContain(`ended Postgres ${pid},`);
  expect(before.filter((pid) => pid !== undefined && isAlive(pid))).toEqual([]);
  expect(clusters.role('us-a')).toBe('primary');
  await clusters.stop();
});

test('a pid file whose number went to another process blocks nothing and kills nobody', async () => {
  // As the servers' own user: PostgreSQL itself would take this for a running server and refuse.
  const innocent = spawn('sleep', ['600'], spawnAs(serverUser(process.geteuid?.())));
  await once(innocent, 'spawn');
  try {
    const file = `${innocent.pid}\n${dataOf('us-a')}\n1\n1\n\n\n\nready\n`;
    await writeFile(join(dataOf('us-a'), 'postmaster.pid'), file);
    const clusters = await world.start();
    expect(world.steps.join('\n')).not.toContain(`${innocent.pid}`);
    await clusters.stop();
    expect(isAlive(innocent.pid ?? 0)).toBe(true);
  } finally {
    innocent.kill('SIGKILL');
  }
});

test('a replica that missed more than its slot kept is copied again', async () => {
  let clusters = await world.start();
  await clusters.halt('us-b');
  await ask(clusters, 'us-a', (sql) => sql`select pg_drop_replication_slot('us_b')`);
  await clusters.stop();
  clusters = await world.start();
  expect(world.steps).toContain('us-b missed more than us-a has kept for it');
  expect(clusters.role('us-b')).toBe('replica');
  await clusters.stop();
});

test('two primaries of which neither was promoted from the other are refused, untouched', async () => {
  const signal = join(dataOf('us-b'), 'standby.signal');
  await rm(signal);
  await expect(world.start()).rejects.toThrow(
    'Region us cannot start: both us-a (timeline 1) and us-b (timeline 1) look like primaries',
  );
  await writeFile(signal, '');
  await (await world.start()).stop();
});

test('a region of which only a replica is left is refused instead of begun anew', async () => {
  await rename(dataOf('us-a'), `${dataOf('us-a')}.away`);
  await expect(world.start()).rejects.toThrow('only replicas have data (us-b)');
  await rename(`${dataOf('us-a')}.away`, dataOf('us-a'));
});

test('data without its passwords is refused in words', async () => {
  const secrets = join(world.root, 'secrets.json');
  await rename(secrets, `${secrets}.away`);
  await expect(world.start()).rejects.toThrow('secrets.json with its passwords is gone');
  await rename(`${secrets}.away`, secrets);
});

test('a server that cannot start is named, with what it said and where its log is', async () => {
  const version = join(dataOf('us-airlock'), 'PG_VERSION');
  await writeFile(version, '9\n');
  const refusal = (await world.start().catch((error: unknown) => error)) as Error;
  expect(refusal.message).toMatch(/^Postgres us-airlock ended at once\. It said:\n.*FATAL/);
  const log = join(world.root, 'logs', 'us-airlock.log');
  expect(refusal.message).toContain(`Its log is ${log}`);
  expect(await readFile(log, 'utf8')).toContain('FATAL');
  const data = await dataDirectories(world.root);
  expect(await Promise.all(data.map(postmasterOn))).toEqual(data.map(() => undefined));
  await writeFile(version, '18\n');
});

test('a promoted node stays primary at the next start and the old one becomes its copy', async () => {
  let clusters = await world.start();
  await ask(clusters, 'us-a', async (sql) => {
    await sql`create table kept (id int)`;
    await sql`insert into kept values (1)`;
  });
  clusters.kill('us-a', 'SIGKILL');
  await ask(clusters, 'us-b', async (sql) => {
    await sql`select pg_promote()`;
    await sql`insert into kept values (2)`;
  });
  await clusters.stop();

  clusters = await world.start();
  expect(world.steps).toContain(
    'us-a was the primary before us-b was promoted; it becomes a copy of us-b',
  );
  expect([clusters.role('us-a'), clusters.role('us-b')]).toEqual(['replica', 'primary']);
  for (const node of ['us-a', 'us-b']) {
    expect(await ask(clusters, node, (sql) => sql`select id from kept order by id`)).toEqual([
      { id: 1 },
      { id: 2 },
    ]);
  }
  const names = await ask(
    clusters,
    'us-b',
    (sql) => sql`select current_setting('synchronous_standby_names') as names`,
  );
  expect(names).toEqual([{ names: '"us-a"' }]);

  // And back again: the copy of a promoted node can be promoted in turn.
  clusters.kill('us-b', 'SIGKILL');
  await ask(clusters, 'us-a', (sql) => sql`select pg_promote()`);
  await clusters.rebuildReplica('us-b');
  expect([clusters.role('us-a'), clusters.role('us-b')]).toEqual(['primary', 'replica']);
  await clusters.stop();
  clusters = await world.start();
  expect(world.steps.join('\n')).not.toMatch(/becomes a copy|: copying /);
  expect([clusters.role('us-a'), clusters.role('us-b')]).toEqual(['primary', 'replica']);
  await clusters.stop();
});

test('a folder with other things in it is refused, untouched', async () => {
  const root = await mkdtemp(join(tmpdir(), 'domicile-test-'));
  try {
    await writeFile(join(root, 'thesis.txt'), 'years of work');
    await expect(world.start({ root })).rejects.toThrow('thesis.txt lies in it');
    expect(await readdir(root)).toEqual(['thesis.txt']);
  } finally {
    await rm(root, { recursive: true });
  }
});
