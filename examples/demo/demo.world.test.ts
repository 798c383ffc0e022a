import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { story } from './story.ts';

const MAIN = join(import.meta.dirname, 'main.ts');
const FALSE_STORY = join(import.meta.dirname, 'false-story-for-test.ts');
/** Half a minute where the machine has nothing else to do; whatever hangs is still found. */
const DEMO_MS_MAX = 240_000;

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'domicile-demo-test-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Runs the demo with a folder of its own for temporary files. */
function demo(...args: string[]) {
  const child = spawn(process.execPath, [MAIN, ...args], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (part) => {
      said += part;
    });
  }
  const ended = once(child, 'exit').then(([code]) => code as number | null);
  return { child, ended, said: () => said };
}

describe('the demo', { timeout: DEMO_MS_MAX }, () => {
  test('finds each step of its story as claimed, exits 0 and leaves nothing behind', async () => {
    const { ended, said } = demo();
    const code = await ended;
    expect(said()).toContain(`${story.length} of ${story.length} steps were as claimed`);
    expect(said().match(/✓ as claimed/g)).toHaveLength(story.length);
    expect(said()).not.toContain('✗');
    // No colour where nobody sees it.
    expect(said()).not.toContain('\x1b');
    expect(code).toBe(0);
    expect(await readdir(folder)).toEqual([]);
  });

  test('exits 1 when a claim is false, and says what differed', async () => {
    const { ended, said } = demo('--story', FALSE_STORY);
    expect(await ended).toBe(1);
    expect(said()).toContain('1 of 2 steps were as claimed');
    expect(said()).toContain('✗ domicile-home is eu, not us');
    expect(await readdir(folder)).toEqual([]);
  });

  test('ends and removes its world on Ctrl-C', async () => {
    const { child, ended, said } = demo();
    await expect.poll(() => said(), { timeout: DEMO_MS_MAX / 2 }).toMatch(/takes writes/);
    child.kill('SIGINT');
    expect(await ended).toBe(1);
    expect(said()).toContain('not told to its end');
    expect(existsSync(folder)).toBe(true);
    expect(await readdir(folder)).toEqual([]);
  });
});
