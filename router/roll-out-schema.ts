/**
 * How do the app's new scripts reach every region without stopping a copy?
 *
 * Everything is rehearsed and checked before anything changes. Then receivers are made ready, the
 * scripts run, one transaction each and together with the note that they ran, and at last the policy
 * is applied, which fills anew what could not be changed in place. Nothing remembers how far it
 * came: a roll-out that was cut off is resumed by looking at what there is.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { checkPolicy } from '../policies/check-policy.ts';
import type { ClusterName, ClusterState } from '../policies/cluster-state.ts';
import {
  airlocksOf,
  mirrorView,
  publicationOut,
  publicationTo,
  subjectTables,
  subscriptionHome,
} from '../policies/desired-state.ts';
import type { Policy, TableName } from '../policies/policy.ts';
import {
  type Alteration,
  laggingLines,
  type Rest,
  type RollOut,
  rollOut,
} from '../policies/roll-out.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { DatabaseError, type Sql, verbatim } from '../regions/postgres.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { ApplyLock } from './apply-lock.ts';
import {
  type Applied,
  type ApplyOptions,
  applyPolicyHolding,
  busyText,
  type Failed,
  versionRefusals,
} from './apply-plan.ts';
import { awaitSlot } from './await-slot.ts';
import { strandedSubjects } from './data-effects.ts';
import { observeAppSchema, observeCluster } from './observe-cluster.ts';
import { recordedVersions } from './observe-world.ts';
import { OperatorError, Session } from './operator.ts';
import type { Migration } from './read-migrations.ts';
import { recordedPolicyInForce } from './recorded-policy.ts';
import {
  asItIs,
  inTurns,
  MigrationRefused,
  pendingIn,
  protect,
  type Rehearsal,
  rehearseMigrations,
  runStatements,
} from './rehearse-migrations.ts';

export type RollOutOptions = Omit<ApplyOptions, 'agreed' | 'anew'> & {
  migrations: readonly Migration[];
};

export type RolledOut = Applied & {
  /** The scripts that were run, by region. */
  ran: ReadonlyMap<RegionId, readonly string[]>;
};

export type Preparation = {
  pending: ReadonlyMap<RegionId, readonly Migration[]>;
  rehearsed: ReadonlyMap<RegionId, Rehearsal>;
  found: ReadonlyMap<ClusterName, ClusterState>;
  steps: RollOut;
};

/** What a roll-out would do. Changes nothing. */
export async function prepare(
  session: Session,
  options: Pick<RollOutOptions, 'policy' | 'text' | 'today' | 'migrations'>,
): Promise<{ ready: Preparation } | { because: readonly string[] }> {
  const { policy, migrations } = options;
  const { catalogue } = session.operator;
  const regions = [...catalogue.regions.keys()];
  const pending = new Map<RegionId, readonly Migration[]>();
  for (const region of regions) pending.set(region, await pendingIn(session, region, migrations));
  const rehearsed = new Map<RegionId, Rehearsal>();
  const because: string[] = [];
  for (const region of regions) {
    const scripts = pending.get(region) ?? [];
    try {
      rehearsed.set(
        region,
        scripts.length === 0
          ? await asItIs(session, region)
          : await rehearseMigrations(session, region, scripts, policy),
      );
    } catch (error) {
      if (!(error instanceof MigrationRefused)) throw error;
      because.push(...error.message.split('\n'));
    }
  }
  const isNew = [...pending.values()].some((scripts) => scripts.length > 0);
  if (isNew && because.length === 0) {
    for (const { schema } of rehearsed.values()) {
      because.push(...checkPolicy(policy, { catalogue, schema }).map(formatComplaint));
    }
    const versions = new Map(
      await Promise.all(
        regions.map(async (id) => [id, await recordedVersions(session, id)] as const),
      ),
    );
    const inForce = [...versions.values()].flat().filter((row) => row.inForce);
    const highest = Math.max(0, ...inForce.map(({ version }) => version));
    because.push(
      ...(await versionRefusals(session, options, {
        plan: { inForce: highest === 0 ? undefined : highest },
        versions,
      })),
      ...(await strandedSubjects(session, policy)).refusals,
    );
  }
  if (because.length > 0) return { because: [...new Set(because)] };
  const found = await observeAll(session);
  const steps = rollOut({ policy, catalogue, found, rehearsed });
  return { ready: { pending, rehearsed, found, steps } };
}

async function observeAll(session: Session): Promise<Map<ClusterName, ClusterState>> {
  const { catalogue } = session.operator;
  const clusters = [...catalogue.regions.values()].flatMap(({ id, airlocks }) => [
    id,
    ...airlocks.map(({ name }) => name),
  ]);
  const seen = await Promise.all(
    clusters.map(async (cluster) => [cluster, await observeOne(session, cluster)] as const),
  );
  return new Map(seen);
}

async function observeOne(session: Session, cluster: ClusterName): Promise<ClusterState> {
  const kind = session.operator.catalogue.regions.has(cluster) ? 'private' : 'airlock';
  const { state } = await session.on(cluster, (sql) =>
    observeCluster(sql, { kind, roles: new Set(), toolSlots: new Set() }),
  );
  return state;
}

export async function rollOutSchema(options: RollOutOptions): Promise<RolledOut> {
  const session = new Session(options.operator);
  const lock = new ApplyLock(session);
  try {
    const busy = await lock.take({ by: options.by, version: options.policy.version });
    if (busy !== undefined) {
      return { kind: 'refused', because: [busyText(busy)], ran: new Map() };
    }
    return await new RollingOut(session, lock, options).run();
  } finally {
    await lock.release();
    await session.close();
  }
}

class RollingOut {
  readonly #session: Session;
  readonly #lock: ApplyLock;
  readonly #options: RollOutOptions;
  readonly #ran = new Map<RegionId, readonly string[]>();
  #step: { cluster: ClusterName; words: string } = { cluster: '', words: '' };

  constructor(session: Session, lock: ApplyLock, options: RollOutOptions) {
    this.#session = session;
    this.#lock = lock;
    this.#options = options;
  }

  async run(): Promise<RolledOut> {
    const { migrations, ...apply } = this.#options;
    const prepared = await prepare(this.#session, this.#options);
    const ran = this.#ran;
    if ('because' in prepared) return { kind: 'refused', because: prepared.because, ran };
    try {
      await this.#change(prepared.ready);
    } catch (error) {
      const why =
        error instanceof DatabaseError ||
        error instanceof OperatorError ||
        error instanceof MigrationRefused
          ? error.message
          : undefined;
      if (why === undefined) throw error;
      const { cluster, words } = this.#step;
      const failures: Failed[] = [{ cluster, step: words, why }];
      const done = prepared.ready.steps.regions.filter((region) => ran.has(region));
      return { kind: 'stopped', done, failures, ran };
    }
    const applied = await applyPolicyHolding(this.#session, this.#lock, apply);
    return { ...applied, ran };
  }

  async #change({ pending, rehearsed, found, steps }: Preparation): Promise<void> {
    if (steps.rests.length > 0) await this.#rest(steps.rests, found);
    for (const alteration of steps.alterations) {
      await this.#at(alteration.cluster, alteration.words, () => this.#alter(alteration));
    }
    for (const region of steps.regions) {
      const scripts = pending.get(region) ?? [];
      const rehearsal = rehearsed.get(region);
      if (rehearsal === undefined) continue;
      for (const script of scripts) {
        await this.#at(region, `run ${script.name} in ${region}`, () =>
          this.#runScript(region, script, rehearsal),
        );
        this.#ran.set(region, [...(this.#ran.get(region) ?? []), script.name]);
      }
    }
    for (const region of steps.regions) await this.#passOnMore(region);
  }

  /** Says what it does, and remembers it for whoever asks why it stopped. */
  async #at(cluster: ClusterName, words: string, act: () => Promise<unknown>): Promise<void> {
    this.#options.signal?.throwIfAborted();
    this.#step = { cluster, words };
    await this.#lock.say(words);
    await act();
    this.#options.report(words);
  }

  async #rest(rests: readonly Rest[], found: Preparation['found']): Promise<void> {
    const { catalogue } = this.#session.operator;
    const inForce = await recordedPolicyInForce(this.#session);
    const policies = [this.#options.policy, ...(inForce === undefined ? [] : [inForce.policy])];
    let closed = 0;
    for (const { home, table, words } of rests) {
      const names = policies.flatMap((policy) => openingsOf(policy, table));
      await this.#at(home, words, async () => {
        for (const peer of catalogue.regions.keys()) {
          if (peer === home) continue;
          await this.#session.transaction(peer, async (sql) => {
            await this.#lock.hold(sql, peer);
            const gone = await sql`
              delete from domicile.openings where home = ${home} and name = any (${sql.array(names)})
              returning 1`;
            closed += gone.length;
          });
        }
      });
    }
    if (closed > 0) await pause(this.#options.edgesNoticeMs, undefined, this.#abortable());
    for (const home of new Set(rests.map((one) => one.home))) {
      const tables = rests.filter((one) => one.home === home).map(({ table }) => table);
      await this.#at(home, `stop ${tables.join(', ')} from leaving ${home}`, () =>
        this.#stopLeaving(home, tables, found),
      );
    }
  }

  async #stopLeaving(
    home: RegionId,
    tables: readonly TableName[],
    found: Preparation['found'],
  ): Promise<void> {
    const airlocks = airlocksOf(home, this.#session.operator.catalogue);
    await inTurns(this.#session, home, async (sql) => {
      await this.#lock.hold(sql, home);
      for (const { name } of airlocks) {
        for (const table of tables) {
          const line = `app.${table} in publication ${publicationOut(name)}`;
          if (found.get(home)?.has(line) !== true) continue;
          await sql(verbatim(`alter publication ${publicationOut(name)} drop table app.${table}`));
        }
      }
    });
    for (const { name, peers } of airlocks) {
      await awaitSlot(this.#session, home, subscriptionHome(name), this.#options.signal);
      for (const peer of peers)
        await awaitSlot(this.#session, name, publicationTo(peer), this.#options.signal);
    }
  }

  async #alter({ cluster, statements }: Alteration): Promise<void> {
    const isPrivate = this.#session.operator.catalogue.regions.has(cluster);
    await inTurns(this.#session, cluster, async (sql) => {
      await this.#lock.hold(sql, cluster);
      const views = isPrivate ? await takeViews(sql) : [];
      const lines = isPrivate ? [] : await takeLines(sql);
      for (const statement of statements) await sql(verbatim(statement));
      await giveLinesBack(sql, lines);
      await giveViewsBack(sql, views, this.#options.policy);
    });
  }

  /** The script, what protects its tables, and the note that it ran: all or nothing. */
  async #runScript(region: RegionId, script: Migration, rehearsal: Rehearsal): Promise<void> {
    const { policy } = this.#options;
    await inTurns(this.#session, region, async (sql) => {
      await this.#lock.hold(sql, region);
      const views = rehearsal.away === 'nothing' ? [] : await takeViews(sql);
      const lines = rehearsal.away === 'views and publications' ? await takeLines(sql) : [];
      await runStatements(sql, script);
      await protect(sql, policy);
      await giveLinesBack(sql, lines);
      await this.#sendMore(sql, region, rehearsal);
      await giveViewsBack(sql, views, policy);
      await sql`
        insert into domicile_migrations.applied (name, sha256)
        values (${`app ${script.name}`}, ${script.sha256})`;
    });
  }

  /** A reference table that has grown here is sent with its new columns from this moment on. */
  async #sendMore(sql: Sql, region: RegionId, rehearsal: Rehearsal): Promise<void> {
    const { state } = await observeCluster(sql, {
      kind: 'private',
      roles: new Set(),
      toolSlots: new Set(),
    });
    const { tables } = await observeAppSchema(sql);
    // A column that a later script drops again has no place elsewhere.
    const lasting = new Map(
      [...tables].map(([name, shape]) => {
        const last = rehearsal.after.tables.get(name)?.columns ?? [];
        const columns = shape.columns.filter((one) =>
          last.some((other) => other.name === one.name),
        );
        return [name, { ...shape, columns }] as const;
      }),
    );
    for (const line of laggingLines(this.#options.policy, region, state, lasting)) {
      for (const statement of lineStatements(line)) await sql(verbatim(statement));
      await sql`
        insert into domicile_migrations.applied (name, sha256)
        values (${`send again ${line.table}`}, '') on conflict do nothing`;
    }
  }

  /** Airlocks pass on the new columns of reference data, and then every row comes once more. */
  async #passOnMore(owner: RegionId): Promise<void> {
    const { policy } = this.#options;
    const { catalogue } = this.#session.operator;
    const { tables } = await this.#session.on(owner, observeAppSchema);
    const airlocks = airlocksOf(owner, catalogue);
    for (const { name } of airlocks) {
      const state = await observeOne(this.#session, name);
      // What rests is filled anew by the plan, which also gives its table the new columns.
      const lines = laggingLines(policy, owner, state, tables).filter((line) => {
        const arrives = state.get(`table ${line.table}`);
        const there = arrives?.kind === 'table' ? arrives.columns.map(({ name }) => name) : [];
        return line.columns?.every((column) => there.includes(column)) === true;
      });
      if (lines.length === 0) continue;
      await awaitSlot(this.#session, owner, subscriptionHome(name), this.#options.signal);
      const words = lines.map(({ table }) => table).join(', ');
      await this.#at(name, `let all columns of ${words} pass through ${name}`, () =>
        this.#session.transaction(name, async (sql) => {
          for (const line of lines) {
            for (const statement of lineStatements(line)) await sql(verbatim(statement));
          }
        }),
      );
    }
    const again = await this.#session.on(
      owner,
      (sql) => sql<{ name: string }[]>`
        select name from domicile_migrations.applied where name like 'send again %'`,
    );
    for (const { name } of again) {
      const table = name.slice('send again app.'.length);
      const [column] = tables.get(table)?.columns ?? [];
      await this.#at(owner, `send all rows of ${table} from ${owner} once more`, () =>
        inTurns(this.#session, owner, async (sql) => {
          await this.#lock.hold(sql, owner);
          // Not a change that the app's triggers should hear of.
          await sql(verbatim('set local session_replication_role = replica'));
          if (column !== undefined) {
            await sql(verbatim(`update app.${table} set ${column.name} = ${column.name}`));
          }
          await sql`delete from domicile_migrations.applied where name = ${name}`;
        }),
      );
    }
    for (const { name } of airlocks) {
      if (again.length > 0)
        await awaitSlot(this.#session, owner, subscriptionHome(name), this.#options.signal);
      await this.#requireValues(owner, name, tables);
    }
  }

  /** Every row has its value by now. */
  async #requireValues(
    owner: RegionId,
    airlock: ClusterName,
    tables: Awaited<ReturnType<typeof observeAppSchema>>['tables'],
  ): Promise<void> {
    const state = await observeOne(this.#session, airlock);
    for (const table of this.#options.policy.tables.values()) {
      if (table.kind !== 'reference' || table.owner !== owner) continue;
      const found = state.get(`table app.${table.name}`);
      if (found?.kind !== 'table') continue;
      const strict = (tables.get(table.name)?.columns ?? []).filter(
        ({ name, notNull }) =>
          notNull && found.columns.some((column) => column.name === name && !column.notNull),
      );
      if (strict.length === 0) continue;
      const changes = strict.map(({ name }) => `alter column ${name} set not null`).join(', ');
      await this.#at(airlock, `app.${table.name} of ${airlock}: ${changes}`, () =>
        inTurns(this.#session, airlock, async (sql) => {
          await sql(verbatim(`alter table app.${table.name} ${changes}`));
        }),
      );
    }
  }

  #abortable(): { signal?: AbortSignal } {
    const { signal } = this.#options;
    return signal === undefined ? {} : { signal };
  }
}

/** Under which names edges elsewhere read rows of this table. */
function openingsOf(policy: Policy, table: TableName): string[] {
  const known = policy.tables.get(table);
  if (known?.kind === 'subject') return known.mirrors.map(({ as }) => as);
  return [table];
}

/** In one transaction: nothing that is written before or after it is missed. */
function lineStatements(line: ReturnType<typeof laggingLines>[number]): string[] {
  const { publication, table, columns } = line;
  return [
    `alter publication ${publication} drop table ${table}`,
    `alter publication ${publication} add table ${table} (${columns?.join(', ')})`,
  ];
}

type KeptLine = { publication: string; table: string; columns: string; where: string | null };

/**
 * A publication holds on to the types of the columns that it names. Within the transaction nobody
 * else changes the table, so no row is sent without them.
 */
async function takeLines(sql: Sql): Promise<KeptLine[]> {
  const lines = await sql<KeptLine[]>`
    select p.pubname::text as publication, n.nspname || '.' || c.relname as table,
      (select string_agg(format('%I', a.attname), ', ' order by a.attnum) from pg_attribute a
        where a.attrelid = c.oid and a.attnum = any (r.prattrs::int2[])) as columns,
      pg_get_expr(r.prqual, r.prrelid) as where
    from pg_publication_rel r
    join pg_publication p on p.oid = r.prpubid
    join pg_class c on c.oid = r.prrelid
    join pg_namespace n on n.oid = c.relnamespace
    where p.pubname like 'domicile\\_%' and r.prattrs is not null
      and (n.nspname = 'app' or n.nspname like 'mirror\\_%')`;
  for (const { publication, table } of lines) {
    await sql(verbatim(`alter publication ${publication} drop table ${table}`));
  }
  return [...lines];
}

async function giveLinesBack(sql: Sql, lines: readonly KeptLine[]): Promise<void> {
  for (const { publication, table, columns, where } of lines) {
    const rows = where === null ? '' : ` where (${where})`;
    await sql(verbatim(`alter publication ${publication} add table ${table} (${columns})${rows}`));
  }
}

type KeptView = { name: string; query: string; grants: readonly string[] };

/** Views hold on to the columns that they show. */
async function takeViews(sql: Sql): Promise<KeptView[]> {
  const views = await sql<KeptView[]>`
    select 'mirror.' || c.relname as name, pg_get_viewdef(c.oid) as query,
      array(select format('grant %s on mirror.%I to %I', a.privilege_type, c.relname, r.rolname)
        from aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
        where a.grantee <> c.relowner) as grants
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'mirror' and c.relkind = 'v'`;
  for (const { name } of views) await sql(verbatim(`drop view ${name}`));
  return [...views];
}

/** One whose columns are gone shows what the new policy lets it show of the home's own rows. */
async function giveViewsBack(sql: Sql, views: readonly KeptView[], policy: Policy): Promise<void> {
  for (const { name, query, grants } of views) {
    const found = subjectTables(policy)
      .flatMap((table) => table.mirrors.map((mirror) => ({ table, mirror })))
      .find(({ mirror }) => `mirror.${mirror.as}` === name);
    const own =
      found === undefined ? [] : [mirrorView(found.mirror, [`app.${found.table.name}`]).query.sql];
    for (const text of [query, ...own]) {
      await sql`savepoint view`;
      try {
        await sql(verbatim(`create view ${name} as ${text}`));
        for (const grant of grants) await sql(verbatim(grant));
        await sql`release savepoint view`;
        break;
      } catch (error) {
        if (!(error instanceof DatabaseError) || error.failure.kind !== 'rejected') throw error;
        await sql`rollback to savepoint view`;
      }
    }
  }
}
