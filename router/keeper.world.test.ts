/** What a keeper does about a region's primary: real servers, real kills, clients that keep count. */
import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { placeKeptFor, publicationTo } from '../policies/desired-state.ts';
import type { KeeperRecord } from '../policies/keeper/record.ts';
import { freePorts } from '../regions/local/ports.ts';
import { placeOf } from './keeper/feeds-for-tests.ts';
import { keeperToken } from './password-names.ts';
import { catalogueText } from './world.ts';
import {
  type Answer,
  Client,
  COUNTRY_OF,
  domicile as command,
  eventually,
  LAMP,
  newUser,
  problemOf,
  startTestDomicile,
  type TestDomicile,
  withRegion,
} from './world-for-tests.ts';

let domicile: TestDomicile;
let client: Client;
let path: string;
let acknowledged = 0;

const keeper = async <T>(what: string): Promise<T> => {
  const url = domicile.catalogue.regions.get('eu')?.keeper?.url;
  return (await (await fetch(`${url}${what}`)).json()) as T;
};
async function order(name: string, body: object): Promise<unknown> {
  const url = domicile.catalogue.regions.get('eu')?.keeper?.url;
  const token = domicile.clusters.password(keeperToken('eu'));
  const response = await fetch(`${url}/orders/${name}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  });
  return response.json();
}
const primary = () => keeper<KeeperRecord>('/primary');
const decided = ({ headers }: Answer) => String(headers['domicile-decision']);

/** Until a write is acknowledged again. */
async function nextWrite(): Promise<void> {
  await eventually('a write is acknowledged', async () => {
    const answer = await client.call('us', 'POST', `${path}/orders`, LAMP);
    if (answer.status === 201) acknowledged++;
    return answer.status === 201;
  });
}

/** What this primary of eu writes is mirrored in both other regions: its pulses are. */
async function pulsesArrive(): Promise<void> {
  const { timeline } = await primary();
  for (const node of ['us-a', 'asia-a']) {
    await eventually(`a pulse of timeline ${timeline} is in ${node}`, async () => {
      const rows = await domicile.sql(
        node,
        (sql) => sql<{ timeline: number; old: boolean }[]>`
          select timeline, at < clock_timestamp() - interval '3 seconds' as old
          from domicile.pulses where region = 'eu'`,
      );
      return rows[0]?.timeline === timeline && !rows[0].old;
    });
  }
}

/** Why the last primary was deposed. */
async function lastReason(): Promise<string> {
  const history = await keeper<KeeperRecord[]>('/history');
  const last = history.findLast(({ event }) => event.kind === 'deposed');
  return last?.event.kind === 'deposed' ? last.event.because : '';
}

async function wellAgain(): Promise<KeeperRecord> {
  let record: KeeperRecord | undefined;
  await eventually('a standby is admitted', async () => {
    record = await primary();
    return record.pending === null && record.standbys.length === 1;
  });
  return record as KeeperRecord;
}

beforeAll(async () => {
  domicile = await startTestDomicile({ keepers: true });
  client = new Client(domicile);
  const user = newUser(COUNTRY_OF.eu);
  path = `/users/${user.id}`;
  await client.call('eu', 'POST', '/users', user);
  await nextWrite();
});
afterAll(() => domicile?.remove());

test('it finds the primary and whom commits wait for', async () => {
  expect(await wellAgain()).toMatchObject({ region: 'eu', primary: 'eu-a', standbys: ['eu-b'] });
});

test('a primary that is killed is replaced by the standby, and comes back as one', async () => {
  domicile.clusters.kill('eu-a', 'SIGKILL');
  await nextWrite();
  expect((await primary()).primary).toBe('eu-b');
  expect(await lastReason()).toContain('nobody listens at its address');
  expect(await wellAgain()).toMatchObject({ primary: 'eu-b', standbys: ['eu-a'], timeline: 2 });
  await nextWrite();
  await pulsesArrive();
});

test('a primary that freezes is replaced, and is made a standby when it thaws', async () => {
  domicile.clusters.kill('eu-b', 'SIGSTOP');
  await nextWrite();
  expect((await primary()).primary).toBe('eu-a');
  expect(await lastReason()).toContain('it takes connections and answers nothing');
  domicile.clusters.kill('eu-b', 'SIGCONT');
  expect(await wellAgain()).toMatchObject({ primary: 'eu-a', standbys: ['eu-b'], timeline: 3 });
  await nextWrite();
  await pulsesArrive();
});

test('without its standby a primary goes on alone, says so, and takes it back', async () => {
  domicile.clusters.kill('eu-b', 'SIGSTOP');
  await nextWrite();
  expect(await primary()).toMatchObject({ primary: 'eu-a', standbys: [], pending: null });
  // No commit proves anything now; the keeper's record does.
  await eventually('a strong read is proved', async () => {
    const headers = { 'domicile-consistency': 'strong' };
    return (await domicile.call('us', 'GET', path, { headers })).status === 200;
  });
  const written = await client.call('us', 'POST', `${path}/orders`, LAMP);
  expect([written.status, written.headers['domicile-durability']]).toEqual([201, 'alone']);
  acknowledged++;
  domicile.clusters.kill('eu-b', 'SIGCONT');
  expect(await wellAgain()).toMatchObject({ primary: 'eu-a', standbys: ['eu-b'], timeline: 3 });
});

test('a standby that is killed is started again, before or soon after it is done without', async () => {
  const { version, timeline } = await primary();
  domicile.clusters.kill('eu-b', 'SIGKILL');
  await nextWrite();
  expect(await wellAgain()).toMatchObject({ primary: 'eu-a', standbys: ['eu-b'], timeline });
  const history = await keeper<KeeperRecord[]>('/history');
  const since = history.filter((record) => record.version > version).map(({ event }) => event.kind);
  // A machine that takes seconds to start a server sees it done without for as long.
  expect([[], ['alone', 'admitted']]).toContainEqual(since);
});

test('a switchover moves the primary while everything is well', async () => {
  expect(await order('switchover', { by: 'a test' })).toEqual({ kind: 'done' });
  expect(await wellAgain()).toMatchObject({ primary: 'eu-b', standbys: ['eu-a'], timeline: 4 });
  await nextWrite();
  await pulsesArrive();
});

test('a peer is sent back to where the new primary is, whatever the old one has confirmed there', async () => {
  const { primary: old, standbys } = await wellAgain();
  const [heir = ''] = standbys;
  const placeAt = async (slot: string) => (await placeOf(domicile, 'asia-x', slot)).bytes;
  const user = newUser(COUNTRY_OF.asia);
  expect((await domicile.call('asia', 'POST', '/users', { body: user })).status).toBe(201);
  const named = (name: string, node: string) =>
    eventually(`${node} has ${name}`, async () => {
      const rows = await domicile.sql(
        node,
        (sql) =>
          sql`select from mirror_asia.users where id = ${user.id} and display_name = ${name}`,
      );
      return rows.length === 1;
    });
  await named(user.displayName, heir);
  await eventually('a place is kept', async () => (await placeAt(placeKeptFor('eu'))) > 0n);
  const before = await placeAt(placeKeptFor('eu'));
  await eventually('it moves', async () => (await placeAt(placeKeptFor('eu'))) > before);

  const running = domicile.world.keepers.get('eu');
  running?.kill('SIGSTOP');
  domicile.clusters.kill(old, 'SIGSTOP');
  await domicile.sql(
    'asia-a',
    (sql) => sql`update app.users set display_name = 'Renamed' where id = ${user.id}`,
  );
  await named('Renamed', 'asia-x');
  // As an apply worker does whose postmaster is gone: router/keeper/feeds.world.test.ts.
  await eventually('the change is confirmed', async () => {
    await domicile.sql(
      'asia-x',
      (sql) => sql`
        select case when active then pg_terminate_backend(active_pid)
          else pg_replication_slot_advance(slot_name, pg_current_wal_flush_lsn()) is not null end
        from pg_replication_slots where slot_name = ${publicationTo('eu')}`,
    );
    return (await placeAt(publicationTo('eu'))) > (await placeAt(placeKeptFor('eu')));
  });
  expect((await placeOf(domicile, 'asia-x', publicationTo('eu'))).active).toBe(false);
  running?.kill('SIGCONT');
  await nextWrite();
  expect((await primary()).primary).toBe(heir);
  await named('Renamed', heir);
  domicile.clusters.kill(old, 'SIGCONT');
});

test('a primary that ran alone has no lawful heir: somebody must answer for the loss', async () => {
  const { primary: old, standbys, timeline } = await wellAgain();
  const [stale = ''] = standbys;
  domicile.clusters.kill(stale, 'SIGSTOP');
  // Or it would find in its socket what was sent to it while it slept.
  await domicile.sql(old, (sql) => sql`select pg_terminate_backend(pid) from pg_stat_replication`);
  await nextWrite();
  expect(await primary()).toMatchObject({ primary: old, standbys: [] });
  const last = client.token;
  domicile.clusters.kill(old, 'SIGSTOP');
  domicile.clusters.kill(stale, 'SIGCONT');
  await eventually('the keeper says why it does nothing', async () => {
    const { why } = await keeper<{ why?: string }>('/status');
    return why?.startsWith('it ran alone') === true;
  });
  const status = await command(['region', 'eu', 'status', '--root', domicile.root], {});
  expect(status.status).toBe(1);
  expect(status.stdout).toContain(`eu: ${old} is the primary, on timeline ${timeline}; commits`);
  expect(status.stdout).toContain('It runs alone');
  const refused = await command(['region', 'eu', 'promote', stale, '--root', domicile.root], {});
  expect([refused.status, refused.stdout]).toEqual([1, expect.stringContaining('--accept-loss')]);
  expect((await primary()).primary).toBe(old);

  const words = ['--accept-loss', '--why', 'the machine is lost', '--by', 'an operator'];
  const done = await command(
    ['region', 'eu', 'promote', stale, ...words, '--root', domicile.root],
    {},
  );
  expect([done.status, done.stdout]).toEqual([
    0,
    expect.stringContaining(`${stale} is the primary`),
  ]);
  expect(done.stdout).toContain('Fill them anew:  domicile policy apply');
  const told = await domicile.call('us', 'GET', `${path}/orders`, { token: last });
  expect(problemOf(told)).toEqual([409, 'session-guarantee-lost', 'after-change']);
  client.token = undefined;
  acknowledged = 0;
  await nextWrite();
  // What it had is kept for a person to look through.
  domicile.clusters.kill(old, 'SIGCONT');
  expect(await wellAgain()).toMatchObject({ primary: stale, standbys: [old] });
  const folder = join(domicile.clusters.dataDirectory(old), '..');
  expect((await readdir(folder)).filter((name) => name.startsWith('kept-')).length).toBe(1);
  const history = await command(['region', 'eu', 'history', '--root', domicile.root], {});
  expect(history.stdout).toContain('an operator accepts what is lost: the machine is lost');
  expect(history.stdout).toContain(
    'mirrors of us and asia may lack what was lost, and stand still',
  );
});

describe('a keeper', () => {
  test.each([0, 450, 600, 800])(
    'that is killed %i ms after its primary goes on where it was when it is started again',
    async (afterMs) => {
      const { primary: old, timeline } = await wellAgain();
      domicile.clusters.kill(old, 'SIGKILL');
      await pause(afterMs);
      const running = domicile.world.keepers.get('eu');
      running?.kill('SIGKILL');
      await running?.ended;
      await domicile.world.startKeeper('eu');
      await nextWrite();
      const record = await wellAgain();
      // Started again before it was known to be gone, or replaced: either way exactly once.
      expect([timeline, timeline + 1]).toContain(record.timeline);
      expect(record.primary === old).toBe(record.timeline === timeline);
    },
  );

  test('is alone in its office: a second one on the same record is refused', async () => {
    const [port = 0] = await freePorts(1);
    const catalogue = withRegion(domicile.catalogue, 'eu', (region) => ({
      ...region,
      keeper: { url: `http://127.0.0.1:${port}` },
    }));
    const regions = join(domicile.root, 'run', 'regions-of-another-keeper.yaml');
    await writeFile(regions, catalogueText(catalogue));
    const record = join(domicile.root, 'keepers', 'eu');
    const args = ['keeper', '--region', 'eu', '--record', record, '--regions', regions];
    const ran = await command(args, {
      DOMICILE_KEEPER_PASSWORD: 'none',
      DOMICILE_OPERATOR_TOKEN: 'none',
    });
    expect([ran.status, ran.stderr]).toEqual([
      1,
      expect.stringContaining('The keeper of eu is process'),
    ]);
  });

  test('gives no order to who has no token, and says what is wrong with an order', async () => {
    const url = `${domicile.catalogue.regions.get('eu')?.keeper?.url}/orders/switchover`;
    const { version } = await primary();
    const stranger = await fetch(url, { method: 'POST', body: '{"by":"somebody"}' });
    expect([stranger.status, ((await stranger.json()) as { kind: string }).kind]).toEqual([
      403,
      'refused',
    ]);
    expect(await order('switchover', { to: 'us-a', by: 'a test' })).toMatchObject({
      kind: 'refused',
      why: expect.stringContaining('commits do not wait for us-a'),
    });
    expect(await order('switchover', { until: 'tomorrow' })).toMatchObject({ kind: 'refused' });
    expect(await order('promote', { node: 'eu-a', by: 'a test' })).toMatchObject({
      kind: 'refused',
    });
    expect((await primary()).version).toBe(version);
  });
});

test('nothing that was acknowledged is lost', async () => {
  const read = await client.call('eu', 'GET', `${path}/orders`);
  expect(decided(read)).toContain('serve;node=');
  expect(read.json.orders.length).toBeGreaterThanOrEqual(acknowledged);
});
