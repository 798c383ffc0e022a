import { describe, expect, test } from 'vitest';
import type { History } from '../history.ts';
import {
  FAIL,
  found,
  history,
  type Line,
  read,
  settled,
  swapped,
  transaction,
  UNKNOWN,
  wrote,
} from './history-for-tests.ts';
import { linearizable } from './linearizable.ts';

const verdict = (lines: readonly Line[], rest?: Partial<History>) =>
  linearizable(history(lines, rest)).verdict;

describe('register histories of the first test of Porcupine, after the exam in MIT 6.824 of 2017', () => {
  test('two reads inside a write see it or not', () => {
    expect(
      verdict([wrote(0, [0, 100], 100), read(1, [25, 75], 100), read(2, [30, 60], undefined)]),
    ).toBe('holds');
  });

  test('once a read has seen it, a later one sees it too', () => {
    const lines = [wrote(0, [0, 100], 200), read(1, [10, 30], 200), read(2, [40, 90], undefined)];
    const { verdict, violations } = linearizable(history(lines));
    expect(verdict).toBe('broken');
    expect(violations[0]?.operations).toEqual([0, 1, 2]);
  });

  test('calls of no duration at one instant overlap', () => {
    expect(
      verdict([
        wrote(0, [0, 100], 100),
        read(1, [25, 75], 100),
        read(2, [30, 30], undefined),
        read(3, [30, 30], undefined),
      ]),
    ).toBe('holds');
    expect(
      verdict([
        wrote(0, [0, 100], 200),
        read(1, [10, 10], 200),
        read(2, [10, 10], 200),
        read(3, [40, 90], undefined),
      ]),
    ).toBe('broken');
  });
});

describe('what takes part', () => {
  test('a read of another level does not', () => {
    const lines = [
      wrote(0, [0, 10], 1),
      read(1, [20, 30], undefined, { level: 'session' }),
      read(1, [40, 50], 1),
    ];
    expect(verdict(lines)).toBe('holds');
  });

  test('an unknown write may be done at any time after it was sent', () => {
    const late = [
      wrote(0, [0, 10], 1, { outcome: UNKNOWN }),
      read(1, [20, 30], undefined),
      wrote(1, [40, 50], 2),
      read(1, [60, 70], 1),
    ];
    expect(verdict(late)).toBe('holds');
    expect(verdict([...late, read(1, [80, 90], 2)])).toBe('broken');
    expect(verdict([read(1, [0, 5], 1), wrote(0, [10, 20], 1, { outcome: UNKNOWN })])).toBe(
      'broken',
    );
  });

  test('or never', () => {
    expect(
      verdict([wrote(0, [0, 10], 1, { outcome: UNKNOWN }), read(1, [20, 30], undefined)]),
    ).toBe('holds');
  });

  test('one that was told to be not done does not, so its value has no origin', () => {
    expect(verdict([wrote(0, [0, 10], 1, { outcome: FAIL }), read(1, [5, 30], 1)])).toBe('broken');
  });

  test('a swap takes what it expected; two cannot take the same', () => {
    const first = [wrote(0, [0, 10], 1), swapped(0, [20, 40], 1, 2)];
    expect(verdict([...first, found(1, [20, 40], 1, 3, 2), read(2, [50, 60], 2)])).toBe('holds');
    expect(verdict([...first, swapped(1, [20, 40], 1, 3), read(2, [50, 60], 3)])).toBe('broken');
  });

  test('what is there in the end was read in the end', () => {
    const lines = [wrote(0, [0, 10], 1), wrote(0, [20, 30], 2), read(1, [20, 30], 1)];
    const end = (value: number) => ({ settled: [settled({ registers: { r: value } })] });
    expect(verdict(lines, end(2))).toBe('holds');
    expect(verdict(lines, end(1))).toBe('broken');
  });

  test('without a strong read there is nothing to say', () => {
    const judged = linearizable(history([wrote(0, [0, 10], 1)]));
    expect(judged).toMatchObject({ verdict: 'inconclusive', why: 'no strong read was answered' });
  });
});

describe('lists', () => {
  test('an acknowledged append is in every later read', () => {
    const appended = transaction(0, [0, 10], 'ax1');
    expect(verdict([appended, transaction(1, [10, 20], 'rx')])).toBe('holds');
    expect(verdict([appended, transaction(1, [11, 20], 'rx')])).toBe('broken');
  });

  test('nobody reads what is sent later', () => {
    expect(verdict([transaction(1, [0, 10], 'rx1'), transaction(0, [11, 20], 'ax1')])).toBe(
      'broken',
    );
  });
});
