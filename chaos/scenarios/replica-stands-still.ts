/** A standby keeps all it is sent and shows none of it, to readers at every level. */
import { all, lagged } from '../bite.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const REPLICA_STANDS_STILL: Scenario = {
  name: 'replica-stands-still',
  claim:
    'While the replica of eu shows an ever older past, every answer is as fresh as its level promises and says how old it is.',
  // What differs between the levels shows where each is asked for often.
  mix: {
    deeds: {
      append: 22,
      'lists-read': 30,
      'register-write': 14,
      'register-read': 24,
      order: 4,
      'stock-read': 6,
    },
    levels: { session: 35, strong: 20, bounded: 25, eventual: 20 },
    travels: 0.5,
    shares: 0.5,
    keyed: 0.3,
  },
  seconds: 20,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 500),
      forMs: 8_000,
      fault: { kind: 'pause-replay', region: 'eu' },
    },
  ],
  bit: (seen) => all(lagged(seen, 'eu', 10_000)),
};
