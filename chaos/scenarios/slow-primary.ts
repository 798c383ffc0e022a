/** The machine of a primary has far too much to do. */
import { slower } from '../bite.ts';
import { primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const SLOW_PRIMARY: Scenario = {
  name: 'slow-primary',
  claim:
    'A primary of eu that stands still most of the time slows its region, and breaks no promise.',
  mix: 'everything',
  seconds: 30,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      forMs: 12_000,
      fault: { kind: 'stutter', who: primary('eu'), stopMs: draw(250, 400), goMs: draw(80, 150) },
    },
  ],
  bit: (seen) => slower(seen, 250, { home: 'eu' }),
};
