/**
 * What does SQL say of a server that somebody else moves?
 *
 * Role, timeline and position, asked of the server itself, because whoever moves it may be wrong or
 * late. It needs no more than the login with which edges look at their nodes. A look has a deadline,
 * and a server that does not answer costs its own look only.
 */
import { type Lsn, lsnFromPostgres } from '../../regions/position.ts';
import { DatabaseError, type Endpoint, LeasePool, type Sql } from '../../regions/postgres.ts';
import type { NodeView } from './steward.ts';

/** A look takes a millisecond; what is slower than this is as good as silent. */
const LOOK_MS_MAX = 1_000;

export class NodeLooks {
  readonly #pools = new Map<string, { pool: LeasePool; address: string }>();
  /** The timeline that each standby was last found to receive. */
  readonly #received = new Map<string, { systemId: bigint; timeline: number }>();

  /** Never rejects. `endpoint` may lead elsewhere than at the look before. */
  async look(node: string, endpoint: Endpoint): Promise<NodeView> {
    try {
      const seen = await this.#pool(node, endpoint).run(ask, { timeoutMs: LOOK_MS_MAX });
      return { node, kind: 'seen', ...this.#remember(node, seen) };
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      const { failure } = error;
      // What it was is of no use to whoever asks the next one.
      this.#leave(node);
      if (failure.kind !== 'connect-failed') return { node, kind: 'silent', because: 'no_answer' };
      const { code, why } = failure;
      const because = code === 'ECONNREFUSED' ? 'refused' : 'no_answer';
      return { node, kind: 'silent', because, ...(why !== undefined && { why }) };
    }
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    this.#pools.clear();
    await Promise.all(pools.map(({ pool }) => pool.close({ timeoutMs: LOOK_MS_MAX })));
  }

  /** A standby without a primary says nothing of the timeline that it has followed until now. */
  #remember(node: string, { role, systemId, timeline, lsn }: Seen) {
    if (role === 'replica' && timeline !== undefined) {
      this.#received.set(node, { systemId, timeline });
    }
    const before = this.#received.get(node);
    const known = before?.systemId === systemId ? before.timeline : TIMELINE_UNKNOWN;
    return { role, systemId, timeline: timeline ?? known, lsn };
  }

  #pool(node: string, endpoint: Endpoint): LeasePool {
    const address = `${endpoint.host}:${endpoint.port}`;
    const found = this.#pools.get(node);
    if (found?.address === address) return found.pool;
    this.#leave(node);
    const pool = new LeasePool({
      endpoint,
      connectionsMax: 1,
      waitersMax: 4,
      connectTimeoutMs: LOOK_MS_MAX,
      settings: { application_name: 'domicile keeper', search_path: 'pg_catalog' },
    });
    this.#pools.set(node, { pool, address });
    return pool;
  }

  #leave(node: string): void {
    this.#pools.get(node)?.pool.destroy('another connection is made');
    this.#pools.delete(node);
  }
}

/** No timeline has this number. */
export const TIMELINE_UNKNOWN = 0;

type Seen = {
  role: 'primary' | 'replica';
  systemId: bigint;
  timeline: number | undefined;
  lsn: Lsn;
};

type Row = { standby: boolean; system_id: string; timeline: number | null; lsn: string | null };

async function ask(sql: Sql): Promise<Seen> {
  const [row] = await sql<Row[]>`
    select standby, system_id,
      case when standby
        then (select nullif(received_tli, 0) from pg_stat_wal_receiver)
        else ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
        end as timeline,
      case when standby then greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
        else pg_current_wal_flush_lsn() end::text as lsn
    from (
      select pg_is_in_recovery() as standby,
        (select system_identifier::text from pg_control_system()) as system_id
    ) as node`;
  if (row === undefined) throw new Error('one row was asked for');
  return {
    role: row.standby ? 'replica' : 'primary',
    systemId: BigInt.asUintN(64, BigInt(row.system_id)),
    timeline: row.timeline ?? undefined,
    lsn: lsnFromPostgres(row.lsn ?? '0/0'),
  };
}
