/**
 * Has the reader of a replication slot everything that was written before now?
 *
 * Asked by operators who must not go on before a peer has followed. The flush position, not the
 * insert position: that one can stand beyond the last record, and an idle reader never confirms it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { ClusterName } from '../policies/cluster-state.ts';
import { OperatorError, type Session } from './operator.ts';

/** A reader that is alive confirms within a second; a large transaction may take it longer. */
export const CONFIRM_MS_MAX = 60_000;
export const LOOK_EVERY_MS = 50;

/** @throws OperatorError when it has not in time. */
export async function awaitSlot(
  session: Session,
  cluster: ClusterName,
  slot: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const target = await session.on(cluster, async (sql) => {
    const [row] = await sql<{ at: string }[]>`select pg_current_wal_flush_lsn()::text as at`;
    return row?.at ?? '';
  });
  const why = `the reader of slot ${slot} of ${cluster} does not confirm what was sent. Is it running? If its log says that a target relation does not exist, it was sent what it has no table for: then "mirrors refill" lets it begin anew`;
  await untilTrue(why, CONFIRM_MS_MAX, signal, () =>
    session.on(cluster, async (sql) => {
      const [found] = await sql<{ there: boolean }[]>`
        select confirmed_flush_lsn >= ${target}::pg_lsn as there
        from pg_replication_slots where slot_name = ${slot}`;
      return found === undefined || found.there;
    }),
  );
}

/** @throws OperatorError `why` when `is` has not become true in `limitMs`. */
export async function untilTrue(
  why: string,
  limitMs: number,
  signal: AbortSignal | undefined,
  is: () => Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await is())) {
    if (performance.now() > deadline) throw new OperatorError(`${why} (after ${limitMs} ms)`);
    await pause(LOOK_EVERY_MS, undefined, signal === undefined ? {} : { signal });
  }
}
