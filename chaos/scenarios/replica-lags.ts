/** The link to a standby is slow and narrow: it is always behind. */
import { all, lagged, slower } from '../bite.ts';
import { primary, replica } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

const LINKS = { from: replica('eu'), to: primary('eu') };

export const REPLICA_LAGS: Scenario = {
  name: 'replica-lags',
  claim:
    'While the replica of eu receives 64 kB/s, 150 ms late, no session reads its own past, and bounded reads keep their bound.',
  mix: 'everything',
  seconds: 32,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 16_000,
      fault: { kind: 'slow', links: LINKS, latencyMs: 150, jitterMs: 50 },
    },
    {
      atMs: WARM_MS + 1_000,
      forMs: 15_000,
      fault: { kind: 'narrow', links: LINKS, kBps: 64 },
    },
  ],
  bit: (seen) => all(lagged(seen, 'eu', 1), slower(seen, 300, { home: 'eu' })),
};
