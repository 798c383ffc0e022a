/**
 * Do a region's mirrors follow its new primary?
 *
 * Called after a promotion, and again at any time: each step looks first, so that a keeper that was
 * killed half way goes on. Two directions are mended. The region's airlocks read the primary that
 * was, and are led to the one that is. And the new primary reads the airlocks of the peers through
 * slots that the old one may still hold, although it is frozen or cut off: they are taken from it.
 *
 * An airlock that has more than the new primary is not led there. The new log would be read from
 * beyond its beginning, and what stands before that would be missing in every mirror for good.
 */
import { setTimeout as pause } from 'node:timers/promises';
import {
  peerRole,
  publicationTo,
  subscriptionFrom,
  subscriptionHome,
} from '../../policies/desired-state.ts';
import { type Airlock, airlockFor, type Region, type RegionId } from '../../regions/catalogue.ts';
import { formatLsn, type Lsn, lsnFromPostgres, parseHistory } from '../../regions/position.ts';
import { LeasePool, type Sql, verbatim } from '../../regions/postgres.ts';
import { connectionHome } from '../feed-connections.ts';
import { peerPassword } from '../password-names.ts';
import { type FeedSite, LOOK_MS_MAX, valued } from './standby-slots.ts';

export type Feed = {
  /** Who sends, and who receives: `us` to `us-x`, `eu-x` to `us`. */
  from: string;
  to: string;
  state: FeedState;
};

export type FeedState =
  /** A pulse of the new primary has arrived, or the peer's airlock sends to it. */
  | { kind: 'flows'; changed: boolean }
  /** It cannot go on from where it was; `domicile mirrors refill` begins it anew. */
  | { kind: 'must_refill'; because: RefillReason; why: string }
  /** Not within the limit. Calling again is safe, and goes on from here. */
  | { kind: 'rests'; why: string }
  | { kind: 'unknown'; why: string };

export type RefillReason =
  /**
   * The standby had no copy of the airlock's slot when it was promoted, or has lost it; or a peer
   * keeps no place for this region (`unsure-feeds.ts` says why it may have been taken away).
   */
  | 'no_slot'
  /** The airlock has rows that the new primary never had: they were not acknowledged to anybody. */
  | 'ahead'
  /** The region's data comes from another cluster. */
  | 'other_cluster';

export type FollowOptions = {
  /** The node that was promoted, and takes writes. */
  primary: string;
  /** For all of it; the new primary may have to replay first. */
  limitMs?: number;
  signal?: AbortSignal;
};

const FLOW_MS_MAX = 15_000;
const LOOK_EVERY_MS = 20;
/** A worker that sees its subscription change ends by itself, unless it waits for a frozen server. */
const LEAVE_MS = 100;
/** A reader of ours that has just come gets its first message sooner than this. */
const FIRST_MESSAGE_MS = 300;
const CONNECT_MS_MAX = 2_000;

/** Every feed into and out of the region, in the catalogue's order. Rejects for bugs only. */
export async function followPrimary(site: FeedSite, options: FollowOptions): Promise<Feed[]> {
  const { regions } = site.session.operator.catalogue;
  const region = regions.get(site.region);
  if (region === undefined) throw new RangeError(`no region ${site.region}`);
  const until = performance.now() + (options.limitMs ?? FLOW_MS_MAX);
  const work = { ...options, until };
  return Promise.all([
    ...region.airlocks.map(async (airlock) => ({
      from: region.id,
      to: airlock.name,
      state: await valued(() => lead(site, region, airlock, work)),
    })),
    ...peersOf(site).map(async (peer) => ({
      from: airlockFor(peer, region.id).name,
      to: region.id,
      state: await valued(() => takeSlot(site, peer, work)),
    })),
  ]);
}

type Work = FollowOptions & { until: number };
type Primary = {
  systemId: string;
  timeline: number;
  flushed: Lsn;
  ancestors: readonly { timeline: number; end: Lsn }[];
  slot: boolean;
};
type Reader = {
  connection: string;
  enabled: boolean;
  /** The end of the last transaction that was applied, in the publisher's log. */
  applied: Lsn | undefined;
  pids: readonly number[];
  pulse: Pulse | undefined;
};
type Pulse = { systemId: string; timeline: number; lsn: Lsn };

/** Lets an airlock read the new primary, if what it has is part of the new primary's history. */
async function lead(
  site: FeedSite,
  region: Region,
  airlock: Airlock,
  work: Work,
): Promise<FeedState> {
  const { session } = site;
  const node = region.nodes.find(({ name }) => name === work.primary);
  if (node === undefined) throw new RangeError(`no node ${work.primary} in ${region.id}`);
  const subscription = subscriptionHome(airlock.name);
  const wanted = await connectionHome(session.operator, region, airlock, node);
  let reader = await on(site, airlock.name, (sql) => lookAtReader(sql, site.region, subscription));
  if (reader === undefined) return refill('no_slot', `${airlock.name} has no ${subscription}`);
  const changed = reader.connection !== wanted || !reader.enabled;
  if (changed) {
    const writes = await on(site, work.primary, (sql) => lookAtPrimary(sql, subscription));
    if (writes === undefined) return rests(`${work.primary} does not take writes`);
    // Nothing of the old log may arrive between the comparison and the change.
    reader = await stopReading(site, airlock, subscription, work);
    if (reader === undefined) return rests(`${airlock.name} does not let go of the old primary`);
  }
  const primary = await on(site, work.primary, (sql) => lookAtPrimary(sql, subscription));
  if (primary === undefined) return rests(`${work.primary} does not take writes`);
  // Who reads it already was compared before, and may have more by now than was just looked at.
  const objection = changed ? objectionTo(reader, primary) : primary.slot ? undefined : 'no_slot';
  if (objection === 'no_slot') {
    return refill(objection, `${work.primary} keeps no place in its log for ${airlock.name}`);
  }
  if (objection !== undefined) {
    // Without a slot neither we nor a later "policy apply" can let it go on from there.
    await on(
      site,
      work.primary,
      (sql) => sql`
        select pg_drop_replication_slot(slot_name) from pg_replication_slots
        where slot_name = ${subscription} and not active`,
    );
    return refill(
      objection,
      objection === 'ahead'
        ? `${airlock.name} has what ${work.primary} never had: it stands at ${formatLsn(reader.applied ?? 0n)} of an older timeline`
        : `${airlock.name} was filled from another cluster than ${work.primary}`,
    );
  }
  if (changed) {
    await on(site, airlock.name, async (sql) => {
      await sql(verbatim(`alter subscription ${subscription} connection ${literal(wanted)}`));
      await sql(verbatim(`alter subscription ${subscription} enable`));
    });
  }
  return awaitPulse(site, airlock, primary, work, changed);
}

function objectionTo(reader: Reader, primary: Primary): RefillReason | undefined {
  if (!primary.slot) return 'no_slot';
  const { pulse, applied } = reader;
  if (pulse !== undefined && pulse.systemId !== primary.systemId) return 'other_cluster';
  if (applied === undefined) return undefined;
  // The pulse says whose log the airlock was reading last.
  const from = pulse?.timeline ?? primary.ancestors.at(-1)?.timeline;
  if (from === undefined || from === primary.timeline) {
    return applied > primary.flushed ? 'ahead' : undefined;
  }
  const ancestor = primary.ancestors.find(({ timeline }) => timeline === from);
  return ancestor === undefined || applied > ancestor.end ? 'ahead' : undefined;
}

async function stopReading(
  site: FeedSite,
  airlock: Airlock,
  subscription: string,
  work: Work,
): Promise<Reader | undefined> {
  await on(site, airlock.name, (sql) =>
    sql(verbatim(`alter subscription ${subscription} disable`)),
  );
  const since = performance.now();
  return until(work, async () => {
    const reader = await on(site, airlock.name, (sql) =>
      lookAtReader(sql, site.region, subscription),
    );
    if (reader === undefined || reader.pids.length === 0) return reader;
    if (performance.now() - since > LEAVE_MS) {
      await on(site, airlock.name, (sql) => terminate(sql, reader.pids));
    }
    return undefined;
  });
}

/** The only proof that counts: what the new primary writes now arrives. */
async function awaitPulse(
  site: FeedSite,
  airlock: Airlock,
  { timeline, systemId }: Primary,
  work: Work,
  changed: boolean,
): Promise<FeedState> {
  let sent: Lsn | undefined;
  const arrived = await until(work, async () => {
    sent ??= await beat(site, work.primary, timeline);
    if (sent === undefined) return undefined;
    const pulse = await on(site, airlock.name, (sql) => lookAtPulse(sql, site.region));
    const is = pulse?.systemId === systemId && pulse.timeline === timeline && pulse.lsn >= sent;
    return is || undefined;
  });
  if (arrived === true) return { kind: 'flows', changed };
  return rests(
    sent === undefined
      ? `${work.primary} writes no pulse`
      : `no pulse of ${work.primary} has arrived in ${airlock.name}; its log says why`,
  );
}

/** The position of a pulse that the new primary has written; undefined while it cannot. */
async function beat(
  { session, region }: FeedSite,
  primary: string,
  timeline: number,
): Promise<Lsn | undefined> {
  let pulse: Pulse | undefined;
  const outcome = await session.node(primary).transaction(
    async (sql) => {
      // It leaves for nobody before a standby has it, so nobody has to wait for one here.
      await sql`set local synchronous_commit = local`;
      // An edge's pulse that waits for a standby keeps this row.
      await sql`set local lock_timeout = 200`;
      await sql`select domicile.pulse()`;
      pulse = await lookAtPulse(sql, region);
    },
    { timeoutMs: LOOK_MS_MAX },
  );
  return outcome.kind === 'applied' && pulse?.timeline === timeline ? pulse.lsn : undefined;
}

/**
 * Waits until a peer's airlock sends to the new primary. As long as it does not, whoever holds the
 * slot there is the old one. The peer's own login may end it: it is a connection of the same role.
 */
async function takeSlot(site: FeedSite, peer: Region, work: Work): Promise<FeedState> {
  const subscription = subscriptionFrom(peer.id);
  // A worker shows a time of receipt from its start on, and a position when something has come.
  const receives = async () => {
    const [row] = await on(
      site,
      work.primary,
      (sql) => sql<{ receives: boolean }[]>`
        select bool_or(received_lsn is not null) as receives
        from pg_stat_subscription where subname = ${subscription} and relid is null`,
    );
    return row?.receives === true;
  };
  if (await receives()) return { kind: 'flows', changed: false };
  const pool = poolAsPeer(site, peer);
  const holders = new Map<number, number>();
  let changed = false;
  let silence: string | undefined;
  try {
    const flows = await until(work, async (): Promise<true | 'no_slot' | undefined> => {
      if (await receives()) return true;
      const looked = await valued(() =>
        pool.run((sql) => holderOf(sql, publicationTo(site.region)), { timeoutMs: LOOK_MS_MAX }),
      );
      silence = typeof looked === 'object' ? looked.why : undefined;
      if (looked === 'no_slot') return 'no_slot';
      if (typeof looked !== 'number') return undefined;
      const since = holders.get(looked) ?? performance.now();
      holders.set(looked, since);
      if (performance.now() - since < FIRST_MESSAGE_MS) return undefined;
      changed = true;
      await pool.run((sql) => terminate(sql, [looked]), { timeoutMs: LOOK_MS_MAX });
      return undefined;
    });
    if (flows === true) return { kind: 'flows', changed };
    const airlock = airlockFor(peer, site.region).name;
    if (flows === 'no_slot')
      return refill(flows, `${airlock} keeps no place in its log for ${site.region}`);
    return rests(
      silence === undefined
        ? `${airlock} sends nothing to ${work.primary}; the log of ${work.primary} says why`
        : `${airlock} cannot be asked: ${silence}`,
    );
  } finally {
    await pool.close({ timeoutMs: CONNECT_MS_MAX });
  }
}

/** @throws RangeError when the catalogue has no such region. */
export function peersOf({ session, region }: FeedSite): Region[] {
  const { regions } = session.operator.catalogue;
  if (!regions.has(region)) throw new RangeError(`no region ${region}`);
  return [...regions.values()].filter(({ id }) => id !== region);
}

/** The region's own login at a peer's airlock. */
export function poolAsPeer(
  { session: { operator }, region: id }: FeedSite,
  peer: Region,
): LeasePool {
  const airlock = airlockFor(peer, id);
  return new LeasePool({
    endpoint: {
      name: airlock.name,
      ...(airlock.tls !== undefined && { tls: airlock.tls, serverName: airlock.host }),
      ...operator.link(id, airlock),
      database: peer.database,
      user: peerRole(id),
      password: operator.password(peerPassword(peer.id, id)),
    },
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: CONNECT_MS_MAX,
    settings: { application_name: 'domicile feeds', search_path: 'pg_catalog' },
  });
}

async function holderOf(sql: Sql, slot: string): Promise<number | 'no_slot' | undefined> {
  const [row] = await sql<{ pid: number | null }[]>`
    select active_pid as pid from pg_replication_slots where slot_name = ${slot}`;
  return row === undefined ? 'no_slot' : (row.pid ?? undefined);
}

async function lookAtPrimary(sql: Sql, slot: string): Promise<Primary | undefined> {
  const [row] = await sql<
    { systemId: string; timeline: number; flushed: string; slot: boolean; history: string | null }[]
  >`
    select p.*, domicile.timeline_history(p.timeline) as history,
      exists (select from pg_replication_slots where slot_name = ${slot}
        and invalidation_reason is null and wal_status is distinct from 'lost') as slot
    from (
      select (select system_identifier::text from pg_control_system()) as "systemId",
        ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int as timeline,
        pg_current_wal_flush_lsn()::text as flushed
      where not pg_is_in_recovery()
    ) as p`;
  if (row === undefined) return undefined;
  const { systemId, timeline, slot: kept, history } = row;
  const ancestors = parseHistory(history ?? '') ?? [];
  return { systemId, timeline, flushed: lsnFromPostgres(row.flushed), slot: kept, ancestors };
}

async function lookAtReader(
  sql: Sql,
  region: RegionId,
  subscription: string,
): Promise<Reader | undefined> {
  const [row] = await sql<
    { connection: string; enabled: boolean; applied: string | null; pids: number[] | null }[]
  >`
    select s.subconninfo as connection, s.subenabled as enabled,
      (select remote_lsn::text from pg_replication_origin_status
        where external_id = 'pg_' || s.oid and remote_lsn <> '0/0') as applied,
      (select array_agg(pid) from pg_stat_subscription w
        where w.subid = s.oid and pid is not null) as pids
    from pg_subscription s where s.subname = ${subscription}`;
  if (row === undefined) return undefined;
  return {
    connection: row.connection,
    enabled: row.enabled,
    applied: row.applied === null ? undefined : lsnFromPostgres(row.applied),
    pids: row.pids ?? [],
    pulse: await lookAtPulse(sql, region),
  };
}

async function lookAtPulse(sql: Sql, region: string): Promise<Pulse | undefined> {
  const [row] = await sql<{ systemId: string; timeline: number; lsn: string }[]>`
    select system_id::text as "systemId", timeline, lsn::text
    from domicile.pulses where region = ${region}`;
  return row && { ...row, lsn: lsnFromPostgres(row.lsn) };
}

async function terminate(sql: Sql, pids: readonly number[]): Promise<void> {
  await sql`select pg_terminate_backend(pid) from unnest(${pids as number[]}::int[]) as pid`;
}

function on<T>({ session }: FeedSite, node: string, use: (sql: Sql) => Promise<T>): Promise<T> {
  return session.node(node).run(use, { timeoutMs: LOOK_MS_MAX });
}

/** Looks until there is something; undefined when there is nothing in time. */
async function until<T>(work: Work, look: () => Promise<T | undefined>): Promise<T | undefined> {
  for (;;) {
    const found = await look();
    if (found !== undefined || performance.now() >= work.until) return found;
    const { signal } = work;
    await pause(LOOK_EVERY_MS, undefined, signal === undefined ? {} : { signal });
  }
}

function rests(why: string): FeedState {
  return { kind: 'rests', why };
}

function refill(because: RefillReason, why: string): FeedState {
  return { kind: 'must_refill', because, why };
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
