/**
 * What lies where in the folder of a local world?
 *
 *     <root>/domicile-world.json   says that this folder is a world
 *     <root>/lock.<n>              who runs it (`world-lock.ts`)
 *     <root>/secrets.json          passwords, readable by the owner only
 *     <root>/logs/                 one file per process
 *     <root>/postgres              what the servers themselves read and write: a folder, or a link
 *                                  to one elsewhere when they could not reach it here
 *         clusters/<node>/data     one data directory each, and nothing secret in it
 *         backups/<region>/        base backups and archived log, unless the catalogue says where
 *         drills/<region>/data     what a drill has restored, for as long as it takes
 *         passfiles/               passwords that a server needs to reach another one
 */
import {
  chmod,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  realpath,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { CannotStart } from './cannot-start.ts';
import { PUBLIC_FOLDER } from './platform-binaries.ts';
import { giveTo, mayEnter, type ProcessUser } from './process-user.ts';

export const WORLD_MARK = 'domicile-world.json';
/** In a relocated folder: the path of the world it belongs to. */
const BELONGS_TO = 'belongs-to';
const RELOCATED_NAME = /^domicile-world-\w{6}$/;

export type WorldFolder = {
  root: string;
  logs: string;
  clusters: string;
  passfiles: string;
  user: ProcessUser | undefined;
};

/**
 * Marks an empty folder as a world and gives back its real path; anything else but a world is
 * refused, untouched. Two supervisors may do this at the same time: locking comes next.
 */
export async function claimRoot(path: string): Promise<string> {
  const given = resolve(path);
  await mkdir(given, { recursive: true });
  const root = await realpath(given);
  if (await isWorld(root)) return root;
  const [stranger] = await readdir(root);
  if (stranger !== undefined && !(await isWorld(root))) {
    throw new CannotStart(
      `${root} is not a Domicile world: ${stranger} lies in it. Name an empty folder or a new one.`,
    );
  }
  await writeFile(join(root, WORLD_MARK), '{"format":1}\n');
  return root;
}

/** For whoever holds the lock: makes what is missing, and finds what lies elsewhere. */
export async function openWorldFolder(
  root: string,
  user: ProcessUser | undefined,
  report: (step: string) => void,
): Promise<WorldFolder> {
  const logs = join(root, 'logs');
  await mkdir(logs, { recursive: true });
  const place = await serverPlace(root, user, report);
  const clusters = join(place, 'clusters');
  const passfiles = join(place, 'passfiles');
  for (const folder of [clusters, passfiles]) {
    await mkdir(folder, { recursive: true });
    await giveTo(user, folder);
    await chmod(folder, 0o700);
  }
  return { root, logs, clusters, passfiles, user };
}

/** The real path of a folder that may be a world; undefined when there is nothing there. */
export async function worldRoot(path: string): Promise<string | undefined> {
  return await realpath(resolve(path)).catch(() => undefined);
}

export async function isWorld(root: string): Promise<boolean> {
  return exists(join(root, WORLD_MARK));
}

/** Data directories of a world as it lies there, whoever runs it; empty when it has none. */
export async function dataDirectories(root: string): Promise<string[]> {
  const found: string[] = [];
  // A drill whose process was killed leaves a server behind as well.
  for (const kind of ['clusters', 'drills']) {
    const folder = await realpath(join(root, 'postgres', kind)).catch(() => undefined);
    for (const name of folder === undefined ? [] : await readdir(folder)) {
      const data = join(folder ?? '', name, 'data');
      if (await exists(data)) found.push(data);
    }
  }
  return found;
}

/** Where a world's data was put when it could not lie in the world itself. */
export async function relocatedPlace(root: string): Promise<string | undefined> {
  const target = await readlink(join(root, 'postgres')).catch(() => undefined);
  if (target === undefined) return undefined;
  // A link that somebody bent elsewhere must not lead a removal there.
  const owner = await readFile(join(target, BELONGS_TO), 'utf8').catch(() => undefined);
  return RELOCATED_NAME.test(basename(target)) && owner === root ? target : undefined;
}

async function serverPlace(
  root: string,
  user: ProcessUser | undefined,
  report: (step: string) => void,
): Promise<string> {
  const inside = join(root, 'postgres');
  const target = await readlink(inside).catch(() => undefined);
  if (target !== undefined) {
    const relocated = await relocatedPlace(root);
    if (relocated !== undefined) {
      report(`the data of ${root} lies in ${relocated}`);
      return await ours(await realpath(relocated), user);
    }
    if (await exists(target)) {
      throw new CannotStart(
        `${inside} leads to ${target}, which belongs to another world. Was the folder copied or moved? Remove the link to begin anew.`,
      );
    }
    report(`the data of ${root} was in ${target} and is gone from there; beginning anew`);
    await rm(inside);
  }
  if (await exists(inside)) return await ours(await realpath(inside), user);
  if (await mayEnter(user, root)) {
    await mkdir(inside);
    return await ours(await realpath(inside), user);
  }
  const elsewhere = await mkdtemp(join(PUBLIC_FOLDER, 'domicile-world-'));
  await chmod(elsewhere, 0o711);
  await writeFile(join(elsewhere, BELONGS_TO), root);
  await symlink(elsewhere, inside);
  report(
    `user ${user?.uid}, as whom the servers run, cannot enter ${root}; the data goes to ${elsewhere}`,
  );
  return await ours(await realpath(elsewhere), user);
}

/** A world begun by one user cannot be continued by another; PostgreSQL would only say EACCES. */
async function ours(place: string, user: ProcessUser | undefined): Promise<string> {
  const clusters = await stat(join(place, 'clusters')).catch(() => undefined);
  const uid = user?.uid ?? process.geteuid?.();
  if (clusters !== undefined && uid !== undefined && clusters.uid !== uid) {
    throw new CannotStart(
      `The data in ${place} belongs to uid ${clusters.uid}, but the servers would now run as uid ${uid}. Start the world as the user who began it, or wipe it.`,
    );
  }
  return place;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
