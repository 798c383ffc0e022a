/**
 * How does an auditor reach everything that a running world holds?
 *
 * From another process than the one that runs it. Of a local world by its folder alone: addresses
 * from what the edges were started with, passwords from the world's own file, processes from their
 * command lines. Of an installation by its file; what lies on its machines is out of reach. Nothing is
 * drawn, written or started here.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Catalogue, Region, RegionId } from '../../regions/catalogue.ts';
import { commandOf, everyPid } from '../../regions/local/process-identity.ts';
import { worldRoot } from '../../regions/local/world-folder.ts';
import { type Endpoint, LeasePool, type Sql } from '../../regions/postgres.ts';
import { openInstallation } from '../installation/open-installation.ts';
import { openLocalWorld } from '../local-operator.ts';
import type { Where } from '../open-world.ts';
import type { Operator } from '../operator.ts';
import type { AppFiles } from '../read-files.ts';
import { LINKS_FILE, type RecordedLink } from '../record-wire.ts';

export type ClusterNode = {
  name: string;
  region: Region;
  kind: 'private' | 'airlock';
  /** Regions that hold a login of it; none of a private node. */
  peers: readonly RegionId[];
};

export type AuditedWorld = {
  /** Where reports and keys lie, unless somebody says otherwise. */
  reports: string;
  operator: Operator;
  /** What the world was started with. */
  files: AppFiles;
  catalogue: Catalogue;
  nodes: readonly ClusterNode[];
  /** Superuser of a node, in the region's database. */
  superuser: (node: string) => Endpoint;
  /** Of 256 bits, as edges hold it. */
  key: (purpose: string) => Buffer;
  edges: readonly { name: string; region: RegionId; url: string }[];
  /** What runs on this machine; undefined: all of it runs on others. */
  machine: AuditedMachine | undefined;
};

export type AuditedMachine = {
  dataDirectory: (node: string) => string;
  logFile: (node: string) => string;
  /** What edges and the world itself write while they run. */
  runFolder: string;
  edgeLog: (edge: string) => string;
  /** Processes that were started as this edge. */
  edgePids: (name: string) => number[];
  /** Undefined when what passes between regions is not recorded. */
  wire: { folder: string; links: readonly RecordedLink[] } | undefined;
};

const CONNECT_MS_MAX = 10_000;

/** @throws CannotStart when no world runs there, or when the installation's files are not sound. */
export async function openAuditedWorld({ root, installation }: Where): Promise<AuditedWorld> {
  if (installation === undefined) return openRunningWorld(root);
  const path = resolve(installation);
  const { operator, files } = await openInstallation(path);
  return auditedWorld(operator, files, join(dirname(path), 'audit'), undefined);
}

/** @throws CannotStart when no world runs there. */
export async function openRunningWorld(path: string): Promise<AuditedWorld> {
  const { operator, files } = await openLocalWorld(path);
  const root = (await worldRoot(path)) ?? path;
  const runFolder = join(root, 'run');
  return auditedWorld(operator, files, join(root, 'audit'), {
    dataDirectory: (node) => join(root, 'postgres', 'clusters', node, 'data'),
    logFile: (node) => join(root, 'logs', `${node}.log`),
    runFolder,
    edgeLog: (edge) => join(runFolder, `${edge}.log`),
    edgePids: (name) => everyPid().filter((pid) => runsAsEdge(pid, name, runFolder)),
    wire: wireOf(runFolder),
  });
}

function auditedWorld(
  operator: Operator,
  files: AppFiles,
  reports: string,
  machine: AuditedMachine | undefined,
): AuditedWorld {
  const { catalogue, superuser, key } = operator;
  const edges = [...catalogue.regions.values()].flatMap(({ id, edges: named }) =>
    named.map(({ name, url }) => ({ name, region: id, url })),
  );
  const nodes = nodesOf(catalogue);
  return { reports, operator, files, catalogue, nodes, superuser, key, edges, machine };
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

function nodesOf(catalogue: Catalogue): ClusterNode[] {
  return [...catalogue.regions.values()].flatMap((region) => [
    ...region.nodes.map(({ name }): ClusterNode => ({ name, region, kind: 'private', peers: [] })),
    ...region.airlocks.map(
      ({ name, peers }): ClusterNode => ({ name, region, kind: 'airlock', peers }),
    ),
  ]);
}

function runsAsEdge(pid: number, name: string, runFolder: string): boolean {
  const command = `${commandOf(pid) ?? ''} `;
  return (
    command.includes(' edge ') &&
    command.includes(` --name ${name} `) &&
    // Another world may have an edge of the same name.
    command.includes(` --regions ${runFolder}/`)
  );
}

function wireOf(runFolder: string): AuditedMachine['wire'] {
  const folder = join(runFolder, 'wire');
  const list = join(folder, LINKS_FILE);
  if (!existsSync(list)) return undefined;
  const links = JSON.parse(readFileSync(list, 'utf8')) as RecordedLink[];
  return { folder, links };
}
