import { createHash, randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Policy } from '../policies/policy.ts';
import type { ReceiptKind } from '../policies/policy-file.ts';
import type { RegionId } from '../regions/catalogue.ts';
import {
  DatabaseError,
  type Endpoint,
  LeasePool,
  runScript,
  type Sql,
  verbatim,
} from '../regions/postgres.ts';
import { startPostgres, type TestServer } from '../regions/postgres-for-test.ts';
import {
  type Ask,
  type ChainReport,
  checkReceiptChain,
  type ReceiptFinding,
} from './receipt-chain.ts';
import { type Receipt, Receipts, WAITING_MAX } from './receipts.ts';

const YEAR_MS = 365 * 86_400_000;
const LOGINS = ['domicile_writer', 'domicile_reader', 'domicile_abroad', 'domicile_router'];
const limits = { timeoutMs: 30_000 };

let server: TestServer;
/** A private cluster of eu with receipts, and what us remembers of it: two databases of one server. */
let eu: Endpoint;
let us: Endpoint;
const pools: LeasePool[] = [];

beforeAll(async () => {
  server = await startPostgres({ synchronous_commit: 'off' });
  for (const role of LOGINS) {
    await runScript(server.endpoint, `create role ${role} login password 'a'`, limits);
  }
  await makeDatabase('eu_blank', 'eu');
  await makeDatabase('us_blank', 'us');
  eu = await makeDatabase('eu_sealed', 'eu');
  us = await makeDatabase('us_sealed', 'us');
  atEu = asker(eu);
  atUs = asker(us);
  await makeSeals();
});
beforeEach(() => regions('blank'));
afterAll(async () => {
  await closePools();
  await server?.stop();
});

const script = (name: string, region: RegionId) =>
  readFileSync(new URL(`../regions/schema/${name}`, import.meta.url), 'utf8').replaceAll(
    '{{region}}',
    region,
  );

async function makeDatabase(database: string, region: RegionId): Promise<Endpoint> {
  await runScript(server.endpoint, `create database ${database}`, limits);
  const endpoint = { ...server.endpoint, database };
  for (const name of [
    '0001-first-light.sql',
    '0002-enforcement.sql',
    '0003-policy-versions.sql',
    '0004-receipts.sql',
  ]) {
    await runScript(endpoint, `begin;${script(name, region)};commit`, limits);
  }
  await runScript(
    endpoint,
    `grant usage on schema domicile to ${LOGINS.join(', ')};
     grant execute on function domicile.settle to domicile_writer`,
    limits,
  );
  return endpoint;
}

let copies = 0;
async function copyOf(database: string): Promise<Endpoint> {
  const copy = `copy_${++copies}`;
  await runScript(server.endpoint, `create database ${copy} template ${database}`, limits);
  return { ...server.endpoint, database: copy };
}

/** Two regions that have seen nothing, or of which eu has three seals that us knows of. */
async function regions(kind: 'blank' | 'sealed'): Promise<void> {
  await closePools();
  eu = await copyOf(`eu_${kind}`);
  us = await copyOf(`us_${kind}`);
  atEu = asker(eu);
  atUs = asker(us);
}

async function closePools(): Promise<void> {
  await Promise.all(pools.splice(0).map((pool) => pool.close({ timeoutMs: 1_000 })));
}

function poolOf(endpoint: Endpoint, connectionsMax = 1): LeasePool {
  const pool = new LeasePool({
    endpoint,
    connectionsMax,
    waitersMax: 10_000,
    connectTimeoutMs: 5_000,
  });
  pools.push(pool);
  return pool;
}

function asker(endpoint: Endpoint): Ask {
  const pool = poolOf(endpoint);
  return (query) => pool.run(query, limits);
}

let atEu: Ask;
let atUs: Ask;

const keyOf = (name: string) => createHash('sha256').update(name).digest().subarray(0, 16);

/** What `more` throws rolls it back. */
async function settle(pool: LeasePool, name: string, more?: (sql: Sql) => Promise<unknown>) {
  const outcome = await pool.transaction(
    async (sql) => {
      await sql`select domicile.settle(${keyOf(name)}, null, ${name}, 'europe', 'europe', 1)`;
      await sql`
        select domicile.leave_placement(${keyOf(name)}, 1, 'europe', 'europe', null, '/users', 'edge-eu')`;
      await more?.(sql);
    },
    { ...limits, afterCommit: async () => undefined },
  );
  expect(outcome.kind).toBe('applied');
}

/** Placements and refusals in three seals, remembered by us. */
async function makeSeals(): Promise<void> {
  const writer = poolOf({ ...eu, user: 'domicile_writer' });
  for (let seal = 1; seal <= 3; seal++) {
    for (let i = 0; i < 4; i++) await settle(writer, `user ${seal} ${i}`);
    await leave(eu, randomUUID(), 1, [
      refusal({ reason: 'placement-refused', ageMs: seal }),
      refusal({ reason: 'unknown-country', times: 7 }),
    ]);
    await sealAll(atEu);
    await travel();
  }
}

const refusal = (more: object) => ({
  kind: 'refuse',
  times: 1,
  policy: 1,
  route: '/users',
  ageMs: 5,
  ...more,
});

async function leave(at: Endpoint, sender: string, number: number, receipts: readonly object[]) {
  const [row] = await poolOf({ ...at, user: 'domicile_router' }).run(
    (sql) => sql<{ taken: boolean }[]>`
      select domicile.leave_receipts(${sender}::uuid, ${number}, 'edge-eu',
        ${JSON.stringify(receipts)}::text::jsonb) as taken`,
    limits,
  );
  return row?.taken;
}

/** Sealing is held to about once a second, unless there is as much as was asked for. */
async function sealAll(ask: Ask): Promise<void> {
  const [row] = await ask(
    (sql) => sql<{ sealed: number; due: number }[]>`
      select count(*)::int as due, domicile.seal_receipts(count(*)::int) as sealed
      from domicile.receipts_due`,
  );
  expect(row?.sealed).toBe(row?.due);
}

/** What the airlocks do: the newest head of eu arrives at us. */
async function travel(): Promise<void> {
  const [head] = await atEu(
    (sql) => sql<{ seq: string; hash: Buffer; at: Date }[]>`
      select seq, hash, at from domicile.anchors where region = 'eu'`,
  );
  if (head === undefined) return;
  await atUs(
    (sql) => sql`
      insert into domicile.anchors (region, seq, hash, at)
      values ('eu', ${head.seq}, ${head.hash}, ${head.at})
      on conflict (region) do update set seq = excluded.seq, hash = excluded.hash, at = excluded.at`,
  );
}

function check(more: { witnesses?: ReadonlyMap<RegionId, Ask>; unsealedMsMax?: number } = {}) {
  return checkReceiptChain({
    region: 'eu',
    home: atEu,
    witnesses: new Map([['us', atUs]]),
    retentionMs: YEAR_MS,
    ...more,
  });
}

/** As somebody who owns the database and knows about the triggers. */
async function tamper(text: string): Promise<void> {
  await runScript(
    eu,
    `begin;
     alter table domicile.receipts disable trigger all;
     alter table domicile.receipt_seals disable trigger all;
     alter table domicile.receipt_checkpoints disable trigger all;
     alter table domicile.anchors_seen disable trigger all;
     alter table domicile.anchors disable trigger all;
     ${text};
     alter table domicile.anchors enable always trigger anchors_remember;
     commit`,
    limits,
  );
}

const kinds = (report: ChainReport) => report.findings.map(({ kind }) => kind);
const first = (report: ChainReport): ReceiptFinding | undefined => report.findings[0];

describe('a chain that nobody touched', () => {
  test('is whole, and says what it is', async () => {
    await regions('sealed');
    const report = await check();
    expect(report).toMatchObject({
      region: 'eu',
      receipts: 18,
      seals: 3,
      head: { seal: '3', hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
      beginsAfter: undefined,
      witnesses: [
        { region: 'eu', heads: 3 },
        { region: 'us', heads: 3 },
      ],
      silent: [],
      findings: [],
      findingsTotal: 0,
    });
  });

  test('may be empty', async () => {
    expect(await check()).toMatchObject({ receipts: 0, head: undefined, findings: [] });
  });

  test('may have receipts that wait for their seal, but not for long', async () => {
    await leave(eu, randomUUID(), 1, [refusal({ ageMs: 59_000 })]);
    expect(kinds(await check())).toEqual([]);
    await leave(eu, randomUUID(), 1, [refusal({ ageMs: 61_000 })]);
    expect(first(await check())).toMatchObject({ kind: 'receipt-unsealed', receipt: '2' });
  });

  test('is checked as far as the other regions answer', async () => {
    await regions('sealed');
    const dead: Ask = () => Promise.reject(new Error('nobody there'));
    const report = await check({ witnesses: new Map([['asia', dead]]) });
    expect(report).toMatchObject({ silent: ['asia'], findings: [] });
  });
});

describe('tampering is named:', () => {
  beforeEach(() => regions('sealed'));

  /** The third receipt of the second seal. */
  const VICTIM = '9';

  test('a receipt that says something else', async () => {
    await tamper(`update domicile.receipts set rule = 'americas' where id = ${VICTIM}`);
    expect((await check()).findings).toEqual([
      { kind: 'receipt-altered', receipt: VICTIM, seal: '2' },
    ]);
  });

  test('a receipt in which any one column became something else', async () => {
    const changes = [
      "at = at + interval '1 microsecond'",
      "at = 'infinity'",
      "kind = 'forward'",
      'times = 2',
      "subject = decode(repeat('00', 16), 'hex')",
      'subject = null',
      'policy = 2',
      'rule = null',
      "jurisdiction = 'americas'",
      "from_region = 'us'",
      "to_region = 'us'",
      "reason = 'because'",
      "route = '/users/:user'",
      "edge = 'edge-us'",
    ];
    await tamper('create table kept as select * from domicile.receipts');
    const found: unknown[] = [];
    for (const change of changes) {
      await tamper(`update domicile.receipts set ${change} where id = ${VICTIM}`);
      found.push((await check()).findings);
      await tamper(`delete from domicile.receipts where id = ${VICTIM};
        insert into domicile.receipts overriding system value
        select * from kept where id = ${VICTIM}`);
    }
    expect(found).toEqual(
      changes.map(() => [{ kind: 'receipt-altered', receipt: VICTIM, seal: '2' }]),
    );
    expect((await check()).findings).toEqual([]);
  });

  test('a receipt that is gone', async () => {
    await tamper(`delete from domicile.receipts where id = ${VICTIM}`);
    expect((await check()).findings).toEqual([
      { kind: 'receipt-missing', receipt: VICTIM, seal: '2' },
    ]);
  });

  test('a receipt that was slipped in', async () => {
    await tamper(`insert into domicile.receipts (id, at, kind, policy, edge)
      overriding system value values (1000, now() - interval '1 day', 'place', 1, 'edge-eu')`);
    expect((await check()).findings).toEqual([{ kind: 'receipt-inserted', receipt: '1000' }]);
  });

  test('two receipts that have changed places', async () => {
    await tamper(`alter table domicile.receipts alter column id set generated by default;
      update domicile.receipts set id = -1 where id = 8;
      update domicile.receipts set id = 8 where id = 9;
      update domicile.receipts set id = 9 where id = -1`);
    expect((await check()).findings).toEqual([
      { kind: 'receipt-reordered', receipt: '8', seal: '2' },
      { kind: 'receipt-reordered', receipt: '9', seal: '2' },
    ]);
  });

  test('a receipt together with its digest', async () => {
    await tamper(`update domicile.receipts set rule = 'americas' where id = ${VICTIM};
      update domicile.receipt_seals s set digests = (
        select string_agg(domicile.receipt_digest(r), '' order by r.id)
        from domicile.receipts r where r.id = any(s.ids))
      where seq = 2`);
    expect((await check()).findings).toEqual([{ kind: 'seal-altered', seal: '2' }]);
  });

  test('a receipt taken out of its seal as well', async () => {
    await tamper(`update domicile.receipt_seals
      set ids = ids[2:], digests = substr(digests, 33) where seq = 2`);
    expect(kinds(await check())).toEqual(['seal-altered', 'receipt-inserted']);
  });

  test('a seal that is gone', async () => {
    await tamper('delete from domicile.receipt_seals where seq = 2');
    const found = await check();
    expect(first(found)).toEqual({ kind: 'seal-missing', seal: '2', upTo: '2' });
    expect(kinds(found).filter((kind) => kind === 'receipt-inserted')).toHaveLength(6);
  });

  test('a seal that names a receipt of another one', async () => {
    await tamper(`update domicile.receipt_seals set ids = ids || 1::bigint,
      digests = digests || (select domicile.receipt_digest(r) from domicile.receipts r where id = 1)
      where seq = 2`);
    expect(kinds(await check())).toEqual(['seal-altered', 'receipt-sealed-twice']);
  });

  test('a tail that was cut off, as another region remembers it', async () => {
    await tamper(`
      delete from domicile.receipts where id in
        (select unnest(ids) from domicile.receipt_seals where seq = 3);
      delete from domicile.receipt_seals where seq = 3;
      delete from domicile.anchors_seen where seq = 3;
      update domicile.anchors a set seq = s.seq, hash = s.hash
      from domicile.receipt_seals s where s.seq = 2`);
    expect((await check()).findings).toEqual([
      { kind: 'tail-cut', witness: 'us', remembered: '3', head: '2' },
    ]);
    // Alone, a region cannot know.
    expect((await check({ witnesses: new Map() })).findings).toEqual([]);
  });

  test('everything gone', async () => {
    await tamper(`truncate domicile.receipts, domicile.receipt_seals, domicile.anchors,
      domicile.anchors_seen`);
    expect((await check()).findings).toEqual([
      { kind: 'tail-cut', witness: 'us', remembered: '3', head: undefined },
    ]);
  });

  /** The owner lets the database's own function seal another history. */
  async function rewriteFrom(seq: number): Promise<void> {
    await tamper(`
      update domicile.receipts set rule = 'americas' where rule is not null and id in
        (select unnest(ids) from domicile.receipt_seals where seq >= ${seq});
      insert into domicile.receipts_due
        select unnest(ids) from domicile.receipt_seals where seq >= ${seq};
      delete from domicile.receipt_seals where seq >= ${seq};
      delete from domicile.anchors_seen where seq >= ${seq}`);
    for (let at = seq; at <= 3; at++) await atEu((sql) => sql`select domicile.seal_receipts(6)`);
  }

  test('a history that was written anew, as another region remembers it', async () => {
    await rewriteFrom(2);
    expect((await check()).findings).toEqual([
      { kind: 'head-forked', witness: 'us', seal: '2' },
      { kind: 'head-forked', witness: 'us', seal: '3' },
    ]);
    // Alone, a region cannot know.
    expect((await check({ witnesses: new Map() })).findings).toEqual([]);
  });

  test('a history that was written anew and has grown past what was remembered', async () => {
    await rewriteFrom(3);
    await travel();
    await settle(poolOf(eu), 'later');
    await sealAll(atEu);
    await travel();
    expect((await check()).findings).toEqual([{ kind: 'head-forked', witness: 'us', seal: '3' }]);
  });

  test('a beginning that was let go before its time', async () => {
    await tamper(`insert into domicile.receipt_checkpoints (seq, hash, sealed_at)
        select seq, hash, now() - interval '2 years' from domicile.receipt_seals where seq = 2;
      delete from domicile.receipts where id in
        (select unnest(ids) from domicile.receipt_seals where seq <= 2);
      delete from domicile.receipt_seals where seq <= 2;
      delete from domicile.anchors_seen`);
    expect((await check()).findings).toEqual([
      { kind: 'forgotten-too-early', witness: 'us', seal: '2' },
    ]);
  });

  test('a checkpoint that no chain had', async () => {
    await tamper(`insert into domicile.receipt_checkpoints (seq, hash, sealed_at)
        values (2, decode(repeat('ab', 32), 'hex'), now());
      delete from domicile.receipts where id in
        (select unnest(ids) from domicile.receipt_seals where seq <= 2);
      delete from domicile.receipt_seals where seq <= 2`);
    expect(kinds(await check())).toEqual(
      expect.arrayContaining(['head-forked', 'chain-broken', 'forgotten-too-early']),
    );
  });
});

describe('append-only', () => {
  const changes = [
    'update domicile.receipts set edge = edge',
    'delete from domicile.receipts',
    'truncate domicile.receipts',
    'update domicile.receipt_seals set at = at',
    'delete from domicile.receipt_seals',
    'truncate domicile.receipt_seals',
    'update domicile.anchors_seen set at = at',
    'delete from domicile.anchors_seen',
    'truncate domicile.anchors_seen',
  ];
  const attempt = (endpoint: Endpoint, text: string) =>
    runScript(endpoint, text, limits).then(
      () => 'done',
      (error) => error.failure.sqlstate,
    );

  test('not even the owner may update, delete or truncate', async () => {
    await regions('sealed');
    for (const change of changes) {
      expect(`${change} ${await attempt(eu, change)}`).toMatch(/ DM010$/);
      // A session that calls itself a replica has its ordinary triggers switched off.
      const replica = `set session_replication_role = replica; ${change}`;
      expect(`${replica} ${await attempt(eu, replica)}`).toMatch(/ DM010$/);
    }
    expect((await check()).findings).toEqual([]);
  });

  test('no login may touch a table of the chain', async () => {
    await regions('sealed');
    const tables = ['receipts', 'receipts_due', 'receipt_seals', 'receipt_checkpoints', 'anchors'];
    for (const user of LOGINS) {
      for (const table of [...tables, 'anchors_seen', 'receipt_chain', 'receipt_senders']) {
        for (const change of ['select from', 'delete from', 'truncate']) {
          const refused = await attempt({ ...eu, user }, `${change} domicile.${table}`);
          expect(`${user} ${change} ${table} ${refused}`).toMatch(/ 42501$/);
        }
      }
    }
  });

  test('the owner may not invent a checkpoint, and with a true one not delete past it', async () => {
    await regions('sealed');
    const invented = `insert into domicile.receipt_checkpoints (seq, hash, sealed_at)
      values (3, decode(repeat('00', 32), 'hex'), now())`;
    expect(await attempt(eu, invented)).toBe('DM010');
    await runScript(
      eu,
      `insert into domicile.receipt_checkpoints (seq, hash, sealed_at)
       select seq, hash, at from domicile.receipt_seals where seq = 1`,
      limits,
    );
    expect(await attempt(eu, 'delete from domicile.receipts where id <= 7')).toBe('DM010');
    expect(await attempt(eu, 'delete from domicile.receipt_seals where seq = 2')).toBe('DM010');
    expect(await attempt(eu, 'delete from domicile.receipts where id <= 6')).toBe('done');
  });

  test('a receipt of a placement is left by the transaction that settles, and by no other', async () => {
    const writer = poolOf({ ...eu, user: 'domicile_writer' });
    await settle(writer, 'ada');
    await expect(
      writer.run(
        (sql) => sql`
          select domicile.leave_placement(${keyOf('ada')}, 1, 'r', 'j', null, null, 'edge-eu')`,
        limits,
      ),
    ).rejects.toMatchObject({ failure: { sqlstate: 'DM011' } });
    await expect(
      leave(eu, randomUUID(), 1, [{ kind: 'place', times: 1, policy: 1, ageMs: 0 }]),
    ).rejects.toMatchObject({ failure: { sqlstate: '23502' } });
  });

  test('no column takes a name, an address or an id', async () => {
    const values = [
      { route: '/users/ada lovelace' },
      { reason: 'ada@mail.example' },
      { rule: 'Ada' },
      { to: '192.0.2.7' },
      { subject: Buffer.from('ada').toString('hex') },
    ];
    for (const value of values) {
      await expect(leave(eu, randomUUID(), 1, [refusal(value)])).rejects.toMatchObject({
        failure: { sqlstate: '23514' },
      });
    }
  });
});

describe('leaving and sealing', () => {
  test('a batch that is sent again is taken once', async () => {
    const sender = randomUUID();
    expect(await leave(eu, sender, 1, [refusal({})])).toBe(true);
    expect(await leave(eu, sender, 1, [refusal({})])).toBe(false);
    expect(await leave(eu, sender, 2, [refusal({})])).toBe(true);
    expect(await leave(eu, randomUUID(), 1, [refusal({})])).toBe(true);
    await sealAll(atEu);
    expect((await check()).receipts).toBe(3);
  });

  test('a placement that is rolled back leaves none', async () => {
    const writer = poolOf({ ...eu, user: 'domicile_writer' });
    await settle(writer, 'ada', () => Promise.reject(new Error('changed our mind'))).catch(
      () => undefined,
    );
    await settle(writer, 'bob');
    await sealAll(atEu);
    expect(await check()).toMatchObject({ receipts: 1, findings: [] });
  });

  test('a receipt that commits after a younger one was sealed is sealed later', async () => {
    const slow = poolOf({ ...eu, user: 'domicile_writer' });
    const fast = poolOf({ ...eu, user: 'domicile_writer' });
    const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const late = settle(slow, 'late', async (sql) => {
      await sql`select 1`;
      begin();
      await held;
    });
    await begun;
    await settle(fast, 'early');
    await sealAll(atEu);
    expect(await check()).toMatchObject({ receipts: 1, seals: 1, findings: [] });
    letGo();
    await late;
    await sealAll(atEu);
    expect(await check()).toMatchObject({ receipts: 2, seals: 2, findings: [] });
    const seals = await atEu(
      (sql) => sql<{ ids: string[] }[]>`select ids from domicile.receipt_seals order by seq`,
    );
    expect(seals.map(({ ids }) => ids)).toEqual([['2'], ['1']]);
  });

  test('under many writers, sealers and killed sealers none is forgotten and none is doubled', async () => {
    const writers = poolOf({ ...eu, user: 'domicile_writer' }, 6);
    let writing = true;
    let left = 0;
    let sealed = 0;
    let killed = 0;
    const write = async (lane: number) => {
      // On and on until there was enough of both, however fast this machine kills or seals.
      for (let i = 0; i < 120 || killed <= 5 || sealed <= 5; i++) {
        const rolledBack = i % 7 === 0;
        await settle(writers, `${lane} ${i}`, (sql) =>
          rolledBack ? Promise.reject(new Error('no')) : sql`select pg_sleep(0.001)`,
        ).catch(() => undefined);
        if (!rolledBack) left++;
      }
    };
    const sealers = poolOf({ ...eu, user: 'domicile_router' }, 3);
    const seal = async () => {
      while (writing) {
        try {
          // Asked for fewer than wait, it is not held to one seal a second.
          const [row] = await sealers.run(
            (sql) => sql<{ taken: number }[]>`select domicile.seal_receipts(3) as taken`,
            limits,
          );
          if ((row?.taken ?? 0) > 0) sealed++;
        } catch {
          killed++;
        }
      }
    };
    const kill = async () => {
      const ask = asker(eu);
      while (writing) {
        await ask(
          (sql) => sql`
            select pg_terminate_backend(pid) from pg_stat_activity
            where usename = 'domicile_router' and datname = current_database()
              and state = 'active' order by random() limit 1`,
        );
        // Ever more rarely, so that some seals come through on any machine.
        await pause(3 + killed / 4);
      }
    };
    const others = Promise.all([seal(), seal(), seal(), kill()]);
    await Promise.all([0, 1, 2, 3, 4, 5].map(write));
    writing = false;
    await others;
    await sealAll(atEu);
    const report = await check();
    expect(report.findings).toEqual([]);
    expect(report.receipts).toBe(left);
    expect(report.seals).toBeGreaterThanOrEqual(sealed);
  });

  test('a sealer at work keeps nobody from leaving receipts, and other sealers do not wait', async () => {
    await leave(eu, randomUUID(), 1, [refusal({})]);
    const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const holder = poolOf(eu).transaction(
      async (sql) => {
        await sql`select domicile.seal_receipts(1000)`;
        begin();
        await held;
      },
      { ...limits, afterCommit: async () => undefined },
    );
    await begun;
    const quick = { timeoutMs: 2_000 };
    const [other] = await poolOf({ ...eu, user: 'domicile_router' }).run(
      (sql) => sql<{ sealed: number }[]>`select domicile.seal_receipts(1000) as sealed`,
      quick,
    );
    expect(other?.sealed).toBe(0);
    await settle(poolOf({ ...eu, user: 'domicile_writer' }), 'ada');
    letGo();
    await holder;
    await sealAll(atEu);
    expect(await check()).toMatchObject({ receipts: 2, findings: [] });
  });
});

describe('letting go', () => {
  test('takes whole seals from the oldest end and leaves a chain that can be checked', async () => {
    await regions('sealed');
    const [third] = await atEu(
      (sql) => sql<{ at: string }[]>`
        select at::text as at from domicile.receipt_seals where seq = 3`,
    );
    const forget = (before: string, most: number) =>
      atEu(
        (sql) => sql<{ gone: number }[]>`
          select domicile.forget_seals(${before}::timestamptz, ${most}) as gone`,
      ).then(([row]) => row?.gone);
    expect(await forget('-infinity', 10)).toBe(0);
    expect(await forget(third?.at ?? '', 1)).toBe(1);
    const one = await check({ witnesses: new Map() });
    expect(one).toMatchObject({ beginsAfter: '1', seals: 2, receipts: 12 });
    expect(await forget('infinity', 10)).toBe(1);
    const two = await checkReceiptChain({
      region: 'eu',
      home: atEu,
      witnesses: new Map([['us', atUs]]),
      retentionMs: 0,
    });
    // The newest seal stays, or the chain would have nothing to go on from.
    expect(two).toMatchObject({ beginsAfter: '2', seals: 1, receipts: 6, findings: [] });
    await settle(poolOf(eu), 'later');
    await sealAll(atEu);
    expect(await forget('infinity', 10)).toBe(1);
    expect((await check({ witnesses: new Map() })).head?.seal).toBe('4');
  });

  test('an edge may let go of nothing younger than a day', async () => {
    await regions('sealed');
    const router = poolOf({ ...eu, user: 'domicile_router' });
    const forget = (ms: number) =>
      router.run((sql) => sql`select domicile.forget_receipts(${ms}::bigint)`, limits);
    await expect(forget(86_399_999)).rejects.toMatchObject({ failure: { sqlstate: 'DM012' } });
    await forget(86_400_000);
    expect((await check()).seals).toBe(3);
    await expect(
      router.run((sql) => sql(verbatim(`select domicile.forget_seals('infinity', 9)`)), limits),
    ).rejects.toMatchObject({ failure: { sqlstate: '42501' } });
  });
});

describe('what a region remembers of another', () => {
  const arrives = (seq: number, hash: string) =>
    atUs(
      (sql) => sql`
        insert into domicile.anchors (region, seq, hash, at)
        values ('eu', ${seq}, ${Buffer.alloc(32, hash)}, now())
        on conflict (region) do update set seq = excluded.seq, hash = excluded.hash`,
    );
  /** As if everything had been seen so much earlier, all in one minute. */
  const later = (interval: string) =>
    runScript(
      us,
      `begin; alter table domicile.anchors_seen disable trigger anchors_seen_update;
       update domicile.anchors_seen
       set seen_at = date_trunc('hour', now() - interval '${interval}') + seq * interval '1 second';
       alter table domicile.anchors_seen enable always trigger anchors_seen_update; commit`,
      limits,
    );
  const thin = () => atUs((sql) => sql`select domicile.thin_anchors()`);
  const seen = () =>
    atUs(
      (sql) => sql<{ seq: string; back: boolean }[]>`
        select seq, back from domicile.anchors_seen order by seq, back`,
    ).then((rows) => rows.map(({ seq, back }) => `${seq}${back ? ' back' : ''}`));

  test('is thinned to the last head of a minute once it is not fresh', async () => {
    for (const seq of [1, 2, 3]) await arrives(seq, 'a');
    await thin();
    expect(await seen()).toEqual(['1', '2', '3']);
    await later('2 hours');
    await thin();
    expect(await seen()).toEqual(['3']);
  });

  test('survives when the other region deletes its own, and keeps what contradicts it', async () => {
    for (const seq of [1, 2, 3]) await arrives(seq, 'a');
    await atUs((sql) => sql`delete from domicile.anchors where region = 'eu'`);
    for (const seq of [2, 3, 4]) await arrives(seq, 'b');
    expect(await seen()).toEqual(['1', '2', '2 back', '3', '3 back', '4']);
    await runScript(
      us,
      `begin; alter table domicile.anchors_seen disable trigger anchors_seen_update;
       update domicile.anchors_seen set seen_at = date_trunc('hour', now() - interval '2 hours')
         + (seq + case when hash = decode(repeat('62', 32), 'hex') then 10 else 0 end)
           * interval '1 second';
       alter table domicile.anchors_seen enable always trigger anchors_seen_update; commit`,
      limits,
    );
    await thin();
    // The first one is superseded by its own successors; the rest is evidence.
    expect(await seen()).toEqual(['2', '2 back', '3', '3 back', '4']);
  });
});

describe('an edge', () => {
  /** An edge's receipts over a real primary, and what the test does to each statement. */
  function receipts(
    around: (run: () => Promise<unknown>) => Promise<unknown> = (run) => run(),
    keep: readonly ReceiptKind[] = ['refuse'],
  ) {
    const pool = poolOf({ ...eu, user: 'domicile_router' });
    let nowMs = 0;
    const policy = { version: 4, receipts: { keep, retentionMs: YEAR_MS } } as unknown as Policy;
    const one = new Receipts({
      onPrimary: <T>(query: (sql: Sql) => Promise<T>, timeoutMs: number) =>
        around(() => pool.run(query, { timeoutMs })) as Promise<T>,
      policy: () => policy,
      edge: 'edge-eu',
      sender: randomUUID(),
      now: () => nowMs,
    });
    return {
      leave: (receipt: Receipt) => one.leave(policy, receipt),
      flush: () => one.flush(),
      pass: (ms: number) => {
        nowMs += ms;
      },
    };
  }
  const rows = () =>
    atEu(
      (sql) => sql<{ kind: string; times: number; reason: string; age_ms: number }[]>`
        select kind, times, reason,
          (extract(epoch from clock_timestamp() - at) * 1000)::float8 as age_ms
        from domicile.receipts order by id`,
    );
  const lost = () => Promise.reject(new DatabaseError({ kind: 'deadline' }));

  test('writes equal receipts as one, with the time of the first and their number', async () => {
    const edge = receipts();
    for (let i = 0; i < 5; i++) {
      edge.leave({ kind: 'refuse', reason: 'unknown-country' });
      edge.pass(1_000);
    }
    edge.leave({ kind: 'refuse', reason: 'misdirected', from: 'us' });
    await edge.flush();
    const [country, other] = await rows();
    expect(country).toMatchObject({ kind: 'refuse', times: 5, reason: 'unknown-country' });
    expect(country?.age_ms).toBeGreaterThanOrEqual(5_000);
    expect(other).toMatchObject({ times: 1, reason: 'misdirected' });
    expect(other?.age_ms).toBeLessThan(5_000);
  });

  test('leaves none of a kind that the policy does not keep', async () => {
    const edge = receipts(undefined, ['redirect']);
    edge.leave({ kind: 'refuse', reason: 'misdirected' });
    edge.leave({ kind: 'forward', from: 'us' });
    edge.leave({ kind: 'redirect', to: 'us' });
    await edge.flush();
    expect((await rows()).map(({ kind }) => kind)).toEqual(['redirect']);
  });

  test('sends a batch again when the answer was lost, and it counts once', async () => {
    let answers = 0;
    const edge = receipts(async (run) => {
      const answer = await run();
      return ++answers === 1 ? lost() : answer;
    });
    edge.leave({ kind: 'refuse', reason: 'misdirected' });
    await edge.flush();
    edge.leave({ kind: 'refuse', reason: 'unknown-country' });
    await edge.flush();
    await edge.flush();
    expect(answers).toBe(3);
    expect((await rows()).map(({ reason }) => reason)).toEqual(['misdirected', 'unknown-country']);
  });

  test('keeps receipts while the primary is away, up to a limit, and says how many were lost', async () => {
    let away = true;
    const edge = receipts((run) => (away ? lost() : run()));
    edge.leave({ kind: 'refuse', reason: 'first' });
    await edge.flush();
    for (let i = 0; i < WAITING_MAX + 25; i++) {
      edge.leave({ kind: 'refuse', reason: 'later', route: `/${i}` });
    }
    await edge.flush();
    away = false;
    edge.pass(60_000);
    await edge.flush();
    await edge.flush();
    const written = await rows();
    expect(written).toHaveLength(1 + WAITING_MAX + 1);
    expect(written[0]?.age_ms).toBeGreaterThanOrEqual(60_000);
    expect(written.at(-1)).toMatchObject({
      kind: 'dropped',
      times: 25,
      reason: 'too-many-at-once',
    });
  });

  test('gives up a batch that the database will never take, and says so', async () => {
    const edge = receipts();
    edge.leave({ kind: 'refuse', reason: 'Not A Word' });
    await edge.flush();
    edge.leave({ kind: 'refuse', reason: 'misdirected' });
    await edge.flush();
    expect((await rows()).map(({ kind, times }) => `${kind} ${times}`)).toEqual([
      'refuse 1',
      'dropped 1',
    ]);
  });
});
