/** Real edges tell a real collector, over OTLP, why requests went where they went. */
import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { encodingsOf } from '../audit/canary-encodings.ts';
import { CanaryScanner } from '../audit/canary-scanner.ts';
import {
  Client,
  eventually,
  LAMP,
  newId,
  newUser,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  tokenOf,
  whileReplayRests,
} from '../world-for-tests.ts';
import { type Collector, startCollector, type ToldSpan } from './collector-for-tests.ts';
import { TARGETS_FILE } from './local-metrics.ts';
import { METRICS, prometheusName } from './names.ts';

let collector: Collector;
let domicile: TestDomicile;

beforeAll(async () => {
  collector = await startCollector();
  domicile = await startTestDomicile({
    app: fileURLToPath(new URL('./told-app-for-tests.ts', import.meta.url)),
    metrics: true,
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    },
    edgeSettings: { DOMICILE_METRICS_EVERY_MS: '500', DOMICILE_STATS_EVERY_MS: '500' },
  });
  // Edges that have just started may not have met each other yet.
  await eventually('a newcomer is placed across regions', async () => {
    const created = await domicile.call('asia', 'POST', '/users', { body: newUser('DE') });
    return created.status === 201;
  });
});

afterAll(async () => {
  await domicile?.remove();
  await collector?.close();
});

/** The spans of the request that was answered so, once `count` of them have been told. */
async function traceOf(traceresponse: unknown, count: number): Promise<ToldSpan[]> {
  const [, traceId] = String(traceresponse).split('-');
  const mine = () => collector.spans().filter((span) => span.traceId === traceId);
  await eventually('its spans were told', async () => {
    const known = new Set(mine().map(({ spanId }) => spanId));
    // Each edge sends its own batches: a trace is whole once every parent is there.
    const isWhole = mine().every(({ parentSpanId }) => !parentSpanId || known.has(parentSpanId));
    return mine().length >= count && isWhole;
  });
  return mine();
}

/** What Prometheus would be told by the edge of a region. */
async function scrape(region: string): Promise<string> {
  const targets = JSON.parse(await readFile(join(domicile.root, TARGETS_FILE), 'utf8')) as {
    targets: string[];
    labels: { region: string };
  }[];
  const target = targets.find(({ labels }) => labels.region === region)?.targets[0];
  return (await fetch(`http://${target}/metrics`)).text();
}

test('one trace shows a request from the edge it met to the rows of its home', async () => {
  const id = newId();
  const created = await domicile.call('asia', 'POST', '/users', { body: newUser('DE', id) });
  expect(created.status).toBe(201);
  const spans = await traceOf(created.headers.traceresponse, 5);
  const [root] = spans.filter(({ parentSpanId }) => !parentSpanId);
  expect(root).toMatchObject({
    name: 'POST /users',
    kind: 2,
    edge: 'edge-asia',
    attributes: {
      'http.request.method': 'POST',
      'http.route': '/users',
      'url.path': '/users',
      'http.response.status_code': 201,
      'domicile.decision': 'forward',
      'domicile.to': 'eu',
      'domicile.home': 'eu',
    },
  });
  const hop = spans.find(({ parentSpanId, kind }) => parentSpanId === root?.spanId && kind === 3);
  expect(hop).toMatchObject({ name: 'POST /users', edge: 'edge-asia' });
  const home = spans.find(({ parentSpanId }) => parentSpanId === hop?.spanId);
  expect(home).toMatchObject({
    kind: 2,
    edge: 'edge-eu',
    attributes: {
      'domicile.decision': 'serve',
      'domicile.node': 'eu-a',
      'domicile.rung': 'primary',
      'domicile.from': 'asia',
      'domicile.durability': 'replicated',
      'domicile.position': [expect.stringMatching(/^1\/0\/[0-9A-F]+$/)],
    },
  });
  const parts = spans.filter(({ parentSpanId }) => parentSpanId === home?.spanId);
  expect(parts.map(({ name }) => name)).toContain('domicile.decide');
  expect(parts.find(({ name }) => name === 'write storefront')).toMatchObject({
    kind: 3,
    attributes: { 'db.system.name': 'postgresql', 'domicile.login': 'writer' },
  });
});

test('what edges ask each other for a request is in its trace', async () => {
  const id = newId();
  const created = await domicile.call('eu', 'POST', '/users', { body: newUser('DE', id) });
  expect(created.status).toBe(201);
  const asked = await domicile.call('us', 'GET', `/users/${id}`);
  expect(asked.headers['domicile-decision']).toContain('forward;to=eu');
  const unknown = await domicile.call('asia', 'GET', `/users/${newId()}`);
  expect(unknown.status).toBe(404);
  for (const { answer, edge, name, edges } of [
    { answer: created, edge: 'eu', name: 'POST /.domicile/claims', edges: ['us', 'asia'] },
    { answer: unknown, edge: 'asia', name: 'GET /.domicile/directory/:key', edges: ['us', 'eu'] },
  ]) {
    const spans = await traceOf(answer.headers.traceresponse, 4);
    const [root] = spans.filter(({ parentSpanId }) => !parentSpanId);
    expect(root?.edge).toBe(`edge-${edge}`);
    const questions = spans.filter((span) => span.name === name && span.kind === 3);
    expect(questions.length).toBeGreaterThan(0);
    for (const { spanId, parentSpanId, attributes } of questions) {
      expect(parentSpanId).toBe(root?.spanId);
      expect(attributes).toMatchObject({ 'domicile.errand': 'question' });
      expect(edges).toContain(attributes['domicile.to']);
      const there = spans.find((span) => span.parentSpanId === spanId);
      expect(there).toMatchObject({
        name,
        kind: 2,
        edge: `edge-${attributes['domicile.to']}`,
        attributes: { 'domicile.decision': 'answer', 'domicile.from': edge },
      });
    }
  }
});

test('a read tells its floor, the nodes it passed over and why', async () => {
  const ada = new Client(domicile);
  const id = newId();
  await ada.call('eu', 'POST', '/users', newUser('DE', id));
  const answer = await whileReplayRests(domicile, 'eu-b', async () => {
    await ada.call('eu', 'POST', `/users/${id}/orders`, LAMP);
    return ada.call('eu', 'GET', `/users/${id}/orders`);
  });
  expect(answer.headers['domicile-decision']).toContain('rung=primary');
  const spans = await traceOf(answer.headers.traceresponse, 3);
  const [root] = spans.filter(({ parentSpanId }) => !parentSpanId);
  expect(root?.attributes).toMatchObject({
    'http.route': '/users/:user/orders',
    'domicile.rung': 'primary',
    'domicile.level': 'session',
    'domicile.passed_over': [expect.stringMatching(/^eu-b:(behind|lagging)$/)],
    'domicile.floor': [expect.stringMatching(/^1\/0\//)],
  });
  const subject = String(root?.attributes['domicile.subject']);
  expect(subject).toMatch(/^[A-Za-z0-9_-]{16}$/);
  expect(domicile.keyOf(id).toString('base64url')).not.toContain(subject);
});

test('a Prometheus finds every metric that an edge of this world can have', async () => {
  const id = newId();
  await domicile.call('us', 'POST', '/users', { body: newUser('DE', id) });
  await domicile.call('us', 'GET', `/users/${newId()}`);
  await domicile.call('us', 'GET', '/products');
  const rare = new Set([
    ...(['auditFindings', 'auditBlind', 'auditVerdict', 'auditAge', 'passedOver'] as const),
  ]);
  await eventually('the servers were asked', async () =>
    (await scrape('us')).includes('domicile_postgres_hit_ratio'),
  );
  const text = await scrape('us');
  const missing = Object.entries(METRICS).filter(
    ([key, metric]) =>
      !rare.has(key as never) &&
      !new RegExp(`^${prometheusName(metric)}(_count)?\\{`, 'm').test(text),
  );
  expect(missing.map(([key]) => key)).toEqual([]);
  expect(text).toMatch(
    /^http_server_request_duration_count\{.*http_route="\/users".*domicile_region="us"/m,
  );
  expect(text).toMatch(/^domicile_decisions_total\{domicile_decision="forward",domicile_to="eu"/m);
  expect(text).toMatch(/domicile_refusal="unknown-subject"/);
  expect(text).toMatch(/^domicile_alone\{.*\} 0$/m);
  await eventually('metrics were pushed', async () =>
    collector.metricNames().has('domicile.decisions'),
  );
});

test('a client decides nothing about traces, and what it sends in their fields goes nowhere', async () => {
  const theirs = randomBytes(16).toString('hex');
  const traceparent = `00-${theirs}-${randomBytes(8).toString('hex')}-00`;
  const headers = { traceparent, 'domicile-trace': '1' };
  const id = newId();
  const created = await domicile.call('asia', 'POST', '/users', {
    headers,
    body: newUser('DE', id),
  });
  // It asked not to be recorded, and said that an edge had.
  const spans = await traceOf(created.headers.traceresponse, 5);
  expect(spans.filter(({ edge }) => edge === 'edge-eu').length).toBeGreaterThan(1);
  expect(spans.every(({ traceId, links }) => traceId !== theirs && links === 0)).toBe(true);
});

test('where it is asked for, the trace of a client goes on across the hop', async () => {
  const edge = await domicile.startEdge({
    region: 'asia',
    settings: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
      DOMICILE_TRACE_RATIO: '0',
      DOMICILE_TRACE_CLIENTS: 'continue',
    },
  });
  const traceId = randomBytes(16).toString('hex');
  const spanId = randomBytes(8).toString('hex');
  const created = await domicile.call(edge.url, 'POST', '/users', {
    headers: { traceparent: `00-${traceId}-${spanId}-01` },
    body: newUser('DE'),
  });
  expect(created.status).toBe(201);
  const mine = () => collector.spans().filter((span) => span.traceId === traceId);
  await eventually('both edges told their part', async () =>
    ['edge-asia', 'edge-eu'].every((name) => mine().some((span) => span.edge === name)),
  );
  expect(mine().some(({ parentSpanId }) => parentSpanId === spanId)).toBe(true);
  // Nobody asked for this one, so neither edge records it.
  const quiet = await domicile.call(edge.url, 'POST', '/users', { body: newUser('DE') });
  expect(quiet.headers).not.toHaveProperty('traceresponse');
  await edge.child.stop();
});

test('strangers on the address of clients learn nothing from telemetry', async () => {
  for (const path of ['/metrics', '/.domicile/metrics', '/.domicile/telemetry']) {
    const answer = await domicile.call('eu', 'GET', path);
    expect([401, 404]).toContain(answer.status);
    expect(answer.text).not.toContain('domicile_');
  }
});

test('a collector that takes and never answers costs clients nothing, and no late end', async () => {
  const sockets = new Set<Socket>();
  const silent = createServer((socket) => void sockets.add(socket.on('error', () => {})));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const { port } = silent.address() as AddressInfo;
  const edge = await domicile.startEdge({
    region: 'us',
    settings: {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      DOMICILE_TRACE_RATIO: '1',
      DOMICILE_METRICS_EVERY_MS: '200',
      // On a busy machine a new edge may be slow for other reasons.
      DOMICILE_BUDGET_MS: '20000',
    },
  });
  try {
    const took: number[] = [];
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all(
        Array.from({ length: 16 }, () => domicile.call(edge.url, 'GET', '/products')),
      );
      for (const { status, ms } of answers) {
        expect(status).toBe(200);
        took.push(ms);
      }
    }
    await eventually('it was sent something', async () => sockets.size > 0);
    // Whoever waited for the collector would wait for the five seconds after which it is given up.
    expect(took.sort((a, b) => a - b)[took.length >> 1]).toBeLessThan(1_000);
    const began = performance.now();
    await edge.child.stop();
    expect(performance.now() - began).toBeLessThan(4_000);
  } finally {
    await edge.child.stop();
    for (const socket of sockets) socket.destroy();
    silent.close();
  }
});

test('an audit is told by every edge of a region that it was noted in', async () => {
  await domicile.sql(
    'eu-a',
    (sql) => sql`
      insert into domicile.audits (ended_at, verdict, findings, blind, policy_version)
      values (clock_timestamp() - interval '1 hour', 'findings', 3, 1, 1)`,
  );
  await eventually('it is told', async () =>
    /^domicile_audit_findings\{.*\} 3$/m.test(await scrape('eu')),
  );
  const text = await scrape('eu');
  expect(text).toMatch(/^domicile_audit_verdict\{domicile_audit_verdict="findings".*\} 1$/m);
  expect(text).toMatch(/^domicile_audit_verdict\{domicile_audit_verdict="clean".*\} 0$/m);
  const age = Number(/^domicile_audit_age\{.*\} (.+)$/m.exec(text)?.[1]);
  expect(age).toBeGreaterThan(3_599);
  expect(age).toBeLessThan(3_900);
});

test('a slow query is counted, and what it asks for is not told', async () => {
  const slow = domicile.sql('eu-a', (sql) => sql`select pg_sleep(8), 'canaryof-query' as said`);
  const counted = /^domicile_postgres_slow_queries\{domicile_node="eu-a".*\} [1-9]/m;
  await eventually('it is counted', async () => counted.test(await scrape('eu')));
  const text = await scrape('eu');
  const longest = /^domicile_postgres_longest_query\{domicile_node="eu-a".*\} (.+)$/m.exec(text);
  expect(Number(longest?.[1])).toBeGreaterThan(1);
  expect(text).not.toContain('canaryof');
  const may = await domicile.sql('eu-a', async (sql) => {
    const [row] = await sql<{ router: boolean; reader: boolean }[]>`
      select has_function_privilege('domicile_router', 'domicile.server_stats()', 'execute') as router,
        has_function_privilege('domicile_reader', 'domicile.server_stats()', 'execute') as reader`;
    return row;
  });
  expect(may).toEqual({ router: true, reader: false });
  await slow;
});

/** Everything that a request to any route can carry, of somebody in particular. */
async function canaries(): Promise<string[]> {
  const mark = randomBytes(6).toString('hex');
  // Each canary begins with the one and ends with the other, so a piece of it is found as well.
  const planted = ['canaryof-', mark];
  const plant = (what: string) => `canaryof-${what}-${mark}`;
  const eachHeader = () => ({
    'user-agent': plant('agent'),
    referer: `https://shop.example/${plant('referer')}`,
    'x-forwarded-for': plant('forwarded'),
    authorization: `Bearer ${plant('bearer')}`,
    'x-request-id': plant('request-id'),
    'accept-language': plant('language'),
    traceparent: `00-${Buffer.from(plant('trace')).toString('hex').slice(0, 32)}-${mark}0000-01`,
    tracestate: `vendor=${plant('tracestate')}`,
    baggage: `user=${plant('baggage')}`,
    cookie: `theme=${plant('cookie')}`,
  });
  const statuses = new Map<string, number[]>();
  const send = async (to: string, method: string, path: string, call: object = {}) => {
    const { headers, ...rest } = call as { headers?: Record<string, string> };
    const answer = await domicile.call(to, method, path, {
      ...rest,
      headers: { ...eachHeader(), ...headers },
    });
    const token = tokenOf(answer);
    if (token !== undefined) planted.push(token);
    statuses.set(method, [...(statuses.get(method) ?? []), answer.status]);
    return answer;
  };
  for (const [to, country] of [
    ['us', 'DE'],
    ['eu', 'DE'],
    ['asia', 'DE'],
    ['us', 'JP'],
    ['eu', 'US'],
  ] as const) {
    const id = plant(`id-${country}-${to}`);
    const body = {
      id,
      displayName: plant('name'),
      email: `${plant('mail')}@mail.example`,
      country,
    };
    const key = { 'idempotency-key': plant('key') };
    const created = await send(to, 'POST', '/users', { body, headers: key });
    expect(created.status).toBe(201);
    planted.push(domicile.keyOf(id).toString('base64url'), domicile.keyOf(id).toString('hex'));
    const token = tokenOf(created);
    const user = `/users/${id}`;
    await send(to, 'POST', '/users', { body, headers: key });
    await send(to, 'POST', '/users', { body: { ...body, email: plant('other') }, headers: key });
    await send(to, 'POST', '/users', { body });
    await send(to, 'POST', '/users', { body: { ...body, home: plant('home') } });
    await send(to, 'POST', '/users', { body: { ...body, country: plant('country') } });
    await send(to, 'POST', '/users', { body: `{"${plant('json')}` });
    const drawn = await send(to, 'POST', '/users', { body: { ...body, id: undefined } });
    planted.push(drawn.json.id);
    for (const path of [user, `${user}/card`, `${user}/orders`]) {
      await send(to, 'GET', `${path}?q=${plant('query')}`, { token });
      await send(to, 'GET', path);
      await send(to, 'HEAD', path, { token });
    }
    for (const level of ['strong', 'eventual', 'bounded; max-staleness=2s', plant('level')]) {
      await send(to, 'GET', user, { token, headers: { 'domicile-consistency': level } });
    }
    const order = await send(to, 'POST', `${user}/orders`, {
      token,
      body: LAMP,
      headers: { 'idempotency-key': plant('order-key') },
    });
    expect(order.status).toBe(201);
    planted.push(order.json.id);
    const one = `${user}/orders/${order.json.id}`;
    await send(to, 'GET', one, { token, headers: { 'if-none-match': `"${plant('etag')}"` } });
    await send(to, 'GET', `${user}/orders/${plant('order')}`, { token });
    await send(to, 'GET', `${user}/orders?after=${plant('cursor')}`, { token });
    await send(to, 'PATCH', one, { token, body: { status: 'paid', version: 1 } });
    await send(to, 'PATCH', one, { token, body: { status: plant('status') } });
    await send(to, 'PATCH', one, { token, headers: { 'if-match': plant('match') } });
    await send(to, 'POST', `${user}/orders`, {
      token,
      body: { items: [{ product: plant('product'), quantity: 1 }] },
    });
    await send(to, 'GET', `/users/${plant('stranger')}/orders`, { token });
    await send(to, 'GET', `/users/${plant('nobody')}`);
    await send(to, 'GET', user, { token: `${token?.slice(0, -4)}AAAA` });
    await send(to, 'GET', user, { token: plant('token') });
    await send(to, 'GET', user, { headers: { 'domicile-redirect': plant('redirect') } });
    await send(to, 'GET', user, {
      headers: { 'domicile-hop': `v3;us;${to};${plant('hop')};1;9;-;x` },
    });
    await send(to, 'PUT', `/products/${plant('put')}`, {
      body: { name: plant('title'), unitCents: 5 },
    });
    await send(to, 'GET', `/products?search=${plant('search')}`);
    await send(to, 'GET', `/fails/${plant('fails')}`);
    await send(to, 'GET', `/${plant('nowhere')}`);
    await send(to, 'DELETE', `/${plant('deleted')}`);
    await send(to, 'GET', `/.domicile/directory/${plant('directory')}`);
  }
  // Answered well, turned away for each kind of reason, and failed.
  const seen = new Set([...statuses.values()].flat());
  expect([...seen].sort()).toEqual(
    expect.arrayContaining([200, 201, 400, 401, 403, 404, 409, 422, 500]),
  );
  return planted;
}

test('nothing that a client sends, or that names it, is in traces, metrics or logs', async () => {
  const from = collector.bodies.length;
  const planted = await canaries();
  const memories = await Promise.all(
    REGIONS.map((region) => domicile.call(region, 'GET', '/memory')),
  );
  const last = await Promise.all(REGIONS.map((region) => domicile.call(region, 'GET', '/memory')));
  for (const { headers } of last) await traceOf(headers.traceresponse, 1);
  const logs = await Promise.all(
    REGIONS.map((region) => readFile(join(domicile.root, 'run', `edge-${region}.log`))),
  );
  const scrapes = await Promise.all(REGIONS.map((region) => scrape(region)));
  const told = [
    ...collector.bodies.slice(from).map(({ path, bytes }) => ({ where: path, bytes })),
    ...memories.map(({ text }) => ({ where: '/memory', bytes: Buffer.from(text) })),
    ...scrapes.map((text) => ({ where: '/metrics', bytes: Buffer.from(text) })),
    ...logs.map((bytes) => ({ where: 'log', bytes })),
  ];
  const scanner = new CanaryScanner([...new Set(planted)].flatMap(encodingsOf));
  const hits = told.flatMap(({ where, bytes }) =>
    scanner
      .stream()
      .push(bytes)
      .map(({ canary, encoding }) => `${canary} as ${encoding} in ${where}`),
  );
  expect([...new Set(hits)]).toEqual([]);
  // That there was something to search: each route, each kind of answer, of each edge.
  const spans = collector.spans();
  for (const region of REGIONS) {
    const mine = spans.filter(({ edge }) => edge === `edge-${region}`);
    const values = (name: string) => new Set(mine.map(({ attributes }) => attributes[name]));
    expect([...values('http.route')]).toEqual(
      expect.arrayContaining([
        ...['/users', '/users/:user', '/users/:user/card', '/users/:user/orders'],
        ...['/users/:user/orders/:order', '/products', '/products/:product', '/fails/:who'],
      ]),
    );
    expect([...values('domicile.decision')]).toEqual(
      expect.arrayContaining(['serve', 'forward', 'refuse', 'answer']),
    );
  }
  const refusals = memories.flatMap(({ json }) =>
    json.refusals.map(({ because }: { because: string }) => because),
  );
  expect(new Set(refusals).size).toBeGreaterThan(5);
  for (const { json } of memories) expect(json.traces.length).toBeGreaterThan(20);
  const failed = logs
    .map(String)
    .join('')
    .split('\n')
    .filter((line) => line.includes('handler-failed'));
  expect(failed.length).toBeGreaterThan(0);
  const traceIds = new Set(spans.map(({ traceId }) => traceId));
  for (const line of failed) expect(traceIds).toContain(JSON.parse(line).trace_id);
  const refused = logs
    .flatMap((log) => String(log).split('\n'))
    .filter((line) => line.includes('"event":"refused"'))
    .map((line) => JSON.parse(line));
  // The test above had edges that recorded nothing, and logs of their own.
  for (const { trace_id } of refused) expect(traceIds).toContain(trace_id);
  const reasons = new Set(refused.map(({ reason }) => reason));
  expect([...reasons]).toEqual(
    expect.arrayContaining(['not-found', 'unknown-subject', 'subject-exists', 'hop-refused']),
  );
  expect(refused.map(({ method, route }) => `${method} ${route}`)).toEqual(
    expect.arrayContaining(['GET /users/:user', 'POST /users', 'GET /users/:user/orders']),
  );
  // The search finds what is there.
  const control = Buffer.from(
    `{"x":"${Buffer.from(`ab${planted.at(1)}cd`).toString('base64url')}"}`,
  );
  expect(scanner.stream().push(control).length).toBeGreaterThan(0);
});
