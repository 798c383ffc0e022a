/** What copies are fed with arrives in crumbs, late. */
import { copiesAged } from '../bite.ts';
import { airlock } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const FEEDS_SLICED: Scenario = {
  name: 'feeds-sliced',
  claim:
    'While copies of us arrive in crumbs and late, bounded reads keep their bound and say how old they are.',
  mix: 'notices',
  seconds: 30,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 14_000,
      fault: { kind: 'slice', links: { to: airlock('us') }, bytes: draw(24, 64), delayUs: 20_000 },
    },
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 14_000,
      fault: { kind: 'slow', links: { to: airlock('us') }, latencyMs: draw(800, 1_200) },
    },
  ],
  // A copy at rest is half a pulse old at half of the looks, and a pulse comes every second.
  bit: (seen) => copiesAged(seen, 'us', 1_200),
};
