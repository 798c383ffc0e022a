/**
 * Is anything of a home's private data where the policy does not let it be?
 *
 * One round: hold the airlocks' logs, write canaries at every home, wait until everything that
 * travels has travelled, put a control into every channel, and search each of them. Then take away
 * what was put there. A step that fails makes its channels blind; it does not end the round.
 */
import { appendFile, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { subscriptionFrom } from '../../policies/desired-state.ts';
import type { Place } from '../../policies/may-hold.ts';
import type { Policy, SubjectTable } from '../../policies/policy.ts';
import type { Region, RegionId } from '../../regions/catalogue.ts';
import { waitUntil } from '../../regions/local/wait-until.ts';
import { formatLsn, type Lsn, lsnFromPostgres } from '../../regions/position.ts';
import { DatabaseError, type Endpoint, LeasePool } from '../../regions/postgres.ts';
import { failureInWords, ReplicationSession } from '../../regions/replication-client.ts';
import { directoryKeyOf } from '../directory.ts';
import { passwordFor, passwordLines } from '../password-lines.ts';
import type { RecordedLink } from '../record-wire.ts';
import {
  type AuditedMachine,
  type AuditedWorld,
  asSuperuser,
  type ClusterNode,
  primaryOf,
} from './audited-world.ts';
import { encodingsOf } from './canary-encodings.ts';
import type { CanaryModule } from './canary-module.ts';
import { CanaryScanner } from './canary-scanner.ts';
import { type CanarySubject, factsFor, removeSubject, writeCanaries } from './canary-subjects.ts';
import { Gathering, type Look } from './channel.ts';
import { logControl, type PlantedControl, plantControl, removeControl } from './cluster-control.ts';
import type { Finding } from './finding.ts';
import { type Copy, PeerTap } from './peer-copies.ts';
import { scanFolder } from './scan-files.ts';
import { scanMemory } from './scan-memory.ts';

/** What a caller may ask not to look at. */
export const CHANNEL_GROUPS = ['data', 'logs', 'memory', 'peers', 'wires'] as const;
export type ChannelGroup = (typeof CHANNEL_GROUPS)[number];

/** One statement; a checkpoint of a busy cluster is the longest. */
const STATEMENT_MS_MAX = 60_000;
/** A base backup of an airlock, or its log: gigabytes at most. */
const COPY_LIMITS = { timeoutMs: 600_000, bytesMax: 64 * 1024 ** 3 };
const LOOK_EVERY_MS = 50;

/** How long a round waits for what does not answer. */
export type Patience = {
  /** One request to an edge. */
  requestMs: number;
  /** From a commit at home to the farthest copy. */
  travelMs: number;
  dialMs: number;
};
export const PATIENCE: Patience = { requestMs: 15_000, travelMs: 30_000, dialMs: 10_000 };

export type CanaryRound = {
  world: AuditedWorld;
  policy: Policy;
  module: CanaryModule;
  /** A text that occurs nowhere else; see `CanaryQuestion`. */
  draw: () => string;
  without: ReadonlySet<ChannelGroup>;
  patience: Patience;
};

export type CanaryRoundResult = {
  looks: readonly Look[];
  subjects: readonly CanarySubject[];
  /** Of regions in which no canary could be written, why. */
  problems: readonly string[];
  /** Subjects that could not be removed. */
  left: readonly string[];
  findings: readonly Finding[];
};

export async function canaryRound(round: CanaryRound): Promise<CanaryRoundResult> {
  const one = new Round(round);
  try {
    await one.run();
  } finally {
    await one.cleanUp();
  }
  return one.result();
}

/** A login that a region holds on an airlock of another one. */
type Credential = {
  peer: RegionId;
  of: Region;
  airlock: ClusterNode;
  user: string;
  password: string;
};

class Round {
  readonly #round: CanaryRound;
  readonly #world: AuditedWorld;
  readonly #control: string;
  readonly #looks: Look[] = [];
  readonly #subjects: CanarySubject[] = [];
  readonly #problems: string[] = [];
  readonly #findings: Finding[] = [];
  readonly #left: string[] = [];
  readonly #primaries = new Map<RegionId, string>();
  readonly #taps = new Map<Credential, PeerTap | string>();
  /** Clusters whose control could be planted, by the node that holds it. */
  readonly #planted = new Map<string, PlantedControl>();
  readonly #unplanted = new Map<string, string>();
  readonly #undo: (() => Promise<void>)[] = [];
  #scanner = new CanaryScanner([]);

  constructor(round: CanaryRound) {
    this.#round = round;
    this.#world = round.world;
    this.#control = round.draw();
  }

  result(): CanaryRoundResult {
    return {
      looks: this.#looks,
      subjects: this.#subjects,
      problems: this.#problems,
      left: this.#left,
      findings: this.#findings,
    };
  }

  async run(): Promise<void> {
    const { without } = this.#round;
    for (const region of this.#world.catalogue.regions.values()) {
      const primary = await primaryOf(this.#world, region);
      if (primary === undefined) this.#problems.push(`${region.id}: no node takes writes`);
      else this.#primaries.set(region.id, primary);
    }
    const credentials = without.has('peers') ? [] : await this.#credentials();
    await this.#openTaps(credentials);
    await this.#write();
    await this.#travel();
    const texts = this.#subjects.flatMap(({ canaries }) => canaries.map(({ text }) => text));
    this.#scanner = new CanaryScanner([this.#control, ...texts].flatMap(encodingsOf));
    await this.#plant();
    if (!without.has('peers')) {
      await this.#copyAsPeers();
      await this.#tryElsewhere(credentials);
    }
    if (!without.has('data')) await this.#searchData();
    if (!without.has('logs')) await this.#searchLogs();
    if (!without.has('memory')) await this.#searchMemory();
    if (!without.has('wires')) await this.#searchWires();
  }

  async cleanUp(): Promise<void> {
    for (const undo of this.#undo.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        // What stays is random and marked; what was found is worth more than a clean end.
        if (!(error instanceof DatabaseError)) throw error;
      }
    }
    await this.#removeSubjects();
  }

  /** What a region's own primary would connect with, and nothing that only an operator knows. */
  async #credentials(): Promise<Credential[]> {
    const found: Credential[] = [];
    for (const of of this.#world.catalogue.regions.values()) {
      for (const airlock of of.airlocks) {
        for (const peer of airlock.peers) {
          const name = `${peer} as peer of ${of.id}`;
          const held = await this.#heldBy(peer, of.id);
          if ('because' in held) {
            const place: Place = { kind: 'airlock', region: of.id, peers: airlock.peers };
            this.#blind(name, place, held.because);
            continue;
          }
          const node = this.#world.nodes.find((one) => one.name === airlock.name);
          if (node !== undefined) found.push({ peer, of, airlock: node, ...held });
        }
      }
    }
    return found;
  }

  async #heldBy(
    peer: RegionId,
    of: RegionId,
  ): Promise<{ user: string; password: string } | { because: string }> {
    const primary = this.#primaries.get(peer);
    if (primary === undefined) return { because: `${peer} has no primary that could be asked` };
    const subscription = subscriptionFrom(of);
    const asked = await this.#attempt(() =>
      asSuperuser(
        this.#world.superuser(primary),
        (sql) => sql<{ conninfo: string }[]>`
          select subconninfo as conninfo from pg_subscription where subname = ${subscription}`,
        STATEMENT_MS_MAX,
      ),
    );
    if ('because' in asked) return asked;
    const [row] = asked.value;
    if (row === undefined) return { because: `${peer} has no subscription ${subscription}` };
    const words = new Map(
      row.conninfo.split(/\s+/).map((word) => {
        const [name = '', ...value] = word.split('=');
        return [name, value.join('=')] as const;
      }),
    );
    const inline = words.get('password');
    const user = words.get('user') ?? '';
    const passfile = words.get('passfile');
    if (inline !== undefined) return { user, password: inline };
    if (passfile === undefined) return { because: `${subscription} names no password file` };
    // As the server sees it, which may be another machine than this one.
    const read = await this.#attempt(() =>
      asSuperuser(
        this.#world.superuser(primary),
        (sql) => sql<{ text: string | null }[]>`select pg_read_file(${passfile}, true) as text`,
        STATEMENT_MS_MAX,
      ),
    );
    if ('because' in read) return { because: `its password file cannot be read: ${read.because}` };
    const fields = ['host', 'port', 'dbname', 'user'].map((name) => words.get(name) ?? '');
    const password = passwordFor(fields, passwordLines(read.value[0]?.text ?? ''));
    return password === undefined
      ? { because: `its password file has no line for ${fields.join(':')}` }
      : { user, password };
  }

  async #openTaps(credentials: readonly Credential[]): Promise<void> {
    const run = this.#round.draw().slice(-12);
    for (const [index, credential] of credentials.entries()) {
      const slot = `audit_${run}_${index}`;
      const opened = await PeerTap.open(this.#endpointOf(credential), slot, COPY_LIMITS);
      if (opened.kind === 'failed') {
        this.#taps.set(credential, failureInWords(opened.failure));
        continue;
      }
      this.#taps.set(credential, opened.tap);
      this.#undo.push(() => opened.tap.drop());
    }
  }

  #endpointOf({ airlock, user, password }: Credential): Endpoint {
    return { ...this.#world.superuser(airlock.name), user, password };
  }

  async #write(): Promise<void> {
    const { policy, module, draw, patience } = this.#round;
    for (const region of this.#world.catalogue.regions.values()) {
      const facts = factsFor(policy, region.id);
      // Nobody lives there, so there is nothing that could leave.
      if (facts === undefined) continue;
      const [edge] = region.edges;
      if (edge === undefined || !this.#primaries.has(region.id)) {
        this.#problems.push(`${region.id}: no canary could be written, nothing takes it`);
        continue;
      }
      const written = await writeCanaries({
        ...{ edge: edge.url, home: region.id, facts, module, draw },
        requestMsMax: patience.requestMs,
      });
      this.#subjects.push(written.subject);
      if (written.kind === 'not-written') {
        this.#problems.push(`${region.id}: no canary could be written: ${written.because}`);
      }
    }
  }

  /** Until every copy of each home shows what was there when the last canary had been written. */
  async #travel(): Promise<void> {
    for (const region of this.#world.catalogue.regions.values()) {
      const primary = this.#primaries.get(region.id);
      if (primary === undefined) continue;
      const flushed = await this.#attempt(() =>
        asSuperuser(
          this.#world.superuser(primary),
          async (sql) => {
            const [now] = await sql<{ at: string }[]>`
              select pg_current_wal_flush_lsn()::text as at`;
            return lsnFromPostgres(now?.at ?? '');
          },
          STATEMENT_MS_MAX,
        ),
      );
      if ('because' in flushed) {
        this.#problems.push(`${region.id}: ${flushed.because}`);
        continue;
      }
      const copies = [
        ...region.nodes.map(({ name }) => name).filter((name) => name !== primary),
        ...region.airlocks.map(({ name }) => name),
        ...[...this.#primaries].filter(([id]) => id !== region.id).map(([, name]) => name),
      ];
      await Promise.all(copies.map((node) => this.#arrived(region, node, flushed.value)));
    }
  }

  async #arrived(region: Region, node: string, target: Lsn): Promise<void> {
    const replica = region.nodes.some(({ name }) => name === node);
    const pool = new LeasePool({
      endpoint: this.#world.superuser(node),
      connectionsMax: 1,
      waitersMax: 1,
      connectTimeoutMs: this.#dialMsMax,
    });
    const position = formatLsn(target);
    const reached = await this.#attempt(() =>
      waitUntil(
        async () => {
          const rows = await pool.run(
            (sql) =>
              replica
                ? sql`select where pg_last_wal_replay_lsn() >= ${position}::pg_lsn`
                : sql`select from domicile.pulses
                    where region = ${region.id} and lsn >= ${position}::pg_lsn`,
            { timeoutMs: STATEMENT_MS_MAX },
          );
          return rows.length > 0 || undefined;
        },
        { timeoutMs: this.#round.patience.travelMs, everyMs: LOOK_EVERY_MS },
      ),
    );
    await pool.close({ timeoutMs: 1_000 });
    if ('because' in reached || reached.value === undefined) {
      const why = 'because' in reached ? `: ${reached.because}` : ' within its time';
      this.#problems.push(
        `${node} has not received what ${region.id} had written${why}, so what would arrive there was not waited for`,
      );
    }
  }

  async #plant(): Promise<void> {
    const sources = [
      ...this.#primaries.values(),
      ...this.#world.nodes.filter(({ kind }) => kind === 'airlock').map(({ name }) => name),
    ];
    for (const node of sources) {
      const endpoint = this.#world.superuser(node);
      const planted = await this.#attempt(() =>
        asSuperuser(endpoint, (sql) => plantControl(sql, this.#control), STATEMENT_MS_MAX),
      );
      if ('because' in planted) {
        this.#unplanted.set(node, planted.because);
        continue;
      }
      this.#planted.set(node, planted.value);
      this.#undo.push(() =>
        asSuperuser(endpoint, (sql) => removeControl(sql, planted.value), STATEMENT_MS_MAX),
      );
    }
    for (const { name, kind } of this.#world.nodes) {
      if (kind === 'airlock' || [...this.#primaries.values()].includes(name)) continue;
      const planted = await this.#attempt(() =>
        asSuperuser(
          this.#world.superuser(name),
          async (sql) => {
            await logControl(sql, this.#control);
            await sql`checkpoint`;
          },
          STATEMENT_MS_MAX,
        ),
      );
      if ('because' in planted) this.#unplanted.set(name, planted.because);
    }
  }

  async #copyAsPeers(): Promise<void> {
    for (const [credential, tap] of this.#taps) {
      const { peer, of, airlock } = credential;
      const name = `${peer} as peer of ${of.id} at ${airlock.name}`;
      const place: Place = { kind: 'airlock', region: of.id, peers: airlock.peers };
      const planted = this.#planted.get(airlock.name);
      const because =
        typeof tap === 'string'
          ? `the peer's own login does not work: ${tap}`
          : planted === undefined
            ? `no control could be planted: ${this.#unplanted.get(airlock.name)}`
            : undefined;
      if (because !== undefined || typeof tap === 'string' || planted === undefined) {
        this.#blind(name, place, because ?? '');
        continue;
      }
      const copies = await tap.collect(this.#scanner, this.#control, planted.until);
      for (const copy of copies) this.#looks.push(lookOfCopy(name, place, copy));
    }
  }

  /** Fact of the design: a peer's login opens its airlock and nothing else. */
  async #tryElsewhere(credentials: readonly Credential[]): Promise<void> {
    for (const { peer, of, airlock, user, password } of credentials) {
      for (const node of this.#world.nodes) {
        if (node.name === airlock.name) continue;
        for (const as of ['plain', 'database'] as const) {
          const endpoint = { ...this.#world.superuser(node.name), user, password };
          const opened = await ReplicationSession.open(endpoint, {
            as,
            timeoutMs: this.#dialMsMax,
          });
          if (opened.kind === 'open') {
            opened.session.close();
            this.#findings.push({
              kind: 'peer-let-in',
              region: node.region.id,
              at: node.name,
              words: `${node.name}: the login that ${peer} holds for ${airlock.name} of ${of.id} opens this cluster, too (${as === 'plain' ? 'SQL' : 'replication=database'})`,
            });
          } else if (opened.failure.kind !== 'rejected') {
            this.#problems.push(
              `${node.name}: whether it refuses ${peer}'s login is not known: ${failureInWords(opened.failure)}`,
            );
          }
        }
      }
    }
  }

  async #searchData(): Promise<void> {
    const { machine, nodes } = this.#world;
    for (const node of nodes) {
      if (machine === undefined) {
        this.#blind(`${node.name} data directory`, placeOf(node), elsewhere('data'));
        continue;
      }
      const into = this.#gathering();
      const unread = await scanFolder(machine.dataDirectory(node.name), into);
      const because =
        unreadInWords(unread) ?? this.#unplanted.get(node.name) ?? this.#missingAtHome(node, into);
      // Both where rows lie and where their history does.
      const places = [...into.controlAt];
      const found =
        places.some((at) => at.startsWith('base/')) && places.some((at) => at.startsWith('pg_wal'));
      const name = `${node.name} data directory`;
      this.#look(name, placeOf(node), into, found, because);
    }
  }

  /** A canary that cannot be found where it was written proves nothing by being absent elsewhere. */
  #missingAtHome(node: ClusterNode, into: Gathering): string | undefined {
    if (this.#primaries.get(node.region.id) !== node.name) return undefined;
    const found = new Set(into.hits.map(({ canary }) => canary));
    const missing = this.#subjects
      .filter(({ home }) => home === node.region.id)
      .flatMap(({ canaries }) => canaries)
      .filter(({ text }) => !found.has(text));
    if (missing.length === 0) return undefined;
    const columns = missing.map(({ columns: [first] }) => `${first?.table}.${first?.column}`);
    return `the canary of ${columns.join(', ')} is not found at its own home, so its absence elsewhere proves nothing`;
  }

  async #searchLogs(): Promise<void> {
    const { machine, nodes, edges } = this.#world;
    if (machine === undefined) {
      for (const { name, region } of nodes) {
        this.#blind(`${name} server log`, { kind: 'region', region: region.id }, elsewhere('logs'));
      }
      for (const { name, region } of edges) {
        this.#blind(`${name} log`, { kind: 'region', region }, elsewhere('logs'));
      }
      return;
    }
    for (const node of nodes) {
      const into = this.#gathering();
      const unread = await scanFolder(machine.logFile(node.name), into);
      // A log is not open to peers, an airlock's neither.
      const place: Place = { kind: 'region', region: node.region.id };
      const because = unreadInWords(unread) ?? this.#unplanted.get(node.name);
      this.#look(`${node.name} server log`, place, into, into.controlAt.size > 0, because);
    }
    for (const { name, region } of edges) {
      const logFile = machine.edgeLog(name);
      // An edge logs nothing that a client sends, so its control is a line of our own.
      const line = { event: 'audit-control', control: this.#control };
      const written = await tried(() => appendFile(logFile, `${JSON.stringify(line)}\n`));
      const into = this.#gathering();
      const unread = await scanFolder(logFile, into);
      const place: Place = { kind: 'region', region };
      const because = unreadInWords(unread) ?? written;
      this.#look(`${name} log`, place, into, into.controlAt.size > 0, because);
    }
    await this.#searchRunFolder(machine);
  }

  /** What the world itself has written; whose bytes lie there does not follow from the name. */
  async #searchRunFolder({ runFolder }: AuditedMachine): Promise<void> {
    const { catalogue, edges } = this.#world;
    const marker = join(runFolder, `audit-control-${this.#control.slice(-8)}`);
    const written = await tried(() => writeFile(marker, this.#control, { mode: 0o600 }));
    const into = this.#gathering();
    const own = new Set(['wire', ...edges.map(({ name }) => `${name}.log`)]);
    const unread = await scanFolder(runFolder, into, (name) => !own.has(name));
    await rm(marker, { force: true });
    const place: Place = { kind: 'anywhere', regions: [...catalogue.regions.keys()] };
    const because = unreadInWords(unread) ?? written;
    this.#look('run folder', place, into, into.controlAt.size > 0, because);
  }

  async #searchMemory(): Promise<void> {
    const { machine, edges } = this.#world;
    for (const { name, region, url } of edges) {
      const place: Place = { kind: 'region', region };
      if (machine === undefined) {
        this.#blind(`${name} memory`, place, elsewhere('memory'));
        continue;
      }
      const pids = machine.edgePids(name);
      if (pids.length === 0) {
        this.#blind(`${name} memory`, place, 'no process was found that runs this edge');
        continue;
      }
      // A request that is never finished: its header stays in the parser for as long as we look.
      const held = await holdRequest(url, this.#control, this.#dialMsMax);
      for (const pid of pids) {
        const into = this.#gathering();
        const outcome = await scanMemory(pid, into);
        const because =
          outcome.kind === 'could-not-look'
            ? outcome.because
            : typeof held === 'string'
              ? held
              : undefined;
        const title = pids.length === 1 ? `${name} memory` : `${name} memory of ${pid}`;
        this.#look(title, place, into, into.controlAt.size > 0, because);
      }
      if (typeof held !== 'string') held.destroy();
    }
  }

  async #searchWires(): Promise<void> {
    const { machine, catalogue } = this.#world;
    const wire = machine?.wire;
    if (wire === undefined) {
      const place: Place = { kind: 'anywhere', regions: [...catalogue.regions.keys()] };
      const because =
        machine === undefined
          ? elsewhere('wires')
          : 'what passes between regions is not recorded; start the world with --record-wire, or leave this out with --without wires';
      this.#blind('wires', place, because);
      return;
    }
    for (const link of wire.links) {
      const said = await sayControl(link, this.#control, this.#dialMsMax);
      const into = this.#gathering();
      const unread = await scanFolder(join(wire.folder, link.folder), into);
      const place: Place = { kind: 'wire', between: [link.from, link.to] };
      const name = `wire from ${link.from} to ${link.name}`;
      this.#look(name, place, into, into.controlAt.size > 0, unreadInWords(unread) ?? said);
    }
  }

  async #removeSubjects(): Promise<void> {
    const { policy } = this.#round;
    const tables = [...policy.tables.values()].filter(
      (table): table is SubjectTable => table.kind === 'subject',
    );
    for (const { home, subject } of this.#subjects) {
      const primary = this.#primaries.get(home);
      if (primary === undefined) {
        this.#left.push(subject);
        continue;
      }
      const key = directoryKeyOf(this.#directoryKey, subject);
      const pool = new LeasePool({
        endpoint: this.#world.superuser(primary),
        connectionsMax: 1,
        waitersMax: 1,
        connectTimeoutMs: this.#dialMsMax,
      });
      const outcome = await pool.transaction((sql) => removeSubject(sql, tables, subject, key), {
        timeoutMs: STATEMENT_MS_MAX,
      });
      await pool.close({ timeoutMs: 1_000 });
      if (outcome.kind === 'not_applied' || outcome.kind === 'unknown') this.#left.push(subject);
    }
  }

  get #dialMsMax(): number {
    return this.#round.patience.dialMs;
  }

  get #directoryKey(): Buffer {
    return this.#world.key('directory');
  }

  #gathering(): Gathering {
    return new Gathering(this.#scanner, this.#control);
  }

  #look(
    name: string,
    place: Place,
    { hits, bytes }: Gathering,
    positiveControl: boolean,
    because: string | undefined,
  ): void {
    this.#looks.push({ name, place, hits, bytes, positiveControl, because });
  }

  #blind(name: string, place: Place, because: string): void {
    this.#looks.push({ name, place, hits: [], bytes: 0, positiveControl: false, because });
  }

  async #attempt<T>(run: () => Promise<T>): Promise<{ value: T } | { because: string }> {
    try {
      return { value: await run() };
    } catch (error) {
      if (!(error instanceof DatabaseError)) throw error;
      return { because: error.message };
    }
  }
}

/** Which files and processes hold what is not seen from here. It is said, and never taken as clean. */
function elsewhere(group: ChannelGroup): string {
  return `it is on another machine, where nobody has looked; leave it out with --without ${group} if somebody else does`;
}

function lookOfCopy(name: string, place: Place, copy: Copy): Look {
  const { kind, hits, bytes, controlFound, because } = copy;
  return { name: `${name}: ${kind}`, place, hits, bytes, positiveControl: controlFound, because };
}

function placeOf({ region, kind, peers }: ClusterNode): Place {
  return kind === 'airlock'
    ? { kind: 'airlock', region: region.id, peers }
    : { kind: 'region', region: region.id };
}

function unreadInWords(unread: readonly { path: string; code: string }[]): string | undefined {
  const [first] = unread;
  if (first === undefined) return undefined;
  const more = unread.length > 1 ? ` and ${unread.length - 1} more` : '';
  return `${first.path}${more} cannot be read (${first.code})`;
}

async function tried(run: () => Promise<void>): Promise<string | undefined> {
  try {
    await run();
    return undefined;
  } catch (error) {
    return `no control could be written (${(error as NodeJS.ErrnoException).code})`;
  }
}

/**
 * Sends a whole request and the beginning of a second one, in one piece. The answer to the first
 * proves that the edge has read the second as well, and waits for the rest of it.
 */
async function holdRequest(
  url: string,
  control: string,
  dialMsMax: number,
): Promise<Socket | string> {
  const { hostname, port } = new URL(url);
  const socket = connect({ host: hostname, port: Number(port) });
  const lost = new Promise<'lost'>((resolve) => {
    socket.on('error', () => {});
    socket.on('close', () => resolve('lost'));
  });
  const limit = setTimeout(() => socket.destroy(), dialMsMax);
  const start = `GET /.domicile/health HTTP/1.1\r\nhost: ${hostname}\r\n`;
  socket.write(`${start}\r\n${start}x-audit: ${control}`);
  const answered = new Promise<'answered'>((resolve) => {
    socket.once('data', () => resolve('answered'));
  });
  const outcome = await Promise.race([answered, lost]);
  clearTimeout(limit);
  socket.resume();
  return outcome === 'answered' ? socket : 'the edge could not be told a control';
}

/** Sends a control through a relay, and waits for the far end's answer to it. */
async function sayControl(
  link: RecordedLink,
  control: string,
  dialMsMax: number,
): Promise<string | undefined> {
  const { host, port } = link.address;
  if (link.kind === 'airlock') {
    const opened = await ReplicationSession.open(
      { name: link.name, host, port, database: control, user: control, password: control },
      { as: 'plain', timeoutMs: dialMsMax },
    );
    if (opened.kind === 'open') {
      opened.session.close();
      return `${link.name} lets anybody in`;
    }
    return opened.failure.kind === 'rejected' ? undefined : failureInWords(opened.failure);
  }
  try {
    const answer = await fetch(`http://${host}:${port}/.domicile/health?audit=${control}`, {
      signal: AbortSignal.timeout(dialMsMax),
    });
    await answer.arrayBuffer();
    return undefined;
  } catch (error) {
    return `${link.name} did not answer through the recorder (${(error as Error).name})`;
  }
}
