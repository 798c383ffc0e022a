import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Session } from '../policies/session.ts';
import type { Seen } from '../policies/standing.ts';
import { parseLsn } from '../regions/position.ts';
import { postgresMessages, postgresUser, Tap } from './tap-for-tests.ts';
import {
  type Answer,
  Client,
  COUNTRY_OF,
  eventually,
  type FurtherEdge,
  flushedAt,
  LAMP,
  newUser,
  problemOf,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  tokenOf,
  type Where,
  whileReplayRests as whileNodeRests,
  withRegion,
} from './world-for-tests.ts';

let domicile: TestDomicile;

beforeAll(async () => {
  domicile = await startTestDomicile();
});
afterAll(() => domicile?.remove());

/** A user with one order, whose version grows with each change. */
class Shopper extends Client {
  id = '';
  order = '';
  /** The highest version that this session wrote and was told of, or read. */
  seen = 0;

  static async at(home: Where): Promise<Shopper> {
    const shopper = new Shopper(domicile);
    const user = newUser(COUNTRY_OF[home]);
    shopper.id = user.id;
    await shopper.call(home, 'POST', '/users', user);
    const placed = await shopper.call(home, 'POST', `/users/${user.id}/orders`, LAMP);
    expect(placed.status).toBe(201);
    shopper.order = placed.json.id;
    shopper.seen = 1;
    return shopper;
  }

  get path(): string {
    return `/users/${this.id}/orders/${this.order}`;
  }

  read(to: string): Promise<Answer> {
    return this.call(to, 'GET', this.path);
  }

  /** Makes the next version. */
  async change(to: string): Promise<Answer> {
    const body = { status: this.seen % 2 === 0 ? 'placed' : 'paid', version: this.seen };
    const answer = await this.call(to, 'PATCH', this.path, body);
    if (answer.status === 200) this.seen = answer.json.version;
    return answer;
  }

  /** The same user in another window, which has seen less. */
  twin(): Shopper {
    const twin = new Shopper(domicile, this.token);
    Object.assign(twin, { id: this.id, order: this.order, seen: this.seen });
    return twin;
  }

  /** The session that the token says. */
  get session(): Session {
    const opened = domicile.tokens.open(this.token ?? '');
    if (opened.kind !== 'session') throw new Error(opened.kind);
    return opened.session;
  }

  floor(region: Where): bigint {
    return this.session.floors.get(region)?.[0]?.lsn ?? 0n;
  }
}

type NodeHealth = { node: string; role: string; lsn: bigint; seenMsAgo: number };

async function healthOf(edge: string, node: string): Promise<NodeHealth | undefined> {
  const { json } = await domicile.call(edge, 'GET', '/.domicile/health');
  const seen = json.nodes.find((one: { node: string }) => one.node === node);
  return seen && { ...seen, lsn: parseLsn(seen.lsn) };
}

/** The replica of eu shows nothing new while `use` runs. */
function whileReplayRests<T>(use: () => Promise<T>): Promise<T> {
  return whileNodeRests(domicile, 'eu-b', use);
}

const WAL_PAGE_BYTES = 8_192n;
const WAL_PAGE_HEADER_BYTES = 24n;

/** Writes to eu's log until a record ends exactly where a page does. */
async function fillPageOfLog(): Promise<void> {
  await domicile.sql(
    'eu-a',
    (sql) => sql`
      do $$
      declare
        earlier bigint;
        now bigint;
        size bigint;
        room bigint;
      begin
        loop
          earlier := pg_current_wal_insert_lsn() - '0/0';
          perform pg_logical_emit_message(false, 'filler', repeat('a', 400));
          now := pg_current_wal_insert_lsn() - '0/0';
          size := now - earlier;
          room := 8192 - now % 8192;
          continue when size > 520 or room < 800 or room > 8000;
          perform pg_logical_emit_message(false, 'filler', repeat('a', (room - size + 400)::int), true);
          exit when (pg_current_wal_insert_lsn() - '0/0')::bigint % 8192 = 24;
        end loop;
      end $$`,
  );
}

function servedBy({ headers }: Answer): unknown {
  return headers['domicile-served-by'];
}

function decided({ headers }: Answer): unknown {
  return headers['domicile-decision'];
}

describe('where reads and writes go', () => {
  test('at home writes go to the primary and reads to the replica', async () => {
    for (const home of REGIONS) {
      const shopper = await Shopper.at(home);
      const written = await shopper.change(home);
      expect(servedBy(written)).toBe(`${home}/${home}-a`);
      expect(decided(written)).toBe(`serve;node=${home}-a;rung=primary`);
      await eventually('the replica serves it', async () => {
        const read = await shopper.read(home);
        expect(read.json.version).toBe(2);
        return (
          servedBy(read) === `${home}/${home}-b` &&
          decided(read) === `serve;node=${home}-b;rung=replica`
        );
      });
    }
  });

  test('elsewhere the home answers, through one hop, and both edges say so', async () => {
    const shopper = await Shopper.at('eu');
    const written = await shopper.change('us');
    expect(servedBy(written)).toBe('eu/eu-a');
    expect(decided(written)).toBe('forward;to=eu, serve;node=eu-a;rung=primary');
    const read = await shopper.read('asia');
    expect(String(decided(read))).toMatch(/^forward;to=eu, serve;node=eu-[ab];rung=\w+/);
    expect(read.headers['server-timing']).toMatch(/hop;dur=[\d.]+, asia;dur=.*sql;dur=.*eu;dur=/);
  });
});

describe('a session reads what it wrote', () => {
  test('at every edge, whatever edge took the write, at once; 90 rounds', async () => {
    const shoppers = await Promise.all(REGIONS.map((home) => Shopper.at(home)));
    await Promise.all(
      shoppers.map(async (shopper) => {
        for (let round = 0; round < 30; round++) {
          const writer = REGIONS[round % 3] ?? 'us';
          const reader = REGIONS[Math.floor(round / 3) % 3] ?? 'us';
          expect((await shopper.change(writer)).status).toBe(200);
          const read = await shopper.read(reader);
          expect([read.status, read.json.version], `${writer}, ${reader}`).toEqual([
            200,
            shopper.seen,
          ]);
        }
      }),
    );
  });

  test('from the primary while the replica stands still, and says whom it passed over', async () => {
    const shopper = await Shopper.at('eu');
    await whileReplayRests(async () => {
      await shopper.change('eu');
      for (const edge of REGIONS) {
        const read = await shopper.read(edge);
        expect([read.status, read.json.version]).toEqual([200, shopper.seen]);
        expect(servedBy(read)).toBe('eu/eu-a');
        expect(decided(read)).toMatch(
          /serve;node=eu-a;rung=primary;passed-over="eu-b:(behind|lagging)"$/,
        );
        // As old as the last commit that proved it to be the primary.
        expect(Number(read.headers['domicile-staleness-ms'])).toBeLessThan(2_000);
        expect(read.ms).toBeLessThan(2_000);
      }
    });
    await eventually('the replica serves again', async () => {
      const read = await shopper.read('eu');
      expect(read.json.version).toBe(shopper.seen);
      return servedBy(read) === 'eu/eu-b';
    });
  });

  test('while one who wrote nothing is served by the replica, and told how old that may be', async () => {
    const shopper = await Shopper.at('eu');
    await eventually('the replica has the order', async () => {
      const read = await domicile.call('eu', 'GET', shopper.path);
      return read.status === 200 && servedBy(read) === 'eu/eu-b';
    });
    await whileReplayRests(async () => {
      await shopper.change('eu');
      // Until the edge has looked at both again, it may find that the resting replica was level later.
      const ages: number[] = [];
      await eventually('the age grows', async () => {
        const read = await domicile.call('eu', 'GET', shopper.path);
        expect([read.status, servedBy(read), read.json.version]).toEqual([200, 'eu/eu-b', 1]);
        expect(decided(read)).toBe('serve;node=eu-b;rung=replica');
        const age = Number(read.headers['domicile-staleness-ms']);
        if (age > 1_000) ages.push(age);
        return (ages.at(-1) ?? 0) > (ages[0] ?? 0) + 1_000;
      });
      expect(ages).toEqual([...ages].sort((a, b) => a - b));
    });
  });

  test('a read that the primary served raises the session to what it showed', async () => {
    const shopper = await Shopper.at('eu');
    await whileReplayRests(async () => {
      await shopper.change('eu');
      const reader = shopper.twin();
      await shopper.change('us');
      const before = reader.floor('eu');
      expect(before).toBeLessThan(shopper.floor('eu'));
      const read = await reader.read('asia');
      expect([read.json.version, servedBy(read)]).toEqual([shopper.seen, 'eu/eu-a']);
      expect(reader.floor('eu')).toBeGreaterThanOrEqual(shopper.floor('eu'));
      // And so it never sees less again.
      expect((await reader.read('eu')).json.version).toBe(shopper.seen);
    });
  });

  test('a session is never told of a position beyond the last record of the log', async () => {
    const shopper = await Shopper.at('eu');
    await whileReplayRests(async () => {
      await shopper.change('eu');
      await eventually('a read just after a record that fills its page', async () => {
        await fillPageOfLog();
        const read = await shopper.read('eu');
        expect([read.status, servedBy(read)]).toEqual([200, 'eu/eu-a']);
        const within = shopper.floor('eu') % WAL_PAGE_BYTES;
        // Behind the header of an empty page there is nothing that a replica could ever replay.
        expect(within).not.toBe(WAL_PAGE_HEADER_BYTES);
        return within === 0n;
      });
    });
  });

  describe('a token of ours whose floor cannot be met is answered at once, and says why', () => {
    const bent = async (bend: (floor: Seen) => Seen) => {
      const shopper = await Shopper.at('eu');
      const { session } = shopper;
      const floor = session.floors.get('eu')?.[0];
      if (floor === undefined) throw new Error('a write raises the floor');
      const floors = new Map([['eu', [bend(floor)]]]);
      return { shopper, token: domicile.tokens.seal({ ...session, floors }) };
    };

    test('of a timeline that is yet to come: safe to ask again', async () => {
      const { shopper, token } = await bent((floor) => ({
        ...floor,
        timeline: floor.timeline + 1,
      }));
      const answer = await domicile.call('us', 'GET', shopper.path, { token });
      expect(problemOf(answer)).toEqual([503, 'session-floor-unmet', 'safe']);
      expect(answer.json.passedOver).toContainEqual({ node: 'eu-b', because: 'older_timeline' });
      expect(answer.headers['domicile-decision']).toContain('refuse;because=session-floor-unmet');
    });

    test.each([
      ['of another cluster', 'session-of-other-cluster', { systemId: 1n }],
      ['beyond all that was written', 'session-position-unknown', { lsn: 1n << 62n }],
    ])('%s: %s, with a session to go on with', async (_what, kind, bend) => {
      const { shopper, token } = await bent((floor) => ({ ...floor, ...bend }));
      for (const method of ['GET', 'PATCH']) {
        const answer = await domicile.call('us', method, shopper.path, {
          token,
          ...(method === 'PATCH' && { body: { status: 'paid', version: 1 } }),
        });
        expect(problemOf(answer), method).toEqual([409, kind, 'after-change']);
        const fresh = tokenOf(answer);
        expect(fresh).toBeDefined();
        const again = await domicile.call('us', 'GET', shopper.path, { token: fresh });
        expect([again.status, again.json.version]).toEqual([200, 1]);
      }
    });
  });

  test('the replica is not asked for its position when it is known to suffice', async () => {
    const { node, port } = euReplica();
    const tap = await Tap.to('127.0.0.1', port);
    try {
      const edge = await euEdgeThrough(tap.port, { DOMICILE_LOOK_EVERY_MS: '2500' });
      const shopper = await Shopper.at('eu');
      const executed = () =>
        tap.connections
          .filter(({ sent }) => postgresUser(sent()) === 'domicile_reader')
          .flatMap(({ sent }) => postgresMessages(sent()))
          .filter((type) => type === 'E' || type === 'Q' || type === 'F').length;
      const cost = async () => {
        const before = executed();
        const read = await shopper.call(edge.url, 'GET', `/users/${shopper.id}`);
        return [read.status, servedBy(read), executed() - before];
      };
      await cost();
      // A read is three statements in one round trip: whose rows, which, and how far the log is. The
      // positive control: what is not known yet costs a question, unless a look came first.
      await eventually('a read that has to ask', async () => {
        await shopper.change('eu');
        return (await cost()).join() === `200,eu/${node},4`;
      });
      for (let round = 0; round < 20; round++) {
        expect(await cost()).toEqual([200, `eu/${node}`, 3]);
      }
    } finally {
      tap.close();
    }
  });
});

describe('the token', () => {
  test('of another subject is refused, for reads and writes, at every edge', async () => {
    const [ann, bob] = [await Shopper.at('eu'), await Shopper.at('asia')];
    for (const edge of REGIONS) {
      for (const call of [
        domicile.call(edge, 'GET', `/users/${ann.id}`, { token: bob.token }),
        domicile.call(edge, 'POST', `/users/${ann.id}/orders`, { token: bob.token, body: LAMP }),
      ]) {
        const answer = await call;
        expect(answer.status).toBe(403);
        expect(answer.json).toMatchObject({
          type: '/docs/problems.md#session-token-foreign',
          retry: 'after-change',
        });
      }
    }
    expect((await ann.call('eu', 'GET', `/users/${ann.id}/orders`)).json.orders).toHaveLength(1);
  });

  test('that was altered in any one byte is refused, and so is one of a stranger’s key', async () => {
    const shopper = await Shopper.at('eu');
    const bytes = Buffer.from(shopper.token ?? '', 'base64url');
    const altered = [...bytes.keys()].map((at) => {
      const copy = Buffer.from(bytes);
      copy[at] = (copy[at] ?? 0) ^ 1;
      return copy.toString('base64url');
    });
    for (const [at, token] of altered.entries()) {
      const edge = REGIONS[at % 3] ?? 'us';
      const answer = await domicile.call(edge, 'GET', `/users/${shopper.id}`, { token });
      expect([at, answer.status]).toEqual([at, 401]);
      expect(answer.json).toMatchObject({ retry: 'after-change' });
    }
    const [first] = altered.slice(-1);
    const answer = await domicile.call('us', 'GET', `/users/${shopper.id}`, { token: first ?? '' });
    expect(answer.json.type).toBe('/docs/problems.md#session-token-forged');
  });

  test.each([
    ['nothing', ' '],
    ['a word', 'hello'],
    ['not base64url', 'a+b/c='],
    ['too long', 'A'.repeat(4_001)],
    ['of a later version', Buffer.alloc(64, 9).toString('base64url')],
  ])('that is %s is refused', async (_what, token) => {
    const answer = await domicile.call('us', 'GET', '/users/anybody', { token });
    if (token === ' ') return expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBe(400);
    expect(answer.json).toMatchObject({
      type: '/docs/problems.md#session-token-malformed',
      retry: 'after-change',
    });
    return undefined;
  });
});

function euReplica(): { node: string; port: number } {
  const found = domicile.catalogue.regions.get('eu')?.nodes.find(({ name }) => name === 'eu-b');
  if (found === undefined) throw new Error('no eu-b');
  return { node: found.name, port: found.port };
}

/** An edge of eu that reaches the replica through a port of the test's. */
function euEdgeThrough(port: number, settings: Record<string, string>): Promise<FurtherEdge> {
  const catalogue = withRegion(domicile.catalogue, 'eu', (eu) => ({
    ...eu,
    nodes: eu.nodes.map((node) => (node.name === 'eu-b' ? { ...node, port } : node)),
  }));
  return domicile.startEdge({ region: 'eu', catalogue, settings });
}

/**
 * The replica of eu dies and comes back behind what it has served: it replays what it needs to be
 * consistent, and no commit after that.
 */
const comesBackBehind = {
  async arm() {
    await domicile.sql('eu-a', (sql) => sql`checkpoint`);
    const at = await flushedAt(domicile, 'eu-a');
    await eventually('the checkpoint has arrived', async () => (await this.replayed()) >= at);
    // From here it will begin, so that at least roles and tables are there.
    await domicile.sql('eu-b', async (sql) => {
      await sql`checkpoint`;
      await sql`alter system set recovery_min_apply_delay = '1h'`;
    });
  },
  async restart({ withoutItsLog = false } = {}) {
    domicile.clusters.kill('eu-b', 'SIGKILL');
    const log = join(domicile.clusters.dataDirectory('eu-b'), 'pg_wal');
    for (const segment of withoutItsLog ? await readdir(log) : []) {
      if (/^[0-9A-F]{24}$/.test(segment)) await rm(join(log, segment));
    }
    await domicile.clusters.start('eu-b');
  },
  async replayed(): Promise<bigint> {
    const [row] = await domicile.sql(
      'eu-b',
      (sql) => sql<{ at: string }[]>`select pg_last_wal_replay_lsn()::text as at`,
    );
    return parseLsn(row?.at ?? '') ?? 0n;
  },
  async heal() {
    await domicile.sql('eu-b', async (sql) => {
      await sql`alter system reset recovery_min_apply_delay`;
      await sql`select pg_reload_conf()`;
    });
    const at = await flushedAt(domicile, 'eu-a');
    await eventually('the replica is back', async () => (await this.replayed()) >= at);
  },
};

describe('a replica that crashed', () => {
  test('and came back behind is not believed for what its earlier start had reached', async () => {
    const edge = await domicile.startEdge({
      region: 'eu',
      settings: { DOMICILE_LOOK_EVERY_MS: '2500' },
    });
    const shopper = await Shopper.at('eu');
    let bit = false;
    for (let round = 0; round < 6 && !bit; round++) {
      await comesBackBehind.arm();
      try {
        await eventually('the edge has just looked', async () => {
          const seen = await healthOf(edge.url, 'eu-b');
          return seen !== undefined && seen.seenMsAgo < 100;
        });
        await shopper.change(edge.url);
        await eventually(
          'the replica served it',
          async () => servedBy(await shopper.read(edge.url)) === 'eu/eu-b',
        );
        const killedAtMs = performance.now();
        await comesBackBehind.restart();
        const read = await shopper.read(edge.url);
        const sinceKillMs = performance.now() - killedAtMs;
        expect([read.status, read.json.version]).toEqual([200, shopper.seen]);
        // The fault bit when the replica was behind while the edge still remembered it ahead.
        const seen = await healthOf(edge.url, 'eu-b');
        const remembered = seen !== undefined && seen.seenMsAgo > sinceKillMs;
        bit = remembered && (await comesBackBehind.replayed()) < shopper.floor('eu');
        if (bit) expect(decided(read)).toContain('rung=primary;passed-over="eu-b:behind"');
      } finally {
        await comesBackBehind.heal();
      }
    }
    expect(bit).toBe(true);
  });

  test('while a read was on its way to it does not serve that read from behind', async () => {
    const tap = await Tap.to('127.0.0.1', euReplica().port);
    const edge = await euEdgeThrough(tap.port, {
      DOMICILE_BUDGET_MS: '12000',
      DOMICILE_CONNECT_TIMEOUT_MS: '11000',
      DOMICILE_LOOK_EVERY_MS: '50',
    });
    const shopper = await Shopper.at('eu');
    try {
      await comesBackBehind.arm();
      await shopper.change('eu');
      const floor = shopper.floor('eu');
      await eventually('the edge knows that the replica has it', async () => {
        return ((await healthOf(edge.url, 'eu-b'))?.lsn ?? 0n) >= floor;
      });
      tap.holds = (sent) => postgresUser(sent) === 'domicile_reader';
      const reading = shopper.twin().read(edge.url);
      await eventually('the read is on its way', async () => tap.held > 0);
      // It has to fetch again what it had, so it streams, and can be looked at, from behind.
      await comesBackBehind.restart({ withoutItsLog: true });
      await eventually('the edge has looked at the new start', async () => {
        const seen = await healthOf(edge.url, 'eu-b');
        return seen !== undefined && seen.lsn < floor;
      });
      tap.release();
      const read = await reading;
      expect([read.status, read.json.version, servedBy(read)]).toEqual([
        200,
        shopper.seen,
        'eu/eu-a',
      ]);
    } finally {
      tap.release();
      await comesBackBehind.heal();
      tap.close();
    }
  });

  test('that is frozen is left for the primary long before its last sighting has aged', async () => {
    const shopper = await Shopper.at('eu');
    await eventually('the replica has the order', async () => {
      const read = await domicile.call('eu', 'GET', shopper.path);
      return read.status === 200 && servedBy(read) === 'eu/eu-b';
    });
    domicile.clusters.kill('eu-b', 'SIGSTOP');
    try {
      // No read is sent meanwhile, so the edge finds out by its own looks or not at all.
      await eventually('the edge has given the replica up', async () => {
        const health = await domicile.call('eu', 'GET', '/.domicile/health');
        return health.json.nodes.every(({ node }: { node: string }) => node !== 'eu-b');
      });
      const read = await domicile.call('eu', 'GET', shopper.path);
      expect([read.status, servedBy(read)]).toEqual([200, 'eu/eu-a']);
      expect(decided(read)).not.toContain('unreachable');
    } finally {
      domicile.clusters.kill('eu-b', 'SIGCONT');
    }
    await eventually('the replica serves again', async () => {
      const read = await domicile.call('eu', 'GET', shopper.path);
      return read.status === 200 && servedBy(read) === 'eu/eu-b';
    });
  });

  test('and comes back twice under load shows no session less than it has seen', async () => {
    const shoppers = await Promise.all(Array.from({ length: 6 }, () => Shopper.at('eu')));
    const regressions: string[] = [];
    const served = new Map<unknown, number>();
    let over = false;
    const shop = async (shopper: Shopper, number: number) => {
      for (let round = number; !over; round++) {
        const edge = REGIONS[round % 3] ?? 'eu';
        if (round % 3 === 0) {
          const written = await shopper.change(edge);
          // Outcome unknown: the next read says which version there is.
          if (![200, 409, 503, 504].includes(written.status)) regressions.push(written.text);
        }
        const read = await shopper.read(edge);
        if (read.status === 200) {
          served.set(servedBy(read), (served.get(servedBy(read)) ?? 0) + 1);
          if (read.json.version < shopper.seen) {
            regressions.push(`${shopper.seen} then ${read.json.version}: ${decided(read)}`);
          }
          shopper.seen = Math.max(shopper.seen, read.json.version);
        } else if (![503, 504].includes(read.status)) regressions.push(read.text);
      }
    };
    const servedByReplica = () => served.get('eu/eu-b') ?? 0;
    const loads = shoppers.map(shop);
    try {
      for (let kill = 0; kill < 2; kill++) {
        const before = servedByReplica();
        await eventually('the replica serves', async () => servedByReplica() > before + 20);
        domicile.clusters.kill('eu-b', 'SIGKILL');
        const away = served.get('eu/eu-a') ?? 0;
        await eventually(
          'the primary serves',
          async () => (served.get('eu/eu-a') ?? 0) > away + 10,
        );
        await domicile.clusters.start('eu-b');
      }
      const before = servedByReplica();
      await eventually('the replica serves again', async () => servedByReplica() > before + 20);
    } finally {
      over = true;
      await Promise.all(loads);
    }
    expect(regressions).toEqual([]);
  });
});
