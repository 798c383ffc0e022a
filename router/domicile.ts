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
import type { Attributes } from '../policies/placement.ts';
import type { RegionId } from '../regions/catalogue.ts';
import type { Sql } from '../regions/postgres.ts';
import type { Edge } from './edge.ts';
import { type Failure, Refusal } from './problem.ts';
import type { Visit } from './visit.ts';

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
   * standby as well. What `work` throws rolls it back.
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
  return async function subject(c, next) {
    const { edge, visit } = c.env;
    const id = idOf(c);
    checkId(id);
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
      c.set('subject', id);
      c.set('data', edge.dataAtHome(c, visit));
      return next();
    }
    const mirror = mirrorOfRoute(c);
    if (mirror !== undefined) {
      const data = edge.dataOfMirror(c, visit, mirror, home);
      if (data !== undefined) {
        c.set('subject', id);
        c.set('data', data);
        return next();
      }
    }
    return edge.forward(c, visit, home);
  };
}

/** Creates a subject: the policy picks its home, and the handler runs there. */
export function place(newcomerOf: (c: Ctx) => Newcomer | Promise<Newcomer>): Handler {
  return async function place(c, next) {
    const { edge, visit } = c.env;
    visit.access = 'write';
    const newcomer = await newcomerOf(c);
    const id = newcomer.id ?? edge.drawId();
    if (newcomer.id !== undefined) checkChosenId(newcomer.id);
    edge.openSession(visit, c);
    const home = edge.place(visit, newcomer);
    if (home !== edge.here) return edge.forward(c, visit, home);
    const claim = newcomer.id === undefined ? undefined : await edge.claim(visit, id);
    edge.enter(visit, id);
    c.set('subject', id);
    c.set('data', edge.dataOfNewcomer(c, visit, id, claim));
    try {
      await next();
    } finally {
      await edge.settleClaim(visit, id, claim);
    }
    return undefined;
  };
}

/** A table that belongs to nobody: read everywhere, written by its owner region. */
export function reference(table: string): Handler {
  return async function reference(c, next) {
    const { edge, visit } = c.env;
    const owner = edge.ownerOf(visit, table);
    visit.home = owner;
    edge.openSession(visit, c);
    const data =
      owner === edge.here
        ? edge.dataAtHome(c, visit)
        : edge.dataOfReference(c, visit, table, owner);
    if (data === undefined) return edge.forward(c, visit, owner);
    if (owner === edge.here) edge.receiptOfHop(c, visit);
    c.set('data', data);
    return next();
  };
}

/** A route that only reads what the policy mirrors abroad may be served away from home. */
export function mirrored(mirror: string): Handler {
  const handler: Handler = async function mirrored(_c, next) {
    return next();
  };
  MIRROR_OF.set(handler, mirror);
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
  return async function reads(c, next) {
    c.env.visit.access = 'read';
    return next();
  };
}

/** Whether this request's handler gets a connection that cannot write. */
export function isRead(c: Ctx, visit: Visit): boolean {
  if (visit.access !== undefined) return visit.access === 'read';
  return c.req.method === 'GET' || c.req.method === 'HEAD';
}

/**
 * The subject decides before the route's own middleware runs, so the mark of `mirrored` is looked
 * up among the handlers that matched.
 */
const MIRROR_OF = new WeakMap<object, string>();

function mirrorOfRoute(c: Ctx): string | undefined {
  for (const { handler } of matchedRoutes(c)) {
    const composed = (handler as { [COMPOSED_HANDLER]?: object })[COMPOSED_HANDLER];
    const mirror = MIRROR_OF.get(composed ?? handler);
    if (mirror !== undefined) return mirror;
  }
  return undefined;
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
