/** A standby loses its primary, and nobody else does. */
import { all, hampered, ranAlone, slower } from '../bite.ts';
import { primary, replica } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const REPLICA_DISCONNECTED: Scenario = {
  name: 'replica-disconnected',
  claim:
    'When the standby of eu is disconnected, eu goes on alone once that is recorded, says so, and takes it back.',
  mix: 'everything',
  seconds: 34,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 2_000),
      forMs: 14_000,
      fault: { kind: 'cut', links: { from: replica('eu'), to: primary('eu') } },
    },
  ],
  bit: (seen) =>
    all(ranAlone(seen, 'eu'), [
      ...hampered(seen, { home: 'eu' }),
      ...slower(seen, 300, { home: 'eu' }),
    ]),
};
