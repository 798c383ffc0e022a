/** What the other regions' clients notice when every server of one region is gone. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  type Answer,
  COUNTRY_OF,
  eventually,
  LAMP,
  newId,
  newUser,
  problemOf,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
} from './world-for-tests.ts';

/** An edge's budget, and what a busy machine adds. */
const BUDGET_MS = 2_000;
const SLACK_MS = 1_500;

const ABROAD = ['us', 'asia'] as const;

let domicile: TestDomicile;
let folder: string;
let policyText: string;
/** A user of each home. */
const users = { us: '', eu: '', asia: '' };

/** The storefront's policy, which also lets cards of Europeans be read abroad. */
async function policyWithCards(): Promise<string> {
  const text = await readFile(join(dirname(STOREFRONT), 'residency.yaml'), 'utf8');
  return text
    .replace('homes: [us, asia]', 'homes: [us, eu, asia]')
    .replaceAll('    regions: [eu]\n', '    regions: [eu]\n    copies: [us, asia]\n');
}

/** What a line of the policy file says. */
const lineOf = ({ line }: { line: number }) => policyText.split('\n')[line - 1]?.trim();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'domicile-test-'));
  policyText = await policyWithCards();
  const policy = join(folder, 'residency.yaml');
  await writeFile(policy, policyText);
  domicile = await startTestDomicile({ policy });
  for (const home of ['us', 'eu', 'asia'] as const) {
    const user = newUser(COUNTRY_OF[home]);
    expect((await domicile.call(home, 'POST', '/users', { body: user })).status).toBe(201);
    users[home] = user.id;
  }
  for (const edge of ABROAD) {
    await eventually('the card has arrived', async () => {
      const card = await domicile.call(edge, 'GET', `/users/${users.eu}/card`);
      return String(card.headers['domicile-decision']).includes('rung=mirror');
    });
  }
});
afterAll(async () => {
  await domicile?.remove();
  await rm(folder, { recursive: true, force: true });
});

/** Reads and writes of us and asia, each at home, until it is told to end. */
function others() {
  const answers: Answer[] = [];
  let isOver = false;
  const lanes = ABROAD.flatMap((home) => {
    const path = `/users/${users[home]}/orders`;
    const loop = async (method: string) => {
      while (!isOver) {
        const body = method === 'POST' ? LAMP : undefined;
        answers.push(await domicile.call(home, method, path, { body }));
        await sleep(20);
      }
    };
    return [loop('GET'), loop('POST')];
  });
  const stop = async () => {
    isOver = true;
    await Promise.all(lanes);
    return answers;
  };
  return { answers, stop };
}

function quantileMs(answers: readonly Answer[], part: number): number {
  const sorted = answers.map(({ ms }) => ms).sort((a, b) => a - b);
  return Math.round(sorted[Math.floor(sorted.length * part)] ?? 0);
}

async function usersOf(node: string, ids: readonly string[]): Promise<number> {
  const [row] = await domicile.sql(
    node,
    (sql) => sql<{ n: number }[]>`
      select count(*)::int as n from app.users where id = any(${sql.array(ids)})`,
  );
  return row?.n ?? -1;
}

test('a region that is well serves everybody', async () => {
  for (const edge of ABROAD) {
    expect((await domicile.call(edge, 'GET', `/users/${users.eu}/orders`)).status).toBe(200);
  }
});

describe('a region whose every server is killed', () => {
  let calm: readonly Answer[];
  let stopOthers: () => Promise<Answer[]>;

  beforeAll(async () => {
    const before = others();
    await eventually('a picture of the others', async () => before.answers.length > 150);
    calm = await before.stop();
    const during = others();
    stopOthers = during.stop;
    await eventually('others are at it', async () => during.answers.length > 20);
    const eu = domicile.catalogue.regions.get('eu');
    for (const { name } of eu?.edges ?? []) domicile.world.edges.get(name)?.kill('SIGKILL');
    for (const { name } of [...(eu?.nodes ?? []), ...(eu?.airlocks ?? [])]) {
      domicile.clusters.kill(name, 'SIGKILL');
    }
  });

  test.each(ABROAD)(
    'at %s its people are refused in time, by the rule that keeps them',
    async (edge) => {
      const path = `/users/${users.eu}/orders`;
      for (let turn = 0; turn < 3; turn++) {
        for (const method of ['GET', 'POST']) {
          const body = method === 'POST' ? LAMP : undefined;
          const answer = await domicile.call(edge, method, path, { body });
          expect(answer.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
          expect(problemOf(answer)).toEqual([503, 'residency-unavailable', 'safe']);
          expect(answer.headers['domicile-decision']).toBe('refuse;because=residency-unavailable');
          expect(answer.json).toMatchObject({
            home: 'eu',
            rule: { says: 'failover.scope', file: 'residency.yaml' },
          });
          expect(lineOf(answer.json.rule)).toBe('failover: { scope: region }');
          expect(answer.json.detail).toContain('failover.scope, residency.yaml line');
        }
      }
    },
  );

  test.each(ABROAD)('at %s nobody is created elsewhere instead', async (edge) => {
    const named = newUser('DE', newId('dark'));
    const nameless = { ...newUser('FR'), id: undefined };
    const headers = { 'idempotency-key': newId('key') };
    for (const call of [{ body: named }, { body: nameless }, { body: nameless, headers }]) {
      const answer = await domicile.call(edge, 'POST', '/users', call);
      expect(problemOf(answer)).toEqual([503, 'residency-unavailable', 'safe']);
      expect(answer.json.rule.says).toMatch(/^placement\[\d+\]$/);
      expect(lineOf(answer.json.rule)).toMatch(/rule: europe/);
      expect(answer.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
    }
    for (const node of ['us-a', 'asia-a']) {
      expect(await usersOf(node, [named.id])).toBe(0);
      const [row] = await domicile.sql(
        node,
        (sql) => sql<{ n: number }[]>`
          select count(*)::int as n from app.users where country in ('DE', 'FR')`,
      );
      expect(row?.n).toBe(0);
    }
  });

  test('others are created as before, with ids of their choice as well', async () => {
    for (const home of ABROAD) {
      for (const body of [
        newUser(COUNTRY_OF[home]),
        { ...newUser(COUNTRY_OF[home]), id: undefined },
      ]) {
        expect((await domicile.call(home, 'POST', '/users', { body })).status).toBe(201);
      }
    }
  });

  test.each(ABROAD)('at %s copies of its data are served on, older and older', async (edge) => {
    const card = () => domicile.call(edge, 'GET', `/users/${users.eu}/card`);
    const ages: number[] = [];
    for (let turn = 0; turn < 3; turn++) {
      const answer = await card();
      expect([answer.status, answer.json.id]).toEqual([200, users.eu]);
      expect(answer.headers['domicile-decision']).toContain('rung=mirror');
      ages.push(Number(answer.headers['domicile-staleness-ms']));
      await sleep(300);
    }
    expect(ages[0]).toBeGreaterThan(0);
    expect(ages).toEqual(ages.toSorted((a, b) => a - b));
    expect((ages[2] ?? 0) - (ages[0] ?? 0)).toBeGreaterThan(400);
  });

  test('others have noticed nothing', async () => {
    const dark = await stopOthers();
    expect(dark.filter(({ status }) => status >= 300).map(problemOf)).toEqual([]);
    expect(dark.length).toBeGreaterThan(100);
    // A request that waited for the dark region, at any step, would wait for its budget.
    expect(quantileMs(dark, 0.99)).toBeLessThan(
      Math.max(BUDGET_MS / 2, 2 * quantileMs(calm, 0.99)),
    );
  });
});
