/**
 * Does anything take connections at this address?
 *
 * The handshake is the machine's work and not the server's: a server that is frozen is behind an
 * address that takes connections, one that is cut off behind an address that says nothing.
 */
import { connect } from 'node:net';

export function takesConnections(
  { host, port }: { host: string; port: number },
  timeoutMs: number,
): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (isOpen: boolean) => {
      clearTimeout(timer);
      socket.destroy();
      resolve(isOpen);
    };
    const timer = setTimeout(() => end(false), timeoutMs);
    socket.once('connect', () => end(true));
    socket.once('error', () => end(false));
  });
}
