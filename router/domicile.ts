/**
 * How does an app tell Domicile whose data a route touches?
 *
 * The public face of the router: a Hono app names the subject, the placement, the mirror or the
 * reference table of its routes, and gets `c.var.data`, which runs plain SQL at the right node.
 * Each function here decides where the request is handled before any handler runs.
 */
import type { Context, MiddlewareHandler } from 'hono';

import { matchedRoutes } from 'hono/route';
import { COMPOSED_HANDLER } from 'hono/utils/constants';
import { LEVELS, type Level, readLevel } from '../policies/consistency.ts';
import type { Attributes } from '../policies/placement.ts';
import type { Transit } from '../policies/policy.ts';
import type { RegionId } from '../regions/catalogue.ts';
import type { Sql } from '../regions/postgres.ts';
import type { Edge } from './edge.ts';
import { announcesBody } from './held-body.ts';
import { isSafe } from './hop.ts';
import { KEY_HEADER, readIdempotencyKey } from './idempotency-key.ts';
import { answerBefore, answerOnce } from './once.ts';
import type { ListedRoute, Touched } from './openapi.ts';
import { type Failure, Refusal } from './problem.ts';
import { lockedBody, wholeBody } from './request-body.ts';
import { CONSISTENCY_HEADER, type Visit } from './visit.ts';

export { type Described, describes } from './describes.ts';
export { etag, ifMatch, type Version } from './etag.ts';
export { type Failure, Refusal } from './problem.ts';
export { readJson } from './read-json.ts';
export type { Sql };

export type Domicile = {
  Bindings: { edge: Edge; visit: Visit };
  Variables: {
    /** Id of the subject whose data this request touches. */
    subject: string;
    data: Data;
  };
};

export type Data = {
  /**
   * Runs a query on a connection that cannot write, at the nearest node that shows everything the
   * session has seen. It may run a second time, on another node, when the first one failed.
   * @throws Refusal when no node can answer within the request's budget.
   */
  read<T>(query: (sql: Sql) => Promise<T>): Promise<T>;
  /**
   * Runs one transaction on the home primary. When it resolves, the data is on the in-region
   * standby as well. What `work` throws rolls it back. Where the primary is replaced before its first
   * statement was answered, nothing was done, and `work` is called again for the next primary: what
   * it does beside SQL belongs after that statement, or after the write.
   * @throws Refusal when it did not happen, or when nobody can know whether it did.
   */
  write<T>(work: (sql: Sql) => Promise<T>): Promise<T>;
};

/** What an app has found out about somebody who is to be created. */
export type Newcomer = {
  /** An id of the caller's own choice; the edge draws one when it is undefined. */
  id: string | undefined;
  /** Verified facts that the policy places by. */
  attributes: Attributes;
  /** A home that the caller asks for: refused unless the policy says the same. */
  asked?: RegionId | undefined;
};

type Handler = MiddlewareHandler<Domicile>;
type Ctx = Context<Domicile>;

/** Longer ids are refused; the bound keeps hashing and logs cheap. */
const SUBJECT_CHARS_MAX = 256;

/** The routes below belong to one subject: they run at its home. */
export function subject(idOf: (c: Ctx) => string): Handler {
  return homed(async function subject(c, next) {
    const { edge, visit } = c.env;
    const { mirror, transit, once } = routeOf(c);
    checkTransit(c, transit);
    const idempotencyKey = once ? idempotencyKeyOf(c) : undefined;
    const id = idOf(c);
    checkId(id);
    visit.level = levelOf(c);
    const session = edge.openSession(visit, c);
    const key = edge.keyOf(session, id);
    if (session.subject !== undefined && session.subject !== key) {
      throw new Refusal({ kind: 'session-token-foreign' });
    }
    visit.about = key;
    const { home, epoch } = await edge.homeOf(visit, key);
    visit.home = home;
    edge.bindSession(visit, key, home, epoch);
    if (home === edge.here) {
      edge.enter(visit, id);
      edge.receiptOfHop(c, visit);
      unlockBody(c);
      c.set('subject', id);
      c.set('data', edge.dataAtHome(c, visit));
      return handle(c, id, idempotencyKey, next);
    }
    // A copy may be read here, but what the client sends to a strict table may not.
    if (mirror !== undefined && !(transit === 'redirect' && hasBody(c))) {
      const data = edge.dataOfMirror(c, visit, mirror, home);
      if (data !== undefined) {
        unlockBody(c);
        c.set('subject', id);
        c.set('data', data);
        return next();
      }
    }
    return edge.sendHome(c, visit, home, transit);
  });
}

/**
 * Creates a subject: the policy picks its home, and the handler runs there. Where the route touches
 * a table with `transit: redirect`, the newcomer is known from header fields and verified claims:
 * the body is there to be read at the home.
 */
export function place(newcomerOf: (c: Ctx) => Newcomer | Promise<Newcomer>): Handler {
  return homed(async function place(c, next) {
    const { edge, visit } = c.env;
    const { transit } = routeOf(c);
    checkTransit(c, transit);
    const idempotencyKey = idempotencyKeyOf(c);
    visit.access = 'write';
    const newcomer = await newcomerOf(c);
    checkTransit(c, transit);
    const id = newcomer.id ?? edge.drawId(idempotencyKey);
    if (newcomer.id !== undefined) checkChosenId(newcomer.id);
    visit.level = levelOf(c);
    edge.openSession(visit, c);
    const home = edge.place(visit, newcomer);
    if (home !== edge.here) return edge.sendHome(c, visit, home, transit);
    unlockBody(c);
    edge.enter(visit, id);
    if (idempotencyKey !== undefined) {
      // Before the claim, which a subject that is stored by now would not get.
      const keyed = await keyedAs(c, id, idempotencyKey);
      const replay = await answerBefore(edge, visit, keyed);
      if (replay !== undefined) {
        if (replay.resident) edge.settled(visit, id);
        return replay.response;
      }
    }
    const claim = await edge.claimFor(visit, newcomer.id, id, idempotencyKey);
    c.set('subject', id);
    c.set('data', edge.dataOfNewcomer(c, visit, id, claim));
    try {
      await handle(c, id, idempotencyKey, next);
    } finally {
      await edge.settleClaim(visit, id, claim);
    }
    return undefined;
  });
}

/** A table that belongs to nobody: read everywhere, written by its owner region. */
export function reference(table: string): Handler {
  const handler = homed(async function reference(c, next) {
    const { edge, visit } = c.env;
    const owner = edge.ownerOf(visit, table);
    const { transit, once } = routeOf(c);
    checkTransit(c, transit);
    const idempotencyKey = once ? idempotencyKeyOf(c) : undefined;
    visit.home = owner;
    visit.reference = table;
    visit.level = levelOf(c);
    edge.openSession(visit, c);
    const data =
      owner === edge.here
        ? edge.dataAtHome(c, visit)
        : edge.dataOfReference(c, visit, table, owner);
    if (data === undefined) return edge.sendHome(c, visit, owner, transit);
    if (owner === edge.here) edge.receiptOfHop(c, visit);
    unlockBody(c);
    c.set('data', data);
    return handle(c, '', owner === edge.here ? idempotencyKey : undefined, next);
  });
  TABLES_OF.set(handler, [table]);
  return handler;
}

/**
 * The tables that a route reads or writes. Where the policy says `transit: redirect` of one of them,
 * an edge abroad sends the client to the home and does not read the body. Without this mark, a
 * route is treated as if it touched every table.
 */
export function touches(...tables: readonly [string, ...string[]]): Handler {
  const handler: Handler = async function touches(_c, next) {
    return next();
  };
  TABLES_OF.set(handler, tables);
  return handler;
}

/** A route that only reads what the policy mirrors abroad may be served away from home. */
export function mirrored(mirror: string): Handler {
  const handler: Handler = async function mirrored(_c, next) {
    return next();
  };
  MIRROR_OF.set(handler, mirror);
  return handler;
}

/**
 * How fresh the answers of this route are where the request does not say: `session`, `strong`,
 * `bounded; max-staleness=2s` or `eventual`. Without it the policy says.
 * @throws TypeError for anything else, when the app is loaded.
 */
export function consistency(text: string): Handler {
  const reading = readLevel(text);
  if (reading.kind === 'complaint') {
    throw new TypeError(`consistency(${JSON.stringify(text)}): ${reading.why}; levels: ${LEVELS}`);
  }
  const handler: Handler = async function consistency(_c, next) {
    return next();
  };
  LEVEL_OF.set(handler, reading.level);
  return handler;
}

/** A route of a safe method that writes all the same. */
export function writes(): Handler {
  return async function writes(c, next) {
    c.env.visit.access = 'write';
    return next();
  };
}

/** A route of an unsafe method that only reads, such as a search by POST. */
export function reads(): Handler {
  const handler: Handler = async function reads(c, next) {
    c.env.visit.access = 'read';
    return next();
  };
  READS.add(handler);
  return handler;
}

/** Whether this request's handler gets a connection that cannot write. */
export function isRead(c: Ctx, visit: Visit): boolean {
  if (visit.access !== undefined) return visit.access === 'read';
  return c.req.method === 'GET' || c.req.method === 'HEAD';
}

/**
 * The subject decides before the route's own middleware runs, so the marks of `mirrored`, `touches`
 * and `reference` are looked up among the handlers that matched.
 */
const MIRROR_OF = new WeakMap<object, string>();
const LEVEL_OF = new WeakMap<object, Level>();
const TABLES_OF = new WeakMap<object, readonly string[]>();
const READS = new WeakSet<object>();
/** Handlers that find out where a request belongs. */
const HOMED = new WeakSet<object>();

function homed(handler: Handler): Handler {
  HOMED.add(handler);
  return handler;
}

/**
 * The request's own word, else the last mark of its route, else the policy's.
 * @throws Refusal `unknown-consistency`
 */
function levelOf(c: Ctx): Level {
  const asked = c.req.header(CONSISTENCY_HEADER);
  if (asked !== undefined) {
    const reading = readLevel(asked);
    if (reading.kind === 'level') return reading.level;
    throw new Refusal({ kind: 'unknown-consistency', why: reading.why });
  }
  let level = c.env.visit.policy.policy.consistency;
  for (const { handler } of matchedRoutes(c)) level = LEVEL_OF.get(original(handler)) ?? level;
  return level;
}

/** Hono wraps the handlers of an app that is mounted into another one. */
function original(handler: object): object {
  return (handler as { [COMPOSED_HANDLER]?: object })[COMPOSED_HANDLER] ?? handler;
}

type Route = {
  mirror: string | undefined;
  transit: Transit;
  homed: boolean;
  /** Whether an idempotency key means anything: what changes nothing may be repeated anyway. */
  once: boolean;
};

/** @throws Refusal `undeclared-in-policy` */
function routeOf(c: Ctx): Route {
  const { edge, visit } = c.env;
  const tables: string[] = [];
  let mirror: string | undefined;
  let isHomed = false;
  let once = !isSafe(c.req.method);
  for (const { handler } of matchedRoutes(c)) {
    const known = original(handler);
    tables.push(...(TABLES_OF.get(known) ?? []));
    mirror ??= MIRROR_OF.get(known);
    isHomed ||= HOMED.has(known);
    if (READS.has(known)) once = false;
  }
  const mirroredTable = mirror === undefined ? undefined : visit.policy.tableOfMirror(mirror);
  if (mirroredTable !== undefined) tables.push(mirroredTable);
  return { mirror, transit: edge.transitOf(visit, tables), homed: isHomed, once };
}

/** The routes of an app as their description wants them. */
export function listedRoutes(app: { routes: readonly ListedRoute[] }): ListedRoute[] {
  return app.routes.map(({ method, path, handler }) => ({
    method,
    path,
    handler: original(handler),
  }));
}

/** What the marks among a route's handlers say of it. */
export function touchedBy(handlers: readonly object[], method: string): Touched {
  return {
    homed: handlers.some((handler) => HOMED.has(handler)),
    once: !isSafe(method) && !handlers.some((handler) => READS.has(handler)),
  };
}

/** Keeps everybody from a body that only the home may read, until the home is known. */
export function lockBody(c: Ctx): boolean {
  const { homed, transit } = routeOf(c);
  if (!homed || transit === 'proxy') return false;
  const lock = { key: c.req.raw, tried: false };
  c.env.visit.lockedBody = lock;
  c.req.raw = lockedBody(c.req.raw, lock);
  return true;
}

/** The home is here: the body may be read. */
function unlockBody(c: Ctx): void {
  const { visit } = c.env;
  if (visit.lockedBody !== undefined) c.req.raw = visit.lockedBody.key;
  visit.lockedBody = undefined;
}

/** @throws Refusal when the request has been where it may not be, or the app has tried to look. */
function checkTransit(c: Ctx, transit: Transit): void {
  const { edge, visit } = c.env;
  if (transit === 'redirect' && visit.hopFrom !== undefined) {
    const address = edge.addressAt(edge.here, c.req.url);
    throw new Refusal({ kind: 'transit-refused', from: visit.hopFrom, home: edge.here, address });
  }
  if (visit.lockedBody?.tried) throw new Refusal({ kind: 'body-before-home' });
}

/** @throws Refusal `idempotency-key-malformed` */
export function idempotencyKeyOf(c: Ctx): string | undefined {
  const value = c.req.header(KEY_HEADER);
  if (value === undefined || isSafe(c.req.method)) return undefined;
  const reading = readIdempotencyKey(value);
  if ('key' in reading) return reading.key;
  throw new Refusal({ kind: 'idempotency-key-malformed', why: reading.why });
}

async function keyedAs(c: Ctx, scope: string, idempotencyKey: string) {
  return c.env.edge.keyed(c, scope, idempotencyKey, await wholeBody(c));
}

/** The home is here: the rest of the request runs, once if it asks for that. */
async function handle(
  c: Ctx,
  scope: string,
  idempotencyKey: string | undefined,
  next: () => Promise<void>,
): Promise<void> {
  if (idempotencyKey === undefined) return next();
  const { edge, visit } = c.env;
  await answerOnce(edge, c, visit, await keyedAs(c, scope, idempotencyKey), next);
}

function hasBody(c: Ctx): boolean {
  return announcesBody(c.req.header());
}

function checkId(id: string): void {
  const why =
    id.length === 0
      ? 'is empty'
      : id.length > SUBJECT_CHARS_MAX
        ? `is longer than ${SUBJECT_CHARS_MAX} characters`
        : undefined;
  if (why !== undefined) throw new Refusal(invalid('id', why));
}

/** Ids that edges draw are UUIDs of version 8; nobody else may choose one, so they never collide. */
const DRAWN_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function checkChosenId(id: string): void {
  checkId(id);
  if (DRAWN_ID.test(id)) {
    throw new Refusal(invalid('id', 'is a UUID of version 8, which only an edge gives out'));
  }
}

function invalid(path: string, message: string): Failure {
  return { kind: 'invalid-request', complaints: [{ path, message }] };
}
