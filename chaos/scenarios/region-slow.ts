/** A region answers, and takes its time. */
import { slower } from '../bite.ts';
import { between } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const REGION_SLOW: Scenario = {
  name: 'region-slow',
  claim:
    'While all that goes to or from asia takes over half a second each way, us and eu do not notice.',
  mix: 'everything',
  seconds: 32,
  // Who is not to notice is compared with before: that takes some time, before as well.
  schedule: (draw) => [
    {
      atMs: WARM_MS + 4_000 + draw(0, 500),
      forMs: 11_000,
      fault: { kind: 'slow', links: between('asia'), latencyMs: 650, jitterMs: 50 },
    },
  ],
  bit: (seen) => slower(seen, 1_000, { home: 'asia', abroad: true }),
};
