import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Session } from '../policies/session.ts';
import { SessionTokens } from './session-token.ts';
import { postgresStatements, postgresUser, Tap } from './tap-for-tests.ts';
import {
  type Answer,
  COUNTRY_OF,
  eventually,
  type FurtherEdge,
  LAMP,
  newUser,
  problemOf,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  tokenOf,
  type Where,
  whileReplayRests,
  withRegion,
} from './world-for-tests.ts';

/** Seven edges take seconds to start on an idle machine. */
const EDGES_MS_MAX = 180_000;

let domicile: TestDomicile;

beforeAll(async () => {
  domicile = await startTestDomicile();
});
afterAll(() => domicile?.remove());

/** What a client keeps between requests, and how it takes an answer. */
type Keeper = {
  fields: () => Record<string, string>;
  take: (sent: Record<string, string>, answer: Answer) => void;
};

/** A program that keeps tokens by the rule of docs/guarantees.md. */
function inHeader(): Keeper & { held: Set<string> } {
  const held = new Set<string>();
  return {
    held,
    fields: () => (held.size === 0 ? {} : { 'domicile-session': [...held].join(', ') }),
    take(sent, answer) {
      const told = tokenOf(answer);
      if (told === undefined) return;
      for (const token of sent['domicile-session']?.split(', ') ?? []) held.delete(token);
      held.add(told);
    },
  };
}

/** A browser, which knows nothing of sessions. */
function inJar(): Keeper & { jar: Map<string, string> } {
  const jar = new Map<string, string>();
  return {
    jar,
    fields: () =>
      jar.size === 0
        ? {}
        : { cookie: [...jar].map(([name, value]) => `${name}=${value}`).join('; ') },
    take(_sent, answer) {
      for (const field of cookiesOf(answer)) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(field) ?? [];
        if (/; Max-Age=0(;|$)/.test(field)) jar.delete(name);
        else jar.set(name, value);
      }
    },
  };
}

function cookiesOf({ headers }: Answer): string[] {
  return headers['set-cookie'] ?? [];
}

type Order = { user: string; path: string; version: number };

/** Somebody at home there, with one order of version 1. */
async function shopper(home: Where, keeper: Keeper): Promise<Order> {
  const user = newUser(COUNTRY_OF[home]);
  const call = async (path: string, body: unknown) => {
    const headers = keeper.fields();
    const answer = await domicile.call(home, 'POST', path, { headers, body });
    expect(answer.status).toBe(201);
    keeper.take(headers, answer);
    return answer;
  };
  await call('/users', user);
  const placed = await call(`/users/${user.id}/orders`, LAMP);
  return { user: user.id, path: `/users/${user.id}/orders/${placed.json.id}`, version: 1 };
}

/** Makes the next version with these header fields. */
async function change(to: string, order: Order, headers: Record<string, string>): Promise<Answer> {
  const { version } = order;
  const body = { status: version % 2 === 0 ? 'placed' : 'paid', version };
  const answer = await domicile.call(to, 'PATCH', order.path, { headers, body });
  if (answer.status === 200) order.version = answer.json.version;
  return answer;
}

function sessionIn(token: string | undefined): Session {
  const opened = domicile.tokens.open(token ?? '');
  if (opened.kind !== 'session') throw new Error(opened.kind);
  return opened.session;
}

function floorIn(token: string | undefined): bigint {
  return sessionIn(token).floors.get('eu')?.[0]?.lsn ?? 0n;
}

/** Genuine tokens of the same session that have seen less, each of them a little less. */
function earlierTokens(token: string | undefined, count: number): string[] {
  const session = sessionIn(token);
  return Array.from({ length: count }, (_, i) => {
    const floor = session.floors.get('eu') ?? [];
    const lower = floor.map((at) => ({ ...at, lsn: at.lsn - BigInt(i + 1) }));
    return domicile.tokens.seal({ ...session, floors: new Map([['eu', lower]]) });
  });
}

async function replicaHas(token: string | undefined): Promise<void> {
  const floor = floorIn(token);
  await eventually('the replica has it', async () => {
    const [row] = await domicile.sql(
      'eu-b',
      (sql) =>
        sql<{ has: boolean }[]>`
          select pg_last_wal_replay_lsn() >= ('0/0'::pg_lsn + ${String(floor)}::numeric) as has`,
    );
    return row?.has === true;
  });
}

describe('answers that arrive in the wrong order', () => {
  test.each([
    ['header', inHeader],
    ['cookies', inJar],
  ])('lose no write of a client that keeps its session in %s', async (_what, of) => {
    for (const edge of ['eu', 'us'] as const) {
      const client = of();
      const order = await shopper('eu', client);
      const sent = client.fields();
      const first = await change(edge, order, sent);
      await replicaHas(tokenOf(first));
      await whileReplayRests(domicile, 'eu-b', async () => {
        // Sent before the first one was answered, and answered before it.
        const second = await change(edge, order, sent);
        expect([first.status, second.status, order.version]).toEqual([200, 200, 3]);
        client.take(sent, second);
        client.take(sent, first);
        // The positive control: alone, the token that came last shows the first write only.
        await eventually('the replica serves what it has', async () => {
          const stale = await domicile.call('eu', 'GET', order.path, { token: tokenOf(first) });
          return stale.json.version === 2 && stale.headers['domicile-served-by'] === 'eu/eu-b';
        });
        for (const to of REGIONS) {
          const read = await domicile.call(to, 'GET', order.path, { headers: client.fields() });
          expect([read.status, read.json.version, to]).toEqual([200, 3, to]);
          expect(floorIn(tokenOf(read))).toBeGreaterThanOrEqual(floorIn(tokenOf(second)));
        }
      });
      const headers = client.fields();
      const read = await domicile.call(edge, 'GET', order.path, { headers });
      client.take(headers, read);
      // One answer, and one token is left of the two.
      const kept = Object.values(client.fields()).join();
      expect(kept.split(/[;,]/)).toHaveLength(1);
    }
  });

  test('of 24 requests at once leave a browser with what the last of them wrote', async () => {
    const browser = inJar();
    const order = await shopper('eu', browser);
    for (let round = 0; round < 3; round++) {
      const headers = browser.fields();
      const writes = Array.from({ length: 24 }, (_, i) =>
        domicile.call(REGIONS[i % 3] ?? 'eu', 'POST', `/users/${order.user}/orders`, {
          headers,
          body: LAMP,
        }),
      );
      const all = await Promise.all(writes);
      // A machine that is busy turns some of them away.
      const answers = all.filter(({ status }) => status === 201);
      const refused = all.filter(({ status }) => status !== 201).map(problemOf);
      for (const problem of refused) expect(problem).toEqual([503, expect.anything(), 'safe']);
      expect(answers.length, JSON.stringify(refused)).toBeGreaterThan(1);
      for (const answer of all.sort((a, b) => a.ms - b.ms)) browser.take(headers, answer);
      const highest = answers.map((one) => floorIn(tokenOf(one))).reduce((a, b) => (a > b ? a : b));
      const read = await domicile.call('asia', 'GET', order.path, { headers: browser.fields() });
      expect(read.status).toBe(200);
      expect(floorIn(tokenOf(read))).toBeGreaterThanOrEqual(highest);
    }
    expect(browser.jar.size).toBeGreaterThan(1);
  });
});

describe('a cookie', () => {
  test('works as a header does, at every edge', async () => {
    const browser = inJar();
    const order = await shopper('eu', browser);
    await whileReplayRests(domicile, 'eu-b', async () => {
      const sent = browser.fields();
      const written = await change('us', order, sent);
      const token = tokenOf(written) ?? '';
      const attributes = 'Path=/; HttpOnly; SameSite=Lax';
      const [before = ''] = [...browser.jar.keys()];
      expect(cookiesOf(written)).toEqual([
        `${before}=; Max-Age=0; ${attributes}`,
        `domicile-session-${token.slice(-8)}=${token}; ${attributes}`,
      ]);
      browser.take(sent, written);
      for (const edge of REGIONS) {
        const headers = { cookie: `theme=dark; ${browser.fields().cookie}; lang=de` };
        const read = await domicile.call(edge, 'GET', order.path, { headers });
        expect([read.status, read.json.version]).toEqual([200, 2]);
        expect(read.headers['domicile-served-by']).toBe('eu/eu-a');
      }
    });
  });

  test('is for encrypted connections only, unless the client asks this machine', async () => {
    const asked = async (to: string, host: string) => {
      const body = newUser('DE');
      const [field] = cookiesOf(
        await domicile.call(to, 'POST', '/users', { body, headers: { host } }),
      );
      return field?.endsWith('; Secure');
    };
    expect(await asked('eu', 'shop.example')).toBe(true);
    // The home answers a hop on this machine; the edge that the client asked writes the cookie.
    expect(await asked('us', 'shop.example')).toBe(true);
    expect(await asked('us', '127.0.0.1:80')).toBe(false);
    const settings = { DOMICILE_COOKIE_SECURE: 'on' };
    const edge = await domicile.startEdge({ region: 'us', settings });
    expect(await asked(edge.url, '127.0.0.1:80')).toBe(true);
    await edge.child.stop();
  });

  test('is not touched by an answer that tells nothing', async () => {
    const browser = inJar();
    const order = await shopper('eu', browser);
    const headers = browser.fields();
    const none = await domicile.call('eu', 'GET', '/no-such-route', { headers });
    expect([none.status, cookiesOf(none)]).toEqual([404, []]);
    const eventual = await domicile.call('us', 'GET', order.path, {
      headers: { ...headers, 'domicile-consistency': 'eventual' },
    });
    expect([eventual.status, cookiesOf(eventual), tokenOf(eventual)]).toEqual([200, [], undefined]);
  });

  test('that cannot be read is taken back with the refusal', async () => {
    const browser = inJar();
    const order = await shopper('eu', browser);
    const forged = new SessionTokens([randomBytes(32)]);
    const genuine = sessionIn([...browser.jar.values()][0]);
    browser.jar.set('domicile-session-forgery0', forged.seal(genuine));
    browser.jar.set('domicile-session-nonsense', 'x!');
    const headers = browser.fields();
    const refused = await domicile.call('us', 'GET', order.path, { headers });
    expect(problemOf(refused)).toEqual([401, 'session-token-forged', 'after-change']);
    browser.take(headers, refused);
    const again = await domicile.call('us', 'GET', order.path, { headers: browser.fields() });
    expect([again.status, again.json.version]).toEqual([200, 1]);
  });

  test('beside a header: of one subject they are merged, of another one the header counts', async () => {
    const [ann, bob] = [inJar(), inJar()];
    const [hers, his] = [await shopper('eu', ann), await shopper('eu', bob)];
    const header = { 'domicile-session': [...ann.jar.values()][0] ?? '' };
    await whileReplayRests(domicile, 'eu-b', async () => {
      const sent = ann.fields();
      ann.take(sent, await change('us', hers, sent));
      for (const edge of REGIONS) {
        const both = { ...header, ...ann.fields() };
        const read = await domicile.call(edge, 'GET', hers.path, { headers: both });
        // The header alone has not seen the write.
        expect([read.status, read.json.version]).toEqual([200, 2]);
        ann.take(both, read);
        expect(ann.jar.size).toBe(1);
        expect(floorIn([...ann.jar.values()][0])).toBeGreaterThanOrEqual(floorIn(tokenOf(read)));
      }
    });
    for (const edge of REGIONS) {
      const mixed = { ...header, ...bob.fields() };
      const read = await domicile.call(edge, 'GET', hers.path, { headers: mixed });
      expect([read.status, cookiesOf(read)]).toEqual([200, []]);
      const other = await domicile.call(edge, 'GET', his.path, { headers: mixed });
      expect(problemOf(other)).toEqual([403, 'session-token-foreign', 'after-change']);
      expect(cookiesOf(other)).toEqual([]);
    }
  });
});

describe('several tokens', () => {
  test('come as a list or as repeated header fields', async () => {
    const client = inHeader();
    const order = await shopper('eu', client);
    const [early = ''] = client.held;
    await whileReplayRests(domicile, 'eu-b', async () => {
      const late = tokenOf(await change('us', order, { 'domicile-session': early })) ?? '';
      for (const to of REGIONS) {
        for (const fields of [
          [early, late],
          [late, early],
          [`${late} ,${early}`, early],
        ]) {
          // Node sends one field for each member.
          const headers = { 'domicile-session': fields as unknown as string };
          const read = await domicile.call(to, 'GET', order.path, { headers });
          expect([read.status, read.json.version]).toEqual([200, 2]);
        }
      }
    });
  });

  test('of two subjects are refused, and so are more than anybody needs', async () => {
    const [ann, bob] = [inHeader(), inHeader()];
    const [hers] = [await shopper('eu', ann), await shopper('us', bob)];
    for (const edge of REGIONS) {
      const headers = { 'domicile-session': [...ann.held, ...bob.held].join(', ') };
      const answer = await domicile.call(edge, 'GET', hers.path, { headers });
      expect(problemOf(answer)).toEqual([403, 'session-tokens-of-two-subjects', 'after-change']);
    }
    const list = earlierTokens([...ann.held][0], 65);
    const ask = (tokens: readonly string[]) =>
      domicile.call('us', 'GET', hers.path, { headers: { 'domicile-session': tokens.join() } });
    expect((await ask(list.slice(1))).status).toBe(200);
    const refused = await ask(list);
    expect(problemOf(refused)).toEqual([400, 'session-tokens-too-many', 'after-change']);
    const healed = await ask([tokenOf(refused) ?? '']);
    expect([healed.status, healed.json.version]).toEqual([200, 1]);
  });

  test('a browser with hundreds of cookies is helped out, not turned away for good', async () => {
    const browser = inJar();
    const order = await shopper('eu', browser);
    for (const token of earlierTokens([...browser.jar.values()][0], 200)) {
      browser.jar.set(`domicile-session-${token.slice(-8)}`, token);
    }
    const headers = browser.fields();
    expect(headers.cookie?.length).toBeGreaterThan(16 * 1024);
    const refused = await domicile.call('us', 'GET', order.path, { headers });
    expect(problemOf(refused)).toEqual([400, 'session-tokens-too-many', 'after-change']);
    browser.take(headers, refused);
    expect(browser.jar.size).toBe(1);
    const read = await domicile.call('us', 'GET', order.path, { headers: browser.fields() });
    expect([read.status, read.json.version]).toEqual([200, 1]);
  });
});

describe('what a session has seen is not forgotten by a read that did not compare it', () => {
  /** The same session, which has also seen a timeline of `region` that is yet to come. */
  const aheadIn = (region: Where, token: string | undefined) => {
    const session = sessionIn(token);
    const [at] = session.floors.get('eu') ?? [];
    if (at === undefined) throw new Error('a write raises the floor');
    const floors = new Map(session.floors).set(region, [{ ...at, timeline: 9 }]);
    return domicile.tokens.seal({ ...session, floors });
  };

  test('at the level bounded', async () => {
    const client = inHeader();
    const order = await shopper('eu', client);
    const token = aheadIn('eu', [...client.held][0]);
    const headers = { 'domicile-consistency': 'bounded; max-staleness=10s' };
    const read = await domicile.call('us', 'GET', order.path, { token, headers });
    expect([read.status, read.json.version]).toEqual([200, 1]);
    expect(sessionIn(tokenOf(read)).floors.get('eu')).toHaveLength(2);
    const session = await domicile.call('us', 'GET', order.path, { token: tokenOf(read) });
    expect(problemOf(session)).toEqual([503, 'session-floor-unmet', 'safe']);
  });

  test('of a copy abroad', async () => {
    const client = inHeader();
    await shopper('eu', client);
    const token = aheadIn('asia', [...client.held][0]);
    await eventually('asia serves its copy', async () => {
      const read = await domicile.call('asia', 'GET', '/products', { token });
      if (read.status !== 200 || read.headers['domicile-served-by'] === 'us/us-b') return false;
      expect(sessionIn(tokenOf(read)).floors.get('asia')).toContainEqual(
        expect.objectContaining({ timeline: 9 }),
      );
      return /rung=mirror/.test(String(read.headers['domicile-decision']));
    });
  });
});

/** What a consumer of a queue does with a message: another process, another edge, another client. */
const CONSUMER = `
  const { url, token } = JSON.parse(await new Response(process.stdin).text());
  const answer = await fetch(url, { headers: token === undefined ? {} : { 'domicile-session': token } });
  const { version } = await answer.json();
  console.log(JSON.stringify({ version, token: answer.headers.get('domicile-session') }));
`;

async function consume(message: { url: string; token?: string | undefined }) {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', CONSUMER], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (part) => {
    text += part;
  });
  child.stdin.end(JSON.stringify(message));
  await once(child, 'close');
  return JSON.parse(text) as { version: number; token: string | null };
}

test('a token that goes through a queue to another process holds there, at another edge', async () => {
  const producer = inHeader();
  const order = await shopper('eu', producer);
  await replicaHas([...producer.held][0]);
  await whileReplayRests(domicile, 'eu-b', async () => {
    const sent = producer.fields();
    const written = await change('us', order, sent);
    const token = tokenOf(written);
    for (const edge of ['asia', 'eu', 'us']) {
      const url = domicile.url(edge) + order.path;
      expect(await consume({ url, token })).toMatchObject({ version: 2 });
      // Without the token it does not know what it must have seen.
      expect((await consume({ url })).version).toBe(1);
    }
    // And back: what the consumer was shown, the producer has seen as well.
    const seen = await consume({ url: domicile.url('asia') + order.path, token });
    const both = [...producer.held, seen.token ?? ''].join(', ');
    const read = await domicile.call('eu', 'GET', order.path, {
      headers: { 'domicile-session': both },
    });
    expect([read.status, read.json.version]).toEqual([200, 2]);
  });
});

describe('a token that is refused', () => {
  test('costs no statement and no connection, and one beyond the log costs a question', async () => {
    const nodes = domicile.catalogue.regions.get('eu')?.nodes ?? [];
    const taps = await Promise.all(nodes.map(({ host, port }) => Tap.to(host, port)));
    const catalogue = withRegion(domicile.catalogue, 'eu', (eu) => ({
      ...eu,
      nodes: eu.nodes.map((node, i) => ({ ...node, port: taps[i]?.port ?? 0 })),
    }));
    const settings = { DOMICILE_LOOK_EVERY_MS: '2500' };
    try {
      const edge = await domicile.startEdge({ region: 'eu', catalogue, settings });
      const said = () =>
        taps.flatMap(({ connections }) =>
          connections.flatMap(({ sent }) => {
            const user = postgresUser(sent());
            return postgresStatements(sent()).map((text) => ({ user, text }));
          }),
        );
      const counted = () => {
        const all = said();
        const containing = (word: string) => all.filter(({ text }) => text.includes(word)).length;
        return {
          byHandlers: all.filter(({ user }) => user !== 'domicile_router').length,
          connections: taps
            .flatMap(({ connections }) => connections)
            .filter(({ sent }) => postgresUser(sent()) !== 'domicile_router').length,
          waits: containing('await_replay'),
          lookUps: containing('from domicile.directory'),
          positions: containing('stands_at'),
          proofs: containing('pg_logical_emit_message'),
        };
      };
      const client = inHeader();
      const order = await shopper('eu', client);
      const stranger = inHeader();
      await shopper('us', stranger);
      const [token = ''] = client.held;
      const session = sessionIn(token);
      const bytes = Buffer.from(token, 'base64url');
      const altered = Buffer.from(bytes);
      altered.writeUInt8(altered.readUInt8(20) ^ 1, 20);
      const before = counted();
      expect([before.byHandlers, before.connections, before.waits]).toEqual([0, 0, 0]);
      const bad: [string, string][] = [
        [new SessionTokens([randomBytes(32)]).seal(session), 'session-token-forged'],
        [altered.toString('base64url'), 'session-token-forged'],
        [bytes.subarray(0, -3).toString('base64url'), 'session-token-forged'],
        [bytes.subarray(0, 15).toString('base64url'), 'session-token-malformed'],
        [Buffer.concat([bytes, bytes]).toString('base64url'), 'session-token-forged'],
        ['open-sesame', 'session-token-malformed'],
        [[...stranger.held][0] ?? '', 'session-token-foreign'],
        [[token, ...stranger.held].join(), 'session-tokens-of-two-subjects'],
      ];
      for (const [sent, kind] of bad) {
        for (const method of ['GET', 'PATCH']) {
          const answer = await domicile.call(edge.url, method, order.path, {
            token: sent,
            ...(method === 'PATCH' && { body: { status: 'paid', version: 1 } }),
          });
          expect([problemOf(answer)[1], method]).toEqual([kind, method]);
          expect(answer.json.retry).toBe('after-change');
        }
      }
      const { byHandlers, connections, waits, lookUps } = counted();
      expect({ byHandlers, connections, waits, lookUps }).toEqual({
        byHandlers: 0,
        connections: 0,
        waits: 0,
        lookUps: before.lookUps,
      });
      const beyond = domicile.tokens.seal({
        ...session,
        floors: new Map(
          [...session.floors].map(([region, floor]) => [
            region,
            floor.map((at) => ({ ...at, lsn: 1n << 62n })),
          ]),
        ),
      });
      // Between two beats, each of which asks for its own position; and while the nodes are in sight,
      // or a wait has to show what a look would have.
      await eventually('a moment without a beat', async () => {
        const before = counted();
        const answer = await domicile.call(edge.url, 'GET', order.path, { token: beyond });
        const after = counted();
        expect(problemOf(answer)).toEqual([409, 'session-position-unknown', 'after-change']);
        if (after.proofs !== before.proofs || after.waits !== before.waits) return false;
        expect(after.byHandlers - before.byHandlers).toBe(0);
        expect(after.positions - before.positions).toBe(1);
        return true;
      });
      // The positive control: what is counted does happen.
      await eventually('a read that waits', async () => {
        const written = await change('eu', order, client.fields());
        const read = await domicile.call(edge.url, 'GET', order.path, { token: tokenOf(written) });
        expect(read.status).toBe(200);
        const { byHandlers, connections, waits } = counted();
        return byHandlers > 0 && connections > 0 && waits > 0;
      });
      expect((await domicile.call(edge.url, 'GET', order.path)).status).toBe(200);
      expect(counted().lookUps).toBe(before.lookUps + 1);
      await edge.child.stop();
    } finally {
      for (const tap of taps) tap.close();
    }
  });
});

describe('rotation of the session keys', () => {
  test(
    'in three steps loses no session, while edges of two steps run side by side',
    async () => {
      const [old, fresh] = [domicile.secret('session tokens'), randomBytes(32)];
      const word = (...keys: Buffer[]) => keys.map((key) => key.toString('base64url')).join(',');
      const steps = [word(old), word(old, fresh), word(fresh, old), word(fresh)];
      const settings = (step: number) => ({ DOMICILE_SESSION_KEYS: steps[step] ?? '' });
      const homes = await Promise.all(
        steps.map((_, step) => domicile.startEdge({ region: 'eu', settings: settings(step) })),
      );
      /** An edge abroad of one step, whose hops meet an edge at home of another. */
      const abroad = async (step: number, homeStep: number): Promise<FurtherEdge> => {
        const url = homes[homeStep]?.url ?? '';
        const catalogue = withRegion(domicile.catalogue, 'eu', (eu) => ({
          ...eu,
          edges: eu.edges.slice(0, 1).map((edge) => ({ ...edge, url })),
        }));
        return domicile.startEdge({ region: 'us', catalogue, settings: settings(step) });
      };
      const hops = await Promise.all([abroad(0, 1), abroad(2, 1), abroad(2, 3)]);
      const edges = [...homes, ...hops];
      try {
        const clients = [inHeader(), inJar()];
        const orders = await Promise.all(clients.map((client) => shopper('eu', client)));
        const [idle, forgotten] = [inHeader(), inHeader()];
        const [idleOrder, forgottenOrder] = [
          await shopper('eu', idle),
          await shopper('eu', forgotten),
        ];
        await replicaHas([...forgotten.held][0]);
        const turn = async (to: FurtherEdge | undefined, client: Keeper, order: Order) => {
          for (const method of ['PATCH', 'GET'] as const) {
            const headers = client.fields();
            const answer =
              method === 'GET'
                ? await domicile.call(to?.url ?? '', 'GET', order.path, { headers })
                : await change(to?.url ?? '', order, headers);
            expect([answer.status, answer.json.version]).toEqual([200, order.version]);
            client.take(headers, answer);
          }
        };
        await whileReplayRests(domicile, 'eu-b', async () => {
          for (const [step, hop] of hops.entries()) {
            for (let round = 0; round < 2; round++) {
              for (const [i, client] of clients.entries()) {
                // A step is over when every session has met an edge of the next one.
                for (const edge of [hop, homes[step], hop, homes[step + 1]]) {
                  await turn(edge, client, orders[i] as Order);
                }
              }
            }
            // A session that only looks once between the swap and the end of the old key, and is
            // shown nothing new.
            if (step === 1) {
              const headers = { ...idle.fields(), 'domicile-consistency': 'eventual' };
              const read = await domicile.call(homes[2]?.url ?? '', 'GET', idleOrder.path, {
                headers,
              });
              expect([read.status, read.json.version]).toEqual([200, 1]);
              idle.take(headers, read);
            }
          }
          const last = (client: Keeper, order: Order) =>
            domicile.call(homes[3]?.url ?? '', 'GET', order.path, { headers: client.fields() });
          expect((await last(idle, idleOrder)).status).toBe(200);
          expect(problemOf(await last(forgotten, forgottenOrder))).toEqual([
            401,
            'session-token-forged',
            'after-change',
          ]);
          // What the first step is for: an edge that was left out knows nothing of the new key.
          const left = await domicile.call(homes[0]?.url ?? '', 'GET', idleOrder.path, {
            headers: idle.fields(),
          });
          expect(problemOf(left)[1]).toBe('session-token-forged');
        });
      } finally {
        await Promise.all(edges.map(({ child }) => child.stop()));
      }
    },
    EDGES_MS_MAX,
  );
});
