/** The policy changes while everybody is served, and changes back. */
import { noted } from '../bite.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const POLICY_UNDER_LOAD: Scenario = {
  name: 'policy-under-load',
  claim:
    'While a mirror is taken back and allowed again under load, nobody is told wrongly and nothing is lost.',
  mix: 'notices',
  seconds: 40,
  schedule: (draw) => [
    {
      atMs: WARM_MS + draw(0, 1_000),
      fault: { kind: 'policy', change: 'notices of asia stay in asia' },
    },
    {
      atMs: WARM_MS + 16_000,
      fault: { kind: 'policy', change: 'as it was' },
    },
  ],
  bit: (seen) => noted(seen, /serves under policy version/),
};
