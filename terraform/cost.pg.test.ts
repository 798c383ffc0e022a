/** Does a row take as many bytes in PostgreSQL as the arithmetic says? */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LeasePool, verbatim } from '../regions/postgres.ts';
import { startPostgres, type TestServer } from '../regions/postgres-for-test.ts';
import { ROW_BYTES } from './cost.ts';

const ROWS = 20_000;
/** Pages that are not full, metapages, and how a B-tree happened to split. */
const TOLERANCE = 0.2;

const text = (path: string) => readFileSync(join(import.meta.dirname, '..', path), 'utf8');

let server: TestServer;
let pool: LeasePool;

beforeAll(async () => {
  server = await startPostgres({ autovacuum: 'off' });
  pool = new LeasePool({
    endpoint: server.endpoint,
    connectionsMax: 1,
    waitersMax: 8,
    connectTimeoutMs: 10_000,
    settings: {},
  });
});

afterAll(async () => {
  await pool?.close({ timeoutMs: 1_000 });
  await server?.stop();
});

/** A table of a released script, by itself. */
function definition(path: string, table: string): string {
  const found = new RegExp(`create table (?:domicile\\.)?${table} \\([\\s\\S]*?^\\);`, 'm').exec(
    text(path),
  );
  return (found?.[0] ?? '')
    .replace('domicile.', '')
    .replace(/ references \w+( on delete \w+)?/g, '');
}

const UUID = `gen_random_uuid()`;
const KEY = `decode(replace(${UUID}::text, '-', ''), 'hex')`;
const AT = `timestamptz '2026-01-01 00:00:00.123456+00'`;

test.each([
  {
    table: 'directory',
    as: [
      definition('regions/schema/0001-first-light.sql', 'directory'),
      'create unique index on directory (key, home)',
    ],
    row: `(key, home, settled_at) select ${KEY}, 'asia', ${AT}`,
    bytes: ROW_BYTES.directory,
  },
  {
    table: 'residents',
    as: [definition('regions/schema/0002-enforcement.sql', 'residents')],
    row: `select ${UUID}::text, ${KEY}, 'asia-pacific', 'asia-pacific', 1, ${AT}`,
    bytes: ROW_BYTES.residents,
  },
  {
    table: 'users',
    as: [definition('examples/storefront/schema.sql', 'users')],
    row: `select ${UUID}::text, 'Hanako Suzuki', 'hanako.suzuki@example.jp', 'JP', ${AT}`,
    bytes: ROW_BYTES.users,
  },
  {
    table: 'orders',
    as: [
      definition('examples/storefront/schema.sql', 'orders').replace('uuidv7()', UUID),
      'create index on orders (user_id, placed_at desc, id desc)',
    ],
    row: `select ${UUID}, ${UUID}::text, 'placed', 1, 8900, ${AT}`,
    bytes: ROW_BYTES.orders,
  },
  {
    table: 'order_items',
    as: [definition('examples/storefront/schema.sql', 'order_items')],
    row: `select ${UUID}, 1, ${UUID}::text, 'kettle-steel', 'Stoneware teacup 1', 4200, 1`,
    bytes: ROW_BYTES.orderItems,
  },
])('one of $table', async ({ table, as, row, bytes }) => {
  const size = await pool.run(
    async (sql) => {
      for (const statement of as) await sql(verbatim(statement));
      // One by one would be true to life and slow; the order of the keys is random all the same.
      await sql(verbatim(`insert into ${table} ${row} from generate_series(1, ${ROWS})`));
      const [found] = await sql(verbatim(`select pg_total_relation_size('${table}')::int as size`));
      return Number(found?.size);
    },
    { timeoutMs: 60_000 },
  );
  expect(size / ROWS).toBeGreaterThan(bytes * (1 - TOLERANCE));
  expect(size / ROWS).toBeLessThan(bytes * (1 + TOLERANCE));
});
