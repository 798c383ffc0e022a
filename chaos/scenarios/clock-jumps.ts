/** The wall clock of an edge jumps by an hour, forward and back. */
import { during } from '../bite.ts';
import { edge } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

const HOUR_MS = 3_600_000;

export const CLOCK_JUMPS: Scenario = {
  name: 'clock-jumps',
  claim:
    'An edge whose clock is an hour wrong, either way, keeps every promise: none rests on clocks.',
  mix: 'everything',
  seconds: 28,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 500),
      forMs: 6_000,
      fault: { kind: 'clock', who: edge('us'), byMs: HOUR_MS },
    },
    {
      atMs: WARM_MS + 8_000 + draw(0, 500),
      forMs: 6_000,
      fault: { kind: 'clock', who: edge('us'), byMs: -HOUR_MS },
    },
    {
      atMs: WARM_MS + 2_000,
      forMs: 6_000,
      fault: { kind: 'clock', who: edge('eu'), byMs: -HOUR_MS },
    },
  ],
  // Only edges believe in another time. An answer's age is told by the clocks of servers, which agree.
  clocksDifferMs: 0,
  bit: (seen) => during(seen, { edge: 'us' }),
};
