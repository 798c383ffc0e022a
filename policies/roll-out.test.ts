import { expect, test } from 'vitest';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { stateOf, type TableShape, type Thing } from './cluster-state.ts';
import type { Policy, Table } from './policy.ts';
import { laggingLines, type Rehearsed, rollOut, sameOrWider } from './roll-out.ts';

const node = (name: string, port: number) => `{ name: ${name}, host: 127.0.0.1, port: ${port} }`;
const region = (id: string, port: number) => `
  ${id}:
    title: ${id}
    database: app_${id}
    edges: [{ name: edge-${id}, url: 'http://127.0.0.1:${port}' }]
    nodes: [${node(`${id}-a`, port + 1)}]
    airlock: ${node(`${id}-x`, port + 2)}`;
const read = readCatalogue(
  `version: 1\nregions:${region('us', 7100)}${region('eu', 7200)}\ndistances:\n  - { between: [us, eu], roundTripMs: 80 }\n`,
  'regions.yaml',
);
if ('complaints' in read) throw new Error(JSON.stringify(read.complaints));
const { catalogue } = read;

const column = (name: string, type: string, notNull = true) => ({ name, type, notNull });
const shape = (...columns: ReturnType<typeof column>[]): TableShape => ({
  columns,
  primaryKey: ['id'],
});
const PRODUCTS = shape(column('id', 'text'), column('cents', 'integer'));

const reference = (name: string, owner: string): Table => ({ kind: 'reference', name, owner });
const policyOf = (...tables: Table[]) =>
  ({ tables: new Map(tables.map((table) => [table.name, table])) }) as unknown as Policy;

function rehearsed(
  before: TableShape | undefined,
  after: TableShape | undefined,
  more: Partial<Rehearsed> = {},
): Rehearsed {
  const schema = (table: TableShape | undefined) => ({
    tables: new Map(table === undefined ? [] : [['products', table]]),
    sequences: [],
  });
  return {
    scripts: ['0002-a.sql'],
    before: schema(before),
    after: schema(after),
    away: 'nothing',
    converts: false,
    obstacles: [],
    ...more,
  };
}

const published = (publication: string, table: string, columns: string[]): Thing => ({
  kind: 'published',
  publication,
  table,
  columns,
  where: undefined,
});
const table = (name: string, { columns, primaryKey }: TableShape): Thing => ({
  kind: 'table',
  name,
  columns,
  primaryKey,
  part: undefined,
});

/** Products of us, with every column published and in the airlock. */
const found = new Map([
  ['us', stateOf([published('domicile_out_us_x', 'app.products', ['cents', 'id'])])],
  ['us-x', stateOf([table('app.products', PRODUCTS)])],
  ['eu', stateOf([])],
  ['eu-x', stateOf([])],
]);

function rollOutOf(after: TableShape | undefined, more: Partial<Rehearsed> = {}) {
  const one = rehearsed(PRODUCTS, after, more);
  const { rests, alterations, regions } = rollOut({
    policy: policyOf(reference('products', 'us')),
    catalogue,
    found,
    rehearsed: new Map([
      ['us', one],
      ['eu', one],
    ]),
  });
  return {
    rests: rests.map(({ home, table: name, why }) => `${home} ${name}: ${why}`),
    alterations: alterations.flatMap(({ cluster, statements }) =>
      statements.map((statement) => `${cluster}: ${statement}`),
    ),
    regions,
  };
}

test('reference data grows in its readers first, then in the airlock, in its owner last', () => {
  const grown = shape(...PRODUCTS.columns, column('grams', 'integer'));
  expect(rollOutOf(grown)).toEqual({
    rests: [],
    // Without NOT NULL: no row has a value yet.
    alterations: ['us-x: alter table app.products add column grams integer'],
    regions: ['eu', 'us'],
  });
});

test('a wider type and a lost NOT NULL are changed in place', () => {
  expect(rollOutOf(shape(column('id', 'text'), column('cents', 'bigint', false)))).toMatchObject({
    rests: [],
    alterations: [
      'us-x: alter table app.products alter column cents type bigint',
      'us-x: alter table app.products alter column cents drop not null',
    ],
  });
});

test.each<[string, TableShape | undefined, Partial<Rehearsed>]>([
  ['it goes', undefined, {}],
  ['cents goes', shape(column('id', 'text')), {}],
  ['cents becomes text', shape(column('id', 'text'), column('cents', 'text')), {}],
  [
    'values of cents are converted',
    shape(column('id', 'text'), column('cents', 'bigint')),
    { converts: true },
  ],
  ['its columns change places', shape(column('cents', 'integer'), column('id', 'text')), {}],
  ['its primary key changes', { ...PRODUCTS, primaryKey: ['cents'] }, {}],
  [
    'its constraints change',
    PRODUCTS,
    { obstacles: [{ table: 'products', why: 'its constraints change' }] },
  ],
])('a table rests when %s, and nothing of it is changed in place', (why, after, more) => {
  const { rests, alterations } = rollOutOf(after, more);
  expect(rests).toEqual([`us products: ${why}`]);
  expect(alterations).toEqual([]);
});

test('a change that no script is to make any more lets nothing rest', () => {
  expect(rollOutOf(shape(column('id', 'text')), { scripts: [] }).rests).toEqual([]);
});

test('a publication that lags behind its table is named with all columns, of its owner only', () => {
  const grown = shape(...PRODUCTS.columns, column('grams', 'integer'));
  const lines = (policy: Policy, tables = new Map([['products', grown]])) =>
    laggingLines(policy, 'us', found.get('us'), tables).map(({ columns }) => columns);
  expect(lines(policyOf(reference('products', 'us')))).toEqual([['cents', 'grams', 'id']]);
  expect(lines(policyOf(reference('products', 'eu')))).toEqual([]);
  expect(lines(policyOf(reference('products', 'us')), new Map([['products', PRODUCTS]]))).toEqual(
    [],
  );
});

test.each([
  ['smallint', 'integer', true],
  ['integer', 'bigint', true],
  ['bigint', 'numeric', true],
  ['bigint', 'integer', false],
  ['integer', 'numeric(3,0)', false],
  ['real', 'double precision', false],
  ['character varying(5)', 'character varying(6)', true],
  ['character varying(5)', 'character varying(5)', true],
  ['character varying(6)', 'character varying(5)', false],
  ['character varying(5)', 'character varying', true],
  ['character varying', 'character varying(5)', false],
  ['character varying', 'text', true],
  ['text', 'character varying', false],
  ['character(5)', 'text', false],
  ['numeric(5,2)', 'numeric(6,2)', true],
  ['numeric(5,2)', 'numeric(6,3)', false],
  ['numeric(6,2)', 'numeric(5,2)', false],
  ['numeric(5,2)', 'numeric', true],
  ['timestamp with time zone', 'timestamp with time zone', true],
])('every %s is the same as %s: %s', (from, to, is) => {
  expect(sameOrWider(from, to)).toBe(is);
});
