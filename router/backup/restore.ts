/**
 * How does a backup become a data directory that recovers to where one wants it?
 *
 * Everything is verified before a server sees it: PostgreSQL would take a broken record in the log
 * for its end and open a database that lacks the rest. What it is told to reach it must reach.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { giveTo, mayEnter } from '../../regions/local/process-user.ts';
import { formatLsn, type Lsn } from '../../regions/position.ts';
import {
  type ArchiveFolder,
  DIGEST,
  keptLog,
  lastReceived,
  lineOf,
  ownerOf,
  PARTIAL,
  textOf,
} from './archive-folder.ts';
import { type Backup, chainFrom } from './backups.ts';
import { type Damage, unpackBackup } from './unpack-backup.ts';
import { historyName } from './wal-names.ts';

/** How far recovery goes; it is an error when the log does not lead there. */
export type Target =
  | { kind: 'end' }
  | { kind: 'name'; name: string }
  | { kind: 'time'; at: string };

export type RestoreOptions = {
  folder: ArchiveFolder;
  backup: Backup;
  into: string;
  durable: boolean;
};

export type Restored =
  | {
      kind: 'restored';
      timeline: number /** Where the log that was verified ends. */;
      reaches: Lsn;
      files: number;
      segments: number;
    }
  | { kind: 'damaged'; damage: readonly Damage[] };

/** Writes the data directory, without settings. */
export async function restoreFiles(options: RestoreOptions): Promise<Restored> {
  const { folder, backup, into, durable } = options;
  const { user } = folder;
  const damage: Damage[] = [];
  if (!(await mayEnter(user, folder.wal))) {
    damage.push({
      file: folder.wal,
      words: `cannot be entered by user ${user?.uid}, as whom the servers run`,
    });
    return { kind: 'damaged', damage };
  }
  const log = await verifyLog(folder, backup);
  if (log.kind === 'damaged') damage.push(...log.damage);
  const from = join(folder.base, backup.id);
  const unpacked = await unpackBackup({ from, into, user, durable });
  if (unpacked.kind === 'damaged') damage.push(...unpacked.damage);
  if (log.kind === 'damaged' || unpacked.kind === 'damaged') return { kind: 'damaged', damage };
  const { timeline, reaches, segments } = log;
  return { kind: 'restored', timeline, reaches, files: unpacked.files, segments };
}

type VerifiedLog =
  | { kind: 'verified'; timeline: number; reaches: Lsn; segments: number }
  | { kind: 'damaged'; damage: readonly Damage[] };

/** Each segment that recovery will read, against the hash that was taken when it came. */
async function verifyLog(folder: ArchiveFolder, backup: Backup): Promise<VerifiedLog> {
  const damaged = (file: string, words: string): VerifiedLog => ({
    kind: 'damaged',
    damage: [{ file: join(folder.wal, file), words }],
  });
  const owner = await ownerOf(folder);
  const received = await lastReceived(folder);
  if (owner === undefined || received === undefined) return damaged('', 'holds no log');
  const line = await lineOf(folder, received.timeline);
  if (line === undefined) return damaged(historyName(received.timeline), 'is missing');
  const { segmentBytes } = owner;
  const log = await keptLog(folder, segmentBytes);
  for (const { timeline } of line.ancestors) {
    if (timeline > 1 && !log.histories.includes(timeline)) {
      return damaged(historyName(timeline), 'is missing');
    }
  }
  const chain = chainFrom(backup, { log, received, line, segmentBytes }, line, received);
  if (chain.missing !== undefined) {
    return damaged(
      chain.missing,
      `is missing, so the log ends at ${formatLsn(chain.reaches)} of ${formatLsn(received.flushed)}`,
    );
  }
  const damage: Damage[] = [];
  for (const name of chain.files) {
    // The last one is still being received; each of its records carries a checksum.
    if (name.endsWith(PARTIAL)) continue;
    const wanted = (await textOf(join(folder.wal, name + DIGEST)))?.trim();
    const hash = createHash('sha256');
    let size = 0;
    for await (const chunk of createReadStream(join(folder.wal, name))) {
      hash.update(chunk);
      size += chunk.length;
    }
    const file = join(folder.wal, name);
    if (wanted === undefined) damage.push({ file: file + DIGEST, words: 'is missing' });
    else if (size !== segmentBytes)
      damage.push({ file, words: `has ${size} bytes instead of ${segmentBytes}` });
    else if (hash.digest('hex') !== wanted) {
      damage.push({ file, words: 'is not what was received: its SHA-256 differs' });
    }
  }
  if (damage.length > 0) return { kind: 'damaged', damage };
  return {
    kind: 'verified',
    timeline: received.timeline,
    reaches: chain.reaches,
    segments: chain.files.length,
  };
}

/** What makes a server recover from the archive, and open for writes on a timeline of its own. */
export function recoverySettings(
  folder: ArchiveFolder,
  timeline: number,
  target: Target,
): Record<string, string> {
  const path = shellQuoted(`${folder.wal}/`).replaceAll('%', '%%');
  return {
    restore_command: `cp ${path}%f "%p" 2>/dev/null || cp ${path}%f${PARTIAL} "%p" 2>/dev/null`,
    recovery_target_timeline: String(timeline),
    recovery_target_action: 'promote',
    ...(target.kind === 'name' && { recovery_target_name: target.name }),
    ...(target.kind === 'time' && { recovery_target_time: target.at }),
  };
}

/** Tells the server to recover; without it the log of the archive is not looked at. */
export async function askForRecovery(data: string, { user }: ArchiveFolder): Promise<void> {
  await writeOwn(join(data, 'recovery.signal'), '', user);
}

export async function writeOwn(
  path: string,
  text: string,
  user: ArchiveFolder['user'],
): Promise<void> {
  await writeFile(path, text, { mode: 0o600 });
  await chmod(path, 0o600);
  await giveTo(user, path);
}

export function settingLines(
  settings: Readonly<Record<string, string | number | boolean>>,
): string {
  const lines = Object.entries(settings).map(([name, value]) => {
    const text = typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    return `${name} = '${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'\n`;
  });
  return lines.join('');
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
