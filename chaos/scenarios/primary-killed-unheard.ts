/** What a primary has written last is on its own disk alone when it loses power. */
import { all, hampered, promoted } from '../bite.ts';
import { primary, replica } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const PRIMARY_KILLED_UNHEARD: Scenario = {
  name: 'primary-killed-unheard',
  claim:
    'When the primary of eu is killed after a second in which its standby heard nothing, nothing of that second was acknowledged.',
  mix: 'everything',
  seconds: 26,
  schedule: (draw) => {
    const atMs = WARM_MS + draw(0, 1_000);
    return [
      {
        atMs,
        forMs: 4_000,
        fault: { kind: 'hole', links: { from: replica('eu'), to: primary('eu') } },
      },
      // Sooner than anybody goes on without the standby.
      { atMs: atMs + 1_000, fault: { kind: 'kill', who: primary('eu') } },
    ];
  },
  bit: (seen) => all(promoted(seen, 'eu'), hampered(seen, { home: 'eu' })),
};
