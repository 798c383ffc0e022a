/**
 * How does an empty cluster come to be?
 *
 * Built under another name and renamed when complete, so a data directory either is whole or is
 * not there: a start that was cut off leaves something that cannot be mistaken for a cluster.
 */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { scramVerifier } from './administer.ts';
import { CannotStart } from './cannot-start.ts';
import { renewIdentity } from './cluster-identity.ts';
import { copyTemplate, syncTree, type Template } from './cluster-template.ts';
import { runInitdb } from './initdb.ts';
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
  /** What to copy; it may use the folder, to make it. Undefined: initdb is to run. */
  template: (scratch: string) => Promise<Template | undefined>;
  signal: AbortSignal;
};

export async function initialiseCluster(given: Initialisation): Promise<void> {
  const { nodeFolder, binaries, user, password, durable, signal } = given;
  const draft = await makeDraft(nodeFolder, user);
  const data = join(draft, 'data');
  const template = await given.template(draft);
  if (template === undefined || !(await copied(template, data, given))) {
    await rm(data, { recursive: true, force: true });
    const passwordFile = { path: join(draft, 'password'), password };
    await runInitdb({ data, passwordFile, binaries, user, durable, signal });
  }
  signal.throwIfAborted();
  await rename(data, join(nodeFolder, 'data'));
  await rm(draft, { recursive: true });
}

/** False when it has to be made in another way. */
async function copied(template: Template, data: string, given: Initialisation): Promise<boolean> {
  await copyTemplate(template, data, given);
  if (!(await renewIdentity(data))) return false;
  await setPassword(data, given);
  if (given.durable) await syncTree(data);
  return true;
}

/** By a server of its own for this one statement, which nobody can connect to. */
async function setPassword(
  data: string,
  { binaries, user, password, durable, signal }: Initialisation,
): Promise<void> {
  const settings = ['shared_buffers=1MB', 'log_checkpoints=off', 'dynamic_shared_memory_type=mmap'];
  const args = [
    ...['--single', '-D', data, ...(durable ? [] : ['-F'])],
    ...settings.flatMap((setting) => ['-c', setting]),
    'postgres',
  ];
  const server = spawn(binaries.postgres, args, {
    ...spawnAs(user),
    cwd: '/',
    env: { LC_ALL: 'C', TZ: 'UTC' },
    stdio: ['pipe', 'ignore', 'pipe'],
    detached: true,
    signal,
  });
  const complaint = text(server.stderr);
  // It may end before it has read everything; its exit says so.
  server.stdin.on('error', () => {});
  const verifier = scramVerifier(password, randomBytes(16));
  server.stdin.end(`alter role ${SUPERUSER} password '${verifier}'\n`);
  const [code] = (await once(server, 'exit')) as [number | null];
  const said = (await complaint).trim();
  // An error in a statement does not change its exit code.
  if (code !== 0 || /^.*(ERROR|FATAL|PANIC):/m.test(said)) {
    throw new CannotStart(`The password of a new cluster could not be set in ${data}:\n${said}`);
  }
}
