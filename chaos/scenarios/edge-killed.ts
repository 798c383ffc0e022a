/** An edge dies with requests in it; their senders ask another one under the same key. */
import { all, hampered, noted } from '../bite.ts';
import { edge } from '../faults/fault.ts';
import { type Scenario, WARM_MS } from '../scenario.ts';

export const EDGE_KILLED: Scenario = {
  name: 'edge-killed',
  claim:
    'What was under way at an edge that is killed, and is asked again under its key, is done exactly once.',
  mix: 'everything',
  seconds: 30,
  schedule: (draw) =>
    ['us', 'eu', 'asia'].map((region, at) => ({
      atMs: WARM_MS + at * 4_500 + draw(0, 500),
      forMs: 1_500,
      fault: { kind: 'kill', who: edge(region) },
    })),
  bit: (seen) => all(noted(seen, /^edge-\w+ has ended/), hampered(seen)),
};
