/**
 * When does a proxied connection end, and how?
 *
 *                 +------- upstream chain -------->+
 *     client socket                              server socket
 *                 +<------ downstream chain -------+
 *
 * There is no half-close: when a chain comes to its end, its destination is closed in both
 * directions. That ends the other chain's source, whose remaining data still arrives, with the
 * delays of its toxics, before the last socket closes.
 */
import type { Socket } from 'node:net';
import { Chain } from './chain.ts';
import type { Toxic, World } from './seat.ts';

export type Sockets = { client: Socket; server: Socket };
export type Streams<T> = Record<'upstream' | 'downstream', T>;

export class Connection {
  readonly #sockets: Sockets;
  readonly #chains: Streams<Chain>;
  /**
   * Every close of this connection is an RST. Node cannot set linger to 0, so each close has to
   * remember, and none may say `end()` first: a shutdown in flight makes the reset fail, and the
   * socket then never closes.
   */
  readonly #resets: boolean;

  constructor(
    sockets: Sockets,
    toxics: Streams<readonly Toxic[]>,
    world: World,
    onGone: (connection: Connection) => void,
  ) {
    this.#sockets = sockets;
    const { client, server } = sockets;
    this.#resets = [...toxics.upstream, ...toxics.downstream].some(
      ({ kind }) => kind.resetsConnections,
    );
    const up = { source: client, destination: server, onEnd: () => this.#close(server) };
    const down = { source: server, destination: client, onEnd: () => this.#close(client) };
    this.#chains = {
      upstream: new Chain(up, toxics.upstream, world),
      downstream: new Chain(down, toxics.downstream, world),
    };
    let open = 2;
    for (const socket of [client, server]) {
      socket.on('close', () => {
        open -= 1;
        if (open > 0) return;
        this.#dispose();
        onGone(this);
      });
    }
    this.#chains.upstream.open();
    this.#chains.downstream.open();
  }

  chain(stream: keyof Streams<Chain>): Chain {
    return this.#chains[stream];
  }

  /** Closes both sockets now. What the toxics hold, and what the kernel did not take yet, is lost. */
  cut(): void {
    this.#dispose();
    for (const socket of [this.#sockets.client, this.#sockets.server]) {
      if (this.#resets) socket.resetAndDestroy();
      else socket.destroy();
    }
  }

  #dispose(): void {
    this.#chains.upstream.dispose();
    this.#chains.downstream.dispose();
  }

  #close(socket: Socket): void {
    if (this.#resets) socket.resetAndDestroy();
    else socket.destroySoon();
  }
}
