/**
 * How does a request enter and leave an edge?
 *
 * Here a request gets its visit and its deadline, a hop is verified before anything believes it,
 * exceptions become problems, and every answer gets its `Domicile-*` fields. The app that the user
 * wrote is mounted at the root; what edges say to each other lies below `/.domicile/`.
 */
import type { KeyObject } from 'node:crypto';
import type { Server, ServerResponse } from 'node:http';
import { METHODS as ALL_METHODS } from 'node:http';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { HTTPException } from 'hono/http-exception';
import { routePath } from 'hono/route';
import { z } from 'zod';
import type { RegionId } from '../regions/catalogue.ts';
import { cookieFields, isLoopback, SESSION_HEADER } from './carried-session.ts';
import type { RegionPicture } from './console/region-picture.ts';
import type { TraceParts } from './console/trace-search.ts';
import { type Domicile, listedRoutes, lockBody, touchedBy } from './domicile.ts';
import { type Edge, type NodeEnv, routeOf, targetOf } from './edge.ts';
import { healthOf, type OpenHealth, STATUS } from './health.ts';
import { holdBodies, leaveBody } from './held-body.ts';
import { HopGuard, type HopPolicy, isSafe } from './hop.ts';
import { type OpenApi, openApiOf } from './openapi.ts';
import { hopContent } from './peers.ts';
import type { PolicyInForce } from './policy-in-force.ts';
import { problem, Refusal } from './problem.ts';
import { limitedBody } from './request-body.ts';
import { BETWEEN_EDGES, isLook, Stay } from './stay.ts';
import { HOP_TRACE_HEADER, methodName, TRACE_RESPONSE_HEADER } from './telemetry/telemetry.ts';
import { VERSION } from './version.ts';
import { DecideAnew, Visit } from './visit.ts';

export type EdgeServerOptions = {
  edge: Edge;
  app: Hono<Domicile>;
  hopKey: KeyObject;
  /** One line for each thing an operator must know; never a value of a request. */
  log: (line: Record<string, unknown>) => void;
  console?: EdgeConsole;
  openHealth?: OpenHealth;
};

/** What of a console reaches the wire: for people, and for the consoles of other edges. */
export type EdgeConsole = {
  /** Undefined for requests that are not for it. */
  answer: (request: Request, env: NodeEnv) => Promise<Response> | undefined;
  picture: () => Promise<RegionPicture>;
  traceParts: (traceId: string) => TraceParts;
};

export type EdgeFetch = (request: Request, env?: NodeEnv) => Promise<Response>;

/** Idle connections of peers (30 s) and of load balancers (usually 60 s) end on their side first. */
const KEEP_ALIVE_MS = 65_000;

/**
 * A browser that ran hundreds of requests at once may come with as many cookies. Node's own limit of
 * half of this would turn it away for good, before an edge can take them back.
 */
const HEADER_BYTES_MAX = 32 * 1024;

/** How often Node looks for clients that take too long to send their request. */
const SLOW_CLIENTS_EVERY_MS = 500;

/** Every method that Node's parser lets in, because a forwarded request is read whole. */
const WITH_BODY = ALL_METHODS.filter((method) => method !== 'GET' && method !== 'HEAD');

const Key = z.string().regex(/^[A-Za-z0-9_-]{22}$/);
const TraceId = z.string().regex(/^[0-9a-f]{32}$/);
const ClaimBody = z.strictObject({ key: Key, home: z.string().max(16), claim: z.uuid() });
const ReleaseBody = z.strictObject({ key: Key, claim: z.uuid() });

export function edgeFetch(options: EdgeServerOptions): EdgeFetch {
  const { edge, app, hopKey, log, console } = options;
  const guard = new HopGuard(edge.here, hopKey);
  const root = new Hono<Domicile>();
  if (edge.telemetry !== undefined) {
    root.use('*', (c, next) => {
      const route = routePath(c, -1);
      if (route !== '/*') c.env.visit.trace.met(route);
      return next();
    });
  }
  root.on(WITH_BODY, '*', (c, next) => {
    const bytesMax = edge.limits.bodyBytesMax;
    const bounded = boundedByNode(c.req, c.env as NodeEnv, bytesMax);
    if (!bounded) c.req.raw = limitedBody(c.req.raw, bytesMax);
    // Of a locked body only the home says whether it is too large.
    if (!lockBody(c) && !bounded && c.req.header('transfer-encoding') === undefined) {
      const length = Number(c.req.header('content-length') ?? 0);
      if (length > bytesMax) throw new Refusal({ kind: 'body-too-large', bytesMax });
    }
    return next();
  });
  root.route('/.domicile', betweenEdges(options));
  root.route('/', app);
  root.notFound((c) => {
    const allowed = methodsOf(root, c.req.path);
    // The route was served, and its handler says that there is nothing.
    if (allowed.includes(c.req.method)) return problem({ kind: 'nothing-here' });
    return allowed.length === 0
      ? refuse(c.env.visit, new Refusal({ kind: 'not-found' }))
      : refuse(c.env.visit, new Refusal({ kind: 'method-not-allowed', allowed }));
  });
  root.onError((error, c) => {
    const pattern = routeOf(c);
    if (pattern !== undefined && pattern !== '/*')
      c.env.visit.route = { method: methodName(c.req.method), pattern };
    if (error instanceof Refusal) {
      edge.receiptOfRefusal(c, c.env.visit, error.failure);
      return refuse(c.env.visit, error);
    }
    if (error instanceof DecideAnew) return refuse(c.env.visit, new Refusal({ kind: 'internal' }));
    if (error instanceof HTTPException) return error.getResponse();
    // Messages may quote data; the class and the place in the code cannot.
    log({
      level: 'error',
      event: 'handler-failed',
      method: c.req.method,
      error: error.name,
      at: placeOf(error),
      ...traceIds(c.env.visit),
    });
    return refuse(c.env.visit, new Refusal({ kind: 'internal' }));
  });

  function firstVisit(): Visit {
    const nowMs = edge.now();
    const { budgetMs } = edge.limits;
    return new Visit(edge.here, edge.policies.current, nowMs, nowMs + budgetMs, undefined);
  }

  return async function fetch(request, env = {}) {
    // Before anything that names region or policy, or that a crowd of clients could hold up.
    const forConsole = console?.answer(request, env);
    if (forConsole !== undefined) return forConsole;
    const stay = new Stay(edge, request);
    const visit = firstVisit();
    if (stay.hopHeader === null) beginTrace(edge, request, visit, false);
    const full = stay.begin();
    if (full !== undefined)
      return stamp(refuse(visit, full), visit, edge, request.url, env.outgoing);
    try {
      return await handle(request, env, visit, stay);
    } finally {
      stay.end();
    }
  };

  async function handle(
    request: Request,
    env: NodeEnv,
    first: Visit,
    stay: Stay,
  ): Promise<Response> {
    let visit = first;
    let entering = request;
    const { hopHeader } = stay;
    if (hopHeader !== null) {
      const arrived = await arrival(request, hopHeader, guard, edge.limits.bodyBytesMax);
      beginTrace(edge, request, visit, !(arrived instanceof Refusal));
      if (arrived instanceof Refusal)
        return stamp(refuse(visit, arrived), visit, edge, request.url, env.outgoing);
      const full = stay.proven();
      if (full !== undefined)
        return stamp(refuse(visit, full), visit, edge, request.url, env.outgoing);
      const budgetMs = Math.min(edge.limits.budgetMs, arrived.budgetMs);
      const policy = await policyFor(edge, arrived);
      const { arrivedAtMs } = first;
      visit = new Visit(edge.here, policy, arrivedAtMs, arrivedAtMs + budgetMs, arrived.from);
      visit.trace = first.trace;
      const refusal = otherPolicy(arrived, visit);
      if (refusal !== undefined)
        return stamp(refuse(visit, refusal), visit, edge, request.url, env.outgoing);
      entering = arrived.request;
    }
    let response = await root.fetch(entering, { edge, visit, ...env });
    // Once for each reason at most, and a visit that was decided anew remembers its reasons.
    while (visit.anew !== undefined) {
      const { because, body } = visit.anew;
      visit = visit.anewUnder(edge.policies.current, because);
      const { url, method, headers } = entering;
      if (body !== undefined) entering = new Request(url, { method, headers, body });
      response = await root.fetch(entering, { edge, visit, ...env });
    }
    const { incoming, outgoing } = env;
    // Refused before the home was known: what nobody may read is not thrown away by reading it.
    if (visit.lockedBody !== undefined && incoming !== undefined && outgoing !== undefined) {
      leaveBody(incoming, outgoing);
    }
    return stamp(response, visit, edge, request.url, outgoing);
  }
}

/**
 * Serves until `close`; resolves once the port is bound. Rejects when it cannot be. A client has
 * `requestMsMax` to send its request, or it would keep a place for as long as it likes.
 */
export function listen(
  fetch: EdgeFetch,
  hostname: string,
  port: number,
  requestMsMax: number,
): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = serve(
      {
        fetch: fetch as Parameters<typeof serve>[0]['fetch'],
        hostname,
        port,
        serverOptions: {
          maxHeaderSize: HEADER_BYTES_MAX,
          headersTimeout: requestMsMax,
          requestTimeout: requestMsMax,
          connectionsCheckingInterval: SLOW_CLIENTS_EVERY_MS,
        },
      },
      () => resolve(server as Server),
    );
    server.once('error', reject);
    (server as Server).keepAliveTimeout = KEEP_ALIVE_MS;
    holdBodies(server as Server);
  });
}

/** What edges ask each other; everybody may ask whether this one serves, and what. */
function betweenEdges({
  edge,
  app,
  console,
  openHealth = 'status',
}: EdgeServerOptions): Hono<Domicile> {
  let description: OpenApi | undefined;
  return new Hono<Domicile>()
    .get('/health', (c) => {
      const isKnown = c.env.visit.hopFrom !== undefined;
      return c.json(isKnown || openHealth === 'whole' ? healthOf(edge) : STATUS);
    })
    .get('/openapi.json', (c) => {
      const servers = [{ url: '/', description: `An edge in ${edge.here}` }];
      const about = { title: 'An app on Domicile', version: VERSION, servers };
      description ??= openApiOf(about, listedRoutes(app), touchedBy);
      return c.json(description);
    })
    .use('*', async (c, next) => {
      if (c.env.visit.hopFrom === undefined) {
        throw new Refusal({ kind: 'hop-refused', why: 'Only the edges of this system ask this.' });
      }
      return next();
    })
    .get('/directory/:key', async (c) => {
      const key = Key.safeParse(c.req.param('key'));
      const entry = key.success
        ? await edge.lookUp(key.data, leftMs(edge, c.env.visit))
        : undefined;
      return entry === undefined ? c.body(null, 404) : c.json(entry);
    })
    .get('/console', async (c) => {
      if (console === undefined) throw new Refusal({ kind: 'not-found' });
      return c.json(await console.picture());
    })
    .get('/console/traces/:key', (c) => {
      const key = TraceId.safeParse(c.req.param('key'));
      if (console === undefined || !key.success) throw new Refusal({ kind: 'not-found' });
      return c.json(console.traceParts(key.data));
    })
    .post('/claims', async (c) => {
      const { key, home, claim } = ClaimBody.parse(await c.req.json());
      return c.json(await edge.claimHere(key, home, claim, leftMs(edge, c.env.visit)));
    })
    .delete('/claims', async (c) => {
      const { key, claim } = ReleaseBody.parse(await c.req.json());
      await edge.releaseHere(key, claim, leftMs(edge, c.env.visit));
      return c.body(null, 204);
    });
}

/**
 * Whether Node's parser already holds the body to a length that is small enough. The general check
 * has to build a whole `Request`, which costs a write more than everything else here.
 */
function boundedByNode(
  req: { header: (name: string) => string | undefined },
  { incoming }: NodeEnv,
  bytesMax: number,
): boolean {
  if (incoming === undefined || req.header('transfer-encoding') !== undefined) return false;
  return Number(req.header('content-length') ?? 0) <= bytesMax;
}

function leftMs(edge: Edge, visit: Visit): number {
  return visit.deadlineMs - edge.now();
}

type Arrival = {
  from: RegionId;
  budgetMs: number;
  /** Undefined for a question of the router's own, which no policy decides. */
  policy: HopPolicy | undefined;
  request: Request;
};

/** The policy for a hop, having looked once if the sender has a newer one. */
async function policyFor(edge: Edge, { policy }: Arrival): Promise<PolicyInForce> {
  const { policies } = edge;
  if (policy !== undefined && policy.version > policies.current.version) {
    await policies.refresh(policy.recorded ? policy.version : 0);
  }
  return policies.current;
}

/** Two halves of one request are never handled under two policies. */
function otherPolicy({ from, policy }: Arrival, visit: Visit): Refusal | undefined {
  if (policy === undefined || policy.version === visit.policy.version) return undefined;
  return new Refusal({
    kind: 'policy-version-differs',
    sender: { region: from, version: policy.version },
    receiver: { region: visit.region, version: visit.policy.version },
  });
}

/** A hop's body is read before its handler, because the signature covers it. */
async function arrival(
  request: Request,
  header: string,
  guard: HopGuard,
  bodyBytesMax: number,
): Promise<Arrival | Refusal> {
  if (Number(request.headers.get('content-length') ?? 0) > bodyBytesMax) {
    return new Refusal({ kind: 'body-too-large', bytesMax: bodyBytesMax });
  }
  if (request.headers.has('transfer-encoding')) {
    // An edge knows the length of what it sends; nobody else gets an endless body read.
    return new Refusal({ kind: 'hop-refused', why: 'its body has no length' });
  }
  const { method } = request;
  const body = isSafe(method) ? undefined : new Uint8Array(await request.arrayBuffer());
  const field = (name: string) => request.headers.get(name) ?? undefined;
  const content = hopContent(method, targetOf(request.url), field, body);
  const verdict = guard.check(header, content);
  if (verdict.kind === 'refused') return new Refusal({ kind: 'hop-refused', why: verdict.why });
  const { from, budgetMs, policy } = verdict.hop;
  const { url, headers } = request;
  if (policy === undefined && !new URL(url).pathname.startsWith(BETWEEN_EDGES)) {
    return new Refusal({ kind: 'hop-refused', why: 'it does not say under which policy' });
  }
  if (body === undefined) return { from, budgetMs, policy, request };
  return { from, budgetMs, policy, request: new Request(url, { method, headers, body }) };
}

/** A look at an edge is no request of anybody's. A peer is believed once its hop is. */
function beginTrace(edge: Edge, { method, url, headers }: Request, visit: Visit, genuine: boolean) {
  const { telemetry } = edge;
  if (telemetry === undefined || isLook(url)) return;
  visit.trace = telemetry.begin({
    method,
    scheme: url.startsWith('https:') ? 'https' : 'http',
    startedAtMs: visit.arrivedAtMs,
    traceparent: headers.get('traceparent') ?? undefined,
    believed: genuine && headers.has(HOP_TRACE_HEADER),
  });
}

/** By the names that OpenTelemetry gives them in a log. */
function traceIds({ trace }: Visit): Record<string, string> {
  return trace.ids === undefined ? {} : { trace_id: trace.ids.traceId, span_id: trace.ids.spanId };
}

function logRefusal({ refusalLog, now }: Edge, visit: Visit, reason: string, { status }: Response) {
  // It has a line of its own, with the place in the code.
  if (reason === 'internal') return;
  const { route, home, hopFrom: from, passedOver } = visit;
  const trace = traceIds(visit);
  refusalLog.refused({ reason, status, route, home, from, passedOver, trace }, now());
}

function refuse(visit: Visit, refusal: Refusal): Response {
  visit.decision = { kind: 'refuse', because: refusal.failure.kind };
  return refusal.getResponse();
}

/**
 * Node's own response takes the fields without a copy of the headers; a test without one gets them
 * on the `Response`.
 */
function stamp(
  response: Response,
  visit: Visit,
  edge: Edge,
  url: string,
  outgoing: ServerResponse | undefined,
): Response {
  const set = (name: string, value: string) => {
    if (outgoing === undefined) response.headers.set(name, value);
    else outgoing.setHeader(name, value);
  };
  for (const [name, value] of visit.fields(edge.now())) set(name, value);
  edge.count(visit, isLook(url));
  if (visit.decision.kind === 'refuse') logRefusal(edge, visit, visit.decision.because, response);
  const { ids } = visit.trace;
  if (ids !== undefined) set(TRACE_RESPONSE_HEADER, `00-${ids.traceId}-${ids.spanId}-01`);
  visit.trace.end(visit, response.status);
  const session = visit.sessionToTell();
  const sealed = session === undefined ? undefined : edge.tokens.seal(session);
  if (sealed !== undefined) set(SESSION_HEADER, sealed);
  // Cookies are between the client and the edge that it talks to: another one does not see how.
  if (visit.hopFrom === undefined) {
    const { cookieSecure } = edge;
    const secure = cookieSecure === 'on' || (cookieSecure === 'auto' && !isLoopback(url));
    const token = sealed ?? visit.tokenFromHome;
    for (const field of cookieFields(visit.cookies, token, secure)) {
      response.headers.append('set-cookie', field);
    }
  }
  if (outgoing !== undefined) outgoing.setHeader('cache-control', 'private, no-store');
  else if (!response.headers.has('cache-control')) set('cache-control', 'private, no-store');
  return response;
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'];

/** The methods for which this path has a handler; middleware is registered for all methods. */
function methodsOf(root: Hono<Domicile>, path: string): string[] {
  return METHODS.filter((method) => {
    const looked = method === 'HEAD' ? 'GET' : method;
    return root.router
      .match(looked, path)[0]
      .some(
        ([[handler, route]]) =>
          route.method === looked && handler !== undefined && route.path !== '/*',
      );
  });
}

/** The first line of the stack that names a file, without the message before it. */
function placeOf(error: Error): string | undefined {
  return error.stack
    ?.split('\n')
    .find((line) => line.trim().startsWith('at '))
    ?.trim();
}
