/**
 * Which ports does a catalogue claim on this machine, and how is it moved to others?
 */
import type { Catalogue, NodeAddress, Region } from '../catalogue.ts';
import type { PortUse } from './ports.ts';

/** The ports of the Postgres servers; edges are somebody else's processes. */
export function postgresPorts(catalogue: Catalogue): PortUse[] {
  return [...catalogue.regions.values()].flatMap(({ id, nodes, airlocks }) => [
    ...nodes.map((node) => use(node, `Postgres ${node.name}`, `regions.${id}.nodes`)),
    ...airlocks.map((airlock) => {
      const where = airlocks.length === 1 ? 'airlock' : 'airlocks';
      return use(airlock, `airlock ${airlock.name}`, `regions.${id}.${where}`);
    }),
  ]);
}

/** The ports of the edges, from their addresses. */
export function edgePorts(catalogue: Catalogue): PortUse[] {
  return [...catalogue.regions.values()].flatMap(({ id, edges }) =>
    edges.map(({ name, url }) => useOf(url, `edge ${name}`, `regions.${id}.edges`)),
  );
}

/** The ports of the keepers that come with Domicile; others are not ours to start. */
export function keeperPorts(catalogue: Catalogue): PortUse[] {
  return [...catalogue.regions.values()].flatMap(({ id, keeper }) =>
    keeper?.url === undefined ? [] : [useOf(keeper.url, `keeper of ${id}`, `regions.${id}.keeper`)],
  );
}

/** How many ports `withPorts` takes for this catalogue. */
export function portsNeeded(catalogue: Catalogue): number {
  return [postgresPorts, edgePorts, keeperPorts].flatMap((ports) => ports(catalogue)).length;
}

/** The same world on other ports, taken in order: per region nodes, airlocks, edges, keeper. */
export function withPorts(catalogue: Catalogue, ports: readonly number[]): Catalogue {
  const left = [...ports];
  const next = (): number => {
    const port = left.shift();
    if (port === undefined) {
      throw new RangeError(
        `${portsNeeded(catalogue)} ports are needed, ${ports.length} were given`,
      );
    }
    return port;
  };
  const moved = (region: Region): Region => ({
    ...region,
    nodes: region.nodes.map((node) => ({ ...node, port: next() })),
    airlocks: region.airlocks.map((airlock) => ({ ...airlock, port: next() })),
    // A public address leads to the world that did not move.
    edges: region.edges.map(({ name, url }) => ({ name, url: onPort(url, next()) })),
    ...(region.keeper?.url !== undefined && {
      keeper: { url: onPort(region.keeper.url, next()) },
    }),
  });
  const regions = new Map([...catalogue.regions].map(([id, region]) => [id, moved(region)]));
  return { ...catalogue, regions };
}

/** The same world on consecutive ports from `base` on. */
export function fromBasePort(catalogue: Catalogue, base: number): Catalogue {
  const ports = Array.from({ length: portsNeeded(catalogue) }, (_, i) => base + i);
  return withPorts(catalogue, ports);
}

function useOf(url: string, purpose: string, where: string): PortUse {
  const { hostname, port, protocol } = new URL(url);
  const number = port === '' ? (protocol === 'https:' ? 443 : 80) : Number(port);
  return use({ name: purpose, host: hostname, port: number }, purpose, where);
}

function use(node: NodeAddress, purpose: string, where: string): PortUse {
  return { host: node.host, port: node.port, purpose, changeIn: `${where} of the catalogue` };
}

function onPort(url: string, port: number): string {
  const moved = new URL(url);
  moved.port = String(port);
  // URL adds a slash to a bare origin; the catalogue's way of writing it is kept.
  return url.endsWith('/') ? moved.href : moved.href.replace(/\/$/, '');
}
