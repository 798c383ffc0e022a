/**
 * Are the bytes of what was withdrawn off the disks?
 *
 * A dropped table's files go with the next checkpoint, but the log still holds its rows, and so do
 * old log files that wait to be used again. Here the log is turned over until every file that was
 * there is gone, on every server of the cluster. What cannot be proven is said, not assumed: a slot
 * or a replica that is away holds the log back, and the next apply asks again.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { ClusterName } from '../policies/cluster-state.ts';
import { DatabaseError, type Sql, verbatim } from '../regions/postgres.ts';
import type { Session } from './operator.ts';

/** Readers confirm every second, and a replica looks at its slots every ten. */
const TURN_OVER_MS_MAX = 40_000;
const LOOK_EVERY_MS = 200;
const STATEMENT_MS_MAX = 60_000;

/** Notes the time when it is proven; answers with what is still in the way otherwise. */
export async function eraseBytes(
  session: Session,
  cluster: ClusterName,
  what: readonly string[],
): Promise<string | undefined> {
  const remains = await turnOver(session, cluster);
  await session.transaction(session.regionOf(cluster), async (sql) => {
    for (const one of what) {
      await sql`
        update domicile.withdrawals
        set remains = ${remains ?? null},
          off_disk_since = case when ${remains === undefined} then clock_timestamp() end
        where what = ${one} and cluster = ${cluster} and off_disk_since is null`;
    }
  });
  return remains;
}

async function turnOver(session: Session, cluster: ClusterName): Promise<string | undefined> {
  const primary = (await session.nodeOf(cluster)).name;
  const replicas = session.operator.catalogue.regions.has(cluster)
    ? await session.replicasOf(cluster)
    : [];
  const servers = [primary, ...replicas];
  const ask = <T>(server: string, use: (sql: Sql) => Promise<T>) =>
    session.node(server).run(use, { timeoutMs: STATEMENT_MS_MAX });
  // Statistics hold the commonest values of a column, and leave them in free space when they go.
  await ask(primary, (sql) => sql(verbatim('vacuum (full) pg_catalog.pg_statistic')));
  try {
    for (const server of servers) {
      await ask(server, async (sql) => {
        // A log file that is used again under another name still has the old rows in it.
        await sql(verbatim('alter system set wal_recycle = off'));
        await sql`select pg_reload_conf()`;
      });
    }
    const last = new Map<string, string>();
    for (const server of servers) last.set(server, (await ask(server, logFiles)).newest);
    const furthest = [...last.values()].sort().at(-1) ?? '';
    const deadline = performance.now() + TURN_OVER_MS_MAX;
    for (;;) {
      await ask(primary, (sql) => beginNewFile(sql, furthest));
      const behind: string[] = [];
      for (const server of servers) {
        // On a replica this is a restart point, as far as the primary's checkpoints have come.
        await ask(server, (sql) => sql(verbatim('checkpoint')));
        const { oldest } = await ask(server, logFiles);
        if (oldest <= (last.get(server) ?? '')) behind.push(server);
      }
      if (behind.length === 0) return undefined;
      if (performance.now() > deadline) return await heldBack(behind, ask);
      await pause(LOOK_EVERY_MS);
    }
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    return `a server of ${cluster} did not answer: ${error.message}`;
  } finally {
    for (const server of servers) {
      await session.onReplica(server, async (sql) => {
        await sql(verbatim('alter system reset wal_recycle'));
        await sql`select pg_reload_conf()`;
      });
    }
  }
}

/** Until the file that is written to comes after all that were there. */
async function beginNewFile(sql: Sql, furthest: string): Promise<void> {
  for (;;) {
    await sql`select pg_logical_emit_message(true, 'domicile', 'turn')`;
    const [row] = await sql<{ current: string }[]>`
      select substr(pg_walfile_name(pg_current_wal_insert_lsn()), 9) as current`;
    if ((row?.current ?? '') > furthest) return;
    await sql`select pg_switch_wal()`;
  }
}

/** Without the timeline, which says nothing about age: after a promotion the numbers go on. */
async function logFiles(sql: Sql): Promise<{ oldest: string; newest: string }> {
  const [row] = await sql<{ oldest: string; newest: string }[]>`
    select min(substr(name, 9)) as oldest, max(substr(name, 9)) as newest
    from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'`;
  return row ?? { oldest: '', newest: '' };
}

async function heldBack(
  servers: readonly string[],
  ask: <T>(server: string, use: (sql: Sql) => Promise<T>) => Promise<T>,
): Promise<string> {
  const words: string[] = [];
  for (const server of servers) {
    const slots = await ask(
      server,
      (sql) => sql<{ name: string }[]>`
        select slot_name::text as name from pg_replication_slots
        where restart_lsn is not null and wal_status <> 'lost' order by restart_lsn limit 1`,
    );
    const slot = slots[0] === undefined ? '' : `; slot ${slots[0].name} keeps the most of it`;
    words.push(`old log is still on ${server}${slot}`);
  }
  return words.join('; ');
}
