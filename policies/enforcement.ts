/**
 * What does PostgreSQL check about the rows of a subject table?
 *
 * Two things, neither of which needs the router to be right. A constraint lets in only rows of
 * subjects who are at home here; it is a CHECK, because that binds superusers and the apply workers
 * of replication as well, where a trigger or a foreign key does not. Row security lets a
 * connection see and change only the rows of the subject that the edge has entered on it.
 * The functions are in `regions/schema/0002-enforcement.sql`.
 */
import type { Column, TableShape } from './cluster-state.ts';
import type { SubjectTable } from './policy.ts';

/** The constraint's name on every subject table; refusals and the audit know it. */
export const HOME_CONSTRAINT = 'domicile_home';
export const SUBJECT_POLICY = 'domicile_subject';

export type Enforcement = {
  /**
   * Added as NOT VALID: new rows are held to it all the same, and `pg_dump` then restores it after
   * the rows, when the subjects that it asks for are there. Old rows are the audit's to check.
   */
  constraint: { name: string; expression: string };
  /** For all commands and all roles but superusers, the owner included. */
  policies: readonly { name: string; using: string; check: string }[];
};

/** @throws RangeError when the table lacks the subject column. */
export function enforcementOf(table: SubjectTable, { columns }: TableShape): Enforcement {
  const column = columns.find(({ name }) => name === table.subject);
  if (column === undefined) {
    throw new RangeError(`table ${table.name} has no column ${table.subject}`);
  }
  const own = `${column.name} = ${entered(table, column)}`;
  return {
    constraint: {
      name: HOME_CONSTRAINT,
      expression: `domicile.at_home(${asText(column)})`,
    },
    policies: [{ name: SUBJECT_POLICY, using: own, check: own }],
  };
}

/** The entered subject, asked for once a query: a scalar subquery is evaluated before the scan. */
function entered({ transit }: SubjectTable, { type }: Column): string {
  const subject = transit === 'redirect' ? 'domicile.subject_direct()' : 'domicile.subject()';
  if (isText(type)) return `(select ${subject})`;
  return `(select domicile.spelt_as(${subject}, '${type}')::${type})`;
}

function asText({ name, type }: Column): string {
  return isText(type) ? name : `${name}::text`;
}

function isText(type: string): boolean {
  return type === 'text' || type.startsWith('character varying');
}
