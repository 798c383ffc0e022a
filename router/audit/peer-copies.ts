/**
 * What can somebody copy with one login of a cluster?
 *
 * Everything that PostgreSQL offers to a role that may replicate: a base backup, the log as bytes
 * and decoded, and every table of every database that opens. Publications and their column lists
 * do not matter here, because a role that replicates is not bound by them.
 */
import { type Lsn, lsnFromPostgres } from '../../regions/position.ts';
import type { Endpoint } from '../../regions/postgres.ts';
import {
  type Failed,
  failureInWords,
  identifySystem,
  makePhysicalSlot,
  ReplicationSession,
  type Streamed,
  type StreamLimits,
} from '../../regions/replication-client.ts';
import type { CanaryScanner } from './canary-scanner.ts';
import { Gathering, type LocatedHit } from './channel.ts';

export type CopyKind = 'base backup' | 'log' | 'decoded log' | 'tables';

export type Copy = {
  kind: CopyKind;
  hits: readonly LocatedHit[];
  controlFound: boolean;
  bytes: number;
  /** Why it is not the whole; undefined when it is. */
  because: string | undefined;
};

/** Each statement, and each stream as a whole. */
export type CopyLimits = StreamLimits;

/**
 * Slots that hold the log from a moment on: what is written afterwards can be read from them.
 * They hold it back on the server, too, so `collect` or `drop` has to follow.
 */
export class PeerTap {
  readonly #endpoint: Endpoint;
  readonly #slot: string;
  readonly #limits: CopyLimits;
  readonly #sessions: ReplicationSession[] = [];
  #physical: { session: ReplicationSession; from: Lsn } | Failed | undefined;
  #logical: ReplicationSession | Failed | undefined;

  private constructor(endpoint: Endpoint, slot: string, limits: CopyLimits) {
    this.#endpoint = endpoint;
    this.#slot = slot;
    this.#limits = limits;
  }

  /** `slot` names slots that nobody else uses, in small letters, digits and underscores. */
  static async open(
    endpoint: Endpoint,
    slot: string,
    limits: CopyLimits,
  ): Promise<{ kind: 'open'; tap: PeerTap } | Failed> {
    const tap = new PeerTap(endpoint, slot, limits);
    const first = await tap.#session();
    if (first.kind === 'failed') return first;
    tap.#physical = await tap.#holdLog(first.session);
    const second = await tap.#session();
    tap.#logical = second.kind === 'failed' ? second : await tap.#decode(second.session);
    return { kind: 'open', tap };
  }

  /** Copies everything that was written before `until`, and leaves nothing behind. */
  async collect(scanner: CanaryScanner, control: string, until: Lsn): Promise<Copy[]> {
    try {
      return [
        await this.#copy('base backup', scanner, control, (into) => this.#baseBackup(into)),
        await this.#copy('log', scanner, control, (into) => this.#log(into, until)),
        await this.#copy('decoded log', scanner, control, (into) => this.#decoded(into, until)),
        await this.#copy('tables', scanner, control, (into) => this.#tables(into)),
      ];
    } finally {
      await this.drop();
    }
  }

  async drop(): Promise<void> {
    for (const session of this.#sessions.splice(0)) session.close();
    if (this.#physical === undefined || 'kind' in this.#physical) return;
    this.#physical = undefined;
    const opened = await this.#session();
    if (opened.kind === 'failed') return;
    // The server notices a moment late that its reader has gone; WAIT is for that.
    await opened.session.query(`DROP_REPLICATION_SLOT ${this.#slot} WAIT`);
    opened.session.close();
  }

  async #copy(
    kind: CopyKind,
    scanner: CanaryScanner,
    control: string,
    take: (into: Gathering) => Promise<Streamed>,
  ): Promise<Copy> {
    const into = new Gathering(scanner, control);
    const outcome = await take(into);
    const because =
      outcome.kind === 'failed'
        ? failureInWords(outcome.failure)
        : outcome.ended === 'bytes'
          ? `left after ${outcome.bytes} bytes`
          : undefined;
    const { hits, bytes, controlAt } = into;
    return { kind, hits, bytes, controlFound: controlAt.size > 0, because };
  }

  async #baseBackup(into: Gathering): Promise<Streamed> {
    const opened = await this.#session();
    if (opened.kind === 'failed') return opened;
    let current = '';
    let part = into.part(current);
    return opened.session.baseBackup({ ...this.#limits, wal: false }, (file, bytes) => {
      if (file !== current) part = into.part(file);
      current = file;
      part(bytes);
      return undefined;
    });
  }

  async #log(into: Gathering, until: Lsn): Promise<Streamed> {
    if (this.#physical === undefined || 'kind' in this.#physical) {
      return this.#physical ?? dropped();
    }
    const { session, from } = this.#physical;
    const part = into.part(`log from ${this.#slot}`);
    return session.physicalLog({ ...this.#limits, slot: this.#slot, from, until }, (bytes) => {
      part(bytes);
      return undefined;
    });
  }

  async #decoded(into: Gathering, until: Lsn): Promise<Streamed> {
    const session = this.#logical;
    if (session === undefined || 'kind' in session) return session ?? dropped();
    const part = into.part('decoded changes');
    const stream = { ...this.#limits, slot: `${this.#slot}_decoded`, from: 0n, until };
    return session.logicalLog(stream, (bytes) => {
      part(bytes);
      return undefined;
    });
  }

  /** Every relation that the role may read, catalogues too, in every database that lets it in. */
  async #tables(into: Gathering): Promise<Streamed> {
    const databases = await this.#ask(this.#endpoint.database, 'select datname from pg_database');
    if (databases.kind === 'failed') return databases;
    let bytes = 0;
    for (const { datname } of databases.rows) {
      const opened = await ReplicationSession.open(
        { ...this.#endpoint, database: datname ?? '' },
        { as: 'plain', timeoutMs: this.#limits.timeoutMs },
      );
      // A database that stays shut is a refusal and nothing that could be copied.
      if (opened.kind === 'failed') continue;
      const { session } = opened;
      this.#sessions.push(session);
      const relations = await session.query(READABLE);
      if (relations.kind === 'failed') return relations;
      for (const { name } of relations.rows) {
        const part = into.part(`${datname}.${name}`);
        const limits = { ...this.#limits, bytesMax: this.#limits.bytesMax - bytes };
        const statement = `copy (select * from ${name}) to stdout`;
        const copied = await session.copyOut(statement, limits, (row) => {
          part(row);
          return undefined;
        });
        if (copied.kind === 'streamed') bytes += copied.bytes;
        // A view that this role may read and not run is shut, like a database.
        else if (copied.failure.kind !== 'rejected') return copied;
        if (copied.kind === 'streamed' && copied.ended === 'bytes') return copied;
      }
      session.close();
    }
    return { kind: 'streamed', ended: 'complete', bytes };
  }

  async #holdLog(session: ReplicationSession) {
    const system = await identifySystem(session);
    if (system.kind === 'failed') return system;
    const made = await makePhysicalSlot(session, this.#slot);
    return made.kind === 'failed' ? made : { session, from: system.flushed };
  }

  async #decode(session: ReplicationSession): Promise<ReplicationSession | Failed> {
    // test_decoding comes with PostgreSQL and, unlike pgoutput, asks for no publication.
    const slot = `${this.#slot}_decoded`;
    const made = await session.query(
      `CREATE_REPLICATION_SLOT ${slot} TEMPORARY LOGICAL test_decoding`,
    );
    return made.kind === 'failed' ? made : session;
  }

  async #ask(database: string, statement: string) {
    const opened = await ReplicationSession.open(
      { ...this.#endpoint, database },
      { as: 'plain', timeoutMs: this.#limits.timeoutMs },
    );
    if (opened.kind === 'failed') return opened;
    const answer = await opened.session.query(statement);
    opened.session.close();
    return answer;
  }

  async #session() {
    const opened = await ReplicationSession.open(this.#endpoint, {
      as: 'database',
      timeoutMs: this.#limits.timeoutMs,
    });
    if (opened.kind === 'open') this.#sessions.push(opened.session);
    return opened;
  }
}

const READABLE = `
  select format('%I.%I', n.nspname, c.relname) as name
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  where c.relkind in ('r', 'm', 'v', 'f', 'S') and has_table_privilege(c.oid, 'select')
    and has_schema_privilege(n.oid, 'usage') and n.nspname <> 'information_schema'
  order by 1`;

function dropped(): Failed {
  return { kind: 'failed', failure: { kind: 'connection-lost', code: 'DROPPED' } };
}

/** The position that the log of a cluster has reached, asked with any login. */
export async function flushedPosition(
  endpoint: Endpoint,
  timeoutMs: number,
): Promise<{ kind: 'flushed'; at: Lsn } | Failed> {
  const opened = await ReplicationSession.open(endpoint, { as: 'plain', timeoutMs });
  if (opened.kind === 'failed') return opened;
  const answer = await opened.session.query('select pg_current_wal_flush_lsn() as at');
  opened.session.close();
  if (answer.kind === 'failed') return answer;
  return { kind: 'flushed', at: lsnFromPostgres(answer.rows[0]?.at ?? '') };
}
