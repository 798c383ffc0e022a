/** A primary lives, and only its own disk knows. */
import { all, hampered, promoted } from '../bite.ts';
import { around, primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const PRIMARY_ISOLATED: Scenario = {
  name: 'primary-isolated',
  claim:
    'An isolated primary of eu that lives on acknowledges nothing and proves nothing, while its successor serves.',
  mix: 'everything',
  seconds: 34,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 2_000),
      forMs: 14_000,
      fault: { kind: 'hole', links: around(primary('eu')) },
    },
  ],
  bit: (seen) => all(promoted(seen, 'eu'), hampered(seen, { home: 'eu' })),
};
