import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Tls } from './catalogue.ts';
import { certificateFiles, makeAuthority, makeCertificate } from './certificates-for-tests.ts';
import { scramVerifier } from './local/administer.ts';
import { type DatabaseError, type Endpoint, LeasePool, runScript } from './postgres.ts';
import { startPostgres, startWire, type TestServer, type Wire } from './postgres-for-test.ts';
import { failureInWords, identifySystem, ReplicationSession } from './replication-client.ts';

const LIMITS = { timeoutMs: 10_000 };
const CANARY = 'canary-5be10c94';
const PASSWORD = 'a secret with spaces';

const authority = makeAuthority();
const stranger = makeAuthority('Another authority');
const FULL: Tls = { mode: 'verify-full', ca: authority.ca };
const FULL_STRANGER: Tls = { mode: 'verify-full', ca: stranger.ca };

let folder: string;
/** Lets in who comes over TLS, and nobody else. */
let server: TestServer;
/** Its certificate ran out an hour ago. */
let expired: TestServer;
/** Has no TLS at all. */
let plain: TestServer;
let wire: Wire;
const listeners: net.Server[] = [];

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'domicile-tls-'));
  chmodSync(folder, 0o711);
  const hba = join(folder, 'pg_hba.conf');
  writeFileSync(
    hba,
    `hostssl all,replication peer 127.0.0.1/32 scram-sha-256
     hostssl all,replication all 127.0.0.1/32 trust\n`,
  );
  const settings = (name: string, hours = {}) => {
    mkdirSync(join(folder, name));
    const certificate = makeCertificate(authority, ['localhost'], hours);
    return { hba_file: hba, ...certificateFiles(join(folder, name), certificate) };
  };
  server = await startPostgres({ ...settings('good'), wal_level: 'logical' });
  expired = await startPostgres(settings('expired', { fromHours: -3, toHours: -1 }));
  plain = await startPostgres();
  const verifier = scramVerifier(PASSWORD, Buffer.alloc(16, 7));
  await runScript(
    at(server, FULL),
    `create role peer login replication password '${verifier}'`,
    LIMITS,
  );
});
beforeEach(async () => {
  wire = await startWire(server.endpoint);
});
afterEach(async () => {
  await wire.close();
  for (const listener of listeners.splice(0)) listener.close();
});
afterAll(async () => {
  await Promise.all([server, expired, plain].map((one) => one?.stop()));
  rmSync(folder, { recursive: true, force: true });
});

/** By the name that its certificate has. */
function at({ endpoint }: Pick<TestServer, 'endpoint'>, tls?: Tls, host = 'localhost'): Endpoint {
  return { ...endpoint, name: 'eu-a', host, ...(tls !== undefined && { tls }) };
}

const IS_ENCRYPTED = 'select ssl::text as ssl from pg_stat_ssl where pid = pg_backend_pid()';

/** Each way of ours to a server: what it says after one question, or why it did not get there. */
const ways: Record<string, (endpoint: Endpoint, connectTimeoutMs?: number) => Promise<string>> = {
  async 'a pool'(endpoint, connectTimeoutMs = 5_000) {
    const pool = new LeasePool({ endpoint, connectionsMax: 2, waitersMax: 2, connectTimeoutMs });
    try {
      const rows = await pool.run(
        (sql) => sql<{ ssl: boolean }[]>`
          select ssl from pg_stat_ssl where pid = pg_backend_pid()`,
        LIMITS,
      );
      return `encrypted: ${rows[0]?.ssl}`;
    } catch (error) {
      return (error as DatabaseError).message;
    } finally {
      await pool.close(LIMITS);
      expect(pool.stats()).toMatchObject({ open: 0, leased: 0, waiting: 0 });
    }
  },
  async 'a script'(endpoint, timeoutMs = LIMITS.timeoutMs) {
    const script = `do $$ begin raise '%', (${IS_ENCRYPTED}) using errcode = '40000'; end $$`;
    return runScript(endpoint, script, { timeoutMs }).then(
      () => 'no answer',
      (error: DatabaseError) =>
        // What a function raises is not repeated, so the class stands for "true".
        error.failure.kind === 'rejected' && error.failure.sqlstate === '40000'
          ? 'encrypted: true'
          : error.message,
    );
  },
  async 'a replication session'(endpoint, timeoutMs = LIMITS.timeoutMs) {
    const opened = await ReplicationSession.open(endpoint, { as: 'database', timeoutMs });
    if (opened.kind === 'failed') return failureInWords(opened.failure);
    const answer = await opened.session.query(IS_ENCRYPTED);
    opened.session.close();
    return answer.kind === 'failed'
      ? failureInWords(answer.failure)
      : `encrypted: ${answer.rows[0]?.ssl}`;
  },
};

describe.each(Object.entries(ways))('%s', (_, ask) => {
  test('is encrypted under each mode that says so, and goes where the mode allows', async () => {
    expect(await ask(at(server, FULL))).toBe('encrypted: true');
    const byAddress = '127.0.0.1';
    expect(await ask(at(server, { mode: 'verify-ca', ca: authority.ca }, byAddress))).toBe(
      'encrypted: true',
    );
    expect(await ask(at(server, { mode: 'require' }, byAddress))).toBe('encrypted: true');
    // Wherever the name led.
    expect(await ask({ ...at(server, FULL, byAddress), serverName: 'localhost' })).toBe(
      'encrypted: true',
    );
  });

  test('refuses a certificate of an authority that it does not believe', async () => {
    const words = `eu-a at localhost:${server.endpoint.port}: its certificate comes from no authority that is believed here`;
    expect(await ask(at(server, FULL_STRANGER))).toContain(words);
    expect(await ask(at(server, { ...FULL_STRANGER, mode: 'verify-ca' }))).toContain(words);
    const namesake = makeAuthority(authority.name);
    expect(await ask(at(server, { ...FULL, ca: namesake.ca }))).toContain(words);
    // Those of Node do not know it either.
    expect(await ask(at(server, { mode: 'verify-full' }))).toContain(words);
  });

  test('refuses a certificate for another name, of a host or of whom the address was for', async () => {
    const words = 'its certificate is for another host name';
    expect(await ask(at(server, FULL, '127.0.0.1'))).toContain(`eu-a at 127.0.0.1`);
    expect(await ask(at(server, FULL, '127.0.0.1'))).toContain(words);
    expect(await ask({ ...at(server, FULL), serverName: 'eu-b.example' })).toContain(words);
  });

  test('refuses a certificate that has expired, of whatever name', async () => {
    const words = 'has expired';
    expect(await ask(at(expired, FULL))).toContain(words);
    expect(await ask(at(expired, { ...FULL, mode: 'verify-ca' }))).toContain(words);
    expect(await ask(at(expired, { mode: 'require' }))).toBe('encrypted: true');
  });

  test.each(['require', 'verify-ca', 'verify-full'] as const)(
    'under %s a server without TLS hears that it was asked for it, and nothing else',
    async (mode) => {
      const tap = await startWire(plain.endpoint);
      const sent: string[] = [];
      tap.onSent = (text) => sent.push(text) > 0;
      const tls = { mode, ...(mode !== 'require' && { ca: authority.ca }) };
      expect(await ask(at(tap, tls))).toContain(
        `eu-a at localhost:${tap.endpoint.port}: it offers no TLS, and plain text is not tried in its place`,
      );
      expect(sent).toEqual(['\0\0\0\u0008\u0004\u00d2\u0016\u002f']);
      expect(tap.opened()).toBe(1);
      await tap.close();
    },
  );

  test('in plain text is not let in by a server that wants TLS, and is told so', async () => {
    const words = /no encryption|its pg_hba.conf lets us in over TLS at most/;
    expect(await ask(at(server))).toMatch(words);
    expect(await ask(at(server, { mode: 'disable' }))).toMatch(words);
  });

  test('nothing that came in plain text with the yes is taken for an answer', async () => {
    const port = await answering((socket) => socket.write(`S${'R\0\0\0\u0008\0\0\0\0'}`));
    expect(
      await ask(at({ endpoint: { ...server.endpoint, port } }, { mode: 'require' })),
    ).toContain('it does not answer as a PostgreSQL server that is asked for TLS');
  });

  test.each([
    ['to the question', () => {}],
    ['after a yes', (socket: net.Socket) => socket.write('S')],
  ])('does not wait longer than it may for a server that is silent %s', async (_words, answer) => {
    const port = await answering(answer);
    const endpoint = at({ endpoint: { ...server.endpoint, port } }, FULL);
    const begunMs = performance.now();
    expect(await ask(endpoint, 300)).toMatch(/CONNECT_TIMEOUT|deadline|no answer in time/);
    expect(performance.now() - begunMs).toBeLessThan(3_000);
  });

  test('an address where nobody listens is just that', async () => {
    const port = await answering(() => {});
    listeners.pop()?.close();
    await vi.waitFor(async () => {
      const endpoint = at({ endpoint: { ...server.endpoint, port } }, FULL);
      expect(await ask(endpoint)).toContain('ECONNREFUSED');
    });
  });

  test('a server that hangs up in the middle of it is one that was not reached', async () => {
    const port = await answering((socket) => {
      socket.write('S');
      setImmediate(() => socket.resetAndDestroy());
    });
    const endpoint = at({ endpoint: { ...server.endpoint, port } }, FULL);
    expect(await ask(endpoint)).toMatch(/CONNECTION_CLOSED|ECONNRESET|handshake/);
  });
});

test('a pool that is destroyed in the middle of a handshake leaves no socket', async () => {
  const met = Promise.withResolvers<net.Socket>();
  const port = await answering((socket) => {
    socket.write('S');
    socket.once('data', () => met.resolve(socket));
  });
  const endpoint = at({ endpoint: { ...server.endpoint, port } }, FULL);
  const pool = new LeasePool({
    ...{ endpoint, connectionsMax: 1, waitersMax: 1, connectTimeoutMs: 60_000 },
  });
  const asked = pool.run((sql) => sql`select 1`, { timeoutMs: 60_000 });
  const failure = asked.catch((error: DatabaseError) => error.failure);
  const socket = await met.promise;
  pool.destroy('over');
  expect(await failure).toEqual({ kind: 'connect-failed', code: 'POOL_DESTROYED' });
  await pool.close(LIMITS);
  await vi.waitFor(() => expect(socket.destroyed).toBe(true));
});

test('a password is proved over TLS as it is in plain text', async () => {
  const peer = { ...at(server, FULL), user: 'peer', password: PASSWORD };
  for (const ask of Object.values(ways)) {
    expect(await ask(peer)).toBe('encrypted: true');
    expect(await ask({ ...peer, password: 'another' })).toContain('28P01');
  }
});

describe('whoever listens between', () => {
  let heard: string;
  beforeEach(() => {
    heard = '';
    wire.onSent = (text) => {
      heard += text;
      return true;
    };
    wire.onAnswered = (text) => {
      heard += text;
    };
  });

  /** Asks for the canary with each of the three, so that it passes in both directions. */
  async function talk(endpoint: Endpoint): Promise<void> {
    const pool = new LeasePool({
      ...{ endpoint, connectionsMax: 1, waitersMax: 1, connectTimeoutMs: 5_000 },
    });
    const rows = await pool.run((sql) => sql`select ${CANARY} || '-answer' as text`, LIMITS);
    expect(rows).toEqual([{ text: `${CANARY}-answer` }]);
    await pool.close(LIMITS);
    await runScript(endpoint, `select '${CANARY}'`, LIMITS);
    const opened = await ReplicationSession.open(endpoint, { as: 'database', ...LIMITS });
    if (opened.kind === 'failed') throw new Error(failureInWords(opened.failure));
    expect((await identifySystem(opened.session)).kind).toBe('identified');
    expect(await opened.session.query(`select '${CANARY}' as text`)).toMatchObject({
      rows: [{ text: CANARY }],
    });
    opened.session.close();
  }

  test('hears everything in plain text, and nothing over TLS', async () => {
    const listener = await startWire(plain.endpoint);
    listener.onSent = wire.onSent;
    listener.onAnswered = wire.onAnswered;
    await talk(listener.endpoint);
    await listener.close();
    expect(heard).toContain(CANARY);
    expect(heard).toContain(`${CANARY}-answer`);
    expect(heard).toContain('user\0postgres');
    const inPlain = heard.length;
    heard = '';
    await talk(at(wire, FULL));
    // Evidence that it listened.
    expect(heard.length).toBeGreaterThan(inPlain);
    for (const word of [CANARY, 'postgres', 'select', 'domicile'])
      expect(heard).not.toContain(word);
  });
});

test.each([
  ['in plain text', () => plain, undefined],
  ['over TLS', () => server, FULL],
] as const)('the files and the log of a cluster come %s', async (_, of, tls) => {
  const listener = await startWire(of().endpoint);
  let heard = '';
  listener.onAnswered = (text) => {
    heard += text;
  };
  const limits = { timeoutMs: 60_000, bytesMax: 2_000_000 };
  const open = async () => {
    const opened = await ReplicationSession.open(at(listener, tls), { as: 'physical', ...LIMITS });
    if (opened.kind === 'failed') throw new Error(failureInWords(opened.failure));
    return opened.session;
  };
  const files = new Set<string>();
  const backup = await (await open()).baseBackup({ wal: false, ...limits }, (file) => {
    files.add(file);
    return undefined;
  });
  expect(backup).toMatchObject({ kind: 'streamed', ended: 'bytes' });
  expect(files).toContain('backup_label');
  const reader = await open();
  const system = await identifySystem(reader);
  if (system.kind === 'failed') throw new Error(failureInWords(system.failure));
  await runScript(at(of(), tls), `select pg_logical_emit_message(true, 'x', '${CANARY}')`, LIMITS);
  let log = '';
  const streamed = await reader.physicalLog(
    { slot: undefined, from: system.flushed, until: system.flushed + 100_000n, ...limits },
    (bytes) => {
      log += bytes.toString('latin1');
      return log.includes(CANARY) || undefined;
    },
  );
  expect(streamed).toMatchObject({ kind: 'streamed', ended: 'enough' });
  await listener.close();
  expect(heard.length).toBeGreaterThan(2_000_000);
  for (const word of [CANARY, 'backup_label']) {
    if (tls === undefined) expect(heard).toContain(word);
    else expect(heard).not.toContain(word);
  }
});

describe('one server that subscribes to another', () => {
  /** Tells the subscriber to read the other server like this; what stands against it, if anything. */
  async function subscribe(words: string): Promise<string> {
    const to = `host=localhost port=${server.endpoint.port} dbname=postgres user=postgres ${words}`;
    const subscription = `create subscription mirror connection '${to}' publication mirror`;
    const opened = await ReplicationSession.open(at(plain), { as: 'plain', ...LIMITS });
    if (opened.kind === 'failed') throw new Error(failureInWords(opened.failure));
    const answer = await opened.session.query(subscription);
    opened.session.close();
    return answer.kind === 'failed' ? failureInWords(answer.failure) : 'subscribed';
  }

  beforeAll(async () => {
    for (const [name, { ca }] of Object.entries({ authority, stranger })) {
      writeFileSync(join(folder, `${name}.pem`), ca, { mode: 0o644 });
    }
    const table = 'create table mirrored (text text)';
    await runScript(at(plain), table, LIMITS);
    await runScript(
      at(server, FULL),
      `${table}; create publication mirror for table mirrored`,
      LIMITS,
    );
  });

  test('is held to what libpq’s words say, and its worker comes over TLS', async () => {
    expect(await subscribe('sslmode=disable')).toContain('no encryption');
    const refused = await subscribe(`sslmode=verify-full sslrootcert=${folder}/stranger.pem`);
    expect(refused).toContain('certificate verify failed');
    const full = `sslmode=verify-full sslrootcert=${folder}/authority.pem`;
    expect(await subscribe(full)).toBe('subscribed');
    const pool = new LeasePool({
      ...{ endpoint: at(server, FULL), connectionsMax: 1, waitersMax: 1, connectTimeoutMs: 5_000 },
    });
    await vi.waitFor(
      async () => {
        const rows = await pool.run(
          (sql) => sql`
            select ssl from pg_stat_ssl join pg_stat_replication using (pid)
            where application_name = 'mirror'`,
          LIMITS,
        );
        expect(rows).toEqual([{ ssl: true }]);
      },
      { timeout: 20_000 },
    );
    await pool.close(LIMITS);
    await runScript(at(plain), 'alter subscription mirror disable', LIMITS);
  });
});

test('the environment cannot switch verification off', async () => {
  const script = `
    const { LeasePool } = await import(${JSON.stringify(new URL('./postgres.ts', import.meta.url))});
    const endpoint = ${JSON.stringify(at(server, FULL_STRANGER))};
    const pool = new LeasePool({ endpoint, connectionsMax: 1, waitersMax: 1, connectTimeoutMs: 9000 });
    await pool.run((sql) => sql\`select 1\`, { timeoutMs: 9000 }).then(
      () => console.log('connected'), (error) => console.log(error.failure.code));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: '0' },
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  let out = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  await once(child, 'close');
  expect(out.trim()).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE');
});

test('an address with a file that nobody has read is a mistake of ours', async () => {
  const endpoint = at(server, { mode: 'verify-full', caFile: 'ca.pem' });
  const words = 'ca.pem was not read';
  await expect(runScript(endpoint, 'select 1', LIMITS)).rejects.toThrow(words);
  const open = ReplicationSession.open(endpoint, { as: 'plain', ...LIMITS });
  await expect(open).rejects.toThrow(words);
  const pool = { endpoint, connectionsMax: 1, waitersMax: 1, connectTimeoutMs: 1 };
  expect(() => new LeasePool(pool)).toThrow(words);
});

/** A server that does one thing with whoever has asked for TLS. */
async function answering(answer: (socket: net.Socket) => void): Promise<number> {
  const listener = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.once('data', () => answer(socket));
  });
  listeners.push(listener);
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return (listener.address() as AddressInfo).port;
}
