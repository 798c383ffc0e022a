/**
 * What if the other side takes its time to hang up?
 *
 * Data passes untouched; the end of the stream is held for `delay` milliseconds. An update starts
 * the delay again, a removal closes now.
 */
import { toxicKind } from '../stage.ts';

export const slowClose = toxicKind({
  type: 'slow_close',
  attributes: ['delay'],
  *run({ delay }, stage) {
    for (;;) {
      const item = yield* stage.take();
      if (item === 'stop') return;
      if (item !== 'end') yield* stage.emit(item);
      else if ((yield* stage.sleep(delay)) === 'stop') return stage.putBack(item);
      else return stage.end();
    }
  },
});
