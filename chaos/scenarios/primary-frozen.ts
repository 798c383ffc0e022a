/** The machine of a primary stands still, its connections open, and comes back. */
import { all, hampered, promoted } from '../bite.ts';
import { primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const PRIMARY_FROZEN: Scenario = {
  name: 'primary-frozen',
  claim:
    'A primary of eu that stands still is replaced, and acknowledges nothing when it moves again.',
  mix: 'everything',
  seconds: 32,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 2_000),
      forMs: 12_000,
      fault: { kind: 'freeze', who: primary('eu') },
    },
  ],
  bit: (seen) => all(promoted(seen, 'eu'), hampered(seen, { home: 'eu' })),
};
