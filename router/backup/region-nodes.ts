/**
 * Which node of a region takes writes, asked by somebody who only replicates?
 *
 * Asked, not declared, and with the login that replicas use: whoever archives needs no more. One
 * connection a node is kept open, because somebody asks again every second or two.
 */
import type { NodeAddress, Region } from '../../regions/catalogue.ts';
import type { Endpoint } from '../../regions/postgres.ts';
import {
  type Failed,
  failureInWords,
  ReplicationSession,
  type TextRow,
} from '../../regions/replication-client.ts';

/** As whom, and in which database: one that every cluster has. */
export type ReplicationLogin = { user: string; password: string };
const DATABASE = 'postgres';
export const SESSION_NAME = 'domicile_archive';

const OPEN_MS_MAX = 3_000;

export type Look = { node: NodeAddress; role: 'primary' | 'replica'; timeline: number };

export class RegionNodes {
  readonly region: Region;
  readonly #login: ReplicationLogin;
  readonly #sessions = new Map<string, ReplicationSession>();

  constructor(region: Region, login: ReplicationLogin) {
    this.region = region;
    this.#login = login;
  }

  /** Nodes that answer. */
  async look(): Promise<Look[]> {
    const looks = await Promise.all(
      this.region.nodes.map(async (node): Promise<Look | undefined> => {
        const [row] = (await this.ask(node, ROLE)) ?? [];
        if (row === undefined) return undefined;
        const timeline = row.timeline == null ? 0 : Number(row.timeline);
        return { node, role: row.replica === 't' ? 'replica' : 'primary', timeline };
      }),
    );
    return looks.filter((one) => one !== undefined);
  }

  /** After a promotion two nodes may take themselves for it; the later timeline is right. */
  async primary(): Promise<Look | undefined> {
    const primaries = (await this.look()).filter(({ role }) => role === 'primary');
    return primaries.sort((a, b) => b.timeline - a.timeline)[0];
  }

  /** Undefined when the node does not answer, or says no. */
  async ask(node: NodeAddress, statement: string): Promise<readonly TextRow[] | undefined> {
    let session = this.#sessions.get(node.name);
    if (session === undefined) {
      const opened = await this.open(node);
      if (opened.kind === 'failed') return undefined;
      session = opened.session;
      this.#sessions.set(node.name, session);
    }
    const answer = await session.query(statement);
    if (answer.kind === 'rows') return answer.rows;
    session.close();
    this.#sessions.delete(node.name);
    return undefined;
  }

  /** A session of one's own, for a stream. */
  open(node: NodeAddress): ReturnType<typeof ReplicationSession.open> {
    const endpoint: Endpoint = { ...node, ...this.#login, database: DATABASE };
    return ReplicationSession.open(endpoint, {
      as: 'database',
      timeoutMs: OPEN_MS_MAX,
      name: SESSION_NAME,
    });
  }

  close(): void {
    for (const session of this.#sessions.values()) session.close();
    this.#sessions.clear();
  }
}

const ROLE = `select pg_is_in_recovery() as replica,
  case when pg_is_in_recovery() then null else
    ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int end as timeline`;

/** Statements that must succeed; the failure in words otherwise. */
export async function rowsOf(
  session: ReplicationSession,
  statement: string,
): Promise<{ rows: readonly TextRow[] } | { because: string; failure: Failed['failure'] }> {
  const answer = await session.query(statement);
  if (answer.kind === 'rows') return { rows: answer.rows };
  return { because: failureInWords(answer.failure), failure: answer.failure };
}
