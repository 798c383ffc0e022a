/**
 * What is a new cluster copied from, so that initdb does not run for each?
 *
 * initdb takes a second of processor and gives the same files every time, but for an identity and
 * a password. So it runs once for these programs, and what it made is kept below `node_modules`,
 * where whoever may write could change the programs themselves. The password of the kept one is
 * thrown away at once. Without such a place every cluster is made by initdb, as slowly as ever.
 */
import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import {
  lstat,
  mkdir,
  mkdtemp,
  open,
  readdir,
  readFile,
  rename,
  rm,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { copyDataDirectory } from './copy-data-directory.ts';
import { INITDB_ARGUMENTS, runInitdb } from './initdb.ts';
import type { Binaries } from './platform-binaries.ts';
import { giveTo, type ProcessUser } from './process-user.ts';

export const TEMPLATES = fileURLToPath(
  new URL('../../node_modules/.cache/clusters', import.meta.url),
);

/** Of the programs before and after an update; each takes some 30 MB. */
const TEMPLATES_KEPT = 2;
/** A draft this old was left by a process that was killed. */
const DRAFT_AGE_MS_MAX = 3_600_000;
const DRAFT = 'unfinished-';
/** Raised when what is kept, or how, changes. */
const FORMAT = 2;
const MANIFEST = 'manifest.json';
const LOG_FILE = /^[0-9A-F]{24}$/;

export type Template = {
  data: string;
  /** The log is kept without the empty rest of its file. */
  log: { name: string; bytes: number };
};

type Manifest = Pick<Template, 'log'> & { sha256: string };

/** Undefined when there is no place to keep one. */
export async function clusterTemplate(given: {
  folder: string;
  /** Where the server user may write: initdb does not run as root. */
  scratch: string;
  binaries: Binaries;
  user: ProcessUser | undefined;
  signal: AbortSignal;
}): Promise<Template | undefined> {
  const { folder, scratch, binaries, user, signal } = given;
  const place = join(folder, await keyOf(binaries));
  const known = await readTemplate(place);
  if (known !== undefined) return known;
  let draft: string;
  try {
    await mkdir(folder, { recursive: true });
    if (!(await isOurs(folder))) return undefined;
    draft = await mkdtemp(join(folder, DRAFT));
  } catch {
    return undefined;
  }
  const made = join(scratch, 'data');
  try {
    await runInitdb({
      data: made,
      passwordFile: { path: join(scratch, 'password'), password: randomBytes(32).toString('hex') },
      binaries,
      user,
      durable: false,
      signal,
    });
    await keep(made, draft, signal);
    // Somebody else may have been faster; theirs is as good.
    await rename(draft, place).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(draft, { recursive: true, force: true });
    await rm(made, { recursive: true, force: true });
  }
  await removeOld(folder, place);
  return readTemplate(place);
}

export async function copyTemplate(
  template: Template,
  to: string,
  {
    user,
    durable,
    signal,
  }: { user: ProcessUser | undefined; durable: boolean; signal: AbortSignal },
): Promise<void> {
  await copyDataDirectory(template.data, to, user, signal);
  const { name, bytes } = template.log;
  const used = await readFile(join(template.data, 'pg_wal', name));
  const log = join(to, 'pg_wal', name);
  await writeFile(log, used, { mode: 0o600 });
  // A log with holes in it may find the disk full where its server has counted on it.
  if (durable) await writeFile(log, Buffer.alloc(bytes - used.length), { flag: 'a' });
  else await truncate(log, bytes);
  await giveTo(user, log);
}

/** Until then a crash of the machine may leave holes in files, or names without them. */
export async function syncTree(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries.map((entry) => join(entry.parentPath, entry.name));
  const queue = [...paths, folder, dirname(folder)].values();
  const worker = async () => {
    for (const path of queue) {
      const file = await open(path, 'r');
      try {
        await file.sync();
      } finally {
        await file.close();
      }
    }
  };
  await Promise.all(Array.from({ length: 4 }, worker));
}

async function keyOf({ postgres, initdb }: Binaries): Promise<string> {
  const catalogue = join(dirname(dirname(postgres)), 'share', 'postgresql', 'postgres.bki');
  const digest = createHash('sha256').update(JSON.stringify([FORMAT, INITDB_ARGUMENTS]));
  for (const path of [postgres, initdb, catalogue]) digest.update(await readFile(path));
  return digest.digest('hex').slice(0, 24);
}

/** Judged by its content: a crash of the machine, or whoever cleans up, may leave half of it. */
async function readTemplate(place: string): Promise<Template | undefined> {
  const text = await readFile(join(place, MANIFEST), 'utf8').catch(() => undefined);
  if (text === undefined || !(await isOurs(place))) return undefined;
  const data = join(place, 'data');
  const { log, sha256 } = JSON.parse(text) as Manifest;
  if ((await digestOf(data)) === sha256) return { data, log };
  await rm(place, { recursive: true, force: true });
  return undefined;
}

async function digestOf(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  const digest = createHash('sha256');
  for (const [n, path] of paths.entries()) {
    // Each is small, and a trip to another thread costs more than to read it.
    if (n % 25 === 0) await turn();
    const content = readFileSync(path);
    digest.update(`${path.slice(folder.length)} ${content.length}\n`).update(content);
  }
  return digest.digest('hex');
}

async function keep(made: string, draft: string, signal: AbortSignal): Promise<void> {
  const data = join(draft, 'data');
  await copyDataDirectory(made, data, undefined, signal);
  const [name, another] = (await readdir(join(made, 'pg_wal'))).filter((one) => LOG_FILE.test(one));
  if (name === undefined || another !== undefined) {
    throw new Error(`an empty cluster has one log file, and not ${name} and ${another}`);
  }
  const log = await readFile(join(made, 'pg_wal', name));
  let used = log.length;
  while (used > 0 && log[used - 1] === 0) used--;
  await writeFile(join(data, 'pg_wal', name), log.subarray(0, used), { mode: 0o600 });
  const manifest: Manifest = { log: { name, bytes: log.length }, sha256: await digestOf(data) };
  await writeFile(join(draft, MANIFEST), JSON.stringify(manifest));
}

/** What another user has put there, or may change, is not for us. */
async function isOurs(folder: string): Promise<boolean> {
  const found = await lstat(folder);
  const uid = process.geteuid?.();
  return found.isDirectory() && (uid === undefined || found.uid === uid) && !(found.mode & 0o022);
}

async function removeOld(folder: string, used: string): Promise<void> {
  const now = new Date();
  await utimes(used, now, now).catch(() => {});
  const entries = await Promise.all(
    (await readdir(folder)).map(async (name) => {
      const path = join(folder, name);
      const { mtimeMs } = await lstat(path).catch(() => ({ mtimeMs: 0 }));
      return { path, mtimeMs, isDraft: name.startsWith(DRAFT) };
    }),
  );
  const drafts = entries.filter(
    ({ isDraft, mtimeMs }) => isDraft && now.getTime() - mtimeMs > DRAFT_AGE_MS_MAX,
  );
  const kept = entries.filter(({ isDraft }) => !isDraft).sort((a, b) => b.mtimeMs - a.mtimeMs);
  for (const { path } of [...drafts, ...kept.slice(TEMPLATES_KEPT)]) {
    await rm(path, { recursive: true, force: true });
  }
}
