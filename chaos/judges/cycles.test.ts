import { describe, expect, test } from 'vitest';
import type { History } from '../history.ts';
import { type CyclesOptions, cycles } from './cycles.ts';
import { FAIL, history, type Line, settled, transaction, UNKNOWN } from './history-for-tests.ts';

/** Transactions at the same time, in sessions of their own, unless a test says otherwise. */
const at = (...texts: readonly string[]): Line[] =>
  texts.map((text, client) => transaction(client, [0, 100], text));

function names(lines: readonly Line[], options?: CyclesOptions, rest?: Partial<History>) {
  const { violations, apart = [] } = cycles(history(lines, rest), options);
  return { broken: violations.map(({ promise }) => promise), apart: apart.map((a) => a.promise) };
}

const NONE = { broken: [], apart: [] };
const G_SINGLE = 'consistent view: G-single, read skew';
const G2 = 'serializable: G2-item, anti-dependency cycle';

describe('anomalies as in the tests of Elle (list_append_test.clj), after Adya', () => {
  test('serializable, figure 3 of Adya, Liskov and O’Neil', () => {
    expect(names(at('az1 ax1 ay1', 'rx1 ay2', 'ry1,2 az3', 'rz1,3'))).toEqual(NONE);
  });

  test('G0: two writers in both orders', () => {
    const { violations } = cycles(history(at('ax1 ay1', 'ax2 ay2', 'rx1,2 ry2,1')));
    expect(violations.map(({ promise }) => promise)).toEqual(['read committed: G0, write cycle']);
    expect(violations[0]?.operations).toEqual([0, 1]);
    expect(violations[0]?.says).toContain('#1 appended 2 to list x after the 1 of #0');
  });

  test('G1a: a read of what was told to be not done', () => {
    const failed = transaction(0, [0, 100], 'ax1', { outcome: FAIL });
    expect(names([failed, transaction(1, [0, 100], 'rx1')]).broken).toEqual([
      'read committed: G1a, aborted read',
    ]);
  });

  test('G1b: a read of what its writer overwrote itself', () => {
    expect(names(at('ax1 ax2', 'rx1', 'rx1,2')).broken).toContain(
      'read committed: G1b, intermediate read',
    );
    expect(names(at('ax1 ax2', 'rx1,2', 'rx1,2,3', 'ax3'))).toEqual(NONE);
    // Its own are no intermediate ones.
    expect(names(at('ax1 rx1 ax2'))).toEqual(NONE);
  });

  test('G1c: one overwrites the other, and is read by it', () => {
    expect(names(at('ax1 ry1', 'ax2 ay1', 'rx1,2 ry1')).broken).toEqual([
      'read committed: G1c, circular information flow',
    ]);
  });

  test('G-single: it overwrites one write of a transaction and does not see the other', () => {
    const lines = at('ax1 ay1', 'ax2 ry', 'rx1,2');
    expect(names(lines)).toEqual({ broken: [], apart: [G_SINGLE] });
    expect(names(lines, { isolation: 'consistent view' })).toEqual({
      broken: [G_SINGLE],
      apart: [],
    });
  });

  test('G2-item: two that do not see each other', () => {
    const lines = at('ax1 ry', 'ay1 rx');
    expect(names(lines)).toEqual({ broken: [], apart: [G2] });
    expect(names(lines, { isolation: 'consistent view' })).toEqual({ broken: [], apart: [G2] });
    expect(names(lines, { isolation: 'serializable' })).toEqual({ broken: [G2], apart: [] });
  });

  test('an unknown transaction shows nothing by its reads', () => {
    const unknown = transaction(0, [0, 100], 'ax2 ry', { outcome: UNKNOWN });
    expect(names([unknown, ...at('ax1 ay1', 'rx1,2 ry1')], { isolation: 'serializable' })).toEqual(
      NONE,
    );
  });

  test('contradictory orders of one list', () => {
    expect(names(at('ax1', 'ax2', 'ax3', 'rx1,3', 'rx1,2,3')).broken).toEqual([
      'read committed: one order of versions',
    ]);
  });

  test('a strong read that began later does not see what was over', () => {
    const lines = [
      transaction(0, [0, 10], 'ax1'),
      transaction(1, [20, 30], 'ax2'),
      transaction(2, [40, 50], 'rx1'),
      transaction(3, [60, 70], 'rx1,2'),
    ];
    expect(names(lines).broken).toEqual(['strong and session see what was before them: G-single']);
    const session = lines.map((line) => ({ ...line, level: 'session' as const }));
    expect(names(session, { isolation: 'serializable' })).toEqual(NONE);
    // The session of the second writer sees it.
    const same = session.map((line) => ({
      ...line,
      session: line.client === 2 ? 1 : line.session,
    }));
    expect(names(same).broken).toEqual(['strong and session see what was before them: G-single']);
  });
});

test('the example of the paper on Elle (paper-example.edn): read skew over three transactions', () => {
  const lines = at(
    'aa1 aa3 aa4 ab2 ab3 ab4 ab5 ac1 ac2',
    'ab8 ra1,3,4',
    'ac4 rb2,3,4,5,8 rc1,2,4 ra1,3,4',
    'ad10 ra1,3,4 rb2,3,4,5 ac3',
  );
  // The last one missed the 8, and comes after who saw it: its 3 is not in the longest answer.
  expect(names(lines, { isolation: 'serializable' }).broken).toEqual([G_SINGLE]);
});

test('a lost update: both append to what they read', () => {
  // Both read nothing, and one of the appends is gone.
  const lines = at('rx ax1', 'rx ax2');
  const end = { settled: [settled({ lists: { x: [1] } })] };
  const { broken, apart } = names(lines, {}, end);
  expect([...broken, ...apart]).not.toEqual([]);
});

test('a long fork, two readers that see two writers in opposite orders, stands apart', () => {
  const lines = at('ax1', 'ay1', 'rx1 ry', 'rx ry1', 'rx1 ry1');
  expect(names(lines)).toEqual({ broken: [], apart: [G2] });
  expect(names(lines, { isolation: 'consistent view' })).toEqual({ broken: [], apart: [G2] });
});

test('a transaction reads what it appended itself', () => {
  expect(names(at('ax1 rx')).broken).toEqual(['read committed: internal']);
});

test('a list that shows a value twice has no order', () => {
  expect(names(at('ax1', 'rx1,1')).broken).toContain('read committed: one order of versions');
});
