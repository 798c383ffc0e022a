/** A region is there, and nobody outside can tell. */
import { hampered } from '../bite.ts';
import { between } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const REGION_UNREACHABLE: Scenario = {
  name: 'region-unreachable',
  claim: 'While nobody outside reaches asia, it serves its own, and all others serve theirs.',
  mix: 'everything',
  seconds: 28,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 12_000,
      fault: { kind: draw(0, 1) === 0 ? 'cut' : 'hole', links: between('asia') },
    },
  ],
  bit: (seen) => hampered(seen, { home: 'asia', abroad: true }),
};
