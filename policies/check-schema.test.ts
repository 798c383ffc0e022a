import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { checkPolicy } from './check-policy.ts';
import type { Bypass } from './database-schema.ts';
import { readPolicy } from './read-policy.ts';
import { schemaForTests, type TableInWords } from './schema-for-tests.ts';

const POLICY = `version: 1
because: A test
effective: 2026-11-01
jurisdictions:
  all: { countries: others, regions: [us, eu, asia] }
placement:
  - { rule: all, when: everyone, home: us }
tables:
  users:
    subject: id
    transit: proxy
    mirrors:
      - as: cards
        columns: [id, name, shown]
        rows: { shown: true }
        homes: [us]
        to: [eu, asia]
  orders: { subject: user_id, transit: proxy }
  products: { reference: { owner: us } }
failover: { scope: region }
idempotency: { retention: 24h }
`;

const SOUND = {
  users: { columns: ['id', 'name', 'email', { name: 'shown', type: 'boolean' }] },
  orders: { columns: ['id', 'user_id'], foreignKeys: [{ columns: ['user_id'], to: 'users' }] },
  products: { columns: ['id', 'title'] },
} satisfies Record<string, TableInWords>;

const catalogue = (() => {
  const path = new URL('../examples/storefront/regions.yaml', import.meta.url);
  const reading = readCatalogue(readFileSync(path, 'utf8'), 'regions.yaml');
  if ('complaints' in reading) throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  return reading.catalogue;
})();

function complaints(
  tables: Readonly<Record<string, TableInWords | undefined>>,
  { text = POLICY, bypasses = [] as Bypass[] } = {},
): string[] {
  const reading = readPolicy(text, 'residency.yaml', catalogue);
  if ('complaints' in reading) throw new Error(reading.complaints.map(formatComplaint).join('\n'));
  const schema = schemaForTests({ ...SOUND, ...tables }, bypasses);
  return checkPolicy(reading.policy, { catalogue, schema }).map(formatComplaint);
}

const users = (...columns: TableInWords['columns']) => ({ users: { columns } });
const orders = (column: Omit<Exclude<TableInWords['columns'][number], string>, 'name'>) => ({
  orders: { columns: ['id', { name: 'user_id', ...column }] },
});
const shown = { name: 'shown', type: 'boolean' };

test('a database that fits has no complaints', () => {
  expect(complaints({})).toEqual([]);
});

test.each<[string, Record<string, TableInWords | undefined>, string[]]>([
  [
    'a table that the policy does not name',
    { invoices: { columns: ['id'] } },
    ['8:1  tables.invoices: the database has this table, but the policy does not name it'],
  ],
  [
    'a table that the database does not have',
    { orders: undefined },
    ['18:3  tables.orders: the database has no such table'],
  ],
  [
    'a table of nearly that name',
    { orders: undefined, order_: { columns: ['user_id'] } },
    [
      '8:1  tables.order_: the database has this table, but the policy does not name it',
      '18:3  tables.orders: the database has no such table; did you mean "order_"?',
    ],
  ],
  [
    'a subject column that does not exist',
    { orders: { columns: ['id', 'userid'] } },
    ['18:22  tables.orders.subject: orders has no column "user_id"; did you mean "userid"?'],
  ],
  [
    'a mirrored column that does not exist',
    users('id', shown, 'names'),
    [
      '14:23  tables.users.mirrors[0].columns[1]: users has no column "name"; did you mean "names"?',
    ],
  ],
  [
    'a filtered column that does not exist',
    users('id', 'name', 'showm'),
    [
      '14:29  tables.users.mirrors[0].columns[2]: users has no column "shown"; did you mean "showm"?',
      '15:17  tables.users.mirrors[0].rows.shown: users has no column "shown"; did you mean "showm"?',
    ],
  ],
  [
    'a table that has the name of a mirror',
    { cards: { columns: ['id'] } },
    [
      '8:1  tables.cards: the database has this table, but the policy does not name it',
      '13:13  tables.users.mirrors[0].as: "cards" is the name of a table in the database, which would hide the mirror; call it something else',
    ],
  ],
  [
    'a mirrored table without a primary key',
    { users: { ...SOUND.users, primaryKey: [] } },
    [
      '14:18  tables.users.mirrors[0].columns: the table has no primary key, without which a change could not find its row in a copy',
    ],
  ],
  [
    'a mirror without a column of the primary key',
    { users: { ...SOUND.users, primaryKey: ['id', 'email'] } },
    [
      '14:18  tables.users.mirrors[0].columns: lacks email of the primary key of users, without which a change could not find its row abroad',
    ],
  ],
  [
    'a mirrored table with a deferrable key',
    { users: { ...SOUND.users, keyDeferrable: true } },
    [
      '14:18  tables.users.mirrors[0].columns: the primary key of the table is deferrable, and PostgreSQL does not replicate changes by such a key',
    ],
  ],
  ['a key in another order', { users: { ...SOUND.users, primaryKey: ['name', 'id'] } }, []],
  ['a table with neither key nor mirror', { orders: { ...SOUND.orders, primaryKey: [] } }, []],
  [
    'reference data without a primary key',
    { products: { ...SOUND.products, primaryKey: [] } },
    [
      '19:15  tables.products.reference: the table has no primary key, without which a change could not find its row in a copy',
    ],
  ],
  [
    'a filtered column that may be null',
    users('id', 'name', { ...shown, notNull: false }),
    [
      '15:17  tables.users.mirrors[0].rows.shown: may be null in users, and PostgreSQL takes a row back only by columns that cannot be; say "alter table users alter shown set not null"',
    ],
  ],
  ['a mirrored column that may be null', users('id', { name: 'name', notNull: false }, shown), []],
  [
    'a filtered column of another type than its value',
    users('id', 'name', 'shown'),
    [
      '15:24  tables.users.mirrors[0].rows.shown: true is not a value of shown, which is of type text',
    ],
  ],
  [
    'a mirrored column of a type of its own',
    users('id', { name: 'name', type: 'app.title', builtIn: false }, shown),
    [
      '14:23  tables.users.mirrors[0].columns[1]: name of type app.title, which airlocks do not have; use a built-in type',
    ],
  ],
  [
    'a private column of a type of its own',
    users('id', 'name', shown, { name: 'mood', type: 'app.mood', builtIn: false }),
    [],
  ],
  [
    'a mirrored column that is computed when read',
    users('id', { name: 'name', generated: 'virtual' }, shown),
    [
      '14:23  tables.users.mirrors[0].columns[1]: name is a virtual generated column, which is stored nowhere and cannot leave; make it a stored one',
    ],
  ],
  [
    'a mirrored column that is computed when written',
    users('id', { name: 'name', generated: 'stored' }, shown),
    [],
  ],
  [
    'a generated column of reference data',
    { products: { columns: ['id', { name: 'words', generated: 'stored' }] } },
    [
      '19:15  tables.products.reference: has a generated column words, which other regions could not receive; make it an ordinary one, or put it into a view',
    ],
  ],
  [
    'a type of its own in reference data',
    { products: { columns: ['id', { name: 'kind', type: 'app.kind', builtIn: false }] } },
    [
      '19:15  tables.products.reference: has kind of type app.kind, which airlocks do not have; use a built-in type',
    ],
  ],
  [
    'names in reference data that need quotes',
    { products: { columns: ['id', 'Title', 'order'] } },
    [
      '19:15  tables.products.reference: has a column "Title", a name that SQL wants in quotes; every column of reference data travels, so call it something else',
      '19:15  tables.products.reference: has a column "order", a name that SQL wants in quotes; every column of reference data travels, so call it something else',
    ],
  ],
  ['a private column whose name needs quotes', users('id', 'name', shown, 'Order'), []],
  [
    'reference data about somebody',
    {
      products: {
        columns: ['id', 'author'],
        foreignKeys: [{ columns: ['author'], to: 'users' }],
      },
    },
    [
      '19:15  tables.products.reference: refers to users (author), whose rows are about somebody, and so are these: name the subject column instead',
    ],
  ],
  [
    'reference data about other reference data',
    {
      products: { columns: ['id', 'kind'], foreignKeys: [{ columns: ['kind'], to: 'products' }] },
    },
    [],
  ],
  [
    'a subject that may be null',
    orders({ notNull: false }),
    [
      '18:22  tables.orders.subject: user_id may be null in orders, and such a row would be nobody’s; say "alter table orders alter user_id set not null"',
    ],
  ],
  [
    'a subject whose collation ignores case',
    orders({ foldsText: true }),
    [
      '18:22  tables.orders.subject: user_id has a collation that takes different texts for the same, so one subject could read the rows of another; give it a deterministic one',
    ],
  ],
  [
    'a subject that numbers itself',
    orders({ type: 'bigint', numbersItself: true }),
    [
      '18:22  tables.orders.subject: user_id numbers itself, so two regions would give one id to two subjects; let the app draw the id, such as a uuid',
    ],
  ],
  [
    'a key that numbers itself and is no subject',
    { orders: { columns: [{ name: 'id', type: 'bigint', numbersItself: true }, 'user_id'] } },
    [],
  ],
  [
    'an unlogged table',
    { orders: { ...SOUND.orders, storage: 'unlogged' } },
    [
      '18:3  tables.orders: is unlogged in the database: neither a replica nor an airlock would ever have its rows; say "alter table … set logged"',
    ],
  ],
  [
    'a partitioned table',
    { orders: { ...SOUND.orders, storage: 'partitioned' } },
    [
      '18:3  tables.orders: is partitioned in the database: whoever reads a partition passes the row security of the whole, and rows would leave under the names of the partitions; make it one table',
    ],
  ],
])('against a database with %s', (_, tables, expected) => {
  expect(complaints(tables)).toEqual(expected.map((line) => `residency.yaml:${line}`));
});

test.each([
  ['text', true],
  ['character varying', true],
  ['character varying(36)', true],
  ['uuid', true],
  ['smallint', true],
  ['integer', true],
  ['bigint', true],
  ['character(36)', false],
  ['numeric', false],
  ['double precision', false],
  ['timestamp with time zone', false],
  ['bytea', false],
  ['text[]', false],
  ['app.textual', false],
])('a subject column of type %s is allowed: %s', (type, allowed) => {
  const message = `residency.yaml:18:22  tables.orders.subject: user_id is of type ${type} in orders; the id of a subject must be text, varchar, uuid, smallint, integer or bigint, which have one way to be written`;
  expect(complaints(orders({ type }))).toEqual(allowed ? [] : [message]);
});

test.each([
  ['boolean', 'true', []],
  ['boolean', '"true"', ['"true"']],
  ['integer', '5', []],
  ['integer', '5.5', ['5.5']],
  ['integer', '[1, "2", 3]', ['"2"']],
  ['numeric(5,2)', '5.5', []],
  ['numeric(5,2)', 'high', ['"high"']],
  ['text', 'public', []],
  ['text', '[public, 5]', ['5']],
  ['character varying(9)', 'false', ['false']],
  ['interval', '5', []],
])('a column of type %s may be held against %s', (type, value, wrong) => {
  const text = POLICY.replace('rows: { shown: true }', `rows: { shown: ${value} }`);
  const found = complaints(users('id', 'name', { name: 'shown', type }), { text });
  expect(found.map((line) => /: ([^ ]*) is not a value of shown/.exec(line)?.[1])).toEqual(wrong);
});

test('what shows rows past the security of their tables is named with its remedy', () => {
  const bypasses: Bypass[] = [
    { kind: 'view', name: 'all_orders' },
    { kind: 'materialized-view', name: 'sums' },
    { kind: 'foreign-table', name: 'elsewhere' },
    { kind: 'definer-function', name: 'peek' },
  ];
  expect(complaints({}, { bypasses })).toEqual([
    'residency.yaml:8:1  tables.all_orders: the database has a view of this name that reads with its owner’s rights, past the row security of its tables; make it "with (security_invoker = true)"',
    'residency.yaml:8:1  tables.sums: the database has a materialized view of this name, and row security has no hold on what it keeps; make it a view "with (security_invoker = true)"',
    'residency.yaml:8:1  tables.elsewhere: the database has a foreign table of this name, whose rows are elsewhere, where no policy holds; drop it',
    'residency.yaml:8:1  tables.peek: the database has a function of this name that runs with its owner’s rights, past the row security of all tables; make it "security invoker"',
  ]);
});
