/**
 * What did this edge do in each of the last seconds?
 *
 * Counted as requests end, in a ring of seconds, whether anybody looks or not: a console that is
 * opened in an incident shows what came before it. A request costs a few increments.
 */
import type { Visit } from '../visit.ts';
import type { Traffic } from './console-state.ts';

/** How far back the series go. */
export const SERIES_SECONDS = 120;
/** What percentiles, rungs and refusals are of. */
export const SUMMED_SECONDS = 60;

/** Bounds grow by a tenth, from a tenth of a millisecond to over a minute. */
const GROWTH = Math.log(1.1);
const LATENCY_MS_MIN = 0.1;
const BUCKETS = 144;

type Second = {
  /** Seconds of the monotonic clock. */
  at: number;
  decisions: Map<string, number>;
  rungs: Map<string, number>;
  refusals: Map<string, number>;
  requests: number;
  latencies: Uint32Array;
};

export class TrafficCounter {
  /** One more than are shown: the present second is not over yet. */
  #ring: Second[] = Array.from({ length: SERIES_SECONDS + 1 }, () => ({
    at: Number.NEGATIVE_INFINITY,
    decisions: new Map(),
    rungs: new Map(),
    refusals: new Map(),
    requests: 0,
    latencies: new Uint32Array(BUCKETS),
  }));

  add({ decision, arrivedAtMs }: Pick<Visit, 'decision' | 'arrivedAtMs'>, nowMs: number): void {
    const second = this.#second(Math.floor(nowMs / 1_000));
    increment(second.decisions, decision.kind);
    if (decision.kind === 'serve') increment(second.rungs, decision.rung);
    if (decision.kind === 'refuse') increment(second.refusals, decision.because);
    second.requests++;
    const bucket = bucketOf(nowMs - arrivedAtMs);
    second.latencies[bucket] = (second.latencies[bucket] ?? 0) + 1;
  }

  /** Seconds that are over, the last one last. */
  read(nowMs: number): Traffic {
    const last = Math.floor(nowMs / 1_000) - 1;
    const kinds = new Set(
      this.#ring
        .filter(({ at }) => at <= last && at > last - SERIES_SECONDS)
        .flatMap(({ decisions }) => [...decisions.keys()]),
    );
    const seconds = Array.from({ length: SERIES_SECONDS }, (_, i) =>
      this.#at(last - SERIES_SECONDS + 1 + i),
    );
    const summed = seconds.slice(-SUMMED_SECONDS);
    return {
      seconds: SERIES_SECONDS,
      decisions: Object.fromEntries(
        [...kinds].map((kind) => [kind, seconds.map((one) => one?.decisions.get(kind) ?? 0)]),
      ),
      latency: latencyOf(summed),
      rungs: sumOf(summed, 'rungs'),
      refusals: sumOf(summed, 'refusals'),
    };
  }

  #at(second: number): Second | undefined {
    const kept = this.#ring[placeOf(second)];
    return kept?.at === second ? kept : undefined;
  }

  #second(at: number): Second {
    const kept = this.#ring[placeOf(at)] as Second;
    if (kept.at === at) return kept;
    kept.at = at;
    kept.decisions.clear();
    kept.rungs.clear();
    kept.refusals.clear();
    kept.requests = 0;
    kept.latencies.fill(0);
    return kept;
  }
}

function placeOf(second: number): number {
  const size = SERIES_SECONDS + 1;
  return ((second % size) + size) % size;
}

function increment(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

function bucketOf(ms: number): number {
  const bucket = Math.ceil(Math.log(Math.max(ms, LATENCY_MS_MIN) / LATENCY_MS_MIN) / GROWTH);
  return Math.min(bucket, BUCKETS - 1);
}

/** The upper bound of a bucket, so that no percentile is told too low. */
function boundOf(bucket: number): number {
  const ms = LATENCY_MS_MIN * Math.exp(bucket * GROWTH);
  return Math.round(ms * 10) / 10;
}

function sumOf(
  seconds: readonly (Second | undefined)[],
  what: 'rungs' | 'refusals',
): Record<string, number> {
  const sum = new Map<string, number>();
  for (const second of seconds) {
    for (const [name, count] of second?.[what] ?? []) sum.set(name, (sum.get(name) ?? 0) + count);
  }
  return Object.fromEntries(sum);
}

function latencyOf(seconds: readonly (Second | undefined)[]): Traffic['latency'] {
  const counts = new Array<number>(BUCKETS).fill(0);
  let requests = 0;
  for (const second of seconds) {
    if (second === undefined) continue;
    requests += second.requests;
    second.latencies.forEach((count, bucket) => {
      counts[bucket] = (counts[bucket] ?? 0) + count;
    });
  }
  if (requests === 0) return null;
  const at = (part: number) => {
    let left = Math.ceil(requests * part);
    const bucket = counts.findIndex((count) => {
      left -= count;
      return left <= 0;
    });
    return boundOf(bucket);
  };
  return { p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99), requests };
}
