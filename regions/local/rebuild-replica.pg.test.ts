import { afterAll, beforeAll, expect, test } from 'vitest';
import { LeasePool } from '../postgres.ts';
import type { LocalClusters } from './start-clusters.ts';
import { waitUntil } from './wait-until.ts';
import { ask, makeTestWorld, type TestWorld } from './world-for-tests.ts';

const ACCOUNTS = 20_000;
const WRITERS = 4;

let world: TestWorld;
let clusters: LocalClusters;

beforeAll(async () => {
  world = await makeTestWorld();
  clusters = await world.start();
  await ask(clusters, 'us-a', async (sql) => {
    await sql`create table accounts (id int primary key, balance int not null, filler text)`;
    await sql`
      insert into accounts select n, 100, repeat('x', 200) from generate_series(1, ${ACCOUNTS}::int) n`;
    // No key: a row that arrived twice would show.
    await sql`create table acknowledged (writer int, n int)`;
  });
});
afterAll(() => world.remove());

test('a replica rebuilt while writes go on loses nothing and has nothing twice', async () => {
  // Alone on purpose: with commits that wait for the replica there would be no traffic to copy under.
  await clusters.requireReplicas('us', []);
  const pool = new LeasePool({
    endpoint: clusters.superuser('us-a'),
    connectionsMax: WRITERS,
    waitersMax: WRITERS,
    connectTimeoutMs: 2_000,
    settings: {},
  });
  let stopped = false;
  const counts = Array.from({ length: WRITERS }, () => 0);
  const total = () => counts.reduce((sum, count) => sum + count, 0);
  const writer = async (name: number) => {
    for (let n = 1; !stopped; n++) {
      const outcome = await pool.transaction(
        async (sql) => {
          const from = 1 + ((n * 7_919 + name) % ACCOUNTS);
          const to = 1 + ((n * 104_729 + name) % ACCOUNTS);
          await sql`insert into acknowledged values (${name}, ${n})`;
          await sql`
            update accounts set balance = balance + case id when ${from} then -1 else 1 end
            where id in (${from}, ${to}) and ${from}::int <> ${to}::int`;
        },
        { timeoutMs: 20_000 },
      );
      // Two writers that meet in opposite order: PostgreSQL ends one of them.
      if (outcome.kind === 'applied') counts[name] = n;
      else if (outcome.kind !== 'not_applied') throw new Error(JSON.stringify(outcome));
    }
  };
  const writers = counts.map((_, name) => writer(name));
  await waitUntil(() => total() > 200 || undefined, { timeoutMs: 20_000 });

  const before = total();
  await clusters.rebuildReplica('us-b');
  const during = total() - before;
  await clusters.requireReplicas('us', ['us-b']);
  stopped = true;
  await Promise.all(writers);
  await pool.close({ timeoutMs: 1_000 });

  expect(world.steps).toContain('us-b: copying us-a');
  expect(during, 'writes while it was rebuilt').toBeGreaterThan(10);
  const seen = (node: string) =>
    ask(
      clusters,
      node,
      (sql) => sql`
        select (select count(*)::int from acknowledged) as rows,
          (select count(distinct (writer, n))::int from acknowledged) as different,
          (select sum(balance)::int from accounts) as money,
          (select md5(string_agg(a::text, ',' order by writer, n)) from acknowledged a) as digest,
          (select md5(string_agg(id || ' ' || balance, ',' order by id)) from accounts) as balances`,
    );
  const [there] = await seen('us-a');
  expect(there?.different).toBe(there?.rows);
  expect(there?.money).toBe(ACCOUNTS * 100);
  const same = await waitUntil(
    async () =>
      JSON.stringify((await seen('us-b'))[0]) === JSON.stringify(there) ? true : undefined,
    { timeoutMs: 20_000 },
  );
  expect(same, 'the replica shows exactly what the primary shows').toBe(true);
  // Every write that was acknowledged to a writer is among them.
  for (const [name, n] of counts.entries()) {
    const found = await ask(
      clusters,
      'us-b',
      (sql) => sql`select count(*)::int from acknowledged where writer = ${name} and n = ${n}`,
    );
    expect(found).toEqual([{ count: 1 }]);
  }
});

test('a rebuilt replica confirms commits again', async () => {
  const rows = await ask(
    clusters,
    'us-a',
    (sql) => sql`select application_name, sync_state from pg_stat_replication`,
  );
  expect(rows).toEqual([{ application_name: 'us-b', sync_state: 'sync' }]);
  await ask(clusters, 'us-a', (sql) => sql`insert into acknowledged values (99, 1)`);
});

test('a copy brings no slots and no settings of the primary along', async () => {
  await clusters.rebuildReplica('us-b');
  const [kept] = await ask(
    clusters,
    'us-a',
    (sql) => sql`
      select current_setting('synchronous_standby_names') as names,
        (select count(*)::int from pg_replication_slots) as held`,
  );
  expect(kept, 'what there is to bring along').toEqual({ names: '"us-b"', held: 1 });
  const rows = await ask(
    clusters,
    'us-b',
    (sql) => sql`
      select current_setting('synchronous_standby_names') as names,
        current_setting('synchronized_standby_slots') as slots,
        (select count(*)::int from pg_replication_slots) as held`,
  );
  expect(rows).toEqual([{ names: '', slots: '', held: 0 }]);
});

test('an airlock cannot be rebuilt as a replica', async () => {
  await expect(clusters.rebuildReplica('us-airlock')).rejects.toThrow('not a replica');
});
