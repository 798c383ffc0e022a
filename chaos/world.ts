/**
 * Which running system is broken, and how is it reached?
 *
 * One that is started here by its command line, as anybody would, or one that runs already, found by
 * its folder. Nothing of it is shared but what it says to everybody: its files, the health of its
 * edges, its keepers' answers, its processes.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import type { Catalogue, RegionId } from '../regions/catalogue.ts';
import { portsNeeded } from '../regions/local/catalogue-ports.ts';
import { WORLD_SECRET, type WorldProcess } from '../regions/local/machine-server.ts';
import { freePortsInARow } from '../regions/local/ports.ts';
import { postgresPidsOn } from '../regions/local/process-identity.ts';
import { openSecrets } from '../regions/local/secrets.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { Faults } from '../regions/toxiproxy.ts';
import { Announcer } from './announcer.ts';
import { type Link, linksOf } from './faults/links.ts';

export type Environment = Readonly<Record<string, string | undefined>>;
export type Ran = { status: number | null; said: string };

/** `GET /primary` of a keeper, as far as it matters here. */
export type KeeperAnswer = {
  version: number;
  primary: string;
  timeline: number;
  standbys: readonly string[];
  commits: string;
  pending: object | null;
};
/** `GET /.domicile/health` of an edge, as far as it matters here. */
export type Health = {
  policyVersion: number;
  durability: string | null;
  nodes: { node: string; role: string; timeline: number; lsn: string; seenMsAgo: number }[];
  mirrors: { region: string; ageMs: number }[];
  decisions: Record<string, number>;
  pools: Record<string, { opened: number }>;
};

/** Something in the world outside stands in the way; the message says what a person can do. */
export class ChaosError extends Error {}

const TREE = resolve(import.meta.dirname, '..');
const MAIN = join(TREE, 'router', 'main.ts');
const CLOCK = join(import.meta.dirname, 'faults', 'jumping-clock.ts');
/** Nine servers, three edges and three keepers on a machine with much else to do. */
const START_MS_MAX = 180_000;
const STOP_MS_MAX = 60_000;
const COMMAND_MS_MAX = 120_000;
const ASK_MS_MAX = 2_000;
const LOOK_EVERY_MS = 100;
/** A start that somebody else is at already is waited for. */
const START_AGAIN_MS_MAX = 30_000;
const KEPT_LINES = 20;
/** Of whoever may tell consoles of experiments. */
const CONSOLE_SECRET = 'console as operator';

export class ChaosWorld {
  readonly root: string;
  readonly catalogue: Catalogue;
  readonly faults: Faults;
  /** Which Toxiproxy, in words. */
  readonly toxiproxy: string;
  readonly links: readonly Link[];
  /** Where edges look for what their clock is to be; undefined in a world that others started. */
  readonly clocks: string | undefined;
  /** The policy file that it runs under. */
  readonly policyFile: string;
  readonly #machine: { url: string; token: string };
  readonly #consoleToken: string | undefined;
  readonly #environment: Environment;
  readonly #end: () => Promise<void>;
  /** Of each region, as last heard. */
  readonly #primaries = new Map<RegionId, string>();

  private constructor(
    root: string,
    found: Found,
    links: readonly Link[],
    own: Own & { version: string },
  ) {
    this.root = root;
    this.catalogue = found.catalogue;
    this.policyFile = found.policy;
    this.faults = new Faults(found.toxiproxy);
    this.toxiproxy = `${own.version} at ${found.toxiproxy}`;
    this.#machine = found.machine;
    this.#consoleToken = found.consoleToken;
    this.links = links;
    this.clocks = own.clocks;
    this.#environment = own.environment;
    this.#end = own.end;
  }

  /** @throws ChaosError when it does not run, or its links cannot be broken. */
  static async attach(root: string, environment: Environment): Promise<ChaosWorld> {
    return ChaosWorld.#open(resolve(root), { environment, end: async () => {} });
  }

  static async start(options: {
    app: string;
    /** Real distances between the regions. */
    wan: boolean;
    environment: Environment;
    report: (line: string) => void;
    signal: AbortSignal;
  }): Promise<ChaosWorld> {
    const folder = await mkdtemp(join(tmpdir(), 'domicile-chaos-'));
    // As root the servers run as somebody else, who has to get in.
    await chmod(folder, 0o711);
    const root = join(folder, 'world');
    const clocks = join(folder, 'clocks');
    await mkdir(clocks);
    const base = await consecutivePorts(options.app);
    const clock = pathToFileURL(CLOCK);
    clock.searchParams.set('in', clocks);
    const given = options.environment.NODE_OPTIONS ?? '';
    const environment = {
      ...options.environment,
      NODE_OPTIONS: `${given} --import=${clock.href}`.trim(),
    };
    const words = ['up', '--app', resolve(options.app), '--root', root, '--base-port', `${base}`];
    words.push('--links', 'all', '--no-backups', '--not-durable');
    if (options.wan) words.push('--wan');
    const child = spawn(process.execPath, [MAIN, ...words], {
      cwd: TREE,
      env: { ...environment, NO_COLOR: '1' },
      // Ctrl-C is for us: what is broken must be healed before the world is asked to end.
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const end = async () => {
      await ended(child);
      await command(['down', '--wipe', '--root', root], options.environment).catch(() => {});
      await rm(folder, { recursive: true, force: true, maxRetries: 10 });
    };
    try {
      await untilReady(child, join(folder, 'up.log'), options);
      const { environment: own } = options;
      return await ChaosWorld.#open(root, { environment: own, clocks, end });
    } catch (error) {
      await end();
      throw error;
    }
  }

  static async #open(root: string, own: Own): Promise<ChaosWorld> {
    const found = await readWorld(root);
    const faults = new Faults(found.toxiproxy);
    const [proxies, version] = await Promise.all([faults.proxies(), faults.version()]).catch(
      (error: Error) => {
        throw new ChaosError(`The Toxiproxy of this world does not answer: ${error.message}`);
      },
    );
    const links = linksOf(found.catalogue, proxies.keys());
    return new ChaosWorld(root, found, links, { ...own, version });
  }

  get regions(): RegionId[] {
    return [...this.catalogue.regions.keys()];
  }

  async processes(): Promise<WorldProcess[]> {
    const { url, token } = this.#machine;
    const response = await fetch(`${url}/.world`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(ASK_MS_MAX),
    });
    if (!response.ok)
      throw new ChaosError(`the world does not list its processes: ${response.status}`);
    return (await response.json()) as WorldProcess[];
  }

  /** Every living process of one that has a name: a server's are many. */
  async pidsOf(name: string): Promise<number[]> {
    const found = (await this.processes()).find((one) => one.name === name);
    if (found === undefined) throw new ChaosError(`there is no process ${name} in this world`);
    const { pid, dataDirectory } = found;
    const parts = dataDirectory === undefined ? [] : postgresPidsOn(dataDirectory);
    // The postmaster first: it must not see a child die and begin a recovery.
    return [...new Set([...(pid === undefined ? [] : [pid]), ...parts])];
  }

  /** Starts what has ended, as it was; nothing happens to what runs. */
  async start(name: string): Promise<void> {
    const { url, token } = this.#machine;
    for (const untilMs = performance.now() + START_AGAIN_MS_MAX; ; await pause(LOOK_EVERY_MS)) {
      const response = await fetch(`${url}/.world/${name}/start`, {
        method: 'POST',
        headers: { authorization: `Bearer ${token}` },
      });
      if (response.ok) return;
      const { why } = (await response.json()) as { why: string };
      if (response.status !== 409 || performance.now() > untilMs) {
        throw new ChaosError(`${name} is not started: ${why}`);
      }
    }
  }

  async keeper(region: RegionId): Promise<KeeperAnswer | undefined> {
    const url = this.catalogue.regions.get(region)?.keeper?.url;
    const answer = url && (await asked<KeeperAnswer>(`${url}/primary`));
    if (!answer) return undefined;
    this.#primaries.set(region, answer.primary);
    return answer;
  }

  health(edgeUrl: string): Promise<Health | undefined> {
    return asked<Health>(`${edgeUrl}/.domicile/health`);
  }

  /** The primary of each region, as its keeper says or last said. */
  async primaries(): Promise<ReadonlyMap<RegionId, string>> {
    await Promise.all(this.regions.map((region) => this.keeper(region)));
    return this.#primaries;
  }

  edgesOf(region: RegionId): string[] {
    return (this.catalogue.regions.get(region)?.edges ?? []).map(({ url }) => url);
  }

  /** Tells the consoles of its edges what is done to it. */
  announcer(id: string): Announcer {
    const urls = this.regions.flatMap((region) => this.edgesOf(region));
    return new Announcer({ urls, token: this.#consoleToken, id });
  }

  /** The highest version that any edge serves under. */
  async policyVersion(): Promise<number> {
    const urls = this.regions.flatMap((region) => this.edgesOf(region));
    const healths = await Promise.all(urls.map((url) => this.health(url)));
    return Math.max(0, ...healths.map((health) => health?.policyVersion ?? 0));
  }

  /** Runs the command `domicile` on this world. */
  domicile(words: readonly string[]): Promise<Ran> {
    return command([...words, '--root', this.root], this.#environment);
  }

  /** Undefined when every region is as it should be, otherwise what is not. */
  async complaint(): Promise<string | undefined> {
    const missing = (await this.processes()).find(({ pid }) => pid === undefined);
    if (missing !== undefined) return `${missing.name} does not run`;
    for (const { id, nodes, edges } of this.catalogue.regions.values()) {
      const record = await this.keeper(id);
      if (record === undefined) return `no keeper answers for ${id}`;
      if (record.pending !== null) return `something is under way in ${id}`;
      if (record.standbys.length < nodes.length - 1) return `${id} has no standby`;
      for (const { name, url } of edges) {
        const health = await this.health(url);
        if (health === undefined) return `${name} does not answer`;
        if (health.durability !== 'replicated') return `${name} sees ${id} run alone`;
        const stale = health.mirrors.find(({ ageMs }) => ageMs > MIRROR_AGE_MS_WELL);
        if (health.mirrors.length < this.regions.length - 1 || stale !== undefined) {
          return `${name} sees old copies${stale === undefined ? '' : ` of ${stale.region}`}`;
        }
      }
    }
    return undefined;
  }

  /** Undefined when all was well in time, otherwise what was not. */
  async untilWell(withinMs: number, signal: AbortSignal): Promise<string | undefined> {
    for (const untilMs = performance.now() + withinMs; ; await pause(LOOK_EVERY_MS)) {
      const complaint = await this.complaint().catch((error: Error) => error.message);
      if (complaint === undefined || performance.now() > untilMs || signal.aborted)
        return complaint;
    }
  }

  /** Ends what was started here; a world of somebody else goes on. */
  stop(): Promise<void> {
    return this.#end();
  }
}

/** A pulse a second, and a busy machine. */
const MIRROR_AGE_MS_WELL = 3_000;

type Own = { environment: Environment; clocks?: string; end: () => Promise<void> };

type Found = {
  catalogue: Catalogue;
  policy: string;
  machine: { url: string; token: string };
  consoleToken: string | undefined;
  toxiproxy: string;
};

async function readWorld(root: string): Promise<Found> {
  const read = async (name: string) => {
    const path = join(root, 'run', name);
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      throw new ChaosError(
        `${path} cannot be read (${error.code}). Does a world run there, and did you start it?`,
      );
    });
    return JSON.parse(text) as Record<string, unknown>;
  };
  const [note, machine] = [await read('world.json'), await read('machine.json')];
  const { url, toxiproxy } = machine as { url: string; toxiproxy?: string };
  const secrets = openSecrets(root);
  if (!secrets.knows(WORLD_SECRET)) throw new ChaosError(`${root} was started by another version`);
  const token = secrets.password(WORLD_SECRET);
  if (toxiproxy === undefined) {
    throw new ChaosError(
      `The links of the world in ${root} cannot be broken. Start it with "npm start -- --links all".`,
    );
  }
  const { regions, files } = note as { regions: string; files: { policy: string } };
  const reading = readCatalogue(regions, 'world.json');
  if ('complaints' in reading) throw new ChaosError(`${root} was started by another version`);
  return {
    catalogue: reading.catalogue,
    policy: files.policy,
    machine: { url, token },
    consoleToken: secrets.knows(CONSOLE_SECRET) ? secrets.password(CONSOLE_SECRET) : undefined,
    toxiproxy,
  };
}

/** As many free ports in a row as the world wants. */
async function consecutivePorts(app: string): Promise<number> {
  const path = join(dirname(resolve(app)), 'regions.yaml');
  const reading = readCatalogue(await readFile(path, 'utf8'), path);
  if ('complaints' in reading) throw new ChaosError(`${path} is no catalogue`);
  return freePortsInARow(portsNeeded(reading.catalogue));
}

async function untilReady(
  child: ChildProcess,
  log: string,
  { report, signal }: { report: (line: string) => void; signal: AbortSignal },
): Promise<void> {
  const lines: string[] = [];
  let isReady = false;
  let rest = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8');
    stream?.on('data', (part: string) => {
      appendFileSync(log, part);
      if (isReady) return;
      const parts = (rest + part).split('\n');
      rest = parts.pop() ?? '';
      for (const line of parts) {
        lines.push(line);
        if (/^\s*[\d.]+ s {2}ready$/.test(line)) isReady = true;
        if (!isReady) report(line);
      }
    });
  }
  for (const untilMs = performance.now() + START_MS_MAX; ; await pause(LOOK_EVERY_MS)) {
    if (isReady) return;
    if (signal.aborted) throw new ChaosError('ended while the world was started');
    if (child.exitCode !== null || child.signalCode !== null || performance.now() > untilMs) {
      const said = lines.slice(-KEPT_LINES).join('\n');
      throw new ChaosError(`the world did not start. It said:\n${said}`);
    }
  }
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  const inTime = await Promise.race([
    exit.then(() => true),
    pause(STOP_MS_MAX, false, { ref: false }),
  ]);
  if (inTime) return;
  child.kill('SIGKILL');
  await exit;
}

async function command(words: readonly string[], environment: Environment): Promise<Ran> {
  const child = spawn(process.execPath, [MAIN, ...words], {
    cwd: TREE,
    env: { ...environment, NO_COLOR: '1' },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: COMMAND_MS_MAX,
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8');
    stream.on('data', (part: string) => {
      said += part;
    });
  }
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, said: said.trim() };
}

async function asked<T>(url: string): Promise<T | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(ASK_MS_MAX) });
    return response.ok ? ((await response.json()) as T) : undefined;
  } catch {
    return undefined;
  }
}
