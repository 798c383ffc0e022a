/** Real edges tell a real collector, over OTLP, why requests went where they went. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import {
  Client,
  eventually,
  LAMP,
  newId,
  newUser,
  startTestDomicile,
  type TestDomicile,
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
    metrics: true,
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    },
    edgeSettings: { DOMICILE_METRICS_EVERY_MS: '500', DOMICILE_STATS_EVERY_MS: '500' },
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
