import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { checkCommand } from './policy-command.ts';

const app = fileURLToPath(new URL('../examples/storefront/app.ts', import.meta.url));

async function check(sql: string) {
  const folder = await mkdtemp(join(tmpdir(), 'domicile-check-'));
  try {
    const schema = join(folder, 'schema.sql');
    await writeFile(schema, sql);
    const { lines, exitCode } = await checkCommand({ app, schema, withSchema: true });
    return { lines: lines.map((line) => line.replaceAll(folder, '')), exitCode };
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('the storefront’s policy fits the storefront’s schema', async () => {
  const { lines, exitCode } = await checkCommand({ app, withSchema: true });
  expect(exitCode).toBe(0);
  expect(lines[0]).toMatch(/ and for the 4 tables of examples\/storefront\/schema\.sql\.$/);
});

test('a table that the policy does not name is found while the schema is still a file', async () => {
  const { lines, exitCode } = await check(`
    create table users (id text primary key, display_name text);
    create table orders (id uuid primary key, user_id text);
    create table order_items (id uuid primary key, user_id text not null);
    create table products (id text primary key);
    create table invoices (id uuid primary key);
  `);
  expect(exitCode).toBe(1);
  expect(lines).toEqual([
    expect.stringMatching(
      /residency\.yaml:\d+:1 {2}tables\.invoices: the database has this table, but the policy does not name it$/,
    ),
    expect.stringMatching(
      /residency\.yaml:\d+:\d+ {2}tables\.orders\.subject: user_id may be null in orders, /,
    ),
  ]);
});

test('a schema that PostgreSQL refuses, or that is not there, is a complaint of its own', async () => {
  expect(await check('create tabel users ();')).toEqual({
    lines: [expect.stringMatching(/^\/schema\.sql:1:8 {2}.*syntax error/)],
    exitCode: 1,
  });
  const schema = join(tmpdir(), 'domicile-no-such-schema.sql');
  expect(await checkCommand({ app, schema, withSchema: true })).toMatchObject({
    lines: [`${schema}  no such file`],
    exitCode: 1,
  });
});
