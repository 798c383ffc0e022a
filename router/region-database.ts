/**
 * How does this edge use the Postgres nodes of its own region?
 *
 * Through one pool for each node and role, at the node that `policies/place-read.ts` names. This
 * is where the router stands and waits, where a write gets its three outcomes, and where positions
 * are taken. The nodes of other regions are not in the catalogue's region that it is given, so it
 * has nothing to open them with.
 */

import { EVENTUAL } from '../policies/consistency.ts';
import { HOME_CONSTRAINT } from '../policies/enforcement.ts';
import {
  comparedAt,
  isLoss,
  type Known,
  type Loss,
  type Objection,
  type Proof,
  placeRead,
  type ReadRequest,
  SIGHTING_AGE_MS_MAX,
} from '../policies/place-read.ts';
import { type Floor, NO_FLOOR, type Seen, type Standing, standing } from '../policies/standing.ts';
import { type Region, slotName } from '../regions/catalogue.ts';
import {
  formatLsn,
  type History,
  type Lsn,
  lsnFromPostgres,
  type Position,
} from '../regions/position.ts';
import {
  DatabaseError,
  type DatabaseFailure,
  LeasePool,
  type Part,
  type Sql,
  type Statement,
  type WriteOutcome,
} from '../regions/postgres.ts';
import type { MirrorSighting, Sighting, Sightings } from '../regions/sighting.ts';
import { Barrier, type Confirmation } from './barrier.ts';
import { isAlone, type KeeperSays } from './keeper-says.ts';
import { type Bottleneck, type Failure, Refusal } from './problem.ts';
import { StallGuard } from './stall-guard.ts';
import { ATTRIBUTES } from './telemetry/names.ts';
import type { SqlCall } from './telemetry/telemetry.ts';
import type { Visit } from './visit.ts';
import { WaitingRoom } from './waiting-room.ts';

/** One login for each thing that an edge may do, so that PostgreSQL checks it again. */
export const LOGINS = {
  /** Stores a subject's rows, on the primary. */
  writer: 'domicile_writer',
  /** Reads the app's tables. */
  reader: 'domicile_reader',
  /** Reads mirrors and reference data, nothing else. */
  abroad: 'domicile_abroad',
  /** Reads and claims in the directory, looks at the node. */
  router: 'domicile_router',
} as const;
export type Login = keyof typeof LOGINS;

export type RegionDatabaseOptions = {
  region: Region;
  password: string;
  sightings: Sightings;
  now: () => number;
  connectionsMax: number;
  /** Requests that may stand in line for a connection; about two budgets' worth of short queries. */
  waitersMax: number;
  /** How long a line that stands may make its requests wait. */
  standingMsMax: number;
  connectTimeoutMs: number;
  /** How long a read stands at a replica that has not reached its floor before it goes on. */
  replicaWaitMs: number;
  /** A request waits for news of the nodes. */
  onWait?: () => void;
  /** Who is the primary, by the record of the region's keeper; undefined where there is no keeper. */
  askKeeper?: ((timeoutMs: number) => Promise<KeeperSays>) | undefined;
  /** What it means here that commits wait for no standby. */
  withoutStandby: () => Exclude<Durability, 'replicated'>;
};

/**
 * Where an acknowledged write is: on a standby as well, on its primary alone for as long as the region
 * has no other, or on the primary alone because the policy says so.
 */
export type Durability = 'replicated' | 'alone' | 'asynchronous';

/** A server never sees a statement run longer, even when its client has gone. */
const STATEMENT_TIMEOUT_MS = 10_000;

/** How long a barrier's commit may take before its connection is given up. */
const PROOF_MS_MAX = 1_000;

/** A primary is a millisecond away; one that is not leaves the question open. */
const CHECK_MS_MAX = 100;

/** One write at a time stands at a gate that is shut, for half of this. */
const GATE_PROBE_EVERY_MS = 100;

/** A shorter stand is the way through this code, and would be a span in every trace. */
const WAIT_TOLD_MS = 0.5;

/** For a callback that was refused its first statement, and has nothing else to do. */
const CALL_ENDS_MS = 20;

/** Keeps what a session is shown. */
export type Witness = {
  /** Everything up to there was visible, on a server that was found to have all of `compared`. */
  saw: (seen: Seen, compared: Floor) => void;
  /** Part of what the session had seen is not in this history of the region, and will not come back. */
  goesOnIn: (at: Position, history: History | undefined) => void;
  /** What the session had seen cannot be had any more; this is what there is. */
  goesOnFrom: (seen: Seen) => void;
};

class NotReached extends Error {}

class NotConfirmed extends Error {}

/** What a server showed is not what the session may be shown. */
class NotBelieved extends Error {
  readonly because: Exclude<Standing, 'reached'>;

  constructor(because: Exclude<Standing, 'reached'>) {
    super(because);
    this.because = because;
  }
}

/** What is read abroad was taken away meanwhile, or its node was: not a mistake of the handler. */
export class CopyWithdrawn extends Error {}

/** No privilege, no such table, no such column (PostgreSQL documentation, appendix A). */
const WITHDRAWN_CODES: ReadonlySet<string> = new Set(['42501', '42P01', '42703']);

/** A node that has failed a request, as it was known then. */
type Failed = { seen: Sighting; atMs: number };

/** On the way to a primary: which one has failed, and whether there was a wait. */
type Quest = { failed: Failed | undefined; hasWaited: boolean };

/** What may be another way once the primary is seen again, or another one is. */
const MAY_PASS: ReadonlySet<Objection> = new Set([
  'unreachable',
  'not_confirmed',
  'behind',
  'older_timeline',
  'history_unknown',
]);

export class RegionDatabase {
  #options: RegionDatabaseOptions;
  #pools = new Map<string, LeasePool>();
  #nodes: readonly string[];
  /** For each node: that an old primary's commits hang says nothing of the new one. */
  #stalls = new Map<string, StallGuard>();
  #barriers = new Map<string, Barrier<Confirmation>>();
  /** Reads that run on the primary now. */
  #primaryReads = 0;
  #primaryReadsMax: number;
  /** For each node: whether somebody shut the gate that writes go through, to replace the primary. */
  #gates = new Map<string, StallGuard>();
  #room: WaitingRoom;
  /** Questions to the keeper, which those who ask at the same time share. */
  #keeper: Barrier<KeeperSays> | undefined;
  /** Which start of which server the primary was when it was seen last. */
  #lastPrimary = '';
  /** What reads are decided by. */
  readonly known: Known;
  /** Which start of its server each open connection leads to. */
  #incarnations = new WeakMap<object, string>();

  constructor(options: RegionDatabaseOptions) {
    this.#options = options;
    this.#nodes = options.region.nodes.map(({ name }) => name);
    const { sightings, connectionsMax, waitersMax, now, onWait = () => {} } = options;
    // Half of those who may be under way: the rest is for reads that need no primary.
    this.#room = new WaitingRoom({ placesMax: Math.ceil(waitersMax / 2), now, onWait });
    sightings.whenSeen(() => this.#hear());
    const { askKeeper } = options;
    if (askKeeper !== undefined) this.#keeper = new Barrier(() => askKeeper(PROOF_MS_MAX));
    // Half of its connections: the rest is for whoever asks for the primary and nothing else.
    this.#primaryReadsMax = Math.max(1, Math.floor(connectionsMax / 2));
    this.known = {
      sighting: (node) => sightings.of(node),
      history: (systemId, timeline) => sightings.history(systemId, timeline),
      isSuperseded: (at) => sightings.isSuperseded(at),
    };
  }

  get nodes(): readonly string[] {
    return this.#nodes;
  }

  /**
   * Runs `query` where the level's promise holds for a session that has seen `floor` of this region,
   * and raises the session to what the answer shows: the next read may meet another node.
   */
  async read<T>(
    visit: Visit,
    floor: Floor,
    query: (sql: Sql) => Promise<T>,
    witness: Witness,
  ): Promise<T> {
    const { now, sightings, replicaWaitMs } = this.#options;
    let tried: Map<string, Objection> | undefined;
    const failures = new Map<string, Failed>();
    for (;;) {
      const budgetMs = visit.deadlineMs - now();
      if (budgetMs <= 0) {
        visit.passedOver = [...(tried ?? [])].map(([node, because]) => ({ node, because }));
        const isLate = visit.passedOver.length === 0;
        throw new Refusal(isLate ? { kind: 'deadline-exceeded' } : this.#refusal(visit));
      }
      const placed = this.#place({
        level: visit.level,
        floor,
        waitMsMax: replicaWaitMs,
        budgetMs,
        primaryHasRoom: this.#primaryReads < this.#primaryReadsMax,
        ...(tried !== undefined && { tried }),
      });
      visit.passedOver = placed.passedOver;
      if (placed.kind === 'refuse') {
        await this.#waited(visit, 'news', () => this.#newsFor(visit, failures));
        for (const [node, failed] of [...failures]) {
          if (!this.#isOutdated(failed)) continue;
          failures.delete(node);
          tried?.delete(node);
        }
        continue;
      }
      if (placed.kind === 'lost') {
        const at = sightings.of(placed.node)?.at;
        throw new Refusal(this.#loss({ at, because: placed.because }, floor, witness));
      }
      const { node, rung, proof, waitMs } = placed;
      // Of the sighting that decided; while a connection is waited for, another one may come.
      const seen = sightings.of(node);
      if (seen === undefined) continue;
      visit.decision = { kind: 'serve', node, rung };
      try {
        if (rung !== 'replica') await this.#checkPossible(visit, floor, witness);
        await this.#proveBefore(proof, visit, seen, floor, witness);
        if (rung === 'primary') this.#primaryReads++;
        const value = await this.#readAt(visit, seen, waitMs, floor, query, witness).finally(() => {
          if (rung === 'primary') this.#primaryReads--;
        });
        if (proof === 'after' || proof === 'both')
          await this.#prove(visit, seen, NO_FLOOR, witness);
        visit.stalenessMs = this.#stalenessMs(node, proof);
        return value;
      } catch (error) {
        const objection = objectionTo(error);
        if (objection === undefined) throw refusalOf(error, 'read', this.#at(node));
        tried ??= new Map();
        tried.set(node, objection);
        failures.set(node, { seen, atMs: now() });
        if (objection === 'unreachable') this.#lose(seen);
        if (error instanceof NotReached) sightings.fellBehind(node);
      }
    }
  }

  /**
   * Waits for news of the nodes when no node can serve a read and the primary may soon be another
   * one. @throws Refusal when nothing is to be hoped for, or the wait was in vain.
   */
  async #newsFor(visit: Visit, failures: ReadonlyMap<string, Failed>): Promise<void> {
    const primary = this.#primary();
    const because = visit.passedOver.find(({ node }) => node === primary?.node)?.because;
    const mayPass = because === undefined || MAY_PASS.has(because);
    if (mayPass && [...failures.values()].some((failed) => this.#isOutdated(failed))) return;
    if (!mayPass || !(await this.#room.wait(visit.deadlineMs))) {
      throw new Refusal(this.#refusal(visit));
    }
  }

  /** Whether something was learned of the node since. */
  #isOutdated(failed: Failed | undefined): boolean {
    if (failed === undefined) return false;
    const seen = this.#options.sightings.of(failed.seen.node);
    if (seen === undefined) return false;
    return seen.seenAtMs > failed.atMs || !isSameStart(seen, failed.seen);
  }

  /** A node does not serve; unless it is another one by now, nothing that is known of it holds. */
  #lose(was: Sighting): void {
    const { sightings } = this.#options;
    const seen = sightings.of(was.node);
    if (seen !== undefined && isSameStart(seen, was)) sightings.forget(was.node);
  }

  /** A node was seen. */
  #hear(): void {
    const primary = this.#primary();
    if (primary !== undefined) {
      const start = `${primary.node} ${primary.incarnation} ${primary.at.timeline}`;
      if (start !== this.#lastPrimary) this.#room.signOfLife();
      this.#lastPrimary = start;
    }
    this.#room.news();
  }

  /**
   * The primary, waited for while there is none, or while it is the one that has just failed. With
   * `forWriting`, also while it takes no writes. Undefined when the wait was in vain.
   */
  async #primaryInTime(
    deadlineMs: number,
    quest: Quest,
    forWriting: boolean,
  ): Promise<Sighting | undefined> {
    const { failed } = quest;
    for (;;) {
      const primary = this.#primary();
      const isNews =
        failed === undefined || this.#isOutdated(failed) || primary?.node !== failed.seen.node;
      if (primary !== undefined && isNews && (!forWriting || this.#admitsWrite(primary.node))) {
        return primary;
      }
      quest.hasWaited = true;
      if (!(await this.#room.wait(deadlineMs))) return undefined;
    }
  }

  /** Pulses find out whether commits are acknowledged again: a write that tried could end unknown. */
  #admitsWrite(node: string): boolean {
    return !this.#stall(node).isStalled && this.#gate(node).admits(this.#options.now());
  }

  /**
   * Resolves when the primary shows all of the floor: for a read in a transaction that runs there,
   * whose own commit proves the rest. A replica can have shown what its primary does not yet.
   */
  async meet(visit: Visit, floor: Floor, witness: Witness): Promise<void> {
    const primary = await this.#waited(visit, 'primary', () =>
      this.#primaryInTime(visit.deadlineMs, newQuest(), false),
    );
    if (primary === undefined) throw new Refusal(this.#unavailable(visit));
    const budgetMs = visit.deadlineMs - this.#options.now();
    const placed = this.#place({ nodes: [primary.node], level: visit.level, floor, budgetMs });
    try {
      if (placed.kind === 'lost') {
        const { because } = placed;
        throw new Refusal(this.#loss({ at: primary.at, because }, floor, witness));
      }
      if (placed.kind === 'refuse') throw new NotConfirmed('no primary');
      await this.#proveBefore(placed.proof, visit, primary, floor, witness);
    } catch (error) {
      const because = objectionTo(error);
      if (because === undefined) throw refusalOf(error, 'read', this.#at(primary.node));
      visit.passedOver = [{ node: primary.node, because }];
      throw new Refusal(this.#refusal(visit));
    }
  }

  async #readAt<T>(
    visit: Visit,
    seen: Sighting,
    waitMs: number,
    floor: Floor,
    query: (sql: Sql) => Promise<T>,
    witness: Witness,
  ): Promise<T> {
    const { node } = seen;
    const timeoutMs = visit.deadlineMs - this.#options.now();
    let incarnation = '';
    let stood: StandsAt | undefined;
    const call = this.#call(visit, 'read', node, 'reader');
    const reading = this.#pool(node, 'reader').run<T, StandsAt>(
      async (sql, connection, own) => {
        call.begins();
        incarnation = this.#incarnations.get(connection) ?? (await this.#greet(own, connection));
        // What is known of a node was learned from one start of it, and this connection may lead to
        // another one.
        const known = incarnation === seen.incarnation;
        if (!known && seen.role === 'primary') throw new NotReached('restarted');
        if (floor.length > 0 && seen.role === 'replica' && (waitMs > 0 || !known)) {
          await this.#waited(visit, 'replica', () =>
            this.#await(node, incarnation, floor, Math.max(1, waitMs), own),
          );
        }
        return asSubject(visit, sql, own, query);
      },
      {
        timeoutMs,
        ...(visit.level.kind !== 'eventual' && {
          after: {
            ask: standsAt,
            tell: (answer) => {
              stood = answer;
            },
          },
        }),
      },
    );
    const value = await told(call, reading);
    if (stood !== undefined) {
      const shown = this.#believe(seen, stood, comparedAt(visit.level, floor), witness);
      if (shown.timeline === seen.at.timeline) {
        this.#options.sightings.advance(node, incarnation, shown.lsn);
      }
    }
    return value;
  }

  /**
   * Holds what a server said of itself after a read against the floor once more: meanwhile it may
   * have gone on to another timeline, where a position beyond the floor's means something else.
   */
  #believe(seen: Sighting, stood: StandsAt, compared: Floor, witness: Witness): Seen {
    const shown = shownBy(seen, stood);
    const history = this.known.history(shown.systemId, shown.timeline);
    const stands = stood.timeline === null ? 'history_unknown' : standing(shown, compared, history);
    if (isLoss(stands))
      throw new Refusal(this.#loss({ at: shown, because: stands }, compared, witness));
    if (stands !== 'reached') throw new NotBelieved(stands);
    witness.saw(shown, compared);
    return shown;
  }

  /**
   * A floor beyond everything that the region has written was never given out by it. It is asked for
   * before anybody waits for what will not come; a primary that does not answer leaves it open.
   */
  async #checkPossible(visit: Visit, floor: Floor, witness: Witness): Promise<void> {
    const { sightings, now } = this.#options;
    const primary = this.#primary();
    if (primary === undefined || !isAhead(floor, primary.at)) return;
    let flushed: Position | undefined;
    try {
      flushed = await this.on(
        primary.node,
        'router',
        async (sql, incarnation) => {
          const { lsn, timeline } = shownBy(primary, await standsAt(sql));
          // Another start of the server may be no primary any more.
          if (incarnation !== primary.incarnation || timeline !== primary.at.timeline) return;
          sightings.advance(primary.node, incarnation, lsn);
          return { ...primary.at, lsn };
        },
        Math.min(CHECK_MS_MAX, visit.deadlineMs - now()),
      );
    } catch {
      return;
    }
    if (flushed !== undefined && isAhead(floor, flushed))
      throw new Refusal(this.#ahead(flushed, witness));
  }

  /** By default at any node, without waiting, and at the primary whoever else reads there. */
  #place(request: Pick<ReadRequest, 'level' | 'floor' | 'budgetMs'> & Partial<ReadRequest>) {
    const usual = { nodes: this.#nodes, tried: NOTHING_TRIED, waitMsMax: 0, primaryHasRoom: true };
    return placeRead({ ...usual, ...request }, this.known, this.#options.now());
  }

  /** Settles what has to be known of the primary before it is read. */
  async #proveBefore(
    proof: Proof,
    visit: Visit,
    primary: Sighting,
    floor: Floor,
    witness: Witness,
  ): Promise<void> {
    if (proof !== 'before' && proof !== 'both') return;
    if (await this.#showsAll(visit, primary, floor)) return;
    await this.#prove(visit, primary, floor, witness);
  }

  /** Whether a standby has confirmed everything up to the floor: then this primary shows it. */
  async #showsAll(visit: Visit, { node }: Sighting, floor: Floor): Promise<boolean> {
    const { now, sightings } = this.#options;
    const slots = this.#nodes.map(slotName);
    const asked = this.on(
      node,
      'router',
      async (sql, incarnation) => {
        const [row] = await sql<{ lsn: string | null }[]>`
          select domicile.released_up_to(${sql.array(slots)})::text as lsn`;
        const lsn = row === undefined || row.lsn === null ? undefined : lsnFromPostgres(row.lsn);
        if (lsn !== undefined) sightings.release(node, incarnation, lsn);
        return lsn;
      },
      Math.min(CHECK_MS_MAX, visit.deadlineMs - now()),
    );
    // It saves a barrier and decides nothing: a primary that is slow to say is asked for the proof.
    const released = await asked.catch((error: unknown) => {
      if (error instanceof DatabaseError && isUnanswered(error.failure)) return undefined;
      throw error;
    });
    return released !== undefined && floor.every(({ lsn }) => lsn <= released);
  }

  /** A commit of this primary is acknowledged, begun after this call. */
  async #prove(
    visit: Visit,
    { node, incarnation, at }: Sighting,
    floor: Floor,
    witness: Witness,
  ): Promise<void> {
    const { now } = this.#options;
    const startedAtMs = now();
    const confirmation = await this.confirm(node, visit.deadlineMs - startedAtMs);
    visit.timed('barrier', now() - startedAtMs);
    if (confirmation.kind === 'not_synchronous') {
      await this.#proveAlone(visit, node, at.timeline);
      return;
    }
    if (confirmation.kind === 'not_confirmed') throw new NotConfirmed('no acknowledgement');
    const { at: acknowledged } = confirmation;
    if (acknowledged.incarnation !== incarnation || acknowledged.at.timeline !== at.timeline) {
      throw new NotConfirmed('another server answered');
    }
    if (isAhead(floor, acknowledged.at)) throw new Refusal(this.#ahead(acknowledged.at, witness));
  }

  /**
   * Nobody waits for this primary's commits, so only its region's keeper can say that it still is the
   * primary. Asked after the read, it answers from the record that each promotion changes first.
   */
  async #proveAlone(visit: Visit, node: string, timeline: number): Promise<void> {
    const { now } = this.#options;
    const says = await this.#keeper?.confirm(visit.deadlineMs - now());
    if (says?.kind !== 'primary') throw new Refusal({ kind: 'strong-unprovable' });
    if (!isAlone(says, node, timeline)) throw new NotConfirmed('the keeper says something else');
  }

  /**
   * Where the primary's log stands now: at or above all that a copy abroad can have shown before.
   * A server that was replaced stands somewhere else, so where commits prove anything one has to.
   * @throws Refusal when the primary does not answer in time.
   */
  async present(visit: Visit): Promise<Seen> {
    const { now, sightings } = this.#options;
    const quest = newQuest();
    for (;;) {
      const primary = await this.#waited(visit, 'primary', () =>
        this.#primaryInTime(visit.deadlineMs, quest, false),
      );
      if (primary === undefined) throw new Refusal(this.#refusal(visit));
      const { node } = primary;
      const timeoutMs = Math.min(PROOF_MS_MAX, visit.deadlineMs - now());
      const confirmation = await this.confirm(node, timeoutMs);
      if (confirmation.kind === 'confirmed') {
        const { at, confirmed = at.lsn } = confirmation.at;
        return { ...at, lsn: confirmed, onReplica: true };
      }
      if (confirmation.kind === 'not_confirmed') {
        visit.passedOver = [{ node, because: 'not_confirmed' }];
        quest.failed = { seen: primary, atMs: now() };
        continue;
      }
      try {
        return await this.on(
          node,
          'router',
          async (sql, incarnation) => {
            const shown = shownBy(primary, await standsAt(sql));
            sightings.advance(node, incarnation, shown.lsn);
            return { ...shown, onReplica: true };
          },
          timeoutMs,
        );
      } catch (error) {
        if (objectionTo(error) !== 'unreachable') throw refusalOf(error, 'read', this.#at(node));
        visit.passedOver = [{ node, because: 'unreachable' }];
        this.#lose(primary);
        quest.failed = { seen: primary, atMs: now() };
      }
    }
  }

  /** Whether a commit on this node, begun after the call, is acknowledged in time. */
  confirm(node: string, timeoutMs: number): Promise<Confirmation> {
    let barrier = this.#barriers.get(node);
    if (barrier === undefined) {
      barrier = new Barrier(() => this.#commitProof(node, false));
      this.#barriers.set(node, barrier);
    }
    return barrier.confirm(timeoutMs);
  }

  /** Writes the pulse, and learns with it that the primary is one. */
  async beat(): Promise<void> {
    const primary = this.#primary();
    if (primary !== undefined) await this.#commitProof(primary.node, true);
  }

  async #commitProof(node: string, withPulse: boolean): Promise<Confirmation> {
    const { now, sightings } = this.#options;
    const sentAtMs = now();
    const seen = sightings.of(node);
    if (seen === undefined || !this.#stall(node).admits(sentAtMs)) return { kind: 'not_confirmed' };
    const { timeline } = seen.at;
    let incarnation = '';
    let synchronous = false;
    let confirmed: Lsn | undefined;
    const outcome = await this.#pool(node, 'watch').transaction(
      async (sql) => {
        const [row] = await sql<{ incarnation: string; synchronous: boolean; confirmed: string }[]>`
          select pg_postmaster_start_time()::text as incarnation,
            current_setting('synchronous_standby_names') <> '' as synchronous,
            domicile.beside_gate(${timeline}),
            pg_logical_emit_message(true, 'domicile', '')::text as confirmed
            ${withPulse ? sql`, domicile.pulse()` : sql``}`;
        incarnation = row?.incarnation ?? '';
        synchronous = row?.synchronous === true;
        confirmed = row === undefined ? undefined : lsnFromPostgres(row.confirmed);
      },
      { timeoutMs: PROOF_MS_MAX, afterCommit: standsAt },
    );
    if (outcome.kind === 'unknown') this.#stall(node).timedOut(now());
    if (outcome.kind !== 'applied') return { kind: 'not_confirmed' };
    this.#acknowledged(node);
    if (!synchronous) return { kind: 'not_synchronous' };
    const lsn = lsnFromPostgres(outcome.after.lsn);
    const at = { node, incarnation, at: { ...seen.at, lsn }, confirmed, sentAtMs };
    sightings.acknowledge(at);
    return { kind: 'confirmed', at };
  }

  /**
   * Reads another region's data where its pulse was seen, as the login that sees nothing else.
   * @throws CopyWithdrawn when `relation`, which the route declares, cannot be read any longer.
   */
  async readAbroad<T>(
    visit: Visit,
    seen: MirrorSighting,
    query: (sql: Sql) => Promise<T>,
    relation: string,
    witness: Pick<Witness, 'saw'>,
  ): Promise<T> {
    const timeoutMs = visit.deadlineMs - this.#options.now();
    if (timeoutMs <= 0) throw new Refusal({ kind: 'deadline-exceeded' });
    try {
      const local = this.#options.sightings.of(seen.node);
      const call = this.#call(visit, 'read', seen.node, 'abroad');
      const reading = this.#pool(seen.node, 'abroad').run<T, StandsAt>(
        async (sql, connection, own) => {
          call.begins();
          const incarnation =
            this.#incarnations.get(connection) ?? (await this.#greet(own, connection));
          if (incarnation !== seen.incarnation) throw new NotReached('restarted');
          return query(sql);
        },
        {
          timeoutMs,
          ...(visit.level.kind !== 'eventual' &&
            local !== undefined && {
              after: {
                ask: standsAt,
                tell: (stood) => witness.saw(shownBy(local, stood), NO_FLOOR),
              },
            }),
        },
      );
      return await told(call, reading);
    } catch (error) {
      const objection = objectionTo(error);
      if (objection === undefined) {
        if (isDenied(error) && !(await this.#mayRead(seen.node, relation, visit.deadlineMs))) {
          throw new CopyWithdrawn();
        }
        throw refusalOf(error, 'read', this.#at(seen.node));
      }
      const local = this.#options.sightings.of(seen.node);
      if (objection === 'unreachable' && local?.incarnation === seen.incarnation) {
        // Its sockets were destroyed because its role has changed, or it is gone.
        if (local.role === 'replica') this.#lose(local);
      }
      throw new CopyWithdrawn();
    }
  }

  /** Whether the login abroad may read the relation now. A handler's own mistake leaves it so. */
  async #mayRead(node: string, relation: string, deadlineMs: number): Promise<boolean> {
    try {
      const timeoutMs = Math.max(1, deadlineMs - this.#options.now());
      const [row] = await this.#pool(node, 'abroad').run(
        (sql) => sql<{ may: boolean | null }[]>`
          select has_table_privilege(to_regclass(${relation}), 'select') as may`,
        { timeoutMs },
      );
      return row?.may === true;
    } catch (error) {
      // Without a privilege on the schema even the question is refused.
      return !isDenied(error);
    }
  }

  /**
   * Runs `work` in one transaction on the primary and takes the position after its commit. A session
   * that has seen what the primary's history lacks is told so first: its write may follow from it.
   * The last statement, `beforeCommit`, shares the packet of COMMIT.
   */
  async write<T>(
    visit: Visit,
    floor: Floor,
    work: (sql: Sql, part: Part) => Promise<T>,
    witness: Witness,
    beforeCommit?: (sql: Sql) => Statement<object[]> | undefined,
  ): Promise<T> {
    const { now, sightings } = this.#options;
    const quest = newQuest();
    let why: Failure | undefined;
    for (;;) {
      const primary = await this.#waited(visit, 'primary', () =>
        this.#primaryInTime(visit.deadlineMs, quest, true),
      );
      if (primary === undefined) throw new Refusal(why ?? this.#whyNoWrite(visit));
      const { node, at } = primary;
      const stands = standing(at, floor, sightings.history(at.systemId, at.timeline));
      if (isLoss(stands)) throw new Refusal(this.#loss({ at, because: stands }, floor, witness));
      if (stands === 'behind') await this.#checkPossible(visit, floor, witness);
      else if (stands !== 'reached') {
        // Another edge has met a newer primary.
        visit.passedOver = [{ node, because: stands }];
        why = this.#refusal(visit);
        quest.failed = { seen: primary, atMs: now() };
        continue;
      }
      visit.decision = { kind: 'serve', node, rung: 'primary' };
      const timeoutMs = visit.deadlineMs - now();
      if (timeoutMs <= 0) {
        throw new Refusal({
          kind: 'write-not-applied',
          why: 'The budget was used up before it began',
        });
      }
      const entry = { kind: 'outside' } as Entry;
      const gate = this.#gate(node);
      const knocks = gate.isStalled;
      const sentAtMs = now();
      const call = this.#call(visit, 'write', node, 'writer');
      const writing = this.#pool(node, 'writer').transaction(
        (sql, part) => {
          call.begins();
          // It was shut while this one stood in line, which would keep a connection each.
          if (gate.isStalled && !knocks) throw new DatabaseError(AT_THE_GATE);
          const inside = () => this.#opened(gate);
          return asWriter(visit, sql, at.timeline, { entry, inside }, (it) => work(it, part));
        },
        {
          timeoutMs,
          ...(beforeCommit !== undefined && { beforeCommit }),
          afterCommit: committedAt,
        },
      );
      const outcome = await told(call, writing, (ended) =>
        'failure' in ended ? ended.failure : undefined,
      );
      // Those who were woken together are a burst, and none of them has come too late.
      const comesAgain = (failure: DatabaseFailure) =>
        beginsAgain(failure) || (failure.kind === 'pool-full' && quest.hasWaited);
      const isOutside = entry.kind !== 'inside';
      if (!(isOutside && outcome.kind === 'not_applied' && comesAgain(outcome.failure))) {
        return this.#written(visit, floor, witness, primary, { outcome, entry, sentAtMs });
      }
      const { failure } = outcome;
      why = failureOf(failure, 'write', this.#at(node));
      if (isAtGate(failure)) gate.timedOut(now());
      else {
        quest.failed = { seen: primary, atMs: now() };
        if (isUnreachable(failure)) this.#lose(primary);
      }
      if (entry.kind === 'asking') await this.#callEnds(entry.work, failure, visit, why);
    }
  }

  /**
   * Waits for the end of a call of `work` before the next one. After a loss each of its statements has
   * failed, so it ends when it has done what it does beside SQL. After a refusal one that was on its
   * way is never answered: then it stands still for good, and is not in the way.
   */
  async #callEnds(
    work: Promise<unknown>,
    failure: DatabaseFailure,
    visit: Visit,
    why: Failure,
  ): Promise<void> {
    const leftMs = visit.deadlineMs - this.#options.now();
    const isRefused = failure.kind === 'rejected';
    const ended = await endsInTime(work, isRefused ? Math.min(CALL_ENDS_MS, leftMs) : leftMs);
    if (!ended && !isRefused) throw new Refusal(why);
  }

  #written<T>(
    visit: Visit,
    floor: Floor,
    witness: Witness,
    primary: Sighting,
    {
      outcome,
      entry,
      sentAtMs,
    }: { outcome: WriteOutcome<T, CommittedAt>; entry: Entry; sentAtMs: number },
  ): T {
    const { now, sightings } = this.#options;
    const { node, at, incarnation } = primary;
    switch (outcome.kind) {
      case 'applied':
        this.#acknowledged(node);
        visit.stalenessMs = 0;
        {
          const { lsn: text, synchronous } = outcome.after;
          const position = { ...at, lsn: lsnFromPostgres(text) };
          // Said before the commit and after it, or a standby may have been required in between.
          const isReplicated = synchronous && entry.kind === 'inside' && entry.synchronous;
          visit.durability = isReplicated ? 'replicated' : this.#options.withoutStandby();
          // Where no standby is waited for, a primary that was replaced acknowledges as well.
          if (isReplicated) sightings.acknowledge({ node, incarnation, at: position, sentAtMs });
          witness.saw({ ...position, onReplica: false }, floor);
        }
        return outcome.value;
      case 'applied_without_after':
        this.#acknowledged(node);
        // Without a position no floor can promise that this write will be read.
        throw new Refusal({ kind: 'write-outcome-unknown' });
      case 'not_applied':
        if (isUnreachable(outcome.failure)) this.#lose(primary);
        throw new Refusal(failureOf(outcome.failure, 'write', this.#at(node)));
      case 'unknown':
        if (outcome.failure.kind !== 'ended-by-handler') this.#stall(node).timedOut(now());
        throw new Refusal({ kind: 'write-outcome-unknown' });
    }
  }

  #acknowledged(node: string): void {
    this.#room.signOfLife();
    this.#opened(this.#stall(node));
  }

  /** Whoever has waited for this can go on. */
  #opened(guard: StallGuard): void {
    const wasShut = guard.isStalled;
    guard.acknowledged();
    if (wasShut) this.#room.news();
  }

  #whyNoWrite(visit: Visit): Failure {
    const primary = this.#primary();
    if (primary === undefined) return this.#unavailable(visit);
    const why = this.#gate(primary.node).isStalled
      ? 'The primary is being replaced'
      : 'The primary acknowledges no commit now';
    return { kind: 'write-not-applied', why };
  }

  /** Runs the router's own statement on the primary. Rejects with a DatabaseError or a Refusal. */
  onPrimary<T>(query: (sql: Sql) => Promise<T>, timeoutMs: number): Promise<T> {
    const primary = this.#primary();
    if (primary === undefined) {
      return Promise.reject(
        new Refusal({
          kind: 'region-unavailable',
          region: this.#options.region.id,
          passedOver: [],
        }),
      );
    }
    return this.on(primary.node, 'router', query, timeoutMs);
  }

  /**
   * The same, for a statement that may run twice: it waits for a primary, and begins again where the
   * one that it met has gone.
   */
  async onPrimaryInTime<T>(query: (sql: Sql) => Promise<T>, timeoutMs: number): Promise<T> {
    const { now, region } = this.#options;
    const deadlineMs = now() + timeoutMs;
    const quest = newQuest();
    let why: unknown;
    for (;;) {
      const primary = await this.#primaryInTime(deadlineMs, quest, false);
      if (primary === undefined) {
        throw why ?? new Refusal({ kind: 'region-unavailable', region: region.id, passedOver: [] });
      }
      try {
        return await this.on(primary.node, 'router', query, deadlineMs - now());
      } catch (error) {
        if (!(error instanceof DatabaseError) || !beginsAgain(error.failure)) throw error;
        why = error;
        quest.failed = { seen: primary, atMs: now() };
        if (isUnreachable(error.failure)) this.#lose(primary);
      }
    }
  }

  /**
   * Runs a statement on one named node; the second argument names the server's start. What keeps
   * the sightings true stands in a line of its own, which no crowd of clients can fill.
   */
  on<T>(
    node: string,
    line: Login | 'watch',
    query: (sql: Sql, incarnation: string) => Promise<T>,
    timeoutMs: number,
  ): Promise<T> {
    return this.#pool(node, line).run(
      async (sql, connection) =>
        query(sql, this.#incarnations.get(connection) ?? (await this.#greet(sql, connection))),
      { timeoutMs: Math.max(1, timeoutMs) },
    );
  }

  /** A replica that is alive, else the primary: for reads without a floor. */
  anyNode(): string | undefined {
    const placed = this.#place({ level: EVENTUAL, floor: NO_FLOOR, budgetMs: 0 });
    return placed.kind === 'serve' ? placed.node : undefined;
  }

  /** What an answer to a write would say now; undefined while nobody knows. */
  get durability(): Durability | undefined {
    const synchronous = this.#primary()?.synchronous;
    if (synchronous === undefined) return undefined;
    return synchronous ? 'replicated' : this.#options.withoutStandby();
  }

  /** Those who wait for a primary. */
  waiting(): ReturnType<WaitingRoom['stats']> {
    return this.#room.stats();
  }

  stats(): Record<string, ReturnType<LeasePool['stats']>> {
    return Object.fromEntries([...this.#pools].map(([name, pool]) => [name, pool.stats()]));
  }

  async close(): Promise<void> {
    await Promise.all([...this.#pools.values()].map((pool) => pool.close({ timeoutMs: 1_000 })));
  }

  /** Telemetry hears of a wait that was one. */
  async #waited<T>(visit: Visit, what: string, wait: () => Promise<T>): Promise<T> {
    const { now } = this.#options;
    const startedAtMs = now();
    try {
      return await wait();
    } finally {
      const ms = now() - startedAtMs;
      if (ms >= WAIT_TOLD_MS) visit.trace.took('wait', ms, { [ATTRIBUTES.waitFor]: what });
    }
  }

  #call(visit: Visit, operation: 'read' | 'write', node: string, login: Login): SqlCall {
    const { nodes, database } = this.#options.region;
    const { host = '', port = 0 } = nodes.find(({ name }) => name === node) ?? {};
    return visit.trace.sql({ operation, node, login, host, port, database });
  }

  #at(node: string): Bottleneck {
    return { kind: 'node', region: this.#options.region.id, node };
  }

  #pool(node: string, line: Login | 'watch'): LeasePool {
    const login = line === 'watch' ? 'router' : line;
    const name = `${node} ${line}`;
    const existing = this.#pools.get(name);
    if (existing !== undefined) return existing;
    const { region, password, connectionsMax, waitersMax, standingMsMax, connectTimeoutMs } =
      this.#options;
    const address = region.nodes.find((candidate) => candidate.name === node);
    if (address === undefined) throw new RangeError(`no node ${node} in ${region.id}`);
    const pool = new LeasePool({
      endpoint: { ...address, database: region.database, user: LOGINS[login], password },
      connectionsMax: line === 'watch' ? 2 : login === 'router' ? 4 : connectionsMax,
      waitersMax,
      standingMsMax,
      connectTimeoutMs,
      settings: {
        application_name: `domicile ${login}`,
        statement_timeout: String(STATEMENT_TIMEOUT_MS),
        idle_in_transaction_session_timeout: String(STATEMENT_TIMEOUT_MS),
        ...(login === 'reader' || login === 'abroad'
          ? { default_transaction_read_only: 'on' }
          : {}),
      },
    });
    this.#pools.set(name, pool);
    return pool;
  }

  #primary(): Sighting | undefined {
    const { sightings, now } = this.#options;
    for (const node of this.#nodes) {
      const seen = sightings.of(node);
      if (seen?.role !== 'primary' || now() - seen.seenAtMs > SIGHTING_AGE_MS_MAX) continue;
      if (!sightings.isSuperseded(seen.at)) return seen;
    }
    return undefined;
  }

  #stall(node: string): StallGuard {
    let stall = this.#stalls.get(node);
    if (stall === undefined) {
      stall = new StallGuard();
      this.#stalls.set(node, stall);
    }
    return stall;
  }

  #gate(node: string): StallGuard {
    let gate = this.#gates.get(node);
    if (gate === undefined) {
      gate = new StallGuard(GATE_PROBE_EVERY_MS);
      this.#gates.set(node, gate);
    }
    return gate;
  }

  /** Destroys every socket to this node: what is at its other end is not what it was. */
  leave(node: string, why: string): void {
    for (const [name, pool] of this.#pools) {
      if (!name.startsWith(`${node} `)) continue;
      this.#pools.delete(name);
      pool.destroy(why);
    }
    this.#barriers.delete(node);
    this.#stalls.delete(node);
    this.#gates.delete(node);
    this.#room.news();
  }

  /** Asks a new connection, once, which start of the server it leads to. */
  async #greet(sql: Sql, connection: object): Promise<string> {
    const [row] = await sql<{ incarnation: string }[]>`
      select pg_postmaster_start_time()::text as incarnation`;
    const incarnation = row?.incarnation ?? '';
    this.#incarnations.set(connection, incarnation);
    return incarnation;
  }

  /** Stands at a replica until it has replayed the floor; its position is worth remembering. */
  async #await(
    node: string,
    incarnation: string,
    floor: Floor,
    waitMs: number,
    sql: Sql,
  ): Promise<void> {
    // Whichever timeline each was on: `standing` has found them to be of one history.
    const target = floor.reduce((highest, { lsn }) => (lsn > highest ? lsn : highest), 0n);
    const [row] = await sql<{ reached: string | null }[]>`
      call domicile.await_replay(${formatLsn(target)}::pg_lsn, ${Math.ceil(waitMs)}::int, null)`;
    if (row === undefined || row.reached === null) throw new NotReached('not a replica');
    const reached = lsnFromPostgres(row.reached);
    this.#options.sightings.advance(node, incarnation, reached);
    if (reached < target) throw new NotReached('behind');
  }

  #stalenessMs(node: string, proof: Proof): number | undefined {
    if (proof !== 'none') return 0;
    const freshAsOfMs = this.#options.sightings.of(node)?.freshAsOfMs;
    if (freshAsOfMs === undefined) return undefined;
    return Math.max(0, this.#options.now() - freshAsOfMs);
  }

  #refusal(visit: Visit): Failure {
    const { id } = this.#options.region;
    const { passedOver } = visit;
    const some = (...reasons: Objection[]) =>
      passedOver.some(({ because }) => reasons.includes(because));
    if (some('not_confirmed')) return { kind: 'primary-unconfirmed', region: id, passedOver };
    if (some('too_stale')) return { kind: 'staleness-unmet', region: id, passedOver };
    const full = passedOver.find(({ because }) => because === 'has_no_room');
    if (full !== undefined) {
      const { node } = full;
      const retryAfterMs = this.#pool(node, 'reader').stats().leaseMs;
      return { kind: 'overloaded', where: this.#at(node), retryAfterMs };
    }
    if (some('behind', 'lagging', 'older_timeline', 'history_unknown')) {
      return { kind: 'session-floor-unmet', region: id, passedOver };
    }
    return this.#unavailable(visit);
  }

  /** What the session had seen is gone. It goes on from what the region has now. */
  #loss(
    { at, because }: { at: Position | undefined; because: Loss },
    floor: Floor,
    witness: Witness,
  ): Failure {
    const { region, sightings } = this.#options;
    if (at !== undefined) witness.goesOnIn(at, sightings.history(at.systemId, at.timeline));
    if (because === 'other_cluster') return { kind: 'session-of-other-cluster', region: region.id };
    const history = at && sightings.history(at.systemId, at.timeline);
    const ends = new Map(history?.ancestors.map(({ timeline, end }) => [timeline, end]));
    const lost = floor
      .filter(({ timeline }) => timeline !== at?.timeline)
      .map(({ timeline, lsn }) => ({ timeline, seen: lsn, kept: ends.get(timeline) }));
    return { kind: 'session-guarantee-lost', region: region.id, lost };
  }

  #ahead(at: Position, witness: Witness): Failure {
    witness.goesOnFrom({ ...at, onReplica: false });
    return { kind: 'session-position-unknown', region: this.#options.region.id };
  }

  #unavailable(visit: Visit): Failure {
    const { id } = this.#options.region;
    return { kind: 'region-unavailable', region: id, passedOver: visit.passedOver };
  }
}

/**
 * Runs SQL for the visit's subject and for no other: row security asks for the setting. It goes out
 * ahead of the first statement and in the same round trip, always, because a connection remembers
 * whom it served before.
 */
async function asSubject<T>(
  { entered }: Visit,
  sql: Sql,
  own: Sql,
  work: (sql: Sql) => Promise<T>,
): Promise<T> {
  // Asking for the result is what sends a statement, so this one is under way before `work` begins.
  const entering = own`select set_config('domicile.subject', ${entered}, false)`.then();
  const [value] = await Promise.all([work(sql), entering]);
  return value;
}

/** Telemetry hears how a call ended: in one word, for messages may quote what was sent. */
async function told<T>(
  call: SqlCall,
  work: Promise<T>,
  failureIn: (value: T) => { kind: string } | undefined = () => undefined,
): Promise<T> {
  try {
    const value = await work;
    const failure = failureIn(value);
    call.ended(failure?.kind, sqlstateOf(failure));
    return value;
  } catch (error) {
    if (error instanceof DatabaseError) call.ended(error.failure.kind, sqlstateOf(error.failure));
    else if (error instanceof Refusal) call.ended(error.failure.kind);
    else call.ended(objectionTo(error) ?? 'handler');
    throw error;
  }
}

function sqlstateOf(failure: { kind: string } | undefined): string | undefined {
  return failure !== undefined && 'sqlstate' in failure ? String(failure.sqlstate) : undefined;
}

/** How far a write has come. Before it is inside, nothing of it can have been done. */
type Entry =
  | { kind: 'outside' }
  | { kind: 'asking'; work: Promise<unknown> }
  /** With whether commits waited for a standby at that moment. */
  | { kind: 'inside'; synchronous: boolean };

/**
 * The same in a transaction, which also ends here at a gate that is shut, and on a server that is not
 * the primary any more.
 */
async function asWriter<T>(
  { entered }: Visit,
  sql: Sql,
  timeline: number,
  { entry, inside }: { entry: Entry; inside: () => void },
  work: (sql: Sql) => Promise<T>,
): Promise<T> {
  const entering = sql<{ synchronous: boolean }[]>`
    select domicile.on_timeline(${timeline}), set_config('domicile.subject', ${entered}, true),
      current_setting('synchronous_standby_names') <> '' as synchronous`.then(([row]) => {
    Object.assign(entry, { kind: 'inside', synchronous: row?.synchronous === true });
    inside();
  });
  const working = work(sql);
  Object.assign(entry, { kind: 'asking', work: working });
  const [value] = await Promise.all([working, entering]);
  return value;
}

/** Whether it has come to an end, good or bad. */
function endsInTime(work: Promise<unknown>, leftMs: number): Promise<boolean> {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), leftMs);
  const ended = work.then(
    () => true,
    () => true,
  );
  return Promise.race([ended, late.promise]).finally(() => clearTimeout(timer));
}

type CommittedAt = StandsAt & { synchronous: boolean };

/** Sent before this returns. */
async function committedAt(sql: Sql): Promise<CommittedAt> {
  const [row] = await sql<CommittedAt[]>`
    select lsn::text as lsn, timeline,
      current_setting('synchronous_standby_names') <> '' as synchronous
    from domicile.stands_at()`.then();
  if (row === undefined) throw new Error('stands_at() returned no row');
  return row;
}

type StandsAt = { lsn: string; timeline: number | null };

/** Sent before this returns. */
async function standsAt(sql: Sql): Promise<StandsAt> {
  const [row] = await sql<
    StandsAt[]
  >`select lsn::text as lsn, timeline from domicile.stands_at()`.then();
  if (row === undefined) throw new Error('stands_at() returned no row');
  return row;
}

/** What a node showed, by what it said of itself in the statement after it. */
function shownBy({ at, role }: Sighting, { lsn, timeline }: StandsAt): Seen {
  return {
    systemId: at.systemId,
    timeline: timeline ?? at.timeline,
    lsn: lsnFromPostgres(lsn),
    onReplica: role === 'replica',
  };
}

/** Whether the session claims to have seen what this timeline has not written yet. */
function isAhead(floor: Floor, at: Position): boolean {
  return floor.some(
    ({ systemId, timeline, lsn }) =>
      systemId === at.systemId && timeline === at.timeline && lsn > at.lsn,
  );
}

const NOTHING_TRIED: ReadonlyMap<string, Objection> = new Map();

/** Why the next node should be tried; undefined when another node would say the same. */
function objectionTo(error: unknown): Objection | undefined {
  if (error instanceof NotReached) return 'behind';
  if (error instanceof NotConfirmed) return 'not_confirmed';
  if (error instanceof NotBelieved) return error.because;
  if (error instanceof DatabaseError && isUnreachable(error.failure)) return 'unreachable';
  return undefined;
}

function isDenied(error: unknown): boolean {
  return (
    error instanceof DatabaseError &&
    error.failure.kind === 'rejected' &&
    WITHDRAWN_CODES.has(error.failure.sqlstate)
  );
}

/** There was no time or no place for it; the node may be well. */
function isUnanswered({ kind }: DatabaseFailure): boolean {
  return kind === 'deadline' || kind === 'acquire-timeout' || kind === 'pool-full';
}

function isUnreachable(failure: DatabaseFailure): boolean {
  if (failure.kind === 'connect-failed' || failure.kind === 'connection-lost') return true;
  // The node was left while somebody waited for a connection to it.
  if (failure.kind === 'pool-closed') return true;
  // The server is starting, stopping or out of connections: it answered, but serves nobody.
  return (
    failure.kind === 'rejected' &&
    (failure.sqlstate.startsWith('57P') || failure.sqlstate === '53300')
  );
}

/** What a write is told that comes to a gate which was found shut by another one. */
const AT_THE_GATE = {
  kind: 'rejected',
  sqlstate: '55P03',
  message: 'the gate is shut',
} as const satisfies DatabaseFailure;

function isAtGate(failure: DatabaseFailure): boolean {
  return failure.kind === 'rejected' && failure.sqlstate === AT_THE_GATE.sqlstate;
}

/**
 * Whether another primary, or the same one later, may do what this one did not: of a write that was
 * not let in, and of what may run twice.
 */
function beginsAgain(failure: DatabaseFailure): boolean {
  if (isUnreachable(failure) || isAtGate(failure)) return true;
  return failure.kind === 'rejected' && NOT_THE_PRIMARY.has(failure.sqlstate);
}

/** It became a standby, or follows another timeline than was meant. */
const NOT_THE_PRIMARY: ReadonlySet<string> = new Set(['25006', 'DM006']);

function newQuest(): Quest {
  return { failed: undefined, hasWaited: false };
}

function isSameStart(a: Sighting, b: Sighting): boolean {
  return (
    a.node === b.node &&
    a.role === b.role &&
    a.incarnation === b.incarnation &&
    a.at.timeline === b.at.timeline
  );
}

function refusalOf(error: unknown, access: 'read' | 'write', where: Bottleneck): unknown {
  return error instanceof DatabaseError
    ? new Refusal(failureOf(error.failure, access, where))
    : error;
}

/** What a database failure means to the client when it is certain that nothing was changed. */
export function failureOf(
  failure: DatabaseFailure,
  access: 'read' | 'write',
  where: Bottleneck,
): Failure {
  switch (failure.kind) {
    case 'pool-full':
      return { kind: 'overloaded', where, retryAfterMs: failure.waitMs };
    case 'acquire-timeout':
      return { kind: 'overloaded', where, retryAfterMs: 0 };
    case 'deadline':
      return access === 'read'
        ? { kind: 'deadline-exceeded' }
        : { kind: 'write-not-applied', why: 'It took longer than its budget' };
    case 'rejected':
      return rejection(failure.sqlstate, failure.constraint);
    default:
      return access === 'read'
        ? { kind: 'deadline-exceeded' }
        : { kind: 'write-not-applied', why: 'The primary could not be reached' };
  }
}

/** SQLSTATE classes, PostgreSQL documentation, appendix A. */
function rejection(sqlstate: string, constraint: string | undefined): Failure {
  if (constraint === HOME_CONSTRAINT) return { kind: 'not-permitted' };
  switch (sqlstate) {
    case '23505':
    case '23P01':
      return { kind: 'conflict', constraint };
    case '40001':
    case '40P01':
      return { kind: 'write-not-applied', why: 'It collided with another transaction' };
    case 'DM006':
      return { kind: 'write-not-applied', why: 'The region has another primary by now' };
    case 'DM001':
      return { kind: 'write-not-applied', why: 'The claim on the id had been given back' };
    case '55P03':
      return { kind: 'write-not-applied', why: 'It waited too long for another transaction' };
    case 'DM021':
      return { kind: 'idempotency-key-in-flight' };
    case '25006':
      return { kind: 'read-only-route' };
    // A grant, row security, or one of the functions behind it (regions/schema/0002-enforcement.sql).
    case '42501':
    case 'DM002':
    case 'DM003':
    case 'DM004':
      return { kind: 'not-permitted' };
    // Not the handler's fault: the caller spells the subject in a way that its column does not.
    case 'DM005':
      return { kind: 'constraint-violated', constraint: undefined };
    default:
      if (sqlstate.startsWith('23')) return { kind: 'constraint-violated', constraint };
      if (sqlstate.startsWith('22')) return { kind: 'constraint-violated', constraint: undefined };
      return { kind: 'internal' };
  }
}
