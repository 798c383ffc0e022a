/**
 * What does an edge do around the decisions?
 *
 * A thin image of `router/region-database.ts` and `router/watch.ts`: looks, barriers, waits, what is
 * asked of which server and what is learned from its answer. What is decided is decided by the very
 * functions that the router calls.
 */

import type { History, Lsn, Position } from '../../regions/position.ts';
import { type Role, type Sighting, Sightings } from '../../regions/sighting.ts';
import type { Level } from '../consistency.ts';
import {
  comparedAt,
  isLoss,
  type Known,
  type Loss,
  type Objection,
  placeRead,
  type Rung,
  SIGHTING_AGE_MS_MAX,
} from '../place-read.ts';
import { floorOf, goOnFrom, goOnIn, raise, type Session } from '../session.ts';
import { type Floor, NO_FLOOR, type Seen, type Standing, standing } from '../standing.ts';
import { type Agenda, start, type Task, wait } from './agenda.ts';
import type { Cluster, CommitEnd, Server, Write } from './cluster.ts';
import type { Random } from './random.ts';
import type { Writes } from './writes.ts';

/** As the router's own (`router/config.ts`, `router/watch.ts`, `router/region-database.ts`). */
export const BUDGET_MS = 2_000;
const REPLICA_WAIT_MS = 50;
const LOOK_EVERY_MS = 250;
const LOOK_MS_MAX = 1_000;
const SILENT_AFTER_MS = 500;
const PROOF_MS_MAX = 1_000;
const CHECK_MS_MAX = 100;

export type Visit = { session: Session; level: Level; deadlineMs: number };

export type ReadEnd =
  | { kind: 'shown'; value: Writes; rung: Rung; node: string; placedAtMs: number }
  | Refused;
export type WriteEnd = { kind: 'applied' } | { kind: 'unknown' } | Refused;
export type Refused = { kind: 'refused'; why: string };

export type LinkState = 'up' | 'cut' | 'replies_are_lost';

type Answer<T> =
  | { kind: 'answered'; value: T; incarnation: string }
  | { kind: 'unreachable' }
  | { kind: 'deadline' };

type Confirmation =
  | { kind: 'confirmed'; incarnation: string; at: Position }
  | { kind: 'not_confirmed' }
  | { kind: 'not_synchronous' };

/** Those who wait for the barrier that runs, and for the one after it. */
type Barrier = {
  running: ((confirmation: Confirmation) => void)[] | undefined;
  next: ((confirmation: Confirmation) => void)[];
};

type Shown =
  | { kind: 'shown'; value: Writes; stood: { lsn: Lsn; timeline: number } }
  | { kind: 'not_reached'; reached: Lsn | undefined }
  | { kind: 'not_believed'; because: Exclude<Standing, 'reached'>; shown: Position };

type Looked = { role: Role; at: Position } | undefined;

/** One node, as this edge reaches it. */
type Reach = {
  server: Server;
  link: LinkState;
  /** How much longer than usual a message takes. */
  delayMs: number;
  /** Which start of the server the open connections lead to. */
  connected: string | undefined;
  /** How often all connections were destroyed. */
  destroyed: number;
  barrier: Barrier;
};

export type EdgeOptions = {
  name: string;
  cluster: Cluster;
  agenda: Agenda;
  random: Random;
  here: string;
  trace: (line: () => string) => void;
  /** Hears of every commit that this edge was told is applied. */
  acknowledged: (write: Write, server: Server, commit: Position) => void;
};

export class Edge {
  readonly name: string;
  readonly board = new Sightings();
  readonly reach = new Map<string, Reach>();
  /** How likely the primary has no room for another read. */
  busy = 0;
  /** Whether the position of a write may be lost on its way. */
  forgets = true;
  readonly #options: EdgeOptions;
  readonly #nodes: readonly string[];
  readonly #known: Known;

  constructor(options: EdgeOptions) {
    this.#options = options;
    this.name = options.name;
    this.#nodes = options.cluster.servers.map(({ name }) => name);
    for (const server of options.cluster.servers) {
      this.reach.set(server.name, {
        server,
        link: 'up',
        delayMs: 0,
        connected: undefined,
        destroyed: 0,
        barrier: { running: undefined, next: [] },
      });
    }
    this.#known = {
      sighting: (node) => this.board.of(node),
      history: (systemId, timeline) => this.board.history(systemId, timeline),
      isSuperseded: (at) => this.board.isSuperseded(at),
    };
  }

  // What `RegionDatabase.read` does.

  *read(visit: Visit, subject: number): Task<ReadEnd> {
    const { agenda, random, here } = this.#options;
    const { level } = visit;
    const floor = floorOf(visit.session, here);
    const tried = new Map<string, Objection>();
    for (;;) {
      const budgetMs = visit.deadlineMs - agenda.nowMs;
      if (budgetMs <= 0) return refused('deadline-exceeded');
      const placedAtMs = agenda.nowMs;
      const placed = placeRead(
        {
          nodes: this.#nodes,
          level,
          floor,
          tried,
          waitMsMax: REPLICA_WAIT_MS,
          budgetMs,
          primaryHasRoom: !(this.busy > 0 && random.chance(this.busy)),
        },
        this.#known,
        agenda.nowMs,
      );
      if (placed.kind === 'refuse') return refused(reasonOf(placed.passedOver));
      if (placed.kind === 'lost') return this.#loss(visit, placed);
      const { node, rung, proof, waitMs } = placed;
      const seen = this.board.of(node);
      if (seen === undefined) continue;
      if (rung !== 'replica') {
        const ahead = yield* this.#checkPossible(visit, floor);
        if (ahead !== undefined) return ahead;
      }
      if (
        (proof === 'before' || proof === 'both') &&
        !(yield* this.#showsAll(visit, seen, floor))
      ) {
        const end = yield* this.#prove(visit, seen, floor);
        if (end === 'not_confirmed') tried.set(node, 'not_confirmed');
        else if (end !== 'confirmed') return end;
        if (end !== 'confirmed') continue;
      }
      const answer = yield* this.#readAt(visit, seen, waitMs, floor, subject);
      if (answer.kind === 'deadline') return refused('deadline-exceeded');
      if (answer.kind === 'unreachable') {
        tried.set(node, 'unreachable');
        this.board.forget(node);
        continue;
      }
      if (answer.value.kind === 'not_believed') {
        const { because, shown } = answer.value;
        if (isLoss(because)) return this.#loss(visit, { node, because }, shown);
        tried.set(node, because);
        continue;
      }
      if (answer.value.kind === 'not_reached') {
        tried.set(node, 'behind');
        this.board.fellBehind(node);
        continue;
      }
      if (proof === 'after' || proof === 'both') {
        const end = yield* this.#prove(visit, seen, NO_FLOOR);
        if (end === 'not_confirmed') tried.set(node, 'not_confirmed');
        else if (end !== 'confirmed') return end;
        if (end !== 'confirmed') continue;
      }
      this.#options.trace(() => `${this.name}: ${level.kind} read at ${node}, ${rung}, ${proof}`);
      return { kind: 'shown', value: answer.value.value, rung, node, placedAtMs };
    }
  }

  *#readAt(
    visit: Visit,
    seen: Sighting,
    waitMs: number,
    floor: Floor,
    subject: number,
  ): Task<Answer<Shown>> {
    const { agenda, random, here, cluster } = this.#options;
    const { node, at, role } = seen;
    const answer = yield* this.#call<Shown>(
      node,
      visit.deadlineMs - agenda.nowMs,
      (server, incarnation, reply) => {
        const isKnown = incarnation === seen.incarnation;
        if (!isKnown && role === 'primary') {
          return reply({ kind: 'not_reached', reached: undefined });
        }
        const { starts } = server;
        const show = () => {
          const value = server.read(subject);
          agenda.in(random.between(0, 0.3), () => {
            if (server.starts !== starts) return;
            reply({ kind: 'shown', value, stood: cluster.standsAt(server) });
          });
        };
        if (floor.length === 0 || role !== 'replica' || (waitMs === 0 && isKnown)) return show();
        const target = floor.reduce((highest, { lsn }) => (lsn > highest ? lsn : highest), 0n);
        const untilMs = agenda.nowMs + Math.max(1, waitMs);
        const check = () => {
          if (server.starts !== starts) return;
          const reached = server.replayed;
          if (reached >= target) agenda.in(random.between(0.2, 1), show);
          else if (agenda.nowMs >= untilMs) reply({ kind: 'not_reached', reached });
          else agenda.in(1 + (untilMs - agenda.nowMs) / 8, check);
        };
        return check();
      },
    );
    if (answer.kind !== 'answered') return answer;
    const { value: shown, incarnation } = answer;
    if (shown.kind === 'not_reached') {
      if (shown.reached !== undefined) this.board.advance(node, incarnation, shown.reached);
      return answer;
    }
    if (shown.kind === 'shown' && visit.level.kind !== 'eventual') {
      const { lsn, timeline } = shown.stood;
      const saw: Seen = { systemId: at.systemId, timeline, lsn, onReplica: role === 'replica' };
      const compared = comparedAt(visit.level, floor);
      // Meanwhile the server may have gone on to another timeline.
      const stands = standing(saw, compared, this.board.history(saw.systemId, timeline));
      if (stands !== 'reached') {
        return { ...answer, value: { kind: 'not_believed', because: stands, shown: saw } };
      }
      visit.session = raise(visit.session, here, saw, compared);
      if (timeline === at.timeline) this.board.advance(node, incarnation, lsn);
    }
    return answer;
  }

  *#checkPossible(visit: Visit, floor: Floor): Task<Refused | undefined> {
    const { agenda, cluster } = this.#options;
    const primary = this.#primary();
    if (primary === undefined || !isAhead(floor, primary.at)) return undefined;
    const answer = yield* this.#call<Lsn>(
      primary.node,
      Math.min(CHECK_MS_MAX, visit.deadlineMs - agenda.nowMs),
      (server, _incarnation, reply) => reply(cluster.standsAt(server).lsn),
    );
    // Another start of the server may be no primary any more.
    if (answer.kind !== 'answered' || answer.incarnation !== primary.incarnation) return undefined;
    this.board.advance(primary.node, answer.incarnation, answer.value);
    const flushed = { ...primary.at, lsn: answer.value };
    return isAhead(floor, flushed) ? this.#ahead(visit, flushed) : undefined;
  }

  *#showsAll(visit: Visit, { node }: Sighting, floor: Floor): Task<boolean> {
    const { agenda, cluster } = this.#options;
    const answer = yield* this.#call<Lsn | undefined>(
      node,
      Math.min(CHECK_MS_MAX, visit.deadlineMs - agenda.nowMs),
      (server, _incarnation, reply) => reply(cluster.releasedUpTo(server)),
    );
    if (answer.kind !== 'answered' || answer.value === undefined) return false;
    const released = answer.value;
    this.board.release(node, answer.incarnation, released);
    return floor.every(({ lsn }) => lsn <= released);
  }

  *#prove(
    visit: Visit,
    { node, incarnation, at }: Sighting,
    floor: Floor,
  ): Task<'confirmed' | 'not_confirmed' | Refused> {
    const confirmation = yield* this.#confirm(node, visit.deadlineMs - this.#options.agenda.nowMs);
    if (confirmation.kind === 'not_synchronous') return refused('strong-unprovable');
    if (confirmation.kind === 'not_confirmed') return 'not_confirmed';
    if (confirmation.incarnation !== incarnation || confirmation.at.timeline !== at.timeline) {
      return 'not_confirmed';
    }
    return isAhead(floor, confirmation.at) ? this.#ahead(visit, confirmation.at) : 'confirmed';
  }

  *#confirm(node: string, timeoutMs: number): Task<Confirmation> {
    const { agenda } = this.#options;
    return yield* wait<Confirmation>((resume) => {
      let isOver = false;
      const settle = (confirmation: Confirmation) => {
        if (isOver) return;
        isOver = true;
        resume(confirmation);
      };
      agenda.in(timeoutMs, () => settle({ kind: 'not_confirmed' }));
      const { barrier } = this.#reachOf(node);
      if (barrier.running === undefined) this.#begin(node, barrier, [settle]);
      else barrier.next.push(settle);
    });
  }

  #begin(node: string, barrier: Barrier, waiting: ((answer: Confirmation) => void)[]): void {
    barrier.running = waiting;
    start(this.#commitProof(node), (confirmation) => {
      const { next } = barrier;
      barrier.running = undefined;
      barrier.next = [];
      if (next.length > 0) this.#begin(node, barrier, next);
      for (const settle of waiting) settle(confirmation);
    });
  }

  *#commitProof(node: string): Task<Confirmation> {
    const { agenda, cluster } = this.#options;
    const sentAtMs = agenda.nowMs;
    const seen = this.board.of(node);
    if (seen === undefined) return { kind: 'not_confirmed' };
    const { timeline } = seen.at;
    const answer = yield* this.#call<{ lsn: Lsn; confirmed: Lsn } | undefined>(
      node,
      PROOF_MS_MAX,
      (server, _, reply) => {
        if (!cluster.isOnTimeline(server, timeline)) return reply(undefined);
        const confirmed = server.inserted;
        return cluster.commit(server, undefined, (end) => {
          const { lsn } = cluster.standsAt(server);
          reply(end === 'clean' ? { lsn, confirmed } : undefined);
        });
      },
    );
    if (answer.kind !== 'answered' || answer.value === undefined) return { kind: 'not_confirmed' };
    if (!cluster.synchronous) return { kind: 'not_synchronous' };
    const { incarnation, value } = answer;
    const at = { ...seen.at, lsn: value.lsn };
    this.board.acknowledge({ node, incarnation, at, confirmed: value.confirmed, sentAtMs });
    return { kind: 'confirmed', incarnation, at };
  }

  // What `RegionDatabase.write` does.

  *write(visit: Visit, write: Write): Task<WriteEnd> {
    const { agenda, random, here, cluster } = this.#options;
    const floor = floorOf(visit.session, here);
    const primary = this.#primary();
    if (primary === undefined) return refused('region-unavailable');
    const { node, at, incarnation } = primary;
    const stands = standing(at, floor, this.board.history(at.systemId, at.timeline));
    if (isLoss(stands)) return this.#loss(visit, { node, because: stands });
    if (stands === 'behind') {
      const ahead = yield* this.#checkPossible(visit, floor);
      if (ahead !== undefined) return ahead;
    } else if (stands !== 'reached') return refused(stands);
    if (visit.deadlineMs - agenda.nowMs <= 0) return refused('write-not-applied');
    const sentAtMs = agenda.nowMs;
    const began = yield* this.#call<boolean>(
      node,
      visit.deadlineMs - agenda.nowMs,
      (server, _, reply) => reply(cluster.isOnTimeline(server, at.timeline)),
    );
    if (began.kind === 'unreachable') this.board.forget(node);
    if (began.kind !== 'answered' || !began.value) return refused('write-not-applied');
    const outcome = yield* this.#call<{ end: CommitEnd; lsn: Lsn; server: Server }>(
      node,
      visit.deadlineMs - agenda.nowMs,
      (server, _, reply) =>
        cluster.commit(server, write, (end) =>
          reply({ end, lsn: cluster.standsAt(server).lsn, server }),
        ),
      began.incarnation,
    );
    if (outcome.kind !== 'answered' || outcome.value.end !== 'clean') return { kind: 'unknown' };
    // The position was lost on the way.
    if (this.forgets && random.chance(0.01)) return { kind: 'unknown' };
    const position = { ...at, lsn: outcome.value.lsn };
    // Where no standby is waited for, a primary that was replaced acknowledges as well.
    if (cluster.synchronous) {
      this.board.acknowledge({ node, incarnation, at: position, confirmed: undefined, sentAtMs });
    }
    visit.session = raise(visit.session, here, { ...position, onReplica: false }, floor);
    this.#options.acknowledged(write, outcome.value.server, position);
    return { kind: 'applied' };
  }

  // What both need.

  #primary(): Sighting | undefined {
    for (const node of this.#nodes) {
      const seen = this.board.of(node);
      if (seen?.role !== 'primary') continue;
      if (this.#options.agenda.nowMs - seen.seenAtMs > SIGHTING_AGE_MS_MAX) continue;
      if (!this.board.isSuperseded(seen.at)) return seen;
    }
    return undefined;
  }

  #loss(
    visit: Visit,
    { node, because }: { node: string; because: Loss },
    shown?: Position,
  ): Refused {
    const at = shown ?? this.board.of(node)?.at;
    if (at !== undefined) {
      const history = this.board.history(at.systemId, at.timeline);
      visit.session = goOnIn(visit.session, this.#options.here, at, history);
    }
    return refused(because === 'lost' ? 'session-guarantee-lost' : 'session-of-other-cluster');
  }

  #ahead(visit: Visit, at: Position): Refused {
    visit.session = goOnFrom(visit.session, this.#options.here, { ...at, onReplica: false });
    return refused('session-position-unknown');
  }

  // What `Watch` does.

  watch(): void {
    const { random, agenda } = this.#options;
    for (const node of this.#nodes) {
      agenda.in(random.between(0, LOOK_EVERY_MS), () => start(this.#keepLooking(node)));
    }
    agenda.in(random.between(0, LOOK_EVERY_MS), () => start(this.#keepBeating()));
  }

  *#keepLooking(node: string): Task<void> {
    const { agenda } = this.#options;
    for (;;) {
      yield* this.#look(node);
      yield* agenda.sleep(LOOK_EVERY_MS);
    }
  }

  *#keepBeating(): Task<void> {
    const { agenda } = this.#options;
    for (;;) {
      const primary = this.#primary();
      if (primary !== undefined) yield* this.#commitProof(primary.node);
      yield* agenda.sleep(LOOK_EVERY_MS);
    }
  }

  *#look(node: string): Task<void> {
    const { agenda, cluster } = this.#options;
    const askedAtMs = agenda.nowMs;
    let isOver = false;
    agenda.in(SILENT_AFTER_MS, () => {
      if (!isOver && this.board.of(node)?.role === 'replica') this.board.forget(node);
    });
    const answer = yield* this.#call<Looked>(node, LOOK_MS_MAX, (server, _, reply) =>
      reply(cluster.look(server)),
    );
    isOver = true;
    if (answer.kind !== 'answered' || answer.value === undefined) return;
    const seen = answer.value;
    const before = this.board.of(node);
    this.board.record({ ...seen, node, incarnation: answer.incarnation, seenAtMs: askedAtMs });
    yield* this.#learnHistory(node, seen.at);
    if (before === undefined || before.role === seen.role) return;
    this.#leave(node);
    for (const other of this.board.all()) {
      if (other.role === 'primary' && this.board.isSuperseded(other.at)) this.#leave(other.node);
    }
  }

  *#learnHistory(node: string, { systemId, timeline }: Position): Task<void> {
    if (this.board.history(systemId, timeline) !== undefined) return;
    const { cluster } = this.#options;
    const answer = yield* this.#call<History>(node, LOOK_MS_MAX, (server, _, reply) =>
      reply(cluster.history(server)),
    );
    if (answer.kind !== 'answered' || answer.value.timeline !== timeline) return;
    this.board.recordHistory(answer.value);
  }

  /** Destroys every connection to a node. */
  #leave(node: string): void {
    const reach = this.#reachOf(node);
    reach.destroyed++;
    reach.connected = undefined;
    reach.barrier = { running: undefined, next: [] };
  }

  #reachOf(node: string): Reach {
    const reach = this.reach.get(node);
    if (reach === undefined) throw new RangeError(node);
    return reach;
  }

  /**
   * Sends something to a server. `work` replies when it can, or never. With `on`, only over a
   * connection that leads to this start of it.
   */
  *#call<T>(
    node: string,
    timeoutMs: number,
    work: (server: Server, incarnation: string, reply: (value: T) => void) => void,
    on?: string,
  ): Task<Answer<T>> {
    const { agenda, random } = this.#options;
    return yield* wait<Answer<T>>((resume) => {
      const reach = this.#reachOf(node);
      const { server, connected, destroyed } = reach;
      const deadlineMs = agenda.nowMs + Math.max(1, timeoutMs);
      let isOver = false;
      let isLate = false;
      const settle = (answer: Answer<T>) => {
        if (isOver) return;
        isOver = true;
        resume(answer);
      };
      const late = () => {
        if (isLate) return;
        isLate = true;
        agenda.at(deadlineMs, () => settle({ kind: 'deadline' }));
      };
      const travelMs = () =>
        (random.chance(0.02) ? random.between(1, 60) : random.between(0.1, 0.6)) + reach.delayMs;
      if (reach.link === 'cut') return late();
      // A new connection says hello first.
      const there = connected === undefined ? travelMs() + 2 * travelMs() : travelMs();
      return agenda.in(there, () => {
        const back = (answer: Answer<T>) => {
          const ms = travelMs();
          if (reach.link !== 'up' || agenda.nowMs + ms > deadlineMs) return late();
          return agenda.in(ms, () =>
            settle(reach.destroyed === destroyed ? answer : { kind: 'unreachable' }),
          );
        };
        const { incarnation, starts } = server;
        const isBroken =
          !server.up ||
          (connected !== undefined && connected !== incarnation) ||
          (on !== undefined && on !== incarnation);
        if (isBroken) {
          if (reach.connected === connected) reach.connected = undefined;
          return back({ kind: 'unreachable' });
        }
        if (reach.destroyed === destroyed) reach.connected = incarnation;
        let hasReplied = false;
        work(server, incarnation, (value) => {
          if (hasReplied) return;
          hasReplied = true;
          // A server that died takes its answer along.
          if (server.starts !== starts) back({ kind: 'unreachable' });
          else back({ kind: 'answered', value, incarnation });
        });
        if (!hasReplied) late();
        return undefined;
      });
    });
  }
}

function refused(why: string): Refused {
  return { kind: 'refused', why };
}

function reasonOf(passedOver: readonly { because: Objection }[]): string {
  const some = (...reasons: Objection[]) =>
    passedOver.some(({ because }) => reasons.includes(because));
  if (some('not_confirmed')) return 'primary-unconfirmed';
  if (some('too_stale')) return 'staleness-unmet';
  if (some('behind', 'lagging', 'older_timeline', 'history_unknown', 'has_no_room')) {
    return 'session-floor-unmet';
  }
  return 'region-unavailable';
}

function isAhead(floor: Floor, at: Position): boolean {
  return floor.some(
    ({ systemId, timeline, lsn }) =>
      systemId === at.systemId && timeline === at.timeline && lsn > at.lsn,
  );
}
