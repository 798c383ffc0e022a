/** What the last seconds look like when they are over. */
import { describe, expect, test } from 'vitest';
import type { Decision } from '../visit.ts';
import { SERIES_SECONDS, SUMMED_SECONDS, TrafficCounter } from './traffic.ts';

const SERVED: Decision = { kind: 'serve', node: 'eu-b', rung: 'replica' };
const REFUSED: Decision = { kind: 'refuse', because: 'overloaded' };

/** Requests that end then and took so long. */
function add(counter: TrafficCounter, decision: Decision, endMs: number, tookMs = 1, times = 1) {
  for (let n = 0; n < times; n++) counter.add({ decision, arrivedAtMs: endMs - tookMs }, endMs);
}

describe('a second', () => {
  test('is shown once it is over, at the end of the series', () => {
    const counter = new TrafficCounter();
    add(counter, SERVED, 5_000);
    add(counter, SERVED, 5_999);
    add(counter, REFUSED, 6_000);
    const at5 = counter.read(5_999);
    expect(at5.decisions).toEqual({});
    const at6 = counter.read(6_500);
    expect(at6.decisions.serve?.slice(-2)).toEqual([0, 2]);
    expect(at6.decisions.refuse).toBeUndefined();
    const at7 = counter.read(7_000);
    expect(at7.decisions.serve?.slice(-3)).toEqual([0, 2, 0]);
    expect(at7.decisions.refuse?.slice(-3)).toEqual([0, 0, 1]);
    expect(at7.decisions.serve).toHaveLength(SERIES_SECONDS);
  });

  test('is shown until the series is past it, and is not mixed with a later one', () => {
    const counter = new TrafficCounter();
    add(counter, SERVED, 0);
    const lastMs = SERIES_SECONDS * 1_000;
    expect(counter.read(lastMs).decisions.serve?.[0]).toBe(1);
    expect(counter.read(lastMs + 1_000).decisions).toEqual({});
    // The same place in the ring.
    add(counter, REFUSED, lastMs + 1_000);
    const later = counter.read(lastMs + 2_000);
    expect(later.decisions).toEqual({ refuse: [...Array(SERIES_SECONDS - 1).fill(0), 1] });
  });
});

describe('the last minute', () => {
  test('is summed by rung and by reason, and what is older is not in it', () => {
    const counter = new TrafficCounter();
    add(counter, SERVED, 1_000, 1, 7);
    add(counter, SERVED, 2_000, 1, 2);
    add(counter, REFUSED, 2_500);
    const { rungs, refusals, latency } = counter.read((SUMMED_SECONDS + 2) * 1_000);
    expect([rungs, refusals, latency?.requests]).toEqual([{ replica: 2 }, { overloaded: 1 }, 3]);
  });

  test('has percentiles that are at most a tenth too high, and never too low', () => {
    const counter = new TrafficCounter();
    add(counter, SERVED, 1_000, 2, 90);
    add(counter, SERVED, 1_001, 40, 8);
    add(counter, SERVED, 1_002, 900, 2);
    const { latency } = counter.read(2_000);
    const within = (told: number | undefined, ms: number) => {
      expect(told).toBeGreaterThanOrEqual(ms);
      expect(told).toBeLessThanOrEqual(ms * 1.1 + 0.1);
    };
    within(latency?.p50Ms, 2);
    within(latency?.p95Ms, 40);
    within(latency?.p99Ms, 900);
  });

  test('without a request has no latency', () => {
    expect(new TrafficCounter().read(10_000).latency).toBeNull();
  });
});
