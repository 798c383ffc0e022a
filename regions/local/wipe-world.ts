/**
 * How does a local world leave this machine?
 *
 * Only when nobody runs it, and only if the folder says that it is one. Servers that a killed
 * supervisor left behind are ended first; data that was put elsewhere goes too.
 */
import { readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { CannotStart } from './cannot-start.ts';
import { endLeftover } from './server-process.ts';
import { dataDirectories, isWorld, relocatedPlace, WORLD_MARK, worldRoot } from './world-folder.ts';
import { takeWorld } from './world-lock.ts';

/** False when there is nothing in that place; anything but a world is refused, untouched. */
export async function wipe(path: string, report: (step: string) => void): Promise<boolean> {
  const root = await worldRoot(path);
  if (root === undefined) return false;
  if (!(await isWorld(root))) {
    throw new CannotStart(`${resolve(path)} is not a Domicile world; nothing was removed.`);
  }
  const lock = await takeWorld(root);
  try {
    for (const directory of await dataDirectories(root)) {
      const pid = await endLeftover(directory);
      if (pid !== undefined)
        report(`ended Postgres ${pid}, which was left running on ${directory}`);
    }
    const elsewhere = await relocatedPlace(root);
    if (elsewhere !== undefined) {
      report(`removing ${elsewhere}`);
      await rm(elsewhere, { recursive: true, force: true, maxRetries: 5 });
    }
    report(`removing ${root}`);
    // The mark and the lock go last: cut off half way, the rest is still known for what it is.
    for (const name of await readdir(root)) {
      if (name === WORLD_MARK || name.startsWith('lock.')) continue;
      await rm(join(root, name), { recursive: true, force: true, maxRetries: 5 });
    }
  } finally {
    await lock.release();
  }
  await rm(root, { recursive: true, force: true });
  return true;
}
