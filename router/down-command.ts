/**
 * `domicile down`: ends a local world, or what a killed supervisor left of it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { CannotStart } from '../regions/local/cannot-start.ts';
import { endLeftover } from '../regions/local/server-process.ts';
import { wipe as wipeWorld } from '../regions/local/wipe-world.ts';
import { dataDirectories, isWorld, worldRoot } from '../regions/local/world-folder.ts';
import { takeWorld, worldHolder } from '../regions/local/world-lock.ts';

export type DownOptions = { root: string; wipe: boolean; print: (line: string) => void };

/** Three edges and nine servers end within ten seconds; the rest is for a slow disk. */
const STOP_MS_MAX = 30_000;
const LOOK_EVERY_MS = 100;

export async function down({ root: path, wipe, print }: DownOptions): Promise<void> {
  const root = await worldRoot(path);
  if (root === undefined || !(await isWorld(root))) {
    print(`There is no Domicile world in ${path}.`);
    return;
  }
  await endSupervisor(root, print);
  if (wipe) {
    await wipeWorld(root, print);
    print('Its data is gone.');
    return;
  }
  const lock = await takeWorld(root);
  try {
    for (const directory of await dataDirectories(root)) {
      const pid = await endLeftover(directory);
      if (pid !== undefined) print(`ended Postgres ${pid}, left running on ${directory}`);
    }
  } finally {
    await lock.release();
  }
  print(`Nothing runs any more. The data stays in ${root} until "down --wipe".`);
}

async function endSupervisor(root: string, print: (line: string) => void): Promise<void> {
  const holder = await worldHolder(root);
  if (holder === undefined) return;
  print(`asking process ${holder.pid}, which runs the world, to end it`);
  process.kill(holder.pid, 'SIGTERM');
  for (let waitedMs = 0; waitedMs < STOP_MS_MAX; waitedMs += LOOK_EVERY_MS) {
    await pause(LOOK_EVERY_MS);
    if ((await worldHolder(root)) === undefined) return;
  }
  throw new CannotStart(`Process ${holder.pid} has not ended the world within ${STOP_MS_MAX} ms.`);
}
