import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { scramVerifier } from './local/administer.ts';
import { lsnFromPostgres } from './position.ts';
import type { Endpoint } from './postgres.ts';
import { startPostgres, type TestServer } from './postgres-for-test.ts';
import {
  identifySystem,
  makePhysicalSlot,
  ReplicationSession,
  type SessionKind,
} from './replication-client.ts';

const TIMEOUT_MS = 20_000;
const MUCH = 1_000_000_000;
const CANARY = 'canary-4f9a02c7';

let server: TestServer;
beforeAll(async () => {
  server = await startPostgres({ wal_level: 'logical', password_encryption: 'scram-sha-256' });
  const session = await open('plain');
  const verifier = scramVerifier('a secret with spaces', Buffer.alloc(16, 7));
  await must(
    session.query(`create role peer login replication password '${verifier}';
      create table note (id int primary key, text text);
      insert into note values (1, '${CANARY}'), (2, null);
      checkpoint`),
  );
  session.close();
});
afterAll(() => server?.stop());

async function open(as: SessionKind, to: Partial<Endpoint> = {}): Promise<ReplicationSession> {
  const opened = await ReplicationSession.open(
    { ...server.endpoint, ...to },
    { as, timeoutMs: TIMEOUT_MS },
  );
  if (opened.kind === 'failed') throw new Error(JSON.stringify(opened.failure));
  return opened.session;
}

async function must<T extends { kind: string }>(
  answer: Promise<T>,
): Promise<Exclude<T, { kind: 'failed' }>> {
  const given = await answer;
  if (given.kind === 'failed') throw new Error(JSON.stringify(given));
  return given as Exclude<T, { kind: 'failed' }>;
}

async function flushed(session: ReplicationSession): Promise<bigint> {
  const { rows } = await must(session.query('select pg_current_wal_flush_lsn() as at'));
  return lsnFromPostgres(rows[0]?.at ?? '');
}

describe('plain SQL', () => {
  test('answers with rows as text, and null stays null', async () => {
    const session = await open('plain');
    expect(await session.query('select id, text from note order by id')).toEqual({
      kind: 'rows',
      rows: [
        { id: '1', text: CANARY },
        { id: '2', text: null },
      ],
    });
    session.close();
  });

  test('a refusal is a value with its SQLSTATE, and the session goes on', async () => {
    const session = await open('plain');
    expect(await session.query('select * from nothing')).toMatchObject({
      kind: 'failed',
      failure: { kind: 'rejected', sqlstate: '42P01' },
    });
    expect(await session.query('select 1 as one')).toEqual({ kind: 'rows', rows: [{ one: '1' }] });
    session.close();
  });

  test('a table is read in full, and not beyond what was allowed', async () => {
    const session = await open('plain');
    const read: string[] = [];
    const all = await session.copyOut(
      'copy (select n from generate_series(1, 50000) n) to stdout',
      { timeoutMs: TIMEOUT_MS, bytesMax: MUCH },
      (row) => {
        read.push(row.toString());
        return undefined;
      },
    );
    expect(all).toMatchObject({ kind: 'streamed', ended: 'complete' });
    expect(read.length).toBe(50_000);
    expect(read.at(-1)).toBe('50000\n');
    const some = await session.copyOut(
      'copy (select n from generate_series(1, 50000) n) to stdout',
      { timeoutMs: TIMEOUT_MS, bytesMax: 1_000 },
      () => undefined,
    );
    expect(some).toMatchObject({ kind: 'streamed', ended: 'bytes' });
    expect(some.kind === 'streamed' && some.bytes).toBeGreaterThan(1_000);
    expect(some.kind === 'streamed' && some.bytes).toBeLessThan(1_100);
  });
});

describe('a base backup', () => {
  test('hands over the file with the row, and says where in it', async () => {
    const session = await open('database');
    const files = new Map<string, Buffer>();
    const outcome = await session.baseBackup(
      { wal: false, timeoutMs: TIMEOUT_MS, bytesMax: MUCH },
      (file, bytes) => {
        files.set(file, Buffer.concat([files.get(file) ?? Buffer.alloc(0), bytes]));
        return undefined;
      },
    );
    expect(outcome).toMatchObject({ kind: 'streamed', ended: 'complete' });
    const hits = [...files].filter(([, bytes]) => bytes.includes(CANARY)).map(([name]) => name);
    expect(hits.length).toBe(1);
    expect(hits[0]).toMatch(/^base\/\d+\/\d+$/);
    expect([...files.keys()]).toContain('global/pg_control');
    expect(files.get('PG_VERSION')?.toString()).toBe('18\n');
    // The session still answers.
    expect(await identifySystem(session)).toMatchObject({ kind: 'identified', timeline: 1 });
    session.close();
  });

  test('is left as soon as the reader has enough, or was given too much', async () => {
    const limits = { wal: false, timeoutMs: TIMEOUT_MS, bytesMax: MUCH };
    const left = await (await open('database')).baseBackup(limits, () => true);
    expect(left).toMatchObject({ kind: 'streamed', ended: 'enough' });
    const cut = await (await open('database')).baseBackup(
      { ...limits, bytesMax: 100_000 },
      () => undefined,
    );
    expect(cut).toMatchObject({ kind: 'streamed', ended: 'bytes' });
  });
});

describe('the log', () => {
  test('as bytes holds what was written since the slot was made, up to a position', async () => {
    const session = await open('database');
    const plain = await open('plain');
    await must(makePhysicalSlot(session, 'physically'));
    const before = await must(identifySystem(session));
    await must(plain.query(`insert into note values (3, 'physical-${CANARY}')`));
    const until = await flushed(plain);
    const parts: Buffer[] = [];
    const outcome = await session.physicalLog(
      {
        slot: 'physically',
        from: before.flushed,
        until,
        timeoutMs: TIMEOUT_MS,
        bytesMax: MUCH,
      },
      (bytes) => {
        parts.push(Buffer.from(bytes));
        return undefined;
      },
    );
    expect(outcome).toMatchObject({ kind: 'streamed', ended: 'enough' });
    expect(Buffer.concat(parts).includes(`physical-${CANARY}`)).toBe(true);
    await must(plain.query(`insert into note values (30, 'not asked for')`));
    plain.close();
  });

  test('decoded holds rows and messages, and ends where nothing more is to come', async () => {
    const session = await open('database');
    const plain = await open('plain');
    await must(session.query('CREATE_REPLICATION_SLOT logically TEMPORARY LOGICAL test_decoding'));
    await must(
      plain.query(`insert into note values (4, 'logical-${CANARY}');
        select pg_logical_emit_message(true, 'test', 'message-${CANARY}')`),
    );
    const until = await flushed(plain);
    let text = '';
    const outcome = await session.logicalLog(
      { slot: 'logically', from: 0n, until, timeoutMs: TIMEOUT_MS, bytesMax: MUCH },
      (bytes) => {
        text += bytes.toString();
        return undefined;
      },
    );
    expect(outcome).toMatchObject({ kind: 'streamed', ended: 'enough' });
    expect(text).toContain(`logical-${CANARY}`);
    expect(text).toContain(`message-${CANARY}`);
    plain.close();
  });

  test('stays open through silence longer than the server suffers without a sign of life', async () => {
    const session = await open('database');
    const plain = await open('plain');
    await must(plain.query(`alter system set wal_sender_timeout = '600ms'`));
    await must(plain.query('select pg_reload_conf()'));
    await must(makePhysicalSlot(session, 'patiently'));
    const before = await must(identifySystem(session));
    const outcome = await session.physicalLog(
      {
        slot: 'patiently',
        from: before.flushed,
        until: before.flushed + 1_000_000_000n,
        timeoutMs: 3_000,
        bytesMax: MUCH,
      },
      () => undefined,
    );
    // The end is our own deadline, five times as long as the server's patience.
    expect(outcome).toEqual({ kind: 'failed', failure: { kind: 'deadline' } });
    await must(plain.query('alter system reset wal_sender_timeout'));
    await must(plain.query('select pg_reload_conf()'));
    plain.close();
  });
});

describe('who cannot get in, or on, learns why', () => {
  test('nobody listens', async () => {
    const opened = await ReplicationSession.open(
      { ...server.endpoint, port: 1 },
      { as: 'plain', timeoutMs: TIMEOUT_MS },
    );
    expect(opened).toEqual({
      kind: 'failed',
      failure: { kind: 'connect-failed', code: 'ECONNREFUSED' },
    });
  });

  test('somebody listens and never answers', async () => {
    const mute = net.createServer(() => {}).listen(0, '127.0.0.1');
    await once(mute, 'listening');
    const { port } = mute.address() as AddressInfo;
    const opened = await ReplicationSession.open(
      { ...server.endpoint, port },
      { as: 'plain', timeoutMs: 300 },
    );
    expect(opened).toEqual({ kind: 'failed', failure: { kind: 'deadline' } });
    mute.close();
  });

  test('somebody answers in another protocol', async () => {
    const other = net.createServer((socket) => {
      socket.on('error', () => {});
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n');
    });
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    const { port } = other.address() as AddressInfo;
    const opened = await ReplicationSession.open(
      { ...server.endpoint, port },
      { as: 'plain', timeoutMs: TIMEOUT_MS },
    );
    expect(opened).toMatchObject({ kind: 'failed', failure: { kind: 'not-understood' } });
    other.close();
  });

  test('the role may not replicate', async () => {
    const plain = await open('plain');
    await must(plain.query('create role guest login'));
    const opened = await ReplicationSession.open(
      { ...server.endpoint, user: 'guest' },
      { as: 'database', timeoutMs: TIMEOUT_MS },
    );
    expect(opened).toMatchObject({
      kind: 'failed',
      failure: { kind: 'rejected', sqlstate: '42501' },
    });
    plain.close();
  });
});

describe('with a password', () => {
  let strict: TestServer;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'domicile-hba-'));
    chmodSync(folder, 0o755);
    const hba = join(folder, 'pg_hba.conf');
    const lines = ['host all postgres all trust', 'host all all all scram-sha-256', ''];
    writeFileSync(hba, lines.join('\n'), { mode: 0o644 });
    strict = await startPostgres({ hba_file: hba });
    const admin = await ReplicationSession.open(strict.endpoint, {
      as: 'plain',
      timeoutMs: TIMEOUT_MS,
    });
    if (admin.kind === 'failed') throw new Error(JSON.stringify(admin));
    const verifier = scramVerifier('a secret with spaces', Buffer.alloc(16, 7));
    await must(admin.session.query(`create role peer login replication password '${verifier}'`));
    admin.session.close();
  });
  afterAll(async () => {
    await strict?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const as = (user: string, password: string) =>
    ReplicationSession.open(
      { ...strict.endpoint, user, password },
      { as: 'database', timeoutMs: TIMEOUT_MS },
    );

  test('the right one opens, a wrong one is refused as such', async () => {
    const right = await as('peer', 'a secret with spaces');
    expect(right.kind).toBe('open');
    if (right.kind === 'open') right.session.close();
    expect(await as('peer', 'another')).toEqual({
      kind: 'failed',
      failure: {
        kind: 'rejected',
        sqlstate: '28P01',
        message: 'password authentication failed for user "peer"',
      },
    });
  });
});
