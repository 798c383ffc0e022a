import { expect, test } from 'vitest';
import { Sightings } from './sighting.ts';

const at = (lsn: bigint, timeline = 1) => ({ systemId: 9n, timeline, lsn });
const primary = (lsn: bigint, seenAtMs: number, timeline = 1) =>
  ({ node: 'a', role: 'primary', at: at(lsn, timeline), incarnation: 'a1', seenAtMs }) as const;
const replica = (lsn: bigint, seenAtMs: number, incarnation = 'b1', timeline = 1) =>
  ({ node: 'b', role: 'replica', at: at(lsn, timeline), incarnation, seenAtMs }) as const;

test('a replica is as fresh as the newest primary sample that it has replayed', () => {
  const board = new Sightings();
  for (const [lsn, ms] of [
    [10n, 1_000],
    [20n, 1_250],
    [30n, 1_500],
  ] as const)
    board.record(primary(lsn, ms));
  board.record(replica(20n, 1_510));
  expect(board.of('b')?.freshAsOfMs).toBe(1_250);
  board.record(replica(30n, 1_760));
  expect(board.of('b')?.freshAsOfMs).toBe(1_500);
});

test('a replica that lags beyond every sample keeps the freshness it had, and it ages', () => {
  const board = new Sightings();
  board.record(primary(10n, 1_000));
  board.record(replica(10n, 1_010));
  for (let i = 1; i <= 64; i++) board.record(primary(10n + BigInt(i), 1_000 + 250 * i));
  board.record(replica(10n, 17_100));
  expect(board.of('b')?.freshAsOfMs).toBe(1_000);
});

test('a replica that no primary sample vouches for has no known freshness', () => {
  const board = new Sightings();
  board.record(replica(10n, 1_010));
  expect(board.of('b')?.freshAsOfMs).toBeUndefined();
});

test('a restarted replica that came back behind is believed', () => {
  const board = new Sightings();
  board.record(replica(30n, 1_000, 'b1'));
  board.record(replica(20n, 1_250, 'b2'));
  expect(board.of('b')?.at.lsn).toBe(20n);
});

test('within one incarnation an older answer never lowers what is known', () => {
  const board = new Sightings();
  board.record(replica(30n, 1_250));
  board.record(replica(20n, 1_000));
  expect(board.of('b')?.at.lsn).toBe(30n);
  board.advance('b', 'b1', 25n);
  expect(board.of('b')?.at.lsn).toBe(30n);
  board.advance('b', 'b1', 35n);
  expect(board.of('b')?.at.lsn).toBe(35n);
});

test('what a former incarnation had reached advances nothing', () => {
  const board = new Sightings();
  board.record(replica(20n, 1_000, 'b2'));
  board.advance('b', 'b1', 99n);
  expect(board.of('b')?.at.lsn).toBe(20n);
});

test('samples of the timeline before a promotion vouch for nothing after it', () => {
  const board = new Sightings();
  board.record(primary(10n, 1_000, 1));
  board.record(primary(12n, 1_250, 2));
  board.record(replica(11n, 1_300, 'b1', 2));
  expect(board.of('b')?.freshAsOfMs).toBeUndefined();
});
