/** What goes out arrives; nothing ever comes back. */
import { hampered } from '../bite.ts';
import { edge } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const HALF_OPEN_LINKS: Scenario = {
  name: 'half-open-links',
  claim:
    'A request whose answer is swallowed on its way back is never told as failed, and its retry is done once.',
  mix: 'everything',
  seconds: 30,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 2_000),
      forMs: 10_000,
      fault: {
        kind: 'hole',
        links: { from: edge('us'), to: edge('eu'), bothWays: true },
        direction: 'downstream',
      },
    },
  ],
  bit: (seen) => hampered(seen, { home: 'eu', edge: 'us' }),
};
