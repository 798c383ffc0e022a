/** A primary that nobody reaches is killed and comes back as it was: with commits that waited. */
import { all, hampered, promoted } from '../bite.ts';
import { around, primary } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const PRIMARY_RESTARTED_WHILE_ISOLATED: Scenario = {
  name: 'primary-restarted-while-isolated',
  claim:
    'A primary of eu that restarts while nobody reaches it shows nobody what was never acknowledged.',
  mix: 'everything',
  seconds: 34,
  schedule: (draw) => {
    const atMs = WARM_MS + draw(0, 1_000);
    return [
      { atMs, forMs: 14_000, fault: { kind: 'hole', links: around(primary('eu')) } },
      // Before anybody can have been promoted, so that it is the isolated one.
      {
        atMs: atMs + 300,
        forMs: 1_000,
        fault: { kind: 'kill', who: primary('eu'), startAgain: true },
      },
    ];
  },
  bit: (seen) => all(promoted(seen, 'eu'), hampered(seen, { home: 'eu' })),
};
