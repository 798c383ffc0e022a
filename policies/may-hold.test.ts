import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { mayHold, type Place, type PlacedCanary } from './may-hold.ts';
import type { Policy, SubjectTable } from './policy.ts';
import { readPolicy } from './read-policy.ts';

const file = fileURLToPath(new URL('../examples/storefront/residency.yaml', import.meta.url));
const read = readPolicy(readFileSync(file, 'utf8'), 'residency.yaml', undefined);
if (!('policy' in read)) throw new Error('the storefront’s policy has complaints');
const { policy } = read;

function canary(home: string, column: string, ...others: PlacedCanary['columns']): PlacedCanary {
  return { text: 'canary', home, columns: [{ table: 'users', column }, ...others] };
}
const region = (id: string): Place => ({ kind: 'region', region: id });

function verdict(one: PlacedCanary, place: Place): string {
  const answer = mayHold(policy, one, place);
  return answer.kind === 'allowed' ? 'allowed' : `${answer.region} ${answer.because}`;
}

describe('a canary may be', () => {
  const rows: [string, PlacedCanary, Place, string][] = [
    ['at home', canary('eu', 'email'), region('eu'), 'allowed'],
    ['abroad, when its column is mirrored', canary('us', 'display_name'), region('eu'), 'allowed'],
    ['not abroad otherwise', canary('us', 'email'), region('eu'), 'eu column-not-mirrored'],
    [
      'not abroad from a home that mirrors nothing',
      canary('eu', 'display_name'),
      region('us'),
      'us not-from-this-home',
    ],
    [
      'abroad, when one of its columns may',
      canary('us', 'id', { table: 'orders', column: 'user_id' }),
      region('asia'),
      'allowed',
    ],
    [
      'in an airlock, when every peer may have it',
      canary('us', 'display_name'),
      { kind: 'airlock', region: 'us', peers: ['eu', 'asia'] },
      'allowed',
    ],
    [
      'not in its home’s airlock, when a peer may not have it',
      canary('us', 'email'),
      { kind: 'airlock', region: 'us', peers: ['eu', 'asia'] },
      'eu column-not-mirrored',
    ],
    [
      'not in another home’s airlock on its way',
      canary('eu', 'display_name'),
      { kind: 'airlock', region: 'us', peers: ['eu', 'asia'] },
      'us not-from-this-home',
    ],
    [
      'on a wire that leads to where it may be',
      canary('us', 'display_name'),
      { kind: 'wire', between: ['us', 'asia'] },
      'allowed',
    ],
    [
      'not on a wire that leads to where it may not',
      canary('us', 'email'),
      { kind: 'wire', between: ['asia', 'us'] },
      'asia column-not-mirrored',
    ],
    [
      'not on such a wire the other way round',
      canary('us', 'email'),
      { kind: 'wire', between: ['us', 'asia'] },
      'asia column-not-mirrored',
    ],
    [
      'not where nobody knows whose bytes lie',
      canary('us', 'email'),
      { kind: 'anywhere', regions: ['us', 'eu', 'asia'] },
      'eu column-not-mirrored',
    ],
  ];
  test.each(rows)('%s', (_, one, place, expected) => {
    expect(verdict(one, place)).toBe(expected);
  });

  test('nowhere, when its table is not named', () => {
    const stray = { text: 'canary', home: 'us', columns: [{ table: 'notes', column: 'text' }] };
    expect(verdict(stray, region('eu'))).toBe('eu unnamed-table');
  });
});

describe('of a mirror of some rows', () => {
  const users = policy.tables.get('users') as SubjectTable;
  const rows = [{ column: 'country', oneOf: ['US'] }];
  const narrow: Policy = {
    ...policy,
    tables: new Map(policy.tables).set('users', {
      ...users,
      mirrors: users.mirrors.map((mirror) => ({ ...mirror, rows })),
    }),
  };
  const inCountry = (country: string): PlacedCanary => ({
    text: 'canary',
    home: 'us',
    columns: [{ table: 'users', column: 'display_name', row: { country } }],
  });

  test('a canary in a row that leaves may be abroad, one in another row may not', () => {
    expect(mayHold(narrow, inCountry('US'), region('eu')).kind).toBe('allowed');
    expect(mayHold(narrow, inCountry('CA'), region('eu'))).toMatchObject({
      kind: 'refused',
      because: 'row-not-mirrored',
    });
  });
});
