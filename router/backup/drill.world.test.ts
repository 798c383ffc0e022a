import { execFile } from 'node:child_process';
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { findBinaries } from '../../regions/local/platform-binaries.ts';
import { freePorts } from '../../regions/local/ports.ts';
import { serverUser } from '../../regions/local/process-user.ts';
import { ServerProcess } from '../../regions/local/server-process.ts';
import { ask } from '../../regions/local/world-for-tests.ts';
import { LeasePool, verbatim } from '../../regions/postgres.ts';
import { startTestDomicile, type TestDomicile } from '../world-for-tests.ts';

// Commands and servers are started one after the other, on machines that may have much else to do.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

let domicile: TestDomicile;

beforeAll(async () => {
  domicile = await startTestDomicile({ backups: true });
  for (const [at, country] of ['DE', 'FR', 'SE', 'DE', 'AT'].entries()) {
    const id = `eu-person-${at}`;
    const body = { id, displayName: id, email: `${id}@example.org`, country };
    expect((await domicile.call('eu', 'POST', '/users', { body })).status).toBe(201);
    const items = [{ product: 'lamp-brass', quantity: 1 + at }];
    const path = `/users/${id}/orders`;
    expect((await domicile.call('eu', 'POST', path, { body: { items } })).status).toBe(201);
  }
});
afterAll(() => domicile?.remove());

// biome-ignore lint/suspicious/noExplicitAny: each test knows what it asked for.
type Said = { code: number; out: string; err: string; json: any };

async function run(...words: string[]): Promise<Said> {
  const args = [MAIN, ...words, '--root', domicile.root];
  const { code, stdout, stderr } = await promisify(execFile)(process.execPath, args).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error) => error as { code: number; stdout: string; stderr: string },
  );
  const json = stdout.startsWith('{') ? JSON.parse(stdout) : undefined;
  return { code, out: stdout, err: stderr, json };
}

test('a region without a backup says so, and that it is not safe', async () => {
  const list = await run('region', 'eu', 'backups', '--json');
  expect([list.code, list.json.backups]).toEqual([1, []]);
  const drill = await run('region', 'eu', 'drill', '--json');
  expect([drill.code, drill.json.verdict]).toEqual([1, 'findings']);
  expect(drill.json.findings[0].words).toContain('eu has no base backup');
  const { code, err } = await run('region', 'ue', 'drill');
  expect([code, err]).toEqual([1, expect.stringContaining('There is no region ue')]);
});

test('a backup and a drill of a region: contents, constraints, homes, policy and reads', async () => {
  const taken = await run('region', 'eu', 'backup', '--json');
  expect([taken.code, taken.json.usable]).toEqual([0, true]);
  // Written after the base backup, so only the log has them.
  const body = { id: 'late', displayName: 'Late', email: 'late@example.org', country: 'DE' };
  expect((await domicile.call('eu', 'POST', '/users', { body })).status).toBe(201);
  const { code, json } = await run('region', 'eu', 'drill', '--json');
  expect(json.findings).toEqual([]);
  expect([code, json.verdict]).toEqual([0, 'restorable']);
  const looked = new Map<string, number>(
    json.checks.map((check: { name: string; looked: number }) => [check.name, check.looked]),
  );
  for (const name of [
    'contents of all tables against the live primary',
    'isolation',
    'constraints',
    'indexes',
    'row homes',
    'catalogues against the policy in force',
  ]) {
    expect([name, looked.get(name)]).toEqual([name, expect.any(Number)]);
    expect(looked.get(name)).toBeGreaterThan(0);
  }
  // Six residents, three reads each, and the products.
  expect(looked.get('the app’s reads')).toBe(6 * 3 + 1);
  expect(json.backup.id).toBe(taken.json.id);
  expect(json.rpo.ms).toBeLessThan(10_000);
  expect(json.rto.ms).toBeGreaterThan(0);
  expect(await readdir(join(domicile.root, 'postgres', 'drills'))).toEqual([]);
  // The audit and the plan know the slot for what it is.
  const plan = await run('policy', 'plan', '--json');
  expect([plan.code, plan.err]).toEqual([0, '']);
});

test('a region is restored to a moment, for real: a folder that recovers when it is started', async () => {
  const orders = () =>
    domicile.sql('eu-a', async (sql) => {
      const [row] = await sql<{ count: string; at: string }[]>`
        select count(*)::text as count, clock_timestamp()::text as at from app.orders`;
      return row;
    });
  const before = await orders();
  await domicile.sql('eu-a', (sql) => sql`delete from app.order_items`);
  await domicile.sql('eu-a', (sql) => sql`delete from app.orders`);
  const into = join(domicile.root, 'postgres', 'restored');
  const until = before?.at.replace(' ', 'T').replace('+00', 'Z') ?? '';
  const { code, json, err } = await run(
    ...['region', 'eu', 'restore', '--to', into, '--until', until, '--json'],
  );
  expect([code, err]).toEqual([0, '']);
  expect(json.restored).toBe(true);
  const again = await run('region', 'eu', 'restore', '--to', into);
  expect([again.code, again.err]).toEqual([1, expect.stringContaining('is there already')]);
  // As the runbook says, with a port of its own instead of a node's.
  const [port = 0] = await freePorts(1);
  const user = serverUser(process.geteuid?.());
  await writeFile(
    join(into, 'postgresql.conf'),
    `listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nport = ${port}\nmax_wal_senders = 0\nhot_standby = off\n`,
  );
  const server = new ServerProcess({
    name: 'restored',
    dataDirectory: into,
    logFile: join(domicile.root, 'restored.log'),
    binaries: await findBinaries(user, () => {}),
    user,
    onExit: () => {},
  });
  await server.start();
  const pool = new LeasePool({
    endpoint: { ...domicile.clusters.superuser('eu-a'), port },
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: 5_000,
    settings: {},
  });
  try {
    const [row] = await pool.run(
      (sql) => sql<{ count: string }[]>`select count(*)::text as count from app.orders`,
      { timeoutMs: 10_000 },
    );
    expect(row?.count).toBe(before?.count);
    expect(Number(row?.count)).toBeGreaterThan(0);
  } finally {
    await pool.close({ timeoutMs: 1_000 });
    await server.stop();
  }
});

test('what somebody did to the rows and rules of a region by hand, a drill finds in its backup', async () => {
  const eu = domicile.catalogue.regions.get('eu')?.nodes[0]?.name ?? '';
  const as = (statement: string) => ask(domicile.clusters, eu, (sql) => sql(verbatim(statement)));
  await as('alter table app.orders no force row level security');
  await as('alter table app.orders disable trigger all');
  await as(`insert into domicile.residents (subject, key, jurisdiction, rule, policy_version)
    values ('nobody', '\\x00112233445566778899aabbccddeeff', 'eu', 'by hand', 1)`);
  // Past the rule for a moment, as a superuser can, and back again.
  await as(`do $$ declare rule text; begin
    select pg_get_constraintdef(oid) into rule from pg_constraint
      where conname = 'domicile_home' and conrelid = 'app.users'::regclass;
    alter table app.users drop constraint domicile_home;
    insert into app.users (id, display_name, email, country) values ('stray', 'S', 's@example.org', 'US');
    execute 'alter table app.users add constraint domicile_home ' || rule;
  end $$`);
  try {
    const { code, json } = await run('region', 'eu', 'drill', '--json');
    expect([code, json.verdict]).toEqual([1, 'findings']);
    const words = json.findings.map((finding: { words: string }) => finding.words).join('\n');
    expect(words).toContain('row security of app.orders differs');
    expect(words).toContain('which is not the keyed hash of the id');
    expect(words).toContain('constraint domicile_home of app.users does not hold');
    // It is the same on the live side, so its contents were restored well.
    expect(words).not.toContain('instead of');
  } finally {
    await as('alter table app.orders force row level security');
    await as('alter table app.orders enable trigger all');
    await as(`delete from domicile.residents where subject = 'nobody'`);
    await as(`delete from app.users where id = 'stray'`);
  }
});
