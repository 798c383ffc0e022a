/**
 * How is a request put to another region?
 *
 * Over HTTP to one of its edges, signed, with what is left of the deadline; never over SQL. The
 * one door to `undici`. What the answer means is the caller's business; here it is only said
 * whether the peer can have begun to act.
 *
 * Each region has places, sockets and bytes of its own, and nobody waits for them: what one region
 * does slowly takes nothing from another. An edge that does not answer is passed over
 * (`policies/circuit.ts`) until a question that no client waits for has found it back.
 */
import type { KeyObject } from 'node:crypto';
import { Readable } from 'node:stream';
import { Agent, type Dispatcher, errors, request as send } from 'undici';
import {
  type Circuit,
  FRESH_CIRCUIT,
  failed,
  heard,
  PROBE_MS_MAX,
  probing,
  stance,
} from '../policies/circuit.ts';
import { type Catalogue, type RegionId, roundTripMs } from '../regions/catalogue.ts';
import { HOP_HEADER, type HopContent, type HopPolicy, SIGNED_FIELDS, signHop } from './hop.ts';
import { type Place, Share, type ShareStats } from './share.ts';

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
  /** The only one of the region's edges that it is meant for; undefined: whichever takes it. */
  edge?: string | undefined;
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
  /** Who hears nothing for so long, after having asked, calls it silence and not haste. */
  silentMsMin: number;
  /** Requests under way to all other regions together; each region has its part. */
  requestsMax: number;
  /** Bytes of bodies held for one region, on their way there and back. */
  heldBytesMax: number;
  /** Monotonic milliseconds. */
  now: () => number;
};

/** Clients' requests, and the questions about the directory and claims that no crowd may hold up. */
export type Errand = 'request' | 'question';

export type Passage =
  | { kind: 'free'; place: Place }
  /** As many are under way to that region as may be. */
  | { kind: 'full'; retryAfterMs: number }
  /** No edge of that region has answered lately. */
  | { kind: 'dark'; retryAfterMs: number };

export type NeighbourStats = {
  requests: ShareStats;
  questions: ShareStats;
  passedOver: number;
  edges: { edge: string; circuit: Circuit['kind']; retryInMs: number }[];
};

type PeerEdge = { name: string; url: string; circuit: Circuit; probe: NodeJS.Timeout | undefined };
type Neighbour = {
  shares: Record<Errand, Share>;
  edges: readonly PeerEdge[];
  travelMs: number;
  /** Errands that were refused because no edge answers. */
  passedOver: number;
};

/** Questions are small and short, and there are fewer of them. */
const QUESTIONS_PART = 4;
/** So that the home says itself that its time is up, before we have to guess. */
const ANSWER_MS = 20;
/** What any edge answers at once, however loaded it is. */
const PROBE_TARGET = '/.domicile/health';

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

/** The budget was used up before the answer was here. */
class DeadlinePassed extends Error {
  readonly code = 'DEADLINE';
}

export class Peers {
  #options: PeersOptions;
  #agent: Agent;
  #neighbours: ReadonlyMap<RegionId, Neighbour>;
  #hops = 0;
  #turn = 0;
  #closed = false;

  constructor(options: PeersOptions) {
    const { here, catalogue, requestsMax, heldBytesMax: bytesMax } = options;
    this.#options = options;
    const others = [...catalogue.regions.values()].filter(({ id }) => id !== here);
    const part = Math.max(1, Math.floor(requestsMax / Math.max(1, others.length)));
    const questions = Math.ceil(part / QUESTIONS_PART);
    this.#neighbours = new Map(
      others.map(({ id, edges }) => {
        const distanceMs = roundTripMs(catalogue, here, id);
        return [
          id,
          {
            shares: {
              request: new Share({ requestsMax: part, bytesMax }),
              question: new Share({ requestsMax: questions, bytesMax }),
            },
            edges: edges.map(({ name, url }) => ({
              name,
              url,
              circuit: FRESH_CIRCUIT,
              probe: undefined,
            })),
            travelMs: ANSWER_MS + (Number.isFinite(distanceMs) ? distanceMs : 0),
            passedOver: 0,
          },
        ];
      }),
    );
    this.#agent = new Agent({
      // Of each origin: one for each who may be under way, so that nobody waits for a socket.
      connections: part + questions + 1,
      pipelining: 1,
      connectTimeout: options.connectTimeoutMs,
      // Shorter than the 65 s for which an edge keeps an idle connection open.
      keepAliveTimeout: 30_000,
      // The budget is the deadline; undici's own timers are too coarse for it.
      headersTimeout: 0,
      bodyTimeout: 0,
    });
  }

  /** Asked before the body is read, whose length is announced. A place is given back by `send`. */
  enter(to: RegionId, errand: Errand, bytes: number): Passage {
    const neighbour = this.#neighbour(to);
    const nowMs = this.#options.now();
    const stances = neighbour.edges.map(({ circuit }) => stance(circuit, nowMs));
    const closed = stances.flatMap((one) => (one.kind === 'pass' ? [] : [one.retryAfterMs]));
    if (closed.length === stances.length) {
      neighbour.passedOver++;
      return { kind: 'dark', retryAfterMs: Math.min(...closed) };
    }
    const share = neighbour.shares[errand];
    const place = share.enter(bytes, nowMs);
    return place === undefined
      ? { kind: 'full', retryAfterMs: share.retryAfterMs }
      : { kind: 'free', place };
  }

  /** Tries the region's edges in turn until one has accepted the connection. */
  async send(to: RegionId, place: Place, request: PeerRequest): Promise<PeerAnswer> {
    const { now } = this.#options;
    const { edges, travelMs } = this.#neighbour(to);
    const deadlineMs = now() + Math.max(1, request.budgetMs);
    const first = this.#turn++;
    let answer: PeerAnswer = { kind: 'unreachable', sent: false, code: 'NO_EDGE' };
    for (let i = 0; i < edges.length; i++) {
      const edge = edges[(first + i) % edges.length];
      const leftMs = deadlineMs - now();
      if (edge === undefined || leftMs <= 0) break;
      if (request.edge !== undefined && request.edge !== edge.name) continue;
      if (stance(edge.circuit, now()).kind !== 'pass') continue;
      answer = await this.#sendTo(edge, to, place, request, { leftMs, travelMs });
      if (answer.kind === 'answered' || answer.sent) return answer;
    }
    place.leave(now());
    return answer;
  }

  /** A question to a service of this region, in JSON; undefined where no answer came in time. */
  async askNear(url: string, timeoutMs: number): Promise<unknown> {
    try {
      const { statusCode, body } = await send(url, {
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(Math.max(1, Math.ceil(timeoutMs))),
      });
      if (statusCode === 200) return await body.json();
      await body.dump();
    } catch {
      // Nobody answers, too late, or not in JSON: to whoever asks it is all the same.
    }
    return undefined;
  }

  stats(): Record<RegionId, NeighbourStats> {
    const nowMs = this.#options.now();
    return Object.fromEntries(
      [...this.#neighbours].map(([region, { shares, edges, passedOver }]) => [
        region,
        {
          requests: shares.request.stats(),
          questions: shares.question.stats(),
          passedOver,
          edges: edges.map(({ name, circuit }) => {
            const stands = stance(circuit, nowMs);
            const retryInMs = stands.kind === 'pass' ? 0 : Math.ceil(stands.retryAfterMs);
            return { edge: name, circuit: circuit.kind, retryInMs };
          }),
        },
      ]),
    );
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const { edges } of this.#neighbours.values()) {
      for (const { probe } of edges) clearTimeout(probe);
    }
    await this.#agent.destroy();
  }

  #neighbour(region: RegionId): Neighbour {
    const neighbour = this.#neighbours.get(region);
    if (neighbour === undefined) throw new RangeError(`no peers in region "${region}"`);
    return neighbour;
  }

  #heard(edge: PeerEdge): void {
    edge.circuit = heard(edge.circuit, this.#options.now());
    clearTimeout(edge.probe);
    edge.probe = undefined;
  }

  #failed(edge: PeerEdge, beganAtMs: number): void {
    edge.circuit = failed(edge.circuit, beganAtMs, this.#options.now());
    this.#probeWhenDue(edge);
  }

  /** Goes on until the edge was heard: a region that is back is found without a client's help. */
  #probeWhenDue(edge: PeerEdge): void {
    if (edge.probe !== undefined || this.#closed) return;
    const stands = stance(edge.circuit, this.#options.now());
    if (stands.kind === 'pass') return;
    const waitMs = stands.kind === 'probe' ? 0 : Math.ceil(stands.retryAfterMs);
    edge.probe = setTimeout(() => {
      edge.probe = undefined;
      void this.#probe(edge).finally(() => this.#probeWhenDue(edge));
    }, waitMs).unref();
  }

  async #probe(edge: PeerEdge): Promise<void> {
    const beganAtMs = this.#options.now();
    if (stance(edge.circuit, beganAtMs).kind !== 'probe') return;
    edge.circuit = probing(edge.circuit, beganAtMs);
    try {
      const { statusCode, body } = await send(edge.url + PROBE_TARGET, {
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(PROBE_MS_MAX),
      });
      await body.dump();
      // Something in front of the edge may answer in its place.
      if (statusCode === 200) this.#heard(edge);
      else this.#failed(edge, beganAtMs);
    } catch {
      this.#failed(edge, beganAtMs);
    }
  }

  /** Gives the place back unless the request can be put to another edge. */
  async #sendTo(
    edge: PeerEdge,
    to: RegionId,
    place: Place,
    request: PeerRequest,
    { leftMs, travelMs }: { leftMs: number; travelMs: number },
  ): Promise<PeerAnswer> {
    const budgetMs = Math.max(1, Math.floor(Math.max(leftMs - travelMs, leftMs / 2)));
    const headers: Record<string, string | string[]> = {};
    for (const name in request.headers) {
      const value = request.headers[name];
      if (value !== undefined && !ONE_HOP_FIELDS.has(name)) headers[name] = value;
    }
    const { method, target, body } = request;
    const content = hopContent(method, target, (name) => joined(headers[name], name), body);
    const { here, sender, hopKey } = this.#options;
    const { policy } = request;
    const hop = { from: here, to, sender, number: ++this.#hops, budgetMs, policy };
    headers[HOP_HEADER] = signHop(hop, content, hopKey);
    const { now, silentMsMin } = this.#options;
    const beganAtMs = now();
    const ending = new AbortController();
    // What undici has not begun with, such as a request that waits for its connection, it does not
    // end when told to.
    const late = Promise.withResolvers<never>();
    late.promise.catch(() => {});
    const timer = setTimeout(() => {
      const passed = new DeadlinePassed();
      ending.abort(passed);
      late.reject(passed);
    }, leftMs);
    const over = () => {
      clearTimeout(timer);
      place.leave(now());
    };
    try {
      const response = await Promise.race([
        late.promise,
        send(edge.url + request.target, {
          dispatcher: this.#agent,
          method: request.method as Dispatcher.HttpMethod,
          headers,
          body: request.body ?? null,
          signal: ending.signal,
        }),
      ]);
      this.#heard(edge);
      const bodiless = request.method === 'HEAD';
      const body = await payload(response, bodiless, place, over);
      return {
        kind: 'answered',
        status: response.statusCode,
        headers: fields(response.headers),
        body,
      };
    } catch (error) {
      const code = codeOf(error);
      const sent = !NOT_SENT.has(code);
      // A deadline that was near when the request left says nothing about the edge.
      const hasty = error instanceof DeadlinePassed && now() - beganAtMs < silentMsMin;
      if (!hasty && !this.#closed) this.#failed(edge, beganAtMs);
      clearTimeout(timer);
      if (sent) place.leave(now());
      return { kind: 'unreachable', sent, code };
    }
  }
}

/** What a hop's signature covers, from the header fields as they are sent or were received. */
export function hopContent(
  method: string,
  target: string,
  field: (name: string) => string | undefined,
  body: Uint8Array | undefined,
): HopContent {
  return { method, target, fields: SIGNED_FIELDS.map(field), body };
}

/** Several lines of one field as its receiver reads them (RFC 9110 section 5.3, RFC 6265). */
function joined(value: string | string[] | undefined, name: string): string | undefined {
  return Array.isArray(value) ? value.join(name === 'cookie' ? '; ' : ', ') : value;
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

/** Calls `over` when the last byte is here, or none will come any more. */
async function payload(
  { statusCode, headers, body }: Dispatcher.ResponseData,
  bodiless: boolean,
  place: Place,
  over: () => void,
): Promise<PeerBody> {
  if (bodiless || statusCode === 204 || statusCode === 304) {
    await body.dump();
    over();
    return null;
  }
  const length = Number(headers['content-length'] ?? Number.NaN);
  if (length <= BUFFERED_BYTES_MAX && place.holds(length)) {
    const whole = await body.arrayBuffer();
    over();
    return whole;
  }
  body.once('close', over);
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
