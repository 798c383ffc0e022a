/**
 * What did clients ask, and what were they told?
 *
 * The only thing that judges read. Every operation belongs to one subject and was sent by one client,
 * who waited for its end before the next. All times are milliseconds of one monotonic clock since the
 * run began, taken in one process: `invokedAtMs` before the first byte left, `endedAtMs` after the last
 * one came. An operation without an answer may still take effect at any later time.
 */

/** A number that no other write of the run carries. */
export type Value = number;

/** One step of a transaction over the lists of a subject. */
export type ListStep = { do: 'append'; list: string; value: Value } | { do: 'read'; list: string };

export type Action =
  /** All steps in one transaction, in this order. One without an append is a read. */
  | { kind: 'lists'; steps: readonly ListStep[] }
  | { kind: 'register-read'; register: string }
  | { kind: 'register-write'; register: string; value: Value }
  /** Writes `value` if the register holds `expected` (undefined: has never been written). */
  | { kind: 'register-swap'; register: string; expected: Value | undefined; value: Value }
  /** Takes from the stock and notes an order, in one transaction; `value` names the order. */
  | { kind: 'order'; product: string; quantity: number; value: Value }
  | { kind: 'stock-read'; product: string }
  /** The subject's public notice, read from the nearest copy that policy allows. */
  | { kind: 'notice-read' }
  | { kind: 'notice-write'; value: Value }
  /** The subject itself. */
  | { kind: 'create'; country: string };

/** What an operation that was done has shown. */
export type Shown =
  /** For each step: what the list held after it, for a read; undefined for an append. */
  | { kind: 'lists'; lists: readonly (readonly Value[] | undefined)[] }
  /** Undefined: never written. For a swap, what the register held before it. */
  | { kind: 'register'; value: Value | undefined }
  /** A swap or order that was done and changed nothing, because the state did not allow it. */
  | { kind: 'unchanged'; because: 'not-equal' | 'out-of-stock'; found: Value | undefined }
  | { kind: 'stock'; left: number; ordered: readonly { value: Value; quantity: number }[] }
  | { kind: 'nothing' };

/**
 * - `ok`: acknowledged; it was done, exactly once.
 * - `fail`: told that it was not done, and never will be.
 * - `unknown`: no answer, or one that says so; it may be done, now or later, or not.
 */
export type Outcome =
  | { kind: 'ok'; shown: Shown }
  | { kind: 'fail'; because: string }
  | { kind: 'unknown'; because: string };

export type Level = 'session' | 'strong' | 'bounded' | 'eventual';

/** What the answer said of itself; for reports, and for judges that hold it to its word. */
export type Told = {
  status: number;
  servedBy?: string;
  /** `Domicile-Decision`, as it came. */
  decision?: string;
  /** The level that was kept. */
  consistency?: string;
  stalenessMs?: number;
  durability?: string;
  policy?: string;
  replayed?: boolean;
  /** The kind of a problem, such as `residency-unavailable`. */
  problem?: string;
};

export type Operation = {
  /** Its place in the history, from 0, in order of invocation. */
  id: number;
  /** The client; it has one operation under way at a time. */
  client: number;
  /** The session that it was sent with; a client may begin a new one, and two may share one. */
  session: number;
  subject: string;
  /** Where the policy says that the subject is at home. */
  home: string;
  /** The region of the edge that was asked first. */
  edge: string;
  action: Action;
  level: Level;
  /** For `bounded`: the bound that was asked for. */
  maxStalenessMs?: number;
  /** Sent under an idempotency key, and repeated under it until it was answered. */
  keyed: boolean;
  /** How often it was sent; more than once only with a key, or for reads. */
  attempts: number;
  invokedAtMs: number;
  /** Of an operation that never ended: when the run did. */
  endedAtMs: number;
  outcome: Outcome;
  told?: Told;
  /**
   * The answer said that the region lost what this session had seen (`session-guarantee-lost`): what
   * it saw before is no floor of what it sees after.
   */
  guaranteeLost?: boolean;
  /** The regions of the edges that further attempts went to, in order. */
  retriedAt?: readonly string[];
};

/** What every subject holds when all faults are healed, read with `strong` from its home. */
export type Settled = {
  subject: string;
  lists: Readonly<Record<string, readonly Value[]>>;
  registers: Readonly<Record<string, Value>>;
  stock: Readonly<
    Record<string, { left: number; ordered: readonly { value: Value; quantity: number }[] }>
  >;
  notice: Value | undefined;
  /** The home answered that there is no such subject: then nothing of it is there. */
  absent?: boolean;
};

/** What an operator has accepted to lose: acknowledged writes of this home may be missing. */
export type AcceptedLoss = {
  home: string;
  atMs: number;
  by: string;
  /** When the server that lacks them had taken over; without it, at once. */
  doneAtMs?: number;
};

export type History = {
  operations: readonly Operation[];
  /** Undefined for a subject that could not be read at the end. */
  settled: readonly Settled[];
  acceptedLosses: readonly AcceptedLoss[];
};
