/**
 * Is every port that we are about to use free?
 *
 * Asked by listening for a moment, before anything starts, so that one message names all busy
 * ports instead of nine servers failing one by one.
 */
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';
import { holderOf, type PortHolder } from './port-holder.ts';

export type PortUse = {
  host: string;
  port: number;
  /** Words for a person: `Postgres us-a`. */
  purpose: string;
  /** Where a person could change it: `regions.us.nodes in regions.yaml`. */
  changeIn: string;
};
export type BusyPort = PortUse & { holder: PortHolder | undefined };

/**
 * Above the last port that browsers and fetch refuse to speak to, 10080 (Fetch, "port blocking"),
 * and below those that kernels hand out for outgoing connections, from 32768 on Linux.
 */
const FREE_PORT_MIN = 10_081;
const FREE_PORT_MAX = 30_000;

/** Those of the wanted ports that cannot be listened on, with who holds them; wanted twice counts. */
export async function portsInUse(wanted: readonly PortUse[]): Promise<BusyPort[]> {
  const answers = await Promise.all(wanted.map(({ host, port }) => isFree(host, port)));
  return wanted
    .filter((_, i) => !answers[i])
    .map((use) => ({ ...use, holder: holderOf(use.port) }));
}

/** One message for all busy ports. */
export function portsInUseText(busy: readonly BusyPort[]): string {
  const lines = busy.map(({ host, port, purpose, changeIn, holder }) => {
    const by =
      holder === undefined ? 'by a process we cannot see' : `by ${holder.pid}, ${short(holder)}`;
    return `  ${host}:${port}  wanted for ${purpose}; held ${by}; change it at ${changeIn}`;
  });
  return `These ports are in use:\n${lines.join('\n')}`;
}

/** Uses that claim the same host and port as an earlier one. */
export function claimedTwice(wanted: readonly PortUse[]): [PortUse, PortUse][] {
  const first = new Map<string, PortUse>();
  const pairs: [PortUse, PortUse][] = [];
  for (const use of wanted) {
    const key = `${use.host}:${use.port}`;
    const earlier = first.get(key);
    if (earlier === undefined) first.set(key, use);
    else pairs.push([earlier, use]);
  }
  return pairs;
}

/**
 * Ports that nobody listens on, for tests. Drawn at random so that test runs side by side rarely
 * draw the same; the rest of that race is for whoever loses it to report.
 */
export async function freePorts(count: number, host = '127.0.0.1'): Promise<number[]> {
  const found = new Set<number>();
  while (found.size < count) {
    const port = randomInt(FREE_PORT_MIN, FREE_PORT_MAX);
    if (!found.has(port) && (await isFree(host, port))) found.add(port);
  }
  return [...found];
}

/** As many free ones after each other, as `--base-port` wants them: the first of them. */
export async function freePortsInARow(count: number, host = '127.0.0.1'): Promise<number> {
  for (;;) {
    const base = randomInt(FREE_PORT_MIN, FREE_PORT_MAX);
    const row = Array.from({ length: count }, (_, i) => isFree(host, base + i));
    if ((await Promise.all(row)).every((free) => free)) return base;
  }
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false);
      else reject(error);
    });
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

function short({ command }: PortHolder): string {
  return command.length > 80 ? `${command.slice(0, 79)}…` : command;
}
