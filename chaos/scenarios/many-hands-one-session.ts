/** No replica shows anything new, and everybody shares a session, whose answers come in any order. */
import { all, lagged } from '../bite.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

const REGIONS = ['us', 'eu', 'asia'];

export const MANY_HANDS_ONE_SESSION: Scenario = {
  name: 'many-hands-one-session',
  claim:
    'While no replica replays anything, whoever holds the tokens of several answers is shown all that they have seen.',
  mix: {
    deeds: { append: 25, 'lists-read': 35, 'register-write': 15, 'register-read': 25 },
    levels: { session: 100 },
    travels: 0.5,
    shares: 1,
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
