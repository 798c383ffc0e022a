/**
 * What do the files of a data directory say about the cluster in it?
 *
 * Read while nothing runs there. Whether it is a replica stands in the presence of one file. Its
 * timeline is taken from the history files, because `pg_control` still names the old one for a
 * while after a promotion.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

export type ClusterHistory = {
  role: 'primary' | 'replica';
  systemId: bigint;
  timeline: number;
  /** Timelines that this one grew out of, oldest first. */
  ancestors: readonly number[];
};

/** In `global/pg_control` of PostgreSQL 18, little-endian on every platform npm has binaries for. */
const SYSTEM_ID_OFFSET = 0;
/** After identifier (8), versions (4 + 4), state and padding (8), time (8), checkpoint (8), redo (8). */
const TIMELINE_OFFSET = 48;

export async function readHistory(dataDirectory: string): Promise<ClusterHistory> {
  const control = await readFile(join(dataDirectory, 'global', 'pg_control'));
  const wal = await readdir(join(dataDirectory, 'pg_wal'));
  const newest = wal
    .map((name) => /^([0-9A-F]{8})\.history$/.exec(name)?.[1])
    .filter((name) => name !== undefined)
    .sort()
    .at(-1);
  const fromHistory = newest === undefined ? 0 : Number.parseInt(newest, 16);
  const fromControl = control.readUInt32LE(TIMELINE_OFFSET);
  const replica =
    (await stat(join(dataDirectory, 'standby.signal')).catch(() => undefined)) !== undefined;
  const ancestors =
    newest === undefined || fromHistory < fromControl
      ? []
      : parents(await readFile(join(dataDirectory, 'pg_wal', `${newest}.history`), 'utf8'));
  return {
    role: replica ? 'replica' : 'primary',
    systemId: control.readBigUInt64LE(SYSTEM_ID_OFFSET),
    timeline: Math.max(fromHistory, fromControl),
    ancestors,
  };
}

/** The first column of a history file: one line per timeline that was left, with the fork point. */
export function parents(historyFile: string): number[] {
  return historyFile
    .split('\n')
    .map((line) => /^\s*(\d+)\s+[0-9A-F]+\/[0-9A-F]+/i.exec(line)?.[1])
    .filter((timeline) => timeline !== undefined)
    .map(Number);
}
