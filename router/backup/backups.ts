/**
 * Which backups does a region have, what can each be restored to, and which may go?
 *
 * A base backup is worth what the log behind it is: with all of it up to the backup's end it can be
 * restored, and then up to the first hole. Nothing is removed that a usable backup needs, and
 * nothing at all while none is usable.
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { formatLsn, type Lsn } from '../../regions/position.ts';
import {
  type ArchiveFolder,
  DIGEST,
  type KeptLog,
  keptLog,
  lastReceived,
  lineOf,
  namesIn,
  ownerOf,
  PARTIAL,
  type Received,
  removeWhole,
  UNFINISHED,
} from './archive-folder.ts';
import { type BackupNote, fromOf, readNote, toOf } from './take-backup.ts';
import {
  type Line,
  leadsTo,
  parseSegment,
  segmentName,
  segmentOf,
  startOf,
  timelineOfSegment,
} from './wal-names.ts';

export type Backup = BackupNote & {
  usable: boolean;
  /** Why not, or what bounds it; undefined when it leads to the end of the archive. */
  because: string | undefined;
  /** The last position that it can be restored to; undefined when it cannot. */
  reaches: Lsn | undefined;
};

/** Oldest first. */
export async function listBackups(folder: ArchiveFolder): Promise<Backup[]> {
  const owner = await ownerOf(folder);
  if (owner === undefined) return [];
  // In this order: what is received meanwhile makes the list longer, never shorter.
  const received = await lastReceived(folder);
  const log = await keptLog(folder, owner.segmentBytes);
  const line = received === undefined ? undefined : await lineOf(folder, received.timeline);
  const backups: Backup[] = [];
  for (const id of (await namesIn(folder.base)).sort()) {
    if (id.startsWith(UNFINISHED)) continue;
    const path = join(folder.base, id);
    const note = await readNote(path);
    if (note === undefined) continue;
    const judged = judge(note, { log, received, line, segmentBytes: owner.segmentBytes });
    const lacking = await lackingFile(path);
    backups.push({
      ...note,
      ...(lacking === undefined ? judged : unusable(`${join(path, lacking)} is missing`)),
    });
  }
  return backups;
}

export type Archived = {
  log: KeptLog;
  received: Received | undefined;
  /** How the last timeline came about. */
  line: Line | undefined;
  segmentBytes: number;
};

type Judgement = Pick<Backup, 'usable' | 'because' | 'reaches'>;

export function judge(note: BackupNote, archived: Archived): Judgement {
  const { received, line } = archived;
  if (received === undefined) return unusable('no log has been archived');
  if (line === undefined) {
    return unusable(`the history of timeline ${received.timeline} is missing from the archive`);
  }
  const to = toOf(note);
  if (!leadsTo(line, note.timeline, to)) {
    return unusable(`timeline ${note.timeline} was left before it ended`);
  }
  const { missing, reaches } = chainFrom(note, archived, line, received);
  if (missing !== undefined && reaches < to) return unusable(`${missing} is missing`);
  if (reaches < to) {
    return unusable(`the archive ends at ${formatLsn(reaches)}, before it does`);
  }
  return {
    usable: true,
    because:
      missing === undefined ? undefined : `only up to ${formatLsn(reaches)}: ${missing} is missing`,
    reaches,
  };
}

/** The files that recovery reads, in order, and where they end. */
export function chainFrom(
  note: BackupNote,
  { log, segmentBytes }: Archived,
  line: Line,
  received: Received,
): { files: string[]; missing: string | undefined; reaches: Lsn } {
  const files: string[] = [];
  const last = segmentOf(received.flushed, segmentBytes);
  for (let number = segmentOf(fromOf(note), segmentBytes); number <= last; number++) {
    const timeline = timelineOfSegment(line, number, segmentBytes);
    const name = segmentName({ timeline, number }, segmentBytes);
    const start = startOf(number, segmentBytes);
    if (log.whole.has(name)) files.push(name);
    else if (number === last && log.partial.has(name)) files.push(name + PARTIAL);
    // At the very beginning of a segment there is no file yet.
    else if (received.flushed === start) break;
    else return { files, missing: name, reaches: start };
  }
  return { files, missing: undefined, reaches: received.flushed };
}

export type Pruned = { backups: string[]; segments: number };

/** Keeps the newest usable backups, with the log that they need, and what is newer than they are. */
export async function pruneArchive(folder: ArchiveFolder, keep: number): Promise<Pruned> {
  if (!Number.isInteger(keep) || keep < 1) throw new RangeError('at least one backup is kept');
  const backups = await listBackups(folder);
  const usable = backups.filter((one) => one.usable);
  const newest = usable.at(-1);
  const pruned: Pruned = { backups: [], segments: 0 };
  if (newest === undefined) return pruned;
  const kept = new Set(usable.slice(-keep).map(({ id }) => id));
  const goes = backups.filter(({ id }) => !kept.has(id) && id < newest.id);
  for (const { id } of goes) {
    await removeWhole(join(folder.base, id));
    pruned.backups.push(id);
  }
  const left = backups.filter((one) => !goes.includes(one));
  const owner = await ownerOf(folder);
  if (owner === undefined) return pruned;
  const { segmentBytes } = owner;
  const needed = left
    .map((one) => segmentOf(fromOf(one), segmentBytes))
    .reduce((a, b) => (a < b ? a : b));
  for (const name of await namesIn(folder.wal)) {
    const bare = name.replace(PARTIAL, '').replace(DIGEST, '');
    const segment = parseSegment(bare, segmentBytes);
    if (segment === undefined || segment.number >= needed) continue;
    await rm(join(folder.wal, name), { force: true });
    if (name === bare) pruned.segments++;
  }
  return pruned;
}

async function lackingFile(path: string): Promise<string | undefined> {
  for (const name of ['base.tar', 'backup_manifest']) {
    const found = await stat(join(path, name)).catch(() => undefined);
    if (found === undefined) return name;
  }
  return undefined;
}

function unusable(because: string): Judgement {
  return { usable: false, because, reaches: undefined };
}
