/** Two regions lose each other, and both go on with the third. */
import { hampered } from '../bite.ts';
import { between } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const PARTITION_US_EU: Scenario = {
  name: 'partition-us-eu',
  claim:
    'While us and eu cannot reach each other, each serves those at home there, and what is at home beyond the partition is refused in words.',
  mix: 'everything',
  seconds: 26,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 12_000,
      fault: { kind: 'hole', links: between('us', 'eu') },
    },
  ],
  bit: (seen) => [
    ...hampered(seen, { home: 'eu', edge: 'us' }),
    ...hampered(seen, { home: 'us', edge: 'eu' }),
  ],
};
