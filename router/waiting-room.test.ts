import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ANSWER_MS, PATIENCE_MS, WaitingRoom } from './waiting-room.ts';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function room(placesMax = 100) {
  let nowMs = 0;
  let begun = 0;
  const waiting = new WaitingRoom({ placesMax, now: () => nowMs, onWait: () => begun++ });
  const pass = async (ms: number) => {
    nowMs += ms;
    await vi.advanceTimersByTimeAsync(ms);
  };
  return { waiting, pass, begun: () => begun };
}

test('news wakes everybody at once, and everybody once', async () => {
  const { waiting, begun } = room();
  const three = [waiting.wait(2_000), waiting.wait(2_000), waiting.wait(2_000)];
  expect([waiting.stats().waiting, begun()]).toEqual([3, 3]);
  waiting.news();
  waiting.news();
  expect(await Promise.all(three)).toEqual([true, true, true]);
  expect(waiting.stats().waiting).toBe(0);
});

test('a wait in vain ends while there is time to say so', async () => {
  const { waiting, pass } = room();
  const ended = vi.fn();
  void waiting.wait(2_000).then(ended);
  await pass(2_000 - ANSWER_MS - 1);
  expect(ended).not.toHaveBeenCalled();
  await pass(1);
  expect(ended).toHaveBeenCalledWith(false);
  expect(await waiting.wait(2_000)).toBe(false);
});

test('a region that shows no sign of life keeps nobody waiting, until it shows one', async () => {
  const { waiting, pass } = room();
  await pass(PATIENCE_MS - 1);
  const last = waiting.wait(PATIENCE_MS + 2_000);
  await pass(1);
  expect(await last).toBe(false);
  expect(await waiting.wait(PATIENCE_MS + 2_000)).toBe(false);
  waiting.signOfLife();
  const next = waiting.wait(PATIENCE_MS + 2_000);
  waiting.news();
  expect(await next).toBe(true);
});

test('more than there are places for are told at once', async () => {
  const { waiting } = room(2);
  const two = [waiting.wait(2_000), waiting.wait(2_000)];
  expect(await waiting.wait(2_000)).toBe(false);
  expect(waiting.stats()).toEqual({ waiting: 2, turnedAway: 1 });
  waiting.news();
  expect(await Promise.all(two)).toEqual([true, true]);
});
