/** An operator moves primaries while everybody is served. */
import { all, promoted } from '../bite.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const SWITCHOVER_UNDER_LOAD: Scenario = {
  name: 'switchover-under-load',
  claim: 'Moving the primaries of us and eu by hand under load loses and doubles nothing.',
  mix: 'everything',
  seconds: 30,
  schedule: (draw) => [
    { atMs: WARM_MS + draw(0, 1_000), fault: { kind: 'switchover', region: 'us' } },
    { atMs: WARM_MS + draw(0, 4_000), fault: { kind: 'switchover', region: 'eu' } },
  ],
  bit: (seen) => all(promoted(seen, 'us'), promoted(seen, 'eu')),
};
