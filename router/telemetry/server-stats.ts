/**
 * How do this region's servers do, by their own statistics?
 *
 * Asked of each node at a slow pace, through a function that gives numbers and no query's text. What
 * a node said stands until it has said something newer, or has been silent for long.
 */
import type { Sql } from '../../regions/postgres.ts';

export type ServerStat = { what: string; label: string; value: number };
export type LastAudit = {
  verdict: string;
  findings: number;
  blind: number;
  /** When it ended, in milliseconds of this process's clock. */
  endedAtMs: number;
};
export type NodeStats = { node: string; stats: readonly ServerStat[]; seenAtMs: number };

export type ServerStatsOptions = {
  nodes: readonly string[];
  on: <T>(node: string, query: (sql: Sql) => Promise<T>, timeoutMs: number) => Promise<T>;
  now: () => number;
  everyMs: number;
};

/** Counts over shared memory: longer means that the server has other worries. */
const ASK_MS_MAX = 2_000;
/** So many rounds missed, and what a node said is not shown as its present. */
const ROUNDS_KEPT = 4;

export class ServerStats {
  #options: ServerStatsOptions;
  #nodes = new Map<string, NodeStats>();
  #audit: LastAudit | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: ServerStatsOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#round();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  get nodes(): readonly NodeStats[] {
    const { now, everyMs } = this.#options;
    const since = now() - ROUNDS_KEPT * everyMs;
    return [...this.#nodes.values()].filter(({ seenAtMs }) => seenAtMs >= since);
  }

  get audit(): LastAudit | undefined {
    return this.#audit;
  }

  async #round(): Promise<void> {
    const { nodes, everyMs } = this.#options;
    await Promise.all(nodes.map((node) => this.#ask(node)));
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#round(), everyMs).unref();
  }

  async #ask(node: string): Promise<void> {
    const { on, now } = this.#options;
    const seenAtMs = now();
    try {
      await on(
        node,
        async (sql) => {
          const [stats, [audit]] = await Promise.all([
            sql<ServerStat[]>`select what, label, value from domicile.server_stats()`,
            sql<{ verdict: string; findings: number; blind: number; age_ms: number }[]>`
              select verdict, findings, blind,
                extract(epoch from clock_timestamp() - ended_at)::float8 * 1000 as age_ms
              from domicile.audits order by id desc limit 1`,
          ]);
          this.#nodes.set(node, { node, stats: [...stats], seenAtMs });
          if (audit === undefined) return;
          const { verdict, findings, blind } = audit;
          this.#audit = { verdict, findings, blind, endedAtMs: seenAtMs - audit.age_ms };
        },
        ASK_MS_MAX,
      );
    } catch {
      // A node that is down, or has not got the function yet, says nothing; its looks tell why.
    }
  }
}
