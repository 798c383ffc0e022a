/**
 * How is initdb run, so that it can be cut off and leaves no server behind?
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { CannotStart } from './cannot-start.ts';
import type { Binaries } from './platform-binaries.ts';
import { SUPERUSER } from './postgres-settings.ts';
import { giveTo, type ProcessUser, spawnAs } from './process-user.ts';

/** What makes every cluster of a world like every other. */
export const INITDB_ARGUMENTS = [
  ...['--username', SUPERUSER, '--encoding', 'UTF8'],
  ...['--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8', '--no-locale'],
  ...['--auth', 'scram-sha-256', '--no-data-checksums', '--no-instructions'],
] as const;

export async function runInitdb(given: {
  data: string;
  passwordFile: { path: string; password: string };
  binaries: Binaries;
  user: ProcessUser | undefined;
  durable: boolean;
  signal: AbortSignal;
}): Promise<void> {
  const { data, passwordFile, binaries, user, durable, signal } = given;
  await writeFile(passwordFile.path, passwordFile.password, { mode: 0o600 });
  await giveTo(user, passwordFile.path);
  const args = [
    ...['--pgdata', data, '--pwfile', passwordFile.path],
    ...INITDB_ARGUMENTS,
    ...(durable ? [] : ['--no-sync', '--set', 'wal_init_zero=off']),
  ];
  signal.throwIfAborted();
  const initdb = spawn(binaries.initdb, args, {
    ...spawnAs(user),
    cwd: '/',
    env: { LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  });
  // It starts servers of its own, which have to go with it.
  const end = () => {
    const running = initdb.exitCode === null && initdb.signalCode === null;
    if (running && initdb.pid !== undefined) process.kill(-initdb.pid, 'SIGKILL');
  };
  signal.addEventListener('abort', end);
  const complaint = text(initdb.stderr);
  try {
    const [code] = (await once(initdb, 'exit')) as [number | null];
    signal.throwIfAborted();
    if (code !== 0) throw new CannotStart(`initdb failed in ${data}:\n${(await complaint).trim()}`);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
