/** First the standby is lost, then the primary that ran alone. */
import { all, hampered, ranAlone } from '../bite.ts';
import { primary, replica } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const DOUBLE_FAILURE: Scenario = {
  name: 'double-failure',
  claim:
    'When eu loses its standby and then its primary, nobody who may lack something is promoted: eu waits and loses nothing.',
  mix: 'everything',
  seconds: 44,
  schedule: (draw) => {
    const atMs = WARM_MS + draw(0, 1_000);
    return [
      { atMs, forMs: 20_000, fault: { kind: 'freeze', who: replica('eu') } },
      // Eight seconds are enough to notice that it is gone and to go on alone.
      { atMs: atMs + 8_000, fault: { kind: 'kill', who: primary('eu') } },
    ];
  },
  bit: (seen) => all(ranAlone(seen, 'eu'), hampered(seen, { home: 'eu' })),
};
