/**
 * `domicile region <id> backup` and `backups`: take a base backup now; say which ones there are.
 *
 * Exit status 0 when the backup can be restored (or, of a list, the newest one can), 1 when not.
 */
import { formatLsn } from '../../regions/position.ts';
import type { Answer } from '../policy-command.ts';
import { lastReceived } from './archive-folder.ts';
import { type Backup, listBackups, pruneArchive } from './backups.ts';
import { BACKUPS_KEPT } from './backups-kept.ts';
import { openRegion, type RegionOptions } from './region-command.ts';
import { takeBackup } from './take-backup.ts';

export type BackupOptions = RegionOptions & {
  keep?: string;
  wallClock: () => number;
  ending: AbortSignal;
};

export async function backupCommand(options: BackupOptions): Promise<Answer> {
  const keep = options.keep === undefined ? BACKUPS_KEPT : Number(options.keep);
  if (!Number.isInteger(keep) || keep < 1) {
    const because = `--keep  "${options.keep}" is no number of backups, of which there is one at least`;
    return { lines: [because], json: { taken: false, because }, exitCode: 1 };
  }
  const { region, folder, login } = await openRegion(options);
  const { wallClock, ending } = options;
  const taken = await takeBackup({ region, folder, login, durable: true, wallClock, ending });
  if (taken.kind === 'failed') {
    const { because } = taken;
    return {
      lines: [`No backup of ${region.id} was taken: ${because}. What was begun is removed.`],
      json: { taken: false, because },
      exitCode: 1,
    };
  }
  const { backup, archived } = taken;
  const pruned = archived ? await pruneArchive(folder, keep) : { backups: [], segments: 0 };
  return {
    lines: [
      `Backup ${backup.id} of ${region.id}, from ${backup.node}: ${megabytes(backup.bytes)} in ${folder.path}.`,
      archived
        ? `The log up to its end (${backup.to}) is archived, so it can be restored.`
        : `It cannot be restored yet: the log up to its end (${backup.to}) is not archived. Does the archiver run?`,
      ...(pruned.backups.length > 0 ? [`Removed: ${pruned.backups.join(', ')}.`] : []),
    ],
    json: { taken: true, ...backup, usable: archived, removed: pruned.backups },
    exitCode: archived ? 0 : 1,
  };
}

export async function backupsCommand(
  options: RegionOptions & { wallClock: () => number },
): Promise<Answer> {
  const { region, folder } = await openRegion(options);
  const backups = await listBackups(folder);
  const received = await lastReceived(folder);
  const newest = backups.at(-1);
  const lines = backups.map(inWords);
  if (lines.length === 0) lines.push(`${region.id} has no base backup in ${folder.path}.`);
  if (received === undefined) lines.push('No log is archived.');
  else {
    const ageMs = options.wallClock() - received.atMs;
    lines.push(
      `The archive ends at ${formatLsn(received.flushed)} on timeline ${received.timeline}; its last piece came from ${received.node} ${(ageMs / 1000).toFixed(1)} s ago.`,
    );
  }
  return {
    lines,
    json: {
      region: region.id,
      folder: folder.path,
      backups: backups.map(({ reaches, ...backup }) => ({
        ...backup,
        reaches: reaches === undefined ? null : formatLsn(reaches),
      })),
      archive:
        received === undefined
          ? null
          : {
              ...received,
              flushed: formatLsn(received.flushed),
              ageMs: options.wallClock() - received.atMs,
            },
    },
    exitCode: newest?.usable === true ? 0 : 1,
  };
}

function inWords({ id, takenAtMs, from, to, timeline, bytes, usable, because }: Backup): string {
  const state = usable ? (because ?? 'usable') : `not usable: ${because}`;
  return `${id}  ${new Date(takenAtMs).toISOString()}  timeline ${timeline}  ${from} to ${to}  ${megabytes(bytes)}  ${state}`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
