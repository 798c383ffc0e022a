/** Connections to a primary end after so many bytes: within a commit's reply, for some of them. */
import { all, hampered, reconnected } from '../bite.ts';
import { edge, primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const CUT_INSIDE_COMMIT_REPLY: Scenario = {
  name: 'cut-inside-commit-reply',
  claim:
    'A commit whose reply is cut in the middle is unknown, never failed, and its retry is done exactly once.',
  mix: 'everything',
  seconds: 28,
  // A log-in takes some six hundred bytes; each length then ends in the middle of something else.
  schedule: (draw) =>
    [0, 1, 2, 3].map((part) => ({
      atMs: WARM_MS + part * 3_200,
      forMs: 3_000,
      fault: {
        kind: 'limit',
        links: { from: edge('eu'), to: primary('eu') },
        bytes: draw(800, 1_500),
        direction: 'downstream',
      },
    })),
  bit: (seen) => all(reconnected(seen, 'eu', 5), hampered(seen, { home: 'eu' })),
};
