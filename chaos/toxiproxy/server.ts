/**
 * How is a Toxiproxy started inside this process?
 *
 * The HTTP side: reads bodies, answers the paths of `api.ts`, adds the headers. Loopback is the
 * default and there is no password, as in the original: whoever reaches the API owns the proxies.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type Answer, populateFrom, route } from './api.ts';
import { bindError, formatBound, resolveListen } from './listen-address.ts';
import { Proxies } from './proxies.ts';
import type { World } from './seat.ts';

/** A thousand proxies fit ten times over. */
const BODY_BYTES_MAX = 1_048_576;
const KEEP_ALIVE_MS = 60_000;
const REQUEST_ID_LENGTH = 20;

export type Options = { host: string; port: number; world: World };

export type Toxiproxy = {
  /** Base address of the API, without a slash at its end. */
  url: string;
  port: number;
  /** Connections that are open through all proxies. */
  connectionCount(): number;
  /** Creates proxies from the text of a `-config` file; words about what went wrong, if it did. */
  populate(json: string): Promise<string | undefined>;
  close(): Promise<void>;
};

export type Started =
  | { kind: 'listening'; toxiproxy: Toxiproxy }
  | { kind: 'cannot_listen'; because: string };

export async function startToxiproxy({ host, port, world }: Options): Promise<Started> {
  const proxies = new Proxies(world);
  let requests = 0;
  // Counted and not drawn: asking the API something must not change how the dice of toxics fall.
  const requestId = () => {
    requests += 1;
    return requests.toString(36).padStart(REQUEST_ID_LENGTH, '0');
  };
  const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, (request, response) => {
    // It rejects only for a bug, and a bug ends the process.
    void respond(proxies, requestId, request, response);
  });
  const bound = await listen(server, `${host.includes(':') ? `[${host}]` : host}:${port}`);
  if (bound.kind === 'cannot_listen') return bound;
  return {
    kind: 'listening',
    toxiproxy: {
      url: `http://${bound.address}`,
      port: bound.port,
      connectionCount: () => proxies.list().reduce((sum, proxy) => sum + proxy.connectionCount, 0),
      populate: async (text) => (await populateFrom(proxies, text)).refusal?.error,
      close: () =>
        new Promise((resolve) => {
          proxies.close();
          server.close(() => resolve());
          server.closeAllConnections();
        }),
    },
  };
}

type Bound =
  | { kind: 'bound'; address: string; port: number }
  | { kind: 'cannot_listen'; because: string };

async function listen(server: Server, at: string): Promise<Bound> {
  const address = await resolveListen(at);
  if ('error' in address) return { kind: 'cannot_listen', because: address.error };
  const { host, port } = address;
  return await new Promise((resolve) => {
    server.once('error', (error) =>
      resolve({ kind: 'cannot_listen', because: bindError(address, error) }),
    );
    server.listen(host === undefined ? { port } : { host, port }, () => {
      const bound = server.address();
      if (bound === null || typeof bound === 'string')
        throw new TypeError('a TCP server has a port');
      resolve({ kind: 'bound', address: formatBound(bound), port: bound.port });
    });
  });
}

async function respond(
  proxies: Proxies,
  requestId: () => string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const path = decodePath(request.url ?? '/');
  if (path === undefined) return send(response, text(400, '400 Bad Request'));
  const clean = path.replace(/\/{2,}/g, '/');
  if (clean !== path) {
    response.setHeader('location', encodeURI(clean));
    return send(response, { status: 301 });
  }
  const match = route(request.method ?? 'GET', path);
  if (match.kind === 'no_such_path') return send(response, text(404, '404 page not found'));
  if (match.kind === 'no_such_method') return send(response, { status: 405 });
  response.setHeader('x-toxiproxy-request-id', requestId());
  // Keeps a web page that somebody has open from driving the API through the browser.
  if (request.headers['user-agent']?.startsWith('Mozilla/')) {
    return send(response, text(403, 'User agent not allowed'));
  }
  const body = await readBody(request);
  if (body === 'gone') return;
  if (body === 'too_long') return send(response, text(413, '413 Request Entity Too Large'));
  send(response, await match.answer(proxies, body));
}

/** Decoded before it is split, so a name with a slash in it cannot be addressed. */
function decodePath(url: string): string | undefined {
  try {
    return decodeURIComponent(url.replace(/[?#].*$/, ''));
  } catch {
    return undefined;
  }
}

async function readBody(request: IncomingMessage): Promise<string | 'too_long' | 'gone'> {
  const parts: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const part of request as AsyncIterable<Buffer>) {
      bytes += part.length;
      if (bytes > BODY_BYTES_MAX) return 'too_long';
      parts.push(part);
    }
  } catch {
    // The client hung up in the middle of its own request.
    return 'gone';
  }
  return Buffer.concat(parts).toString();
}

function send(response: ServerResponse, { status, type, body = '' }: Answer): void {
  if (type !== undefined) response.setHeader('content-type', type);
  if (type?.startsWith('text/')) response.setHeader('x-content-type-options', 'nosniff');
  response.statusCode = status;
  response.end(body);
}

function text(status: number, words: string): Answer {
  return { status, type: 'text/plain; charset=utf-8', body: `${words}\n` };
}
