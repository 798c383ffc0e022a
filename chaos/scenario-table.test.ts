import { expect, test } from 'vitest';
import { tableMarkdown, tableText } from './scenario-table.ts';
import type { Result } from './summary.ts';

const HELD: Result = {
  scenario: 'primary-killed',
  claim: 'Its standby | takes over.',
  seed: 7,
  verdict: 'holds',
  bit: true,
  operations: 15,
  outcomes: { ok: 12, fail: 2, unknown: 1 },
  longestWritePauseMs: 3_012,
  longestWritePauseAt: 'eu',
  evidence: ['its 15 processes are gone', 'the timeline of eu grew from 1 to 2'],
  inconclusive: [
    { judge: 'cycles', checked: 0, why: 'no transaction was answered' },
    { judge: 'stock', checked: 1, why: 'no stock was read' },
  ],
  violations: [],
};
const violation = { judge: 'acknowledged', promise: 'nothing is lost', says: '', operations: [] };

test('a line for each, with the figures below each other', () => {
  const never = { ...HELD, scenario: 'dark', longestWritePauseMs: null };
  const calm = { ...HELD, scenario: 'calm', longestWritePauseMs: null, longestWritePauseAt: null };
  expect(tableText([HELD, never, calm])).toEqual([
    'scenario        verdict  bit      writes paused  done  refused  unknown  violations',
    'primary-killed  holds    yes        eu: 3012 ms    12        2        1           0',
    'dark            holds    yes  eu: until the end    12        2        1           0',
    'calm            holds    yes                  -    12        2        1           0',
  ]);
});

test('what did not hold says why, each promise once', () => {
  const results: Result[] = [
    { ...HELD, scenario: 'a', verdict: 'broken', violations: [violation, violation] },
    { ...HELD, scenario: 'b', verdict: 'inconclusive' },
    { ...HELD, scenario: 'c', verdict: 'void', bit: false, evidence: ['nothing shows it'] },
    { ...HELD, scenario: 'd', verdict: 'void', bit: false, evidence: [], why: 'no world' },
  ];
  expect(tableText(results).slice(5)).toEqual([
    'a is broken: acknowledged: nothing is lost',
    'b is inconclusive: stock: no stock was read',
    'c is void: nothing shows it',
    'd is void: no world',
  ]);
});

test('a document has claim and evidence as well, and no cell ends early', () => {
  const [head, , row] = tableMarkdown([HELD]).split('\n');
  const cells = (line = '') => line.split(/(?<!\\)\|/).length;
  expect(row).toContain('Its standby \\| takes over.');
  expect(row).toContain('its 15 processes are gone; the timeline of eu grew from 1 to 2');
  expect(cells(row)).toBe(cells(head));
});
