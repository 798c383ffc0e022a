/**
 * What are this region's nodes doing now?
 *
 * Looks at each node four times a second and writes what it saw to the sightings, and to the policy
 * feed what it has recorded; beats the pulse that travels to the peers. A node that does not answer costs its own look only.
 */
import { SIGHTING_AGE_MS_MAX } from '../policies/place-read.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { lsnFromPostgres, type Position, parseHistory } from '../regions/position.ts';
import { DatabaseError, type Sql } from '../regions/postgres.ts';
import type { Sighting, Sightings } from '../regions/sighting.ts';
import type { PolicyFeed } from './policy-feed.ts';
import { type Origin, recordAt, stampAt } from './policy-record.ts';
import type { RegionDatabase } from './region-database.ts';
import type { UnmetTrust } from './unmet-trust.ts';

export type WatchOptions = {
  here: RegionId;
  database: RegionDatabase;
  sightings: Sightings;
  policies: PolicyFeed;
  trust: UnmetTrust;
  now: () => number;
  everyMs: number;
  /** A look that takes longer is given up; the node's sighting ages meanwhile. */
  timeoutMs: number;
};

/**
 * A look takes about a millisecond. Two missed turns are too many for a replica, which the primary
 * can stand in for at any time; a primary has nobody, so only its age counts.
 */
const SILENT_AFTER_MS = 500;

/** The pause between two looks while requests wait for news: a look costs less than they do. */
const HURRY_MS = 50;

type NodeRow = {
  standby: boolean;
  synchronous: boolean;
  lsn: string | null;
  timeline: number | null;
  system_id: string;
};
type PulseRow = {
  region: string;
  system_id: string;
  timeline: number;
  lsn: string;
  age_ms: number;
};

export class Watch {
  #options: WatchOptions;
  #stopped = false;
  #timers = new Map<NodeJS.Timeout, { task: () => Promise<void>; dueMs: number }>();
  /** What each node was when it was seen last, also where nothing of it holds any more. */
  #epochs = new Map<string, string>();
  #looks = new Set<Promise<void>>();

  constructor(options: WatchOptions) {
    this.#options = options;
  }

  /** Resolves after two looks at every node, whatever they showed. */
  async start(): Promise<void> {
    // Only a primary that was seen before its replica can vouch for the replica's freshness.
    await Promise.all(this.#options.database.nodes.map((node) => this.#look(node)));
    await Promise.all(this.#options.database.nodes.map((node) => this.#keepLooking(node)));
    void this.#keepBeating();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers.keys()) clearTimeout(timer);
    await Promise.allSettled(this.#looks);
  }

  /** Somebody waits for news: the next looks are taken soon. */
  hurry(): void {
    const nowMs = this.#options.now();
    for (const [timer, { task, dueMs }] of [...this.#timers]) {
      if (dueMs - nowMs <= HURRY_MS) continue;
      clearTimeout(timer);
      this.#timers.delete(timer);
      this.#after(HURRY_MS, task);
    }
  }

  async #keepLooking(node: string): Promise<void> {
    await this.#track(this.#look(node));
    const { database, everyMs } = this.#options;
    const isAwaited = database.waiting().waiting > 0;
    this.#after(isAwaited ? Math.min(HURRY_MS, everyMs) : everyMs, () => this.#keepLooking(node));
  }

  async #keepBeating(): Promise<void> {
    const { database } = this.#options;
    // A pulse that is not acknowledged is a commit that hangs; the next one waits for this one.
    await this.#track(database.beat());
    this.#after(this.#options.everyMs, () => this.#keepBeating());
  }

  #after(ms: number, task: () => Promise<void>): void {
    if (this.#stopped) return;
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      void task();
    }, ms);
    this.#timers.set(timer, { task, dueMs: this.#options.now() + ms });
  }

  #track(look: Promise<void>): Promise<void> {
    this.#looks.add(look);
    return look.finally(() => this.#looks.delete(look));
  }

  async #look(node: string): Promise<void> {
    const { database, sightings, policies, trust, now, timeoutMs } = this.#options;
    const askedAtMs = now();
    let silence = false;
    // A frozen replica keeps its connections and answers nothing: every read placed there would
    // wait for its whole budget until the last sighting has aged.
    const silent = setTimeout(() => {
      silence = sightings.of(node)?.role === 'replica';
      if (silence) sightings.forget(node);
    }, SILENT_AFTER_MS);
    try {
      await database.on(
        node,
        'watch',
        async (sql, incarnation) => {
          // Pipelined, so that it costs no round trip; a node without these tables is still seen.
          const [seen, stamp] = await Promise.all([
            lookAt(sql),
            stampAt(sql).catch((error: unknown) => {
              const code = rejectionOf(error);
              if (code !== undefined) policies.unread(node, code);
            }),
          ]);
          if (seen === undefined) return;
          // Before anybody hears of it: a session is compared with the history at once.
          await this.#learnHistory(seen.at, sql);
          sightings.record({ ...seen, node, incarnation, seenAtMs: askedAtMs });
          // At once, before anybody who has waited for this takes a connection.
          if (this.#isNewEpoch(node, seen)) this.#enterEpoch(node);
          const mirrorNode = seen.role === 'replica' || !hasReplica(sightings, now());
          if (mirrorNode) await this.#lookAtPulses(node, incarnation, askedAtMs, sql);
          const origin = originOf(seen);
          if (stamp === undefined || !policies.hasNews(origin, stamp)) return;
          policies.take({ ...(await recordAt(sql, 0)), origin });
        },
        timeoutMs,
      );
      trust.seen(node);
    } catch (error) {
      trust.failed(node, error);
      // Its last sighting stands and ages; past its limit the node is not used. A replica that is
      // still silent keeps nobody waiting: what was sent to it is tried elsewhere.
      if (silence) database.leave(node, 'it does not answer');
    } finally {
      clearTimeout(silent);
    }
  }

  /** Where the timelines before this one ended is written once and stays true. */
  async #learnHistory({ systemId, timeline }: Position, sql: Sql): Promise<void> {
    const { sightings } = this.#options;
    if (sightings.history(systemId, timeline) !== undefined) return;
    const [row] = await sql<{ text: string | null }[]>`
      select domicile.timeline_history(${timeline}) as text`;
    const ancestors = parseHistory(row?.text ?? '');
    // Timeline 1 has no file; of a later one a missing file proves nothing.
    if (ancestors === undefined || (row?.text === null && timeline > 1)) return;
    sightings.recordHistory({ systemId, timeline, ancestors });
  }

  #isNewEpoch(node: string, { role }: Pick<Sighting, 'role'>): boolean {
    const before = this.#epochs.get(node);
    this.#epochs.set(node, role);
    return before !== undefined && before !== role;
  }

  /**
   * A node has another role than before: sockets that were opened under the old one go, and with a new
   * primary those to every other node that is not known to be a replica.
   */
  #enterEpoch(node: string): void {
    const { database, sightings } = this.#options;
    database.leave(node, 'its role changed');
    if (sightings.of(node)?.role !== 'primary') return;
    for (const other of database.nodes) {
      const seen = sightings.of(other);
      if (other === node || seen?.role === 'replica') continue;
      if (seen !== undefined && !sightings.isSuperseded(seen.at)) continue;
      database.leave(other, 'another server was promoted');
    }
  }

  async #lookAtPulses(
    node: string,
    incarnation: string,
    seenAtMs: number,
    sql: Sql,
  ): Promise<void> {
    const { here, sightings } = this.#options;
    const rows = await sql<PulseRow[]>`
      select region, system_id::text, timeline, lsn::text,
        extract(epoch from clock_timestamp() - at)::float8 * 1000 as age_ms
      from domicile.pulses where region <> ${here}`;
    for (const row of rows) {
      sightings.recordMirror({
        region: row.region,
        node,
        incarnation,
        at: {
          systemId: unsigned(row.system_id),
          timeline: row.timeline,
          lsn: lsnFromPostgres(row.lsn),
        },
        ageMs: Math.max(0, row.age_ms),
        seenAtMs,
      });
    }
  }
}

/** Undefined while a replica does not say which timeline it follows: then it proves nothing. */
export async function lookAt(sql: Sql) {
  const [row] = await sql<NodeRow[]>`
    select standby, system_id, current_setting('synchronous_standby_names') <> '' as synchronous,
      case when standby then pg_last_wal_replay_lsn() else pg_current_wal_flush_lsn() end::text
        as lsn,
      case when standby then (select received_tli from pg_stat_wal_receiver)
        else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end
        as timeline
    from (
      select pg_is_in_recovery() as standby,
        (select system_identifier::text from pg_control_system()) as system_id
    ) as node`;
  if (row === undefined || row.lsn === null || row.timeline === null) return undefined;
  return {
    role: row.standby ? ('replica' as const) : ('primary' as const),
    synchronous: row.standby ? undefined : row.synchronous,
    at: {
      systemId: unsigned(row.system_id),
      timeline: row.timeline,
      lsn: lsnFromPostgres(row.lsn),
    },
  };
}

export function originOf({
  role,
  at: { systemId, timeline },
}: Pick<Sighting, 'role' | 'at'>): Origin {
  return { role, systemId, timeline };
}

/** The code alone: a message may quote what was asked. */
function rejectionOf(error: unknown): string | undefined {
  if (!(error instanceof DatabaseError)) return undefined;
  const { failure } = error;
  return failure.kind === 'rejected' ? failure.sqlstate : undefined;
}

/** PostgreSQL shows the unsigned identifier as a signed bigint. */
function unsigned(systemId: string): bigint {
  return BigInt.asUintN(64, BigInt(systemId));
}

function hasReplica(sightings: Sightings, nowMs: number): boolean {
  for (const seen of sightings.all()) {
    if (seen.role === 'replica' && nowMs - seen.seenAtMs <= SIGHTING_AGE_MS_MAX) return true;
  }
  return false;
}
