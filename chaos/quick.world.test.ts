/** The quick set, as anybody runs it: a world of its own, five scenarios, real faults. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { resolve } from 'node:path';
import { expect, test } from 'vitest';
import { QUICK } from './scenarios.ts';

const MAIN = resolve(import.meta.dirname, 'main.ts');
const SEED = '7';
/** Five minutes are the aim on two idle cores; the rest of the tests run beside it. */
const QUICK_MS_MAX = 900_000;

type Result = {
  scenario: string;
  verdict: string;
  bit: boolean;
  operations: number;
  inconclusive: { judge: string; why: string }[];
  violations: object[];
};

/** Compares times before and during faults, so a machine with much else to do may leave it undecided. */
const BY_TIME = 'availability';

test(
  'every promise holds through the quick set of faults, and each fault bites',
  async () => {
    const child = spawn(process.execPath, [MAIN, 'quick', '--seed', SEED, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [said, told] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      told += text;
    });
    await once(child, 'close');
    const results = said
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Result);
    const everything = `${told}\n${said}`;
    expect(
      results.map(({ scenario, bit, violations }) => ({ scenario, bit, violations })),
      everything,
    ).toEqual(QUICK.map(({ name }) => ({ scenario: name, bit: true, violations: [] })));
    for (const { verdict, operations, inconclusive } of results) {
      expect(operations).toBeGreaterThan(100);
      const isUndecided = inconclusive.some(({ judge }) => judge === BY_TIME);
      expect(verdict === 'holds' || (verdict === 'inconclusive' && isUndecided), everything).toBe(
        true,
      );
    }
  },
  QUICK_MS_MAX,
);
