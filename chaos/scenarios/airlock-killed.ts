/** What lets a region's public part out is gone for a while. */
import { all, copiesAged, noted } from '../bite.ts';
import { airlock } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const AIRLOCK_KILLED: Scenario = {
  name: 'airlock-killed',
  claim:
    'While the airlock of us is gone, copies of us grow old and say so, and nothing at home notices.',
  mix: 'notices',
  seconds: 30,
  schedule: (draw) => [
    { atMs: WARM_MS + draw(0, 1_000), forMs: 10_000, fault: { kind: 'kill', who: airlock('us') } },
  ],
  bit: (seen) => all(noted(seen, /^us-x has ended/), copiesAged(seen, 'us', 3_000)),
};
