/**
 * Which files of a running primary make a replica, and who copies them?
 *
 * The primary is in backup mode meanwhile, so files may change or vanish under us: its log, from
 * the backup's start on, repairs all of that. What belongs to the server and not to the data is
 * left out, as PostgreSQL's manual lists it.
 */
import { constants, type Dirent } from 'node:fs';
import { copyFile, lstat, mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CannotStart } from './cannot-start.ts';
import { giveTo, type ProcessUser } from './process-user.ts';

/** Copied as empty directories. Slots in particular must not be: a copy would hold back log for ever. */
const EMPTIED = new Set([
  'pg_dynshmem',
  'pg_notify',
  'pg_replslot',
  'pg_serial',
  'pg_snapshots',
  'pg_stat_tmp',
  'pg_subtrans',
  'pg_wal',
]);

/** Left out. `postgresql.auto.conf` is the primary's own: who must confirm *its* commits. */
const LEFT_OUT = new Set([
  'backup_label',
  'backup_label.old',
  'current_logfiles',
  'pg_internal.init',
  'postgresql.auto.conf',
  'postgresql.auto.conf.tmp',
  'postmaster.opts',
  'postmaster.pid',
  'recovery.signal',
  'standby.signal',
  'tablespace_map',
]);

/** The server writes it all the time, so it is copied last and in one read. */
const CONTROL_FILE = join('global', 'pg_control');

/** More at a time only fill the queue of the four threads that do it. */
const AT_A_TIME = 8;

export async function copyDataDirectory(
  from: string,
  to: string,
  user: ProcessUser | undefined,
  signal: AbortSignal,
): Promise<void> {
  const files = await makeDirectories(from, to, '', user);
  const queue = files.filter((file) => file !== CONTROL_FILE).values();
  const worker = async () => {
    for (const file of queue) {
      signal.throwIfAborted();
      await copyOne(join(from, file), join(to, file), user);
    }
  };
  await Promise.all(Array.from({ length: AT_A_TIME }, worker));
  await copyOne(join(from, CONTROL_FILE), join(to, CONTROL_FILE), user);
  for (const folder of ['archive_status', 'summaries']) {
    await makeDirectory(join(to, 'pg_wal', folder), user);
  }
}

/** Names of the files to copy, relative to `from`, once their directories are made. */
async function makeDirectories(
  from: string,
  to: string,
  below: string,
  user: ProcessUser | undefined,
): Promise<string[]> {
  await makeDirectory(join(to, below), user);
  if (EMPTIED.has(below)) return [];
  const files: string[] = [];
  for (const entry of await entriesOf(join(from, below))) {
    const name = join(below, entry.name);
    if (LEFT_OUT.has(entry.name) || entry.name.startsWith('pgsql_tmp')) continue;
    if (entry.isSymbolicLink()) {
      throw new CannotStart(
        `${join(from, name)} leads out of the data directory; the local world does not copy tablespaces`,
      );
    }
    if (entry.isDirectory()) files.push(...(await makeDirectories(from, to, name, user)));
    else if (entry.isFile()) files.push(name);
  }
  return files;
}

/** A database that is dropped meanwhile takes its directory along. */
async function entriesOf(folder: string): Promise<Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}

async function makeDirectory(path: string, user: ProcessUser | undefined): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  await giveTo(user, path);
}

async function copyOne(from: string, to: string, user: ProcessUser | undefined): Promise<void> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // A table that was dropped meanwhile. Unless the target is what is missing: then tell.
    if ((await lstat(from).catch(() => undefined)) !== undefined) throw error;
    return;
  }
  await giveTo(user, to);
}
