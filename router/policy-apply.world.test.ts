/**
 * Does a plan say what is wrong, and does an apply make it right, whatever happens meanwhile?
 *
 * One world, in the order of the tests: each leaves it as the last applied policy wants it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Document, parseDocument } from 'yaml';
import type { Difference } from '../policies/cluster-state.ts';
import { verbatim } from '../regions/postgres.ts';
import { openLocalWorld } from './local-operator.ts';
import { differences } from './observe-world.ts';
import { type OperatorForTests, operatorForTests, type Reply } from './operator-for-tests.ts';
import { readPolicyFile } from './read-files.ts';
import { traffic } from './traffic-for-tests.ts';
import {
  domicile as command,
  eventually,
  LAMP,
  newUser,
  type Ran,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
} from './world-for-tests.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const COMMAND_MS_MAX = 240_000;

let domicile: TestDomicile;
let operator: OperatorForTests;
let parent = '';
let version = 1;
/** At home in us, with a card that may be read in eu. */
const una = { ...newUser('US'), displayName: 'Una of the first card' };

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'domicile-policy-apply-'));
  await chmod(parent, 0o711);
  domicile = await startTestDomicile({ policy: await policyFile('v1', () => {}) });
  operator = operatorForTests(domicile.root);
  expect((await domicile.call('us', 'POST', '/users', { body: una })).status).toBe(201);
}, 240_000);
afterAll(async () => {
  await domicile?.remove();
  await rm(parent, { recursive: true, force: true });
}, 120_000);

/** The storefront's policy with a change. */
async function policyFile(name: string, change: (policy: Document) => void): Promise<string> {
  const text = await readFile(join(dirname(STOREFRONT), 'residency.yaml'), 'utf8');
  const policy = parseDocument(text);
  policy.set('version', version);
  change(policy);
  const path = join(parent, `${name}.yaml`);
  await writeFile(path, String(policy));
  return path;
}

/** The next version: mirrors of orders beside those of users. */
function nextPolicy(name: string, mirrors: readonly object[]): Promise<string> {
  version++;
  return policyFile(`${name}-${version}`, (policy) => {
    if (mirrors.length > 0) policy.setIn(['tables', 'orders', 'mirrors'], mirrors);
  });
}

const SHIPPED = {
  as: 'deliveries',
  columns: ['id', 'user_id', 'status'],
  rows: { status: ['shipped', "it's lost"] },
  homes: ['us', 'asia'],
  to: ['us', 'eu', 'asia'],
};
const TOTALS = {
  as: 'totals',
  columns: ['id', 'user_id', 'total_cents'],
  homes: ['us', 'asia'],
  to: ['us', 'eu', 'asia'],
};

/** The command line itself, in a process of its own. */
function run(...args: string[]): Promise<Ran> {
  return command([...args, '--root', domicile.root], {}, COMMAND_MS_MAX);
}

async function json(...args: string[]): Promise<Reply> {
  const ran = await run(...args, '--json');
  expect(ran.stderr).toBe('');
  return { status: ran.status, ...JSON.parse(ran.stdout) };
}

async function apply(policy: string): Promise<void> {
  expectApplied(await operator.apply(policy));
}

/** With the reasons, when it was not. */
function expectApplied({
  status,
  outcome,
  steps: _steps,
  version: _version,
  ...rest
}: Reply): void {
  expect({ status, outcome, ...rest }).toEqual({ status: 0, outcome: 'applied' });
}

/** Nothing is to be done, and one more look agrees. */
async function expectEmptyPlan(policy: string): Promise<void> {
  const plan = await operator.plan(policy);
  expect({ status: plan.status, differences: plan.differences, steps: plan.steps }).toEqual({
    status: 0,
    differences: [],
    steps: [],
  });
}

const superuser = (node: string, statement: string) =>
  domicile.sql(node, (sql) => sql(verbatim(statement)), 60_000);

async function one<T>(node: string, query: string): Promise<T> {
  const [row] = await domicile.sql(
    node,
    (sql) => sql<{ answer: T }[]>(verbatim(`select (${query}) as answer`)),
    60_000,
  );
  return row?.answer as T;
}

/** A text that is the same where the rows are. */
const rowsOf = (node: string, query: string) =>
  one<string>(
    node,
    `select coalesce(string_agg(t::text, E'\\n' order by t::text), '') from (${query}) t`,
  );

async function orderOf(user: string, home = 'us'): Promise<string> {
  const made = await domicile.call(home, 'POST', `/users/${user}/orders`, { body: LAMP });
  expect(made.status).toBe(201);
  return made.json.id;
}

let v1 = '';
/** What is in force, as the tests go on. */
let current = '';

test('a plan of the policy in force finds nothing, and its record says who and why', async () => {
  v1 = join(parent, 'v1.yaml');
  current = v1;
  await expectEmptyPlan(v1);
  expect(await json('policy', 'plan', '--policy', v1)).toMatchObject({ status: 0, steps: [] });
  const words = await run('policy', 'plan');
  expect(words.status).toBe(0);
  expect(words.stdout).toContain('Every cluster is as the policy wants it; nothing to do.');
  for (const node of ['us-a', 'eu-a', 'asia-a']) {
    const rows = await domicile.sql(
      node,
      (sql) => sql`
        select version, because, applied_by, in_force_at is not null as in_force,
          sha256 = encode(sha256(convert_to(text, 'UTF8')), 'hex') as sound
        from domicile.policies`,
    );
    expect(rows).toEqual([
      {
        version: 1,
        because: 'First version, for the opening of the shop in three regions.',
        applied_by: 'domicile up',
        in_force: true,
        sound: true,
      },
    ]);
  }
}, 120_000);

test('a mirror with conditions opens under traffic: no request fails, and what was there arrives', async () => {
  const before = await orderOf(una.id);
  await superuser('us-a', `update app.orders set status = 'shipped' where id = '${before}'`);
  const v2 = await nextPolicy('deliveries', [SHIPPED]);
  const plan = await operator.plan(v2);
  expect(plan.status).toBe(2);
  expect(plan.effects).toContainEqual({
    kind: 'copies',
    from: 'us',
    to: 'eu',
    what: 'mirror_us.orders (id, user_id, status)',
    rows: 1,
  });
  // Looking has changed nothing.
  expect(await one('eu-a', `to_regclass('mirror_us.orders') is null`)).toBe(true);

  const clients = traffic(domicile, una.id);
  expectApplied(await json('policy', 'apply', '--policy', v2, '--by', 'tess'));
  const bad = await clients.end();
  expect(bad).toEqual([]);
  expect(clients.requests()).toBeGreaterThan(20);
  current = v2;
  await expectEmptyPlan(v2);
  const there = await rowsOf('eu-a', 'select id, status from mirror.deliveries');
  expect(there).toBe(`(${before},shipped)`);
  expect(
    await one('us-a', `select applied_by from domicile.policies where version = ${version}`),
  ).toBe('tess');
}, 300_000);

test('a row that enters the condition arrives, one that leaves it goes, on every hop', async () => {
  const order = await orderOf(una.id);
  const seen = (node: string, table: string) =>
    one<boolean>(node, `exists (select from ${table} where id = '${order}')`);
  const everywhere = async (wanted: boolean) => {
    for (const [node, table] of [
      ['us-x', 'mirror_us.orders'],
      ['eu-a', 'mirror_us.orders'],
      ['asia-a', 'mirror.deliveries'],
    ] as const) {
      await eventually(`${order} is ${wanted ? '' : 'not '}in ${table} of ${node}`, async () => {
        return (await seen(node, table)) === wanted;
      });
    }
  };
  const set = (status: string) =>
    superuser('us-a', `update app.orders set status = '${status}' where id = '${order}'`);
  await set('shipped');
  await everywhere(true);
  await set('paid');
  await everywhere(false);
  await set('shipped');
  await everywhere(true);
  await superuser('us-a', `delete from app.order_items where order_id = '${order}'`);
  await superuser('us-a', `delete from app.orders where id = '${order}'`);
  await everywhere(false);
  // At home the view has the condition, too.
  expect(
    await one('us-a', `select count(*)::int from mirror.deliveries where status <> 'shipped'`),
  ).toBe(0);
}, 120_000);

test('TRUNCATE at the publisher does not reach the peers, and a refill makes them equal again', async () => {
  const there = await rowsOf('eu-a', 'select id from mirror_us.orders');
  expect(there).not.toBe('');
  await superuser('us-a', 'truncate app.orders, app.order_items');
  const mark = await orderOf(una.id);
  await superuser('us-a', `update app.orders set status = 'shipped' where id = '${mark}'`);
  await eventually('a later order arrives', () =>
    one<boolean>('eu-a', `exists (select from mirror_us.orders where id = '${mark}')`),
  );
  expect(await rowsOf('eu-a', 'select id from mirror_us.orders')).toContain(there);

  const refilled = await json('mirrors', 'refill', '--airlock', 'us-x');
  expectApplied(refilled);
  for (const node of ['us-x', 'eu-a', 'asia-a']) {
    expect(await rowsOf(node, 'select id from mirror_us.orders')).toBe(`(${mark})`);
  }
  await eventually('all of us follow again', async () => (await operator.mirrors()).sound);
  await expectEmptyPlan(current);
}, 300_000);

describe('what somebody changed by hand is named by the plan and mended by an apply', () => {
  /** Each with the cluster and the object that the plan must name. */
  const drifts: [
    what: string,
    node: string,
    statements: string[],
    cluster: string,
    object: string,
  ][] = [
    [
      'a column added to a publication',
      'us-a',
      [
        'alter publication domicile_out_us_x drop table app.users',
        'alter publication domicile_out_us_x add table app.users (id, display_name, email)',
      ],
      'us',
      'app.users in publication domicile_out_us_x',
    ],
    [
      'a row filter lost on the way to a peer',
      'us-x',
      [
        'alter publication domicile_to_eu drop table mirror_us.orders',
        'alter publication domicile_to_eu add table mirror_us.orders (id, user_id, status)',
      ],
      'us-x',
      'mirror_us.orders in publication domicile_to_eu',
    ],
    [
      'a second publication',
      'us-a',
      ['create publication leak for table app.users'],
      'us',
      'publication leak',
    ],
    [
      'a publication of everything',
      'us-x',
      ['create publication everything for all tables'],
      'us-x',
      'publication everything',
    ],
    [
      'a publication of a schema',
      'us-a',
      ['create publication whole for tables in schema app'],
      'us',
      'publication whole',
    ],
    [
      'TRUNCATE let through',
      'us-a',
      [`alter publication domicile_out_us_x set (publish = 'insert, update, delete, truncate')`],
      'us',
      'publication domicile_out_us_x',
    ],
    [
      'a table taken out of a publication',
      'us-a',
      ['alter publication domicile_out_us_x drop table app.products'],
      'us',
      'app.products in publication domicile_out_us_x',
    ],
    [
      'a constraint dropped',
      'eu-a',
      ['alter table app.users drop constraint domicile_home'],
      'eu',
      'constraint domicile_home on app.users',
    ],
    [
      'a constraint that lets everything in',
      'eu-a',
      [
        'alter table app.orders drop constraint domicile_home',
        'alter table app.orders add constraint domicile_home check (true)',
      ],
      'eu',
      'constraint domicile_home on app.orders',
    ],
    [
      'row security switched off',
      'asia-a',
      ['alter table app.users disable row level security'],
      'asia',
      'row security of app.users',
    ],
    [
      'the owner freed from row security',
      'asia-a',
      ['alter table app.orders no force row level security'],
      'asia',
      'row security of app.orders',
    ],
    [
      'a second row policy, which widens the first',
      'asia-a',
      ['create policy everybody on app.users using (true)'],
      'asia',
      'row policy everybody on app.users',
    ],
    [
      'a grant too many',
      'eu-a',
      ['grant select on app.users to domicile_abroad'],
      'eu',
      'grant of select on table app.users to domicile_abroad',
    ],
    [
      'a grant on one column',
      'eu-a',
      ['grant select (email) on app.users to domicile_abroad'],
      'eu',
      'grant of select on column email of app.users to domicile_abroad',
    ],
    [
      'a table opened to everybody',
      'eu-a',
      ['grant select on domicile.residents to public'],
      'eu',
      'grant of select on table domicile.residents to public',
    ],
    [
      'a grant taken away',
      'eu-a',
      ['revoke select on mirror.deliveries from domicile_abroad'],
      'eu',
      'grant of select on table mirror.deliveries to domicile_abroad',
    ],
    [
      'a logical slot',
      'eu-a',
      [`select pg_create_logical_replication_slot('mine', 'test_decoding')`],
      'eu',
      'slot mine',
    ],
    [
      'a physical slot',
      'eu-x',
      [`select pg_create_physical_replication_slot('mine', true)`],
      'eu-x',
      'slot mine',
    ],
    [
      'a role that may copy the cluster',
      'eu-a',
      ['create role intruder login replication'],
      'eu',
      'role intruder',
    ],
    [
      'a login that row security does not bind',
      'us-a',
      ['alter role domicile_reader bypassrls'],
      'us',
      'role domicile_reader',
    ],
    [
      'a login in a powerful group',
      'us-a',
      ['grant pg_read_all_data to domicile_router'],
      'us',
      'membership of domicile_router in pg_read_all_data',
    ],
    [
      'a setting of a login',
      'us-a',
      ['alter role domicile_writer set synchronous_commit = off'],
      'us',
      'setting synchronous_commit of domicile_writer',
    ],
    [
      'a view that shows more',
      'asia-a',
      [
        'create or replace view mirror.public_profiles as select id, email as display_name from app.users',
      ],
      'asia',
      'view mirror.public_profiles',
    ],
    [
      'a view of somebody’s own',
      'asia-a',
      ['create view mirror.mine as select * from app.users'],
      'asia',
      'view mirror.mine',
    ],
    [
      'a table in an airlock',
      'asia-x',
      ['create table app.hoard (id text primary key)'],
      'asia-x',
      'table app.hoard',
    ],
    [
      'a subscription that rests',
      'asia-a',
      ['alter subscription domicile_from_us disable'],
      'asia',
      'subscription domicile_from_us',
    ],
    [
      'a subscription that takes other origins only',
      'asia-a',
      ['alter subscription domicile_from_us set (origin = none)'],
      'asia',
      'subscription domicile_from_us',
    ],
    [
      'a replica identity that does not fit the filter',
      'asia-a',
      ['alter table app.orders replica identity full'],
      'asia',
      'replica identity of app.orders',
    ],
    [
      'an opening that is not so',
      'us-a',
      [`insert into domicile.openings (name, home) values ('public_profiles', 'eu')`],
      'us',
      'opening of public_profiles from eu',
    ],
  ];

  test('one by one in the plan', async () => {
    const { operator } = await openLocalWorld(domicile.root);
    const read = await readPolicyFile(current, operator.catalogue);
    if ('complaints' in read) throw new Error(read.complaints.join('\n'));
    const missed: string[] = [];
    for (const [what, node, statements, cluster, object] of drifts) {
      try {
        for (const statement of statements) await superuser(node, statement);
      } catch (error) {
        throw new Error(`${what} cannot be done`, { cause: error });
      }
      const found = await differences(operator, read.policy);
      const named = found.some((one) => one.cluster === cluster && one.object === object);
      if (!named) missed.push(`${what}: ${JSON.stringify(found)}`);
    }
    expect(missed).toEqual([]);
    // The command names every one of them as well.
    const plan = await run('policy', 'plan', '--policy', current);
    expect(plan.status).toBe(2);
    for (const words of ['drop publication leak of us', 'drop slot mine of eu', 'role intruder']) {
      expect(plan.stdout).toContain(words);
    }
  }, 600_000);

  test('all together by one apply', async () => {
    await apply(current);
    await expectEmptyPlan(current);
    const intruder = await one(
      'eu-a',
      `select rolreplication from pg_roles where rolname = 'intruder'`,
    );
    expect(intruder).toBe(false);
    await superuser('eu-a', 'drop role intruder');
    // And everything travels again.
    const order = await orderOf(una.id);
    await superuser('us-a', `update app.orders set status = 'shipped' where id = '${order}'`);
    for (const node of ['eu-a', 'asia-a']) {
      await eventually(`${order} arrives at ${node}`, () =>
        one<boolean>(node, `exists (select from mirror.deliveries where id = '${order}')`),
      );
    }
    expect((await json('mirrors', 'status')).sound).toBe(true);
  }, 300_000);

  test('a table that nobody declared stops an apply', async () => {
    await superuser('eu-a', 'create table app.secrets (id text primary key)');
    try {
      const plan = await operator.plan(current);
      expect(plan).toMatchObject({ status: 1 });
      expect(plan.refusals).toEqual([
        'eu: the policy does not say whose secrets is; declare it under "tables"',
      ]);
      const refused = await json('policy', 'apply', '--policy', current);
      expect(refused).toMatchObject({ status: 1, outcome: 'refused' });
    } finally {
      await superuser('eu-a', 'drop table app.secrets');
    }
  }, 120_000);
});

describe('an apply is refused', () => {
  test('of a lower version, and of another text under the same one', async () => {
    const lower = await operator.apply(v1);
    expect(lower).toMatchObject({ status: 1, outcome: 'refused' });
    expect(lower.because[0]).toMatch(
      /^policy version 1 is lower than version \d+, which is in force/,
    );
    const other = join(parent, 'other.yaml');
    await writeFile(other, `# Another text.\n${await readFile(current, 'utf8')}`);
    const same = await operator.apply(other);
    expect(same.because).toEqual([
      `version ${version} is in force in us, eu, asia with another text; raise version to ${version + 1}`,
    ]);
  }, 120_000);

  test('before its day', async () => {
    const early = await policyFile('early', (policy) => {
      policy.set('version', version + 1);
      policy.set('effective', '2999-01-01');
    });
    const refused = await operator.apply(early);
    expect(refused.because[0]).toMatch(/is effective from 2999-01-01, and today is \d{4}-/);
    expect(await one('us-a', 'select max(version) from domicile.policies')).toBe(version);
  }, 120_000);

  test('that would strand subjects where they may not live', async () => {
    const hana = newUser('JP');
    expect((await domicile.call('asia', 'POST', '/users', { body: hana })).status).toBe(201);
    const moved = await policyFile('moved', (policy) => {
      policy.set('version', version + 1);
      policy.setIn(['jurisdictions', 'asia-pacific', 'regions'], ['eu']);
      policy.setIn(['jurisdictions', 'asia-pacific', 'copies'], ['us', 'asia']);
      policy.setIn(['placement', 3, 'home'], 'eu');
      policy.deleteIn(['tables', 'users', 'mirrors']);
    });
    const refused = await operator.apply(moved);
    expect(refused.because).toEqual([
      '1 subject of asia-pacific lives in asia, and the policy lets subjects of asia-pacific live in eu only; move them first, or allow asia to them',
    ]);
  }, 120_000);

  test('with a plan that has gone stale', async () => {
    const next = await nextPolicy('stale', [SHIPPED]);
    const out = join(parent, 'plan.json');
    expect((await json('policy', 'plan', '--policy', next, '--out', out)).status).toBe(2);
    await superuser('eu-a', 'grant select on app.orders to domicile_abroad');
    const stale = await json('policy', 'apply', '--policy', next, '--plan', out);
    expect(stale).toMatchObject({ status: 1, outcome: 'refused' });
    expect(stale.because[0]).toContain('gone stale');
    expect(await one('us-a', 'select max(version) from domicile.policies')).toBe(version - 1);
    await superuser('eu-a', 'revoke select on app.orders from domicile_abroad');
    expectApplied(await operator.apply(next, { plan: out }));
    current = next;
    await expectEmptyPlan(current);
  }, 300_000);
});

test('of two operators one applies and the other is told who does', async () => {
  const next = await nextPolicy('two', [TOTALS]);
  const both = await Promise.all(
    ['tess', 'theo'].map((by) => json('policy', 'apply', '--policy', next, '--by', by)),
  );
  const outcomes = both.map(({ outcome }) => outcome).sort();
  // The later one may come when the earlier has ended, and then finds nothing to do.
  expect([
    ['applied', 'applied'],
    ['applied', 'refused'],
  ]).toContainEqual(outcomes);
  const refused = both.find(({ outcome }) => outcome === 'refused');
  if (refused !== undefined) {
    expect(refused.because[0]).toMatch(
      /^(tess|theo|another operator) has been applying policy version/,
    );
  }
  const [winner] = both.filter(({ outcome, steps }) => outcome === 'applied' && steps > 0);
  expect(winner).toBeDefined();
  current = next;
  await apply(current);
  await expectEmptyPlan(current);
}, 300_000);

test('what is closed goes: unqueryable first, then off the disks, and each time is recorded', async () => {
  const canary = 'canary-9f31c07a';
  const carl = { ...newUser('US'), displayName: canary };
  expect((await domicile.call('us', 'POST', '/users', { body: carl })).status).toBe(201);
  await eventually('the card has arrived', () =>
    one<boolean>('eu-a', `exists (select from mirror_us.users where display_name = '${canary}')`),
  );
  expect(await bytesHold('eu-a', canary)).toBe(true);
  version++;
  const closed = await policyFile('closed', (policy) => {
    policy.setIn(['tables', 'users', 'mirrors', 0, 'homes'], ['asia']);
    policy.setIn(['tables', 'users', 'mirrors', 0, 'to'], ['us', 'eu']);
  });
  const plan = await operator.plan(closed);
  expect(plan.effects).toContainEqual(
    expect.objectContaining({ kind: 'erases', cluster: 'eu', what: 'mirror_us.users' }),
  );
  // Cards are read all the time: from the copy, then from their home, and never in vain.
  const clients = traffic(domicile, una.id);
  await apply(closed);
  const bad = await clients.end();
  expect(bad).toEqual([]);
  current = closed;
  await expectEmptyPlan(closed);
  const rows = await domicile.sql(
    'eu-a',
    (sql) => sql<{ ordered: boolean }[]>`
      select unqueryable_since <= off_disk_since as ordered from domicile.withdrawals
      where what = 'mirror_us.users' and cluster = 'eu' and version = ${version}`,
  );
  expect(rows).toEqual([{ ordered: true }]);
  for (const node of ['eu-a', 'eu-b', 'asia-a', 'us-x']) {
    expect([node, await bytesHold(node, canary)]).toEqual([node, false]);
  }
  // The same search finds it where it is at home.
  expect(await bytesHold('us-a', canary)).toBe(true);
}, 300_000);

/** Whether any file of a node's data directory, the log included, has these bytes. */
async function bytesHold(node: string, canary: string): Promise<boolean> {
  await superuser(node, 'checkpoint');
  const grep = spawn('grep', ['-rqaF', canary, domicile.clusters.dataDirectory(node)]);
  const [status] = (await once(grep, 'close')) as [number];
  // A file that goes while it is looked for is status 2 unless another one was found.
  return status === 0;
}

test('a peer that has lost its place is named, and refilled', async () => {
  const open = await nextPolicy('open', [TOTALS]);
  await apply(open);
  current = open;
  await superuser('eu-a', 'alter subscription domicile_from_us disable');
  // Room for a few files of log, so that the reader that is there keeps up.
  await superuser('us-x', `alter system set max_slot_wal_keep_size = '64MB'`);
  await superuser('us-x', 'select pg_reload_conf()');
  const meanwhile = await orderOf(una.id);
  await eventually('the slot is lost', async () => {
    await superuser('us-x', `select pg_logical_emit_message(true, 'test', 'turn')`);
    await superuser('us-x', 'select pg_switch_wal()');
    await superuser('us-x', 'checkpoint');
    return one<boolean>(
      'us-x',
      `select wal_status = 'lost' from pg_replication_slots where slot_name = 'domicile_to_eu'`,
    );
  });
  await superuser('us-x', 'alter system reset max_slot_wal_keep_size');
  await superuser('us-x', 'select pg_reload_conf()');
  const status = await run('mirrors', 'status');
  expect(status.status).toBe(1);
  expect(status.stdout).toMatch(/us-x to eu +has lost its place in the log: refill it/);
  const plan = await operator.plan(current);
  expect(plan.differences.map((one: Difference) => `${one.cluster}: ${one.object}`)).toEqual([
    'us-x: slot domicile_to_eu',
    'eu: subscription domicile_from_us',
  ]);
  const refilled = await json('mirrors', 'refill', '--from', 'us', '--to', 'eu');
  expectApplied(refilled);
  expect(await one('eu-a', `exists (select from mirror_us.orders where id = '${meanwhile}')`)).toBe(
    true,
  );
  expect(await rowsOf('eu-a', 'select id from mirror_us.orders')).toBe(
    await rowsOf('us-a', 'select id from app.orders'),
  );
  await expectEmptyPlan(current);
}, 300_000);

test('kill -9 at any moment of an apply: whoever resumes it comes to the end', async () => {
  const kills = Number(process.env.DOMICILE_TEST_KILLS ?? 4);
  let killed = 0;
  for (let turn = 0; turn < kills; turn++) {
    const next = await nextPolicy('killed', [turn % 2 === 0 ? SHIPPED : TOTALS]);
    const victim = spawn(
      process.execPath,
      [MAIN, 'policy', 'apply', '--policy', next, '--by', 'victim', '--root', domicile.root],
      { stdio: ['ignore', 'pipe', 'inherit'], env: {} },
    );
    const closed = once(victim, 'close');
    // After so many steps have been done, which differ from turn to turn.
    const steps = 1 + ((turn * 7) % 40);
    let said = 0;
    victim.stdout.on('data', (part: Buffer) => {
      said += String(part).split('\n').length - 1;
      if (said >= steps) victim.kill('SIGKILL');
    });
    const [, signal] = (await closed) as [number | null, string | null];
    if (signal === 'SIGKILL') killed++;
    await apply(next);
    current = next;
    await expectEmptyPlan(next);
    const columns = turn % 2 === 0 ? 'id, user_id, status' : 'id, user_id, total_cents';
    const where = turn % 2 === 0 ? `where status in ('shipped', 'it''s lost')` : '';
    const home = await rowsOf('us-a', `select ${columns} from app.orders ${where}`);
    for (const node of ['us-x', 'eu-a', 'asia-a']) {
      expect(await rowsOf(node, `select ${columns} from mirror_us.orders`)).toBe(home);
    }
  }
  expect(killed).toBeGreaterThan(kills / 2);
}, 1_800_000);
