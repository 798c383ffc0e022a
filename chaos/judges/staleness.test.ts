import { describe, expect, test } from 'vitest';
import { history, read, transaction, UNKNOWN, wrote } from './history-for-tests.ts';
import { staleness } from './staleness.ts';

const bounded = (maxStalenessMs: number) => ({ level: 'bounded', maxStalenessMs }) as const;
const told = (stalenessMs: number) =>
  ({ level: 'eventual', told: { status: 200, stalenessMs } }) as const;

describe('a bounded read', () => {
  const appended = transaction(0, [0, 10], 'ax1');

  test('shows what was acknowledged longer ago than its bound before it was sent', () => {
    const judged = (sentAtMs: number) =>
      staleness(history([appended, transaction(1, [sentAtMs, sentAtMs + 50], 'rx', bounded(100))]));
    expect(judged(110).verdict).toBe('holds');
    expect(judged(111)).toMatchObject({ verdict: 'broken', violations: [{ operations: [0, 1] }] });
  });

  test('may differ by as much as clocks do', () => {
    const lines = [appended, transaction(1, [120, 150], 'rx', bounded(100))];
    expect(staleness(history(lines), { clocksDifferMs: 10 }).verdict).toBe('holds');
    expect(staleness(history(lines), { clocksDifferMs: 9 }).verdict).toBe('broken');
  });

  test('of a register shows no value that was overwritten too long ago', () => {
    const writes = [wrote(0, [0, 10], 1), wrote(0, [20, 30], 2)];
    const judged = (value: number | undefined, sentAtMs: number) =>
      staleness(history([...writes, read(1, [sentAtMs, sentAtMs + 1], value, bounded(100))]))
        .verdict;
    expect(judged(2, 500)).toBe('holds');
    expect(judged(1, 130)).toBe('holds');
    expect(judged(1, 131)).toBe('broken');
    expect(judged(undefined, 131)).toBe('broken');
  });

  test('may show an unknown write, which can have come last', () => {
    const writes = [wrote(1, [0, 10], 1, { outcome: UNKNOWN }), wrote(0, [20, 30], 2)];
    expect(staleness(history([...writes, read(1, [500, 501], 1, bounded(100))])).verdict).toBe(
      'holds',
    );
  });

  test('lacks what an operator has accepted to lose', () => {
    const lines = [appended, transaction(1, [500, 510], 'rx', bounded(100))];
    const loss = (atMs: number) => ({ acceptedLosses: [{ home: 'eu', atMs, by: 'ada' }] });
    expect(staleness(history(lines, loss(400))).verdict).toBe('holds');
    // Not before it was lost.
    expect(staleness(history(lines, loss(600))).verdict).toBe('broken');
  });
});

test('every answer is as old as it says, at any level', () => {
  const lines = (stalenessMs: number) => [
    transaction(0, [0, 10], 'ax1'),
    transaction(1, [100, 110], 'rx', told(stalenessMs)),
  ];
  expect(staleness(history(lines(90))).verdict).toBe('holds');
  expect(staleness(history(lines(89)))).toMatchObject({
    verdict: 'broken',
    violations: [{ promise: 'an answer states its age' }],
  });
});

test('answers without an age leave nothing to judge', () => {
  expect(staleness(history([transaction(1, [0, 10], 'rx')])).verdict).toBe('inconclusive');
});
