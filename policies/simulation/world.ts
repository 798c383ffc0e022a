/**
 * What happens in one region, from one seed?
 *
 * Servers, edges and clients with their sessions, while links break, servers crash and replicas are
 * promoted; then all heals, and everybody must be served.
 */

import type { Position } from '../../regions/position.ts';
import type { Level } from '../consistency.ts';
import { bounded, merge, NO_SESSION, type Session } from '../session.ts';
import { Agenda, start, type Task, together } from './agenda.ts';
import { Cluster, type Server, type Write } from './cluster.ts';
import { BUDGET_MS, Edge, type Visit } from './edge.ts';
import {
  type Before,
  copyKnowledge,
  Judge,
  type Knowledge,
  knowNothing,
  learn,
  type Violation,
} from './judge.ts';
import { Random } from './random.ts';
import { include, includeAll, missing, noWrites, WRITES_MAX, type Writes } from './writes.ts';

const LOST = 'session-guarantee-lost';
const HERE = 'eu';
const SYSTEM_ID = 7_000_000_001n;
const TROUBLE_MS = 20_000;
/** Longer than a sighting lasts, a promotion is noticed, and a replica needs to be waited for again. */
const QUIET_MS = 6_000;
/** One question to the primary, whose messages are now and then slow. */
const REFUSED_WITHIN_MS = 300;

export type Tally = Record<string, number>;

export type WorldEnd = {
  seed: number;
  steps: number;
  violations: readonly Violation[];
  tally: Tally;
  /** Changes when anything happens otherwise. */
  hash: number;
  trace: readonly string[];
};

type Client = {
  name: string;
  subject: number;
  session: Session;
  knows: Knowledge;
  /** Sessions that came with answers while others were under way. */
  received: Session[];
  /** It keeps every token that it was ever given. */
  hoards: boolean;
  underWay: number;
};

type Op = 'read' | 'write' | 'two reads' | 'reads side by side';

export class World {
  readonly agenda = new Agenda();
  readonly #seed: number;
  readonly #random: Random;
  readonly #judge: Judge;
  readonly #cluster: Cluster;
  readonly #edges: Edge[] = [];
  readonly #clients: Client[] = [];
  readonly #subjects: number;
  readonly #writes: { sent: number; applied: Write[] }[];
  readonly #tally: Tally = {};
  readonly #trace: string[] | undefined;
  #hash = 0;
  #isTroubled = true;

  constructor(seed: number, { traced = false } = {}) {
    this.#seed = seed;
    const random = new Random(seed);
    this.#random = random;
    this.#trace = traced ? [] : undefined;
    this.#subjects = 1 + random.below(3);
    this.#judge = new Judge(this.#subjects);
    this.#writes = Array.from({ length: this.#subjects }, () => ({ sent: 0, applied: [] }));
    this.#cluster = new Cluster({
      systemId: SYSTEM_ID,
      synchronous: random.chance(0.8),
      replicas: 1 + random.below(2),
      slowConfirmations: random.pick([0.02, 0.1, 0.7]),
      subjects: this.#subjects,
      noWrites,
      random,
      agenda: this.agenda,
      trace: this.trace,
    });
    const edges = 1 + random.below(3);
    for (let i = 0; i < edges; i++) {
      this.#edges.push(
        new Edge({
          name: `edge${i}`,
          cluster: this.#cluster,
          agenda: this.agenda,
          random,
          here: HERE,
          trace: this.trace,
          acknowledged: (write, server) => this.#acknowledged(write, server),
        }),
      );
    }
    const clients = 2 + random.below(6);
    for (let i = 0; i < clients; i++) {
      this.#clients.push({
        name: `client${i}`,
        subject: random.below(this.#subjects),
        session: NO_SESSION,
        knows: knowNothing(),
        received: [],
        hoards: random.chance(0.2),
        underWay: 0,
      });
    }
  }

  /** Runs to the end, or up to the first violation, or for so many steps. */
  run(stepsMax = Number.MAX_SAFE_INTEGER): WorldEnd {
    const { agenda } = this;
    for (const edge of this.#edges) edge.watch();
    for (const client of this.#clients) {
      agenda.in(this.#random.between(300, 1_000), () => start(this.#live(client)));
    }
    start(this.#trouble());
    let isOver = false;
    agenda.at(TROUBLE_MS, () => start(this.#quiet(), () => (isOver = true)));
    while (!isOver && agenda.steps < stepsMax && this.#judge.violations.length === 0) {
      if (!agenda.step()) throw new Error('nothing is left to happen');
    }
    return {
      seed: this.#seed,
      steps: agenda.steps,
      violations: this.#judge.violations,
      tally: this.#tally,
      hash: this.#hash,
      trace: this.#trace ?? [],
    };
  }

  trace = (line: () => string): void => {
    this.#trace?.push(`${this.agenda.nowMs.toFixed(2)} ms  ${line()}`);
  };

  #count(what: string): void {
    this.#tally[what] = (this.#tally[what] ?? 0) + 1;
  }

  // What clients do.

  *#live(client: Client): Task<void> {
    const random = this.#random;
    while (this.#isTroubled) {
      yield* this.agenda.sleep(random.chance(0.3) ? random.between(0, 2) : random.between(5, 120));
      if (random.chance(0.05)) this.#handOver(client, random.pick(this.#clients));
      const request = this.#request(client, random.pick(this.#edges), this.#op(), this.#level());
      // Some do not wait for the answer before they ask again.
      if (random.chance(0.2)) start(request);
      else yield* request;
    }
  }

  #op(): Op {
    const random = this.#random;
    if (random.chance(0.3)) return 'write';
    if (random.chance(0.8)) return 'read';
    return random.chance(0.5) ? 'two reads' : 'reads side by side';
  }

  #level(): Level {
    const random = this.#random;
    if (random.chance(0.65)) return { kind: 'session' };
    if (random.chance(0.4)) return { kind: 'strong' };
    if (random.chance(0.6)) {
      return { kind: 'bounded', maxStalenessMs: random.pick([0, 100, 500, 2_000, 10_000]) };
    }
    return { kind: 'eventual' };
  }

  /** The token travels with a message to somebody who then goes on from it. */
  #handOver(from: Client, to: Client): void {
    if (from === to || from.subject !== to.subject) return;
    to.session = merge(to.session, from.session) ?? to.session;
    if (to.underWay > 0) to.received.push(from.session);
    learn(from.knows, to.knows);
    this.trace(() => `${from.name} hands its session to ${to.name}`);
  }

  /** What came of it, in a word. */
  *#request(client: Client, edge: Edge, op: Op, level: Level): Task<string> {
    const random = this.#random;
    const { subject } = client;
    const { agenda } = this;
    const sent = client.received.length;
    client.underWay++;
    const knows = copyKnowledge(client.knows);
    const before = level.kind === 'strong' ? this.#judge.before(subject) : undefined;
    const visit: Visit = { session: client.session, level, deadlineMs: 0 };
    yield* agenda.sleep(random.chance(0.1) ? random.between(1, 150) : random.between(0.1, 2));
    visit.deadlineMs = agenda.nowMs + BUDGET_MS;
    const end = yield* this.#handle(client, edge, op, visit, knows, before);
    this.#count(end);
    if (end === 'session-position-unknown') {
      const write = { subject, number: 0 };
      this.#judge.complain('positions are believed', write, agenda.nowMs);
    }
    yield* agenda.sleep(random.chance(0.1) ? random.between(1, 150) : random.between(0.1, 2));
    client.underWay--;
    if (this.#isTroubled && random.chance(0.01)) this.#count('answer lost');
    else this.#answered(client, bounded(visit.session), sent, knows, end);
    if (client.underWay === 0) client.received = [];
    return end;
  }

  #answered(client: Client, session: Session, sent: number, learned: Knowledge, end: string): void {
    this.trace(() => `${client.name} is answered: ${end}; ${inWords(session)}`);
    if (end === LOST) {
      // It goes on from the session that it was given, and from what others brought meanwhile.
      client.session = client.received
        .slice(sent)
        .reduce((all, one) => merge(all, one) ?? all, session);
      const gone = this.#forgetGone(client.subject, client.knows);
      this.#count(gone > 0 ? 'loss told' : 'loss told, nothing gone');
    } else {
      const rest = client.hoards ? [client.session] : client.received.slice(sent);
      client.session = rest.reduce((all, one) => merge(all, one) ?? all, session);
      if (!isRefusal(end)) learn(learned, client.knows);
    }
    if (client.underWay > 0) client.received.push(session);
  }

  /** After a loss was announced, a session may expect what has survived, and nothing less. */
  #forgetGone(subject: number, knows: Knowledge): number {
    const kept = noWrites();
    for (const { write } of this.#cluster.primary.log.commits) {
      if (write?.subject === subject) include(kept, write.number);
    }
    const gone = missing(kept, knows.written).length + missing(kept, knows.read).length;
    for (let i = 0; i < kept.length; i++) {
      knows.written[i] = (knows.written[i] as number) & (kept[i] as number);
      knows.read[i] = (knows.read[i] as number) & (kept[i] as number);
    }
    return gone;
  }

  *#handle(
    client: Client,
    edge: Edge,
    op: Op,
    visit: Visit,
    knows: Knowledge,
    before: Before | undefined,
  ): Task<string> {
    switch (op) {
      case 'write':
        return yield* this.#write(client, edge, visit, knows);
      case 'read':
        return yield* this.#read(client, edge, visit, knows, before);
      case 'two reads': {
        const end = yield* this.#read(client, edge, visit, knows, before);
        return isRefusal(end) ? end : yield* this.#read(client, edge, visit, knows, before);
      }
      case 'reads side by side': {
        const ends = yield* together([
          this.#read(client, edge, visit, knows, before),
          this.#read(client, edge, visit, knows, before),
        ]);
        return ends.includes(LOST) ? LOST : (ends.find(isRefusal) ?? ends[0] ?? '');
      }
    }
  }

  *#read(
    { name, subject }: Client,
    edge: Edge,
    visit: Visit,
    knows: Knowledge,
    before: Before | undefined,
  ): Task<string> {
    const { level } = visit;
    const knew = copyKnowledge(knows);
    const end = yield* edge.read(visit, subject);
    if (end.kind === 'refused') {
      this.trace(() => `${name} reads ${level.kind} at ${edge.name}: ${end.why}`);
      // The handler is told before anything else of the same request is read.
      if (end.why === LOST) this.#forgetGone(subject, knows);
      return end.why;
    }
    const { value, rung, node, placedAtMs } = end;
    this.#mark(node.charCodeAt(0) + sum(value));
    this.trace(() => {
      const shown = count(value);
      return `${name} reads ${level.kind} at ${edge.name}: ${node}, ${rung}, ${shown} writes; ${inWords(visit.session)}`;
    });
    this.#judge.read({ level, subject, value, knew, before, placedAtMs }, this.agenda.nowMs);
    if (level.kind !== 'eventual') includeAll(knows.read, value);
    return `${level.kind}: ${rung}`;
  }

  *#write({ name, subject }: Client, edge: Edge, visit: Visit, knows: Knowledge): Task<string> {
    const of = this.#writes[subject] as { sent: number; applied: Write[] };
    if (of.sent === WRITES_MAX) return 'no room to write';
    const write: Write = { subject, number: of.sent++ };
    this.#judge.sent(write, knows);
    const end = yield* edge.write(visit, write);
    this.#mark(write.number);
    this.trace(() => {
      const why = end.kind === 'refused' ? `, ${end.why}` : '';
      return `${name} writes ${subject}.${write.number} at ${edge.name}: ${end.kind}${why}`;
    });
    if (end.kind === 'unknown') return 'write: unknown';
    if (end.kind === 'refused') {
      this.#judge.notApplied(write);
      return end.why;
    }
    include(knows.written, write.number);
    return 'write: applied';
  }

  #acknowledged(write: Write, server: Server): void {
    const { agenda } = this;
    const cluster = this.#cluster;
    this.#judge.acknowledged(write, agenda.nowMs);
    this.#writes[write.subject]?.applied.push(write);
    if (cluster.keeps(write)) return;
    this.trace(() => `${server.name} acknowledged ${write.subject}.${write.number} after its time`);
    if (cluster.synchronous) {
      this.#judge.complain('one epoch acknowledges', write, agenda.nowMs);
    } else this.#judge.gone(write);
  }

  #mark(value: number): void {
    this.#hash = (Math.imul(this.#hash, 31) + value + Math.trunc(this.agenda.nowMs * 1_000)) | 0;
  }

  // What goes wrong.

  *#trouble(): Task<void> {
    const random = this.#random;
    while (this.#isTroubled) {
      yield* this.agenda.sleep(random.between(20, 1_200));
      if (!this.#isTroubled) return;
      const dice = random.below(100);
      if (dice < 14) start(this.#failOver());
      else if (dice < 40) start(this.#breakLink());
      else if (dice < 60) start(this.#lag());
      else if (dice < 70) start(this.#cutReplication());
      else if (dice < 82) start(this.#crashReplica());
      else if (dice < 88) start(this.#crashPrimary());
      else if (dice < 92) this.#cluster.cancelWaiting(this.#cluster.primary);
      else start(this.#crowd());
    }
  }

  *#breakLink(): Task<void> {
    const random = this.#random;
    const edge = random.pick(this.#edges);
    const reach = random.pick([...edge.reach.values()]);
    const dice = random.below(3);
    reach.link = dice === 0 ? 'cut' : dice === 1 ? 'replies_are_lost' : 'up';
    reach.delayMs = dice === 2 ? random.between(1, 200) : 0;
    this.trace(
      () => `${edge.name} to ${reach.server.name}: ${reach.link}, ${reach.delayMs.toFixed(0)} ms`,
    );
    yield* this.agenda.sleep(random.between(10, random.chance(0.2) ? 5_000 : 800));
    reach.link = 'up';
    reach.delayMs = 0;
  }

  *#lag(): Task<void> {
    const random = this.#random;
    const server = random.pick(this.#cluster.servers);
    server.replayMs = random.pick([5, 20, 80, 400, 1_500]);
    this.trace(() => `${server.name} replays ${server.replayMs} ms late`);
    yield* this.agenda.sleep(random.between(50, 2_500));
    server.replayMs = 1;
  }

  *#cutReplication(): Task<void> {
    const random = this.#random;
    const cluster = this.#cluster;
    const [a, b] = [cluster.primary.name, random.pick(cluster.servers).name];
    if (a === b) return;
    cluster.cut(a, b);
    yield* this.agenda.sleep(random.between(20, 1_500));
    if (!this.#isFailingOver) cluster.heal(a, b);
    else this.#healLater.push([a, b]);
  }

  *#crashReplica(): Task<void> {
    const random = this.#random;
    const server = random.pick(this.#cluster.servers);
    if (!server.up || server.role === 'primary' || this.#isFailingOver) return;
    this.#cluster.crash(server);
    yield* this.agenda.sleep(random.between(5, 1_000));
    this.#cluster.restart(server);
  }

  *#crashPrimary(): Task<void> {
    const { primary } = this.#cluster;
    if (!primary.up || this.#isFailingOver) return;
    this.#cluster.crash(primary);
    yield* this.agenda.sleep(this.#random.between(5, 1_000));
    this.#cluster.restart(primary);
  }

  *#crowd(): Task<void> {
    const edge = this.#random.pick(this.#edges);
    edge.busy = 0.5;
    yield* this.agenda.sleep(this.#random.between(50, 1_000));
    edge.busy = 0;
  }

  #isFailingOver = false;
  #healLater: [string, string][] = [];

  /** The keeper promotes a replica while the old primary may not know. */
  *#failOver(): Task<void> {
    const random = this.#random;
    const cluster = this.#cluster;
    if (this.#isFailingOver) return;
    this.#isFailingOver = true;
    const old = cluster.primary;
    const replicas = cluster.servers.filter((server) => server !== old);
    // Nothing that the old primary acknowledges from here on is kept.
    for (const { name } of replicas) cluster.cut(old.name, name);
    if (random.chance(0.3) && old.up) cluster.crash(old);
    for (const edge of this.#edges) {
      const dice = random.below(10);
      // Some edges cannot reach the old primary, some cannot reach any other.
      for (const reach of edge.reach.values()) {
        const isCut = reach.server === old ? dice < 3 : dice > 6;
        if (isCut) reach.link = 'cut';
      }
    }
    yield* this.agenda.sleep(
      random.chance(0.3) ? random.between(1, 30) : random.between(30, 1_500),
    );
    for (const server of replicas) if (!server.up) cluster.restart(server);
    const ordered = replicas.toSorted((a, b) =>
      a.flushed === b.flushed ? 0 : a.flushed > b.flushed ? -1 : 1,
    );
    // Which of them is furthest is asked where nothing may be lost.
    const next = cluster.synchronous ? ordered[0] : random.pick(ordered);
    if (next === undefined) throw new Error('a region without a replica');
    cluster.promote(next);
    this.#count('promotion');
    this.#takeStock();
    const mayAct = old.up && random.chance(0.5);
    yield* this.agenda.sleep(random.between(50, mayAct ? 3_000 : 500));
    // Whoever restarts it shows what it had not been allowed to show.
    if (random.chance(0.4)) {
      if (old.up) cluster.crash(old);
      cluster.restart(old);
      yield* this.agenda.sleep(random.between(50, 1_500));
    } else if (random.chance(0.3) && old.up) {
      cluster.cancelWaiting(old);
      yield* this.agenda.sleep(random.between(50, 1_500));
    }
    for (const edge of this.#edges) {
      for (const reach of edge.reach.values()) if (reach.link === 'cut') reach.link = 'up';
    }
    for (const { name } of replicas) cluster.heal(old.name, name);
    cluster.follow(old);
    for (const [a, b] of this.#healLater) cluster.heal(a, b);
    this.#healLater = [];
    this.#isFailingOver = false;
  }

  /** What the new primary lacks of what was acknowledged. */
  #takeStock(): void {
    const cluster = this.#cluster;
    const kept = new Set(cluster.primary.log.commits.map(({ write }) => write));
    for (const { applied } of this.#writes) {
      for (const write of applied) {
        if (kept.has(write)) continue;
        if (cluster.synchronous) {
          this.#judge.complain('applied stays', write, this.agenda.nowMs);
        } else {
          this.#judge.gone(write);
          this.#count('acknowledged and gone');
        }
      }
    }
  }

  // When nothing goes wrong.

  *#quiet(): Task<void> {
    const { agenda } = this;
    const cluster = this.#cluster;
    this.#isTroubled = false;
    for (const edge of this.#edges) edge.forgets = false;
    while (this.#isFailingOver) yield* agenda.sleep(100);
    // What is still broken heals by itself within this time.
    yield* agenda.sleep(QUIET_MS);
    cluster.healAll();
    yield* agenda.sleep(QUIET_MS);
    for (const client of this.#clients) {
      for (const edge of this.#edges) yield* this.#mustServe(client, edge);
    }
    for (const edge of this.#edges) {
      yield* this.#mustRefuse(edge, { lsn: 1n << 60n }, 'session-position-unknown');
      yield* this.#mustRefuse(edge, { systemId: 1n }, 'session-of-other-cluster');
    }
  }

  /** A position that nobody here has given out is told from one that is yet to come, at once. */
  *#mustRefuse(edge: Edge, bend: Partial<Position>, expected: string): Task<void> {
    const { agenda } = this;
    const floor = { ...this.#cluster.at(this.#cluster.primary), onReplica: true, ...bend };
    for (const kind of ['session', 'strong'] as const) {
      const session = { ...NO_SESSION, floors: new Map([[HERE, [floor]]]) };
      const visit: Visit = { session, level: { kind }, deadlineMs: agenda.nowMs + BUDGET_MS };
      const beganAtMs = agenda.nowMs;
      const end = yield* edge.read(visit, 0);
      const why = end.kind === 'refused' ? end.why : end.kind;
      this.trace(() => `a bent position, ${kind}: ${why} after ${agenda.nowMs - beganAtMs} ms`);
      if (why !== expected || agenda.nowMs - beganAtMs > REFUSED_WITHIN_MS) {
        const promise = 'positions from nowhere are refused';
        this.#judge.complain(promise, { subject: 0, number: 0 }, agenda.nowMs);
      }
    }
  }

  *#mustServe(client: Client, edge: Edge): Task<void> {
    const { synchronous } = this.#cluster;
    const ops: [Op, Level][] = [
      ['read', { kind: 'session' }],
      ['read', { kind: 'bounded', maxStalenessMs: 2_000 }],
      ['write', { kind: 'session' }],
      ['read', { kind: 'session' }],
      ['read', { kind: 'strong' }],
    ];
    for (const [op, level] of ops) {
      // Only commits that a standby confirms prove anything.
      if (!synchronous && level.kind !== 'session') continue;
      let end = yield* this.#request(client, edge, op, level);
      // It is told once, and then goes on.
      if (end === LOST) end = yield* this.#request(client, edge, op, level);
      if (isRefusal(end) || end === 'write: unknown') {
        this.trace(() => `in quiet times: ${op}, ${level.kind}: ${end}`);
        const write = { subject: client.subject, number: 0 };
        this.#judge.complain('quiet regions serve', write, this.agenda.nowMs);
      }
    }
  }
}

function isRefusal(end: string): boolean {
  return !end.includes(': ') && end !== 'no room to write';
}

function inWords({ floors }: Session): string {
  const positions = [...floors.values()]
    .flat()
    .map(({ timeline, lsn, onReplica }) => `${timeline}:${lsn}${onReplica ? 'r' : ''}`);
  return `floor ${positions.join(' and ') || 'none'}`;
}

function sum(writes: Writes): number {
  return writes.reduce((all, word) => (all + word) | 0, 0);
}

function count(writes: Writes): number {
  let found = 0;
  for (const word of writes) for (let bit = 0; bit < 32; bit++) if (word & (1 << bit)) found++;
  return found;
}
