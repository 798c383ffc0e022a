/**
 * Do the README and docs/start.md say what a reader will see?
 */
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { shows, steps } from './console-for-tests.ts';
import { commandOf, parentOf } from './process-tree-for-tests.ts';
import {
  type StartedWorld,
  type Substitution,
  startWorldAsWritten,
  substituted,
  substitution,
  type as typeIn,
  WORLD_MS_MAX,
  walk,
} from './walk-for-tests.ts';

let folder: string;
let put: Substitution;
let world: StartedWorld | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'domicile-docs-'));
  put = await substitution(join(folder, 'world'));
});

afterAll(async () => {
  await world?.end();
  await typeIn(`npm run domicile -- down --root ${put.root} --wipe`, folder);
  await rm(folder, { recursive: true, force: true });
});

async function page(name: string) {
  return steps(await readFile(new URL(`../${name}`, import.meta.url), 'utf8'));
}

test('what the README says of a policy can be asked without a world', async () => {
  const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
  const commands = [...readme.matchAll(/`(npm run domicile -- policy (?:check|explain)[^`]*)`/g)];
  expect(commands.length).toBe(2);
  for (const [, command = ''] of commands) {
    expect(await typeIn(command, folder), command).toMatchObject({ code: 0, stderr: '' });
  }
});

for (const name of ['README.md', 'docs/start.md']) {
  describe(name, { timeout: WORLD_MS_MAX + 60_000 }, () => {
    test('begins with npm ci, then npm start shows what it says', async () => {
      const [first, second] = await page(name);
      expect(first).toMatchObject({ command: 'npm ci', output: '' });
      expect(second?.command).toBe('npm start');
      world = await startWorldAsWritten(substituted(second?.command ?? '', put));
      expect(shows(substituted(second?.output ?? '', put), world.stdout), world.stdout).toBe(true);
    });

    test('every further command shows what the page says', async () => {
      for (const step of (await page(name)).slice(2)) {
        if (step.command.startsWith('npm run domicile -- down')) continue;
        if (step.command.startsWith('kill ')) await onlyOurs(step.command);
        await walk(step, folder, put);
      }
    });

    test('Ctrl-C ends it', async () => {
      await world?.end();
      expect(await typeIn(`pgrep -f 'listen 127.0.0.1:${put.ports.get('7102')}'`, folder)).toEqual({
        code: 1,
        stdout: '',
        stderr: '',
      });
    });

    test('what is left is ended and removed as the page says', async () => {
      for (const step of await page(name)) {
        if (step.command.startsWith('npm run domicile -- down')) await walk(step, folder, put);
      }
      const wiped = (await page(name)).some(({ command }) => command.endsWith('down --wipe'));
      const there = await stat(put.root).catch(() => undefined);
      expect(there === undefined).toBe(wiped);
    });
  });
}

/** Whatever a page kills must be one process, and a descendant of the world of this walk. */
async function onlyOurs(command: string): Promise<void> {
  const [, question] = /\$\((.*)\)$/.exec(substituted(command, put)) ?? [];
  const { stdout } = await typeIn(question ?? '', folder);
  expect(stdout).toMatch(/^\d+\n$/);
  const ancestors: number[] = [];
  for (let pid = Number(stdout); pid > 1; pid = await parentOf(pid)) ancestors.push(pid);
  expect(ancestors, await commandOf(Number(stdout))).toContain(world?.pid);
}
