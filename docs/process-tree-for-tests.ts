/** Whose child is a process? Asked of `ps`, which Linux and macOS have. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export async function parentOf(pid: number): Promise<number> {
  return Number((await run('ps', ['-o', 'ppid=', '-p', String(pid)])).stdout);
}

export async function commandOf(pid: number): Promise<string> {
  return (await run('ps', ['-o', 'args=', '-p', String(pid)])).stdout.trim();
}
