import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { parsePostmasterFile } from './postmaster-file.ts';
import { birthOf, commandOf, isAlive, isPostgresOn } from './process-identity.ts';
import { permits } from './process-user.ts';

test('a living process has one birth, another process another one, a dead one none', async () => {
  const child = spawn('sleep', ['600']);
  await once(child, 'spawn');
  const pid = child.pid ?? 0;
  const born = birthOf(pid);
  expect(born).toBeDefined();
  expect(birthOf(pid)).toBe(born);
  expect(birthOf(process.pid)).not.toBe(born);
  expect(commandOf(pid)).toBe('sleep 600');
  child.kill('SIGKILL');
  await once(child, 'exit');
  expect(isAlive(pid)).toBe(false);
  expect(commandOf(pid)).toBeUndefined();
});

test('a process that only works in a data directory is no PostgreSQL', async () => {
  const child = spawn('sleep', ['600'], { cwd: '/tmp' });
  await once(child, 'spawn');
  expect(isPostgresOn(child.pid ?? 0, '/tmp')).toBe(false);
  child.kill('SIGKILL');
});

test('a pid file is believed only when it is complete', () => {
  const text = '4711\n/data\n1795215611\n5432\n\n127.0.0.1\n  123  456\nready   \n';
  expect(parsePostmasterFile(text)).toEqual({ pid: 4711, port: 5432, status: 'ready' });
  expect(parsePostmasterFile('4711\n/data\n')?.status).toBe('');
  expect(parsePostmasterFile('')).toBeUndefined();
  expect(parsePostmasterFile('1\n/data\n'), 'nobody may mean init').toBeUndefined();
  expect(parsePostmasterFile('-4711\n')).toBeUndefined();
});

test('permission comes from the first class that fits, even when a later one gives more', () => {
  const user = { uid: 65534, gid: 65534 };
  const of = (mode: number, uid = 0, gid = 0) => permits({ mode, uid, gid }, user, 0o1);
  expect(of(0o701)).toBe(true);
  expect(of(0o700)).toBe(false);
  expect(of(0o700, 65534)).toBe(true);
  expect(of(0o611, 65534)).toBe(false);
  expect(of(0o710, 0, 65534)).toBe(true);
  expect(of(0o701, 0, 65534)).toBe(false);
});
