import { createSecretKey } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LeasePool } from '../regions/postgres.ts';
import { type Hop, signHop } from './hop.ts';
import { hopContent } from './peers.ts';
import { edgePassword } from './provision.ts';
import { LOGINS } from './region-database.ts';
import { Tap } from './tap-for-tests.ts';
import {
  type Answer,
  type Call,
  Client,
  COUNTRY_OF,
  clustersOf,
  domicile as command,
  eventually,
  type FurtherEdge,
  LAMP,
  newId,
  newUser,
  problemOf,
  REGIONS,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
  type Where,
  withRegion,
} from './world-for-tests.ts';

const APP = fileURLToPath(new URL('./app-for-tests.ts', import.meta.url));
/** The budget of a request, and what a busy machine adds to it. */
const BUDGET_MS = 2_000;
const SLACK_MS = 600;

let domicile: TestDomicile;
/** Also an edge of eu, with handlers that misbehave. */
let careless: FurtherEdge;
const users = {} as Record<Where, string>;

beforeAll(async () => {
  domicile = await startTestDomicile();
  careless = await domicile.startEdge({ region: 'eu', app: APP });
  for (const home of REGIONS) users[home] = await userAt(home);
});
afterAll(() => domicile?.remove());

async function userAt(home: Where): Promise<string> {
  const user = newUser(COUNTRY_OF[home]);
  const made = await domicile.call(home, 'POST', '/users', { body: user });
  expect(made.status).toBe(201);
  return user.id;
}

function ordersOf(home: Where, user: string): Promise<number> {
  return domicile.sql(`${home}-a`, async (sql) => {
    const [row] = await sql<{ count: number }[]>`
      select count(*)::int as count from app.orders where user_id = ${user}`;
    return row?.count ?? -1;
  });
}

describe('a hop between edges', () => {
  let tap: Tap;
  let edge: FurtherEdge;

  beforeAll(async () => {
    tap = await Tap.to('127.0.0.1', Number(new URL(domicile.url('eu')).port));
    edge = await domicile.startEdge({
      region: 'us',
      catalogue: withRegion(domicile.catalogue, 'eu', (eu) => ({
        ...eu,
        edges: eu.edges.map(({ name }) => ({ name, url: `http://127.0.0.1:${tap.port}` })),
      })),
    });
  });
  afterAll(() => tap.close());

  /** The requests that passed to eu since the last call. */
  function passed(): string[] {
    const all = tap.connections.map(({ sent }) => sent().toString('latin1')).join('');
    const fresh = all.slice(passedBefore);
    passedBefore = all.length;
    return fresh
      .split(/(?=(?:GET|POST|PUT|PATCH|DELETE|HEAD) \/\S* HTTP\/1\.1\r\n)/)
      .filter(Boolean);
  }
  let passedBefore = 0;

  test('is made once for a request, however many statements it runs', async () => {
    passed();
    const path = `/users/${users.eu}/orders`;
    const body = { items: [...LAMP.items, { product: 'chair-oak', quantity: 2 }] };
    const answer = await domicile.call(edge.url, 'POST', path, { body });
    expect(answer.status).toBe(201);
    const hops = passed().filter((request) => !request.includes('/.domicile/'));
    expect(hops.map((request) => request.split('\r\n', 1)[0])).toEqual([`POST ${path} HTTP/1.1`]);
  });

  test('keeps the trace of the client and tells what is left of the budget', async () => {
    passed();
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const headers = { traceparent, tracestate: 'congo=t61rcWkgMzE' };
    const answer = await domicile.call(edge.url, 'GET', `/users/${users.eu}`, { headers });
    expect(answer.status).toBe(200);
    const [hop = ''] = passed();
    expect(hop).toContain(`traceparent: ${traceparent}\r\n`);
    expect(hop).toContain('tracestate: congo=t61rcWkgMzE\r\n');
    const budgetMs = Number(/domicile-hop: v3;us;eu;[^;]+;\d+;(\d+);/.exec(hop)?.[1]);
    expect(budgetMs).toBeGreaterThan(0);
    expect(budgetMs).toBeLessThanOrEqual(BUDGET_MS);
  });

  test('begins a trace where the client had none', async () => {
    passed();
    await domicile.call(edge.url, 'GET', `/users/${users.eu}`);
    expect(passed()[0]).toMatch(/traceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]\r\n/);
  });

  test('that was recorded is refused when it comes again, and stores nothing', async () => {
    const user = await userAt('eu');
    await domicile.call(edge.url, 'GET', `/users/${user}`);
    passed();
    const path = `/users/${user}/orders`;
    expect((await domicile.call(edge.url, 'POST', path, { body: LAMP })).status).toBe(201);
    const [recorded = ''] = passed();
    const again = await raw('eu', recorded);
    expect(again).toMatch(/^HTTP\/1\.1 401 /);
    expect(again).toContain('hop-refused');
    expect(again).toContain('received before');
    // Nor does it pass in another region, or changed in any way.
    expect(await raw('us', recorded)).toMatch(/^HTTP\/1\.1 401 /);
    expect(await raw('asia', recorded)).toMatch(/^HTTP\/1\.1 401 /);
    const changes: [string, string][] = [
      ['POST /users', 'PUT /users'],
      [path, `/users/${users.eu}/orders`],
      ['"quantity":1', '"quantity":9'],
      [';us;eu;', ';asia;eu;'],
      ['lamp-brass', 'chair-oak!'],
    ];
    for (const [from, to] of changes) {
      const changed = recorded.replace(from, to);
      expect(changed).not.toBe(recorded);
      const answer = await raw('eu', changed);
      expect(answer, from).toMatch(/^HTTP\/1\.1 401 /);
      expect(answer).toContain('the signature does not fit the request');
    }
    expect(await ordersOf('eu', user)).toBe(1);
  });

  test('that was recorded for one region is refused in another, where nobody has seen it', async () => {
    for (const to of ['us', 'asia'] as const) {
      const answer = await hop(to, 'GET', `/users/${users.eu}`, {}, { to: 'eu' });
      expect(problemOf(answer)).toEqual([401, 'hop-refused', 'after-change']);
      expect(answer.json.detail).toBe(`signed for "eu", received in "${to}"`);
    }
  });

  test.each([
    'v3;us;eu;somebody;1;2000;1;AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA',
    'v3;us;eu;somebody;1;2000;1;',
    'v3;us;eu',
    'v1;us;eu;somebody;1;2000;AAAA',
    'true',
    '',
  ])('that nobody signed is refused: "%s"', async (header) => {
    for (const to of REGIONS) {
      const headers = { 'domicile-hop': header };
      const answer = await domicile.call(to, 'GET', `/users/${users.eu}`, { headers });
      expect(problemOf(answer)).toEqual([401, 'hop-refused', 'after-change']);
    }
  });

  test('that finds another home is not sent on, and nothing is stored', async () => {
    const before = await ordersOf('us', users.us);
    const read = await hop('eu', 'GET', `/users/${users.us}`);
    expect(problemOf(read)).toEqual([421, 'misdirected', 'safe']);
    expect(read.headers['domicile-home']).toBe('us');
    const written = await hop('eu', 'POST', `/users/${users.us}/orders`, { body: LAMP });
    expect(problemOf(written)).toEqual([421, 'misdirected', 'safe']);
    const user = newUser('US');
    const placed = await hop('eu', 'POST', '/users', { body: user });
    expect(problemOf(placed)).toEqual([421, 'misdirected', 'safe']);
    expect(await ordersOf('us', users.us)).toBe(before);
    expect((await domicile.call('us', 'GET', `/users/${user.id}`)).status).toBe(404);
    // The positive control: the same hop is taken where it belongs.
    expect((await hop('us', 'GET', `/users/${users.us}`)).status).toBe(200);
  });

  test('is the only way to ask what edges ask each other', async () => {
    const key = domicile.keyOf(users.eu).toString('base64url');
    const body = { key, home: 'us', claim: '3f0e5d64-8f43-4c5f-9a55-0b3b3f0a8a11' };
    const questions: [string, string, Call][] = [
      ['GET', `/.domicile/directory/${key}`, {}],
      ['POST', '/.domicile/claims', { body }],
      ['DELETE', '/.domicile/claims', { body }],
    ];
    for (const [method, path, call] of questions) {
      const answer = await domicile.call('eu', method, path, call);
      expect(problemOf(answer)).toEqual([401, 'hop-refused', 'after-change']);
    }
    expect((await hop('eu', 'GET', `/.domicile/directory/${key}`)).json).toMatchObject({
      home: 'eu',
    });
  });
});

describe('health', () => {
  test('tells strangers that the edge serves, and the edges of this system how it is', async () => {
    const edge = await domicile.startEdge({
      region: 'us',
      settings: { DOMICILE_HEALTH: 'status' },
    });
    for (const headers of [{}, { 'domicile-hop': 'v3;eu;us;x;1;100;-;x' }]) {
      const { text, headers: fields } = await domicile.call(edge.url, 'GET', '/.domicile/health', {
        headers,
      });
      const said = `${text}${fields['domicile-served-by']}`;
      for (const word of ['us-a', 'nodes', 'policySha256', 'edge-eu']) {
        expect(said).not.toContain(word);
      }
    }
    const stranger = await domicile.call(edge.url, 'GET', '/.domicile/health');
    expect([stranger.status, stranger.json]).toEqual([200, { status: 'ok' }]);
    const signed = { from: 'eu', to: 'us' };
    await eventually('it has seen its nodes', async () => {
      const whole = await hop(edge.url as Where, 'GET', '/.domicile/health', {}, signed);
      return whole.json.nodes?.some(({ node }: { node: string }) => node === 'us-a');
    });
  });
});

let hops = 0;

/** A genuine hop, as the edge of another region would sign it. */
function hop(
  to: Where,
  method: string,
  path: string,
  call: Call = {},
  signed: Partial<Hop> = {},
): Promise<Answer> {
  const from = to === 'us' ? 'asia' : 'us';
  const one = {
    from,
    to,
    sender: newId('sender'),
    number: ++hops,
    budgetMs: BUDGET_MS,
    policy: { version: 1, recorded: false },
    ...signed,
  };
  const text = call.body === undefined ? undefined : JSON.stringify(call.body);
  const fields: Record<string, string | undefined> = {
    'domicile-session': call.token,
    'content-type': text === undefined ? undefined : 'application/json',
    ...call.headers,
  };
  const bytes = text === undefined ? undefined : Buffer.from(text);
  const content = hopContent(method, path, (name) => fields[name], bytes);
  const header = signHop(one, content, createSecretKey(domicile.secret('hops')));
  return domicile.call(to, method, path, {
    ...call,
    headers: { ...call.headers, 'domicile-hop': header },
  });
}

/** What an edge answers to these bytes, until it is silent for a moment or hangs up. */
async function raw(to: Where, bytes: string): Promise<string> {
  const socket = dial(Number(new URL(domicile.url(to)).port), '127.0.0.1');
  socket.on('error', () => {});
  let answer = '';
  socket.on('data', (part) => {
    answer += part.toString('latin1');
    // Answers of the edge have a length or are chunked; both end with their JSON here.
    if (/\r\n\r\n.*\}(\r\n0\r\n\r\n)?$/s.test(answer)) socket.destroy();
  });
  socket.write(bytes, 'latin1');
  const limit = setTimeout(() => socket.destroy(), 5_000);
  await once(socket, 'close');
  clearTimeout(limit);
  return answer;
}

describe('SQL', () => {
  test.runIf(process.platform === 'linux')(
    'goes from an edge to the nodes of its own region only, under load from everywhere',
    async () => {
      const edgeName = (region: Where) => `edge-${region}`;
      const own = (region: Where) =>
        (domicile.catalogue.regions.get(region)?.nodes ?? []).map(({ port }) => port);
      const edgePorts = REGIONS.map((region) => Number(new URL(domicile.url(region)).port));
      const strangers: string[] = [];
      const found: Record<string, Set<number>> = { us: new Set(), eu: new Set(), asia: new Set() };
      let over = false;
      const load = REGIONS.flatMap((edge) =>
        REGIONS.map(async (home) => {
          const client = new Client(domicile);
          const user = users[home];
          while (!over) {
            await client.call(edge, 'POST', `/users/${user}/orders`, LAMP);
            await client.call(edge, 'GET', `/users/${user}/orders`);
            await client.call(edge, 'GET', `/users/${user}/card`);
            await client.call(edge, 'GET', '/products');
            await domicile.call(edge, 'GET', `/users/${newId('nobody')}`);
            await domicile.call(edge, 'POST', '/users', { body: newUser(COUNTRY_OF[home]) });
          }
        }),
      );
      try {
        for (let look = 0; look < 25; look++) {
          for (const region of REGIONS) {
            const pid = domicile.world.edges.get(edgeName(region))?.pid ?? 0;
            for (const port of await dialledBy(pid)) {
              found[region]?.add(port);
              const allowed = [...own(region), ...edgePorts];
              if (!allowed.includes(port)) strangers.push(`${region} to ${port}`);
            }
          }
          await new Promise((done) => setTimeout(done, 40));
        }
      } finally {
        over = true;
        await Promise.all(load);
      }
      expect(strangers).toEqual([]);
      // The positive control: the same look sees each edge at its own nodes and at its peers.
      for (const region of REGIONS) {
        const seen = [...(found[region] ?? [])];
        expect(seen).toEqual(expect.arrayContaining(own(region)));
        expect(seen.filter((port) => edgePorts.includes(port)).length).toBeGreaterThan(0);
      }
    },
  );

  test('of one region’s edge is refused by every cluster of the others, and by every airlock', async () => {
    for (const region of REGIONS) {
      const password = domicile.clusters.password(edgePassword(region));
      for (const { region: there, node } of clustersOf(domicile)) {
        for (const user of Object.values(LOGINS)) {
          const pool = new LeasePool({
            endpoint: { ...domicile.clusters.superuser(node), user, password },
            connectionsMax: 1,
            waitersMax: 1,
            connectTimeoutMs: 5_000,
          });
          const login = await pool
            .run((sql) => sql`select 1`, { timeoutMs: 10_000 })
            .then(
              () => 'let in',
              (error) => error.failure.sqlstate ?? error.failure.code,
            );
          await pool.close({ timeoutMs: 1_000 });
          const home = there === region && !node.endsWith('-x');
          expect(login, `${user} of ${region} at ${node}`).toBe(home ? 'let in' : '28P01');
        }
      }
    }
  });
});

/** The remote ports of the connections that this process has opened and that stand. */
async function dialledBy(pid: number): Promise<number[]> {
  const sockets = new Set<string>();
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const target = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined) sockets.add(inode);
  }
  const rows = ['tcp', 'tcp6'].map((name) => readFile(`/proc/${pid}/net/${name}`, 'latin1'));
  const lines = (await Promise.all(rows)).flatMap((text) => text.trim().split('\n').slice(1));
  const mine = lines
    .map((line) => line.trim().split(/\s+/))
    .filter((columns) => sockets.has(columns[9] ?? ''));
  const port = (address: string | undefined) => Number.parseInt(address?.split(':')[1] ?? '', 16);
  const listening = new Set(
    mine.filter((columns) => columns[3] === '0A').map((columns) => port(columns[1])),
  );
  // 01 is ESTABLISHED, 02 SYN_SENT; who was dialled has a local port that listens.
  return mine
    .filter((columns) => ['01', '02'].includes(columns[3] ?? ''))
    .filter((columns) => !listening.has(port(columns[1])))
    .map((columns) => port(columns[2]));
}

describe('every answer says where it comes from', () => {
  const expectFields = (answer: Answer, by: RegExp) => {
    const { headers } = answer;
    expect(headers['domicile-served-by']).toMatch(by);
    expect(headers['domicile-decision']).toMatch(/^(serve|forward|refuse|answer)/);
    expect(headers['server-timing']).toMatch(/\b(us|eu|asia);dur=[\d.]+/);
    expect(headers['cache-control']).toBe('private, no-store');
  };

  const rows: [string, Where, string, () => string, Call, number, Where | undefined][] = [
    ['200 of its own', 'eu', 'GET', () => `/users/${users.eu}`, {}, 200, 'eu'],
    ['200 from afar', 'asia', 'GET', () => `/users/${users.eu}`, {}, 200, 'eu'],
    ['200 of reference data', 'asia', 'GET', () => '/products', {}, 200, 'us'],
    ['200 of a mirror', 'eu', 'GET', () => `/users/${users.us}/card`, {}, 200, 'us'],
    ['200 without a body', 'eu', 'HEAD', () => `/users/${users.eu}`, {}, 200, 'eu'],
    ['201', 'us', 'POST', () => `/users/${users.eu}/orders`, { body: LAMP }, 201, 'eu'],
    ['400', 'us', 'POST', () => `/users/${users.us}/orders`, { body: '{"items":' }, 400, 'us'],
    ['404 of a path', 'us', 'GET', () => '/nowhere', {}, 404, undefined],
    ['404 of a subject', 'us', 'GET', () => '/users/nobody-at-all', {}, 404, undefined],
    ['404 of a row', 'asia', 'GET', () => `/users/${users.eu}/orders/${UUID}`, {}, 404, 'eu'],
    ['405', 'us', 'DELETE', () => '/users', {}, 405, undefined],
    ['405 from afar', 'us', 'DELETE', () => `/users/${users.eu}`, {}, 405, 'eu'],
    ['413', 'us', 'POST', () => '/users', { body: 'x'.repeat(1_048_577) }, 413, undefined],
    ['422', 'us', 'POST', () => '/users', { body: {} }, 422, undefined],
  ];
  test.each(rows)('%s', async (_what, to, method, path, call, status, home) => {
    const answer = await domicile.call(to, method, path(), call);
    expect(answer.status).toBe(status);
    expectFields(answer, /^(us|eu|asia)(\/(us|eu|asia)-[ab])?$/);
    expect(answer.headers['domicile-home']).toBe(home);
    const served = String(answer.headers['domicile-decision']).includes('serve;');
    if (served) expect(answer.headers['domicile-staleness-ms']).toMatch(/^\d+$/);
  });

  test('401 and 421 of a hop, and 500 of an app', async () => {
    const headers = { 'domicile-hop': 'forged' };
    const refused = await domicile.call('eu', 'GET', `/users/${users.eu}`, { headers });
    expect(refused.status).toBe(401);
    expectFields(refused, /^eu$/);
    const misdirected = await hop('eu', 'GET', `/users/${users.us}`);
    expect(misdirected.status).toBe(421);
    expectFields(misdirected, /^eu$/);
    const failed = await domicile.call(careless.url, 'GET', `/users/${users.eu}/throws`);
    expect(failed.status).toBe(500);
    expectFields(failed, /^eu$/);
    expect(failed.headers['domicile-home']).toBe('eu');
  });
});

const UUID = '01a1fb62-9c0f-7ea1-82dc-85ee184e4006';

describe('a refusal is a problem document that says whether to try again', () => {
  test.each([
    ['malformed JSON', 'POST', '/users', { body: '{"a":' }, 400, 'malformed-json'],
    ['an empty body', 'POST', '/users', { body: '' }, 400, 'malformed-json'],
    ['a wrong shape', 'POST', '/users', { body: { id: 7 } }, 422, 'invalid-request'],
    ['an unknown country', 'POST', '/users', { body: newUser('ZZ') }, 422, 'unknown-country'],
    ['a country’s name', 'POST', '/users', { body: newUser('Germany') }, 422, 'unknown-country'],
    ['no such subject', 'GET', '/users/nobody-at-all', {}, 404, 'unknown-subject'],
    ['no such path', 'GET', '/nowhere', {}, 404, 'not-found'],
    ['a wrong method', 'PUT', '/users', { body: {} }, 405, 'method-not-allowed'],
  ] as const)('%s', async (_what, method, path, call: Call, status, kind) => {
    for (const edge of REGIONS) {
      const answer = await domicile.call(edge, method, path, call);
      expect(problemOf(answer)).toEqual([status, kind, 'after-change']);
      expect(answer.headers['content-type']).toBe('application/problem+json');
      expect(answer.json).toMatchObject({ status, title: expect.any(String) });
      expect(answer.headers['domicile-decision']).toBe(`refuse;because=${kind}`);
    }
  });

  test('of which the method’s one lists what the path takes, and an unknown path lists nothing', async () => {
    const allowed = async (method: string, path: string) =>
      (await domicile.call('eu', method, path)).headers.allow;
    expect(await allowed('DELETE', '/users')).toBe('POST');
    expect(await allowed('DELETE', '/products')).toBe('GET, HEAD');
    expect(await allowed('DELETE', `/users/${users.eu}/orders`)).toBe('GET, HEAD, POST');
    expect(await allowed('DELETE', '/nowhere')).toBeUndefined();
    expect(await allowed('GET', `/users/${users.eu}/orders/${UUID}`)).toBeUndefined();
  });

  test('of which none repeats what was sent', async () => {
    const canary = newId('canaryvalue');
    for (const call of [
      { body: `{"id":"${canary}",,` },
      { body: { ...newUser('DE', canary), email: canary } },
      { body: { ...newUser('DE', canary), displayName: `${canary}\u0000` } },
    ]) {
      const answer = await domicile.call('us', 'POST', '/users', call);
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.text).not.toContain(canary);
    }
  });

  test('a body that says it is too large is refused before it is sent', async () => {
    for (const to of REGIONS) {
      const head = `POST /users/${users.eu}/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`;
      const answer = await raw(to, `${head}Content-Length: 9000000\r\n\r\n`);
      expect(answer).toMatch(/^HTTP\/1\.1 413 /);
      expect(answer).toContain('/docs/problems.md#body-too-large');
    }
  });

  test.each([
    ['POST', ''],
    ['PATCH', ''],
    ['PROPFIND', ''],
    ['QUERY', ''],
    ['POST', 'Domicile-Hop: v3;us;eu;nobody;1;2000;1;AAAA\r\n'],
  ])('a body of %s that goes on for ever is not read to its end %s', async (method, header) => {
    const chunk = `${(65_536).toString(16)}\r\n${' '.repeat(65_536)}\r\n`;
    for (const to of REGIONS) {
      const head = `${method} /users/${users.eu}/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n`;
      const answer = await raw(
        to,
        `${head}${header}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(20)}`,
      );
      if (to === 'eu' && method !== 'POST') {
        // At home nothing asks for the body of a request that no route takes.
        expect(answer, to).toMatch(/^HTTP\/1\.1 405 /);
      } else if (header === '') {
        expect(answer, to).toMatch(/^HTTP\/1\.1 413 /);
        expect(answer).toContain('body-too-large');
      } else {
        expect(answer, to).toMatch(/^HTTP\/1\.1 401 /);
        expect(answer).toContain('hop-refused');
      }
    }
  });
});

describe('a handler cannot', () => {
  const name = (home: Where) =>
    domicile.sql(`${home}-a`, async (sql) => {
      const [row] = await sql`select display_name as name from app.users where id = ${users[home]}`;
      return row?.name;
    });

  test.each(['writes-in-get', 'writes-in-read'])('write in a read route: %s', async (route) => {
    const answer = await domicile.call(careless.url, 'GET', `/users/${users.eu}/${route}`);
    expect(problemOf(answer)).toEqual([500, 'read-only-route', 'after-change']);
    expect(await name('eu')).toBe(`Name of ${users.eu}`);
  });

  test('write with the reader’s login, even when it talks the connection out of being read-only', async () => {
    // Placed on the primary, where nothing but the role stands against it.
    const client = new Client(domicile);
    await client.call('eu', 'POST', `/users/${users.eu}/orders`, LAMP);
    await domicile.sql('eu-b', (sql) => sql`select pg_wal_replay_pause()`);
    try {
      await client.call('eu', 'POST', `/users/${users.eu}/orders`, LAMP);
      const answer = await client.call(careless.url, 'GET', `/users/${users.eu}/insists`);
      expect(answer.headers['domicile-decision']).toContain('passed-over="eu-b:behind"');
      expect(problemOf(answer)).toEqual([500, 'not-permitted', 'after-change']);
      expect(await name('eu')).toBe(`Name of ${users.eu}`);
    } finally {
      await domicile.sql('eu-b', (sql) => sql`select pg_wal_replay_resume()`);
    }
  });

  test('write in a GET, unless its route is marked so', async () => {
    const answer = await domicile.call(careless.url, 'GET', `/users/${users.eu}/marked`);
    expect(answer.status).toBe(200);
    expect(await name('eu')).toBe('marked');
  });

  test('see an app table abroad: it fails instead of finding nothing', async () => {
    const profile = await domicile.call(careless.url, 'GET', `/users/${users.us}/card`);
    expect(profile.headers['domicile-decision']).toMatch(/^serve;node=eu-[ab];rung=mirror/);
    expect(profile.json).toEqual([{ display_name: `Name of ${users.us}` }]);
    const leaked = await domicile.call(careless.url, 'GET', `/users/${users.us}/leaks`);
    expect(leaked.headers['domicile-decision']).toBe('refuse;because=not-permitted');
    expect(leaked.status).toBe(500);
    // The positive control: at home the same handler is let in.
    const home = await domicile.call(careless.url, 'GET', `/users/${users.eu}/leaks`);
    expect(home.json).toEqual([{ email: `${users.eu}@mail.example` }]);
  });

  test('serve what the policy does not declare', async () => {
    const answer = await domicile.call(careless.url, 'GET', `/users/${users.us}/undeclared`);
    expect(problemOf(answer)).toEqual([500, 'undeclared-in-policy', 'after-change']);
  });

  test('fail with a value of the request in the log or the answer', async () => {
    const answer = await domicile.call(careless.url, 'GET', `/users/${users.eu}/throws`);
    expect(problemOf(answer)).toEqual([500, 'internal', 'same-key-only']);
    expect(answer.text).not.toContain(users.eu);
    const log = await readFile(careless.log, 'utf8');
    expect(log).toContain('"event":"handler-failed"');
    expect(log).toContain('app-for-tests.ts');
    for (const user of Object.values(users)) expect(log).not.toContain(user);
  });
});

describe('a start that cannot succeed', () => {
  test('says all complaints at once, with file, line and column', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'domicile-test-'));
    try {
      const beside = (file: string) => fileURLToPath(new URL(file, `file://${STOREFRONT}`));
      const policy = join(folder, 'residency.yaml');
      const text = await readFile(beside('residency.yaml'), 'utf8');
      await writeFile(
        policy,
        text.replace('home: asia', 'home: mars').replace('transit: proxy', 'transt: proxy'),
      );
      const app = join(folder, 'app.ts');
      await writeFile(app, 'export const nothing = 1;\n');
      const regions = beside('regions.yaml');
      const args = ['edge', '--region', 'moon', '--app', app, '--policy', policy];
      const ran = await command([...args, '--regions', regions], {
        PATH: process.env.PATH ?? '',
        DOMICILE_HOP_KEY: 'c2hvcnRrZXk',
        DOMICILE_BUDGET_MS: '1s',
        DOMICILE_BUGDET_MS: '1000',
      });
      expect(ran.status).toBe(1);
      expect(ran.stdout).toBe('');
      const [first, ...complaints] = ran.stderr.trim().split('\n');
      expect(first).toBe('domicile edge: cannot start');
      const said = complaints.join('\n');
      const line = (part: string) => text.slice(0, text.indexOf(part)).split('\n').length;
      expect(said).toMatch(new RegExp(`residency\\.yaml:${line('home: asia')}:\\d+ .*mars`));
      expect(said).toMatch(new RegExp(`residency\\.yaml:${line('transit: proxy')}:\\d+ .*transt`));
      expect(said).toContain('DOMICILE_DATABASE_PASSWORD  missing');
      expect(said).toContain('DOMICILE_HOP_KEY  has 8 bytes');
      expect(said).toContain('DOMICILE_BUDGET_MS  "1s"');
      expect(said).toContain(
        'DOMICILE_BUGDET_MS  no such setting; did you mean DOMICILE_BUDGET_MS?',
      );
      expect(said).toContain('must have a Hono app as its default export');
      expect(said).not.toContain('c2hvcnRrZXk');
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test('says what is wrong with regions and environment together', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'domicile-test-'));
    try {
      const regions = join(folder, 'regions.yaml');
      const beside = (file: string) => fileURLToPath(new URL(file, `file://${STOREFRONT}`));
      const text = await readFile(beside('regions.yaml'), 'utf8');
      await writeFile(
        regions,
        text.replace('port: 7120', 'port: 99999').replace('airlock:', 'airlok:'),
      );
      const args = ['edge', '--region', 'eu', '--app', STOREFRONT, '--regions', regions];
      const ran = await command(args, { PATH: process.env.PATH ?? '' });
      expect(ran.status).toBe(1);
      expect(ran.stderr).toMatch(/regions\.yaml:\d+:\d+ .*99999/);
      expect(ran.stderr).toMatch(/regions\.yaml:\d+:\d+ .*airlok/);
      for (const name of ['DATABASE_PASSWORD', 'SESSION_KEYS', 'HOP_KEY', 'DIRECTORY_KEY']) {
        expect(ran.stderr).toContain(`DOMICILE_${name}  missing`);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});

describe('when eu’s replica is frozen and no commit is acknowledged', () => {
  async function frozen<T>(use: () => Promise<T>): Promise<T> {
    domicile.clusters.kill('eu-b', 'SIGSTOP');
    try {
      return await use();
    } finally {
      domicile.clusters.kill('eu-b', 'SIGCONT');
    }
  }

  async function untilWritesAreTaken(): Promise<void> {
    await eventually('writes are acknowledged again', async () => {
      const user = newUser('DE');
      const { status } = await domicile.call('eu', 'POST', '/users', {
        body: { ...user, id: undefined },
      });
      return status === 201;
    });
  }

  test('a write is told that its outcome is unknown, within the budget, and is found later', async () => {
    for (const edge of ['eu', 'asia']) {
      const user = await userAt('eu');
      await frozen(async () => {
        const answer = await domicile.call(edge, 'POST', `/users/${user}/orders`, { body: LAMP });
        expect(problemOf(answer)).toEqual([504, 'write-outcome-unknown', 'same-key-only']);
        expect(answer.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
        // Once one commit hangs, the next writers wait, and are told that theirs did not happen.
        const next = await domicile.call('eu', 'POST', `/users/${users.eu}/orders`, { body: LAMP });
        expect(problemOf(next)).toEqual([503, 'write-not-applied', 'safe']);
        expect(next.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
      });
      await untilWritesAreTaken();
      // It had reached the log of the primary, so it is there, once.
      const listed = await domicile.call('us', 'GET', `/users/${user}/orders`);
      expect([listed.status, listed.json.orders.length]).toEqual([200, 1]);
    }
  });

  test('a write gives up when the budget that came with its hop is over', async () => {
    const user = await userAt('eu');
    await frozen(async () => {
      const path = `/users/${user}/orders`;
      const answer = await hop('eu', 'POST', path, { body: LAMP }, { budgetMs: 400 });
      expect(problemOf(answer)).toEqual([504, 'write-outcome-unknown', 'same-key-only']);
      expect(answer.ms).toBeLessThan(400 + SLACK_MS);
    });
    await untilWritesAreTaken();
  });

  test('reads are served from the primary as soon as the replica counts as unseen', async () => {
    await frozen(async () => {
      await eventually(
        'a user of eu, a profile of us and the products',
        async () => {
          const paths = [`/users/${users.eu}`, `/users/${users.us}/card`, '/products'];
          const answers = await Promise.all(paths.map((path) => domicile.call('eu', 'GET', path)));
          const nodes = answers.map(({ headers }) => String(headers['domicile-served-by']));
          return (
            answers.every(({ status }) => status === 200) &&
            nodes.join() === 'eu/eu-a,eu/eu-a,eu/eu-a'
          );
        },
        8_000,
      );
    });
    await untilWritesAreTaken();
  });

  test('a chosen id is undecided or not stored, never an app’s failure, and can be had later', async () => {
    const bodies = Array.from({ length: 6 }, () => newUser('DE'));
    await frozen(async () => {
      const answers = await Promise.all(
        bodies.map((body) => domicile.call('us', 'POST', '/users', { body })),
      );
      for (const answer of answers) {
        expect([503, 504], answer.text).toContain(answer.status);
        expect(['safe', 'same-key-only']).toContain(answer.json.retry);
        expect(answer.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
      }
    });
    await untilWritesAreTaken();
    for (const body of bodies) {
      await eventually('the id is taken once', async () => {
        const { status, json } = await domicile.call('asia', 'POST', '/users', { body });
        return status === 201 || (status === 409 && json.home === 'eu');
      });
      expect((await domicile.call('us', 'GET', `/users/${body.id}`)).status).toBe(200);
    }
  });
});

describe('when eu’s replica is gone', () => {
  test('what eu has of other regions is still served there', async () => {
    domicile.clusters.kill('eu-b', 'SIGKILL');
    try {
      await eventually(
        'products and profiles are served',
        async () => {
          const products = await domicile.call('eu', 'GET', '/products');
          const card = await domicile.call('eu', 'GET', `/users/${users.us}/card`);
          return products.status === 200 && card.status === 200;
        },
        2_000,
      );
    } finally {
      await domicile.clusters.start('eu-b');
    }
  });
});

describe('when the edge of eu is gone', () => {
  const edge = () => domicile.world.edges.get('edge-eu');

  async function expectRefusals(write: [number, string, string]): Promise<void> {
    for (const from of ['us', 'asia']) {
      const read = await domicile.call(from, 'GET', `/users/${users.eu}/orders`);
      expect(problemOf(read)).toEqual([503, 'residency-unavailable', 'safe']);
      expect(read.json.home).toBe('eu');
      expect(read.headers['domicile-home']).toBe('eu');
      expect(read.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
    }
    const written = await domicile.call('us', 'POST', `/users/${users.eu}/orders`, { body: LAMP });
    expect(problemOf(written)).toEqual(write);
    expect(written.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
  }

  async function expectOthersUnharmed(): Promise<void> {
    const client = new Client(domicile);
    expect((await client.call('asia', 'POST', `/users/${users.us}/orders`, LAMP)).status).toBe(201);
    expect((await client.call('us', 'GET', `/users/${users.us}/orders`)).status).toBe(200);
    expect((await domicile.call('us', 'POST', '/users', { body: newUser('JP') })).status).toBe(201);
  }

  test('silent, its users are refused within the budget, and a write may have happened', async () => {
    edge()?.kill('SIGSTOP');
    try {
      await expectRefusals([504, 'write-outcome-unknown', 'same-key-only']);
      await expectOthersUnharmed();
      const nobody = await domicile.call('us', 'GET', `/users/${newId('nobody')}`);
      expect(problemOf(nobody)).toEqual([503, 'home-unknown', 'safe']);
      expect(nobody.json.silent).toEqual(['eu']);
    } finally {
      edge()?.kill('SIGCONT');
    }
    await eventually('eu is served again', async () => {
      const { status } = await domicile.call('us', 'GET', `/users/${users.eu}`);
      return status === 200;
    });
  });

  test('dead, its users are refused at once, and nobody else’s; an unknown id is not called unknown', async () => {
    edge()?.kill('SIGKILL');
    await edge()?.ended;
    await expectRefusals([503, 'residency-unavailable', 'safe']);
    await expectOthersUnharmed();
    for (const from of ['us', 'asia']) {
      const nobody = await domicile.call(from, 'GET', `/users/${newId('nobody')}`);
      expect(problemOf(nobody)).toEqual([503, 'home-unknown', 'safe']);
      expect(nobody.json.silent).toEqual(['eu']);
      expect(nobody.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
    }
    const placed = await domicile.call('us', 'POST', '/users', { body: newUser('DE') });
    expect(problemOf(placed)).toEqual([503, 'residency-unavailable', 'safe']);
    await domicile.world.startEdge('edge-eu');
    await eventually('us has found it back', async () => {
      return (await domicile.call('us', 'GET', `/users/${users.eu}`)).status === 200;
    });
    expect((await domicile.call('us', 'GET', `/users/${newId('nobody')}`)).status).toBe(404);
  });
});
