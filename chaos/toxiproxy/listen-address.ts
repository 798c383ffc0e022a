/**
 * Where does `localhost:0` listen, and what is it called when it cannot?
 *
 * Addresses and refusals are spelt the way Go spells them, because clients compare and print them.
 */
import { lookup } from 'node:dns/promises';
import type { AddressInfo } from 'node:net';

/** `host` undefined is every address of the machine, IPv4 and IPv6. */
export type ListenAddress = { host: string | undefined; port: number };
export type BadAddress = { error: string };

const EVERYWHERE = new Set(['', '0.0.0.0', '::']);

/** Takes `host:port` apart. Undefined when there is no port. */
export function splitHostPort(address: string): { host: string; port: string } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(address);
  if (match === null) return undefined;
  return { host: match[1] ?? match[2] ?? '', port: match[3] ?? '' };
}

export async function resolveListen(address: string): Promise<ListenAddress | BadAddress> {
  const split = splitHostPort(address === '' ? ':0' : address);
  if (split === undefined) {
    return { error: `listen tcp: address ${address}: missing port in address` };
  }
  const { host, port } = split;
  if (!/^\d*$/.test(port)) return { error: `listen tcp: lookup tcp/${port}: unknown port` };
  if (Number(port) > 65_535) return { error: `listen tcp: address ${port}: invalid port` };
  if (EVERYWHERE.has(host)) return { host: undefined, port: Number(port) };
  try {
    const [found] = await lookup(host, { all: true, order: 'ipv4first' });
    return { host: found?.address ?? host, port: Number(port) };
  } catch {
    return { error: `listen tcp: lookup ${host}: no such host` };
  }
}

/** Two spellings of one address. Port 0 is a new port each time, so it equals nothing. */
export function sameAddress(a: ListenAddress, b: ListenAddress): boolean {
  return a.host === b.host && a.port === b.port && a.port !== 0;
}

export function formatAddress({ host = '::', port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

export function formatBound({ address, port }: AddressInfo): string {
  return formatAddress({ host: address === '0.0.0.0' ? undefined : address, port });
}

const BIND_ERRORS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'address already in use',
  EADDRNOTAVAIL: 'cannot assign requested address',
  EACCES: 'permission denied',
};

export function bindError(address: ListenAddress, error: NodeJS.ErrnoException): string {
  const words = BIND_ERRORS[error.code ?? ''] ?? error.message;
  return `listen tcp ${formatAddress(address)}: bind: ${words}`;
}
