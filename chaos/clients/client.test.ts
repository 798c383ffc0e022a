import { once } from 'node:events';
import {
  createServer as createHttpServer,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import type { Operation } from '../history.ts';
import { Client } from './client.ts';
import type { Edge, Plan } from './next-plan.ts';
import { Population } from './population.ts';
import { Sessions } from './sessions.ts';

const population = new Population('test', ['us', 'eu', 'asia'], 1);
const [subject] = population.first;
if (subject === undefined) throw new Error('nobody there');
const servers: Server[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    (server as Server & { closeAllConnections?: () => void }).closeAllConnections?.();
    server.close();
  }
});

type Answering = (asked: IncomingMessage, answer: ServerResponse, body: string) => void;

/** An edge of `region` that gives these answers, one after the other. */
async function edge(
  region: string,
  ...answers: Answering[]
): Promise<Edge & { asked: IncomingMessage[]; bodies: string[] }> {
  const asked: IncomingMessage[] = [];
  const bodies: string[] = [];
  const server = createHttpServer(async (request, response) => {
    asked.push(request);
    let body = '';
    for await (const part of request) body += part;
    bodies.push(body);
    const next = answers.shift();
    if (next === undefined) throw new Error('one request too many');
    next(request, response, body);
  });
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    region,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    bodies,
  };
}

/** An address that refuses connections. */
async function nobody(region: string): Promise<Edge> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return { region, url: `http://127.0.0.1:${port}` };
}

function json(status: number, body: unknown, headers: Record<string, string> = {}): Answering {
  return (_asked, answer) => {
    answer.writeHead(status, { 'content-type': 'application/json', ...headers });
    answer.end(JSON.stringify(body));
  };
}

function problem(kind: string, retry: string, headers: Record<string, string> = {}): Answering {
  const type = { 'content-type': 'application/problem+json' };
  return json(503, { type: `/docs/problems.md#${kind}`, retry }, { ...type, ...headers });
}

const reset: Answering = (asked) => asked.socket.resetAndDestroy();
const silence: Answering = () => {};
const cutShort: Answering = (asked, answer) => {
  answer.writeHead(200, { 'content-type': 'application/json', 'content-length': 100 });
  answer.write('{"value":');
  setImmediate(() => asked.socket.destroy());
};

const WRITE = { kind: 'register-write', register: 'r0-0', value: 5 } as const;
const READ = { kind: 'register-read', register: 'r0-0' } as const;

function plan(edges: readonly Edge[], over: Partial<Plan> = {}): Plan {
  return {
    restMs: 0,
    subject: subject as Plan['subject'],
    action: WRITE,
    level: 'session',
    maxStalenessMs: undefined,
    key: 'a-key',
    edges,
    newSession: false,
    ...over,
  };
}

function someone({ sessions = new Sessions(counter()), retryMsMax = 60_000 } = {}): Client {
  let at = 0;
  return new Client({
    population,
    sessions,
    number: 0,
    draw: { client: counter(100), operation: counter() },
    now: () => ++at,
    rest: async () => {},
    isEnding: () => false,
    answerMsMax: 400,
    retryMsMax,
  });
}

function counter(from = 0): () => number {
  let next = from;
  return () => next++;
}

const gist = ({ outcome, attempts, edge, retriedAt }: Operation) => ({
  outcome: outcome.kind,
  attempts,
  at: [edge, ...(retriedAt ?? [])],
});

test('a refused connection carried nothing: the write failed', async () => {
  const operation = await someone().carryOut(plan([await nobody('us')], { key: undefined }));
  expect(operation).toMatchObject({
    outcome: { kind: 'fail', because: 'not connected: ECONNREFUSED' },
    keyed: false,
    client: 0,
  });
});

test.each([
  ['a connection that is reset after the request', reset],
  ['no answer in time', silence],
  ['an answer that is cut short', cutShort],
  ['a 502 of something in between', json(502, { error: 'bad gateway' })],
  ['write-outcome-unknown', problem('write-outcome-unknown', 'same-key-only')],
  ['an acknowledgement of another shape', json(200, ['done'])],
])(
  '%s leaves an operation unknown, and its client goes on as another one',
  async (_what, answer) => {
    const client = someone();
    const us = await edge('us', answer, json(200, { value: 5 }));
    const unsure = await client.carryOut(
      plan([us], {
        key: undefined,
        action: { kind: 'lists', steps: [{ do: 'append', list: 'l', value: 1 }] },
      }),
    );
    expect(unsure).toMatchObject({ client: 0, attempts: 1, outcome: { kind: 'unknown' } });
    const next = await client.carryOut(plan([us], { key: undefined, action: READ }));
    expect(next).toMatchObject({ client: 100, outcome: { kind: 'ok' } });
  },
);

test('a request on a kept connection that is reset may have been read', async () => {
  const us = await edge('us', json(200, {}), reset);
  const client = someone();
  expect((await client.carryOut(plan([us], { key: undefined }))).outcome.kind).toBe('ok');
  const second = await client.carryOut(plan([us], { key: undefined }));
  expect(us.asked[1]?.socket).toBe(us.asked[0]?.socket);
  expect(second.outcome).toEqual({ kind: 'unknown', because: 'ECONNRESET' });
});

test('a keyed write goes to the next edges until it is answered, as the same request', async () => {
  const us = await edge('us', reset);
  const eu = await edge('eu', problem('write-not-applied', 'safe'));
  const asia = await edge('asia', json(200, {}, { 'idempotency-replayed': 'true' }));
  const operation = await someone().carryOut(plan([us, await nobody('us'), eu, asia]));
  expect(gist(operation)).toEqual({ outcome: 'ok', attempts: 4, at: ['us', 'us', 'eu', 'asia'] });
  expect(operation.told).toMatchObject({ status: 200, replayed: true });
  const requests = [us, eu, asia].map(({ asked: [one], bodies }) => [
    one?.method,
    one?.url,
    one?.headers['idempotency-key'],
    ...bodies,
  ]);
  expect(new Set(requests.map((one) => JSON.stringify(one))).size).toBe(1);
  expect(requests[0]?.[2]).toBe('"a-key"');
});

test('what one attempt may have done is not undone by the refusal of the next one', async () => {
  const refused = problem('residency-unavailable', 'safe');
  const us = await edge('us', reset, refused, refused);
  expect(gist(await someone().carryOut(plan([us, us, us])))).toMatchObject({
    outcome: 'unknown',
    attempts: 3,
  });
  const eu = await edge('eu', refused, refused);
  expect(gist(await someone().carryOut(plan([eu, eu])))).toMatchObject({ outcome: 'fail' });
  // In flight is somebody's word that it may be done.
  const asia = await edge('asia', problem('idempotency-key-in-flight', 'safe'), refused);
  expect(gist(await someone().carryOut(plan([asia, asia])))).toMatchObject({ outcome: 'unknown' });
});

test('a refusal that no retry changes ends a keyed write at once', async () => {
  const us = await edge('us', problem('unknown-subject', 'after-change'));
  expect(gist(await someone().carryOut(plan([us, us])))).toMatchObject({
    outcome: 'fail',
    attempts: 1,
  });
});

test('no attempt begins after the time for retries', async () => {
  const us = await edge('us', problem('overloaded', 'safe'));
  const operation = await someone({ retryMsMax: 50 }).carryOut(plan([us, us]));
  expect(gist(operation)).toMatchObject({ outcome: 'fail', attempts: 1 });
});

test('tokens that were sent are replaced by the one that came, others stay', async () => {
  const sessions = new Sessions(counter());
  const tokens = sessions.of(subject.id);
  tokens.answered([], 'one');
  const meanwhile: Answering = (asked, answer, body) => {
    // Another client of the session hears of something while this one waits.
    tokens.answered([], 'two');
    json(200, { value: 1 }, { 'domicile-session': 'three' })(asked, answer, body);
  };
  const us = await edge('us', meanwhile, json(200, { value: 1 }));
  const client = someone({ sessions });
  await client.carryOut(plan([us], { action: READ, key: undefined }));
  expect(us.asked[0]?.headers['domicile-session']).toBe('one');
  await client.carryOut(plan([us], { action: READ, key: undefined }));
  expect(us.asked[1]?.headers['domicile-session']).toBe('two, three');
});

test('a lost guarantee is noted, and the next attempt brings the new session', async () => {
  const sessions = new Sessions(counter());
  sessions.of(subject.id).answered([], 'old');
  const lost = problem('session-guarantee-lost', 'after-change', { 'domicile-session': 'new' });
  const us = await edge('us', lost, json(200, {}));
  const operation = await someone({ sessions }).carryOut(plan([us, us]));
  expect(operation).toMatchObject({ guaranteeLost: true, attempts: 2, outcome: { kind: 'ok' } });
  expect(us.asked.map(({ headers }) => headers['domicile-session'])).toEqual(['old', 'new']);
});

test('a new session has seen nothing and has another number', async () => {
  const sessions = new Sessions(counter());
  const us = await edge(
    'us',
    json(200, { value: 1 }, { 'domicile-session': 'token' }),
    json(200, { value: 1 }),
  );
  const client = someone({ sessions });
  const read = { action: READ, key: undefined } as const;
  const first = await client.carryOut(plan([us], read));
  const second = await client.carryOut(plan([us], { ...read, newSession: true }));
  expect([first.session, second.session]).toEqual([0, 1]);
  expect(us.asked[1]?.headers['domicile-session']).toBeUndefined();
});

test('a swap expects what its client last heard of the register', async () => {
  const us = await edge(
    'us',
    json(200, { swapped: false, found: 3 }),
    json(200, { swapped: true, found: 3 }),
    json(200, { swapped: true, found: 8 }),
  );
  const client = someone();
  const swap = (value: number) =>
    client.carryOut(plan([us], { action: { kind: 'register-swap', register: 'r0-0', value } }));
  expect((await swap(7)).outcome).toEqual({
    kind: 'ok',
    shown: { kind: 'unchanged', because: 'not-equal', found: 3 },
  });
  expect((await swap(8)).outcome).toEqual({ kind: 'ok', shown: { kind: 'register', value: 3 } });
  await swap(9);
  expect(us.bodies.map((body) => JSON.parse(body).expected)).toEqual([null, 3, 8]);
});

test('a level and its bound are asked for, and what the answer says of itself is kept', async () => {
  const us = await edge(
    'us',
    json(
      200,
      { value: null },
      {
        'domicile-served-by': 'eu',
        'domicile-decision': 'serve;node=eu-b',
        'domicile-consistency': 'bounded; max-staleness=250ms',
        'domicile-staleness-ms': '12',
        'domicile-policy': '1',
      },
    ),
  );
  const operation = await someone().carryOut(
    plan([us], { action: READ, key: undefined, level: 'bounded', maxStalenessMs: 250 }),
  );
  expect(us.asked[0]?.headers['domicile-consistency']).toBe('bounded; max-staleness=250ms');
  expect(operation).toMatchObject({ level: 'bounded', maxStalenessMs: 250 });
  expect(operation.told).toEqual({
    status: 200,
    servedBy: 'eu',
    decision: 'serve;node=eu-b',
    consistency: 'bounded; max-staleness=250ms',
    stalenessMs: 12,
    policy: '1',
  });
});
