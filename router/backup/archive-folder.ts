/**
 * What lies in the place where a region keeps its backups?
 *
 *     archive.json         whose backups these are; nobody else's are written here
 *     position.json        how far the log was received, and from whom
 *     wal/<segment>        16 MB of log each, whole; with its SHA-256 in <segment>.sha256
 *     wal/<segment>.partial  the one that is being received, zeros behind what has come
 *     wal/<timeline>.history where a timeline came from
 *     base/<when>/         base.tar, backup_manifest and backup.json
 *
 * A name without `.partial` or `unfinished-` is there only once its content is complete and durable.
 */
import { chmod, mkdir, open, readdir, readFile, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Region } from '../../regions/catalogue.ts';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import { giveTo, type ProcessUser } from '../../regions/local/process-user.ts';
import { formatLsn, type Lsn, parseHistory, parseLsn } from '../../regions/position.ts';
import { HISTORY_NAME, type Line, parseSegment, type Segment } from './wal-names.ts';

export const PARTIAL = '.partial';
export const DIGEST = '.sha256';
export const UNFINISHED = 'unfinished-';

export type ArchiveFolder = {
  path: string;
  wal: string;
  base: string;
  /** As whom the servers run: a restored server reads the log itself. */
  user: ProcessUser | undefined;
};

export type Owner = { region: string; systemId: string; segmentBytes: number };

export type Received = {
  timeline: number;
  /** Everything before it is durable here. */
  flushed: Lsn;
  node: string;
  /** Wall clock, milliseconds. */
  atMs: number;
};

/** Where a region's backups lie: where its catalogue says, else in the folder of the world. */
export async function backupPlace(root: string, region: Region): Promise<string> {
  if (region.backup !== undefined) return region.backup.folder;
  return join(await realpath(join(root, 'postgres')), 'backups', region.id);
}

export function archiveAt(path: string, user: ProcessUser | undefined): ArchiveFolder {
  return { path, wal: join(path, 'wal'), base: join(path, 'base'), user };
}

export async function makeArchive(folder: ArchiveFolder): Promise<void> {
  const parent = dirname(folder.path);
  const made = await mkdir(parent, { recursive: true });
  // The servers' user has to pass the folder that was made for it, and to see nothing there.
  if (made !== undefined) await chmod(parent, 0o711);
  for (const path of [folder.path, folder.wal, folder.base]) {
    await mkdir(path, { recursive: true });
    await giveTo(folder.user, path);
    await chmod(path, 0o700);
  }
}

/** @throws CannotStart when somebody else's backups lie there. */
export async function claimArchive(folder: ArchiveFolder, owner: Owner): Promise<void> {
  const found = await ownerOf(folder);
  if (found === undefined) {
    await writeWhole(folder, join(folder.path, 'archive.json'), JSON.stringify(owner), true);
    return;
  }
  if (found.region !== owner.region) {
    throw new CannotStart(
      `${folder.path} holds the backups of ${found.region}; those of ${owner.region} do not go there`,
    );
  }
  if (found.systemId !== owner.systemId || found.segmentBytes !== owner.segmentBytes) {
    throw new CannotStart(
      `${folder.path} holds the backups of another cluster of ${owner.region} (system identifier ${found.systemId}, this one has ${owner.systemId}); move them away first`,
    );
  }
}

export async function ownerOf(folder: ArchiveFolder): Promise<Owner | undefined> {
  const text = await textOf(join(folder.path, 'archive.json'));
  return text === undefined ? undefined : (JSON.parse(text) as Owner);
}

export async function noteReceived(
  folder: ArchiveFolder,
  { timeline, flushed, node, atMs }: Received,
): Promise<void> {
  const note = JSON.stringify({ timeline, flushed: formatLsn(flushed), node, atMs });
  await writeWhole(folder, join(folder.path, 'position.json'), note, false);
}

export async function lastReceived(folder: ArchiveFolder): Promise<Received | undefined> {
  const text = await textOf(join(folder.path, 'position.json'));
  if (text === undefined) return undefined;
  const { timeline, flushed, node, atMs } = JSON.parse(text);
  const lsn = parseLsn(flushed);
  return lsn === undefined ? undefined : { timeline, flushed: lsn, node, atMs };
}

export type KeptLog = {
  /** Whole segments by name. */
  whole: ReadonlyMap<string, Segment>;
  partial: ReadonlyMap<string, Segment>;
  /** Timelines whose history is here. */
  histories: readonly number[];
};

export async function keptLog({ wal }: ArchiveFolder, segmentBytes: number): Promise<KeptLog> {
  const whole = new Map<string, Segment>();
  const partial = new Map<string, Segment>();
  const histories: number[] = [];
  for (const name of (await namesIn(wal)).sort()) {
    const bare = name.endsWith(PARTIAL) ? name.slice(0, -PARTIAL.length) : name;
    const segment = parseSegment(bare, segmentBytes);
    if (segment !== undefined) (bare === name ? whole : partial).set(bare, segment);
    const [, timeline] = HISTORY_NAME.exec(name) ?? [];
    if (timeline !== undefined) histories.push(Number.parseInt(timeline, 16));
  }
  return { whole, partial, histories };
}

/** How a timeline came about, as kept here; undefined when its history is not here or not sound. */
export async function lineOf({ wal }: ArchiveFolder, timeline: number): Promise<Line | undefined> {
  if (timeline === 1) return { timeline, ancestors: [] };
  const name = `${timeline.toString(16).toUpperCase().padStart(8, '0')}.history`;
  const text = await textOf(join(wal, name));
  const ancestors = text === undefined ? undefined : parseHistory(text);
  return ancestors === undefined ? undefined : { timeline, ancestors };
}

/** All at once: whoever reads it finds the old text or the new one. */
export async function writeWhole(
  { user }: Pick<ArchiveFolder, 'user'>,
  path: string,
  text: string,
  durable: boolean,
): Promise<void> {
  const draft = join(dirname(path), `${UNFINISHED}${basename(path)}`);
  const file = await open(draft, 'w', 0o600);
  try {
    await file.chmod(0o600);
    if (user !== undefined) await file.chown(user.uid, user.gid);
    await file.writeFile(text);
    if (durable) await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
  if (durable) await syncFolder(dirname(path));
}

/** A rename is durable once its folder is. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

export async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return [];
  }
}

export async function textOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return undefined;
  }
}

/** Renamed first, so that what is half removed is not taken for whole. */
export async function removeWhole(path: string): Promise<void> {
  const away = join(dirname(path), `${UNFINISHED}gone-${basename(path)}`);
  await rename(path, away);
  await rm(away, { recursive: true, force: true });
}
