/**
 * What do all tables of a database hold, in few enough words to compare two of them?
 *
 * A count and a hash of the text of all rows, in no order. The live side is read at a point that
 * the log knows by name: all tables are locked against writes for a moment, so every write that
 * anybody was told of is over and nobody is in the middle of one; the point is written and the
 * snapshot taken; then the writers go on, and the counting begins.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { type Lsn, lsnFromPostgres } from '../../regions/position.ts';
import {
  DatabaseError,
  type LeasePool,
  type Part,
  type Sql,
  verbatim,
} from '../../regions/postgres.ts';

export type TableContent = { table: string; rows: string; hash: string };
export type SequenceContent = { sequence: string; value: string };
export type Contents = { tables: readonly TableContent[]; sequences: readonly SequenceContent[] };

/** Writers stand for no longer than this while the point is made. */
const LOCK_MS_MAX = 400;
const ATTEMPTS_MAX = 50;
const BETWEEN_MS = 100;
const CONTENT_MS_MAX = 3_600_000;

export type Marked<T> = {
  at: Lsn;
  /** As they stood just before the point: no snapshot holds them. */
  sequences: readonly SequenceContent[];
  /** How long writers stood, milliseconds. */
  lockedMs: number;
  value: T;
};

/**
 * Runs `look` on everything as it was at a restore point of this name. `marked` hears of the point
 * as soon as it is there. Undefined when writers did not make room for it.
 */
export async function atRestorePoint<T>(
  pool: LeasePool,
  name: string,
  now: () => number,
  marked: (at: Lsn) => void,
  look: (sql: Sql) => Promise<T>,
): Promise<Marked<T> | undefined> {
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    // Asked outside: the first query of the transaction would be its snapshot.
    const names = await pool.run(tableNames, { timeoutMs: CONTENT_MS_MAX });
    let found: Marked<T> | undefined;
    const outcome = await pool.transaction(
      async (sql, part) => {
        await settle(sql);
        const point = await markPoint(part, names, name, now);
        // A table that was made meanwhile was not locked.
        if (point === undefined || !sameNames(names, await tableNames(sql))) return;
        marked(point.at);
        found = { ...point, value: await look(sql) };
      },
      { timeoutMs: CONTENT_MS_MAX, isolation: 'repeatable read' },
    );
    if (outcome.kind === 'applied' && found !== undefined) return found;
    if (outcome.kind !== 'applied') {
      const failure = outcome.kind === 'not_applied' ? outcome.failure : undefined;
      const busy = failure?.kind === 'rejected' && BUSY.has(failure.sqlstate);
      if (!busy) throw new Error(`the point could not be marked: ${JSON.stringify(outcome)}`);
    }
    await pause(BETWEEN_MS);
  }
  return undefined;
}

/** Canceled by a timeout, no lock, deadlock, a table that has just gone. */
const BUSY: ReadonlySet<string> = new Set(['57014', '55P03', '40P01', '42P01']);

type Point = Omit<Marked<unknown>, 'value'>;
type Name = { table: string; quoted: string };

class Unlock extends Error {}

async function markPoint(
  part: Part,
  names: readonly Name[],
  point: string,
  now: () => number,
): Promise<Point | undefined> {
  let marked: Point | undefined;
  try {
    // What a part has locked is given free when it is taken back; the snapshot stays.
    await part(async (sql) => {
      await sql(verbatim(`set local statement_timeout = ${LOCK_MS_MAX}`));
      // We are the one to step aside, before anybody else notices a deadlock.
      await sql(verbatim('set local deadlock_timeout = 10'));
      const startedMs = now();
      // Nothing before this takes a snapshot, so the first look is at what holds still.
      await sql(
        verbatim(`lock table ${names.map(({ quoted }) => quoted).join(', ')} in share mode`),
      );
      const sequences = await sequencesIn(sql);
      const [row] = await sql<{ at: string }[]>`
        select pg_create_restore_point(${point})::text as at`;
      marked = { at: lsnFromPostgres(row?.at ?? ''), sequences, lockedMs: now() - startedMs };
      throw new Unlock();
    });
  } catch (error) {
    if (!(error instanceof Unlock)) throw error;
  }
  return marked;
}

/** All whose rows a backup brings back; unlogged ones come back empty. */
function tableNames(sql: Sql): Promise<Name[]> {
  return sql<Name[]>`
    select n.nspname || '.' || c.relname as table, format('%I.%I', n.nspname, c.relname) as quoted
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and c.relpersistence = 'p'
      and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
    order by 1`;
}

function sameNames(some: readonly Name[], others: readonly Name[]): boolean {
  const text = (names: readonly Name[]) => names.map(({ quoted }) => quoted).join();
  return text(some) === text(others);
}

/** Text of values must not depend on who asks. */
async function settle(sql: Sql): Promise<void> {
  for (const setting of [
    `timezone = 'UTC'`,
    `datestyle = 'ISO, YMD'`,
    `intervalstyle = 'postgres'`,
    `bytea_output = 'hex'`,
    'extra_float_digits = 1',
    'search_path = app, mirror',
    // Of this kind one worker is enough; the others belong to those who are served.
    'max_parallel_workers_per_gather = 0',
  ]) {
    await sql(verbatim(`set local ${setting}`));
  }
}

/** In a transaction, so that what is set for it is gone with it. */
export async function contentsIn(pool: LeasePool): Promise<Contents> {
  const outcome = await pool.transaction(
    async (sql) => {
      await settle(sql);
      return { tables: await readTables(sql), sequences: await sequencesIn(sql) };
    },
    { timeoutMs: CONTENT_MS_MAX, isolation: 'repeatable read' },
  );
  if (outcome.kind === 'applied') return outcome.value;
  if (outcome.kind === 'not_applied') throw new DatabaseError(outcome.failure);
  throw new Error(`tables could not be read: ${outcome.kind}`);
}

/** `SEQ_LOG_VALS` of PostgreSQL, sequence.c. */
const LOGGED_AHEAD = 32n;

export async function readTables(sql: Sql): Promise<TableContent[]> {
  const names = await tableNames(sql);
  const tables: TableContent[] = [];
  for (const { table, quoted } of names) {
    const [row] = await sql<{ rows: string; hash: string }[]>(
      verbatim(`select count(*)::text as rows,
          coalesce(sum(('x' || substr(h, 1, 15))::bit(60)::bigint::numeric), 0)::text || '-' ||
          coalesce(sum(('x' || substr(h, 16, 15))::bit(60)::bigint::numeric), 0)::text as hash
        from (select encode(sha256(convert_to(t::text, 'UTF8')), 'hex') as h from only ${quoted} t) r`),
    );
    tables.push({ table, rows: row?.rows ?? '0', hash: row?.hash ?? '' });
  }
  return tables;
}

function sequencesIn(sql: Sql): Promise<SequenceContent[]> {
  return sql<SequenceContent[]>`
    select schemaname || '.' || sequencename as sequence, coalesce(last_value, 0)::text as value
    from pg_catalog.pg_sequences order by 1`;
}

/** In words, what the second one has differently. */
export function differencesOf(live: Contents, restored: Contents): string[] {
  const words: string[] = [];
  const there = new Map(restored.tables.map((one) => [one.table, one]));
  for (const { table, rows, hash } of live.tables) {
    const other = there.get(table);
    there.delete(table);
    if (other === undefined) words.push(`${table} is not there`);
    else if (other.rows !== rows) words.push(`${table} has ${other.rows} rows instead of ${rows}`);
    else if (other.hash !== hash) words.push(`${table} has as many rows, but not the same ones`);
  }
  for (const table of there.keys()) words.push(`${table} is there and should not be`);
  const values = new Map(restored.sequences.map((one) => [one.sequence, one.value]));
  for (const { sequence, value } of live.sequences) {
    const other = values.get(sequence);
    if (other === undefined) words.push(`sequence ${sequence} is not there`);
    // The log runs ahead of a sequence, and a server that was promoted or has crashed shows what the
    // log had: so many numbers more than were given out. Further behind, one would come twice.
    else if (BigInt(other) < BigInt(value) - LOGGED_AHEAD) {
      words.push(`sequence ${sequence} is at ${other}, behind ${value}`);
    }
  }
  return words;
}
