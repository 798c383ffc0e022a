/**
 * How does an auditor reach everything that a running local world holds?
 *
 * From another process than the one that runs it, by its folder alone: addresses from what the
 * edges were started with, passwords from the world's own file, processes from their command lines.
 * Nothing is drawn, written or started here.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Catalogue, Region, RegionId } from '../../regions/catalogue.ts';
import { commandOf, everyPid } from '../../regions/local/process-identity.ts';
import { isWorld, worldRoot } from '../../regions/local/world-folder.ts';
import { worldHolder } from '../../regions/local/world-lock.ts';
import { type Endpoint, LeasePool, type Sql } from '../../regions/postgres.ts';
import { readCatalogue } from '../../regions/read-catalogue.ts';
import { keyFrom } from '../provision.ts';
import { LINKS_FILE, type RecordedLink } from '../record-wire.ts';

export type ClusterNode = {
  name: string;
  region: Region;
  kind: 'private' | 'airlock';
  /** Regions that hold a login of it; none of a private node. */
  peers: readonly RegionId[];
};

export type AuditedWorld = {
  root: string;
  catalogue: Catalogue;
  nodes: readonly ClusterNode[];
  /** Superuser of a node, in the region's database unless another one is named. */
  superuser: (node: string, database?: string) => Endpoint;
  /** Drawn when the world began. @throws RangeError for a name that it does not know. */
  password: (name: string) => string;
  /** Of 256 bits, as edges hold it. */
  key: (purpose: string) => Buffer;
  dataDirectory: (node: string) => string;
  logFile: (node: string) => string;
  /** What edges and the world itself write while they run. */
  runFolder: string;
  edges: readonly { name: string; region: RegionId; url: string; logFile: string }[];
  /** Processes that were started as this edge. */
  edgePids: (name: string) => number[];
  /** Undefined when what passes between regions is not recorded. */
  wire: { folder: string; links: readonly RecordedLink[] } | undefined;
};

const CONNECT_MS_MAX = 10_000;
const SEEN_FROM = /^regions-seen-from-(.+)\.yaml$/;

export async function openRunningWorld(
  path: string,
): Promise<{ world: AuditedWorld } | { because: string }> {
  const root = await worldRoot(path);
  if (root === undefined || !(await isWorld(root))) {
    return { because: `there is no Domicile world in ${path}` };
  }
  if ((await worldHolder(root)) === undefined) {
    return { because: `the world in ${root} does not run; start it, then audit it` };
  }
  const runFolder = join(root, 'run');
  const catalogue = catalogueOf(runFolder);
  if (catalogue === undefined) return { because: `${runFolder} does not say which regions run` };
  const secrets = JSON.parse(await readFile(join(root, 'secrets.json'), 'utf8')) as Record<
    string,
    string
  >;
  const password = (name: string) => {
    const known = secrets[name];
    if (known === undefined) throw new RangeError(`the world has no password "${name}"`);
    return known;
  };
  const nodes = nodesOf(catalogue);
  const nodeOf = (name: string) => {
    const found = nodes.find((node) => node.name === name);
    if (found === undefined) throw new RangeError(`no node ${name}`);
    return found;
  };
  return {
    world: {
      root,
      catalogue,
      nodes,
      password,
      key: (purpose) => keyFrom(password(purpose)),
      superuser(name, database) {
        const { region, kind } = nodeOf(name);
        const at = [...region.nodes, ...region.airlocks].find((node) => node.name === name);
        const secret =
          kind === 'airlock' ? `${region.id}.airlock.superuser` : `${region.id}.superuser`;
        return {
          name,
          host: at?.host ?? '',
          port: at?.port ?? 0,
          database: database ?? region.database,
          user: 'postgres',
          password: password(secret),
        };
      },
      dataDirectory: (node) => join(root, 'postgres', 'clusters', node, 'data'),
      logFile: (node) => join(root, 'logs', `${node}.log`),
      runFolder,
      edges: [...catalogue.regions.values()].flatMap(({ id, edges }) =>
        edges.map(({ name, url }) => ({
          name,
          region: id,
          url,
          logFile: join(runFolder, `${name}.log`),
        })),
      ),
      edgePids: (name) => everyPid().filter((pid) => runsAsEdge(pid, name, runFolder)),
      wire: wireOf(runFolder),
    },
  };
}

/** Runs statements as a superuser of one node, on a connection that ends with them. */
export async function asSuperuser<T>(
  endpoint: Endpoint,
  use: (sql: Sql) => Promise<T>,
  timeoutMs: number,
): Promise<T> {
  const pool = new LeasePool({
    endpoint,
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: CONNECT_MS_MAX,
    settings: { application_name: 'domicile audit' },
  });
  try {
    return await pool.run(use, { timeoutMs });
  } finally {
    await pool.close({ timeoutMs: 1_000 });
  }
}

/** Which node of a region takes writes now; undefined when none does. */
export async function primaryOf(world: AuditedWorld, region: Region): Promise<string | undefined> {
  for (const { name } of region.nodes) {
    try {
      const [row] = await asSuperuser(
        world.superuser(name),
        (sql) => sql<{ replica: boolean }[]>`select pg_is_in_recovery() as replica`,
        CONNECT_MS_MAX,
      );
      if (row?.replica === false) return name;
    } catch {
      // A node that does not answer takes no writes; who needs it will say so.
    }
  }
  return undefined;
}

/**
 * Every edge was told its own address and a way to the others, which may lead through proxies; put
 * together, their own addresses are the catalogue.
 */
function catalogueOf(runFolder: string): Catalogue | undefined {
  let catalogue: Catalogue | undefined;
  const own = new Map<RegionId, Region>();
  for (const name of namesIn(runFolder)) {
    const id = SEEN_FROM.exec(name)?.[1];
    if (id === undefined) continue;
    const read = readCatalogue(readFileSync(join(runFolder, name), 'utf8'), name);
    if (!('catalogue' in read)) return undefined;
    catalogue = read.catalogue;
    const region = read.catalogue.regions.get(id);
    if (region !== undefined) own.set(id, region);
  }
  return catalogue && { ...catalogue, regions: own };
}

function nodesOf(catalogue: Catalogue): ClusterNode[] {
  return [...catalogue.regions.values()].flatMap((region) => [
    ...region.nodes.map(({ name }): ClusterNode => ({ name, region, kind: 'private', peers: [] })),
    ...region.airlocks.map(
      ({ name, peers }): ClusterNode => ({ name, region, kind: 'airlock', peers }),
    ),
  ]);
}

function runsAsEdge(pid: number, name: string, runFolder: string): boolean {
  const words = commandOf(pid)?.split(' ') ?? [];
  const regions = words[words.indexOf('--regions') + 1] ?? '';
  return (
    words.includes('edge') &&
    words[words.indexOf('--name') + 1] === name &&
    regions.startsWith(runFolder)
  );
}

function wireOf(runFolder: string): AuditedWorld['wire'] {
  const folder = join(runFolder, 'wire');
  if (!namesIn(folder).includes(LINKS_FILE)) return undefined;
  const links = JSON.parse(readFileSync(join(folder, LINKS_FILE), 'utf8')) as RecordedLink[];
  return { folder, links };
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
