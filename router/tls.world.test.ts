/** What passes between an edge and its region's servers when these let nobody in without TLS. */
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Catalogue, Tls } from '../regions/catalogue.ts';
import {
  certificateFiles,
  makeAuthority,
  makeCertificate,
} from '../regions/certificates-for-tests.ts';
import type { Endpoint } from '../regions/postgres.ts';
import { verbatim } from '../regions/postgres.ts';
import { startWire, type Wire } from '../regions/postgres-for-test.ts';
import { catalogueText } from './catalogue-text.ts';
import { openInstallation } from './installation/open-installation.ts';
import { newSecretsCommand } from './installation/secrets-commands.ts';
import { NO_MACHINE } from './keeper/machine.ts';
import { ManagedSteward } from './keeper/managed.ts';
import { OwnServers } from './keeper/own-servers.ts';
import { Session } from './operator.ts';
import { edgePassword } from './password-names.ts';
import { withTls } from './read-files.ts';
import { LOGINS } from './region-database.ts';
import { UnmetTrust } from './unmet-trust.ts';
import {
  eventually,
  type FurtherEdge,
  LAMP,
  newId,
  newUser,
  problemOf,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
  withRegion,
} from './world-for-tests.ts';

const NODES = ['eu-a', 'eu-b'];
const NAME = 'db.eu.example';
const authority = makeAuthority();
const FULL: Tls = { mode: 'verify-full', ca: authority.ca };
const STRANGER: Tls = { mode: 'verify-full', ca: makeAuthority('Another authority').ca };
const logins = Object.values(LOGINS);

/** The first write to an edge that has just been started takes long on a busy machine. */
const PATIENT = { DOMICILE_BUDGET_MS: '12000' };

let domicile: TestDomicile;
let folder: string;
/** One in front of each node of eu; they hear what an edge says and is told. */
const wires: Wire[] = [];
let heard = '';

let plain: FurtherEdge;
/** Somebody who is at home there. */
let settled: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'domicile-tls-'));
  chmodSync(folder, 0o711);
  domicile = await startTestDomicile();
  for (const node of NODES) {
    const wire = await startWire(domicile.clusters.superuser(node));
    wire.onSent = (text) => {
      heard += text;
      return true;
    };
    wire.onAnswered = (text) => {
      heard += text;
    };
    wires.push(wire);
  }
});

afterAll(async () => {
  await domicile?.remove();
  await Promise.all(wires.map((wire) => wire.close()));
  rmSync(folder, { recursive: true, force: true });
});

/** Eu as an edge finds it behind the wires. */
function through(tls: Tls | undefined, host = '127.0.0.1'): Catalogue {
  return withRegion(domicile.catalogue, 'eu', (region) => {
    const nodes = region.nodes.map((node, nth) => ({
      ...node,
      host,
      port: wires[nth]?.endpoint.port ?? 0,
    }));
    return tls === undefined ? { ...region, nodes } : withTls({ ...region, nodes }, tls);
  });
}

/** Somebody new, with an order, as they read themselves. A machine that is busy is asked again. */
async function serve(url: string): Promise<string> {
  let id = '';
  await eventually('somebody new is stored', async () => {
    id = newId();
    return (await domicile.call(url, 'POST', '/users', { body: newUser('DE', id) })).status === 201;
  });
  await eventually('their order is stored', async () => {
    const call = { body: LAMP, headers: { 'idempotency-key': `"${id}"` } };
    return (await domicile.call(url, 'POST', `/users/${id}/orders`, call)).status === 201;
  });
  await eventually('they are read', async () => {
    const read = await domicile.call(url, 'GET', `/users/${id}`);
    return read.json?.displayName === `Name of ${id}`;
  });
  return id;
}

const logOf = ({ log }: FurtherEdge) =>
  readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);

const distrust = (edge: FurtherEdge) =>
  logOf(edge).filter(({ event }) => event === 'node-not-trusted');

/** The connections of edges to a node, as it counts them. */
const connections = (node: string) =>
  domicile.sql(
    node,
    (sql) => sql<{ ssl: boolean; count: number }[]>`
      select s.ssl, count(*)::int as count from pg_stat_activity a join pg_stat_ssl s using (pid)
      where a.usename = any (${logins}::text[]) group by 1`,
  );

test('in plain text whoever listens between an edge and its servers hears everything', async () => {
  plain = await domicile.startEdge({
    region: 'eu',
    catalogue: through(undefined),
    settings: PATIENT,
  });
  const id = await serve(plain.url);
  expect(heard).toContain(id);
  expect(heard).toContain(`Name of ${id}`);
  expect(heard).toContain(LOGINS.writer);
  settled = id;
  await plain.child.stop();
});

describe('a region whose servers let nobody in without TLS', () => {
  beforeAll(async () => {
    const settings = certificateFiles(folder, makeCertificate(authority, ['127.0.0.1', NAME]));
    for (const node of NODES) {
      await domicile.sql(node, async (sql) => {
        for (const [name, value] of Object.entries(settings)) {
          await sql(verbatim(`alter system set ${name} = '${value}'`));
        }
        const [row] = await sql<{ file: string }[]>`select current_setting('hba_file') as file`;
        const file = row?.file ?? '';
        const first = `hostnossl all ${logins.join(',')} all reject\n`;
        writeFileSync(file, first + readFileSync(file, 'utf8'));
        await sql`select pg_reload_conf()`;
      });
      await eventually('TLS is on', async () => {
        const [row] = await domicile.sql(node, (sql) => sql<{ ssl: string }[]>`show ssl`);
        return row?.ssl === 'on';
      });
      await domicile.sql(
        node,
        (sql) => sql`
          select pg_terminate_backend(pid) from pg_stat_activity
          where usename = any (${logins}::text[])`,
      );
    }
    heard = '';
  });

  test('is served by an edge over TLS, on each of its connections, and nobody hears a word', async () => {
    const edge = await domicile.startEdge({
      region: 'eu',
      catalogue: through(FULL),
      settings: PATIENT,
    });
    const id = await serve(edge.url);
    for (const node of NODES) {
      const all = await connections(node);
      expect(all.map(({ ssl }) => ssl)).toEqual([true]);
      expect(all[0]?.count).toBeGreaterThan(0);
    }
    // Evidence that the wires were listened to.
    expect(heard.length).toBeGreaterThan(10_000);
    for (const word of [id, 'Name of', ...logins]) expect(heard).not.toContain(word);
    expect(distrust(edge)).toEqual([]);
    await edge.child.stop();
  });

  test.each([
    ['a stranger’s authority', STRANGER, '127.0.0.1', 'no authority that is believed here'],
    ['another name', FULL, 'localhost', 'for another host name'],
    ['no TLS', undefined, '127.0.0.1', 'its pg_hba.conf lets us in over TLS at most'],
  ])(
    'is out of reach of an edge that was given %s, which says why and shows nobody a word',
    async (_, tls, host, words) => {
      heard = '';
      const edge = await domicile.startEdge({ region: 'eu', catalogue: through(tls, host) });
      const health = await domicile.call(edge.url, 'GET', '/.domicile/health');
      expect(health.json.nodes).toEqual([]);
      const refused = await domicile.call(edge.url, 'GET', `/users/${settled}`);
      expect(problemOf(refused)).toEqual([503, 'region-unavailable', 'safe']);
      expect(heard).not.toContain(settled);
      if (tls !== undefined) for (const login of logins) expect(heard).not.toContain(login);
      // Each node once, however often it was looked at.
      expect(distrust(edge)).toHaveLength(NODES.length);
      for (const node of NODES) {
        const said = distrust(edge).find((line) => line.node === node);
        expect(said).toMatchObject({ level: 'error' });
        expect(said?.why).toMatch(new RegExp(`^${node} at ${host}:\\d+: .*${words}`));
      }
      await edge.child.stop();
    },
  );

  test('is looked at over TLS by its keeper, which says why it trusts a server no more', async () => {
    const region = through(FULL).regions.get('eu');
    if (region === undefined) throw new Error('no eu');
    const lines: unknown[] = [];
    // A look has a second, which a busy machine may not give to the first one.
    const look = async (tls: Tls, kind: 'seen' | 'silent') => {
      const servers = new OwnServers({
        region,
        superuser: (node): Endpoint => ({
          ...domicile.clusters.superuser(node),
          ...region.nodes.find(({ name }) => name === node),
          tls,
        }),
        machine: NO_MACHINE,
        feedsReady: () => true,
        trust: new UnmetTrust((line) => lines.push(line)),
        now: () => performance.now(),
      });
      await eventually(`eu-a is ${kind}`, async () => {
        const { state } = await servers.look('eu-a');
        return state.kind === kind;
      });
      const ssl = await domicile.sql(
        'eu-a',
        (sql) => sql<{ ssl: boolean }[]>`
          select s.ssl from pg_stat_activity a join pg_stat_ssl s using (pid)
          where a.application_name = 'domicile keeper' and s.ssl`,
      );
      await servers.close();
      return ssl.length;
    };
    expect(await look(FULL, 'seen')).toBeGreaterThan(0);
    expect(lines).toEqual([]);
    expect(await look(STRANGER, 'silent')).toBe(0);
    expect(lines).toEqual([
      {
        ...{ level: 'error', event: 'node-not-trusted', node: 'eu-a' },
        why: expect.stringContaining('no authority that is believed here'),
      },
    ]);
  });

  test('a command on an installation asks through a tunnel, for the certificate of the server itself', async () => {
    const at = (name: string) => join(folder, name);
    const regionsAt = (host: string) =>
      withRegion(domicile.catalogue, 'eu', (region) => {
        const nodes = region.nodes.map((node) => ({ ...node, host }));
        return withTls({ ...region, nodes }, { mode: 'verify-full', caFile: 'authority.pem' });
      });
    const { user, password } = domicile.clusters.superuser('eu-a');
    const port = wires[0]?.endpoint.port;
    const beside = (file: string) => join(STOREFRONT, '..', file);
    writeFileSync(at('authority.pem'), authority.ca);
    writeFileSync(at('regions.yaml'), catalogueText(regionsAt(NAME)));
    const installation = {
      version: 1,
      files: {
        ...{ app: STOREFRONT, policy: beside('residency.yaml'), schema: beside('schema.sql') },
        ...{ regions: 'regions.yaml', secrets: 'secrets.json' },
      },
      superuser: user,
      reach: { 'eu-a': { host: '127.0.0.1', port } },
      subscriptions: { inlinePasswords: true },
    };
    writeFileSync(at('installation.yaml'), JSON.stringify(installation));
    await newSecretsCommand(at('installation.yaml'), randomBytes);
    const secrets = JSON.parse(readFileSync(at('secrets.json'), 'utf8'));
    secrets.eu.postgres.SUPERUSER_PASSWORD = password;
    writeFileSync(at('secrets.json'), JSON.stringify(secrets));

    const ask = async () => {
      const { operator } = await openInstallation(at('installation.yaml'));
      const session = new Session(operator);
      try {
        return await session
          .node('eu-a')
          .run((sql) => sql`select ssl from pg_stat_ssl where pid = pg_backend_pid()`, {
            timeoutMs: 10_000,
          });
      } finally {
        await session.close();
      }
    };
    expect(await ask()).toEqual([{ ssl: true }]);
    // The address of the tunnel is in the certificate, too, and does not count.
    writeFileSync(at('regions.yaml'), catalogueText(regionsAt('db.us.example')));
    await expect(ask()).rejects.toThrow(/eu-a at 127.0.0.1:.* another host name/);
    writeFileSync(at('authority.pem'), STRANGER.ca ?? '');
    await expect(ask()).rejects.toThrow(/could not connect .*: eu-a at 127.0.0.1:.* no authority/);
  });

  test('a name that a managed service moves is the one that its certificate must have', async () => {
    const observe = async (name: string) => {
      const known = through(FULL, name).regions.get('eu');
      if (known === undefined) throw new Error('no eu');
      const steward = new ManagedSteward({
        region: known,
        endpoint: { host: name, port: known.nodes[0]?.port ?? 0 },
        login: () => ({
          database: known.database,
          user: LOGINS.router,
          password: domicile.clusters.password(edgePassword('eu')),
        }),
        resolve: async ({ port }) => ({ host: '127.0.0.1', port }),
      });
      const { nodes } = await steward.observe();
      await steward.close();
      return nodes;
    };
    await eventually('both are seen', async () =>
      (await observe(NAME)).every(({ kind }) => kind === 'seen'),
    );
    for (const node of await observe('db.us.example')) {
      expect(node).toMatchObject({ kind: 'silent', why: expect.stringContaining('another host') });
    }
  });
});
