/**
 * As whom do the servers run, and which paths can they reach?
 *
 * PostgreSQL refuses to run as root. Started by root, it runs as `nobody`; started by anybody
 * else, it runs as that person. `nobody` cannot pass a directory that only root may enter, and
 * checkouts often lie below one (`/root` is 0700), so reach is a question of its own.
 */
import { chown, realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

export type ProcessUser = { uid: number; gid: number };

/** The conventional number of `nobody`; it needs no entry in /etc/passwd to run a process. */
const NOBODY: ProcessUser = { uid: 65534, gid: 65534 };

/** Undefined means: as whoever we are. */
export function serverUser(effectiveUid: number | undefined): ProcessUser | undefined {
  return effectiveUid === 0 ? NOBODY : undefined;
}

/** What a spawn needs so that the process runs as the server user. */
export function spawnAs(user: ProcessUser | undefined): Partial<ProcessUser> {
  return user === undefined ? {} : { uid: user.uid, gid: user.gid };
}

export async function giveTo(user: ProcessUser | undefined, path: string): Promise<void> {
  if (user !== undefined) await chown(path, user.uid, user.gid);
}

/**
 * Whether the server user may enter this directory, judged by mode bits from the root down.
 * Only root ever has to ask: anybody else runs the servers as themselves.
 */
export async function mayEnter(user: ProcessUser | undefined, directory: string): Promise<boolean> {
  if (user === undefined) return true;
  for (let at = await realpath(directory); ; at = dirname(at)) {
    if (!permits(await stat(at), user, 0o1)) return false;
    if (at === dirname(at)) return true;
  }
}

/** Whether the server user may do all of `wanted` (read 4, enter or execute 1) with this path. */
export function permits(
  entry: { mode: number; uid: number; gid: number },
  user: ProcessUser,
  wanted: number,
): boolean {
  const shift = entry.uid === user.uid ? 6 : entry.gid === user.gid ? 3 : 0;
  return ((entry.mode >> shift) & wanted) === wanted;
}
