/**
 * How does each subscriber reach its publisher?
 *
 * An airlock reads its region's primary of the moment, a private primary the airlocks of its peers.
 * The password is in a file that the subscriber's server reads, never in the catalogue. That file
 * has a line for each node of the region, so that it need not change when the primary does.
 */
import {
  connectionName,
  FEED_ROLE,
  peerRole,
  subscriptionFrom,
  subscriptionHome,
} from '../policies/desired-state.ts';
import { type Airlock, airlockFor, type NodeAddress, type Region } from '../regions/catalogue.ts';
import type { Operator } from './operator.ts';
import { feedPassword, peerPassword } from './password-names.ts';

/** Of every subscription of every cluster, by `connectionName`. */
export async function connectionsOf(
  operator: Operator,
  primaryOf: (region: Region) => Promise<NodeAddress>,
): Promise<Map<string, string>> {
  const connections = new Map<string, string>();
  const { regions } = operator.catalogue;
  for (const region of regions.values()) {
    for (const airlock of region.airlocks) {
      const name = connectionName(airlock.name, subscriptionHome(airlock.name));
      const primary = await primaryOf(region);
      connections.set(name, await connectionHome(operator, region, airlock, primary));
    }
    for (const peer of regions.values()) {
      if (peer.id === region.id) continue;
      const name = connectionName(region.id, subscriptionFrom(peer.id));
      connections.set(name, await connectionFrom(operator, region, peer));
    }
  }
  return connections;
}

/** From an airlock to the node of its region that takes writes. */
export async function connectionHome(
  { link, password, passfile }: Operator,
  { id, database, nodes }: Region,
  airlock: Airlock,
  primary: NodeAddress,
): Promise<string> {
  const entries = nodes.map((node) => ({
    to: link(id, node),
    user: FEED_ROLE,
    password: password(feedPassword(id)),
  }));
  const file = await passfile(`${airlock.name}.feed`, entries);
  return conninfo(link(id, primary), database, FEED_ROLE, file);
}

/** From a region's private primary, whichever node that is, to the airlock of a peer. */
async function connectionFrom(
  { link, password, passfile }: Operator,
  { id }: Region,
  peer: Region,
): Promise<string> {
  const user = peerRole(id);
  const to = link(id, airlockFor(peer, id));
  const secret = password(peerPassword(peer.id, id));
  const file = await passfile(`${id}.from-${peer.id}`, [{ to, user, password: secret }]);
  return conninfo(to, peer.database, user, file);
}

function conninfo(
  to: { host: string; port: number },
  database: string,
  user: string,
  passfile: string,
): string {
  return `host=${to.host} port=${to.port} dbname=${database} user=${user} passfile=${passfile} connect_timeout=5`;
}
