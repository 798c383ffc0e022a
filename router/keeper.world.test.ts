/** What a keeper does about a region's primary: real servers, real kills, clients that keep count. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KeeperRecord } from '../policies/keeper/record.ts';
import {
  type Answer,
  Client,
  COUNTRY_OF,
  eventually,
  LAMP,
  newUser,
  startTestDomicile,
  type TestDomicile,
} from './world-for-tests.ts';

let domicile: TestDomicile;
let client: Client;
let path: string;
let acknowledged = 0;

const keeper = async <T>(what: string): Promise<T> => {
  const url = domicile.catalogue.regions.get('eu')?.keeper?.url;
  return (await (await fetch(`${url}${what}`)).json()) as T;
};
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
  expect(await wellAgain()).toMatchObject({ primary: 'eu-b', standbys: ['eu-a'], timeline: 2 });
  await nextWrite();
});

test('a primary that freezes is replaced, and is made a standby when it thaws', async () => {
  domicile.clusters.kill('eu-b', 'SIGSTOP');
  await nextWrite();
  expect((await primary()).primary).toBe('eu-a');
  domicile.clusters.kill('eu-b', 'SIGCONT');
  expect(await wellAgain()).toMatchObject({ primary: 'eu-a', standbys: ['eu-b'], timeline: 3 });
  await nextWrite();
});

test('without its standby a primary goes on alone, says so, and takes it back', async () => {
  domicile.clusters.kill('eu-b', 'SIGSTOP');
  await nextWrite();
  expect(await primary()).toMatchObject({ primary: 'eu-a', standbys: [], pending: null });
  domicile.clusters.kill('eu-b', 'SIGCONT');
  expect(await wellAgain()).toMatchObject({ primary: 'eu-a', standbys: ['eu-b'], timeline: 3 });
});

test('a standby that is killed is started again, which is quicker than to do without it', async () => {
  const { version } = await primary();
  domicile.clusters.kill('eu-b', 'SIGKILL');
  await nextWrite();
  expect(await wellAgain()).toMatchObject({ primary: 'eu-a', standbys: ['eu-b'], version });
});

test('a switchover moves the primary while everything is well', async () => {
  const url = domicile.catalogue.regions.get('eu')?.keeper?.url;
  const token = domicile.clusters.password('orders to the keeper of eu');
  const response = await fetch(`${url}/orders/switchover`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}` },
    body: JSON.stringify({ by: 'a test' }),
  });
  expect(await response.json()).toEqual({ kind: 'done' });
  expect(await wellAgain()).toMatchObject({ primary: 'eu-b', standbys: ['eu-a'], timeline: 4 });
  await nextWrite();
});

test('nothing that was acknowledged is lost', async () => {
  const read = await client.call('eu', 'GET', `${path}/orders`);
  expect(decided(read)).toContain('serve;node=');
  expect(read.json.orders.length).toBeGreaterThanOrEqual(acknowledged);
});
