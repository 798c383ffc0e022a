import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { peerRole } from '../policies/desired-state.ts';
import { type Sql, verbatim } from '../regions/postgres.ts';
import { type AuditedMachine, type AuditedWorld, openRunningWorld } from './audit/audited-world.ts';
import { type CanaryModule, loadCanaryModule } from './audit/canary-module.ts';
import type { ChannelGroup, Patience } from './audit/canary-round.ts';
import type { AuditResult, Finding } from './audit/finding.ts';
import { checkRowHomes } from './audit/row-homes.ts';
import { runAudit } from './audit/run-audit.ts';
import { auditCommand } from './audit-command.ts';
import { peerPassword } from './password-names.ts';
import { LINKS_FILE } from './record-wire.ts';
import {
  COUNTRY_OF,
  clustersOf,
  domicile as command,
  eventually,
  newUser,
  type Ran,
  REGIONS,
  STOREFRONT,
  startTestDomicile,
  type TestDomicile,
  type Where,
} from './world-for-tests.ts';

/** A whole audit on a machine that does other things as well. */
const AUDIT_MS_MAX = 300_000;
/** For a world in which somebody is known not to answer; all others do so at once. */
const SHORT: Patience = { requestMs: 6_000, travelMs: 3_000, dialMs: 4_000 };
/** What differs is written by hand and never on its way. */
const SETTLE_MS_MAX = 1_000;

let domicile: TestDomicile;
let world: AuditedWorld;
let machine: AuditedMachine;
let module: CanaryModule;
const users = {} as Record<Where, string>;

beforeAll(async () => {
  domicile = await startTestDomicile({ recordWire: true });
  world = await openRunningWorld(domicile.root);
  if (world.machine === undefined) throw new Error('it runs here');
  machine = world.machine;
  const loaded = await loadCanaryModule(STOREFRONT);
  if ('because' in loaded) throw new Error(loaded.because);
  module = loaded.module;
  for (const home of REGIONS) {
    const body = newUser(COUNTRY_OF[home]);
    expect((await domicile.call(home, 'POST', '/users', { body })).status).toBe(201);
    users[home] = body.id;
  }
}, 240_000);
afterAll(() => domicile?.remove());

const draw = () => `canary${randomBytes(9).toString('hex')}`;

type Machine = {
  findings: Finding[];
  channels: { name: string; positiveControl: boolean; hits: number; because?: string }[];
};

async function audit(...more: string[]): Promise<Ran & { machine: Machine }> {
  const args = ['audit', '--root', domicile.root, '--json', ...more];
  const ran = await command(args, {}, AUDIT_MS_MAX);
  const last = ran.stdout.trim().split('\n').at(-1) ?? '';
  return { ...ran, machine: JSON.parse(last) as Machine };
}

function only(...groups: ChannelGroup[]): Set<ChannelGroup> {
  const all: ChannelGroup[] = ['data', 'logs', 'memory', 'peers', 'wires'];
  return new Set(all.filter((group) => !groups.includes(group)));
}

function plainAudit(
  options: {
    without: Set<ChannelGroup>;
    module?: CanaryModule;
    draw?: () => string;
    patience?: Patience;
  },
  at = world,
): Promise<AuditResult> {
  return runAudit({
    world: at,
    policy: domicile.policy,
    canaries: { module: options.module ?? module },
    draw: options.draw ?? draw,
    without: options.without,
    probes: [],
    ...(options.patience !== undefined && { patience: options.patience }),
  });
}

const run = (node: string, ...statements: string[]) =>
  domicile.sql(node, async (sql: Sql) => {
    for (const statement of statements) await sql(verbatim(statement));
  });

describe('a world as it was started', () => {
  test(
    'is clean: every channel shows its control and no canary that may not be there',
    async () => {
      const { status, machine, stderr } = await audit();
      expect(stderr).toBe('');
      expect(machine.findings).toEqual([]);
      expect(machine.channels.filter(({ because }) => because !== undefined)).toEqual([]);
      expect(machine.channels.filter(({ positiveControl }) => !positiveControl)).toEqual([]);
      expect(machine.channels.filter(({ hits }) => hits > 0)).toEqual([]);
      expect(status).toBe(0);
      const names = machine.channels.map(({ name }) => name);
      const expected = [
        ...clustersOf(domicile).flatMap(({ node }) => [
          `${node} data directory`,
          `${node} server log`,
        ]),
        ...REGIONS.flatMap((region) => [`edge-${region} memory`, `edge-${region} log`]),
        'run folder',
        ...REGIONS.flatMap((of) =>
          REGIONS.filter((peer) => peer !== of).flatMap((peer) => [
            `wire from ${peer} to edge-${of}`,
            `wire from ${peer} to ${of}-x`,
            ...['base backup', 'log', 'decoded log', 'tables'].map(
              (kind) => `${peer} as peer of ${of} at ${of}-x: ${kind}`,
            ),
          ]),
        ),
      ];
      expect([...names].sort()).toEqual([...expected].sort());
      for (const region of REGIONS) {
        const noted = await domicile.sql(
          `${region}-a`,
          (sql) => sql`select verdict, findings, blind, policy_version from domicile.audits`,
        );
        expect([...noted]).toEqual([
          { verdict: 'clean', findings: 0, blind: 0, policy_version: 1 },
        ]);
      }
    },
    AUDIT_MS_MAX,
  );

  test('is afterwards as it was: no canary subject, no slot, no comment is left', async () => {
    for (const { node } of clustersOf(domicile)) {
      await domicile.sql(node, async (sql) => {
        expect(
          await sql`
          select slot_name from pg_replication_slots where slot_name like 'audit%'`,
        ).toEqual([]);
        const [comment] = await sql<{ text: string | null }[]>`
          select obj_description('domicile'::regnamespace, 'pg_namespace') as text`;
        expect(comment?.text).toBeNull();
      });
    }
    for (const region of REGIONS) {
      await domicile.sql(`${region}-a`, async (sql) => {
        const [left] = await sql<{ users: number; orders: number; residents: number }[]>`
          select (select count(*)::int from app.users where id like 'canary%') as users,
            (select count(*)::int from app.orders where user_id like 'canary%') as orders,
            (select count(*)::int from domicile.residents where subject like 'canary%') as residents`;
        expect(left).toEqual({ users: 0, orders: 0, residents: 0 });
      });
    }
    await eventually('three entries in every directory', async () => {
      const counts = await Promise.all(
        REGIONS.map((region) =>
          domicile.sql(`${region}-a`, async (sql) => {
            const [row] = await sql<{ count: number }[]>`
              select count(*)::int as count from domicile.directory`;
            return row?.count;
          }),
        ),
      );
      return counts.every((count) => count === 3);
    });
  });

  test('leaves a report that its key verifies, and no other report', async () => {
    const folder = join(domicile.root, 'audit');
    const { stdout } = await command(
      ['audit', '--root', domicile.root, '--without', 'data,logs,memory,peers,wires'],
      {},
      AUDIT_MS_MAX,
    );
    expect(stdout).toContain('Clean: ');
    expect(stdout).toContain('Left out on request: data, logs, memory, peers, wires');
    const path = /signed: (\S+)/.exec(stdout)?.[1] ?? '';
    const key = join(folder, 'audit.pub');
    const verify = (report: string) =>
      command(['audit', 'verify', report, '--key', key, '--json'], {});
    const genuine = await verify(path);
    expect([genuine.status, JSON.parse(genuine.stdout)]).toMatchObject([0, { genuine: true }]);
    const forged = join(folder, 'forged.json');
    await writeFile(forged, (await readFile(path, 'utf8')).replace('"clean"', '"findings"'));
    const refused = await verify(forged);
    expect([refused.status, JSON.parse(refused.stdout)]).toMatchObject([1, { genuine: false }]);
    expect(await readFile(path.replace(/json$/, 'html'), 'utf8')).toContain(
      '<h1 class="good">Clean',
    );
    for (const { node } of clustersOf(domicile)) {
      expect(folder.startsWith(domicile.clusters.dataDirectory(node))).toBe(false);
    }
  });
});

describe('a canary that is where it must not be', () => {
  test(
    'is found in every channel: files, logs, memory, wires, and all that peers can copy',
    async () => {
      // Drawn before the audit draws them, and laid everywhere.
      const texts = Array.from({ length: 20 }, draw);
      const leak = texts.slice(2).join(' ');
      const undo: (() => Promise<unknown>)[] = [];
      const sockets: Socket[] = [];
      let leaked: Promise<void> | undefined;
      const leakEverywhere = async () => {
        for (const { node } of clustersOf(domicile)) {
          const file = join(domicile.clusters.dataDirectory(node), 'base', 'leak');
          await writeFile(file, leak);
          await chmod(file, 0o644);
          undo.push(() => rm(file));
          await appendFile(domicile.clusters.logFile(node), `${leak}\n`);
          if (domicile.clusters.role(node) !== 'airlock') continue;
          // A row and a message, so that it is in tables, log and decoded log.
          await run(
            node,
            'create table public.leak (text text)',
            'grant select on public.leak to public',
            `insert into public.leak values ('${leak}')`,
          );
          undo.push(() => run(node, 'drop table public.leak'));
        }
        for (const { name, url } of world.edges) {
          await appendFile(machine.edgeLog(name), `${leak}\n`);
          const { hostname, port } = new URL(url);
          const socket = connect(Number(port), hostname);
          sockets.push(socket);
          await once(socket, 'connect');
          socket.write(`GET / HTTP/1.1\r\nx-leak: ${leak}`);
        }
        const inRunFolder = join(machine.runFolder, 'leak');
        await writeFile(inRunFolder, leak);
        undo.push(() => rm(inRunFolder));
        for (const { address } of machine.wire?.links ?? []) {
          const socket = connect(address.port, address.host);
          socket.on('error', () => {});
          sockets.push(socket);
          socket.end(leak);
          socket.resume();
          await new Promise((done) => socket.on('close', done));
        }
      };
      // In front of the edges that the audit writes through: the leak comes with the first write,
      // when the peers' slots are there already.
      const front = createServer(async (request, response) => {
        leaked ??= leakEverywhere();
        await leaked;
        const parts: Buffer[] = [];
        for await (const part of request) parts.push(part as Buffer);
        const [, region = '', path = ''] = /^\/(\w+)(\/.*)$/.exec(request.url ?? '') ?? [];
        const answer = await domicile.call(region, request.method ?? '', path, {
          body: Buffer.concat(parts).toString(),
          headers: { 'content-type': 'application/json' },
        });
        response.writeHead(answer.status, { 'domicile-home': answer.headers['domicile-home'] });
        response.end(answer.text);
      }).listen(0, '127.0.0.1');
      await once(front, 'listening');
      const { port } = front.address() as AddressInfo;
      const throughFront: AuditedWorld = {
        ...world,
        catalogue: {
          ...world.catalogue,
          regions: new Map(
            [...world.catalogue.regions].map(([id, region]) => [
              id,
              {
                ...region,
                edges: region.edges.map(({ name }) => ({ name, url: `http://127.0.0.1:${port}` })),
              },
            ]),
          ),
        },
      };
      const homes = [...REGIONS];
      const prefixed: CanaryModule = (question) => {
        const home = homes.shift();
        const answer = module(question);
        return {
          ...answer,
          requests: answer.requests.map((one) => ({ ...one, path: `/${home}${one.path}` })),
        };
      };
      let at = 0;
      try {
        const result = await plainAudit(
          {
            without: new Set(),
            module: prefixed,
            draw: () => texts[at++] ?? draw(),
          },
          throughFront,
        );
        expect(at).toBeLessThanOrEqual(texts.length);
        const silent = result.channels.filter(
          ({ hits, positiveControl, because }) =>
            hits === 0 || !positiveControl || because !== undefined,
        );
        expect(silent).toEqual([]);
        expect(result.channels.length).toBe(61);
        // Named by file and place.
        const words = result.findings.map((finding) => finding.words);
        expect(words).toContainEqual(
          expect.stringMatching(
            /^us-a data directory: users\.email of eu, which may not be in us \(not from this home; tables\.users\.mirrors\), is in base\/leak at byte \d+ as utf-8$/,
          ),
        );
        expect(words).toContainEqual(
          expect.stringMatching(
            /^us as peer of eu at eu-x: tables: users\.email of eu, .* is in \w+\.public\.leak/,
          ),
        );
      } finally {
        for (const socket of sockets) socket.destroy();
        front.close();
        for (const one of undo) await one();
      }
    },
    AUDIT_MS_MAX,
  );
});

describe('a login of a peer', () => {
  test(
    'that opens another cluster than its airlock is found',
    async () => {
      const password = domicile.clusters.password(peerPassword('eu', 'us'));
      const role = peerRole('us');
      await run('asia-a', `create role ${role} login password '${password}'`);
      try {
        const { findings } = await plainAudit({ without: only('peers') });
        expect(findings.map(({ kind, at }) => `${kind} ${at}`).sort()).toEqual([
          'peer-let-in asia-a',
          'peer-let-in asia-b',
        ]);
        expect(findings[0]?.words).toMatch(/the login that us holds for eu-x of eu opens this/);
      } finally {
        await run('asia-a', `drop role ${role}`);
      }
    },
    AUDIT_MS_MAX,
  );
});

describe('what cannot be looked at is never clean', () => {
  test('a wire whose recording holds no control', async () => {
    const path = join(machine.runFolder, 'wire', LINKS_FILE);
    const kept = await readFile(path, 'utf8');
    const links = JSON.parse(kept) as { folder: string }[];
    try {
      // Each name leads to a place where nothing was ever recorded.
      const astray = links.map((link) => ({ ...link, folder: '../../audit' }));
      await writeFile(path, JSON.stringify(astray));
      const blind = await audit('--without', 'data,logs,memory,peers');
      expect(blind.status).toBe(2);
      expect(blind.machine.findings).toEqual([]);
      expect(blind.machine.channels.map(({ positiveControl }) => positiveControl)).toEqual(
        links.map(() => false),
      );
      await rm(path);
      const unrecorded = await audit('--without', 'data,logs,memory,peers');
      expect(unrecorded.status).toBe(2);
      expect(unrecorded.machine.channels).toMatchObject([
        { name: 'wires', positiveControl: false, because: /--record-wire/ },
      ]);
    } finally {
      await writeFile(path, kept);
    }
  });

  test(
    'a canary that is not found at its own home',
    async () => {
      const boastful: CanaryModule = (question) => {
        const answer = module(question);
        const never = { text: question.draw(), columns: [{ table: 'users', column: 'country' }] };
        return { ...answer, canaries: [...answer.canaries, never] };
      };
      const { channels, findings } = await plainAudit({ without: only('data'), module: boastful });
      expect(findings).toEqual([]);
      for (const region of REGIONS) {
        expect(channels.find(({ name }) => name === `${region}-a data directory`)?.because).toMatch(
          /the canary of users\.country is not found at its own home/,
        );
      }
    },
    AUDIT_MS_MAX,
  );

  test(
    'an edge that does not answer',
    async () => {
      const { clusters: _, ...rest } = domicile;
      expect(rest.world.edges.size).toBe(3);
      const asia = domicile.world.edges.get('edge-asia');
      asia?.kill('SIGSTOP');
      try {
        const { channels, checks } = await plainAudit({ without: only('memory'), patience: SHORT });
        const byName = new Map(channels.map((channel) => [channel.name, channel]));
        expect(byName.get('edge-us memory')).toMatchObject({ positiveControl: true });
        expect(byName.get('edge-asia memory')?.because).toMatch(/could not be told a control/);
        expect(checks.map(({ because }) => because)).toContainEqual(
          expect.stringMatching(/asia: no canary could be written/),
        );
      } finally {
        asia?.kill('SIGCONT');
      }
    },
    AUDIT_MS_MAX,
  );

  test('an app that does not say where canaries go', async () => {
    const { checks, channels } = await runAudit({
      world,
      policy: domicile.policy,
      canaries: await loadCanaryModule(join(domicile.root, 'app.ts')),
      draw,
      without: new Set(),
      probes: [],
    });
    expect(channels).toEqual([]);
    expect(checks.at(-1)).toMatchObject({
      name: 'canaries',
      because: expect.stringMatching(/canary\.ts is missing/),
    });
  });

  test('a world that is not there', async () => {
    const nowhere = join(domicile.root, 'nowhere');
    const ran = await command(['audit', '--root', nowhere, '--json'], {});
    expect(ran.status).toBe(2);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      findings: [],
      channels: [{ positiveControl: false, because: /There is no Domicile world/ }],
    });
  });

  test('an option that says nothing', async () => {
    for (const options of [
      ['--without', 'wire'],
      ['--every', '0s'],
      ['--every', 'soon'],
    ]) {
      const ran = await command(['audit', '--root', domicile.root, ...options], {});
      expect([ran.status, ran.stdout]).toEqual([2, expect.stringContaining(`"${options[1]}"`)]);
    }
  });
});

describe('books that do not agree', () => {
  const found = async () => {
    const { findings } = await checkRowHomes(world, domicile.policy, SETTLE_MS_MAX);
    return findings;
  };
  const key = (subject: string) => domicile.keyOf(subject).toString('base64url');
  const hex = (subject: string) => `'\\x${domicile.keyOf(subject).toString('hex')}'`;

  test('agree at first', async () => {
    const { findings, looked } = await checkRowHomes(world, domicile.policy);
    expect(findings).toEqual([]);
    expect(looked).toBeGreaterThan(REGIONS.length * 4);
  });

  test('a copy abroad that has lost an entry, or has one too many', async () => {
    await run('us-a', `delete from domicile.directory where key = ${hex(users.eu)}`);
    await run(
      'asia-a',
      `insert into domicile.directory (key, home) values (${hex('nobody')}, 'eu')`,
    );
    const findings = await found();
    expect(findings.map(({ kind, at }) => [kind, at])).toEqual([
      ['directory-copy-differs', 'us-a, domicile.directory'],
      ['directory-copy-differs', 'asia-a, domicile.directory'],
    ]);
    expect(findings[0]?.words).toContain(key(users.eu));
    expect(findings[1]?.words).toContain(key('nobody'));
    await run('us-a', `insert into domicile.directory (key, home) values (${hex(users.eu)}, 'eu')`);
    await run('asia-a', `delete from domicile.directory where key = ${hex('nobody')}`);
    expect(await found()).toEqual([]);
  });

  test('a resident under a wrong key, whose right entry then belongs to nobody', async () => {
    await run(
      'us-a',
      `update domicile.residents set key = '\\x00112233445566778899aabbccddeeff' where subject = '${users.us}'`,
    );
    const kinds = (await found()).map(({ kind }) => kind);
    expect(kinds).toEqual([
      'resident-key-wrong',
      'resident-without-entry',
      'entry-without-resident',
    ]);
    await run(
      'us-a',
      `update domicile.residents set key = ${hex(users.us)} where subject = '${users.us}'`,
    );
    expect(await found()).toEqual([]);
  });

  test('a resident whom the directory sends elsewhere', async () => {
    await run('us-a', `update domicile.directory set home = 'eu' where key = ${hex(users.us)}`);
    const findings = await found();
    expect(findings).toContainEqual(
      expect.objectContaining({
        kind: 'resident-elsewhere',
        words: expect.stringContaining('the directory there says eu'),
      }),
    );
    await run('us-a', `update domicile.directory set home = 'us' where key = ${hex(users.us)}`);
    await eventually('the directories agree again', async () => (await found()).length === 0);
  });
});

describe('the probe', () => {
  test(
    'prints a line of JSON a round until it is asked to end',
    async () => {
      const lines: Record<string, unknown>[] = [];
      const ending = new AbortController();
      const exit = await auditCommand({
        root: domicile.root,
        without: 'data,logs,memory,peers,wires',
        continuous: true,
        every: '1s',
        wallClock: Date.now,
        random: randomBytes,
        ending: ending.signal,
        print(line) {
          lines.push(JSON.parse(line));
          if (lines.length === 2) ending.abort();
        },
      });
      expect(exit).toBe(0);
      expect(lines).toMatchObject([
        { round: 1, verdict: 'clean', exit: 0, findings: 0, kinds: {}, blind: 0 },
        { round: 2, verdict: 'clean', exit: 0, findings: 0, kinds: {}, blind: 0 },
      ]);
    },
    AUDIT_MS_MAX,
  );
});

describe('the closing scenario', () => {
  test(
    'a drifted publication, a dropped constraint and a foreign row are all found and named',
    async () => {
      await run(
        'us-a',
        'alter publication domicile_out_us_x set table app.products, domicile.pulses',
      );
      await run('us-a', 'alter table app.users drop constraint domicile_home');
      await run(
        'us-a',
        `insert into app.users (id, display_name, email, country) values ('${users.eu}', 'E', 'e@example.org', 'DE')`,
      );
      // Receipts refuse to be changed; whoever owns the server can make them stop refusing.
      await run(
        'eu-a',
        'alter table domicile.receipts disable trigger all',
        "update domicile.receipts set jurisdiction = 'elsewhere' where kind = 'place'",
      );
      await run('asia-a', "alter system set log_statement = 'mod'", 'select pg_reload_conf()');
      const { status, machine } = await audit('--without', 'data,logs,memory,peers,wires');
      expect(status).toBe(1);
      const words = machine.findings.map((finding) => finding.words);
      expect(words).toContainEqual(expect.stringMatching(/^us: .*publication domicile_out_us_x/));
      expect(words).toContainEqual(
        expect.stringMatching(/^us: constraint domicile_home on app\.users is missing/),
      );
      expect(words).toContainEqual(
        expect.stringMatching(
          /^us: app\.users on us-a has a row at \(\d+,\d+\) of base\/\S+ whose subject is not at home in us: .* the directory says eu$/,
        ),
      );
      expect(words).toContainEqual('asia-a: log_statement is "mod": statements go to the log');
      expect(words).toContainEqual(
        expect.stringMatching(/^eu: receipt \d+ does not say what seal \d+ holds of it$/),
      );
      // Whose row it is does not stand in the report.
      expect(JSON.stringify(machine)).not.toContain(users.eu);
    },
    AUDIT_MS_MAX,
  );
});
