/**
 * How much processor time has a process used?
 *
 * Of another process, from /proc/<pid>/stat (proc(5), fields 14 and 15); Linux only. Unlike
 * throughput it hardly depends on what else the machine does.
 */
import { readFileSync } from 'node:fs';

/** USER_HZ, which every Linux on the platforms of Node reports as 100. */
const TICKS_PER_SECOND = 100;

/** Microseconds in user and kernel mode; undefined where there is no /proc. */
export function cpuTimeUs(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The second field is the command in parentheses, which may hold spaces.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return ((Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND) * 1e6;
  } catch {
    return undefined;
  }
}
