/**
 * How does a whole catalogue of PostgreSQL clusters come to run on this machine, and end?
 *
 * Every region gets its primary, its replicas and its airlocks. The same few steps serve the first
 * start, every later one, and the one after a crash: look at the files, decide who is primary,
 * make what is missing, start, and do not come back before replicas stream and commits wait for
 * them. A replica is always made in one way, as a copy of the running primary.
 */
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Airlock, Catalogue, NodeAddress, Region } from '../catalogue.ts';
import { DatabaseError, type Endpoint, LeasePool } from '../postgres.ts';
import { isEncrypting } from '../postgres-tls.ts';
import {
  ensureDatabase,
  ensureStandbyRole,
  flushedPosition,
  hasReplayed,
  inBackupMode,
  renewSlot,
  replicaStreams,
  requireReplicas,
  slotIsUsable,
} from './administer.ts';
import { CannotStart } from './cannot-start.ts';
import { postgresPorts } from './catalogue-ports.ts';
import { choosePrimary } from './choose-primary.ts';
import { type ClusterHistory, readHistory } from './cluster-history.ts';
import { clusterTemplate, TEMPLATES, type Template } from './cluster-template.ts';
import { copyDataDirectory } from './copy-data-directory.ts';
import { initialiseCluster, makeDraft, removeDrafts } from './initialise-cluster.ts';
import { type Binaries, findBinaries } from './platform-binaries.ts';
import { claimedTwice, type PortUse, portsInUse, portsInUseText } from './ports.ts';
import {
  type ClusterKind,
  hbaText,
  STANDBY_ROLE,
  SUPERUSER,
  settingsText,
  withoutUpstream,
} from './postgres-settings.ts';
import { giveTo, type ProcessUser, serverUser } from './process-user.ts';
import { openSecrets, type PassfileEntry, type Secrets, writePassfile } from './secrets.ts';
import { endLeftover, ServerProcess } from './server-process.ts';
import { claimRoot, dataDirectories, openWorldFolder, type WorldFolder } from './world-folder.ts';
import { takeWorld } from './world-lock.ts';

/** A local world holds megabytes; this is for a disk that is busy with something else. */
const COPY_LIMIT_MS = 120_000;
/** Of a server that has just said that it takes connections, on a machine that may be busy. */
const CONNECT_LIMIT_MS = 15_000;
/** Of a primary that may be gone, which its keeper should know soon. */
const CONNECT_AT_WORK_LIMIT_MS = 2_000;
const CLOSE_LIMIT_MS = 2_000;
/** A standby whose log fits asks for it every half second, and is let in at once. */
const STREAMING_AS_IT_IS_MS = 5_000;
/** Names become folders, slots and settings, so only what is harmless in all of them. */
const NODE_NAME = /^[a-z][a-z0-9-]{0,40}$/;
const LOOPBACK = new Set(['127.0.0.1', 'localhost']);

export type StartOptions = {
  /** The world's folder; made if missing. */
  root: string;
  catalogue: Catalogue;
  /** Whether commits survive a crash of the machine (slower), or only one of processes. */
  durable: boolean;
  report(step: string): void;
  /** A server ended without being asked to by `stop` or `rebuildReplica`. */
  onExit?: (node: string, code: number | null, signal: NodeJS.Signals | null) => void;
  /** What is known of a region's primary; no older data is started as if nothing had been since. */
  lastPrimary?: (region: string) => LastPrimary | undefined;
  /** Ports that others will use in this world, so that one message names all busy ones. */
  otherPorts?: readonly PortUse[];
  /** Through which address a node reaches another one, for a proxy in between. */
  link?: (from: string, to: NodeAddress) => { host: string; port: number };
  /** Aborting it ends a start that is under way, and everything it had started. */
  signal?: AbortSignal;
};

export type LocalClusters = {
  /** Superuser of a node or an airlock, in the region's database unless another one is named. */
  superuser(node: string, database?: string): Endpoint;
  /** The role that replicas of a region stream as. */
  standbyRole(region: string): { user: string; password: string };
  /** Drawn at first use and kept with the world; for the passwords of further roles. */
  password(name: string): string;
  /** Writes a libpq password file that the servers can read, and gives back its path. */
  passfile(name: string, entries: readonly PassfileEntry[]): Promise<string>;
  role(node: string): 'primary' | 'replica' | 'airlock';
  /** The postmaster first, then its children; empty when it does not run. */
  pids(node: string): number[];
  logFile(node: string): string;
  dataDirectory(node: string): string;
  /** Starts one server again as what its files say it is; resolves when it takes connections. */
  start(node: string): Promise<void>;
  /** Ends one server gently and leaves it ended. */
  halt(node: string): Promise<void>;
  /** SIGKILL, SIGSTOP and SIGCONT reach the whole server, other signals its postmaster. */
  kill(node: string, signal: NodeJS.Signals): void;
  /** Replaces a node's data with a copy of the primary; resolves when it streams. */
  rebuildReplica(node: string): Promise<void>;
  /** Makes any private node a standby of `primary`; resolves when it streams. */
  follow(node: string, how: FollowOptions): Promise<void>;
  /** Whether its postmaster is there, however it does. */
  runs(node: string): boolean;
  /** Its postmaster; undefined while there is none. */
  postmaster(node: string): number | undefined;
  /** Lets commits of a region wait for exactly these replicas, which must stream already. */
  requireReplicas(region: string, replicas: readonly string[]): Promise<void>;
  /** Ends everything and gives the world free. Can be called twice. */
  stop(): Promise<void>;
};

export type LastPrimary = { node: string; timeline: number; where: string };

export type FollowOptions = {
  primary: string;
  /** From a fresh copy at once; otherwise only when what is there does not fit the primary's log. */
  copy: boolean;
  /** What is there is put aside and not removed: it may hold what nobody else has. */
  keepData: boolean;
};

/** One server's place in the world. */
type Seat = {
  node: NodeAddress;
  region: Region;
  kind: ClusterKind;
  /** Holds the data directory, and drafts of it. */
  folder: string;
  data: string;
  server: ServerProcess;
};

export async function startClusters(options: StartOptions): Promise<LocalClusters> {
  const { catalogue, report } = options;
  refuseUnusable(catalogue);
  const root = await claimRoot(options.root);
  const lock = await takeWorld(root);
  let clusters: Clusters | undefined;
  const halt = () => void clusters?.stop().catch(() => {});
  options.signal?.addEventListener('abort', halt);
  try {
    const user = serverUser(process.geteuid?.());
    const folder = await openWorldFolder(root, user, report);
    const secrets = openSecrets(root);
    const data = await dataDirectories(root);
    if (data.length > 0) refuseWithoutPasswords(catalogue, secrets, root);
    await Promise.all(data.map((directory) => endAndSay(directory, report)));
    await refuseBusyPorts([...postgresPorts(catalogue), ...(options.otherPorts ?? [])]);
    const binaries = await findBinaries(user, report);
    options.signal?.throwIfAborted();
    clusters = new Clusters(options, { folder, secrets, binaries, user });
    await clusters.bringUp();
    options.signal?.throwIfAborted();
    return clusters.handle(() => lock.release());
  } catch (error) {
    await clusters?.stop();
    await lock.release();
    if (options.signal?.aborted === true) {
      throw new CannotStart('Stopped while starting', { cause: error });
    }
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', halt);
  }
}

class Clusters {
  readonly #options: StartOptions;
  readonly #folder: WorldFolder;
  readonly #secrets: Secrets;
  readonly #binaries: Binaries;
  readonly #user: ProcessUser | undefined;
  readonly #seats = new Map<string, Seat>();
  readonly #ending = new AbortController();
  readonly #copying = new Set<Promise<void>>();
  #ended: Promise<void> | undefined;
  #template: Promise<Template | undefined> | undefined;

  constructor(
    options: StartOptions,
    world: {
      folder: WorldFolder;
      secrets: Secrets;
      binaries: Binaries;
      user: ProcessUser | undefined;
    },
  ) {
    this.#options = options;
    this.#folder = world.folder;
    this.#secrets = world.secrets;
    this.#binaries = world.binaries;
    this.#user = world.user;
    for (const region of options.catalogue.regions.values()) {
      for (const node of region.nodes) this.#seat(region, node, 'private');
      for (const airlock of region.airlocks) this.#seat(region, airlock, 'airlock');
    }
  }

  async bringUp(): Promise<void> {
    const regions = [...this.#options.catalogue.regions.values()];
    // Replicas wait for primaries, so primaries come first where processors are few.
    const tasks = [
      ...regions.map((region) => this.#bringUpNodes(region)),
      ...regions.flatMap((region) =>
        region.airlocks.map((airlock) => this.#bringUpAirlock(region, airlock)),
      ),
    ];
    try {
      await Promise.all(tasks);
    } catch (error) {
      await this.stop();
      await Promise.allSettled(tasks);
      throw error;
    }
  }

  handle(afterStop: () => Promise<void>): LocalClusters {
    return {
      superuser: (node, database) => this.#superuser(this.#at(node), database),
      standbyRole: (region) => ({ user: STANDBY_ROLE, password: this.#standbyPassword(region) }),
      password: (name) => this.#secrets.password(name),
      passfile: (name, entries) => this.#passfile(name, entries),
      role: (node) => this.#role(this.#at(node)),
      pids: (node) => this.#at(node).server.pids(),
      logFile: (node) => this.#logFile(this.#at(node).node.name),
      dataDirectory: (node) => this.#at(node).data,
      start: (node) => this.#startSeat(this.#at(node)),
      halt: (node) => this.#at(node).server.stop(),
      kill: (node, signal) => this.#at(node).server.kill(signal),
      rebuildReplica: (node) => this.#rebuild(this.#at(node)),
      follow: (node, how) => this.#follow(this.#at(node), how),
      runs: (node) => this.#at(node).server.pid !== undefined,
      postmaster: (node) => this.#at(node).server.pid,
      requireReplicas: (region, replicas) => this.#requireReplicas(region, replicas),
      stop: async () => {
        await this.stop();
        await afterStop();
      },
    };
  }

  /**
   * Subscribers first, then publishers: airlocks, primaries, replicas. A primary that shuts down
   * waits until its replica has everything, so the replica must be there to the last.
   */
  stop(): Promise<void> {
    this.#ended ??= this.#stopInOrder();
    return this.#ended;
  }

  async #stopInOrder(): Promise<void> {
    this.#ending.abort();
    const seats = [...this.#seats.values()];
    // A frozen replica would keep its primary waiting.
    for (const { server } of seats) server.kill('SIGCONT');
    for (const role of ['airlock', 'primary', 'replica'] as const) {
      const these = seats.filter((seat) => this.#role(seat) === role);
      await Promise.all(these.map(({ server }) => server.stop()));
    }
    await Promise.allSettled(this.#copying);
  }

  async #bringUpAirlock(region: Region, airlock: Airlock): Promise<void> {
    const seat = this.#at(airlock.name);
    await this.#clearDrafts(seat);
    if (!existsSync(seat.data)) await this.#initialise(seat);
    await this.#startSeat(seat);
    await this.#withPool(seat, (pool) => ensureDatabase(pool, region.database));
    this.#say(`airlock ${seat.node.name} takes connections on port ${seat.node.port}`);
  }

  async #bringUpNodes(region: Region): Promise<void> {
    const seats = region.nodes.map((node) => this.#at(node.name));
    const found = new Map<string, ClusterHistory | undefined>();
    for (const seat of seats) {
      await this.#clearDrafts(seat);
      found.set(seat.node.name, existsSync(seat.data) ? await readHistory(seat.data) : undefined);
    }
    const choice = choosePrimary(found);
    if (choice.kind === 'refuse') {
      throw new CannotStart(`Region ${region.id} cannot start: ${choice.why}.`);
    }
    this.#refuseOlder(region, found.get(choice.primary));
    const primary = this.#at(choice.primary);
    const replicas = seats.filter((seat) => seat !== primary);
    if (choice.kind === 'new') await this.#initialise(primary);
    const replaced = new Set<Seat>(choice.kind === 'new' ? replicas : []);
    for (const { node, because } of choice.kind === 'known' ? choice.replace : []) {
      replaced.add(this.#at(node));
      const why =
        because === 'superseded'
          ? `was the primary before ${choice.primary} was promoted`
          : 'has no data';
      this.#say(`${node} ${why}; it becomes a copy of ${choice.primary}`);
    }

    const kept = replicas.filter((seat) => !replaced.has(seat));
    await Promise.all([primary, ...kept].map((seat) => this.#startSeat(seat, primary)));
    await this.#withPool(primary, async (pool) => {
      await ensureStandbyRole(pool, this.#standbyPassword(region.id));
      for (const seat of kept) {
        if (await slotIsUsable(pool, seat.node.name)) continue;
        this.#say(`${seat.node.name} missed more than ${choice.primary} has kept for it`);
        replaced.add(seat);
      }
    });
    for (const seat of replaced) await this.#rebuild(seat, primary);
    const position = await this.#withPool(primary, async (pool) => {
      for (const { node } of replicas) {
        if (!(await replicaStreams(pool, node.name))) throw this.#doesNotStream(node.name);
      }
      const names = replicas.map(({ node }) => node.name);
      await requireReplicas(pool, names);
      await ensureDatabase(pool, region.database);
      return await flushedPosition(pool);
    });
    for (const seat of replicas) {
      const replayed = await this.#withPool(seat, (pool) => hasReplayed(pool, position));
      if (!replayed) throw this.#doesNotStream(seat.node.name);
    }
    const waits = replicas.map(({ node }) => node.name).join(' or ');
    this.#say(
      `${region.id}: ${primary.node.name} takes writes on port ${primary.node.port}${waits === '' ? '' : `; commits wait for ${waits}`}`,
    );
  }

  /** Without the data of the last primary, what another node has may lack what was acknowledged. */
  #refuseOlder({ id }: Region, chosen: ClusterHistory | undefined): void {
    const last = this.#options.lastPrimary?.(id);
    if (last === undefined || (chosen?.timeline ?? 0) >= last.timeline) return;
    throw new CannotStart(
      `Region ${id} cannot start: ${last.node} was its primary on timeline ${last.timeline}, and the newest data here is of timeline ${chosen?.timeline ?? 'none'}. Put the data of ${last.node} back. To go on without what it had acknowledged, remove ${last.where}.`,
    );
  }

  async #clearDrafts({ folder, node }: Seat): Promise<void> {
    await mkdir(folder, { recursive: true });
    await giveTo(this.#user, folder);
    await chmod(folder, 0o700);
    if (await removeDrafts(folder)) {
      this.#say(`${node.name}: removed what a start that was cut off had left half done`);
    }
  }

  async #initialise(seat: Seat): Promise<void> {
    this.#ending.signal.throwIfAborted();
    this.#say(`${seat.node.name}: making an empty cluster`);
    await initialiseCluster({
      nodeFolder: seat.folder,
      binaries: this.#binaries,
      user: this.#user,
      password: this.#superuserPassword(seat),
      durable: this.#options.durable,
      template: (scratch) => this.#templateOnce(scratch),
      signal: this.#ending.signal,
    });
  }

  /** Whoever needs it first makes it if it is not there yet; the others wait, which is faster. */
  #templateOnce(scratch: string): Promise<Template | undefined> {
    this.#template ??= clusterTemplate({
      folder: TEMPLATES,
      scratch,
      binaries: this.#binaries,
      user: this.#user,
      signal: this.#ending.signal,
    });
    return this.#template;
  }

  async #startSeat(seat: Seat, primary?: Seat): Promise<void> {
    this.#ending.signal.throwIfAborted();
    const follows =
      this.#role(seat) === 'replica' ? await this.#upstream(seat, primary) : undefined;
    const { kind, node, data } = seat;
    const { durable } = this.#options;
    await this.#write(data, 'postgresql.conf', settingsText({ kind, node, durable, follows }));
    await this.#write(data, 'pg_hba.conf', hbaText(kind));
    // Until its recovery is over, a restored node is told what to recover from.
    const isRestored = existsSync(join(data, 'recovery.signal'));
    const changed = await readFile(join(data, 'postgresql.auto.conf'), 'utf8').catch(() => '');
    await this.#write(data, 'postgresql.auto.conf', withoutUpstream(changed, isRestored));
    this.#ending.signal.throwIfAborted();
    await seat.server.start();
  }

  async #upstream(seat: Seat, known?: Seat) {
    const primary = known ?? (await this.#primaryFor(seat));
    const to = this.#options.link?.(seat.node.name, primary.node) ?? {
      host: '127.0.0.1',
      port: primary.node.port,
    };
    const password = this.#standbyPassword(seat.region.id);
    const entries = [{ to, user: STANDBY_ROLE, password }];
    return { ...to, passfile: await this.#passfile(`${seat.node.name}.upstream`, entries) };
  }

  /** After a promotion two nodes may look like primaries; the later timeline is the one to follow. */
  async #primaryFor(seat: Seat): Promise<Seat> {
    let best: { seat: Seat; timeline: number } | undefined;
    for (const { name } of seat.region.nodes) {
      const other = this.#at(name);
      if (other === seat || !existsSync(other.data)) continue;
      const { role, timeline } = await readHistory(other.data);
      if (role === 'primary' && timeline > (best?.timeline ?? 0)) best = { seat: other, timeline };
    }
    if (best !== undefined) return best.seat;
    throw new CannotStart(
      `Region ${seat.region.id} has no primary that ${seat.node.name} could follow`,
    );
  }

  #rebuild(seat: Seat, known?: Seat, keepData = false): Promise<void> {
    const work = this.#copyPrimary(seat, known, keepData);
    this.#copying.add(work);
    return work.finally(() => this.#copying.delete(work));
  }

  async #follow(seat: Seat, { primary: name, copy, keepData }: FollowOptions): Promise<void> {
    const primary = this.#at(name);
    if (!copy && existsSync(seat.data)) {
      const slot = seat.node.name;
      const attached = async (pool: LeasePool) => {
        // Asked first: a standby is not taken down for a primary that nobody can connect to.
        const isUsable = await slotIsUsable(pool, slot);
        await seat.server.stop();
        if (this.#role(seat) === 'primary') await removeSlots(seat.data);
        if (!isUsable) await renewSlot(pool, slot);
        await this.#write(seat.data, 'standby.signal', '');
        const starts = await this.#startIfFits(seat, primary);
        return starts && replicaStreams(pool, slot, STREAMING_AS_IT_IS_MS);
      };
      if (await this.#withPool(primary, attached, CONNECT_AT_WORK_LIMIT_MS)) return;
      this.#say(`${slot} cannot go on from its own log`);
    }
    // It is thrown away, so nobody waits for a gentle end; a frozen server takes no other signal.
    seat.server.kill('SIGKILL');
    await this.#rebuild(seat, primary, keepData);
  }

  /** A server that has more than where its primary's timeline began ends as soon as it sees it. */
  async #startIfFits(seat: Seat, primary: Seat): Promise<boolean> {
    try {
      await this.#startSeat(seat, primary);
      return true;
    } catch (error) {
      if (!(error instanceof CannotStart)) throw error;
      this.#say(error.message);
      return false;
    }
  }

  async #copyPrimary(seat: Seat, known?: Seat, keepData = false): Promise<void> {
    if (seat.kind === 'airlock') throw new Error(`${seat.node.name} is an airlock, not a replica`);
    const primary = known ?? (await this.#primaryFor(seat));
    const name = seat.node.name;
    this.#say(`${name}: copying ${primary.node.name}`);
    await seat.server.stop();
    await removeDrafts(seat.folder);
    await this.#withPool(primary, async (pool) => {
      await renewSlot(pool, name);
      const draft = await makeDraft(seat.folder, this.#user);
      const copy = join(draft, 'data');
      const label = await inBackupMode(
        pool,
        () => copyDataDirectory(primary.data, copy, this.#user, this.#ending.signal),
        COPY_LIMIT_MS,
      );
      await this.#write(copy, 'backup_label', label);
      await this.#write(copy, 'standby.signal', '');
      if (existsSync(seat.data)) {
        const aside = keepData ? await mkdtemp(join(seat.folder, 'kept-')) : draft;
        await rename(seat.data, join(aside, 'replaced'));
        if (keepData) this.#say(`${name}: what it had is kept in ${aside}`);
      }
      await rename(copy, seat.data);
      await rm(draft, { recursive: true, force: true });
      await this.#startSeat(seat, primary);
      if (!(await replicaStreams(pool, name))) throw this.#doesNotStream(name);
    });
  }

  async #requireReplicas(id: string, replicas: readonly string[]): Promise<void> {
    const region = this.#options.catalogue.regions.get(id);
    const [first] = region?.nodes ?? [];
    if (first === undefined) throw new Error(`No region ${id}`);
    const seat = this.#at(first.name);
    const primary = this.#role(seat) === 'primary' ? seat : await this.#primaryFor(seat);
    await this.#withPool(primary, (pool) => requireReplicas(pool, replicas));
  }

  async #withPool<T>(
    seat: Seat,
    use: (pool: LeasePool) => Promise<T>,
    connectTimeoutMs = CONNECT_LIMIT_MS,
  ): Promise<T> {
    const pool = new LeasePool({
      endpoint: this.#superuser(seat, 'postgres'),
      connectionsMax: 1,
      waitersMax: 8,
      connectTimeoutMs,
      settings: { application_name: 'domicile-local-world' },
    });
    try {
      return await use(pool);
    } catch (error) {
      if (!(error instanceof DatabaseError) || error.failure.kind !== 'connect-failed') throw error;
      const { name } = seat.node;
      throw new CannotStart(
        `Postgres ${name} lets nobody in (${error.message}); its log is ${this.#logFile(name)}`,
      );
    } finally {
      await pool.close({ timeoutMs: CLOSE_LIMIT_MS });
    }
  }

  async #passfile(name: string, entries: readonly PassfileEntry[]): Promise<string> {
    const path = join(this.#folder.passfiles, name);
    await writePassfile(path, entries, this.#user);
    return path;
  }

  #superuser(seat: Seat, database = seat.region.database): Endpoint {
    const { name, host, port } = seat.node;
    return { name, host, port, database, user: SUPERUSER, password: this.#superuserPassword(seat) };
  }

  /** One password for a region's private nodes, which are copies of each other; one for its airlocks. */
  #superuserPassword({ region, kind }: Seat): string {
    return this.#secrets.password(superuserSecret(region.id, kind));
  }

  #standbyPassword(region: string): string {
    return this.#secrets.password(standbySecret(region));
  }

  #role({ kind, data }: Seat): 'primary' | 'replica' | 'airlock' {
    if (kind === 'airlock') return 'airlock';
    return existsSync(join(data, 'standby.signal')) ? 'replica' : 'primary';
  }

  #at(node: string): Seat {
    const seat = this.#seats.get(node);
    if (seat === undefined) throw new Error(`No node is called ${node}`);
    return seat;
  }

  #seat(region: Region, node: NodeAddress, kind: ClusterKind): void {
    const folder = join(this.#folder.clusters, node.name);
    const data = join(folder, 'data');
    const server = new ServerProcess({
      name: node.name,
      dataDirectory: data,
      logFile: this.#logFile(node.name),
      binaries: this.#binaries,
      user: this.#user,
      onExit: ({ code, signal }) => this.#options.onExit?.(node.name, code, signal),
    });
    this.#seats.set(node.name, { node, region, kind, folder, data, server });
  }

  #logFile(node: string): string {
    return join(this.#folder.logs, `${node}.log`);
  }

  async #write(folder: string, name: string, text: string): Promise<void> {
    const path = join(folder, name);
    await writeFile(path, text, { mode: 0o600 });
    await giveTo(this.#user, path);
  }

  #doesNotStream(node: string): CannotStart {
    return new CannotStart(`${node} does not stream from its primary; see ${this.#logFile(node)}`);
  }

  #say(step: string): void {
    this.#options.report(step);
  }
}

/** The name of a superuser's password: one for a region's private nodes, one for its airlocks. */
export function superuserSecret(region: string, kind: ClusterKind): string {
  return kind === 'airlock' ? `${region}.airlock.superuser` : `${region}.superuser`;
}

/** The name of the password that replicas of a region stream with. */
export function standbySecret(region: string): string {
  return `${region}.standby`;
}

function refuseUnusable(catalogue: Catalogue): void {
  const seen = new Set<string>();
  for (const { id, nodes, airlocks, tls } of catalogue.regions.values()) {
    if (isEncrypting(tls)) {
      throw new CannotStart(
        `regions.${id}.tls asks for TLS (${tls.mode}), and the servers of a local world speak plain text on 127.0.0.1. Start it with a regions file without.`,
      );
    }
    for (const { name, host } of [...nodes, ...airlocks]) {
      if (!NODE_NAME.test(name)) {
        throw new CannotStart(
          `"${name}" cannot name a local node: letters a-z, digits and hyphens.`,
        );
      }
      if (seen.has(name)) throw new CannotStart(`Two nodes of the catalogue are called ${name}.`);
      seen.add(name);
      if (!LOOPBACK.has(host)) {
        throw new CannotStart(`${name} is at ${host}; the local world lives on 127.0.0.1 only.`);
      }
    }
  }
}

function refuseWithoutPasswords(catalogue: Catalogue, secrets: Secrets, root: string): void {
  const kinds: ClusterKind[] = ['private', 'airlock'];
  const names = [...catalogue.regions.keys()].flatMap((id) =>
    kinds.map((kind) => superuserSecret(id, kind)),
  );
  if (names.some((name) => secrets.knows(name))) return;
  throw new CannotStart(
    `${root} has data, but secrets.json with its passwords is gone. Put it back, or wipe the world.`,
  );
}

/**
 * The places that others had in this server's log while it was the primary. A standby copies them
 * from its own primary, and stops copying for up to a minute where it finds one of the same name.
 */
async function removeSlots(data: string): Promise<void> {
  const folder = join(data, 'pg_replslot');
  for (const slot of await readdir(folder)) {
    await rm(join(folder, slot), { recursive: true, force: true });
  }
}

async function endAndSay(dataDirectory: string, report: (step: string) => void): Promise<void> {
  const pid = await endLeftover(dataDirectory);
  if (pid === undefined) return;
  report(`ended Postgres ${pid}, which an earlier supervisor had left running on ${dataDirectory}`);
}

async function refuseBusyPorts(wanted: readonly PortUse[]): Promise<void> {
  const [twice] = claimedTwice(wanted);
  if (twice !== undefined) {
    const [one, other] = twice;
    throw new CannotStart(
      `Port ${one.port} is wanted for both ${one.purpose} and ${other.purpose}.`,
    );
  }
  const busy = await portsInUse(wanted);
  if (busy.length > 0) throw new CannotStart(portsInUseText(busy));
}
