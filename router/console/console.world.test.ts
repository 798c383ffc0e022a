/** What the console of a real edge tells, and to whom: three regions, keepers, a failover. */
import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodingsOf } from '../audit/canary-encodings.ts';
import { CanaryScanner } from '../audit/canary-scanner.ts';
import { consoleToken } from '../password-names.ts';
import {
  type Answer,
  eventually,
  LAMP,
  newId,
  newUser,
  problemOf,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
} from '../world-for-tests.ts';
import type { ConsoleRole, ConsoleState, TraceAnswer } from './console-state.ts';
import { OPERATORS_FILE } from './local-operators.ts';

let domicile: TestDomicile;
/** Everything that a console has answered to somebody who may ask. */
const told: string[] = [];
const user = newUser('DE', newId('ada'));

beforeAll(async () => {
  domicile = await startTestDomicile({ keepers: true, metrics: true });
  await eventually('a newcomer is placed across regions', async () => {
    const created = await domicile.call('asia', 'POST', '/users', { body: user });
    return created.status === 201 || created.status === 409;
  });
});
afterAll(async () => domicile?.remove());

const token = (role: ConsoleRole) => domicile.clusters.password(consoleToken(role));
const bearer = (role: ConsoleRole) => ({ authorization: `Bearer ${token(role)}` });
const OWN_PAGE = { 'domicile-console': '1', 'sec-fetch-site': 'same-origin' };

async function ask(edge: string, path: string, role: ConsoleRole = 'viewer', body?: unknown) {
  const method = body === undefined ? 'GET' : 'POST';
  const answer = await domicile.call(edge, method, `/console/api${path}`, {
    headers: bearer(role),
    body,
  });
  told.push(answer.text);
  return answer;
}

async function stateAt(edge: string): Promise<ConsoleState> {
  return (await ask(edge, '/state')).json;
}

async function cookieAt(edge: string, role: ConsoleRole): Promise<string> {
  const signedIn = await domicile.call(edge, 'POST', '/console/sign-in', {
    headers: OWN_PAGE,
    body: { token: token(role) },
  });
  expect(signedIn.status).toBe(200);
  const [cookie = ''] = signedIn.headers['set-cookie'] ?? [];
  expect(cookie).toMatch(
    /^domicile-console-\d+=[\w-]{43}; HttpOnly; SameSite=Strict; Path=\/console$/,
  );
  return cookie.split(';')[0] ?? '';
}

type Stream = {
  states: ConsoleState[];
  ended: Promise<void>;
  /** The first state from now on that is so. */
  until: (what: string, is: (state: ConsoleState) => boolean) => Promise<ConsoleState>;
  close: () => void;
};

function watch(edge: string, headers: Record<string, string>): Promise<Stream> {
  return new Promise((resolve, reject) => {
    const call = request(new URL('/console/api/events', domicile.url(edge)), { headers });
    call.on('error', reject);
    call.on('response', (answer) => {
      expect(answer.statusCode).toBe(200);
      expect(answer.headers['content-type']).toBe('text/event-stream');
      const states: ConsoleState[] = [];
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part: string) => {
        text += part;
        const events = text.split('\n\n');
        text = events.pop() ?? '';
        for (const event of events) {
          const [, data] = /^data: (.+)$/m.exec(event) ?? [];
          if (data === undefined) continue;
          told.push(data);
          states.push(JSON.parse(data));
        }
      });
      const over = Promise.withResolvers<void>();
      answer.on('close', () => over.resolve());
      answer.on('error', () => over.resolve());
      resolve({
        states,
        ended: over.promise,
        close: () => call.destroy(),
        until: async (what, is) => {
          const from = states.length;
          await eventually(what, async () => states.slice(from).some(is), 60_000);
          return states.slice(from).find(is) as ConsoleState;
        },
      });
    });
    call.end();
  });
}

/** What is the same in two answers to whom nothing is told. */
function bare({ status, headers, text }: Answer) {
  const { date: _, connection: _c, 'keep-alive': _k, ...rest } = headers;
  return { status, headers: rest, text };
}

describe('whoever has not signed in', () => {
  test('gets one and the same answer, whatever is there and however wrong the token', async () => {
    const asked: [string, string, Record<string, string>][] = REGIONS.flatMap((edge) => [
      [edge, 'GET /console/api/state', {}],
      [edge, 'GET /console/api/events', {}],
      [edge, 'GET /console/api/nothing', {}],
      [edge, 'GET /console/page/main.js', {}],
      [edge, 'GET /console/page/nothing.js', {}],
      [edge, 'GET /console/../console/api/state', {}],
      [edge, 'GET /console/api/state', { authorization: 'Bearer wrong' }],
      [edge, 'GET /console/api/state', { authorization: `Bearer ${'a'.repeat(48)}` }],
      [edge, 'GET /console/api/state', { authorization: 'Basic eDp5' }],
      [edge, 'GET /console/api/state', { cookie: 'domicile-console=x' }],
      [edge, 'POST /console/api/state', {}],
      [edge, 'POST /console/api/experiments', {}],
      [edge, 'POST /console/sign-out', {}],
      [edge, 'DELETE /console/nothing', {}],
      [edge, 'PUT /console', {}],
    ]);
    const answers = await Promise.all(
      asked.map(async ([edge, what, headers]) => {
        const [method = '', path = ''] = what.split(' ');
        return bare(await domicile.call(edge, method, path, { headers }));
      }),
    );
    const [first] = answers;
    expect(first?.status).toBe(401);
    for (const [index, answer] of answers.entries())
      expect(answer, asked[index]?.[1]).toEqual(first);
    const said = JSON.stringify(first);
    for (const word of [...REGIONS, 'domicile-served-by', 'server-timing', 'edge']) {
      expect(said).not.toContain(`"${word}`);
    }
  });

  test('gets a sign-in page that is the same at every edge', async () => {
    const pages = await Promise.all(
      REGIONS.flatMap((edge) =>
        ['/console', '/console/', '/console?x=1'].map((path) => domicile.call(edge, 'GET', path)),
      ),
    );
    const [first] = pages.map(bare);
    expect(first?.headers['content-type']).toContain('text/html');
    expect(first?.headers['content-security-policy']).not.toContain('unsafe');
    for (const page of pages) expect(bare(page)).toEqual(first);
  });

  test('learns from a wrong token on the sign-in page no more than elsewhere', async () => {
    const answer = await domicile.call('us', 'POST', '/console/sign-in', {
      headers: OWN_PAGE,
      body: { token: 'b'.repeat(48) },
    });
    expect(problemOf(answer)).toEqual([401, 'console-unauthenticated', 'after-change']);
    expect(answer.headers['set-cookie']).toBeUndefined();
  });

  test('is not looked at any more after many wrong tokens, and keeps nobody else out', async () => {
    const wrong = Array.from({ length: 40 }, () =>
      domicile.call('asia', 'GET', '/console/api/state', {
        headers: { authorization: `Bearer ${'c'.repeat(48)}` },
      }),
    );
    const limited = (await Promise.all(wrong)).filter(({ status }) => status === 429);
    expect(limited.length).toBeGreaterThan(5);
    expect(Number(limited[0]?.headers['retry-after'])).toBeGreaterThan(0);
    expect((await ask('asia', '/state')).status).toBe(200);
  });
});

test('an edge that lets nobody in has no console', async () => {
  const edge = await domicile.startEdge({ region: 'us' });
  const answer = await domicile.call(edge.url, 'GET', '/console');
  expect(problemOf(answer)).toEqual([404, 'not-found', 'after-change']);
});

describe('a session', () => {
  test('is what its cookie reads by, and its own page changes by', async () => {
    const cookie = await cookieAt('us', 'operator');
    const read = (headers: Record<string, string>) =>
      domicile.call('us', 'GET', '/console/api/state', { headers: { cookie, ...headers } });
    expect((await read({})).json.operator).toEqual({ name: 'local operator', role: 'operator' });
    expect((await read({ 'sec-fetch-site': 'same-origin' })).status).toBe(200);
    for (const site of ['same-site', 'cross-site']) {
      expect(problemOf(await read({ 'sec-fetch-site': site }))[1]).toBe('console-cross-origin');
    }
    const change = (headers: Record<string, string>) =>
      domicile.call('us', 'POST', '/console/api/experiments', {
        headers: { cookie, ...headers },
        body: { kind: 'start', id: newId('run'), name: 'by a page' },
      });
    const origin = domicile.url('us');
    expect((await change(OWN_PAGE)).status).toBe(204);
    expect((await change({ 'domicile-console': '1', origin })).status).toBe(204);
    const others: Record<string, string>[] = [
      {},
      { 'domicile-console': '1' },
      { origin },
      { 'sec-fetch-site': 'same-origin' },
      { ...OWN_PAGE, 'sec-fetch-site': 'same-site', origin },
      { 'domicile-console': '1', origin: domicile.url('eu') },
      { 'domicile-console': '1', origin: 'null' },
    ];
    for (const headers of others) {
      expect(problemOf(await change(headers))).toEqual([
        403,
        'console-cross-origin',
        'after-change',
      ]);
    }
  });

  test('is of one edge, and ends with its sign-out, its stream too', async () => {
    const cookie = await cookieAt('us', 'viewer');
    const stream = await watch('us', { cookie });
    await stream.until('a state', () => true);
    const elsewhere = await domicile.call('eu', 'GET', '/console/api/state', {
      headers: { cookie },
    });
    expect(elsewhere.status).toBe(401);
    const out = await domicile.call('us', 'POST', '/console/sign-out', {
      headers: { cookie, ...OWN_PAGE },
    });
    expect([out.status, out.headers['set-cookie']?.[0]]).toEqual([
      204,
      expect.stringContaining('Max-Age=0'),
    ]);
    await stream.ended;
    const after = await domicile.call('us', 'GET', '/console/api/state', { headers: { cookie } });
    expect(after.status).toBe(401);
  });
});

test('a token that is taken out of the file lets in no more, at once and without a new start', async () => {
  const file = join(domicile.root, OPERATORS_FILE);
  const before = await readFile(file, 'utf8');
  const cookie = await cookieAt('eu', 'viewer');
  const read = () => domicile.call('eu', 'GET', '/console/api/state', { headers: { cookie } });
  const [stream, asBearer, others] = await Promise.all([
    watch('eu', { cookie }),
    watch('eu', bearer('viewer')),
    watch('eu', bearer('operator')),
  ]);
  for (const one of [stream, asBearer, others]) await one.until('a state', () => true);
  expect((await read()).status).toBe(200);
  try {
    const { operators, ...rest } = JSON.parse(before);
    const kept = operators.filter(({ role }: { role: string }) => role === 'operator');
    await writeFile(file, JSON.stringify({ ...rest, operators: kept }));
    await Promise.all([stream.ended, asBearer.ended]);
    expect(problemOf(await read())[1]).toBe('console-unauthenticated');
    expect((await ask('eu', '/state', 'viewer')).status).toBe(401);
    expect((await ask('eu', '/state', 'operator')).status).toBe(200);
    const brokenAt = ({ regions }: ConsoleState) => {
      const edge = regions.find(({ id }) => id === 'eu')?.edge;
      return edge?.kind === 'silent' ? undefined : edge?.operatorsBrokenForMs;
    };
    await others.until('all is well', (state) => brokenAt(state) === null);
    await writeFile(file, 'version: 1\noperators: [');
    await others.until('that it is broken', (state) => (brokenAt(state) ?? 0) > 0);
    await eventually('another region shows it', async () => {
      const answer = await domicile.call('us', 'GET', '/console/api/state', {
        headers: bearer('operator'),
      });
      return (brokenAt(answer.json) ?? 0) > 0;
    });
    expect((await ask('eu', '/state', 'operator')).status).toBe(200);
  } finally {
    await writeFile(file, before);
  }
  await others.until('that it is mended', ({ regions }) =>
    regions.every(({ edge }) => edge.kind === 'silent' || edge.operatorsBrokenForMs === null),
  );
  others.close();
  expect((await ask('eu', '/state', 'viewer')).status).toBe(200);
});

describe('roles', () => {
  const START = { kind: 'start', id: 'run-of-roles', name: 'of roles' };
  test.each([
    ['/experiments', START],
    ['/subjects/explain', { subject: 'a'.repeat(22) }],
  ])('a viewer may not ask %s, an operator may', async (path, body) => {
    expect(problemOf(await ask('us', path, 'viewer', body))).toEqual([
      403,
      'console-forbidden',
      'after-change',
    ]);
    expect((await ask('us', path, 'operator', body)).status).toBeLessThan(300);
  });

  test('what is asked wrongly is said', async () => {
    const wrong = await ask('us', '/experiments', 'operator', { kind: 'start', id: 'x' });
    expect(problemOf(wrong)).toEqual([422, 'invalid-request', 'after-change']);
    const unknown = await ask('us', '/experiments', 'operator', { kind: 'end', id: 'never' });
    expect(unknown.json.complaints[0].path).toBe('id');
    const text = await ask('us', '/subjects/explain', 'operator', '{"subject"');
    expect(problemOf(text)).toEqual([400, 'malformed-json', 'after-change']);
    const large = await ask('us', '/experiments', 'operator', 'x'.repeat(40_000));
    expect(problemOf(large)[1]).toBe('body-too-large');
    expect(problemOf(await ask('us', '/nothing'))[1]).toBe('console-nothing-here');
    const method = await domicile.call('us', 'POST', '/console/api/state', {
      headers: bearer('viewer'),
    });
    expect([method.status, method.headers.allow]).toEqual([405, 'GET, HEAD']);
  });
});

test('one edge shows all regions', async () => {
  for (let n = 0; n < 3; n++) {
    await domicile.call('eu', 'POST', `/users/${user.id}/orders`, { body: LAMP });
    await domicile.call('us', 'GET', `/users/${user.id}/orders`);
    await domicile.call('us', 'GET', '/no-such-route');
  }
  await eventually('the seconds are over', async () => {
    const { regions } = await stateAt('us');
    const decisions = regions.find(({ id }) => id === 'us')?.edge;
    // What is shown of another region was told by it when somebody looked the last time.
    const home = regions.find(({ id }) => id === 'eu')?.edge;
    return (
      home?.kind === 'answers' &&
      (home.traffic.rungs.primary ?? 0) >= 3 &&
      decisions?.kind === 'here' &&
      (decisions.traffic.decisions.forward?.reduce((a, b) => a + b, 0) ?? 0) >= 3
    );
  });
  const state = await stateAt('us');
  expect(state.edge.region).toBe('us');
  expect(state.policy).toMatchObject({ source: 'recorded', drift: [] });
  for (const region of state.regions) {
    const { id, edge, nodes, keeper, place } = region;
    expect(edge.kind).toBe(id === 'us' ? 'here' : 'answers');
    expect(nodes.map(({ role, health }) => [role, health])).toEqual([
      ['primary', 'serves'],
      ['replica', expect.stringMatching(/serves|lags/)],
    ]);
    expect(keeper).toMatchObject({ kind: 'says', primary: `${id}-a`, alone: false });
    expect(Math.abs(place.longitude)).toBeGreaterThan(5);
  }
  const eu = state.regions.find(({ id }) => id === 'eu')?.edge;
  expect(eu?.kind === 'answers' && eu.traffic.rungs.primary).toBeGreaterThanOrEqual(3);
  const us = state.regions.find(({ id }) => id === 'us')?.edge;
  expect(us?.kind === 'here' && us.traffic.refusals['not-found']).toBeGreaterThanOrEqual(3);
  expect(us?.kind === 'here' && us.traffic.latency?.requests).toBeGreaterThanOrEqual(6);
  const links = state.links.map(({ kind, from, to }) => `${kind} ${from} ${to}`);
  expect(new Set(links).size).toBe(links.length);
  expect(links.sort()).toEqual(
    REGIONS.flatMap((region) => [
      `replication ${region}-a ${region}-b`,
      ...REGIONS.filter((other) => other !== region).flatMap((other) => [
        `hop ${region} ${other}`,
        `mirror ${region} ${other}`,
      ]),
    ]).sort(),
  );
});

test('whoever has signed in gets the health of the edge in whole, and nobody else here', async () => {
  expect((await ask('us', '/health')).json).toMatchObject({ status: 'ok', region: 'us' });
  const answer = await domicile.call('us', 'GET', '/console/api/health');
  expect(problemOf(answer)[1]).toBe('console-unauthenticated');
});

test('an experiment that is announced at one edge is shown at another', async () => {
  const id = newId('run');
  const say = (said: object) => ask('eu', '/experiments', 'operator', { id, ...said });
  await say({ kind: 'start', name: 'lost-primary' });
  await say({ kind: 'fault', fault: '1', what: 'killed', where: ['eu-a'] });
  await eventually('it is shown', async () => {
    const { experiments } = await stateAt('us');
    const shown = experiments.find((one) => one.id === id);
    return shown?.endedAtMs === null && shown.faults[0]?.toMs === null;
  });
  await say({ kind: 'heal', fault: '1' });
  await say({ kind: 'end', verdict: 'holds' });
  await eventually('its end is shown', async () => {
    const { experiments } = await stateAt('us');
    const shown = experiments.find((one) => one.id === id);
    return shown?.verdict === 'holds' && shown.faults[0]?.toMs !== null;
  });
});

describe('requests', () => {
  test('are listed, each with its spans, and those that were refused with the reason', async () => {
    await domicile.call('us', 'GET', `/users/${user.id}/orders`);
    await domicile.call('us', 'GET', '/users/nobody/orders');
    const traces = (await ask('us', '/traces')).json.traces;
    const forwarded = traces.find((one: { to: string }) => one.to === 'eu');
    expect(forwarded).toMatchObject({ route: '/users/:user/orders', decision: 'forward' });
    const { trace } = (await ask('us', `/traces/${forwarded.traceId}`)).json;
    expect(trace.spans.length).toBeGreaterThan(1);
    const { refusals } = (await ask('us', '/refusals')).json;
    expect(refusals[0]).toMatchObject({ because: 'unknown-subject' });
    const none = await ask('us', `/traces/${'0'.repeat(32)}`);
    expect(problemOf(none)[1]).toBe('console-nothing-here');
  });

  test('that were sent on are shown with the parts of all edges, and without what one alone did', async () => {
    const key = { subject: domicile.keyOf(user.id).toString('base64url') };
    const { subject } = (await ask('eu', '/subjects/explain', 'operator', key)).json;
    const forwarded = await domicile.call('us', 'GET', `/users/${user.id}/orders`);
    const [, traceId] = String(forwarded.headers.traceresponse).split('-');
    for (const edge of REGIONS) {
      const { trace, parts } = (await ask(edge, `/traces/${traceId}`)).json as TraceAnswer;
      const told = trace.spans.filter(({ kind }) => kind === 'server');
      expect(told.map((span) => [span.region, span.attributes['domicile.decision']])).toEqual([
        ['us', 'forward'],
        ['eu', 'serve'],
      ]);
      const [first, home] = told;
      const hop = trace.spans.find(({ spanId }) => spanId === home?.parentSpanId);
      expect([hop?.region, hop?.parentSpanId]).toEqual(['us', first?.spanId]);
      expect(
        trace.spans.some((span) => span.name.startsWith('read ') && span.region === 'eu'),
      ).toBe(true);
      expect(parts.map(({ region, kind }) => `${region} ${kind}`).sort()).toEqual([
        'eu told',
        'us told',
      ]);
      // Who it is about is told by the edges that have met it, each to those who look there.
      const about = trace.spans.filter((span) => span.attributes['domicile.subject'] === subject);
      expect(about.map((span) => span.region)).toEqual(edge === 'asia' ? [] : [edge]);
      const addressed = trace.spans.filter((span) => 'server.address' in span.attributes);
      expect(new Set(addressed.map((span) => span.region))).toEqual(
        new Set(edge === 'eu' ? ['eu'] : []),
      );
    }
    const served = await domicile.call('eu', 'GET', `/users/${user.id}/orders`);
    const [, alone] = String(served.headers.traceresponse).split('-');
    expect((await ask('eu', `/traces/${alone}`)).status).toBe(200);
    expect(problemOf(await ask('us', `/traces/${alone}`))[1]).toBe('console-nothing-here');
    // Whoever looks at traces is not among the requests that he looks at.
    const lines = (await ask('eu', '/traces')).json.traces;
    expect(
      lines.some(({ route }: { route: string }) => route?.includes('/.domicile/console')),
    ).toBe(false);
  });

  test('ask nothing of an edge for whoever comes without the signature of another', async () => {
    for (const path of [`/.domicile/console/traces/${'a'.repeat(32)}`, '/.domicile/console']) {
      for (const headers of [{}, bearer('operator')]) {
        const answer = await domicile.call('eu', 'GET', path, { headers });
        expect(problemOf(answer)[1]).toBe('hop-refused');
      }
    }
  });

  test('of a subject are found by its key and by its hash, with what the policy says', async () => {
    const key = domicile.keyOf(user.id).toString('base64url');
    await domicile.call('us', 'GET', `/users/${user.id}/orders`);
    const byKey = (await ask('us', '/subjects/explain', 'operator', { subject: key })).json;
    expect(byKey).toMatchObject({ kind: 'found', home: 'eu' });
    expect(byKey.because.join(' ')).toContain('Rule "');
    expect(byKey.subject).not.toContain(key);
    expect(byKey.recent.length).toBeGreaterThan(0);
    const subject = byKey.subject;
    const byHash = (await ask('us', '/subjects/explain', 'operator', { subject })).json;
    expect(byHash).toMatchObject({ kind: 'found', home: 'eu', subject });
    const nobody = { subject: 'A'.repeat(22) };
    const unknown = (await ask('us', '/subjects/explain', 'operator', nobody)).json;
    expect(unknown.kind).toBe('not-found');
  });
});

describe('a stream', () => {
  test('shows the new primary of a region whose primary was killed', async () => {
    const stream = await watch('us', bearer('viewer'));
    const primaryOf = ({ regions }: ConsoleState) =>
      regions
        .find(({ id }) => id === 'eu')
        ?.nodes.find(({ role, health }) => role === 'primary' && health !== 'silent');
    await stream.until('eu-a is the primary', (state) => primaryOf(state)?.name === 'eu-a');
    domicile.clusters.kill('eu-a', 'SIGKILL');
    const after = await stream.until('eu-b is', (state) => primaryOf(state)?.name === 'eu-b');
    expect(primaryOf(after)?.timeline).toBe(2);
    const told = await stream.until('the keeper says so', ({ regions, failovers }) => {
      const keeper = regions.find(({ id }) => id === 'eu')?.keeper;
      const [newest] = failovers.filter(({ timeline }) => timeline === 2);
      return keeper?.kind === 'says' && keeper.primary === 'eu-b' && newest?.primary === 'eu-b';
    });
    expect(told.failovers.some(({ what }) => /eu-a is deposed/i.test(what))).toBe(true);
    stream.close();
  });

  test('shows a region as silent, why and for how long, and the others as before', async () => {
    const stream = await watch('us', bearer('viewer'));
    const edgeOf = ({ regions }: ConsoleState, region: string) =>
      regions.find(({ id }) => id === region)?.edge;
    await stream.until('asia answers', (state) => edgeOf(state, 'asia')?.kind === 'answers');
    const watched = await watch('asia', bearer('viewer'));
    await watched.until('a state', () => true);
    // The edge is asked to end, and a stream that is open must not keep it.
    await domicile.world.edges.get('edge-asia')?.stop();
    await watched.ended;
    const dark = await stream.until('asia is silent', (state) => {
      const edge = edgeOf(state, 'asia');
      return edge?.kind === 'silent' && edge.forMs > 1_500;
    });
    const edge = edgeOf(dark, 'asia');
    expect(edge?.kind === 'silent' && edge.why).toMatch(/nothing listens|answered lately|closed/);
    expect(edgeOf(dark, 'eu')?.kind).toBe('answers');
    const forwarded = await domicile.call('us', 'GET', `/users/${user.id}`);
    const [, traceId] = String(forwarded.headers.traceresponse).split('-');
    const { parts } = (await ask('us', `/traces/${traceId}`)).json as TraceAnswer;
    expect(parts.find(({ region }) => region === 'eu')?.kind).toBe('told');
    expect(parts.find(({ region }) => region === 'asia')).toMatchObject({
      kind: 'silent',
      isPart: false,
      why: expect.stringMatching(/nothing listens|answered lately|closed/),
    });
    const asia = dark.regions.find(({ id }) => id === 'asia');
    expect(asia?.nodes.map(({ health }) => health)).toEqual(['unknown', 'unknown']);
    const hop = dark.links.find(
      ({ kind, from, to }) => kind === 'hop' && `${from} ${to}` === 'us asia',
    );
    expect(hop?.health).toBe('broken');
    const atMs = stream.states.map((state) => state.atMs);
    const gaps = atMs.slice(1).map((ms, i) => ms - (atMs[i] ?? 0));
    expect(Math.max(...gaps)).toBeLessThan(5_000);
    await domicile.world.startEdge('edge-asia');
    await stream.until('asia is back', (state) => edgeOf(state, 'asia')?.kind === 'answers');
    stream.close();
  });
});

test('nothing that a console told names a person', () => {
  expect(told.length).toBeGreaterThan(20);
  const scanner = new CanaryScanner(
    [user.id, user.email, user.displayName].flatMap((canary) => encodingsOf(canary)),
  );
  expect(scanner.stream().push(Buffer.from(told.join('\n')))).toEqual([]);
  // That there was something to find: the subject itself, by its hash.
  expect(told.join('\n')).toContain('"kind":"found"');
});
