/**
 * `domicile keeper`: runs the keeper of one region until it is told to stop.
 *
 * It takes its office before it does anything: a second keeper that somebody starts by mistake on
 * the same record is refused, and one on another machine loses every compare-and-swap.
 */
import { resolve } from 'node:path';
import { refuseSite } from '../policies/refuse-site.ts';
import type { NodeAddress, Region } from '../regions/catalogue.ts';
import { SUPERUSER } from '../regions/local/postgres-settings.ts';
import { takeLock } from '../regions/local/world-lock.ts';
import { Keeper } from './keeper/keeper.ts';
import { keeperApp, serveKeeper } from './keeper/keeper-server.ts';
import { startKeeperTelemetry } from './keeper/keeper-telemetry.ts';
import { KeptFeeds } from './keeper/kept-feeds.ts';
import { machineAt, NO_MACHINE } from './keeper/machine.ts';
import { OwnServers } from './keeper/own-servers.ts';
import { fileRecordStore } from './keeper/record-store.ts';
import { openLocalWorld } from './local-operator.ts';
import { besideApp, readFiles } from './read-files.ts';
import { readTelemetry } from './telemetry/telemetry-settings.ts';
import { UnmetTrust, warnOfPlainText } from './unmet-trust.ts';

export type KeeperCommand = {
  region: string;
  app: string;
  policy?: string;
  regions?: string;
  /** The folder of the record. */
  record: string;
};

export type KeeperOutside = {
  environment: Readonly<Record<string, string | undefined>>;
  now: () => number;
  at: () => string;
  pid: number;
  /** Of the program. */
  version: string;
  log: (line: Record<string, unknown>) => void;
};

export type KeeperStart =
  | { address: string; stop: () => Promise<void> }
  | { complaints: readonly string[] };

/** What an edge may take to say what it sees. */
const EDGE_MS_MAX = 500;

export async function startKeeper(
  command: KeeperCommand,
  outside: KeeperOutside,
): Promise<KeeperStart> {
  const { environment, now, at, pid, version, log } = outside;
  const files = await readFiles(besideApp(command.app, command));
  if ('complaints' in files) return { complaints: files.complaints };
  const region = files.catalogue.regions.get(command.region);
  if (region === undefined) {
    const known = [...files.catalogue.regions.keys()].join(', ');
    return { complaints: [`--region  no region "${command.region}"; there are ${known}`] };
  }
  const url = region.keeper?.url;
  if (url === undefined) {
    return { complaints: [`the regions file names no keeper for "${region.id}"`] };
  }
  const missing = ['DOMICILE_KEEPER_PASSWORD', 'DOMICILE_OPERATOR_TOKEN'].filter(
    (name) => (environment[name] ?? '') === '',
  );
  if (missing.length > 0) {
    return { complaints: missing.map((name) => `${name}  is needed and is not set`) };
  }
  const telling = readTelemetry(environment);
  if ('complaints' in telling) return telling;
  const folder = resolve(command.record);
  const office = await takeLock(
    folder,
    (holder) => `The keeper of ${region.id} is process ${holder.pid} already; there is one only.`,
  );
  // Last begun, first ended: whoever gives up the office must not go on in it.
  const endings = [() => office.release()];
  const stop = async () => {
    for (const end of endings.splice(0).reverse()) await end();
  };
  try {
    const store = fileRecordStore(folder);
    const machineUrl = environment.DOMICILE_MACHINE_URL;
    const feeds = await feedsOf(region, environment.DOMICILE_WORLD, log);
    if (feeds !== undefined) endings.push(() => feeds.close());
    warnOfPlainText(region.id, region.nodes, log);
    const servers = new OwnServers({
      region,
      trust: new UnmetTrust(log),
      feedsReady: (standby) => feeds === undefined || feeds.isReady(standby),
      superuser: (node) => endpointOf(region, node, environment.DOMICILE_KEEPER_PASSWORD ?? ''),
      machine:
        machineUrl === undefined
          ? NO_MACHINE
          : machineAt(machineUrl, region.id, environment.DOMICILE_MACHINE_TOKEN ?? ''),
      now,
    });
    const { policy } = files;
    const { commits, possibleLoss, betweenSites } = policy.failover;
    const keeper = new Keeper({
      region,
      store,
      servers,
      edgesHeardMsAgo: (node) => askEdges(region, node),
      ...(feeds !== undefined && {
        onPrimary: (node) => feeds.follow(node),
        onTakeover: (node) => feeds.takePlacesBack(node),
        onLoss: (node, when) => feeds.end(node, when),
      }),
      commits,
      possibleLoss,
      betweenSites,
      refuseSite: (site) => refuseSite(policy, region, site),
      now,
      at,
      name: `keeper ${region.id} (process ${pid})`,
      log,
    });
    const telemetry = await startKeeperTelemetry({
      keeper,
      region: region.id,
      name: `keeper-${region.id}`,
      version,
      settings: telling.settings,
      now,
      log,
    });
    if ('complaints' in telemetry) {
      await stop();
      return telemetry;
    }
    endings.push(telemetry.stop, () => keeper.stop());
    await keeper.start();
    feeds?.keepPlaces(() => keeper.status().record);
    const { hostname, port } = new URL(url);
    const token = environment.DOMICILE_OPERATOR_TOKEN ?? '';
    const server = await serveKeeper(keeperApp(keeper, store, token), hostname, Number(port));
    endings.push(() => server.close());
    return { address: url, stop };
  } catch (error) {
    await stop();
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EADDRINUSE' && code !== 'EACCES') throw error;
    return { complaints: [`${url}  cannot be listened on (${code})`] };
  }
}

/** Whoever has the passwords of a world on this machine can mend its feeds. */
async function feedsOf(
  { id, nodes, airlocks }: Region,
  world: string | undefined,
  log: KeeperOutside['log'],
): Promise<KeptFeeds | undefined> {
  if (world === undefined) return undefined;
  const { operator } = await openLocalWorld(world);
  const seen = [...nodes, ...airlocks];
  const superuser = (node: string) => ({
    ...operator.superuser(node),
    // As the keeper reaches it, which may be through a proxy.
    ...addressOf(seen.find(({ name }) => name === node)),
  });
  return new KeptFeeds({ operator: { ...operator, superuser }, region: id, log });
}

function addressOf(node: NodeAddress | undefined) {
  return node && { host: node.host, port: node.port };
}

function endpointOf({ nodes, database }: Region, node: string, password: string) {
  const address = nodes.find(({ name }) => name === node);
  if (address === undefined) throw new RangeError(`no node ${node}`);
  return { ...address, database, user: SUPERUSER, password };
}

type Health = { nodes?: { node: string; role: string; seenMsAgo: number }[] };

/** The most recent word that any edge of the region has of this node as primary. */
async function askEdges({ edges }: Region, node: string): Promise<number | undefined> {
  const said = await Promise.all(
    edges.map(async ({ url }) => {
      try {
        const response = await fetch(`${url}/.domicile/health`, {
          signal: AbortSignal.timeout(EDGE_MS_MAX),
        });
        const { nodes = [] } = (await response.json()) as Health;
        return nodes.find((one) => one.node === node && one.role === 'primary')?.seenMsAgo;
      } catch {
        return undefined;
      }
    }),
  );
  const heard = said.filter((msAgo) => msAgo !== undefined);
  return heard.length === 0 ? undefined : Math.min(...heard);
}
