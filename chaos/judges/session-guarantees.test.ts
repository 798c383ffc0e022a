import { describe, expect, test } from 'vitest';
import {
  FAIL,
  history,
  type Line,
  line,
  read,
  settled,
  swapped,
  transaction,
  UNKNOWN,
  wrote,
} from './history-for-tests.ts';
import { sessionGuarantees } from './session-guarantees.ts';

const SESSION = { level: 'session' } as const;
const promises = (lines: readonly Line[], rest?: Parameters<typeof history>[1]) =>
  sessionGuarantees(history(lines, rest)).violations.map(({ promise }) => promise);

const RYW = 'a session reads its writes';
const MR = 'a session never sees less than it saw';
const MW = 'the writes of a session come in its order';
const WFR = 'a write comes after what its session had seen';

describe('the examples of Terry and others, Session Guarantees for Weakly Consistent Replicated Data, 1994', () => {
  test('read your writes: a password that was changed is accepted', () => {
    const changed = wrote(0, [0, 10], 1, SESSION);
    expect(promises([changed, read(0, [20, 30], 1, SESSION)])).toEqual([]);
    expect(promises([changed, read(0, [20, 30], undefined, SESSION)])).toEqual([RYW]);
  });

  test('monotonic reads: an appointment that was seen does not go away', () => {
    const calendar = (client: number, at: readonly [number, number], text: string) =>
      transaction(client, at, text, SESSION);
    const seen = [calendar(1, [0, 10], 'ac1'), calendar(0, [20, 30], 'rc1')];
    expect(promises([...seen, calendar(0, [40, 50], 'rc1')])).toEqual([]);
    expect(promises([...seen, calendar(0, [40, 50], 'rc')])).toEqual([MR]);
  });

  test('writes follow reads: a reply to a bulletin is not seen without the bulletin', () => {
    const board = (client: number, at: readonly [number, number], text: string) =>
      transaction(client, at, text, SESSION);
    const replied = [
      board(1, [0, 10], 'ab1'),
      board(0, [20, 30], 'rb1'),
      board(0, [40, 50], 'ab2'),
    ];
    expect(promises([...replied, board(2, [60, 70], 'rb1,2')])).toEqual([]);
    expect(promises([...replied, board(2, [60, 70], 'rb2')])).toEqual([WFR]);
    expect(promises([...replied, board(2, [60, 70], 'rb2,1')])).toEqual([WFR]);
  });

  test('monotonic writes: the newer version of a file is not overwritten by the older one', () => {
    const saved = [transaction(0, [0, 10], 'af1'), transaction(0, [20, 30], 'af2')];
    const end = (values: number[]) => ({ settled: [settled({ lists: { f: values } })] });
    expect(promises(saved, end([1, 2]))).toEqual([]);
    expect(promises(saved, end([2, 1]))).toEqual([MW]);
    expect(promises(saved, end([2]))).toEqual([MW]);
  });
});

describe('registers, of which only the last value is seen', () => {
  test('a value that was overwritten before does not come back', () => {
    const lines = [wrote(1, [0, 10], 1), wrote(1, [20, 30], 2), read(0, [40, 50], 2, SESSION)];
    expect(promises([...lines, read(0, [60, 70], 2, SESSION)])).toEqual([]);
    expect(promises([...lines, read(0, [60, 70], 1, SESSION)])).toEqual([MR]);
  });

  test('nor one that was seen before another one, whoever came first', () => {
    const both = [wrote(1, [0, 10], 1), wrote(2, [0, 10], 2)];
    const there = [read(0, [20, 30], 1, SESSION), read(0, [40, 50], 2, SESSION)];
    expect(promises([...both, ...there])).toEqual([]);
    expect(promises([...both, ...there, read(0, [60, 70], 1, SESSION)])).toEqual([MR]);
  });

  test('nor one that was swapped for what is known', () => {
    const lines = [
      wrote(1, [0, 10], 1),
      swapped(1, [5, 30], 1, 2),
      read(0, [40, 50], 2, SESSION),
      read(0, [60, 70], 1, SESSION),
    ];
    expect(promises(lines)).toEqual([MR]);
  });

  test('an unknown write can come late', () => {
    const lines = [
      wrote(1, [0, 10], 1, { outcome: UNKNOWN }),
      wrote(0, [20, 30], 2, SESSION),
      read(0, [40, 50], 2, SESSION),
      read(0, [60, 70], 1, SESSION),
    ];
    expect(promises(lines)).toEqual([]);
    expect(promises([...lines, read(0, [80, 90], 2, SESSION)])).toEqual([MR]);
  });

  test('the notice is one, at every edge', () => {
    const notice = (at: readonly [number, number], value: number | undefined, edge: string) =>
      line(0, at, { kind: 'notice-read' }, { kind: 'register', value }, { ...SESSION, edge });
    const posted = line(0, [0, 10], { kind: 'notice-write', value: 7 }, { kind: 'nothing' });
    expect(promises([posted, notice([20, 30], 7, 'us')])).toEqual([]);
    expect(promises([posted, notice([20, 30], undefined, 'us')])).toEqual([RYW]);
  });
});

describe('what is a floor and what is held against it', () => {
  const appended = transaction(0, [0, 10], 'ax1', SESSION);

  test('only what had ended before', () => {
    expect(promises([appended, transaction(0, [10, 20], 'rx', SESSION)])).toEqual([]);
    expect(promises([appended, transaction(0, [10.1, 20], 'rx', SESSION)])).toEqual([RYW]);
  });

  test('only of the own session', () => {
    expect(promises([appended, transaction(1, [20, 30], 'rx', SESSION)])).toEqual([]);
    const shared = transaction(1, [20, 30], 'rx', { ...SESSION, session: 0 });
    expect(promises([appended, shared])).toEqual([RYW]);
  });

  test('bounded and eventual reads are not held against it; bounded ones raise it', () => {
    for (const level of ['bounded', 'eventual'] as const) {
      expect(promises([appended, transaction(0, [20, 30], 'rx', { level })])).toEqual([]);
    }
    const seen = (level: 'bounded' | 'eventual') => [
      transaction(1, [0, 10], 'ax1', SESSION),
      transaction(0, [20, 30], 'rx1', { level }),
      transaction(0, [40, 50], 'rx', SESSION),
    ];
    expect(promises(seen('bounded'))).toEqual([MR]);
    expect(promises(seen('eventual'))).toEqual([]);
  });

  test('a write that was not acknowledged is none', () => {
    for (const outcome of [UNKNOWN, FAIL]) {
      const sent = transaction(0, [0, 10], 'ax1', { ...SESSION, outcome });
      expect(promises([sent, transaction(0, [20, 30], 'rx', SESSION)])).toEqual([]);
    }
  });

  test('what the session was told to be lost is none, and in silence nothing is', () => {
    const told = transaction(0, [20, 30], 'rx', { ...SESSION, outcome: FAIL, guaranteeLost: true });
    const later = transaction(0, [40, 50], 'rx', SESSION);
    expect(promises([appended, told, later])).toEqual([]);
    expect(promises([appended, later])).toEqual([RYW]);
    const loss = { acceptedLosses: [{ home: 'eu', atMs: 15, by: 'ada' }] };
    expect(promises([appended, later], loss)).toEqual([RYW]);
  });
});

test('sessions that do one thing each have nothing to say', () => {
  const judged = sessionGuarantees(history([wrote(0, [0, 10], 1), read(1, [20, 30], 1)]));
  expect(judged.verdict).toBe('inconclusive');
});
