/**
 * Can this policy be kept in a database with these tables?
 *
 * Names that one side has and the other has not, and everything that PostgreSQL would refuse, or
 * worse, accept and not do, once rows of these tables are replicated and kept apart by subject.
 */
import type { Complaint, Path } from '../regions/yaml-complaint.ts';
import { complaintAt, quote, type Remark } from '../regions/yaml-complaint.ts';
import { nearest } from '../regions/yaml-suggestion.ts';
import type { Bypass, ColumnShape, DatabaseSchema, TableShape } from './database-schema.ts';
import type { ColumnName, Policy, TableName } from './policy.ts';
import type { MirrorFile, TableFile } from './policy-file.ts';
import { isPlainName } from './sql-words.ts';

/** Texts and whole numbers have one way to be written; dates, floats and padded texts do not. */
const SUBJECT_TYPE = /^(text|character varying(\(\d+\))?|uuid|smallint|integer|bigint)$/;
const SUBJECT_TYPES = 'text, varchar, uuid, smallint, integer or bigint';

export function checkSchema(policy: Policy, schema: DatabaseSchema): Complaint[] {
  const check = new SchemaCheck(policy, schema);
  for (const [name, table] of Object.entries(policy.written.document.tables)) {
    check.table(name, table);
  }
  check.unnamed();
  for (const bypass of schema.bypasses) check.bypass(bypass);
  return check.complaints;
}

class SchemaCheck {
  readonly complaints: Complaint[] = [];
  readonly #policy: Policy;
  readonly #schema: DatabaseSchema;

  constructor(policy: Policy, schema: DatabaseSchema) {
    this.#policy = policy;
    this.#schema = schema;
  }

  table(name: TableName, table: TableFile): void {
    const path = ['tables', name];
    const shape = this.#schema.tables.get(name);
    if (shape === undefined) {
      const unnamed = [...this.#schema.tables.keys()].filter(
        (known) => !this.#policy.tables.has(known),
      );
      const suggestion = nearest(name, unnamed);
      this.#say(path, { message: 'the database has no such table', suggestion, at: 'key' });
      return;
    }
    this.#storage(path, shape);
    if (table.subject !== undefined)
      this.#subject([...path, 'subject'], name, shape, table.subject);
    if (table.reference !== undefined) this.#reference(path, shape);
    table.mirrors?.forEach((mirror, index) => {
      this.#mirror([...path, 'mirrors', index], name, shape, mirror);
    });
  }

  unnamed(): void {
    for (const name of this.#schema.tables.keys()) {
      if (this.#policy.tables.has(name)) continue;
      this.#say(['tables', name], {
        message: 'the database has this table, but the policy does not name it',
      });
    }
  }

  bypass({ kind, name }: Bypass): void {
    this.#say(['tables', name], { message: BYPASS[kind] });
  }

  #storage(path: Path, { storage }: TableShape): void {
    if (storage === 'ordinary') return;
    const message =
      storage === 'unlogged'
        ? 'is unlogged in the database: neither a replica nor an airlock would ever have its rows; say "alter table … set logged"'
        : 'is partitioned in the database: whoever reads a partition passes the row security of the whole, and rows would leave under the names of the partitions; make it one table';
    this.#say(path, { message, at: 'key' });
  }

  #subject(path: Path, table: TableName, shape: TableShape, name: ColumnName): void {
    const column = this.#column(path, table, shape, name);
    if (column === undefined) return;
    const { type, notNull, foldsText, numbersItself } = column;
    if (!notNull) {
      const message = `${name} may be null in ${table}, and such a row would be nobody’s; say "alter table ${table} alter ${name} set not null"`;
      this.#say(path, { message });
    }
    if (!SUBJECT_TYPE.test(type)) {
      const message = `${name} is of type ${type} in ${table}; the id of a subject must be ${SUBJECT_TYPES}, which have one way to be written`;
      this.#say(path, { message });
    }
    if (foldsText) {
      const message = `${name} has a collation that takes different texts for the same, so one subject could read the rows of another; give it a deterministic one`;
      this.#say(path, { message });
    }
    if (numbersItself) {
      const message = `${name} numbers itself, so two regions would give one id to two subjects; let the app draw the id, such as a uuid`;
      this.#say(path, { message });
    }
  }

  #reference(path: Path, shape: TableShape): void {
    const at = [...path, 'reference'];
    this.#key(at, shape, 'key');
    for (const { name, type, builtIn, generated } of shape.columns) {
      if (!isPlainName(name)) {
        const message = `has a column ${quote(name)}, a name that SQL wants in quotes; every column of reference data travels, so call it something else`;
        this.#say(at, { message, at: 'key' });
      }
      if (!builtIn) this.#say(at, { message: `has ${foreignType(name, type)}`, at: 'key' });
      if (generated !== undefined) {
        const message = `has a generated column ${name}, which other regions could not receive; make it an ordinary one, or put it into a view`;
        this.#say(at, { message, at: 'key' });
      }
    }
    for (const { columns, to } of shape.foreignKeys) {
      if (this.#policy.tables.get(to)?.kind !== 'subject') continue;
      const message = `refers to ${to} (${columns.join(', ')}), whose rows are about somebody, and so are these: name the subject column instead`;
      this.#say(at, { message, at: 'key' });
    }
  }

  #mirror(path: Path, table: TableName, shape: TableShape, mirror: MirrorFile): void {
    const { as, columns, rows = {} } = mirror;
    if (this.#schema.tables.has(as) && !this.#policy.tables.has(as)) {
      const message = `${quote(as)} is the name of a table in the database, which would hide the mirror; call it something else`;
      this.#say([...path, 'as'], { message });
    }
    columns.forEach((name, nth) => {
      const at = [...path, 'columns', nth];
      const column = this.#column(at, table, shape, name);
      if (column === undefined) return;
      if (!column.builtIn) this.#say(at, { message: foreignType(name, column.type) });
      if (column.generated === 'virtual') {
        const message = `${name} is a virtual generated column, which is stored nowhere and cannot leave; make it a stored one`;
        this.#say(at, { message });
      }
    });
    this.#key([...path, 'columns'], shape, 'value');
    const missing = shape.primaryKey.filter((column) => !columns.includes(column));
    if (missing.length > 0) {
      const message = `lacks ${missing.join(', ')} of the primary key of ${table}, without which a change could not find its row abroad`;
      this.#say([...path, 'columns'], { message });
    }
    for (const [name, wanted] of Object.entries(rows)) {
      const at = [...path, 'rows', name];
      const column = this.#column(at, table, shape, name, 'key');
      if (column === undefined) continue;
      if (!column.notNull) {
        const message = `may be null in ${table}, and PostgreSQL takes a row back only by columns that cannot be; say "alter table ${table} alter ${name} set not null"`;
        this.#say(at, { message, at: 'key' });
      }
      const values = Array.isArray(wanted) ? wanted : [wanted];
      values.forEach((value, nth) => {
        if (fits(value, column.type)) return;
        const message = `${quote(value)} is not a value of ${name}, which is of type ${column.type}`;
        this.#say(Array.isArray(wanted) ? [...at, nth] : at, { message });
      });
    }
  }

  /** Of what is to be copied: rows are changed and removed abroad by their key. */
  #key(path: Path, { primaryKey, keyDeferrable }: TableShape, at: 'key' | 'value'): void {
    if (primaryKey.length === 0) {
      const message =
        'the table has no primary key, without which a change could not find its row in a copy';
      this.#say(path, { message, at });
    } else if (keyDeferrable) {
      const message =
        'the primary key of the table is deferrable, and PostgreSQL does not replicate changes by such a key';
      this.#say(path, { message, at });
    }
  }

  #column(
    path: Path,
    table: TableName,
    { columns }: TableShape,
    name: ColumnName,
    at: 'key' | 'value' = 'value',
  ): ColumnShape | undefined {
    const found = columns.find((column) => column.name === name);
    if (found === undefined) {
      const suggestion = nearest(
        name,
        columns.map((column) => column.name),
      );
      this.#say(path, { message: `${table} has no column ${quote(name)}`, suggestion, at });
    }
    return found;
  }

  #say(path: Path, remark: Remark): void {
    this.complaints.push(complaintAt(this.#policy.written.source, path, remark));
  }
}

const BYPASS: Readonly<Record<Bypass['kind'], string>> = {
  view: 'the database has a view of this name that reads with its owner’s rights, past the row security of its tables; make it "with (security_invoker = true)"',
  'materialized-view':
    'the database has a materialized view of this name, and row security has no hold on what it keeps; make it a view "with (security_invoker = true)"',
  'foreign-table':
    'the database has a foreign table of this name, whose rows are elsewhere, where no policy holds; drop it',
  'definer-function':
    'the database has a function of this name that runs with its owner’s rights, past the row security of all tables; make it "security invoker"',
};

function foreignType(column: ColumnName, type: string): string {
  return `${column} of type ${type}, which airlocks do not have; use a built-in type`;
}

/** Only types whose values have an obvious form in YAML are judged. */
function fits(value: string | number | boolean, type: string): boolean {
  if (/^boolean$/.test(type)) return typeof value === 'boolean';
  if (/^(smallint|integer|bigint)$/.test(type)) return Number.isSafeInteger(value);
  if (/^(numeric|real|double precision)/.test(type)) return typeof value === 'number';
  if (/^(text|character|character varying|uuid|date)\b/.test(type))
    return typeof value === 'string';
  return true;
}
