/**
 * Does this request's body have the shape that the route expects?
 *
 * Complaints name every wrong field at once; the values themselves never appear in them.
 */
import type { Context } from 'hono';
import type { z } from 'zod';
import { Refusal } from './problem.ts';

/** The body as the schema makes it. @throws Refusal `malformed-json` or `invalid-request`. */
export async function readJson<S extends z.ZodType>(c: Context, schema: S): Promise<z.infer<S>> {
  const text = await c.req.text();
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Refusal({ kind: 'malformed-json', why: whyMalformed(text, error) });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new Refusal({
    kind: 'invalid-request',
    complaints: parsed.error.issues.map(({ path, message }) => ({
      path: path.length === 0 ? 'body' : path.join('.'),
      message,
    })),
  });
}

/** V8 quotes the offending text in its message; only the place may be told. */
function whyMalformed(text: string, error: unknown): string {
  if (text.trim() === '') return 'The body is empty.';
  const place = error instanceof Error ? /position (\d+)/.exec(error.message)?.[1] : undefined;
  return place === undefined ? 'It ends or breaks off early.' : `It breaks at character ${place}.`;
}
