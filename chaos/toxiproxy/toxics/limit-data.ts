/**
 * What if the connection breaks in the middle of an answer?
 *
 * Lets exactly `bytes` through and closes. The count belongs to the connection: an update goes on
 * counting, and a limit that is already passed closes at the next data.
 */
import { toxicKind } from '../stage.ts';

export const limitData = toxicKind({
  type: 'limit_data',
  attributes: ['bytes'],
  *run({ bytes }, stage) {
    for (;;) {
      const item = yield* stage.take();
      if (item === 'stop') return;
      if (item === 'end') return stage.end();
      const data = item.data.subarray(0, Math.max(0, bytes - stage.kept.bytes));
      stage.kept.bytes += data.length;
      if (data.length > 0) yield* stage.emit({ data, atMs: item.atMs });
      if (stage.kept.bytes >= bytes) return stage.end();
    }
  },
});
