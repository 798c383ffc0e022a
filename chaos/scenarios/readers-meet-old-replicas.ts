/** No replica shows anything new, and some have read something newer elsewhere. */
import { all, lagged } from '../bite.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

const REGIONS = ['us', 'eu', 'asia'];

export const READERS_MEET_OLD_REPLICAS: Scenario = {
  name: 'readers-meet-old-replicas',
  claim:
    'While no replica replays anything, a session that has read what others wrote is shown nothing older, wherever it goes.',
  // Most sessions never write, so what they have read is all that they can lose.
  mix: {
    deeds: { 'register-write': 18, 'register-read': 82 },
    levels: { session: 55, strong: 45 },
    travels: 0.5,
    shares: 0,
    keyed: 0,
  },
  seconds: 24,
  schedule: (draw) => {
    const atMs = WARM_MS + draw(0, 500);
    return REGIONS.map((region) => ({
      atMs,
      forMs: 11_000,
      fault: { kind: 'pause-replay', region },
    }));
  },
  bit: (seen) => all(...REGIONS.map((region) => lagged(seen, region, 1_000))),
};
