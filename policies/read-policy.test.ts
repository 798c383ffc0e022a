import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import * as z from 'zod';
import type { Catalogue } from '../regions/catalogue.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { readYaml } from '../regions/yaml-file.ts';
import { jsonSchemaOf } from '../regions/yaml-json-schema.ts';
import { checkPolicy } from './check-policy.ts';
import { exportsOf, failoverRegions, type Policy } from './policy.ts';
import { PolicyFile } from './policy-file.ts';
import { readPolicy } from './read-policy.ts';

const SAMPLE = `version: 3
because: A second jurisdiction
effective: 2026-11-01
attributes:
  contract: { values: [standard, eu-only], default: standard }
jurisdictions:
  europe: { countries: [DE, FR, "NO"], regions: [eu] }
  pacific: { countries: [JP, NZ], regions: [asia, eu], copies: [us] }
  elsewhere: { countries: others, regions: [us, eu], copies: [asia] }
placement:
  - { rule: pinned, when: { contract: eu-only }, home: eu }
  - { rule: europe, when: { jurisdiction: europe }, home: eu, because: The law. }
  - { rule: pacific, when: { jurisdiction: [pacific] }, home: asia }
  - { rule: rest, when: { jurisdiction: elsewhere }, home: us }
tables:
  users:
    subject: id
    transit: proxy
    mirrors:
      - { as: cards, columns: [id, name, shown], rows: { shown: true }, homes: [us, asia], to: [us, eu, asia] }
  orders: { subject: user_id, transit: redirect }
  products: { reference: { owner: us } }
failover: { scope: region }
idempotency: { retention: 24h }
`;

const CATALOGUE = catalogueAt('../examples/storefront/regions.yaml');

function catalogueAt(path: string): Catalogue {
  const reading = readCatalogue(readFileSync(new URL(path, import.meta.url), 'utf8'), path);
  if ('complaints' in reading) throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  return reading.catalogue;
}

function policyOf(text: string): Policy {
  const reading = readPolicy(text, 'residency.yaml', CATALOGUE);
  if ('complaints' in reading) throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  return reading.policy;
}

function complaints(text: string): string[] {
  const reading = readPolicy(text, 'residency.yaml', CATALOGUE);
  return 'policy' in reading ? [] : reading.complaints.map(formatComplaint);
}

/** The sample with one passage changed, which must be there. */
function edited(from: string, to: string): string {
  if (!SAMPLE.includes(from)) throw new Error(`the sample has no ${from}`);
  return SAMPLE.replace(from, () => to);
}

/** The sample from one word up to another. */
function between(from: string, to: string): string {
  return SAMPLE.slice(SAMPLE.indexOf(from), SAMPLE.indexOf(to));
}

/** Whether a complaint stands at the word it quotes, or at least at the start of some word. */
function pointsAt(text: string, complaint: string): boolean {
  const [, line, column, message = ''] = /^(\d+):(\d+) {2}.*?: (.*)$/.exec(complaint) ?? [];
  const written = text.split('\n')[Number(line) - 1] ?? '';
  const here = written.slice(Number(column) - 1);
  const quoted = /^(no \S+ )?"([^"]+)"/.exec(message)?.[2];
  if (quoted !== undefined) return here.startsWith(quoted) || here.startsWith(`"${quoted}"`);
  return /(^|[\s[{])$/.test(written.slice(0, Number(column) - 1)) && /^\S/.test(here);
}

test('a policy is read as it is written', () => {
  const policy = policyOf(SAMPLE);
  expect(policy).toMatchObject({
    version: 3,
    because: 'A second jurisdiction',
    effective: '2026-11-01',
    failover: {
      scope: 'region',
      commits: 'synchronous',
      possibleLoss: undefined,
      sites: new Map(),
      betweenSites: 'order',
    },
    idempotency: { retentionMs: 86_400_000 },
  });
  expect(policy.attributes.get('contract')).toEqual({
    values: ['standard', 'eu-only'],
    default: 'standard',
  });
  expect(policy.jurisdictions.get('pacific')).toEqual({
    name: 'pacific',
    title: 'pacific',
    countries: new Set(['JP', 'NZ']),
    regions: ['asia', 'eu'],
    copies: ['us'],
  });
  expect(policy.jurisdictions.get('elsewhere')?.countries.size).toBe(250 - 5);
  expect(policy.placement.map(({ rule, because }) => [rule, because])).toEqual([
    ['pinned', 'contract is eu-only'],
    ['europe', 'The law.'],
    ['pacific', 'jurisdiction is pacific'],
    ['rest', 'jurisdiction is elsewhere'],
  ]);
  expect(policy.tables.get('orders')).toEqual({
    kind: 'subject',
    name: 'orders',
    subject: 'user_id',
    transit: 'redirect',
    mirrors: [],
  });
  expect(policy.tables.get('products')).toEqual({
    kind: 'reference',
    name: 'products',
    owner: 'us',
  });
});

test('a home that is also a destination receives from the other homes only', () => {
  const ways = exportsOf(policyOf(SAMPLE));
  expect(ways.map(({ table, from, to, mirror }) => `${table} ${from} ${to} ${mirror.as}`)).toEqual([
    'users us eu cards',
    'users us asia cards',
    'users asia us cards',
    'users asia eu cards',
  ]);
  expect(ways[0]?.mirror.rows).toEqual([{ column: 'shown', oneOf: [true] }]);
});

test.each([
  ['90s', 90_000],
  ['1m', 60_000],
  ['36h', 129_600_000],
  ['31d', 2_678_400_000],
])('a retention of %s is %d ms', (retention, retentionMs) => {
  expect(policyOf(edited('24h', retention)).idempotency).toEqual({ retentionMs });
});

test.each([
  [
    'unknown key',
    'subject: id',
    'subjct: id',
    [
      '16:3  tables.users: whose is it? Name its subject column, or say that it is reference data',
      '17:5  tables.users.subjct: no such key; did you mean "subject"?',
    ],
  ],
  [
    'unknown key at the top',
    'failover:',
    'fail_over:',
    [
      '1:1  failover: missing: what may happen when a region is lost',
      '23:1  fail_over: no such key; did you mean "failover"?',
    ],
  ],
  [
    'the same key twice',
    'effective: 2026-11-01\n',
    'effective: 2026-11-01\nversion: 4\n',
    ['4:1  version: a second time; the first is in line 1'],
  ],
  [
    'wrong type',
    'version: 3',
    'version: three',
    ['1:10  version: expected a whole number, not "three"'],
  ],
  [
    'no reason',
    'because: A second jurisdiction',
    'because: " "',
    ['2:10  because: " " is not a reason'],
  ],
  [
    'a day that no calendar has',
    '2026-11-01',
    '2026-02-29',
    ['3:12  effective: "2026-02-29" is not a date such as 2026-11-01'],
  ],
  [
    'a year that PostgreSQL does not have',
    '2026-11-01',
    '0000-01-01',
    ['3:12  effective: "0000-01-01" is before the year 2000'],
  ],
  [
    'a date in words',
    '2026-11-01',
    'tomorrow',
    ['3:12  effective: "tomorrow" is not a date such as 2026-11-01'],
  ],
  [
    'a bad duration',
    '24h',
    '1 day',
    ['24:27  idempotency.retention: "1 day" is not a duration such as 90m, 24h or 7d'],
  ],
  [
    'too short a duration',
    '24h',
    '59s',
    ['24:27  idempotency.retention: "59s" is less than one minute'],
  ],
  ['too long a duration', '24h', '32d', ['24:27  idempotency.retention: "32d" is more than 31d']],
  [
    'default that is no value',
    'default: standard',
    'default: standrd',
    [
      '5:53  attributes.contract.default: "standrd" is not among the values; did you mean "standard"?',
    ],
  ],
  [
    'attribute with a built-in name',
    '  contract: {',
    '  country: { values: [x] }\n  contract: {',
    ['5:3  attributes.country: every subject has this already'],
  ],
  [
    'attribute value twice',
    '[standard, eu-only]',
    '[standard, eu-only, standard]',
    ['5:43  attributes.contract.values[2]: "standard" is listed twice'],
  ],

  [
    'unknown country',
    '[DE, FR',
    '[DE, UK',
    [
      '7:29  jurisdictions.europe.countries[1]: "UK" is not a country code of ISO 3166-1 alpha-2; did you mean "GB"?',
    ],
  ],
  [
    'country in lower case',
    '[DE, FR',
    '[DE, fr',
    [
      '7:29  jurisdictions.europe.countries[1]: "fr" is not a country code of ISO 3166-1 alpha-2; did you mean "FR"?',
    ],
  ],
  [
    'the Union as a country',
    '[DE, FR',
    '[DE, EU',
    ['7:29  jurisdictions.europe.countries[1]: "EU" is not a country: list its members'],
  ],
  [
    'country in two jurisdictions',
    '[JP, NZ]',
    '[JP, FR]',
    ['8:30  jurisdictions.pacific.countries[1]: FR is in europe already'],
  ],
  [
    'country twice in one',
    '[JP, NZ]',
    '[JP, JP]',
    ['8:30  jurisdictions.pacific.countries[1]: JP is listed twice'],
  ],
  [
    'country in none',
    'countries: others',
    'countries: [US]',
    [
      '6:1  jurisdictions: in no jurisdiction: AD, AE, AF, AG, AI and 239 more; list them, or say "countries: others" in one',
    ],
  ],
  [
    'others twice',
    'countries: [JP, NZ]',
    'countries: others',
    [
      '9:27  jurisdictions.elsewhere.countries: pacific has the others already; only one jurisdiction can',
      '14:5  placement[3]: matches nobody: its conditions cannot hold together',
    ],
  ],
  [
    'no jurisdictions',
    between('jurisdictions:', 'placement:'),
    'jurisdictions: {}\n',
    [
      '6:1  jurisdictions: is empty: name at least one',
      '9:43  placement[1].when.jurisdiction: no jurisdiction "europe" is declared',
      '10:45  placement[2].when.jurisdiction[0]: no jurisdiction "pacific" is declared',
      '11:41  placement[3].when.jurisdiction: no jurisdiction "elsewhere" is declared',
    ],
  ],
  [
    'no countries',
    '[DE, FR, "NO"]',
    '[]',
    [
      '7:24  jurisdictions.europe.countries: is empty: name at least one',
      '12:5  placement[1]: matches nobody: its conditions cannot hold together',
    ],
  ],
  [
    'another word for countries',
    'countries: others',
    'countries: the rest',
    [
      '9:27  jurisdictions.elsewhere.countries: "the rest" does not fit: country codes of ISO 3166-1 alpha-2, upper case; or the word others, in one jurisdiction at most, for every country that no other one names',
    ],
  ],
  [
    'no regions',
    'regions: [us, eu], copies',
    'regions: [], copies',
    ['9:44  jurisdictions.elsewhere.regions: is empty: name at least one'],
  ],
  [
    'unknown region of a jurisdiction',
    'regions: [eu] }',
    'regions: [eu, ue] }',
    ['7:54  jurisdictions.europe.regions[1]: no region "ue" in the catalogue; did you mean "us"?'],
  ],
  [
    'unknown region for copies',
    'copies: [us]',
    'copies: [us, mars]',
    ['8:69  jurisdictions.pacific.copies[1]: no region "mars" in the catalogue'],
  ],
  [
    'copies where the regions are',
    'copies: [us]',
    'copies: [us, eu]',
    ['8:69  jurisdictions.pacific.copies[1]: eu is among the regions already'],
  ],

  [
    'jurisdiction undeclared',
    '{ jurisdiction: europe }',
    '{ jurisdiction: euorpe }',
    [
      '12:43  placement[1].when.jurisdiction: no jurisdiction "euorpe" is declared; did you mean "europe"?',
    ],
  ],
  [
    'attribute undeclared',
    '{ contract: eu-only }',
    '{ contrat: eu-only }',
    ['11:29  placement[0].when.contrat: no such attribute is declared; did you mean "contract"?'],
  ],
  [
    'attribute value undeclared',
    '{ contract: eu-only }',
    '{ contract: [eu-onyl] }',
    [
      '11:40  placement[0].when.contract[0]: "eu-onyl" is not a value of contract; did you mean "eu-only"?',
    ],
  ],
  [
    'unknown country in a rule',
    '{ contract: eu-only }',
    '{ country: [DE, Frnace] }',
    [
      '11:43  placement[0].when.country[1]: "Frnace" is not a country code of ISO 3166-1 alpha-2; did you mean "FR"?',
    ],
  ],
  [
    'a rule about nothing',
    '{ contract: eu-only }',
    '{}',
    ['11:27  placement[0].when: is empty: say "everyone" if that is meant'],
  ],
  [
    'a rule for a misspelt everyone',
    '{ contract: eu-only }',
    'everybody',
    [
      '11:27  placement[0].when: "everybody" does not fit: what must be true of the subject, all of it: country, jurisdiction or declared attributes; did you mean "everyone"?',
    ],
  ],
  [
    'a rule that never decides',
    '  - { rule: rest',
    '  - { rule: germany, when: { country: DE, contract: [standard] }, home: eu }\n  - { rule: rest',
    ['14:5  placement[3]: never decides: everyone it matches is taken by europe'],
  ],
  [
    'a rule that two others shadow',
    '  - { rule: rest',
    '  - { rule: germany, when: { country: DE }, home: eu }\n  - { rule: rest',
    ['14:5  placement[3]: never decides: everyone it matches is taken by europe, pinned'],
  ],
  [
    'a rule that contradicts itself',
    '{ contract: eu-only }',
    '{ country: JP, jurisdiction: europe }',
    ['11:5  placement[0]: matches nobody: its conditions cannot hold together'],
  ],
  [
    'no rule for a jurisdiction',
    '  - { rule: pacific, when: { jurisdiction: [pacific] }, home: asia }\n',
    '',
    ['10:1  placement: no rule for JP, NZ with contract standard'],
  ],
  [
    'no rule for anybody',
    between('placement:', 'tables:'),
    'placement: []\n',
    ['10:12  placement: is empty: name at least one'],
  ],
  [
    'home not in the catalogue',
    'home: asia',
    'home: aisa',
    ['13:63  placement[2].home: no region "aisa" in the catalogue; did you mean "asia"?'],
  ],
  [
    'home outside the jurisdiction',
    'home: eu, because',
    'home: us, because',
    [
      '12:59  placement[1].home: would place subjects of europe (DE, FR, NO) outside eu, the regions of europe',
    ],
  ],
  [
    'home outside one jurisdiction of several',
    'regions: [asia, eu]',
    'regions: [asia]',
    [
      '11:56  placement[0].home: would place subjects of pacific (JP, NZ) outside asia, the regions of pacific',
      '20:101  tables.users.mirrors[0].to[1]: would bring rows of pacific from asia to eu, which is neither among its regions nor its copies',
    ],
  ],
  [
    'a name for two rules',
    'rule: rest',
    'rule: europe',
    ['14:13  placement[3].rule: "europe" is the name of placement[1] already'],
  ],
  [
    'a name that is no name',
    'rule: rest',
    'rule: The Rest',
    [
      '14:13  placement[3].rule: "The Rest" is not a name for a rule: a lower-case letter, then letters, digits or hyphens',
    ],
  ],

  [
    'table name that needs quotes',
    '  orders:',
    '  Orders:',
    [
      '21:3  tables.Orders: the key is not a table name: lower-case letters, digits and underscores, 63 at most',
    ],
  ],
  [
    'column name that needs quotes',
    'user_id',
    'user-id',
    [
      '21:22  tables.orders.subject: "user-id" is not a column name: lower-case letters, digits and underscores, 63 at most',
    ],
  ],
  [
    'no tables',
    between('tables:', 'failover:'),
    'tables: {}\n',
    ['15:1  tables: is empty: name at least one'],
  ],
  [
    'table of nobody',
    'subject: user_id, ',
    '',
    ['21:3  tables.orders: whose is it? Name its subject column, or say that it is reference data'],
  ],
  [
    'no word about transit',
    ', transit: redirect',
    '',
    [
      '21:3  tables.orders.transit: missing: may request bodies pass through other regions, proxy or redirect?',
    ],
  ],
  [
    'unknown word about transit',
    'transit: redirect',
    'transit: redirct',
    [
      '21:40  tables.orders.transit: "redirct" is not one of proxy, redirect; did you mean "redirect"?',
    ],
  ],
  [
    'table of everybody and somebody',
    '{ reference: { owner: us } }',
    '{ reference: { owner: us }, subject: id }',
    [
      '22:41  tables.products.subject: reference data belongs to nobody; keep this key or reference, not both',
    ],
  ],
  [
    'mirrors of a reference table',
    '{ reference: { owner: us } }',
    '{ reference: { owner: us }, mirrors: [{ as: p, columns: [id], homes: [us], to: [eu, asia] }] }',
    [
      '22:41  tables.products.mirrors: reference data is in every region already and needs no mirrors',
    ],
  ],
  [
    'owner unknown',
    'owner: us',
    'owner: uss',
    [
      '22:35  tables.products.reference.owner: no region "uss" in the catalogue; did you mean "us"?',
    ],
  ],

  [
    'mirror without the subject column',
    '[id, name, shown]',
    '[name, shown]',
    [
      '20:31  tables.users.mirrors[0].columns: lacks "id", the subject column, without which nobody knows whose a row is',
    ],
  ],
  [
    'mirror with a column twice',
    '[id, name, shown]',
    '[id, name, shown, id]',
    ['20:49  tables.users.mirrors[0].columns[3]: "id" is listed twice'],
  ],
  [
    'mirror without columns',
    '[id, name, shown]',
    '[]',
    [
      '20:31  tables.users.mirrors[0].columns: is empty: name at least one',
      '20:31  tables.users.mirrors[0].columns: lacks "id", the subject column, without which nobody knows whose a row is',
      '20:43  tables.users.mirrors[0].rows.shown: is not among the columns that leave, and PostgreSQL takes a row back only by those; add it to them',
    ],
  ],
  [
    'mirror of rows under no condition',
    '{ shown: true }',
    '{}',
    ['20:56  tables.users.mirrors[0].rows: is empty: leave it out to mean all rows'],
  ],
  [
    'mirror under the name of a table',
    'as: cards',
    'as: orders',
    ['20:15  tables.users.mirrors[0].as: "orders" is the name of table orders'],
  ],
  [
    'mirror to an unknown region',
    'to: [us, eu, asia]',
    'to: [us, eu, asia, mars]',
    ['20:111  tables.users.mirrors[0].to[3]: no region "mars" in the catalogue'],
  ],
  [
    'mirror from an unknown region',
    'homes: [us, asia]',
    'homes: [us, asia, mars]',
    ['20:91  tables.users.mirrors[0].homes[2]: no region "mars" in the catalogue'],
  ],
  [
    'mirror to the region it comes from',
    'homes: [us, asia]',
    'homes: [us]',
    ['20:91  tables.users.mirrors[0].to[0]: us is where these rows live already'],
  ],
  [
    'mirror that the jurisdiction forbids',
    'homes: [us, asia]',
    'homes: [us, asia, eu]',
    [
      '20:101  tables.users.mirrors[0].to[0]: would bring rows of europe from eu to us, which is neither among its regions nor its copies',
      '20:109  tables.users.mirrors[0].to[2]: would bring rows of europe from eu to asia, which is neither among its regions nor its copies',
    ],
  ],
  [
    'mirror for some of those who read an airlock',
    'to: [us, eu, asia]',
    'to: [us, asia]',
    [
      '20:96  tables.users.mirrors[0].to: leaves out eu, which reads the same airlock of us, us-x, as asia; name eu as well, or give them different airlocks in the regions file',
      '20:96  tables.users.mirrors[0].to: leaves out eu, which reads the same airlock of asia, asia-x, as us; name eu as well, or give them different airlocks in the regions file',
    ],
  ],
  [
    'rows chosen by a column that does not leave',
    'columns: [id, name, shown]',
    'columns: [id, name]',
    [
      '20:51  tables.users.mirrors[0].rows.shown: is not among the columns that leave, and PostgreSQL takes a row back only by those; add it to them',
    ],
  ],
  [
    'a column called as SQL calls the current role',
    'columns: [id, name, shown]',
    'columns: [id, name, shown, user]',
    [
      '20:49  tables.users.mirrors[0].columns[3]: "user" is not a column name: SQL keeps this word for itself',
    ],
  ],
  [
    'a table called as SQL sorts',
    '  orders:',
    '  order:',
    ['21:3  tables.order: the key is not a table name: SQL keeps this word for itself'],
  ],
  [
    'two mirrors on one way',
    '  orders:',
    '      - { as: faces, columns: [id, face, shown], homes: [us], to: [eu, asia] }\n  orders:',
    [
      '21:68  tables.users.mirrors[1].to[0]: users goes from us to eu as cards already, and one table can take one way only',
      '21:72  tables.users.mirrors[1].to[1]: users goes from us to asia as cards already, and one table can take one way only',
    ],
  ],
  [
    'two mirrors of one name',
    '  orders:',
    '      - { as: cards, columns: [id], homes: [eu], to: [us, asia] }\n  orders:',
    [
      '21:15  tables.users.mirrors[1].as: "cards" is the name of a mirror of users',
      '21:55  tables.users.mirrors[1].to[0]: would bring rows of europe from eu to us, which is neither among its regions nor its copies',
      '21:59  tables.users.mirrors[1].to[1]: would bring rows of europe from eu to asia, which is neither among its regions nor its copies',
    ],
  ],
  [
    'unknown failover',
    'scope: region',
    'scope: planet',
    ['23:20  failover.scope: "planet" is not one of region, jurisdiction'],
  ],
] as const)('%s', (_, from, to, expected) => {
  const text = edited(from, to);
  expect(complaints(text)).toEqual(expected.map((line) => `residency.yaml:${line}`));
  for (const line of expected) expect(pointsAt(text, line)).toBe(true);
});

describe('where eu has an airlock for us and another one for asia', () => {
  const eu = CATALOGUE.regions.get('eu');
  if (eu === undefined) throw new Error('no eu');
  const airlock = (name: string, peers: string[]) => ({ name, host: 'eu', port: 1, peers });
  const shared = { ...eu, airlocks: [airlock('eu-x', ['us', 'asia'])] };
  const apart = { ...eu, airlocks: [airlock('eu-x', ['us']), airlock('eu-y', ['asia'])] };
  const lines = (mirrors: string, region: typeof eu) => {
    const text = edited('to: [us, eu, asia] }\n', `to: [us, eu, asia] }\n${mirrors}`).replace(
      'europe: { countries: [DE, FR, "NO"], regions: [eu] }',
      'europe: { countries: [DE, FR, "NO"], regions: [eu], copies: [us, asia] }',
    );
    const catalogue = { ...CATALOGUE, regions: new Map(CATALOGUE.regions).set('eu', region) };
    const reading = readPolicy(text, 'residency.yaml', catalogue);
    return 'policy' in reading ? [] : reading.complaints.map(formatComplaint);
  };
  const toUs = '      - { as: faces, columns: [id, face], homes: [eu], to: [us] }\n';
  const toAsia = '      - { as: names, columns: [id, name], homes: [eu], to: [asia] }\n';
  const toBoth = '      - { as: faces, columns: [id, face], homes: [eu], to: [us, asia] }\n';

  test('each may be allowed what the other is not', () => {
    expect(lines(toUs + toAsia, apart)).toEqual([]);
    expect(lines(toUs, apart)).toEqual([]);
    expect(lines(toBoth, apart)).toEqual([]);
  });

  test('but a column that chooses rows on one way must travel on the other one as well', () => {
    const chosen = '{ as: faces, columns: [id, face], rows: { face: a }, homes: [eu], to: [us] }';
    expect(lines(`      - ${chosen}\n${toAsia}`, apart)).toEqual([
      'residency.yaml:22:31  tables.users.mirrors[2].columns: lacks "face", by which rows leave eu as faces; PostgreSQL takes rows of one table back by the same columns on all ways, so add it here as well',
    ]);
    const both = toAsia.replace('[id, name]', '[id, name, face]');
    expect(lines(`      - ${chosen}\n${both}`, apart)).toEqual([]);
    // The rows of cards leave from other homes, whose tables have an identity of their own.
    expect(lines(toAsia, apart)).toEqual([]);
  });

  test('but not through one airlock', () => {
    expect(lines(toBoth, shared)).toEqual([]);
    expect(lines(toUs + toAsia, shared)).toEqual([
      'residency.yaml:21:60  tables.users.mirrors[1].to: leaves out asia, which reads the same airlock of eu, eu-x, as us; name asia as well, or give them different airlocks in the regions file',
      'residency.yaml:22:60  tables.users.mirrors[2].to: leaves out us, which reads the same airlock of eu, eu-x, as asia; name us as well, or give them different airlocks in the regions file',
    ]);
  });
});

test('letters of another script are spelt out, for nobody can see the difference', () => {
  expect(complaints(edited('home: us }', 'home: uѕ }'))).toEqual([
    'residency.yaml:14:60  placement[3].home: no region "u\\u0455" in the catalogue; did you mean "us"?',
  ]);
  expect(complaints(edited('[standard, eu-only]', '[standard, eu-only, еu-only]'))).toEqual([
    'residency.yaml:5:43  attributes.contract.values[2]: "\\u0435u-only" cannot be told from "eu-only" by eye',
  ]);
  expect(complaints(edited('[standard, eu-only]', '[standard, eu-only, Eu-only]'))).toEqual([]);
});

test('complaints about spelling and about sense come together', () => {
  const text = edited('[DE, FR', '[DE, UK')
    .replace('home: asia', 'home: aisa')
    .replace('24h', 'soon');
  expect(complaints(text)).toHaveLength(3);
});

test('failover inside a jurisdiction needs a region that everyone at home may live in', () => {
  const wide = edited('scope: region', 'scope: jurisdiction');
  // Subjects of elsewhere may live in us and eu; those who live in eu include Europeans, who stay.
  expect(failoverRegions(policyOf(wide), 'us')).toEqual(['eu']);
  expect(failoverRegions(policyOf(wide), 'eu')).toEqual([]);
  const policy = policyOf(wide);
  const jurisdictions = new Map([...policy.jurisdictions].reverse());
  expect(failoverRegions({ ...policy, jurisdictions }, 'eu')).toEqual([]);
  expect(failoverRegions(policyOf(SAMPLE), 'us')).toEqual([]);
  const narrow = wide
    .replace('regions: [us, eu], copies: [asia]', 'regions: [us], copies: [eu, asia]')
    .replace('regions: [asia, eu], copies: [us]', 'regions: [asia], copies: [eu, us]')
    .replace('{ contract: eu-only }', '{ contract: eu-only, jurisdiction: europe }');
  expect(complaints(narrow)).toEqual([
    'residency.yaml:23:20  failover.scope: no region could take over for another: none is allowed to all subjects of another; say "region"',
  ]);
});

test('attributes that nothing can enumerate are a complaint, not a hang', () => {
  const values = Array.from({ length: 20 }, (_, value) => `v${value}`);
  const attributes = ['a', 'b', 'c', 'd', 'e'].map(
    (name) => `  ${name}: { values: [${values}] }\n`,
  );
  const rules = values.map(
    (value) =>
      `  - { rule: r-${value}, when: { a: ${value}, b: ${value}, c: ${value}, d: ${value}, e: ${value} }, home: eu }\n`,
  );
  const text = edited('attributes:\n', `attributes:\n${attributes.join('')}`).replace(
    'placement:\n',
    `placement:\n${rules.join('')}`,
  );
  expect(complaints(text)).toEqual([
    'residency.yaml:15:1  placement: 19200000 combinations of countries and attributes are too many to check: test fewer attributes',
  ]);
});

test('without a catalogue, nothing is said about regions', () => {
  const policy = policyOf(SAMPLE);
  expect(checkPolicy(policy)).toEqual([]);
  const regions = new Map([...CATALOGUE.regions].filter(([id]) => id !== 'asia'));
  const lines = checkPolicy(policy, { catalogue: { ...CATALOGUE, regions } }).map(formatComplaint);
  expect(lines).toContain(
    'residency.yaml:13:63  placement[2].home: no region "asia" in the catalogue',
  );
});

test.each(['residency.yaml', '../examples/storefront/residency.yaml'])(
  '%s has no complaints, and its first line leads editors to the schema',
  (path) => {
    const file = new URL(path, import.meta.url);
    const text = readFileSync(file, 'utf8');
    expect(complaints(text)).toEqual([]);
    const schema = /^# yaml-language-server: \$schema=(\S+)\n/.exec(text)?.[1] ?? '';
    expect(new URL(schema, file).href).toBe(new URL('residency.schema.json', import.meta.url).href);
  },
);

test('the checked-in JSON Schema is the one that the reader would write', () => {
  const file = new URL('residency.schema.json', import.meta.url);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toEqual(jsonSchemaOf(PolicyFile));
});

test.each(['residency.yaml', '../examples/storefront/residency.yaml'])(
  'an editor that knows only the JSON Schema accepts %s, and sees misspelt keys and countries',
  (path) => {
    const file = readFileSync(new URL('residency.schema.json', import.meta.url), 'utf8');
    const schema = z.fromJSONSchema(JSON.parse(file));
    const accepts = (text: string) => 'ok' in readYaml(text, path, schema);
    const sample = readFileSync(new URL(path, import.meta.url), 'utf8');
    expect(accepts(sample)).toBe(true);
    expect(accepts(sample.replace('retention:', 'retension:'))).toBe(false);
    expect(accepts(sample.replace('GB, CH', 'UK, CH'))).toBe(false);
  },
);

test('every key of the JSON Schema is explained', () => {
  const silent: string[] = [];
  const visit = (at: unknown, path: string): void => {
    if (typeof at !== 'object' || at === null) return;
    if ('properties' in at) {
      for (const [key, inner] of Object.entries(at.properties as object)) {
        if (!('description' in inner)) silent.push(`${path}.${key}`);
      }
    }
    for (const [key, inner] of Object.entries(at)) visit(inner, `${path}.${key}`);
  };
  visit(jsonSchemaOf(PolicyFile), '');
  expect(silent).toEqual([]);
});

const text = fc.constantFrom(...SAMPLE.split(/(\s+|[{}[\],:])/).filter((piece) => piece !== ''));

test('no damage to a policy makes the reader throw', async () => {
  const damage = fc.record({
    at: fc.nat(SAMPLE.length),
    cut: fc.nat(40),
    paste: fc.oneof(
      fc.string(),
      fc.array(text, { maxLength: 4 }).map((pieces) => pieces.join('')),
      fc.constantFrom(
        '[]',
        '{}',
        'null',
        '*a',
        '&a ',
        '__proto__',
        'constructor',
        '!!set ',
        '1e999',
      ),
    ),
  });
  await fc.assert(
    fc.property(fc.array(damage, { minLength: 1, maxLength: 4 }), (all) => {
      let damaged = SAMPLE;
      for (const { at, cut, paste } of all) {
        damaged = damaged.slice(0, at) + paste + damaged.slice(at + cut);
      }
      const reading = readPolicy(damaged, 'f', CATALOGUE);
      expect('policy' in reading || reading.complaints.length > 0).toBe(true);
    }),
    { numRuns: 300 },
  );
}, 60_000);

test('no replaced value makes the reader throw', async () => {
  const parts = SAMPLE.split(/(?<=[:[,] )/);
  await fc.assert(
    fc.property(fc.nat(parts.length - 1), fc.json({ maxDepth: 2 }), (at, value) => {
      const damaged = parts.with(at, String(parts[at]).replace(/^[^,\]}\n]+/, value)).join('');
      const reading = readPolicy(damaged, 'f', CATALOGUE);
      expect('policy' in reading || reading.complaints.length > 0).toBe(true);
    }),
    { numRuns: 300 },
  );
}, 60_000);

describe('where the nodes of eu stand at two sites', () => {
  const eu = CATALOGUE.regions.get('eu');
  if (eu === undefined) throw new Error('no eu');
  const node = (name: string, site?: string) => ({
    name,
    host: name,
    port: 1,
    ...(site !== undefined && { site }),
  });
  const spread = [node('eu-a'), node('eu-b'), node('eu-c', 'eu-2')];
  const lines = (failover: string, nodes: typeof spread) => {
    const text = edited('failover: { scope: region }', `failover: { scope: region, ${failover} }`);
    const regions = new Map(CATALOGUE.regions);
    for (const [id, region] of regions) {
      // Enough for a quorum elsewhere.
      regions.set(id, { ...region, nodes: ['a', 'b', 'c'].map((name) => node(`${id}-${name}`)) });
    }
    const catalogue = { ...CATALOGUE, regions: regions.set('eu', { ...eu, nodes }) };
    const reading = readPolicy(text, 'residency.yaml', catalogue);
    const found = 'policy' in reading ? [] : reading.complaints.map(formatComplaint);
    return found.map((line) => line.replace(/^residency\.yaml:23:\d+ {2}failover/, ''));
  };

  test('the policy has to list both, and no other', () => {
    expect(lines('sites: { eu: [eu, eu-2] }', spread)).toEqual([]);
    expect(lines('sites: { eu: [eu-2, eu] }, betweenSites: automatic', spread)).toEqual([]);
    expect(lines('commits: synchronous', spread)).toEqual([
      ': nodes of eu stand at eu and eu-2, and nothing says that its data may be at all of them: add sites: { eu: [eu, eu-2] }, or take nodes out of the regions file',
    ]);
    expect(lines('sites: { eu: [eu] }', spread)).toEqual([
      '.sites.eu: leaves out eu-2, where eu-c stands with all data of eu: list it, or take the node out of the regions file',
    ]);
    expect(lines('sites: { eu: [eu, eu-2, eu-3] }', spread)).toEqual([
      '.sites.eu[2]: no node of eu in the catalogue stands at "eu-3"; did you mean "eu-2"?',
    ]);
    expect(lines('sites: { eu: [eu, eu-2, eu] }', spread)).toEqual([
      '.sites.eu[2]: "eu" is listed twice',
    ]);
    expect(lines('sites: { ue: [eu, eu-2] }', spread)).toEqual([
      ': nodes of eu stand at eu and eu-2, and nothing says that its data may be at all of them: add sites: { eu: [eu, eu-2] }, or take nodes out of the regions file',
      '.sites.ue: no region "ue" in the catalogue; did you mean "us"?',
    ]);
  });

  test('one site needs no list, and nobody to move between sites', () => {
    expect(lines('commits: synchronous', [node('eu-a', 'eu-1'), node('eu-b', 'eu-1')])).toEqual([]);
    expect(lines('sites: { us: [us] }, betweenSites: order', spread.slice(0, 2))).toEqual([
      '.betweenSites: no region has more than one site in sites: leave it out',
    ]);
  });

  test('a quorum needs its nodes at one site, or a keeper that may go to the other', () => {
    const listed = 'commits: quorum, sites: { eu: [eu, eu-2] }';
    expect(lines(listed, spread)).toEqual([
      '.commits: a quorum needs 3 nodes at one site, and no site of eu has more than 2; or say betweenSites: automatic',
    ]);
    expect(lines(`${listed}, betweenSites: automatic`, spread)).toEqual([]);
    expect(lines(listed, [...spread, node('eu-d')])).toEqual([]);
  });
});
