import { expect, test } from 'vitest';
import { STALL_PROBE_EVERY_MS, StallGuard } from './stall-guard.ts';

test('after a stuck commit one write a second tries, until one is acknowledged', () => {
  const guard = new StallGuard();
  expect([guard.admits(0), guard.admits(0)]).toEqual([true, true]);
  guard.timedOut(100);
  expect(guard.admits(100 + STALL_PROBE_EVERY_MS - 1)).toBe(false);
  expect(guard.admits(100 + STALL_PROBE_EVERY_MS)).toBe(true);
  expect(guard.admits(100 + STALL_PROBE_EVERY_MS)).toBe(false);
  guard.acknowledged();
  expect([guard.admits(1_200), guard.admits(1_200)]).toEqual([true, true]);
});
