/**
 * Who holds which connection, and what does each caller learn when that ends badly?
 *
 * One driver instance per connection, because the driver's own pool pipelines strangers behind each
 * other, waits without limit, and loses transactions when a connection dies. Here a connection is
 * leased to one caller, each call has a deadline that destroys the socket, and a connection that
 * died or is in doubt is thrown away. Nothing is ever cancelled: a cancelled COMMIT answers success.
 */
import net from 'node:net';
import postgres from 'postgres';
import type { Tls } from './catalogue.ts';
import { LineDelay } from './line-delay.ts';
import {
  codeOf,
  DatabaseError,
  type DatabaseFailure,
  DatabaseMisuse,
  type ForeignError,
  provesRollback,
  rejection,
  safeMessage,
} from './postgres-failure.ts';
import {
  isEncrypting,
  plainRefusalInWords,
  prepareTls,
  startTls,
  tlsInWords,
} from './postgres-tls.ts';
import { arrayTypeOf, typeHandlers } from './postgres-types.ts';

export {
  DatabaseError,
  type DatabaseFailure,
  DatabaseMisuse,
  nothingWasSent,
} from './postgres-failure.ts';

export type Endpoint = {
  name: string;
  host: string;
  port: number;
  database: string;
  user: string;
  password: string;
  /** Undefined: plain text. */
  tls?: Tls;
  /** Whom a certificate must name, where `host` is what this name led to. */
  serverName?: string;
};

export type PoolOptions = {
  endpoint: Endpoint;
  connectionsMax: number;
  /** Callers that may wait for a connection; one more is refused at once. */
  waitersMax: number;
  /** How long a line that stands may make its callers wait; by default as long as they can. */
  standingMsMax?: number;
  connectTimeoutMs: number;
  /** Server settings sent at start-up: statement_timeout, application_name and the like. */
  settings?: Readonly<Record<string, string>>;
};

/** A piece of SQL: run when awaited, or nested in another piece. */
export type Fragment = { readonly strings: readonly string[]; readonly args: readonly unknown[] };

export type Rows<T extends readonly object[]> = T & {
  readonly count: number;
  readonly command: string;
};

/** Nothing is sent before it is awaited; one that is never awaited never runs. */
export interface Statement<T extends readonly object[]> extends Promise<Rows<T>>, Fragment {
  /** Rows as arrays of column values. */
  values(): Promise<Rows<unknown[][]>>;
}

export type Parameter =
  | (null | boolean | number | bigint | string | Date | Uint8Array)
  | (Fragment | readonly Fragment[])
  | (postgres.Parameter<unknown> | postgres.Helper<unknown>)
  | readonly Parameter[];

/** What handlers write SQL with. It works only for as long as the lease it came from. */
export interface Sql {
  <T extends readonly object[] = postgres.Row[]>(
    strings: TemplateStringsArray,
    ...parameters: readonly Parameter[]
  ): Statement<T>;
  /** Identifiers, `insert` and `update` objects, `in` lists, as the postgres package has them. */
  (
    first: string | readonly unknown[] | { readonly [column: string]: unknown },
    ...columns: readonly (string | readonly string[])[]
  ): postgres.Helper<unknown>;
  json(value: postgres.JSONValue): postgres.Parameter;
  /** The element type's OID is needed only where the server cannot infer it. */
  array(values: readonly unknown[], elementType?: number): postgres.Parameter;
}

/** SQL that is text, made from checked identifiers, which no parameter can stand for. */
export function verbatim(statement: string): TemplateStringsArray {
  return Object.assign([statement], { raw: [statement] });
}

export type Limits = { timeoutMs: number };

export type RunOptions<S> = Limits & {
  /**
   * Sent in the packet of each statement and executed after it, so the last answer is younger than
   * everything that was read, and costs no round trip. `ask` must send its one statement at once
   * (`.then()`); `tell` hears the last answer before the run resolves, and nothing when `fn` sent
   * no statement.
   */
  after?: { ask: (own: Sql) => Promise<S>; tell: (answer: S) => void };
};

export type TransactionOptions<P> = Limits & {
  isolation?: 'read committed' | 'repeatable read' | 'serializable';
  readOnly?: boolean;
  /**
   * The last statement: sent in the same packet as COMMIT and executed before it. Nobody gets its
   * answer, but if it fails, so does the transaction.
   */
  beforeCommit?: (sql: Sql) => Statement<object[]> | undefined;
  /**
   * Sent in the same packet as COMMIT and executed after it: where the position of the write is
   * read. Its answer is dropped unless COMMIT came back clean.
   */
  afterCommit?: (sql: Sql) => Promise<P>;
};

/**
 * Runs a part of a transaction that may fail by itself: what it did is taken back, and the
 * transaction goes on. Rejects with a DatabaseError or what `fn` threw, as `transaction` would: also
 * when `fn` passed over a failure, or has not waited for a statement. Parts may nest; two at once
 * would take back each other's work.
 */
export type Part = <T>(
  fn: (sql: Sql) => Promise<T>,
  options?: { readOnly?: boolean },
) => Promise<T>;

export type CommitDoubt =
  | DatabaseFailure
  /** COMMIT answered success with a warning: a standby never confirmed it. */
  | { kind: 'commit-warning'; message: string }
  /** The handler smuggled its own COMMIT or ROLLBACK past us. */
  | { kind: 'ended-by-handler' };

export type WriteOutcome<T, P> =
  | { kind: 'applied'; value: T; after: P }
  /** Committed, but `afterCommit` failed: the write is safe and its position is not known. */
  | {
      kind: 'applied_without_after';
      value: T;
      because: DatabaseFailure | { kind: 'threw'; error: unknown };
    }
  | { kind: 'not_applied'; failure: DatabaseFailure }
  | { kind: 'unknown'; failure: CommitDoubt };

export type RunFunction<T> = (sql: Sql, connection: object, own: Sql) => Promise<T>;

export type PoolStats = {
  /** Connections that there may be. */
  max: number;
  open: number;
  idle: number;
  leased: number;
  waiting: number;
  opened: number;
  discarded: number;
  /** Callers that were turned away because of the line. */
  refused: number;
  /** Recent mean of the time that a connection is leased, in milliseconds. */
  leaseMs: number;
  /** How long one more caller would wait, in milliseconds. */
  waitMs: number;
};

export class LeasePool {
  readonly #options: PoolOptions;
  /** Connections fit for use, leased or idle. */
  readonly #slots = new Set<Slot>();
  readonly #idle: Slot[] = [];
  readonly #waiting = new Line();
  /** Sockets not yet known to be closed; close() is over when none is left. */
  readonly #lingering = new Set<Slot>();
  readonly #delay = new LineDelay();
  #opened = 0;
  #discarded = 0;
  #refused = 0;
  #closedWhy: string | undefined;
  #whenEmpty: PromiseWithResolvers<void> | undefined;

  constructor(options: PoolOptions) {
    if (offline.options.target_session_attrs) {
      // The driver takes it from there, and then waits for ever when the role does not match.
      throw new TypeError('PGTARGETSESSIONATTRS is set: roles are checked by the router itself');
    }
    for (const [name, value] of Object.entries(options.settings ?? {})) {
      // The driver drops empty values in silence, and a NUL would start a setting of its own.
      if (value === '' || `${name}${value}`.includes('\0')) {
        throw new TypeError(`the server setting ${name} has no value that can be sent`);
      }
    }
    prepareTls(options.endpoint.tls);
    this.#options = options;
  }

  /**
   * Statements that each commit by themselves. Rejects with a DatabaseError or what `fn` threw.
   * The second argument of `fn` stands for the connection: what is learned of the server behind it
   * can be kept in a WeakMap, and is gone with the connection. The third is for statements of the
   * caller's own, which `after` does not follow.
   */
  run<T, S = never>(fn: RunFunction<T>, options: RunOptions<S>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#admit(new Run(this, options, fn, resolve, reject));
    });
  }

  /**
   * begin; fn; commit. Rejects with what `fn` threw, rolled back, unless that was a DatabaseError.
   * A statement still running when `fn` returns is a bug in `fn`: rolled back, DatabaseMisuse.
   */
  transaction<T, P = undefined>(
    fn: (sql: Sql, part: Part) => Promise<T>,
    options: TransactionOptions<P>,
  ): Promise<WriteOutcome<T, P>> {
    return new Promise<WriteOutcome<T, P>>((resolve, reject) => {
      this.#admit(new Transaction(this, options, fn, resolve, reject));
    });
  }

  /** Destroys every socket, idle and leased, and refuses all further use. */
  destroy(why: string): void {
    this.#closedWhy ??= why;
    for (let lease = this.#waiting.first; lease !== undefined; lease = this.#waiting.first) {
      this.#leaveLine(lease);
      lease.refuse({ kind: 'pool-closed', why: this.#closedWhy });
    }
    for (const slot of this.#lingering) slot.die('POOL_DESTROYED');
    this.#settleClose();
  }

  /** Serves whom it has admitted, up to the limit, then says goodbye to the server. */
  close(limits: Limits): Promise<void> {
    if (this.#whenEmpty !== undefined) return this.#whenEmpty.promise;
    this.#whenEmpty = Promise.withResolvers<void>();
    this.#closedWhy ??= 'closed';
    const limit = setTimeout(() => this.destroy('closed'), limits.timeoutMs);
    for (const slot of this.#idle.splice(0)) slot.leave();
    this.#settleClose();
    return this.#whenEmpty.promise.finally(() => clearTimeout(limit));
  }

  stats(): PoolStats {
    const idle = this.#idle.length;
    return {
      max: this.#options.connectionsMax,
      open: this.#slots.size,
      idle,
      leased: this.#slots.size - idle,
      waiting: this.#waiting.size,
      opened: this.#opened,
      discarded: this.#discarded,
      refused: this.#refused,
      leaseMs: this.#delay.serviceMs,
      waitMs: idle > 0 || this.#hasRoom() ? 0 : this.#waitMs(performance.now()),
    };
  }

  #admit(lease: Lease): void {
    const why = this.#closedWhy;
    const slot = why === undefined ? (this.#idle.pop() ?? this.#openSlot()) : undefined;
    if (slot !== undefined) lease.take(slot);
    else if (why !== undefined) lease.refuse({ kind: 'pool-closed', why });
    else this.#lineUp(lease);
  }

  /** Nobody waits in vain: who would not have been served in time learns it now. */
  #lineUp(lease: Lease): void {
    const { waitersMax, standingMsMax = Number.POSITIVE_INFINITY } = this.#options;
    const nowMs = performance.now();
    const waitMs = this.#waitMs(nowMs);
    // Half of what could be borne: who runs into its deadline takes a connection along.
    const boundMs = (lease.timeoutMs - this.#delay.serviceMs) / 2;
    const patienceMs = this.#delay.isStanding(nowMs) ? Math.min(boundMs, standingMsMax) : boundMs;
    if (this.#waiting.size >= waitersMax || waitMs > patienceMs) {
      this.#refused++;
      this.#delay.turnedAway(nowMs);
      lease.refuse({ kind: 'pool-full', waitMs });
      return;
    }
    this.#waiting.add(lease);
    this.#delay.waits(this.#waiting.size, nowMs);
  }

  #waitMs(nowMs: number): number {
    return this.#delay.expectedMs(this.#waiting.size, this.#options.connectionsMax, nowMs);
  }

  #leaveLine(lease: Lease): void {
    this.#waiting.delete(lease);
    if (this.#waiting.size === 0) this.#delay.waits(0, performance.now());
  }

  #hasRoom(): boolean {
    return this.#slots.size < this.#options.connectionsMax;
  }

  #openSlot(): Slot | undefined {
    if (!this.#hasRoom()) return undefined;
    const slot = new Slot(this, this.#options);
    this.#slots.add(slot);
    this.#lingering.add(slot);
    this.#opened++;
    return slot;
  }

  /** @internal A lease ended and its connection is as good as new. */
  giveBack(slot: Slot): void {
    const next = this.#waiting.first;
    if (next !== undefined) this.#serve(next, slot);
    else if (this.#closedWhy !== undefined) slot.leave();
    else this.#idle.push(slot);
  }

  /** @internal Its place is free for a fresh connection at once. */
  forget(slot: Slot, how: 'discarded' | 'left'): void {
    if (!this.#slots.delete(slot)) return;
    if (how === 'discarded') this.#discarded++;
    const at = this.#idle.indexOf(slot);
    if (at >= 0) this.#idle.splice(at, 1);
    const next = this.#waiting.first;
    const fresh = next && this.#openSlot();
    if (next !== undefined && fresh !== undefined) this.#serve(next, fresh);
  }

  /** @internal A lease that was served has ended, well or badly. */
  cameHome(leasedAtMs: number): void {
    const nowMs = performance.now();
    this.#delay.cameHome(nowMs - leasedAtMs, nowMs);
  }

  /** @internal */
  gone(slot: Slot): void {
    this.#lingering.delete(slot);
    this.#settleClose();
  }

  /** @internal */
  giveUpWaiting(lease: Lease): void {
    this.#leaveLine(lease);
    this.#settleClose();
  }

  #serve(lease: Lease, slot: Slot): void {
    this.#leaveLine(lease);
    lease.reserve(slot);
    // A handler that throws at once would otherwise hand the slot on from inside this very call.
    queueMicrotask(() => lease.begin());
  }

  #settleClose(): void {
    if (this.#lingering.size === 0 && this.#waiting.size === 0) this.#whenEmpty?.resolve();
  }
}

/**
 * Those who wait for a connection, first come first. A list and not a Set: a Set that is rehashed
 * leaves its old table pointing to the new one, and once such a table has grown old, every lease
 * that ever waited survives to the next full collection, with its request (2.5 ms a scavenge
 * instead of 0.3 ms).
 */
class Line {
  first: Lease | undefined;
  #last: Lease | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(lease: Lease): void {
    lease.inLine = true;
    lease.ahead = this.#last;
    if (this.#last === undefined) this.first = lease;
    else this.#last.behind = lease;
    this.#last = lease;
    this.#size++;
  }

  delete(lease: Lease): void {
    if (!lease.inLine) return;
    const { ahead, behind } = lease;
    if (ahead === undefined) this.first = behind;
    else ahead.behind = behind;
    if (behind === undefined) this.#last = ahead;
    else behind.ahead = ahead;
    lease.inLine = false;
    lease.ahead = undefined;
    lease.behind = undefined;
    this.#size--;
  }
}

/** One connection: a driver instance of its own, and the socket under it. */
class Slot {
  /** Stands for this connection outside, where nobody may touch it. */
  readonly identity: object = {};
  lease: Lease | undefined;
  dead = false;
  /** The server has answered a statement, so from here on a loss is not a failure to connect. */
  established = false;
  /** Something ran that may outlive its lease: SET, LISTEN, a temporary table. */
  changed = false;
  readonly driver: postgres.Sql<{ bigint: bigint }>;
  /** The driver's own entrance for a query that is ready to be sent. */
  readonly send: (statement: GuardedStatement) => void;
  readonly #pool: LeasePool;
  readonly #endpoint: Endpoint;
  #socket: net.Socket | undefined;
  /** The driver's own begins when TLS stands. */
  #connecting: NodeJS.Timeout | undefined;

  constructor(pool: LeasePool, { endpoint, connectTimeoutMs, settings }: PoolOptions) {
    this.#pool = pool;
    this.#endpoint = endpoint;
    this.driver = postgres({
      ...ALWAYS,
      host: endpoint.host,
      port: endpoint.port,
      database: endpoint.database,
      user: endpoint.user,
      // As a function it cannot be printed with the options.
      password: () => endpoint.password,
      connect_timeout: connectTimeoutMs / 1000,
      connection: { application_name: 'domicile', DateStyle: 'ISO', ...settings },
      // The socket that it gets is secured where it should be, and it knows nothing of that.
      ssl: false,
      types: typeHandlers() as unknown as { bigint: postgres.PostgresType<bigint> },
      onnotice: (notice) => this.lease?.noticed(notice),
      onclose: () => this.#closed(),
      // The first one is told when the server has let us in.
      onparameter: () => clearTimeout(this.#connecting),
      // Not in the driver's types.
      ...({ socket: () => this.#connect(connectTimeoutMs) } as object),
    });
    this.send = (this.driver`` as unknown as DriverQuery).handler;
  }

  /**
   * Nobody uses this connection again. Destroying with an error is what makes the driver let go of
   * a connection attempt; without one it would dial for ever.
   */
  die(code: string, because?: DatabaseFailure): void {
    clearTimeout(this.#connecting);
    this.#socket?.on('error', ignore).destroy(new Error(code));
    if (this.dead) return;
    this.dead = true;
    const { lease } = this;
    const lost: DatabaseFailure =
      because ??
      (this.established || lease?.hasSent()
        ? { kind: 'connection-lost', code }
        : this.connectFailed(code));
    lease?.lose(lost);
    this.#pool.forget(this, 'discarded');
    if (this.#socket === undefined) this.#pool.gone(this);
  }

  connectFailed(code: string, error: ForeignError = {}): DatabaseFailure {
    return connectFailed(code, this.#endpoint, error);
  }

  /** Terminate, then wait for the server to close. */
  leave(): void {
    if (this.#socket === undefined || this.#socket.destroyed) {
      this.die('POOL_CLOSED');
    } else {
      this.dead = true;
      this.driver.end().catch(ignore);
      this.#pool.forget(this, 'left');
    }
  }

  #connect(connectTimeoutMs: number): net.Socket | Promise<net.Socket> {
    if (this.dead || this.#socket !== undefined) throw new Error('the connection was thrown away');
    const { host, port, tls, serverName = host } = this.#endpoint;
    const socket = net.connect({ host, port, noDelay: true });
    this.#socket = socket;
    if (!isEncrypting(tls)) return this.#watched(socket);
    this.#connecting = setTimeout(() => this.die('CONNECT_TIMEOUT'), connectTimeoutMs);
    socket.on('close', () => this.#pool.gone(this));
    return startTls(socket, serverName, tls).then((secured) => {
      this.#socket = secured;
      return this.#watched(secured);
    });
  }

  /**
   * Listened to ahead of the driver: the slot is dead before anybody sees a rejection and retries on
   * it.
   */
  #watched(socket: net.Socket): net.Socket {
    socket.on('error', (error) => this.die(codeOf(error)));
    socket.on('close', () => this.#closed());
    return socket;
  }

  #closed(): void {
    this.die('CONNECTION_CLOSED');
    this.#pool.gone(this);
  }
}

/** A part of a transaction, for those who were given a handle for it only. */
type Scope = { over: boolean };

/** One caller's turn: from asking for a connection until its last statement is answered. */
abstract class Lease {
  readonly inFlight: GuardedStatement[] = [];
  /** Its place in the line of a pool. */
  inLine = false;
  ahead: Lease | undefined;
  behind: Lease | undefined;
  /** Statements and fragments written so far, less the statements among them that were sent. */
  unsent = 0;
  /** A statement of an older turn than the lease's was written by a handler that has returned. */
  turn = 0;
  protected slot: Slot | undefined;
  /** Why no statement can be sent any more. */
  protected lost: DatabaseFailure | undefined;
  /** The first statement that Postgres rejected, perhaps swallowed by the handler. */
  protected firstRejection: DatabaseFailure | undefined;
  protected endedByHandler = false;
  #over = false;
  readonly timeoutMs: number;
  readonly #pool: LeasePool;
  readonly #timer: NodeJS.Timeout;
  /** Since when it has had a connection. */
  #leasedAtMs = 0;

  constructor(pool: LeasePool, timeoutMs: number) {
    this.#pool = pool;
    this.timeoutMs = timeoutMs;
    this.#timer = setTimeout(expire, timeoutMs, this);
  }

  /** The caller gets nothing but this. */
  protected abstract fail(error: DatabaseError): void;
  /** It has a connection. */
  abstract begin(): void;
  /** The deadline passed or the connection died; the statements in flight were told already. */
  protected abstract ended(failure: DatabaseFailure, how: 'deadline' | 'loss'): void;
  noticed(_notice: postgres.Notice): void {}
  /** A statement of the handler's has just been handed to the driver. */
  protected sent(): void {}
  protected abstract readonly inTransaction: boolean;

  take(slot: Slot): void {
    this.reserve(slot);
    this.begin();
  }

  reserve(slot: Slot): void {
    this.slot = slot;
    slot.lease = this;
    this.#leasedAtMs = performance.now();
  }

  refuse(failure: DatabaseFailure): void {
    clearTimeout(this.#timer);
    this.#over = true;
    this.fail(new DatabaseError(failure));
  }

  expire(): void {
    const { slot } = this;
    if (slot === undefined) {
      this.refuse({ kind: 'acquire-timeout' });
      this.#pool.giveUpWaiting(this);
      return;
    }
    const connecting = !slot.established && this.inFlight.length > 0 && !this.hasSent();
    const failure: DatabaseFailure = connecting
      ? slot.connectFailed('DEADLINE')
      : { kind: 'deadline' };
    this.lost = failure;
    slot.die('DEADLINE', failure);
    this.ended(failure, 'deadline');
    this.finish();
  }

  /** True when the server may have seen a statement of this lease. */
  hasSent(): boolean {
    return this.inFlight.some((statement) => statement.state !== null);
  }

  lose(failure: DatabaseFailure): void {
    this.lost ??= failure;
    for (const statement of this.inFlight.splice(0)) {
      if (statement.turn === this.turn) statement.settleWith(new DatabaseError(failure));
    }
    this.ended(failure, 'loss');
    if (this.#over) this.#goHome();
  }

  /** What stands against sending this, now. */
  objection(statement: GuardedStatement): Error | undefined {
    if (this.lost !== undefined) return new DatabaseError(this.lost);
    if (statement.turn !== this.turn) {
      return new DatabaseMisuse('this sql was used after the handler it was given to had returned');
    }
    if (statement.ours) return undefined;
    if (statement.scope?.over) {
      return new DatabaseMisuse('this sql was used after the part it was given to had ended');
    }
    if (this.endedByHandler) return new DatabaseMisuse('the handler ended its own transaction');
    if (TRANSACTION_CONTROL.test(statement.strings[0] ?? '')) {
      return new DatabaseMisuse('transactions are begun and ended by the pool, not in SQL');
    }
    return undefined;
  }

  submit(statement: GuardedStatement): void {
    const objection = this.objection(statement);
    if (objection === undefined) {
      this.unsent--;
      this.inFlight.push(statement);
      (this.slot as Slot).send(statement);
      if (!statement.ours) this.sent();
    } else {
      statement.settleWith(objection);
    }
  }

  answered(statement: GuardedStatement, result: DriverResult): void {
    if (!this.#took(statement)) return;
    const slot = this.slot as Slot;
    slot.established = true;
    if (result.length !== 0 && result[0] === undefined) dropStaleRows(result);
    if (!LEAVES_NO_TRACE.has(result.command) && !statement.ours) this.#observe(statement, result);
    // One that the handler did not wait for has nobody to tell.
    if (statement.turn === this.turn) statement.settle(result);
    if (this.#over && this.inFlight.length === 0) this.#goHome();
  }

  refused(statement: GuardedStatement, error: ForeignError): void {
    if (!this.#took(statement)) return;
    const slot = this.slot as Slot;
    const sent = statement.state !== null;
    let failure: DatabaseFailure;
    if (error instanceof offline.PostgresError && sent) {
      slot.established = true;
      failure = rejection(error);
      this.firstRejection ??= failure;
    } else {
      // Whatever else the driver complains of leaves it with answers that belong to nobody.
      const code = codeOf(error);
      failure = !sent
        ? slot.established
          ? { kind: 'connection-lost', code }
          : slot.connectFailed(code, error)
        : cannotEncode(error)
          ? { kind: 'unencodable', code }
          : { kind: 'connection-lost', code };
      slot.die(code, failure.kind === 'unencodable' ? { kind: 'connection-lost', code } : failure);
    }
    if (statement.turn === this.turn) statement.settleWith(new DatabaseError(failure));
    if (this.#over && this.inFlight.length === 0) this.#goHome();
  }

  /** The caller has its answer. The connection goes home when the server's last one is in. */
  protected finish(): void {
    this.turn++;
    if (this.#over) return;
    this.#over = true;
    if (this.inFlight.length === 0) this.#goHome();
  }

  /**
   * An un-awaited helper's statement reaches us some microtasks after it was written. Without this
   * pause its handler could return first, and the transaction commit without it.
   */
  protected async stragglers(): Promise<void> {
    for (let tick = 0; tick < STRAGGLER_TICKS; tick++) await undefined;
  }

  /**
   * A way to write SQL that ends with the current turn, and with the part that it is for; `ours`: for
   * statements of the router's own.
   */
  protected handle(scope?: Scope, ours = false): Sql {
    const { turn } = this;
    const { driver } = this.slot as Slot;
    const sql = (first: unknown, ...rest: unknown[]): unknown => {
      if (isTemplate(first)) {
        for (let i = 0; i < rest.length; i++) {
          const value = rest[i];
          if (value === undefined || typeof value === 'object') rest[i] = checked(value, driver);
        }
        this.unsent++;
        return new GuardedStatement(this, turn, first, rest, ours, scope);
      }
      refuseUndefined(first, rest);
      return (driver as unknown as (...args: unknown[]) => unknown)(first, ...rest);
    };
    sql.json = driver.json;
    sql.array = (values: readonly unknown[], element?: number) =>
      driver.typed(values, arrayTypeOf(values, element));
    return sql as unknown as Sql;
  }

  /** A statement of the pool's own, handed to the driver before this returns. */
  protected control(strings: TemplateStringsArray): GuardedStatement {
    this.unsent++;
    return this.sendNow(new GuardedStatement(this, this.turn, strings, [], true, undefined));
  }

  /** Not when it is awaited, which is some microtasks later. */
  protected sendNow(statement: GuardedStatement): GuardedStatement {
    statement.executed = true;
    this.submit(statement);
    return statement;
  }

  #observe(statement: GuardedStatement, { command }: DriverResult): void {
    if (this.inTransaction) {
      const text = statement.string;
      if (ENDS_WITH_TRANSACTION.has(command) || SET_LOCAL.test(text)) return;
      if (command === 'ROLLBACK' && ROLLBACK_TO.test(text)) return;
      if (command === 'COMMIT' || command === 'ROLLBACK' || command === 'PREPARE TRANSACTION') {
        this.endedByHandler = true;
      }
    }
    (this.slot as Slot).changed = true;
  }

  /** False when the statement was settled before: by the deadline, or by the connection's death. */
  #took(statement: GuardedStatement): boolean {
    const { inFlight } = this;
    if (inFlight.length === 1 && inFlight[0] === statement) {
      inFlight.pop();
      return true;
    }
    const at = inFlight.indexOf(statement);
    if (at >= 0) inFlight.splice(at, 1);
    return at >= 0;
  }

  #goHome(): void {
    clearTimeout(this.#timer);
    const slot = this.slot as Slot;
    if (slot.lease !== this) return;
    slot.lease = undefined;
    this.#pool.cameHome(this.#leasedAtMs);
    if (slot.dead) return;
    if (slot.changed) slot.die('SESSION_CHANGED');
    else this.#pool.giveBack(slot);
  }
}

class Run<T, S> extends Lease {
  protected readonly inTransaction = false;
  readonly #fn: RunFunction<T>;
  readonly #options: RunOptions<S>;
  readonly #resolve: (value: T) => void;
  readonly #reject: (error: unknown) => void;
  #settled = false;
  #own: Sql | undefined;
  #after: Promise<S> | undefined;

  constructor(
    pool: LeasePool,
    options: RunOptions<S>,
    fn: RunFunction<T>,
    resolve: (value: T) => void,
    reject: (error: unknown) => void,
  ) {
    super(pool, options.timeoutMs);
    this.#options = options;
    this.#fn = fn;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  begin(): void {
    if (this.#settled) return;
    try {
      this.#own = this.handle(undefined, true);
      this.#fn(this.handle(), (this.slot as Slot).identity, this.#own).then(
        (value) => this.#returned(value),
        (error) => this.fail(error),
      );
    } catch (error) {
      this.fail(error);
    }
  }

  protected override sent(): void {
    const { after } = this.#options;
    if (after === undefined || this.#own === undefined) return;
    this.#after = after.ask(this.#own);
    // Its failure is the statement's too, and only the last one is waited for.
    this.#after.catch(ignore);
  }

  #returned(value: T): void {
    if (this.unsent > 0) void this.stragglers().then(() => this.#hearAfter(value));
    else if (this.#after === undefined) this.#conclude(value);
    else this.#hearAfter(value);
  }

  #hearAfter(value: T): void {
    if (this.inFlight.some(({ ours }) => !ours)) {
      this.fail(new DatabaseMisuse(FORGOTTEN));
      return;
    }
    const after = this.#after;
    if (after === undefined) {
      this.#conclude(value);
      return;
    }
    after.then(
      (answer) => {
        if (this.#settled) return;
        // Another statement was sent meanwhile: `fn` has returned without waiting for it.
        if (after === this.#after) this.#options.after?.tell(answer);
        this.#conclude(value);
      },
      (error) => this.fail(error),
    );
  }

  #conclude(value: T): void {
    if (this.#settled) return;
    if (this.inFlight.length > 0) {
      this.fail(new DatabaseMisuse(FORGOTTEN));
    } else {
      this.#settled = true;
      this.#resolve(value);
      this.finish();
    }
  }

  protected fail(error: unknown): void {
    if (this.#settled) return;
    this.#settled = true;
    this.#reject(error);
    if (this.slot !== undefined) this.finish();
  }

  protected ended(failure: DatabaseFailure, how: 'deadline' | 'loss'): void {
    // After a loss the handler may still have something to say; after the deadline it may not.
    if (how === 'deadline') this.fail(new DatabaseError(failure));
  }
}

class Transaction<T, P> extends Lease {
  protected readonly inTransaction = true;
  readonly #fn: (sql: Sql, part: Part) => Promise<T>;
  readonly #options: TransactionOptions<P>;
  readonly #resolve: (outcome: WriteOutcome<T, P>) => void;
  readonly #reject: (error: unknown) => void;
  /** Rejects when the deadline passes or the connection dies: nobody waits for the handler then. */
  readonly #end = Promise.withResolvers<never>();
  #commit: GuardedStatement | undefined;
  #warning: string | undefined;

  constructor(
    pool: LeasePool,
    options: TransactionOptions<P>,
    fn: (sql: Sql, part: Part) => Promise<T>,
    resolve: (outcome: WriteOutcome<T, P>) => void,
    reject: (error: unknown) => void,
  ) {
    super(pool, options.timeoutMs);
    this.#fn = fn;
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#end.promise.catch(ignore);
  }

  begin(): void {
    this.#perform().then(
      (outcome) => {
        this.#resolve(outcome);
        this.finish();
      },
      (error) => {
        this.#reject(error);
        this.finish();
      },
    );
  }

  protected fail(error: DatabaseError): void {
    this.#resolve({ kind: 'not_applied', failure: error.failure });
  }

  protected ended(failure: DatabaseFailure): void {
    this.#end.reject(new DatabaseError(failure));
  }

  override noticed(notice: postgres.Notice): void {
    if (this.#commit === undefined || this.inFlight[0] !== this.#commit) return;
    if (notice.severity !== 'WARNING') return;
    this.#warning ??=
      notice.routine === 'SyncRepWaitForLSN' ? (notice.message ?? '') : safeMessage(notice);
  }

  async #perform(): Promise<WriteOutcome<T, P>> {
    let value: T;
    try {
      await this.control(beginning(this.#options));
      const { turn } = this;
      const handled = this.#fn(this.handle(), (fn, options) => this.#part(turn, fn, options));
      value = await Promise.race([this.#end.promise, handled]);
      if (this.unsent > 0) await this.stragglers();
      // The end of a part may still be on its way, and needs nobody to wait for it.
      if (this.inFlight.some(({ ours }) => !ours)) throw new DatabaseMisuse(FORGOTTEN);
    } catch (error) {
      if (this.endedByHandler) return { kind: 'unknown', failure: { kind: 'ended-by-handler' } };
      await this.#rollBack();
      if (error instanceof DatabaseError) return { kind: 'not_applied', failure: error.failure };
      throw error;
    }
    if (this.endedByHandler) return { kind: 'unknown', failure: { kind: 'ended-by-handler' } };
    return this.#commitAndAfter(value);
  }

  async #part<V>(
    turn: number,
    fn: (sql: Sql) => Promise<V>,
    { readOnly = false }: { readOnly?: boolean } = {},
  ): Promise<V> {
    if (turn !== this.turn) throw new DatabaseMisuse('a part of a transaction that has ended');
    const outside = this.firstRejection;
    this.firstRejection = undefined;
    const scope: Scope = { over: false };
    // Not waited for: both share the packet of the part's first statement.
    const begun = [this.control(SAVEPOINT)];
    if (readOnly) begun.push(this.control(READ_ONLY));
    for (const statement of begun) statement.catch(ignore);
    try {
      const value = await fn(this.handle(scope));
      if (this.unsent > 0) await this.stragglers();
      scope.over = true;
      if (this.inFlight.some((one) => one.scope === scope)) throw new DatabaseMisuse(FORGOTTEN);
      const release = this.control(RELEASE);
      release.catch(ignore);
      // Nothing has failed, so this cannot; if it does all the same, so does everything after it.
      if (this.firstRejection === undefined) return value;
      try {
        await release;
      } catch (error) {
        // A failure that was passed over had aborted the part, and that is what it failed of.
        throw this.lost === undefined ? new DatabaseError(this.firstRejection) : error;
      }
      return value;
    } catch (error) {
      scope.over = true;
      // If it cannot be sent or done, the transaction as a whole cannot be committed either.
      await this.control(ROLLBACK_TO_SAVEPOINT).catch(ignore);
      throw error;
    } finally {
      this.firstRejection = outside;
    }
  }

  /** Queued behind whatever still runs. If it cannot be sent, the server does it by itself. */
  async #rollBack(): Promise<void> {
    this.turn++;
    try {
      await this.control(ROLLBACK);
    } catch {
      this.slot?.die('ROLLBACK_FAILED');
    }
  }

  async #commitAndAfter(value: T): Promise<WriteOutcome<T, P>> {
    this.turn++;
    const last = this.#options.beforeCommit?.(this.handle());
    if (last !== undefined) this.sendNow(last as unknown as GuardedStatement);
    const commit = this.control(COMMIT);
    this.#commit = commit;
    // Asked before COMMIT is answered, so it shares the packet; its own Sync keeps it behind.
    const after = this.#after();
    after.catch(ignore);

    let command: string;
    try {
      command = (await commit).command;
    } catch (error) {
      return this.#commitFailed(commit, error);
    }
    if (command !== 'COMMIT')
      return { kind: 'not_applied', failure: this.firstRejection ?? ABORTED };
    if (this.#warning !== undefined) {
      return { kind: 'unknown', failure: { kind: 'commit-warning', message: this.#warning } };
    }
    try {
      return { kind: 'applied', value, after: await Promise.race([this.#end.promise, after]) };
    } catch (error) {
      const because =
        error instanceof DatabaseError ? error.failure : ({ kind: 'threw', error } as const);
      return { kind: 'applied_without_after', value, because };
    }
  }

  async #after(): Promise<P> {
    return this.#options.afterCommit?.(this.handle()) as P;
  }

  #commitFailed(commit: GuardedStatement, error: unknown): WriteOutcome<T, P> {
    if (!(error instanceof DatabaseError)) throw error;
    const { failure } = error;
    const refused = failure.kind === 'rejected' && provesRollback(failure.sqlstate);
    return refused || commit.state === null
      ? { kind: 'not_applied', failure }
      : { kind: 'unknown', failure };
  }
}

/** The driver's options that hold for every connection. All are named: it fills gaps from PG*. */
const ALWAYS = {
  max: 1,
  // A lease pipelines its own statements only, and one at a time is the rule.
  max_pipeline: 100,
  fetch_types: false,
  prepare: true,
  debug: false,
  backoff: () => 0,
  max_lifetime: 0,
  idle_timeout: 0,
  // Finds out within 20 s that the peer of an idle connection is gone.
  keep_alive: 10,
  publications: '',
  sslnegotiation: null,
  no_subscribe: true,
  onnotice: () => {},
} as const;

type DriverResult = unknown[] & { count: number | null; command: string };

/** What we rely on in the driver's queries, which are promises that send themselves when awaited. */
declare class DriverQuery extends Promise<DriverResult> {
  constructor(
    strings: TemplateStringsArray,
    args: unknown[],
    handler: (query: GuardedStatement) => void,
    canceller: null,
  );
  readonly strings: readonly string[];
  readonly args: unknown[];
  readonly handler: (query: GuardedStatement) => void;
  /** The statement as sent, with placeholders; undefined until then. */
  readonly string: string;
  /** Null until a connection has taken it. */
  readonly state: unknown;
  executed: boolean;
  resolve: (result: DriverResult) => void;
  reject: (error: unknown) => void;
}

/** Never connects. It is where the driver's classes are found. */
const offline = postgres({ ...ALWAYS, host: 'localhost' });
const Query = (offline`` as unknown as object).constructor as typeof DriverQuery;

/**
 * The driver's query, but sent through its lease and settled by it. A subclass and not a wrapper,
 * because the driver nests queries by class.
 */
class GuardedStatement extends Query {
  readonly lease: Lease;
  readonly turn: number;
  readonly ours: boolean;
  readonly scope: Scope | undefined;
  readonly settle: (result: DriverResult) => void;
  readonly #refuse: (error: unknown) => void;

  constructor(
    lease: Lease,
    turn: number,
    strings: TemplateStringsArray,
    args: unknown[],
    ours: boolean,
    scope: Scope | undefined,
  ) {
    super(strings, args, submit, null);
    this.lease = lease;
    this.turn = turn;
    this.ours = ours;
    this.scope = scope;
    this.settle = this.resolve;
    this.#refuse = this.reject;
    this.resolve = answered;
    this.reject = refused;
  }

  settleWith(error: Error): void {
    this.#refuse(error);
    super.then(undefined, ignore);
  }

  // biome-ignore lint/suspicious/noThenProperty: it is a promise, and its class has it.
  override then<A = DriverResult, B = never>(
    onResult?: ((result: DriverResult) => A | PromiseLike<A>) | null,
    onError?: ((error: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    const next = super.then(onResult, onError);
    // `sql`...`.then(f)` that nobody waits for must not bring the process down.
    if (onError === undefined || onError === null) next.catch(ignore);
    return next;
  }

  override finally(onEnd?: (() => void) | null): Promise<DriverResult> {
    const next = super.finally(onEnd);
    next.catch(ignore);
    return next;
  }

  // Several statements in one string, and answers that outlive the statement: not offered.
  simple(): never {
    return notOffered();
  }
  cursor(): never {
    return notOffered();
  }
  readable(): never {
    return notOffered();
  }
  writable(): never {
    return notOffered();
  }
  describe(): never {
    return notOffered();
  }
}

function submit(statement: GuardedStatement): void {
  statement.lease.submit(statement);
}

function answered(this: GuardedStatement, result: DriverResult): void {
  this.lease.answered(this, result);
}

function refused(this: GuardedStatement, error: unknown): void {
  this.lease.refused(this, error as ForeignError);
}

function notOffered(): never {
  throw new DatabaseMisuse('not offered here');
}

function expire(lease: Lease): void {
  lease.expire();
}

function ignore(): void {}

/** Awaiting a statement takes the language two, and one is to spare. */
const STRAGGLER_TICKS = 3;

const FORGOTTEN = 'the handler returned while a statement was still running: an await is missing';

/** A transaction that a swallowed failure had aborted before we kept track of it. */
const ABORTED: DatabaseFailure = {
  kind: 'rejected',
  sqlstate: '25P02',
  message: 'the transaction had been aborted',
};

/** Why TLS failed is a sentence: nobody finds out by trying again. */
function connectFailed(
  code: string,
  { name, host, port }: Endpoint,
  error: ForeignError,
): DatabaseFailure {
  const words = tlsInWords(code) ?? plainRefusalInWords(error);
  const why = words === undefined ? {} : { why: `${name} at ${host}:${port}: ${words}` };
  return { kind: 'connect-failed', code, ...why };
}

/** Command tags after which the session is as it was, in a transaction or out of one. */
const LEAVES_NO_TRACE = new Set([
  'SELECT',
  'INSERT',
  'UPDATE',
  'DELETE',
  'MERGE',
  'SHOW',
  'EXPLAIN',
  'VALUES',
  'TRUNCATE TABLE',
  // A procedure can change settings no more than a function in a SELECT can.
  'CALL',
]);
/** ... and those whose effect on the session ends with the transaction. */
const ENDS_WITH_TRANSACTION = new Set(['SAVEPOINT', 'RELEASE', 'LOCK TABLE', 'SET CONSTRAINTS']);
const SET_LOCAL = /^\s*set\s+(local|transaction)\b/i;
const ROLLBACK_TO = /^\s*rollback\s+((work|transaction)\s+)?to\b/i;
const TRANSACTION_CONTROL =
  /^\s*(begin|start\s+transaction|commit|end|abort|prepare\s+transaction|rollback(?!\s+((work|transaction)\s+)?to\b))\b/i;

const SAVEPOINT = fixed`savepoint domicile_part`;
/** Holds for the part only: PostgreSQL gives the outer level its own state back. */
const READ_ONLY = fixed`set transaction read only`;
const RELEASE = fixed`release savepoint domicile_part`;
const ROLLBACK_TO_SAVEPOINT = fixed`rollback to savepoint domicile_part`;
const COMMIT = fixed`commit`;
const ROLLBACK = fixed`rollback`;
const BEGIN = fixed`begin`;
const BEGIN_READ_ONLY = fixed`begin read only`;
const BEGIN_AT = {
  'read committed': [
    fixed`begin isolation level read committed`,
    fixed`begin isolation level read committed read only`,
  ],
  'repeatable read': [
    fixed`begin isolation level repeatable read`,
    fixed`begin isolation level repeatable read read only`,
  ],
  serializable: [
    fixed`begin isolation level serializable`,
    fixed`begin isolation level serializable read only`,
  ],
} as const;

function fixed(strings: TemplateStringsArray): TemplateStringsArray {
  return strings;
}

function beginning({ isolation, readOnly }: TransactionOptions<unknown>): TemplateStringsArray {
  if (isolation === undefined) return readOnly ? BEGIN_READ_ONLY : BEGIN;
  return BEGIN_AT[isolation][readOnly ? 1 : 0];
}

function isTemplate(value: unknown): value is TemplateStringsArray {
  return Array.isArray(value) && 'raw' in value;
}

/** What the driver would trip over half-way, with other statements already behind it. */
function checked(value: unknown, driver: Slot['driver']): unknown {
  if (value === undefined) throw new DatabaseMisuse('a parameter is undefined; null means NULL');
  if (Array.isArray(value)) {
    const type = arrayTypeOf(value);
    return type === 0 ? value : driver.typed(value, type);
  }
  if (value instanceof Date && Number.isNaN(value.getTime())) {
    throw new DatabaseMisuse('a parameter is an invalid Date');
  }
  return value;
}

function refuseUndefined(first: unknown, rest: readonly unknown[]): void {
  for (const row of Array.isArray(first) ? first : [first]) {
    const missing =
      typeof row === 'object' && row !== null
        ? (rest.length > 0 ? rest.flat() : Object.keys(row)).some(
            (column) => (row as Record<string, unknown>)[column as string] === undefined,
          )
        : row === undefined;
    if (missing) throw new DatabaseMisuse('a value is undefined; null means NULL');
  }
}

/**
 * After a statement that failed half-way through its rows the driver numbers the next one's from
 * there (porsager/postgres#1120), so that result starts with holes.
 */
function dropStaleRows(result: DriverResult): void {
  const from = result.findIndex((row) => row !== undefined);
  result.splice(0, from < 0 ? result.length : from);
}

function cannotEncode(error: ForeignError): boolean {
  return (
    error instanceof TypeError ||
    error instanceof RangeError ||
    error.code === 'UNDEFINED_VALUE' ||
    error.code === 'MAX_PARAMETERS_EXCEEDED' ||
    error.code === 'NOT_TAGGED_CALL'
  );
}

/**
 * Runs a script of several statements as one transaction on a connection of its own: migrations
 * and the like, by a superuser. Rejects with a DatabaseError; what a deadline cut off, the server
 * rolls back.
 */
export async function runScript(endpoint: Endpoint, script: string, limits: Limits): Promise<void> {
  const { tls, serverName = endpoint.host } = endpoint;
  prepareTls(tls);
  const ended = Promise.withResolvers<void>();
  const driver = postgres({
    ...ALWAYS,
    host: endpoint.host,
    port: endpoint.port,
    database: endpoint.database,
    user: endpoint.user,
    password: () => endpoint.password,
    connect_timeout: limits.timeoutMs / 1000,
    connection: { application_name: 'domicile script', statement_timeout: limits.timeoutMs },
    // Not in the driver's types.
    ...(isEncrypting(tls) && {
      socket: () => {
        const socket = net.connect({ host: endpoint.host, port: endpoint.port, noDelay: true });
        ended.promise.then(() => socket.destroy());
        return startTls(socket, serverName, tls);
      },
    }),
  });
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new DatabaseError({ kind: 'deadline' })), limits.timeoutMs);
  try {
    await Promise.race([late, driver.unsafe(script).simple()]);
  } catch (error) {
    if (error instanceof DatabaseError) throw error;
    const foreign = error as ForeignError;
    const answered = foreign.name === 'PostgresError';
    throw new DatabaseError(answered ? rejection(foreign) : lostOrNever(codeOf(foreign), endpoint));
  } finally {
    clearTimeout(timer);
    await driver.end({ timeout: 0 }).catch(ignore);
    ended.resolve();
  }
}

/** Only what is wrong with TLS is known to have come before the script. */
function lostOrNever(code: string, endpoint: Endpoint): DatabaseFailure {
  return tlsInWords(code) === undefined
    ? { kind: 'connection-lost', code }
    : connectFailed(code, endpoint, {});
}
