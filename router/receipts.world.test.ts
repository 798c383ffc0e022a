import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { verbatim } from '../regions/postgres.ts';
import { type Ask, checkReceiptChain } from './receipt-chain.ts';
import {
  eventually,
  LAMP,
  newId,
  newUser,
  REGIONS,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
  tablesWith,
  withRegion,
} from './world-for-tests.ts';

let domicile: TestDomicile;
beforeAll(async () => {
  domicile = await startTestDomicile();
});
afterAll(() => domicile?.remove());

type Receipt = {
  kind: string;
  times: number;
  policy: number;
  rule: string | null;
  jurisdiction: string | null;
  from_region: string | null;
  to_region: string | null;
  reason: string | null;
  route: string | null;
  edge: string;
};

function receiptsAt(node: string, where: string): Promise<Receipt[]> {
  return domicile.sql(
    node,
    (sql) =>
      sql(
        verbatim(`select kind, times, policy, rule, jurisdiction, from_region, to_region, reason,
          route, edge from domicile.receipts where ${where} order by id`),
      ) as unknown as Promise<Receipt[]>,
  );
}

const about = (user: string) => `subject = '\\x${domicile.keyOf(user).toString('hex')}'`;
const asker =
  (node: string): Ask =>
  (query) =>
    domicile.sql(node, query);

const chainOfEu = () =>
  checkReceiptChain({
    region: 'eu',
    home: asker('eu-a'),
    witnesses: new Map([
      ['us', asker('us-a')],
      ['asia', asker('asia-a')],
    ]),
    retentionMs: 365 * 86_400_000,
  });

/** Until eu has sealed what it has and the others have seen it. */
async function settled(): Promise<string> {
  let head = '';
  await eventually('all receipts of eu are sealed and known abroad', async () => {
    const report = await chainOfEu();
    const [due] = await domicile.sql(
      'eu-a',
      (sql) => sql<{ due: number }[]>`select count(*)::int as due from domicile.receipts_due`,
    );
    const [last] = await domicile.sql(
      'asia-a',
      (sql) => sql<{ seq: string }[]>`select seq from domicile.anchors where region = 'eu'`,
    );
    head = report.head?.seal ?? '';
    return due?.due === 0 && last?.seq === head;
  });
  return head;
}

test('a placement leaves its receipt at home, with rule, law and way, wherever it was asked for', async () => {
  const here = newUser('DE');
  const abroad = newUser('DE');
  expect((await domicile.call('eu', 'POST', '/users', { body: here })).status).toBe(201);
  expect((await domicile.call('us', 'POST', '/users', { body: abroad })).status).toBe(201);
  const receipt = {
    kind: 'place',
    times: 1,
    policy: 1,
    rule: 'europe',
    jurisdiction: 'europe',
    from_region: null,
    to_region: 'eu',
    reason: null,
    route: '/users',
    edge: 'edge-eu',
  };
  // No waiting: it is there when the answer is.
  expect(await receiptsAt('eu-a', about(here.id))).toEqual([receipt]);
  expect(await receiptsAt('eu-a', about(abroad.id))).toEqual([{ ...receipt, from_region: 'us' }]);
  expect(await receiptsAt('us-a', about(abroad.id))).toEqual([]);
});

test('a creation that fails leaves no receipt of a placement', async () => {
  const user = { ...newUser('DE'), email: 'taken@mail.example' };
  const body = { ...newUser('DE'), email: 'taken@mail.example', id: user.id };
  expect((await domicile.call('eu', 'POST', '/users', { body: user })).status).toBe(201);
  expect((await domicile.call('eu', 'POST', '/users', { body })).status).toBe(409);
  expect(await receiptsAt('eu-a', about(user.id))).toHaveLength(1);
});

test('a refusal for a reason of residency leaves a receipt, others do not', async () => {
  const odd = newUser('ZZ');
  const asking = { ...newUser('DE'), home: 'us' };
  expect((await domicile.call('asia', 'POST', '/users', { body: odd })).status).toBe(422);
  expect((await domicile.call('asia', 'POST', '/users', { body: asking })).status).toBe(403);
  expect((await domicile.call('asia', 'GET', `/users/${newId()}/orders`)).status).toBe(404);
  expect((await domicile.call('asia', 'POST', '/users', { body: '{' })).status).toBe(400);
  await eventually('both are written', async () => {
    return (await receiptsAt('asia-a', 'true')).length >= 2;
  });
  const blank = { kind: 'refuse', times: 1, policy: 1, from_region: null, edge: 'edge-asia' };
  expect(await receiptsAt('asia-a', 'true')).toEqual([
    {
      ...blank,
      rule: null,
      jurisdiction: null,
      to_region: null,
      reason: 'unknown-country',
      route: '/users',
    },
    {
      ...blank,
      rule: 'europe',
      jurisdiction: 'europe',
      to_region: 'eu',
      reason: 'home-not-yours-to-choose',
      route: '/users',
    },
  ]);
});

test('a home that does not answer leaves a receipt with the edge that refused', async () => {
  const user = newUser('DE');
  expect((await domicile.call('eu', 'POST', '/users', { body: user })).status).toBe(201);
  const cut = await domicile.startEdge({
    region: 'us',
    catalogue: withRegion(domicile.catalogue, 'eu', (eu) => ({
      ...eu,
      edges: eu.edges.map(({ name }) => ({ name, url: 'http://127.0.0.1:9' })),
    })),
  });
  await eventually('us knows the home', async () => {
    const answer = await domicile.call(cut.url, 'GET', `/users/${user.id}/orders`);
    return answer.json?.type === '/docs/problems.md#residency-unavailable';
  });
  await eventually('the receipt is written', async () => {
    const found = await receiptsAt(
      'us-a',
      `${about(user.id)} and reason = 'residency-unavailable'`,
    );
    return (
      found[0]?.route === '/users/:user/orders' &&
      found[0].to_region === 'eu' &&
      found[0].from_region === null
    );
  });
});

test('no byte of a chain says who it is about', async () => {
  const canary = newId('canary');
  const user = newUser('DE', canary);
  expect((await domicile.call('us', 'POST', '/users', { body: user })).status).toBe(201);
  const refused = { ...newUser('DE', newId('canary')), displayName: canary, home: 'us' };
  expect((await domicile.call('eu', 'POST', '/users', { body: refused })).status).toBe(403);
  await settled();
  expect(await tablesWith(domicile, 'eu-a', canary)).toContain('app.users');
  const chain = /^domicile\.(receipt|anchor)/;
  expect((await tablesWith(domicile, 'eu-a', canary)).filter((name) => chain.test(name))).toEqual(
    [],
  );
  const bytesOf = async (table: string) => {
    const [row] = await domicile.sql(
      'eu-a',
      (sql) => sql<{ bytes: Buffer }[]>`
        select pg_read_binary_file(pg_relation_filepath(${table}::regclass)) as bytes`,
    );
    return row?.bytes.toString('latin1') ?? '';
  };
  await domicile.sql('eu-a', (sql) => sql`checkpoint`);
  expect(await bytesOf('app.users')).toContain(canary);
  const tables = ['receipts', 'receipts_due', 'receipt_seals', 'receipt_senders', 'anchors'];
  for (const table of [...tables, 'anchors_seen']) {
    expect(await bytesOf(`domicile.${table}`)).not.toContain(canary);
  }
  expect(await bytesOf('domicile.receipts')).toContain('europe');
});

test('edges seal, the other regions remember, and nobody can make them forget', async () => {
  await domicile.call('eu', 'POST', '/users', { body: newUser('DE') });
  const head = await settled();
  expect(await chainOfEu()).toMatchObject({ findings: [], silent: [], head: { seal: head } });
  // The row goes from the airlock and the peers as well; what they have seen stays.
  await domicile.sql('eu-a', (sql) => sql`delete from domicile.anchors where region = 'eu'`);
  await eventually('it is gone in asia', async () => {
    const rows = await domicile.sql(
      'asia-a',
      (sql) => sql`select from domicile.anchors where region = 'eu'`,
    );
    return rows.length === 0;
  });
  await domicile.call('eu', 'POST', '/users', { body: newUser('DE') });
  const next = await settled();
  expect(BigInt(next)).toBeGreaterThan(BigInt(head));
  const report = await chainOfEu();
  expect(report.findings).toEqual([]);
  expect(report.witnesses.map(({ region }) => region)).toEqual(['eu', 'us', 'asia']);
  for (const { heads } of report.witnesses) expect(heads).toBeGreaterThan(1);
});

test('a tail that eu cuts off is missed by us and asia', async () => {
  await domicile.call('eu', 'POST', '/users', { body: newUser('DE') });
  const head = await settled();
  const cut = [
    'alter table domicile.receipts disable trigger all',
    'alter table domicile.receipt_seals disable trigger all',
    'alter table domicile.anchors_seen disable trigger all',
    `delete from domicile.receipts
     where id in (select unnest(ids) from domicile.receipt_seals where seq = ${head})`,
    `delete from domicile.receipt_seals where seq = ${head}`,
    `delete from domicile.anchors_seen where region = 'eu' and seq = ${head}`,
  ];
  await domicile.sql('eu-a', async (sql) => {
    for (const statement of cut) await sql(verbatim(statement));
  });
  expect((await chainOfEu()).findings).toEqual(
    ['us', 'asia'].map((witness) => ({
      kind: 'tail-cut',
      witness,
      remembered: head,
      head: String(Number(head) - 1),
    })),
  );
});

test('what is kept follows the policy in force: a request from abroad leaves one when it says so', async () => {
  const before = newUser('DE');
  expect((await domicile.call('eu', 'POST', '/users', { body: before })).status).toBe(201);
  const orders = `/users/${before.id}/orders`;
  expect((await domicile.call('us', 'GET', orders)).status).toBe(200);
  const document = parseDocument(
    await readFile(join(dirname(STOREFRONT), 'residency.yaml'), 'utf8'),
  );
  document.setIn(['version'], 2);
  document.setIn(['receipts'], { keep: ['forward'] });
  const text = String(document);
  const sha256 = createHash('sha256').update(text).digest('hex');
  for (const region of REGIONS) {
    await domicile.sql(
      `${region}-a`,
      (sql) => sql`
        insert into domicile.policies (version, text, sha256, because, effective, applied_by)
        values (2, ${text}, ${sha256}, 'for a test', '2026-11-01', 'a test')`,
    );
  }
  for (const region of REGIONS) {
    await domicile.sql(
      `${region}-a`,
      (sql) => sql`update domicile.policies set in_force_at = now() where version = 2`,
    );
  }
  await eventually('version 2 is in force', async () => {
    const answers = await Promise.all(REGIONS.map((region) => domicile.call(region, 'GET', '/')));
    return answers.every(({ headers }) => headers['domicile-policy'] === '2');
  });
  const unkept = newUser('DE');
  expect((await domicile.call('eu', 'POST', '/users', { body: unkept })).status).toBe(201);
  expect(await receiptsAt('eu-a', about(unkept.id))).toEqual([]);
  for (let i = 0; i < 2; i++) expect((await domicile.call('us', 'GET', orders)).status).toBe(200);
  expect((await domicile.call('us', 'POST', orders, { body: LAMP })).status).toBe(201);
  const forwards = () => receiptsAt('eu-a', `${about(before.id)} and kind = 'forward'`);
  const times = async () => (await forwards()).reduce((sum, { times }) => sum + times, 0);
  await eventually('the three are written', async () => (await times()) >= 3);
  // Not the one under version 1, which keeps none.
  expect(await times()).toBe(3);
  expect((await forwards())[0]).toMatchObject({
    from_region: 'us',
    to_region: 'eu',
    policy: 2,
    route: '/users/:user/orders',
  });
});
