/**
 * What did one end of a connection see, and when?
 *
 * A peer sends, and remembers what came; tests wait for what they expect and never for time to
 * pass. It keeps its side open after a FIN, so that it can be told apart who closed.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';

export type Ending = 'fin' | 'rst';

export class Peer {
  readonly arrivals: { data: Buffer; atMs: number }[] = [];
  ending: Ending | undefined;
  endedAtMs: number | undefined;
  /** A write was answered by an RST, or never left: the other side no longer knows us. */
  broken = false;
  readonly #socket: Socket;
  readonly #nowMs: () => number;
  #watchers: (() => void)[] = [];
  #bytes = 0;
  #closed = false;

  constructor(socket: Socket, nowMs: () => number) {
    this.#socket = socket;
    this.#nowMs = nowMs;
    socket.on('data', (data: Buffer) => {
      this.arrivals.push({ data, atMs: nowMs() });
      this.#bytes += data.length;
      this.#changed();
    });
    socket.on('drain', () => this.#changed());
    socket.on('end', () => this.#end('fin'));
    socket.on('error', () => {
      this.broken = true;
      this.#end('rst');
    });
    socket.on('close', () => {
      this.#closed = true;
      this.#changed();
    });
  }

  get bytes(): number {
    return this.#bytes;
  }

  text(): string {
    return this.all().toString();
  }

  all(): Buffer {
    return Buffer.concat(this.arrivals.map(({ data }) => data));
  }

  send(data: string | Buffer): void {
    this.#socket.write(data);
  }

  /** Sends when the socket has taken all that was sent before; false once it takes no more. */
  async sendWhenDrained(data: Buffer): Promise<boolean> {
    if (this.#socket.writableNeedDrain) {
      await this.#until(() => this.#closed || !this.#socket.writableNeedDrain || undefined);
    }
    return this.#socket.write(data);
  }

  /** Bytes handed to this socket that the kernel did not take yet. */
  get unsentBytes(): number {
    return this.#socket.writableLength;
  }

  echo(): void {
    this.#socket.on('data', (data: Buffer) => this.#socket.write(data));
  }

  /** Stops reading until `drain`. */
  stall(): void {
    this.#socket.pause();
  }

  drain(): void {
    this.#socket.resume();
  }

  finish(): void {
    this.#socket.end();
  }

  reset(): void {
    this.#socket.resetAndDestroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Everything received, once it is at least so much; a connection that ends before fails. */
  async received(bytes: number): Promise<Buffer> {
    await this.#until(() => {
      if (this.#bytes >= bytes) return true;
      if (this.ending === undefined) return undefined;
      throw new Error(`${this.ending} after ${this.#bytes} of ${bytes} bytes`);
    });
    return this.all();
  }

  /** How the other side ended the connection, as seen from here. */
  ended(): Promise<Ending> {
    return this.#until(() => this.ending);
  }

  /** Sends a message and returns how many milliseconds its echo took. */
  async echoMs(message: string): Promise<number> {
    const before = this.#bytes;
    const startMs = this.#nowMs();
    this.send(message);
    await this.received(before + message.length);
    return this.#nowMs() - startMs;
  }

  #end(ending: Ending): void {
    this.ending ??= ending;
    this.endedAtMs ??= this.#nowMs();
    this.#changed();
  }

  #changed(): void {
    const watchers = this.#watchers;
    this.#watchers = [];
    for (const watcher of watchers) watcher();
  }

  #until<T>(seen: () => T | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = () => {
        try {
          const value = seen();
          if (value === undefined) this.#watchers.push(look);
          else resolve(value);
        } catch (error) {
          reject(error);
        }
      };
      look();
    });
  }
}

/** A TCP server on loopback whose connections a test picks up one by one. */
export class Backend {
  readonly port: number;
  readonly #server: Server;
  readonly #accepted: Peer[] = [];
  readonly #peers: Peer[] = [];
  #waiting: ((peer: Peer) => void)[] = [];

  static async listen(nowMs: () => number, onPeer: (peer: Peer) => void): Promise<Backend> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    await new Promise<void>((done) => server.listen({ host: '127.0.0.1', port: 0 }, done));
    return new Backend(server, nowMs, onPeer);
  }

  constructor(server: Server, nowMs: () => number, onPeer: (peer: Peer) => void) {
    this.#server = server;
    const bound = server.address();
    if (bound === null || typeof bound === 'string') throw new TypeError('a TCP server has a port');
    this.port = bound.port;
    server.on('connection', (socket) => {
      const peer = new Peer(socket, nowMs);
      this.#peers.push(peer);
      onPeer(peer);
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#accepted.push(peer);
      else waiting(peer);
    });
  }

  get upstream(): string {
    return `127.0.0.1:${this.port}`;
  }

  accepted(): Promise<Peer> {
    const peer = this.#accepted.shift();
    if (peer !== undefined) return Promise.resolve(peer);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): Promise<void> {
    for (const peer of this.#peers) peer.destroy();
    return new Promise((done) => this.#server.close(() => done()));
  }
}

/** Connects, or says why not: `ECONNREFUSED`. */
export function dial(port: number, nowMs: () => number): Promise<Peer | string> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, allowHalfOpen: true, noDelay: true });
    const refused = (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message);
    socket.once('error', refused);
    socket.once('connect', () => {
      socket.off('error', refused);
      resolve(new Peer(socket, nowMs));
    });
  });
}
