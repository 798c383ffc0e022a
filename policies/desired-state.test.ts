import { describe, expect, test } from 'vitest';
import { definitionOf, type Of, ofKind, type Thing } from './cluster-state.ts';
import { desiredState } from './desired-state.ts';
import { CATALOGUE, desired, inputOf, mirror, policyOf, SHAPES } from './policies-for-tests.ts';
import type { Policy } from './policy.ts';

const CARDS = mirror({ as: 'cards', columns: ['id', 'name'], homes: ['us', 'asia'] });
const GERMANS = mirror({
  as: 'germans',
  columns: ['id', 'country'],
  rows: [{ column: 'country', oneOf: ['DE', "O'Land"] }],
});

function thing(policy: Policy, cluster: string, object: string): Thing | undefined {
  return desired(policy).get(cluster)?.get(object);
}

function published(policy: Policy, cluster: string, publication: string): Record<string, string> {
  return Object.fromEntries(
    ofKind(desired(policy).get(cluster), 'published')
      .filter((line) => line.publication === publication)
      .map((line) => [line.table, definitionOf(line)]),
  );
}

describe('what leaves a region', () => {
  test('without mirrors: directory, pulse and anchors of this region, and reference data it owns', () => {
    const always = {
      'domicile.directory': "(epoch, home, key, settled_at) where home = 'us'",
      'domicile.pulses': "(at, lsn, region, system_id, timeline) where region = 'us'",
      'domicile.anchors': "(at, hash, region, seq) where region = 'us'",
      'app.products': '(id, name) where any',
    };
    const policy = policyOf(1, {});
    expect(published(policy, 'us', 'domicile_out_us_x')).toEqual(always);
    expect(published(policy, 'us-x', 'domicile_to_eu')).toEqual(always);
    expect(Object.keys(published(policy, 'eu', 'domicile_out_eu_x'))).toEqual([
      'domicile.directory',
      'domicile.pulses',
      'domicile.anchors',
    ]);
  });

  test('a mirror leaves its homes under a name of its own, and no other region', () => {
    const policy = policyOf(1, { users: [CARDS] });
    expect(published(policy, 'us', 'domicile_out_us_x')['app.users']).toBe('(id, name) where any');
    expect(published(policy, 'us-x', 'domicile_to_eu')['mirror_us.users']).toBe(
      '(id, name) where any',
    );
    expect(published(policy, 'eu', 'domicile_out_eu_x')['app.users']).toBeUndefined();
    expect(desired(policy).get('us')?.has('table mirror_eu.users')).toBe(false);
    expect(desired(policy).get('us')?.has('table mirror_asia.users')).toBe(true);
  });

  test('only through the airlock of a peer that it may go to', () => {
    const policy = policyOf(1, { users: [mirror({ as: 'x', columns: ['id'], to: ['eu'] })] });
    expect(published(policy, 'asia', 'domicile_out_asia_y')['app.users']).toBe('(id) where any');
    expect(published(policy, 'asia', 'domicile_out_asia_x')['app.users']).toBeUndefined();
    expect(desired(policy).get('asia-x')?.has('table app.users')).toBe(false);
    expect(published(policy, 'us-x', 'domicile_to_asia')['mirror_us.users']).toBeUndefined();
  });

  test('conditions on rows hold on both hops and in every view, quotes and all', () => {
    const policy = policyOf(1, { users: [GERMANS] });
    const where = "country in ('DE', 'O''Land')";
    expect(published(policy, 'us', 'domicile_out_us_x')['app.users']).toBe(
      `(country, id) where ${where}`,
    );
    expect(published(policy, 'us-x', 'domicile_to_eu')['mirror_us.users']).toBe(
      `(country, id) where ${where}`,
    );
    expect(definitionOf(thing(policy, 'eu', 'view mirror.germans') as Thing)).toBe(
      [
        `select id, country from app.users where ${where}`,
        `select id, country from mirror_us.users where ${where}`,
        `select id, country from mirror_asia.users where ${where}`,
      ].join(' union all '),
    );
  });

  test('numbers and booleans are written as such, and conditions on several columns all hold', () => {
    const rows = [
      { column: 'cents', oneOf: [100, 200] },
      { column: 'status', oneOf: ['paid'] },
    ];
    const orders = [mirror({ as: 'o', columns: ['id', 'user_id', 'cents', 'status'], rows })];
    expect(published(policyOf(1, { orders }), 'us', 'domicile_out_us_x')['app.orders']).toBe(
      "(cents, id, status, user_id) where cents in (100, 200) and status in ('paid')",
    );
  });

  test('updates carry key and conditions, nothing more', () => {
    const identity = (policy: Policy, cluster: string, table: string) => {
      const found = thing(policy, cluster, `replica identity of ${table}`);
      return (found as Of<'identity'>).columns;
    };
    expect(identity(policyOf(1, { users: [GERMANS] }), 'us', 'app.users')).toEqual([
      'country',
      'id',
    ]);
    expect(identity(policyOf(1, { users: [GERMANS] }), 'us-x', 'mirror_us.users')).toEqual([
      'country',
      'id',
    ]);
    expect(identity(policyOf(1, { users: [CARDS] }), 'us', 'app.users')).toBe('primary key');
    // A condition on the key itself needs no index of its own.
    const own = mirror({ as: 'o', columns: ['id'], rows: [{ column: 'id', oneOf: ['a'] }] });
    expect(identity(policyOf(1, { users: [own] }), 'us', 'app.users')).toBe('primary key');
  });

  test('every publication carries inserts, updates and deletes of named tables, and nothing else', () => {
    for (const state of desired(policyOf(1, { users: [CARDS] })).values()) {
      for (const { options } of ofKind(state, 'publication')) {
        expect(options).toBe('insert, update, delete; named tables only');
      }
      for (const { columns } of ofKind(state, 'published')) expect(columns).toBeDefined();
    }
  });
});

describe('a mirror that the tables do not allow is refused by name', () => {
  const refused = (users: Parameters<typeof mirror>[0]) => () =>
    desired(policyOf(1, { users: [mirror(users)] }));

  test.each([
    [
      'a column that is not there',
      { as: 'm', columns: ['id', 'age'] },
      'table users has no column age',
    ],
    [
      'without the primary key',
      { as: 'm', columns: ['name'] },
      'primary key of users must be among',
    ],
    [
      'rows chosen by a column that does not travel',
      { as: 'm', columns: ['id'], rows: [{ column: 'country', oneOf: ['DE'] }] },
      'country must be among its columns',
    ],
    [
      'rows chosen by a column that may be null',
      { as: 'm', columns: ['id', 'nick'], rows: [{ column: 'nick', oneOf: ['x'] }] },
      'nick must be NOT NULL in users',
    ],
  ])('%s', (_what, users, complaint) => {
    expect(refused(users)).toThrow(RangeError);
    expect(refused(users)).toThrow(complaint);
  });

  test('a column that another way out chooses rows by must travel on all', () => {
    const users = [
      mirror({
        as: 'a',
        columns: ['id', 'country'],
        rows: GERMANS.rows,
        homes: ['asia'],
        to: ['us'],
      }),
      mirror({ as: 'b', columns: ['id'], homes: ['asia'], to: ['eu'] }),
    ];
    expect(() => desired(policyOf(1, { users }))).toThrow(
      'mirror b: rows of users are chosen by country on another way out of asia',
    );
  });

  test('a table that is not there', () => {
    const input = inputOf(policyOf(1, {}));
    const schemas = new Map(input.schemas);
    schemas.set('eu', { tables: new Map([...SHAPES].slice(1)), sequences: [] });
    expect(() => desiredState({ ...input, schemas })).toThrow(
      'the policy names table users, which does not exist in eu',
    );
  });
});

describe('what may be read and written', () => {
  const rights = (cluster: string, role: string) =>
    ofKind(desired(policyOf(1, { users: [CARDS] })).get(cluster), 'grant')
      .filter(({ to, on }) => to === role && /^table (app|mirror)/.test(on))
      .map(({ privilege, on }) => `${privilege} ${on}`)
      .sort();

  test('abroad: mirrors and reference data only', () => {
    expect(rights('eu', 'domicile_abroad')).toEqual([
      'select table app.products',
      'select table mirror.cards',
    ]);
  });

  test('reference data is written at its owner only', () => {
    expect(rights('us', 'domicile_writer')).toContain('insert table app.products');
    expect(rights('eu', 'domicile_writer')).not.toContain('insert table app.products');
    expect(rights('eu', 'domicile_writer')).toContain('delete table app.orders');
  });

  test('a peer: what its publication names', () => {
    expect(rights('us-x', 'domicile_peer_eu')).toEqual([
      'select table app.products',
      'select table mirror_us.users',
    ]);
    expect(rights('eu-x', 'domicile_peer_us')).toEqual([]);
  });

  test('every subject table is held to its home and to one subject; reference tables are not', () => {
    const state = desired(policyOf(1, {})).get('eu');
    expect(ofKind(state, 'constraint').map(({ table }) => table)).toEqual([
      'app.users',
      'app.orders',
    ]);
    expect(
      ofKind(state, 'row security').map(({ table, enabled, forced }) => [table, enabled && forced]),
    ).toEqual([
      ['app.users', true],
      ['app.orders', true],
      ['app.products', false],
    ]);
  });
});

test('copies are open where the policy lets them go, and nowhere else', () => {
  const open = (cluster: string) =>
    ofKind(desired(policyOf(1, { users: [CARDS] })).get(cluster), 'opening')
      .map(({ name, home }) => `${name} of ${home}`)
      .sort();
  expect(open('us')).toEqual(['cards of asia']);
  expect(open('eu')).toEqual(['cards of asia', 'cards of us', 'products of us']);
});

test('two clusters of one name are refused', () => {
  const regions = new Map(CATALOGUE.regions);
  const us = regions.get('us');
  if (us === undefined) throw new Error('no us');
  regions.set('us', { ...us, airlocks: us.airlocks.map((one) => ({ ...one, name: 'eu' })) });
  expect(() => desired(policyOf(1, {}), { ...CATALOGUE, regions })).toThrow(
    'two clusters are called eu',
  );
});
