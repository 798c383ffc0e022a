import { expect, test } from 'vitest';
import { REFUSALS_MAX, RecentRefusals } from './recent-refusals.ts';
import { RecentTraces } from './recent-traces.ts';
import type { RecordedSpan } from './telemetry.ts';

const span = (spanId: string, more: Partial<RecordedSpan> = {}): RecordedSpan => ({
  spanId,
  parentSpanId: undefined,
  name: 'GET /users/:user',
  kind: 'server',
  startedAtMs: 0,
  durationMs: 1,
  error: false,
  attributes: {},
  ...more,
});
const part = (of: string, spanId: string, startedAtMs: number) =>
  span(spanId, { parentSpanId: of, kind: 'internal', startedAtMs });

test('a trace is there once its request has ended, with its parts in the order of their beginning', () => {
  const traces = new RecentTraces();
  traces.ended('t1', part('a', 'later', 2));
  traces.ended('t1', part('a', 'earlier', 1));
  traces.ended('t2', part('b', 'of another request', 1));
  expect(traces.all()).toEqual([]);
  traces.ended('t1', span('a', { parentSpanId: 'of a peer' }));
  const [trace] = traces.all();
  expect(trace?.traceId).toBe('t1');
  expect(trace?.spans.map(({ spanId }) => spanId)).toEqual(['a', 'earlier', 'later']);
});

test('the oldest traces go before the bytes are more than they may be', () => {
  const one = JSON.stringify({ traceId: 't0', spans: [span('0')] }).length;
  const traces = new RecentTraces(3 * one);
  for (let n = 0; n < 3; n++) traces.ended(`t${n}`, span(`${n}`));
  expect(traces.all().map(({ traceId }) => traceId)).toEqual(['t2', 't1', 't0']);
  traces.ended('t3', span('3'));
  expect(traces.all().map(({ traceId }) => traceId)).toEqual(['t3', 't2', 't1']);
  expect(traces.bytes).toBe(3 * one);
});

test('parts of requests that never end, and more parts than anybody reads, are not kept', () => {
  const traces = new RecentTraces();
  for (let n = 0; n < 200; n++) traces.ended('t', part('many', `p${n}`, n));
  traces.ended('t', part('lost', 'p', 0));
  for (let n = 0; n < 4_096; n++) traces.ended('t', part(`open ${n}`, 'p', 0));
  for (const id of ['many', 'lost', 'open 4095']) traces.ended(id, span(id));
  const counts = new Map(traces.all().map(({ traceId, spans }) => [traceId, spans.length]));
  expect(Object.fromEntries(counts)).toEqual({ many: 1, lost: 1, 'open 4095': 2 });
  for (let n = 0; n < 200; n++) traces.ended('t', part('again', `p${n}`, n));
  traces.ended('again', span('again'));
  expect(traces.all()[0]?.spans.length).toBe(129);
});

test('the last refusals are there, newest first', () => {
  const refusals = new RecentRefusals();
  const refusal = { because: 'overloaded', method: 'GET', route: undefined, status: 503 };
  const of = { home: undefined, passedOver: [], traceId: undefined };
  const add = (atMs: number) => refusals.add({ atMs, ...refusal, ...of });
  add(1);
  add(2);
  expect(refusals.all().map(({ atMs }) => atMs)).toEqual([2, 1]);
  for (let atMs = 3; atMs <= REFUSALS_MAX + 2; atMs++) add(atMs);
  const kept = refusals.all().map(({ atMs }) => atMs);
  expect(kept.length).toBe(REFUSALS_MAX);
  expect([kept[0], kept.at(-1)]).toEqual([REFUSALS_MAX + 2, 3]);
});
