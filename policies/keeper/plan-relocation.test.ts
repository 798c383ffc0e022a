import { expect, test } from 'vitest';
import type { Outlook } from './decide.ts';
import type { NodeFacts, NodeState } from './judge-primary.ts';
import { type LastSeen, planRelocation } from './plan-relocation.ts';
import type { KeeperRecord } from './record.ts';

const RECORD: KeeperRecord = {
  version: 7,
  region: 'eu',
  systemId: '7',
  primary: 'a',
  timeline: 3,
  standbys: ['b'],
  commits: 'synchronous',
  pending: null,
  former: null,
  event: { kind: 'founded' },
  by: '',
  at: '',
};

function seen(role: 'primary' | 'replica', lsn: bigint, timeline = 3): NodeState {
  return {
    kind: 'seen',
    role,
    systemId: 7n,
    timeline,
    lsn,
    commitsWaitFor: [],
    streaming: [],
    heardMsAgo: undefined,
    feedsReady: true,
  };
}

const DEAD: NodeState = { kind: 'silent', because: 'refused' };
const LAST: LastSeen = { lsn: 0x1_0000_0400n, msAgo: 2_500 };

/** a and b at one, c at two; each as it is said to be, for ten seconds. */
function plan(
  states: { a: NodeState; b: NodeState; c: NodeState },
  {
    record = {},
    site = 'two',
    last,
    forMs = 10_000,
    edgesMsAgo,
  }: {
    record?: Partial<KeeperRecord>;
    site?: string;
    last?: LastSeen;
    forMs?: number;
    edgesMsAgo?: number;
  } = {},
) {
  const nodes = Object.entries(states).map(([node, state]): [string, NodeFacts] => [
    node,
    { node, state, forMs },
  ]);
  const outlook: Outlook = {
    nodes: new Map(nodes),
    hearsay: { edgesMsAgo },
    unstreamedForMs: new Map(),
    unconfirmedForMs: new Map(),
    processes: new Map(),
    busy: new Set(),
    hasStalled: false,
    commits: 'synchronous',
    sites: new Map([
      ['a', 'one'],
      ['b', 'one'],
      ['c', 'two'],
    ]),
    betweenSites: 'order',
    isMoving: false,
  };
  return planRelocation({ ...RECORD, ...record }, outlook, site, last);
}

const WELL = { a: seen('primary', 9n), b: seen('replica', 9n), c: seen('replica', 5n) };

test('while the primary serves, it moves to whoever answers there', () => {
  expect(plan(WELL)).toEqual({ kind: 'move', to: ['c'] });
  expect(plan({ ...WELL, c: DEAD })).toEqual({
    kind: 'refuse',
    why: 'no node at two answers as a standby',
  });
  expect(plan(WELL, { site: 'one' })).toMatchObject({ why: 'a, the primary, is at one already' });
  const pending = { kind: 'switchover', to: 'b' } as const;
  expect(plan(WELL, { record: { pending } })).toMatchObject({
    why: 'a switchover is under way already',
  });
});

test('a primary that lives for others does not move, and one in doubt is waited for', () => {
  const gone = { ...WELL, a: DEAD };
  expect(plan(gone, { edgesMsAgo: 10 })).toMatchObject({
    kind: 'refuse',
    why: 'a lives: edges hears it, only this keeper does not',
  });
  expect(plan(gone, { forMs: 399 })).toMatchObject({ kind: 'wait' });
  expect(plan(gone, { forMs: 400 })).not.toMatchObject({ kind: 'wait' });
});

test('without the old site nothing is lost where commits waited for the new one', () => {
  const lost = { a: DEAD, b: DEAD, c: seen('replica', 5n) };
  expect(plan(lost, { record: { standbys: ['c'] } })).toEqual({ kind: 'move', to: ['c'] });
  expect(plan({ ...lost, c: seen('replica', 5n, 2) }, { record: { standbys: ['c'] } })).toEqual({
    kind: 'refuse',
    why: 'no node at two answers as a standby on timeline 3',
  });
});

test('of two that commits waited for, both must answer and the one at the site must have as much', () => {
  const record = { standbys: ['b', 'c'] };
  const both = { a: DEAD, b: seen('replica', 5n), c: seen('replica', 5n) };
  expect(plan(both, { record })).toEqual({ kind: 'move', to: ['c'] });
  expect(plan({ ...both, b: seen('replica', 6n) }, { record })).toEqual({
    kind: 'refuse',
    why: 'b at one answers and has all that was acknowledged, so nothing need be lost: let it take over first',
  });
  expect(plan({ ...both, b: DEAD }, { record })).toMatchObject({ kind: 'loss', node: 'c' });
});

test('else somebody has to answer for what may be lacking, and is told how much', () => {
  const lost = { a: DEAD, b: DEAD, c: seen('replica', 0x1_0000_0000n) };
  expect(plan(lost, { last: LAST })).toEqual({
    kind: 'loss',
    node: 'c',
    because: 'a is gone: nobody listens at its address for 10000 ms',
    mayLack:
      'b may have more, and is silent; c has the log up to 1/0; a was last seen at 1/400, 2.5 s ago, 1024 bytes further; what it wrote after that nobody knows',
  });
  expect(plan(lost, { last: { ...LAST, lsn: 0x1_0000_0000n } })).toMatchObject({
    mayLack: expect.stringContaining('2.5 s ago, not further;'),
  });
  expect(plan(lost, { record: { standbys: [] } })).toMatchObject({
    mayLack: expect.stringMatching(/^a ran alone; c has .*, and no keeper that runs now has seen/),
  });
  expect(plan(lost, { record: { standbys: [], commits: 'asynchronous' } })).toMatchObject({
    mayLack: expect.stringMatching(/^commits of a waited for nobody, as the policy wants it;/),
  });
});
