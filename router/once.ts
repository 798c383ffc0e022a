/**
 * How is a request with an idempotency key done once, however often it arrives?
 *
 * Everything it does at its home is one transaction: its handler's writes and reads, and the answer
 * that is kept. So there are its effects and its answer, or neither; a retry finds the answer, and
 * it does not matter which edge it meets or what ended in between. Nobody hears the answer before
 * the commit was acknowledged. docs/decisions/0018 says what that costs and what was turned down.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Context } from 'hono';
import { floorOf, seenAtHome } from '../policies/session.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { DatabaseError, type Part, type Sql } from '../regions/postgres.ts';
import type { Domicile } from './domicile.ts';
import type { Edge } from './edge.ts';
import { witnessOf } from './handler-data.ts';
import { type Failure, Refusal } from './problem.ts';
import { failureOf } from './region-database.ts';
import type { Visit } from './visit.ts';

type Ctx = Context<Domicile>;

/** A request that is to be done once, as the database knows it. */
export type Keyed = { key: Buffer; request: Buffer };

/** What became of a transaction that a handler's data was part of. */
export type Ending = 'applied' | 'not-applied' | 'unknown';

export const REPLAYED_HEADER = 'idempotency-replayed';

type Answer = { status: number; fields: [string, string][]; body: Uint8Array };
type Found = {
  found: 'nothing' | 'in-flight' | 'other-request' | 'answer';
  status: number;
  fields: [string, string][];
  body: Uint8Array;
  resident: boolean;
};

export type Replay = {
  response: Response;
  /** Whether the subject of the request is at home here by now. */
  resident: boolean;
};

/** Ends a transaction that is not to be kept; no client sees it. */
class NotKept extends Error {}

/**
 * Runs the handler, or answers what it answered before. The response is the context's, as after any
 * middleware.
 */
export async function answerOnce(
  edge: Edge,
  c: Ctx,
  visit: Visit,
  keyed: Keyed,
  handle: () => Promise<unknown>,
): Promise<void> {
  let shared: SharedTransaction | undefined;
  let answer: Answer | undefined;
  let ending: Ending = 'not-applied';
  const witness = witnessOf(edge, visit);
  try {
    const response = await edge.database.write(
      visit,
      floorOf(visit.session, edge.here),
      async (sql, part) => {
        const replay = await findAnswer(sql, keyed, visit);
        if (replay !== undefined) return replay.response;
        shared = new SharedTransaction(part, edge.here);
        visit.shared = shared;
        await handle();
        if (!isKept(c, visit)) throw new NotKept();
        answer = await answerOf(c.res, edge.limits.bodyBytesMax);
        return responseOf(answer);
      },
      witness,
      (sql) => answer && storeAnswer(sql, keyed, visit, answer),
    );
    visit.session = seenAtHome(visit.session, edge.here);
    ending = 'applied';
    // Without this, Hono would add the handler's header fields to those that were kept.
    c.res = undefined;
    c.res = response;
  } catch (error) {
    if (error instanceof NotKept) return;
    if (error instanceof Refusal && error.failure.kind === 'write-outcome-unknown') {
      ending = 'unknown';
    }
    // What the handler has answered is not true, or not known to be.
    c.res = undefined;
    throw error;
  } finally {
    shared?.end(ending);
  }
}

/** The answer to this request, if it was answered before. @throws Refusal */
export async function answerBefore(
  edge: Edge,
  visit: Visit,
  keyed: Keyed,
): Promise<Replay | undefined> {
  try {
    const replay = await edge.database.write(
      visit,
      floorOf(visit.session, edge.here),
      async (sql) => {
        const replay = await findAnswer(sql, keyed, visit);
        if (replay === undefined) throw new NotKept();
        return replay;
      },
      witnessOf(edge, visit),
    );
    visit.session = seenAtHome(visit.session, edge.here);
    return replay;
  } catch (error) {
    if (error instanceof NotKept) return undefined;
    throw error;
  }
}

/**
 * One transaction for everything that a handler does with its data, one thing after the other. What
 * fails takes back its own part only, so a handler that catches the error finds what it would find
 * without a key.
 */
export class SharedTransaction {
  #part: Part;
  #here: RegionId;
  #last: Turn = { last: Promise.resolve() };
  /** Set while work of the handler runs, which may ask for more: that cannot wait for itself. */
  #inside = new AsyncLocalStorage<Turn>();
  #afterwards: ((ending: Ending) => void)[] = [];

  constructor(part: Part, here: RegionId) {
    this.#part = part;
    this.#here = here;
  }

  read<T>(query: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#take(query, true);
  }

  write<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    return this.#take(work, false);
  }

  /** Calls back when it is known what became of the transaction. */
  afterwards(then: (ending: Ending) => void): void {
    this.#afterwards.push(then);
  }

  end(ending: Ending): void {
    for (const then of this.#afterwards.splice(0)) then(ending);
  }

  #take<T>(work: (sql: Sql) => Promise<T>, readOnly: boolean): Promise<T> {
    const line = this.#inside.getStore() ?? this.#last;
    const inner: Turn = { last: Promise.resolve() };
    const turn = line.last.then(() =>
      this.#part((sql) => this.#inside.run(inner, () => work(sql)), { readOnly }),
    );
    line.last = turn.catch(ignore);
    return turn.catch((error: unknown) => {
      if (!(error instanceof DatabaseError)) throw error;
      const where = { kind: 'edge', region: this.#here } as const;
      throw new Refusal(failureOf(error.failure, 'write', where));
    });
  }
}

/** A line of those who want to do something with the transaction. */
type Turn = { last: Promise<unknown> };

/** @throws Refusal when it cannot be answered and must not be done */
async function findAnswer(
  sql: Sql,
  { key, request }: Keyed,
  { policy }: Visit,
): Promise<Replay | undefined> {
  const { retentionMs } = policy.policy.idempotency;
  const [row] = await sql<Found[]>`
    select found, status, fields, body, resident
    from domicile.find_answer(${key}, ${request}, ${retentionMs})`;
  if (row === undefined) throw new Error('a function that returned no row');
  switch (row.found) {
    case 'nothing':
      return undefined;
    case 'in-flight':
      throw new Refusal({ kind: 'idempotency-key-in-flight' });
    case 'other-request':
      throw new Refusal({ kind: 'idempotency-key-reused', home: undefined });
    case 'answer': {
      const response = responseOf(row);
      response.headers.set(REPLAYED_HEADER, 'true');
      return { response, resident: row.resident };
    }
  }
}

function storeAnswer(
  sql: Sql,
  { key, request }: Keyed,
  { policy }: Visit,
  { status, fields, body }: Answer,
) {
  const { retentionMs } = policy.policy.idempotency;
  return sql`
    select domicile.store_answer(
      ${key}, ${request}, ${retentionMs}, ${status}, ${sql.json(fields)}, ${body})`;
}

/** What the app could not do, it may be asked again; so may what no handler has answered. */
function isKept(c: Ctx, visit: Visit): boolean {
  return c.error === undefined && c.res.status < 500 && visit.decision.kind !== 'refuse';
}

/** Fields of one connection or one moment, and those that the edge writes on every answer. */
const NOT_KEPT =
  /^(connection|keep-alive|transfer-encoding|upgrade|trailer|date|content-length|server-timing|domicile-.*)$/;

/** @throws Refusal `answer-too-large` */
async function answerOf(response: Response, bytesMax: number): Promise<Answer> {
  const fields: [string, string][] = [];
  response.headers.forEach((value, name) => {
    if (!NOT_KEPT.test(name)) fields.push([name, value]);
  });
  const parts: Uint8Array[] = [];
  let bytes = fields.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  const reader = response.body?.getReader();
  for (;;) {
    if (bytes > bytesMax) {
      await reader?.cancel();
      const failure: Failure = { kind: 'answer-too-large', bytesMax };
      throw new Refusal(failure);
    }
    const read = await reader?.read();
    if (read === undefined || read.done) break;
    parts.push(read.value);
    bytes += read.value.byteLength;
  }
  return { status: response.status, fields, body: Buffer.concat(parts) };
}

/** Statuses that have no body, not even an empty one (RFC 9110). */
const BODILESS: ReadonlySet<number> = new Set([204, 205, 304]);

function responseOf({ status, fields, body }: Answer): Response {
  const headers = new Headers();
  for (const [name, value] of fields) headers.append(name, value);
  // `undici` counts on bytes of an ArrayBuffer of their own.
  return new Response(BODILESS.has(status) ? null : new Uint8Array(body), { status, headers });
}

function ignore(): void {}
