/** Who gets in by the page of an issuer: a real one over HTTP, and what an attacker would change. */
import { randomBytes } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startIssuer, type TestIssuer } from './issuer-for-tests.ts';
import { type Ended, FLOW_MS_MAX, OidcSignIn } from './oidc-sign-in.ts';
import type { Issuer, Operators, SignIn } from './operators-file.ts';
import { jwtVerifier } from './verify-jwt.ts';

const ORIGIN = 'https://edge.example.org';
const PATH = '/console/sign-in/callback';
const WALL_MS = 1_800_000_000_000;

let provider: TestIssuer;
let time: { ms: number };
let logged: Record<string, unknown>[];
let secret: string | undefined;

beforeEach(async () => {
  time = { ms: 0 };
  logged = [];
  secret = 's+cret/&%';
  provider = await startIssuer(() => WALL_MS + time.ms);
  provider.redirects = [`${ORIGIN}${PATH}`];
  provider.clientSecret = new URLSearchParams({ x: secret }).toString().slice(2);
});
afterEach(async () => provider.close());

function entry(of: TestIssuer, signIn: Partial<SignIn> = {}): Issuer {
  return {
    issuer: of.url,
    audience: 'api',
    jwks: `${of.url}/keys`,
    algorithms: ['ES256'],
    roles: { claim: 'groups', viewer: ['staff'], operator: ['sre'] },
    nameClaim: 'email',
    clockToleranceSeconds: 5,
    signIn: {
      clientId: 'domicile-console',
      secret: { kind: 'variable', name: 'X' },
      redirects: [`${ORIGIN}${PATH}`],
      scope: 'openid email',
      title: 'Example',
      minutes: 60,
      ...signIn,
    },
  };
}

const clocks = () => ({ now: () => time.ms, wallClock: () => WALL_MS + time.ms });
const log = (line: Record<string, unknown>) => logged.push(line);

function allowedOf(issuers: readonly Issuer[]) {
  const operators: Operators = { operators: [], issuers };
  return { operators, verifyJwt: jwtVerifier({ issuers, ...clocks(), log }), version: 1 };
}

function edgeOf(issuers: readonly Issuer[] = [entry(provider)], allowed = allowedOf(issuers)) {
  return new OidcSignIn({
    allowed,
    secretOf: async () => secret,
    drawSecret: () => randomBytes(32).toString('base64url'),
    ...clocks(),
    log,
  });
}

async function begun(edge: OidcSignIn, way = 0) {
  const begins = await edge.begin(way, ORIGIN);
  if (begins.kind === 'failed') throw new Error(begins.because);
  return begins;
}

/** What the browser brings back from the page of the issuer. */
async function brought(location: string, of = provider) {
  const back = await of.visit(location);
  const field = (name: string) => back.searchParams.get(name) ?? undefined;
  return {
    path: back.pathname,
    state: field('state') ?? '',
    code: field('code'),
    iss: field('iss'),
  };
}

async function signIn(edge = edgeOf()): Promise<Ended> {
  const { location, flow } = await begun(edge);
  return edge.end(flow, await brought(location));
}

const because = (ended: Ended) => (ended.kind === 'failed' ? ended.because : ended.kind);

test('whoever signs in at the issuer gets in, with the role of the file and for as long as it says', async () => {
  expect(await signIn()).toMatchObject({
    kind: 'known',
    person: {
      id: `${provider.url} u-1`,
      name: 'eve@example.org',
      role: 'viewer',
      expiresAtMs: WALL_MS + 3_600_000,
    },
  });
  provider.claims = { ...provider.claims, groups: ['staff', 'sre'] };
  expect(await signIn()).toMatchObject({ kind: 'known', person: { role: 'operator' } });
  expect(logged).toEqual([]);
});

test('a public client has no secret, and one that may not use the header sends it in the body', async () => {
  provider.metadata = { token_endpoint_auth_methods_supported: ['client_secret_post'] };
  provider.clientSecret = secret ?? '';
  expect(because(await signIn())).toBe('known');
  provider.clientSecret = '';
  const { secret: _, ...rest } = entry(provider).signIn as SignIn;
  const open = { ...entry(provider), signIn: rest };
  expect(because(await signIn(edgeOf([open])))).toBe('known');
  expect(provider.asked.at(-2)?.authorization).toBeUndefined();
});

test('what leaves in an address are no secrets: neither verifier nor token nor the client’s own', async () => {
  const { location, flow } = await begun(edgeOf());
  const asked = new URL(location).searchParams;
  expect(Object.fromEntries(asked)).toMatchObject({
    response_type: 'code',
    redirect_uri: `${ORIGIN}${PATH}`,
    scope: 'openid email',
    code_challenge_method: 'S256',
  });
  expect(location).not.toContain(encodeURIComponent(secret ?? ''));
  // What the cookie holds only this edge can read.
  const held = Buffer.from(flow, 'base64url').toString('latin1');
  for (const name of ['state', 'nonce']) expect(held).not.toContain(asked.get(name));
});

describe('nobody gets in', () => {
  test('with what another browser has begun, or none, or with another state', async () => {
    const edge = edgeOf();
    const [mine, others] = [await begun(edge), await begun(edge)];
    const answer = await brought(mine.location);
    expect(because(await edge.end(others.flow, answer))).toBe('not-begun-here');
    expect(because(await edge.end(undefined, answer))).toBe('not-begun-here');
    expect(because(await edge.end(mine.flow, { ...answer, state: 'x' }))).toBe('not-begun-here');
    expect(because(await edge.end(`${mine.flow}A`, answer))).toBe('not-begun-here');
    const bent = Buffer.from(mine.flow, 'base64url');
    bent[40] = (bent[40] ?? 0) ^ 1;
    expect(because(await edge.end(bent.toString('base64url'), answer))).toBe('not-begun-here');
    // Another process, and so another key.
    expect(because(await edgeOf().end(mine.flow, answer))).toBe('not-begun-here');
    expect(provider.asked.filter(({ path }) => path === '/token')).toEqual([]);
    expect(because(await edge.end(mine.flow, answer))).toBe('known');
  });

  test('with a code of another sign-in, though state and cookie are his own', async () => {
    const edge = edgeOf();
    const [victim, attacker] = [await begun(edge), await begun(edge)];
    const { code } = await brought(victim.location);
    const own = await brought(attacker.location);
    expect(because(await edge.end(attacker.flow, { ...own, code }))).toBe('issuer-refused');
  });

  test('with a code that was used', async () => {
    const edge = edgeOf();
    const { location, flow } = await begun(edge);
    const answer = await brought(location);
    expect(because(await edge.end(flow, answer))).toBe('known');
    expect(because(await edge.end(flow, answer))).toBe('issuer-refused');
  });

  test('when it took longer than it may', async () => {
    const edge = edgeOf();
    const flows = [await begun(edge), await begun(edge)] as const;
    const answers = [await brought(flows[0].location), await brought(flows[1].location)] as const;
    time.ms = FLOW_MS_MAX;
    expect(because(await edge.end(flows[0].flow, answers[0]))).toBe('known');
    time.ms = FLOW_MS_MAX + 1;
    expect(because(await edge.end(flows[1].flow, answers[1]))).toBe('too-late');
  });

  test('whom the issuer has refused', async () => {
    const edge = edgeOf();
    const { location, flow } = await begun(edge);
    const { path, state } = await brought(location);
    const refused = { path, state, error: 'access_denied' };
    expect(because(await edge.end(flow, refused))).toBe('issuer-refused');
  });

  const nowS = () => Math.floor((WALL_MS + time.ms) / 1_000);
  test.each<[string, (claims: Record<string, unknown>) => Record<string, unknown>]>([
    ['of another sign-in', (claims) => ({ ...claims, nonce: 'x' })],
    ['of no sign-in', ({ nonce: _, ...claims }) => claims],
    ['for another client', (claims) => ({ ...claims, aud: 'shop' })],
    ['for the interface, not for this client', (claims) => ({ ...claims, aud: 'api' })],
    ['given to another client', (claims) => ({ ...claims, azp: 'shop' })],
    [
      'for several, and it does not say to whom it was given',
      ({ aud, ...claims }) => ({ ...claims, aud: [aud, 'shop'] }),
    ],
    ['of another issuer', (claims) => ({ ...claims, iss: 'https://other.example.org' })],
    ['that is over', (claims) => ({ ...claims, exp: nowS() - 6 })],
    ['that is not valid yet', (claims) => ({ ...claims, nbf: nowS() + 6 })],
    ['without an end', ({ exp: _, ...claims }) => claims],
    ['without a time', ({ iat: _, ...claims }) => claims],
    ['without a role', (claims) => ({ ...claims, groups: ['guests'] })],
  ])('by a token %s', async (_, spoil) => {
    provider.spoil = spoil;
    expect(because(await signIn())).toBe('not-allowed');
  });

  test('by a token that another key has signed', async () => {
    provider.signedBy = 'foreign';
    expect(because(await signIn())).toBe('not-allowed');
  });

  test('who was taken out of the file while he was at the issuer', async () => {
    const allowed = allowedOf([entry(provider)]);
    const edge = edgeOf([], allowed);
    const { location, flow } = await begun(edge);
    const answer = await brought(location);
    allowed.operators = { operators: [], issuers: [] };
    expect(because(await edge.end(flow, answer))).toBe('not-allowed');
  });
});

test('a clock that differs by as much as the file forgives is believed', async () => {
  provider.spoil = (claims) => ({ ...claims, exp: Math.floor(WALL_MS / 1_000) - 4 });
  expect(because(await signIn())).toBe('known');
});

test('an address that the file does not name begins nothing, whatever a request says it is', async () => {
  for (const origin of [
    'https://evil.example.org',
    'http://edge.example.org',
    'null',
    '',
    `${ORIGIN}:444`,
  ]) {
    expect(await edgeOf().begin(0, origin)).toEqual({ kind: 'failed', because: 'other-address' });
  }
  expect(await edgeOf().begin(1, ORIGIN)).toEqual({ kind: 'failed', because: 'not-allowed' });
  expect(provider.asked).toEqual([]);
});

describe('of two issuers', () => {
  test('neither ends what was begun at the other', async () => {
    const second = await startIssuer(() => WALL_MS);
    try {
      const there = `${ORIGIN}${PATH}/second`;
      second.redirects = [there];
      second.clientSecret = provider.clientSecret;
      const edge = edgeOf([
        entry(provider),
        entry(second, { redirects: [there], title: 'Second' }),
      ]);
      expect(edge.ways().map(({ title }) => title)).toEqual(['Example', 'Second']);
      const [mine, theirs] = [await begun(edge), await begun(edge, 1)];
      const own = await brought(mine.location);
      const other = await brought(theirs.location, second);
      // A code of the first that comes back as if the second had made it, and the other way round.
      const mixed = { ...other, code: own.code };
      expect(because(await edge.end(mine.flow, { ...own, path: other.path }))).toBe(
        'not-begun-here',
      );
      expect(because(await edge.end(theirs.flow, { ...mixed, path: own.path }))).toBe(
        'not-begun-here',
      );
      expect(second.asked.filter(({ path }) => path === '/token')).toEqual([]);
      expect(because(await edge.end(theirs.flow, other))).toBe('known');
      // A real token of the first, made for the nonce that the second was sent, is not the second's to give.
      const nowS = Math.floor(WALL_MS / 1_000);
      const lasts = { iat: nowS, exp: nowS + 300 };
      const about = { iss: provider.url, aud: 'domicile-console', sub: 'u-1', groups: ['sre'] };
      second.handsOver = (nonce) => provider.sign({ ...about, ...lasts, nonce });
      expect(because(await signInAt(edge, 1, second))).toBe('not-allowed');
    } finally {
      await second.close();
    }
  });

  test('one that says who it is is held to it', async () => {
    provider.says = { iss: provider.url };
    expect(because(await signIn())).toBe('known');
    provider.says = { iss: 'https://other.example.org' };
    expect(because(await signIn())).toBe('not-begun-here');
    provider.says = {};
    provider.metadata = { authorization_response_iss_parameter_supported: true };
    expect(because(await signIn())).toBe('not-begun-here');
  });
});

async function signInAt(edge: OidcSignIn, way: number, of: TestIssuer): Promise<Ended> {
  const { location, flow } = await begun(edge, way);
  return edge.end(flow, await brought(location, of));
}

describe('an issuer that', () => {
  test.each<[string, () => void, string]>([
    ['does not answer', () => (provider.silent = true), 'no answer'],
    [
      'is another one',
      () => (provider.metadata = { issuer: 'https://x.example.org' }),
      'of another',
    ],
    [
      'leads away from https',
      () => (provider.metadata = { token_endpoint: 'http://x.example.org/t' }),
      'without https',
    ],
    ['has no page', () => (provider.metadata = { authorization_endpoint: 7 }), 'no metadata'],
  ])('%s leads nowhere, and the log says why', async (_, spoil, why) => {
    spoil();
    expect(await edgeOf().begin(0, ORIGIN)).toEqual({ kind: 'failed', because: 'issuer-silent' });
    expect(logged).toEqual([
      {
        level: 'warn',
        event: 'console-issuer-failed',
        issuer: provider.url,
        why: expect.stringContaining(why),
      },
    ]);
  });

  test('fails to give a token is no reason to let somebody in, and the code is in no log', async () => {
    const edge = edgeOf();
    const { location, flow } = await begun(edge);
    const answer = await brought(location);
    provider.tokenStatus = 503;
    expect(because(await edge.end(flow, answer))).toBe('issuer-silent');
    secret = 'wrong';
    provider.tokenStatus = 200;
    expect(because(await edge.end(flow, answer))).toBe('issuer-refused');
    secret = undefined;
    expect(because(await edge.end(flow, answer))).toBe('issuer-silent');
    expect(logged.map(({ why }) => why)).toEqual([
      'token endpoint answered 503',
      'token endpoint answered 401',
      'no client secret',
    ]);
    expect(JSON.stringify(logged)).not.toContain(answer.code);
  });

  test('is asked for its pages once by many, and soon again when it was silent', async () => {
    const edge = edgeOf();
    await Promise.all(Array.from({ length: 5 }, () => begun(edge)));
    expect(provider.asked.length).toBe(1);
    provider.silent = true;
    const other = edgeOf();
    for (let n = 0; n < 3; n++) await other.begin(0, ORIGIN);
    expect(provider.asked.length).toBe(2);
    provider.silent = false;
    time.ms += 3_000;
    expect((await other.begin(0, ORIGIN)).kind).toBe('begun');
  });
});
