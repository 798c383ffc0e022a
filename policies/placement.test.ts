import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { COUNTRIES } from './countries.ts';
import { type Attributes, placeSubject } from './placement.ts';
import { jurisdictionOf, type Policy } from './policy.ts';
import { readPolicy } from './read-policy.ts';

const storefront = policyAt('../examples/storefront/residency.yaml');
const template = policyAt('residency.yaml');

function policyAt(path: string): Policy {
  const text = (at: string) => readFileSync(new URL(at, import.meta.url), 'utf8');
  const regions = readCatalogue(text('../examples/storefront/regions.yaml'), 'regions.yaml');
  if ('complaints' in regions) throw new Error(regions.complaints.map(formatComplaint).join('\n'));
  const reading = readPolicy(text(path), path, regions.catalogue);
  if ('complaints' in reading) throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  return reading.policy;
}

/** The 27 members of the European Union, the rest of the EEA, the United Kingdom, Switzerland. */
const EUROPE =
  'AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK IS LI NO GB CH';

test.each(EUROPE.split(' '))('somebody from %s lives in eu and nowhere else', (country) => {
  expect(placeSubject(storefront, { country })).toMatchObject({
    kind: 'placed',
    home: 'eu',
    country,
    jurisdiction: 'europe',
    rule: 'europe',
  });
  expect(jurisdictionOf(storefront, country)?.regions).toEqual(['eu']);
});

test.each([
  ['US', 'us', 'americas'],
  ['BR', 'us', 'americas'],
  ['CA', 'us', 'americas'],
  ['GL', 'us', 'americas'],
  ['JP', 'asia', 'asia-pacific'],
  ['IN', 'asia', 'asia-pacific'],
  ['AU', 'asia', 'asia-pacific'],
  ['NZ', 'asia', 'asia-pacific'],
  ['RE', 'eu', 'europe'],
  ['UA', 'eu', 'europe'],
  ['XK', 'eu', 'europe'],
  ['NG', 'us', 'rest-of-world'],
  ['AE', 'us', 'rest-of-world'],
  ['AQ', 'us', 'rest-of-world'],
])('somebody from %s lives in %s by the rule %s', (country, home, rule) => {
  expect(placeSubject(storefront, { country })).toMatchObject({ kind: 'placed', home, rule });
});

test('every country of the world has a home', () => {
  const refused = COUNTRIES.filter(
    (country) => placeSubject(storefront, { country }).kind !== 'placed',
  );
  expect(refused).toEqual([]);
});

test('a placement says which rules were passed over, and which fact decided that', () => {
  expect(placeSubject(storefront, { country: 'br' })).toEqual({
    kind: 'placed',
    home: 'us',
    country: 'BR',
    jurisdiction: 'americas',
    rule: 'americas',
    because: 'The nearest region.',
    passedOver: [
      { rule: 'contract-pins-europe', fact: 'contract', wanted: ['eu-only'], found: 'standard' },
      {
        rule: 'europe',
        fact: 'jurisdiction',
        wanted: ['europe', 'europes-neighbours'],
        found: 'americas',
      },
    ],
  });
});

test('an earlier rule wins: a contract keeps an American in eu', () => {
  expect(placeSubject(storefront, { country: 'US', contract: 'eu-only' })).toMatchObject({
    home: 'eu',
    rule: 'contract-pins-europe',
    passedOver: [],
  });
});

test('a rule with two conditions needs both', () => {
  expect(placeSubject(template, { country: 'QA', plan: 'business' })).toMatchObject({
    home: 'eu',
    rule: 'business-in-the-gulf',
  });
  expect(placeSubject(template, { country: 'QA' })).toMatchObject({ rule: 'rest-of-world' });
  expect(placeSubject(template, { country: 'EG', plan: 'business' })).toMatchObject({
    rule: 'rest-of-world',
  });
});

test.each([
  [{ country: 'UK' }, { because: 'unknown-country', country: 'UK', suggestion: 'GB' }],
  [{ country: 'XX' }, { because: 'unknown-country', country: 'XX', suggestion: undefined }],
  [{ country: '' }, { because: 'unknown-country', country: '', suggestion: undefined }],
  [
    { country: 'US', contrat: 'eu-only' },
    { because: 'unknown-attribute', attribute: 'contrat', suggestion: 'contract' },
  ],
  [
    { country: 'US', home: 'us' },
    { because: 'unknown-attribute', attribute: 'home', suggestion: undefined },
  ],
  [
    { country: 'DE', jurisdiction: 'americas' },
    { because: 'unknown-attribute', attribute: 'jurisdiction', suggestion: undefined },
  ],
  [
    { country: 'US', contract: 'EU-only' },
    {
      because: 'unknown-value',
      attribute: 'contract',
      value: 'EU-only',
      allowed: ['standard', 'eu-only'],
      suggestion: 'eu-only',
    },
  ],
])('%j is refused', (attributes: Attributes, refusal) => {
  expect(placeSubject(storefront, attributes)).toEqual({ kind: 'refused', ...refusal });
});

test.each([undefined, null, 49, ['DE'], {}])(
  'the country %j is refused, not guessed',
  (country) => {
    const attributes = { country } as unknown as Attributes;
    expect(placeSubject(storefront, attributes)).toMatchObject({ kind: 'refused' });
  },
);

test('an attribute without a default must be stated', () => {
  const attributes = new Map([['contract', { values: ['standard'], default: undefined }]]);
  expect(placeSubject({ ...storefront, attributes }, { country: 'US' })).toEqual({
    kind: 'refused',
    because: 'missing-attribute',
    attribute: 'contract',
    allowed: ['standard'],
  });
});

test('a country that no jurisdiction names is refused', () => {
  const jurisdictions = new Map(
    [...storefront.jurisdictions].filter(([name]) => name !== 'europe'),
  );
  expect(placeSubject({ ...storefront, jurisdictions }, { country: 'DE' })).toEqual({
    kind: 'refused',
    because: 'no-jurisdiction',
    country: 'DE',
  });
});

test('when no rule matches, nobody is placed', () => {
  const placement = storefront.placement.filter(({ rule }) => rule !== 'rest-of-world');
  expect(placeSubject({ ...storefront, placement }, { country: 'NG' })).toMatchObject({
    kind: 'refused',
    because: 'no-rule',
    passedOver: placement.map(({ rule }) => ({ rule })),
  });
});

/** A policy that nobody checked: every rule sends everybody to `home`. */
function sendingEverybodyTo(home: string): Policy {
  return { ...storefront, placement: storefront.placement.map((rule) => ({ ...rule, home })) };
}

test('a rule that leads out of the jurisdiction is refused, however it got past the checks', () => {
  expect(placeSubject(sendingEverybodyTo('us'), { country: 'DE' })).toMatchObject({
    kind: 'refused',
    because: 'outside-jurisdiction',
    rule: 'europe',
    home: 'us',
    jurisdiction: 'europe',
    allowed: ['eu'],
  });
});

const country = fc.constantFrom(...COUNTRIES);
const contract = fc.constantFrom('standard', 'eu-only');
const plan = fc.constantFrom('free', 'business');

test('whoever is placed lives where the jurisdiction allows, and nobody is left over', async () => {
  await fc.assert(
    fc.property(country, contract, plan, (code, deal, tier) => {
      const placement = placeSubject(template, { country: code, contract: deal, plan: tier });
      if (placement.kind === 'refused') throw new Error(placement.because);
      expect(jurisdictionOf(template, code)?.regions).toContain(placement.home);
    }),
    { numRuns: 1_000 },
  );
});

test('whatever the rules say, nobody is placed outside the jurisdiction', async () => {
  const home = fc.constantFrom('us', 'eu', 'asia', 'mars');
  await fc.assert(
    fc.property(country, contract, home, (code, deal, region) => {
      const policy = sendingEverybodyTo(region);
      const placement = placeSubject(policy, { country: code, contract: deal });
      const allowed = jurisdictionOf(policy, code)?.regions.includes(region);
      expect(placement.kind).toBe(allowed ? 'placed' : 'refused');
    }),
    { numRuns: 1_000 },
  );
});

test('no attributes whatever are placed by accident', async () => {
  const value = fc.oneof(fc.string(), country, contract);
  const attributes = fc.dictionary(
    fc.oneof(fc.string(), fc.constantFrom('contract', 'plan')),
    value,
  );
  await fc.assert(
    fc.property(value, attributes, (code, others) => {
      const placement = placeSubject(template, { ...others, country: code });
      if (placement.kind === 'refused') return;
      expect(COUNTRIES).toContain(code.toUpperCase());
      expect(['contract', 'plan']).toEqual(expect.arrayContaining(Object.keys(others)));
    }),
    { numRuns: 2_000 },
  );
});
