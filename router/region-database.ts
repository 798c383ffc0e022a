/**
 * How does this edge use the Postgres nodes of its own region?
 *
 * Through one pool for each node and role, at the node that `policies/place-read.ts` names. This
 * is where the router stands and waits, where a write gets its three outcomes, and where positions
 * are taken. The nodes of other regions are not in the catalogue's region that it is given, so it
 * has nothing to open them with.
 */
import { HOME_CONSTRAINT } from '../policies/enforcement.ts';
import { type Objection, placeRead, SIGHTING_AGE_MS_MAX } from '../policies/place-read.ts';
import type { Region } from '../regions/catalogue.ts';
import { formatLsn, lsnFromPostgres, type Position } from '../regions/position.ts';
import { DatabaseError, type DatabaseFailure, LeasePool, type Sql } from '../regions/postgres.ts';
import type { MirrorSighting, Sighting, Sightings } from '../regions/sighting.ts';
import { type Failure, Refusal } from './problem.ts';
import { StallGuard } from './stall-guard.ts';
import type { Visit } from './visit.ts';

/** One login for each thing that an edge may do, so that PostgreSQL checks it again. */
export const LOGINS = {
  /** Stores a subject's rows, on the primary. */
  writer: 'domicile_writer',
  /** Reads the app's tables. */
  reader: 'domicile_reader',
  /** Reads mirrors and reference data, nothing else. */
  abroad: 'domicile_abroad',
  /** Reads and claims in the directory, looks at the node. */
  router: 'domicile_router',
} as const;
export type Login = keyof typeof LOGINS;

export type RegionDatabaseOptions = {
  region: Region;
  password: string;
  sightings: Sightings;
  now: () => number;
  connectionsMax: number;
  /** Requests that may stand in line for a connection; about two budgets' worth of short queries. */
  waitersMax: number;
  connectTimeoutMs: number;
  /** How long a read stands at a replica that has not reached its floor before it goes on. */
  replicaWaitMs: number;
};

/** A server never sees a statement run longer, even when its client has gone. */
const STATEMENT_TIMEOUT_MS = 10_000;

class NotReached extends Error {}

/** What is read abroad was taken away meanwhile: not a mistake of the handler. */
export class CopyWithdrawn extends Error {}

/** No privilege, no such table, no such column (PostgreSQL documentation, appendix A). */
const WITHDRAWN_CODES: ReadonlySet<string> = new Set(['42501', '42P01', '42703']);

export class RegionDatabase {
  #options: RegionDatabaseOptions;
  #pools = new Map<string, LeasePool>();
  #nodes: readonly string[];
  #stall = new StallGuard();
  /** Which start of its server each open connection leads to. */
  #incarnations = new WeakMap<object, string>();

  constructor(options: RegionDatabaseOptions) {
    this.#options = options;
    this.#nodes = options.region.nodes.map(({ name }) => name);
  }

  get nodes(): readonly string[] {
    return this.#nodes;
  }

  /**
   * Runs `query` where everything up to `floor` is visible. A read on the primary raises the floor,
   * because the next one may meet a replica that is behind what was just shown.
   */
  async read<T>(
    visit: Visit,
    floor: Position | undefined,
    query: (sql: Sql) => Promise<T>,
    raise: (position: Position) => void,
  ): Promise<T> {
    const { now, sightings, replicaWaitMs } = this.#options;
    let tried: Map<string, Objection> | undefined;
    for (;;) {
      const placed = placeRead(
        { nodes: this.#nodes, floor, tried: tried ?? NOTHING_TRIED },
        (node) => sightings.of(node),
        now(),
      );
      visit.passedOver = placed.passedOver;
      if (placed.kind === 'refuse') throw new Refusal(this.#refusal(visit, floor));
      const { node, rung } = placed;
      // Of the sighting that decided; while a connection is waited for, another one may come.
      const sighted = sightings.of(node)?.incarnation;
      const timeoutMs = visit.deadlineMs - now();
      if (timeoutMs <= 0) throw new Refusal({ kind: 'deadline-exceeded' });
      visit.decision = { kind: 'serve', node, rung };
      try {
        const value = await this.#pool(node, 'reader').run(
          async (sql, connection) => {
            if (rung === 'primary') {
              const value = await asSubject(visit, sql, false, query);
              raise(await this.#positionOf(node, sql));
              return value;
            }
            if (floor !== undefined) {
              // What is known of a node was learned from one start of it, and this connection must
              // lead to the same.
              const incarnation =
                this.#incarnations.get(connection) ?? (await this.#greet(sql, connection));
              const reached = rung === 'replica' && sighted === incarnation;
              if (!reached) {
                const waitMs = Math.min(replicaWaitMs, timeoutMs / 2);
                await this.#await(node, incarnation, floor, waitMs, sql);
              }
            }
            return asSubject(visit, sql, false, query);
          },
          { timeoutMs },
        );
        visit.stalenessMs = this.#stalenessMs(sightings.of(node));
        return value;
      } catch (error) {
        const objection = objectionTo(error);
        if (objection === undefined) throw refusalOf(error, 'read');
        tried ??= new Map();
        tried.set(node, objection);
        if (objection === 'unreachable') sightings.forget(node);
      }
    }
  }

  /**
   * Reads another region's data where its pulse was seen, as the login that sees nothing else.
   * @throws CopyWithdrawn when `relation`, which the route declares, cannot be read any longer.
   */
  async readAbroad<T>(
    visit: Visit,
    seen: MirrorSighting,
    query: (sql: Sql) => Promise<T>,
    relation: string,
  ): Promise<T> {
    const timeoutMs = visit.deadlineMs - this.#options.now();
    if (timeoutMs <= 0) throw new Refusal({ kind: 'deadline-exceeded' });
    try {
      return await this.#pool(seen.node, 'abroad').run(
        async (sql, connection) => {
          const incarnation =
            this.#incarnations.get(connection) ?? (await this.#greet(sql, connection));
          if (incarnation !== seen.incarnation) throw new NotReached('restarted');
          return query(sql);
        },
        { timeoutMs },
      );
    } catch (error) {
      const objection = objectionTo(error);
      if (objection === undefined) {
        if (isDenied(error) && !(await this.#mayRead(seen.node, relation, visit.deadlineMs))) {
          throw new CopyWithdrawn();
        }
        throw refusalOf(error, 'read');
      }
      if (objection === 'unreachable') this.#options.sightings.forget(seen.node);
      throw new Refusal(this.#unavailable(visit));
    }
  }

  /** Whether the login abroad may read the relation now. A handler's own mistake leaves it so. */
  async #mayRead(node: string, relation: string, deadlineMs: number): Promise<boolean> {
    try {
      const timeoutMs = Math.max(1, deadlineMs - this.#options.now());
      const [row] = await this.#pool(node, 'abroad').run(
        (sql) => sql<{ may: boolean | null }[]>`
          select has_table_privilege(to_regclass(${relation}), 'select') as may`,
        { timeoutMs },
      );
      return row?.may === true;
    } catch (error) {
      // Without a privilege on the schema even the question is refused.
      return !isDenied(error);
    }
  }

  /** Runs `work` in one transaction on the primary and takes the position after its commit. */
  async write<T>(
    visit: Visit,
    work: (sql: Sql) => Promise<T>,
    raise: (position: Position) => void,
  ): Promise<T> {
    const { now } = this.#options;
    const primary = this.#primary();
    if (primary === undefined) throw new Refusal(this.#unavailable(visit));
    const { node } = primary;
    visit.decision = { kind: 'serve', node, rung: 'primary' };
    if (!this.#stall.admits(now())) {
      throw new Refusal({
        kind: 'write-not-applied',
        why: 'The primary acknowledges no commit now',
      });
    }
    const timeoutMs = visit.deadlineMs - now();
    if (timeoutMs <= 0) {
      throw new Refusal({
        kind: 'write-not-applied',
        why: 'The budget was used up before it began',
      });
    }
    const outcome = await this.#pool(node, 'writer').transaction(
      (sql) => asSubject(visit, sql, true, work),
      { timeoutMs, afterCommit: (sql) => this.#positionOf(node, sql) },
    );
    switch (outcome.kind) {
      case 'applied':
        this.#stall.acknowledged();
        visit.stalenessMs = 0;
        raise(outcome.after);
        return outcome.value;
      case 'applied_without_after':
        this.#stall.acknowledged();
        // Without a position no floor can promise that this write will be read.
        throw new Refusal({ kind: 'write-outcome-unknown' });
      case 'not_applied':
        if (isUnreachable(outcome.failure)) this.#options.sightings.forget(node);
        throw new Refusal(failureOf(outcome.failure, 'write'));
      case 'unknown':
        if (outcome.failure.kind !== 'ended-by-handler') this.#stall.timedOut(now());
        throw new Refusal({ kind: 'write-outcome-unknown' });
    }
  }

  /** Runs the router's own statement on the primary. Rejects with a DatabaseError or a Refusal. */
  onPrimary<T>(query: (sql: Sql) => Promise<T>, timeoutMs: number): Promise<T> {
    const primary = this.#primary();
    if (primary === undefined) {
      return Promise.reject(
        new Refusal({
          kind: 'region-unavailable',
          region: this.#options.region.id,
          passedOver: [],
        }),
      );
    }
    return this.on(primary.node, 'router', query, timeoutMs);
  }

  /** Runs a statement on one named node; the second argument names the server's start. */
  on<T>(
    node: string,
    login: Login,
    query: (sql: Sql, incarnation: string) => Promise<T>,
    timeoutMs: number,
  ): Promise<T> {
    return this.#pool(node, login).run(
      async (sql, connection) =>
        query(sql, this.#incarnations.get(connection) ?? (await this.#greet(sql, connection))),
      { timeoutMs: Math.max(1, timeoutMs) },
    );
  }

  /** A replica that is alive, else the primary: for reads without a floor. */
  anyNode(): string | undefined {
    const placed = placeRead(
      { nodes: this.#nodes, floor: undefined, tried: NOTHING_TRIED },
      (node) => this.#options.sightings.of(node),
      this.#options.now(),
    );
    return placed.kind === 'serve' ? placed.node : undefined;
  }

  stats(): Record<string, ReturnType<LeasePool['stats']>> {
    return Object.fromEntries([...this.#pools].map(([name, pool]) => [name, pool.stats()]));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.close({ timeoutMs: 1_000 })));
  }

  #pool(node: string, login: Login): LeasePool {
    const name = `${node} ${login}`;
    const existing = this.#pools.get(name);
    if (existing !== undefined) return existing;
    const { region, password, connectionsMax, waitersMax, connectTimeoutMs } = this.#options;
    const address = region.nodes.find((candidate) => candidate.name === node);
    if (address === undefined) throw new RangeError(`no node ${node} in ${region.id}`);
    const pool = new LeasePool({
      endpoint: { ...address, database: region.database, user: LOGINS[login], password },
      connectionsMax: login === 'router' ? 4 : connectionsMax,
      waitersMax,
      connectTimeoutMs,
      settings: {
        application_name: `domicile ${login}`,
        statement_timeout: String(STATEMENT_TIMEOUT_MS),
        idle_in_transaction_session_timeout: String(STATEMENT_TIMEOUT_MS),
        ...(login === 'reader' || login === 'abroad'
          ? { default_transaction_read_only: 'on' }
          : {}),
      },
    });
    this.#pools.set(name, pool);
    return pool;
  }

  #primary(): Sighting | undefined {
    const { sightings, now } = this.#options;
    let primary: Sighting | undefined;
    for (const node of this.#nodes) {
      const seen = sightings.of(node);
      if (seen?.role !== 'primary' || now() - seen.seenAtMs > SIGHTING_AGE_MS_MAX) continue;
      if (primary === undefined || seen.at.timeline > primary.at.timeline) primary = seen;
    }
    return primary;
  }

  /** Asks a new connection, once, which start of the server it leads to. */
  async #greet(sql: Sql, connection: object): Promise<string> {
    const [row] = await sql<{ incarnation: string }[]>`
      select pg_postmaster_start_time()::text as incarnation`;
    const incarnation = row?.incarnation ?? '';
    this.#incarnations.set(connection, incarnation);
    return incarnation;
  }

  /** The flush position, not the insert position: that one can stand beyond the last record. */
  async #positionOf(node: string, sql: Sql): Promise<Position> {
    const [row] = await sql<{ lsn: string; timeline: number }[]>`
      select pg_current_wal_flush_lsn()::text as lsn,
        ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as timeline`;
    const systemId = this.#options.sightings.of(node)?.at.systemId;
    if (row === undefined || systemId === undefined) throw new NotReached('no position');
    return { systemId, timeline: row.timeline, lsn: lsnFromPostgres(row.lsn) };
  }

  /** Stands at a replica until it has replayed the floor; its position is worth remembering. */
  async #await(
    node: string,
    incarnation: string,
    floor: Position,
    waitMs: number,
    sql: Sql,
  ): Promise<void> {
    const [row] = await sql<{ reached: string | null }[]>`
      call domicile.await_replay(${formatLsn(floor.lsn)}::pg_lsn, ${Math.ceil(waitMs)}::int, null)`;
    if (row === undefined || row.reached === null) throw new NotReached('not a replica');
    const reached = lsnFromPostgres(row.reached);
    this.#options.sightings.advance(node, incarnation, reached);
    if (reached < floor.lsn) throw new NotReached('behind');
  }

  #stalenessMs(seen: Sighting | undefined): number | undefined {
    if (seen?.role === 'primary') return 0;
    if (seen?.freshAsOfMs === undefined) return undefined;
    return Math.max(0, this.#options.now() - seen.freshAsOfMs);
  }

  #refusal(visit: Visit, floor: Position | undefined): Failure {
    const unmet =
      floor !== undefined &&
      visit.passedOver.some(
        ({ because }) =>
          because === 'behind' || because === 'other_timeline' || because === 'other_cluster',
      );
    if (!unmet) return this.#unavailable(visit);
    const { id } = this.#options.region;
    return { kind: 'session-floor-unmet', region: id, passedOver: visit.passedOver };
  }

  #unavailable(visit: Visit): Failure {
    const { id } = this.#options.region;
    return { kind: 'region-unavailable', region: id, passedOver: visit.passedOver };
  }
}

/**
 * Runs SQL for the visit's subject and for no other: row security asks for the setting. It goes out
 * ahead of the first statement and in the same round trip, always, because a connection remembers
 * whom it served before.
 */
async function asSubject<T>(
  { entered }: Visit,
  sql: Sql,
  inTransaction: boolean,
  work: (sql: Sql) => Promise<T>,
): Promise<T> {
  // Asking for the result is what sends a statement, so this one is under way before `work` begins.
  const entering = sql`select set_config('domicile.subject', ${entered}, ${inTransaction})`.then();
  const [value] = await Promise.all([work(sql), entering]);
  return value;
}

const NOTHING_TRIED: ReadonlyMap<string, Objection> = new Map();

/** Why the next node should be tried; undefined when another node would say the same. */
function objectionTo(error: unknown): Objection | undefined {
  if (error instanceof NotReached) return 'behind';
  if (error instanceof DatabaseError && isUnreachable(error.failure)) return 'unreachable';
  return undefined;
}

function isDenied(error: unknown): boolean {
  return (
    error instanceof DatabaseError &&
    error.failure.kind === 'rejected' &&
    WITHDRAWN_CODES.has(error.failure.sqlstate)
  );
}

function isUnreachable(failure: DatabaseFailure): boolean {
  if (failure.kind === 'connect-failed' || failure.kind === 'connection-lost') return true;
  // The server is starting, stopping or out of connections: it answered, but serves nobody.
  return (
    failure.kind === 'rejected' &&
    (failure.sqlstate.startsWith('57P') || failure.sqlstate === '53300')
  );
}

function refusalOf(error: unknown, access: 'read' | 'write'): unknown {
  return error instanceof DatabaseError ? new Refusal(failureOf(error.failure, access)) : error;
}

/** What a database failure means to the client when it is certain that nothing was changed. */
function failureOf(failure: DatabaseFailure, access: 'read' | 'write'): Failure {
  switch (failure.kind) {
    case 'pool-full':
    case 'acquire-timeout':
      return { kind: 'overloaded' };
    case 'deadline':
      return access === 'read'
        ? { kind: 'deadline-exceeded' }
        : { kind: 'write-not-applied', why: 'It took longer than its budget' };
    case 'rejected':
      return rejection(failure.sqlstate, failure.constraint);
    default:
      return access === 'read'
        ? { kind: 'deadline-exceeded' }
        : { kind: 'write-not-applied', why: 'The primary could not be reached' };
  }
}

/** SQLSTATE classes, PostgreSQL documentation, appendix A. */
function rejection(sqlstate: string, constraint: string | undefined): Failure {
  if (constraint === HOME_CONSTRAINT) return { kind: 'not-permitted' };
  switch (sqlstate) {
    case '23505':
    case '23P01':
      return { kind: 'conflict', constraint };
    case '40001':
    case '40P01':
      return { kind: 'write-not-applied', why: 'It collided with another transaction' };
    case 'DM001':
      return { kind: 'write-not-applied', why: 'The claim on the id had been given back' };
    case '25006':
      return { kind: 'read-only-route' };
    // A grant, row security, or one of the functions behind it (regions/schema/0002-enforcement.sql).
    case '42501':
    case 'DM002':
    case 'DM003':
    case 'DM004':
      return { kind: 'not-permitted' };
    // Not the handler's fault: the caller spells the subject in a way that its column does not.
    case 'DM005':
      return { kind: 'constraint-violated', constraint: undefined };
    default:
      if (sqlstate.startsWith('23')) return { kind: 'constraint-violated', constraint };
      if (sqlstate.startsWith('22')) return { kind: 'constraint-violated', constraint: undefined };
      return { kind: 'internal' };
  }
}
