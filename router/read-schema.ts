/**
 * What are the app's tables, as far as a policy has to know?
 *
 * Reads schema `app` of one live database, by its catalogues; any role may.
 */
import type {
  Bypass,
  ColumnShape,
  DatabaseSchema,
  ForeignKey,
  TableShape,
} from '../policies/database-schema.ts';
import type { Sql } from '../regions/postgres.ts';

export async function readSchema(sql: Sql): Promise<DatabaseSchema> {
  const tables = new Map<string, Open>();
  const found = await sql<
    { name: string; storage: TableShape['storage']; key: string[] | null; deferrable: boolean }[]
  >`
    select c.relname as name, coalesce(not i.indimmediate, false) as deferrable,
      case when c.relkind = 'p' then 'partitioned' when c.relpersistence = 'u' then 'unlogged'
        else 'ordinary' end as storage,
      (select array_agg(a.attname::text order by k.nth)
       from unnest(i.indkey::int2[]) with ordinality as k (attnum, nth)
       join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum
       where k.nth <= i.indnkeyatts) as key
    from pg_class c
    left join pg_index i on i.indrelid = c.oid and i.indisprimary
    where c.relnamespace = to_regnamespace('app') and c.relkind in ('r', 'p')
      and not c.relispartition
    order by c.relname`;
  for (const { name, storage, key, deferrable } of found) {
    const open = { columns: [], foreignKeys: [], storage, keyDeferrable: deferrable };
    tables.set(name, { ...open, primaryKey: key ?? [] });
  }
  for (const { table, ...column } of await columns(sql)) tables.get(table)?.columns.push(column);
  for (const { table, ...key } of await foreignKeys(sql)) tables.get(table)?.foreignKeys.push(key);
  return { tables, bypasses: await bypasses(sql) };
}

type Open = TableShape & { columns: ColumnShape[]; foreignKeys: ForeignKey[] };

async function columns(sql: Sql): Promise<(ColumnShape & { table: string })[]> {
  const rows = await sql<(Omit<ColumnShape, 'generated'> & { table: string; generated: string })[]>`
    select c.relname as table, a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
      t.typnamespace = 'pg_catalog'::regnamespace as "builtIn", a.attnotnull as "notNull",
      a.attgenerated::text as generated,
      -- A default that was written with nextval() shows it, whichever sequence it takes from.
      a.attidentity <> ''
        or coalesce(pg_get_expr(d.adbin, d.adrelid) ~ '(^|[^a-z_])nextval[(]', false) as "numbersItself",
      coalesce(not l.collisdeterministic, false) as "foldsText"
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
    left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum and a.attgenerated = ''
    left join pg_collation l on l.oid = a.attcollation
    where c.relnamespace = to_regnamespace('app') and c.relkind in ('r', 'p')
    order by c.relname, a.attnum`;
  return rows.map(({ generated, ...row }) => ({ ...row, generated: GENERATED[generated] }));
}

const GENERATED: Readonly<Record<string, ColumnShape['generated']>> = {
  s: 'stored',
  v: 'virtual',
};

function foreignKeys(sql: Sql): Promise<(ForeignKey & { table: string })[]> {
  return sql`
    select c.relname as table, r.relname as to,
      (select array_agg(a.attname::text order by k.nth)
       from unnest(f.conkey) with ordinality as k (attnum, nth)
       join pg_attribute a on a.attrelid = c.oid and a.attnum = k.attnum) as columns
    from pg_constraint f
    join pg_class c on c.oid = f.conrelid
    join pg_class r on r.oid = f.confrelid
    where f.contype = 'f' and c.relnamespace = to_regnamespace('app')
      and r.relnamespace = c.relnamespace
    order by c.relname, f.conname`;
}

function bypasses(sql: Sql): Promise<Bypass[]> {
  return sql`
    select name, kind from (
      select c.relname as name, case c.relkind when 'v' then 'view' when 'f' then 'foreign-table'
        else 'materialized-view' end as kind
      from pg_class c
      where c.relnamespace = to_regnamespace('app') and c.relkind in ('v', 'm', 'f')
        and not (c.relkind = 'v' and exists (
          select from pg_options_to_table(c.reloptions)
          where option_name = 'security_invoker' and option_value::boolean))
      union all
      select distinct p.proname, 'definer-function' from pg_proc p
      where p.pronamespace = to_regnamespace('app') and p.prosecdef
    ) as found order by name, kind`;
}
