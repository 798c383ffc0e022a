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

type Result = { scenario: string; verdict: string; bit: boolean; operations: number };

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
    expect(
      results.map(({ scenario, verdict, bit }) => ({ scenario, verdict, bit })),
      `${told}\n${said}`,
    ).toEqual(QUICK.map(({ name }) => ({ scenario: name, verdict: 'holds', bit: true })));
    for (const { operations } of results) expect(operations).toBeGreaterThan(100);
  },
  QUICK_MS_MAX,
);
