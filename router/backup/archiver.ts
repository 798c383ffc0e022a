/**
 * How does every byte of a region's log come to lie in the region's archive, whoever is primary?
 *
 * One loop: find the primary, go on where the archive ends, follow it from timeline to timeline. A
 * slot on the primary keeps what has not been confirmed, and a slot of the same name on each
 * replica is moved along behind, so that whoever is promoted has kept it too. What a slot may keep
 * is bounded by the server; a hole that comes of that is reported, and a new base backup is taken.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { NodeAddress, Region } from '../../regions/catalogue.ts';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import type { ProcessUser } from '../../regions/local/process-user.ts';
import { type LogEnd, receiveLog } from '../../regions/log-stream.ts';
import { formatLsn, type Lsn, lsnFromPostgres, parseHistory } from '../../regions/position.ts';
import {
  failureInWords,
  identifySystem,
  type ReplicationSession,
} from '../../regions/replication-client.ts';
import {
  type ArchiveFolder,
  archiveAt,
  claimArchive,
  keptLog,
  makeArchive,
  noteReceived,
  textOf,
  writeWhole,
} from './archive-folder.ts';
import { ARCHIVE_SLOT } from './archive-slot.ts';
import { listBackups, pruneArchive } from './backups.ts';
import { type Look, RegionNodes, type ReplicationLogin, rowsOf } from './region-nodes.ts';
import { beginning, whereToResume } from './resume.ts';
import { SegmentWriter } from './segment-writer.ts';
import { takeBackup } from './take-backup.ts';
import { historyName, type Line, segmentOf, startOf } from './wal-names.ts';

/** From a lost connection to the next look for a primary. */
const RETRY_MS = 200;
/** Looks for a later primary while one streams, and the moving of slots on replicas. */
const TEND_EVERY_MS = 2_000;
/** A base backup that could not be taken is tried again after this. */
const BACKUP_RETRY_MS = 60_000;

export type ArchiverOptions = {
  region: Region;
  path: string;
  user: ProcessUser | undefined;
  login: ReplicationLogin;
  /** Whether what is archived survives a crash of the machine. */
  durable: boolean;
  /** Base backups are taken when the last usable one is older; undefined: by command only. */
  backupEveryMs: number | undefined;
  /** Usable base backups that are kept. */
  keep: number;
  wallClock: () => number;
  report: (step: string) => void;
};

export type ArchiverState = {
  /** The node whose log is received now. */
  node: string | undefined;
  timeline: number | undefined;
  flushed: Lsn | undefined;
  /** Why nothing is received; undefined while something is. */
  because: string | undefined;
};

export type Archiver = {
  state(): ArchiverState;
  /** Ends with everything durable that has come. Call it after the servers were stopped, if they are. */
  stop(): Promise<void>;
};

export async function startArchiver(options: ArchiverOptions): Promise<Archiver> {
  const folder = archiveAt(options.path, options.user);
  await makeArchive(folder);
  const loop = new ArchiveLoop(options, folder);
  const running = loop.run();
  // Whoever stops it hears of it.
  running.catch(() => {});
  return {
    state: () => loop.state(),
    stop: async () => {
      loop.end();
      await running;
    },
  };
}

type Source = { look: Look; session: ReplicationSession };

class ArchiveLoop {
  readonly #options: ArchiverOptions;
  readonly #folder: ArchiveFolder;
  readonly #nodes: RegionNodes;
  readonly #ending = new AbortController();
  #state: ArchiverState = {
    node: undefined,
    timeline: undefined,
    flushed: undefined,
    because: 'it has just started',
  };
  #lastSaid = '';
  #backupNotBeforeMs = 0;
  #backingUp: Promise<void> | undefined;

  constructor(options: ArchiverOptions, folder: ArchiveFolder) {
    this.#options = options;
    this.#folder = folder;
    this.#nodes = new RegionNodes(options.region, options.login);
  }

  state(): ArchiverState {
    return this.#state;
  }

  end(): void {
    this.#ending.abort();
  }

  async run(): Promise<void> {
    const { signal } = this.#ending;
    try {
      while (!signal.aborted) {
        const because = await this.#once();
        if (signal.aborted) break;
        this.#state = { ...this.#state, node: undefined, because };
        this.#say(`the archive of ${this.#options.region.id} stands still: ${because}`);
        await pause(RETRY_MS, undefined, { signal }).catch(() => {});
      }
    } finally {
      await this.#backingUp;
      this.#nodes.close();
    }
  }

  /** Follows one primary for as long as it goes; answers with why it does not go on. */
  async #once(): Promise<string> {
    const look = await this.#nodes.primary();
    if (look === undefined) return 'no node takes writes';
    const opened = await this.#nodes.open(look.node);
    if (opened.kind === 'failed') return `${look.node.name}: ${failureInWords(opened.failure)}`;
    const { session } = opened;
    const leave = () => session.close();
    this.#ending.signal.addEventListener('abort', leave);
    const tending = new AbortController();
    const tended = this.#tend({ look, session }, tending.signal);
    try {
      return await this.#follow({ look, session });
    } catch (error) {
      // A disk that is full, a folder that somebody took away: said, and tried again.
      const { code } = error as NodeJS.ErrnoException;
      if (code === undefined && !(error instanceof CannotStart)) throw error;
      return (error as Error).message;
    } finally {
      tending.abort();
      this.#ending.signal.removeEventListener('abort', leave);
      session.close();
      await tended;
    }
  }

  async #follow({ look, session }: Source): Promise<string> {
    const { region, durable } = this.#options;
    const system = await identifySystem(session);
    if (system.kind === 'failed') return failureInWords(system.failure);
    const size = await rowsOf(
      session,
      `select setting from pg_settings where name = 'wal_segment_size'`,
    );
    if ('because' in size) return size.because;
    const segmentBytes = Number(size.rows[0]?.setting);
    const owner = { region: region.id, systemId: system.systemId, segmentBytes };
    await claimArchive(this.#folder, owner);
    const line = await this.#histories(session, look.timeline);
    if (typeof line === 'string') return line;
    const kept = await this.#slot(session);
    if (typeof kept === 'string') return kept;

    const log = await keptLog(this.#folder, segmentBytes);
    let at = whereToResume(log, line, kept, segmentBytes);
    for (;;) {
      const writer = new SegmentWriter({
        folder: this.#folder,
        segmentBytes,
        timeline: at.timeline,
        from: at.from,
        durable,
        onFlushed: (flushed) => this.#received(look.node, at.timeline, flushed),
      });
      this.#state = {
        node: look.node.name,
        timeline: at.timeline,
        flushed: at.from,
        because: undefined,
      };
      this.#say(
        `the archive of ${region.id} follows ${look.node.name} from ${formatLsn(at.from)} on timeline ${at.timeline}`,
      );
      let end: LogEnd;
      try {
        const from = { slot: ARCHIVE_SLOT, ...at };
        end = await receiveLog(session, from, writer, this.#ending.signal);
        // What has come is kept, whatever ended it.
        await writer.flush();
      } finally {
        await writer.close();
      }
      if (end.kind === 'stopped') return 'it was stopped';
      if (end.kind === 'timeline-over') {
        const number = segmentOf(end.next.at, segmentBytes);
        at = { timeline: end.next.timeline, from: startOf(number, segmentBytes) };
        continue;
      }
      const { failure } = end;
      if (failure.kind === 'rejected' && GONE.has(failure.sqlstate)) {
        return await this.#leaveHole(look.node, failureInWords(failure));
      }
      return `${look.node.name}: ${failureInWords(failure)}`;
    }
  }

  async #received(node: NodeAddress, timeline: number, flushed: Lsn): Promise<void> {
    this.#state = { node: node.name, timeline, flushed, because: undefined };
    const atMs = this.#options.wallClock();
    await noteReceived(this.#folder, { timeline, flushed, node: node.name, atMs });
  }

  /** Histories of the primary's timeline and of all before it; recovery looks for each of them. */
  async #histories(session: ReplicationSession, timeline: number): Promise<Line | string> {
    let line: Line = { timeline, ancestors: [] };
    const wanted = timeline === 1 ? [] : [timeline];
    for (let one = wanted.pop(); one !== undefined; one = wanted.pop()) {
      const path = `${this.#folder.wal}/${historyName(one)}`;
      let text = await textOf(path);
      if (text === undefined) {
        const answer = await rowsOf(session, `TIMELINE_HISTORY ${one}`);
        if ('because' in answer) return answer.because;
        text = answer.rows[0]?.content ?? '';
        await writeWhole(this.#folder, path, text, this.#options.durable);
      }
      const ancestors = parseHistory(text);
      if (ancestors === undefined) return `${path} is not a history`;
      if (one !== timeline) continue;
      line = { timeline, ancestors };
      wanted.push(...ancestors.map((ancestor) => ancestor.timeline).filter((number) => number > 1));
    }
    return line;
  }

  /** Where our slot begins on this server; made when it is not there, or has been given up. */
  async #slot(session: ReplicationSession): Promise<Lsn | string> {
    const found = await rowsOf(session, SLOT);
    if ('because' in found) return found.because;
    let [row] = found.rows;
    if (row?.wal_status === 'lost') {
      const dropped = await rowsOf(session, `DROP_REPLICATION_SLOT ${ARCHIVE_SLOT}`);
      if ('because' in dropped) return dropped.because;
      row = undefined;
    }
    if (row === undefined) {
      const made = await rowsOf(
        session,
        `CREATE_REPLICATION_SLOT ${ARCHIVE_SLOT} PHYSICAL (RESERVE_WAL true)`,
      );
      if ('because' in made) return made.because;
      const again = await rowsOf(session, SLOT);
      if ('because' in again) return again.because;
      [row] = again.rows;
    }
    if (row?.restart_lsn == null) return 'its slot keeps nothing';
    return lsnFromPostgres(row.restart_lsn);
  }

  /** The server has given up what we lack. From here on a new base backup is what counts. */
  async #leaveHole(node: NodeAddress, because: string): Promise<string> {
    this.#options.report(
      `the archive of ${this.#options.region.id} has a hole: ${node.name} ${because}; a new base backup begins behind it`,
    );
    const opened = await this.#nodes.open(node);
    if (opened.kind === 'failed') return failureInWords(opened.failure);
    try {
      const { session } = opened;
      const kept = await this.#slot(session);
      if (typeof kept === 'string') return kept;
      const look = await this.#nodes.primary();
      const line = await this.#histories(session, look?.timeline ?? 1);
      if (typeof line === 'string') return line;
      const size = await rowsOf(
        session,
        `select setting from pg_settings where name = 'wal_segment_size'`,
      );
      if ('because' in size) return size.because;
      const segmentBytes = Number(size.rows[0]?.setting);
      // An empty beginning of the segment is where the next round goes on.
      const writer = new SegmentWriter({
        folder: this.#folder,
        segmentBytes,
        ...beginning(line, kept, segmentBytes),
        durable: this.#options.durable,
        onFlushed: async () => {},
      });
      await writer.begin();
      await writer.close();
    } finally {
      opened.session.close();
    }
    this.#backupNotBeforeMs = 0;
    return because;
  }

  /** Beside the stream: is there a later primary, do the replicas keep what we lack, is a backup due? */
  async #tend({ look, session }: Source, over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      await pause(TEND_EVERY_MS, undefined, { signal: over }).catch(() => {});
      if (over.aborted) return;
      const looks = await this.#nodes.look();
      const later = looks.find(
        ({ role, timeline }) => role === 'primary' && timeline > look.timeline,
      );
      if (later !== undefined && later.node.name !== look.node.name) {
        session.close();
        return;
      }
      for (const { node, role } of looks) {
        if (role === 'replica') await this.#keepOn(node);
      }
      this.#backUpWhenDue();
    }
  }

  async #keepOn(replica: NodeAddress): Promise<void> {
    const { flushed } = this.#state;
    const [slot] = (await this.#nodes.ask(replica, SLOT)) ?? [undefined];
    if (slot?.wal_status === 'lost') {
      await this.#nodes.ask(replica, `select pg_drop_replication_slot('${ARCHIVE_SLOT}')`);
    } else if (slot === undefined) {
      await this.#nodes.ask(
        replica,
        `select pg_create_physical_replication_slot('${ARCHIVE_SLOT}', true)
         where not exists (select from pg_replication_slots where slot_name = '${ARCHIVE_SLOT}')`,
      );
    } else if (flushed !== undefined) {
      // Moving it writes to the disk of the replica, so it is moved a segment at a time.
      await this.#nodes.ask(
        replica,
        `select pg_replication_slot_advance('${ARCHIVE_SLOT}',
           least('${formatLsn(flushed)}'::pg_lsn, pg_last_wal_replay_lsn()))
         where pg_is_in_recovery() and (select least('${formatLsn(flushed)}'::pg_lsn,
             pg_last_wal_replay_lsn()) - restart_lsn > 16 * 1024 * 1024
           from pg_replication_slots where slot_name = '${ARCHIVE_SLOT}' and not active)`,
      );
    }
  }

  #backUpWhenDue(): void {
    const { backupEveryMs, wallClock } = this.#options;
    if (backupEveryMs === undefined || this.#backingUp !== undefined) return;
    if (wallClock() < this.#backupNotBeforeMs) return;
    this.#backingUp = this.#backUp(backupEveryMs)
      .catch((error: Error) => {
        this.#options.report(`no base backup of ${this.#options.region.id}: ${error.message}`);
        this.#backupNotBeforeMs = wallClock() + BACKUP_RETRY_MS;
      })
      .finally(() => {
        this.#backingUp = undefined;
      });
  }

  async #backUp(everyMs: number): Promise<void> {
    const { region, wallClock, login, keep, durable, report } = this.#options;
    const newest = (await listBackups(this.#folder)).filter(({ usable }) => usable).at(-1);
    const dueMs = newest === undefined ? 0 : newest.takenAtMs + everyMs;
    if (wallClock() < dueMs) {
      this.#backupNotBeforeMs = Math.min(dueMs, wallClock() + BACKUP_RETRY_MS);
      return;
    }
    const taken = await takeBackup({
      region,
      folder: this.#folder,
      login,
      durable,
      wallClock,
      ending: this.#ending.signal,
    });
    if (this.#ending.signal.aborted) return;
    if (taken.kind === 'failed') throw new CannotStart(taken.because);
    report(`base backup of ${region.id}: ${taken.backup.id}, ${taken.backup.bytes} bytes`);
    await pruneArchive(this.#folder, keep);
  }

  #say(step: string): void {
    if (step === this.#lastSaid) return;
    this.#lastSaid = step;
    this.#options.report(step);
  }
}

/** The file is not there any more; the slot has been given up. */
const GONE: ReadonlySet<string> = new Set(['58P01', '55000']);

const SLOT = `select restart_lsn, wal_status, active from pg_replication_slots
  where slot_name = '${ARCHIVE_SLOT}'`;
