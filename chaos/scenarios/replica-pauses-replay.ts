/** A standby keeps all it is sent and shows none of it. */
import { all, decided, lagged } from '../bite.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const REPLICA_PAUSES_REPLAY: Scenario = {
  name: 'replica-pauses-replay',
  claim:
    'While the replica of eu replays nothing, commits are acknowledged and no session reads its own past there.',
  mix: 'travellers',
  seconds: 30,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 2_000),
      forMs: 14_000,
      fault: { kind: 'pause-replay', region: 'eu' },
    },
  ],
  bit: (seen) => all(lagged(seen, 'eu', 10_000), decided(seen, /primary/, { home: 'eu' })),
};
