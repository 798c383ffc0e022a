/**
 * Do changes of the app's tables reach every region under traffic, and no copy ever stops?
 *
 * One world, in the order of the tests: each adds a script to those before it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { type Document, parseDocument } from 'yaml';
import { verbatim } from '../regions/postgres.ts';
import { type OperatorForTests, operatorForTests, type Reply } from './operator-for-tests.ts';
import { traffic } from './traffic-for-tests.ts';
import {
  domicile as command,
  eventually,
  newUser,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
} from './world-for-tests.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const COMMAND_MS_MAX = 240_000;
const PRIVATE = ['us-a', 'eu-a', 'asia-a'] as const;
const AIRLOCKS = ['us-x', 'eu-x', 'asia-x'] as const;

let domicile: TestDomicile;
let operator: OperatorForTests;
let folder = '';
let version = 1;
let current = '';
const una = { ...newUser('US'), displayName: 'Una of the first card' };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'domicile-schema-apply-'));
  await chmod(folder, 0o711);
  await mkdir(join(folder, 'migrations'));
  const schema = join(folder, 'schema.sql');
  const text = await readFile(join(dirname(STOREFRONT), 'schema.sql'), 'utf8');
  // Narrow enough to be widened.
  const narrow = text.replace(/display_name {2}text/, 'display_name  varchar(100)');
  expect(narrow).not.toBe(text);
  await writeFile(schema, narrow);
  await script(
    '0002-first.sql',
    `-- Runs at the start.
     alter table orders add gift boolean not null default false;`,
  );
  current = await policyFile('v1', () => {});
  domicile = await startTestDomicile({ policy: current, schema });
  operator = operatorForTests(domicile.root);
  expect((await domicile.call('us', 'POST', '/users', { body: una })).status).toBe(201);
}, 240_000);
afterAll(async () => {
  await domicile?.remove();
  await rm(folder, { recursive: true, force: true });
}, 120_000);

/** Of no way, on no cluster, at no time: rows that do not fit would count here. */
afterEach(async () => {
  for (const node of [...PRIVATE, ...AIRLOCKS]) {
    expect([node, await one(node, ERRORS)]).toEqual([node, 0]);
  }
}, 60_000);
const ERRORS =
  'select coalesce(sum(apply_error_count + sync_error_count), 0)::int from pg_stat_subscription_stats';

function script(name: string, text: string): Promise<void> {
  return writeFile(join(folder, 'migrations', name), text);
}

async function policyFile(name: string, change: (policy: Document) => void): Promise<string> {
  const text = await readFile(
    current === '' ? join(dirname(STOREFRONT), 'residency.yaml') : current,
    'utf8',
  );
  const policy = parseDocument(text);
  policy.set('version', version);
  change(policy);
  const path = join(folder, `${name}.yaml`);
  await writeFile(path, String(policy));
  return path;
}

/** The command line itself, in a process of its own. */
async function json(...args: string[]): Promise<Reply> {
  const all = [...args, '--root', domicile.root, '--policy', current, '--json'];
  const ran = await command(all, {}, COMMAND_MS_MAX);
  expect(ran.stderr).toBe('');
  return { status: ran.status, ...JSON.parse(ran.stdout) };
}

async function apply(...scripts: string[]): Promise<void> {
  expectRan(await operator.schemaApply(current), scripts);
  await expectEmptyPlan();
}

function expectRan(reply: Reply, scripts: readonly string[]): void {
  const { status, outcome, because, failures, ran } = reply;
  const all = scripts.length === 0 ? {} : { us: scripts, eu: scripts, asia: scripts };
  expect({ status, outcome, because, failures, ran }).toEqual({
    ...{ status: 0, outcome: 'applied', because: undefined, failures: undefined },
    ran: all,
  });
}

async function expectEmptyPlan(): Promise<void> {
  const { status, differences, refusals } = await operator.plan(current);
  expect({ status, differences, refusals }).toEqual({ status: 0, differences: [], refusals: [] });
  expect((await operator.schemaPlan(current)).status).toBe(0);
}

async function one<T>(node: string, query: string): Promise<T> {
  const [row] = await domicile.sql(
    node,
    (sql) => sql<{ answer: T }[]>(verbatim(`select (${query}) as answer`)),
    60_000,
  );
  return row?.answer as T;
}

const superuser = (node: string, statement: string) =>
  domicile.sql(node, (sql) => sql(verbatim(statement)), 60_000);

/** Reads and writes all over until the work is done; answers with everything above 499. */
async function underTraffic(work: () => Promise<void>): Promise<void> {
  const clients = traffic(domicile, una.id);
  let ending = false;
  let price = 8_900;
  const owner = (async () => {
    while (!ending) {
      await superuser(
        'us-a',
        `update app.products set unit_cents = ${++price} where id = 'lamp-brass'`,
      );
      await pause(15);
    }
  })();
  let bad: string[] = [];
  try {
    await work();
  } finally {
    ending = true;
    await owner;
    bad = await clients.end();
  }
  expect(bad).toEqual([]);
  expect(clients.requests()).toBeGreaterThan(20);
  await eventually('the last price is everywhere', async () => {
    for (const node of [...PRIVATE, 'us-x']) {
      const there = await one(node, `select unit_cents from app.products where id = 'lamp-brass'`);
      if (there !== price) return false;
    }
    return true;
  });
}

async function expectCardTravels(name: string): Promise<void> {
  await superuser('us-a', `update app.users set display_name = '${name}' where id = '${una.id}'`);
  await eventually(`${name} is read in eu from the copy`, async () => {
    const card = await domicile.call('eu', 'GET', `/users/${una.id}/card`);
    return (
      card.json?.displayName === name &&
      /rung=mirror/.test(String(card.headers['domicile-decision']))
    );
  });
}

const columnsOf = (node: string, table: string) =>
  one<string>(
    node,
    `select string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)
     from pg_attribute where attrelid = to_regclass('${table}') and attnum > 0 and not attisdropped`,
  );

test('a start runs the scripts that are new, in every region', async () => {
  for (const node of PRIVATE) expect(await columnsOf(node, 'app.orders')).toContain('gift boolean');
  await expectEmptyPlan();
}, 120_000);

test('a column that stays at home: no copy is touched', async () => {
  await script('0003-note.sql', 'alter table users add note text;');
  const before = await one('eu-a', `select 'mirror_us.users'::regclass::oid::int`);
  const plan = await json('schema', 'plan');
  expect(plan).toMatchObject({
    status: 2,
    steps: ['us', 'eu', 'asia'].map((region) => `run 0003-note.sql in ${region}`),
  });
  expect(await columnsOf('us-a', 'app.users')).not.toContain('note');
  await underTraffic(async () => {
    expectRan(await json('schema', 'apply', '--by', 'tess'), ['0003-note.sql']);
  });
  await expectEmptyPlan();
  for (const node of PRIVATE) expect(await columnsOf(node, 'app.users')).toContain('note text');
  expect(await one('eu-a', `select 'mirror_us.users'::regclass::oid::int`)).toBe(before);
  await expectCardTravels('Una with a note');
}, 300_000);

test('a mirrored column becomes wider in place, receivers first', async () => {
  await script('0004-names.sql', 'alter table users alter display_name type text;');
  const before = await one('eu-a', `select 'mirror_us.users'::regclass::oid::int`);
  await underTraffic(() => apply('0004-names.sql'));
  expect(await one('eu-a', `select 'mirror_us.users'::regclass::oid::int`)).toBe(before);
  for (const [node, table] of [
    ['us-a', 'app.users'],
    ['us-x', 'app.users'],
    ['us-x', 'mirror_us.users'],
    ['eu-a', 'mirror_us.users'],
    ['asia-a', 'mirror_us.users'],
  ] as const) {
    expect([node, table, await columnsOf(node, table)]).toEqual([
      ...[node, table],
      expect.stringContaining('display_name text'),
    ]);
  }
  await expectCardTravels('Una who is wide');
}, 300_000);

test('reference data gets a column: every copy goes on and has its values', async () => {
  await script(
    '0005-weights.sql',
    `alter table products add grams integer not null default 500;
     alter table products add label varchar(20);
     update products set grams = 1200, label = 'heavy'
     where id = 'kettle-steel' and domicile.here() = 'us';`,
  );
  const followed = (node: string) =>
    one<number>(
      node,
      `select srsubid::int from pg_subscription_rel where srrelid = 'app.products'::regclass`,
    );
  const before = await one('us-x', `select 'app.products'::regclass::oid::int`);
  const subscription = await followed('eu-a');
  await underTraffic(() => apply('0005-weights.sql'));
  expect(await one('us-x', `select 'app.products'::regclass::oid::int`)).toBe(before);
  expect(await followed('eu-a')).toBe(subscription);
  const kettle = `select grams || ' ' || label from app.products where id = 'kettle-steel'`;
  for (const node of [...PRIVATE, 'us-x']) {
    await eventually(`the kettle’s weight is in ${node}`, async () => {
      return (await one(node, kettle)) === '1200 heavy';
    });
  }
  await superuser('us-a', `update app.products set grams = 1300 where id = 'kettle-steel'`);
  for (const node of ['eu-a', 'asia-a']) {
    await eventually(`a later weight arrives in ${node}`, async () => {
      return (await one(node, kettle)) === '1300 heavy';
    });
  }
}, 300_000);

/** Nothing of it is anywhere. */
async function expectRefused(pattern: RegExp, table?: string): Promise<void> {
  for (const refused of [await operator.schemaPlan(current), await operator.schemaApply(current)]) {
    expect(refused).toMatchObject({ status: 1, outcome: 'refused' });
    expect(refused.because.join('\n')).toMatch(pattern);
  }
  for (const node of [...PRIVATE, ...AIRLOCKS]) {
    if (table !== undefined) expect(await one(node, `to_regclass('${table}') is null`)).toBe(true);
  }
  for (const node of PRIVATE) {
    const ran = `select max(name) from domicile_migrations.applied where name like 'app 0%'`;
    expect(await one(node, ran)).toBe('app 0005-weights.sql');
  }
}

const WISHES = `create table wishes (
  id       uuid primary key default uuidv7(),
  user_id  text not null references users,
  title    varchar(50) not null,
  colour   text
);
insert into wishes (user_id, title, colour) select id, 'Lamp', 'red' from users;
`;

test('what is wrong is said before anything changes anywhere', async () => {
  await script('0006-wishes.sql', 'create table wishes (id text);\n\nalter table wishs add a int;');
  await expectRefused(/migrations\/0006-wishes\.sql:3:1 {2}.*wishs/, 'app.wishes');
  await script('0006-wishes.sql', 'create table wishes (id text, user_id nosuchtype);');
  await expectRefused(/migrations\/0006-wishes\.sql:1:39 {2}.*nosuchtype/, 'app.wishes');
  await script('0006-wishes.sql', WISHES);
  await expectRefused(/v1\.yaml:\d+:\d+ .*wishes.*policy does not name it/, 'app.wishes');
  await script('0006-wishes.sql', 'alter table users rename display_name to shown_name;');
  await expectRefused(/users has no column "display_name"/);
  await script('0006-wishes.sql', 'alter table orders alter user_id drop not null;');
  await expectRefused(/user_id may be null in orders/);
  await script('0006-wishes.sql', `insert into products values ('new', 'New', 1);`);
  await expectRefused(/writes 1 row of products in eu, though they come from us/);
  await script(
    '0006-wishes.sql',
    `do $$ begin execute 'alter table users disable row ' || 'level security'; end $$;`,
  );
  await expectRefused(/row security of app\.users changes; the policy decides about it/);
  await script(
    '0006-wishes.sql',
    `do $$ begin execute 'alter table users drop constraint domicile' || '_home'; end $$;`,
  );
  await expectRefused(/constraint domicile_home on app\.users would go/);
  await script(
    '0006-wishes.sql',
    `do $$ begin execute 'delete from domicile' || '.residents'; end $$;`,
  );
  await expectRefused(/writes to domicile\.residents, which belongs to the router/);
  await script(
    '0006-wishes.sql',
    `do $$ begin execute 'alter publication domicile_out_us_x add table orders'; end $$;`,
  );
  await expectRefused(/app\.orders in publication domicile_out_us_x would be there|does not exist/);
  await script('0006-wishes.sql', 'create table wishes (id text); commit;');
  await expectRefused(/0006-wishes\.sql:1:32 {2}"commit" must not be in a migration/, 'app.wishes');
  await script('0005-weights.sql', '-- Another text.');
  await script('0006-wishes.sql', 'select 1;');
  await expectRefused(/0005-weights\.sql {2}has changed since us ran it/);
  expect(await json('schema', 'apply')).toMatchObject({ status: 1, outcome: 'refused' });
}, 600_000);

test('a new subject table and the policy that names it: protected from its first row on', async () => {
  await script(
    '0005-weights.sql',
    `alter table products add grams integer not null default 500;
     alter table products add label varchar(20);
     update products set grams = 1200, label = 'heavy'
     where id = 'kettle-steel' and domicile.here() = 'us';`,
  );
  await script('0006-wishes.sql', WISHES);
  version++;
  current = await policyFile('v2', (policy) => {
    policy.setIn(['tables', 'wishes'], {
      subject: 'user_id',
      transit: 'proxy',
      mirrors: [
        {
          as: 'public_wishes',
          columns: ['id', 'user_id', 'title', 'colour'],
          homes: ['us', 'asia'],
          to: ['us', 'eu', 'asia'],
        },
      ],
    });
  });
  await underTraffic(() => apply('0006-wishes.sql'));
  expect(await one('us-a', 'select max(version) from domicile.policies')).toBe(2);
  for (const node of PRIVATE) {
    const guarded = `exists (select from pg_class c join pg_constraint k on k.conrelid = c.oid
      where c.oid = 'app.wishes'::regclass and k.conname = 'domicile_home'
        and c.relrowsecurity and c.relforcerowsecurity)`;
    expect(await one(node, guarded)).toBe(true);
    // The table, its constraint and its rules come from one transaction, so no row could slip in.
    const together = `select c.xmin = k.xmin and k.xmin = p.xmin
      from pg_attribute c, pg_constraint k, pg_policy p
      where c.attrelid = 'app.wishes'::regclass and c.attname = 'id'
        and k.conrelid = c.attrelid and k.conname = 'domicile_home' and p.polrelid = c.attrelid`;
    expect(await one(node, together)).toBe(true);
  }
  await expect(
    superuser('eu-a', `insert into app.wishes (user_id, title) values ('nobody', 'x')`),
  ).rejects.toThrow();
  expect(await one('eu-a', 'select count(*)::int from mirror_us.wishes')).toBe(1);
}, 300_000);

test('a column that the policy has stopped naming goes: it stops leaving first', async () => {
  await script(
    '0007-colours.sql',
    `alter table wishes drop colour;
     alter table wishes alter title type integer using length(title);`,
  );
  version++;
  current = await policyFile('v3', (policy) => {
    policy.setIn(['tables', 'wishes', 'mirrors', 0, 'columns'], ['id', 'user_id', 'title']);
  });
  await underTraffic(() => apply('0007-colours.sql'));
  for (const node of ['us-x', 'eu-a', 'asia-a']) {
    expect(await one(node, 'select title from mirror_us.wishes')).toBe(4);
  }
}, 300_000);

test('kill -9 at any moment: whoever resumes it comes to the end', async () => {
  const kills = Number(process.env.DOMICILE_TEST_KILLS ?? 4);
  let killed = 0;
  await underTraffic(async () => {
    for (let turn = 0; turn < kills; turn++) {
      const name = `${String(8 + turn).padStart(4, '0')}-turn.sql`;
      const rests = turn % 4 === 3;
      await script(
        name,
        `alter table products add kept_${turn} integer not null default ${turn};
         ${rests ? `alter table products add check (kept_${turn} < 1000);` : ''}
         update products set kept_${turn} = 77 where id = 'chair-oak' and domicile.here() = 'us';
         alter table users alter country type varchar(${30 + turn});
         alter table orders add note_${turn} text;`,
      );
      const args = ['schema', 'apply', '--by', 'victim', '--root', domicile.root];
      const victim = spawn(process.execPath, [MAIN, ...args, '--policy', current], {
        stdio: ['ignore', 'pipe', 'inherit'],
        env: {},
      });
      const closed = once(victim, 'close');
      // After so many steps have been done, which differ from turn to turn.
      const steps = 1 + ((turn * 3) % 9);
      let said = 0;
      victim.stdout.on('data', (part: Buffer) => {
        said += String(part).split('\n').length - 1;
        if (said >= steps) victim.kill('SIGKILL');
      });
      const [, signal] = (await closed) as [number | null, string | null];
      if (signal === 'SIGKILL') killed++;
      const { status, outcome, because } = await operator.schemaApply(current);
      expect({ turn, status, outcome, because }).toMatchObject({
        ...{ turn, status: 0, outcome: 'applied' },
      });
      await expectEmptyPlan();
      for (const node of [...PRIVATE, 'us-x']) {
        await eventually(`the chair is kept in ${node}`, async () => {
          const kept = `select kept_${turn} from app.products where id = 'chair-oak'`;
          return (await one(node, kept)) === 77;
        });
      }
    }
  });
  expect(killed).toBeGreaterThan(kills / 2);
}, 1_800_000);
