/**
 * What if the other side's kernel denies the connection?
 *
 * Waits for a first sign of life in its direction, drops it, and closes `timeout` milliseconds
 * later. That the close is an RST is decided when the connection opens (`connection.ts`), so one
 * that was open before the toxic came sees a plain FIN.
 */
import { toxicKind } from '../stage.ts';

export const resetPeer = toxicKind({
  type: 'reset_peer',
  attributes: ['timeout'],
  resetsConnections: true,
  *run({ timeout }, stage) {
    if ((yield* stage.take()) === 'stop') return;
    yield* stage.sleepThrough(timeout);
    stage.end();
  },
});
