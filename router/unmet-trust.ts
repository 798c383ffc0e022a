/**
 * What must an operator hear of how this process speaks to PostgreSQL?
 *
 * Which servers it was told to reach over a network in plain text, once, and why TLS with one of them
 * fails, which no further look will mend: once, until that changes. A server that is away for any
 * other reason is nobody's news here.
 */
import { BlockList, isIP } from 'node:net';
import type { NodeAddress, RegionId } from '../regions/catalogue.ts';
import { DatabaseError } from '../regions/postgres.ts';

export type Log = (line: Record<string, unknown>) => void;

export class UnmetTrust {
  readonly #log: Log;
  readonly #said = new Map<string, string>();

  constructor(log: Log) {
    this.#log = log;
  }

  /** A look at this node has failed. */
  failed(node: string, error: unknown): void {
    const failure = error instanceof DatabaseError ? error.failure : undefined;
    const why = failure?.kind === 'connect-failed' ? failure.why : undefined;
    if (why === undefined || this.#said.get(node) === why) return;
    this.#said.set(node, why);
    this.#log({ level: 'error', event: 'node-not-trusted', node, why });
  }

  seen(node: string): void {
    this.#said.delete(node);
  }
}

/** `mode: disable` in the regions file says that it is meant so. */
export function warnOfPlainText(region: RegionId, nodes: readonly NodeAddress[], log: Log): void {
  const plain = nodes.filter(({ host, tls }) => tls === undefined && !isOnThisMachine(host));
  if (plain.length === 0) return;
  log({
    level: 'warn',
    event: 'plain-text-to-postgres',
    nodes: plain.map(({ name }) => name),
    why: `what is asked and answered can be read on the network; regions.${region}.tls says otherwise`,
  });
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

function isOnThisMachine(host: string): boolean {
  const family = isIP(host);
  if (family === 0) return host === 'localhost';
  return LOOPBACK.check(host, family === 4 ? 'ipv4' : 'ipv6');
}
