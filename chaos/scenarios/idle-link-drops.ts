/** Whatever stands between forgets connections: what is sent over them vanishes, for a while. */
import { hampered, slower } from '../bite.ts';
import { edge } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const IDLE_LINK_DROPS: Scenario = {
  name: 'idle-link-drops',
  claim:
    'Connections that were forgotten in silence while they rested cost time, and neither lose nor double anything.',
  mix: 'everything',
  restMsMax: 1_500,
  seconds: 30,
  // Every link of the edges of asia: to other edges, to its nodes and its keeper.
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 14_000,
      fault: {
        kind: 'flap',
        links: { from: edge('asia') },
        how: 'hole',
        upMs: draw(1_000, 1_600),
        downMs: draw(700, 1_200),
      },
    },
  ],
  bit: (seen) => [...hampered(seen, { edge: 'asia' }), ...slower(seen, 600, { edge: 'asia' })],
};
