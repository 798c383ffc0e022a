import { expect, test } from 'vitest';
import type { Position } from '../regions/position.ts';
import type { Sighting } from '../regions/sighting.ts';
import { type Objection, placeRead, SIGHTING_AGE_MS_MAX } from './place-read.ts';

const NOW = 100_000;
const at = (lsn: bigint, timeline = 1, systemId = 9n): Position => ({ systemId, timeline, lsn });
const seen = (node: string, role: Sighting['role'], position: Position, ageMs = 100): Sighting => ({
  node,
  role,
  at: position,
  incarnation: 'first',
  seenAtMs: NOW - ageMs,
  freshAsOfMs: NOW - ageMs,
});

function place(
  sightings: Sighting[],
  floor: Position | undefined,
  tried: [string, Objection][] = [],
) {
  const board = new Map(sightings.map((sighting) => [sighting.node, sighting]));
  return placeRead(
    { nodes: ['eu-a', 'eu-b', 'eu-c'].filter((n) => board.has(n)), floor, tried: new Map(tried) },
    (node) => board.get(node),
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
  const answer = place([seen('eu-a', 'primary', at(9n)), seen('eu-b', 'replica', at(4n))], at(5n), [
    ['eu-b', 'behind'],
  ]);
  expect(answer).toEqual({
    kind: 'serve',
    node: 'eu-a',
    rung: 'primary',
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
  expect(place([seen('eu-b', 'replica', at(5n), ageMs)], undefined).kind).toBe(kind);
});

test('no node at all is a refusal, not a default', () => {
  expect(place([], undefined)).toEqual({ kind: 'refuse', passedOver: [] });
});

test.each([
  [at(5n, 2), 'other_timeline'],
  [at(5n, 1, 8n), 'other_cluster'],
])('a floor of another history is met by no node', (floor, because) => {
  const answer = place([seen('eu-a', 'primary', at(9n)), seen('eu-b', 'replica', at(9n))], floor);
  expect(answer).toEqual({
    kind: 'refuse',
    passedOver: [
      { node: 'eu-b', because },
      { node: 'eu-a', because },
    ],
  });
});

test('of two nodes that call themselves primary the newer timeline is the region', () => {
  const answer = place(
    [seen('eu-a', 'primary', at(90n, 1)), seen('eu-b', 'primary', at(9n, 2))],
    undefined,
  );
  expect(answer).toMatchObject({ node: 'eu-b', rung: 'primary' });
});
