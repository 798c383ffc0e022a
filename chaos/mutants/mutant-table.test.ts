import { expect, test } from 'vitest';
import type { Mutant } from './mutant.ts';
import { mutantTable, rowOf } from './mutant-table.ts';

const MUTANT: Mutant = {
  name: 'clients: a mistake',
  mistake: 'Nobody is asked | ever.',
  file: 'router/edge.ts',
  find: '',
  replace: '',
  killer: { kind: 'scenario', scenario: 'region-slow', seed: 7, judge: 'availability' },
};

test('a row says which mistake, where, by which scenario and judge, and whether it was caught', () => {
  const caught = rowOf(MUTANT, { kind: 'killed', by: 'availability, liveness', ms: 61_400 });
  expect(caught).toEqual({
    name: 'clients: a mistake',
    mistake: 'Nobody is asked | ever.',
    place: 'router/edge.ts',
    shownBy: 'region-slow from seed 7',
    scenario: 'region-slow',
    seed: 7,
    judge: 'availability',
    caught: true,
    by: 'availability, liveness',
    void: null,
    ms: 61_400,
  });
  const rows = [caught, rowOf(MUTANT, { kind: 'survived', ms: 5 }), rowOf(MUTANT)];
  const lines = mutantTable(rows);
  expect(lines.map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()))).toEqual([
    ['', 'caught', 'mistake', 'place', 'scenario', 'judge', 'who objects', 'took', ''],
    ['', ...Array.from({ length: 7 }, () => expect.stringMatching(/^-+$/)), ''],
    [
      '',
      'yes',
      'Nobody is asked \\| ever.',
      'router/edge.ts',
      'region-slow, seed 7',
      'availability',
      'availability, liveness',
      '61 s',
      '',
    ],
    [
      '',
      'NO',
      expect.any(String),
      'router/edge.ts',
      'region-slow, seed 7',
      'availability',
      'nobody',
      '0 s',
      '',
    ],
    [
      '',
      'void',
      expect.any(String),
      'router/edge.ts',
      'region-slow, seed 7',
      'availability',
      'it was not tried',
      '',
      '',
    ],
  ]);
  expect(new Set(lines.map(({ length }) => length)).size).toBe(1);
});

test('a mistake that a test notices has its file in the table, and a long reason is cut', () => {
  const byTest: Mutant = { ...MUTANT, killer: { kind: 'test', file: 'a.test.ts', test: 'it' } };
  const row = rowOf(byTest, { kind: 'void', why: 'x'.repeat(999) });
  expect(row).toMatchObject({ shownBy: 'a.test.ts, "it"', scenario: null, seed: null });
  const [, , line = ''] = mutantTable([row]);
  expect(line).toContain('a.test.ts, "it"');
  expect(line.length).toBeLessThan(300);
});
