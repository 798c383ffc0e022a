/**
 * Which clusters does a command work on?
 *
 * On those of the world that runs on this machine, found by its folder, or on those that an
 * installation file names, wherever they are.
 */
import { resolve } from 'node:path';
import { openInstallation } from './installation/open-installation.ts';
import { openLocalWorld } from './local-operator.ts';
import type { Operator } from './operator.ts';
import type { AppFiles } from './read-files.ts';

export type OpenedWorld = { operator: Operator; files: AppFiles };

/** The options `--root` and `--installation` of a command. */
export type Where = { root: string; installation?: string };

/** @throws CannotStart when it cannot be opened. */
export async function openWorld({ root, installation }: Where): Promise<OpenedWorld> {
  if (installation === undefined) return openLocalWorld(root);
  return openInstallation(resolve(installation));
}
