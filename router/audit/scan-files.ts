/**
 * Do any of these patterns occur in the files below a folder, or in their names?
 *
 * Every byte of every regular file, whatever it is for. Links are followed, as a tablespace or a
 * moved log directory is one, each target once. Files come and go under a running server: one that
 * is gone before it could be read held nothing that still lies there.
 */
import { constants } from 'node:fs';
import { type FileHandle, open, readdir, realpath, stat } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import type { Gathering } from './channel.ts';

const CHUNK_BYTES = 1024 * 1024;

/** Paths that could not be read, with the reason; empty when everything was. */
export type Unread = { path: string; code: string };

/** Hits are named by the path below `folder`. `takes` picks among the names directly in it. */
export async function scanFolder(
  folder: string,
  into: Gathering,
  takes: (name: string) => boolean = () => true,
): Promise<Unread[]> {
  const unread: Unread[] = [];
  const seen = new Set<string>();
  const chunk = Buffer.alloc(CHUNK_BYTES);
  const pending = [folder];
  for (let path = pending.pop(); path !== undefined; path = pending.pop()) {
    try {
      const entry = await stat(path);
      const real = await realpath(path);
      if (seen.has(real)) continue;
      seen.add(real);
      const at = path === folder ? basename(path) : relative(folder, path);
      into.part(`name of ${at}`)(Buffer.from(at));
      if (entry.isDirectory()) {
        for (const name of await readdir(path)) {
          if (path !== folder || takes(name)) pending.push(join(path, name));
        }
      } else if (entry.isFile()) {
        await scanFile(path, into.part(at), chunk);
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined) throw error;
      if (code !== 'ENOENT') unread.push({ path, code });
      // The folder itself has to be there, or nothing was looked at.
      else if (path === folder) unread.push({ path, code });
    }
  }
  return unread;
}

async function scanFile(path: string, part: (bytes: Buffer) => void, chunk: Buffer): Promise<void> {
  // A pipe that has taken the file's place must not hold us.
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    await readAll(file, part, chunk);
  } finally {
    await file.close();
  }
}

async function readAll(
  file: FileHandle,
  part: (bytes: Buffer) => void,
  chunk: Buffer,
): Promise<void> {
  for (;;) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length);
    if (bytesRead === 0) return;
    part(chunk.subarray(0, bytesRead));
  }
}
