/**
 * Is every port that we are about to use free?
 *
 * Asked by listening for a moment, before anything starts, so that one message names all busy
 * ports instead of nine servers failing one by one.
 */
import { randomInt } from 'node:crypto';
import { createSocket, type Socket } from 'node:dgram';
import { createServer, isIPv6 } from 'node:net';
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
 * Ports that nobody listens on, drawn at random. Who draws meanwhile, in this process or another,
 * does not draw them too, although nobody listens yet or a server there was killed: they stay
 * taken until this process ends.
 */
export async function freePorts(count: number, host = '127.0.0.1'): Promise<number[]> {
  const found: number[] = [];
  while (found.length < count) {
    const port = randomInt(FREE_PORT_MIN, FREE_PORT_MAX);
    if (await take(host, [port])) found.push(port);
  }
  return found;
}

/** As many free ones after each other, as `--base-port` wants them: the first of them. */
export async function freePortsInARow(count: number, host = '127.0.0.1'): Promise<number> {
  for (;;) {
    const base = randomInt(FREE_PORT_MIN, FREE_PORT_MAX);
    const row = Array.from({ length: count }, (_, i) => base + i);
    if (await take(host, row)) return base;
  }
}

/** All of them or none. Who takes a port holds its UDP side, which nobody here has another use for. */
async function take(host: string, ports: readonly number[]): Promise<boolean> {
  const held = await Promise.all(ports.map((port) => hold(host, port)));
  const ours = held.filter((socket) => socket !== undefined);
  const all =
    ours.length === ports.length &&
    (await Promise.all(ports.map((port) => isFree(host, port)))).every(Boolean);
  if (!all) for (const socket of ours) socket.close();
  return all;
}

function hold(host: string, port: number): Promise<Socket | undefined> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(host) ? 'udp6' : 'udp4');
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (isTaken(error)) socket.close(() => resolve(undefined));
      else reject(error);
    });
    socket.bind({ address: host, port, exclusive: true }, () => resolve(socket.unref()));
  });
}

function isFree(host: string, port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (isTaken(error)) resolve(false);
      else reject(error);
    });
    probe.listen({ host, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

function isTaken({ code }: NodeJS.ErrnoException): boolean {
  return code === 'EADDRINUSE' || code === 'EACCES';
}

function short({ command }: PortHolder): string {
  return command.length > 80 ? `${command.slice(0, 79)}…` : command;
}
