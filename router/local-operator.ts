/**
 * How does a command work on the local world that another process runs?
 *
 * The supervisor notes in the world's folder what an operator cannot know otherwise: the regions as
 * they were started, the app's files, and the links between the regions. Passwords stay where they
 * are kept. Only the world's owner can read either.
 */
import { chmod, readFile, realpath, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { airlockFor, type Catalogue, type RegionId, slotName } from '../regions/catalogue.ts';
import { CannotStart } from '../regions/local/cannot-start.ts';
import { STANDBY_ROLE, SUPERUSER } from '../regions/local/postgres-settings.ts';
import { serverUser } from '../regions/local/process-user.ts';
import { openSecrets, writePassfile } from '../regions/local/secrets.ts';
import { superuserSecret } from '../regions/local/start-clusters.ts';
import { isWorld, worldRoot } from '../regions/local/world-folder.ts';
import { worldHolder } from '../regions/local/world-lock.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { catalogueText } from './catalogue-text.ts';
import type { Operator } from './operator.ts';
import { keyFrom } from './password-names.ts';
import type { AppFiles } from './read-files.ts';

export type LocalWorld = { operator: Operator; files: AppFiles };

/** The roles that the local world makes by itself. */
export const LOCAL_ROLES: Pick<Operator, 'installed' | 'slotOfNode'> = {
  installed: () => ({
    private: new Map([
      [SUPERUSER, ['login', 'superuser', 'replication', 'bypassrls', 'createrole', 'createdb']],
      [STANDBY_ROLE, ['login', 'replication']],
    ]),
    airlock: new Map([
      [SUPERUSER, ['login', 'superuser', 'replication', 'bypassrls', 'createrole', 'createdb']],
    ]),
  }),
  slotOfNode: slotName,
};

type Note = {
  format: 1;
  regions: string;
  files: AppFiles;
  /** Who reaches which server through what, as `link` answers. */
  links: { from: RegionId; to: string; host: string; port: number }[];
};

const NOTE = 'world.json';

/** For the supervisor, once servers and links are there. */
export async function noteWorld(
  root: string,
  { operator, files }: Pick<LocalWorld, 'operator' | 'files'>,
): Promise<void> {
  const { catalogue, link } = operator;
  const links = [...catalogue.regions.keys()].flatMap((from) =>
    [...catalogue.regions.values()].flatMap((region) =>
      (region.id === from ? region.nodes : [airlockFor(region, from)]).map((to) => ({
        from,
        to: to.name,
        ...link(from, to),
      })),
    ),
  );
  const note: Note = { format: 1, regions: catalogueText(catalogue), files, links };
  const path = join(root, 'run', NOTE);
  const draft = `${path}.draft`;
  await writeFile(draft, `${JSON.stringify(note, null, 2)}\n`, { mode: 0o600 });
  await chmod(draft, 0o600);
  await rename(draft, path);
}

/** @throws CannotStart when no world runs there. */
export async function openLocalWorld(path: string): Promise<LocalWorld> {
  const root = await worldRoot(path);
  if (root === undefined || !(await isWorld(root))) {
    throw new CannotStart(`There is no Domicile world in ${path}. Start one, or name its folder.`);
  }
  if ((await worldHolder(root)) === undefined) {
    throw new CannotStart(`The world in ${root} does not run. Start it first.`);
  }
  const note = await readNote(join(root, 'run', NOTE), root);
  const reading = readCatalogue(note.regions, NOTE);
  if ('complaints' in reading) {
    throw new CannotStart(`${join(root, 'run', NOTE)} was written by another version.`);
  }
  const { catalogue } = reading;
  const secrets = openSecrets(root);
  const user = serverUser(process.geteuid?.());
  // Subscriptions name the file as the supervisor does, whose data may lie elsewhere.
  const passfiles = join(await realpath(join(root, 'postgres')), 'passfiles');
  const operator: Operator = {
    catalogue,
    superuser: (node) => {
      for (const { id, database, nodes, airlocks } of catalogue.regions.values()) {
        for (const [kind, servers] of [
          ['private', nodes],
          ['airlock', airlocks],
        ] as const) {
          const found = servers.find(({ name }) => name === node);
          if (found === undefined) continue;
          const { name, host, port, tls } = found;
          const password = secrets.password(superuserSecret(id, kind));
          const address = { name, host, port, ...(tls !== undefined && { tls }) };
          return { ...address, database, user: SUPERUSER, password };
        }
      }
      throw new RangeError(`no node ${node}`);
    },
    password: (name) => secrets.password(name),
    key: (name) => keyFrom(secrets.password(name)),
    passfile: async (name, entries) => {
      const file = join(passfiles, name);
      await writePassfile(file, entries, user);
      return file;
    },
    link: (from, to) => {
      const found = note.links.find((one) => one.from === from && one.to === to.name);
      return found ?? { host: to.host, port: to.port };
    },
    ...LOCAL_ROLES,
  };
  return { operator, files: note.files };
}

/** The regions as a world was last started with, whether it runs or not; undefined when nothing says. */
export async function knownCatalogue(root: string): Promise<Catalogue | undefined> {
  const text = await readFile(join(root, 'run', NOTE), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const reading = readCatalogue((JSON.parse(text) as Note).regions, NOTE);
  return 'catalogue' in reading ? reading.catalogue : undefined;
}

async function readNote(path: string, root: string): Promise<Note> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Note;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EACCES') throw error;
    throw new CannotStart(
      code === 'ENOENT'
        ? `The world in ${root} is still starting. Try again when it says "ready".`
        : `${path} belongs to another user; run the command as the one who started the world.`,
    );
  }
}
