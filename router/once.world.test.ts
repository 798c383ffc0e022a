import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verbatim } from '../regions/postgres.ts';
import { startWire, type Wire } from '../regions/postgres-for-test.ts';
import { IdempotencyHashes } from './idempotency-key.ts';
import {
  type Answer,
  type Call,
  COUNTRY_OF,
  callUrl,
  clustersOf,
  eventually,
  type FurtherEdge,
  LAMP,
  newId,
  newUser,
  problemOf,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  tablesWith,
  tokenOf,
  type Where,
  withRegion,
} from './world-for-tests.ts';

const APP = new URL('once-app-for-tests.ts', import.meta.url).pathname;

let domicile: TestDomicile;
let hashes: IdempotencyHashes;
/** A second edge of eu. */
let second: FurtherEdge;

beforeAll(async () => {
  domicile = await startTestDomicile({ app: APP });
  hashes = new IdempotencyHashes(domicile.secret('directory'));
  second = await domicile.startEdge({ region: 'eu' });
});
afterAll(() => domicile?.remove());

const newKey = () => newId('key');

/** A request that is to be done once. */
function ask(
  to: string,
  path: string,
  key: string,
  { headers, ...call }: Call = {},
  method = 'POST',
): Promise<Answer> {
  return domicile.call(to, method, path, {
    ...call,
    headers: { 'idempotency-key': key, ...headers },
  });
}

async function userAt(home: Where): Promise<string> {
  const user = newUser(COUNTRY_OF[home]);
  const answer = await domicile.call(home, 'POST', '/users', { body: user });
  expect(answer.status).toBe(201);
  return user.id;
}

function ordersOf(home: Where, user: string): Promise<number[]> {
  return domicile.sql(`${home}-a`, async (sql) => {
    const rows = await sql<{ cents: number }[]>`
      select total_cents::float8 as cents from app.orders where user_id = ${user} order by 1`;
    return rows.map(({ cents }) => cents);
  });
}

function answersOf(home: Where, scope: string): Promise<number> {
  return domicile.sql(`${home}-a`, async (sql) => {
    const [row] = await sql<{ count: number }[]>`
      select count(*)::int as count from domicile.answers where scope = ${scope}`;
    return row?.count ?? -1;
  });
}

/** What must be the same of two answers to one request. */
function said({ status, text, headers }: Answer) {
  const kept = ['content-type', 'location', 'etag', 'x-order', 'content-length'];
  return [status, text, ...kept.map((name) => headers[name])];
}

const isReplay = ({ headers }: Answer) => headers['idempotency-replayed'] === 'true';

/** What handlers have come to at one edge of eu. */
async function marksOf(user: string, edge = 'eu'): Promise<string[]> {
  return (await domicile.call(edge, 'GET', `/users/${user}/once/marks`)).json;
}

/** Repeats a request, as a client would, until it is answered for good. */
async function insist(to: string, path: string, key: string, call?: Call): Promise<Answer> {
  let answer: Answer | undefined;
  await eventually('an answer for good', async () => {
    answer = await ask(to, path, key, call);
    return answer.json?.retry !== 'safe' && answer.json?.retry !== 'same-key-only';
  });
  return answer as Answer;
}

describe('a request that comes again', () => {
  test.each(['eu', 'us'] as const)('at %s has one effect and the same answer', async (at) => {
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const key = newKey();
    const first = await ask(at, path, key, { body: LAMP });
    expect([first.status, isReplay(first)]).toEqual([201, false]);
    for (const edge of ['eu', 'us', 'asia', second.url]) {
      for (const spelt of [key, `"${key}"`]) {
        const again = await ask(edge, path, spelt, { body: LAMP });
        expect(said(again)).toEqual(said(first));
        expect(isReplay(again)).toBe(true);
      }
    }
    expect(await ordersOf('eu', user)).toEqual([8_900]);
  });

  test.each(['bytes', 'stream', 'nothing', 'nobody', 'conflict'])(
    'gets %s again as it was',
    async (what) => {
      const user = await userAt('asia');
      const path = `/users/${user}/once/answers/${what}`;
      const key = newKey();
      const first = await ask('asia', path, key);
      const again = await ask('us', path, key);
      expect(said(again)).toEqual(said(first));
      expect([isReplay(first), isReplay(again)]).toEqual([false, true]);
      const cookies = ({ headers }: Answer) =>
        (headers['set-cookie'] ?? []).filter((one) => !one.startsWith('domicile-session'));
      expect(cookies(again)).toEqual(cookies(first));
      if (what === 'bytes') expect(cookies(again)).toEqual(['a=1', 'b=2']);
      expect(await ordersOf('asia', user)).toEqual([1]);
    },
  );

  test('may be about nobody: the owner of a reference table does it once', async () => {
    const path = '/products/clock-wall/dearer';
    const key = newKey();
    const first = await ask('eu', path, key);
    const again = await ask('us', path, key);
    expect([first.status, first.json.unitCents]).toEqual([200, 6_901]);
    expect(said(again)).toEqual(said(first));
    expect(isReplay(again)).toBe(true);
  });

  test('raises the floor: whoever hears of a write reads it', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const key = newKey();
    await domicile.sql('eu-b', (sql) => sql`select pg_wal_replay_pause()`);
    try {
      const first = await ask('eu', path, key, { body: LAMP });
      const again = await ask('us', path, key, { body: LAMP });
      expect(isReplay(again)).toBe(true);
      const blind = await domicile.call('us', 'GET', path);
      // The positive control: without what the replay told, the replica may answer.
      if (blind.status === 200) expect(blind.json.orders).toEqual([]);
      const read = await domicile.call('us', 'GET', path, { token: tokenOf(again) });
      expect([read.status, read.json.orders.map(({ id }: { id: string }) => id)]).toEqual([
        200,
        [first.json.id],
      ]);
    } finally {
      await domicile.sql('eu-b', (sql) => sql`select pg_wal_replay_resume()`);
    }
  });

  test('is not told what no standby may have', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const key = newKey();
    const first = await ask('eu', path, key, { body: LAMP });
    domicile.clusters.kill('eu-b', 'SIGSTOP');
    try {
      const again = await ask('eu', path, key, { body: LAMP });
      expect(problemOf(again)).toEqual([504, 'write-outcome-unknown', 'same-key-only']);
    } finally {
      domicile.clusters.kill('eu-b', 'SIGCONT');
    }
    const later = await insist('eu', path, key, { body: LAMP });
    expect([said(later), isReplay(later)]).toEqual([said(first), true]);
  });

  test('with another method, address or body is refused and changes nothing', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const key = newKey();
    const { json } = await ask('eu', path, key, { body: LAMP });
    const other = { items: [{ product: 'chair-oak', quantity: 1 }] };
    const change = { status: 'paid', version: 1 };
    for (const answer of [
      await ask('us', path, key, { body: other }),
      await ask('eu', `${path}?x=1`, key, { body: LAMP }),
      await ask('asia', `${path}/${json.id}`, key, { body: change }, 'PATCH'),
    ]) {
      expect(problemOf(answer)).toEqual([422, 'idempotency-key-reused', 'after-change']);
    }
    expect(await ordersOf('eu', user)).toEqual([8_900]);
  });

  test('for somebody else is another request', async () => {
    const [ann, bob] = [await userAt('eu'), await userAt('eu')];
    const key = newKey();
    for (const user of [ann, bob]) {
      const answer = await ask('eu', `/users/${user}/orders`, key, { body: LAMP });
      expect([answer.status, isReplay(answer)]).toEqual([201, false]);
      expect(await ordersOf('eu', user)).toEqual([8_900]);
    }
  });

  test('only reads: its key is ignored, whatever it is', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const bad = 'not, a key';
    expect((await ask('us', path, bad, {}, 'GET')).status).toBe(200);
    expect((await ask('us', `/users/${user}/once/search`, bad)).json).toEqual({ orders: 0 });
    await domicile.call('eu', 'POST', path, { body: LAMP });
    expect((await ask('eu', `/users/${user}/once/search`, bad)).json).toEqual({ orders: 1 });
    expect(await answersOf('eu', user)).toBe(0);
  });
});

describe('a key that is none', () => {
  test.each(['', 'a b', 'a, b', '"a', 'k'.repeat(256)])(
    '%j is refused at every edge',
    async (key) => {
      const user = await userAt('eu');
      for (const edge of REGIONS) {
        const answer = await ask(edge, `/users/${user}/orders`, key, { body: LAMP });
        expect(problemOf(answer)).toEqual([400, 'idempotency-key-malformed', 'after-change']);
      }
      const body = newUser('DE');
      const placed = await ask('us', '/users', key, { body });
      expect(placed.status).toBe(400);
      expect(await ordersOf('eu', user)).toEqual([]);
    },
  );
});

describe('many at once', () => {
  test('have one effect; each hears that, or that it is under way', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/once/slow/150`;
    const key = newKey();
    const edges = ['eu', second.url, 'us', 'asia'];
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) => ask(edges[i % 4] ?? 'eu', path, key)),
    );
    const done = answers.filter(({ status }) => status === 201);
    const rest = answers.filter(({ status }) => status !== 201);
    expect(done.filter((answer) => !isReplay(answer)).length).toBe(1);
    for (const answer of rest) {
      expect(problemOf(answer)).toEqual([409, 'idempotency-key-in-flight', 'safe']);
      expect(answer.headers['retry-after']).toBe('1');
      // They do not wait for the one that is under way, nor for each other.
      expect(answer.ms).toBeLessThan(1_900);
    }
    expect(rest.length).toBeGreaterThan(0);
    // The others are told before their handlers begin.
    expect([...(await marksOf(user)), ...(await marksOf(user, second.url))].length).toBe(1);
    expect(await ordersOf('eu', user)).toEqual([1]);
    const [first] = done;
    for (const edge of edges) {
      const again = await ask(edge, path, key);
      expect(said(again)).toEqual(said(first as Answer));
    }
    expect(await ordersOf('eu', user)).toEqual([1]);
  });

  test('do not wait for ever for one that no lock tells of', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const key = newKey();
    const stored = hashes.ofKey(user, key);
    // A superuser's transaction has stored an answer and does not end.
    const hex = stored.toString('hex');
    const holding = domicile.sql('eu-a', (sql) =>
      sql(
        verbatim(`do $$ begin
          insert into domicile.answers (scope, key, request, status, fields, body)
          values ('${user}', '\\x${hex}', '\\x${hex}', 200, '[]', '');
          perform pg_sleep(4);
        end $$`),
      ),
    );
    holding.catch(() => {});
    await eventually('it is stored', async () => {
      const [row] = await domicile.sql(
        'eu-a',
        (sql) => sql<{ waits: boolean }[]>`
          select exists (
            select from pg_stat_activity where wait_event = 'PgSleep' and query like '%answers%'
          ) as waits`,
      );
      return row?.waits === true;
    });
    const answer = await ask('eu', path, key, { body: LAMP });
    expect(problemOf(answer)).toEqual([503, 'write-not-applied', 'safe']);
    // Neither for its end nor for a whole budget.
    expect(answer.ms).toBeLessThan(1_900);
    await holding;
    expect(await ordersOf('eu', user)).toEqual([]);
    const reused = await ask('eu', path, key, { body: LAMP });
    expect(problemOf(reused)[1]).toBe('idempotency-key-reused');
  });
});

describe('a handler', () => {
  test.each([
    ['throws', 500],
    ['refuses', 422],
    ['answers 503', 503],
  ])('that %s leaves nothing, and can be asked again', async (how, status) => {
    const user = await userAt('eu');
    const path = `/users/${user}/once/fails/${encodeURIComponent(how)}`;
    const key = newKey();
    const failed = await ask('eu', path, key);
    expect(failed.status).toBe(status);
    expect([await ordersOf('eu', user), await answersOf('eu', user)]).toEqual([[], 0]);
    const retried = await ask('eu', path, key);
    expect([retried.status, isReplay(retried)]).toEqual([201, false]);
    expect(isReplay(await ask('us', path, key))).toBe(true);
    expect(await ordersOf('eu', user)).toEqual([1]);
  });

  test('that outlives the budget is rolled back, and writes nothing afterwards', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/once/fails/late`;
    const key = newKey();
    const late = await ask('eu', path, key);
    expect(problemOf(late)).toEqual([503, 'write-not-applied', 'safe']);
    // The handler is not at its end yet.
    expect(late.ms).toBeLessThan(5_900);
    expect((await insist('eu', path, key)).status).toBe(201);
    await eventually('it has tried', async () => (await marksOf(user)).length === 1);
    expect(await ordersOf('eu', user)).toEqual([1]);
  });

  test('that has failed cannot write in the background either', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/once/fails/forgets`;
    expect((await ask('eu', path, newKey())).status).toBe(500);
    await eventually('it has tried', async () => (await marksOf(user)).length === 1);
    expect(await ordersOf('eu', user)).toEqual([]);
  });

  test('that catches a failure finds what it would find without a key', async () => {
    const expected = { failed: 'constraint-violated', orders: 2 };
    for (const key of [newKey(), undefined]) {
      const user = await userAt('eu');
      const path = `/users/${user}/once/catches`;
      const answer =
        key === undefined ? await domicile.call('eu', 'POST', path) : await ask('eu', path, key);
      expect([answer.status, answer.json]).toMatchObject([200, expected]);
      expect(['read-only-route', 'not-permitted']).toContain(answer.json.wrote);
      expect(await ordersOf('eu', user)).toEqual([1, 4]);
    }
  });

  test('may write twice at once, and read inside a write', async () => {
    const user = await userAt('eu');
    const answer = await ask('eu', `/users/${user}/once/tangled`, newKey());
    expect([answer.status, answer.json]).toEqual([200, { inside: 3 }]);
    expect(await ordersOf('eu', user)).toEqual([1, 2, 3]);
  });

  test('whose answer is too large to be kept has changed nothing', async () => {
    const user = await userAt('eu');
    const answer = await ask('eu', `/users/${user}/once/answers/much`, newKey());
    expect(problemOf(answer)).toEqual([500, 'answer-too-large', 'after-change']);
    expect(await ordersOf('eu', user)).toEqual([]);
  });

  test('cannot read what was answered to others, whatever it knows', async () => {
    const [ann, eve] = [await userAt('eu'), await userAt('eu')];
    const path = `/users/${ann}/orders`;
    const key = newKey();
    await ask('eu', path, key, { body: LAMP });
    const body = Buffer.from(JSON.stringify(LAMP));
    const known = {
      key: hashes.ofKey(ann, key).toString('hex'),
      request: hashes.ofRequest('POST', path, body).toString('hex'),
    };
    const steal = (who: string, how: string) =>
      domicile.call('eu', 'POST', `/users/${who}/once/steals/${how}`, { body: known });
    expect(problemOf(await steal(eve, 'table'))).toEqual([500, 'not-permitted', 'after-change']);
    expect(problemOf(await steal(eve, 'forget'))).toEqual([500, 'not-permitted', 'after-change']);
    expect((await steal(eve, 'function')).json).toEqual([{ found: 'nothing' }]);
    expect((await steal(eve, 'as-nobody')).json).toEqual([{ found: 'nothing' }]);
    // The positive control: the hashes are the right ones.
    expect((await steal(ann, 'function')).json).toEqual([{ found: 'answer' }]);
  });

  test('cannot put its own answer in the place of the one that is kept', async () => {
    const eve = await userAt('eu');
    const key = newKey();
    const hash = hashes.ofKey(eve, key).toString('hex');
    const body = { key: hash, request: hash };
    const answer = await ask('eu', `/users/${eve}/once/steals/store`, key, { body });
    expect(problemOf(answer)).toEqual([409, 'idempotency-key-in-flight', 'safe']);
    expect(await answersOf('eu', eve)).toBe(0);
  });
});

describe('somebody who is created', () => {
  test('leaves the receipt of their own transaction, and nobody else can', async () => {
    const eve = await userAt('eu');
    const user = newUser('DE');
    const key = domicile.keyOf(user.id);
    const body = { key: key.toString('hex'), request: '' };
    const stealing = domicile.call('eu', 'POST', `/users/${eve}/once/steals/receipt`, { body });
    await eventually('eve waits', async () => {
      const rows = await domicile.sql(
        'eu-a',
        (sql) => sql`select from pg_stat_activity where wait_event = 'PgSleep'`,
      );
      return rows.length > 0;
    });
    expect((await ask('eu', '/users', newKey(), { body: user })).status).toBe(201);
    expect(problemOf(await stealing)).toEqual([500, 'internal', 'same-key-only']);
    const receipts = await domicile.sql(
      'eu-a',
      (sql) => sql<{ rule: string }[]>`
        select rule from domicile.receipts where kind = 'place' and subject = ${key}`,
    );
    expect(receipts.map(({ rule }) => rule)).toEqual(['europe']);
  });

  test.each(REGIONS)('at %s with a chosen id exists once, and the retry is told so', async (at) => {
    const user = newUser('DE');
    const key = newKey();
    const first = await ask(at, '/users', key, { body: user });
    expect([first.status, isReplay(first)]).toEqual([201, false]);
    for (const edge of REGIONS) {
      const again = await ask(edge, '/users', key, { body: user });
      expect(said(again)).toEqual(said(first));
      expect(isReplay(again)).toBe(true);
      // The session is the newcomer's, as the first one was.
      const read = await domicile.call(edge, 'GET', `/users/${user.id}`, {
        token: tokenOf(again),
      });
      expect([read.status, read.json.id]).toEqual([200, user.id]);
    }
    const other = await ask('eu', '/users', newKey(), { body: user });
    expect(problemOf(other)[1]).toBe('subject-exists');
    const elsewhere = await ask('us', '/users', key, { body: { ...user, country: 'US' } });
    expect(problemOf(elsewhere)[1]).toBe('subject-exists');
  });

  test('without an id gets one, and the retry the same one', async () => {
    const { id: _, ...user } = newUser('JP');
    const key = newKey();
    const first = await ask('us', '/users', key, { body: user });
    expect(first.status).toBe(201);
    expect(first.json.id).toBe(hashes.idOf(key));
    for (const edge of REGIONS) {
      const again = await ask(edge, '/users', key, { body: user });
      expect([said(again), isReplay(again)]).toEqual([said(first), true]);
    }
    const [row] = await domicile.sql(
      'asia-a',
      (sql) => sql<{ count: number }[]>`
        select count(*)::int as count from app.users where email = ${user.email}`,
    );
    expect(row?.count).toBe(1);
    const unkeyed = await domicile.call('asia', 'POST', '/users', { body: user });
    expect(unkeyed.json.id).not.toBe(first.json.id);
  });

  test('is not created again elsewhere under the same key', async () => {
    const { id: _, ...user } = newUser('JP');
    const key = newKey();
    const first = await ask('asia', '/users', key, { body: user });
    expect(first.status).toBe(201);
    for (const [edge, country] of [
      ['us', 'US'],
      ['eu', 'DE'],
      ['asia', 'DE'],
    ] as const) {
      const refused = await ask(edge, '/users', key, { body: { ...user, country } });
      expect(problemOf(refused)).toEqual([422, 'idempotency-key-reused', 'after-change']);
      expect(refused.json.home).toBe('asia');
    }
    const same = await ask('us', '/users', key, { body: { ...user, displayName: 'Another' } });
    expect(problemOf(same)[1]).toBe('idempotency-key-reused');
    for (const home of ['us', 'eu'] as const) {
      expect(await answersOf(home, first.json.id)).toBe(0);
      const [row] = await domicile.sql(
        `${home}-a`,
        (sql) => sql<{ count: number }[]>`
          select count(*)::int as count from app.users where email = ${user.email}`,
      );
      expect(row?.count).toBe(0);
    }
  });

  test('at two homes at once under one key exists at one of them at most', async () => {
    for (let round = 0; round < 5; round++) {
      const { id: _, ...user } = newUser('JP');
      const key = newKey();
      const countries = ['JP', 'DE', 'US', 'JP', 'DE', 'US'];
      const answers = await Promise.all(
        countries.map((country, i) =>
          ask(REGIONS[i % 3] ?? 'eu', '/users', key, { body: { ...user, country } }),
        ),
      );
      const homes = new Set(
        answers
          .filter(({ status }) => status === 201)
          .map(({ headers }) => headers['domicile-home']),
      );
      expect(homes.size).toBeLessThanOrEqual(1);
      for (const answer of answers.filter(({ status }) => status !== 201)) {
        expect([409, 422, 503]).toContain(answer.status);
      }
      const stored = await Promise.all(
        REGIONS.map((home) =>
          domicile.sql(`${home}-a`, async (sql) => {
            const [row] = await sql<{ count: number }[]>`
              select count(*)::int as count from app.users where email = ${user.email}`;
            return row?.count ?? -1;
          }),
        ),
      );
      expect(stored.reduce((sum, count) => sum + count, 0)).toBe(homes.size);
    }
  });

  test.each([undefined, 'chosen'])(
    'by a handler that fails after the write is nobody, and can be tried again (%s)',
    async (chosen) => {
      const key = newKey();
      const headers = {
        'x-country': 'DE',
        ...(chosen !== undefined && { 'x-user': newId(chosen) }),
      };
      const failed = await ask('eu', '/fickle', key, { headers });
      expect(failed.status).toBe(500);
      const id = headers['x-user'] ?? hashes.idOf(key);
      expect((await domicile.call('us', 'GET', `/users/${id}`)).status).toBe(404);
      // What was claimed was given back, so that another home may have it.
      const claims = await Promise.all(
        REGIONS.map((region) =>
          domicile.sql(
            `${region}-a`,
            (sql) => sql`select from domicile.claims where key = ${domicile.keyOf(id)}`,
          ),
        ),
      );
      expect(claims.map(({ length }) => length)).toEqual([0, 0, 0]);
      const created = await ask('eu', '/fickle', key, { headers });
      expect([created.status, created.json.id]).toEqual([201, id]);
      expect(isReplay(await ask('us', '/fickle', key, { headers }))).toBe(true);
    },
  );
});

describe('retention', () => {
  const age = (scope: string) =>
    domicile.sql(
      'eu-a',
      (sql) => sql`
        update domicile.answers set stored_at = now() - interval '24 hours 1 second'
        where scope = ${scope}`,
    );

  test('ends an answer: the key is as good as new', async () => {
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const key = newKey();
    await ask('eu', path, key, { body: LAMP });
    await age(user);
    // Another request by now, which is nothing to compare with.
    const other = { items: [{ product: 'chair-oak', quantity: 1 }] };
    const later = await ask('eu', path, key, { body: other });
    expect([later.status, isReplay(later)]).toEqual([201, false]);
    expect(isReplay(await ask('us', path, key, { body: other }))).toBe(true);
    expect(await ordersOf('eu', user)).toEqual([8_900, 15_900]);
    expect(await answersOf('eu', user)).toBe(1);
  });

  test('removes it soon afterwards, and none that is younger', async () => {
    const [old, young] = [await userAt('eu'), await userAt('eu')];
    for (const user of [old, young]) {
      await ask('eu', `/users/${user}/orders`, newKey(), { body: LAMP });
    }
    await age(old);
    await eventually('it is gone', async () => (await answersOf('eu', old)) === 0);
    expect(await answersOf('eu', young)).toBe(1);
  });

  test('over, somebody who was created is still created once', async () => {
    const { id: _, ...user } = newUser('DE');
    const key = newKey();
    const first = await ask('eu', '/users', key, { body: user });
    await age(first.json.id);
    const later = await ask('eu', '/users', key, { body: user });
    expect(problemOf(later)[1]).toBe('subject-exists');
  });
});

test('what was answered is at home only: in no airlock and in no other region', async () => {
  const user = await userAt('eu');
  const canary = `canary-${newId()}`;
  const path = `/users/${user}/orders`;
  const key = newKey();
  const other = await ask('asia', '/users', key, {
    body: { ...newUser('DE'), displayName: canary },
  });
  await ask('asia', path, key, { body: LAMP });
  const scopes = [user, other.json.id as string];
  const atHome = domicile.catalogue.regions.get('eu')?.nodes.map(({ name }) => name) ?? [];
  expect(atHome).toEqual(['eu-a', 'eu-b']);
  for (const { node } of clustersOf(domicile)) {
    const found = await Promise.all(scopes.map((scope) => tablesWith(domicile, node, scope)));
    const held = found.flat().includes('domicile.answers');
    expect([node, held]).toEqual([node, atHome.includes(node)]);
  }
});

describe('the way to the primary', () => {
  let wire: Wire;
  let edge: FurtherEdge;

  /** An edge of eu whose connections can be cut, and which has sent nothing yet. */
  async function edgeBehindWire(): Promise<void> {
    wire = await startWire(domicile.clusters.superuser('eu-a'));
    edge = await domicile.startEdge({
      region: 'eu',
      // Time for the test to see what happened before the edge gives up.
      settings: { DOMICILE_BUDGET_MS: '12000' },
      catalogue: withRegion(domicile.catalogue, 'eu', (eu) => ({
        ...eu,
        nodes: eu.nodes.map((node) =>
          node.name === 'eu-a' ? { ...node, port: wire.endpoint.port } : node,
        ),
      })),
    });
  }

  /** Of a handler's transaction: the edge commits some of its own, too. */
  const isCommit = (text: string, hello: string) =>
    hello.includes('domicile_writer') && /\0commit\0/.test(text);

  test('cut before a COMMIT arrives: unknown, and the retry does it', async () => {
    await edgeBehindWire();
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const key = newKey();
    wire.onSent = (text, hello) => {
      if (!isCommit(text, hello)) return true;
      setImmediate(() => wire.reset());
      return false;
    };
    const cut = await ask(edge.url, path, key, { body: LAMP });
    expect(problemOf(cut)).toEqual([504, 'write-outcome-unknown', 'same-key-only']);
    // Nothing of an answer that nobody may hear.
    expect(cut.headers.location).toBeUndefined();
    const retried = await insist('us', path, key, { body: LAMP });
    expect([retried.status, isReplay(retried)]).toEqual([201, false]);
    expect(await ordersOf('eu', user)).toEqual([8_900]);
    await wire.close();
  });

  /** Resolves when the transaction is committed; from the COMMIT on nothing comes back. */
  function deafAfterCommit(user: string): Promise<void> {
    wire.onSent = (text, hello) => {
      if (isCommit(text, hello)) setImmediate(() => wire.blackHole());
      return true;
    };
    return eventually('it is committed', async () => (await ordersOf('eu', user)).length === 1);
  }

  test('cut behind a COMMIT: unknown, and the retry hears what happened', async () => {
    await edgeBehindWire();
    const user = await userAt('eu');
    const path = `/users/${user}/once/answers/bytes`;
    const key = newKey();
    const asking = ask(edge.url, path, key);
    await deafAfterCommit(user);
    wire.reset();
    const cut = await asking;
    expect(problemOf(cut)).toEqual([504, 'write-outcome-unknown', 'same-key-only']);
    for (const field of ['location', 'etag', 'x-order', 'idempotency-replayed']) {
      expect(cut.headers[field]).toBeUndefined();
    }
    const retried = await insist('asia', path, key);
    expect([retried.status, isReplay(retried), retried.headers['x-order']]).toEqual([
      202,
      true,
      '1',
    ]);
    expect(await ordersOf('eu', user)).toEqual([1]);
    await wire.close();
  });

  test('and the edge killed between COMMIT and answer: the retry hears it', async () => {
    await edgeBehindWire();
    const user = await userAt('eu');
    const path = `/users/${user}/orders`;
    const key = newKey();
    const asking = ask(edge.url, path, key, { body: LAMP }).catch((error: Error) => error);
    await deafAfterCommit(user);
    edge.child.kill('SIGKILL');
    expect(await asking).toBeInstanceOf(Error);
    const retried = await insist('eu', path, key, { body: LAMP });
    expect([retried.status, isReplay(retried)]).toEqual([201, true]);
    expect(await ordersOf('eu', user)).toEqual([8_900]);
    await wire.close();
  });

  test('and it was a forwarded request: the sender asks another edge, and nobody notices', async () => {
    await edgeBehindWire();
    const sender = await domicile.startEdge({
      region: 'us',
      settings: { DOMICILE_BUDGET_MS: '12000' },
      catalogue: withRegion(domicile.catalogue, 'eu', (eu) => ({
        ...eu,
        edges: [
          { name: 'eu-victim', url: edge.url },
          { name: 'eu-second', url: second.url },
        ],
      })),
    });
    const user = newUser('DE');
    const token = tokenOf(await domicile.call('eu', 'POST', '/users', { body: user }));
    const path = `/users/${user.id}/orders`;
    const key = newKey();
    const asking = ask(sender.url, path, key, { body: LAMP, token });
    await deafAfterCommit(user.id);
    edge.child.kill('SIGKILL');
    const answer = await asking;
    expect([answer.status, isReplay(answer)]).toEqual([201, true]);
    expect(await ordersOf('eu', user.id)).toEqual([8_900]);
    await wire.close();
    // The positive control: without a key nobody may ask twice.
    const unkeyed = await callUrl(sender.url, 'POST', path, { body: LAMP, token });
    expect(unkeyed.status).toBe(201);
  });
});

describe('a version', () => {
  test('is told by reads and changes, and a change may name it', async () => {
    const user = await userAt('eu');
    const { json } = await domicile.call('eu', 'POST', `/users/${user}/orders`, { body: LAMP });
    const path = `/users/${user}/orders/${json.id}`;
    const change = (status: string, headers: Record<string, string>) =>
      domicile.call('us', 'PATCH', path, { body: { status }, headers });

    const read = await domicile.call('us', 'GET', path);
    expect([read.status, read.headers.etag]).toEqual([200, '"1"']);
    const known = await domicile.call('asia', 'GET', path, { headers: { 'if-none-match': '"1"' } });
    expect([known.status, known.headers.etag, known.text]).toEqual([304, '"1"', '']);

    expect(problemOf(await change('paid', {}))[1]).toBe('precondition-required');
    const stale = await change('paid', { 'if-match': '"2"' });
    expect([...problemOf(stale), stale.json.etag]).toEqual([
      412,
      'precondition-failed',
      'after-change',
      '"1"',
    ]);
    const changed = await change('paid', { 'if-match': '"1"' });
    expect([changed.status, changed.headers.etag, changed.json.status]).toEqual([
      200,
      '"2"',
      'paid',
    ]);
    const both = await domicile.call('eu', 'PATCH', path, {
      body: { status: 'shipped', version: 1 },
      headers: { 'if-match': '"2"' },
    });
    expect(both.status).toBe(409);
    const missing = `/users/${user}/orders/01a1fb5e-ea0a-7fc2-9ff5-472d6681c58d`;
    const nobody = await domicile.call('us', 'PATCH', missing, {
      body: { status: 'paid' },
      headers: { 'if-match': '*' },
    });
    expect(nobody.status).toBe(404);
  });

  test('is changed by one of many who name it', async () => {
    const user = await userAt('eu');
    const { json } = await domicile.call('eu', 'POST', `/users/${user}/orders`, { body: LAMP });
    const path = `/users/${user}/orders/${json.id}`;
    // Somebody else's lock gathers them in the middle of their transactions.
    const holding = domicile.sql('eu-a', (sql) =>
      sql(
        verbatim(`do $$ begin
          perform from app.orders where id = '${json.id}' for update;
          for i in 1..100 loop
            perform pg_sleep(0.01);
            perform pg_stat_clear_snapshot();
            exit when 4 <= (select count(*) from pg_stat_activity where wait_event_type = 'Lock');
          end loop;
        end $$`),
      ),
    );
    await eventually('the lock is held', async () => {
      const rows = await domicile.sql(
        'eu-a',
        (sql) => sql`select from pg_stat_activity where wait_event = 'PgSleep'`,
      );
      return rows.length > 0;
    });
    const edges = ['eu', second.url, 'us', 'asia'];
    const answers = await Promise.all(
      edges.map((edge) =>
        domicile.call(edge, 'PATCH', path, {
          body: { status: 'paid' },
          headers: { 'if-match': '"1"' },
        }),
      ),
    );
    await holding;
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412, 412]);
    const read = await domicile.call('eu', 'GET', path);
    expect(read.json.version).toBe(2);
  });

  test('and a key: the retry of a change is the change, not a conflict', async () => {
    const user = await userAt('eu');
    const { json } = await domicile.call('eu', 'POST', `/users/${user}/orders`, { body: LAMP });
    const path = `/users/${user}/orders/${json.id}`;
    const call = { body: { status: 'paid' }, headers: { 'if-match': '"1"' } };
    const key = newKey();
    const first = await ask('us', path, key, call, 'PATCH');
    const again = await ask('eu', path, key, call, 'PATCH');
    expect([said(again), isReplay(again)]).toEqual([said(first), true]);
    expect([first.status, first.headers.etag]).toEqual([200, '"2"']);
  });
});
