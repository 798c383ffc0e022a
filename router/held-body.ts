/**
 * What happens to a body on the wire that nobody has asked for yet?
 *
 * It stays there. Node reads ahead, and tells a client that waits (`Expect: 100-continue`) to go on,
 * before any of our code has run; here both wait until something really reads. When the answer
 * is that the body belongs elsewhere, nothing reads it at all and the connection ends.
 */
import { IncomingMessage, type Server, type ServerResponse } from 'node:http';

/**
 * How long a client may take to see our answer while it still sends. Closing at once would reset
 * the connection, because unread bytes are waiting, and a reset can overtake the answer.
 */
const LINGER_MS = 1_000;

/** Node throws a body away that nobody read, by reading it. */
type Dumped = { _dump: () => void };

/** From here on the server's requests keep their bodies on the wire until they are read. */
export function holdBodies(server: Server): void {
  server.prependListener('request', holdBody);
  // With this listener Node leaves it to us to say "100 Continue".
  server.on('checkContinue', (incoming: IncomingMessage, outgoing: ServerResponse) => {
    server.emit('request', incoming, outgoing);
  });
}

function holdBody(incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (!announcesBody(incoming.headers)) return;
  const waits = incoming.headers.expect !== undefined;
  incoming.socket.pause();
  incoming._read = (bytes) => {
    incoming._read = IncomingMessage.prototype._read;
    if (waits && !outgoing.headersSent) outgoing.writeContinue();
    incoming._read(bytes);
  };
}

/** Ends the connection after the answer, without another look at the body. */
export function leaveBody(incoming: IncomingMessage, outgoing: ServerResponse): void {
  if (!announcesBody(incoming.headers)) return;
  outgoing.setHeader('connection', 'close');
  // The whole body came in one piece with the header fields: there is nothing left to read.
  if (incoming.complete) return;
  const { socket } = incoming;
  incoming._read = () => {};
  (incoming as IncomingMessage & Dumped)._dump = () => {};
  socket.destroySoon = () => {
    if (socket.writableEnded) return;
    socket.end();
    setTimeout(() => socket.destroy(), LINGER_MS);
  };
}

/** How long the body may become, as far as its header fields tell: at most what is taken of any. */
export function announcedBytes(
  header: (name: string) => string | null | undefined,
  bytesMax: number,
): number {
  if ((header('transfer-encoding') ?? null) !== null) return bytesMax;
  const length = Number(header('content-length') ?? 0);
  return length <= bytesMax ? length : bytesMax;
}

/** RFC 9112 section 6.3: a request without these two fields has no body. */
export function announcesBody(headers: {
  'content-length'?: string | undefined;
  'transfer-encoding'?: string | undefined;
}): boolean {
  if (headers['transfer-encoding'] !== undefined) return true;
  return Number(headers['content-length'] ?? 0) > 0;
}
