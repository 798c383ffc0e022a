/**
 * What must be known of the app's tables before a policy can be held against them?
 *
 * Only what decides whether the policy can be kept: keys, because PostgreSQL takes a row back from
 * a copy by its key; types, because an airlock knows only the built-in ones; and whatever shows
 * rows where row-level security does not reach.
 */
import type { ColumnName, TableName } from './policy.ts';

export type DatabaseSchema = {
  tables: ReadonlyMap<TableName, TableShape>;
  /** What is in the app's schema beside tables and could show, or keep, their rows. */
  bypasses: readonly Bypass[];
};

export type TableShape = {
  /** In the order in which the table has them. */
  columns: readonly ColumnShape[];
  /** In the order of the key; empty without one. */
  primaryKey: readonly ColumnName[];
  /** True when the key is checked at commit only, which replication cannot work with. */
  keyDeferrable: boolean;
  storage: 'ordinary' | 'partitioned' | 'unlogged';
  foreignKeys: readonly ForeignKey[];
};

export type ColumnShape = {
  name: ColumnName;
  /** As `format_type` writes it: `character varying(36)`, `app.mood`. */
  type: string;
  /** False for enums, domains and the types of extensions. */
  builtIn: boolean;
  notNull: boolean;
  generated: 'stored' | 'virtual' | undefined;
  /** An identity, or a default that takes the next number of a sequence. */
  numbersItself: boolean;
  /** True when its collation may take two different texts for the same. */
  foldsText: boolean;
};

export type ForeignKey = { columns: readonly ColumnName[]; to: TableName };

export type Bypass = {
  kind: 'view' | 'materialized-view' | 'foreign-table' | 'definer-function';
  name: string;
};
