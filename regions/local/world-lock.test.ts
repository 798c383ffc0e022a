import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { birthOf } from './process-identity.ts';
import { takeWorld, worldHolder } from './world-lock.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'domicile-lock-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

test('a world can be taken by one only, until it is released', async () => {
  const lock = await takeWorld(root);
  expect((await worldHolder(root))?.pid).toBe(process.pid);
  await expect(takeWorld(root)).rejects.toThrow(`process ${process.pid} started it`);
  await lock.release();
  expect(await worldHolder(root)).toBeUndefined();
  await (await takeWorld(root)).release();
});

test('of many who take a world at the same time, one succeeds', async () => {
  const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => takeWorld(root)));
  expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('of many who find a dead lock at the same time, one succeeds', async () => {
  await writeFile(join(root, 'lock.1'), JSON.stringify({ pid: process.pid, born: 'long ago' }));
  const attempts = await Promise.allSettled(Array.from({ length: 20 }, () => takeWorld(root)));
  expect(attempts.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
});

test('a lock whose pid now belongs to a younger process is dead', async () => {
  await writeFile(join(root, 'lock.1'), JSON.stringify({ pid: process.pid, born: 'long ago' }));
  expect(await worldHolder(root)).toBeUndefined();
});

test('a lock of a process that ended is dead', async () => {
  const child = spawn('sleep', ['600']);
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  await writeFile(join(root, 'lock.3'), JSON.stringify({ pid, born: birthOf(pid) }));
  expect((await worldHolder(root))?.pid).toBe(pid);
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(await worldHolder(root)).toBeUndefined();
  await takeWorld(root);
  expect(await readdir(root)).toContain('lock.4');
});

test('old locks are cleared away, and the newest never', async () => {
  for (let i = 0; i < 5; i++) await (await takeWorld(root)).release();
  expect((await readdir(root)).sort()).toEqual(['lock.4', 'lock.5']);
});
