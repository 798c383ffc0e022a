import { describe, expect, test } from 'vitest';
import { enforcementOf } from './enforcement.ts';
import type { SubjectTable, Transit } from './policy.ts';

const table = (transit: Transit, subject = 'user_id'): SubjectTable => ({
  kind: 'subject',
  name: 'orders',
  subject,
  transit,
  mirrors: [],
});
const shape = (type: string) => ({
  columns: [{ name: 'user_id', type, notNull: true }],
  primaryKey: ['user_id'],
});

describe('what is checked about a row', () => {
  test.each(['text', 'character varying', 'character varying(64)'])(
    '%s is compared as it is',
    (type) => {
      const { constraint, policies } = enforcementOf(table('proxy'), shape(type));
      expect(constraint).toEqual({
        name: 'domicile_home',
        expression: 'domicile.at_home(user_id)',
      });
      const own = 'user_id = (select domicile.subject())';
      expect(policies).toEqual([{ name: 'domicile_subject', using: own, check: own }]);
    },
  );

  test('another type is compared as itself, so that its index serves', () => {
    const { constraint, policies } = enforcementOf(table('proxy'), shape('uuid'));
    expect(constraint.expression).toBe('domicile.at_home(user_id::text)');
    expect(policies[0]?.using).toBe(
      "user_id = (select domicile.spelt_as(domicile.subject(), 'uuid')::uuid)",
    );
  });

  test('a table that takes direct requests only asks for a direct one', () => {
    const { policies } = enforcementOf(table('redirect'), shape('text'));
    expect(policies[0]?.using).toBe('user_id = (select domicile.subject_direct())');
  });

  test('a subject column that does not exist is named', () => {
    expect(() => enforcementOf(table('proxy', 'owner'), shape('text'))).toThrow(
      'table orders has no column owner',
    );
  });
});
