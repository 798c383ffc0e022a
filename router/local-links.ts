/**
 * Through which proxies do the processes of a local world reach each other?
 *
 * One Toxiproxy for the world, and one proxy for each pair of who reaches what, so that any link can
 * be slowed or cut while all others stay. Links between regions take as long as the catalogue says if
 * that is wanted; links inside a region take no time of their own. A proxy is called
 * `<who>-to-<what>`, where `<what>` is the name of an edge, a node or an airlock, or `keeper-<region>`,
 * and `<who>` is a region (its edges, and the primary of the moment, which reads airlocks),
 * `edges-<region>`, `keeper-<region>`, `feed-<region>` (its airlocks) or a node.
 */
import { join } from 'node:path';
import {
  airlockFor,
  type Catalogue,
  type NodeAddress,
  type Region,
  type RegionId,
  roundTripMs,
} from '../regions/catalogue.ts';
import { type LocalChild, startChild } from '../regions/local/child-process.ts';
import { freePorts } from '../regions/local/ports.ts';
import { Faults, findToxiproxy, type NewProxy } from '../regions/toxiproxy.ts';
import type { Address, Links } from './record-wire.ts';
import type { WorldOptions } from './world.ts';

export type LocalLinks = Links & {
  faults: Faults;
  /** The regions as a keeper reaches its own nodes. */
  keeperSees: (region: RegionId) => Catalogue;
  /** How a standby reaches its primary; undefined: as the catalogue says. */
  standby: (from: string, to: NodeAddress) => Address | undefined;
};

const READY_MS_MAX = 30_000;
const STOP_MS_MAX = 5_000;

export async function startLinks(
  options: WorldOptions,
  children: LocalChild[],
): Promise<LocalLinks> {
  const { catalogue, report } = options;
  const { faults, kind } = await startFaults(options, children);
  const known = await faults.proxies();
  const addresses = new Map<string, Address>();
  const add = async (who: string, what: string, upstream: string, delayMs: number) => {
    const name = `${who}-to-${what}`;
    if (known.has(name)) await faults.removeProxy(name);
    addresses.set(name, await proxyFor(faults, { name, listen: '127.0.0.1:0', upstream }, delayMs));
  };
  if (options.wan || options.betweenLinks === true) {
    for (const from of catalogue.regions.keys()) {
      for (const to of catalogue.regions.values()) {
        if (to.id === from) continue;
        const delayMs = options.wan ? Math.round(roundTripMs(catalogue, from, to.id) / 2) : 0;
        const airlock = airlockFor(to, from);
        await add(from, airlock.name, hostPort(airlock), delayMs);
        for (const { name, url } of to.edges) await add(from, name, new URL(url).host, delayMs);
      }
    }
    const how = options.wan ? 'take their real time, through' : 'lead through';
    report(`links between regions ${how} ${kind} Toxiproxy at ${faults.url}`);
  }
  if (options.innerLinks === true) {
    for (const { id, nodes, airlocks, edges, keeper } of catalogue.regions.values()) {
      if (keeper?.url !== undefined) {
        const { host } = new URL(keeper.url);
        await add(`edges-${id}`, `keeper-${id}`, host, 0);
        for (const { name, url } of edges) await add(`keeper-${id}`, name, new URL(url).host, 0);
        for (const airlock of airlocks) {
          await add(`keeper-${id}`, airlock.name, hostPort(airlock), 0);
        }
      }
      for (const node of nodes) {
        for (const who of [`edges-${id}`, `keeper-${id}`, `feed-${id}`]) {
          await add(who, node.name, hostPort(node), 0);
        }
        for (const other of nodes) {
          if (other !== node) await add(other.name, node.name, hostPort(node), 0);
        }
      }
    }
    report(`links inside regions lead through ${kind} Toxiproxy at ${faults.url}`);
  }
  const at = (who: string, what: string) => addresses.get(`${who}-to-${what}`);
  /** The region itself as one of its own processes reaches it. */
  const inside = (region: Region, kind: 'edges' | 'keeper'): Region => {
    const who = `${kind}-${region.id}`;
    const { keeper } = region;
    return {
      ...region,
      nodes: region.nodes.map((node) => ({ ...node, ...at(who, node.name) })),
      airlocks: region.airlocks.map((airlock) => ({ ...airlock, ...at(who, airlock.name) })),
      edges: region.edges.map(reachedBy(who)),
      ...(keeper?.url !== undefined && {
        keeper: { ...keeper, url: urlThrough(at(who, `keeper-${region.id}`), keeper.url) },
      }),
    };
  };
  const seenBy = (who: 'edges' | 'keeper', region: RegionId): Catalogue => ({
    ...catalogue,
    regions: new Map(
      [...catalogue.regions].map(([id, one]) => [
        id,
        id === region ? inside(one, who) : { ...one, edges: one.edges.map(reachedBy(region)) },
      ]),
    ),
  });
  // Clients are not behind the proxies.
  const reachedBy =
    (who: string) =>
    ({ name, url, publicUrl = url }: Region['edges'][number]) => ({
      name,
      url: urlThrough(at(who, name), url),
      publicUrl,
    });
  return {
    faults,
    link: (from, to) => at(from, to.name) ?? at(`feed-${from}`, to.name),
    seenFrom: (region) => seenBy('edges', region),
    keeperSees: (region) => seenBy('keeper', region),
    standby: (from, to) => at(from, to.name),
  };
}

async function startFaults(
  { root, environment, onExit }: WorldOptions,
  children: LocalChild[],
): Promise<{ faults: Faults; kind: string }> {
  const found = findToxiproxy(environment);
  let url: string;
  if (found.kind === 'running') url = found.url;
  else {
    const [port = 0] = await freePorts(1);
    url = `http://127.0.0.1:${port}`;
    children.push(
      await startChild({
        name: 'toxiproxy',
        command: found.command,
        args: found.args({ host: '127.0.0.1', port }),
        env: {},
        cwd: process.cwd(),
        logFile: join(root, 'run', 'toxiproxy.log'),
        ready: { kind: 'spawned' },
        readyLimitMs: READY_MS_MAX,
        stopLimitMs: STOP_MS_MAX,
        onExit: (exit) => onExit?.('toxiproxy', exit),
      }),
    );
  }
  const faults = new Faults(url);
  await faults.untilReady({ withinMs: READY_MS_MAX });
  return { faults, kind: found.kind === 'built-in' ? 'the built-in' : 'the running' };
}

/** Half a round trip in each direction. */
async function proxyFor(faults: Faults, wanted: NewProxy, delayMs: number): Promise<Address> {
  const { listen } = await faults.createProxy(wanted);
  for (const stream of delayMs === 0 ? [] : (['upstream', 'downstream'] as const)) {
    await faults.addToxic(wanted.name, {
      type: 'latency',
      stream,
      name: `distance-${stream}`,
      attributes: { latency: delayMs },
    });
  }
  const [host = '', port = ''] = listen.split(':');
  return { host, port: Number(port) };
}

function urlThrough(proxy: Address | undefined, direct: string): string {
  return proxy === undefined ? direct : `http://${hostPort(proxy)}`;
}

function hostPort({ host, port }: Address): string {
  return `${host}:${port}`;
}
