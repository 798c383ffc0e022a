import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LeasePool } from './postgres.ts';
import {
  DatabaseError,
  type DatabaseFailure,
  nothingWasSent,
  provesRollback,
  rejection,
  safeMessage,
} from './postgres-failure.ts';
import { arrayText, arrayTypeOf, parseArray } from './postgres-types.ts';

const read = (text: string): unknown => text;
const write = (value: unknown): string => String(value);

describe('arrays', () => {
  test('any nesting of any text survives the way to Postgres and back', () => {
    const element = fc.oneof(fc.string({ unit: 'binary' }), fc.constant(null));
    fc.assert(
      fc.property(
        fc.array(element),
        fc.array(fc.array(element, { minLength: 1 })),
        (flat, deep) => {
          expect(parseArray(arrayText(flat, write), read)).toEqual(flat);
          expect(parseArray(arrayText(deep, write), read)).toEqual(deep);
        },
      ),
    );
  });

  test('a quoted NULL is text and a bare one is null', () => {
    expect(parseArray('{NULL,"NULL",""}', read)).toEqual([null, 'NULL', '']);
  });

  test('bounds in front of an array are no part of it', () => {
    expect(parseArray('[0:1]={a,b}', read)).toEqual(['a', 'b']);
  });

  test('half an array is an error, not an endless loop', () => {
    for (const half of ['{1,2', '{"a', '{{1}', '{"a\\']) {
      expect(() => parseArray(half, read)).toThrow(TypeError);
    }
  });

  test('undefined in an array is an error, never NULL', () => {
    expect(() => arrayText(['a', undefined], write)).toThrow(TypeError);
  });

  test('booleans, bigints, dates and bytes name their array type; text and numbers leave it open', () => {
    expect(arrayTypeOf([true])).toBe(1000);
    expect(arrayTypeOf([[1n]])).toBe(1016);
    expect(arrayTypeOf([new Date(0)])).toBe(1185);
    expect(arrayTypeOf([new Uint8Array()])).toBe(1001);
    expect(arrayTypeOf(['a'])).toBe(0);
    expect(arrayTypeOf([1])).toBe(0);
    expect(arrayTypeOf([])).toBe(0);
    expect(arrayTypeOf([], 2950)).toBe(2951);
  });
});

describe('what may be said', () => {
  test('a value that Postgres quotes does not pass, quotes inside it included', () => {
    const message = 'invalid input syntax for type integer: "4111 "1111" 1111"';
    expect(safeMessage({ code: '22P02', message })).toBe(
      'invalid input syntax for type integer: "…"',
    );
  });

  test('a syntax error does not quote the statement', () => {
    const message = 'syntax error at or near "\'secret\'"';
    expect(safeMessage({ code: '42601', message })).toBe('syntax error at or near "…"');
  });

  test('what a function raises does not pass, whatever SQLSTATE it borrows', () => {
    const message = 'patient Ana Silva is known';
    expect(safeMessage({ code: '23505', message, routine: 'exec_stmt_raise' })).not.toContain(
      'Ana',
    );
    expect(safeMessage({ code: 'P0001', message })).toBe('SQLSTATE P0001');
  });

  test('constraint, table and column pass, detail does not', () => {
    const failure = rejection({
      ...{ code: '23505', message: 'duplicate key value violates unique constraint "k"' },
      ...{ constraint_name: 'k', table_name: 't', detail: 'Key (id)=(7) already exists.' },
    });
    expect(failure).toEqual({
      kind: 'rejected',
      sqlstate: '23505',
      message: 'duplicate key value violates unique constraint "k"',
      constraint: 'k',
      table: 't',
    });
  });

  test('every kind of failure has a sentence', () => {
    for (const failure of EVERY_KIND) expect(new DatabaseError(failure).message).not.toBe('');
  });
});

describe('what may be concluded', () => {
  test('only four kinds prove that nothing was sent', () => {
    expect(EVERY_KIND.filter(nothingWasSent).map(({ kind }) => kind)).toEqual([
      'pool-full',
      'pool-closed',
      'acquire-timeout',
      'connect-failed',
    ]);
  });

  test('a COMMIT refused for a constraint or a serialization conflict committed nothing', () => {
    for (const sqlstate of ['23503', '40001', '40P01', 'P0001']) {
      expect(provesRollback(sqlstate)).toBe(true);
    }
  });

  test('a COMMIT that met an operator, a crash or an unheard-of class may have committed', () => {
    for (const sqlstate of ['40003', '57014', '57P01', '58030', 'XX000', '53100', 'ZZ001']) {
      expect(provesRollback(sqlstate)).toBe(false);
    }
  });
});

test('a server setting that the driver would drop or split is refused when the pool is made', () => {
  const endpoint = {
    ...{ name: '', host: '', port: 1 },
    ...{ database: '', user: '', password: '' },
  };
  const limits = { connectionsMax: 1, waitersMax: 0, connectTimeoutMs: 1 };
  for (const settings of [{ work_mem: '' }, { work_mem: '1\0role' }]) {
    expect(() => new LeasePool({ endpoint, ...limits, settings })).toThrow(TypeError);
  }
});

test('a role asked for in the environment is refused, for the driver would wait for it', () => {
  const script = `
    const { LeasePool } = await import(${JSON.stringify(new URL('./postgres.ts', import.meta.url))});
    new LeasePool({ endpoint: {} });`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    env: { PGTARGETSESSIONATTRS: 'primary' },
    encoding: 'utf8',
  });
  expect(child.stderr).toContain('PGTARGETSESSIONATTRS is set');
});

const EVERY_KIND: DatabaseFailure[] = [
  { kind: 'pool-full', waitMs: 10 },
  { kind: 'pool-closed', why: 'closed' },
  { kind: 'acquire-timeout' },
  { kind: 'connect-failed', code: 'ECONNREFUSED' },
  { kind: 'deadline' },
  { kind: 'connection-lost', code: 'ECONNRESET' },
  { kind: 'unencodable', code: 'TypeError' },
  { kind: 'rejected', sqlstate: '23505', message: 'duplicate key value' },
];
