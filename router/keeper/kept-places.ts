/**
 * Where does a new primary go on reading the peers' airlocks?
 *
 * The slot of a region's subscription stands where its primary has confirmed to be, which is no
 * more than its standby has, but for one case: an apply worker that waits for the standby and sees
 * its postmaster dead gives up waiting and confirms all the same (PostgreSQL 18,
 * SyncRepWaitForLSN). The next primary would not be sent that change. So a second slot stands beside
 * the first, moved up only to what every standby has replayed; before a promotion the first is made
 * anew from it, and the new primary asks for what it lacks by its own place.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { placeKeptFor, publicationTo, subscriptionFrom } from '../../policies/desired-state.ts';
import type { RegionId } from '../../regions/catalogue.ts';
import { formatLsn, type Lsn, lsnFromPostgres } from '../../regions/position.ts';
import type { LeasePool, Sql } from '../../regions/postgres.ts';
import { peersOf, poolAsPeer } from './feeds.ts';
import { type FeedSite, valued } from './standby-slots.ts';

export type TakenBack =
  /** It stands at nothing that the heir lacks. */
  | { kind: 'as_it_was' }
  | { kind: 'taken_back'; from: Lsn; to: Lsn }
  /** Whether the heir's mirror of this peer will lack something cannot be told. */
  | { kind: 'unknown'; why: string };

/** One question to one server. */
const LOOK_MS_MAX = 1_000;
/** For all peers at once; the region has no primary meanwhile. */
const TAKE_MS_MAX = 1_500;
const LOOK_EVERY_MS = 10;

type Place = { confirmed: Lsn; pid: number | null; lost: boolean };

export class KeptPlaces {
  readonly #site: FeedSite;
  readonly #peers: readonly { peer: RegionId; pool: LeasePool }[];
  readonly #main: string;
  readonly #kept: string;

  constructor(site: FeedSite) {
    this.#site = site;
    this.#main = publicationTo(site.region);
    this.#kept = placeKeptFor(site.region);
    // Kept open: a promotion waits for the answers, and a connection takes more journeys than they.
    this.#peers = peersOf(site).map((peer) => ({ peer: peer.id, pool: poolAsPeer(site, peer) }));
  }

  /** Moves the places up to what all of these nodes have. Who does not answer holds it back. Rejects for bugs only. */
  async moveUp(nodes: readonly string[]): Promise<void> {
    const seen = await Promise.all(nodes.map((node) => this.#progress(node)));
    await Promise.all(
      this.#peers.map(async ({ peer, pool }) => {
        let to: Lsn | undefined;
        for (const progress of seen) {
          const at = progress instanceof Map ? progress.get(subscriptionFrom(peer)) : undefined;
          if (at === undefined) return;
          if (to === undefined || at < to) to = at;
        }
        if (to === undefined) return;
        const all = to;
        await valued(() => pool.run((sql) => this.#moveUp(sql, all), { timeoutMs: LOOK_MS_MAX }));
      }),
    );
  }

  /** Of every peer. To be called while the heir is a standby; again is safe. Rejects for bugs only. */
  async takeBack(heir: string): Promise<ReadonlyMap<RegionId, TakenBack>> {
    const progress = await this.#progress(heir);
    const untilMs = performance.now() + TAKE_MS_MAX;
    const taken = this.#peers.map(async ({ peer, pool }) => {
      const state: TakenBack =
        progress instanceof Map
          ? await this.#take(pool, progress.get(subscriptionFrom(peer)), untilMs)
          : progress;
      return [peer, state] as const;
    });
    return new Map(await Promise.all(taken));
  }

  async close(): Promise<void> {
    await Promise.all(this.#peers.map(({ pool }) => pool.close({ timeoutMs: LOOK_MS_MAX })));
  }

  /** By subscription, the end of the last transaction that a node has, in the airlock's log. */
  async #progress(node: string): Promise<Map<string, Lsn> | { kind: 'unknown'; why: string }> {
    const { session } = this.#site;
    return valued(async () => {
      const rows = await session.node(node).run(
        (sql) => sql<{ subscription: string; at: string }[]>`
          select s.subname as subscription, o.remote_lsn::text as at
          from pg_subscription s
          join pg_replication_origin_status o on o.external_id = 'pg_' || s.oid
          where o.remote_lsn <> '0/0'`,
        { timeoutMs: LOOK_MS_MAX },
      );
      return new Map(rows.map(({ subscription, at }) => [subscription, lsnFromPostgres(at)]));
    });
  }

  async #moveUp(sql: Sql, to: Lsn): Promise<void> {
    const { main, kept } = await this.#look(sql);
    // Where nobody reads any more it would hold the airlock's log back.
    const useless = main === undefined || kept?.lost === true;
    if (kept !== undefined && useless) await sql`select pg_drop_replication_slot(${this.#kept})`;
    if (main === undefined || main.lost) return;
    if (kept === undefined || kept.lost) {
      await sql`select pg_copy_logical_replication_slot(${this.#main}, ${this.#kept})`;
    } else if (kept.confirmed < to) {
      await sql`select pg_replication_slot_advance(${this.#kept}, ${formatLsn(to)}::pg_lsn)`;
    }
  }

  async #take(pool: LeasePool, has: Lsn | undefined, untilMs: number): Promise<TakenBack> {
    // It has never been sent anything since its tables were copied.
    if (has === undefined) return { kind: 'as_it_was' };
    for (let left = LOOK_MS_MAX; ; left = untilMs - performance.now()) {
      if (left <= 0) return unknown('somebody keeps its place');
      const timeoutMs = Math.min(LOOK_MS_MAX, left);
      const state = await valued(() => pool.run((sql) => this.#tryToTake(sql, has), { timeoutMs }));
      if (state !== undefined) return state;
      await pause(LOOK_EVERY_MS);
    }
  }

  /** Undefined when a reader has to go first. */
  async #tryToTake(sql: Sql, has: Lsn): Promise<TakenBack | undefined> {
    const { main, kept } = await this.#look(sql);
    if (main?.lost === true) return unknown('its place is lost');
    if (main !== undefined && main.confirmed <= has) return { kind: 'as_it_was' };
    if (kept === undefined || kept.lost) return unknown('no place is kept');
    if (kept.confirmed > has) {
      return unknown(`a place is kept at ${formatLsn(kept.confirmed)}, beyond ${formatLsn(has)}`);
    }
    if (main === undefined) {
      await sql`select pg_copy_logical_replication_slot(${this.#kept}, ${this.#main})`;
      return { kind: 'taken_back', from: kept.confirmed, to: kept.confirmed };
    }
    if (main.pid !== null) {
      await sql`select pg_terminate_backend(${main.pid}::int)`;
      return undefined;
    }
    // In one statement: who dies between two would leave the subscription without a place.
    await sql`
      select pg_drop_replication_slot(${this.#main}),
        pg_copy_logical_replication_slot(${this.#kept}, ${this.#main})`;
    return { kind: 'taken_back', from: main.confirmed, to: kept.confirmed };
  }

  async #look(sql: Sql): Promise<{ main: Place | undefined; kept: Place | undefined }> {
    const rows = await sql<
      { name: string; confirmed: string; pid: number | null; lost: boolean }[]
    >`
      select slot_name::text as name, confirmed_flush_lsn::text as confirmed, active_pid as pid,
        wal_status = 'lost' as lost
      from pg_replication_slots
      where slot_name in (${this.#main}, ${this.#kept}) and confirmed_flush_lsn is not null`;
    const places = new Map(
      rows.map(({ name, confirmed, ...place }) => [
        name,
        { ...place, confirmed: lsnFromPostgres(confirmed) },
      ]),
    );
    return { main: places.get(this.#main), kept: places.get(this.#kept) };
  }
}

function unknown(why: string): TakenBack {
  return { kind: 'unknown', why };
}
