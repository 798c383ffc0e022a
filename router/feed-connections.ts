/**
 * How does each subscriber reach its publisher?
 *
 * An airlock reads its region's primary of the moment, a private primary the airlocks of its peers.
 * The password is in a file that the subscriber's server reads, never in the catalogue; that file
 * has a line for each node of the region, so that it need not change when the primary does. Where
 * servers have no such file it stands in the subscription. An airlock that is to follow whoever moves
 * the primary is given every node of its region, and libpq takes the one that accepts writes.
 */
import type { ClusterName } from '../policies/cluster-state.ts';
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

/** What has to be in the password files of a cluster's servers, so that its subscriptions start. */
export function passwordsWanted(
  operator: Operator,
): { reader: ClusterName; database: string; entries: readonly PasswordEntry[] }[] {
  const { regions } = operator.catalogue;
  return [...regions.values()].flatMap((region) => [
    ...region.airlocks.map(({ name }) => ({
      reader: name,
      database: region.database,
      entries: entriesHome(operator, region),
    })),
    ...[...regions.values()]
      .filter(({ id }) => id !== region.id)
      .map((peer) => ({
        reader: region.id,
        database: peer.database,
        entries: [entryFrom(operator, region, peer)],
      })),
  ]);
}

export type PasswordEntry = { to: { host: string; port: number }; user: string; password: string };

/** From an airlock to the node of its region that takes writes. */
export async function connectionHome(
  operator: Operator,
  region: Region,
  airlock: Airlock,
  primary: NodeAddress,
): Promise<string> {
  const { link, password, passfile, subscriptions } = operator;
  const { id, database, nodes } = region;
  const file = await passfile(`${airlock.name}.feed`, entriesHome(operator, region));
  const asked = subscriptions?.followPrimary === true ? nodes : [primary];
  const to = asked.map((node) => link(id, node));
  const secret = password(feedPassword(id));
  return conninfo(operator, { to, database, user: FEED_ROLE, file, secret });
}

/** From a region's private primary, whichever node that is, to the airlock of a peer. */
async function connectionFrom(operator: Operator, region: Region, peer: Region): Promise<string> {
  const entry = entryFrom(operator, region, peer);
  const { to, user, password: secret } = entry;
  const file = await operator.passfile(`${region.id}.from-${peer.id}`, [entry]);
  return conninfo(operator, { to: [to], database: peer.database, user, file, secret });
}

function entriesHome({ link, password }: Operator, { id, nodes }: Region): PasswordEntry[] {
  const secret = password(feedPassword(id));
  return nodes.map((node) => ({ to: link(id, node), user: FEED_ROLE, password: secret }));
}

function entryFrom({ link, password }: Operator, { id }: Region, peer: Region): PasswordEntry {
  const to = link(id, airlockFor(peer, id));
  return { to, user: peerRole(id), password: password(peerPassword(peer.id, id)) };
}

type Connection = {
  /** Where there are several, the one is taken that accepts writes. */
  to: readonly { host: string; port: number }[];
  database: string;
  user: string;
  /** Undefined: the servers have none. */
  file: string | undefined;
  secret: string;
};

function conninfo(
  { subscriptions }: Operator,
  { to, database, user, file, secret }: Connection,
): string {
  const words = {
    host: to.map(({ host }) => host).join(','),
    port: to.map(({ port }) => port).join(','),
    dbname: database,
    user,
    ...(file === undefined ? { password: secret } : { passfile: file }),
    connect_timeout: '5',
    ...(to.length > 1 && { target_session_attrs: 'read-write' }),
    ...subscriptions?.parameters,
  };
  return Object.entries(words)
    .map(([name, value]) => `${name}=${quoted(value)}`)
    .join(' ');
}

/** As libpq reads it; most values stand as they are. */
function quoted(value: string): string {
  return /^[^\s'\\]+$/.test(value) ? value : `'${value.replaceAll(/['\\]/g, '\\$&')}'`;
}
