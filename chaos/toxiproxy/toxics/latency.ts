/**
 * What does a longer wire feel like?
 *
 *     read at  0   10   20            latency 100, one chunk after the other, pipelined
 *     sent at 100  110  120
 *
 * Each chunk leaves `latency` plus or minus `jitter` milliseconds after it was read, never before
 * the one ahead of it. The end of the stream is not delayed; it only queues behind the data.
 */
import { toxicKind } from '../stage.ts';

export const latency = toxicKind({
  type: 'latency',
  attributes: ['latency', 'jitter'],
  // A long wire holds much data: a queue of one chunk would turn latency into a bandwidth limit.
  queueChunksMax: 1_024,
  *run({ latency, jitter }, stage) {
    for (;;) {
      const item = yield* stage.take();
      if (item === 'stop') return;
      if (item === 'end') return stage.end();
      const shakeMs = jitter > 0 ? (stage.random() * 2 - 1) * jitter : 0;
      const dueMs = item.atMs + Math.max(0, latency + shakeMs);
      const slept = yield* stage.sleep(dueMs - stage.nowMs());
      // A second latency counts from when this one let go; that is how two of them add up.
      yield* stage.emit(slept === 'elapsed' ? { data: item.data, atMs: dueMs } : item);
    }
  },
});
