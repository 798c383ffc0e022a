/**
 * Can this region be restored from its backups, into what, how late and how fast?
 *
 * A point is marked in the log of the live primary, the newest backup is restored up to exactly
 * that point into an isolated server, and the two are compared. Nothing is believed that can be
 * measured: how far the archive is behind, how long it takes until reads are answered. Everything
 * that was made is removed, whatever came of it.
 */
import type { RegionId } from '../../regions/catalogue.ts';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import type { Binaries } from '../../regions/local/platform-binaries.ts';
import type { ServerProcess } from '../../regions/local/server-process.ts';
import { waitUntil } from '../../regions/local/wait-until.ts';
import { formatLsn, type Lsn, lsnFromPostgres } from '../../regions/position.ts';
import { type Endpoint, LeasePool, type Sql } from '../../regions/postgres.ts';
import { type ArchiveFolder, lastReceived } from './archive-folder.ts';
import { type Backup, listBackups } from './backups.ts';
import { startIsolated, takeSeat } from './isolated-instance.ts';
import { recoverySettings, restoreFiles, type Target } from './restore.ts';
import {
  atRestorePoint,
  type Contents,
  contentsIn,
  differencesOf,
  readTables,
} from './table-contents.ts';

/** An archive that lives is behind by milliseconds. */
const ARCHIVED_MS_MAX = 10_000;
const CONNECT_MS_MAX = 10_000;
const STATEMENT_MS_MAX = 600_000;

export type Instance = {
  pool: LeasePool;
  /** Superuser of it. */
  endpoint: Endpoint;
};

/** Something that must be true of the restored server. */
export type DrillCheck = {
  name: string;
  /** Asked of the live side, in the snapshot that the restored one must equal. */
  live?: (sql: Sql) => Promise<unknown>;
  run: (instance: Instance, live: unknown) => Promise<CheckOutcome>;
};

export type CheckOutcome = {
  /** What is wrong, in sentences without personal data. */
  findings: readonly string[];
  /** How many things were looked at. */
  looked: number;
  /** Why it could not be done. */
  because?: string;
};

export type DrillOptions = {
  region: RegionId;
  folder: ArchiveFolder;
  place: string;
  binaries: Binaries;
  /** Superuser of the live primary, in the app's database. */
  primary: Endpoint;
  reader: string;
  checks: readonly DrillCheck[];
  /** The backup to restore; by default the newest one. */
  backup?: string;
  /** How long the archive may take until it has the point. */
  patienceMs?: number;
  wallClock: () => number;
  /** Monotonic milliseconds. */
  now: () => number;
  random: () => string;
  report: (step: string) => void;
  ending: AbortSignal;
};

export type DrillFinding = { check: string; words: string; file?: string };

export type DrillReport = {
  region: RegionId;
  at: string;
  verdict: 'restorable' | 'findings' | 'could-not-look';
  findings: readonly DrillFinding[];
  checks: readonly { name: string; looked: number; because?: string }[];
  backup: { id: string; from: string; to: string; timeline: number; bytes: number } | undefined;
  /** Where the restored server opened. */
  restoredTo: { lsn: string; point: string | undefined } | undefined;
  rpo: { bytes: number; ms: number } | undefined;
  /** From nothing to an answered read, and its parts. */
  rto: { ms: number; filesMs: number; recoveryMs: number } | undefined;
  tables: number;
  rows: number;
  /** How long writers of the live side stood while the point was marked. */
  lockedMs: number | undefined;
};

export const DRILL_EXIT = { restorable: 0, findings: 1, 'could-not-look': 2 } as const;

export async function drill(options: DrillOptions): Promise<DrillReport> {
  const run = new Drill(options);
  const { region, place, folder, report } = options;
  const seat = await takeSeat({ place, region, user: folder.user, report });
  try {
    await run.run(seat);
  } catch (error) {
    if (!(error instanceof GiveUp)) throw error;
    run.couldNot(error.check, error.message);
  } finally {
    await run.close();
    await seat.remove();
  }
  return run.report();
}

class GiveUp extends Error {
  readonly check: string;

  constructor(check: string, because: string) {
    super(because);
    this.check = check;
  }
}

type Seat = Awaited<ReturnType<typeof takeSeat>>;
type Live = {
  point: { name: string; at: Lsn } | undefined;
  contents: Contents | undefined;
  prepared: ReadonlyMap<string, unknown>;
};

class Drill {
  readonly #options: DrillOptions;
  readonly #at: string;
  readonly #findings: DrillFinding[] = [];
  readonly #checks: { name: string; looked: number; because?: string }[] = [];
  readonly #pools: LeasePool[] = [];
  #server: ServerProcess | undefined;
  #backup: Backup | undefined;
  #rpo: DrillReport['rpo'];
  #rto: DrillReport['rto'];
  #restoredTo: DrillReport['restoredTo'];
  #lockedMs: number | undefined;
  #tables = 0;
  #rows = 0;

  constructor(options: DrillOptions) {
    this.#options = options;
    this.#at = new Date(options.wallClock()).toISOString();
  }

  async run(seat: Seat): Promise<void> {
    const { report } = this.#options;
    const live = await this.#live();
    this.#continue();
    const backup = await this.#choose();
    if (backup === undefined) return;
    this.#backup = backup;
    report(`restoring ${backup.id}, and the log from ${backup.from} on`);
    const instance = await this.#restore(seat, backup, live);
    if (instance === undefined) return;
    this.#continue();
    await this.#compare(instance, live);
    await this.#isolation(instance);
    for (const { name, run } of this.#options.checks) {
      this.#continue();
      const outcome = await run(instance, live.prepared.get(name));
      this.#note(name, outcome);
    }
  }

  report(): DrillReport {
    const blind = this.#checks.some(({ because }) => because !== undefined);
    const backup = this.#backup;
    return {
      region: this.#options.region,
      at: this.#at,
      verdict: this.#findings.length > 0 ? 'findings' : blind ? 'could-not-look' : 'restorable',
      findings: this.#findings,
      checks: this.#checks,
      backup: backup && {
        id: backup.id,
        from: backup.from,
        to: backup.to,
        timeline: backup.timeline,
        bytes: backup.bytes,
      },
      restoredTo: this.#restoredTo,
      rpo: this.#rpo,
      rto: this.#rto,
      tables: this.#tables,
      rows: this.#rows,
      lockedMs: this.#lockedMs,
    };
  }

  couldNot(name: string, because: string): void {
    this.#checks.push({ name, looked: 0, because });
  }

  async close(): Promise<void> {
    await Promise.all(this.#pools.map((pool) => pool.close({ timeoutMs: 1_000 })));
    await this.#server?.stop();
  }

  /** Marks the point, sees how far the archive is behind it, and reads what must come back. */
  async #live(): Promise<Live> {
    const { primary, folder, now, wallClock, random, checks, report } = this.#options;
    const pool = this.#pool(primary);
    const name = `domicile-drill-${random()}`;
    // The archive first: what it gets between the two looks is not counted in its favour.
    const before = await lastReceived(folder);
    const [row] = await pool.run(
      (sql) => sql<{ lsn: string }[]>`select pg_current_wal_flush_lsn()::text as lsn`,
      { timeoutMs: CONNECT_MS_MAX },
    );
    const flushed = lsnFromPostgres(row?.lsn ?? '');
    const behind = before === undefined || flushed > before.flushed;
    const bytes = behind ? Number(flushed - (before?.flushed ?? 0n)) : 0;

    let arrival: Promise<number | undefined> | undefined;
    const marked = await atRestorePoint(
      pool,
      name,
      now,
      (at) => {
        const markedMs = now();
        arrival = waitUntil(
          async () => ((await lastReceived(folder))?.flushed ?? 0n) >= at || undefined,
          { timeoutMs: this.#options.patienceMs ?? ARCHIVED_MS_MAX, everyMs: 2 },
        ).then((there) => (there === undefined ? undefined : now() - markedMs));
        // It is awaited below; until then somebody has to have heard of its failure.
        arrival.catch(() => {});
      },
      async (sql) => {
        const tables = await readTables(sql);
        const prepared = new Map<string, unknown>();
        for (const { name: check, live } of checks) {
          if (live !== undefined) prepared.set(check, await live(sql));
        }
        return { tables, prepared };
      },
    );
    if (marked === undefined) {
      throw new GiveUp(
        'restore point',
        'the tables of the live primary could not be locked against writes for a moment: somebody writes for longer than that. Nothing was restored; try again later',
      );
    }
    const { at, lockedMs, sequences } = marked;
    const { tables, prepared } = marked.value;
    const contents: Contents = { tables, sequences };
    this.#lockedMs = lockedMs;
    this.#tables = contents.tables.length;
    this.#rows = contents.tables.reduce((sum, { rows }) => sum + Number(rows), 0);
    report(
      `the live primary is at ${formatLsn(at)}; ${contents.tables.length} tables were read there`,
    );
    const archivedAfterMs = await arrival;
    if (archivedAfterMs !== undefined) {
      this.#rpo = { bytes, ms: Math.round(archivedAfterMs) };
      return { point: { name, at }, contents, prepared };
    }
    const last = await lastReceived(folder);
    const ms = last === undefined ? 0 : wallClock() - last.atMs;
    this.#rpo = { bytes: Number(at - (last?.flushed ?? 0n)), ms };
    this.#find(
      'archive',
      last === undefined
        ? 'nothing has been archived'
        : `the archive ends at ${formatLsn(last.flushed)}, and the primary is at ${formatLsn(at)}: what was written since ${new Date(last.atMs).toISOString()} would be lost. Does its archiver run?`,
    );
    return { point: undefined, contents: undefined, prepared };
  }

  async #choose(): Promise<Backup | undefined> {
    const { folder, backup: named, region } = this.#options;
    const backups = await listBackups(folder);
    const found = named === undefined ? backups.at(-1) : backups.find(({ id }) => id === named);
    if (found === undefined) {
      this.#find(
        'backup',
        named === undefined ? `${region} has no base backup` : `${region} has no backup ${named}`,
      );
      return undefined;
    }
    if (!found.usable) this.#find('backup', `backup ${found.id}: ${found.because}`);
    return found.usable ? found : undefined;
  }

  async #restore(seat: Seat, backup: Backup, live: Live): Promise<Instance | undefined> {
    const { folder, binaries, primary, now, reader, region } = this.#options;
    const pool = this.#pool(primary);
    const [setting] = await pool.run(
      (sql) => sql<{ durable: boolean }[]>`select current_setting('fsync') = 'on' as durable`,
      { timeoutMs: CONNECT_MS_MAX },
    );
    const durable = setting?.durable === true;
    const startedMs = now();
    const files = await restoreFiles({ folder, backup, into: seat.data, durable });
    if (files.kind === 'damaged') {
      for (const { file, words } of files.damage) {
        this.#findings.push({ check: 'backup', words: `${file}: ${words}`, file });
      }
      return undefined;
    }
    const filesMs = now() - startedMs;
    this.#continue();
    const target: Target =
      live.point === undefined ? { kind: 'end' } : { kind: 'name', name: live.point.name };
    try {
      this.#server = await startIsolated({
        seat,
        folder,
        binaries,
        name: `${region}-drill`,
        durable,
        reader,
        recovery: recoverySettings(folder, files.timeline, target),
      });
    } catch (error) {
      if (!(error instanceof CannotStart)) throw error;
      // Its log goes with it, so what it said is said here.
      const words = error.message.replace(/Its log is .*$/s, '').trim();
      this.#find(
        'recovery',
        `recovery did not reach its point, although every whole segment is what was received; the last one, ${formatLsn(files.reaches)}, may be damaged. ${words}`,
      );
      return undefined;
    }
    const endpoint: Endpoint = {
      ...primary,
      name: `${region}-drill`,
      host: '127.0.0.1',
      port: seat.port,
    };
    const instance: Instance = { pool: this.#pool(endpoint), endpoint };
    const [opened] = await instance.pool.run(
      (sql) => sql<{ tables: string; lsn: string }[]>`
        select count(*)::text as tables, pg_current_wal_lsn()::text as lsn from pg_class`,
      { timeoutMs: STATEMENT_MS_MAX },
    );
    const ms = now() - startedMs;
    this.#rto = {
      ms: Math.round(ms),
      filesMs: Math.round(filesMs),
      recoveryMs: Math.round(ms - filesMs),
    };
    this.#restoredTo = { lsn: opened?.lsn ?? '', point: live.point?.name };
    return instance;
  }

  async #compare({ pool }: Instance, live: Live): Promise<void> {
    const name = 'contents of all tables against the live primary';
    if (live.contents === undefined) {
      this.couldNot(name, 'the archive does not lead to the point that the live side was read at');
      return;
    }
    const restored = await contentsIn(pool);
    const findings = differencesOf(live.contents, restored);
    this.#note(name, { findings, looked: live.contents.tables.length });
  }

  /** That nothing but ourselves is connected, in either direction. */
  async #isolation({ pool }: Instance): Promise<void> {
    const rows = await pool.run(
      (sql) => sql<{ what: string }[]>`
        select backend_type as what from pg_stat_activity
        where backend_type ~ '(walsender|walreceiver|archiver|logical|slotsync)'
        union all
        select 'slot ' || slot_name from pg_replication_slots
        union all
        select name || ' = ' || setting from pg_settings
        where (name, setting) in (('max_wal_senders', '0'), ('archive_mode', 'off'),
          ('max_logical_replication_workers', '0')) is false
          and name in ('max_wal_senders', 'archive_mode', 'max_logical_replication_workers')`,
      { timeoutMs: STATEMENT_MS_MAX },
    );
    const findings = rows.map(({ what }) => `the restored server is not isolated: ${what}`);
    this.#note('isolation', { findings, looked: 3 });
  }

  #note(name: string, { findings, looked, because }: CheckOutcome): void {
    this.#checks.push({ name, looked, ...(because !== undefined && { because }) });
    for (const words of findings) this.#find(name, words);
  }

  #find(check: string, words: string): void {
    this.#findings.push({ check, words });
  }

  #continue(): void {
    if (this.#options.ending.aborted) throw new GiveUp('drill', 'it was stopped');
  }

  #pool(endpoint: Endpoint): LeasePool {
    const pool = new LeasePool({
      endpoint,
      connectionsMax: 2,
      waitersMax: 16,
      connectTimeoutMs: CONNECT_MS_MAX,
      settings: { application_name: 'domicile drill' },
    });
    this.#pools.push(pool);
    return pool;
  }
}
