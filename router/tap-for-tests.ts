/**
 * What passes between two processes, and what if it stood still?
 *
 * A TCP relay on a port of its own that records what clients send. It can hold back what a client
 * says, which is how a test stretches a moment between two steps of the router.
 */
import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net';

export type TappedConnection = {
  /** Everything that the client has sent, held back or not. */
  sent: () => Buffer;
};

export class Tap {
  readonly connections: TappedConnection[] = [];
  /** Whether to hold back what a client says, by what it has said so far. */
  holds: (sent: Buffer) => boolean = () => false;
  #sockets = new Set<Socket>();
  #held = new Set<() => void>();
  #server = createServer();
  #port = 0;

  static async to(host: string, port: number): Promise<Tap> {
    const tap = new Tap();
    tap.#server.on('connection', (client) => tap.#relay(client, host, port));
    tap.#server.listen(0, '127.0.0.1');
    await once(tap.#server, 'listening');
    tap.#port = (tap.#server.address() as AddressInfo).port;
    return tap;
  }

  get port(): number {
    return this.#port;
  }

  /** How many connections are held back now. */
  get held(): number {
    return this.#held.size;
  }

  /** Holds nothing any more, and passes on what was held. */
  release(): void {
    this.holds = () => false;
    for (const pass of [...this.#held]) pass();
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #relay(client: Socket, host: string, port: number): void {
    const parts: Buffer[] = [];
    const sent = () => Buffer.concat(parts);
    this.connections.push({ sent });
    let waiting: Buffer[] = [];
    let server: Socket | undefined;
    // Dialled late, so that a connection that was held back meets whoever is there afterwards.
    const pass = () => {
      this.#held.delete(pass);
      server ??= this.#answering(client, host, port);
      for (const part of waiting) server.write(part);
      waiting = [];
    };
    client.on('data', (part) => {
      parts.push(part);
      waiting.push(part);
      if (this.holds(sent())) this.#held.add(pass);
      else pass();
    });
    client.on('close', () => this.#held.delete(pass));
    this.#keep(client);
  }

  #answering(client: Socket, host: string, port: number): Socket {
    const server = dial(port, host);
    server.on('data', (part) => client.write(part));
    server.on('close', () => client.destroy());
    client.on('close', () => server.destroy());
    this.#keep(server);
    return server;
  }

  #keep(socket: Socket): void {
    this.#sockets.add(socket);
    socket.setNoDelay();
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}

/** The login that a PostgreSQL client's first message names. */
export function postgresUser(sent: Buffer): string | undefined {
  return /\0user\0([^\0]+)\0/.exec(sent.toString('latin1').slice(0, 1_000))?.[1];
}

/** The text of each statement that a PostgreSQL client has executed, prepared before or not. */
export function postgresStatements(sent: Buffer): string[] {
  const executed: string[] = [];
  const prepared = new Map<string, string>();
  if (sent.length < 4) return executed;
  for (let offset = sent.readInt32BE(0); offset + 5 <= sent.length; ) {
    const type = String.fromCharCode(sent[offset] ?? 0);
    const length = sent.readInt32BE(offset + 1);
    const words = sent.toString('utf8', offset + 5, offset + 1 + length).split('\0');
    // Parse: name, text. Bind: portal, name. Query: text.
    const [first = '', second = ''] = words;
    if (type === 'P') prepared.set(first, second);
    if (type === 'B') executed.push(prepared.get(second) ?? '');
    if (type === 'Q') executed.push(first);
    offset += 1 + length;
  }
  return executed;
}

/** Types of the messages that a PostgreSQL client has sent after its first one. */
export function postgresMessages(sent: Buffer): string[] {
  const types: string[] = [];
  if (sent.length < 4) return types;
  for (let offset = sent.readInt32BE(0); offset + 5 <= sent.length; ) {
    types.push(String.fromCharCode(sent[offset] ?? 0));
    offset += 1 + sent.readInt32BE(offset + 1);
  }
  return types;
}
