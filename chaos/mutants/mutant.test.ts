import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { SCENARIOS } from '../scenarios.ts';
import { type Mutant, mistaken } from './mutant.ts';
import { PRIMARY_REPLACED } from './primary-replaced.ts';
import { SEEN_FROM_OUTSIDE } from './seen-from-outside.ts';
import { SESSION_CORE } from './session-core.ts';

const TREE = join(import.meta.dirname, '../..');

const ALL = [...SESSION_CORE, ...PRIMARY_REPLACED, ...SEEN_FROM_OUTSIDE];

describe('each mistake', () => {
  test.each(ALL)('can still be made: $name', (mutant) => {
    const text = readFileSync(join(TREE, mutant.file), 'utf8');
    expect(mistaken(text, mutant)).not.toBe(text);
  });

  test('has a name of its own', () => {
    expect(new Set(ALL.map(({ name }) => name)).size).toBe(ALL.length);
  });
});

test.each(SEEN_FROM_OUTSIDE)('there is a scenario for: $name', ({ killer }) => {
  const names = SCENARIOS.map(({ name }) => name);
  expect(names).toContain(killer.kind === 'scenario' ? killer.scenario : undefined);
});

test.each([
  ['twice', 'one two one', 'two', 'its text occurs 2 times in a.ts'],
  ['nowhere', 'three', 'two', 'its text occurs 0 times in a.ts'],
  ['and changes nothing', 'one', 'one', 'changes nothing'],
])('a mistake whose place is there %s is an error, not a pass', (_how, text, replace, why) => {
  const killer = { kind: 'simulation', steps: 1, seed: 1 } as const;
  const mutant: Mutant = { name: 'm', mistake: '', file: 'a.ts', find: 'one', replace, killer };
  expect(() => mistaken(text, mutant)).toThrow(why);
});
