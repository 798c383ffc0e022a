/**
 * Which files of a running primary make a replica, and who copies them?
 *
 * The primary is in backup mode meanwhile, so files may change or vanish under us: its log, from
 * the backup's start on, repairs all of that. What belongs to the server and not to the data is
 * left out, as PostgreSQL's manual lists it.
 */
import {
  chownSync,
  constants,
  copyFileSync,
  type Dirent,
  lstatSync,
  mkdirSync,
  readdirSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as turn } from 'node:timers/promises';
import { CannotStart } from './cannot-start.ts';
import type { ProcessUser } from './process-user.ts';

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

/**
 * Up to here a file is copied at once: a new cluster has a thousand of them, and to hand each to a
 * thread and back costs several times the copy.
 */
const AT_ONCE_BYTES_MAX = 1_048_576;
/** Everything else in this process waits so long, some milliseconds. */
const AT_ONCE_FILES_MAX = 25;

export async function copyDataDirectory(
  from: string,
  to: string,
  user: ProcessUser | undefined,
  signal: AbortSignal,
): Promise<void> {
  const files = makeDirectories(from, to, '', user);
  let atOnce = 0;
  for (const file of [...files.filter((name) => name !== CONTROL_FILE), CONTROL_FILE]) {
    if (++atOnce % AT_ONCE_FILES_MAX === 0) await turn();
    signal.throwIfAborted();
    await copyOne(join(from, file), join(to, file), user);
  }
  for (const folder of ['archive_status', 'summaries']) {
    makeDirectory(join(to, 'pg_wal', folder), user);
  }
}

/** Names of the files to copy, relative to `from`, once their directories are made. */
function makeDirectories(
  from: string,
  to: string,
  below: string,
  user: ProcessUser | undefined,
): string[] {
  makeDirectory(join(to, below), user);
  if (EMPTIED.has(below)) return [];
  const files: string[] = [];
  for (const entry of entriesOf(join(from, below))) {
    const name = join(below, entry.name);
    if (LEFT_OUT.has(entry.name) || entry.name.startsWith('pgsql_tmp')) continue;
    if (entry.isSymbolicLink()) {
      throw new CannotStart(
        `${join(from, name)} leads out of the data directory; the local world does not copy tablespaces`,
      );
    }
    if (entry.isDirectory()) files.push(...makeDirectories(from, to, name, user));
    else if (entry.isFile()) files.push(name);
  }
  return files;
}

/** A database that is dropped meanwhile takes its directory along. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}

function makeDirectory(path: string, user: ProcessUser | undefined): void {
  mkdirSync(path, { mode: 0o700 });
  if (user !== undefined) chownSync(path, user.uid, user.gid);
}

async function copyOne(from: string, to: string, user: ProcessUser | undefined): Promise<void> {
  // A table that was dropped meanwhile.
  const found = lstatSync(from, { throwIfNoEntry: false });
  if (found === undefined) return;
  try {
    if (found.size > AT_ONCE_BYTES_MAX) await copyFile(from, to, constants.COPYFILE_FICLONE);
    else copyFileSync(from, to, constants.COPYFILE_FICLONE);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    // Unless the target is what is missing: then tell.
    if (lstatSync(from, { throwIfNoEntry: false }) !== undefined) throw error;
    return;
  }
  if (user !== undefined) chownSync(to, user.uid, user.gid);
}
