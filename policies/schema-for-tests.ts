/**
 * How does a test say which tables a database has, in a few words?
 *
 * A column is a name, or what is unusual about it; by default it is a text that is never null, and
 * the first column is the primary key.
 */
import type { ColumnShape, DatabaseSchema, TableShape } from './database-schema.ts';

export type ColumnInWords = string | (Partial<ColumnShape> & { name: string });
export type TableInWords = Partial<Omit<TableShape, 'columns'>> & {
  columns: readonly ColumnInWords[];
};

export function tableForTests({ columns, ...rest }: TableInWords): TableShape {
  const shapes = columns.map(
    (column): ColumnShape => ({
      type: 'text',
      builtIn: true,
      notNull: true,
      generated: undefined,
      numbersItself: false,
      foldsText: false,
      ...(typeof column === 'string' ? { name: column } : column),
    }),
  );
  return {
    columns: shapes,
    primaryKey: shapes.slice(0, 1).map(({ name }) => name),
    keyDeferrable: false,
    storage: 'ordinary',
    foreignKeys: [],
    ...rest,
  };
}

export function schemaForTests(
  tables: Readonly<Record<string, TableInWords | undefined>>,
  bypasses: DatabaseSchema['bypasses'] = [],
): DatabaseSchema {
  const shapes = new Map<string, TableShape>();
  for (const [name, table] of Object.entries(tables)) {
    if (table !== undefined) shapes.set(name, tableForTests(table));
  }
  return { tables: shapes, bypasses };
}
