/**
 * What does a thin wire feel like?
 *
 *     rate 1 KB/s, chunk of 250 bytes:   100 ms [100]  100 ms [100]  50 ms [50]
 *
 * Waits for as long as the bytes would take, then passes them on; a big chunk goes in slices, so
 * that the far end sees a trickle and not a flood. At rate 0 nothing passes but the end.
 */
import { paced } from '../paced.ts';
import { toxicKind } from '../stage.ts';

const SLICE_MS = 100;

export const bandwidth = toxicKind({
  type: 'bandwidth',
  attributes: ['rate'],
  *run({ rate }, stage) {
    const pause = paced(stage, Number.POSITIVE_INFINITY);
    // A kilobyte is 1000 bytes here, so KB/s are bytes per millisecond. Negative means nothing:
    // the original dies of it.
    const bytesPerMs = Math.max(0, rate);
    const sliceBytes = bytesPerMs * SLICE_MS;
    for (;;) {
      const item = yield* stage.take();
      if (item === 'stop') return;
      if (item === 'end') return stage.end();
      let { data } = item;
      if (bytesPerMs === 0) yield* stage.sleep(Number.POSITIVE_INFINITY);
      else {
        while (data.length > sliceBytes) {
          yield* pause(SLICE_MS);
          yield* stage.emit({ data: data.subarray(0, sliceBytes), atMs: item.atMs });
          data = data.subarray(sliceBytes);
        }
        yield* pause(data.length / bytesPerMs);
      }
      yield* stage.emit({ data, atMs: item.atMs });
    }
  },
});
