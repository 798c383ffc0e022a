/** Who is told how often, and what a reader that does not read costs. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EventStreams, STREAMS_EACH_MAX, STREAMS_MAX, type Watcher } from './event-streams.ts';
import type { WorldPicture } from './world-picture.ts';

let looks: number;
let nowMs: number;
let streams: EventStreams;

beforeEach(() => {
  looks = 0;
  nowMs = 0;
  streams = new EventStreams({
    look: async () => ({ atMs: ++looks }) as unknown as WorldPicture,
    now: () => nowMs,
    everyMs: 5,
  });
});
afterEach(() => streams.stop());

const watcher = (id = 'ada', isOver = () => false): Watcher => ({
  id,
  isOver,
  state: (picture) => ({ ...picture, operator: { name: id, role: 'viewer' } }),
});

function opened(who = watcher()): ReadableStreamDefaultReader<Uint8Array> {
  const stream = streams.open(who);
  if (stream === undefined) throw new Error('no stream');
  return stream.getReader();
}

const text = (part: { value?: Uint8Array | undefined }) => new TextDecoder().decode(part.value);

async function nextState(reader: ReadableStreamDefaultReader<Uint8Array>) {
  for (;;) {
    const part = text(await reader.read());
    const [, data] = /^(?:retry: 2000\n)?event: state\nid: \d+\ndata: (.+)\n\n$/.exec(part) ?? [];
    if (data !== undefined) return JSON.parse(data);
  }
}

test('a watcher is told at once, then again and again, as himself', async () => {
  const [ada, bob] = [opened(), opened(watcher('bob'))];
  const first = await nextState(ada);
  expect(first.operator.name).toBe('ada');
  expect((await nextState(bob)).operator.name).toBe('bob');
  expect((await nextState(ada)).atMs).toBeGreaterThan(first.atMs);
});

test('nobody is asked while nobody watches', async () => {
  const reader = opened();
  await nextState(reader);
  await reader.cancel();
  const before = looks;
  await pause(50);
  // One look may have been under way.
  expect(looks - before).toBeLessThanOrEqual(1);
  expect(streams.size).toBe(0);
});

test('who does not read makes nobody keep states for him, and goes after a while', async () => {
  const slow = streams.open(watcher('slow'));
  const ada = opened();
  for (let n = 0; n < 20; n++) await nextState(ada);
  const reader = slow?.getReader();
  // One state stands in line; after it come those that were made since somebody reads.
  const [first, second] = [await reader?.read(), await reader?.read()].map((part) =>
    Number(/"atMs":(\d+)/.exec(text(part ?? {}))?.[1]),
  );
  expect(first).toBeLessThan(5);
  expect(second).toBeGreaterThan(15);
  nowMs = 60_001;
  for (let n = 0; n < 3; n++) await nextState(ada);
  nowMs = 120_003;
  for (let n = 0; n < 3; n++) await nextState(ada);
  expect(streams.size).toBe(1);
});

test('a stream ends when what let him watch has ended', async () => {
  let over = false;
  const reader = opened(watcher('ada', () => over));
  await nextState(reader);
  over = true;
  for (;;) if ((await reader.read()).done) break;
  expect(streams.size).toBe(0);
});

describe('streams are bounded', () => {
  test('for each person', () => {
    for (let n = 0; n < STREAMS_EACH_MAX; n++) opened();
    expect(streams.open(watcher())).toBeUndefined();
    expect(streams.open(watcher('bob'))).toBeDefined();
  });

  test('for all of them', () => {
    for (let n = 0; n < STREAMS_MAX; n++) opened(watcher(`person ${n}`));
    expect(streams.open(watcher('one more'))).toBeUndefined();
  });

  test('and end with the edge', async () => {
    const reader = opened();
    await nextState(reader);
    streams.stop();
    for (;;) if ((await reader.read()).done) break;
    expect(streams.open(watcher())).toBeUndefined();
  });
});
