/** The primary ran alone and is gone; an operator decides that the standby takes over as it is. */
import { all, hampered, promoted, ranAlone, toldOfLoss } from '../bite.ts';
import { primary, replica } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const LOSS_ACCEPTED: Scenario = {
  name: 'loss-accepted',
  claim:
    'When an operator lets a standby take over that lacks writes, only then are writes lost, sessions that have seen them are told so, and from there on every promise holds again.',
  mix: 'everything',
  seconds: 62,
  schedule: (draw) => {
    const atMs = WARM_MS + draw(0, 1_000);
    return [
      // It lasts beyond the primary's return, so that what was written alone stays where it is.
      {
        atMs,
        forMs: 26_000,
        fault: { kind: 'cut', links: { from: replica('eu'), to: primary('eu') } },
      },
      // Long enough for eu to record that it goes on alone, and to write alone.
      { atMs: atMs + 8_000, forMs: 14_000, fault: { kind: 'freeze', who: primary('eu') } },
      { atMs: atMs + 13_000, fault: { kind: 'accept-loss', region: 'eu' } },
      { atMs: atMs + 31_000, fault: { kind: 'refill', region: 'eu' } },
    ];
  },
  bit: (seen) =>
    all(
      ranAlone(seen, 'eu'),
      promoted(seen, 'eu'),
      toldOfLoss(seen, 'eu'),
      hampered(seen, { home: 'eu' }),
    ),
};
