import { Agent } from 'node:http';
import { connect } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startWire } from '../regions/postgres-for-test.ts';
import {
  type Answer,
  COUNTRY_OF,
  eventually,
  LAMP,
  newUser,
  problemOf,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  type Where,
  withRegion,
} from './world-for-tests.ts';

const BUDGET_MS = 2_000;
/** How much later than its budget an answer may come where this process is late itself, with all its clients. */
const SLACK_MS = 6_000;
/** Few, so that a crowd is a crowd on any machine: a quarter of them for each other region. */
const REQUESTS_MAX = 64;
const TO_EACH_REGION = REQUESTS_MAX / 2 / 2;

const SLOW_APP = fileURLToPath(new URL('./pressure-app-for-tests.ts', import.meta.url));

let domicile: TestDomicile;
const users = {} as Record<Where, string>;

beforeAll(async () => {
  domicile = await startTestDomicile({
    edgeSettings: { DOMICILE_REQUESTS_MAX: String(REQUESTS_MAX) },
  });
  for (const home of REGIONS) {
    const user = newUser(COUNTRY_OF[home]);
    users[home] = user.id;
    expect((await domicile.call(home, 'POST', '/users', { body: user })).status).toBe(201);
  }
});
afterAll(() => domicile?.remove());

// biome-ignore lint/suspicious/noExplicitAny: it is JSON.
async function health(edge: string): Promise<any> {
  return (await domicile.call(edge, 'GET', '/.domicile/health', { agent })).json;
}

/** As load balancers do: what waits is then seen by the edge, and not only by the kernel. */
const agent = new Agent({ keepAlive: true });
afterAll(() => agent.destroy());

const read = (edge: string, home: Where) =>
  domicile.call(edge, 'GET', `/users/${users[home]}`, { agent });
const write = (edge: string, home: Where) =>
  domicile.call(edge, 'POST', `/users/${users[home]}/orders`, { body: LAMP, agent });

/** Beyond it the test itself would be what is overloaded. */
const OPEN_MAX = 150;

/** So many requests a second, whatever becomes of them, until it is told to stop. */
class Stream {
  readonly answers: Answer[] = [];
  readonly broken: unknown[] = [];
  #open = new Set<Promise<void>>();
  #timer: NodeJS.Timeout;

  constructor(perSecond: number, ask: () => Promise<Answer>) {
    let owed = 0;
    let lastAtMs = performance.now();
    this.#timer = setInterval(() => {
      // A timer that comes late owes more than one.
      owed += ((performance.now() - lastAtMs) / 1_000) * perSecond;
      lastAtMs = performance.now();
      owed = Math.min(owed, perSecond);
      for (; owed >= 1 && this.#open.size < OPEN_MAX; owed--) {
        const one = ask()
          .then(
            (answer) => void this.answers.push(answer),
            (error) => void this.broken.push(error),
          )
          .finally(() => this.#open.delete(one));
        this.#open.add(one);
      }
    }, 10);
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    await Promise.all(this.#open);
  }
}

const streams: Stream[] = [];
function start(perSecond: number, ask: () => Promise<Answer>): Stream {
  const stream = new Stream(perSecond, ask);
  streams.push(stream);
  return stream;
}
// One that a failed test left behind would load those after it.
afterEach(() => Promise.all(streams.splice(0).map((stream) => stream.stop())));

/** One after the other. */
async function inTurn(count: number, ask: (n: number) => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let n = 0; n < count; n++) answers.push(await ask(n));
  return answers;
}

function quantile(answers: readonly Answer[], part: number): number {
  return quantileOf(
    answers.map(({ ms }) => ms),
    part,
  );
}

function quantileOf(values: readonly number[], part: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(part * (sorted.length - 1))] ?? Number.NaN;
}

function kindOf(answer: Answer): string | undefined {
  return problemOf(answer)[1] as string | undefined;
}

function kinds(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const answer of answers) {
    const [status, kind = ''] = problemOf(answer);
    const name = `${status} ${kind}`.trim();
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return counts;
}

/** That each answer is a good one or an honest refusal, in time. */
function expectHonest(answers: readonly Answer[], refusals: readonly string[]): void {
  const others = Object.keys(kinds(answers)).filter(
    (kind) => !/^20\d$/.test(kind) && !refusals.includes(kind),
  );
  expect(others).toEqual([]);
  for (const answer of answers) {
    expect(answer.ms).toBeLessThan(BUDGET_MS + SLACK_MS);
    if (kindOf(answer) === 'overloaded') {
      expect(answer.headers['retry-after']).toMatch(/^[1-9]\d?$/);
    }
  }
}

describe('while eu is a black hole and its people keep coming to us and asia', () => {
  const EVERYTHING = ['eu-a', 'eu-b'] as const;
  const signal = (name: NodeJS.Signals) => {
    for (const node of EVERYTHING) domicile.clusters.kill(node, name);
    domicile.world.edges.get('edge-eu')?.kill(name);
  };

  test('us and asia serve their own as before, eu’s are refused in time, and all is well after it', async () => {
    const others = ['us', 'asia'] as const;
    const local = (count: number) =>
      Promise.all(
        others.map((here) =>
          inTurn(count, (n) => (n % 3 === 0 ? write(here, here) : read(here, here))),
        ),
      ).then((answers) => answers.flat());
    const stream = () => others.map((here) => start(40, () => read(here, 'eu')));
    const stop = (streams: readonly Stream[]) => Promise.all(streams.map((one) => one.stop()));

    await local(30);
    const healthy = stream();
    const before = await local(150);
    await stop(healthy);
    for (const { answers } of healthy) expectHonest(answers, ['503 overloaded']);

    signal('SIGSTOP');
    const dark = stream();
    const highest = { toEu: 0, clients: 0 };
    let during: Answer[] = [];
    try {
      // Until well after the first request for eu has used up its budget.
      while (during.length < 300 || dark.some(({ answers }) => answers.length < 200)) {
        during = during.concat(await local(30));
        for (const here of others) {
          const { peers, admission } = await health(here);
          highest.toEu = Math.max(highest.toEu, peers.eu.requests.underWay);
          highest.clients = Math.max(highest.clients, admission.client.underWay);
        }
      }
      for (const here of others) {
        const { peers } = await health(here);
        expect(peers.eu.edges[0].circuit).not.toBe('closed');
        expect(peers.eu.passedOver).toBeGreaterThan(0);
        expect(peers.eu.requests.refused).toBeGreaterThan(0);
      }
    } finally {
      signal('SIGCONT');
      await stop(dark);
    }
    // Evidence that it bit, and that it did not bite beyond its part.
    expect(highest.toEu).toBe(TO_EACH_REGION);
    expect(highest.clients).toBeLessThan(REQUESTS_MAX);
    expect(kinds(during.filter(({ status }) => status >= 300))).toEqual({});
    for (const { answers, broken } of dark) {
      expect(broken).toEqual([]);
      expectHonest(answers, ['503 residency-unavailable', '503 overloaded']);
      const overloaded = answers.filter((answer) => kindOf(answer) === 'overloaded');
      expect(overloaded.length).toBeGreaterThan(0);
      for (const { json } of overloaded)
        expect(json).toMatchObject({ where: 'region', region: 'eu' });
      // Passed over at once: most are told in a part of the time that the unlucky first ones take.
      expect(quantile(answers, 0.5)).toBeLessThan(quantile(answers, 1) / 4);
    }
    // Whoever waited for eu, at any step, would wait for a good part of a budget.
    for (const part of [0.5, 0.95]) {
      expect(quantile(during, part)).toBeLessThan(
        Math.max(quantile(before, part) * 4, BUDGET_MS / 8),
      );
    }

    for (const here of others) {
      await eventually(`eu is served through ${here} again`, async () => {
        const { peers } = await health(here);
        return (
          (await read(here, 'eu')).status === 200 &&
          peers.eu.edges[0].circuit === 'closed' &&
          peers.eu.requests.underWay === 0
        );
      });
    }
    await eventually('eu writes again', async () => (await write('us', 'eu')).status === 201);
    const after = await local(90);
    expect(kinds(after.filter(({ status }) => status >= 300))).toEqual({});
  });
});

describe('while one replica swallows everything that this edge sends it', () => {
  test('no write and no read fails: what waits there is put to the primary', async () => {
    const replica = domicile.catalogue.regions.get('eu')?.nodes.find(({ name }) => name === 'eu-b');
    if (replica === undefined) throw new Error('no eu-b');
    const wire = await startWire({ ...replica, database: '', user: '', password: '' });
    const catalogue = withRegion(domicile.catalogue, 'eu', (region) => ({
      ...region,
      nodes: region.nodes.map((node) =>
        node.name === 'eu-b' ? { ...node, port: wire.endpoint.port } : node,
      ),
    }));
    const edge = await domicile.startEdge({ region: 'eu', catalogue });
    const servedBy = async () => (await read(edge.url, 'eu')).headers['domicile-served-by'];
    try {
      await eventually('the replica serves', async () => (await servedBy()) === 'eu/eu-b');
      const answers: Answer[] = [];
      let over = false;
      const lanes = [read, read, read, write].map(async (ask) => {
        while (!over) answers.push(await ask(edge.url, 'eu'));
      });
      const more = async (count: number) => {
        const from = answers.length;
        await eventually('the lanes go on', async () => answers.length >= from + count);
      };
      await more(50);
      wire.blackHole();
      await more(10);
      await eventually('the primary serves', async () => (await servedBy()) === 'eu/eu-a');
      await more(200);
      const { pools } = await health(edge.url);
      expect(pools['eu-a writer'].waiting).toBe(0);
      wire.heal();
      over = true;
      await Promise.all(lanes);
      expect(kinds(answers.filter(({ status }) => status >= 300))).toEqual({});
      await eventually('the replica serves again', async () => (await servedBy()) === 'eu/eu-b');
    } finally {
      wire.heal();
      await wire.close();
      await edge.child.stop();
    }
  });
});

describe('ten times what an edge can bear', () => {
  const CONNECTIONS = 2;
  const QUERY_MS = 100;
  /** In a second, at best. */
  const CAPACITY = (CONNECTIONS * 1_000) / QUERY_MS;

  test('is answered soon or refused at once, never hung, and leaves nothing behind', async () => {
    const edge = await domicile.startEdge({
      region: 'us',
      app: SLOW_APP,
      settings: {
        DOMICILE_CONNECTIONS_MAX: String(CONNECTIONS),
        DOMICILE_QUEUE_MS_MAX: String(QUERY_MS),
      },
    });
    try {
      const query = () =>
        domicile.call(edge.url, 'POST', `/users/${users.us}/query/${QUERY_MS}`, { agent });
      // An edge that has served nobody yet does not know its pace.
      await inTurn(5, query);
      const stream = start(10 * CAPACITY, query);
      const looks: { waiting: number; leaseMs: number }[] = [];
      const startedAtMs = performance.now();
      await eventually('six seconds’ worth have been asked', async () => {
        const { pools } = await health(edge.url);
        looks.push(pools['us-a writer']);
        return stream.answers.length >= 6 * 10 * CAPACITY;
      });
      const seconds = (performance.now() - startedAtMs) / 1_000;
      await stream.stop();
      const { answers, broken } = stream;
      expect(broken).toEqual([]);
      // On a machine that is late itself, a few run into their deadline.
      expectHonest(answers, [
        '503 overloaded',
        '503 write-not-applied',
        '503 region-unavailable',
        '504 write-outcome-unknown',
      ]);
      const late = answers.filter((answer) => !['overloaded', undefined].includes(kindOf(answer)));
      expect(late.length).toBeLessThan(answers.length / 20);
      const served = answers.filter(({ status }) => status === 200);
      const refused = answers.filter((answer) => kindOf(answer) === 'overloaded');
      const byNode = refused.filter(({ json }) => json.where === 'node');
      expect(byNode.length).toBeGreaterThan(refused.length / 4);
      for (const { json } of byNode) expect(json).toMatchObject({ region: 'us', node: 'us-a' });
      const later = looks.slice(looks.length / 2);
      const usual = (of: 'waiting' | 'leaseMs') =>
        quantileOf(
          later.map((look) => look[of]),
          0.5,
        );
      // It goes on doing what it can at the speed of this machine, for those whom it has let in.
      expect(served.length).toBeGreaterThan((seconds * CONNECTIONS * 1_000) / usual('leaseMs') / 4);
      expect(quantile(refused, 0.5)).toBeLessThan(quantile(served, 0.5));
      // Who comes first is a burst, and may wait. A line that stands is no longer than what the
      // connections serve in a query's time; half a budget's worth would be 20.
      expect(usual('waiting')).toBeLessThanOrEqual(CONNECTIONS);
      const { pools, admission } = await health(edge.url);
      for (const name of Object.keys(pools)) expect(pools[name].waiting).toBe(0);
      expect(admission.client).toMatchObject({ underWay: 0, bytesHeld: 0 });
      for (const answer of await inTurn(5, query)) expect(answer.status).toBe(200);
    } finally {
      await edge.child.stop();
    }
  });

  test('of requests that keep the process itself busy lets in fewer, until it has caught up', async () => {
    const edge = await domicile.startEdge({ region: 'us', app: SLOW_APP });
    try {
      const compute = () =>
        domicile.call(edge.url, 'GET', `/users/${users.us}/computes/10`, { agent });
      expect((await compute()).status).toBe(200);
      // Connections are taken in one a turn, and this is not about them.
      await Promise.all(
        Array.from({ length: OPEN_MAX }, () =>
          domicile.call(edge.url, 'GET', `/users/${users.us}/wait/1000`, { agent }),
        ),
      );
      const stream = start(400, compute);
      let least = Number.POSITIVE_INFINITY;
      await eventually('fewer are let in', async () => {
        const { admission } = await health(edge.url);
        least = Math.min(least, admission.client.limit);
        return least < admission.client.max / 4 && stream.answers.length > 500;
      });
      await stream.stop();
      expect(stream.broken).toEqual([]);
      expectHonest(stream.answers, ['503 overloaded', '504 deadline-exceeded']);
      await eventually('all are let in again', async () => {
        const { admission } = await health(edge.url);
        return admission.client.limit === admission.client.max && admission.client.underWay === 0;
      });
      expect((await compute()).status).toBe(200);
    } finally {
      await edge.child.stop();
    }
  });

  test('of clients leaves hops their places: a loaded edge does not stop its peers', async () => {
    const home = await domicile.startEdge({
      region: 'eu',
      app: SLOW_APP,
      settings: { DOMICILE_REQUESTS_MAX: '8', DOMICILE_BUDGET_MS: '10000' },
    });
    const catalogue = withRegion(domicile.catalogue, 'eu', (region) => ({
      ...region,
      edges: [{ name: 'edge-eu', url: home.url }],
    }));
    const abroad = await domicile.startEdge({ region: 'us', app: SLOW_APP, catalogue });
    try {
      const wait = (edge: string, ms: number) =>
        domicile.call(edge, 'GET', `/users/${users.eu}/wait/${ms}`);
      const crowd = Array.from({ length: 40 }, () => wait(home.url, 3_000));
      await eventually('the edge is full', async () => {
        const { admission } = await health(home.url);
        return admission.client.underWay === 8 && admission.client.refused > 0;
      });
      const one = await wait(home.url, 1);
      expect(problemOf(one)).toEqual([503, 'overloaded', 'safe']);
      expect(one.json).toMatchObject({ where: 'edge', region: 'eu' });
      for (let n = 0; n < 5; n++) expect((await wait(abroad.url, 1)).status).toBe(200);
      // Who only says that it is an edge takes no place of those that are.
      const posing = await domicile.call(home.url, 'GET', `/users/${users.eu}/wait/1`, {
        headers: { 'domicile-hop': 'v2;us;eu;nobody;1;2000;1;AAAA' },
      });
      expect(problemOf(posing)).toEqual([401, 'hop-refused', 'after-change']);
      expect((await health(home.url)).admission.client.underWay).toBe(8);
      const answers = await Promise.all(crowd);
      expect(kinds(answers)).toEqual({ 200: 8, '503 overloaded': 32 });
    } finally {
      await Promise.all([home.child.stop(), abroad.child.stop()]);
    }
  });
});

describe('a client that sends its body ever so slowly', () => {
  test('loses its place when its time is up', async () => {
    const edge = await domicile.startEdge({ region: 'us', app: SLOW_APP });
    const { hostname, port } = new URL(edge.url);
    const socket = connect({ host: hostname, port: Number(port) });
    const drip = setInterval(() => socket.write('x'), 100);
    try {
      socket.on('error', () => {});
      socket.write(
        `POST /users/${users.us}/echo HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n`,
      );
      await eventually('it has a place', async () => {
        const { admission } = await health(edge.url);
        return admission.client.underWay === 1 && admission.client.bytesHeld === 100_000;
      });
      await new Promise((closed) => socket.once('close', closed));
      await eventually('the place is free', async () => {
        const { admission } = await health(edge.url);
        return admission.client.underWay === 0 && admission.client.bytesHeld === 0;
      });
    } finally {
      clearInterval(drip);
      socket.destroy();
      await edge.child.stop();
    }
  });
});
