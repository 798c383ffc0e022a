import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CannotStart } from './cannot-start.ts';
import { isAlive } from './process-identity.ts';
import type { LocalClusters } from './start-clusters.ts';
import { waitUntil } from './wait-until.ts';
import { ask, makeTestWorld, type TestWorld } from './world-for-tests.ts';
import { worldHolder } from './world-lock.ts';

const NODES = ['us-a', 'us-b', 'us-airlock'] as const;

let world: TestWorld;
let clusters: LocalClusters;

/** Linux only. */
function isStopped(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') T ');
  } catch {
    return false;
  }
}

beforeAll(async () => {
  world = await makeTestWorld();
  clusters = await world.start();
});
afterAll(() => world.remove());

test('the first node of a new region is the primary, the other one its replica', async () => {
  expect(NODES.map(clusters.role)).toEqual(['primary', 'replica', 'airlock']);
  const recovering = (node: string) =>
    ask(clusters, node, (sql) => sql`select pg_is_in_recovery() as is`).then(([row]) => row?.is);
  expect(await Promise.all(NODES.map(recovering))).toEqual([false, true, false]);
});

test('a commit is confirmed by the named replica and can be read there', async () => {
  await ask(clusters, 'us-a', async (sql) => {
    await sql`create table kept (id int)`;
    await sql`insert into kept values (1)`;
    const rows = await sql`select application_name, sync_state from pg_stat_replication`;
    expect(rows).toEqual([{ application_name: 'us-b', sync_state: 'sync' }]);
  });
  const arrived = await waitUntil(
    () => ask(clusters, 'us-b', (sql) => sql`select id from kept`).catch(() => undefined),
    { timeoutMs: 5_000 },
  );
  expect(arrived).toEqual([{ id: 1 }]);
});

test('while the replica is frozen no commit is acknowledged', async () => {
  clusters.kill('us-b', 'SIGSTOP');
  try {
    const write = ask(clusters, 'us-a', (sql) => sql`insert into kept values (2)`, 500);
    await expect(write).rejects.toMatchObject({ failure: { kind: 'deadline' } });
  } finally {
    clusters.kill('us-b', 'SIGCONT');
  }
  await ask(clusters, 'us-a', (sql) => sql`insert into kept values (3)`);
});

test('a standby is not taken down for a primary that nobody can connect to', async () => {
  const standby = clusters.postmaster('us-b');
  clusters.kill('us-a', 'SIGSTOP');
  try {
    const follows = clusters.follow('us-b', { primary: 'us-a', copy: false, keepData: false });
    await expect(follows).rejects.toThrow('Postgres us-a lets nobody in');
    expect(clusters.postmaster('us-b')).toBe(standby);
    expect(await ask(clusters, 'us-b', (sql) => sql`select 1 as up`)).toEqual([{ up: 1 }]);
  } finally {
    clusters.kill('us-a', 'SIGCONT');
  }
});

test.runIf(process.platform === 'linux')(
  'a server is frozen whole, whoever is let in meanwhile',
  async () => {
    const { host, port } = clusters.superuser('us-airlock');
    for (let round = 0; round < 60; round++) {
      const comers = Array.from({ length: 20 }, () => connect(port, host).on('error', () => {}));
      await Promise.race(comers.map((comer) => once(comer, 'connect')));
      clusters.kill('us-airlock', 'SIGSTOP');
      const runs = () =>
        clusters.pids('us-airlock').filter((pid) => isAlive(pid) && !isStopped(pid));
      const frozen = await waitUntil(() => runs().length === 0 || undefined, { timeoutMs: 1_000 });
      clusters.kill('us-airlock', 'SIGCONT');
      for (const comer of comers) comer.destroy();
      expect(frozen, `round ${round}`).toBe(true);
    }
  },
);

test('every cluster has the app database, in UTF-8 with the builtin collation', async () => {
  for (const node of NODES) {
    const rows = await ask(
      clusters,
      node,
      (sql) => sql`
        select current_database() as name, pg_encoding_to_char(encoding) as encoding, datlocale
        from pg_database where datname = current_database()`,
    );
    expect(rows).toEqual([{ name: 'app', encoding: 'UTF8', datlocale: 'C.UTF-8' }]);
  }
});

test('logs may hold neither statements nor parameters nor details', async () => {
  const rows = await ask(
    clusters,
    'us-a',
    (sql) => sql`
      select name, setting from pg_settings
      where name in ('log_error_verbosity', 'log_min_error_statement', 'log_statement',
        'log_parameter_max_length', 'log_parameter_max_length_on_error', 'log_connections')
      order by name`,
  );
  expect(rows.map(({ name, setting }) => `${name}=${setting}`)).toEqual([
    'log_connections=',
    'log_error_verbosity=terse',
    'log_min_error_statement=panic',
    'log_parameter_max_length=0',
    'log_parameter_max_length_on_error=0',
    'log_statement=none',
  ]);
});

test('a logical slot made for failover appears on the replica', async () => {
  await ask(
    clusters,
    'us-a',
    (sql) => sql`select pg_create_logical_replication_slot('seen', 'pgoutput', false, false, true)`,
  );
  try {
    const synced = await waitUntil(
      async () => {
        await ask(clusters, 'us-a', (sql) => sql`select pg_log_standby_snapshot()`);
        const rows = await ask(
          clusters,
          'us-b',
          (sql) => sql`select from pg_replication_slots where slot_name = 'seen' and synced`,
        );
        return rows.length === 1 || undefined;
      },
      { timeoutMs: 20_000, everyMs: 100 },
    );
    expect(synced).toBe(true);
  } finally {
    await ask(clusters, 'us-a', (sql) => sql`select pg_drop_replication_slot('seen')`);
  }
});

test('a second supervisor of the same world is refused and told who has it', async () => {
  await expect(world.start()).rejects.toThrow(`process ${process.pid} started it`);
});

test('a server that dies is reported by name, and can be started again', async () => {
  clusters.kill('us-airlock', 'SIGKILL');
  const seen = await waitUntil(() => world.exits.find((exit) => exit.startsWith('us-airlock')), {
    timeoutMs: 5_000,
  });
  expect(seen).toBe('us-airlock SIGKILL');
  await clusters.start('us-airlock');
  expect(await ask(clusters, 'us-airlock', (sql) => sql`select 1 as up`)).toEqual([{ up: 1 }]);
});

test('a frozen server can be halted in good order', async () => {
  clusters.kill('us-airlock', 'SIGSTOP');
  await clusters.halt('us-airlock');
  expect(clusters.pids('us-airlock')).toEqual([]);
  const log = await readFile(clusters.logFile('us-airlock'), 'utf8');
  expect(log).toMatch(/database system is shut down\n$/);
  await clusters.start('us-airlock');
});

test('after a stop no process is left, the world is free, and nobody was reported as dead', async () => {
  world.exits = [];
  const pids = NODES.flatMap(clusters.pids);
  expect(pids.length).toBeGreaterThan(15);
  await clusters.stop();
  expect(pids.filter(isAlive)).toEqual([]);
  expect(await worldHolder(world.root)).toBeUndefined();
  expect(world.exits).toEqual([]);
  await clusters.stop();
});

test('a later start uses what is there', async () => {
  clusters = await world.start();
  expect(world.steps.filter((step) => /making|copying/.test(step))).toEqual([]);
  expect(await ask(clusters, 'us-a', (sql) => sql`select id from kept order by id`)).toEqual([
    { id: 1 },
    { id: 2 },
    { id: 3 },
  ]);
});

test('when everything was killed at once, the next start recovers what was acknowledged', async () => {
  await ask(clusters, 'us-a', (sql) => sql`insert into kept select generate_series(4, 1000)`);
  for (const node of NODES) clusters.kill(node, 'SIGKILL');
  await clusters.stop();
  clusters = await world.start();
  for (const node of ['us-a', 'us-b']) {
    expect(await ask(clusters, node, (sql) => sql`select count(*)::int from kept`)).toEqual([
      { count: 1000 },
    ]);
  }
});

test('frozen servers do not keep a stop from ending within ten seconds', async () => {
  const pids = NODES.flatMap(clusters.pids);
  for (const node of NODES) clusters.kill(node, 'SIGSTOP');
  const began = performance.now();
  await clusters.stop();
  expect(performance.now() - began).toBeLessThan(10_000);
  expect(pids.filter(isAlive)).toEqual([]);
  // Thawed first, all of them end in good order, the primary with its replica still there.
  for (const node of NODES) {
    expect(await readFile(clusters.logFile(node), 'utf8')).toMatch(
      /database system is shut down\n$/,
    );
  }
});

test('a lost replica is copied from its primary at the next start', async () => {
  await rm(clusters.dataDirectory('us-b'), { recursive: true });
  clusters = await world.start();
  expect(world.steps).toContain('us-b has no data; it becomes a copy of us-a');
  expect(await ask(clusters, 'us-b', (sql) => sql`select count(*)::int from kept`)).toEqual([
    { count: 1000 },
  ]);
  await clusters.stop();
});

test('all busy ports are named at once, with what for, by whom, and where to change it', async () => {
  const region = world.catalogue.regions.get('us');
  const ports = [region?.nodes[1]?.port, region?.airlocks[0]?.port];
  const squatters = ports.map((port) => createServer().listen(port, '127.0.0.1'));
  try {
    const refusal = await world.start().catch((error: unknown) => error);
    expect(refusal).toBeInstanceOf(CannotStart);
    const { message } = refusal as Error;
    expect(message).toContain(`127.0.0.1:${ports[0]}  wanted for Postgres us-b`);
    expect(message).toContain('regions.us.nodes of the catalogue');
    expect(message).toContain(`127.0.0.1:${ports[1]}  wanted for airlock us-airlock`);
    if (process.platform === 'linux') expect(message).toContain(`held by ${process.pid}, `);
    expect(await worldHolder(world.root)).toBeUndefined();
  } finally {
    for (const squatter of squatters) squatter.close();
  }
});

test('a regions file that asks for TLS is none for servers of this machine', async () => {
  const tls = { mode: 'require' } as const;
  const regions = new Map(
    [...world.catalogue.regions].map(([id, region]) => [id, { ...region, tls }]),
  );
  const refusal = world.start({ catalogue: { ...world.catalogue, regions } });
  await expect(refusal).rejects.toThrow('regions.us.tls asks for TLS (require)');
});

test('a start that is aborted ends what it had begun, goes no further, and frees the world', async () => {
  await rm(clusters.dataDirectory('us-b'), { recursive: true });
  const abort = new AbortController();
  const steps: string[] = [];
  const start = world.start({
    signal: abort.signal,
    report: (step) => {
      steps.push(step);
      if (step === 'us-b: copying us-a') abort.abort();
    },
  });
  await expect(start).rejects.toThrow('Stopped while starting');
  expect(steps.join('\n')).not.toContain('takes writes');
  expect(await worldHolder(world.root)).toBeUndefined();
  clusters = await world.start();
  expect(world.steps.join('\n')).not.toContain('left running');
});

test('a server does not start beside an orphan of its predecessor, but right after it', async () => {
  const [postmaster = 0, ...orphans] = clusters.pids('us-airlock');
  const last = orphans[0] ?? 0;
  // Zero would be this very process and its group.
  expect(Math.min(postmaster, last)).toBeGreaterThan(1);
  process.kill(last, 'SIGSTOP');
  process.kill(postmaster, 'SIGKILL');
  await waitUntil(() => world.exits.length > 0 || undefined, { timeoutMs: 5_000 });
  let outcome: string | undefined;
  const start = clusters.start('us-airlock').then(
    () => {
      outcome = 'started';
    },
    (error: unknown) => {
      outcome = String(error);
    },
  );
  // PostgreSQL would refuse within milliseconds.
  expect(await waitUntil(() => outcome, { timeoutMs: 1_000 })).toBeUndefined();
  expect(clusters.pids('us-airlock')).toEqual([last]);
  process.kill(last, 'SIGCONT');
  await start;
  expect(outcome).toBe('started');
  expect(isAlive(last)).toBe(false);
  await clusters.stop();
});
