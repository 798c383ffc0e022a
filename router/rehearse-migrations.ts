/**
 * What would these scripts make of a region's tables?
 *
 * They are run on its primary in a transaction that is rolled back, over the rows that are there, so
 * whatever stands against them is known before anything changes anywhere. What a script does beside
 * the app's tables is seen by comparing before and after, however it was said.
 */
import { type ClusterState, compareStates } from '../policies/cluster-state.ts';
import type { DatabaseSchema } from '../policies/database-schema.ts';
import { enforcementOf } from '../policies/enforcement.ts';
import { statementsOf } from '../policies/migration-script.ts';
import type { Policy, SubjectTable } from '../policies/policy.ts';
import type { Away, Rehearsed } from '../policies/roll-out.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { DatabaseError, type Sql, verbatim } from '../regions/postgres.ts';
import { observeAppSchema, observeCluster } from './observe-cluster.ts';
import { OperatorError, type Session } from './operator.ts';
import { type Migration, placed } from './read-migrations.ts';
import { readSchema } from './read-schema.ts';

/** A script may have many rows to go through. */
export const SCRIPT_MS_MAX = 600_000;
/** DDL that waits for one long transaction makes everybody behind it wait, so it waits in turns. */
const LOCK_MS_MAX = 2_000;
const LOCK_TURNS_MAX = 15;
/** Longer values may be stored beside their row, and are not sent with it unless they change. */
const INLINE_BYTES_MAX = 1_900;

/** PostgreSQL or the rules for migrations object; the message says where. */
export class MigrationRefused extends Error {
  readonly sqlstate: string | undefined;

  constructor(message: string, sqlstate?: string) {
    super(message);
    this.sqlstate = sqlstate;
  }
}

export type Rehearsal = Rehearsed & { schema: DatabaseSchema };

const LEVELS: readonly Away[] = ['nothing', 'views', 'views and publications'];
/** Something else depends on what is to change: dependent_objects_still_exist, feature_not_supported. */
const IN_THE_WAY = new Set(['2BP01', '0A000']);

/** @throws MigrationRefused */
export async function rehearseMigrations(
  session: Session,
  region: RegionId,
  scripts: readonly Migration[],
  policy: Policy,
): Promise<Rehearsal> {
  let first: MigrationRefused | undefined;
  for (const away of LEVELS) {
    try {
      return await rehearse(session, region, scripts, policy, away);
    } catch (error) {
      if (!(error instanceof MigrationRefused)) throw error;
      first ??= error;
      if (!IN_THE_WAY.has(error.sqlstate ?? '')) throw error;
    }
  }
  throw first ?? new TypeError('there is at least one level');
}

async function rehearse(
  session: Session,
  region: RegionId,
  scripts: readonly Migration[],
  policy: Policy,
  away: Away,
): Promise<Rehearsal> {
  let rehearsal: Rehearsal | undefined;
  try {
    await inTurns(session, region, async (sql) => {
      if (away !== 'nothing') await dropViews(sql);
      if (away === 'views and publications') await dropLines(sql);
      const before = await look(sql);
      for (const script of scripts) await runStatements(sql, script);
      const after = await look(sql);
      const names = scripts.map(({ file }) => file).join(', ');
      const objections = [
        ...beyondTheApp(before, after),
        ...(await strayRows(policy, region, before, after)),
      ];
      if (objections.length > 0) {
        const renames = away !== 'views and publications' && objections.every(followsRename);
        throw new MigrationRefused(
          objections.map((one) => `${names}  ${one}`).join('\n'),
          renames ? '2BP01' : undefined,
        );
      }
      await protect(sql, policy);
      const nobodys = await rowsOfNobody(sql, policy, before, after, region);
      if (nobodys.length > 0) {
        throw new MigrationRefused(nobodys.map((one) => `${names}  ${one}`).join('\n'));
      }
      rehearsal = {
        scripts: scripts.map(({ name }) => name),
        before: before.app,
        after: after.app,
        away,
        converts: scripts.some(({ text }) => converts(text)),
        obstacles: await obstacles(sql, before, after),
        schema: await readSchema(sql),
      };
      throw new RollBack();
    });
  } catch (error) {
    if (!(error instanceof RollBack)) throw error;
  }
  if (rehearsal === undefined) throw new TypeError('a rehearsal ended without a result');
  return rehearsal;
}

class RollBack extends Error {}

/** One transaction that does not make others wait for long behind its locks. */
export async function inTurns(
  session: Session,
  region: RegionId,
  use: (sql: Sql) => Promise<void>,
): Promise<void> {
  for (let turn = 1; ; turn++) {
    try {
      return await session.transaction(
        region,
        async (sql) => {
          await sql(verbatim(`set local lock_timeout = ${LOCK_MS_MAX}`));
          await use(sql);
        },
        SCRIPT_MS_MAX,
      );
    } catch (error) {
      if (turn >= LOCK_TURNS_MAX || !isBusy(error)) throw error;
    }
  }
}

function isBusy(error: unknown): boolean {
  const sqlstate =
    error instanceof DatabaseError && error.failure.kind === 'rejected'
      ? error.failure.sqlstate
      : error instanceof MigrationRefused
        ? error.sqlstate
        : undefined;
  return sqlstate === '55P03' || sqlstate === '40P01';
}

/** In schema `app`. @throws MigrationRefused with file, line and column. */
export async function runStatements(sql: Sql, { file, text }: Migration): Promise<void> {
  await sql(verbatim('set local search_path = app'));
  for (const statement of statementsOf(text)) {
    try {
      await sql(verbatim(statement.text));
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.failure.kind !== 'rejected') throw error;
      const { position, sqlstate } = error.failure;
      // PostgreSQL counts characters, and a string here counts units of two bytes.
      const within = [...statement.text].slice(0, (position ?? 1) - 1).join('').length;
      throw new MigrationRefused(
        placed(file, text, statement.at + within, error.message),
        sqlstate,
      );
    }
  }
  await sql(verbatim('set constraints all immediate'));
  await sql(verbatim('set local search_path = pg_catalog'));
}

export async function dropViews(sql: Sql): Promise<void> {
  const views = await sql<{ name: string }[]>`
    select format('%I.%I', schemaname, viewname) as name from pg_views where schemaname = 'mirror'`;
  for (const { name } of views) await sql(verbatim(`drop view ${name}`));
}

async function dropLines(sql: Sql): Promise<void> {
  const lines = await sql<{ publication: string; table: string }[]>`
    select format('%I', pubname) as publication, format('%I.%I', schemaname, tablename) as table
    from pg_publication_tables where schemaname = 'app'`;
  for (const { publication, table } of lines) {
    await sql(verbatim(`alter publication ${publication} drop table ${table}`));
  }
}

/** No subject table of the policy is without its row rules, from its first moment on. */
export async function protect(sql: Sql, policy: Policy): Promise<void> {
  const { tables } = await observeAppSchema(sql);
  for (const table of policy.tables.values()) {
    const shape = tables.get(table.name);
    if (table.kind !== 'subject' || shape === undefined) continue;
    if (!shape.columns.some(({ name }) => name === table.subject)) continue;
    const { constraint, policies } = enforcementOf(table, shape);
    const name = `app.${table.name}`;
    const [known] = await sql`
      select from pg_constraint
      where conrelid = ${name}::regclass and conname = ${constraint.name}`;
    if (known !== undefined) continue;
    await sql(
      verbatim(
        `alter table ${name} add constraint ${constraint.name} check (${constraint.expression}) not valid`,
      ),
    );
    for (const { name: rule, using, check } of policies) {
      await sql(
        verbatim(`create policy ${rule} on ${name} using (${using}) with check (${check})`),
      );
    }
    await sql(verbatim(`alter table ${name} enable row level security, force row level security`));
  }
}

type Look = {
  app: Rehearsed['before'];
  state: ClusterState;
  /** Of the router's own schemas. */
  mark: string;
  /** Rows written so far, by table. */
  written: ReadonlyMap<string, number>;
  /** Constraints and unique indexes of the app's tables, in words. */
  rules: ReadonlyMap<string, string>;
};

async function look(sql: Sql): Promise<Look> {
  const { state } = await observeCluster(sql, {
    kind: 'private',
    roles: new Set(),
    toolSlots: new Set(),
  });
  const [row] = await sql<{ mark: string }[]>`
    select md5(string_agg(one, ',' order by one)) as mark from (
      select 'c' || c.oid || ' ' || c.xmin from pg_class c join pg_namespace n
        on n.oid = c.relnamespace where n.nspname ~ '^(domicile|domicile_migrations|mirror_.*)$'
      union all
      select 'p' || p.oid || ' ' || p.xmin from pg_proc p join pg_namespace n
        on n.oid = p.pronamespace where n.nspname ~ '^(domicile|domicile_migrations|mirror.*)$'
      union all
      select 't' || t.oid || ' ' || t.xmin from pg_trigger t join pg_class c on c.oid = t.tgrelid
        join pg_namespace n on n.oid = c.relnamespace
        where n.nspname ~ '^(domicile|domicile_migrations|mirror.*)$'
      union all
      select 'e' || oid || ' ' || xmin from pg_event_trigger
    ) as all_of_it (one)`;
  const written = await sql<{ table: string; rows: number }[]>`
    select schemaname || '.' || relname as table,
      (n_tup_ins + n_tup_upd + n_tup_del)::int as rows
    from pg_stat_xact_all_tables
    where schemaname ~ '^(app|domicile|domicile_migrations|mirror_.*)$'`;
  const rules = await sql<{ table: string; rules: string }[]>`
    select c.relname::text as table, concat_ws('; ',
      (select string_agg(pg_get_constraintdef(k.oid), ', ' order by k.conname)
        from pg_constraint k where k.conrelid = c.oid and k.contype <> 'n'),
      (select string_agg(pg_get_indexdef(i.indexrelid), ', ' order by i.indexrelid)
        from pg_index i where i.indrelid = c.oid and i.indisunique),
      (select string_agg(pg_get_triggerdef(t.oid), ', ' order by t.oid)
        from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)) as rules
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'app' and c.relkind in ('r', 'p')`;
  return {
    app: await observeAppSchema(sql),
    state,
    mark: row?.mark ?? '',
    written: new Map(written.map(({ table, rows }) => [table, rows])),
    rules: new Map(rules.map((one) => [one.table, one.rules])),
  };
}

/** Views and publications follow a column that is renamed; they have to be out of its way. */
function followsRename(objection: string): boolean {
  return /^(view mirror\.\S+|app\.\S+ in publication \S+) changes;/.test(objection);
}

/** What a script has changed that it must leave alone. */
function beyondTheApp(before: Look, after: Look): string[] {
  const found: string[] = [];
  if (before.mark !== after.mark) {
    found.push('changes the router’s own schemas; a migration changes schema app only');
  }
  for (const { object, found: is, wanted: was } of compareStates(
    new Map([['region', before.state]]),
    new Map([['region', after.state]]),
  )) {
    const table = / ?\bapp\.(\w+)/.exec(object)?.[1] ?? '';
    const inBoth = before.app.tables.has(table) && after.app.tables.has(table);
    const gone = before.app.tables.has(table) && !after.app.tables.has(table);
    if (object.startsWith('table ') || gone) continue;
    if (/^(replica identity|row security) of app\./.test(object) && !inBoth) continue;
    if (/^grant of .* on sequence app\./.test(object) && is === undefined) continue;
    const what = was === undefined ? 'would be there' : is === undefined ? 'would go' : 'changes';
    found.push(`${object} ${what}; the policy decides about it`);
  }
  return found;
}

/** Rows of reference data that this region does not write, and rows of the router. */
async function strayRows(
  policy: Policy,
  region: RegionId,
  before: Look,
  after: Look,
): Promise<string[]> {
  return [...after.written].flatMap(([table, rows]) => {
    const more = rows - (before.written.get(table) ?? 0);
    if (more === 0) return [];
    if (!table.startsWith('app.')) return [`writes to ${table}, which belongs to the router`];
    const known = policy.tables.get(table.slice('app.'.length));
    if (known?.kind !== 'reference' || known.owner === region) return [];
    return [
      `writes ${more} ${more === 1 ? 'row' : 'rows'} of ${known.name} in ${region}, though they come from ${known.owner}; say "where domicile.here() = '${known.owner}'"`,
    ];
  });
}

async function rowsOfNobody(
  sql: Sql,
  policy: Policy,
  before: Look,
  after: Look,
  region: RegionId,
): Promise<string[]> {
  const isNew = (table: SubjectTable) =>
    after.app.tables.has(table.name) && !before.app.tables.has(table.name);
  const found: string[] = [];
  for (const table of policy.tables.values()) {
    if (table.kind !== 'subject' || !isNew(table)) continue;
    const columns = after.app.tables.get(table.name)?.columns ?? [];
    if (!columns.some(({ name }) => name === table.subject)) continue;
    const [row] = await sql<{ rows: number }[]>(
      verbatim(
        `select count(*)::int as rows from app.${table.name} where domicile.at_home(${table.subject}::text) is not true`,
      ),
    );
    if (row !== undefined && row.rows > 0) {
      found.push(
        `puts ${row.rows} rows into ${table.name} in ${region} whose subjects are not at home there`,
      );
    }
  }
  return found;
}

/** Why rows written in one region might not fit another one that has run the scripts, or has not. */
async function obstacles(sql: Sql, before: Look, after: Look): Promise<Rehearsed['obstacles']> {
  const found: { table: string; why: string }[] = [];
  for (const [table, { columns }] of after.app.tables) {
    const was = before.app.tables.get(table);
    if (was === undefined) continue;
    if (before.rules.get(table) !== after.rules.get(table)) {
      found.push({ table, why: 'its constraints change' });
    }
    for (const { name, notNull } of columns) {
      const known = was.columns.find((column) => column.name === name);
      if (known !== undefined && !known.notNull && notNull) {
        found.push({ table, why: `${name} becomes not null` });
      }
      if (known !== undefined) continue;
      const [row] = await sql<{ defaulted: boolean; large: boolean }[]>(
        verbatim(
          `select atthasdef as defaulted, attlen < 0 and exists (select from app.${table} where pg_column_size("${name.replaceAll('"', '""')}") > ${INLINE_BYTES_MAX}) as large
           from pg_attribute where attrelid = 'app.${table}'::regclass and attname = '${name.replaceAll("'", "''")}'`,
        ),
      );
      if (notNull && row?.defaulted !== true) {
        found.push({ table, why: `${name} is not null and has no default` });
      }
      if (row?.large === true) found.push({ table, why: `${name} has large values` });
    }
  }
  return found;
}

/** Whether a statement changes a type and says how to compute the values. */
function converts(text: string): boolean {
  return statementsOf(text).some(({ text: statement }) =>
    /^alter\s+table\b[\s\S]*\btype\b[\s\S]*\busing\b/i.test(statement),
  );
}

/** Of a region that has run everything. */
export async function asItIs(session: Session, region: RegionId): Promise<Rehearsal> {
  return session.on(region, async (sql) => {
    const app = await observeAppSchema(sql);
    return {
      scripts: [],
      before: app,
      after: app,
      away: 'nothing',
      converts: false,
      obstacles: [],
      schema: await readSchema(sql),
    };
  });
}

/** Which of the scripts has this region still to run? @throws OperatorError when they do not fit. */
export async function pendingIn(
  session: Session,
  region: RegionId,
  migrations: readonly Migration[],
): Promise<Migration[]> {
  const rows = await session.on(
    region,
    (sql) => sql<{ name: string; sha256: string }[]>`
      select name, sha256 from domicile_migrations.applied where name ~ '^app [0-9]{4}-'`,
  );
  const applied = new Map(rows.map(({ name, sha256 }) => [name.slice('app '.length), sha256]));
  const complaints: string[] = [];
  const pending: Migration[] = [];
  const last = [...applied.keys()].sort().at(-1) ?? '';
  for (const migration of migrations) {
    const { name, file, sha256 } = migration;
    const known = applied.get(name);
    if (known === undefined && name < last) {
      complaints.push(
        `${file}  comes before ${last}, which ${region} has run; give it a number after that`,
      );
    } else if (known === undefined) {
      pending.push(migration);
    } else if (known !== sha256) {
      complaints.push(`${file}  has changed since ${region} ran it; write a new script`);
    }
    applied.delete(name);
  }
  for (const name of applied.keys()) {
    complaints.push(
      `${name}  was run by ${region} and is not among the scripts any more; put it back`,
    );
  }
  if (complaints.length > 0) throw new OperatorError(complaints.join('\n'));
  return pending;
}
