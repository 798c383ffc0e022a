/** A region answers, and takes its time. */
import { slower } from '../bite.ts';
import { between } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const REGION_SLOW: Scenario = {
  name: 'region-slow',
  claim:
    'While all that goes to or from asia takes over half a second each way, us and eu do not notice.',
  mix: 'everything',
  seconds: 24,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 500),
      forMs: 9_000,
      fault: { kind: 'slow', links: between('asia'), latencyMs: 650, jitterMs: 50 },
    },
  ],
  bit: (seen) => slower(seen, 1_000, { home: 'asia', abroad: true }),
};
