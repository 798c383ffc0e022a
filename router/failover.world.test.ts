/** What clients are told when a primary dies, is replaced by hand, and its successor runs alone. */
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Answer,
  COUNTRY_OF,
  eventually,
  LAMP,
  newId,
  newUser,
  problemOf,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
} from './world-for-tests.ts';

let domicile: TestDomicile;
let path: string;
let user: string;

/** What eu's keeper would answer, and how often it was asked. */
let keeper: Server;
let asked = 0;
const ALONE = {
  region: 'eu',
  version: 2,
  primary: 'eu-b',
  timeline: 2,
  standbys: [],
  pending: null,
};
let answerOfKeeper: (answer: ServerResponse) => void = (answer) =>
  void answer.end(JSON.stringify(ALONE));

const strong = { headers: { 'domicile-consistency': 'strong' } };
const durability = ({ headers }: Answer) => headers['domicile-durability'];
const order = (edge: string, key: string): Promise<Answer> =>
  domicile.call(edge, 'POST', `${path}/orders`, {
    body: LAMP,
    headers: { 'idempotency-key': key },
  });
const kindOf = ({ json }: Answer) => json?.type?.replace('/docs/problems.md#', '');

const healthOf = async (edge: string) =>
  (await domicile.call(edge, 'GET', '/.domicile/health')).json;

async function ordersAt(node: string): Promise<string[]> {
  const rows = await domicile.sql(
    node,
    (sql) => sql<{ id: string }[]>`select id::text from app.orders where user_id = ${user}`,
  );
  return rows.map(({ id }) => id);
}

async function promote(node: string): Promise<void> {
  await domicile.sql(node, async (sql) => {
    await sql`alter system set synchronous_standby_names = ''`;
    await sql`alter system set synchronized_standby_slots = ''`;
    await sql`select pg_reload_conf()`;
    await sql`select pg_promote(true, 20)`;
  });
}

beforeAll(async () => {
  domicile = await startTestDomicile();
  const { port } = new URL(domicile.catalogue.regions.get('eu')?.keeper?.url ?? '');
  keeper = createServer((_, answer) => {
    asked++;
    answerOfKeeper(answer);
  });
  await once(keeper.listen(Number(port), '127.0.0.1'), 'listening');
  const newcomer = newUser(COUNTRY_OF.eu);
  user = newcomer.id;
  path = `/users/${user}`;
  expect((await domicile.call('eu', 'POST', '/users', { body: newcomer })).status).toBe(201);
});
afterAll(async () => {
  keeper?.closeAllConnections();
  keeper?.close();
  await domicile?.remove();
});

test('with a standby, answers to writes say replicated, at whatever edge', async () => {
  for (const edge of REGIONS) {
    const written = await domicile.call(edge, 'POST', `${path}/orders`, { body: LAMP });
    expect([written.status, durability(written)]).toEqual([201, 'replicated']);
  }
  expect(durability(await domicile.call('eu', 'GET', path))).toBeUndefined();
  expect((await healthOf('eu')).durability).toBe('replicated');
});

describe('a primary that is killed while commits wait for its standby', () => {
  const keys = Array.from({ length: 12 }, () => newId('key'));
  let first: Answer[];
  let waited: Answer[];
  let before: string[];
  let followedMs: number;

  beforeAll(async () => {
    before = await ordersAt('eu-a');
    // What is written reaches the standby's socket at best.
    domicile.clusters.kill('eu-b', 'SIGSTOP');
    const inFlight = keys.map((key, n) => order(REGIONS[n % 3] ?? 'eu', key));
    await eventually('commits wait', async () => {
      const [row] = await domicile.sql(
        'eu-a',
        (sql) => sql<{ n: number }[]>`
          select count(*)::int as n from pg_stat_activity where wait_event = 'SyncRep'`,
      );
      return (row?.n ?? 0) >= 5;
    });
    domicile.clusters.kill('eu-a', 'SIGKILL');
    domicile.clusters.kill('eu-b', 'SIGCONT');
    const later = REGIONS.map((edge) =>
      domicile.call(edge, 'POST', `${path}/orders`, { body: LAMP }),
    );
    await promote('eu-b');
    const promotedAtMs = performance.now();
    await eventually('the edge follows', async () => {
      const { nodes } = await healthOf('eu');
      return nodes.some(
        ({ node, role }: { node: string; role: string }) => node === 'eu-b' && role === 'primary',
      );
    });
    followedMs = performance.now() - promotedAtMs;
    first = await Promise.all(inFlight);
    waited = await Promise.all(later);
  });

  test('is followed by the edge soon', () => {
    // A quarter of a second between two looks; the rest is for a machine with much else to do.
    expect(followedMs).toBeLessThan(3_000);
  });

  test('says of those in flight no more than anybody can know', async () => {
    for (const answer of first) {
      if (answer.status === 201) continue;
      expect([
        'write-outcome-unknown',
        'write-not-applied',
        'region-unavailable',
        'idempotency-key-in-flight',
      ]).toContain(kindOf(answer));
    }
    expect(first.map(kindOf)).toContain('write-outcome-unknown');
    const stored = new Set(await ordersAt('eu-b'));
    for (const { status, json } of first) if (status === 201) expect(stored).toContain(json.id);
  });

  test('lets those that came afterwards wait for the next one', () => {
    expect(waited.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect(waited.map(durability)).toEqual(['alone', 'alone', 'alone']);
  });

  test('has each of them done once when it is asked again at another edge', async () => {
    const again: Answer[] = [];
    for (const [n, key] of keys.entries()) {
      await eventually('an answer', async () => {
        const answer = await order(REGIONS[(n + 1) % 3] ?? 'eu', key);
        again[n] = answer;
        return answer.status === 201;
      });
    }
    for (const [n, key] of keys.entries()) {
      const replay = await order(REGIONS[(n + 2) % 3] ?? 'eu', key);
      expect([replay.status, replay.text]).toEqual([201, again[n]?.text]);
      expect(replay.headers['idempotency-replayed']).toBe('true');
      if (first[n]?.status === 201) expect(replay.text).toBe(first[n]?.text);
    }
    const expected = [
      ...before,
      ...waited.map(({ json }) => json.id),
      ...again.map(({ json }) => json.id),
    ];
    expect((await ordersAt('eu-b')).sort()).toEqual(expected.sort());
  });
});

describe('a primary that runs alone', () => {
  test('says so in answers to writes and to whoever asks for its health', async () => {
    expect(durability(await order('us', newId('key')))).toBe('alone');
    expect((await healthOf('eu')).durability).toBe('alone');
  });

  test('serves sessions what its standby had shown them', async () => {
    expect((await domicile.call('eu', 'GET', path)).status).toBe(200);
  });

  test('proves a strong read by its keeper’s record, asked after the read', async () => {
    const askedBefore = asked;
    for (const edge of REGIONS)
      expect((await domicile.call(edge, 'GET', path, strong)).status).toBe(200);
    expect(asked).toBeGreaterThanOrEqual(askedBefore + 3);
  });

  test('many strong reads share a question', async () => {
    const askedBefore = asked;
    const reads = await Promise.all(
      Array.from({ length: 40 }, () => domicile.call('eu', 'GET', path, strong)),
    );
    expect(reads.map(({ status }) => status)).toEqual(reads.map(() => 200));
    expect(asked - askedBefore).toBeLessThan(reads.length / 2);
  });

  test.each([
    ['another primary', { primary: 'eu-a' }],
    ['another timeline', { timeline: 3 }],
    ['a standby that may be promoted', { standbys: ['eu-a'] }],
    ['something about to be done', { pending: { kind: 'promote' } }],
  ])('proves nothing where the record names %s', async (_, change) => {
    const right = answerOfKeeper;
    answerOfKeeper = (answer) => void answer.end(JSON.stringify({ ...ALONE, ...change }));
    const answer = await domicile.call('eu', 'GET', path, strong);
    answerOfKeeper = right;
    expect(problemOf(answer)).toEqual([503, 'primary-unconfirmed', 'safe']);
  });

  test.each<[string, (answer: ServerResponse) => void]>([
    ['says nothing', () => {}],
    ['hangs up', (answer) => void answer.destroy()],
    ['fails', (answer) => void answer.writeHead(500).end()],
    [
      'speaks of another region',
      (answer) => void answer.end(JSON.stringify({ ...ALONE, region: 'us' })),
    ],
    [
      'does not say what it is about to do',
      (answer) => {
        const { pending: _, ...rest } = ALONE;
        answer.end(JSON.stringify(rest));
      },
    ],
  ])('proves nothing where the keeper %s', async (_, says) => {
    const right = answerOfKeeper;
    answerOfKeeper = says;
    const answer = await domicile.call('eu', 'GET', path, strong);
    answerOfKeeper = right;
    expect([503, 504]).toContain(answer.status);
    expect(['strong-unprovable', 'primary-unconfirmed']).toContain(kindOf(answer));
    expect(answer.ms).toBeLessThan(4_000);
  });
});

describe('a region without any primary', () => {
  test('lets requests wait at first, and refuses them at once when it lasts', async () => {
    domicile.clusters.kill('eu-b', 'SIGKILL');
    const first = await domicile.call('eu', 'POST', `${path}/orders`, { body: LAMP });
    expect([503, 504]).toContain(first.status);
    expect(['safe', 'same-key-only']).toContain(first.json.retry);
    expect(first.ms).toBeGreaterThan(1_000);
    expect(first.ms).toBeLessThan(4_000);
    let last = first;
    await eventually('it is told at once', async () => {
      last = await domicile.call('eu', 'POST', `${path}/orders`, { body: LAMP });
      return last.ms < 500;
    });
    expect(problemOf(last)).toEqual([503, 'region-unavailable', 'safe']);
    for (const [edge, level] of [
      ['us', 'strong'],
      ['asia', 'session'],
    ] as const) {
      const headers = { 'domicile-consistency': level };
      const read = await domicile.call(edge, 'GET', path, { headers });
      expect(problemOf(read)).toEqual([503, 'region-unavailable', 'safe']);
      // Long before its budget is used up.
      expect(read.ms).toBeLessThan(1_500);
    }
  });

  test('takes them again when one is back', async () => {
    await domicile.clusters.start('eu-b');
    await eventually('a write', async () => (await order('us', newId('key'))).status === 201);
  });
});
