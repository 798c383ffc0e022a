/**
 * What must be in the databases before an edge can serve an app under its policy?
 *
 * Roles, the schema `domicile`, the app's own schema, and the path on which reference data and
 * mirrors travel: private primary to airlock to peers. Everything looks first and changes what is
 * missing, so it can be repeated after any interruption. It needs superusers; edges do not.
 */
import { createHash } from 'node:crypto';
import {
  alterPublication,
  createPublication,
  type Exit,
  type Publication,
  peerRole,
  publicationOut,
  publicationTo,
  type RegionSql,
  regionSql,
  type Shapes,
  subscriptionFrom,
  subscriptionHome,
} from '../policies/airlock.ts';
import { enforcementOf } from '../policies/enforcement.ts';
import { exportsOf, type Policy } from '../policies/policy.ts';
import {
  type Airlock,
  airlockFor,
  type Catalogue,
  type NodeAddress,
  type Region,
  type RegionId,
} from '../regions/catalogue.ts';
import { type Endpoint, LeasePool, runScript, type Sql, verbatim } from '../regions/postgres.ts';
import { LOGINS } from './region-database.ts';
import { hmacPads } from './subject-token.ts';

export type ProvisionOptions = {
  catalogue: Catalogue;
  policy: Policy;
  /** Superuser of a node or an airlock, in the region's database. */
  superuser: (node: string) => Endpoint;
  /** Which of a region's nodes takes writes. */
  primaryOf: (region: RegionId) => NodeAddress;
  /** One password a name, the same at every call. */
  password: (name: string) => string;
  /** Writes a libpq password file that the servers can read; answers with its path. */
  passfile: (
    name: string,
    entries: readonly { to: { host: string; port: number }; user: string; password: string }[],
  ) => Promise<string>;
  /** How a server of one region reaches another server, such as through a proxy. */
  link: (from: RegionId, to: NodeAddress) => { host: string; port: number };
  /** What the router's own schema is made of: file name and text, in order. */
  migrations: readonly Script[];
  airlockMigrations: readonly Script[];
  /** The app's schema, run once in schema `app` of every region. */
  appSchema: Script;
  report: (step: string) => void;
  /** Aborting it stops between two steps; what is missing is made the next time. */
  signal?: AbortSignal;
};

export type Script = { name: string; text: string };

/** The name under which a region's edge password is kept. */
export const edgePassword = (region: RegionId) => `edge of ${region}`;
/** The name of the secret that the key of a region's subject tokens is made from. */
export const subjectKeyName = (region: RegionId) => `subjects of ${region}`;

/** A key of 32 bytes from a secret that is kept as a password. */
export function keyFrom(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}

const FEED_ROLE = 'domicile_feed';
const STATEMENT_MS_MAX = 30_000;
/** An initial copy of an app's reference data; a large one takes its time. */
const COPY_MS_MAX = 120_000;
const LOOK_EVERY_MS = 50;
const limits = { timeoutMs: STATEMENT_MS_MAX };

/** Makes what is missing. @throws ProvisionError when what is there cannot be what is wanted. */
export async function provision(options: ProvisionOptions): Promise<void> {
  const { catalogue, policy, report } = options;
  const regions = [...catalogue.regions.values()];
  await Promise.all(regions.map((region) => provisionSchemas(options, region)));
  report('schemas and roles are in place');
  options.signal?.throwIfAborted();

  // Subscribers before publishers: what is to arrive needs its tables first.
  const plans = new Map<RegionId, RegionSql>();
  for (const region of regions) {
    const shapes = await withPool(options.superuser(primary(options, region)), tableShapes);
    checkDeclared(policy, shapes, region.id);
    await withPool(options.superuser(primary(options, region)), async (sql) => {
      for (const statement of enforce(policy, shapes)) await sql(verbatim(statement));
    });
    plans.set(region.id, regionSql(policy, catalogue, region.id, shapes));
  }
  await Promise.all(
    regions.map(async (region) => {
      const plan = plans.get(region.id);
      if (plan !== undefined) await provisionExit(options, region, plan);
    }),
  );
  report('each private primary feeds its airlocks');
  options.signal?.throwIfAborted();
  await Promise.all(regions.map((region) => provisionEntrances(options, region)));
  report('each region follows the airlocks of its peers');
}

export class ProvisionError extends Error {}

async function provisionSchemas(options: ProvisionOptions, region: Region): Promise<void> {
  const { superuser, password, migrations, airlockMigrations, appSchema } = options;
  const home = superuser(primary(options, region));
  const edge = password(edgePassword(region.id));
  const roles: Role[] = Object.values(LOGINS).map((name) => ({
    name,
    secret: edge,
    replication: false,
  }));
  roles.push({ name: FEED_ROLE, secret: password(`feed of ${region.id}`), replication: true });
  await Promise.all([
    withPool(home, async (sql) => {
      for (const role of roles) await ensureRole(sql, role);
      await migrate(home, sql, filled(migrations, region.id));
      await keepSubjectKey(sql, keyFrom(password(subjectKeyName(region.id))));
      await migrate(home, sql, [inAppSchema(appSchema)]);
      for (const statement of grants(options.policy, region)) await sql(verbatim(statement));
    }),
    ...region.airlocks.map(({ name, peers }) => {
      const airlock = superuser(name);
      return withPool(airlock, async (sql) => {
        for (const peer of peers) {
          const secret = password(peerPassword(region.id, peer));
          await ensureRole(sql, { name: peerRole(peer), secret, replication: true });
        }
        await migrate(airlock, sql, filled(airlockMigrations, region.id));
      });
    }),
  ]);
}

/** Tables for what arrives, what the airlock fetches, and what each peer may fetch from it. */
async function provisionExit(
  options: ProvisionOptions,
  region: Region,
  plan: RegionSql,
): Promise<void> {
  const { superuser } = options;
  await withPool(superuser(primary(options, region)), async (sql) => {
    for (const statement of plan.mirrors) await sql(verbatim(statement));
    for (const statement of mirrorGrants(options.policy)) await sql(verbatim(statement));
    for (const { out } of plan.exits.values()) {
      for (const table of out.tables) {
        const name = table.split(' ', 1)[0];
        await sql(verbatim(`grant select on ${name} to ${FEED_ROLE}`));
      }
      await ensurePublication(sql, out);
    }
  });
  await Promise.all(
    region.airlocks.map(async (airlock) => {
      const exit = plan.exits.get(airlock.name);
      if (exit !== undefined) await provisionAirlock(options, region, airlock, exit);
    }),
  );
}

async function provisionAirlock(
  options: ProvisionOptions,
  region: Region,
  airlock: Airlock,
  exit: Exit,
): Promise<void> {
  const { superuser, password, passfile, link } = options;
  await withPool(superuser(airlock.name), async (sql) => {
    for (const statement of exit.airlock) await sql(verbatim(statement));
    const to = link(region.id, options.primaryOf(region.id));
    const file = await passfile(`${airlock.name}.feed`, [
      { to, user: FEED_ROLE, password: password(`feed of ${region.id}`) },
    ]);
    await ensureSubscription(sql, {
      name: subscriptionHome(airlock.name),
      connection: conninfo(to, region.database, FEED_ROLE, file),
      publication: publicationOut(airlock.name),
      slot: subscriptionHome(airlock.name),
      publisher: superuser(primary(options, region)),
      // Rows that this airlock's own subscription brought carry an origin; only home's are wanted.
      // The slot survives a promotion of the home's standby.
      options: "origin = none, failover = true, synchronous_commit = 'on'",
    });
    for (const [peer, publication] of exit.toPeers) {
      await ensurePublication(sql, publication);
      await sql(verbatim(`grant usage on schema domicile to ${peerRole(peer)}`));
      for (const table of publication.tables) {
        const name = table.split(' ', 1)[0] ?? '';
        const schema = name.split('.', 1)[0];
        await sql(verbatim(`grant usage on schema ${schema} to ${peerRole(peer)}`));
        await sql(verbatim(`grant select on ${name} to ${peerRole(peer)}`));
      }
    }
  });
}

async function provisionEntrances(options: ProvisionOptions, region: Region): Promise<void> {
  const { catalogue, superuser, password, passfile, link } = options;
  const peers = [...catalogue.regions.values()].filter(({ id }) => id !== region.id);
  // At once: making and filling one subscription takes dozens of round trips to a far peer.
  await Promise.all(
    peers.map(async (peer) => {
      const role = peerRole(region.id);
      const airlock = airlockFor(peer, region.id);
      const to = link(region.id, airlock);
      const file = await passfile(`${region.id}.from-${peer.id}`, [
        { to, user: role, password: password(peerPassword(peer.id, region.id)) },
      ]);
      await withPool(superuser(primary(options, region)), (sql) =>
        ensureSubscription(sql, {
          name: subscriptionFrom(peer.id),
          connection: conninfo(to, peer.database, role, file),
          publication: publicationTo(region.id),
          slot: publicationTo(region.id),
          publisher: superuser(airlock.name),
          // The airlock got every row from its home, so all of them carry an origin here: with
          // `origin = none` nothing would ever arrive.
          options: "origin = any, synchronous_commit = 'on'",
        }),
      );
    }),
  );
}

/** Only what the policy names may exist, or nobody would know whose it is. */
function checkDeclared(policy: Policy, shapes: Shapes, region: RegionId): void {
  const undeclared = [...shapes.keys()].filter((table) => !policy.tables.has(table));
  if (undeclared.length > 0) {
    throw new ProvisionError(
      `${region}: the policy does not say whose ${undeclared.join(', ')} is; declare it under "tables"`,
    );
  }
}

function grants(policy: Policy, region: Region): string[] {
  const { writer, reader, abroad, router } = LOGINS;
  const sql = [
    `alter role ${writer} in database ${region.database} set search_path = app, mirror`,
    `alter role ${reader} in database ${region.database} set search_path = app, mirror`,
    `alter role ${abroad} in database ${region.database} set search_path = mirror, app`,
    `grant usage on schema app to ${writer}, ${reader}, ${abroad}`,
    `grant usage on schema domicile to ${writer}, ${reader}, ${router}, ${FEED_ROLE}`,
    `grant usage on schema app to ${FEED_ROLE}`,
    `grant select on all tables in schema app to ${reader}, ${writer}`,
    `grant usage on all sequences in schema app to ${writer}`,
    'revoke execute on all functions in schema domicile from public',
    'revoke execute on all procedures in schema domicile from public',
    `grant execute on function domicile.here() to public`,
    `grant execute on function domicile.settle(bytea, uuid, text, text, text, integer) to ${writer}`,
    `grant execute on function domicile.at_home(text) to ${writer}`,
    `grant execute on function domicile.subject() to ${reader}, ${writer}`,
    `grant execute on function domicile.subject_direct() to ${reader}, ${writer}`,
    `grant execute on function domicile.spelt_as(text, regtype) to ${reader}, ${writer}`,
    `grant execute on function domicile.claim(bytea, text, uuid) to ${router}`,
    `grant execute on function domicile.release(bytea, uuid) to ${router}`,
    `grant execute on function domicile.pulse() to ${router}`,
    `grant execute on procedure domicile.await_replay(pg_lsn, integer, pg_lsn) to ${reader}, ${router}`,
    `grant select on domicile.directory, domicile.pulses to ${router}`,
    // pg_stat_wal_receiver shows the timeline only to who may read all statistics.
    `grant pg_read_all_stats to ${router}`,
    `grant execute on function pg_control_system() to ${router}`,
  ];
  for (const table of policy.tables.values()) {
    const writable = table.kind === 'subject' || table.owner === region.id;
    const name = `app.${table.name}`;
    if (writable) sql.push(`grant insert, update, delete on ${name} to ${writer}`);
    else sql.push(`revoke insert, update, delete, truncate on ${name} from ${writer}`);
    if (table.kind === 'reference') sql.push(`grant select on ${name} to ${abroad}`);
  }
  return sql;
}

function mirrorGrants(policy: Policy): string[] {
  const { writer, reader, abroad } = LOGINS;
  const names = new Set(exportsOf(policy).map(({ mirror }) => `mirror.${mirror.as}`));
  const sql = [`grant usage on schema mirror to ${writer}, ${reader}, ${abroad}`];
  for (const name of names) {
    sql.push(`grant select on ${name} to ${writer}, ${reader}, ${abroad}`);
  }
  return sql;
}

/** The edges' key for subject tokens, so that the database can verify them. */
async function keepSubjectKey(sql: Sql, key: Buffer): Promise<void> {
  const { inner, outer } = hmacPads(key);
  await sql`
    insert into domicile.subject_key as k (inner_pad, outer_pad) values (${inner}, ${outer})
    on conflict (single) do update set inner_pad = excluded.inner_pad, outer_pad = excluded.outer_pad
    where k.inner_pad <> excluded.inner_pad`;
}

/** Constraint and row security of each subject table, made anew so that they follow the policy. */
function enforce(policy: Policy, shapes: Shapes): string[] {
  const sql: string[] = [];
  for (const table of policy.tables.values()) {
    const shape = shapes.get(table.name);
    if (table.kind !== 'subject' || shape === undefined) continue;
    const name = `app.${table.name}`;
    const { constraint, policies } = enforcementOf(table, shape);
    sql.push(
      `alter table ${name} drop constraint if exists ${constraint.name}`,
      `alter table ${name} add constraint ${constraint.name} check (${constraint.expression}) not valid`,
      `alter table ${name} enable row level security`,
      `alter table ${name} force row level security`,
    );
    for (const { name: policyName, using, check } of policies) {
      sql.push(
        `drop policy if exists ${policyName} on ${name}`,
        `create policy ${policyName} on ${name} using (${using}) with check (${check})`,
      );
    }
  }
  return sql;
}

type Role = { name: string; secret: string; replication: boolean };

async function ensureRole(sql: Sql, { name, secret, replication }: Role): Promise<void> {
  const [found] = await sql`select from pg_roles where rolname = ${name}`;
  const verb = found === undefined ? 'create' : 'alter';
  // The first copy of a table is a query, and row security would hold it to one subject's rows.
  const kind = replication ? 'login replication bypassrls' : 'login noreplication';
  await sql(verbatim(`${verb} role ${name} ${kind} password '${secret}'`));
}

/** Runs each script once, in order, and refuses when one that has run reads differently now. */
async function migrate(endpoint: Endpoint, sql: Sql, scripts: readonly Script[]): Promise<void> {
  await sql`create schema if not exists domicile_migrations`;
  await sql`
    create table if not exists domicile_migrations.applied (
      name text primary key,
      sha256 text not null,
      applied_at timestamptz not null default now()
    )`;
  for (const { name, text } of scripts) {
    const sha256 = createHash('sha256').update(text).digest('hex');
    const [applied] = await sql<{ sha256: string }[]>`
      select sha256 from domicile_migrations.applied where name = ${name}`;
    if (applied?.sha256 === sha256) continue;
    if (applied !== undefined) {
      throw new ProvisionError(
        `${endpoint.name}: ${name} has changed since it was run; write a new script, or begin anew with "domicile down --wipe"`,
      );
    }
    // One implicit transaction: the script and the note that it ran, or neither.
    await runScript(
      endpoint,
      `begin;\n${text}\n;insert into domicile_migrations.applied (name, sha256) values ('${name}', '${sha256}');\ncommit;`,
      limits,
    );
  }
}

function inAppSchema({ name, text }: Script): Script {
  return {
    name: `app ${name}`,
    text: `create schema if not exists app;\nset local search_path = app;\n${text}\n;set local search_path = default`,
  };
}

function filled(scripts: readonly Script[], region: RegionId): Script[] {
  return scripts.map(({ name, text }) => ({ name, text: text.replaceAll('{{region}}', region) }));
}

/** The app's tables as this database has them. */
async function tableShapes(sql: Sql): Promise<Shapes> {
  const rows = await sql<
    { table: string; column: string; type: string; not_null: boolean; key_at: number | null }[]
  >`
    select c.relname as table, a.attname as column, format_type(a.atttypid, a.atttypmod) as type,
      a.attnotnull as not_null, array_position(i.indkey::int2[], a.attnum) as key_at
    from pg_class c
    join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'app'
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    left join pg_index i on i.indrelid = c.oid and i.indisprimary
    where c.relkind in ('r', 'p') and not c.relispartition
    order by c.relname, a.attnum`;
  const shapes = new Map<
    string,
    { columns: { name: string; type: string; notNull: boolean }[]; primaryKey: string[] }
  >();
  for (const { table, column, type, not_null, key_at } of rows) {
    const shape = shapes.get(table) ?? { columns: [], primaryKey: [] };
    shape.columns.push({ name: column, type, notNull: not_null });
    if (key_at !== null) shape.primaryKey[key_at] = column;
    shapes.set(table, shape);
  }
  for (const shape of shapes.values()) shape.primaryKey = Object.values(shape.primaryKey);
  return shapes;
}

async function ensurePublication(sql: Sql, publication: Publication): Promise<void> {
  const [found] = await sql`select from pg_publication where pubname = ${publication.name}`;
  const statement = found === undefined ? createPublication : alterPublication;
  await sql(verbatim(statement(publication)));
}

type Subscription = {
  name: string;
  connection: string;
  publication: string;
  /** Name of the slot that the publisher keeps for it, and the publisher's superuser. */
  slot: string;
  publisher: Endpoint;
  options: string;
};

async function ensureSubscription(sql: Sql, wanted: Subscription): Promise<void> {
  const { name, connection, publication, slot, publisher, options } = wanted;
  const [found] = await sql<{ conninfo: string }[]>`
    select subconninfo as conninfo from pg_subscription where subname = ${name}`;
  if (found === undefined) {
    // A start that was cut off may have made the slot and not the subscription.
    await withPool(
      publisher,
      (there) => there`
        select pg_drop_replication_slot(slot_name) from pg_replication_slots
        where slot_name = ${slot} and not active`,
    );
    await sql(
      verbatim(
        `create subscription ${name} connection '${connection}' publication ${publication} with (slot_name = ${slot}, ${options})`,
      ),
    );
  } else {
    if (found.conninfo !== connection) {
      await sql(verbatim(`alter subscription ${name} connection '${connection}'`));
    }
    await followAll(sql, wanted);
  }
  await copied(sql, name);
}

/** A table that joined the publication is followed only once the subscription has looked again. */
async function followAll(sql: Sql, { name, publication, publisher }: Subscription): Promise<void> {
  const published = await withPool(
    publisher,
    (there) => there<{ table: string }[]>`
      select schemaname || '.' || tablename as table from pg_publication_tables
      where pubname = ${publication}`,
  );
  const followed = await sql<{ table: string }[]>`
    select n.nspname || '.' || c.relname as table from pg_subscription s
    join pg_subscription_rel r on r.srsubid = s.oid
    join pg_class c on c.oid = r.srrelid
    join pg_namespace n on n.oid = c.relnamespace
    where s.subname = ${name}`;
  // On an airlock a published table arrives in a partitioned one of the same name.
  const known = new Set(followed.map(({ table }) => table));
  const same = known.size === published.length && published.every(({ table }) => known.has(table));
  if (!same) await sql(verbatim(`alter subscription ${name} refresh publication`));
}

/** Resolves when every table of the subscription has been copied and is being followed. */
async function copied(sql: Sql, name: string): Promise<void> {
  const deadline = performance.now() + COPY_MS_MAX;
  for (;;) {
    const rows = await sql<{ table: string }[]>`
      select r.srrelid::regclass::text as table from pg_subscription s
      join pg_subscription_rel r on r.srsubid = s.oid
      where s.subname = ${name} and r.srsubstate <> 'r'`;
    if (rows.length === 0) return;
    if (performance.now() > deadline) {
      const tables = rows.map(({ table }) => table).join(', ');
      throw new ProvisionError(`subscription ${name} has not copied ${tables} within its time`);
    }
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

function conninfo(
  to: { host: string; port: number },
  database: string,
  user: string,
  passfile: string,
): string {
  return `host=${to.host} port=${to.port} dbname=${database} user=${user} passfile=${passfile} connect_timeout=5`;
}

async function withPool<T>(endpoint: Endpoint, use: (sql: Sql) => Promise<T>): Promise<T> {
  const pool = new LeasePool({
    endpoint,
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: 5_000,
    settings: { application_name: 'domicile provision' },
  });
  try {
    return await pool.run(use, { timeoutMs: COPY_MS_MAX + STATEMENT_MS_MAX });
  } finally {
    await pool.close({ timeoutMs: 1_000 });
  }
}

function primary({ primaryOf }: ProvisionOptions, region: Region): string {
  return primaryOf(region.id).name;
}

/** The name under which the password is kept that opens a region’s airlock to a peer. */
export function peerPassword(airlock: RegionId, peer: RegionId): string {
  return `airlock of ${airlock} for ${peer}`;
}
