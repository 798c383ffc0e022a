import { expect, test } from 'vitest';
import { believe, NewestTimelines } from './claimed-primary.ts';
import type { NodeView } from './steward.ts';

const at = (
  node: string,
  role: 'primary' | 'replica',
  timeline: number,
  systemId = 1n,
): NodeView => ({
  node,
  kind: 'seen',
  role,
  timeline,
  systemId,
  lsn: 5n,
});

function believed(nodes: readonly NodeView[], before: readonly NodeView[] = []) {
  const newest = new NewestTimelines();
  newest.notice(before);
  newest.notice(nodes);
  return believe({ by: 'Patroni', node: 'eu-a' }, nodes, newest);
}

test('a claim that the node itself confirms is believed', () => {
  const nodes = [at('eu-a', 'primary', 2), at('eu-b', 'replica', 2)];
  expect(believed(nodes)).toEqual({ primary: 'eu-a', timeline: 2 });
});

test('an old primary that has not been stopped yet takes nothing from the new one', () => {
  expect(believed([at('eu-a', 'primary', 2), at('eu-b', 'primary', 1)])).toMatchObject({
    primary: 'eu-a',
  });
});

test.each<[string, NodeView[], NodeView[], RegExp]>([
  ['of a node that is not ours', [at('eu-b', 'primary', 1)], [], /no such node/],
  ['of a replica', [at('eu-a', 'replica', 1)], [], /over SQL it is a replica/],
  [
    'of a silent node',
    [{ node: 'eu-a', kind: 'silent', because: 'no_answer' }],
    [],
    /does not answer/,
  ],
  [
    'of a stopped node',
    [{ node: 'eu-a', kind: 'silent', because: 'refused' }],
    [],
    /nobody listens/,
  ],
  [
    'of a primary that was replaced',
    [at('eu-a', 'primary', 1), at('eu-b', 'primary', 2)],
    [],
    /timeline 2 has begun/,
  ],
  [
    'of a primary whose replica is ahead',
    [at('eu-a', 'primary', 1), at('eu-b', 'replica', 2)],
    [],
    /timeline 2 has begun/,
  ],
  [
    'of a primary that was replaced before',
    [at('eu-a', 'primary', 1)],
    [at('eu-b', 'primary', 2)],
    /timeline 2 has begun/,
  ],
  [
    'of one of two on a timeline',
    [at('eu-a', 'primary', 1), at('eu-b', 'primary', 1)],
    [],
    /same timeline/,
  ],
  [
    'beside a stranger',
    [at('eu-a', 'primary', 1), at('eu-b', 'primary', 1, 2n)],
    [],
    /another cluster/,
  ],
])('a claim %s is doubted, and why is said', (_, nodes, before, doubt) => {
  const found = believed(nodes, before);
  expect(found.primary).toBeUndefined();
  expect(found.doubt).toMatch(doubt);
});

test('timelines of another cluster say nothing', () => {
  const before = [at('eu-b', 'primary', 9, 2n)];
  expect(believed([at('eu-a', 'primary', 1)], before)).toMatchObject({ primary: 'eu-a' });
});
