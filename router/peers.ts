/**
 * How is a request put to another region?
 *
 * Over HTTP to one of its edges, signed, with what is left of the deadline; never over SQL. The
 * one door to `undici`. What the answer means is the caller's business; here it is only said
 * whether the peer can have begun to act.
 */
import type { KeyObject } from 'node:crypto';
import { Readable } from 'node:stream';
import { Agent, type Dispatcher, errors, request as send } from 'undici';
import type { Catalogue, RegionId } from '../regions/catalogue.ts';
import { HOP_HEADER, type HopContent, type HopPolicy, signHop } from './hop.ts';

export type PeerRequest = {
  method: string;
  /** Path with query. */
  target: string;
  headers: Readonly<Record<string, string | string[]>>;
  body: Uint8Array | undefined;
  /** What is left of the client's budget, in milliseconds. */
  budgetMs: number;
  /** Under which the request was sent on; undefined for a question of the router's own. */
  policy: HopPolicy | undefined;
};

/** Null where the status has no body. */
export type PeerBody = ArrayBuffer | ReadableStream | null;

export type PeerAnswer =
  | { kind: 'answered'; status: number; headers: [string, string][]; body: PeerBody }
  /** `sent: false` promises that the peer has not seen the request. */
  | { kind: 'unreachable'; sent: boolean; code: string };

export type PeersOptions = {
  here: RegionId;
  catalogue: Catalogue;
  hopKey: KeyObject;
  /** A name of this process that no other ever has. */
  sender: string;
  /** Half the default budget, so that a second edge of the region can be tried. */
  connectTimeoutMs: number;
};

/** Up to here a body is read whole, which spares the cost of a web stream. */
const BUFFERED_BYTES_MAX = 256 * 1024;

/**
 * Errors after which the request has certainly not left: the connection did not come about. An
 * allow-list, because a wrong entry turns an applied write into a retried one.
 */
const NOT_SENT = new Set([
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/** Fields that belong to one connection (RFC 9110 section 7.6.1), and those undici writes itself. */
const ONE_HOP_FIELDS = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'expect',
  'host',
  'content-length',
  HOP_HEADER,
]);

export class Peers {
  #options: PeersOptions;
  #agent: Agent;
  #hops = 0;
  #turn = 0;

  constructor(options: PeersOptions) {
    this.#options = options;
    this.#agent = new Agent({
      connections: 64,
      pipelining: 1,
      connectTimeout: options.connectTimeoutMs,
      // Shorter than the 65 s for which an edge keeps an idle connection open.
      keepAliveTimeout: 30_000,
      // The budget is the deadline; undici's own timers are too coarse for it.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** Tries the region's edges in turn until one has accepted the connection. */
  async send(to: RegionId, request: PeerRequest): Promise<PeerAnswer> {
    const edges = this.#options.catalogue.regions.get(to)?.edges ?? [];
    const first = this.#turn++;
    let answer: PeerAnswer = { kind: 'unreachable', sent: false, code: 'NO_EDGE' };
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[(first + i) % edges.length];
      if (edge === undefined) break;
      answer = await this.#sendTo(edge.url, to, request);
      if (answer.kind === 'answered' || answer.sent) return answer;
    }
    return answer;
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  async #sendTo(origin: string, to: RegionId, request: PeerRequest): Promise<PeerAnswer> {
    const budgetMs = Math.max(1, Math.floor(request.budgetMs));
    const headers: Record<string, string | string[]> = {};
    for (const name in request.headers) {
      const value = request.headers[name];
      if (value !== undefined && !ONE_HOP_FIELDS.has(name)) headers[name] = value;
    }
    const content = hopContent(request.method, request.target, headers, request.body);
    const { here, sender, hopKey } = this.#options;
    const { policy } = request;
    const hop = { from: here, to, sender, number: ++this.#hops, budgetMs, policy };
    headers[HOP_HEADER] = signHop(hop, content, hopKey);
    try {
      const response = await send(origin + request.target, {
        dispatcher: this.#agent,
        method: request.method as Dispatcher.HttpMethod,
        headers,
        body: request.body ?? null,
        signal: AbortSignal.timeout(budgetMs),
      });
      return {
        kind: 'answered',
        status: response.statusCode,
        headers: fields(response.headers),
        body: await payload(response),
      };
    } catch (error) {
      const code = codeOf(error);
      return { kind: 'unreachable', sent: !NOT_SENT.has(code), code };
    }
  }
}

/** What a hop's signature covers, from the header fields as they are sent or were received. */
export function hopContent(
  method: string,
  target: string,
  headers: Readonly<Record<string, string | string[] | undefined>>,
  body: Uint8Array | undefined,
): HopContent {
  const one = (name: string) => {
    const value = headers[name];
    return Array.isArray(value) ? value.join('; ') : value;
  };
  return { method, target, session: one('domicile-session'), cookie: one('cookie'), body };
}

function fields(headers: Record<string, string | string[] | undefined>): [string, string][] {
  const pairs: [string, string][] = [];
  for (const name in headers) {
    const value = headers[name];
    if (value === undefined || ONE_HOP_FIELDS.has(name)) continue;
    if (Array.isArray(value)) for (const one of value) pairs.push([name, one]);
    else pairs.push([name, value]);
  }
  return pairs;
}

async function payload({ statusCode, headers, body }: Dispatcher.ResponseData): Promise<PeerBody> {
  if (statusCode === 204 || statusCode === 304) {
    await body.dump();
    return null;
  }
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (length <= BUFFERED_BYTES_MAX) return await body.arrayBuffer();
  return Readable.toWeb(body) as ReadableStream;
}

function codeOf(error: unknown): string {
  if (error instanceof errors.UndiciError) return error.code;
  if (error instanceof Error) {
    const { code } = error as { code?: unknown };
    return typeof code === 'string' ? code : error.name;
  }
  return 'UNKNOWN';
}
