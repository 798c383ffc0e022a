/**
 * What happened in each slice of a run?
 *
 * However many operations a run has, it is drawn in so many slices, all of the same length. An
 * operation belongs to the slice in which it was sent, so what a fault did to it stands under the
 * fault. One that never ended counts with the time until the run did, which is its least.
 */
import type { Outcome } from '../history.ts';
import type { RunRecord } from '../run-record.ts';
import { DECISIONS, type Decided, decided } from './decision.ts';
import { type Spread, spread } from './percentile.ts';

/** On a telephone a slice is then still two points wide. */
export const BUCKETS_MAX = 150;
/** With fewer operations a slice has no percentiles worth the name; but some slices there must be. */
const OPERATIONS_PER_BUCKET = 60;
const BUCKETS_MIN = 40;

const WIDTHS_MS = [100, 200, 500];

export type Bucket = {
  fromMs: number;
  /** Of the last one: the end of the run. */
  untilMs: number;
  outcomes: Record<Outcome['kind'], number>;
  decisions: Record<Decided, number>;
  /** By region of the edge that was asked; without an entry: it was not asked. */
  latency: ReadonlyMap<string, Spread>;
  /** The most bytes that a replica had yet to replay. */
  lagBytes: ReadonlyMap<string, number>;
};

export type Buckets = { widthMs: number; endMs: number; list: readonly Bucket[] };

export function timeBuckets(record: RunRecord): Buckets {
  const endMs = runEndMs(record);
  const enough = Math.floor(record.history.operations.length / OPERATIONS_PER_BUCKET);
  const widthMs = bucketWidthMs(endMs, Math.min(BUCKETS_MAX, Math.max(BUCKETS_MIN, enough)));
  const size = Math.max(1, Math.ceil(endMs / widthMs));
  const at = (ms: number) => Math.min(size - 1, Math.max(0, Math.floor(ms / widthMs)));
  const lists = Array.from({ length: size }, () => ({
    latency: new Map<string, number[]>(),
    lagBytes: new Map<string, number>(),
    outcomes: { ok: 0, fail: 0, unknown: 0 },
    decisions: Object.fromEntries(DECISIONS.map((name) => [name, 0])) as Record<Decided, number>,
  }));
  // Few answers differ, so each is read once.
  const known = new Map<string, Decided>();
  for (const { invokedAtMs, endedAtMs, edge, outcome, told } of record.history.operations) {
    const bucket = lists[at(invokedAtMs)];
    if (bucket === undefined) continue;
    bucket.outcomes[outcome.kind] += 1;
    const field = told?.decision ?? '';
    const decision = known.get(field) ?? decided(field);
    known.set(field, decision);
    bucket.decisions[decision] += 1;
    const times = bucket.latency.get(edge);
    if (times === undefined) bucket.latency.set(edge, [endedAtMs - invokedAtMs]);
    else times.push(endedAtMs - invokedAtMs);
  }
  for (const { atMs, lagBytes } of record.looks) {
    const bucket = lists[at(atMs)];
    for (const [replica, lag] of Object.entries(lagBytes ?? {}))
      bucket?.lagBytes.set(replica, Math.max(lag, bucket.lagBytes.get(replica) ?? 0));
  }
  return {
    widthMs,
    endMs,
    list: lists.map(({ outcomes, decisions, latency, lagBytes }, index) => ({
      fromMs: index * widthMs,
      untilMs: Math.min(endMs, (index + 1) * widthMs),
      outcomes,
      decisions,
      latency: spreads(latency),
      lagBytes,
    })),
  };
}

/** Whatever was recorded lies before it, and it is never 0. */
export function runEndMs({ durationMs, faults, incidents, looks, history }: RunRecord): number {
  let end = Math.max(1, durationMs);
  for (const { endedAtMs } of history.operations) end = Math.max(end, endedAtMs);
  for (const { atMs } of looks) end = Math.max(end, atMs);
  for (const { atMs } of incidents) end = Math.max(end, atMs);
  for (const { fromMs, untilMs } of faults) end = Math.max(end, untilMs ?? fromMs);
  return end;
}

/** 1, 2 or 5 times a power of ten, so that its borders are round. */
export function bucketWidthMs(endMs: number, bucketsMax = BUCKETS_MAX): number {
  for (let scale = 1; ; scale *= 10)
    for (const width of WIDTHS_MS) if (endMs <= width * scale * bucketsMax) return width * scale;
}

function spreads(latency: ReadonlyMap<string, readonly number[]>): Map<string, Spread> {
  const found = new Map<string, Spread>();
  for (const [edge, times] of latency) {
    const of = spread(times);
    if (of !== undefined) found.set(edge, of);
  }
  return found;
}
