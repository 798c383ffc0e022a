import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Endpoint } from '../regions/postgres.ts';
import {
  type Failed,
  makePhysicalSlot,
  ReplicationSession,
  type SessionKind,
} from '../regions/replication-client.ts';
import { encodingsOf } from './audit/canary-encodings.ts';
import { CanaryScanner } from './audit/canary-scanner.ts';
import { Gathering } from './audit/channel.ts';
import { plantControl, removeControl } from './audit/cluster-control.ts';
import { type Copy, flushedPosition, PeerTap } from './audit/peer-copies.ts';
import { scanFolder } from './audit/scan-files.ts';
import {
  COUNTRY_OF,
  clustersOf,
  eventually,
  LAMP,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  tablesWith,
  type Where,
} from './world-for-tests.ts';

const LIMITS = { timeoutMs: 60_000, bytesMax: 1_000_000_000 };
const OPEN_MS_MAX = 15_000;
const REFUSED_LOGIN = '28P01';
const NO_HBA_LINE = '28000';

type Credential = {
  /** Who holds it, and on whose airlock it was issued. */
  peer: Where;
  of: Where;
  airlock: string;
  user: string;
  password: string;
};

let domicile: TestDomicile;
let credentials: Credential[];
/** Canaries by home; what a policy lets out is apart from what it keeps. */
const kept = {} as Record<Where, string[]>;
const letOut = {} as Record<Where, string[]>;
const taps = new Map<string, PeerTap>();

const draw = () => `Cn${randomBytes(9).toString('hex')}`;
const nameOf = ({ peer, of }: Credential) => `${peer} at the airlock of ${of}`;

beforeAll(async () => {
  domicile = await startTestDomicile();
  credentials = (await Promise.all(REGIONS.map(credentialsOf))).flat();
  // The slots come first: what is written from now on can be streamed from them.
  for (const credential of credentials) {
    const slot = `attack_by_${credential.peer}`;
    const opened = await PeerTap.open(atAirlock(credential), slot, LIMITS);
    if (opened.kind === 'failed') throw new Error(JSON.stringify(opened.failure));
    taps.set(nameOf(credential), opened.tap);
  }
  for (const region of ['us', 'eu', 'asia'] as const) {
    const [id, email, displayName] = [draw(), draw(), draw()];
    const body = {
      id,
      displayName,
      email: `${email}@canary.example`,
      country: COUNTRY_OF[region],
    };
    // Nothing is lost when it is told to come again: a busy machine may need longer than a budget.
    await eventually(`somebody lives in ${region}`, async () => {
      const { status } = await domicile.call(region, 'POST', '/users', { body });
      return status === 201 || status === 409;
    });
    await eventually(`somebody of ${region} has an order`, async () => {
      const order = await domicile.call(region, 'POST', `/users/${id}/orders`, { body: LAMP });
      return order.status === 201;
    });
    // The policy of the storefront mirrors id and display name of everybody but those in eu.
    kept[region] = region === 'eu' ? [id, email, displayName] : [email];
    letOut[region] = region === 'eu' ? [] : [id, displayName];
  }
  // What may leave has arrived in the airlocks, so what may not would have, too.
  for (const region of ['us', 'asia'] as const) {
    const [id = ''] = letOut[region];
    await eventually(`the card of ${region} in its airlock`, async () => {
      return (await tablesWith(domicile, `${region}-x`, id)).length > 0;
    });
  }
});
afterAll(async () => {
  for (const tap of taps.values()) await tap.drop();
  await domicile?.remove();
});

/** What a region really holds: the words of its subscriptions and the password files they name. */
async function credentialsOf(peer: Where): Promise<Credential[]> {
  const subscriptions = await domicile.sql(
    `${peer}-a`,
    (sql) => sql<{ conninfo: string }[]>`select subconninfo as conninfo from pg_subscription`,
  );
  return Promise.all(
    subscriptions.map(async ({ conninfo }) => {
      const words = Object.fromEntries(conninfo.split(' ').map((word) => word.split('=', 2)));
      const to = { host: words.host, port: Number(words.port) };
      const airlock = clustersOf(domicile).find(
        ({ node }) => domicile.clusters.superuser(node).port === to.port,
      );
      if (airlock === undefined || domicile.clusters.role(airlock.node) !== 'airlock') {
        throw new Error(`a subscription to nobody's airlock: ${conninfo}`);
      }
      const [line = ''] = (await readFile(words.passfile, 'utf8')).split('\n');
      const password = line.split(':')[4] ?? '';
      return {
        peer,
        of: airlock.region as Where,
        airlock: airlock.node,
        user: words.user,
        password,
      };
    }),
  );
}

function atAirlock({ airlock, user, password }: Credential): Endpoint {
  return { ...domicile.clusters.superuser(airlock), user, password };
}

function scannerFor(control: string): CanaryScanner {
  const all = [control, ...REGIONS.flatMap((home) => [...kept[home], ...letOut[home]])];
  return new CanaryScanner(all.flatMap(encodingsOf));
}

function canariesIn(copies: readonly Copy[]): string[] {
  return [...new Set(copies.flatMap(({ hits }) => hits.map(({ canary }) => canary)))].sort();
}

/** undefined: let in. */
async function login(endpoint: Endpoint, as: SessionKind): Promise<Failed['failure'] | undefined> {
  const opened = await ReplicationSession.open(endpoint, { as, timeoutMs: OPEN_MS_MAX });
  if (opened.kind === 'failed') return opened.failure;
  opened.session.close();
  return undefined;
}

/** Plants a control in an airlock and copies everything that a peer can get hold of there. */
async function attack(credential: Credential): Promise<Copy[]> {
  const tap = taps.get(nameOf(credential));
  if (tap === undefined) throw new Error(nameOf(credential));
  const control = draw();
  return domicile.sql(
    credential.airlock,
    async (sql) => {
      const planted = await plantControl(sql, control);
      try {
        return await tap.collect(scannerFor(control), control, planted.until);
      } finally {
        await removeControl(sql, planted);
      }
    },
    LIMITS.timeoutMs * 4,
  );
}

test('a region holds a credential for the airlock of each peer, and for nothing else', () => {
  const held = credentials.map(nameOf).sort();
  const expected = REGIONS.flatMap((peer) =>
    REGIONS.filter((of) => of !== peer).map((of) => `${peer} at the airlock of ${of}`),
  );
  expect(held).toEqual(expected.sort());
});

describe('from its own airlock a peer copies', () => {
  const pairs = REGIONS.flatMap((peer) =>
    REGIONS.filter((of) => of !== peer).map((of) => [peer, of] as const),
  );
  test.each(pairs)(
    'as %s from %s: everything, and nothing that the policy keeps',
    async (peer, of) => {
      const credential = credentials.find((one) => one.peer === peer && one.of === of);
      if (credential === undefined) throw new Error('no such credential');
      const copies = await attack(credential);
      // Every way worked, and would have shown a canary: the control went the same way.
      expect(
        copies.map(({ kind, because, controlFound }) => [kind, because, controlFound]),
      ).toEqual([
        ['base backup', undefined, true],
        ['log', undefined, true],
        ['decoded log', undefined, true],
        ['tables', undefined, true],
      ]);
      expect(copies.find(({ kind }) => kind === 'base backup')?.bytes).toBeGreaterThan(5_000_000);
      expect(canariesIn(copies)).toEqual([...letOut[of]].sort());
      // Over each channel by itself: what may leave is there, what may not is not.
      for (const copy of copies) {
        expect(canariesIn([copy]), copy.kind).toEqual([...letOut[of]].sort());
      }
    },
  );
});

test('the same search finds every canary of its home in a private cluster, with a superuser', async () => {
  for (const region of REGIONS) {
    const owner = { ...domicile.clusters.superuser(`${region}-a`) };
    const opened = await PeerTap.open(owner, 'audit_control', LIMITS);
    if (opened.kind === 'failed') throw new Error(JSON.stringify(opened.failure));
    const control = draw();
    const [id, email, displayName] = [draw(), draw(), draw()];
    const country = COUNTRY_OF[region];
    const body = { id, displayName, email: `${email}@canary.example`, country };
    expect((await domicile.call(region, 'POST', '/users', { body })).status).toBe(201);
    const fresh = [id, email, displayName];
    const copies = await domicile.sql(
      `${region}-a`,
      async (sql) => {
        const planted = await plantControl(sql, control);
        const all = [control, ...kept[region], ...letOut[region], ...fresh];
        const scanner = new CanaryScanner(all.flatMap(encodingsOf));
        const found = await opened.tap.collect(scanner, control, planted.until);
        await removeControl(sql, planted);
        return found;
      },
      LIMITS.timeoutMs,
    );
    const before = [...kept[region], ...letOut[region]];
    for (const copy of copies) {
      expect(copy).toMatchObject({ because: undefined, controlFound: true });
      // The streams begin with the slot; the files and tables hold what was there before.
      const since = copy.kind === 'log' || copy.kind === 'decoded log';
      const expected = since ? fresh : [...fresh, ...before];
      expect(canariesIn([copy]), `${region} ${copy.kind}`).toEqual(
        expect.arrayContaining(expected),
      );
    }
  }
});

describe('everywhere else a peer is refused', () => {
  test('every other cluster refuses the login, in each way of asking', async () => {
    for (const credential of credentials) {
      const { user, password } = credential;
      for (const { node } of clustersOf(domicile)) {
        if (node === credential.airlock) continue;
        const region = domicile.clusters.superuser(node);
        for (const database of [region.database, 'postgres', 'template1']) {
          for (const as of ['plain', 'database'] as const) {
            const refusal = await login({ ...region, database, user, password }, as);
            expect(refusal, `${nameOf(credential)}: ${as} ${database} at ${node}`).toEqual({
              kind: 'rejected',
              sqlstate: REFUSED_LOGIN,
              message: `password authentication failed for user "${user}"`,
            });
          }
        }
        const physical = await login({ ...region, user, password }, 'physical');
        expect(physical, `${nameOf(credential)}: physical at ${node}`).toMatchObject({
          kind: 'rejected',
          sqlstate: NO_HBA_LINE,
        });
      }
    }
  });

  test('the right password of another peer does not help', async () => {
    for (const { peer, of, airlock, user } of credentials) {
      const others = credentials.filter((one) => one.peer !== peer || one.of !== of);
      for (const { password } of others) {
        const endpoint = { ...domicile.clusters.superuser(airlock), user, password };
        expect(await login(endpoint, 'database')).toMatchObject({ sqlstate: REFUSED_LOGIN });
      }
    }
  });

  test('an airlock has no line for physical replication', async () => {
    for (const credential of credentials) {
      expect(await login(atAirlock(credential), 'physical')).toMatchObject({
        kind: 'rejected',
        sqlstate: NO_HBA_LINE,
      });
    }
  });

  test('inside the airlock the server’s files and programs stay shut', async () => {
    for (const credential of credentials) {
      const opened = await ReplicationSession.open(atAirlock(credential), {
        as: 'plain',
        timeoutMs: OPEN_MS_MAX,
      });
      if (opened.kind === 'failed') throw new Error(JSON.stringify(opened.failure));
      const { session } = opened;
      const statements = [
        'select * from pg_authid',
        'select rolpassword from pg_authid',
        "select pg_read_file('pg_hba.conf')",
        "select pg_ls_dir('.')",
        'select subconninfo from pg_subscription',
        'show data_directory',
        "copy (select 1) to program 'true'",
        "copy (select 1) to '/tmp/nowhere'",
        'create table public.mine (id int)',
        'create publication mine for all tables',
        'set role postgres',
      ];
      for (const statement of statements) {
        expect(await session.query(statement), statement).toMatchObject({
          kind: 'failed',
          failure: { kind: 'rejected', sqlstate: '42501' },
        });
      }
      session.close();
    }
  });
});

test('a slot that a peer leaves behind on an airlock can be dropped, and holds a bounded log', async () => {
  const [credential] = credentials;
  if (credential === undefined) throw new Error('no credential');
  const opened = await ReplicationSession.open(atAirlock(credential), {
    as: 'database',
    timeoutMs: OPEN_MS_MAX,
  });
  if (opened.kind === 'failed') throw new Error(JSON.stringify(opened.failure));
  expect((await makePhysicalSlot(opened.session, 'left_behind')).kind).toBe('made');
  opened.session.close();
  await domicile.sql(credential.airlock, async (sql) => {
    const [bound] = await sql<{ mb: number }[]>`
      select setting::int as mb from pg_settings where name = 'max_slot_wal_keep_size'`;
    expect(bound?.mb).toBeGreaterThan(0);
    await sql`select pg_drop_replication_slot('left_behind')`;
  });
});

describe('secrets', () => {
  /** Every password and key of the world, in every shape. */
  async function secrets(): Promise<{ passwords: string[]; scanner: CanaryScanner }> {
    const text = await readFile(join(domicile.root, 'secrets.json'), 'utf8');
    const passwords = Object.values(JSON.parse(text) as Record<string, string>);
    const keys = ['session tokens', 'hops', 'directory'].flatMap((purpose) => {
      const key = domicile.secret(purpose);
      return [key.toString('base64url'), key.toString('hex')];
    });
    const all = [...passwords, ...keys];
    return { passwords, scanner: new CanaryScanner(all.flatMap(encodingsOf)) };
  }

  test('lie in no data directory and in no log, and the same search finds them where they lie', async () => {
    const { passwords, scanner } = await secrets();
    const places = clustersOf(domicile).flatMap(({ node }) => [
      domicile.clusters.dataDirectory(node),
      domicile.clusters.logFile(node),
    ]);
    for (const place of [...places, join(domicile.root, 'run')]) {
      const into = new Gathering(scanner, '');
      expect(await scanFolder(place, into)).toEqual([]);
      expect(into.bytes).toBeGreaterThan(0);
      expect(into.hits.map(({ at, encoding }) => `${place} ${at} ${encoding}`)).toEqual([]);
    }
    const control = new Gathering(scanner, '');
    expect(await scanFolder(join(domicile.root, 'secrets.json'), control)).toEqual([]);
    expect(new Set(control.hits.map(({ canary }) => canary)).size).toBe(new Set(passwords).size);
  });

  test('are not in what a peer can copy, and what a subscription says is the path of a file', async () => {
    const { scanner } = await secrets();
    for (const credential of credentials) {
      const opened = await PeerTap.open(atAirlock(credential), 'after_secrets', LIMITS);
      if (opened.kind === 'failed') throw new Error(JSON.stringify(opened.failure));
      const at = await flushedPosition(atAirlock(credential), OPEN_MS_MAX);
      if (at.kind === 'failed') throw new Error(JSON.stringify(at.failure));
      const copies = await opened.tap.collect(scanner, '', at.at);
      expect(copies.flatMap(({ hits }) => hits)).toEqual([]);
      expect(copies[0]).toMatchObject({ kind: 'base backup', because: undefined });
    }
    for (const { node } of clustersOf(domicile)) {
      const said = await domicile.sql(
        node,
        (sql) => sql<{ conninfo: string }[]>`select subconninfo as conninfo from pg_subscription`,
      );
      for (const { conninfo } of said) {
        expect(conninfo).toMatch(/ passfile=\/\S+/);
        expect(conninfo).not.toMatch(/password=/);
        const [, passfile = ''] = /passfile=(\S+)/.exec(conninfo) ?? [];
        for (const { node: one } of clustersOf(domicile)) {
          expect(passfile.startsWith(domicile.clusters.dataDirectory(one))).toBe(false);
        }
      }
    }
  });
});
