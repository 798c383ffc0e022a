import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type Inlet, Seat, type Toxic } from './seat.ts';
import { seededRandom } from './seeded-random.ts';
import type { Item, ToxicKind } from './stage.ts';
import { bandwidth } from './toxics/bandwidth.ts';
import { TOXIC_KINDS } from './toxics/kinds.ts';
import { latency } from './toxics/latency.ts';
import { limitData } from './toxics/limit-data.ts';
import { resetPeer } from './toxics/reset-peer.ts';
import { slicer } from './toxics/slicer.ts';
import { slowClose } from './toxics/slow-close.ts';
import { timeout } from './toxics/timeout.ts';

const DAY_MS = 86_400_000;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'], now: 0 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** One seat between a feeder that counts its wake-ups and an inlet that writes down what came. */
function bench(kind: ToxicKind, attributes: Record<string, number> = {}, toxicity = 1) {
  let open = true;
  let wakes = 0;
  const out: { at: number; item: Item }[] = [];
  const startMs = performance.now();
  const nowMs = () => performance.now() - startMs;
  const toxic: Toxic = {
    name: 'under test',
    kind,
    stream: 'upstream',
    streamSent: 'upstream',
    toxicity,
    attributes,
  };
  const next: Inlet = {
    accept: (item) => void out.push({ at: Math.round(nowMs()), item }),
    hasRoom: () => open,
  };
  const previous = {
    roomAhead: () => {
      wakes += 1;
    },
  };
  const seat = new Seat(toxic, { nowMs, random: seededRandom(1) }, { previous, next });
  seat.start();
  const seen = () => out.map(({ at, item }) => [at, item === 'end' ? 'end' : item.data.toString()]);
  return {
    seat,
    toxic,
    seen,
    sizes: () => out.map(({ item }) => (item === 'end' ? 0 : item.data.length)),
    wakes: () => wakes,
    send: (text: string) => seat.accept({ data: Buffer.from(text), atMs: nowMs() }),
    end: () => seat.accept('end'),
    block: () => {
      open = false;
    },
    unblock: () => {
      open = true;
      seat.roomAhead();
    },
    pass: (ms: number) => void vi.advanceTimersByTime(ms),
  };
}

test('latency counts from when a chunk was read, not from its turn', () => {
  const { send, pass, seen } = bench(latency, { latency: 100 });
  for (const text of ['a', 'b', 'c']) {
    send(text);
    pass(10);
  }
  pass(200);
  expect(seen()).toEqual([
    [100, 'a'],
    [110, 'b'],
    [120, 'c'],
  ]);
});

test('a negative latency is none', () => {
  const { send, seen } = bench(latency, { latency: -50 });
  send('a');
  expect(seen()).toEqual([[0, 'a']]);
});

test('a delay longer than a timer can count does not fire at once', () => {
  const { send, pass, seen } = bench(latency, { latency: 2 ** 40 });
  send('a');
  pass(20 * DAY_MS);
  expect(seen()).toEqual([]);
});

test('bandwidth sends slices of 100 ms and then the rest after its share', () => {
  const { send, pass, seen } = bench(bandwidth, { rate: 1 });
  send('x'.repeat(250));
  pass(1_000);
  expect(seen().map(([at, text]) => [at, String(text).length])).toEqual([
    [100, 100],
    [200, 100],
    [250, 50],
  ]);
});

test('bandwidth gives no credit for time in which nothing came', () => {
  const { send, pass, seen } = bench(bandwidth, { rate: 1 });
  pass(5_000);
  send('x'.repeat(50));
  pass(1_000);
  expect(seen().map(([at]) => at)).toEqual([5_050]);
});

test('a rate below zero blocks like zero', () => {
  const { send, pass, seen, seat } = bench(bandwidth, { rate: -1 });
  send('a');
  pass(DAY_MS);
  expect(seen()).toEqual([]);
  expect(seat.stop()).toBe(true);
  expect(seen().map(([, text]) => text)).toEqual(['a']);
});

test.each([
  [0, 0],
  [0, 7],
  [-3, -3],
  [5, 50],
])(
  'a slicer of average %i and variation %i is tamed, not fatal',
  (average_size, size_variation) => {
    const { send, pass, seen, sizes } = bench(slicer, { average_size, size_variation });
    const text = Array.from({ length: 300 }, (_, at) => String(at % 10)).join('');
    send(text);
    pass(60_000);
    expect(
      seen()
        .map(([, piece]) => piece)
        .join(''),
    ).toBe(text);
    expect(Math.min(...sizes())).toBeGreaterThan(0);
    expect(Math.max(...sizes())).toBeLessThanOrEqual(2 * Math.max(1, average_size));
  },
);

test('delays of microseconds add up although no timer can count them', () => {
  const { send, pass, seen } = bench(slicer, { average_size: 1, delay: 500 });
  send('x'.repeat(64));
  pass(33);
  expect(seen()).toHaveLength(64);
  expect(seen().at(-1)?.[0]).toBeGreaterThanOrEqual(30);
});

test('a stage that waits for room takes nothing more, and the feeder is woken once', () => {
  const { send, block, unblock, seat, seen, wakes } = bench(latency);
  block();
  const before = wakes();
  for (let count = 0; count < 1_025; count += 1) send('x');
  expect(seat.hasRoom()).toBe(false);
  expect(seen()).toEqual([]);
  unblock();
  expect(seen()).toHaveLength(1_025);
  expect(wakes()).toBe(before + 1);
});

test('updates while the receiver is stalled push on one chunk at most', () => {
  const { send, block, unblock, seat, seen } = bench(latency, { latency: 10 });
  block();
  for (let count = 0; count < 50; count += 1) send(`${count} `);
  for (let update = 0; update < 1_000; update += 1) seat.restart();
  expect(seen()).toHaveLength(1);
  unblock();
  vi.advanceTimersByTime(100);
  const expected = Array.from({ length: 50 }, (_, count) => `${count} `).join('');
  expect(
    seen()
      .map(([, text]) => text)
      .join(''),
  ).toBe(expected);
});

test('a stopped stage has let go before stop returns, in order', () => {
  for (const kind of [latency, bandwidth, slicer]) {
    const attributes = { latency: 500, rate: 1, average_size: 2, delay: 500_000 };
    const { send, seat, seen } = bench(kind, attributes);
    send('0123456789');
    send('abc');
    expect(seat.stop()).toBe(true);
    const left = seat.leftovers().map((item) => (item === 'end' ? 'end' : item.data.toString()));
    const all = [...seen().map(([, text]) => text), ...left].join('');
    expect([kind.type, all]).toEqual([kind.type, '0123456789abc']);
  }
});

test('a slow close that is stopped leaves the end in its queue', () => {
  const { end, seat, seen, pass } = bench(slowClose, { delay: 100 });
  end();
  pass(90);
  seat.restart();
  pass(99);
  expect(seen()).toEqual([]);
  pass(1);
  expect(seen()).toEqual([[190, 'end']]);
});

test('a timeout closes at its time and not a millisecond before', () => {
  const { send, pass, seen } = bench(timeout, { timeout: 100 });
  pass(60);
  send('dropped');
  pass(99);
  expect(seen()).toEqual([]);
  pass(1);
  expect(seen()).toEqual([[160, 'end']]);
});

test('a reset that has begun cannot be stopped', () => {
  const { send, pass, seat, seen } = bench(resetPeer, { timeout: 100 });
  send('dropped');
  pass(50);
  expect(seat.stop()).toBe(false);
  seat.restart();
  pass(50);
  expect(seen()).toEqual([[100, 'end']]);
});

test('after its end a stage swallows and never blocks its feeder', () => {
  const { send, seat, seen } = bench(limitData, { bytes: 3 });
  for (let count = 0; count < 10; count += 1) send('xy');
  expect(seen()).toEqual([
    [0, 'xy'],
    [0, 'x'],
    [0, 'end'],
  ]);
  expect(seat.hasRoom()).toBe(true);
  seat.restart();
  send('again');
  expect(seen()).toHaveLength(3);
});

test('what comes after the end of the stream is dropped', () => {
  const { send, end, seen } = bench(latency);
  end();
  send('late');
  end();
  expect(seen()).toEqual([[0, 'end']]);
});

test('every type passes the end on, and passes all data when toxicity spares it', () => {
  for (const kind of TOXIC_KINDS.values()) {
    const spared = bench(kind, {}, 0);
    spared.send('data');
    spared.end();
    expect([kind.type, ...spared.seen()]).toEqual([kind.type, [0, 'data'], [0, 'end']]);
    const acting = bench(kind);
    acting.end();
    expect([kind.type, ...acting.seen()]).toEqual([kind.type, [0, 'end']]);
  }
});

test('a disposed seat leaves no timer behind', () => {
  const { send, seat, seen, pass } = bench(latency, { latency: 100 });
  send('a');
  seat.dispose();
  expect(vi.getTimerCount()).toBe(0);
  pass(1_000);
  expect(seen()).toEqual([]);
});
