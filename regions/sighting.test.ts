import { describe, expect, test } from 'vitest';
import { Sightings } from './sighting.ts';

const at = (lsn: bigint, timeline = 1) => ({ systemId: 9n, timeline, lsn });
const primary = (lsn: bigint, seenAtMs: number, timeline = 1) =>
  ({ node: 'a', role: 'primary', at: at(lsn, timeline), incarnation: 'a1', seenAtMs }) as const;
const commit = (lsn: bigint, sentAtMs: number, timeline = 1, node = 'a') => ({
  node,
  incarnation: `${node}1`,
  at: at(lsn, timeline),
  confirmed: lsn,
  sentAtMs,
});
const replica = (lsn: bigint, seenAtMs: number, incarnation = 'b1', timeline = 1) =>
  ({ node: 'b', role: 'replica', at: at(lsn, timeline), incarnation, seenAtMs }) as const;

test('a replica is as fresh as the newest acknowledged commit that it has replayed', () => {
  const board = new Sightings();
  for (const [lsn, ms] of [
    [10n, 1_000],
    [20n, 1_250],
    [30n, 1_500],
  ] as const)
    board.acknowledge(commit(lsn, ms));
  board.record(replica(20n, 1_510));
  expect(board.of('b')?.freshAsOfMs).toBe(1_250);
  board.record(replica(30n, 1_760));
  expect(board.of('b')?.freshAsOfMs).toBe(1_500);
});

test('that a primary was merely seen vouches for nothing: it may have been replaced', () => {
  const board = new Sightings();
  board.record(primary(10n, 1_000));
  board.record(replica(10n, 1_010));
  expect(board.of('a')?.freshAsOfMs).toBeUndefined();
  expect(board.of('b')?.freshAsOfMs).toBeUndefined();
});

test('a replica that lags beyond every sample keeps the freshness it had, and it ages', () => {
  const board = new Sightings();
  board.acknowledge(commit(10n, 1_000));
  board.record(replica(10n, 1_010));
  for (let i = 1; i <= 128; i++) board.acknowledge(commit(10n + BigInt(i), 1_000 + 125 * i));
  board.record(replica(10n, 17_100));
  expect(board.of('b')?.freshAsOfMs).toBe(1_000);
});

describe('what a primary has acknowledged', () => {
  test('rises with its commits, and one that overtook another lowers nothing', () => {
    const board = new Sightings();
    board.record(primary(10n, 1_000));
    expect(board.of('a')?.acknowledged).toBeUndefined();
    board.acknowledge(commit(30n, 1_100));
    board.acknowledge(commit(20n, 1_050));
    expect(board.of('a')).toMatchObject({ acknowledged: 30n, at: at(30n), freshAsOfMs: 1_100 });
    board.record(primary(40n, 1_250));
    expect(board.of('a')).toMatchObject({ acknowledged: 30n, at: at(40n), freshAsOfMs: 1_100 });
  });

  test('ends where the commit began: what was flushed meanwhile may still wait for a standby', () => {
    const board = new Sightings();
    board.record(primary(10n, 1_000));
    board.acknowledge({ ...commit(30n, 1_100), confirmed: 20n });
    expect(board.of('a')).toMatchObject({ acknowledged: 20n, at: at(30n), freshAsOfMs: 1_100 });
    board.acknowledge({ ...commit(40n, 1_200), confirmed: undefined });
    expect(board.of('a')).toMatchObject({ acknowledged: 20n, at: at(40n), freshAsOfMs: 1_200 });
  });

  test('is not taken from another start of it, nor from another timeline', () => {
    const board = new Sightings();
    board.record(primary(10n, 1_000));
    board.acknowledge({ ...commit(20n, 1_100), incarnation: 'a0' });
    board.acknowledge(commit(20n, 1_100, 2));
    expect(board.of('a')?.acknowledged).toBeUndefined();
  });

  test('vouches for nothing once a newer timeline is known', () => {
    const board = new Sightings();
    board.record({ ...primary(12n, 1_000, 2), node: 'b', incarnation: 'b1' });
    board.acknowledge(commit(90n, 1_100, 1));
    board.record({ ...replica(90n, 1_200, 'c1', 1), node: 'c' });
    expect(board.of('c')?.freshAsOfMs).toBeUndefined();
  });
});

test('a timeline that was seen once supersedes the older ones for good', () => {
  const board = new Sightings();
  board.record(primary(10n, 1_000, 1));
  expect(board.isSuperseded(at(99n, 1))).toBe(false);
  board.record({ ...primary(12n, 1_250, 2), node: 'b' });
  board.forget('b');
  board.record(primary(20n, 1_500, 1));
  expect(board.isSuperseded(at(99n, 1))).toBe(true);
  expect(board.isSuperseded(at(1n, 2))).toBe(false);
});

describe('a replica keeps up', () => {
  const lagBoard = (lookAfterMs: number) => {
    const board = new Sightings();
    board.record(primary(10n, 1_000));
    board.record(replica(10n, 1_000));
    board.record(primary(20n, 2_000));
    board.record(replica(10n, 2_000 + lookAfterMs));
    return board;
  };
  test.each([
    [50, true],
    [51, false],
  ])('when it lacks what the primary had %s ms ago: %s', (ms, keepsUp) => {
    expect(lagBoard(ms).of('b')?.keepsUp).toBe(keepsUp);
  });

  test('again after four level looks in a row, not after three', () => {
    const board = lagBoard(51);
    for (const ms of [2_100, 2_200, 2_300]) board.record(replica(20n, ms));
    expect(board.of('b')?.keepsUp).toBe(false);
    board.record(replica(20n, 2_400));
    expect(board.of('b')?.keepsUp).toBe(true);
  });

  test('not when it was waited for in vain, and the count begins anew', () => {
    const board = new Sightings();
    board.record(primary(20n, 1_000));
    board.record(replica(20n, 1_000));
    board.fellBehind('b');
    for (const ms of [1_100, 1_200, 1_300]) board.record(replica(20n, ms));
    board.fellBehind('b');
    board.record(replica(20n, 1_400));
    expect(board.of('b')?.keepsUp).toBe(false);
  });
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
  board.acknowledge(commit(10n, 1_000, 1));
  board.acknowledge(commit(12n, 1_250, 2));
  board.record(replica(11n, 1_300, 'b1', 2));
  expect(board.of('b')?.freshAsOfMs).toBeUndefined();
});
