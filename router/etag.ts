/**
 * Is what the caller has seen of a resource what is stored now?
 *
 * For single resources with a version that grows with each change. A read tells the version as a
 * strong entity tag, a change names the one that it was made for. The comparisons and their order
 * are those of RFC 9110 section 13; asked inside the transaction that changes the resource, with its
 * row locked, the answer cannot be out of date.
 */
import type { Context } from 'hono';
import { type PreconditionField, Refusal } from './problem.ts';

/** What a resource's version is written as: a number, or any word without quotes and spaces. */
export type Version = string | number | bigint;

type Tag = { weak: boolean; opaque: string };
type Condition = '*' | readonly Tag[];

/** RFC 9110 section 8.8.3, without the bytes that are not ASCII. */
const OPAQUE = /^[\x21\x23-\x7e]*$/;
const TAG = /(W\/)?"([\x21\x23-\x7e]*)"/y;
const SEPARATOR = /[ \t]*,[ \t,]*/y;

/**
 * Tells the version in `ETag`. Of a read the answer is 304 when the caller has this version already:
 *
 *     return etag(c, order.version) ?? c.json(order);
 */
export function etag(c: Context, version: Version): Response | undefined {
  const tag = tagOf(version);
  c.header('etag', tag);
  if (c.req.method !== 'GET' && c.req.method !== 'HEAD') return undefined;
  const known = conditionOf(c.req.header('if-none-match'));
  // One that cannot be read is no reason to refuse a read.
  if (known === undefined || known === 'malformed') return undefined;
  const has = known === '*' || known.some(({ opaque }) => `"${opaque}"` === tag);
  return has ? c.body(null, 304, { etag: tag }) : undefined;
}

/**
 * Goes on if the request may be done to the version that is stored now; undefined: nothing is.
 * To be called in `data.write`, after `select ... for update`. With `required`, a request that does
 * not say which version it is for is refused as well.
 * @throws Refusal `precondition-failed`, `precondition-required` or `invalid-request`
 */
export function ifMatch(c: Context, version: Version | undefined, required?: 'required'): void {
  const present = version === undefined ? undefined : tagOf(version);
  const wanted = read(c, 'If-Match');
  const unwanted = read(c, 'If-None-Match');
  if (wanted === undefined && required !== undefined) {
    throw new Refusal({ kind: 'precondition-required', etag: present });
  }
  if (wanted !== undefined && !isAmong(wanted, present, 'strong')) {
    throw new Refusal({ kind: 'precondition-failed', field: 'If-Match', etag: present });
  }
  if (unwanted !== undefined && isAmong(unwanted, present, 'weak')) {
    throw new Refusal({ kind: 'precondition-failed', field: 'If-None-Match', etag: present });
  }
}

/** @throws Refusal `invalid-request`: a precondition that cannot be read does not hold. */
function read(c: Context, field: PreconditionField): Condition | undefined {
  const condition = conditionOf(c.req.header(field));
  if (condition !== 'malformed') return condition;
  throw new Refusal({
    kind: 'invalid-request',
    complaints: [{ path: field, message: 'is neither * nor a list of entity tags in quotes' }],
  });
}

/** A weak tag may stand for several states of a resource, so it never matches strongly. */
function isAmong(
  condition: Condition,
  present: string | undefined,
  comparison: 'strong' | 'weak',
): boolean {
  if (present === undefined) return false;
  if (condition === '*') return true;
  return condition.some(
    ({ weak, opaque }) => `"${opaque}"` === present && !(weak && comparison === 'strong'),
  );
}

function conditionOf(value: string | undefined): Condition | 'malformed' | undefined {
  if (value === undefined) return undefined;
  const text = value.replace(/^[ \t,]+|[ \t,]+$/g, '');
  if (text === '*') return '*';
  const tags: Tag[] = [];
  for (let at = 0; ; at = SEPARATOR.lastIndex) {
    TAG.lastIndex = at;
    const found = TAG.exec(text);
    if (found === null) return 'malformed';
    tags.push({ weak: found[1] !== undefined, opaque: found[2] ?? '' });
    if (TAG.lastIndex === text.length) return tags;
    SEPARATOR.lastIndex = TAG.lastIndex;
    if (!SEPARATOR.test(text)) return 'malformed';
  }
}

function tagOf(version: Version): string {
  const opaque = String(version);
  if (!OPAQUE.test(opaque)) throw new RangeError('a version has quotes, spaces or other letters');
  return `"${opaque}"`;
}
