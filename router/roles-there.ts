/** Which roles does a server have, and what may each do? */
import type { Sql } from '../regions/postgres.ts';

export type RoleThere = { name: string; attributes: string[] };

/** Without PostgreSQL's own, by name; attributes as `create role` spells them. */
export function rolesThere(sql: Sql): PromiseLike<RoleThere[]> {
  return sql<RoleThere[]>`
    select rolname::text as name, array_remove(array[
      case when rolcanlogin then 'login' end,
      case when rolsuper then 'superuser' end,
      case when rolreplication then 'replication' end,
      case when rolbypassrls then 'bypassrls' end,
      case when rolcreaterole then 'createrole' end,
      case when rolcreatedb then 'createdb' end], null) as attributes
    from pg_roles where rolname !~ '^pg_' order by 1`;
}
