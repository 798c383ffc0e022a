/**
 * What if the other side falls silent?
 *
 * Drops everything. Closes after `timeout` milliseconds in which nothing came in this direction;
 * at 0 never, though the source may still close. Whoever takes it away finds the connections
 * gone as well: a stream with a hole in it must not be read on.
 */
import { toxicKind } from '../stage.ts';

export const timeout = toxicKind({
  type: 'timeout',
  attributes: ['timeout'],
  closesWhenRemoved: true,
  *run({ timeout }, stage) {
    for (;;) {
      const item = yield* timeout > 0 ? stage.takeWithin(timeout) : stage.take();
      if (item === 'stop') return;
      if (item === 'end' || item === 'late') return stage.end();
    }
  },
});
