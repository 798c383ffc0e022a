/**
 * Is this the code of a country, and which one was meant if not?
 *
 * The codes are the 249 of ISO 3166-1 alpha-2 and XK, which ISO leaves to its users and which is
 * in common use for Kosovo: without it, somebody from there could not sign up anywhere. Upper case
 * is canonical. Callers may write lower case, because web forms do; a policy file may not, because
 * lawyers compare it with lists. Three-letter codes and names are only ever suggested from.
 */
import { getCountryDataList } from 'countries-list';
import { nearest } from '../regions/yaml-suggestion.ts';

/** Two upper-case letters, such as `DE`. */
export type CountryCode = string;

/** Reserved by ISO for parts of Saint Helena (SH), not countries of the standard. */
const NOT_IN_THE_STANDARD: ReadonlySet<string> = new Set(['AC', 'TA']);

const LIST = getCountryDataList().filter(({ iso2 }) => !NOT_IN_THE_STANDARD.has(iso2));

const NAMES: ReadonlyMap<CountryCode, string> = new Map(
  LIST.map(({ iso2, name }): [CountryCode, string] => [iso2, name]).sort(([a], [b]) =>
    a < b ? -1 : 1,
  ),
);

/** Every known code, in alphabetical order. */
export const COUNTRIES: readonly CountryCode[] = [...NAMES.keys()];

/** What people write instead: alpha-3 codes, and codes that other registries use. */
const OFTEN_WRITTEN: ReadonlyMap<string, CountryCode> = new Map([
  ...LIST.map(({ iso2, iso3 }): [string, CountryCode] => [iso3, iso2]),
  ['UK', 'GB'],
  ['EL', 'GR'],
  ['AC', 'SH'],
  ['TA', 'SH'],
]);

const BY_NAME: ReadonlyMap<string, CountryCode> = new Map(
  LIST.map(({ iso2, name }): [string, CountryCode] => [name.toLowerCase(), iso2]),
);

/** The canonical code for `de` or `DE`; undefined for anything that is not exactly a code. */
export function countryCode(text: string): CountryCode | undefined {
  const code = text.toUpperCase();
  // The length keeps out letters such as U+FB00, whose upper case is two ASCII letters.
  return text.length === 2 && NAMES.has(code) ? code : undefined;
}

export function isCountry(text: string): boolean {
  return NAMES.has(text);
}

/** English name, for messages only: decisions never look at it. */
export function countryName(code: CountryCode): string {
  return NAMES.get(code) ?? code;
}

/** The code that was probably meant by something that is not one. */
export function suggestCountry(text: string): CountryCode | undefined {
  const upper = text.trim().toUpperCase();
  if (NAMES.has(upper)) return upper;
  const known = OFTEN_WRITTEN.get(upper);
  if (known !== undefined) return known;
  const name = text.trim().toLowerCase();
  if (name.length < 4) return undefined;
  // Two letters are too few to guess from, so only names are compared by their spelling.
  return BY_NAME.get(name) ?? BY_NAME.get(nearest(name, BY_NAME.keys()) ?? '');
}
