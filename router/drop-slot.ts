/** How is a replication slot dropped that somebody may still read from? */
import type { Sql } from '../regions/postgres.ts';

/**
 * Ends whoever holds it, and drops it when nobody does; true when it is gone. To be called until it
 * is: a reader takes a moment to end, and another one may come.
 */
export async function dropSlot(sql: Sql, slot: string): Promise<boolean> {
  const [found] = await sql<{ pid: number | null }[]>`
    select active_pid as pid from pg_replication_slots where slot_name = ${slot}`;
  if (found === undefined) return true;
  if (found.pid !== null) {
    await sql`select pg_terminate_backend(${found.pid}::int)`;
    return false;
  }
  const dropped = await sql`
    select pg_drop_replication_slot(slot_name) from pg_replication_slots
    where slot_name = ${slot} and not active`;
  return dropped.length > 0;
}
