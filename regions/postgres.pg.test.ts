import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { certificateFiles, makeAuthority, makeCertificate } from './certificates-for-tests.ts';
import {
  DatabaseError,
  type DatabaseFailure,
  DatabaseMisuse,
  LeasePool,
  type Part,
  type PoolOptions,
  type Sql,
  verbatim,
} from './postgres.ts';
import { startPostgres, startWire, type TestServer, type Wire } from './postgres-for-test.ts';

/** Ample: only tests about deadlines wait for one. */
const LIMITS = { timeoutMs: 10_000 };
/** What a deadline may be late by on a busy machine. */
const SLACK_MS = 500;

let server: TestServer;
let wire: Wire;
/** A pool of our own to look at the server and to hurt it with. */
let admin: LeasePool;
const opened: LeasePool[] = [];
const uncaught: unknown[] = [];
const note = (error: unknown) => uncaught.push(error);

beforeAll(async () => {
  process.on('unhandledRejection', note).on('uncaughtException', note);
  server = await startPostgres({ max_connections: '60', autovacuum: 'off' });
  // Its own commits never wait for a standby.
  const settings = { ...named('admin'), synchronous_commit: 'local' };
  admin = new LeasePool({ ...options(), endpoint: server.endpoint, settings });
  await look((sql) => sql`create table notes (id int primary key, text text)`);
  await look((sql) => sql`create table refs (note int references notes deferrable)`);
});

beforeEach(async () => {
  wire = await startWire(server.endpoint);
});

afterEach(async () => {
  await Promise.all(opened.splice(0).map((pool) => pool.close({ timeoutMs: 1_000 })));
  await wire.close();
  // What a deadline left running on the server is no business of the next test.
  await killVictims();
  await look((sql) => sql`truncate notes, refs`);
  expect(uncaught.splice(0)).toEqual([]);
});

afterAll(async () => {
  await admin?.close({ timeoutMs: 1_000 });
  await server?.stop();
  process.off('unhandledRejection', note).off('uncaughtException', note);
});

function options(): PoolOptions {
  return {
    ...{ endpoint: wire?.endpoint ?? server.endpoint, settings: named('victim') },
    ...{ connectionsMax: 1, waitersMax: 100, connectTimeoutMs: 1_000 },
  };
}

function named(application_name: string): Record<string, string> {
  return { application_name };
}

function open(given: Partial<PoolOptions> = {}): LeasePool {
  const pool = new LeasePool({ ...options(), ...given });
  opened.push(pool);
  return pool;
}

/** With a connection, so that a short deadline is not used up by dialling. */
async function warm(given: Partial<PoolOptions> = {}): Promise<LeasePool> {
  const pool = open(given);
  await pool.run((sql) => sql`select 1`, LIMITS);
  return pool;
}

function look<T>(fn: (sql: Sql) => Promise<T>): Promise<T> {
  return admin.run(fn, LIMITS);
}

async function failureOf(promise: Promise<unknown>): Promise<DatabaseFailure> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof DatabaseError)) throw new Error('no DatabaseError', { cause: error });
  return error.failure;
}

async function notes(): Promise<number[]> {
  const rows = await look((sql) => sql<{ id: number }[]>`select id from notes order by id`);
  return rows.map(({ id }) => id);
}

async function victims(): Promise<number> {
  const rows = await look(
    (sql) => sql`select from pg_stat_activity where application_name = 'victim'`,
  );
  return rows.length;
}

async function runs(query: string): Promise<boolean> {
  const rows = await look(
    (sql) => sql`select from pg_stat_activity where state = 'active' and query = ${query}`,
  );
  return rows.length > 0;
}

/** Ends every session of the pools under test, as an operator or a crash would. */
async function killVictims(): Promise<void> {
  await look(
    (sql) => sql`
      select pg_terminate_backend(pid, 5000) from pg_stat_activity
      where application_name = 'victim'`,
  );
}

function backend(sql: Sql): Promise<number> {
  return sql<{ pid: number }[]>`select pg_backend_pid() as pid`.then(([row]) => row?.pid ?? 0);
}

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitUntil(condition, { timeout: 10_000, interval: 10 });
}

async function elapsedMs(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

const never = () => new Promise<never>(() => {});

describe('what handlers write', () => {
  test('fragments, identifiers and lists become one statement', async () => {
    const pool = open();
    const rows = await pool.run(async (sql) => {
      await sql`insert into notes ${sql([
        { id: 1, text: 'a' },
        { id: 2, text: 'b' },
        { id: 3, text: 'b' },
      ])}`;
      const named = sql`text = ${'b'}`;
      return sql`
        select ${sql('id')} from notes
        where ${named} ${sql`and id in ${sql([1, 2])}`} and id = any(${[2, 3]})`;
    }, LIMITS);
    expect(rows).toEqual([{ id: 2 }]);
    expect(rows.count).toBe(1);
    await pool.run(
      (sql) => sql`update notes set ${sql({ text: 'c' }, 'text')} where id = 1`,
      LIMITS,
    );
    const values = await pool.run((sql) => sql`select * from notes where id = 1`.values(), LIMITS);
    expect(values).toEqual([[1, 'c']]);
  });

  test('a statement that is never awaited is never sent', async () => {
    await open().run(async (sql) => {
      sql`insert into notes values (1)`;
    }, LIMITS);
    expect(await notes()).toEqual([]);
  });

  test('results keep every digit: int8 and numeric are text, smaller numbers are numbers', async () => {
    const [row] = await open().run(
      (sql) => sql`
        select 9007199254740993::int8 as int8, 1.10::numeric as numeric, 7::int4 as int4,
               1.5::float8 as float8, count(*) as count, '10/0'::pg_lsn as lsn from notes`,
      LIMITS,
    );
    expect(row).toEqual({
      ...{ int8: '9007199254740993', numeric: '1.10', int4: 7 },
      ...{ float8: 1.5, count: '0', lsn: '10/0' },
    });
  });

  test('timestamptz is a Date, infinity stays text, and date and timestamp have no zone', async () => {
    const at = new Date('2026-03-29T01:30:00.123Z');
    const [row] = await open({ settings: { ...named('victim'), TimeZone: 'Asia/Kolkata' } }).run(
      (sql) => sql`
        select ${at}::timestamptz as at, 'infinity'::timestamptz as never,
               '2026-03-29'::date as date, '2026-03-29 02:30'::timestamp as wall,
               ${'2026-01-01 00:00:00.000001+00'}::timestamptz
                 - '2026-01-01 00:00:00+00'::timestamptz = '1 us' as exact`,
      LIMITS,
    );
    expect(row).toEqual({
      ...{ at, never: 'infinity', date: '2026-03-29' },
      ...{ wall: '2026-03-29 02:30:00', exact: true },
    });
  });

  test('jsonb takes objects, and arrays through sql.json', async () => {
    const [row] = await open().run(
      (sql) => sql`select ${sql.json([true, { a: 'ü' }])} as a, ${sql.json('x')}::jsonb as b`,
      LIMITS,
    );
    expect(row).toEqual({ a: [true, { a: 'ü' }], b: 'x' });
  });

  test('arrays cross in both directions, element types and NULLs included', async () => {
    const at = new Date(0);
    const [row] = await open().run(
      (sql) => sql`
        select ${[1, null, 3]}::int[] as ints, ${['a"\\', '', 'NULL', null]}::text[] as texts,
               ${[true, false]}::bool[] as bools, ${[1n << 60n]}::int8[] as int8s,
               ${[at]}::timestamptz[] as ats, ${[[1], [2]]}::int[] as deep,
               ${sql.array(['1.10'], 1700)} as numerics, ${[]}::int[] as none,
               ${sql.array([{ a: [1] }], 3802)} as jsons`,
      LIMITS,
    );
    expect(row).toEqual({
      ...{ ints: [1, null, 3], texts: ['a"\\', '', 'NULL', null] },
      ...{ bools: [true, false], int8s: ['1152921504606846976'], ats: [at] },
      ...{ deep: [[1], [2]], numerics: ['1.10'], none: [], jsons: [{ a: [1] }] },
    });
  });

  test('undefined and invalid dates are refused before anything is sent, at any depth', async () => {
    const pool = open();
    const wrong: ((sql: Sql) => Promise<unknown>)[] = [
      (sql) => sql`select ${undefined as unknown as string}`,
      (sql) => sql`select 1 where ${sql`true = ${undefined as unknown as boolean}`}`,
      (sql) => sql`insert into notes ${sql({ id: 1, text: undefined })}`,
      (sql) => sql`insert into notes ${sql({ id: 1 }, 'id', 'text')}`,
      (sql) => sql`select 1 where 1 in ${sql([1, undefined])}`,
      (sql) => sql`select ${new Date(Number.NaN)}`,
    ];
    for (const fn of wrong) await expect(pool.run(fn, LIMITS)).rejects.toThrow(DatabaseMisuse);
    expect(wire.opened()).toBe(0);
  });

  test('a parameter that cannot be encoded fails by name and costs the connection', async () => {
    const pool = open();
    const circular: Record<string, unknown> = {};
    circular.self = circular;
    const failure = failureOf(
      pool.run((sql) => sql`select ${sql.json(circular as never)}`, LIMITS),
    );
    expect(await failure).toEqual({ kind: 'unencodable', code: 'TypeError' });
    expect(pool.stats().discarded).toBe(1);
  });

  test('one that fails behind others cannot shift their answers to the next lease', async () => {
    const pool = open();
    const attempts = [
      (sql: Sql) => sql`select ${Symbol('fails once its type is known') as never}`,
      (sql: Sql) => sql`select ${sql(null as never)} as fails_before_it_is_written`,
    ];
    for (const bad of attempts) {
      const three = await pool.run(
        (sql) =>
          Promise.allSettled([sql`select pg_sleep(0.05)`, bad(sql), sql`select 'mine' as x`]),
        LIMITS,
      );
      expect(three.slice(1).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
      expect(await pool.run((sql) => sql`select 'next' as x`, LIMITS)).toEqual([{ x: 'next' }]);
    }
    expect(pool.stats().discarded).toBe(2);
  });

  test('several statements in one string, cursors and cancels are not offered', async () => {
    const pool = open();
    type Unoffered = Record<'simple' | 'cursor' | 'readable' | 'cancel', () => unknown>;
    await pool.run(async (sql) => {
      const statement = sql`select pg_sleep(0.05)` as unknown as Unoffered & Promise<unknown>;
      for (const name of ['simple', 'cursor', 'readable'] as const) {
        expect(() => statement[name]()).toThrow(DatabaseMisuse);
      }
      const running = statement.then(() => 'ran on');
      statement.cancel();
      expect(await running).toBe('ran on');
    }, LIMITS);
    expect(wire.opened()).toBe(1);
  });

  test('settings reach the server, zero and off included', async () => {
    const settings = { ...named('victim'), statement_timeout: '0', lock_timeout: '1234' };
    const pool = open({
      settings: { ...settings, default_transaction_read_only: 'on', jit: 'off' },
    });
    const [row] = await pool.run(
      (sql) => sql`
        select current_setting('lock_timeout') as lock, current_setting('jit') as jit,
               current_setting('default_transaction_read_only') as ro,
               current_setting('statement_timeout') as statement`,
      LIMITS,
    );
    expect(row).toEqual({ lock: '1234ms', jit: 'off', ro: 'on', statement: '0' });
    expect(await failureOf(pool.run((sql) => sql`insert into notes values (1)`, LIMITS))).toEqual(
      expect.objectContaining({ kind: 'rejected', sqlstate: '25006' }),
    );
  });
});

describe('what an error says', () => {
  test('neither SQL, parameters nor credentials are anywhere in it', async () => {
    const pool = open();
    const errors = await Promise.all([
      pool.run((sql) => sql`select ${'a-parameter'}::text::int as a_statement`, LIMITS).catch(same),
      pool.run((sql) => sql`insert into notes values (${1}), (1)`, LIMITS).catch(same),
      pool.run((sql) => sql`select pg_sleep(${5})`, { timeoutMs: 50 }).catch(same),
      open({ endpoint: { ...wire.endpoint, user: 'nobody' } })
        .run((sql) => sql`select ${'a-parameter'}`, LIMITS)
        .catch(same),
    ]);
    for (const error of errors) {
      expect(error).toBeInstanceOf(DatabaseError);
      const shown = inspect(error, { depth: 20, showHidden: true }) + JSON.stringify(error);
      expect(shown).not.toMatch(/a-parameter|a_statement|a-password|insert into|pg_sleep/);
    }
  });

  test('Postgres saying no carries its SQLSTATE and the names it gives', async () => {
    const twice = open().run((sql) => sql`insert into notes values (1), (1)`, LIMITS);
    expect(await failureOf(twice)).toEqual({
      ...{ kind: 'rejected', sqlstate: '23505', constraint: 'notes_pkey', table: 'notes' },
      message: 'duplicate key value violates unique constraint "notes_pkey"',
    });
  });

  test('what the handler throws comes back as it is, and the connection stays', async () => {
    const pool = open();
    const own = new Error('mine');
    const throwing = pool.run(async (sql) => {
      await sql`select 1`;
      throw own;
    }, LIMITS);
    await expect(throwing).rejects.toBe(own);
    await expect(
      pool.run(() => {
        throw own;
      }, LIMITS),
    ).rejects.toBe(own);
    expect(pool.stats()).toMatchObject({ idle: 1, opened: 1, discarded: 0 });
  });
});

describe('getting a connection', () => {
  test('callers beyond the line are refused at once, those in it are served in order', async () => {
    const pool = open({ waitersMax: 2 });
    const order: number[] = [];
    const served = [1, 2, 3].map((n) =>
      pool.run(async (sql) => {
        await sql`select pg_sleep(0.02)`;
        order.push(n);
      }, LIMITS),
    );
    expect(pool.stats()).toMatchObject({ leased: 1, waiting: 2 });
    expect(await failureOf(pool.run((sql) => sql`select 1`, LIMITS))).toEqual({
      kind: 'pool-full',
      waitMs: expect.any(Number),
    });
    await Promise.all(served);
    expect(order).toEqual([1, 2, 3]);
    expect(pool.stats()).toMatchObject({ open: 1, idle: 1, waiting: 0, opened: 1 });
  });

  test('who would not be served in time is refused at once, and told how long it would have been', async () => {
    const pool = open();
    for (let n = 0; n < 3; n++) await pool.run((sql) => sql`select pg_sleep(0.1)`, LIMITS);
    expect(pool.stats()).toMatchObject({ refused: 0, waitMs: 0 });
    const served = Array.from({ length: 5 }, () =>
      // They take longer than was learnt, so that nobody's turn comes while this is looked at.
      pool.run((sql) => sql`select pg_sleep(0.5)`, { timeoutMs: 20_000 }),
    );
    const ms = await elapsedMs(async () => {
      const failure = await failureOf(pool.run((sql) => sql`select 1`, { timeoutMs: 400 }));
      if (failure.kind !== 'pool-full') throw new Error(failure.kind);
      expect(failure.waitMs).toBeGreaterThan(400);
    });
    // Before the time that it had is over.
    expect(ms).toBeLessThan(400);
    expect(pool.stats()).toMatchObject({ waiting: 4, refused: 1 });
    expect(pool.stats().leaseMs).toBeGreaterThan(90);
    await Promise.all(served);
  });

  test('a server that falls silent is known by it before any deadline has passed', async () => {
    const pool = open();
    await pool.run((sql) => sql`select 1`, LIMITS);
    wire.blackHole();
    const patient = { timeoutMs: 1_500 };
    const stuck = [1, 2].map(() => pool.run((sql) => sql`select 1`, patient).catch(same));
    await until(() => pool.stats().waitMs > 200);
    expect(await failureOf(pool.run((sql) => sql`select 1`, { timeoutMs: 200 }))).toMatchObject({
      kind: 'pool-full',
    });
    expect(pool.stats().discarded).toBe(0);
    wire.heal();
    await Promise.all(stuck);
  });

  test('a line that stands is kept short, however patient its callers are', async () => {
    const pool = open({ standingMsMax: 60 });
    for (let n = 0; n < 3; n++) await pool.run((sql) => sql`select pg_sleep(0.05)`, LIMITS);
    const slow = () => pool.run((sql) => sql`select pg_sleep(0.05)`, LIMITS).then(() => 'served');
    // A burst is what a line is there for.
    const burst = Array.from({ length: 10 }, slow);
    await burst[4];
    expect(await failureOf(slow())).toMatchObject({ kind: 'pool-full' });
    expect(await Promise.all(burst)).toEqual(Array(10).fill('served'));
    await new Promise((resolve) => setTimeout(resolve, 200));
    const another = Array.from({ length: 5 }, slow);
    expect(await Promise.all(another)).toEqual(Array(5).fill('served'));
  });

  test('the deadline counts the time in line, and nothing of a caller still in it is sent', async () => {
    const pool = open();
    const first = pool.run((sql) => sql`select pg_sleep(0.3)`, LIMITS);
    const ms = await elapsedMs(async () => {
      const second = pool.run((sql) => sql`insert into notes values (1)`, { timeoutMs: 100 });
      expect(await failureOf(second)).toEqual({ kind: 'acquire-timeout' });
    });
    expect(ms).toBeLessThan(100 + SLACK_MS);
    const third = pool.transaction((sql) => sql`insert into notes values (2)`, { timeoutMs: 50 });
    expect(await third).toEqual({ kind: 'not_applied', failure: { kind: 'acquire-timeout' } });
    await first;
    expect(pool.stats()).toMatchObject({ waiting: 0, idle: 1 });
    expect(await notes()).toEqual([]);
  });

  test('handlers that fail at once do not starve or overflow the line behind them', async () => {
    const pool = open({ waitersMax: 20_000 });
    // So long a line is no reason to be refused.
    const PATIENT = { timeoutMs: 2 ** 31 - 1 };
    const hold = pool.run((sql) => sql`select 1`, LIMITS);
    const line = Array.from({ length: 10_000 }, () =>
      pool.run(() => {
        throw new Error('at once');
      }, PATIENT),
    );
    await hold;
    const results = await Promise.allSettled(line);
    for (const result of results)
      expect(String((result as { reason: Error }).reason)).toContain('at once');
  });

  test('a refused port, an unknown role and a full server are failures to connect', async () => {
    const pool = open({ endpoint: { ...wire.endpoint, port: 1 } });
    const refused = pool.run((sql) => sql`select 1`, LIMITS);
    expect(await failureOf(refused)).toEqual({ kind: 'connect-failed', code: 'ECONNREFUSED' });
    const role = open({ endpoint: { ...wire.endpoint, user: 'nobody' } });
    const unknown = role.run((sql) => sql`select 1`, LIMITS);
    expect(await failureOf(unknown)).toEqual({ kind: 'connect-failed', code: '28000' });
    const write = role.transaction((sql) => sql`select 1`, LIMITS);
    expect(await write).toMatchObject({ kind: 'not_applied', failure: { code: '28000' } });
    expect(pool.stats().open + role.stats().open).toBe(0);
  });

  test('a server that takes the connection and says nothing fails at the connect timeout', async () => {
    wire.blackHole();
    const pool = open({ connectTimeoutMs: 100 });
    const all = Promise.all(
      [1, 2, 3].map(() => failureOf(pool.run((sql) => sql`select 1`, LIMITS))),
    );
    const ms = await elapsedMs(async () => {
      for (const failure of await all) {
        expect(failure).toEqual({ kind: 'connect-failed', code: 'CONNECT_TIMEOUT' });
      }
    });
    expect(ms).toBeLessThan(300 + SLACK_MS);
  });

  test('a deadline that ends a connection attempt says that nothing was sent', async () => {
    wire.blackHole();
    const late = open().run((sql) => sql`select 1`, { timeoutMs: 100 });
    expect(await failureOf(late)).toEqual({ kind: 'connect-failed', code: 'DEADLINE' });
  });

  test('a connection that died while idle is not handed out', async () => {
    const pool = open();
    await pool.run((sql) => sql`select 1`, LIMITS);
    await killVictims();
    await until(() => pool.stats().idle === 0);
    await pool.run((sql) => sql`select 1`, LIMITS);
    expect(pool.stats()).toMatchObject({ open: 1, idle: 1, opened: 2, discarded: 1 });
  });

  test('the second argument stands for the connection, and for no other', async () => {
    const pool = open();
    const seen = new Set<object>();
    const meet = () =>
      pool.run(async (sql, connection) => {
        seen.add(connection);
        expect(Object.keys(connection)).toEqual([]);
        await sql`select 1`;
      }, LIMITS);
    await meet();
    await meet();
    expect(seen.size).toBe(1);
    await killVictims();
    await until(() => pool.stats().idle === 0);
    await meet();
    expect(seen.size).toBe(2);
  });
});

describe('the deadline', () => {
  test('ends the call in time, destroys the connection and sends no cancel', async () => {
    const pool = await warm();
    const ms = await elapsedMs(async () => {
      const slow = pool.run((sql) => sql`select pg_sleep(0.6)`, { timeoutMs: 200 });
      expect(await failureOf(slow)).toEqual({ kind: 'deadline' });
    });
    expect(ms).toBeGreaterThan(190);
    expect(ms).toBeLessThan(200 + SLACK_MS);
    expect(pool.stats()).toMatchObject({ open: 0, discarded: 1 });
    // A cancel would have been a connection of its own.
    expect(wire.opened()).toBe(1);
    await until(() => wire.size() === 0);
  });

  test('ends the call even when the handler waits for something else for ever', async () => {
    const pool = await warm({ connectionsMax: 2 });
    expect(await failureOf(pool.run(never, { timeoutMs: 50 }))).toEqual({ kind: 'deadline' });
    await pool.run((sql) => sql`select 1`, LIMITS);
    const write = pool.transaction(never, { timeoutMs: 200 });
    expect(await write).toEqual({ kind: 'not_applied', failure: { kind: 'deadline' } });
  });

  test('holds when the network swallows everything', async () => {
    const pool = await warm();
    wire.blackHole();
    const ms = await elapsedMs(async () => {
      const lost = pool.run((sql) => sql`select 1`, { timeoutMs: 200 });
      expect(await failureOf(lost)).toEqual({ kind: 'deadline' });
    });
    expect(ms).toBeLessThan(200 + SLACK_MS);
  });

  test('a handler that swallows it is told again by its next statement, which is not sent', async () => {
    const told = Promise.withResolvers<unknown>();
    const pool = await warm();
    const late = pool.run(
      async (sql) => {
        await sql`select pg_sleep(5)`.catch(same);
        await sql`insert into notes values (1)`.catch(told.resolve);
      },
      { timeoutMs: 50 },
    );
    expect(await failureOf(late)).toEqual({ kind: 'deadline' });
    expect(await told.promise).toMatchObject({ failure: { kind: 'deadline' } });
    expect(await notes()).toEqual([]);
  });
});

describe('a connection that dies', () => {
  test('a statement sent between the error and the close settles', async () => {
    const pool = open();
    const second = pool.run(async (sql) => {
      const first = sql`select pg_sleep(6)`.catch(same);
      await until(() => runs('select pg_sleep(6)'));
      wire.reset();
      expect(await first).toMatchObject({
        failure: { kind: 'connection-lost', code: 'ECONNRESET' },
      });
      // The socket has failed and is not closed yet.
      return sql`select 1`;
    }, LIMITS);
    expect(await failureOf(second)).toEqual({ kind: 'connection-lost', code: 'ECONNRESET' });
    // And at once on the same pool.
    expect(await pool.run((sql) => sql`select 1 as x`, LIMITS)).toEqual([{ x: 1 }]);
  });

  test('is never reused: the next lease meets no error of the old session', async () => {
    const pool = open();
    const dying = pool.run((sql) => sql`select pg_terminate_backend(pg_backend_pid())`, LIMITS);
    expect(await failureOf(dying)).toMatchObject({ kind: 'connection-lost' });
    expect(await pool.run((sql) => sql`select 1 as x`, LIMITS)).toEqual([{ x: 1 }]);
    expect(pool.stats()).toMatchObject({ opened: 2, discarded: 1 });
  });

  test('frees its place for those in line while its handler still lingers', async () => {
    const pool = open();
    const linger = Promise.withResolvers<void>();
    const first = pool.run(async (sql) => {
      await sql`select pg_terminate_backend(pg_backend_pid())`.catch(same);
      await linger.promise;
    }, LIMITS);
    const second = pool.run((sql) => sql`select 1 as x`, LIMITS);
    expect(await second).toEqual([{ x: 1 }]);
    linger.resolve();
    await first;
    expect(pool.stats()).toMatchObject({ open: 1, idle: 1, opened: 2 });
  });

  test('inside a transaction takes the rest of it along: nothing commits by itself', async () => {
    const pool = open();
    const outcome = await pool.transaction(async (sql) => {
      await sql`insert into notes values (1)`;
      await killVictims();
      // Unguarded, the driver would dial again and commit these two one by one.
      await sql`insert into notes values (2)`.catch(same);
      await sql`insert into notes values (3)`.catch(same);
    }, LIMITS);
    expect(outcome).toMatchObject({ kind: 'not_applied', failure: { kind: 'connection-lost' } });
    await pool.run((sql) => sql`select 1`, LIMITS);
    expect(await notes()).toEqual([]);
  });

  test('takes along what the driver still held back: it is not sent to a new session', async () => {
    const pool = open();
    const outcome = await pool.transaction(async (sql) => {
      await sql`select 1`;
      await Promise.all([
        // Its types are asked for first, and until then the driver keeps the others to itself.
        sql`insert into notes select 1 from pg_sleep(${5})`,
        sql`insert into notes values (2)`,
        sql`insert into notes values (3)`,
        until(() => runs('insert into notes select 1 from pg_sleep($1)')).then(() => wire.reset()),
      ]);
    }, LIMITS);
    expect(outcome).toMatchObject({ kind: 'not_applied', failure: { code: 'ECONNRESET' } });
    await pool.run((sql) => sql`select 1`, LIMITS);
    expect(wire.opened()).toBe(2);
    expect(await notes()).toEqual([]);
  });

  test('ends a transaction whose handler waits for something else', async () => {
    const outcome = open().transaction(async (sql) => {
      await sql`select 1`;
      wire.reset();
      await never();
    }, LIMITS);
    expect(await outcome).toMatchObject({ kind: 'not_applied', failure: { code: 'ECONNRESET' } });
  });
});

describe('one result does not spill into the next', () => {
  /** Fails after its first rows have gone out. */
  const halfWay = (sql: Sql) => sql`select 1 / (3000 - g) from generate_series(1, 3000) g`;

  test('after a statement that failed half-way through its rows', async () => {
    const pool = open();
    const [sameLease, count] = await pool.run(async (sql) => {
      expect(await halfWay(sql).catch(same)).toBeInstanceOf(DatabaseError);
      const rows = await sql`select 7 as x`;
      return [rows, rows.count] as const;
    }, LIMITS);
    expect([...sameLease]).toEqual([{ x: 7 }]);
    expect(count).toBe(1);

    expect(await failureOf(pool.run(halfWay, LIMITS))).toMatchObject({ sqlstate: '22012' });
    const nextLease = await pool.run((sql) => sql`select 7 as x`, LIMITS);
    expect(nextLease.length).toBe(1);
    expect([...nextLease]).toEqual([{ x: 7 }]);
    expect(pool.stats()).toMatchObject({ opened: 1, discarded: 0 });
  });

  test('nor when it is already on its way behind it, and says no row count', async () => {
    const [, behind] = await open().run(
      (sql) => Promise.allSettled([halfWay(sql), sql`show server_encoding`]),
      LIMITS,
    );
    expect(behind).toMatchObject({ status: 'fulfilled' });
    const { value } = behind as PromiseFulfilledResult<unknown[]>;
    expect([...value]).toEqual([{ server_encoding: 'UTF8' }]);
  });

  test('what a lease changes in its session ends with it', async () => {
    const pool = open();
    const before = await pool.run(async (sql) => {
      await sql`set work_mem = '1MB'`;
      return backend(sql);
    }, LIMITS);
    const [after] = await pool.run((sql) => sql`show work_mem`, LIMITS);
    expect(after).toEqual({ work_mem: '4MB' });
    expect(await pool.run(backend, LIMITS)).not.toBe(before);
  });

  test('what a transaction changes for itself costs no connection', async () => {
    const pool = open();
    await pool.transaction(async (sql) => {
      await sql`set local work_mem = '1MB'`;
      await sql`lock table notes in share mode`;
    }, LIMITS);
    expect(await pool.run((sql) => sql`show work_mem`, LIMITS)).toEqual([{ work_mem: '4MB' }]);
    expect(pool.stats()).toMatchObject({ opened: 1, discarded: 0 });
  });
});

describe('a handler that has returned', () => {
  test('has lost its sql: a kept one is refused and reaches nobody', async () => {
    const pool = open();
    let kept = undefined as unknown as Sql;
    let keptStatement: Promise<unknown> | undefined;
    await pool.run(async (sql) => {
      kept = sql;
      keptStatement = sql`insert into notes values (1)`;
      await sql`select 1`;
    }, LIMITS);
    await expect(kept`insert into notes values (2)`).rejects.toThrow(DatabaseMisuse);
    await expect(keptStatement).rejects.toThrow(DatabaseMisuse);
    await pool.transaction(async (sql) => {
      await sql`select 1`;
      await expect(kept`insert into notes values (3)`).rejects.toThrow(DatabaseMisuse);
      kept = sql;
    }, LIMITS);
    await expect(kept`insert into notes values (4)`).rejects.toThrow(DatabaseMisuse);
    expect(await notes()).toEqual([]);
    expect(pool.stats()).toMatchObject({ opened: 1, idle: 1 });
  });

  test('may not have forgotten an await: the transaction is rolled back', async () => {
    const pool = open();
    const forgetful = pool.transaction(async (sql) => {
      await sql`insert into notes values (1)`;
      void sql`insert into notes select 2 from pg_sleep(0.05)`.then(() => {});
    }, LIMITS);
    await expect(forgetful).rejects.toThrow(/an await is missing/);
    expect(await notes()).toEqual([]);
    expect(pool.stats()).toMatchObject({ opened: 1, idle: 1 });
  });

  test('may not have forgotten a helper either: what it would do next is not sent', async () => {
    const pool = open();
    const helper = async (sql: Sql) => {
      await sql`insert into notes select 1 from pg_sleep(0.05)`;
      await sql`insert into notes values (2)`;
    };
    const forgetful = pool.transaction(async (sql) => {
      await sql`select 1`;
      void helper(sql);
    }, LIMITS);
    await expect(forgetful).rejects.toThrow(DatabaseMisuse);
    await pool.run((sql) => sql`select 1`, LIMITS);
    expect(await notes()).toEqual([]);
  });

  test('forgot one outside a transaction: told so, and the connection waits for it', async () => {
    const pool = open();
    const forgetful = pool.run(async (sql) => {
      void sql`insert into notes select 1 from pg_sleep(0.05)`.then(() => {});
    }, LIMITS);
    await expect(forgetful).rejects.toThrow(/an await is missing/);
    expect(pool.stats().leased).toBe(1);
    await pool.run((sql) => sql`select 1`, LIMITS);
    expect(pool.stats()).toMatchObject({ opened: 1, idle: 1 });
    expect(await notes()).toEqual([1]);
  });

  test('forgot one that fails: no rejection is left unhandled', async () => {
    const pool = open();
    const helper = async (sql: Sql) => {
      await sql`select 1 / 0 from pg_sleep(0.02)`;
    };
    for (const forget of [
      (sql: Sql) => void sql`select 1 / 0`.then(() => {}),
      (sql: Sql) => void sql`select 1 / 0`.finally(() => {}),
      (sql: Sql) => void (sql`select 1 / 0` as unknown as { execute(): unknown }).execute(),
      (sql: Sql) => void helper(sql),
    ]) {
      const forgetful = pool.run(async (sql) => forget(sql), LIMITS);
      await expect(forgetful).rejects.toThrow(DatabaseMisuse);
    }
    const dying = pool.run(async (sql) => {
      void helper(sql);
    }, LIMITS);
    await expect(dying).rejects.toThrow(DatabaseMisuse);
    wire.reset();
    await until(() => pool.stats().discarded === 1);
    // Failed while the handler was still there, which swallows it.
    await pool.run(async (sql) => {
      void sql`select 1 / 0`.then(() => {});
      (sql`select 1 / 0` as unknown as { execute(): unknown }).execute();
      await sql`select pg_sleep(0.02)`;
    }, LIMITS);
    await pool.run((sql) => sql`select 1`, LIMITS);
    await new Promise((resolve) => setImmediate(resolve));
    expect(uncaught).toEqual([]);
  });

  test('threw while others were running: the connection waits for them and is kept', async () => {
    const pool = open();
    const both = pool.run(
      (sql) =>
        Promise.all([sql`select 1 / 0`, sql`insert into notes select 1 from pg_sleep(0.05)`]),
      LIMITS,
    );
    expect(await failureOf(both)).toMatchObject({ sqlstate: '22012' });
    expect(pool.stats().leased).toBe(1);
    await until(() => pool.stats().idle === 1);
    expect(await notes()).toEqual([1]);
  });
});

describe('a question that follows each statement', () => {
  /** Counts how often it was asked, and what the counter says when it is answered. */
  function followed() {
    const told: number[] = [];
    const asked: number[] = [];
    const after = {
      ask: (own: Sql) => {
        asked.push(asked.length + 1);
        return own<{ n: number }[]>`select count(*)::int as n from notes`.then(
          ([row]) => row?.n ?? -1,
        );
      },
      tell: (n: number) => void told.push(n),
    };
    return { told, asked, after };
  }

  test('is answered after it, once, with what it changed', async () => {
    const { told, after } = followed();
    await open().run((sql) => sql`insert into notes values (1)`, { ...LIMITS, after });
    expect(told).toEqual([1]);
  });

  test('is heard before the run resolves, and only its last answer', async () => {
    const { told, asked, after } = followed();
    const value = await open().run(
      async (sql) => {
        await sql`insert into notes values (1)`;
        await sql`insert into notes values (2)`;
        return 'done';
      },
      { ...LIMITS, after },
    );
    expect([value, told, asked.length]).toEqual(['done', [2], 2]);
  });

  test('does not follow what the router asks for itself, nor a run without statements', async () => {
    const { told, asked, after } = followed();
    const pool = open();
    await pool.run(
      async (sql, _connection, own) => {
        await own`select set_config('application_name', 'victim', false)`;
        await own`select 1`;
        await sql`select 1`;
      },
      { ...LIMITS, after },
    );
    await pool.run(async () => 'nothing', { ...LIMITS, after });
    expect([told, asked.length]).toEqual([[0], 1]);
  });

  test('leaves in the packet of its statement', async () => {
    const pool = await warm();
    const { told, after } = followed();
    const read = () => pool.run((sql) => sql`select 1`, { ...LIMITS, after });
    await read();
    // Both are prepared by now, so one packet is all there is to send.
    const packets: string[] = [];
    wire.onSent = (text) => packets.push(text) > 0;
    await read();
    wire.onSent = undefined;
    expect(told).toEqual([0, 0]);
    expect(packets.length).toBe(1);
  });

  test('does not hide a forgotten await', async () => {
    const { told, after } = followed();
    const forgetful = open().run(
      async (sql) => {
        void sql`insert into notes select 1 from pg_sleep(0.05)`.then(() => {});
      },
      { ...LIMITS, after },
    );
    await expect(forgetful).rejects.toThrow(/an await is missing/);
    expect(told).toEqual([]);
  });

  test('that cannot be answered fails the run, and a failed statement fails it first', async () => {
    const pool = open();
    const broken = pool.run((sql) => sql`select 1`, {
      ...LIMITS,
      after: { ask: (own) => own`select 1 / 0`.then(), tell: () => {} },
    });
    expect(await failureOf(broken)).toMatchObject({ sqlstate: '22012' });
    const { told, after } = followed();
    const failing = pool.run((sql) => sql`select no_such_column`, { ...LIMITS, after });
    expect(await failureOf(failing)).toMatchObject({ sqlstate: '42703' });
    expect(told).toEqual([]);
    await pool.run((sql) => sql`select 1`, LIMITS);
    expect(uncaught).toEqual([]);
  });

  test('is lost with its connection, as the read is', async () => {
    const pool = await warm();
    const { told, after } = followed();
    const dying = failureOf(pool.run((sql) => sql`select pg_sleep(5)`, { ...LIMITS, after }));
    await until(() => runs('select pg_sleep(5)'));
    await killVictims();
    expect((await dying).kind).toMatch(/connection-lost|rejected/);
    expect(told).toEqual([]);
  });
});

describe('a transaction', () => {
  const insert = (id: number) => async (sql: Sql) => {
    await sql`insert into notes values (${id})`;
    return id;
  };
  const position = async (sql: Sql) => {
    const [row] = await sql`select pg_current_wal_flush_lsn()::text as lsn, 1 as after`;
    return row?.lsn as string;
  };

  test('commits, and takes the position behind its COMMIT in the same packet', async () => {
    const pool = open();
    const sent: string[] = [];
    for (const id of [1, 2]) {
      sent.length = 0;
      wire.onSent = (text) => {
        sent.push(text);
        return true;
      };
      const outcome = await pool.transaction(insert(id), { ...LIMITS, afterCommit: position });
      expect(outcome).toEqual({
        kind: 'applied',
        value: id,
        after: expect.stringMatching(/^\w+\/\w+$/),
      });
    }
    // Warm: begin, insert, and commit with the position.
    expect(sent.length).toBe(3);
    expect(await notes()).toEqual([1, 2]);
  });

  test('runs afterCommit after COMMIT, not in the transaction', async () => {
    const outcome = await open().transaction(insert(1), {
      ...LIMITS,
      afterCommit: async (sql) => {
        const [row] = await sql`select pg_current_xact_id_if_assigned() is null as outside`;
        return row?.outside as boolean;
      },
    });
    expect(outcome).toMatchObject({ kind: 'applied', after: true });
  });

  test('without afterCommit the outcome carries undefined', async () => {
    const outcome = await open().transaction(insert(1), LIMITS);
    expect(outcome).toEqual({ kind: 'applied', value: 1, after: undefined });
  });

  test('a handler that throws its own error gets it back, rolled back, connection kept', async () => {
    const pool = open();
    const own = new Error('mine');
    const failing = pool.transaction(async (sql) => {
      await insert(1)(sql);
      throw own;
    }, LIMITS);
    await expect(failing).rejects.toBe(own);
    expect(pool.stats()).toMatchObject({ opened: 1, idle: 1 });
    expect(await notes()).toEqual([]);
  });

  test('a statement that fails means not applied', async () => {
    const pool = open();
    const outcome = await pool.transaction(async (sql) => {
      await insert(1)(sql);
      await insert(1)(sql);
    }, LIMITS);
    expect(outcome).toMatchObject({ kind: 'not_applied', failure: { sqlstate: '23505' } });
    expect(await notes()).toEqual([]);
    expect(pool.stats()).toMatchObject({ opened: 1, idle: 1 });
  });

  test('a swallowed failure is never applied: COMMIT answered ROLLBACK', async () => {
    const outcome = await open().transaction(
      async (sql) => {
        await insert(1)(sql);
        await insert(1)(sql).catch(same);
        return 'looks well';
      },
      { ...LIMITS, afterCommit: position },
    );
    expect(outcome).toMatchObject({ kind: 'not_applied', failure: { sqlstate: '23505' } });
    expect(await notes()).toEqual([]);
  });

  test('a failure undone by a savepoint leaves the rest applied', async () => {
    const outcome = await open().transaction(async (sql) => {
      await insert(1)(sql);
      await sql`savepoint s`;
      await insert(1)(sql).catch(same);
      await sql`rollback to savepoint s`;
      await insert(2)(sql);
    }, LIMITS);
    expect(outcome).toMatchObject({ kind: 'applied' });
    expect(await notes()).toEqual([1, 2]);
  });

  test('a constraint that fails at COMMIT means not applied', async () => {
    const outcome = await open().transaction(
      async (sql) => {
        await sql`set constraints all deferred`;
        await sql`insert into refs values (404)`;
      },
      { ...LIMITS, afterCommit: position },
    );
    expect(outcome).toMatchObject({ kind: 'not_applied', failure: { sqlstate: '23503' } });
  });

  test('isolation and read only are asked for in BEGIN', async () => {
    const pool = open();
    const [row] = await pool
      .transaction((sql) => sql`show transaction_isolation`, {
        ...LIMITS,
        isolation: 'serializable',
      })
      .then((outcome) => (outcome.kind === 'applied' ? outcome.value : []));
    expect(row).toEqual({ transaction_isolation: 'serializable' });
    const denied = await pool.transaction(insert(1), { ...LIMITS, readOnly: true });
    expect(denied).toMatchObject({ kind: 'not_applied', failure: { sqlstate: '25006' } });
  });

  test('may not be begun or ended in SQL', async () => {
    const pool = open();
    const attempts: ((sql: Sql) => Promise<unknown>)[] = [
      (sql) => sql`commit`,
      (sql) => sql`  ROLLBACK`,
      (sql) => sql`begin`,
      (sql) => sql`end`,
      (sql) => sql`abort`,
      (sql) => sql`prepare transaction 'x'`,
      (sql) => sql`start transaction`,
    ];
    for (const attempt of attempts) {
      await expect(pool.run(attempt, LIMITS)).rejects.toThrow(DatabaseMisuse);
      const inside = pool.transaction(async (sql) => {
        await insert(1)(sql);
        await attempt(sql);
      }, LIMITS);
      await expect(inside).rejects.toThrow(DatabaseMisuse);
    }
    expect(await notes()).toEqual([]);
    expect(pool.stats().opened).toBe(1);
  });

  test('one ended behind our back is unknown, and nothing follows it', async () => {
    const pool = open();
    const outcome = await pool.transaction(async (sql) => {
      await insert(1)(sql);
      await sql`/* not seen */ commit`;
      await insert(2)(sql).catch(same);
    }, LIMITS);
    expect(outcome).toEqual({ kind: 'unknown', failure: { kind: 'ended-by-handler' } });
    expect(await notes()).toEqual([1]);
    await pool.run((sql) => sql`/* not seen */ begin`, LIMITS);
    await pool.run(insert(3), LIMITS);
    expect(await notes()).toEqual([1, 3]);
  });

  test('a COMMIT that never arrived is unknown, for nobody here can tell', async () => {
    wire.onSent = (text) => {
      if (!text.includes('commit')) return true;
      setImmediate(() => wire.reset());
      return false;
    };
    const outcome = await open().transaction(insert(1), { ...LIMITS, afterCommit: position });
    expect(outcome).toEqual({
      ...{ kind: 'unknown', failure: { kind: 'connection-lost', code: 'ECONNRESET' } },
    });
    expect(await notes()).toEqual([]);
  });

  test('a connection lost behind a clean COMMIT leaves the write applied', async () => {
    const pool = open();
    const afterCommit = (sql: Sql) => sql`select pg_sleep(6)`;
    const outcome = pool.transaction(insert(1), { ...LIMITS, afterCommit });
    await until(() => runs('select pg_sleep(6)'));
    // Another round trip, so that the answer to COMMIT has made its way through the proxy.
    expect(await notes()).toEqual([1]);
    wire.reset();
    expect(await outcome).toEqual({
      ...{ kind: 'applied_without_after', value: 1 },
      because: { kind: 'connection-lost', code: 'ECONNRESET' },
    });
  });

  test('a lost connection with COMMIT under way is unknown, and the row is there', async () => {
    const pool = open();
    await look((sql) => sql`create table if not exists slow (id int)`);
    await look(
      (sql) => sql`
        create or replace function dawdle() returns trigger language plpgsql as
        $$ begin perform pg_sleep(0.3); return null; end $$`,
    );
    await look(
      (sql) => sql`
        create constraint trigger dawdle after insert on slow
        deferrable initially deferred for each row execute function dawdle()`,
    );
    const outcome = pool.transaction((sql) => sql`insert into slow values (1)`, LIMITS);
    await until(() => runs('commit'));
    wire.reset();
    expect(await outcome).toEqual({
      ...{ kind: 'unknown', failure: { kind: 'connection-lost', code: 'ECONNRESET' } },
    });
    await until(async () => (await look((sql) => sql`select from slow`)).length === 1);
  });

  test('afterCommit failing alone leaves a write applied with its position unknown', async () => {
    const pool = open();
    const rejected = await pool.transaction(insert(1), {
      ...LIMITS,
      afterCommit: (sql) => sql`select 1 / 0`,
    });
    expect(rejected).toMatchObject({
      ...{ kind: 'applied_without_after', value: 1, because: { sqlstate: '22012' } },
    });
    const bug = new Error('mine');
    const threw = await pool.transaction(insert(2), {
      ...LIMITS,
      afterCommit: () => {
        throw bug;
      },
    });
    expect(threw).toEqual({
      ...{ kind: 'applied_without_after', value: 2, because: { kind: 'threw', error: bug } },
    });
    const late = await pool.transaction(insert(3), { timeoutMs: 200, afterCommit: never });
    expect(late).toMatchObject({ kind: 'applied_without_after', because: { kind: 'deadline' } });
    expect(await notes()).toEqual([1, 2, 3]);
  });
});

describe('a part of a transaction', () => {
  const ids = async () => (await look((sql) => sql`select id from notes order by id`)).map(idOf);
  const idOf = (row: object) => (row as { id: number }).id;
  const insert = (sql: Sql, id: number) => sql`insert into notes (id) values (${id})`;

  test('that throws takes back what it did, and the rest is committed', async () => {
    const pool = open();
    const outcome = await pool.transaction(async (sql, part) => {
      await insert(sql, 1);
      const threw = await part(async (inner) => {
        await insert(inner, 2);
        throw new RangeError('of its own');
      }).catch((error) => error);
      expect(threw).toEqual(new RangeError('of its own'));
      const failed = await failureOf(part((inner) => insert(inner, 1)));
      expect(failed).toMatchObject({ kind: 'rejected', constraint: 'notes_pkey' });
      return part(async (inner) => (await insert(inner, 3)).count);
    }, LIMITS);
    expect(outcome).toMatchObject({ kind: 'applied', value: 1 });
    expect(await ids()).toEqual([1, 3]);
    // Savepoints leave nothing behind that would cost the connection.
    expect(pool.stats()).toMatchObject({ opened: 1, discarded: 0 });
  });

  test('that passes over a failure fails of it, as a whole transaction would', async () => {
    const outcome = await open().transaction(async (sql, part) => {
      await insert(sql, 1);
      const failed = await failureOf(
        part(async (inner) => {
          await insert(inner, 1).catch(() => {});
          return 'as if nothing had happened';
        }),
      );
      expect(failed).toMatchObject({ kind: 'rejected', sqlstate: '23505' });
    }, LIMITS);
    expect(outcome.kind).toBe('applied');
    expect(await ids()).toEqual([1]);
  });

  test('that has not waited for a statement is a bug, and is taken back', async () => {
    const outcome = await open().transaction(async (_sql, part) => {
      const forgot = part(async (inner) => {
        void insert(inner, 1).then();
      });
      await expect(forgot).rejects.toThrow(DatabaseMisuse);
    }, LIMITS);
    expect(outcome.kind).toBe('applied');
    expect(await ids()).toEqual([]);
  });

  test('that may only read cannot write, and the next one can', async () => {
    const outcome = await open().transaction(async (_sql, part) => {
      await part((inner) => insert(inner, 1));
      const read = await part((inner) => inner`select id from notes`, { readOnly: true });
      expect(read.map(idOf)).toEqual([1]);
      const refused = await failureOf(part((inner) => insert(inner, 2), { readOnly: true }));
      expect(refused).toMatchObject({ kind: 'rejected', sqlstate: '25006' });
      await part((inner) => insert(inner, 3));
    }, LIMITS);
    expect(outcome.kind).toBe('applied');
    expect(await ids()).toEqual([1, 3]);
  });

  test('may have parts of its own', async () => {
    const outcome = await open().transaction(async (_sql, part) => {
      await part(async (outer) => {
        await insert(outer, 1);
        await part((inner) => insert(inner, 1)).catch(() => {});
        await part((inner) => insert(inner, 2));
      });
      const undone = part(async () => {
        await part((inner) => insert(inner, 3));
        throw new Error('so the inner one goes as well');
      });
      await undone.catch(() => {});
    }, LIMITS);
    expect(outcome.kind).toBe('applied');
    expect(await ids()).toEqual([1, 2]);
  });

  test('goes when the last statement fails, which is sent with COMMIT', async () => {
    const pool = open();
    for (const id of [1, 2, 2]) {
      const outcome = await pool.transaction(
        async (_sql, part) => part((inner) => inner`insert into notes (id) values (${id + 10})`),
        { ...LIMITS, beforeCommit: (sql) => sql`insert into notes (id) values (${id})` },
      );
      if (outcome.kind === 'not_applied') {
        expect(outcome.failure).toMatchObject({ constraint: 'notes_pkey' });
      }
    }
    expect(await ids()).toEqual([1, 2, 11, 12]);
    expect(pool.stats()).toMatchObject({ opened: 1, discarded: 0 });
  });

  test('ends with its transaction: a kept sql or a late part reaches nobody', async () => {
    const pool = open();
    let kept: Sql | undefined;
    let late: Part | undefined;
    await pool.transaction(async (_sql, part) => {
      late = part;
      await part(async (inner) => {
        kept = inner;
        await insert(inner, 1);
      });
      await expect(insert(kept as Sql, 2)).rejects.toThrow(DatabaseMisuse);
    }, LIMITS);
    const next = pool.run(async (sql) => {
      await expect(late?.((inner) => insert(inner, 3))).rejects.toThrow(DatabaseMisuse);
      const [row] = await sql<{ inside: boolean }[]>`
        select pg_current_xact_id_if_assigned() is not null as inside`;
      return row?.inside;
    }, LIMITS);
    expect(await next).toBe(false);
    expect(await ids()).toEqual([1]);
  });
});

describe('a COMMIT that waits for a standby which is not there', () => {
  beforeAll(() => synchronousStandby('absent'));
  afterAll(() => synchronousStandby(''));

  async function synchronousStandby(name: string): Promise<void> {
    await look((sql) =>
      name === ''
        ? sql`alter system reset synchronous_standby_names`
        : sql`alter system set synchronous_standby_names = ${sql(name)}`,
    );
    await look((sql) => sql`select pg_reload_conf()`);
    await until(async () => {
      const [row] = await look((sql) => sql`show synchronous_standby_names`);
      return row?.synchronous_standby_names === name;
    });
  }

  async function waiting(): Promise<number | undefined> {
    const [row] = await look(
      (sql) => sql`
        select pid from pg_stat_activity
        where wait_event = 'SyncRep' and application_name = 'victim'`,
    );
    return row?.pid as number | undefined;
  }

  test('is unknown at the deadline, and no cancel made it look like success', async () => {
    const pool = await warm();
    const ms = await elapsedMs(async () => {
      const outcome = await pool.transaction((sql) => sql`insert into notes values (1)`, {
        timeoutMs: 300,
        afterCommit: (sql) => sql`select 1`,
      });
      expect(outcome).toEqual({ kind: 'unknown', failure: { kind: 'deadline' } });
    });
    expect(ms).toBeLessThan(300 + SLACK_MS);
    expect(wire.opened()).toBe(1);
    await killVictims();
  });

  test('is unknown when an operator cancels it: success with a WARNING', async () => {
    const pool = open();
    const outcome = pool.transaction((sql) => sql`insert into notes values (2)`, {
      ...LIMITS,
      afterCommit: (sql) => sql`select 1`,
    });
    await until(async () => (await waiting()) !== undefined);
    const pid = (await waiting()) ?? 0;
    await look((sql) => sql`select pg_cancel_backend(${pid})`);
    expect(await outcome).toEqual({
      kind: 'unknown',
      failure: {
        kind: 'commit-warning',
        message: 'canceling wait for synchronous replication due to user request',
      },
    });
  });

  test('a warning in the transaction or behind its COMMIT is not one about the COMMIT', async () => {
    const warn = (sql: Sql) => sql`do $$ begin raise warning 'mine'; end $$`;
    const outcome = await open({
      settings: { ...named('victim'), synchronous_commit: 'local' },
    }).transaction(
      async (sql) => {
        await sql`insert into notes values (3)`;
        await warn(sql);
      },
      { ...LIMITS, afterCommit: warn },
    );
    expect(outcome).toMatchObject({ kind: 'applied' });
  });
});

describe('the end of a pool', () => {
  test('destroy cuts every socket, in use or not, and refuses everybody after', async () => {
    const pool = open({ connectionsMax: 3, waitersMax: 1 });
    await Promise.all([1, 2, 3].map(() => pool.run((sql) => sql`select pg_sleep(0.05)`, LIMITS)));
    const running = pool.run((sql) => sql`select pg_sleep(5)`, LIMITS);
    const writing = pool.transaction(
      (sql) => sql`insert into notes values (1)`.then(never),
      LIMITS,
    );
    await until(async () => (await victims()) === 3);
    pool.destroy('the primary moved');
    expect(await failureOf(running)).toEqual({ kind: 'connection-lost', code: 'POOL_DESTROYED' });
    expect(await writing).toMatchObject({ kind: 'not_applied' });
    const refused = { kind: 'pool-closed', why: 'the primary moved' };
    expect(await failureOf(pool.run((sql) => sql`select 1`, LIMITS))).toEqual(refused);
    const write = pool.transaction((sql) => sql`select 1`, LIMITS);
    expect(await write).toEqual({ kind: 'not_applied', failure: refused });
    await until(() => wire.size() === 0);
    expect(pool.stats()).toMatchObject({ open: 0, idle: 0, leased: 0, waiting: 0 });
  });

  test('destroy refuses those in line', async () => {
    const pool = open();
    const running = failureOf(pool.run((sql) => sql`select pg_sleep(5)`, LIMITS));
    const inLine = failureOf(pool.run((sql) => sql`select 1`, LIMITS));
    pool.destroy('moved');
    expect(await inLine).toEqual({ kind: 'pool-closed', why: 'moved' });
    await running;
  });

  test('close serves whom it admitted, then says goodbye and leaves no socket', async () => {
    const pool = open({ connectionsMax: 2 });
    const goodbyes: string[] = [];
    wire.onSent = (text) => {
      if (text.endsWith('X\0\0\0\x04')) goodbyes.push(text);
      return true;
    };
    const running = [1, 2, 3].map((id) =>
      pool.run((sql) => sql`insert into notes select ${id}::int from pg_sleep(0.05)`, LIMITS),
    );
    const closed = pool.close(LIMITS);
    expect(await failureOf(pool.run((sql) => sql`select 1`, LIMITS))).toMatchObject({
      kind: 'pool-closed',
    });
    await closed;
    expect(wire.size()).toBe(0);
    expect(goodbyes.length).toBe(2);
    expect(pool.stats()).toMatchObject({ open: 0, opened: 2, discarded: 0 });
    await Promise.all(running);
    expect(await notes()).toEqual([1, 2, 3]);
    await until(async () => (await victims()) === 0);
  });

  test('close does not wait past its limit for a lease or for a silent network', async () => {
    const pool = open({ connectionsMax: 2 });
    await Promise.all([1, 2].map(() => pool.run((sql) => sql`select pg_sleep(0.02)`, LIMITS)));
    const running = failureOf(pool.run((sql) => sql`select pg_sleep(5)`, LIMITS));
    await until(async () => (await victims()) === 2);
    wire.blackHole();
    const ms = await elapsedMs(() => pool.close({ timeoutMs: 200 }));
    expect(ms).toBeLessThan(200 + SLACK_MS);
    expect(await running).toEqual({ kind: 'connection-lost', code: 'POOL_DESTROYED' });
    wire.heal();
    await until(() => wire.size() === 0);
  });

  test('a process whose pool is closed has no socket and no timer to stay for', async () => {
    const { endpoint } = wire;
    const script = `
      const { LeasePool } = await import(${JSON.stringify(new URL('./postgres.ts', import.meta.url))});
      const pool = new LeasePool({ endpoint: ${JSON.stringify(endpoint)}, connectionsMax: 2,
        waitersMax: 9, connectTimeoutMs: 60000 });
      await Promise.all([1, 2, 3].map(() => pool.run((sql) => sql\`select 1\`, { timeoutMs: 60000 })));
      await pool.transaction((sql) => sql\`select 1\`, { timeoutMs: 60000 });
      await pool.run((sql) => sql\`select pg_sleep(9)\`, { timeoutMs: 50 }).catch(() => {});
      await pool.close({ timeoutMs: 60000 });
      console.log(process.getActiveResourcesInfo().filter((it) => /Timeout|TCP/.test(it)).join());`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    const [code] = await once(child, 'close');
    expect({ code, out: out.trim() }).toEqual({ code: 0, out: '' });
  });
});

describe('TLS', () => {
  const authority = makeAuthority();
  const tls = { mode: 'verify-full', ca: authority.ca } as const;
  let dir: string;

  beforeAll(async () => {
    dir = mkdtempSync(path.join(os.tmpdir(), 'domicile-tls-'));
    chmodSync(dir, 0o711);
    const settings = certificateFiles(dir, makeCertificate(authority, ['127.0.0.1']));
    for (const [name, value] of Object.entries(settings)) {
      await look((sql) => sql(verbatim(`alter system set ${name} = '${value}'`)));
    }
    await look((sql) => sql`select pg_reload_conf()`);
    await until(async () => (await look((sql) => sql`show ssl`))[0]?.ssl === 'on');
  });

  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  // Who is believed, and what is heard: postgres-tls.pg.test.ts.
  test('changes nothing about deadlines, deaths and goodbyes', async () => {
    const pool = await warm({ endpoint: { ...wire.endpoint, tls } });
    const encrypted = await pool.run(
      (sql) => sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`,
      LIMITS,
    );
    expect(encrypted).toEqual([{ ssl: true }]);
    const late = pool.run((sql) => sql`select pg_sleep(5)`, { timeoutMs: 300 });
    expect(await failureOf(late)).toEqual({ kind: 'deadline' });
    await until(() => wire.size() === 0);
    const second = pool.run(async (sql) => {
      const first = sql`select pg_sleep(6)`.catch(same);
      await until(() => runs('select pg_sleep(6)'));
      wire.reset();
      expect(await first).toMatchObject({ failure: { kind: 'connection-lost' } });
      return sql`select 1`;
    }, LIMITS);
    expect(await failureOf(second)).toMatchObject({ kind: 'connection-lost' });
    await pool.run((sql) => sql`select 1`, LIMITS);
    await killVictims();
    await until(() => pool.stats().idle === 0);
    await pool.run((sql) => sql`select 1`, LIMITS);
    await pool.close(LIMITS);
    expect(wire.size()).toBe(0);
  });
});

test('nothing acknowledged is lost, halved or stuck under 200 kills, 200 resets and a black hole', async () => {
  const deadlineMs = 1_000;
  const pool = open({ connectionsMax: 4, connectTimeoutMs: 500 });
  await look((sql) => sql`create table ledger (id int, half int, primary key (id, half))`);
  const random = sequence(31);
  const applied: number[] = [];
  const refused: number[] = [];
  const unknown: number[] = [];
  let [stop, id, reads, failedReads, maxMs, inFlight] = [false, 0, 0, 0, 0, 0];

  const timed = async (work: () => Promise<void>) => {
    inFlight++;
    maxMs = Math.max(maxMs, await elapsedMs(work));
    inFlight--;
  };
  const write = async () => {
    const mine = ++id;
    const outcome = await pool.transaction(
      async (sql) => {
        await sql`insert into ledger values (${mine}, 1)`;
        await sql`insert into ledger values (${mine}, 2)`;
      },
      { timeoutMs: deadlineMs, afterCommit: (sql) => sql`select pg_current_wal_flush_lsn()` },
    );
    if (outcome.kind === 'not_applied') refused.push(mine);
    else if (outcome.kind === 'unknown') unknown.push(mine);
    else applied.push(mine);
  };
  const read = async () => {
    const rows = pool.run((sql) => sql`select ${id}::int as id, 7 as x`, { timeoutMs: deadlineMs });
    await rows.then(
      (found) => {
        reads++;
        expect(found.length).toBe(1);
        expect(found[0]?.x).toBe(7);
      },
      (error) => {
        failedReads++;
        expect(error).toBeInstanceOf(DatabaseError);
      },
    );
  };
  const lanes = Array.from({ length: 24 }, async (_, lane) => {
    while (!stop) {
      await timed(lane % 3 === 0 ? read : write);
      // Who is refused at once and asks again at once would let nobody else have a turn.
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  let [kills, resets] = [0, 0];
  while (kills < 200 || resets < 200) {
    if (kills < 200) {
      const [row] = await look(
        (sql) => sql`
          select pg_terminate_backend(pid) from pg_stat_activity
          where application_name = 'victim' order by random() limit 1`,
      );
      if (row?.pg_terminate_backend === true) kills++;
    }
    if (wire.size() > 0) {
      wire.reset((count) => Math.floor(random() * count));
      resets++;
    }
    await new Promise((resolve) => setTimeout(resolve, 5 + random() * 10));
  }
  wire.blackHole();
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  wire.heal();
  const before = applied.length;
  await until(() => applied.length >= before + 500);
  stop = true;
  await Promise.all(lanes);

  const rows = await look(
    (sql) => sql<{ id: number; halves: number }[]>`
      select id, count(*)::int as halves from ledger group by id`,
  );
  const stored = new Map(rows.map(({ id, halves }) => [id, halves]));
  expect(inFlight).toBe(0);
  expect([...stored.values()].filter((halves) => halves !== 2)).toEqual([]);
  expect(applied.filter((mine) => !stored.has(mine))).toEqual([]);
  expect(refused.filter((mine) => stored.has(mine))).toEqual([]);
  expect(maxMs).toBeLessThan(deadlineMs + SLACK_MS);
  expect(uncaught).toEqual([]);
  // Evidence that the faults bit.
  expect(unknown.length).toBeGreaterThan(0);
  expect(refused.length).toBeGreaterThan(50);
  expect(failedReads).toBeGreaterThan(10);
  expect(pool.stats().discarded).toBeGreaterThan(200);
  expect(pool.stats()).toMatchObject({ waiting: 0, leased: 0 });
  const committed = unknown.filter((mine) => stored.has(mine)).length;
  console.log(
    `${applied.length} applied, ${refused.length} not, ${unknown.length} unknown (${committed} of ` +
      `them stored), ${reads} reads, ${failedReads} failed; longest ${maxMs.toFixed(0)} ms`,
  );
});

function same(error: unknown): unknown {
  return error;
}

/** Repeatable, which the moments at which it is asked are not. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}
