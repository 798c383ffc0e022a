import { expect, test } from 'vitest';
import { COUNTRIES, countryCode, countryName, isCountry, suggestCountry } from './countries.ts';

test('there are the 249 countries of ISO 3166-1 and Kosovo', () => {
  expect(COUNTRIES).toHaveLength(250);
  expect(new Set(COUNTRIES).size).toBe(250);
  expect(COUNTRIES).toEqual([...COUNTRIES].sort());
  expect(isCountry('XK')).toBe(true);
  expect(countryName('XK')).toBe('Kosovo');
});

test.each(['DE', 'de', 'De'])('%s is Germany', (text) => {
  expect(countryCode(text)).toBe('DE');
});

// The last two become "FF" and "ST" in upper case, and one of those is a country.
test.each(['', 'D', 'DEU', ' DE', 'DE ', 'UK', 'EU', 'XX', 'AC', '00', 'constructor', 'ﬀ', 'ﬆ'])(
  '%j is no country',
  (text) => {
    expect(countryCode(text)).toBeUndefined();
  },
);

test('a policy file is held to upper case', () => {
  expect(isCountry('de')).toBe(false);
  expect(suggestCountry('de')).toBe('DE');
});

test.each([
  ['UK', 'GB'],
  ['EL', 'GR'],
  ['DEU', 'DE'],
  ['usa', 'US'],
  ['TA', 'SH'],
  ['Germany', 'DE'],
  ['Switzerlnd', 'CH'],
])('%s was probably meant to be %s', (text, code) => {
  expect(suggestCountry(text)).toBe(code);
});

test.each(['EU', 'XX', 'D', '', 'Atlantis'])('%j suggests no country', (text) => {
  expect(suggestCountry(text)).toBeUndefined();
});
