/** Does a body that may only be read at home stay away from every other region? */
import { execFile } from 'node:child_process';
import { createSecretKey, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { fetch } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { signHop } from './hop.ts';
import { formsOf, inMemory } from './memory-for-tests.ts';
import { hopContent } from './peers.ts';
import { Tap } from './tap-for-tests.ts';
import {
  type Answer,
  Client,
  COUNTRY_OF,
  eventually,
  type FurtherEdge,
  newId,
  REGIONS,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
  tokenOf,
  type Where,
  withRegion,
} from './world-for-tests.ts';

const APP = fileURLToPath(new URL('./redirect-app-for-tests.ts', import.meta.url));
const LINUX = process.platform === 'linux';
const CURL = ['/usr/bin/curl', '/opt/homebrew/bin/curl'].find((path) => existsSync(path));

const TABLES = `
tables:
  messages:
    subject: user_id
    transit: redirect
    mirrors:
      - as: message_dates
        columns: [id, user_id, sent_at]
        homes: [us, asia]
        to: [us, eu, asia]
`;
const MESSAGES = `
create table messages (
  id uuid primary key default uuidv7(),
  user_id text not null references users,
  body text not null,
  sent_at timestamptz not null default now()
);
`;

let parent: string;
/** By the clock of the files; nothing older can hold a canary. */
let beganAtMs: number;
let domicile: TestDomicile;
/** An edge of us that everybody here talks to, and what is said to it. */
let foreign: FurtherEdge;
let wire: Tap;
/** What it says to eu. */
let hops: Tap;
const users = {} as Record<Where, string>;

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'domicile-redirect-'));
  await chmod(parent, 0o711);
  const beside = (name: string) => readFile(join(dirname(STOREFRONT), name), 'utf8');
  const policy = join(parent, 'residency.yaml');
  const schema = join(parent, 'schema.sql');
  await writeFile(policy, (await beside('residency.yaml')).replace(/^tables:\n/m, TABLES));
  await writeFile(schema, (await beside('schema.sql')) + MESSAGES);
  domicile = await startTestDomicile({ app: APP, policy, schema });
  const port = (url: string) => Number(new URL(url).port);
  hops = await Tap.to('127.0.0.1', port(domicile.url('eu')));
  foreign = await domicile.startEdge({
    region: 'us',
    catalogue: withRegion(domicile.catalogue, 'eu', (eu) => ({
      ...eu,
      edges: eu.edges.map(({ name, url }) => ({
        name,
        url: `http://127.0.0.1:${hops.port}`,
        publicUrl: url,
      })),
    })),
  });
  wire = await Tap.to('127.0.0.1', port(foreign.url));
  const mark = join(parent, 'began');
  await writeFile(mark, '');
  beganAtMs = (await stat(mark)).mtimeMs;
  for (const home of REGIONS) {
    users[home] = newId();
    const body = { id: users[home], country: COUNTRY_OF[home] };
    expect((await domicile.call(home, 'POST', '/users', { body })).status).toBe(201);
  }
});
afterAll(async () => {
  wire?.close();
  hops?.close();
  await domicile?.remove();
  await rm(parent, { recursive: true, force: true });
});

const messagesOf = (user: string) => `/users/${user}/messages`;
const abroad = () => `http://127.0.0.1:${wire.port}`;
const heardBy = (tap: Tap) => Buffer.concat(tap.connections.map(({ sent }) => sent()));

/** A text that is nowhere else. */
function canary(): string {
  return `canary${randomBytes(12).toString('hex')}`;
}

/** Files that were written since, the logs of all processes among them, with this text. */
async function filesWith(text: string): Promise<string[]> {
  const forms = formsOf(text);
  const entries = await readdir(domicile.root, { recursive: true, withFileTypes: true });
  const found: string[] = [];
  for (const entry of entries) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    // Postgres removes files at any moment.
    const written = await stat(path).catch(() => undefined);
    if (written === undefined || written.mtimeMs < beganAtMs) continue;
    const bytes = await readFile(path).catch(() => Buffer.alloc(0));
    if (forms.some((form) => bytes.includes(form))) found.push(path.slice(domicile.root.length));
  }
  return found;
}

function storedIn(region: Where, text: string): Promise<number> {
  return domicile.sql(`${region}-a`, async (sql) => {
    const [row] = await sql<{ count: number }[]>`
      select count(*)::int as count from app.messages where body = ${text}`;
    return row?.count ?? -1;
  });
}

type Sent = {
  status: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** Whether it was told to send the body. */
  told: boolean;
};

/** A client that sends a body only when it is told to. */
function sendWaiting(
  url: string,
  body: string,
  { method = 'POST', headers = {}, chunked = false } = {},
): Promise<Sent> {
  return new Promise((resolve, reject) => {
    let told = false;
    const length = chunked
      ? { 'transfer-encoding': 'chunked' }
      : { 'content-length': Buffer.byteLength(body) };
    const asking = request(url, {
      method,
      agent: new Agent({ keepAlive: false }),
      timeout: 10_000,
      headers: { ...length, expect: '100-continue', ...headers },
    });
    asking.on('continue', () => {
      told = true;
      asking.end(body);
    });
    asking.on('response', (answer) => {
      let text = '';
      answer.on('data', (part) => {
        text += part;
      });
      answer.on('end', () => {
        asking.destroy();
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text, told });
      });
    });
    asking.on('timeout', () => asking.destroy(new Error('no answer')));
    asking.on('error', reject);
    asking.flushHeaders();
  });
}

const kindOf = ({ json }: Answer) => json?.type?.replace('/docs/problems.md#', '');

describe('a client that waits for the word to send its body', () => {
  test.each([{ chunked: false }, { chunked: true }])(
    'is sent home without it, and nothing of it is anywhere abroad: %j',
    async ({ chunked }) => {
      // The edge has never heard of this subject: while it asks around, a body could arrive.
      const user = newId();
      const made = { id: user, country: 'DE' };
      expect((await domicile.call('eu', 'POST', '/users', { body: made })).status).toBe(201);
      const text = canary();
      const body = JSON.stringify({ text });
      const path = `${messagesOf(user)}?by=post%20office&n=1`;
      const first = await sendWaiting(abroad() + path, body, { chunked });
      expect(first).toMatchObject({ status: 307, told: false, text: '' });
      expect(first.headers.location).toBe(domicile.url('eu') + path);
      expect(first.headers).toMatchObject({
        'domicile-decision': 'redirect;to=eu',
        'domicile-home': 'eu',
        'domicile-served-by': 'us',
        'cache-control': 'private, no-store',
        connection: 'close',
      });
      expect(first.headers['domicile-session']).toBeUndefined();
      expect(first.headers['set-cookie']).toBeUndefined();

      const second = await sendWaiting(first.headers.location ?? '', body, { chunked });
      expect(second).toMatchObject({ status: 201, told: true });
      expect(second.headers['domicile-decision']).toMatch(/^serve;node=eu-/);
      expect(await Promise.all(REGIONS.map((region) => storedIn(region, text)))).toEqual([0, 1, 0]);

      expect(heardBy(wire).includes(path)).toBe(true);
      expect(heardBy(wire).includes(text)).toBe(false);
      expect(heardBy(hops).includes(text)).toBe(false);
      if (LINUX) expect(await inMemory(foreign.child.pid, [text])).toEqual([]);
      else console.warn('nobody looked into the memory of the edge: that takes Linux');
      const files = await filesWith(text);
      // The same look finds it at home.
      expect(files.length).toBeGreaterThan(0);
      expect(files.filter((file) => !/\/eu-[ab]\//.test(file))).toEqual([]);
    },
  );

  test('of a table that may pass, is heard on both wires and seen in memory', async () => {
    await eventually('the looks above find what there is to find', async () => {
      const text = canary();
      const body = JSON.stringify({ text });
      const answer = await sendWaiting(`${abroad()}/users/${users.eu}/name`, body, {
        method: 'PUT',
      });
      expect(answer).toMatchObject({ status: 200, told: true });
      expect(answer.headers['domicile-decision']).toMatch(/^forward;to=eu, serve/);
      expect(heardBy(wire).includes(text)).toBe(true);
      expect(heardBy(hops).includes(text)).toBe(true);
      return !LINUX || (await inMemory(foreign.child.pid, [text])).length === 1;
    });
  });

  test('is not asked for a body that is refused unread', async () => {
    const answer = await sendWaiting(abroad() + messagesOf(newId('nobody')), '{}');
    expect(answer).toMatchObject({ status: 404, told: false });
  });

  test('is told to send what belongs to nobody', async () => {
    const answer = await sendWaiting(`${abroad()}/echo`, 'hello');
    expect(answer).toMatchObject({ status: 200, told: true, text: '{"read":5}' });
  });
});

describe('a client that sends its body at once', () => {
  const BLOCK_BYTES = 16 * 1024;
  const BLOCKS = 512;
  /** What one read from a socket can bring. */
  const CHUNK_BYTES = 64 * 1024;

  /** Eight megabytes in which places can be told from each other. */
  function blocks(name: string): string[] {
    return Array.from({ length: BLOCKS }, (_, n) => `${name}-${n}-`.padEnd(BLOCK_BYTES, '.'));
  }

  test.each([
    { chunked: false, refused: false },
    { chunked: true, refused: false },
    { chunked: false, refused: true },
  ])('is heard no further than the first chunk, and cut off: %j', async ({ chunked, refused }) => {
    const path = messagesOf(refused ? newId('nobody') : users.eu);
    const name = canary();
    const parts = blocks(name);
    const socket = connect(Number(new URL(foreign.url).port), '127.0.0.1');
    let heard = '';
    socket.on('data', (part) => {
      heard += part.toString('latin1');
    });
    socket.on('error', () => {});
    const closed = new Promise((done) => socket.once('close', done));
    const hopsBefore = heardBy(hops).length;
    const length = chunked
      ? 'Transfer-Encoding: chunked'
      : `Content-Length: ${BLOCKS * BLOCK_BYTES}`;
    socket.write(`POST ${path} HTTP/1.1\r\nHost: a\r\n${length}\r\n\r\n`);
    for (const part of parts) {
      socket.write(chunked ? `${BLOCK_BYTES.toString(16)}\r\n${part}\r\n` : part);
    }
    await closed;
    expect(heard).toMatch(/\r\nconnection: close\r\n/i);
    if (refused) expect(heard).toMatch(/^HTTP\/1\.1 404 /);
    else expect(heard).toContain(`location: ${domicile.url('eu')}${path}\r\n`);
    const beyond = [CHUNK_BYTES / BLOCK_BYTES, 32, BLOCKS - 1].map(
      (n) => parts[n]?.slice(0, 40) ?? '',
    );
    if (LINUX) expect(await inMemory(foreign.child.pid, beyond)).toEqual([]);
    else console.warn('nobody looked into the memory of the edge: that takes Linux');
    expect(heardBy(hops).subarray(hopsBefore).includes(name)).toBe(false);
    expect(await filesWith(name)).toEqual([]);
  });

  test.runIf(LINUX)('of a table that may pass, is heard to the end', async () => {
    await eventually('its last part is found in memory', async () => {
      const name = canary();
      const parts = blocks(name).slice(0, 32);
      const body = JSON.stringify({ text: parts.join('') });
      const answer = await domicile.call(foreign.url, 'PUT', `/users/${users.eu}/name`, { body });
      // The name is too long for its column; it was read all the same.
      expect(answer.status).toBe(422);
      const last = parts.at(-1)?.slice(0, 40) ?? '';
      return (await inMemory(foreign.child.pid, [last])).length === 1;
    });
  });
});

describe('a client that follows', () => {
  test.each(['GET', 'HEAD'])('%s', async (method) => {
    const answer = await fetch(abroad() + messagesOf(users.eu), { method });
    expect(answer.status).toBe(200);
    expect(answer.redirected).toBe(true);
    expect(answer.url).toBe(domicile.url('eu') + messagesOf(users.eu));
    expect(answer.headers.get('domicile-served-by')).toMatch(/^eu\/eu-/);
  });

  test('POST, with its body and its session', async () => {
    const client = new Client(domicile);
    await client.call('eu', 'GET', messagesOf(users.eu));
    const text = canary();
    const answer = await fetch(abroad() + messagesOf(users.eu), {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'domicile-session': client.token ?? '' },
      body: JSON.stringify({ text }),
    });
    expect(answer.status).toBe(201);
    expect(await storedIn('eu', text)).toBe(1);
    const token = answer.headers.get('domicile-session') ?? '';
    const opened = domicile.tokens.open(token);
    expect(opened).toMatchObject({ kind: 'session', session: { home: 'eu' } });
    // What was written at home is seen at once, through any edge.
    const headers = { 'domicile-session': token };
    const read = await fetch(abroad() + messagesOf(users.eu), { headers });
    expect(JSON.stringify(await read.json())).toContain(text);
  });

  test('to a newcomer’s home, which header fields decide', async () => {
    const id = newId();
    const text = canary();
    const headers = { 'x-user': id, 'x-country': 'DE', 'content-type': 'application/json' };
    const body = JSON.stringify({ text });
    const first = await sendWaiting(`${abroad()}/mailboxes`, body, { headers });
    expect(first).toMatchObject({ status: 307, told: false });
    expect(first.headers.location).toBe(`${domicile.url('eu')}/mailboxes`);
    const answer = await fetch(`${abroad()}/mailboxes`, { method: 'POST', headers, body });
    expect([answer.status, answer.redirected]).toEqual([201, true]);
    expect(await Promise.all(REGIONS.map((region) => storedIn(region, text)))).toEqual([0, 1, 0]);
    // And at home at once, where there is nobody to follow.
    const atHome = { ...headers, 'x-user': newId(), 'x-country': 'US' };
    const direct = await fetch(`${abroad()}/mailboxes`, { method: 'POST', headers: atHome, body });
    expect([direct.status, direct.redirected]).toEqual([201, false]);
    expect(await storedIn('us', text)).toBe(1);
  });

  test.runIf(CURL !== undefined)('curl, with half a megabyte that it has not sent', async () => {
    const text = canary();
    const file = join(parent, 'upload.json');
    await writeFile(file, JSON.stringify({ text: text.repeat(16_000) }));
    const before = heardBy(wire).length;
    const { stdout } = await promisify(execFile)(CURL ?? '', [
      ...['--silent', '--show-error', '--location', '--write-out', '%{http_code} %{num_redirects}'],
      ...['--header', 'Expect: 100-continue', '--header', 'Content-Type: application/json'],
      ...['--expect100-timeout', '10', '--data-binary', `@${file}`],
      abroad() + messagesOf(users.eu),
    ]);
    expect(stdout).toBe(`{"stored":${text.length * 16_000}}201 1`);
    expect(heardBy(wire).subarray(before).includes(text)).toBe(false);
  });

  test('by itself asks for a problem, and learns the address from it', async () => {
    const path = `${messagesOf(users.eu)}?a=1`;
    const headers = { 'domicile-redirect': 'problem' };
    const answer = await domicile.call(abroad(), 'GET', path, { headers });
    expect(answer.status).toBe(421);
    expect(kindOf(answer)).toBe('home-elsewhere');
    expect(answer.headers.location).toBeUndefined();
    expect(answer.json).toMatchObject({ home: 'eu', address: domicile.url('eu') + path });
    expect(answer.headers['domicile-decision']).toBe('redirect;to=eu');
    const waiting = await sendWaiting(abroad() + path, '{"text":"x"}', { headers });
    expect(waiting).toMatchObject({ status: 421, told: false });
    const location = { 'domicile-redirect': 'location' };
    expect((await domicile.call(abroad(), 'GET', path, { headers: location })).status).toBe(307);
  });

  test('and asks for something else is told so, not guessed about', async () => {
    const headers = { 'domicile-redirect': 'proxy' };
    const answer = await domicile.call(abroad(), 'GET', messagesOf(users.eu), { headers });
    expect([answer.status, kindOf(answer)]).toEqual([422, 'invalid-request']);
    expect(answer.json.complaints[0].path).toBe('Domicile-Redirect');
  });
});

describe('a route', () => {
  test('is served at home by every edge there, body and all', async () => {
    for (const chunked of [false, true]) {
      const text = canary();
      const url = domicile.url('eu') + messagesOf(users.eu);
      const answer = await sendWaiting(url, JSON.stringify({ text }), { chunked });
      expect(answer.status).toBe(201);
      expect(await storedIn('eu', text)).toBe(1);
    }
  });

  test('with an idempotency key is done once at home, and sent there from abroad', async () => {
    const text = canary();
    const path = messagesOf(users.eu);
    const headers = { 'idempotency-key': newId('key') };
    const sent = await domicile.call(abroad(), 'POST', path, { body: { text }, headers });
    expect([sent.status, heardBy(hops).includes(text)]).toEqual([307, false]);
    const replayed: unknown[] = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      const answer = await domicile.call('eu', 'POST', path, { body: { text }, headers });
      expect([answer.status, answer.json]).toEqual([201, { stored: text.length }]);
      replayed.push(answer.headers['idempotency-replayed']);
    }
    expect(replayed).toEqual([undefined, 'true', 'true']);
    expect(await storedIn('eu', text)).toBe(1);
    const mailbox = { 'x-user': newId(), 'x-country': 'DE', ...headers };
    for (let attempt = 0; attempt < 2; attempt++) {
      const body = { text: canary() };
      const made = await domicile.call('eu', 'POST', '/mailboxes', { body, headers: mailbox });
      expect([made.status, made.json.type?.split('#')[1]]).toEqual(
        attempt === 0 ? [201, undefined] : [422, 'idempotency-key-reused'],
      );
    }
  });

  test('of a table that may pass is forwarded as before', async () => {
    const path = `/users/${users.eu}/name`;
    const answer = await domicile.call(abroad(), 'PUT', path, { body: { text: 'new name' } });
    expect(answer.status).toBe(200);
    expect(answer.headers['domicile-decision']).toMatch(/^forward;to=eu, serve/);
  });

  test('that names no table is treated as if it touched the strictest one', async () => {
    for (const method of ['GET', 'POST']) {
      const answer = await domicile.call(abroad(), method, `/users/${users.eu}/unnamed`);
      expect([answer.status, answer.headers['domicile-decision']]).toEqual([307, 'redirect;to=eu']);
    }
  });

  test('that names a table which the policy does not is refused, at home as well', async () => {
    for (const to of [abroad(), 'eu']) {
      const answer = await domicile.call(to, 'GET', `/users/${users.eu}/stranger`);
      expect([answer.status, kindOf(answer)]).toEqual([500, 'undeclared-in-policy']);
      expect(answer.json.detail).toContain('"massages"');
    }
  });

  test('that names another table than it reads is stopped by PostgreSQL, at home', async () => {
    const path = `/users/${users.eu}/mislabelled`;
    expect((await domicile.call('eu', 'GET', path)).status).toBe(200);
    const answer = await domicile.call(abroad(), 'GET', path);
    expect([answer.status, kindOf(answer)]).toEqual([500, 'not-permitted']);
    expect(answer.headers['domicile-decision']).toMatch(/^forward;to=eu, refuse/);
  });

  test('to reference data is forwarded to its owner', async () => {
    const answer = await domicile.call('eu', 'POST', '/products', { body: 'hello' });
    expect([answer.status, answer.json]).toEqual([200, { read: 5 }]);
    expect(answer.headers['domicile-decision']).toMatch(/^forward;to=us/);
  });

  test('that the policy mirrors is read abroad, unless it is asked with a body', async () => {
    const path = `/users/${users.us}/dates`;
    await eventually('the copy has arrived in eu', async () => {
      const answer = await domicile.call('eu', 'GET', path);
      return /rung=mirror/.test(String(answer.headers['domicile-decision']));
    });
    const bare = await domicile.call('eu', 'POST', path);
    expect([bare.status, bare.json]).toEqual([200, { asked: 0, dates: 0 }]);
    expect(bare.headers['domicile-decision']).toMatch(/rung=mirror/);
    const asked = await domicile.call('eu', 'POST', path, { body: { since: 'ever' } });
    expect([asked.status, asked.headers.location]).toEqual([307, domicile.url('us') + path]);
    // The policy lets nothing out of eu.
    const closed = await domicile.call('us', 'GET', `/users/${users.eu}/dates`);
    expect(closed.status).toBe(307);
  });

  test.each([
    ['/hasty', {}],
    ['/hushed', { 'x-user': 'hushed' }],
  ])('that reads the body to find the home is a mistake, everywhere: %s', async (path, headers) => {
    for (const to of REGIONS) {
      const body = { id: newId(), country: 'DE' };
      const answer = await domicile.call(to, 'POST', path, { body, headers });
      expect([answer.status, kindOf(answer), answer.json.retry]).toEqual([
        500,
        'body-before-home',
        'after-change',
      ]);
    }
    const text = canary();
    const waiting = await sendWaiting(abroad() + path, text, { headers });
    expect(waiting).toMatchObject({ status: 500, told: false });
    expect(heardBy(wire).includes(text)).toBe(false);
  });

  test('whose middleware reads before the subject is known is a mistake as well', async () => {
    for (const to of REGIONS) {
      const path = `/users/${users.eu}/peeked`;
      const answer = await domicile.call(to, 'POST', path, { body: { text: 'x' } });
      expect([answer.status, kindOf(answer)]).toEqual([500, 'body-before-home']);
    }
  });
});

describe('a hop', () => {
  let number = 0;

  function hop(to: Where, method: string, path: string, body?: string): Promise<Answer> {
    const sender = newId('sender');
    const policy = { version: 1, recorded: false };
    const one = { from: 'us', to, sender, number: ++number, budgetMs: 2_000, policy };
    const type = (name: string) => (name === 'content-type' ? 'application/json' : undefined);
    const bytes = body === undefined ? undefined : Buffer.from(body);
    const content = hopContent(method, path, type, bytes);
    const header = signHop(one, content, createSecretKey(domicile.secret('hops')));
    const headers = { 'domicile-hop': header, 'content-type': 'application/json' };
    return domicile.call(to, method, path, { headers, body });
  }

  test('with such a request is refused by the home, reads included, and stores nothing', async () => {
    const text = canary();
    const path = messagesOf(users.eu);
    for (const answer of [
      await hop('eu', 'POST', path, JSON.stringify({ text })),
      await hop('eu', 'GET', path),
    ]) {
      expect([answer.status, kindOf(answer)]).toEqual([421, 'transit-refused']);
      expect(answer.json).toMatchObject({
        from: 'us',
        home: 'eu',
        address: domicile.url('eu') + path,
        retry: 'after-change',
      });
      expect(answer.text).not.toContain(text);
    }
    expect(await storedIn('eu', text)).toBe(0);
    const unnamed = await hop('eu', 'GET', `/users/${users.eu}/unnamed`);
    expect(kindOf(unnamed)).toBe('transit-refused');
    const placed = await hop('eu', 'POST', '/mailboxes', JSON.stringify({ text }));
    expect(kindOf(placed)).toBe('transit-refused');
    // A table that may pass: the same hop is taken.
    const name = await hop('eu', 'PUT', `/users/${users.eu}/name`, '{"text":"by hop"}');
    expect(name.status).toBe(200);
  });
});

test('a redirect leaves a receipt with the region that made it', async () => {
  const user = newId();
  const made = { id: user, country: 'DE' };
  expect((await domicile.call('eu', 'POST', '/users', { body: made })).status).toBe(201);
  expect((await domicile.call(abroad(), 'GET', messagesOf(user))).status).toBe(307);
  const key = domicile.keyOf(user);
  await eventually('it is written in us', async () => {
    const rows = await domicile.sql(
      'us-a',
      (sql) => sql<{ kind: string; home: string }[]>`
        select kind, to_region as home from domicile.receipts where subject = ${key}`,
    );
    return rows.length === 1 && rows[0]?.kind === 'redirect' && rows[0].home === 'eu';
  });
});

test('a redirect tells no session: the client keeps the one that it has', async () => {
  const fresh = await domicile.call(abroad(), 'GET', messagesOf(users.eu));
  expect(tokenOf(fresh)).toBeUndefined();
  const foreignToken = new Client(domicile);
  await foreignToken.call('us', 'GET', messagesOf(users.us));
  const mixed = await foreignToken.call(abroad(), 'GET', messagesOf(users.eu));
  expect(kindOf(mixed)).toBe('session-token-foreign');
});
