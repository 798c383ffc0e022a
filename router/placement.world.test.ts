import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verbatim } from '../regions/postgres.ts';
import {
  Client,
  COUNTRY_OF,
  clustersOf,
  eventually,
  LAMP,
  newId,
  newUser,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  tablesWith,
  tokenOf,
  type Where,
} from './world-for-tests.ts';

let domicile: TestDomicile;

beforeAll(async () => {
  domicile = await startTestDomicile();
});
afterAll(() => domicile?.remove());

const PRIMARIES: Record<Where, string> = { us: 'us-a', eu: 'eu-a', asia: 'asia-a' };

/** The homes that a region's own directory names for a subject. */
function homesIn(region: Where, subject: string): Promise<string[]> {
  return domicile.sql(PRIMARIES[region], async (sql) => {
    const rows = await sql<{ home: string }[]>`
      select home from domicile.directory where key = ${domicile.keyOf(subject)}`;
    return rows.map(({ home }) => home);
  });
}

/** Regions whose primary has a row of this user. */
async function regionsWithUser(id: string): Promise<string[]> {
  const found = await Promise.all(
    REGIONS.map((region) =>
      domicile.sql(PRIMARIES[region], async (sql) => {
        const rows = await sql`select from app.users where id = ${id}`;
        return rows.length > 0 ? region : undefined;
      }),
    ),
  );
  return found.filter((region) => region !== undefined);
}

/** Lets a region's subscription to a peer rest while `use` runs. */
async function deafTo<T>(region: Where, peer: Where, use: () => Promise<T>): Promise<T> {
  const statement = (verb: string) => `alter subscription domicile_from_${peer} ${verb}`;
  const run = (text: string) => domicile.sql(PRIMARIES[region], (sql) => sql(verbatim(text)));
  await run(statement('disable'));
  try {
    // The worker that is under way may still apply what it has received.
    await eventually('the subscription rests', async () => {
      const rows = await domicile.sql(
        PRIMARIES[region],
        (sql) => sql`
          select from pg_stat_subscription
          where subname = ${`domicile_from_${peer}`} and pid is not null`,
      );
      return rows.length === 0;
    });
    return await use();
  } finally {
    await run(statement('enable'));
  }
}

describe('the country decides the home', () => {
  test.each([
    ['DE', 'asia', 'eu'],
    ['US', 'eu', 'us'],
    ['JP', 'us', 'asia'],
    ['BR', 'asia', 'us'],
    ['NG', 'eu', 'us'],
    ['GB', 'us', 'eu'],
    ['CH', 'asia', 'eu'],
    ['IS', 'us', 'eu'],
    ['de', 'us', 'eu'],
  ])('%s by way of %s is at home in %s', async (country, edge, home) => {
    const user = newUser(country);
    const answer = await domicile.call(edge, 'POST', '/users', { body: user });
    expect(answer.status).toBe(201);
    expect(answer.headers['domicile-home']).toBe(home);
    expect(answer.headers['domicile-served-by']).toBe(`${home}/${home}-a`);
    expect(await regionsWithUser(user.id)).toEqual([home]);
  });

  test('one country has one home, whichever edge is asked', async () => {
    for (const country of ['DE', 'US', 'JP', 'BR', 'NG', 'GB', 'CH']) {
      const homes = await Promise.all(
        REGIONS.map(async (edge) => {
          const body = newUser(country);
          return (await domicile.call(edge, 'POST', '/users', { body })).headers['domicile-home'];
        }),
      );
      expect(new Set(homes).size, `${country}: ${homes}`).toBe(1);
    }
  });

  test('no header and no query parameter moves a German out of eu', async () => {
    const claims: Record<string, string>[] = [
      { 'domicile-home': 'us' },
      { 'cf-ipcountry': 'US' },
      { 'x-forwarded-for': '8.8.8.8' },
      { 'x-vercel-ip-country': 'US', 'x-appengine-country': 'US' },
      { 'accept-language': 'en-US' },
      { 'domicile-served-by': 'us/us-a', 'domicile-decision': 'serve' },
    ];
    for (const headers of claims) {
      const body = newUser('DE');
      const path = '/users?home=us&country=US&region=us';
      const answer = await domicile.call('us', 'POST', path, { headers, body });
      expect([answer.status, answer.headers['domicile-home']], JSON.stringify(headers)).toEqual([
        201,
        'eu',
      ]);
      expect(await regionsWithUser(body.id)).toEqual(['eu']);
    }
  });

  test('a header or parameter that names another home does not redirect a read either', async () => {
    const user = newUser('DE');
    await domicile.call('us', 'POST', '/users', { body: user });
    const headers = { 'domicile-home': 'us', 'x-forwarded-for': '8.8.8.8' };
    const answer = await domicile.call('us', 'GET', `/users/${user.id}?home=us`, { headers });
    expect([answer.status, answer.headers['domicile-home']]).toEqual([200, 'eu']);
  });

  test('a home that the policy does not give is refused with the rule, and nothing is stored', async () => {
    const user = newUser('DE');
    const answer = await domicile.call('us', 'POST', '/users', { body: { ...user, home: 'us' } });
    expect(answer.status).toBe(403);
    expect(answer.json).toMatchObject({
      type: '/docs/problems.md#home-not-yours-to-choose',
      asked: 'us',
      home: 'eu',
      rule: 'europe',
      retry: 'after-change',
    });
    expect(await regionsWithUser(user.id)).toEqual([]);
    expect((await domicile.call('us', 'GET', `/users/${user.id}`)).status).toBe(404);
  });

  test('a session of one home does not draw a newcomer there', async () => {
    const somebody = new Client(domicile);
    await somebody.call('us', 'POST', '/users', newUser('US'));
    const answer = await somebody.call('us', 'POST', '/users', newUser('DE'));
    expect(answer.headers['domicile-home']).toBe('eu');
  });
});

describe('the data stays at home', () => {
  test('a row is on the nodes of its home and in no other cluster, airlocks and replicas included', async () => {
    for (const home of REGIONS) {
      const canary = newId(`canary${home}`);
      const mail = `${newId('mail')}@canary.example`;
      const body = { ...newUser(COUNTRY_OF[home], canary), email: mail };
      const client = new Client(domicile);
      const away = REGIONS.find((region) => region !== home) ?? 'us';
      expect((await client.call(away, 'POST', '/users', body)).status).toBe(201);
      expect((await client.call(away, 'POST', `/users/${canary}/orders`, LAMP)).status).toBe(201);
      // The directory row travels the same way as a leak would; once it is everywhere, so is that.
      for (const region of REGIONS) {
        await eventually(
          `${region} hears of ${canary}`,
          async () => (await homesIn(region, canary)).join() === home,
        );
      }
      for (const { region, node } of clustersOf(domicile)) {
        const own = region === home && !node.endsWith('-x');
        // The positive control: the same search finds the row where it must be.
        if (own) {
          await eventually(`${node} has the row`, async () =>
            (await tablesWith(domicile, node, mail)).includes('app.users'),
          );
          expect(await tablesWith(domicile, node, canary)).toEqual([
            'app.order_items',
            'app.orders',
            'app.users',
            'domicile.residents',
          ]);
        } else {
          expect(await tablesWith(domicile, node, mail), node).toEqual([]);
          // Accounts of eu have no mirror; of others the profile leaves, and only that.
          const profile =
            home === 'eu'
              ? []
              : region === home || !node.endsWith('-x')
                ? [`mirror_${home}.users`]
                : [];
          expect(await tablesWith(domicile, node, canary), node).toEqual(profile);
        }
      }
    }
  });

  test('directory, claims and pulses hold no id, no address and no country, in any encoding', async () => {
    const id = newId('dircanary');
    const user = newUser('CH', id);
    expect((await domicile.call('asia', 'POST', '/users', { body: user })).status).toBe(201);
    for (const region of REGIONS) {
      await eventually(
        `${region} hears of it`,
        async () => (await homesIn(region, id)).join() === 'eu',
      );
    }
    const traces = [id, user.email, user.displayName].flatMap((word) => [
      word,
      Buffer.from(word).toString('hex'),
      Buffer.from(word).toString('base64').slice(0, -4),
    ]);
    for (const { node } of clustersOf(domicile)) {
      const dump = await domicile.sql(node, async (sql) => {
        const directory = await sql<
          { row: string }[]
        >`select t::text as row from domicile.directory t`;
        const pulses = await sql<{ row: string }[]>`select t::text as row from domicile.pulses t`;
        const claims = node.endsWith('-x')
          ? []
          : await sql<{ row: string }[]>`select t::text as row from domicile.claims t`;
        const columns = await sql<{ name: string }[]>`
          select attname as name from pg_attribute
          where attrelid = 'domicile.directory'::regclass and attnum > 0 order by attnum`;
        expect(columns.map(({ name }) => name)).toEqual(['key', 'home', 'epoch', 'settled_at']);
        return [...directory, ...pulses, ...claims].map(({ row }) => row).join('\n');
      });
      // The positive control: the subject's key is found by the same search.
      const entry = domicile.keyOf(id).toString('hex');
      if (!node.endsWith('-x') || node === 'eu-x') expect(dump, node).toContain(entry);
      for (const trace of traces) expect(dump, node).not.toContain(trace);
      expect(dump, node).not.toMatch(/\bCH\b/);
    }
  });
});

describe('finding a home', () => {
  test('a subject that a region has not heard of is asked for at its peers', async () => {
    await deafTo('asia', 'eu', async () => {
      const user = newUser('DE', newId('unheard'));
      const id = user.id;
      expect((await domicile.call('eu', 'POST', '/users', { body: user })).status).toBe(201);
      const answer = await domicile.call('asia', 'GET', `/users/${id}`);
      expect([answer.status, answer.json?.id]).toEqual([200, id]);
      expect(answer.headers['server-timing']).toMatch(/directory;dur=/);
      // The evidence that the peers were needed.
      expect(await homesIn('asia', id)).toEqual([]);
    });
  });

  test('a token that names the home needs no look-up', async () => {
    await deafTo('asia', 'eu', async () => {
      const user = newUser('DE', newId('unheard'));
      const made = await domicile.call('eu', 'POST', '/users', { body: user });
      const path = `/users/${user.id}`;
      const answer = await domicile.call('asia', 'GET', path, { token: tokenOf(made) });
      expect(answer.status).toBe(200);
      expect(answer.headers['server-timing']).not.toMatch(/directory/);
    });
  });

  test('nobody’s id is unknown at every edge, once all regions have said so', async () => {
    for (const edge of REGIONS) {
      const answer = await domicile.call(edge, 'GET', `/users/${newId('nobody')}`);
      expect(answer.status).toBe(404);
      expect(answer.json).toMatchObject({
        type: '/docs/problems.md#unknown-subject',
        retry: 'after-change',
      });
    }
  });
});

describe('one id, one home', () => {
  /** Creates the same id at several edges at once; who won, and what each was told. */
  async function race(id: string, entries: readonly [edge: string, country: string][]) {
    const answers = await Promise.all(
      entries.map(([edge, country]) =>
        domicile.call(edge, 'POST', '/users', { body: newUser(country, id) }),
      ),
    );
    const statuses = answers.map(({ status }) => status).sort();
    const told = answers.map(
      ({ status, json }) => `${status} ${json?.type ?? ''} ${json?.home ?? ''}`,
    );
    const won = answers.find(({ status }) => status === 201);
    return { statuses, told: told.join(', '), answers, home: won?.headers['domicile-home'] };
  }

  async function hasOneHome(id: string, home: unknown): Promise<void> {
    expect(await regionsWithUser(id)).toEqual([home]);
    for (const region of REGIONS) {
      await eventually(
        `${region} knows the one home of ${id}`,
        async () => (await homesIn(region, id)).join() === home,
      );
    }
  }

  const PAIRS: readonly [[string, string], [string, string]][] = [
    [
      ['us', 'US'],
      ['eu', 'DE'],
    ],
    [
      ['eu', 'DE'],
      ['asia', 'JP'],
    ],
    [
      ['asia', 'US'],
      ['us', 'JP'],
    ],
    [
      ['eu', 'JP'],
      ['asia', 'DE'],
    ],
  ];

  test('of two edges that create one id for different homes at once, exactly one wins; 40 rounds', async () => {
    const ids: [string, unknown][] = [];
    for (let round = 0; round < 40; round++) {
      const id = newId('race');
      const { statuses, told, answers, home } = await race(id, PAIRS[round % PAIRS.length] ?? []);
      expect(statuses, told).toEqual([201, 409]);
      const lost = answers.find(({ status }) => status === 409);
      expect(lost?.json).toMatchObject({ type: '/docs/problems.md#subject-exists', home });
      ids.push([id, home]);
    }
    for (const [id, home] of ids) await hasOneHome(id, home);
  });

  test('of two edges that create one id for the same home at once, exactly one wins; 40 rounds', async () => {
    for (let round = 0; round < 40; round++) {
      const id = newId('same');
      const country = COUNTRY_OF[REGIONS[round % 3] ?? 'us'];
      const [a, b] = [REGIONS[round % 2] ?? 'us', REGIONS[2]];
      const { statuses, told, home } = await race(id, [
        [a, country],
        [b, country],
      ]);
      expect(statuses, told).toEqual([201, 409]);
      expect(await regionsWithUser(id)).toEqual([home]);
    }
  });

  test('a loser of the same home does not open the id to another home that has heard of nobody', async () => {
    await deafTo('us', 'eu', () =>
      deafTo('asia', 'eu', async () => {
        for (let round = 0; round < 25; round++) {
          const id = newId('triple');
          await race(id, [
            ['eu', 'DE'],
            ['eu', 'FR'],
            ['us', 'AT'],
          ]);
          const late = await domicile.call('asia', 'POST', '/users', { body: newUser('JP', id) });
          expect([late.status, late.json?.home]).toEqual([409, 'eu']);
          expect(await regionsWithUser(id)).toEqual(['eu']);
        }
      }),
    );
  });

  test('an id is taken, whoever asks again, wherever', async () => {
    const id = newId('taken');
    expect((await domicile.call('us', 'POST', '/users', { body: newUser('DE', id) })).status).toBe(
      201,
    );
    for (const edge of REGIONS) {
      for (const country of ['DE', 'US', 'JP']) {
        const answer = await domicile.call(edge, 'POST', '/users', { body: newUser(country, id) });
        expect([answer.status, answer.json?.home], `${country} at ${edge}`).toEqual([409, 'eu']);
      }
    }
  });

  test('a creation that the schema refuses gives the id back to any home', async () => {
    const id = newId('back');
    // JSON can say it, PostgreSQL cannot store it.
    const nul = { ...newUser('DE', id), displayName: 'a\u0000b' };
    const refused = await domicile.call('us', 'POST', '/users', { body: nul });
    expect(refused.status).toBe(422);
    expect(refused.json.type).toBe('/docs/problems.md#constraint-violated');
    const claims = await Promise.all(
      REGIONS.map((region) =>
        domicile.sql(
          PRIMARIES[region],
          (sql) => sql`select from domicile.claims where key = ${domicile.keyOf(id)}`,
        ),
      ),
    );
    expect(claims.map((rows) => rows.length)).toEqual([0, 0, 0]);
    const again = await domicile.call('us', 'POST', '/users', { body: newUser('JP', id) });
    expect([again.status, again.headers['domicile-home']]).toEqual([201, 'asia']);
  });

  test('an id of the kind that edges draw cannot be chosen, and a drawn one is of that kind', async () => {
    const drawn = await domicile.call('us', 'POST', '/users', {
      body: { ...newUser('DE'), id: undefined },
    });
    expect(drawn.status).toBe(201);
    expect(drawn.json.id).toMatch(
      /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/,
    );
    expect(drawn.headers.location).toBe(`/users/${drawn.json.id}`);
    for (const id of [
      '01a2b3c4-d5e6-8f01-9234-56789abcdef0',
      '01A2B3C4-D5E6-8F01-9234-56789ABCDEF0',
      drawn.json.id,
    ]) {
      const answer = await domicile.call('us', 'POST', '/users', { body: newUser('DE', id) });
      expect(answer.status).toBe(422);
      expect(answer.json.complaints).toEqual([
        { path: 'id', message: expect.stringContaining('version 8') },
      ]);
    }
  });
});
