/**
 * Are the bytes of what was withdrawn off the disks?
 *
 * A dropped table's files go with the next checkpoint, but the log still holds its rows, and so do
 * old log files that wait to be used again. Here the log is turned over until every file that was
 * there is gone, on every server of the cluster. What cannot be proven is said, not assumed: a slot
 * or a replica that is away holds the log back, and the next apply asks again.
 */
import type { ClusterName } from '../policies/cluster-state.ts';
import { type Sql, verbatim } from '../regions/postgres.ts';
import { OperatorError, type Session } from './operator.ts';

/** Each turn begins a new log file; some more than the few files that a server keeps ready. */
const TURNS_MAX = 40;
const TURN_MS_MAX = 60_000;

/** Notes the time when it is proven; answers with what is still in the way otherwise. */
export async function eraseBytes(
  session: Session,
  cluster: ClusterName,
  what: readonly string[],
): Promise<string | undefined> {
  const region = session.regionOf(cluster);
  const remains = await turnOver(session, cluster);
  await session.transaction(region, async (sql) => {
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
  const primary = await session.nodeOf(cluster);
  const region = session.operator.catalogue.regions.get(cluster);
  const replicas = (region?.nodes ?? []).filter(({ name }) => name !== primary.name);
  const servers = [primary, ...replicas].map(({ name }) => name);
  const ask = <T>(server: string, use: (sql: Sql) => Promise<T>) =>
    session.node(server).run(use, { timeoutMs: TURN_MS_MAX });
  // Statistics hold the commonest values of a column; a full pass leaves no free space behind.
  await ask(primary.name, (sql) => sql(verbatim('vacuum (full) pg_catalog.pg_statistic')));
  for (const server of servers) {
    await ask(server, async (sql) => {
      await sql(verbatim('alter system set wal_recycle = off'));
      await sql`select pg_reload_conf()`;
    });
  }
  try {
    const last = new Map<string, string>();
    for (const server of servers) last.set(server, await ask(server, newestFile));
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      await ask(primary.name, async (sql) => {
        await sql`select pg_logical_emit_message(true, 'domicile', 'turn')`;
        await sql`select pg_switch_wal()`;
        await sql(verbatim('checkpoint'));
      });
      const behind: string[] = [];
      for (const server of servers) {
        if (server !== primary.name) await ask(server, (sql) => sql(verbatim('checkpoint')));
        const oldest = await ask(server, oldestFile);
        if (oldest <= (last.get(server) ?? '')) behind.push(server);
      }
      if (behind.length === 0) return undefined;
      const held = await ask(primary.name, heldBack);
      if (turn > 3 && held.length > 0) {
        return `the log of ${behind.join(', ')} cannot be turned over while slot ${held.join(', ')} holds it`;
      }
    }
    return `the log of ${servers.join(', ')} has not turned over within ${TURNS_MAX} turns`;
  } finally {
    for (const server of servers) {
      await ask(server, async (sql) => {
        await sql(verbatim('alter system reset wal_recycle'));
        await sql`select pg_reload_conf()`;
      });
    }
  }
}

/** Names of log files grow with their content's age reversed; those of one timeline compare as text. */
async function newestFile(sql: Sql): Promise<string> {
  return fileName(
    await sql<{ name: string | null }[]>`
      select max(substr(name, 9)) as name from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'`,
  );
}

async function oldestFile(sql: Sql): Promise<string> {
  return fileName(
    await sql<{ name: string | null }[]>`
      select min(substr(name, 9)) as name from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$'`,
  );
}

function fileName([row]: readonly { name: string | null }[]): string {
  if (row?.name == null) throw new OperatorError('a server has no log files, which cannot be');
  return row.name;
}

/** Slots that keep log older than the last few files. */
async function heldBack(sql: Sql): Promise<string[]> {
  const rows = await sql<{ name: string }[]>`
    select slot_name::text as name from pg_replication_slots
    where restart_lsn < pg_current_wal_lsn() - 64 * 1024 * 1024::numeric and wal_status <> 'lost'`;
  return rows.map(({ name }) => name);
}
