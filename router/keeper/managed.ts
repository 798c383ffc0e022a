/**
 * How is a region followed whose primary a managed service moves?
 *
 * Such a service keeps one name for the primary and lets it lead elsewhere after a failover, a while
 * after the promotion. So the name is resolved at each look, what stands behind it is asked over SQL
 * for its role and timeline, and nothing is ever promoted by us.
 */
import { lookup } from 'node:dns/promises';
import type { NodeAddress, Region } from '../../regions/catalogue.ts';
import type { Endpoint } from '../../regions/postgres.ts';
import { type Believed, believe, NewestTimelines } from './claimed-primary.ts';
import { NodeLooks } from './node-looks.ts';
import type { NodeView, RegionView, Steward, StewardOutcome } from './steward.ts';

export type HostPort = { host: string; port: number };

/** Where a name leads now. Rejects when nobody knows. */
export type Resolve = (at: HostPort) => Promise<HostPort>;

export type ManagedOptions = {
  region: Region;
  /** The name that leads to the primary. It may be that of a node as well. */
  endpoint: HostPort;
  /** Database and login for a node; where it is comes from the resolver. */
  login: (node: string) => Omit<Endpoint, keyof HostPort | 'name'>;
  resolve?: Resolve;
};

export type ManagedView = RegionView &
  /** Where the name and SQL agree; otherwise the doubt, for an operator. */
  Believed & {
    /** Where the name leads now; undefined when it cannot be resolved. */
    leadsTo: HostPort | undefined;
  };

/** A resolver that is slower has not answered. */
const RESOLVE_MS_MAX = 1_000;

export class ManagedSteward implements Steward {
  readonly #options: ManagedOptions;
  readonly #looks = new NodeLooks();
  readonly #newest = new NewestTimelines();

  constructor(options: ManagedOptions) {
    this.#options = options;
  }

  async observe(): Promise<ManagedView> {
    const { region, endpoint } = this.#options;
    const [leadsTo, found] = await Promise.all([
      this.#resolve(endpoint),
      Promise.all(region.nodes.map(async (node) => ({ node, at: await this.#resolve(node) }))),
    ]);
    const nodes = await Promise.all(found.map(({ node, at }) => this.#look(node, at)));
    this.#newest.notice(nodes);
    const by = `${endpoint.host}:${endpoint.port}`;
    if (leadsTo === undefined) return { nodes, leadsTo, doubt: `${by} cannot be resolved` };
    const { node } =
      found.find(({ at }) => at?.host === leadsTo.host && at.port === leadsTo.port) ?? {};
    if (node === undefined) {
      const address = `${leadsTo.host}:${leadsTo.port}`;
      return { nodes, leadsTo, doubt: `${by} leads to ${address}, where no node of the region is` };
    }
    return { nodes, leadsTo, ...believe({ by, node: node.name }, nodes, this.#newest) };
  }

  async promote(node: string): Promise<StewardOutcome> {
    return this.#refused(`promotes; ask it to fail over to ${node}`);
  }

  async demote(node: string): Promise<StewardOutcome> {
    return this.#refused(`takes ${node} out of service when it promotes another node; ask it to`);
  }

  async follow(node: string): Promise<StewardOutcome> {
    return this.#refused(`makes ${node} a standby by itself`);
  }

  async close(): Promise<void> {
    await this.#looks.close();
  }

  #refused(what: string): StewardOutcome {
    const { host, port } = this.#options.endpoint;
    return { kind: 'refused', why: `the managed service behind ${host}:${port} ${what}` };
  }

  async #look(node: NodeAddress, at: HostPort | undefined): Promise<NodeView> {
    if (at === undefined) return { node: node.name, kind: 'silent', because: 'no_answer' };
    const { tls, host: serverName } = node;
    return this.#looks.look(node.name, {
      ...{ name: node.name, ...this.#options.login(node.name), ...at },
      // The certificate is for the name, wherever that leads today.
      ...(tls !== undefined && { tls, serverName }),
    });
  }

  async #resolve({ host, port }: HostPort): Promise<HostPort | undefined> {
    const { resolve = resolveByDns } = this.#options;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((done) => {
      timer = setTimeout(done, RESOLVE_MS_MAX, undefined);
    });
    try {
      return await Promise.race([resolve({ host, port }), late]);
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }
}

/** As the system resolves names, which nothing in between remembers. */
const resolveByDns: Resolve = async ({ host, port }) => ({
  host: (await lookup(host)).address,
  port,
});
