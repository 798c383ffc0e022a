/** The machine of a primary loses power. */
import { all, hampered, promoted } from '../bite.ts';
import { primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const PRIMARY_KILLED: Scenario = {
  name: 'primary-killed',
  claim: 'When the primary of eu is killed, its standby takes over with everything acknowledged.',
  mix: 'everything',
  seconds: 26,
  schedule: (draw) => [
    { atMs: WARM_MS + draw(0, 2_000), fault: { kind: 'kill', who: primary('eu') } },
  ],
  bit: (seen) => all(promoted(seen, 'eu'), hampered(seen, { home: 'eu' })),
};
