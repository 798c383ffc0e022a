/** Connections to a primary are reset, some of them while a commit is under way. */
import { all, hampered, reconnected } from '../bite.ts';
import { edge, primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

const LINKS = { from: edge('eu'), to: primary('eu') };

export const RESET_IN_COMMIT: Scenario = {
  name: 'reset-in-commit',
  claim:
    'A commit whose connection is reset is unknown, never failed, and its retry is done exactly once.',
  mix: 'everything',
  seconds: 28,
  schedule: (draw) => [
    // What is open ends first; what is opened now is reset a little later, wherever it then is.
    { atMs: WARM_MS + draw(0, 1_000), forMs: 50, fault: { kind: 'cut', links: LINKS } },
    {
      atMs: WARM_MS + 1_100,
      forMs: 10_000,
      fault: { kind: 'flap', links: LINKS, how: 'cut', upMs: draw(120, 300), downMs: 30 },
    },
    {
      atMs: WARM_MS + 1_100,
      forMs: 10_000,
      fault: { kind: 'reset', links: LINKS, afterMs: draw(20, 60) },
    },
  ],
  bit: (seen) => all(reconnected(seen, 'eu', 5), hampered(seen, { home: 'eu' })),
};
