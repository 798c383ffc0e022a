import { expect, test } from 'vitest';
import type { Policy, Table } from './policy.ts';
import { transitOf } from './transit.ts';

function policy(transit: { [table: string]: 'proxy' | 'redirect' | 'reference' }): Policy {
  const tables = new Map<string, Table>();
  for (const [name, how] of Object.entries(transit)) {
    if (how === 'reference') tables.set(name, { kind: 'reference', name, owner: 'us' });
    else tables.set(name, { kind: 'subject', name, subject: 'id', transit: how, mirrors: [] });
  }
  return { tables } as Partial<Policy> as Policy;
}

const MIXED = policy({ users: 'proxy', messages: 'redirect', products: 'reference' });

test.each([
  [['users'], 'proxy'],
  [['products'], 'proxy'],
  [['messages'], 'redirect'],
  [['users', 'messages'], 'redirect'],
  [['messages', 'users'], 'redirect'],
  [[], 'redirect'],
])('a route that touches %j: %s', (touched, transit) => {
  expect(transitOf(MIXED, touched)).toEqual({ kind: 'known', transit });
});

test('a route that names no table is forwarded where no table forbids it', () => {
  const lax = policy({ users: 'proxy', products: 'reference' });
  expect(transitOf(lax, [])).toEqual({ kind: 'known', transit: 'proxy' });
});

test('a table that the policy does not name is not a detail, whatever else is named', () => {
  const stranger = { kind: 'undeclared', table: 'massages' };
  expect(transitOf(MIXED, ['massages'])).toEqual(stranger);
  expect(transitOf(MIXED, ['messages', 'massages'])).toEqual(stranger);
});
