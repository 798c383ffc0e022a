/**
 * Do any of these patterns occur in the memory of a running process?
 *
 * Linux shows a process's memory to its owner and to root as a file; it is read and never stopped,
 * so a value that moves while we look can be missed. Pages that only mirror a program on disk are
 * left out. Elsewhere nobody can look, which is an answer, too.
 */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import { birthOf } from '../../regions/local/process-identity.ts';
import type { Gathering } from './channel.ts';

const CHUNK_BYTES = 1024 * 1024;
/** The smallest piece that is mapped or not, on every machine that we run on. */
const PAGE_BYTES = 4_096;

export type MemoryLook = { kind: 'looked' } | { kind: 'could-not-look'; because: string };

export async function scanMemory(pid: number, into: Gathering): Promise<MemoryLook> {
  if (process.platform !== 'linux') {
    return cannot(`memory of a process cannot be read on ${process.platform}`);
  }
  const born = birthOf(pid);
  if (born === undefined) return cannot(`no process ${pid}`);
  let memory: FileHandle | undefined;
  try {
    const regions = regionsOf(await readFile(`/proc/${pid}/maps`, 'latin1'));
    memory = await open(`/proc/${pid}/mem`, 'r');
    const chunk = Buffer.alloc(CHUNK_BYTES);
    for (const region of regions) await scanRegion(memory, region, into, chunk);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    return cannot(`memory of process ${pid} cannot be read (${code})`);
  } finally {
    await memory?.close();
  }
  return birthOf(pid) === born ? { kind: 'looked' } : cannot(`process ${pid} ended meanwhile`);
}

type Region = { from: number; to: number; name: string };

/** What a process can have written to, from the text of /proc/PID/maps. */
export function regionsOf(maps: string): Region[] {
  const regions: Region[] = [];
  for (const line of maps.split('\n')) {
    const match = /^([0-9a-f]+)-([0-9a-f]+) (r)(.)\S+ \S+ \S+ \d+ *(.*)$/.exec(line);
    if (match === null) continue;
    const [, from = '', to = '', , writable, name = ''] = match;
    const fromDisk = name.startsWith('/') && writable !== 'w';
    // The kernel's own pages; reading the first of them fails.
    if (fromDisk || name === '[vvar]' || name === '[vsyscall]' || name === '[vvar_vclock]')
      continue;
    regions.push({
      from: Number.parseInt(from, 16),
      to: Number.parseInt(to, 16),
      name: name === '' ? 'anonymous' : name,
    });
  }
  return regions;
}

async function scanRegion(
  memory: FileHandle,
  { from, to, name }: Region,
  into: Gathering,
  chunk: Buffer,
): Promise<void> {
  let part = into.part(`${name} at 0x${from.toString(16)}`);
  for (let at = from, wanted = chunk.length; at < to; ) {
    const read = await readAt(memory, chunk, Math.min(wanted, to - at), at);
    if (read > 0) {
      part(chunk.subarray(0, read));
      at += read;
      wanted = chunk.length;
    } else if (wanted > PAGE_BYTES) {
      wanted = PAGE_BYTES;
    } else {
      // A page that was unmapped since the list was made; what lies behind it may still be there.
      at += PAGE_BYTES;
      part = into.part(`${name} at 0x${at.toString(16)}`);
    }
  }
}

/** 0 when the first page cannot be read. */
async function readAt(
  memory: FileHandle,
  chunk: Buffer,
  bytes: number,
  at: number,
): Promise<number> {
  try {
    return (await memory.read(chunk, 0, bytes, at)).bytesRead;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EIO') return 0;
    throw error;
  }
}

function cannot(because: string): MemoryLook {
  return { kind: 'could-not-look', because };
}
