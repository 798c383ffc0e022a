/**
 * What do the servers of one region do?
 *
 * As much of PostgreSQL as decides what a read can see: a log with records that are inserted,
 * flushed, shipped and replayed; commits that wait for a standby and are visible there first;
 * promotions with a fork; servers that are cut off, crash, and come back with less, or with more,
 * than they had shown.
 */
import type { Ancestor, History, Lsn, Position } from '../../regions/position.ts';
import type { Role } from '../../regions/sighting.ts';
import type { Agenda } from './agenda.ts';
import type { Random } from './random.ts';
import { copyOf, include, type Writes } from './writes.ts';

/** A row of one subject, added once and never changed. */
export type Write = { subject: number; number: number };

type Commit = { lsn: Lsn; write: Write | undefined };

const PAGE_BYTES = 8_192n;
const PAGE_HEADER_BYTES = 24n;

/** One timeline, as the one primary writes it that was ever on it. */
export class Log {
  readonly timeline: number;
  readonly ancestors: readonly Ancestor[];
  readonly commits: Commit[];

  constructor(timeline: number, ancestors: readonly Ancestor[], commits: Commit[]) {
    this.timeline = timeline;
    this.ancestors = ancestors;
    this.commits = commits;
  }

  /** A promotion at `end`. */
  fork(end: Lsn): Log {
    const commits = this.commits.filter(({ lsn }) => lsn <= end);
    return new Log(
      this.timeline + 1,
      [...this.ancestors, { timeline: this.timeline, end }],
      commits,
    );
  }

  /** How far a follower of `timeline` may have come and still follow this one. */
  sharedWith(timeline: number): Lsn | undefined {
    if (timeline === this.timeline) return undefined;
    return this.ancestors.find((one) => one.timeline === timeline)?.end ?? 0n;
  }
}

export type CommitEnd = 'clean' | 'with_a_warning' | 'connection_lost';

type Waiting = { commit: Commit; done: (end: CommitEnd) => void };

export class Server {
  readonly name: string;
  up = true;
  /** How often it was started. */
  starts = 1;
  incarnation: string;
  role: Role;
  log: Log;
  inserted: Lsn = 0n;
  flushed: Lsn = 0n;
  /** On a replica: everything up to there is visible. */
  replayed: Lsn = 0n;
  source: Server | undefined;
  /** How long a replica takes to replay what it has. */
  replayMs = 1;
  /** On a primary: up to where each standby has confirmed. */
  confirmed = new Map<string, Lsn>();
  waiting: Waiting[] = [];
  shown: Writes[] = [];
  /** Commits of the log that a replica has replayed. */
  next = 0;
  isReplaying = false;
  isReceiving = false;

  constructor(name: string, role: Role, log: Log) {
    this.name = name;
    this.role = role;
    this.log = log;
    this.incarnation = `${name}1`;
  }

  /** What a statement that begins now sees of a subject. */
  read(subject: number): Writes {
    return copyOf(this.shown[subject] as Writes);
  }

  show({ write }: Commit): void {
    if (write !== undefined) include(this.shown[write.subject] as Writes, write.number);
  }
}

export type ClusterOptions = {
  systemId: bigint;
  /** Commits wait for one standby. */
  synchronous: boolean;
  replicas: number;
  /** How often a standby's word comes late, while it shows already what it has confirmed. */
  slowConfirmations: number;
  subjects: number;
  noWrites: () => Writes;
  random: Random;
  agenda: Agenda;
  trace: (line: () => string) => void;
};

const NAMES = ['a', 'b', 'c'] as const;

export class Cluster {
  readonly servers: readonly Server[];
  /** The one that the keeper says. */
  primary: Server;
  promotions = 0;
  /** What each timeline was before: as far as anybody can know. */
  readonly #options: ClusterOptions;
  #cut = new Set<string>();

  constructor(options: ClusterOptions) {
    this.#options = options;
    const log = new Log(1, [], []);
    this.servers = NAMES.slice(0, options.replicas + 1).map(
      (name, index) => new Server(name, index === 0 ? 'primary' : 'replica', log),
    );
    this.primary = this.server('a');
    for (const server of this.servers) {
      server.shown = this.#nothing();
      if (server !== this.primary) server.source = this.primary;
    }
  }

  server(name: string): Server {
    const server = this.servers.find((one) => one.name === name);
    if (server === undefined) throw new RangeError(name);
    return server;
  }

  get synchronous(): boolean {
    return this.#options.synchronous;
  }

  /** Whether what was written is in the history that the region goes on with. */
  keeps(write: Write): boolean {
    return this.primary.log.commits.some((commit) => commit.write === write);
  }

  // What a statement can ask of a server.

  at({ log, role, replayed, flushed }: Server): Position {
    const lsn = role === 'primary' ? flushed : replayed;
    return { systemId: this.#options.systemId, timeline: log.timeline, lsn };
  }

  standsAt(server: Server): { lsn: Lsn; timeline: number } {
    return this.at(server);
  }

  look(server: Server): { role: Role; at: Position } | undefined {
    return this.#follows(server) ? { role: server.role, at: this.at(server) } : undefined;
  }

  history({ log: { timeline, ancestors } }: Server): History {
    return { systemId: this.#options.systemId, timeline, ancestors };
  }

  releasedUpTo({ confirmed }: Server): Lsn | undefined {
    let highest: Lsn | undefined;
    for (const lsn of confirmed.values()) {
      if (highest === undefined || lsn > highest) highest = lsn;
    }
    return highest;
  }

  isOnTimeline(server: Server, timeline: number): boolean {
    return server.role === 'primary' && server.log.timeline === timeline;
  }

  #follows({ role, source, name }: Server): boolean {
    return role === 'primary' || (source?.up === true && !this.#cut.has(link(source.name, name)));
  }

  // What a primary does.

  commit(server: Server, write: Write | undefined, done: (end: CommitEnd) => void): void {
    const { random, agenda } = this.#options;
    const commit = { lsn: this.#insert(server), write };
    server.log.commits.push(commit);
    server.waiting.push({ commit, done });
    const { starts } = server;
    // Disks stall now and then.
    const flushMs = random.chance(0.03) ? random.between(1, 40) : random.between(0.05, 0.5);
    agenda.in(flushMs, () => {
      if (server.starts !== starts || server.role !== 'primary') return;
      if (server.flushed < commit.lsn) server.flushed = commit.lsn;
      for (const replica of this.servers) this.#ship(server, replica);
      this.#release(server);
    });
  }

  #insert(server: Server): Lsn {
    const { random } = this.#options;
    const within = server.inserted % PAGE_BYTES;
    const from = within === 0n ? server.inserted + PAGE_HEADER_BYTES : server.inserted;
    let to = from + BigInt(40 + random.below(400));
    // Now and then a record ends where its page does.
    if (random.chance(0.1)) to += PAGE_BYTES - (to % PAGE_BYTES);
    server.inserted = to;
    return to;
  }

  #release(server: Server): void {
    const upTo = this.synchronous ? this.releasedUpTo(server) : server.flushed;
    if (upTo === undefined) return;
    let first = server.waiting[0];
    while (first !== undefined && first.commit.lsn <= upTo && first.commit.lsn <= server.flushed) {
      server.waiting.shift();
      server.show(first.commit);
      first.done('clean');
      first = server.waiting[0];
    }
  }

  /** Somebody ends a commit's wait by hand: it is visible, and no standby has it. */
  cancelWaiting(server: Server): void {
    const flushed = server.waiting.filter(({ commit }) => commit.lsn <= server.flushed);
    server.waiting = server.waiting.filter(({ commit }) => commit.lsn > server.flushed);
    for (const { commit, done } of flushed) {
      server.show(commit);
      done('with_a_warning');
    }
  }

  // What a standby does.

  #ship(primary: Server, replica: Server): void {
    const { random, agenda } = this.#options;
    if (replica.isReceiving || replica.source !== primary || !this.#follows(replica)) return;
    if (!replica.up || (primary.confirmed.get(replica.name) ?? -1n) >= primary.flushed) return;
    replica.isReceiving = true;
    const upTo = primary.flushed;
    const { starts } = replica;
    const holds = () =>
      replica.starts === starts && replica.source === primary && this.#follows(replica);
    agenda.in(random.between(0.1, 1.5), () => {
      if (replica.starts === starts) replica.isReceiving = false;
      if (!holds()) return;
      if (replica.flushed < upTo) replica.flushed = upTo;
      this.replay(replica);
      const { log } = primary;
      agenda.in(
        random.chance(this.#options.slowConfirmations)
          ? random.between(1, 40)
          : random.between(0.1, 1),
        () => {
          if (!holds() || primary.log !== log || !primary.up) return;
          if ((primary.confirmed.get(replica.name) ?? -1n) < upTo) {
            primary.confirmed.set(replica.name, upTo);
          }
          this.#release(primary);
          this.#ship(primary, replica);
        },
      );
    });
  }

  replay(replica: Server): void {
    const { random, agenda } = this.#options;
    if (replica.isReplaying || !replica.up || replica.role !== 'replica') return;
    if (replica.replayed >= replica.flushed) return;
    replica.isReplaying = true;
    const { starts } = replica;
    agenda.in(random.between(0, 2 * replica.replayMs), () => {
      if (replica.starts !== starts) return;
      replica.isReplaying = false;
      if (replica.role !== 'replica') return;
      this.#replayUpTo(replica, replica.flushed, random.chance(0.2) ? 1 : Number.MAX_SAFE_INTEGER);
      this.replay(replica);
    });
  }

  #replayUpTo(replica: Server, upTo: Lsn, commitsMax: number): void {
    const { commits } = replica.log;
    for (let replayed = 0; replica.next < commits.length; replica.next++) {
      const commit = commits[replica.next] as Commit;
      if (commit.lsn > upTo) break;
      if (replayed++ === commitsMax) return;
      replica.show(commit);
      if (commit.lsn > replica.replayed) replica.replayed = commit.lsn;
    }
    if (upTo > replica.replayed) replica.replayed = upTo;
  }

  // What goes wrong.

  cut(a: string, b: string): void {
    this.#cut.add(link(a, b));
    this.#options.trace(() => `cluster: ${a} and ${b} are cut apart`);
  }

  heal(a: string, b: string): void {
    if (!this.#cut.delete(link(a, b))) return;
    this.#options.trace(() => `cluster: ${a} and ${b} reach each other`);
    this.catchUp();
  }

  healAll(): void {
    this.#cut.clear();
    this.catchUp();
  }

  catchUp(): void {
    for (const server of this.servers) {
      if (server.source !== undefined) this.#ship(server.source, server);
      this.replay(server);
    }
  }

  crash(server: Server): void {
    this.#options.trace(() => `cluster: ${server.name} crashes`);
    server.up = false;
    this.#begin(server);
    if (server.role !== 'primary') return;
    // What was not flushed is gone, and its place in the log will be written again.
    while ((server.log.commits.at(-1)?.lsn ?? 0n) > server.flushed) server.log.commits.pop();
    server.inserted = server.flushed;
  }

  /** A new start: connections are gone, and so is whoever waited. */
  #begin(server: Server): void {
    server.starts++;
    server.incarnation = `${server.name}${server.starts}`;
    server.isReceiving = false;
    server.isReplaying = false;
    const { waiting } = server;
    server.waiting = [];
    for (const { done } of waiting) done('connection_lost');
  }

  restart(server: Server): void {
    const { random, trace } = this.#options;
    if (server.up) return;
    server.up = true;
    if (server.role === 'primary') {
      // Recovery shows every commit in the log, also those that were still waiting.
      this.#rebuild(server, server.flushed);
    } else {
      // It begins where it last wrote its pages out, which may lie behind what it has shown.
      const behind = server.log.commits[Math.max(0, server.next - random.below(12))]?.lsn ?? 0n;
      this.#rebuild(server, behind < server.replayed ? behind : server.replayed);
    }
    trace(() => `cluster: ${server.name} is back as ${server.role}, ${this.#where(server)}`);
    this.catchUp();
  }

  #rebuild(server: Server, upTo: Lsn): void {
    server.shown = this.#nothing();
    server.next = 0;
    server.replayed = 0n;
    this.#replayUpTo(server, upTo, Number.MAX_SAFE_INTEGER);
  }

  /** The replica takes over; those that can follow it, the others are filled anew. */
  promote(server: Server): void {
    const { trace } = this.#options;
    const before = this.primary;
    server.source = undefined;
    this.#replayUpTo(server, server.flushed, Number.MAX_SAFE_INTEGER);
    server.log = server.log.fork(server.flushed);
    server.role = 'primary';
    server.confirmed = new Map();
    // The record that ends recovery.
    server.inserted = server.flushed + 120n;
    server.flushed = server.inserted;
    this.primary = server;
    this.promotions++;
    trace(() => `cluster: ${server.name} is promoted, ${this.#where(server)}`);
    for (const other of this.servers) {
      if (other !== server && other !== before && other.role === 'replica') this.follow(other);
    }
    this.catchUp();
  }

  /** Makes the server a standby of the present primary. */
  follow(server: Server): void {
    const { primary } = this;
    const wasPrimary = server.role === 'primary';
    const limit = primary.log.sharedWith(server.log.timeline);
    const strayed = limit !== undefined && server.flushed > limit;
    server.role = 'replica';
    server.source = primary;
    if (wasPrimary || strayed) {
      server.up = true;
      this.#begin(server);
    }
    server.log = primary.log;
    if (strayed) {
      server.flushed = primary.flushed;
      this.#rebuild(server, primary.flushed);
    } else if (wasPrimary) {
      this.#rebuild(server, server.flushed);
    }
    this.#options.trace(
      () => `cluster: ${server.name} follows ${primary.name}, ${this.#where(server)}`,
    );
    this.catchUp();
  }

  #where(server: Server): string {
    return `timeline ${server.log.timeline}, flushed ${server.flushed}, replayed ${server.replayed}`;
  }

  #nothing(): Writes[] {
    return Array.from({ length: this.#options.subjects }, this.#options.noWrites);
  }
}

function link(a: string, b: string): string {
  return a < b ? `${a}${b}` : `${b}${a}`;
}
