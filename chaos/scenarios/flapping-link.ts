/** A link between two regions comes and goes. */
import { hampered } from '../bite.ts';
import { between } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const FLAPPING_LINK: Scenario = {
  name: 'flapping-link',
  claim:
    'While the link between us and asia comes and goes, nothing is lost, doubled or read twice differently.',
  mix: 'everything',
  seconds: 30,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 14_000,
      fault: {
        kind: 'flap',
        links: between('us', 'asia'),
        how: draw(0, 1) === 0 ? 'cut' : 'hole',
        upMs: draw(300, 900),
        downMs: draw(200, 900),
      },
    },
  ],
  bit: (seen) => [
    ...hampered(seen, { home: 'us', edge: 'asia' }),
    ...hampered(seen, { home: 'asia', edge: 'us' }),
  ],
};
