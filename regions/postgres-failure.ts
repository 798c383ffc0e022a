/**
 * What may be said about a database call that went wrong?
 *
 * Enough to decide whether a retry is safe, and nothing that a log must not hold. Postgres repeats
 * values in its messages (`invalid input syntax for type integer: "..."`), so only messages known
 * to name nothing but the schema pass; the SQLSTATE says the rest.
 */

export type DatabaseFailure =
  // Nothing was sent.
  /** So many wait that one more would stand there for this long. */
  | { kind: 'pool-full'; waitMs: number }
  | { kind: 'pool-closed'; why: string }
  | { kind: 'acquire-timeout' }
  /** `why` names the node and what is wrong with its TLS; nothing else needs so many words. */
  | { kind: 'connect-failed'; code: string; why?: string }
  // Something may have been executed.
  | { kind: 'deadline' }
  | { kind: 'connection-lost'; code: string }
  /** The driver could not turn a parameter into text. The connection went with it. */
  | { kind: 'unencodable'; code: string }
  // Postgres said no.
  | {
      kind: 'rejected';
      sqlstate: string;
      message: string;
      constraint?: string;
      table?: string;
      column?: string;
      /** Of a script that was run: the character it was at, counted from 1. */
      position?: number;
    };

/** What only the world can do to a call. A handler's own bug is a DatabaseMisuse instead. */
export class DatabaseError extends Error {
  override readonly name = 'DatabaseError';
  readonly failure: DatabaseFailure;

  /** Whoever works with many servers says which one it was. */
  readonly server: string | undefined;

  constructor(failure: DatabaseFailure, server?: string) {
    super(server === undefined ? sentence(failure) : `${server}: ${sentence(failure)}`);
    this.server = server;
    this.failure = failure;
  }
}

/** A bug in the code that was handed `sql`: never caught to carry on. */
export class DatabaseMisuse extends Error {
  override readonly name = 'DatabaseMisuse';
}

/** True when repeating the call cannot repeat an effect. A new kind is not retryable by default. */
export function nothingWasSent({ kind }: DatabaseFailure): boolean {
  return (
    kind === 'pool-full' ||
    kind === 'pool-closed' ||
    kind === 'acquire-timeout' ||
    kind === 'connect-failed'
  );
}

/** The fields of a driver's or the system's error that we look at. */
export type ForeignError = {
  name?: unknown;
  message?: unknown;
  code?: unknown;
  routine?: unknown;
  constraint_name?: unknown;
  table_name?: unknown;
  column_name?: unknown;
  position?: unknown;
};

export function rejection(error: ForeignError): DatabaseFailure & { kind: 'rejected' } {
  return {
    kind: 'rejected',
    sqlstate: codeOf(error),
    message: safeMessage(error),
    ...(typeof error.constraint_name === 'string' && { constraint: error.constraint_name }),
    ...(typeof error.table_name === 'string' && { table: error.table_name }),
    ...(typeof error.column_name === 'string' && { column: error.column_name }),
    ...positionOf(error),
  };
}

/** Where in its statement Postgres saw the mistake, if it says. */
function positionOf({ position }: ForeignError): { position?: number } {
  const at = Number(position);
  return Number.isSafeInteger(at) && at > 0 ? { position: at } : {};
}

/** ECONNRESET, 57P01, TypeError: a short word, and never a sentence that could quote a value. */
export function codeOf(error: ForeignError): string {
  if (typeof error?.code === 'string' && error.code !== '') return error.code;
  return typeof error?.name === 'string' ? error.name : 'UNKNOWN';
}

/** Classes whose messages name tables, columns, constraints and states, and no value. */
const NAMES_ONLY = new Set('08 0A 23 25 28 2B 2D 34 3B 3D 3F 40 42 53 54 55 57 58'.split(' '));
/** Classes whose messages quote the offending value, always between the outermost quotes. */
const QUOTES_VALUES = new Set(['22']);

export function safeMessage(error: ForeignError): string {
  const sqlstate = codeOf(error);
  // RAISE lends any SQLSTATE to any text, so what a function says of itself never passes.
  if (error.routine === 'exec_stmt_raise') return `raised by a function with SQLSTATE ${sqlstate}`;
  const message = typeof error.message === 'string' ? error.message : '';
  // A syntax error quotes the statement.
  if (QUOTES_VALUES.has(sqlstate.slice(0, 2)) || sqlstate === '42601') {
    return message.replace(/".*"/s, '"…"');
  }
  return NAMES_ONLY.has(sqlstate.slice(0, 2)) ? message : `SQLSTATE ${sqlstate}`;
}

/** Classes in which Postgres refuses a COMMIT before it writes the commit record. */
const REFUSED_BEFORE_COMMIT = new Set('22 23 25 40 42 44 55 P0'.split(' '));

/**
 * True when an error in answer to COMMIT proves that nothing was committed. 40003 is Postgres
 * itself saying "completion unknown"; an operator's intervention (57) can arrive at any moment.
 */
export function provesRollback(sqlstate: string): boolean {
  return sqlstate !== '40003' && REFUSED_BEFORE_COMMIT.has(sqlstate.slice(0, 2));
}

function sentence(failure: DatabaseFailure): string {
  switch (failure.kind) {
    case 'pool-full':
      return `too many callers wait for a connection: ${Math.round(failure.waitMs)} ms`;
    case 'pool-closed':
      return `the pool is closed: ${failure.why}`;
    case 'acquire-timeout':
      return 'no connection came free in time';
    case 'connect-failed':
      return `could not connect (${failure.code})${failure.why === undefined ? '' : `: ${failure.why}`}`;
    case 'deadline':
      return 'the deadline passed';
    case 'connection-lost':
      return `the connection was lost (${failure.code})`;
    case 'unencodable':
      return `a parameter could not be encoded (${failure.code})`;
    case 'rejected':
      return `rejected (${failure.sqlstate}): ${failure.message}`;
  }
}
