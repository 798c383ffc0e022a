/**
 * How does the keeper that comes with Domicile look at its region's servers, and move them?
 *
 * Over SQL as their superuser, and through the machine they run on for what SQL cannot do: start a
 * server, end it, copy it. Looks never wait for anything but the node they look at.
 */
import type { NodeState } from '../../policies/keeper/judge-primary.ts';
import type { Region } from '../../regions/catalogue.ts';
import { nameStandbys } from '../../regions/local/administer.ts';
import { namesIn, synchronousNames } from '../../regions/local/postgres-settings.ts';
import { type Lsn, lsnFromPostgres } from '../../regions/position.ts';
import {
  DatabaseError,
  type Endpoint,
  LeasePool,
  nothingWasSent,
  type Sql,
  verbatim,
} from '../../regions/postgres.ts';
import type { UnmetTrust } from '../unmet-trust.ts';
import { takesConnections } from './knock.ts';
import type { Machine } from './machine.ts';
import {
  type NodeView,
  type RegionView,
  refused,
  type Steward,
  type StewardOutcome,
} from './steward.ts';

export type OwnServersOptions = {
  region: Region;
  superuser: (node: string) => Endpoint;
  machine: Machine;
  /** Whether the region's feeds could go on from this standby. */
  feedsReady: (standby: string) => boolean;
  /** Undefined: nobody hears why a server is not trusted. */
  trust?: UnmetTrust;
  now: () => number;
};

/** Half as long again as a busy machine takes; the silence that follows has a patience of its own. */
const LOOK_MS_MAX = 1_000;
const CONNECT_MS_MAX = 1_000;
/** A setting that is written, read by every process and proved by a commit. */
const REQUIRE_MS_MAX = 5_000;
const LOOK_EVERY_MS = 20;
/** A machine on the same network completes a handshake by itself, whatever its processes do. */
const KNOCK_MS_MAX = 250;
/** A standby that has all of the log is a primary within some tenths of a second. */
const PROMOTE_MS_MAX = 10_000;

/** A node as it was at one look. */
export type Look = { state: NodeState; askedAtMs: number };

export class OwnServers implements Steward {
  readonly #options: OwnServersOptions;
  readonly #pools = new Map<string, LeasePool>();
  /** Where each primary's log stood at the look before, to tell who is level with it. */
  readonly #flushedBefore = new Map<string, Lsn>();

  constructor(options: OwnServersOptions) {
    this.#options = options;
  }

  /** Never rejects. Resolves within a second. */
  async look(node: string): Promise<Look> {
    const askedAtMs = this.#options.now();
    try {
      const state = await this.#on(node, (sql) => this.#ask(node, sql), LOOK_MS_MAX);
      this.#options.trust?.seen(node);
      return { state, askedAtMs };
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      this.#options.trust?.failed(node, error);
      const because = silenceOf(error);
      if (because !== 'no_answer') return { state: { kind: 'silent', because }, askedAtMs };
      const address = this.#options.superuser(node);
      const isOpen = await takesConnections(address, KNOCK_MS_MAX);
      return { state: { kind: 'silent', because: isOpen ? 'frozen' : because }, askedAtMs };
    }
  }

  async observe(): Promise<RegionView> {
    const nodes = await Promise.all(
      this.#options.region.nodes.map(async ({ name: node }): Promise<NodeView> => {
        const { state } = await this.look(node);
        if (state.kind === 'silent') return { node, kind: 'silent', because: state.because };
        const { role, systemId, timeline, lsn } = state;
        return { node, kind: 'seen', role, systemId, timeline, lsn };
      }),
    );
    return { nodes };
  }

  async promote(node: string, { timeline }: { timeline: number }): Promise<StewardOutcome> {
    return this.#act(node, PROMOTE_MS_MAX + LOOK_MS_MAX, async (sql) => {
      const [at] = await sql<{ follows: number | null }[]>`
        select case when pg_is_in_recovery() then ${standbyTimeline(sql)} end as follows`;
      if (at?.follows !== timeline) {
        return refused(`${node} does not follow timeline ${timeline} any longer`);
      }
      // It has copied whom its primary waited for: itself.
      await require(sql, []);
      const [row] = await sql<{ promoted: boolean }[]>`
        select pg_promote(true, ${PROMOTE_MS_MAX / 1_000}) as promoted`;
      return row?.promoted === true
        ? { kind: 'done' }
        : { kind: 'unknown', why: `${node} was asked to take over and has not answered in time` };
    });
  }

  /** What it has written reaches its standbys before it ends. */
  async demote(node: string): Promise<StewardOutcome> {
    return this.#options.machine.halt(node);
  }

  async follow(
    node: string,
    primary: string,
    how: { copy?: boolean; keepData?: boolean } = {},
  ): Promise<StewardOutcome> {
    const { copy = true, keepData = false } = how;
    // Sockets to what it was are of no use to whoever looks at what it becomes.
    this.#leave(node);
    return this.#options.machine.follow(node, { primary, copy, keepData });
  }

  start(node: string): Promise<StewardOutcome> {
    return this.#options.machine.start(node);
  }

  /** Ends what a standby receives, so that what it holds can be compared with another one's. */
  async detach(node: string): Promise<StewardOutcome> {
    return this.#act(node, REQUIRE_MS_MAX, async (sql) => {
      await sql(verbatim(`alter system set primary_conninfo = ''`));
      await sql`select pg_reload_conf()`;
      return { kind: 'done' };
    });
  }

  /**
   * Lets commits of a primary wait for one of these standbys, and logical feeds for all of them.
   * With `proved` it is done when a commit has waited, and every later one will: the setting is
   * read by the process that wakes and lets pass all others no later than at its next checkpoint.
   */
  async require(
    primary: string,
    standbys: readonly string[],
    { proved }: { proved: boolean },
  ): Promise<StewardOutcome> {
    const outcome = await this.#act(primary, REQUIRE_MS_MAX, async (sql) => {
      await require(sql, standbys);
      return { kind: 'done' };
    });
    if (outcome.kind !== 'done' || !proved) return outcome;
    const fresh = this.#open(primary, 1);
    try {
      // A connection that is made after the postmaster has read the setting starts with it, and by
      // then the postmaster has told all its children.
      const names = synchronousNames(standbys);
      const isRead = await fresh.run(
        async (sql) => {
          const [row] = await sql<{ names: string }[]>`
            select current_setting('synchronous_standby_names') as names`;
          return row?.names === names;
        },
        { timeoutMs: REQUIRE_MS_MAX },
      );
      if (!isRead) return { kind: 'unknown', why: `${primary} has not read the setting yet` };
      await fresh.run((sql) => sql(verbatim('checkpoint')), { timeoutMs: REQUIRE_MS_MAX });
      const written = await fresh.transaction(
        async (sql) => {
          const [row] = await sql<{ lsn: string }[]>`
            select pg_logical_emit_message(true, 'domicile', '')::text as lsn`;
          return lsnFromPostgres(row?.lsn ?? '');
        },
        { timeoutMs: REQUIRE_MS_MAX },
      );
      if (written.kind !== 'applied') {
        return { kind: 'unknown', why: `no commit of ${primary} was confirmed` };
      }
      const confirmed = await fresh.run(
        (sql) => sql<{ lsn: string | null }[]>`
          select max(flush_lsn)::text as lsn from pg_stat_replication
          where sync_state in ('sync', 'quorum') and application_name = any (${sql.array([...standbys])})`,
        { timeoutMs: REQUIRE_MS_MAX },
      );
      const lsn = confirmed[0]?.lsn;
      return lsn != null && lsnFromPostgres(lsn) >= written.value
        ? { kind: 'done' }
        : { kind: 'unknown', why: `none of ${standbys.join(', ')} has confirmed a commit` };
    } catch (error) {
      return outcomeOf(primary, error);
    } finally {
      await fresh.close({ timeoutMs: CONNECT_MS_MAX });
    }
  }

  /** Runs statements on one connection of a node, such as one that holds a lock. */
  async hold(
    node: string,
    timeoutMs: number,
    use: (sql: Sql) => Promise<StewardOutcome>,
  ): Promise<StewardOutcome> {
    return this.#act(node, timeoutMs, use);
  }

  processes(): Promise<ReadonlyMap<string, 'runs' | 'ended'>> {
    return this.#options.machine.processes();
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.close({ timeoutMs: 500 })));
  }

  async #ask(node: string, sql: Sql): Promise<NodeState> {
    const [row] = await sql<Row[]>`
      select pg_is_in_recovery() as standby,
        (select system_identifier::text from pg_control_system()) as system_id,
        case when pg_is_in_recovery() then ${standbyTimeline(sql)}
          else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
          end as timeline,
        case when pg_is_in_recovery()
          then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
          else pg_current_wal_flush_lsn() end::text as lsn,
        current_setting('synchronous_standby_names') as waits_for,
        (select json_agg(json_build_object('node', application_name, 'flush', flush_lsn::text))
         from pg_stat_replication where state = 'streaming') as streaming,
        (select extract(epoch from clock_timestamp() - last_msg_receipt_time)::float8 * 1000
         from pg_stat_wal_receiver where status = 'streaming') as heard_ms_ago`;
    if (row === undefined) throw new Error('one row was asked for');
    const lsn = lsnFromPostgres(row.lsn ?? '0/0');
    const before = this.#flushedBefore.get(node) ?? lsn;
    if (!row.standby) this.#flushedBefore.set(node, lsn);
    const nodes = new Map(this.#options.region.nodes.map(({ name }) => [name, name]));
    return {
      kind: 'seen',
      role: row.standby ? 'replica' : 'primary',
      systemId: BigInt.asUintN(64, BigInt(row.system_id)),
      timeline: row.timeline ?? 0,
      lsn,
      commitsWaitFor: namesIn(row.waits_for),
      streaming: (row.streaming ?? [])
        .filter(({ node: name }) => nodes.has(name))
        .map(({ node: name, flush }) => ({
          node: name,
          isLevel: flush !== null && lsnFromPostgres(flush) >= before,
        })),
      heardMsAgo: row.heard_ms_ago ?? undefined,
      feedsReady: !row.standby || this.#options.feedsReady(node),
    };
  }

  async #act(
    node: string,
    timeoutMs: number,
    use: (sql: Sql) => Promise<StewardOutcome>,
  ): Promise<StewardOutcome> {
    try {
      return await this.#on(node, use, timeoutMs);
    } catch (error) {
      return outcomeOf(node, error);
    }
  }

  #on<T>(node: string, use: (sql: Sql) => Promise<T>, timeoutMs: number): Promise<T> {
    let pool = this.#pools.get(node);
    if (pool === undefined) {
      pool = this.#open(node, CONNECTIONS);
      this.#pools.set(node, pool);
    }
    return pool.run(use, { timeoutMs });
  }

  #open(node: string, connectionsMax: number): LeasePool {
    return new LeasePool({
      endpoint: this.#options.superuser(node),
      connectionsMax,
      waitersMax: 16,
      connectTimeoutMs: CONNECT_MS_MAX,
      settings: { application_name: 'domicile keeper', search_path: 'pg_catalog' },
    });
  }

  #leave(node: string): void {
    this.#pools.get(node)?.destroy('it is made anew');
    this.#pools.delete(node);
    this.#flushedBefore.delete(node);
  }
}

/** One looks, one acts, one holds the gate, one to spare. */
const CONNECTIONS = 4;

type Row = {
  standby: boolean;
  system_id: string;
  timeline: number | null;
  lsn: string | null;
  waits_for: string;
  streaming: { node: string; flush: string | null }[] | null;
  heard_ms_ago: number | null;
};

/** Whose log a standby replays: what it receives, or the newest of which it holds any. */
function standbyTimeline(sql: Sql) {
  return sql`coalesce(
    (select nullif(received_tli, 0) from pg_stat_wal_receiver),
    (select max(('x' || substr(name, 1, 8))::bit(32)::int)
     from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'))`;
}

async function require(sql: Sql, standbys: readonly string[]): Promise<void> {
  const names = synchronousNames(standbys);
  await nameStandbys(sql, standbys);
  // Until this process itself has read it; the others were told at the same moment.
  for (;;) {
    const [row] = await sql<{ names: string }[]>`
      select current_setting('synchronous_standby_names') as names`;
    if (row?.names === names) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}

/** Whether nothing was done is known only where nothing was sent, or the server said no. */
function outcomeOf(node: string, error: unknown): StewardOutcome {
  if (!(error instanceof DatabaseError)) throw error;
  const why = `${node}: ${error.message}`;
  const { failure } = error;
  return failure.kind === 'rejected' || nothingWasSent(failure)
    ? { kind: 'refused', why }
    : { kind: 'unknown', why };
}

function silenceOf({ failure }: DatabaseError): 'refused' | 'no_answer' | 'starting' {
  if (failure.kind === 'connect-failed') {
    return failure.code === 'ECONNREFUSED' ? 'refused' : 'no_answer';
  }
  // It takes no connections yet, or none any more (PostgreSQL documentation, appendix A).
  if (failure.kind === 'rejected' && failure.sqlstate.startsWith('57P')) return 'starting';
  return 'no_answer';
}
