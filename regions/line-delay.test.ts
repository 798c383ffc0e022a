import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { BURST_MS_MAX, LineDelay, SILENCE_MS_MIN } from './line-delay.ts';

function settled(serviceMs: number, atMs = 0): LineDelay {
  const line = new LineDelay();
  for (let n = 0; n < 200; n++) line.cameHome(serviceMs, atMs);
  return line;
}

describe('the expected wait', () => {
  test('is that of those before, at the pace of late', () => {
    const line = settled(10);
    expect(line.expectedMs(0, 1, 0)).toBeCloseTo(10, 3);
    expect(line.expectedMs(7, 4, 0)).toBeCloseTo(20, 3);
  });

  test('of a pool that has served one is known from that one', () => {
    const line = new LineDelay();
    line.cameHome(80, 0);
    expect(line.expectedMs(0, 1, 0)).toBe(80);
    line.cameHome(40, 0);
    expect(line.expectedMs(0, 1, 0)).toBe(60);
  });

  test('grows while nobody comes home, from the moment that somebody waits', () => {
    const line = settled(10, 0);
    line.waits(1, 1_000);
    expect(line.expectedMs(1, 1, 1_000 + SILENCE_MS_MIN - 1)).toBeCloseTo(20, 3);
    expect(line.expectedMs(1, 1, 1_000 + SILENCE_MS_MIN)).toBeCloseTo(40, 3);
    expect(line.expectedMs(1, 1, 1_500)).toBeCloseTo(1_000, 3);
    line.cameHome(10, 1_500);
    expect(line.expectedMs(1, 1, 1_510)).toBeCloseTo(20, 3);
  });

  test('knows nothing of a pool that has served nobody, and sends nobody away for it', () => {
    expect(new LineDelay().expectedMs(1_000, 1, 0)).toBe(0);
  });

  test('never falls when one more waits, and never is negative', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 2_000 }), { maxLength: 50 }),
        fc.nat(1_000),
        fc.integer({ min: 1, max: 64 }),
        fc.nat(5_000),
        (served, waiting, servers, nowMs) => {
          const line = new LineDelay();
          served.forEach((ms, i) => {
            line.cameHome(ms, i);
          });
          line.waits(waiting, 50);
          const waitMs = line.expectedMs(waiting, servers, 50 + nowMs);
          expect(waitMs).toBeGreaterThanOrEqual(0);
          expect(line.expectedMs(waiting + 1, servers, 50 + nowMs)).toBeGreaterThanOrEqual(waitMs);
        },
      ),
    );
  });
});

describe('a line', () => {
  test('stands once it was not empty for longer than a burst', () => {
    const line = settled(10);
    line.waits(1, 0);
    line.waits(5, 50);
    expect(line.isStanding(BURST_MS_MAX)).toBe(false);
    expect(line.isStanding(BURST_MS_MAX + 1)).toBe(true);
  });

  test('that was empty for a moment goes on, and one that was empty for longer is a new one', () => {
    const line = settled(10);
    line.waits(1, 0);
    line.waits(0, 60);
    expect(line.isStanding(BURST_MS_MAX + 1)).toBe(true);
    line.waits(1, 60 + BURST_MS_MAX);
    expect(line.isStanding(60 + BURST_MS_MAX)).toBe(true);
    line.waits(0, 200);
    expect(line.isStanding(200 + BURST_MS_MAX)).toBe(true);
    expect(line.isStanding(200 + BURST_MS_MAX + 1)).toBe(false);
    line.waits(1, 200 + BURST_MS_MAX + 1);
    expect(line.isStanding(200 + BURST_MS_MAX + 1)).toBe(false);
    expect(line.isStanding(200 + 2 * BURST_MS_MAX + 2)).toBe(true);
  });

  test('into which nobody is let stands as long as somebody comes', () => {
    const line = settled(10);
    line.waits(1, 0);
    line.waits(0, 10);
    for (let atMs = 100; atMs <= 1_000; atMs += BURST_MS_MAX) line.turnedAway(atMs);
    expect(line.isStanding(1_000 + BURST_MS_MAX)).toBe(true);
    line.waits(1, 1_000 + BURST_MS_MAX);
    expect(line.isStanding(1_000 + BURST_MS_MAX)).toBe(true);
    expect(line.isStanding(1_000 + BURST_MS_MAX)).toBe(true);
  });
});
