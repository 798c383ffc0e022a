/** What is made of a Patroni that lies, is late, is broken or is cut off; the servers are real. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { freePorts } from '../../regions/local/ports.ts';
import type { LocalClusters } from '../../regions/local/start-clusters.ts';
import { ask, makeTestWorld, type TestWorld } from '../../regions/local/world-for-tests.ts';
import { PatroniSteward } from './patroni.ts';

type Told = { path: string; body: unknown };
type Reply = { status: number; text: string } | 'hangs up' | 'says nothing';

let world: TestWorld;
let clusters: LocalClusters;
let server: Server;
let systemId = '';
let steward: PatroniSteward;
/** What stands behind the REST interface, as a test wants it. */
let cluster: unknown;
let patroniSystemId: string;
let told: Told[];
let reply: (told: Told) => Reply | Promise<Reply>;

const roles = (a: string, b: string, more: object = {}) => ({
  members: [
    { name: 'us-a', role: a, state: 'running', timeline: 1 },
    { name: 'us-b', role: b, state: 'running', timeline: 1 },
  ],
  ...more,
});

beforeAll(async () => {
  world = await makeTestWorld();
  clusters = await world.start();
  const region = world.catalogue.regions.get('us');
  if (region === undefined) throw new Error('the world has one region');
  const [row] = await ask(
    clusters,
    'us-a',
    (sql) => sql<{ id: string }[]>`select system_identifier::text as id from pg_control_system()`,
  );
  systemId = row?.id ?? '';
  server = createServer(async (request, response) => {
    if (request.method === 'GET') {
      const status = { database_system_identifier: patroniSystemId };
      response.end(JSON.stringify(request.url === '/patroni' ? status : cluster));
      return;
    }
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const one = { path: request.url ?? '', body: JSON.parse(`${Buffer.concat(parts)}`) };
    told.push(one);
    const said = await reply(one);
    if (said === 'hangs up') request.socket.destroy();
    else if (said !== 'says nothing') response.writeHead(said.status).end(said.text);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const strange = createServer((_, response) => response.end('<h1>It works!</h1>'));
  strange.listen(0, '127.0.0.1').unref();
  await once(strange, 'listening');
  const at = (one: Server) => `http://127.0.0.1:${(one.address() as { port: number }).port}`;
  const [nobody] = await freePorts(1);
  steward = new PatroniSteward({
    region,
    members: [`http://127.0.0.1:${nobody}`, at(strange), at(server)],
    endpoint: (node) => clusters.superuser(node),
    now: () => performance.now(),
    promoteMsMax: 700,
    followMsMax: 300,
  });
});
afterAll(async () => {
  await steward?.close();
  server?.close();
  server?.closeAllConnections();
  await world?.remove();
});
beforeEach(() => {
  cluster = roles('leader', 'sync_standby');
  patroniSystemId = systemId;
  told = [];
  reply = () => ({ status: 200, text: 'Successfully switched over to "us-b"' });
});

const timelines = async () =>
  (await steward.observe()).nodes.map(
    (one) => one.kind === 'seen' && `${one.role} ${one.timeline}`,
  );

test('one member that answers is enough, and SQL confirms what it says', async () => {
  const view = await steward.observe();
  expect(view).toMatchObject({
    primary: 'us-a',
    timeline: 1,
    nodes: [
      { node: 'us-a', kind: 'seen', role: 'primary', timeline: 1 },
      { node: 'us-b', kind: 'seen', role: 'replica', timeline: 1 },
    ],
    patroni: { kind: 'answered', leader: 'us-a', isPaused: false },
  });
});

test.each<[string, () => void, RegExp]>([
  [
    'calls a replica the leader',
    () => {
      cluster = roles('replica', 'leader');
    },
    /calls us-b the primary, and over SQL it is a replica/,
  ],
  [
    'has no leader',
    () => {
      cluster = roles('replica', 'sync_standby');
    },
    /has no leader now/,
  ],
  [
    'follows another cluster',
    () => {
      cluster = roles('standby_leader', 'replica');
    },
    /has no leader now/,
  ],
  [
    'has a leader that we do not know',
    () => {
      cluster = { members: [{ name: 'pg7', role: 'leader' }] };
    },
    /pg7 the primary, and the catalogue has no such node/,
  ],
  [
    'minds another cluster',
    () => {
      patroniSystemId = '5';
    },
    /minds another cluster: 5, not \d+/,
  ],
  [
    'answers nonsense',
    () => {
      cluster = { members: 'all' };
    },
    /no Patroni answers: .*ECONNREFUSED; .*no JSON: It works!; .*not what Patroni answers: members/,
  ],
])('a Patroni that %s is not believed, and what SQL says is still shown', async (_, lie, doubt) => {
  lie();
  const view = await steward.observe();
  expect([view.primary, view.timeline]).toEqual([undefined, undefined]);
  expect(view.doubt).toMatch(doubt);
  expect(await timelines()).toEqual(['primary 1', 'replica 1']);
});

describe('a wish for another primary', () => {
  test('goes to the leader as a switchover, and without a leader as a failover', async () => {
    reply = () => ({ status: 412, text: 'leader name does not match' });
    await steward.promote('us-b', { timeline: 1 });
    cluster = roles('replica', 'sync_standby', { pause: true });
    await steward.promote('us-b', { timeline: 1 });
    expect(told).toEqual([
      { path: '/switchover', body: { leader: 'us-a', candidate: 'us-b' } },
      { path: '/failover', body: { candidate: 'us-b' } },
    ]);
  });

  test.each<[string, string, number, unknown, RegExp]>([
    [
      'to a standby that may lack commits',
      'us-b',
      1,
      roles('leader', 'replica'),
      /does not call us-b a synchronous standby/,
    ],
    [
      'without a leader to a standby that may lack commits',
      'us-b',
      1,
      roles('replica', 'replica'),
      /does not call us-b a synchronous/,
    ],
    [
      'from another timeline',
      'us-b',
      2,
      roles('leader', 'sync_standby'),
      /follows timeline 1, not 2/,
    ],
    ['to the primary', 'us-a', 1, roles('leader', 'sync_standby'), /us-a is no replica/],
    ['to a stranger', 'us-z', 1, roles('leader', 'sync_standby'), /us-z is no replica/],
    ['while nobody can be asked', 'us-b', 1, 'nonsense', /no Patroni was asked/],
  ])('%s is not put to Patroni', async (_, node, timeline, said, why) => {
    cluster = said;
    const outcome = await steward.promote(node, { timeline });
    expect(outcome).toEqual({ kind: 'refused', why: expect.stringMatching(why) });
    expect(told).toEqual([]);
  });

  test.each([
    [412, 'candidate name does not match with sync_standby'],
    [400, 'Switchover could be performed only from a specific leader'],
    [401, 'no auth header received'],
    [404, ''],
  ])('that Patroni answers with %s is refused in its words', async (status, text) => {
    reply = () => ({ status, text });
    expect(await steward.promote('us-b', { timeline: 1 })).toEqual({
      kind: 'refused',
      why: `Patroni refuses to promote us-b: ${status} ${text}`,
    });
  });

  test.each<[string, Reply, RegExp]>([
    [
      'that fails half way',
      { status: 503, text: 'Switchover status unknown' },
      /503 Switchover status/,
    ],
    [
      'that is granted, and does not happen',
      { status: 200, text: 'Successfully' },
      /200 Successfully; over SQL it has not happened/,
    ],
    [
      'that went to another node',
      { status: 200, text: 'Switched over to "us-c" instead of "us-b"' },
      /instead of "us-b"/,
    ],
    ['whose answer is lost', 'hangs up', /socket hang up|ECONNRESET/],
    ['that is never answered', 'says nothing', /no answer within 700 ms/],
  ])('%s has an unknown outcome', async (_, said, why) => {
    reply = () => said;
    const outcome = await steward.promote('us-b', { timeline: 1 });
    expect(outcome).toEqual({ kind: 'unknown', why: expect.stringMatching(why) });
    expect(told).toHaveLength(1);
  });
});

test('what Patroni does by itself is refused, or found done', async () => {
  expect(await steward.demote('us-a')).toEqual({
    kind: 'refused',
    why: 'Patroni demotes us-a by itself, when another node is promoted; ask for that',
  });
  expect(await steward.demote('us-b')).toEqual({ kind: 'done' });
  expect(await steward.follow('us-b', 'us-a')).toEqual({ kind: 'done' });
  expect(await steward.follow('us-a', 'us-b')).toEqual({
    kind: 'refused',
    why: 'Patroni makes standbys by itself, and us-a does not follow us-b after 300 ms',
  });
});

describe('a promotion', () => {
  test('is done when SQL shows it, even when the answer is lost', async () => {
    reply = async (): Promise<Reply> => {
      await ask(clusters, 'us-b', async (sql) => {
        await sql`alter system set synchronous_standby_names = ''`;
        await sql`select pg_reload_conf()`;
        await sql`select pg_promote(true, 20)`;
      });
      cluster = roles('replica', 'leader');
      return 'hangs up';
    };
    expect(await steward.promote('us-b', { timeline: 1 })).toEqual({ kind: 'done' });
    expect(told).toHaveLength(1);
  });

  test('leaves the old primary without anybody who believes in it', async () => {
    // It goes on running, and nobody has told it.
    expect(await timelines()).toEqual(['primary 1', 'primary 2']);
    expect((await steward.observe()).doubt).toMatch(/us-a the primary, .* timeline 2 has begun/);
    cluster = roles('replica', 'leader');
    expect(await steward.observe()).toMatchObject({ primary: 'us-b', timeline: 2 });
    await clusters.halt('us-b');
    cluster = roles('leader', 'replica');
    expect((await steward.observe()).doubt).toMatch(/timeline 2 has begun/);
    await clusters.start('us-b');
  });

  test('that has happened is done for whoever wishes it again, and not put to Patroni', async () => {
    cluster = roles('replica', 'leader');
    expect(await steward.promote('us-b', { timeline: 1 })).toEqual({ kind: 'done' });
    expect(told).toEqual([]);
  });
});
