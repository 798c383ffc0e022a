import { afterAll, beforeAll, expect, test } from 'vitest';
import type { LocalClusters } from '../regions/local/start-clusters.ts';
import { ask, makeTestWorld, type TestWorld } from '../regions/local/world-for-tests.ts';
import { runScript } from '../regions/postgres.ts';
import { isPlainName, isReserved } from './sql-words.ts';

let world: TestWorld;
let clusters: LocalClusters;
beforeAll(async () => {
  world = await makeTestWorld();
  clusters = await world.start();
}, 60_000);
afterAll(async () => {
  await clusters?.stop();
  await world?.remove();
});

test('the words that SQL keeps for itself are the ones that PostgreSQL says it keeps', async () => {
  const words = await ask(
    clusters,
    'us-a',
    (sql) => sql<{ word: string; kept: boolean }[]>`
      select word, catcode in ('R', 'T') as kept from pg_get_keywords()`,
  );
  expect(words.length).toBeGreaterThan(400);
  const disagreed = words.filter(({ word, kept }) => isReserved(word) !== kept);
  expect(disagreed).toEqual([]);
});

test('every other key word names a table and a column without quotes', async () => {
  const statements: string[] = [];
  await ask(clusters, 'us-a', async (sql) => {
    const words = await sql<{ word: string }[]>`select word from pg_get_keywords()`;
    for (const { word } of words.filter((one) => isPlainName(one.word))) {
      statements.push(
        `create temp table ${word} (${word} text); select ${word} from ${word} where (${word} = 'x'); drop table ${word};`,
      );
    }
  });
  expect(statements.length).toBeGreaterThan(300);
  // In one go: thousands of round trips outlast a deadline on a busy machine.
  await runScript(clusters.superuser('us-a'), statements.join('\n'), { timeoutMs: 60_000 });
});

test('a column called user would be read as the current role', async () => {
  const rows = await ask(clusters, 'us-a', async (sql) => {
    await sql`create temp table people (id int, "user" text)`;
    await sql`insert into people values (1, 'ada')`;
    return sql`select user = current_user as role from people`;
  });
  expect(rows).toEqual([{ role: true }]);
  expect(isPlainName('user')).toBe(false);
});
