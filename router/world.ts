/**
 * How does a whole Domicile come to run on this machine?
 *
 * The clusters of every region, what must be in them, links with real distances if wanted, and one
 * edge process a region. Each edge gets its own region's password and the catalogue as seen from
 * its place, and nothing else.
 */
import { appendFileSync } from 'node:fs';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { Policy } from '../policies/policy.ts';
import type { Catalogue, RegionId } from '../regions/catalogue.ts';
import { CannotStart } from '../regions/local/cannot-start.ts';
import { edgePorts, keeperPorts } from '../regions/local/catalogue-ports.ts';
import { type ChildExit, type LocalChild, startChild } from '../regions/local/child-process.ts';
import {
  type Machine,
  machineSecret,
  type Supervised,
  serveMachine,
  WORLD_SECRET,
  type WorldProcess,
} from '../regions/local/machine-server.ts';
import { serverUser } from '../regions/local/process-user.ts';
import {
  type LastPrimary,
  type LocalClusters,
  startClusters,
  superuserSecret,
} from '../regions/local/start-clusters.ts';
import { claimRoot } from '../regions/local/world-folder.ts';
import { ownModule } from '../regions/own-module.ts';
import type { Faults } from '../regions/toxiproxy.ts';
import { backupPlace } from './backup/archive-folder.ts';
import { type Archiver, startArchiver } from './backup/archiver.ts';
import { BACKUPS_KEPT } from './backup/backups-kept.ts';
import { catalogueText } from './catalogue-text.ts';
import { localOperators, OPERATORS_FILE } from './console/local-operators.ts';
import { fileRecordStore } from './keeper/record-store.ts';
import { awaitSlotsReady } from './keeper/standby-slots.ts';
import { startLinks } from './local-links.ts';
import { LOCAL_ROLES, noteWorld } from './local-operator.ts';
import { type Operator, Session } from './operator.ts';
import {
  DIRECTORY_KEY_NAME,
  edgePassword,
  keeperToken,
  keyFrom,
  subjectKeyName,
} from './password-names.ts';
import { type Provisioned, provision } from './provision.ts';
import type { AppFiles } from './read-files.ts';
import { readMigrations } from './read-migrations.ts';
import { LINKS_FILE, type Links, recordWire, type WireRecorder } from './record-wire.ts';
import { scriptsToRun } from './scripts-to-run.ts';
import { type LocalMetrics, localMetrics } from './telemetry/local-metrics.ts';

export type WorldOptions = {
  root: string;
  files: AppFiles;
  catalogue: Catalogue;
  policy: Policy;
  /** Whether commits survive a crash of the machine; tests and demos need only processes' crashes. */
  durable: boolean;
  /** Every link between two regions goes through Toxiproxy and takes as long as the catalogue says. */
  wan: boolean;
  /** They go through it without delay, too, so that they can be broken. */
  betweenLinks?: boolean;
  /** So does every link inside a region, without delay: edges, keepers, standbys and feeds to nodes. */
  innerLinks?: boolean;
  /** Each region that names a keeper gets one. */
  keepers?: boolean;
  /** The log of each region goes to its archive, and base backups are taken so often, or by command only. */
  backups?: { everyMs: number | undefined; wallClock: () => number };
  /** What passes between two regions is kept, byte for byte, below the root's `run/wire`. */
  recordWire?: boolean;
  /** Each edge and keeper answers `/metrics`, on a port that `run/prometheus.json` names. */
  metrics?: boolean;
  environment: Readonly<Record<string, string | undefined>>;
  /** Further settings of every edge, such as DOMICILE_BUDGET_MS. */
  edgeSettings?: Readonly<Record<string, string>>;
  /** `YYYY-MM-DD`, before which no policy may be effective; the date of the servers by default. */
  today?: string;
  /** Who starts it, for the record of policy versions. */
  by?: string;
  report: (step: string) => void;
  onExit?: (name: string, exit: ChildExit) => void;
  signal?: AbortSignal;
};

export type World = {
  catalogue: Catalogue;
  clusters: LocalClusters;
  /** The edge processes, by the name that the catalogue gives them. */
  edges: ReadonlyMap<string, LocalChild>;
  /** Starts an edge that has ended once more, as it was. */
  startEdge: (name: string) => Promise<void>;
  /** The keeper processes, by region. */
  keepers: ReadonlyMap<RegionId, LocalChild>;
  /** Starts the keeper of a region, which must not run. */
  startKeeper: (region: RegionId) => Promise<void>;
  /** The fault injector on the links; undefined without proxies. */
  faults: Faults | undefined;
  stop: () => Promise<void>;
};

const MAIN = ownModule(import.meta.url, './main');

/** An edge looks at its nodes before it listens; on a busy machine this takes seconds. */
const EDGE_READY_MS = 30_000;
/** A standby looks for slots to copy at most this seldom while it finds none. */
const FEEDS_READY_MS_MAX = 30_000;
/** Longer than an edge's budget: requests under way are answered. */
const EDGE_STOP_MS = 5_000;

export async function startWorld(options: WorldOptions): Promise<World> {
  const { catalogue, files, report, signal } = options;
  const root = await claimRoot(options.root);
  const children: LocalChild[] = [];
  let clusters: LocalClusters | undefined;
  let recorder: WireRecorder | undefined;
  let machine: Machine | undefined;
  const keepers = new Map<RegionId, LocalChild>();
  const archivers: Archiver[] = [];
  const stop = async () => {
    // First, or they would replace what is being ended.
    await Promise.all([...keepers.values()].map((keeper) => keeper.stop()));
    await machine?.close();
    await Promise.all(children.map((child) => child.stop()));
    await clusters?.stop();
    // A primary that shuts down waits until its last log has arrived.
    await Promise.all(archivers.map((archiver) => archiver.stop()));
    await recorder?.stop();
  };
  try {
    // Before any server, because a subscription is made through its link.
    await mkdir(join(root, 'run'), { recursive: true });
    const proxied = options.wan || options.betweenLinks === true || options.innerLinks === true;
    const wan = proxied ? await startLinks(options, children) : undefined;
    // A list that an earlier start left behind names relays that are gone.
    await rm(join(root, 'run', 'wire', LINKS_FILE), { force: true });
    if (options.recordWire === true) {
      recorder = await recordWire({ catalogue, folder: join(root, 'run', 'wire'), through: wan });
    }
    const links: Links | undefined = recorder ?? wan;
    const known = await lastPrimaries(root, catalogue);
    clusters = await startClusters({
      root,
      catalogue,
      durable: options.durable,
      report,
      lastPrimary: (region) => known.get(region),
      ...(wan !== undefined && {
        link: (from, to) => wan.standby(from, to) ?? { host: to.host, port: to.port },
      }),
      otherPorts: [...edgePorts(catalogue), ...keeperPorts(catalogue)],
      onExit: (node, code, exitSignal) => options.onExit?.(node, { code, signal: exitSignal }),
      ...(signal !== undefined && { signal }),
    });
    const operator = operatorOf(catalogue, clusters, links);
    await noteWorld(root, { operator, files });
    const { policy, text } = await provisionFor(options, clusters, links);
    // Edges start under what is in force, which may be later than the file that the world was given.
    const inForce = join(root, 'run', 'residency-in-force.yaml');
    await writeFile(inForce, text);
    const edgeFiles =
      policy.version === options.policy.version ? files : { ...files, policy: inForce };
    signal?.throwIfAborted();
    const running = clusters;
    const metrics: LocalMetrics =
      options.metrics === true
        ? await localMetrics(root, catalogue, keptBy(options), options.environment)
        : new Map();
    await localOperators(root, (name) => running.password(name));
    const edges = new Map<string, LocalChild>();
    const supervised: Supervised = {
      list: () => [...listed('edge', catalogue, edges), ...listed('keeper', catalogue, keepers)],
      start: (name) => {
        const keeper = [...catalogue.regions.keys()].find((id) => keeperName(id) === name);
        return keeper === undefined ? startEdge(name) : startKeeper(keeper);
      },
    };
    const machineHere = await serveMachine({ catalogue, clusters: running, supervised, report });
    machine = machineHere;
    // Drawn now, for whoever reads it where secrets are kept.
    running.password(WORLD_SECRET);
    await noteMachine(root, { url: machineHere.url, toxiproxy: wan?.faults.url });
    const start = async (region: RegionId, name: string) => {
      const seen = { ...options, files: edgeFiles };
      const child = await startOneEdge(seen, running, links, region, name, metrics.get(name));
      children.push(child);
      edges.set(name, child);
    };
    const startEdge = async (name: string) => {
      const region = [...catalogue.regions.values()].find((one) =>
        one.edges.some((edge) => edge.name === name),
      );
      if (region === undefined) throw new RangeError(`no edge ${name}`);
      await start(region.id, name);
    };
    const startKeeper = async (region: RegionId) => {
      const seen = { ...options, files: edgeFiles };
      const sees = wan?.keeperSees(region) ?? catalogue;
      const telling = metrics.get(keeperName(region));
      keepers.set(region, await startOneKeeper(seen, running, machineHere, region, sees, telling));
    };
    const kept = keptBy(options);
    await Promise.all([
      ...[...catalogue.regions.values()].flatMap(({ id, edges: named }) =>
        named.map(({ name }) => start(id, name)),
      ),
      ...kept.map(({ region }) => startKeeper(region)),
      ...kept.map(({ region }) => awaitFeedsReady(operator, region, report)),
    ]);
    report(
      `edges of ${[...catalogue.regions.keys()].join(', ')} serve ${basename(dirname(files.app))} under policy version ${policy.version}`,
    );
    if (kept.length > 0) {
      report(`keepers of ${kept.map(({ region }) => region).join(', ')} watch the primaries`);
    }
    archivers.push(...(await startArchivers(options, root, running)));
    return {
      catalogue,
      clusters,
      edges,
      startEdge,
      keepers,
      startKeeper,
      faults: wan?.faults,
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function listed(
  kind: 'edge' | 'keeper',
  { regions }: Catalogue,
  children: ReadonlyMap<string, LocalChild>,
): WorldProcess[] {
  return [...children].map(([key, child]) => ({
    name: child.name,
    kind,
    region:
      kind === 'keeper'
        ? key
        : ([...regions.values()].find(({ edges }) => edges.some(({ name }) => name === key))?.id ??
          ''),
    pid: child.runs() ? child.pid : undefined,
  }));
}

/** Where whoever may read it can ask for the processes of this world, and have ended ones started. */
async function noteMachine(
  root: string,
  note: { url: string; toxiproxy: string | undefined },
): Promise<void> {
  const path = join(root, 'run', 'machine.json');
  await rm(path, { force: true });
  await writeFile(path, `${JSON.stringify({ format: 1, ...note }, null, 2)}\n`, { mode: 0o600 });
}

function keptBy({ catalogue, keepers }: WorldOptions): { name: string; region: RegionId }[] {
  return [...catalogue.regions.values()]
    .filter(({ keeper }) => keepers === true && keeper?.url !== undefined)
    .map(({ id }) => ({ name: keeperName(id), region: id }));
}

function keeperName(region: RegionId): string {
  return `keeper-${region}`;
}

async function startArchivers(
  { catalogue, durable, backups, report }: WorldOptions,
  root: string,
  clusters: LocalClusters,
): Promise<Archiver[]> {
  if (backups === undefined) return [];
  const regions = [...catalogue.regions.values()];
  const started = await Promise.all(
    regions.map(async (region) =>
      startArchiver({
        region,
        path: await backupPlace(root, region),
        user: serverUser(process.geteuid?.()),
        login: clusters.standbyRole(region.id),
        durable,
        backupEveryMs: backups.everyMs,
        keep: BACKUPS_KEPT,
        wallClock: backups.wallClock,
        report: (step) => appendFileSync(join(root, 'logs', 'backups.log'), `${step}\n`),
      }),
    ),
  );
  report(`the log of ${[...catalogue.regions.keys()].join(', ')} is archived, each in its region`);
  return started;
}

/** What an operator of a running local world works with. */
function operatorOf(
  catalogue: Catalogue,
  clusters: LocalClusters,
  links: Links | undefined,
): Operator {
  return {
    catalogue,
    superuser: (node) => clusters.superuser(node),
    password: (name) => clusters.password(name),
    key: (name) => keyFrom(clusters.password(name)),
    passfile: (name, entries) => clusters.passfile(name, entries),
    link: (from, to) => links?.link(from, to) ?? { host: to.host, port: to.port },
    ...LOCAL_ROLES,
  };
}

async function provisionFor(
  options: WorldOptions,
  clusters: LocalClusters,
  links: Links | undefined,
): Promise<Provisioned> {
  const { catalogue, policy, files, report, signal } = options;
  const read = await readMigrations(files.migrations);
  if ('complaints' in read) throw new CannotStart(read.complaints.join('\n'));
  return provision({
    operator: operatorOf(catalogue, clusters, links),
    policy,
    policyText: await readFile(files.policy, 'utf8'),
    today: options.today,
    by: options.by ?? 'domicile up',
    ...(await scriptsToRun(files.schema)),
    appMigrations: read.migrations,
    report,
    ...(signal !== undefined && { signal }),
  });
}

/** What the keepers of an earlier run have written. */
async function lastPrimaries(
  root: string,
  catalogue: Catalogue,
): Promise<Map<RegionId, LastPrimary>> {
  const known = new Map<RegionId, LastPrimary>();
  for (const id of catalogue.regions.keys()) {
    const where = recordFolder(root, id);
    const record = await fileRecordStore(where).read();
    if (record === undefined) continue;
    known.set(id, { node: record.primary, timeline: record.timeline, where });
  }
  return known;
}

function recordFolder(root: string, region: RegionId): string {
  return join(root, 'keepers', region);
}

async function startOneEdge(
  { root, catalogue, files, edgeSettings, environment, onExit }: WorldOptions,
  clusters: LocalClusters,
  links: Links | undefined,
  region: RegionId,
  name: string,
  metrics: Readonly<Record<string, string>> | undefined,
): Promise<LocalChild> {
  const own = edgePorts(catalogue).find(({ purpose }) => purpose === `edge ${name}`);
  const regions = join(root, 'run', `regions-seen-from-${region}.yaml`);
  await writeFile(regions, catalogueText(links?.seenFrom(region) ?? catalogue));
  const key = (purpose: string) => keyFrom(clusters.password(purpose)).toString('base64url');
  return startChild({
    name,
    command: process.execPath,
    args: [
      MAIN,
      'edge',
      ...['--region', region, '--name', name, '--listen', `${own?.host}:${own?.port}`],
      ...['--app', files.app, '--policy', files.policy, '--regions', regions],
      ...['--operators', join(root, OPERATORS_FILE)],
    ],
    env: {
      DOMICILE_DATABASE_PASSWORD: clusters.password(edgePassword(region)),
      DOMICILE_SESSION_KEYS: key('session tokens'),
      DOMICILE_HOP_KEY: key('hops'),
      DOMICILE_DIRECTORY_KEY: key(DIRECTORY_KEY_NAME),
      DOMICILE_SUBJECT_KEY: key(subjectKeyName(region)),
      // It listens on this machine alone.
      DOMICILE_HEALTH: 'whole',
      // How Node itself is to run is for whoever starts the world to say.
      ...(environment.NODE_OPTIONS !== undefined && { NODE_OPTIONS: environment.NODE_OPTIONS }),
      ...metrics,
      ...edgeSettings,
    },
    cwd: process.cwd(),
    logFile: join(root, 'run', `${name}.log`),
    ready: { kind: 'message', is: (message) => message === 'ready' },
    readyLimitMs: EDGE_READY_MS,
    stopLimitMs: EDGE_STOP_MS,
    onExit: (exit) => onExit?.(name, exit),
  });
}

/** What a keeper would promote before that could not go on feeding the mirrors. */
async function awaitFeedsReady(
  operator: Operator,
  region: RegionId,
  report: (step: string) => void,
): Promise<void> {
  const session = new Session(operator);
  try {
    const { name: primary } = await session.nodeOf(region);
    for (const standby of await session.replicasOf(region)) {
      const site = { session, region };
      const ready = await awaitSlotsReady(site, { primary, standby, limitMs: FEEDS_READY_MS_MAX });
      if (ready.kind === 'ready') continue;
      report(`${standby} could not feed the mirrors of ${region} yet, were it promoted now`);
    }
  } finally {
    await session.close();
  }
}

async function startOneKeeper(
  { root, files, onExit }: WorldOptions,
  clusters: LocalClusters,
  machine: Machine,
  region: RegionId,
  sees: Catalogue,
  telling: Readonly<Record<string, string>> | undefined,
): Promise<LocalChild> {
  const name = keeperName(region);
  const regions = join(root, 'run', `regions-of-${name}.yaml`);
  await writeFile(regions, catalogueText(sees));
  return startChild({
    name,
    command: process.execPath,
    args: [
      MAIN,
      'keeper',
      ...['--region', region, '--record', recordFolder(root, region)],
      ...['--app', files.app, '--policy', files.policy, '--regions', regions],
    ],
    env: {
      DOMICILE_KEEPER_PASSWORD: clusters.password(superuserSecret(region, 'private')),
      DOMICILE_OPERATOR_TOKEN: clusters.password(keeperToken(region)),
      DOMICILE_MACHINE_URL: machine.url,
      DOMICILE_WORLD: root,
      DOMICILE_MACHINE_TOKEN: clusters.password(machineSecret(region)),
      ...telling,
    },
    cwd: process.cwd(),
    logFile: join(root, 'run', `${name}.log`),
    ready: { kind: 'message', is: (message) => message === 'ready' },
    readyLimitMs: EDGE_READY_MS,
    stopLimitMs: EDGE_STOP_MS,
    onExit: (exit) => onExit?.(name, exit),
  });
}

export { catalogueText } from './catalogue-text.ts';
