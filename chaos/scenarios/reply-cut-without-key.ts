/** The reply to a commit is cut, and nobody has a key under which it could be asked for again. */
import { all, hampered, reconnected } from '../bite.ts';
import { edge, primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const REPLY_CUT_WITHOUT_KEY: Scenario = {
  name: 'reply-cut-without-key',
  claim:
    'Without a key, a commit whose reply is cut is unknown, and nobody does it a second time or says that it was not done.',
  mix: {
    deeds: { append: 34, order: 24, 'register-write': 12, 'lists-read': 18, 'stock-read': 12 },
    levels: { session: 50, strong: 50 },
    travels: 0.35,
    shares: 0.25,
    keyed: 0,
  },
  seconds: 32,
  // A log-in takes some six hundred bytes; each length then ends in the middle of something else.
  schedule: (draw) =>
    [0, 1, 2, 3, 4, 5].map((part) => ({
      atMs: WARM_MS + part * 2_700,
      forMs: 2_500,
      fault: {
        kind: 'limit',
        links: { from: edge('eu'), to: primary('eu') },
        bytes: draw(750, 1_400),
        direction: 'downstream',
      },
    })),
  bit: (seen) => all(reconnected(seen, 'eu', 5), hampered(seen, { home: 'eu' })),
};
