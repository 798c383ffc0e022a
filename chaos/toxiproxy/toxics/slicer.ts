/**
 * What if every message arrives in crumbs?
 *
 *     100 bytes, average 10:   100 -> 50 50 -> 25 25 25 25 -> ... -> 16 pieces of 6 or 7
 *
 * Halves a chunk, give or take `size_variation`, until each piece is at most average plus variation,
 * and waits `delay` microseconds after every piece.
 */
import { paced } from '../paced.ts';
import { type Stage, toxicKind } from '../stage.ts';

/**
 * Carried from pause to pause, so that microseconds add up. No more than that: pieces that come late
 * must not then come close together, or the receiver sees fewer and bigger ones.
 */
const TIMER_GRAIN_MS = 2;

export const slicer = toxicKind({
  type: 'slicer',
  attributes: ['average_size', 'size_variation', 'delay'],
  *run({ average_size, size_variation, delay }, stage) {
    const pause = paced(stage, TIMER_GRAIN_MS);
    // The original dies of an average of nothing and of a variation above the average.
    const averageBytes = Math.max(1, average_size);
    const variationBytes = Math.min(averageBytes, Math.max(0, size_variation));
    for (;;) {
      const item = yield* stage.take();
      if (item === 'stop') return;
      if (item === 'end') return stage.end();
      for (const data of crumbs(item.data, averageBytes, variationBytes, stage)) {
        yield* stage.emit({ data, atMs: item.atMs });
        yield* pause(delay / 1_000);
      }
    }
  },
});

function* crumbs(
  data: Buffer,
  averageBytes: number,
  variationBytes: number,
  stage: Stage,
): Generator<Buffer> {
  if (data.length - averageBytes <= variationBytes) {
    yield data;
    return;
  }
  const shift = variationBytes > 0 ? (stage.random() * 2 - 1) * variationBytes : 0;
  const middle = Math.floor(data.length / 2 + shift);
  const cut = Math.min(data.length - 1, Math.max(1, middle));
  yield* crumbs(data.subarray(0, cut), averageBytes, variationBytes, stage);
  yield* crumbs(data.subarray(cut), averageBytes, variationBytes, stage);
}
