/**
 * Is that process still the one we mean?
 *
 * A pid is handed out again after its process ends, so a number found in a file proves nothing.
 * The moment of birth does: two processes never share both. On Linux everything comes from
 * /proc; elsewhere `ps` answers, more slowly and to the second only.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { basename } from 'node:path';

const HAS_PROC = process.platform === 'linux';
/** Fields of /proc/<pid>/stat, counted after the command's closing parenthesis. */
const STATE = 0;
const START_TICKS = 19;

/** Text that no other process, before or after, shares; undefined when nothing alive has the pid. */
export function birthOf(pid: number): string | undefined {
  if (!HAS_PROC) return ps(['-o', 'lstart=', '-p', String(pid)])[0];
  const text = textOf(`/proc/${pid}/stat`);
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  if (fields === undefined || fields[STATE] === 'Z') return undefined;
  return `${textOf('/proc/sys/kernel/random/boot_id')?.trim()}/${fields[START_TICKS]}`;
}

export function isAlive(pid: number): boolean {
  return birthOf(pid) !== undefined;
}

/** The command line of a living process, for a person to read. */
export function commandOf(pid: number): string | undefined {
  if (!HAS_PROC) return ps(['-o', 'command=', '-p', String(pid)])[0];
  const words = textOf(`/proc/${pid}/cmdline`)?.split('\0').join(' ').trim();
  return words === '' ? undefined : words;
}

/** Whether this pid is a PostgreSQL process that works in this data directory, now. */
export function isPostgresOn(pid: number, dataDirectory: string): boolean {
  if (!HAS_PROC) return postgresPidsByPs(dataDirectory).includes(pid);
  // A server's processes all stay in its data directory.
  if (linkOf(`/proc/${pid}/cwd`) !== dataDirectory || !isAlive(pid)) return false;
  // A binary that npm replaced meanwhile reads "/…/postgres (deleted)".
  const program = linkOf(`/proc/${pid}/exe`)?.replace(/ \(deleted\)$/, '');
  return program !== undefined && basename(program) === 'postgres';
}

/** Every PostgreSQL process of a data directory: the postmaster and what it forked. */
export function postgresPidsOn(dataDirectory: string): number[] {
  if (!HAS_PROC) return postgresPidsByPs(dataDirectory);
  return everyPid().filter((pid) => isPostgresOn(pid, dataDirectory));
}

/** Linux only. */
export function everyPid(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

/** We start servers with `-D`; their children show other titles and are found by their parent. */
function postgresPidsByPs(dataDirectory: string): number[] {
  const processes = ps(['-A', '-o', 'pid=,ppid=,command=']).map((line) => {
    const [pid, parent, ...command] = line.split(/\s+/);
    return { pid: Number(pid), parent: Number(parent), command: command.join(' ') };
  });
  const servers = processes.filter(({ command }) =>
    command.endsWith(`postgres -D ${dataDirectory}`),
  );
  const pids = servers.map(({ pid }) => pid);
  const children = processes.filter(({ parent }) => pids.includes(parent));
  return [...new Set([...pids, ...children.map(({ pid }) => pid)])];
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

/** The lines that `ps` prints; none when no process matches. */
function ps(args: readonly string[]): string[] {
  try {
    const text = execFileSync('ps', args, { encoding: 'utf8' });
    return text
      .split('\n')
      .map((line) => line.trim())
      .filter((line) => line !== '');
  } catch {
    return [];
  }
}
