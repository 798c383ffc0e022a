/** A region hears everybody and is heard by nobody. */
import { hampered } from '../bite.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const ASYMMETRIC_LOSS: Scenario = {
  name: 'asymmetric-loss',
  claim: 'While what others send to asia is lost on its way there, nobody is told wrongly.',
  mix: 'everything',
  seconds: 30,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 2_000),
      forMs: 10_000,
      fault: {
        kind: 'hole',
        links: { to: { region: 'asia' }, from: { region: 'us' } },
        direction: 'upstream',
      },
    },
    {
      atMs: WARM_MS + draw(0, 2_000),
      forMs: 10_000,
      fault: {
        kind: 'hole',
        links: { to: { region: 'asia' }, from: { region: 'eu' } },
        direction: 'upstream',
      },
    },
  ],
  bit: (seen) => hampered(seen, { home: 'asia', abroad: true }),
};
