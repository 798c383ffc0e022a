/**
 * What does a superuser do to a local cluster so that the rest of the world can use it?
 *
 * Roles, the app's database, slots, and who must confirm commits. Every function looks first and
 * changes only what is missing, so all of them can be repeated.
 */
import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { slotName } from '../catalogue.ts';
import { type LeasePool, type Sql, verbatim } from '../postgres.ts';
import { CannotStart } from './cannot-start.ts';
import { STANDBY_ROLE, synchronousNames } from './postgres-settings.ts';
import { waitUntil } from './wait-until.ts';

/** One administrative statement; each is short, a checkpoint under load is the longest. */
export const STATEMENT_LIMIT_MS = 30_000;
/** From the start of a replica to streaming; it retries every half second. */
const STREAMING_LIMIT_MS = 20_000;
/** Walsenders reread the configuration at their next turn. */
const RELOAD_LIMIT_MS = 5_000;
const LOOK_EVERY_MS = 20;

const limit = { timeoutMs: STATEMENT_LIMIT_MS };

export async function ensureDatabase(pool: LeasePool, database: string): Promise<void> {
  await pool.run(async (sql) => {
    const found = await sql`select from pg_database where datname = ${database}`;
    if (found.length === 0) await sql(verbatim(`create database ${identifier(database)}`));
  }, limit);
}

/** The role that replicas stream as; the server receives a verifier, never the password. */
export async function ensureStandbyRole(pool: LeasePool, password: string): Promise<void> {
  await pool.run(async (sql) => {
    const found = await sql`select from pg_roles where rolname = ${STANDBY_ROLE}`;
    if (found.length > 0) return;
    const verifier = scramVerifier(password, randomBytes(16));
    await sql(verbatim(`create role ${STANDBY_ROLE} login replication password '${verifier}'`));
  }, limit);
}

/** Whether a replica that was away can still fetch what it missed. */
export async function slotIsUsable(pool: LeasePool, replica: string): Promise<boolean> {
  const rows = await pool.run(
    (sql) => sql`
      select from pg_replication_slots
      where slot_name = ${slotName(replica)} and wal_status is distinct from 'lost'`,
    limit,
  );
  return rows.length > 0;
}

/** A slot that keeps the log from this moment on, for a copy that is about to be taken. */
export async function renewSlot(pool: LeasePool, replica: string): Promise<void> {
  const slot = slotName(replica);
  const renewed = await waitUntil(
    () =>
      pool.run(async (sql) => {
        const [old] = await sql`
          select active_pid from pg_replication_slots where slot_name = ${slot}`;
        if (old?.active_pid != null) {
          // The walsender of the server that was just ended has not noticed yet.
          await sql`select pg_terminate_backend(${old.active_pid}::int)`;
          return undefined;
        }
        if (old !== undefined) await sql`select pg_drop_replication_slot(${slot})`;
        await sql`select pg_create_physical_replication_slot(${slot}, true)`;
        return true;
      }, limit),
    { timeoutMs: STATEMENT_LIMIT_MS, everyMs: LOOK_EVERY_MS },
  );
  if (renewed === undefined) throw new CannotStart(`Slot ${slot} stays in use by somebody else`);
}

/** Holds the cluster in backup mode while `copy` runs; resolves with the label for the copy. */
export async function inBackupMode(
  pool: LeasePool,
  copy: () => Promise<void>,
  timeoutMs: number,
): Promise<string> {
  return await pool.run(
    async (sql) => {
      await sql`select pg_backup_start('domicile', true)`;
      await copy();
      const [stopped] = await sql`select labelfile from pg_backup_stop(false)`;
      return String(stopped?.labelfile);
    },
    { timeoutMs },
  );
}

/** False when the replica does not stream within the limit. */
export async function replicaStreams(
  pool: LeasePool,
  replica: string,
  timeoutMs = STREAMING_LIMIT_MS,
): Promise<boolean> {
  const streams = await waitUntil(
    async () => {
      const rows = await pool.run(
        (sql) => sql`
          select from pg_stat_replication
          where application_name = ${replica} and state = 'streaming'`,
        limit,
      );
      return rows.length > 0 || undefined;
    },
    { timeoutMs, everyMs: LOOK_EVERY_MS },
  );
  return streams === true;
}

/** The primary's position after its last commit. */
export async function flushedPosition(pool: LeasePool): Promise<string> {
  const [now] = await pool.run((sql) => sql`select pg_current_wal_flush_lsn()::text as at`, limit);
  return String(now?.at);
}

/** Whether a replica shows everything up to a position, asked of itself: its primary hears late. */
export async function hasReplayed(replica: LeasePool, position: string): Promise<boolean> {
  const replayed = await waitUntil(
    async () => {
      const [now] = await replica.run(
        (sql) => sql`select pg_last_wal_replay_lsn() >= ${position}::pg_lsn as there`,
        limit,
      );
      return now?.there === true || undefined;
    },
    { timeoutMs: STREAMING_LIMIT_MS, everyMs: LOOK_EVERY_MS },
  );
  return replayed === true;
}

/**
 * From now on no commit is acknowledged before one of these replicas has it, and no logical
 * subscriber sees what they might lose. Resolves when the server acts on it, not before.
 */
export async function requireReplicas(pool: LeasePool, replicas: readonly string[]): Promise<void> {
  const names = synchronousNames(replicas);
  await pool.run((sql) => nameStandbys(sql, replicas), limit);
  const acts = await waitUntil(
    () =>
      pool.run(async (sql) => {
        const [now] = await sql`
          select current_setting('synchronous_standby_names') as names,
            (select count(*)::int from pg_stat_replication
             where sync_state in ('sync', 'quorum')) as confirming`;
        return (
          (now?.names === names && (replicas.length === 0 || now?.confirming > 0)) || undefined
        );
      }, limit),
    { timeoutMs: RELOAD_LIMIT_MS, everyMs: LOOK_EVERY_MS },
  );
  if (acts === undefined) throw new CannotStart(`Commits do not wait for ${names} as they should`);
}

/** Whom commits wait for, and logical subscribers too; the server's processes read it soon after. */
export async function nameStandbys(sql: Sql, standbys: readonly string[]): Promise<void> {
  const slots = standbys.map(slotName).join(', ');
  const names = synchronousNames(standbys);
  await sql(verbatim(`alter system set synchronous_standby_names = ${literal(names)}`));
  await sql(verbatim(`alter system set synchronized_standby_slots = ${literal(slots)}`));
  await sql`select pg_reload_conf()`;
}

/**
 * What PostgreSQL stores for a password under RFC 5802. Made here, because the text of a
 * statement may end up in more places than its writer thinks of.
 */
export function scramVerifier(password: string, salt: Buffer, iterations = 4_096): string {
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const hmac = (words: string) => createHmac('sha256', salted).update(words).digest();
  const storedKey = createHash('sha256').update(hmac('Client Key')).digest('base64');
  const serverKey = hmac('Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
