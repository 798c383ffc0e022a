/** Chains under random changes: whatever comes, goes and stalls, no byte is lost or overtaken. */
import { Duplex } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Chain } from './chain.ts';
import type { Toxic } from './seat.ts';
import { seededRandom } from './seeded-random.ts';
import { bandwidth } from './toxics/bandwidth.ts';
import { latency } from './toxics/latency.ts';
import { noop } from './toxics/noop.ts';
import { slicer } from './toxics/slicer.ts';
import { slowClose } from './toxics/slow-close.ts';
import { timeout } from './toxics/timeout.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'], now: 0 });
});
afterEach(() => {
  vi.useRealTimers();
});

/** A source that counts what was read from it, and a destination that can stall. */
class Wire {
  readonly received: Buffer[] = [];
  readonly source = new Duplex({ read: () => {}, allowHalfOpen: true });
  readonly destination: Duplex;
  ended = false;
  #pending: (() => void) | undefined;
  #stalled = false;

  constructor() {
    this.destination = new Duplex({
      read: () => {},
      write: (data: Buffer, _encoding, done) => {
        this.received.push(data);
        if (this.#stalled) this.#pending = done;
        else done();
      },
    });
  }

  get receivedBytes(): number {
    return this.received.reduce((sum, data) => sum + data.length, 0);
  }

  /** Bytes that left the source and have not been taken by the receiver. */
  get insideBytes(): number {
    return this.destination.writableLength;
  }

  stall(): void {
    this.#stalled = true;
  }

  drain(): void {
    this.#stalled = false;
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.();
  }

  chain(toxics: readonly Toxic[] = []): Chain {
    const ends = {
      source: this.source,
      destination: this.destination,
      onEnd: () => {
        this.ended = true;
      },
    };
    const world = { nowMs: () => performance.now(), random: seededRandom(2) };
    const chain = new Chain(ends, toxics, world);
    chain.open();
    return chain;
  }
}

const KINDS = [
  [noop, {}],
  [latency, { latency: 40, jitter: 30 }],
  [bandwidth, { rate: 20 }],
  [slicer, { average_size: 900, size_variation: 300, delay: 2_000 }],
  [slowClose, { delay: 70 }],
] as const;

function toxicOf(which: number, toxicity = 1): Toxic {
  const [kind, attributes] = KINDS[which % KINDS.length] ?? KINDS[0];
  const name = `${kind.type}-${which}`;
  return { name, kind, stream: 'upstream', streamSent: 'upstream', toxicity, attributes };
}

const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant('send'), n: fc.integer({ min: 1, max: 70_000 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('wait'), n: fc.integer({ min: 1, max: 120 }) }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('add'), n: fc.nat(100) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('update'), n: fc.nat(100) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('remove'), n: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom('stall', 'drain'), n: fc.constant(0) }) },
);

test('no change of toxics loses, repeats or reorders a byte', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const wire = new Wire();
      const chain = wire.chain();
      const toxics: Toxic[] = [];
      const sent: Buffer[] = [];
      for (const { do: what, n } of steps) {
        const chosen = toxics[n % Math.max(1, toxics.length)];
        if (what === 'send') {
          const data = Buffer.alloc(n, sent.length % 251);
          data.writeUInt8(sent.length % 256, n - 1);
          sent.push(data);
          wire.source.push(data);
        } else if (what === 'wait') vi.advanceTimersByTime(n);
        else if (what === 'add') {
          const toxic = toxicOf(n, n % 3 === 0 ? 0.5 : 1);
          toxics.push(toxic);
          chain.add(toxic);
        } else if (what === 'update' && chosen !== undefined) chain.update(chosen);
        else if (what === 'remove' && chosen !== undefined) {
          toxics.splice(toxics.indexOf(chosen), 1);
          chain.remove(chosen);
        } else if (what === 'stall') wire.stall();
        else if (what === 'drain') wire.drain();
        await turn();
      }
      wire.source.push(null);
      wire.drain();
      for (let rounds = 0; rounds < 5_000 && !wire.ended; rounds += 1) {
        vi.advanceTimersByTime(100);
        await turn();
      }
      expect(wire.ended).toBe(true);
      expect(Buffer.concat(wire.received).equals(Buffer.concat(sent))).toBe(true);
    }),
    { numRuns: 150 },
  );
}, 30_000);

test('while the receiver is stalled, changes neither hang nor read on', async () => {
  const wire = new Wire();
  const chain = wire.chain();
  wire.stall();
  const sent = Buffer.alloc(9_000_000, 'x');
  let offered = 0;
  const offer = async () => {
    for (let count = 0; count < 20 && offered < sent.length; count += 1) {
      await turn();
      if (wire.source.readableLength > 65_536) break;
      wire.source.push(sent.subarray(offered, offered + 50_000));
      offered += 50_000;
    }
  };
  await offer();
  const offeredAtFirst = offered;
  for (let round = 0; round < 100; round += 1) {
    for (const which of [0, 2, 3]) {
      const toxic = toxicOf(which);
      chain.add(toxic);
      await offer();
      chain.update(toxic);
      await offer();
      chain.remove(toxic);
      await offer();
    }
  }
  // Each toxic makes room for a chunk or two while it is there; the backlog's bound ends that.
  expect(wire.insideBytes).toBeLessThan(400_000);
  expect(offered - offeredAtFirst).toBeLessThan(400_000);
  wire.drain();
  for (let rounds = 0; rounds < 1_000 && wire.receivedBytes < offered; rounds += 1) await turn();
  expect(wire.receivedBytes).toBe(offered);
});

test('a timeout that is removed ends the stream behind what later toxics hold', async () => {
  const wire = new Wire();
  const silent: Toxic = { ...toxicOf(0), kind: timeout, attributes: {}, toxicity: 0 };
  const chain = wire.chain([silent, toxicOf(1)]);
  wire.source.push('held');
  await turn();
  chain.remove(silent);
  wire.source.push('too late');
  await turn();
  expect(wire.ended).toBe(false);
  vi.advanceTimersByTime(100);
  await turn();
  expect(wire.ended).toBe(true);
  expect(Buffer.concat(wire.received).toString()).toBe('held');
});

test('what Node read in one go travels in chunks of at most 32 KiB', async () => {
  const wire = new Wire();
  wire.chain();
  wire.source.push(Buffer.alloc(70_000));
  await turn();
  expect(wire.received.map(({ length }) => length)).toEqual([32_768, 32_768, 4_464]);
});
