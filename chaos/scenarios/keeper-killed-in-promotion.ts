/** Whoever replaces a primary dies in the middle of it. */
import { all, hampered, noted, promoted } from '../bite.ts';
import { keeper, primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const KEEPER_KILLED_IN_PROMOTION: Scenario = {
  name: 'keeper-killed-in-promotion',
  claim:
    'A keeper that is killed while it promotes goes on from its record when it is back: one primary, nothing lost.',
  mix: 'everything',
  seconds: 34,
  schedule: (draw) => {
    const atMs = WARM_MS + draw(0, 1_000);
    return [
      { atMs, fault: { kind: 'kill', who: primary('eu') } },
      // A keeper is sure that a primary is gone after about a second, and promotes for another.
      { atMs: atMs + draw(900, 2_200), forMs: 2_500, fault: { kind: 'kill', who: keeper('eu') } },
    ];
  },
  bit: (seen) =>
    all(noted(seen, /^keeper-eu has ended/), promoted(seen, 'eu'), hampered(seen, { home: 'eu' })),
};
