/**
 * What does one proxy listen on, and which toxics stand in its way?
 *
 *     listen socket --accept--> dial upstream --> connection (two chains) --> gone
 *
 * Accept comes first and the dial after it, so a dead upstream looks like a server that hangs up.
 * Enabling keeps the port it once got; disabling cuts every connection at once.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import { Connection, type Streams } from './connection.ts';
import {
  bindError,
  formatBound,
  type ListenAddress,
  resolveListen,
  sameAddress,
  splitHostPort,
} from './listen-address.ts';
import { Refusal } from './refusal.ts';
import type { Toxic, World } from './seat.ts';

export type ProxyFields = { name: string; listen: string; upstream: string; enabled: boolean };

export class TcpProxy {
  readonly name: string;
  readonly toxics: Streams<Toxic[]> = { upstream: [], downstream: [] };
  /** As it was given, and once bound the address that was really bound. */
  listen: string;
  upstream: string;
  readonly #world: World;
  readonly #connections = new Set<Connection>();
  /** Accepted, with the upstream not reached yet. */
  readonly #dialling = new Set<Socket>();
  #server: Server | undefined;

  constructor({ name, listen, upstream }: Omit<ProxyFields, 'enabled'>, world: World) {
    this.name = name;
    this.listen = listen;
    this.upstream = upstream;
    this.#world = world;
  }

  get enabled(): boolean {
    return this.#server !== undefined;
  }

  get connectionCount(): number {
    return this.#connections.size + this.#dialling.size;
  }

  async enable(): Promise<Refusal | undefined> {
    if (this.#server !== undefined) return undefined;
    const address = await resolveListen(this.listen);
    if ('error' in address) return new Refusal(500, address.error);
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    server.on('connection', (client) => this.#accept(client));
    try {
      await listening(server, address);
    } catch (error) {
      return new Refusal(500, bindError(address, error as NodeJS.ErrnoException));
    }
    const bound = server.address();
    if (bound !== null && typeof bound === 'object') this.listen = formatBound(bound);
    // A failed accept (no descriptor left) leaves the listener up, as in any server.
    server.on('error', () => {});
    this.#server = server;
    return undefined;
  }

  disable(): void {
    this.#server?.close();
    this.#server = undefined;
    for (const client of this.#dialling) client.destroy();
    for (const connection of this.#connections) connection.cut();
  }

  /** Moves to another address or upstream if they differ; toxics stay, connections do not. */
  async update(wanted: Omit<ProxyFields, 'name'>): Promise<Refusal | undefined> {
    const stays = await this.isAt(wanted);
    if (stays instanceof Refusal) return stays;
    if (!stays) {
      this.disable();
      this.listen = wanted.listen;
      this.upstream = wanted.upstream;
    }
    if (wanted.enabled) return await this.enable();
    this.disable();
    return undefined;
  }

  /** Does it already listen there and lead there? `localhost:P` and `127.0.0.1:P` are one place. */
  async isAt(wanted: Pick<ProxyFields, 'listen' | 'upstream'>): Promise<boolean | Refusal> {
    const there = await resolveListen(wanted.listen);
    if ('error' in there) return new Refusal(500, there.error);
    const here = await resolveListen(this.listen);
    if ('error' in here) return false;
    return sameAddress(here, there) && this.upstream === wanted.upstream;
  }

  *allToxics(): Generator<Toxic> {
    yield* this.toxics.upstream;
    yield* this.toxics.downstream;
  }

  addToxic(toxic: Toxic): void {
    this.toxics[toxic.stream].push(toxic);
    for (const connection of this.#connections) connection.chain(toxic.stream).add(toxic);
  }

  updateToxic(toxic: Toxic): void {
    for (const connection of this.#connections) connection.chain(toxic.stream).update(toxic);
  }

  removeToxic(toxic: Toxic): void {
    const toxics = this.toxics[toxic.stream];
    toxics.splice(toxics.indexOf(toxic), 1);
    for (const connection of this.#connections) connection.chain(toxic.stream).remove(toxic);
  }

  #accept(client: Socket): void {
    // Each error is followed by 'close', which is what everything here waits for.
    client.on('error', () => {});
    const target = splitHostPort(this.upstream);
    if (target === undefined || !/^\d+$/.test(target.port) || Number(target.port) > 65_535) {
      client.destroy();
      return;
    }
    this.#dialling.add(client);
    const server = connect({
      host: target.host === '' ? 'localhost' : target.host,
      port: Number(target.port),
      allowHalfOpen: true,
      noDelay: true,
    });
    server.on('error', () => {});
    server.once('close', () => {
      if (this.#dialling.delete(client)) client.destroy();
    });
    client.once('close', () => {
      if (this.#dialling.delete(client)) server.destroy();
    });
    server.once('connect', () => {
      this.#dialling.delete(client);
      // `disable` may have cut the client in the same turn in which the upstream answered.
      if (client.destroyed) {
        server.destroy();
        return;
      }
      const gone = (connection: Connection) => this.#connections.delete(connection);
      const sockets = { client, server };
      this.#connections.add(new Connection(sockets, this.toxics, this.#world, gone));
    });
  }
}

function listening(server: Server, { host, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(host === undefined ? { port } : { host, port }, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
