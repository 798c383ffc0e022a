/**
 * Does that process run, stand still, or is it gone?
 */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

export function isThere(pid: number): boolean {
  const state = stateOf(pid);
  return state !== undefined && state !== 'Z';
}

export function isStopped(pid: number): boolean {
  return stateOf(pid) === 'T';
}

/** One letter, as `ps` has it; undefined when nothing has this pid. */
function stateOf(pid: number): string | undefined {
  if (process.platform !== 'linux') {
    try {
      return execFileSync('ps', ['-o', 'state=', '-p', String(pid)], { encoding: 'utf8' })[0];
    } catch {
      return undefined;
    }
  }
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2)[0];
  } catch {
    return undefined;
  }
}
