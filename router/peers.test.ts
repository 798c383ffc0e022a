import { createSecretKey } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcp, type Server as Tcp } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { Catalogue, Region, RegionId } from '../regions/catalogue.ts';
import { waitUntil } from '../regions/local/wait-until.ts';
import { HOP_HEADER } from './hop.ts';
import { type PeerAnswer, type PeerRequest, Peers } from './peers.ts';

const BUDGET_MS = 400;
/** How much later than its deadline an answer may come on a busy machine. */
const SLACK_MS = 2_000;

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

type Heard = { url: string; sockets: Set<unknown>; hops: string[] };

async function edge(answer: RequestListener): Promise<Heard> {
  const heard: Heard = { url: '', sockets: new Set(), hops: [] };
  const server = createServer((request, response) => {
    const hop = request.headers[HOP_HEADER];
    if (typeof hop === 'string') heard.hops.push(hop);
    answer(request, response);
  });
  server.on('connection', (socket) => heard.sockets.add(socket));
  heard.url = `http://${await listening(server)}`;
  closing.push(() => server.close().closeAllConnections());
  return heard;
}

async function listening(server: Server | Tcp): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Takes connections and says nothing, so that a TLS handshake with it never ends. */
async function mute(): Promise<string> {
  const server = createTcp((socket) => {
    socket.on('error', () => {});
    closing.push(() => socket.destroy());
  });
  const url = `https://${await listening(server)}`;
  closing.push(() => server.close());
  return url;
}

function region(id: RegionId, urls: readonly string[]): Region {
  const edges = urls.map((url, i) => ({ name: `edge-${id}-${i}`, url }));
  return { id, title: id, database: 'app', edges, nodes: [], airlocks: [] };
}

function peersOf(
  regions: Record<RegionId, readonly string[]>,
  options: { requestsMax?: number; heldBytesMax?: number; connectTimeoutMs?: number } = {},
): Peers {
  const all = Object.entries({ here: [], ...regions }).map(([id, urls]) => region(id, urls));
  const catalogue: Catalogue = {
    regions: new Map(all.map((one) => [one.id, one])),
    distances: [],
  };
  const peers = new Peers({
    here: 'here',
    catalogue,
    hopKey: createSecretKey(Buffer.alloc(32, 1)),
    sender: 'sender',
    connectTimeoutMs: 10_000,
    silentMsMin: 50,
    requestsMax: 16,
    heldBytesMax: 1_000_000,
    now: () => performance.now(),
    ...options,
  });
  closing.push(() => void peers.close());
  return peers;
}

const GET: PeerRequest = {
  method: 'GET',
  target: '/x',
  headers: {},
  body: undefined,
  budgetMs: BUDGET_MS,
  policy: undefined,
};

async function send(peers: Peers, to: RegionId, request = GET): Promise<PeerAnswer | string> {
  const passage = peers.enter(to, 'request', request.body?.length ?? 0);
  return passage.kind === 'free' ? peers.send(to, passage.place, request) : passage.kind;
}

const underWay = (peers: Peers, to: RegionId) => peers.stats()[to]?.requests.underWay;

/** What it took, and that it was not for ever. */
async function timed<T>(work: Promise<T>): Promise<{ value: T; ms: number }> {
  const began = performance.now();
  return { value: await work, ms: performance.now() - began };
}

test('an answer that trickles for ever ends at the deadline, and its place is free again', async () => {
  const { url } = await edge((_, response) => {
    response.writeHead(200, { 'content-length': '100000' });
    const drip = setInterval(() => response.write('x'), 10);
    response.on('close', () => clearInterval(drip));
  });
  const peers = peersOf({ eu: [url] });
  const { value, ms } = await timed(send(peers, 'eu'));
  expect(value).toEqual({ kind: 'unreachable', sent: true, code: 'DEADLINE' });
  expect(ms).toBeLessThan(BUDGET_MS + SLACK_MS);
  expect(underWay(peers, 'eu')).toBe(0);
  // It was heard, so it is not the edge that is silent.
  expect(peers.stats().eu?.edges).toMatchObject([{ circuit: 'closed' }]);
});

test('a stream that trickles for ever is cut at the deadline, and keeps its place until then', async () => {
  const { url } = await edge((_, response) => {
    const drip = setInterval(() => response.write('x'), 10);
    response.on('close', () => clearInterval(drip));
  });
  const peers = peersOf({ eu: [url] });
  const answer = await send(peers, 'eu');
  if (typeof answer === 'string' || answer.kind !== 'answered') throw new Error('no answer');
  expect(underWay(peers, 'eu')).toBe(1);
  const { ms } = await timed(expect(new Response(answer.body).text()).rejects.toThrow());
  expect(ms).toBeLessThan(BUDGET_MS + SLACK_MS);
  expect(underWay(peers, 'eu')).toBe(0);
});

test('a stream that nobody reads gives its place back at the deadline', async () => {
  const { url } = await edge((_, response) => void response.write('x'));
  const peers = peersOf({ eu: [url] });
  await send(peers, 'eu');
  expect(underWay(peers, 'eu')).toBe(1);
  const free = await waitUntil(async () => underWay(peers, 'eu') === 0 || undefined, {
    timeoutMs: 10_000,
  });
  expect(free).toBe(true);
});

test('a request that waits for its connection ends at the deadline too', async () => {
  const peers = peersOf({ eu: [await mute()] });
  const { value, ms } = await timed(send(peers, 'eu'));
  expect(value).toMatchObject({ kind: 'unreachable', code: 'DEADLINE' });
  expect(ms).toBeLessThan(BUDGET_MS + SLACK_MS);
  expect(underWay(peers, 'eu')).toBe(0);
});

test('a second edge is tried in what is left of the budget, and is told so', async () => {
  const second = await edge((_, response) => void response.end('well'));
  const peers = peersOf({ eu: [await mute(), second.url] }, { connectTimeoutMs: 150 });
  const request = { ...GET, budgetMs: 5_000 };
  const answers = [await send(peers, 'eu', request), await send(peers, 'eu', request)];
  expect(answers).toMatchObject([{ kind: 'answered' }, { kind: 'answered' }]);
  const budgets = second.hops.map((hop) => Number(hop.split(';')[5])).sort((a, b) => a - b);
  // One of the two met the mute edge first, and both leave the home time to say that it is late.
  expect(budgets[0]).toBeLessThanOrEqual(5_000 - 150);
  expect(budgets[1]).toBeLessThan(5_000);
});

test('an edge that is silent three times is passed over at once, and found back without a client', async () => {
  let silent = true;
  const eu = await edge((_, response) => {
    if (!silent) response.end('{}');
  });
  const peers = peersOf({ eu: [eu.url] });
  for (let n = 0; n < 3; n++) {
    expect(await send(peers, 'eu')).toMatchObject({ kind: 'unreachable', sent: true });
  }
  expect(peers.enter('eu', 'request', 0)).toMatchObject({
    kind: 'dark',
    retryAfterMs: expect.any(Number),
  });
  expect(peers.enter('eu', 'question', 0).kind).toBe('dark');
  const asked = eu.hops.length;
  expect(asked).toBe(3);
  silent = false;
  const back = await waitUntil(
    async () => peers.stats().eu?.edges[0]?.circuit === 'closed' || undefined,
    { timeoutMs: 20_000 },
  );
  expect(back).toBe(true);
  expect(eu.hops.length).toBe(asked);
  expect(await send(peers, 'eu')).toMatchObject({ kind: 'answered' });
});

test('requests whose time was nearly up when they left say nothing about the edge', async () => {
  const eu = await edge(() => {});
  const peers = peersOf({ eu: [eu.url] });
  for (let n = 0; n < 5; n++) await send(peers, 'eu', { ...GET, budgetMs: 10 });
  expect(peers.stats().eu?.edges).toMatchObject([{ circuit: 'closed' }]);
});

test('a slow region has its own places and sockets, and one more request there is refused at once', async () => {
  const eu = await edge(() => {});
  const us = await edge((_, response) => void response.end('well'));
  const peers = peersOf({ eu: [eu.url], us: [us.url] });
  const slow = Array.from({ length: 8 }, () => send(peers, 'eu', { ...GET, budgetMs: 5_000 }));
  expect(peers.enter('eu', 'request', 0)).toMatchObject({ kind: 'full' });
  expect(peers.enter('eu', 'question', 0).kind).toBe('free');
  for (let n = 0; n < 40; n++) expect(await send(peers, 'us')).toMatchObject({ kind: 'answered' });
  expect(peers.stats()).toMatchObject({
    eu: { requests: { underWay: 8, max: 8, refused: 1 } },
    us: { requests: { underWay: 0, refused: 0 } },
  });
  await waitUntil(async () => eu.sockets.size === 8 || undefined, { timeoutMs: 10_000 });
  expect(eu.sockets.size).toBe(8);
  await peers.close();
  await Promise.all(slow);
});

test('bodies for a slow region are held up to a bound, which is nobody else’s', async () => {
  const eu = await edge(() => {});
  const us = await edge((_, response) => void response.end('well'));
  const peers = peersOf({ eu: [eu.url], us: [us.url] }, { heldBytesMax: 1_000 });
  const large = { ...GET, method: 'POST', body: new Uint8Array(800), budgetMs: 5_000 };
  const held = send(peers, 'eu', large);
  expect(peers.enter('eu', 'request', 800).kind).toBe('full');
  expect(await send(peers, 'us', large)).toMatchObject({ kind: 'answered' });
  expect(peers.stats().eu?.requests.bytesHeld).toBe(800);
  await peers.close();
  await held;
  expect(peers.stats().eu?.requests.bytesHeld).toBe(0);
});

test('what is meant for one edge of a region goes to no other, though that one is silent', async () => {
  const heard: string[] = [];
  const named = (name: string) =>
    edge((_, response) => {
      heard.push(name);
      response.end();
    });
  const [first, second] = [await named('first'), await named('second')];
  const peers = peersOf({ eu: [first.url, second.url, 'http://127.0.0.1:1'] });
  for (let n = 0; n < 4; n++) {
    await send(peers, 'eu', { ...GET, edge: 'edge-eu-1' });
  }
  expect(heard).toEqual(['second', 'second', 'second', 'second']);
  const answer = await send(peers, 'eu', { ...GET, edge: 'edge-eu-2' });
  expect(answer).toMatchObject({ kind: 'unreachable', sent: false, code: 'ECONNREFUSED' });
  expect(heard.length).toBe(4);
  expect(underWay(peers, 'eu')).toBe(0);
});
