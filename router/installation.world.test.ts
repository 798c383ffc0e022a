import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Catalogue, slotName } from '../regions/catalogue.ts';
import { portsNeeded, withPorts } from '../regions/local/catalogue-ports.ts';
import { type LocalChild, startChild } from '../regions/local/child-process.ts';
import { freePorts } from '../regions/local/ports.ts';
import { STANDBY_ROLE } from '../regions/local/postgres-settings.ts';
import { postgresPidsOn } from '../regions/local/process-identity.ts';
import { giveTo, serverUser } from '../regions/local/process-user.ts';
import { type LocalClusters, startClusters } from '../regions/local/start-clusters.ts';
import { dataDirectories } from '../regions/local/world-folder.ts';
import { ask } from '../regions/local/world-for-tests.ts';
import { type Sql, verbatim } from '../regions/postgres.ts';
import { catalogueText } from './catalogue-text.ts';
import { besideApp, readFiles } from './read-files.ts';
import {
  type Answer,
  callUrl,
  domicile as command,
  eventually,
  newUser,
  type Ran,
  STOREFRONT,
} from './world-for-tests.ts';

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url));
const COMMAND_MS_MAX = 240_000;

let parent: string;
let root: string;
let catalogue: Catalogue;
let clusters: LocalClusters;
const edges: LocalChild[] = [];
const file = (name: string) => join(parent, name);

/** The storefront's regions without keepers: three nodes in us, one elsewhere. */
async function regionsOfTest(): Promise<Catalogue> {
  const read = await readFiles(besideApp(STOREFRONT, {}));
  if ('complaints' in read) throw new Error(read.complaints.join('\n'));
  const regions = new Map(
    [...read.catalogue.regions].map(([id, { keeper: _keeper, ...region }]) => {
      const [a, b] = region.nodes;
      if (a === undefined || b === undefined) throw new Error('the storefront has two nodes');
      return [id, { ...region, nodes: id === 'us' ? [a, b, { ...b, name: 'us-c' }] : [a] }];
    }),
  );
  const plain = { ...read.catalogue, regions };
  return withPorts(plain, await freePorts(portsNeeded(plain)));
}

function on<T>(node: string, use: (sql: Sql) => Promise<T>): Promise<T> {
  return ask(clusters, node, use);
}

/** With some lines of `installation.yaml` added; the usual ones are what these servers need. */
async function installationFile(more = '', subscriptions = '{ inlinePasswords: true }') {
  await writeFile(
    file('installation.yaml'),
    `version: 1
files:
  app: ${STOREFRONT}
  regions: regions.yaml
  secrets: secrets.json
roles: { private: { ${STANDBY_ROLE}: [login, replication] } }
subscriptions: ${subscriptions}
${more}`,
  );
}

function run(...args: string[]): Promise<Ran> {
  return command([...args, '--installation', file('installation.yaml')], {}, COMMAND_MS_MAX);
}

async function json(...args: string[]) {
  const ran = await run(...args, '--json');
  expect(ran.stderr).toBe('');
  return { status: ran.status, ...JSON.parse(ran.stdout) };
}

async function secrets() {
  return JSON.parse(await readFile(file('secrets.json'), 'utf8'));
}

async function restart(node: string): Promise<void> {
  await clusters.halt(node);
  await clusters.start(node);
}

/** Everything of a cluster that a provision could touch. */
function contents(node: string): Promise<string> {
  return on(node, async (sql) => {
    const rows = await sql<{ what: string }[]>`
      select 'role ' || a::text as what from pg_authid a
      union all select 'class ' || c.oid || c.relname || coalesce(c.relacl::text, '') from pg_class c
        where c.relnamespace::regnamespace::text !~ '^pg_(toast|temp)'
      union all select 'publication ' || p::text from pg_publication p
      union all select 'subscription ' || s::text from pg_subscription s
      union all select 'slot ' || slot_name from pg_replication_slots
        where slot_name !~ '^pg_'
      order by 1`;
    return rows.map(({ what }) => what).join('\n');
  });
}

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), 'domicile-installation-'));
  await chmod(parent, 0o711);
  root = join(parent, 'servers');
  catalogue = await regionsOfTest();
  clusters = await startClusters({ root, catalogue, durable: false, report: () => {} });
  await writeFile(file('regions.yaml'), catalogueText(catalogue));
  await installationFile();
  // Whoever started the servers knows these, and nothing else yet.
  const known = Object.fromEntries(
    [...catalogue.regions.values()].map(({ id, nodes, airlocks }) => [
      id,
      {
        postgres: { SUPERUSER_PASSWORD: clusters.superuser(nodes[0]?.name ?? '').password },
        airlock: { SUPERUSER_PASSWORD: clusters.superuser(airlocks[0]?.name ?? '').password },
      },
    ]),
  );
  await writeFile(file('secrets.json'), JSON.stringify(known), { mode: 0o600 });
}, 240_000);
afterAll(async () => {
  await Promise.all(edges.map((edge) => edge.stop()));
  await clusters?.stop().catch(() => {});
  for (const pid of (await dataDirectories(root)).flatMap(postgresPidsOn)) {
    process.kill(pid, 'SIGKILL');
  }
  await rm(parent, { recursive: true, force: true, maxRetries: 20 });
}, 120_000);

describe('secrets', () => {
  test('what is missing is drawn, what is there stays, and nobody else can read it', async () => {
    const before = await secrets();
    expect(await run('new-secrets')).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('drawn: us.edge.DOMICILE_HOP_KEY\n'),
    });
    const after = await secrets();
    expect((await stat(file('secrets.json'))).mode & 0o777).toBe(0o600);
    expect(after.eu.postgres.SUPERUSER_PASSWORD).toBe(before.eu.postgres.SUPERUSER_PASSWORD);
    expect((await run('new-secrets')).stdout).toContain('nothing was changed');
    expect(await secrets()).toEqual(after);
  });

  test('a file that others can read is refused by every command, in words', async () => {
    await chmod(file('secrets.json'), 0o644);
    try {
      for (const words of [
        ['provision'],
        ['policy', 'plan'],
        ['mirrors', 'status'],
        ['new-secrets'],
      ]) {
        const { status, stdout, stderr } = await run(...words);
        expect([status, stdout], words.join(' ')).toEqual([1, '']);
        expect(stderr).toMatch(/secrets\.json {2}is open to others than its owner \(mode 644\)/);
      }
    } finally {
      await chmod(file('secrets.json'), 0o600);
    }
  });
});

describe('before anything is changed', () => {
  test('everything that stands in the way is said at once, and nothing is done', async () => {
    const before = await contents('eu-a');
    const good = await readFile(file('secrets.json'), 'utf8');
    const wrong = JSON.parse(good);
    wrong.eu.airlock.SUPERUSER_PASSWORD = 'not what it is';
    await writeFile(file('secrets.json'), JSON.stringify(wrong));
    const [nobody = 0] = await freePorts(1);
    await installationFile(
      `reach: { us-x: { host: 127.0.0.1, port: ${nobody} } }\nregions: { asia: { roles: { private: { exporter: [login] } } } }\n`,
    );
    await on('eu-a', (sql) => sql`create role somebody login replication`);
    await on('eu-a', (sql) => sql`select pg_create_logical_replication_slot('theirs', 'pgoutput')`);
    await on('asia-a', (sql) => sql`alter system set wal_level = 'replica'`);
    await on('asia-a', (sql) => sql`alter system set max_replication_slots = 1`);
    await restart('asia-a');
    const { database } = clusters.superuser('asia-x');
    await ask({ superuser: (node) => clusters.superuser(node, 'postgres') }, 'asia-x', (sql) =>
      sql(verbatim(`drop database ${database}`)),
    );
    try {
      const refused = await json('provision');
      expect(refused).toMatchObject({ status: 1, outcome: 'refused' });
      const at = (node: string) => `${node} at 127.0.0.1:${clusters.superuser(node).port}`;
      expect(refused.because.toSorted()).toEqual(
        [
          `us-x at 127.0.0.1:${nobody} cannot be reached: could not connect (ECONNREFUSED)`,
          `${at('eu-x')} does not let postgres in (28P01): the password in the secrets file is another one, or pg_hba.conf has no line for where this command runs`,
          `${at('asia-x')} has no database storefront: make it with --create-databases, or correct "database" in the regions file`,
          'asia-a: wal_level is replica; set it to logical and restart the server',
          'asia-a: max_replication_slots is 1; at least 2 are needed for 1 subscriber',
          `asia-a: there is no role exporter, which the installation file has under roles`,
          'eu-a: role somebody is login, replication, and would lose that: name it in the installation file, such as roles: { private: { somebody: [login, replication] } }',
          'eu-a: nobody of this installation reads replication slot theirs, and it would be dropped: drop it yourself, or let its reader look elsewhere',
        ].sort(),
      );
      // Nor is what could be made, as long as anything else stands in the way.
      const making = await json('provision', '--create-databases');
      expect(making.because).toHaveLength(7);
      expect((await json('provision', '--check')).because).toEqual(refused.because);
    } finally {
      await writeFile(file('secrets.json'), good);
      await installationFile();
      await on('eu-a', (sql) => sql`select pg_drop_replication_slot('theirs')`);
      await on('eu-a', (sql) => sql`drop role somebody`);
      await on('asia-a', (sql) => sql`alter system reset wal_level`);
      await on('asia-a', (sql) => sql`alter system reset max_replication_slots`);
      await restart('asia-a');
    }
    expect(await contents('eu-a')).toBe(before);
  });

  test('an airlock that is no cluster of its own is refused', async () => {
    const { port } = clusters.superuser('us-a');
    await installationFile(`reach: { us-x: { host: 127.0.0.1, port: ${port} } }\n`);
    // The same superuser's password would be the same, too.
    const good = await readFile(file('secrets.json'), 'utf8');
    const wrong = JSON.parse(good);
    wrong.us.airlock.SUPERUSER_PASSWORD = wrong.us.postgres.SUPERUSER_PASSWORD;
    await writeFile(file('secrets.json'), JSON.stringify(wrong));
    const refused = await json('provision', '--check');
    await writeFile(file('secrets.json'), good);
    await installationFile();
    expect(refused.because).toContainEqual(
      'us-a, us-b, us-c, us-x are one cluster: each region and each airlock needs a cluster of its own, made by its own initdb',
    );
  });
});

describe('provisioned', () => {
  test('what is missing is made, and said; the second time nothing is', async () => {
    const ran = await run('provision', '--create-databases');
    expect(ran).toMatchObject({ status: 0, stderr: '' });
    for (const line of [
      'asia-x: database storefront is made',
      'us: role domicile_feed is made',
      'eu: 0001-first-light.sql has run',
      'asia-x: role domicile_peer_us is made',
      'us: has the key of its subjects',
      'Provisioned 8 servers in 3 regions, under policy version 1.',
    ]) {
      expect(ran.stdout.split('\n')).toContain(line);
    }
    const nodes = ['us-a', 'us-x', 'eu-a', 'eu-x', 'asia-a', 'asia-x'];
    const before = await Promise.all(nodes.map(contents));
    expect(await json('provision')).toMatchObject({ status: 0, outcome: 'provisioned', made: [] });
    expect(await Promise.all(nodes.map(contents))).toEqual(before);
  });

  test('nothing is left to do, and every copy follows', async () => {
    expect(await json('policy', 'plan')).toMatchObject({ status: 0, differences: [], steps: [] });
    await eventually('all follow', async () => (await run('mirrors', 'status')).status === 0);
    expect((await run('schema', 'plan')).status).toBe(0);
  });
});

/** As docs/production.md says: the region's file of settings, and nothing else. */
async function startEdge(region: string): Promise<void> {
  const edge = await startChild({
    name: `edge-${region}`,
    command: process.execPath,
    args: [
      `--env-file=${file(`edges/${region}.env`)}`,
      MAIN,
      'edge',
      ...['--region', region, '--app', STOREFRONT, '--regions', file('regions.yaml')],
    ],
    env: {},
    cwd: process.cwd(),
    logFile: file(`edge-${region}.log`),
    ready: { kind: 'message', is: (message) => message === 'ready' },
    readyLimitMs: 30_000,
    stopLimitMs: 5_000,
    onExit: () => {},
  });
  edges.push(edge);
}

function call(region: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const url = catalogue.regions.get(region)?.edges[0]?.url ?? '';
  return callUrl(url, method, path, body === undefined ? {} : { body });
}

const isMirrored = ({ status, headers }: Answer) =>
  status === 200 && /rung=mirror/.test(String(headers['domicile-decision']));

const una = { ...newUser('US'), displayName: 'Una of an installation' };

describe('serving', () => {
  test('each region has a file of settings that only its owner reads, and edges start from it', async () => {
    const wrote = await run('edge-settings', '--out', file('edges'));
    expect(wrote).toMatchObject({ status: 0, stderr: '' });
    for (const region of catalogue.regions.keys()) {
      expect((await stat(file(`edges/${region}.env`))).mode & 0o777).toBe(0o600);
    }
    // No region's file has what opens another one.
    const of = await secrets();
    const us = await readFile(file('edges/us.env'), 'utf8');
    expect(us).toContain(of.us.edge.DOMICILE_DATABASE_PASSWORD);
    expect(us).not.toContain(of.eu.edge.DOMICILE_DATABASE_PASSWORD);
    expect(us).not.toContain(of.us.postgres.SUPERUSER_PASSWORD);
    // Written again it is the same, and what somebody has added is not lost.
    expect((await run('edge-settings', '--out', file('edges'))).status).toBe(0);
    await writeFile(file('edges/eu.env'), `${await readFile(file('edges/eu.env'), 'utf8')}X=1\n`);
    expect((await run('edge-settings', '--out', file('edges'))).stderr).toMatch(
      /eu\.env {2}says something else/,
    );
    await rm(file('edges/eu.env'));
    expect((await run('edge-settings', '--out', file('edges'))).status).toBe(0);
    await Promise.all([...catalogue.regions.keys()].map(startEdge));
  });

  test('people are created at home, and a mirror is read elsewhere', async () => {
    const made = await call('eu', 'POST', '/users', una);
    expect([made.status, made.headers['domicile-home']]).toEqual([201, 'us']);
    await eventually('her card is here', async () =>
      isMirrored(await call('asia', 'GET', `/users/${una.id}/card`)),
    );
    const card = await call('asia', 'GET', `/users/${una.id}/card`);
    expect(card.text).toContain(una.displayName);
    const home = await call('asia', 'POST', '/users', newUser('JP'));
    expect([home.status, home.headers['domicile-home']]).toEqual([201, 'asia']);
  });
});

describe('drift', () => {
  test('is found in words and mended', async () => {
    await on('us-a', (sql) => sql`grant select on app.orders to domicile_feed`);
    const plan = await json('policy', 'plan');
    expect(plan).toMatchObject({ status: 2 });
    expect(plan.differences).toEqual([
      expect.objectContaining({
        words: expect.stringMatching(
          /^us: grant of select on table app\.orders to domicile_feed should not be there/,
        ),
      }),
    ]);
    expect(await json('policy', 'apply')).toMatchObject({ status: 0, outcome: 'applied' });
    expect((await run('policy', 'plan')).status).toBe(0);
  });

  test('of a subscription is told without its password', async () => {
    const of = await secrets();
    const [row] = await on(
      'us-x',
      (sql) => sql<{ text: string }[]>`select subconninfo as text from pg_subscription`,
    );
    const secret = of.us.airlock.FEED_PASSWORD;
    expect(row?.text).toContain(`password=${secret}`);
    for (const [from, to] of [
      ['connect_timeout=5', 'connect_timeout=6'],
      [secret, `${secret}x`],
    ] as const) {
      const changed = row?.text.replace(from, to) ?? '';
      await on('us-x', (sql) =>
        sql(verbatim(`alter subscription domicile_home_us_x connection '${changed}'`)),
      );
      const plan = await run('policy', 'plan', '--json');
      expect(plan.status).toBe(2);
      const shown = plan.stdout + (await run('policy', 'plan')).stdout;
      expect(shown).toContain('domicile_home_us_x');
      expect(shown).not.toContain(secret);
      const applied = await run('policy', 'apply');
      expect(applied.status).toBe(0);
      expect(applied.stdout).not.toContain(secret);
    }
    expect((await run('policy', 'plan')).status).toBe(0);
  });

  test('copies are filled anew on request', async () => {
    expect(await json('mirrors', 'refill', '--from', 'us', '--to', 'asia')).toMatchObject({
      outcome: 'applied',
    });
    await eventually('her card is here again', async () =>
      isMirrored(await call('asia', 'GET', `/users/${una.id}/card`)),
    );
  });
});

describe('a password file on the servers', () => {
  const passwords = () => join(root, 'passwords');
  const subscriptions = () => `{ passwordFile: ${passwords()} }`;
  /** All servers here share one disk, so what each would be handed is put together. */
  const lines = async () => {
    const handed = await run('password-files', '--out', file('handed'));
    expect(handed).toMatchObject({ status: 0, stderr: '' });
    const names = ['us', 'us-x', 'eu', 'eu-x', 'asia', 'asia-x'];
    const texts = names.map(async (name) => {
      const path = file(`handed/${name}.passwords`);
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      return (await readFile(path, 'utf8')).trimEnd().split('\n');
    });
    return (await Promise.all(texts)).flat();
  };
  const write = async (text: readonly string[]) => {
    await writeFile(passwords(), `# of a test\n${text.join('\n')}\n`, { mode: 0o600 });
    await giveTo(serverUser(process.geteuid?.()), passwords());
  };

  test('is looked at on every server before anything is led through it', async () => {
    await installationFile('', subscriptions());
    const missing = await json('provision', '--check');
    expect(missing.because).toHaveLength(8);
    expect(missing.because).toContain(
      `us-b: there is no ${passwords()}, which the installation file names`,
    );
    const all = await lines();
    const { port } = clusters.superuser('us-c');
    await write(
      all
        .filter((line) => !line.includes(`:${port}:`))
        .map((line) => line.replace(/(domicile_peer_eu:.*)/, '$1x')),
    );
    const wrong = await json('provision', '--check');
    const asia = clusters.superuser('asia-x').port;
    expect(wrong.because).toContain(
      `us-x: ${passwords()} has no line for 127.0.0.1:${port}:storefront:domicile_feed`,
    );
    expect(wrong.because).toContain(
      `eu-a: ${passwords()} has another password for 127.0.0.1:${asia}:storefront:domicile_peer_eu than the secrets file`,
    );
    await write(all);
    expect((await run('provision', '--check')).stdout).toContain(
      'All 8 servers are as they have to be.',
    );
  });

  test('takes the place of passwords in subscriptions, and data goes on', async () => {
    expect(await json('policy', 'apply')).toMatchObject({ outcome: 'applied' });
    for (const node of ['us-x', 'asia-a']) {
      const texts = await on(
        node,
        (sql) => sql<{ text: string }[]>`select subconninfo as text from pg_subscription`,
      );
      for (const { text } of texts) {
        expect(text).toContain(`passfile=${passwords()}`);
        expect(text).not.toContain('password=');
      }
    }
    const umi = { ...newUser('US'), displayName: 'Umi of the password file' };
    expect((await call('us', 'POST', '/users', umi)).status).toBe(201);
    await eventually('her card is here', async () =>
      isMirrored(await call('asia', 'GET', `/users/${umi.id}/card`)),
    );
  });
});

describe('an audit from elsewhere', () => {
  const audit = (...more: string[]) => run('audit', '--json', '--out', file('audit'), ...more);

  test('looks at what can be asked over the network, and says of the rest that it was not looked at', async () => {
    const { status, stdout } = await audit();
    const { findings, channels } = JSON.parse(stdout);
    expect(findings).toEqual([]);
    // Could not look everywhere: never clean.
    expect(status).toBe(2);
    const blind = channels.filter(({ because }: { because?: string }) => because !== undefined);
    const elsewhere = [
      ...[...catalogue.regions.values()].flatMap(({ nodes, airlocks, edges: named }) => [
        ...[...nodes, ...airlocks].flatMap(({ name }) => [
          `${name} data directory`,
          `${name} server log`,
        ]),
        ...named.flatMap(({ name }) => [`${name} log`, `${name} memory`]),
      ]),
      'wires',
    ];
    expect(blind.map(({ name }: { name: string }) => name).sort()).toEqual(elsewhere.sort());
    for (const { because, positiveControl } of blind) {
      expect(because).toMatch(/^it is on another machine, where nobody has looked/);
      expect(positiveControl).toBe(false);
    }
    // What was looked at held its control: each peer's own copies of each airlock.
    const seen = channels.filter(({ because }: { because?: string }) => because === undefined);
    expect(seen.length).toBeGreaterThanOrEqual(6);
    for (const { name, positiveControl } of seen) expect(positiveControl, name).toBe(true);
  }, 240_000);

  test('is clean of what it was to look at, and finds what leaks', async () => {
    const without = ['--without', 'data,logs,memory,wires,peers'];
    const clean = await audit(...without);
    expect([clean.status, JSON.parse(clean.stdout).findings]).toEqual([0, []]);
    await on('us-x', (sql) => sql`grant pg_read_all_data to domicile_peer_eu`);
    const found = await audit(...without);
    expect(found.status).toBe(1);
    expect(JSON.parse(found.stdout).findings).toContainEqual(
      expect.objectContaining({ kind: 'catalogue-differs', region: 'us' }),
    );
    expect((await run('policy', 'apply')).status).toBe(0);
  }, 240_000);
});

describe('a promotion that nobody tells Domicile of', () => {
  test('is followed by edges and by the feed: what is written after it arrives abroad', async () => {
    await eventually(
      'us-b keeps the place of the airlock',
      async () => {
        await on('us-a', (sql) => sql`select pg_log_standby_snapshot()`);
        const [slot] = await on(
          'us-b',
          (sql) => sql<{ kept: boolean }[]>`
        select synced and not temporary as kept from pg_replication_slots
        where slot_name = 'domicile_home_us_x'`,
        );
        return slot?.kept === true;
      },
      60_000,
    );
    const [named] = await on(
      'us-a',
      (sql) => sql<{ slots: string }[]>`
      select current_setting('synchronized_standby_slots') as slots`,
    );
    expect(named?.slots).toBe([slotName('us-b'), slotName('us-c')].join(', '));

    clusters.kill('us-a', 'SIGKILL');
    await eventually('us-a is gone', async () => clusters.pids('us-a').length === 0);
    // As whoever promotes by hand does it: nobody is waited for who does not follow yet.
    await on('us-b', async (sql) => {
      await sql`alter system set synchronous_standby_names = ''`;
      await sql`alter system set synchronized_standby_slots = ''`;
      await sql`select pg_reload_conf()`;
      await sql`select pg_promote()`;
    });
    const uta = { ...newUser('US'), displayName: 'Uta after a promotion' };
    await eventually(
      'the edge has found the primary',
      async () => {
        const { status } = await call('us', 'POST', '/users', uta);
        return status === 201 || status === 409;
      },
      60_000,
    );
    await eventually(
      'the feed has found it, too',
      async () => isMirrored(await call('asia', 'GET', `/users/${uta.id}/card`)),
      60_000,
    );
    expect((await call('asia', 'GET', `/users/${una.id}/card`)).text).toContain(una.displayName);
    // Nothing has to be applied for it.
    const plan = await json('policy', 'plan');
    expect(plan.differences).toEqual([]);
  }, 240_000);
});
