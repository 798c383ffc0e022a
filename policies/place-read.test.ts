import { describe, expect, test } from 'vitest';
import type { History, Position } from '../regions/position.ts';
import type { Sighting } from '../regions/sighting.ts';
import { SESSION } from './consistency.ts';
import { type Objection, placeRead, type ReadRequest, SIGHTING_AGE_MS_MAX } from './place-read.ts';

const NOW = 100_000;
const at = (lsn: bigint, timeline = 1, systemId = 9n): Position => ({ systemId, timeline, lsn });
const seen = (
  node: string,
  role: Sighting['role'],
  position: Position,
  { ageMs = 100, ...other }: Partial<Sighting> & { ageMs?: number } = {},
): Sighting => ({
  node,
  role,
  at: position,
  incarnation: 'first',
  seenAtMs: NOW - ageMs,
  freshAsOfMs: NOW - ageMs,
  acknowledged: role === 'primary' ? position.lsn : undefined,
  keepsUp: true,
  ...other,
});

/** Timeline 2 left timeline 1 at position 6. */
const FORKED: History = { systemId: 9n, timeline: 2, ancestors: [{ timeline: 1, end: 6n }] };

function place(
  sightings: Sighting[],
  floor: (Position & { onReplica?: boolean }) | undefined,
  {
    tried = [],
    histories = [],
    superseded = 0,
    ...request
  }: Partial<Omit<ReadRequest, 'tried'>> & {
    tried?: [string, Objection][];
    histories?: History[];
    superseded?: number;
  } = {},
) {
  const board = new Map(sightings.map((sighting) => [sighting.node, sighting]));
  return placeRead(
    {
      nodes: ['eu-a', 'eu-b', 'eu-c'].filter((n) => board.has(n)),
      level: SESSION,
      floor: floor === undefined ? [] : [{ onReplica: true, ...floor }],
      tried: new Map(tried),
      waitMsMax: 50,
      budgetMs: 2_000,
      primaryHasRoom: true,
      ...request,
    },
    {
      sighting: (node) => board.get(node),
      history: (systemId, timeline) =>
        histories.find((known) => known.systemId === systemId && known.timeline === timeline),
      isSuperseded: ({ timeline }) => timeline < superseded,
    },
    NOW,
  );
}

test('a session without a floor reads the replica', () => {
  const answer = place(
    [seen('eu-a', 'primary', at(9n)), seen('eu-b', 'replica', at(1n))],
    undefined,
  );
  expect(answer).toMatchObject({ kind: 'serve', node: 'eu-b', rung: 'replica' });
});

test.each([
  [5n, 'replica'],
  [4n, 'replica_after_wait'],
])('a replica at %s for a floor of 5 is on rung %s', (lsn, rung) => {
  const answer = place([seen('eu-a', 'primary', at(9n)), seen('eu-b', 'replica', at(lsn))], at(5n));
  expect(answer).toMatchObject({ kind: 'serve', node: 'eu-b', rung });
});

test('a replica that has reached the floor comes before one that must be waited for', () => {
  const answer = place(
    [
      seen('eu-a', 'primary', at(9n)),
      seen('eu-b', 'replica', at(4n)),
      seen('eu-c', 'replica', at(5n)),
    ],
    at(5n),
  );
  expect(answer).toMatchObject({ node: 'eu-c', rung: 'replica' });
});

test('a replica that was waited for in vain is passed over for the primary', () => {
  const answer = place([seen('eu-a', 'primary', at(9n)), seen('eu-b', 'replica', at(4n))], at(5n), {
    tried: [['eu-b', 'behind']],
  });
  expect(answer).toEqual({
    kind: 'serve',
    node: 'eu-a',
    rung: 'primary',
    proof: 'none',
    waitMs: 0,
    passedOver: [{ node: 'eu-b', because: 'behind' }],
  });
});

test('10/0 is beyond 9/FF, whatever their text says', () => {
  const answer = place([seen('eu-b', 'replica', at(0x9_0000_00ffn))], at(0x10_0000_0000n));
  expect(answer).toMatchObject({ rung: 'replica_after_wait' });
});

test.each([
  [SIGHTING_AGE_MS_MAX, 'serve'],
  [SIGHTING_AGE_MS_MAX + 1, 'refuse'],
])('a sighting %s ms old leads to %s', (ageMs, kind) => {
  expect(place([seen('eu-b', 'replica', at(5n), { ageMs })], undefined).kind).toBe(kind);
});

test('no node at all is a refusal, not a default', () => {
  expect(place([], undefined)).toEqual({ kind: 'refuse', passedOver: [] });
});

test('a floor of a newer timeline than any node has is refused, and it is safe to ask again', () => {
  const floor = at(5n, 2);
  const answer = place([seen('eu-a', 'primary', at(9n)), seen('eu-b', 'replica', at(9n))], floor);
  expect(answer).toEqual({
    kind: 'refuse',
    passedOver: [
      { node: 'eu-b', because: 'older_timeline' },
      { node: 'eu-a', because: 'older_timeline' },
    ],
  });
});

test('a floor of another cluster is a loss', () => {
  const answer = place([seen('eu-a', 'primary', at(9n))], at(5n, 1, 8n));
  expect(answer).toMatchObject({ kind: 'lost', because: 'other_cluster', node: 'eu-a' });
});

describe('after a promotion', () => {
  const promoted = seen('eu-a', 'primary', at(9n, 2));

  test.each([
    [5n, 'serve'],
    [6n, 'serve'],
    [7n, 'lost'],
  ])('with the fork at 6, what was seen at %s leads to %s', (lsn, kind) => {
    expect(place([promoted], at(lsn), { histories: [FORKED] }).kind).toBe(kind);
  });

  test('nothing is known of an older floor before the fork is', () => {
    const answer = place([promoted], at(5n));
    expect(answer).toEqual({
      kind: 'refuse',
      passedOver: [{ node: 'eu-a', because: 'history_unknown' }],
    });
  });

  test('what was seen on a timeline that led nowhere is lost', () => {
    const thirdTimeline = { ...FORKED, timeline: 3 };
    const answer = place([seen('eu-a', 'primary', at(9n, 3))], at(1n, 2), {
      histories: [thirdTimeline],
    });
    expect(answer).toMatchObject({ kind: 'lost', because: 'lost' });
  });

  test('a replica that has replayed less than an older floor is behind, not done', () => {
    const answer = place([seen('eu-b', 'replica', at(4n, 2))], at(5n), { histories: [FORKED] });
    expect(answer).toMatchObject({ rung: 'replica_after_wait' });
  });

  test('the old primary is not the primary, though the new one has fallen silent', () => {
    const answer = place([seen('eu-a', 'primary', at(90n, 1))], undefined, { superseded: 2 });
    expect(answer).toEqual({
      kind: 'refuse',
      passedOver: [{ node: 'eu-a', because: 'older_primary' }],
    });
  });

  test('the newer one of two primaries serves', () => {
    const answer = place(
      [seen('eu-a', 'primary', at(90n, 1)), seen('eu-b', 'primary', at(9n, 2))],
      undefined,
      { superseded: 2 },
    );
    expect(answer).toMatchObject({ node: 'eu-b', rung: 'primary' });
  });
});

describe('a replica that has not kept up', () => {
  const lagging = seen('eu-b', 'replica', at(4n), { keepsUp: false });

  test('is not waited for while the primary has room', () => {
    const answer = place([seen('eu-a', 'primary', at(9n)), lagging], at(5n));
    expect(answer).toMatchObject({
      node: 'eu-a',
      rung: 'primary',
      passedOver: [{ node: 'eu-b', because: 'lagging' }],
    });
  });

  test('is waited for, half the budget, when the primary has none', () => {
    const answer = place([seen('eu-a', 'primary', at(9n)), lagging], at(5n), {
      primaryHasRoom: false,
    });
    expect(answer).toEqual({
      kind: 'serve',
      node: 'eu-b',
      rung: 'replica_after_wait',
      proof: 'none',
      waitMs: 1_000,
      passedOver: [{ node: 'eu-a', because: 'has_no_room' }],
    });
  });

  test('serves what it has', () => {
    expect(place([lagging], at(4n))).toMatchObject({ node: 'eu-b', rung: 'replica' });
  });
});

test('a wait takes half of what is left of the budget at most', () => {
  const behind = seen('eu-b', 'replica', at(4n));
  expect(place([behind], at(5n), { budgetMs: 60 })).toMatchObject({ waitMs: 30 });
  expect(place([behind], at(5n), { budgetMs: 600 })).toMatchObject({ waitMs: 50 });
});

describe('levels', () => {
  const primary = seen('eu-a', 'primary', at(9n));
  const replica = seen('eu-b', 'replica', at(9n), { freshAsOfMs: NOW - 2_000 });
  const bounded = (maxStalenessMs: number) => ({
    level: { kind: 'bounded', maxStalenessMs } as const,
  });

  test('strong reads the primary and proves it afterwards, room or not', () => {
    const answer = place([primary, replica], undefined, {
      level: { kind: 'strong' },
      primaryHasRoom: false,
    });
    expect(answer).toMatchObject({ node: 'eu-a', proof: 'after' });
  });

  test('strong is refused without a primary', () => {
    expect(place([replica], undefined, { level: { kind: 'strong' } })).toEqual({
      kind: 'refuse',
      passedOver: [{ node: 'eu-b', because: 'not_the_primary' }],
    });
  });

  test.each([
    [2_000, 'eu-b'],
    [1_999, 'eu-a'],
  ])('a copy that is 2,000 ms old: bounded by %s ms it comes from %s', (ms, node) => {
    expect(place([primary, replica], undefined, bounded(ms))).toMatchObject({ node });
  });

  test('a primary that has proved itself lately needs no proof for bounded', () => {
    expect(place([primary], undefined, bounded(100))).toMatchObject({ proof: 'none' });
    expect(place([primary], undefined, bounded(99))).toMatchObject({ proof: 'after' });
  });

  test('a copy of unknown age is not within any bound', () => {
    const unknown = seen('eu-b', 'replica', at(9n), { freshAsOfMs: undefined });
    expect(place([unknown], undefined, bounded(3_600_000)).kind).toBe('refuse');
  });

  test('eventual reads what is near, whatever the session has seen', () => {
    expect(place([primary, replica], at(10n), { level: { kind: 'eventual' } })).toMatchObject({
      node: 'eu-b',
      proof: 'none',
    });
  });
});

test.each([
  [8n, 'none'],
  [9n, 'before'],
])('the primary has 8 acknowledged: a session that saw %s needs as proof: %s', (lsn, proof) => {
  const primary = seen('eu-a', 'primary', at(9n), { acknowledged: 8n });
  expect(place([primary], at(lsn))).toMatchObject({ rung: 'primary', proof });
});

test('what the primary itself has shown, it shows without proof', () => {
  const primary = seen('eu-a', 'primary', at(9n), { acknowledged: 8n });
  expect(place([primary], { ...at(9n), onReplica: false })).toMatchObject({ proof: 'none' });
});

describe('strong shows no less than session', () => {
  const level = { kind: 'strong' } as const;
  const fresh = seen('eu-a', 'primary', at(9n, 2));

  test.each([
    [8n, 'after'],
    [9n, 'both'],
  ])('of 8 acknowledged, what a replica showed at %s needs as proof: %s', (lsn, proof) => {
    const primary = seen('eu-a', 'primary', at(9n), { acknowledged: 8n });
    expect(place([primary], at(lsn), { level })).toMatchObject({ rung: 'primary', proof });
  });

  test('a loss is told there as well', () => {
    const answer = place([fresh], at(7n), { level, histories: [FORKED] });
    expect(answer).toMatchObject({ kind: 'lost', because: 'lost' });
  });

  test('an older primary than the session has met does not answer', () => {
    const old = seen('eu-a', 'primary', at(9n, 1));
    expect(place([old], at(3n, 2), { level })).toEqual({
      kind: 'refuse',
      passedOver: [{ node: 'eu-a', because: 'older_timeline' }],
    });
  });
});
