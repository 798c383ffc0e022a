/** Does a running world take up a new policy, and does any answer show half of one? */
import { createHash, createSecretKey } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LeasePool, type Sql, verbatim } from '../regions/postgres.ts';
import { type HopPolicy, signHop } from './hop.ts';
import { hopContent } from './peers.ts';
import { Tap } from './tap-for-tests.ts';
import {
  type Answer,
  COUNTRY_OF,
  eventually,
  newId,
  newUser,
  REGIONS,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
  type Where,
  withRegion,
} from './world-for-tests.ts';

/** Waiting for locks and for a busy machine must not end as a refusal. */
const BUDGET_MS = 10_000;
/** An edge looks four times a second; the rest is for machines that have much else to do. */
const TAKEN_UP_MS = 5_000;

const PRIMARIES: Record<Where, string> = { us: 'us-a', eu: 'eu-a', asia: 'asia-a' };
/** Where Americans are at home; everything else stays as it is. */
const AMERICANS: Record<number, Where> = { 1: 'us', 2: 'eu', 3: 'us', 4: 'eu', 5: 'us' };

let domicile: TestDomicile;
let storefront: string;
const users: Record<Where, string> = { us: newId(), eu: newId(), asia: newId() };

beforeAll(async () => {
  storefront = await readFile(join(dirname(STOREFRONT), 'residency.yaml'), 'utf8');
  domicile = await startTestDomicile({ edgeSettings: { DOMICILE_BUDGET_MS: String(BUDGET_MS) } });
  for (const region of REGIONS) {
    const body = newUser(COUNTRY_OF[region], users[region]);
    expect((await domicile.call(region, 'POST', '/users', { body })).status).toBe(201);
  }
});
afterAll(() => domicile?.remove());

function textOf(version: number): string {
  const americans = AMERICANS[version] ?? 'us';
  return storefront
    .replace(/^version: 1$/m, `version: ${version}`)
    .replace(/(jurisdiction: americas }\n {4}home: )us/, `$1${americans}`);
}

function inRegion<T>(region: Where, use: (sql: Sql) => Promise<T>): Promise<T> {
  return domicile.sql(PRIMARIES[region], use);
}

async function record(version: number, text = textOf(version)): Promise<void> {
  const sha256 = createHash('sha256').update(text).digest('hex');
  for (const region of REGIONS) {
    await inRegion(
      region,
      (sql) => sql`
        insert into domicile.policies (version, text, sha256, because, effective, applied_by)
        values (${version}, ${text}, ${sha256}, 'for a test', '2026-11-01', 'a test')`,
    );
  }
}

async function putInForce(version: number, regions: readonly Where[] = REGIONS): Promise<void> {
  for (const region of regions) {
    await inRegion(
      region,
      (sql) => sql`update domicile.policies set in_force_at = now() where version = ${version}`,
    );
  }
}

async function open(region: Where, name: string, home: Where): Promise<void> {
  await inRegion(
    region,
    (sql) => sql`insert into domicile.openings (name, home) values (${name}, ${home})`,
  );
}

async function close(region: Where, name: string, home: Where): Promise<void> {
  await inRegion(
    region,
    (sql) => sql`delete from domicile.openings where name = ${name} and home = ${home}`,
  );
}

async function health(to: string) {
  return (await domicile.call(to, 'GET', '/.domicile/health')).json;
}

async function allAreUnder(version: number): Promise<void> {
  for (const region of REGIONS) {
    await eventually(
      `the edge of ${region} is under ${version}`,
      async () => (await health(region)).policyVersion === version,
    );
  }
}

/** The versions that an answer states: its own edge's, and it is one. */
function policyOf({ headers }: Answer): string {
  return String(headers['domicile-policy']);
}

function card(at: string, user: string): Promise<Answer> {
  return domicile.call(at, 'GET', `/users/${user}/card`);
}

const isMirrored = ({ headers }: Answer) =>
  /rung=mirror/.test(String(headers['domicile-decision']));

let hops = 0;
/** A request as an edge of another region would send it on. */
function hop(to: Where, target: string, policy: HopPolicy | undefined, body?: unknown) {
  const method = body === undefined ? 'GET' : 'POST';
  const sent = body === undefined ? undefined : JSON.stringify(body);
  const from = to === 'us' ? 'asia' : 'us';
  const header = signHop(
    { from, to, sender: newId('sender'), number: ++hops, budgetMs: BUDGET_MS, policy },
    hopContent(
      method,
      target,
      (name) => (name === 'content-type' && sent !== undefined ? 'application/json' : undefined),
      sent === undefined ? undefined : Buffer.from(sent),
    ),
    createSecretKey(domicile.secret('hops')),
  );
  return domicile.call(to, method, target, { headers: { 'domicile-hop': header }, body: sent });
}

describe('a region that has recorded nothing', () => {
  // As a start of before versions were recorded left it.
  beforeAll(async () => {
    for (const region of REGIONS) {
      await inRegion(region, async (sql) => {
        await sql`delete from domicile.openings`;
        await sql`delete from domicile.policies`;
      });
    }
    const { edges, startEdge } = domicile.world;
    for (const [name, edge] of [...edges]) {
      await edge.stop();
      await startEdge(name);
    }
  });

  test('is under the file, says so, and serves what the policy allows', async () => {
    for (const region of REGIONS) {
      const answer = await domicile.call(region, 'GET', '/products');
      expect([answer.status, policyOf(answer)]).toEqual([200, '1;file']);
    }
    await eventually('a mirror abroad', async () => isMirrored(await card('eu', users.us)));
    expect(await health('eu')).toMatchObject({
      policyVersion: 1,
      policySource: 'file',
      openings: 'never-recorded',
    });
  });

  test('serves no copy from the first record on, until it is opened', async () => {
    await record(1);
    await eventually('the copy is closed', async () => !isMirrored(await card('eu', users.us)));
    const [atHome, products] = [
      await card('eu', users.us),
      await domicile.call('eu', 'GET', '/products'),
    ];
    expect(atHome.status).toBe(200);
    expect(atHome.headers['domicile-decision']).toMatch(/^forward;to=us, serve;/);
    expect(products.headers['domicile-decision']).toMatch(/^forward;to=us, serve;/);

    await putInForce(1);
    for (const region of REGIONS) {
      for (const home of ['us', 'asia'] as const) {
        if (home !== region) await open(region, 'public_profiles', home);
      }
      if (region !== 'us') await open(region, 'products', 'us');
    }
    await eventually('the copy is open', async () => isMirrored(await card('eu', users.us)));
    const answer = await domicile.call('eu', 'GET', '/products');
    expect(policyOf(answer)).toBe('1');
  });
});

test('closing and opening a copy by SQL takes effect with the next look', async () => {
  const copies = [
    { name: 'public_profiles', home: 'us', ask: () => card('eu', users.us) },
    { name: 'products', home: 'us', ask: () => domicile.call('eu', 'GET', '/products') },
  ] as const;
  for (const { name, home, ask } of copies) {
    expect(isMirrored(await ask()), name).toBe(true);
    await close('eu', name, home);
    await eventually(`${name} is closed`, async () => !isMirrored(await ask()), TAKEN_UP_MS);
    const closed = await ask();
    expect([closed.status, closed.headers['domicile-home']], name).toEqual([200, home]);
    // Other regions have openings of their own.
    if (name === 'public_profiles') expect(isMirrored(await card('asia', users.us))).toBe(true);
    await open('eu', name, home);
    await eventually(`${name} is open`, async () => isMirrored(await ask()), TAKEN_UP_MS);
  }
});

describe('a copy that is taken away while it is read', () => {
  test('without a word: the read goes home instead of failing', async () => {
    for (const [relation, ask] of [
      ['mirror.public_profiles', () => card('eu', users.us)],
      ['app.products', () => domicile.call('eu', 'GET', '/products')],
    ] as const) {
      const grant = (verb: string) =>
        inRegion('eu', (sql) => sql(verbatim(`${verb} domicile_abroad`)));
      await grant(`revoke select on ${relation} from`);
      try {
        // The replica follows a moment later; until then the copy is still served.
        await eventually(`${relation} is denied`, async () => {
          const answer = await ask();
          expect(answer.status).toBe(200);
          return !isMirrored(answer);
        });
        const answer = await ask();
        expect(answer.headers['domicile-decision']).toMatch(/^forward;to=us, serve;/);
      } finally {
        await grant(`grant select on ${relation} to`);
      }
      await eventually(`${relation} is granted`, async () => isMirrored(await ask()));
    }
  });

  test('an opening that closes under a read makes it go home, not find nothing', async () => {
    // Held open by a lock that the replica replays, while the opening and the rows go.
    const pool = new LeasePool({
      endpoint: domicile.clusters.superuser('eu-a'),
      connectionsMax: 1,
      waitersMax: 1,
      connectTimeoutMs: 5_000,
    });
    const held = Promise.withResolvers<void>();
    const locked = Promise.withResolvers<void>();
    const kept = await inRegion(
      'eu',
      (sql) => sql<{ id: string; display_name: string }[]>`
        select id, display_name from mirror_us.users where id = ${users.us}`,
    );
    expect(kept).toHaveLength(1);
    const locking = pool.transaction(
      async (sql) => {
        await sql`lock table mirror_us.users in access exclusive mode`;
        await sql`delete from mirror_us.users where id = ${users.us}`;
        locked.resolve();
        await held.promise;
      },
      { timeoutMs: 30_000 },
    );
    try {
      await locked.promise;
      let answered = false;
      const reading = (async () => {
        await eventually('the replica holds the lock', async () => {
          const rows = await domicile.sql(
            'eu-b',
            (sql) => sql`select from pg_locks where relation = 'mirror_us.users'::regclass
              and mode = 'AccessExclusiveLock' and granted`,
          );
          return rows.length > 0;
        });
        const answer = card('eu', users.us);
        void answer.then(() => {
          answered = true;
        });
        return answer;
      })();
      await eventually('the read waits', async () => {
        const rows = await domicile.sql(
          'eu-b',
          (sql) => sql`select from pg_stat_activity
            where usename = 'domicile_abroad' and wait_event_type = 'Lock'`,
        );
        return rows.length > 0;
      });
      await close('eu', 'public_profiles', 'us');
      await eventually('the edge knows', async () => {
        const { openings } = await health('eu');
        return !openings.some(
          ({ name, home }: { name: string; home: string }) =>
            name === 'public_profiles' && home === 'us',
        );
      });
      expect(answered).toBe(false);
      held.resolve();
      const answer = await reading;
      expect(answer.status).toBe(200);
      expect(answer.headers['domicile-decision']).toMatch(/^forward;to=us, serve;/);
    } finally {
      held.resolve();
      await locking;
      await pool.close({ timeoutMs: 1_000 });
      await inRegion(
        'eu',
        (sql) => sql`insert into mirror_us.users (id, display_name)
          select ${users.us}, ${kept[0]?.display_name ?? ''}`,
      );
      await open('eu', 'public_profiles', 'us');
    }
    await eventually('the copy is back', async () => isMirrored(await card('eu', users.us)));
  });
});

describe('a hop', () => {
  test.each([
    { version: 0, recorded: true },
    { version: 9, recorded: true },
    { version: 9, recorded: false },
  ])('under %j is refused before any handler, with both versions', async (policy) => {
    const user = newUser('DE');
    const answer = await hop('eu', '/users', policy, user);
    expect([answer.status, answer.json.type, answer.json.retry]).toEqual([
      503,
      '/docs/problems.md#policy-version-differs',
      'safe',
    ]);
    expect(answer.json.versions).toEqual({ us: policy.version, eu: 1 });
    expect(policyOf(answer)).toBe('1');
    const rows = await inRegion('eu', (sql) => sql`select from app.users where id = ${user.id}`);
    expect(rows).toHaveLength(0);
  });

  test('that names no policy is refused, unless edges ask each other', async () => {
    const answer = await hop('eu', `/users/${users.eu}`, undefined);
    expect([answer.status, answer.json.detail]).toEqual([
      401,
      'it does not say under which policy',
    ]);
    const key = domicile.keyOf(users.eu).toString('base64url');
    expect((await hop('eu', `/.domicile/directory/${key}`, undefined)).json).toMatchObject({
      home: 'eu',
    });
  });

  test('under the same version is served', async () => {
    const answer = await hop('eu', `/users/${users.eu}`, { version: 1, recorded: true });
    expect([answer.status, policyOf(answer)]).toEqual([200, '1']);
  });
});

describe('a new version', () => {
  type Seen = { what: string; at: Where; answer: Answer; id?: string };

  /** Clients of every edge that never pause, until they are told to. */
  function hammer(): { seen: Seen[]; stop: () => Promise<void> } {
    const seen: Seen[] = [];
    let going = true;
    const client = async (at: Where) => {
      while (going) {
        const american = newUser('US');
        const drawn = { ...newUser('US'), id: undefined };
        const chosen = await domicile.call(at, 'POST', '/users', { body: american });
        seen.push({ what: 'create', at, answer: chosen, id: american.id });
        const given = await domicile.call(at, 'POST', '/users', { body: drawn });
        seen.push({ what: 'create', at, answer: given, id: given.json?.id });
        for (const home of REGIONS) {
          const path = `/users/${users[home]}`;
          seen.push({ what: 'read', at, answer: await domicile.call(at, 'GET', path) });
        }
        for (const home of ['us', 'asia'] as const) {
          seen.push({ what: 'card', at, answer: await card(at, users[home]) });
        }
        seen.push({ what: 'products', at, answer: await domicile.call(at, 'GET', '/products') });
      }
    };
    const clients = REGIONS.map(client);
    return {
      seen,
      stop: async () => {
        going = false;
        await Promise.all(clients);
      },
    };
  }

  test('that is recorded and nowhere in force is not taken up for a word from a file', async () => {
    await record(2);
    const answer = await hop('eu', `/users/${users.eu}`, { version: 2, recorded: false });
    expect([answer.status, answer.json.versions]).toEqual([503, { us: 2, eu: 1 }]);
    expect((await health('eu')).policyVersion).toBe(1);
  });

  test('comes region by region, and every answer is of exactly one version', async () => {
    const { seen, stop } = hammer();
    const count = (is: (one: Seen) => boolean) => seen.filter(is).length;
    const more = async (what: string, is: (one: Seen) => boolean) => {
      const before = count(is);
      await eventually(what, async () => count(is) >= before + 4);
    };
    for (const region of ['us', 'asia', 'eu'] as const) {
      await more(`${region} has clients`, ({ what, at }) => what === 'create' && at === region);
      await putInForce(2, [region]);
      await more(
        `${region} is under 2`,
        ({ at, answer }) => at === region && policyOf(answer) === '2',
      );
    }
    await stop();

    const failed = seen.filter(({ answer }) => ![200, 201].includes(answer.status));
    expect(failed.map(({ what, at, answer }) => `${what} ${at} ${answer.text}`)).toEqual([]);
    const created = seen.filter(({ what }) => what === 'create');
    for (const { at, answer } of created) {
      const home = AMERICANS[Number(policyOf(answer))];
      expect(answer.headers['domicile-home'], `by ${at} under ${policyOf(answer)}`).toBe(home);
    }
    expect(new Set(created.map(({ answer }) => policyOf(answer)))).toEqual(new Set(['1', '2']));
    for (const region of REGIONS) {
      const versions = seen.filter(({ at }) => at === region).map(({ answer }) => policyOf(answer));
      expect(versions, `${region} never goes back`).toEqual(versions.toSorted());
    }
    for (const region of ['us', 'eu'] as const) {
      const wanted = created
        .filter(({ answer }) => answer.headers['domicile-home'] === region)
        .map(({ id }) => id ?? '');
      const rows = await inRegion(
        region,
        (sql) => sql`select from app.users where id = any(${sql.array(wanted)})`,
      );
      expect(rows.length, `rows of ${region}`).toBe(wanted.length);
    }
  });

  test('does not change the mind of a request that is under way', async () => {
    // Under 2, Americans live in eu; 3 has them in us.
    await record(3);
    await allAreUnder(2);
    const slow = slowly('us', newUser('US'));
    await slow.begun;
    await putInForce(3);
    await allAreUnder(3);
    const stayed = await slow.finish();
    // Decided under 2, refused by eu, and decided anew as a whole.
    expect([stayed.status, stayed.policy, stayed.home]).toEqual([201, '3', 'us']);

    await record(4);
    const here = slowly('us', newUser('US'));
    await here.begun;
    await putInForce(4);
    await allAreUnder(4);
    const kept = await here.finish();
    // Under 3 the home is this region, so nothing had to be asked again.
    expect([kept.status, kept.policy, kept.home]).toEqual([201, '3', 'us']);
  });

  test('that cannot be read leaves the old one in force, with one line that names why', async () => {
    await record(5, textOf(5).replace('reference: { owner: us }', 'reference: { owner: mars }'));
    await putInForce(5);
    const log = () => readFile(join(domicile.root, 'run', 'edge-eu.log'), 'utf8');
    await eventually('the complaint', async () => (await log()).includes('policy-unreadable'));
    await domicile.call('eu', 'GET', '/products');
    const answer = await domicile.call('us', 'POST', '/users', { body: newUser('US') });
    expect([answer.status, policyOf(answer), answer.headers['domicile-home']]).toEqual([
      201,
      '4',
      'eu',
    ]);
    const lines = (await log()).split('\n').filter((line) => line.includes('policy-unreadable'));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toContain('no region \\"mars\\" in the catalogue');
  });

  test('misses an edge whose database is silent: it refuses what it cannot know, and catches up', async () => {
    const nodes = domicile.catalogue.regions.get('eu')?.nodes ?? [];
    const taps = await Promise.all(nodes.map(({ host, port }) => Tap.to(host, port)));
    const catalogue = withRegion(domicile.catalogue, 'eu', (region) => ({
      ...region,
      nodes: region.nodes.map((node, i) => ({ ...node, port: taps[i]?.port ?? 0 })),
    }));
    const settings = { DOMICILE_BUDGET_MS: String(BUDGET_MS) };
    const silence = () => {
      for (const tap of taps) tap.holds = () => true;
    };
    try {
      const edge = await domicile.startEdge({ region: 'eu', catalogue, settings });
      const japanese = () => domicile.call(edge.url, 'POST', '/users', { body: newUser('JP') });
      const before = await japanese();
      expect([before.status, policyOf(before)]).toEqual([201, '4']);
      silence();
      await record(6, textOf(6));
      await putInForce(6);
      await allAreUnder(6);
      const refused = await japanese();
      expect([refused.status, refused.json.type]).toEqual([
        503,
        '/docs/problems.md#policy-version-differs',
      ]);
      expect(refused.json.versions).toEqual({ eu: 4, asia: 6 });
      expect(policyOf(refused)).toBe('4');

      // One that was never able to ask goes by its file, and serves nothing abroad from copies.
      const blind = await domicile.startEdge({ region: 'eu', catalogue, settings });
      expect(await health(blind.url)).toMatchObject({
        policyVersion: 1,
        policySource: 'file',
        openings: 'unread',
      });
      const unsure = await domicile.call(blind.url, 'GET', '/products');
      expect([unsure.status, policyOf(unsure)]).toEqual([503, '1;file']);
      expect(unsure.json.versions).toEqual({ eu: 1, us: 6 });

      for (const tap of taps) tap.release();
      for (const url of [edge.url, blind.url]) {
        await eventually('it has caught up', async () => {
          const answer = await domicile.call(url, 'POST', '/users', { body: newUser('JP') });
          return answer.status === 201 && policyOf(answer) === '6';
        });
      }
      expect(await readFile(blind.log, 'utf8')).toContain(
        '"policy-file-differs","file":1,"recorded":6',
      );
    } finally {
      for (const tap of taps) tap.close();
    }
  });
});

/** A client that says what it wants at once, and the rest when it is told to. */
function slowly(at: Where, body: unknown) {
  const text = JSON.stringify(body);
  const begun = Promise.withResolvers<void>();
  const answered = Promise.withResolvers<{ status: number; policy: string; home: string }>();
  const call = request(
    new URL('/users', domicile.url(at)),
    {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(text),
        expect: '100-continue',
      },
    },
    ({ statusCode = 0, headers, ...answer }) => {
      answered.resolve({
        status: statusCode,
        policy: String(headers['domicile-policy']),
        home: String(headers['domicile-home']),
      });
      void answer;
    },
  );
  // The server asks for the rest once it has begun with the request.
  call.on('continue', () => begun.resolve());
  call.on('error', (error) => {
    begun.reject(error);
    answered.reject(error);
  });
  call.flushHeaders();
  return {
    begun: begun.promise,
    finish: () => {
      call.end(text);
      return answered.promise;
    },
  };
}
