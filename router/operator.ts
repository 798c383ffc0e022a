/**
 * Who changes the clusters of all regions, and with what?
 *
 * An operator holds what no edge does: a superuser on every cluster, the passwords of the roles
 * that replicate, and the addresses by which one server reaches another. There are two ways to get
 * all this: from the folder of the world that runs on this machine (`local-operator.ts`), and from
 * the file of an installation that others have started (`installation/open-installation.ts`).
 */
import type { ClusterName } from '../policies/cluster-state.ts';
import { airlocksOf, type Installed } from '../policies/desired-state.ts';
import type { Catalogue, NodeAddress, RegionId } from '../regions/catalogue.ts';
import {
  DatabaseError,
  type Endpoint,
  LeasePool,
  type PoolOptions,
  type RunFunction,
  type RunOptions,
  type Sql,
} from '../regions/postgres.ts';

export type Operator = {
  catalogue: Catalogue;
  /** Superuser of a node or an airlock, in the region's database. */
  superuser: (node: string) => Endpoint;
  /** One password a name, the same at every call. */
  password: (name: string) => string;
  /** One key a name, as edges hold it. */
  key: (name: string) => Buffer;
  /**
   * Sees to a libpq password file that the servers can read; answers with its path there. Undefined:
   * they have none, and passwords stand in the subscriptions, which only superusers can read.
   */
  passfile: (
    name: string,
    entries: readonly { to: { host: string; port: number }; user: string; password: string }[],
  ) => Promise<string | undefined>;
  /** How a server of one region reaches another server, such as through a proxy. */
  link: (from: RegionId, to: NodeAddress) => { host: string; port: number };
  /** What all subscriptions have in common; undefined: each names one server, and nothing more. */
  subscriptions?: {
    /** An airlock knows all nodes of its region and takes the one that accepts writes. */
    followPrimary: boolean;
    /** Further words of libpq. */
    parameters: Readonly<Record<string, string>>;
  };
  /** Roles that the servers of a region themselves bring. */
  installed: (region: RegionId) => Installed;
  /** The physical slot that a node of a region reads its primary's log through. */
  slotOfNode: (node: string) => string;
};

/** Something about the world outside stands in the way; the message says what. */
export class OperatorError extends Error {}

const CONNECT_MS_MAX = 5_000;
/** One statement of an operator; the first copy of a large table has a limit of its own. */
export const STATEMENT_MS_MAX = 60_000;

/** Of a dozen servers a person is told which one it was. */
class NamedPool extends LeasePool {
  readonly #server: string;

  constructor(options: PoolOptions) {
    super(options);
    this.#server = options.endpoint.name;
  }

  override async run<T, S = never>(fn: RunFunction<T>, options: RunOptions<S>): Promise<T> {
    try {
      return await super.run(fn, options);
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.server !== undefined) throw error;
      throw new DatabaseError(error.failure, this.#server);
    }
  }
}

/** One operator's connections to every cluster, for as long as one piece of work takes. */
export class Session {
  readonly operator: Operator;
  readonly #pools = new Map<string, LeasePool>();
  readonly #primaries = new Map<RegionId, Promise<NodeAddress>>();

  constructor(operator: Operator) {
    this.operator = operator;
  }

  /** Runs statements on a private cluster's primary or on an airlock, each for itself. */
  async on<T>(
    cluster: ClusterName,
    use: (sql: Sql) => Promise<T>,
    timeoutMs = STATEMENT_MS_MAX,
  ): Promise<T> {
    const pool = await this.pool(cluster);
    return pool.run(use, { timeoutMs });
  }

  /** One transaction. @throws OperatorError when nobody knows whether it was committed. */
  async transaction(
    cluster: ClusterName,
    use: (sql: Sql) => Promise<void>,
    timeoutMs = STATEMENT_MS_MAX,
  ): Promise<void> {
    const { name } = await this.nodeOf(cluster);
    const outcome = await this.node(name).transaction(use, { timeoutMs });
    if (outcome.kind === 'not_applied') throw new DatabaseError(outcome.failure, name);
    if (outcome.kind === 'unknown') {
      throw new OperatorError(
        `${cluster}: a commit was not confirmed (${outcome.failure.kind}); look at its replica, then run the command again`,
      );
    }
  }

  async pool(cluster: ClusterName): Promise<LeasePool> {
    return this.node((await this.nodeOf(cluster)).name);
  }

  /** The pool of one server, whatever its role. */
  node(name: string): LeasePool {
    const known = this.#pools.get(name);
    if (known !== undefined) return known;
    const pool = new NamedPool({
      endpoint: this.operator.superuser(name),
      // One works while another holds the lock that says who works.
      connectionsMax: 3,
      waitersMax: 64,
      connectTimeoutMs: CONNECT_MS_MAX,
      settings: { application_name: 'domicile operator', search_path: 'pg_catalog' },
    });
    this.#pools.set(name, pool);
    return pool;
  }

  /** The primary of a private cluster, or the airlock itself. */
  async nodeOf(cluster: ClusterName): Promise<NodeAddress> {
    const region = this.operator.catalogue.regions.get(cluster);
    if (region === undefined) return this.#airlock(cluster);
    const known = this.#primaries.get(cluster) ?? this.#findPrimary(cluster);
    this.#primaries.set(cluster, known);
    return known;
  }

  /** The nodes of a region that are not its primary now. */
  async replicasOf(region: RegionId): Promise<string[]> {
    const primary = await this.nodeOf(region);
    const nodes = this.operator.catalogue.regions.get(region)?.nodes ?? [];
    return nodes.map(({ name }) => name).filter((name) => name !== primary.name);
  }

  /** Asks a replica; undefined when it does not answer. */
  async onReplica<T>(node: string, use: (sql: Sql) => Promise<T>): Promise<T | undefined> {
    try {
      return await this.node(node).run(use, { timeoutMs: CONNECT_MS_MAX });
    } catch (error) {
      if (error instanceof DatabaseError && error.failure.kind !== 'rejected') return undefined;
      throw error;
    }
  }

  /** The region whose private cluster or airlock this is. */
  regionOf(cluster: ClusterName): RegionId {
    const { catalogue } = this.operator;
    if (catalogue.regions.has(cluster)) return cluster;
    for (const region of catalogue.regions.keys()) {
      if (airlocksOf(region, catalogue).some(({ name }) => name === cluster)) return region;
    }
    throw new RangeError(`no cluster ${cluster}`);
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.close({ timeoutMs: 1_000 })));
  }

  #airlock(name: string): NodeAddress {
    const { catalogue } = this.operator;
    const found = airlocksOf(this.regionOf(name), catalogue).find((one) => one.name === name);
    if (found === undefined) throw new RangeError(`no airlock ${name}`);
    return found;
  }

  /** Asked, not declared: that changes with every failover. */
  async #findPrimary(region: RegionId): Promise<NodeAddress> {
    const nodes = this.operator.catalogue.regions.get(region)?.nodes ?? [];
    const said = await Promise.allSettled(
      nodes.map((node) =>
        this.node(node.name).run(
          async (sql) => {
            const [row] = await sql<{ timeline: number | null }[]>`
              select case when pg_is_in_recovery() then null else
                ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int
                end as timeline`;
            return { node, timeline: row?.timeline ?? undefined };
          },
          { timeoutMs: CONNECT_MS_MAX },
        ),
      ),
    );
    let best: { node: NodeAddress; timeline: number } | undefined;
    for (const answer of said) {
      if (answer.status === 'rejected' || answer.value.timeline === undefined) continue;
      const { node, timeline } = answer.value;
      if (timeline > (best?.timeline ?? 0)) best = { node, timeline };
    }
    if (best !== undefined) return best.node;
    const silent = said.filter(({ status }) => status === 'rejected').length;
    throw new OperatorError(
      `${region}: none of ${nodes.map(({ name }) => name).join(', ')} takes writes${silent > 0 ? `, and ${silent} of them did not answer` : ''}. Nothing was changed there.`,
    );
  }
}
