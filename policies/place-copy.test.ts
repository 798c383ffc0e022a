import { expect, test } from 'vitest';
import type { Position } from '../regions/position.ts';
import type { MirrorSighting, Sighting } from '../regions/sighting.ts';
import { type Level, SESSION } from './consistency.ts';
import { placeCopy } from './place-copy.ts';
import { NO_SESSION, raise, type Session, seeThrough } from './session.ts';

const NOW = 10_000;
const at = (lsn: bigint, timeline = 1, systemId = 9n): Position => ({ systemId, timeline, lsn });
/** How far us has come with the data of eu: up to 5, half a second old. */
const copy: MirrorSighting = {
  region: 'eu',
  node: 'us-b',
  incarnation: 'first',
  at: at(5n),
  ageMs: 400,
  seenAtMs: NOW - 100,
};
const node = (lsn: bigint): Sighting => ({
  node: 'us-b',
  role: 'replica',
  at: at(lsn, 1, 7n),
  incarnation: 'first',
  seenAtMs: NOW,
  freshAsOfMs: NOW,
  acknowledged: undefined,
  keepsUp: true,
});

function place(
  session: Session,
  {
    level = SESSION,
    seen = copy,
    lsn = 3n,
  }: { level?: Level; seen?: MirrorSighting; lsn?: bigint } = {},
) {
  const asked = { level, session, home: 'eu', here: 'us' };
  const placed = placeCopy(asked, seen, node(lsn), { history: () => undefined }, NOW);
  return placed.kind === 'serve' ? 'serve' : placed.because;
}

const sawAtHome = (lsn: bigint, timeline = 1) =>
  raise(NO_SESSION, 'eu', { ...at(lsn, timeline), onReplica: false });
const sawCopyIn = (region: string, lsn: bigint) =>
  seeThrough(raise(NO_SESSION, region, { ...at(lsn, 1, 7n), onReplica: true }), 'eu', region);

test('a session that has seen nothing may read it', () => {
  expect(place(NO_SESSION)).toBe('serve');
});

test.each([
  [5n, 'serve'],
  [6n, 'behind'],
])('with the copy at 5, what was seen at home at %s leads to: %s', (lsn, placed) => {
  expect(place(sawAtHome(lsn))).toBe(placed);
});

test('across a promotion at home only the home can compare', () => {
  expect(place(sawAtHome(4n), { seen: { ...copy, at: at(5n, 2) } })).toBe('history_unknown');
  expect(place(sawAtHome(4n, 2))).toBe('older_timeline');
});

test.each([
  [3n, 'serve'],
  [4n, 'behind'],
])(
  'having read the copy here at 3 and its node now at 3: seen at %s leads to: %s',
  (lsn, placed) => {
    expect(place(sawCopyIn('us', lsn))).toBe(placed);
  },
);

test('having read the same data in another region, nobody but the home can say', () => {
  expect(place(sawCopyIn('asia', 1n))).toBe('seen_elsewhere');
  expect(place(seeThrough(sawCopyIn('asia', 1n), 'eu', 'us'))).toBe('seen_elsewhere');
});

test('strong is for the home, eventual takes what is there', () => {
  expect(place(NO_SESSION, { level: { kind: 'strong' } })).toBe('not_the_home');
  expect(place(sawAtHome(99n), { level: { kind: 'eventual' } })).toBe('serve');
});

test.each([
  [500, 'serve'],
  [499, 'too_stale'],
])('a copy that was 400 ms old 100 ms ago, bounded by %s ms: %s', (maxStalenessMs, placed) => {
  expect(place(sawAtHome(99n), { level: { kind: 'bounded', maxStalenessMs } })).toBe(placed);
});
