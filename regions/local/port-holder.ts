/**
 * Who listens on this port?
 *
 * Linux only and as far as the kernel lets us look: /proc/net/tcp gives the socket's inode, and
 * the process that has it open is searched for. Undefined is an honest answer; ports of other
 * users' processes have no name for anybody but root.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { commandOf, everyPid } from './process-identity.ts';

export type PortHolder = { pid: number; command: string };

/** `TCP_LISTEN` in the kernel's numbering. */
const LISTENING = '0A';

export function holderOf(port: number): PortHolder | undefined {
  if (process.platform !== 'linux') return undefined;
  const inodes = new Set(['tcp', 'tcp6'].flatMap((table) => listeningInodes(read(table), port)));
  if (inodes.size === 0) return undefined;
  for (const pid of everyPid()) {
    if (hasOpen(pid, inodes)) return { pid, command: commandOf(pid) ?? '(unnamed)' };
  }
  return undefined;
}

/** Inodes of the sockets that listen on a port, from the text of /proc/net/tcp or tcp6. */
export function listeningInodes(table: string, port: number): string[] {
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return table
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , state]) => local?.endsWith(suffix) && state === LISTENING)
    .map((fields) => fields[9] ?? '');
}

function read(table: string): string {
  try {
    return readFileSync(`/proc/net/${table}`, 'utf8');
  } catch {
    return '';
  }
}

function hasOpen(pid: number, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))?.[1];
      return inode !== undefined && inodes.has(inode);
    });
  } catch {
    // The process ended meanwhile, or belongs to somebody else.
    return false;
  }
}
