/**
 * May this name stand in SQL as it is?
 *
 * Names of tables and columns go from the policy into SQL without quotes. A column called `user`
 * would not fail there: it would be read as the current role. So the words that SQL keeps for
 * itself are no names, and a test holds this list against PostgreSQL's own.
 */

/** Letters that need no quoting in SQL, in the length that PostgreSQL keeps whole. */
export const IDENTIFIER = /^[a-z_][a-z0-9_]{0,62}$/;

export function isPlainName(name: string): boolean {
  return IDENTIFIER.test(name) && !isReserved(name);
}

export function isReserved(word: string): boolean {
  return RESERVED.has(word);
}

const RESERVED: ReadonlySet<string> = new Set(
  `
  all analyse analyze and any array as asc asymmetric authorization binary both case cast check
  collate collation column concurrently constraint create cross current_catalog current_date
  current_role current_schema current_time current_timestamp current_user default deferrable
  desc distinct do else end except false fetch for foreign freeze from full grant group having
  ilike in initially inner intersect into is isnull join lateral leading left like limit
  localtime localtimestamp natural not notnull null offset on only or order outer overlaps
  placing primary references returning right select session_user similar some symmetric
  system_user table tablesample then to trailing true union unique user using variadic verbose
  when where window with`
    .trim()
    .split(/\s+/),
);
