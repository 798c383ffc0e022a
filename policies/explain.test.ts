import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Catalogue } from '../regions/catalogue.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { COUNTRIES } from './countries.ts';
import { explainSubject, mayBeAt } from './explain.ts';
import { exportsOf, jurisdictionOf, type Policy } from './policy.ts';
import { readPolicy } from './read-policy.ts';
import { schemaForTests } from './schema-for-tests.ts';

const catalogue = catalogueOf('../examples/storefront/regions.yaml');
const regions = [...catalogue.regions.keys()];
const policy = policyOf((text) => text);

function catalogueOf(path: string): Catalogue {
  const reading = readCatalogue(readFileSync(new URL(path, import.meta.url), 'utf8'), path);
  if ('complaints' in reading) throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  return reading.catalogue;
}

function policyOf(edit: (text: string) => string): Policy {
  const file = new URL('../examples/storefront/residency.yaml', import.meta.url);
  const reading = readPolicy(edit(readFileSync(file, 'utf8')), 'residency.yaml', catalogue);
  if ('complaints' in reading) throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  return reading.policy;
}

/** `table.column: region region`, with a word where it is a copy. */
function summary(attributes: { country: string; contract?: string }): string[] {
  const { columns } = explainSubject(policy, attributes, { regions });
  return columns.map(({ table, column, at }) => {
    const where = at.flatMap(({ region, answer }) =>
      answer.kind === 'allowed' ? [`${region} (${answer.as})`] : [],
    );
    return `${table}.${column}: ${where.join(', ')}`;
  });
}

test('nothing of a European leaves eu', () => {
  expect(summary({ country: 'DE' })).toEqual([
    'users.id: eu (home)',
    'users.display_name: eu (home)',
    'users.*: eu (home)',
    'orders.user_id: eu (home)',
    'orders.*: eu (home)',
    'order_items.user_id: eu (home)',
    'order_items.*: eu (home)',
    'products.*: us (reference), eu (reference), asia (reference)',
  ]);
});

test("an American's card is read abroad, and the rest stays at home", () => {
  expect(summary({ country: 'US' }).slice(0, 4)).toEqual([
    'users.id: us (home), eu (mirror), asia (mirror)',
    'users.display_name: us (home), eu (mirror), asia (mirror)',
    'users.*: us (home)',
    'orders.user_id: us (home)',
  ]);
});

test('a contract for eu also keeps the card there', () => {
  expect(summary({ country: 'US', contract: 'eu-only' })[0]).toBe('users.id: eu (home)');
});

test("with the database's schema, every column is answered for by name", () => {
  const schema = schemaForTests({ users: { columns: ['id', 'email', 'display_name'] } });
  const { columns } = explainSubject(policy, { country: 'JP' }, { regions, schema });
  const users = columns.filter(({ table }) => table === 'users');
  expect(users.map(({ column }) => column)).toEqual(['id', 'email', 'display_name']);
  expect(users[1]?.at.filter(({ answer }) => answer.kind === 'allowed')).toEqual([
    { region: 'asia', answer: { kind: 'allowed', as: 'home', says: 'tables.users.subject' } },
  ]);
});

test('a subject that is refused may be nowhere', () => {
  expect(explainSubject(policy, { country: 'UK' }, { regions })).toEqual({
    placement: { kind: 'refused', because: 'unknown-country', country: 'UK', suggestion: 'GB' },
    columns: [],
  });
});

test.each([
  ['invoices', 'id', 'us', 'us', 'unnamed-table', 'tables'],
  ['orders', 'id', 'us', 'eu', 'never-mirrored', 'tables.orders'],
  ['users', 'id', 'eu', 'us', 'not-from-this-home', 'tables.users.mirrors'],
  ['users', 'id', 'us', 'mars', 'not-to-this-region', 'tables.users.mirrors'],
  ['users', 'email', 'us', 'eu', 'column-not-mirrored', 'tables.users.mirrors[0].columns'],
])(
  '%s.%s of a subject at home in %s may not be in %s: %s',
  (table, column, home, region, because, says) => {
    const answer = mayBeAt(policy, { table, column, home, region });
    expect(answer).toEqual({ kind: 'refused', because, says });
  },
);

test('an answer about a mirror names it, its rows and the line that allows it', () => {
  const shown = policyOf((text) =>
    text.replace(
      'columns: [id, display_name]',
      'columns: [id, listed]\n        rows: { listed: [true] }',
    ),
  );
  expect(mayBeAt(shown, { table: 'users', column: 'id', home: 'us', region: 'asia' })).toEqual({
    kind: 'allowed',
    as: 'mirror',
    mirror: 'public_profiles',
    rows: [{ column: 'listed', oneOf: [true] }],
    says: 'tables.users.mirrors[0]',
  });
  const source = shown.written.source.places.get('tables.users.mirrors[0]');
  expect(source?.value.line).toBeGreaterThan(100);
});

test('failover inside a jurisdiction is an answer of its own', () => {
  const wide = policyOf((text) => text.replace('scope: region', 'scope: jurisdiction'));
  const orders = (home: string, region: string) =>
    mayBeAt(wide, { table: 'orders', column: 'total', home, region });
  expect(orders('us', 'eu')).toEqual({ kind: 'allowed', as: 'failover', says: 'failover.scope' });
  expect(orders('eu', 'us').kind).toBe('refused');
  expect(orders('us', 'asia').kind).toBe('refused');
});

test('a column is abroad only where an export brings it, and an export only where the law allows', async () => {
  await fc.assert(
    fc.property(
      fc.constantFrom(...COUNTRIES),
      fc.constantFrom('standard', 'eu-only'),
      (country, contract) => {
        const { placement, columns } = explainSubject(policy, { country, contract }, { regions });
        if (placement.kind === 'refused') throw new Error(placement.because);
        const { home } = placement;
        const law = jurisdictionOf(policy, country);
        for (const { table, column, at } of columns) {
          for (const { region, answer } of at) {
            if (answer.kind === 'refused' || answer.as === 'reference' || region === home) continue;
            const brought = exportsOf(policy).some(
              (way) =>
                way.table === table &&
                way.from === home &&
                way.to === region &&
                way.mirror.columns.includes(column),
            );
            expect(brought).toBe(true);
            expect([...(law?.regions ?? []), ...(law?.copies ?? [])]).toContain(region);
          }
        }
      },
    ),
  );
});
