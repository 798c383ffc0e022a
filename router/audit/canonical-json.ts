/**
 * Which bytes stand for a JSON value, whoever writes it down?
 *
 * RFC 8785: no spaces, keys in the order of their UTF-16 units, numbers and strings as ECMAScript
 * writes them. What has no such form is a bug of the caller.
 */

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json };

/** @throws TypeError for a number or a string that JSON cannot hold. */
export function canonicalJson(value: Json): string {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    throw new TypeError(`${value} is no JSON number`);
  }
  if (typeof value === 'string' && !value.isWellFormed()) {
    throw new TypeError('a string with half a character is no JSON string');
  }
  if (value === null || typeof value !== 'object') return JSON.stringify(value);
  if (isList(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value)
    // By code units, which is what JavaScript compares.
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`);
  return `{${members.join(',')}}`;
}

/** Array.isArray does not narrow readonly arrays. */
function isList(
  value: readonly Json[] | { readonly [key: string]: Json },
): value is readonly Json[] {
  return Array.isArray(value);
}
