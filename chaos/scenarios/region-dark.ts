/** Every process of a region is gone at once. */
import { all, hampered, noted } from '../bite.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const REGION_DARK: Scenario = {
  name: 'region-dark',
  claim:
    'While all of asia is dark, us and eu do not notice, and asia comes back with everything that it had acknowledged.',
  mix: 'everything',
  seconds: 44,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 10_000,
      fault: { kind: 'kill', who: { region: 'asia' } },
    },
  ],
  bit: (seen) =>
    all(noted(seen, /^(asia|edge-asia|keeper-asia).* has ended/), hampered(seen, { home: 'asia' })),
};
