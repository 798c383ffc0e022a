/**
 * How does one know that a search through a cluster would have found something?
 *
 * A control is put where data would lie: into a row of the catalogue, so into a heap file and the
 * log (and from there into replicas and copies), into the log's decoded form, and into the server's
 * own log file. No table is made and none is changed. The comment is put back afterwards.
 */
import { type Lsn, lsnFromPostgres } from '../../regions/position.ts';
import { type Sql, verbatim } from '../../regions/postgres.ts';

/** What needs no quoting anywhere. */
const PLAIN = /^[A-Za-z0-9]+$/;

export type PlantedControl = {
  /** The log up to here holds the control. */
  until: Lsn;
  /** What the comment said before. */
  before: string | null;
};

/** By a superuser of a primary or an airlock, in the region's database. */
export async function plantControl(sql: Sql, control: string): Promise<PlantedControl> {
  checkPlain(control);
  const [found] = await sql<{ before: string | null }[]>`
    select obj_description('domicile'::regnamespace, 'pg_namespace') as before`;
  await sql(verbatim(`comment on schema domicile is '${control}'`));
  await sql`select pg_logical_emit_message(true, 'domicile.audit', ${control})`;
  await logControl(sql, control);
  // Into the heap file, from where a base backup and a search of the directory read it.
  await sql`checkpoint`;
  const [now] = await sql<{ at: string }[]>`select pg_current_wal_flush_lsn()::text as at`;
  return { until: lsnFromPostgres(now?.at ?? ''), before: found?.before ?? null };
}

/** Into the server's log file, on any node. */
export async function logControl(sql: Sql, control: string): Promise<void> {
  checkPlain(control);
  await sql(verbatim(`do $$ begin raise log 'domicile audit control ${control}'; end $$`));
}

/** Its bytes stay until vacuum and the log's turnover; they are random and mean nothing. */
export async function removeControl(sql: Sql, { before }: PlantedControl): Promise<void> {
  const text = before === null ? 'null' : `'${before.replaceAll("'", "''")}'`;
  await sql(verbatim(`comment on schema domicile is ${text}`));
}

function checkPlain(control: string): void {
  if (!PLAIN.test(control)) throw new RangeError('a control is made of letters and digits');
}
