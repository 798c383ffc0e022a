/**
 * Who may change the clusters now?
 *
 * One row a region, taken and given back by comparing its holder, committed under synchronous
 * replication, in the same order of regions by everybody: of two operators one gets the first
 * region and the other gets none. An advisory lock alone would not do, because an isolated old
 * primary grants it, too; here it only tells whether the holder of the row still lives, so that a
 * killed one can be succeeded.
 */
import type { ClusterName } from '../policies/cluster-state.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { DatabaseError, type Sql } from '../regions/postgres.ts';
import { OperatorError, type Session } from './operator.ts';

export type Holder = { region: RegionId; by: string; version: number; step: string; since: string };

type Row = {
  holder: string | null;
  by: string | null;
  version: number | null;
  plan: string | null;
  step: string | null;
  since: string | null;
};

/** Longer than any apply; the lease ends with the process in any case. */
const HELD_MS_MAX = 2_000_000_000;

export class ApplyLock {
  readonly #session: Session;
  readonly #regions: readonly RegionId[];
  #holder: string | undefined;
  #taken: RegionId[] = [];
  #letGo: (() => void)[] = [];
  #keeping: Promise<void>[] = [];
  /** The plans that those were at whom this one succeeds. */
  #succeeds = new Set<string>();

  constructor(session: Session) {
    this.#session = session;
    this.#regions = [...session.operator.catalogue.regions.keys()].sort();
  }

  /** Whoever has it, when it is not to be had. */
  async take(who: { by: string; version: number }): Promise<Holder | undefined> {
    this.#holder = await this.#draw();
    for (const region of this.#regions) {
      await this.#keepAlive(region);
      const busy = await this.#takeRegion(region, who);
      if (busy !== undefined) {
        await this.release();
        return busy;
      }
    }
    return undefined;
  }

  /** Whether whoever had it before was cut off while at this very plan. */
  resumes(plan: string): boolean {
    return this.#succeeds.has(plan);
  }

  async announce(plan: string): Promise<void> {
    await this.#note('begins', plan);
  }

  /** @throws OperatorError when somebody else has taken over. */
  async say(step: string): Promise<void> {
    await this.#note(step, null);
  }

  /** In a transaction on a private cluster: nobody can take over before it ends. */
  async hold(sql: Sql, cluster: ClusterName): Promise<void> {
    if (!this.#regions.includes(cluster)) return;
    const rows = await sql`
      select from domicile.policy_apply where holder = ${this.#mine()}::bigint for share`;
    if (rows.length === 0) throw lost(cluster);
  }

  async release(): Promise<void> {
    for (const region of this.#taken.splice(0)) {
      try {
        await this.#session.transaction(region, async (sql) => {
          await sql`
            update domicile.policy_apply set holder = null, released_at = now(), step = 'ended'
            where holder = ${this.#mine()}::bigint`;
        });
      } catch (error) {
        // A region that does not answer now finds a dead holder later, whom anybody may succeed.
        if (!(error instanceof DatabaseError) && !(error instanceof OperatorError)) throw error;
      }
    }
    for (const letGo of this.#letGo.splice(0)) letGo();
    await Promise.allSettled(this.#keeping.splice(0));
  }

  async #takeRegion(
    region: RegionId,
    { by, version }: { by: string; version: number },
  ): Promise<Holder | undefined> {
    const [row] = await this.#session.on(
      region,
      (sql) => sql<Row[]>`
        select holder::text, held_by as by, version, plan, step,
          to_char(taken_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS') || ' UTC' as since
        from domicile.policy_apply`,
    );
    const before = row?.holder ?? null;
    if (row !== undefined && before !== null) {
      if (await this.#lives(region, before)) return busy(region, row);
      if (row.plan !== null) this.#succeeds.add(row.plan);
    }
    let mine = false;
    await this.#session.transaction(region, async (sql) => {
      const taken = await sql`
        update domicile.policy_apply
        set holder = ${this.#mine()}::bigint, held_by = ${by}, version = ${version},
          step = 'begins', taken_at = now(), released_at = null
        where holder is not distinct from ${before}::bigint returning 1`;
      mine = taken.length > 0;
    });
    if (!mine) {
      return busy(region, {
        ...(row ?? NOBODY),
        by: 'another operator',
      });
    }
    this.#taken.push(region);
    return undefined;
  }

  /** A number that nobody else holds. */
  async #draw(): Promise<string> {
    const [first = ''] = this.#regions;
    const [row] = await this.#session.on(
      first,
      (sql) => sql<{ drawn: string }[]>`
        select ('x' || substr(md5(gen_random_uuid()::text), 1, 15))::bit(60)::bigint::text as drawn`,
    );
    return row?.drawn ?? '';
  }

  /** A connection that holds the advisory lock until it is let go, or dies with this process. */
  async #keepAlive(region: RegionId): Promise<void> {
    const holder = this.#mine();
    const { promise: alive, resolve: isAlive, reject: isDead } = Promise.withResolvers<void>();
    const { promise: released, resolve: letGo } = Promise.withResolvers<void>();
    this.#letGo.push(letGo);
    const keeping = this.#session.on(
      region,
      async (sql) => {
        await sql`select pg_advisory_lock(${holder}::bigint)`;
        isAlive();
        await released;
        await sql`select pg_advisory_unlock(${holder}::bigint)`;
      },
      HELD_MS_MAX,
    );
    keeping.catch(isDead);
    this.#keeping.push(keeping);
    await alive;
  }

  async #lives(region: RegionId, holder: string): Promise<boolean> {
    return this.#session.on(region, async (sql) => {
      const [row] = await sql<{ free: boolean }[]>`
        select pg_try_advisory_lock(${holder}::bigint) as free`;
      if (row?.free !== true) return true;
      await sql`select pg_advisory_unlock(${holder}::bigint)`;
      return false;
    });
  }

  async #note(step: string, plan: string | null): Promise<void> {
    await Promise.all(
      this.#regions.map((region) =>
        this.#session.transaction(region, async (sql) => {
          const rows = await sql`
            update domicile.policy_apply set step = ${step}, plan = coalesce(${plan}, plan)
            where holder = ${this.#mine()}::bigint returning 1`;
          if (rows.length === 0) throw lost(region);
        }),
      ),
    );
  }

  #mine(): string {
    if (this.#holder === undefined) throw new Error('the lock was never taken');
    return this.#holder;
  }
}

const NOBODY: Row = {
  holder: null,
  by: null,
  version: null,
  plan: null,
  step: null,
  since: null,
};

function busy(region: RegionId, { by, version, step, since }: Row): Holder {
  return {
    region,
    by: by ?? 'somebody',
    version: version ?? 0,
    step: step ?? 'begins',
    since: since ?? 'just now',
  };
}

function lost(cluster: ClusterName): OperatorError {
  return new OperatorError(`${cluster}: somebody else has taken over; nothing more is done here`);
}
