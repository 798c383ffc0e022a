/**
 * Could a standby go on feeding its region's airlocks, were it promoted now?
 *
 * A standby copies the primary's logical slots, one after the other and not at once. A slot that is
 * not there, or not for good yet, is gone with the promotion, and the airlock behind it has to be
 * filled anew. What a former primary has left on a standby stands in the way of that copying.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { subscriptionHome } from '../../policies/desired-state.ts';
import type { RegionId } from '../../regions/catalogue.ts';
import { DatabaseError, type Sql } from '../../regions/postgres.ts';
import type { Session } from '../operator.ts';

/** Whose feeds, and with whose rights: a superuser on the nodes and airlocks of the region. */
export type FeedSite = { session: Session; region: RegionId };

export type SlotReadiness =
  | { kind: 'ready' }
  /** Promoting it loses no write, but these airlocks would have to be filled anew. */
  | { kind: 'not_ready'; lacking: readonly LackingSlot[] }
  /** It does not say. */
  | { kind: 'unknown'; why: string };

export type LackingSlot = { slot: string; because: SlotObjection };
export type SlotObjection =
  | 'missing'
  /** It waits for the primary to reach a point from which it can be read; a promotion drops it. */
  | 'not_yet_kept'
  /** One of its own with the same name, from its time as a primary. Nothing keeps it in step. */
  | 'left_behind'
  | 'invalidated';

/** One question to one server of the region. */
export const LOOK_MS_MAX = 2_000;
const LOOK_EVERY_MS = 50;
/** The standby looks every 200 ms to 30 s, depending on how much it found the last time. */
const READY_MS_MAX = 40_000;

type SlotRow = { name: string; synced: boolean; temporary: boolean; lost: boolean };

/** Asked of the standby itself, whatever its primary does. Never rejects. */
export async function slotsReady(site: FeedSite, standby: string): Promise<SlotReadiness> {
  return valued(async () => {
    const rows = await site.session.node(standby).run(
      (sql) => sql<SlotRow[]>`
        select slot_name::text as name, synced, temporary,
          invalidation_reason is not null or wal_status = 'lost' as lost
        from pg_replication_slots where slot_type = 'logical'`,
      { timeoutMs: LOOK_MS_MAX },
    );
    const found = new Map(rows.map((row) => [row.name, row]));
    const lacking = slotsOf(site).flatMap((slot): LackingSlot[] => {
      const because = objectionTo(found.get(slot));
      return because === undefined ? [] : [{ slot, because }];
    });
    return lacking.length === 0 ? { kind: 'ready' } : { kind: 'not_ready', lacking };
  });
}

/**
 * Waits until it is so. A new standby's slots wait for a record that a quiet primary writes every
 * 15 s, so the primary is asked for one.
 */
export async function awaitSlotsReady(
  site: FeedSite,
  { primary, standby, limitMs = READY_MS_MAX }: Standby & { limitMs?: number },
  signal?: AbortSignal,
): Promise<SlotReadiness> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const ready = await slotsReady(site, standby);
    if (ready.kind === 'ready' || performance.now() >= deadline) return ready;
    const waits = ready.kind === 'not_ready' && ready.lacking.some(isOnItsWay);
    if (waits) await quietly(site, primary, (sql) => sql`select pg_log_standby_snapshot()`);
    await pause(LOOK_EVERY_MS * (waits ? 4 : 1), undefined, signal === undefined ? {} : { signal });
  }
}

export type Standby = { primary: string; standby: string };
export type Prepared = { kind: 'done' } | { kind: 'unknown'; why: string };

/**
 * Before a promotion: whoever it named when it was a primary itself confirms nothing now, and
 * a slot that nobody reads would hold the airlocks back for ever. On a standby these settings do
 * nothing, so they can be changed at any time before.
 */
export async function nameNobody(site: FeedSite, standby: string): Promise<Prepared> {
  return valued(async () => {
    await site.session.node(standby).run(
      async (sql) => {
        await sql`alter system set synchronous_standby_names = ''`;
        await sql`alter system set synchronized_standby_slots = ''`;
        await sql`select pg_reload_conf()`;
      },
      { timeoutMs: LOOK_MS_MAX },
    );
    return { kind: 'done' };
  });
}

/**
 * After a former primary has become a standby: the slots that it kept as one. Its own logical slots
 * stop it from copying those of the new primary, and a physical one holds log back, and through
 * the standby's feedback also every dead row of the region. Answers with what it removed.
 */
export async function dropLeftSlots(
  site: FeedSite,
  standby: string,
): Promise<{ kind: 'done'; dropped: readonly string[] } | { kind: 'unknown'; why: string }> {
  const { session, region } = site;
  const nodes = session.operator.catalogue.regions.get(region)?.nodes ?? [];
  const names = [...slotsOf(site), ...nodes.map(({ name }) => session.operator.slotOfNode(name))];
  return valued(async () => {
    const rows = await session.node(standby).run(
      (sql) => sql<{ name: string }[]>`
        select slot_name::text as name, pg_drop_replication_slot(slot_name)
        from pg_replication_slots
        where pg_is_in_recovery() and slot_name = any (${names})
          and not synced and not temporary and not active`,
      { timeoutMs: LOOK_MS_MAX },
    );
    return { kind: 'done', dropped: rows.map(({ name }) => name) };
  });
}

/** The slots that the region's airlocks read, on whatever node is its primary. */
export function slotsOf({ session, region }: FeedSite): string[] {
  const airlocks = session.operator.catalogue.regions.get(region)?.airlocks ?? [];
  return airlocks.map(({ name }) => subscriptionHome(name));
}

function objectionTo(row: SlotRow | undefined): SlotObjection | undefined {
  if (row === undefined) return 'missing';
  if (!row.synced) return 'left_behind';
  if (row.lost) return 'invalidated';
  return row.temporary ? 'not_yet_kept' : undefined;
}

function isOnItsWay({ because }: LackingSlot): boolean {
  return because === 'missing' || because === 'not_yet_kept';
}

async function quietly(
  { session }: FeedSite,
  node: string,
  use: (sql: Sql) => Promise<unknown>,
): Promise<void> {
  await valued(async () => {
    await session.node(node).run(use, { timeoutMs: LOOK_MS_MAX });
    return { kind: 'done' };
  });
}

/** What a server does not answer is a value here. */
export async function valued<T>(
  use: () => Promise<T>,
): Promise<T | { kind: 'unknown'; why: string }> {
  try {
    return await use();
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    return { kind: 'unknown', why: error.message };
  }
}
