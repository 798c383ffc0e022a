/**
 * What does a cluster hold now that bears on residency?
 *
 * Reads the catalogues of one running cluster into the form of `policies/cluster-state.ts`, rogue
 * objects included, and changes nothing. Expressions come back in PostgreSQL's own words; what is
 * wanted is put into the same words by letting the same server repeat it.
 */
import {
  type ClusterState,
  type Column,
  type Expression,
  objectOf,
  stateOf,
  type Thing,
} from '../policies/cluster-state.ts';
import type { AppSchema } from '../policies/desired-state.ts';
import { DatabaseError, type LeasePool, type Sql, verbatim } from '../regions/postgres.ts';
import { rolesThere } from './roles-there.ts';

export type ObserveOptions = {
  kind: 'private' | 'airlock';
  /** Roles that are expected; of all others only those are seen that can get around the rules. */
  roles: ReadonlySet<string>;
  /** What no plan speaks of, such as `physical node_us_b`: slots of replicas, backups and keepers. */
  toolSlots: ReadonlySet<string>;
};

export type Observed = {
  state: ClusterState;
  /** Tables that a subscription is still copying. */
  pending: readonly { subscription: string; table: string }[];
};

const NORMALISE_MS_MAX = 20_000;

/** @throws DatabaseError when the cluster does not answer. */
export async function observeCluster(sql: Sql, options: ObserveOptions): Promise<Observed> {
  const things: Thing[] = [
    ...(await roles(sql, options)),
    ...(await settings(sql)),
    ...(await schemasAndTables(sql)),
    ...(await identities(sql, options)),
    ...(await publications(sql)),
    ...(await subscriptions(sql)),
    ...(await slots(sql, options.toolSlots, undefined)),
    ...(await grants(sql)),
  ];
  if (options.kind === 'private') {
    things.push(...(await rowRules(sql)), ...(await views(sql)), ...(await openings(sql)));
  }
  const followed = await sql<{ subscription: string; table: string; state: string }[]>`
    select s.subname as subscription, n.nspname || '.' || c.relname as table,
      r.srsubstate::text as state
    from pg_subscription s
    join pg_subscription_rel r on r.srsubid = s.oid
    join pg_class c on c.oid = r.srrelid
    join pg_namespace n on n.oid = c.relnamespace
    where s.subdbid = (select oid from pg_database where datname = current_database())`;
  for (const { subscription, table } of followed) {
    things.push({ kind: 'followed', subscription, table });
  }
  const pending = followed.filter(({ state }) => state !== 'r');
  return { state: stateOf(things), pending };
}

/** The app's tables and sequences as this database has them. */
export async function observeAppSchema(sql: Sql): Promise<AppSchema> {
  const tables = new Map<string, { columns: readonly Column[]; primaryKey: readonly string[] }>();
  for (const { name, columns, primaryKey } of await tablesOf(sql)) {
    if (name.startsWith('app.')) tables.set(name.slice('app.'.length), { columns, primaryKey });
  }
  const sequences = await sql<{ name: string }[]>`
    select n.nspname || '.' || c.relname as name
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'S' and n.nspname = 'app' order by 1`;
  return { tables, sequences: sequences.map(({ name }) => name) };
}

/**
 * The same state with every expression as this server repeats it. Everything is made in one
 * transaction that is rolled back, on temporary tables, so no table in use is locked.
 */
export async function normalised(pool: LeasePool, wanted: ClusterState): Promise<ClusterState> {
  const repeated = new Map<string, Thing>();
  try {
    await pool.transaction(
      async (sql) => {
        const probes = new Probes(sql, wanted);
        for (const thing of wanted.values()) await probes.make(thing);
        for (const thing of await probes.read()) repeated.set(objectOf(thing), thing);
        throw new RollBack();
      },
      { timeoutMs: NORMALISE_MS_MAX },
    );
  } catch (error) {
    if (!(error instanceof RollBack)) throw error;
  }
  return new Map([...wanted].map(([object, thing]) => [object, repeated.get(object) ?? thing]));
}

class RollBack extends Error {}

/** Empty tables with the columns of those that are or will be there, and expressions on them. */
class Probes {
  readonly #sql: Sql;
  readonly #wanted: ClusterState;
  readonly #tables = new Map<string, string>();
  readonly #conditions = new Map<string, Thing>();
  readonly #policies = new Map<string, Thing>();
  readonly #views = new Map<string, Thing>();
  #made = 0;

  constructor(sql: Sql, wanted: ClusterState) {
    this.#sql = sql;
    this.#wanted = wanted;
  }

  async make(thing: Thing): Promise<void> {
    const name = `probe_${++this.#made}`;
    switch (thing.kind) {
      case 'constraint':
        return this.#condition(name, thing, thing.table, thing.check);
      case 'published':
        if (thing.where !== undefined) {
          await this.#condition(name, thing, thing.table, thing.where);
        }
        return;
      case 'row policy': {
        const { using, check } = thing;
        await this.#run(
          `create policy ${name} on ${await this.#table(thing.table)} using (${using.sql}) with check (${check.sql})`,
        );
        this.#policies.set(name, thing);
        return;
      }
      case 'view': {
        await this.#run('savepoint probe');
        try {
          await this.#run(`create view pg_temp.${name} as ${thing.query.sql}`);
          this.#views.set(name, thing);
        } catch (error) {
          // One of its tables is not there yet, so whatever view there is cannot be this one.
          if (!(error instanceof DatabaseError) || error.failure.kind !== 'rejected') throw error;
          await this.#run('rollback to savepoint probe');
        }
        return;
      }
    }
  }

  async read(): Promise<Thing[]> {
    const sql = this.#sql;
    const conditions = await sql<{ name: string; text: string }[]>`
      select conname::text as name, pg_get_expr(conbin, conrelid) as text from pg_constraint
      where connamespace = pg_my_temp_schema() and contype = 'c'`;
    const policies = await sql<{ name: string; using: string; check: string }[]>`
      select p.polname::text as name, pg_get_expr(p.polqual, p.polrelid) as using,
        pg_get_expr(p.polwithcheck, p.polrelid) as check
      from pg_policy p join pg_class c on c.oid = p.polrelid
      where c.relnamespace = pg_my_temp_schema()`;
    const views = await sql<{ name: string; text: string }[]>`
      select relname::text as name, pg_get_viewdef(oid) as text from pg_class
      where relnamespace = pg_my_temp_schema() and relkind = 'v'`;
    const things: Thing[] = [];
    for (const { name, text } of conditions) {
      const thing = this.#conditions.get(name);
      if (thing?.kind === 'constraint') {
        things.push({ ...thing, check: { ...thing.check, normal: text } });
      } else if (thing?.kind === 'published' && thing.where !== undefined) {
        things.push({ ...thing, where: { ...thing.where, normal: text } });
      }
    }
    for (const { name, using, check } of policies) {
      const thing = this.#policies.get(name);
      if (thing?.kind !== 'row policy') continue;
      things.push({
        ...thing,
        using: { ...thing.using, normal: using },
        check: { ...thing.check, normal: check },
      });
    }
    for (const { name, text } of views) {
      const thing = this.#views.get(name);
      if (thing?.kind === 'view')
        things.push({ ...thing, query: { ...thing.query, normal: text } });
    }
    return things;
  }

  async #condition(name: string, thing: Thing, table: string, condition: Expression) {
    const probe = await this.#table(table);
    await this.#run(
      `alter table ${probe} add constraint ${name} check (${condition.sql}) not valid`,
    );
    this.#conditions.set(name, thing);
  }

  async #table(table: string): Promise<string> {
    const known = this.#tables.get(table);
    if (known !== undefined) return known;
    const name = `probe_of_${this.#tables.size}`;
    const planned = this.#wanted.get(`table ${table}`);
    const columns =
      planned?.kind === 'table'
        ? planned.columns.map((column) => `${column.name} ${column.type}`).join(', ')
        : `like ${table}`;
    await this.#run(`create temporary table ${name} (${columns})`);
    this.#tables.set(table, `pg_temp.${name}`);
    return `pg_temp.${name}`;
  }

  async #run(statement: string): Promise<void> {
    await this.#sql(verbatim(statement));
  }
}

async function roles(sql: Sql, { roles: expected }: ObserveOptions): Promise<Thing[]> {
  const rows = await rolesThere(sql);
  const members = await sql<{ role: string; of: string }[]>`
    select m.rolname::text as role, r.rolname::text as of from pg_auth_members a
    join pg_roles m on m.oid = a.member join pg_roles r on r.oid = a.roleid
    where m.rolname !~ '^pg_' order by 1, 2`;
  return [
    ...rows
      .filter(
        ({ name, attributes }) =>
          expected.has(name) || attributes.some((attribute) => DANGEROUS.has(attribute)),
      )
      .map((row): Thing => ({ kind: 'role', ...row })),
    ...members.map((row): Thing => ({ kind: 'membership', ...row })),
  ];
}

const DANGEROUS = new Set(['superuser', 'replication', 'bypassrls', 'createrole']);

async function settings(sql: Sql): Promise<Thing[]> {
  const rows = await sql<{ role: string; setting: string }[]>`
    select coalesce(r.rolname, 'everybody')::text as role, unnest(s.setconfig) as setting
    from pg_db_role_setting s left join pg_roles r on r.oid = s.setrole
    where s.setdatabase in (0, (select oid from pg_database where datname = current_database()))`;
  return rows.map(({ role, setting }) => {
    const at = setting.indexOf('=');
    return { kind: 'setting', role, name: setting.slice(0, at), value: setting.slice(at + 1) };
  });
}

type TableRow = {
  name: string;
  columns: Column[];
  primaryKey: string[];
  partitioned: boolean;
  parent: string | null;
};

/** Wherever they are, so that a table beside the app's schema is seen, too. */
async function tablesOf(sql: Sql): Promise<TableRow[]> {
  const rows = await sql<
    {
      name: string;
      column: string | null;
      type: string;
      not_null: boolean;
      key_at: number | null;
      partitioned: boolean;
      parent: string | null;
    }[]
  >`
    select n.nspname || '.' || c.relname as name, a.attname::text as column,
      format_type(a.atttypid, a.atttypmod) as type, a.attnotnull as not_null,
      array_position(i.indkey::int2[], a.attnum) as key_at,
      c.relkind = 'p' as partitioned,
      (select pn.nspname || '.' || p.relname from pg_inherits h
        join pg_class p on p.oid = h.inhparent join pg_namespace pn on pn.oid = p.relnamespace
        where h.inhrelid = c.oid and c.relispartition) as parent
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace
    left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_index i on i.indrelid = c.oid and i.indisprimary
    where c.relkind in ('r', 'p', 'f', 'm') and c.relpersistence <> 't'
      and n.nspname !~ '^pg_'
      and n.nspname not in ('information_schema', 'domicile', 'domicile_migrations')
    order by 1, a.attnum`;
  const tables = new Map<string, TableRow>();
  for (const { name, column, type, not_null, key_at, partitioned, parent } of rows) {
    const table = tables.get(name) ?? { name, columns: [], primaryKey: [], partitioned, parent };
    if (column !== null) table.columns.push({ name: column, type, notNull: not_null });
    if (column !== null && key_at !== null) table.primaryKey[key_at] = column;
    tables.set(name, table);
  }
  // Positions in an index count from 0 or 1, depending on the type; only their order matters.
  for (const table of tables.values()) table.primaryKey = Object.values(table.primaryKey);
  return [...tables.values()];
}

async function schemasAndTables(sql: Sql): Promise<Thing[]> {
  const schemas = await sql<{ name: string }[]>`
    select nspname::text as name from pg_namespace
    where nspname in ('app', 'mirror', 'domicile') or nspname like 'mirror\\_%'`;
  const tables = await tablesOf(sql);
  const inApp = (parent: string | null) => parent?.startsWith('app.') === true;
  return [
    ...schemas.map(({ name }): Thing => ({ kind: 'schema', name })),
    ...tables
      // An app may cut its own tables into partitions; the whole is what the policy names.
      .filter(({ name, parent }) => !(inApp(parent) && name.startsWith('app.')))
      .map(
        ({ name, columns, primaryKey, partitioned, parent }): Thing => ({
          kind: 'table',
          name,
          columns,
          primaryKey,
          part:
            parent !== null
              ? { of: parent }
              : partitioned && primaryKey.length === 0
                ? 'parent'
                : undefined,
        }),
      ),
  ];
}

async function identities(sql: Sql, { kind }: ObserveOptions): Promise<Thing[]> {
  const rows = await sql<{ table: string; identity: string; columns: string[] | null }[]>`
    select n.nspname || '.' || c.relname as table, c.relreplident::text as identity,
      (select array_agg(a.attname::text order by a.attname) from pg_index i
        join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
        where i.indrelid = c.oid and i.indisreplident and i.indisvalid) as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and not (c.relkind = 'p' and ${kind === 'airlock'})
      and (n.nspname = 'app' or n.nspname || '.' || c.relname = 'domicile.directory'
        or (${kind === 'airlock'} and n.nspname like 'mirror\\_%'))
      and not (c.relispartition and n.nspname = 'app')`;
  return rows.map(({ table, identity, columns }) => ({
    kind: 'identity',
    table,
    columns:
      identity === 'd' ? 'primary key' : identity === 'i' && columns !== null ? columns : 'other',
  }));
}

/** Constraints, row security and its policies on the app's tables. */
async function rowRules(sql: Sql): Promise<Thing[]> {
  const constraints = await sql<
    { table: string; name: string; check: string; enforced: boolean }[]
  >`
    select n.nspname || '.' || c.relname as table, k.conname::text as name,
      pg_get_expr(k.conbin, k.conrelid) as check,
      coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true) as enforced
    from pg_constraint k
    join pg_class c on c.oid = k.conrelid
    join pg_namespace n on n.oid = c.relnamespace
    where k.contype = 'c' and n.nspname = 'app' and not c.relispartition
      and k.conname like 'domicile\\_%'`;
  const security = await sql<{ table: string; enabled: boolean; forced: boolean }[]>`
    select n.nspname || '.' || c.relname as table, c.relrowsecurity as enabled,
      c.relforcerowsecurity as forced
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname = 'app' and not c.relispartition`;
  const policies = await sql<
    { table: string; name: string; using: string | null; check: string | null; scope: string }[]
  >`
    select n.nspname || '.' || c.relname as table, p.polname::text as name,
      pg_get_expr(p.polqual, p.polrelid) as using,
      pg_get_expr(p.polwithcheck, p.polrelid) as check,
      case when p.polpermissive then 'permissive' else 'restrictive' end || ', ' ||
      case p.polcmd when '*' then 'all commands' when 'r' then 'select' when 'a' then 'insert'
        when 'w' then 'update' else 'delete' end || ', ' ||
      (select string_agg(case when role = 0 then 'public' else role::regrole::text end, ' and ')
        from unnest(p.polroles) as role) as scope
    from pg_policy p
    join pg_class c on c.oid = p.polrelid
    join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'app'`;
  return [
    ...constraints.map(
      ({ check, ...row }): Thing => ({ kind: 'constraint', ...row, check: seen(check) }),
    ),
    ...security.map((row): Thing => ({ kind: 'row security', ...row })),
    ...policies.map(
      ({ using, check, ...row }): Thing => ({
        kind: 'row policy',
        ...row,
        using: seen(using ?? 'true'),
        check: seen(check ?? using ?? 'true'),
      }),
    ),
  ];
}

async function views(sql: Sql): Promise<Thing[]> {
  const rows = await sql<{ name: string; query: string; columns: string[] }[]>`
    select n.nspname || '.' || c.relname as name, pg_get_viewdef(c.oid) as query,
      array(select a.attname::text from pg_attribute a
        where a.attrelid = c.oid and a.attnum > 0 order by a.attnum) as columns
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'v' and n.nspname = 'mirror'`;
  return rows.map(({ name, query, columns }) => ({
    kind: 'view',
    name,
    query: seen(query),
    columns,
  }));
}

async function publications(sql: Sql): Promise<Thing[]> {
  const found = await sql<
    { name: string; operations: string[]; all: boolean; schemas: string[] | null; root: boolean }[]
  >`
    select p.pubname::text as name, p.puballtables as all, p.pubviaroot as root,
      array_remove(array[
        case when p.pubinsert then 'insert' end, case when p.pubupdate then 'update' end,
        case when p.pubdelete then 'delete' end, case when p.pubtruncate then 'truncate' end],
        null) as operations,
      (select array_agg(n.nspname::text order by 1) from pg_publication_namespace s
        join pg_namespace n on n.oid = s.pnnspid where s.pnpubid = p.oid) as schemas
    from pg_publication p`;
  const published = await sql<
    { publication: string; table: string; columns: string[] | null; where: string | null }[]
  >`
    select p.pubname::text as publication, n.nspname || '.' || c.relname as table,
      (select array_agg(a.attname::text order by a.attname) from pg_attribute a
        where a.attrelid = r.prrelid and a.attnum = any (r.prattrs::int2[])) as columns,
      pg_get_expr(r.prqual, r.prrelid) as where
    from pg_publication p
    join pg_publication_rel r on r.prpubid = p.oid
    join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace`;
  return [
    ...found.map(({ name, operations, all, schemas, root }): Thing => {
      const tables = all
        ? 'all tables'
        : schemas === null
          ? 'named tables only'
          : `all tables of ${schemas.join(', ')}`;
      const options = `${operations.join(', ')}; ${tables}${root ? '; through the root' : ''}`;
      return { kind: 'publication', name, options };
    }),
    ...published.map(
      ({ publication, table, columns, where }): Thing => ({
        kind: 'published',
        publication,
        table,
        columns: columns ?? undefined,
        where: where === null ? undefined : seen(where),
      }),
    ),
  ];
}

async function subscriptions(sql: Sql): Promise<Thing[]> {
  const rows = await sql<
    {
      name: string;
      connection: string;
      publications: string[];
      slot: string | null;
      options: string;
    }[]
  >`
    select s.subname::text as name, s.subconninfo as connection,
      s.subpublications as publications, s.subslotname::text as slot,
      concat_ws(', ',
        case when s.subenabled then 'enabled' else 'disabled' end,
        case when (to_jsonb(s) ->> 'subfailover')::boolean then 'failover' end,
        'origin ' || (to_jsonb(s) ->> 'suborigin'), 'synchronous_commit ' || s.subsynccommit,
        case when s.subbinary then 'binary' end,
        case when s.subtwophasestate <> 'd' then 'two-phase' end,
        case when s.subdisableonerr then 'disabled on error' end,
        case when d.datname <> current_database() then 'in database ' || d.datname end) as options
    from pg_subscription s join pg_database d on d.oid = s.subdbid`;
  return rows.map(({ slot, ...row }) => ({
    kind: 'subscription',
    ...row,
    slot: slot ?? 'none',
  }));
}

/**
 * Of one server: a replica can have slots that its primary knows nothing of. Those that it keeps in
 * step with its primary's are no slots of its own, until it is promoted: they stay marked then.
 */
export async function slots(
  sql: Sql,
  toolSlots: ReadonlySet<string>,
  replica: string | undefined,
): Promise<Thing[]> {
  const rows = await sql<{ name: string; type: string; definition: string; worker: boolean }[]>`
    select slot_name::text as name, slot_type as type,
      concat_ws(', ', concat_ws(' ', slot_type, plugin),
        case when (to_jsonb(r) ->> 'failover')::boolean then 'failover' end,
        case when wal_status = 'lost' or (to_jsonb(r) ->> 'conflicting')::boolean then 'lost' end,
        case when database <> current_database() then 'in database ' || database end) as definition,
      -- A table's first copy uses a slot for as long as it takes.
      active and slot_name ~ '^pg_[0-9]+_sync_[0-9]+_[0-9]+$' as worker
    from pg_replication_slots r
    where not temporary
      and not (coalesce((to_jsonb(r) ->> 'synced')::boolean, false) and pg_is_in_recovery())`;
  return rows
    .filter(({ name, type, worker }) => !worker && !toolSlots.has(`${type} ${name}`))
    .map(({ name, definition }) => ({ kind: 'slot', name, replica, definition }));
}

async function grants(sql: Sql): Promise<Thing[]> {
  const rows = await sql<{ privilege: string; on: string; to: string }[]>`
    with granted as (
      select 'schema ' || nspname as on, nspowner as owner, nspacl as acl, nspname as schema
      from pg_namespace
      union all
      select case c.relkind when 'S' then 'sequence ' else 'table ' end
          || n.nspname || '.' || c.relname, c.relowner, c.relacl, n.nspname
      from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
      union all
      select 'column ' || a.attname || ' of ' || n.nspname || '.' || c.relname,
        c.relowner, a.attacl, n.nspname
      from pg_attribute a join pg_class c on c.oid = a.attrelid
      join pg_namespace n on n.oid = c.relnamespace
      where a.attacl is not null
      union all
      select case p.prokind when 'p' then 'procedure ' else 'function ' end
          || replace(p.oid::regprocedure::text, ',', ', '),
        p.proowner, coalesce(p.proacl, acldefault('f', p.proowner)), n.nspname
      from pg_proc p join pg_namespace n on n.oid = p.pronamespace
      -- An app's own functions run with the rights of their caller, unless they say otherwise.
      where n.nspname = 'domicile' or p.prosecdef
        or (n.nspname = 'pg_catalog' and p.proacl is not null)
    )
    select lower(a.privilege_type) || case when a.is_grantable then ' with grant option' else '' end
        as privilege,
      g.on, coalesce(r.rolname::text, 'public') as to
    from granted g, aclexplode(g.acl) a left join pg_roles r on r.oid = a.grantee
    where a.grantee <> g.owner
      and g.schema not in ('information_schema', 'pg_toast')
      and case when g.schema in ('pg_catalog', 'public')
        then r.rolname is not null and r.rolname !~ '^pg_' else true end
    order by 2, 3, 1`;
  return rows.map((row) => ({ kind: 'grant', ...row }));
}

async function openings(sql: Sql): Promise<Thing[]> {
  const rows = await sql<{ name: string; home: string }[]>`
    select name, home from domicile.openings`;
  return rows.map((row) => ({ kind: 'opening', ...row }));
}

function seen(text: string): Expression {
  return { sql: text, normal: text };
}
