import { describe, expect, test } from 'vitest';
import type { History } from '../history.ts';
import { acknowledged } from './acknowledged.ts';
import {
  FAIL,
  found,
  history,
  type Line,
  ordered,
  read,
  settled,
  transaction,
  UNKNOWN,
  wrote,
} from './history-for-tests.ts';

const lists = (x: number[]) => ({ settled: [settled({ lists: { x } })] });
const register = (r: number | undefined) => ({
  settled: [settled({ registers: r === undefined ? {} : { r } })],
});
const promises = (lines: readonly Line[], rest: Partial<History>) =>
  acknowledged(history(lines, rest)).violations.map(({ promise }) => promise);

const KEPT = 'an acknowledged write stays';
const ONCE = 'a write is done once';
const SENT = 'nothing is there that nobody sent';
const NEVER = 'what was told to be not applied is never seen';

const appended = transaction(0, [0, 10], 'ax1');
const unknown = transaction(0, [0, 10], 'ax1', { outcome: UNKNOWN });
const failed = transaction(0, [0, 10], 'ax1', { outcome: FAIL });

test('an acknowledged append is there once', () => {
  expect(promises([appended], lists([1]))).toEqual([]);
  expect(promises([appended], lists([]))).toEqual([KEPT]);
  expect(promises([appended], lists([1, 1]))).toEqual([ONCE]);
});

test('an unknown one once or not at all', () => {
  expect(promises([unknown], lists([]))).toEqual([]);
  expect(promises([unknown], lists([1]))).toEqual([]);
  expect(promises([unknown], lists([1, 1]))).toEqual([ONCE]);
});

test('one that was told to be not done, and one that nobody sent, are never seen', () => {
  expect(promises([failed], lists([]))).toEqual([]);
  expect(promises([failed], lists([1]))).toEqual([NEVER]);
  expect(promises([failed, transaction(1, [20, 30], 'rx1')], lists([]))).toEqual([NEVER]);
  expect(promises([appended], lists([1, 2]))).toEqual([SENT]);
  expect(promises([read(1, [0, 10], 9)], register(undefined))).toEqual([SENT]);
  expect(promises([wrote(0, [0, 5], 1), found(1, [0, 10], 5, 6, 1)], register(6))).toContain(NEVER);
});

test('an order is a write like any other', () => {
  const stock = (orders: number[]) => ({
    settled: [
      settled({
        stock: { tea: { left: 5, ordered: orders.map((value) => ({ value, quantity: 1 })) } },
      }),
    ],
  });
  expect(promises([ordered(0, [0, 10], 4, 1)], stock([4]))).toEqual([]);
  expect(promises([ordered(0, [0, 10], 4, 1)], stock([]))).toEqual([KEPT]);
});

describe('of a register only the last value is left', () => {
  const two = [wrote(0, [0, 10], 1), wrote(0, [20, 30], 2)];

  test('which is not one that was over before another one began', () => {
    expect(promises(two, register(2))).toEqual([]);
    expect(promises(two, register(1))).toEqual([KEPT]);
    expect(promises(two, register(undefined))).toEqual([KEPT]);
  });

  test('but may be any of those that overlapped, or an unknown one that came late', () => {
    const overlapping = [wrote(0, [0, 20], 1), wrote(1, [20, 30], 2)];
    expect(promises(overlapping, register(1))).toEqual([]);
    const late = [wrote(1, [0, 10], 3, { outcome: UNKNOWN }), ...two];
    expect(promises(late, register(3))).toEqual([]);
  });
});

describe('an accepted loss', () => {
  const loss = (atMs: number, home = 'eu') => ({ acceptedLosses: [{ home, atMs, by: 'ada' }] });

  test('covers what was sent before it, in its home', () => {
    const sent = [transaction(0, [20, 30], 'ax1')];
    expect(promises(sent, { ...lists([]), ...loss(20) })).toEqual([]);
    expect(promises(sent, { ...lists([]), ...loss(19) })).toEqual([KEPT]);
    expect(promises(sent, { ...lists([]), ...loss(20, 'us') })).toEqual([KEPT]);
  });

  test('is no licence to double or to invent', () => {
    expect(promises([appended], { ...lists([1, 1, 2]), ...loss(50) })).toEqual([SENT, ONCE]);
  });

  test('what was told to be asynchronous needs none', () => {
    const told = { status: 201, durability: 'asynchronous' };
    expect(promises([transaction(0, [0, 10], 'ax1', { told })], lists([]))).toEqual([]);
  });
});

test('a subject that could not be read in the end leaves it open', () => {
  expect(acknowledged(history([appended]))).toMatchObject({ verdict: 'inconclusive', checked: 0 });
  const other = { settled: [settled({ lists: { x: [1] } })] };
  const two = [appended, transaction(1, [0, 10], 'ax2', { subject: 'bob' })];
  expect(acknowledged(history(two, other))).toMatchObject({
    verdict: 'inconclusive',
    why: 'could not be read at the end: 1 subject with acknowledged writes',
  });
});
