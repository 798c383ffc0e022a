import fc from 'fast-check';
import { expect, test } from 'vitest';
import { afterLook, isBehind, type Look, openLimit, REQUESTS_MIN } from './request-limit.ts';

const BOUNDS = { requestsMax: 1_024, delayMsMax: 100 };

function after(delays: readonly number[], look: Partial<Look> = {}, limit = openLimit(BOUNDS)) {
  return delays.reduce(
    (one, delayMs) =>
      afterLook(one, { clientsUnderWay: 1_024, hopsUnderWay: 1_024, ...look, delayMs }, BOUNDS),
    limit,
  );
}

test('a delay at every look of an interval lets in less; one look without it does not', () => {
  expect(after([101, 101, 101, 101]).clients).toBe(768);
  expect(after([101, 101, 100, 101]).clients).toBe(1_024);
  expect(after([101, 101, 101]).clients).toBe(1_024);
});

test('it is behind after an interval of delay, until after one without', () => {
  const behind = after([101, 101, 101, 101]);
  expect(isBehind(after([101, 101, 101]))).toBe(false);
  expect(isBehind(behind)).toBe(true);
  expect(isBehind(after([0, 0, 0], {}, behind))).toBe(true);
  expect(isBehind(after([0, 0, 0, 0], {}, behind))).toBe(false);
});

test('what is let in is cut from what was under way, not from a limit that nobody had reached', () => {
  expect(after([200, 200, 200, 200], { clientsUnderWay: 100 }).clients).toBe(75);
});

test('it is never cut below the least, and then hops are cut in their turn', () => {
  const cut = after(Array(4).fill(500), { clientsUnderWay: 1 });
  expect(cut).toMatchObject({ clients: REQUESTS_MIN, hops: 1_024 });
  expect(after(Array(4).fill(500), {}, cut)).toMatchObject({ clients: REQUESTS_MIN, hops: 768 });
});

test('when the delay has gone, hops get all of theirs back before clients get more', () => {
  const cut = { ...openLimit(BOUNDS), clients: REQUESTS_MIN, hops: 1_020 };
  const better = after([0, 0, 0, 0], {}, cut);
  expect(better).toMatchObject({ clients: REQUESTS_MIN, hops: 1_024 });
  expect(after([0, 0, 0, 0], {}, better).clients).toBe(REQUESTS_MIN + 16);
});

test('whatever the delays, the limit stays in its bounds and is open again after 64 good intervals', () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 5_000, noNaN: true }), { maxLength: 100 }),
      fc.nat(2_000),
      fc.integer({ min: 1, max: 5_000 }),
      (delays, underWay, requestsMax) => {
        const bounds = { requestsMax, delayMsMax: 100 };
        const least = Math.min(REQUESTS_MIN, requestsMax);
        const look = { clientsUnderWay: underWay, hopsUnderWay: underWay };
        let limit = openLimit(bounds);
        for (const delayMs of delays) {
          limit = afterLook(limit, { ...look, delayMs }, bounds);
          for (const part of [limit.clients, limit.hops]) {
            expect(part).toBeGreaterThanOrEqual(least);
            expect(part).toBeLessThanOrEqual(requestsMax);
          }
        }
        // Hops first, then clients, and the looks of an interval that was not at its end.
        for (let look4 = 0; look4 < 4 * 129; look4++) {
          limit = afterLook(limit, { ...look, delayMs: 0 }, bounds);
        }
        expect([limit.clients, limit.hops]).toEqual([requestsMax, requestsMax]);
      },
    ),
  );
});
