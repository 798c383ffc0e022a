/** A standby that lacks what was acknowledged without it is all that answers. */
import { all, hampered, ranAlone } from '../bite.ts';
import { primary, replica } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const PRIMARY_FROZEN_ALONE: Scenario = {
  name: 'primary-frozen-alone',
  claim:
    'When the primary of eu freezes while it runs alone, its former standby is there and is not promoted: eu waits and loses nothing.',
  mix: 'everything',
  seconds: 28,
  schedule: (draw) => {
    const atMs = WARM_MS + draw(0, 1_000);
    return [
      {
        atMs,
        forMs: 13_000,
        fault: { kind: 'cut', links: { from: replica('eu'), to: primary('eu') } },
      },
      // Four seconds are enough to go on alone, and the rest is acknowledged by one server.
      { atMs: atMs + 7_000, forMs: 5_000, fault: { kind: 'freeze', who: primary('eu') } },
    ];
  },
  bit: (seen) => all(ranAlone(seen, 'eu'), hampered(seen, { home: 'eu' })),
};
