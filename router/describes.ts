/**
 * How does a route say what it takes and what it answers?
 *
 * With the schemas that its handler reads by, so that the description of the interface is made of
 * the code. It changes nothing of what the route does; `openapi.ts` reads it.
 */
import type { MiddlewareHandler } from 'hono';
import type { z } from 'zod';

export type Described = {
  /** One line, for the list of operations. */
  summary: string;
  /** What each `:name` of the path may be; any text where it is not said. */
  params?: Readonly<Record<string, z.ZodType>>;
  /** An object whose keys are the query's. */
  query?: z.ZodObject;
  /** Header fields of the request that this route knows beside those of every route. */
  headers?: Readonly<Record<string, string>>;
  body?: z.ZodType;
  /** By status, the answers that the handler gives itself. Refusals need not be said. */
  answers: Readonly<Record<number, { says: string; body?: z.ZodType }>>;
};

const DESCRIBED = new WeakMap<object, Described>();

/** Notes what the route below takes and answers. */
export function describes(described: Described): MiddlewareHandler {
  const handler: MiddlewareHandler = async function describes(_c, next) {
    return next();
  };
  DESCRIBED.set(handler, described);
  return handler;
}

export function describedBy(handler: object): Described | undefined {
  return DESCRIBED.get(handler);
}
