/**
 * How does an empty cluster come to be?
 *
 * Built under another name and renamed when complete, so a data directory either is whole or is
 * not there: a start that was cut off leaves something that cannot be mistaken for a cluster.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { CannotStart } from './cannot-start.ts';
import type { Binaries } from './platform-binaries.ts';
import { SUPERUSER } from './postgres-settings.ts';
import { giveTo, type ProcessUser, spawnAs } from './process-user.ts';

/** Prefix of everything unfinished inside a node's folder. */
const DRAFT = 'unfinished-';

/** Makes a folder for something that will be renamed into place when it is complete. */
export async function makeDraft(
  nodeFolder: string,
  user: ProcessUser | undefined,
): Promise<string> {
  const draft = await mkdtemp(join(nodeFolder, DRAFT));
  await giveTo(user, draft);
  return draft;
}

/** Removes what a start that was cut off left behind; true when there was something. */
export async function removeDrafts(nodeFolder: string): Promise<boolean> {
  const drafts = (await readdir(nodeFolder)).filter((name) => name.startsWith(DRAFT));
  for (const draft of drafts) {
    // An initdb whose supervisor was killed may still be adding files for a moment.
    await rm(join(nodeFolder, draft), { recursive: true, force: true, maxRetries: 10 });
  }
  return drafts.length > 0;
}

export type Initialisation = {
  nodeFolder: string;
  binaries: Binaries;
  user: ProcessUser | undefined;
  password: string;
  durable: boolean;
  signal: AbortSignal;
};

export async function initialiseCluster(given: Initialisation): Promise<void> {
  const { nodeFolder, binaries, user, password, durable, signal } = given;
  const draft = await makeDraft(nodeFolder, user);
  const passwordFile = join(draft, 'password');
  await writeFile(passwordFile, password, { mode: 0o600 });
  await giveTo(user, passwordFile);
  const data = join(draft, 'data');
  const args = [
    ...['--pgdata', data, '--username', SUPERUSER, '--pwfile', passwordFile],
    ...['--encoding', 'UTF8', '--locale-provider', 'builtin', '--builtin-locale', 'C.UTF-8'],
    ...['--no-locale', '--auth', 'scram-sha-256', '--no-data-checksums', '--no-instructions'],
    ...(durable ? [] : ['--no-sync']),
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
    if (code !== 0) {
      throw new CannotStart(`initdb failed in ${nodeFolder}:\n${(await complaint).trim()}`);
    }
  } finally {
    signal.removeEventListener('abort', end);
  }
  await rename(data, join(nodeFolder, 'data'));
  await rm(draft, { recursive: true });
}
