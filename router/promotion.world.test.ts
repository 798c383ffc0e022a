/** What edges and sessions do when a region's replica is promoted, by hand as yet. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Session } from '../policies/session.ts';
import {
  type Answer,
  Client,
  COUNTRY_OF,
  eventually,
  LAMP,
  newUser,
  problemOf,
  startTestDomicile,
  type TestDomicile,
  tokenOf,
  withRegion,
} from './world-for-tests.ts';

let domicile: TestDomicile;
/** A session from before the promotion, with an order. */
let client: Client;
let path: string;
let before: Session;
/** Where timeline 1 ended. */
let fork: bigint;

const decided = ({ headers }: Answer) => String(headers['domicile-decision']);
const strong = { headers: { 'domicile-consistency': 'strong' } };

function sessionOf(token: string | undefined): Session {
  const opened = domicile.tokens.open(token ?? '');
  if (opened.kind !== 'session') throw new Error(opened.kind);
  return opened.session;
}

const clientsOfOldPrimary = async () => {
  const [row] = await domicile.sql(
    'eu-a',
    (sql) => sql<{ n: bigint }[]>`
      select count(*) as n from pg_stat_activity
      where usename in ('domicile_reader', 'domicile_writer', 'domicile_abroad')`,
  );
  return Number(row?.n);
};

beforeAll(async () => {
  domicile = await startTestDomicile();
  client = new Client(domicile);
  const user = newUser(COUNTRY_OF.eu);
  path = `/users/${user.id}`;
  await client.call('eu', 'POST', '/users', user);
  await client.call('us', 'POST', `${path}/orders`, LAMP);
  before = sessionOf(client.token);
  expect((await domicile.call('eu', 'GET', path, strong)).status).toBe(200);
  expect(await clientsOfOldPrimary()).toBeGreaterThan(0);
  // The old primary goes on running, and nobody tells it.
  await domicile.sql('eu-b', async (sql) => {
    await sql`alter system set synchronous_standby_names = ''`;
    await sql`select pg_reload_conf()`;
    await sql`select pg_promote(true, 20)`;
  });
  const [row] = await domicile.sql(
    'eu-b',
    (sql) => sql<{ text: string }[]>`select pg_read_file('pg_wal/00000002.history') as text`,
  );
  const [, high = '0', low = '0'] = /^1\t([0-9A-F]+)\/([0-9A-F]+)/.exec(row?.text ?? '') ?? [];
  fork = (BigInt(`0x${high}`) << 32n) | BigInt(`0x${low}`);
  await eventually('the edge follows', async () =>
    decided(await domicile.call('eu', 'GET', path)).includes('node=eu-b;rung=primary'),
  );
});
afterAll(() => domicile?.remove());

test('the edge has left the old primary: no socket for reads or writes is open to it', async () => {
  await eventually('they are gone', async () => (await clientsOfOldPrimary()) === 0);
});

test('the other regions’ edges reach the new primary through it, with no change of settings', async () => {
  for (const edge of ['us', 'asia']) {
    expect(decided(await domicile.call(edge, 'GET', path))).toContain('node=eu-b;rung=primary');
  }
});

describe('a session from before', () => {
  test('whose writes were kept goes on as if nothing had happened', async () => {
    expect(before.floors.get('eu')?.[0]?.timeline).toBe(1);
    expect(before.floors.get('eu')?.[0]?.lsn).toBeLessThanOrEqual(fork);
    const read = await client.call('asia', 'GET', `${path}/orders`);
    expect([read.status, read.json.orders.length]).toEqual([200, 1]);
    const written = await client.call('us', 'POST', `${path}/orders`, LAMP);
    expect(written.status).toBe(201);
    expect(sessionOf(client.token).floors.get('eu')).toMatchObject([{ timeline: 2 }]);
    expect((await client.call('eu', 'GET', `${path}/orders`)).json.orders.length).toBe(2);
  });

  test.each([
    [0n, 200],
    [1n, 409],
  ])('that has seen the fork plus %s is answered %s', async (beyond, status) => {
    const token = domicile.tokens.seal({
      ...before,
      floors: new Map([
        ['eu', [{ ...before.floors.get('eu')?.[0], timeline: 1, lsn: fork + beyond } as never]],
      ]),
    });
    const read = await domicile.call('us', 'GET', path, { token });
    expect(read.status).toBe(status);
  });

  test('that has seen more is told what may be gone, for reads and writes, and goes on', async () => {
    const floor = before.floors.get('eu')?.[0];
    if (floor === undefined) throw new Error('a write raises the floor');
    const floors = new Map([['eu', [{ ...floor, lsn: fork + 0x100n }]]]);
    const token = domicile.tokens.seal({ ...before, floors });
    for (const [method, target] of [
      ['GET', path],
      ['POST', `${path}/orders`],
    ] as const) {
      const answer = await domicile.call('us', method, target, {
        token,
        ...(method === 'POST' && { body: LAMP }),
      });
      expect(problemOf(answer)).toEqual([409, 'session-guarantee-lost', 'after-change']);
      expect(answer.json.region).toBe('eu');
      expect(answer.json.lost).toMatchObject([{ timeline: 1 }]);
      const fresh = tokenOf(answer);
      expect(sessionOf(fresh).floors.get('eu')).toMatchObject([{ timeline: 2 }]);
      expect((await domicile.call('asia', 'GET', path, { token: fresh })).status).toBe(200);
    }
    expect((await client.call('eu', 'GET', `${path}/orders`)).json.orders.length).toBe(2);
  });
});

describe('the old primary, which nobody has told', () => {
  let besieged = '';
  beforeAll(async () => {
    const catalogue = withRegion(domicile.catalogue, 'eu', (region) => ({
      ...region,
      nodes: region.nodes.filter(({ name }) => name === 'eu-a'),
    }));
    besieged = (await domicile.startEdge({ region: 'eu', catalogue })).url;
  });

  test('still answers an edge that reaches no other, and who asks for nothing', async () => {
    const answer = await domicile.call(besieged, 'GET', path);
    expect([answer.status, decided(answer)]).toEqual([200, 'serve;node=eu-a;rung=primary']);
  });

  test('answers no strong read', async () => {
    const answer = await domicile.call(besieged, 'GET', path, strong);
    expect(problemOf(answer)).toEqual([503, 'primary-unconfirmed', 'safe']);
    expect(answer.ms).toBeLessThan(4_000);
  });

  test('acknowledges no write', async () => {
    const answer = await domicile.call(besieged, 'POST', `${path}/orders`, { body: LAMP });
    expect([503, 504]).toContain(answer.status);
    expect(answer.json.type).toMatch(/write-outcome-unknown|write-not-applied/);
  });

  test('shows a session of the new timeline nothing', async () => {
    const answer = await domicile.call(besieged, 'GET', path, { token: client.token });
    expect(problemOf(answer)).toEqual([503, 'session-floor-unmet', 'safe']);
    expect(answer.json.passedOver).toEqual([{ node: 'eu-a', because: 'older_timeline' }]);
  });
});

test('a primary without a standby proves nothing, and says so', async () => {
  const answer = await domicile.call('us', 'GET', path, strong);
  expect(problemOf(answer)).toEqual([503, 'strong-unprovable', 'after-change']);
});
