/**
 * What does `postmaster.pid` say, and may it be believed?
 *
 * The file outlives a server that was killed. By then its pid may belong to anybody, so the
 * number counts only if that process is a PostgreSQL at work in this very data directory.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isPostgresOn } from './process-identity.ts';

export type PostmasterFile = { pid: number; port: number; status: string };

export async function readPostmasterFile(
  dataDirectory: string,
): Promise<PostmasterFile | undefined> {
  const text = await readFile(join(dataDirectory, 'postmaster.pid'), 'utf8').catch(() => '');
  return parsePostmasterFile(text);
}

/** Lines: pid, directory, start, port, socket folder, address, shared memory key, status. */
export function parsePostmasterFile(text: string): PostmasterFile | undefined {
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  if (!Number.isInteger(pid) || pid <= 1) return undefined;
  return { pid, port: Number(lines[3] ?? 0), status: (lines[7] ?? '').trim() };
}

/** The living postmaster of a data directory, whoever started it. */
export async function postmasterOn(dataDirectory: string): Promise<number | undefined> {
  const file = await readPostmasterFile(dataDirectory);
  return file !== undefined && isPostgresOn(file.pid, dataDirectory) ? file.pid : undefined;
}
