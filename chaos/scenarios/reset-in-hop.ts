/** Connections between the edges of two regions are reset with requests in them. */
import { hampered } from '../bite.ts';
import { edge } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

const LINKS = { from: edge('us'), to: edge('eu'), bothWays: true };

export const RESET_IN_HOP: Scenario = {
  name: 'reset-in-hop',
  claim:
    'A request that is lost between two edges is told as done only if it was, and is done a second time by nobody.',
  mix: 'everything',
  seconds: 22,
  schedule: (draw) => [
    // What is open ends first; what is opened now is reset a little later, wherever it then is.
    { atMs: WARM_MS + draw(0, 500), forMs: 50, fault: { kind: 'cut', links: LINKS } },
    {
      atMs: WARM_MS + 600,
      forMs: 8_000,
      fault: { kind: 'reset', links: LINKS, afterMs: draw(8, 20) },
    },
  ],
  bit: (seen) => [
    ...hampered(seen, { home: 'eu', edge: 'us' }),
    ...hampered(seen, { home: 'us', edge: 'eu' }),
  ],
};
