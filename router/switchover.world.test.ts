/** What clients notice when a primary is replaced in good order: nothing but a pause. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GATE_KEY } from './keeper/switchover.ts';
import {
  type Answer,
  COUNTRY_OF,
  eventually,
  LAMP,
  newId,
  newUser,
  problemOf,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  tokenOf,
} from './world-for-tests.ts';

let domicile: TestDomicile;

beforeAll(async () => {
  // Who else uses the machine should not decide whether a request is late.
  domicile = await startTestDomicile({ edgeSettings: { DOMICILE_BUDGET_MS: '8000' } });
  const { port } = new URL(domicile.catalogue.regions.get('eu')?.keeper?.url ?? '');
  keeper = createServer((_, answer) => answer.end(JSON.stringify(record)));
  await once(keeper.listen(Number(port), '127.0.0.1'), 'listening');
});
afterAll(async () => {
  keeper?.close();
  await domicile?.remove();
});

/** What eu's keeper would answer, from a record that the test writes. */
let keeper: Server;
let record = {
  region: 'eu',
  version: 1,
  primary: 'eu-a',
  timeline: 1,
  standbys: ['eu-b'],
  pending: null,
};

type Done = { what: string; edge: string; answer: Answer; endedAtMs: number; key?: string };

/** Clients of every kind at every edge, each of whom asks again when it was answered. */
function crowd(users: readonly string[]) {
  const done: Done[] = [];
  const created: string[] = [];
  let isOver = false;
  const strong = { 'domicile-consistency': 'strong' };
  const one = async (edge: string, what: string, user: string, index: number) => {
    let token: string | undefined;
    for (let turn = 0; !isOver; turn++) {
      const path = `/users/${user}/orders`;
      const key = `${what}-${edge}-${index}-${turn}`;
      const newcomer = newUser(COUNTRY_OF.eu);
      const nameless = { ...newcomer, id: undefined };
      const ways: Record<string, () => Promise<Answer>> = {
        write: () => domicile.call(edge, 'POST', path, { token, body: LAMP }),
        keyed: () =>
          domicile.call(edge, 'POST', path, {
            token,
            body: LAMP,
            headers: { 'idempotency-key': key },
          }),
        read: () => domicile.call(edge, 'GET', path, { token }),
        strong: () => domicile.call(edge, 'GET', path, { token, headers: strong }),
        create: () => domicile.call(edge, 'POST', '/users', { body: nameless }),
        claim: () => domicile.call(edge, 'POST', '/users', { body: newcomer }),
      };
      const answer = await ways[what]?.();
      if (answer === undefined) throw new RangeError(what);
      token = tokenOf(answer) ?? token;
      if (answer.status === 201 && 'id' in (answer.json ?? {}) && /create|claim/.test(what)) {
        created.push(answer.json.id);
      }
      done.push({ what, edge, answer, endedAtMs: performance.now(), key });
      await sleep(15);
    }
  };
  const lanes = REGIONS.flatMap((edge, at) => [
    one(edge, 'write', users[at] ?? '', 0),
    one(edge, 'keyed', users[at] ?? '', 1),
    one(edge, 'read', users[at] ?? '', 2),
    one(edge, 'strong', users[at] ?? '', 3),
    one(edge, at === 0 ? 'claim' : 'create', '', 4),
  ]);
  const stop = async () => {
    isOver = true;
    await Promise.all(lanes);
  };
  return { done, created, stop };
}

const isWrite = ({ what }: Done) => what !== 'read' && what !== 'strong';

/** The longest time between two acknowledged writes. */
function pauseMs(done: readonly Done[]): number {
  const at = done.filter(isWrite).map(({ endedAtMs }) => endedAtMs);
  at.sort((a, b) => a - b);
  return Math.max(...at.slice(1).map((ms, index) => ms - (at[index] ?? ms)));
}

/** Shuts the gate of eu-a while `use` runs. */
async function behindGate<T>(use: () => Promise<T>): Promise<T> {
  return domicile.sql(
    'eu-a',
    async (sql) => {
      await sql`select pg_advisory_lock(${GATE_KEY}::bigint)`;
      try {
        return await use();
      } finally {
        await sql`select pg_advisory_unlock(${GATE_KEY}::bigint)`;
      }
    },
    20_000,
  );
}

/** How many connections stand at the gate. */
async function atTheGate(): Promise<number> {
  const [row] = await domicile.sql(
    'eu-a',
    (sql) => sql<{ n: number }[]>`
      select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted`,
  );
  return row?.n ?? -1;
}

/** More than the sixteen connections that would stand at the gate, if they could. */
const WRITERS = 30;

describe('while the gate is shut', () => {
  const strong = { headers: { 'domicile-consistency': 'strong' } };
  let path: string;

  beforeAll(async () => {
    const user = newUser(COUNTRY_OF.eu);
    path = `/users/${user.id}`;
    expect((await domicile.call('eu', 'POST', '/users', { body: user })).status).toBe(201);
  });

  const orders = async () =>
    (await domicile.call('eu', 'GET', `${path}/orders?limit=100`, strong)).json;

  test('writes wait without a connection each, reads of every level go on', async () => {
    // On a machine with much else to do the reads below take longer than a budget.
    const settings = { DOMICILE_BUDGET_MS: '12000' };
    const { url, child } = await domicile.startEdge({ region: 'eu', settings });
    let answers: Promise<Answer[]> | undefined;
    const answeredAtMs: number[] = [];
    let shutUntilMs = 0;
    await behindGate(async () => {
      const write = async () => {
        const answer = await domicile.call(url, 'POST', `${path}/orders`, { body: LAMP });
        answeredAtMs.push(performance.now());
        return answer;
      };
      answers = Promise.all(Array.from({ length: WRITERS }, write));
      await sleep(300);
      for (const edge of REGIONS) {
        expect((await domicile.call(edge, 'GET', path, strong)).status).toBe(200);
        expect((await domicile.call(edge, 'GET', path)).status).toBe(200);
      }
      // One asks whether it is open.
      expect(await atTheGate()).toBeLessThanOrEqual(1);
      expect((await orders()).orders).toEqual([]);
      shutUntilMs = performance.now();
    });
    const written = (await answers) ?? [];
    await child.stop();
    expect(written.filter(({ status }) => status !== 201).map(({ text }) => text)).toEqual([]);
    expect(Math.min(...answeredAtMs)).toBeGreaterThanOrEqual(shutUntilMs);
    expect((await orders()).orders.length).toBe(WRITERS);
  });

  test('a write that cannot wait any longer is told that it did not happen', async () => {
    const before = (await orders()).orders.length;
    const settings = { DOMICILE_BUDGET_MS: '2000' };
    const { url, child } = await domicile.startEdge({ region: 'eu', settings });
    const answer = await behindGate(() =>
      domicile.call(url, 'POST', `${path}/orders`, { body: LAMP }),
    );
    await child.stop();
    expect(problemOf(answer)).toEqual([503, 'write-not-applied', 'safe']);
    expect(answer.ms).toBeGreaterThan(1_000);
    expect(answer.ms).toBeLessThan(4_000);
    expect((await orders()).orders.length).toBe(before);
    expect((await domicile.call('us', 'POST', `${path}/orders`, { body: LAMP })).status).toBe(201);
  });
});

test('a gate that nobody opens again is open when its time is over', async () => {
  const user = newUser(COUNTRY_OF.eu);
  const create = () => domicile.call('eu', 'POST', '/users', { body: user });
  await domicile.sql('eu-a', (sql) => sql`select domicile.shut_gate(1500)`);
  const answer = await create();
  expect(answer.status).toBe(201);
  expect(answer.ms).toBeGreaterThan(1_000);
});

test('a switchover under load fails no request, loses no write and doubles none', async () => {
  const users: string[] = [];
  for (let n = 0; n < REGIONS.length; n++) {
    const user = newUser(COUNTRY_OF.eu, newId('mover'));
    expect((await domicile.call('eu', 'POST', '/users', { body: user })).status).toBe(201);
    users.push(user.id);
  }
  const { done, created, stop } = crowd(users);
  await eventually('everybody is at it', async () => done.length > 200);
  const quietMs = pauseMs(done);
  const beganAtMs = performance.now();
  await domicile
    .sql('eu-a', async (sql) => {
      await sql`select pg_advisory_lock(${GATE_KEY}::bigint)`;
      await sql`select domicile.shut_gate(10000)`;
      await domicile.clusters.halt('eu-a');
    })
    .catch(() => {});
  const haltedAtMs = performance.now();
  record = { ...record, version: 2, primary: 'eu-b', timeline: 2, standbys: [] };
  await domicile.sql('eu-b', async (sql) => {
    await sql`alter system set synchronous_standby_names = ''`;
    await sql`alter system set synchronized_standby_slots = ''`;
    await sql`select pg_reload_conf()`;
    await sql`select pg_promote(true, 20)`;
  });
  const promotedAtMs = performance.now();
  const before = done.length;
  await eventually('everybody is at it again', async () => done.length > before + 200);
  await stop();

  const failed = done.filter(({ answer }) => answer.status >= 300);
  const followedMs =
    Math.min(
      ...done
        .filter((one) => isWrite(one) && one.endedAtMs > haltedAtMs)
        .map(({ endedAtMs }) => endedAtMs),
    ) - promotedAtMs;
  console.log(
    JSON.stringify({
      requests: done.length,
      failed: failed.map(({ what, edge, answer }) => [
        what,
        edge,
        answer.status,
        answer.text,
        answer.ms,
      ]),
      pauseMs: Math.round(pauseMs(done)),
      quietMs: Math.round(quietMs),
      haltMs: Math.round(haltedAtMs - beganAtMs),
      promoteMs: Math.round(promotedAtMs - haltedAtMs),
      followedMs: Math.round(followedMs),
      slowest: Object.fromEntries(
        ['write', 'keyed', 'read', 'strong', 'create', 'claim'].map((kind) => [
          kind,
          Math.round(
            Math.max(...done.filter(({ what }) => what === kind).map(({ answer }) => answer.ms)),
          ),
        ]),
      ),
    }),
  );
  expect(failed.map(({ what, edge, answer }) => [what, edge, answer.status, answer.text])).toEqual(
    [],
  );

  // Each was answered, so each is there once, and nothing else is.
  const acknowledged = done
    .filter(({ what }) => what === 'write' || what === 'keyed')
    .map(({ answer }) => answer.json.id as string);
  const stored = await domicile.sql(
    'eu-b',
    (sql) =>
      sql<
        { id: string }[]
      >`select id::text from app.orders where user_id = any(${sql.array(users)})`,
  );
  expect(stored.map(({ id }) => id).sort()).toEqual(acknowledged.sort());
  const [settled] = await domicile.sql(
    'eu-b',
    (sql) => sql<{ n: number }[]>`
      select count(*)::int as n from app.users where id = any(${sql.array(created)})`,
  );
  expect(settled?.n).toBe(created.length);
  expect(created.length).toBeGreaterThan(0);
});
