/** Which signed tokens are believed: real keys, and a real server that has them. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { VerifyJwt } from './credentials.ts';
import type { Issuer } from './operators-file.ts';
import { jwtVerifier } from './verify-jwt.ts';

const NOW_S = 1_800_000_000;
type Keys = Awaited<ReturnType<typeof generateKeyPair>>;

let server: Server;
let keys: Keys;
let foreign: Keys;
let rsa: Keys;
let asked = 0;
let issuer: Issuer;
let verify: VerifyJwt;
const said: Record<string, unknown>[] = [];

beforeAll(async () => {
  [keys, foreign] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')]);
  rsa = await generateKeyPair('RS256');
  const jwks = {
    keys: [
      { ...(await exportJWK(keys.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' },
      { ...(await exportJWK(rsa.publicKey)), kid: 'rsa', use: 'sig' },
    ],
  };
  server = createServer((_, answer) => {
    asked++;
    answer.setHeader('content-type', 'application/json');
    answer.end(JSON.stringify(jwks));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  issuer = {
    issuer: 'https://login.example.org',
    audience: 'domicile-console',
    jwks: `http://127.0.0.1:${port}/keys`,
    algorithms: ['ES256'],
    roles: { claim: 'realm.groups', viewer: ['staff'], operator: ['sre'] },
    nameClaim: 'email',
    clockToleranceSeconds: 5,
  };
  verify = verifier([issuer]);
});

afterAll(() => {
  server?.closeAllConnections();
  server?.close();
});

function verifier(issuers: Issuer[]): VerifyJwt {
  return jwtVerifier({ issuers, wallClock: () => NOW_S * 1_000, log: (line) => said.push(line) });
}

type Making = {
  claims?: JWTPayload;
  without?: string;
  header?: { alg: string; kid?: string };
  key?: Keys['privateKey'] | Uint8Array;
};

function token({ claims = {}, without, header, key }: Making = {}): Promise<string> {
  const payload: JWTPayload = {
    iss: 'https://login.example.org',
    aud: 'domicile-console',
    sub: 'u-1',
    email: 'eve@example.org',
    exp: NOW_S + 60,
    realm: { groups: ['staff'] },
    ...claims,
  };
  if (without !== undefined) delete payload[without];
  return new SignJWT(payload)
    .setProtectedHeader(header ?? { alg: 'ES256', kid: 'one' })
    .sign(key ?? keys.privateKey);
}

test('a token of the issuer for this audience names its holder, role and end', async () => {
  expect(await verify(await token())).toEqual({
    id: 'https://login.example.org u-1',
    name: 'eve@example.org',
    role: 'viewer',
    entry: expect.any(String),
    expiresAtMs: (NOW_S + 60) * 1_000,
  });
});

describe('refused is a token', () => {
  const none = Buffer.from('{"alg":"none"}').toString('base64url');
  test.each<[string, () => Promise<string>]>([
    ['of another issuer', () => token({ claims: { iss: 'https://evil.example' } })],
    ['for another audience', () => token({ claims: { aud: 'payroll' } })],
    ['without an audience', () => token({ without: 'aud' })],
    ['without an end', () => token({ without: 'exp' })],
    ['without a subject', () => token({ without: 'sub' })],
    ['that has ended, beyond the tolerance', () => token({ claims: { exp: NOW_S - 6 } })],
    ['that has not begun', () => token({ claims: { nbf: NOW_S + 6 } })],
    ['without a role here', () => token({ claims: { realm: { groups: ['guests'] } } })],
    ['whose groups are no texts', () => token({ claims: { realm: { groups: [{ sre: 1 }] } } })],
    ['signed by somebody else', () => token({ key: foreign.privateKey })],
    ['with a key that nobody has', () => token({ header: { alg: 'ES256', kid: 'two' } })],
    [
      'with an algorithm that is not allowed, though the key is the issuer’s',
      () => token({ header: { alg: 'RS256', kid: 'rsa' }, key: rsa.privateKey }),
    ],
    [
      'that is signed with the public key as if it were a secret',
      async () =>
        token({
          header: { alg: 'HS256', kid: 'one' },
          key: Buffer.from(JSON.stringify(await exportJWK(keys.publicKey))),
        }),
    ],
    ['without a signature', async () => `${none}.${(await token()).split('.')[1]}.x`],
    ['whose claims were changed', async () => swapped(await token())],
    ['that is no token', async () => 'a.b.c'],
  ])('%s', async (_, make) => {
    expect(await verify(await make())).toBeUndefined();
  });
});

/** The same signature under other claims. */
function swapped(of: string): string {
  const [header, payload, signature] = of.split('.');
  const claims = JSON.parse(Buffer.from(payload ?? '', 'base64url').toString());
  claims.realm.groups = ['sre'];
  return `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.${signature}`;
}

test.each([
  [['staff', 'sre'], 'operator'],
  ['sre', 'operator'],
  ['openid staff', 'viewer'],
])('the groups %j make %s', async (groups, role) => {
  expect(await verify(await token({ claims: { realm: { groups } } }))).toMatchObject({ role });
});

test('both clocks may differ by the tolerance', async () => {
  expect(await verify(await token({ claims: { exp: NOW_S - 4 } }))).toBeDefined();
  expect(await verify(await token({ claims: { nbf: NOW_S + 4 } }))).toBeDefined();
});

test('keys are asked for once, however many tokens name keys that are not there', async () => {
  const before = asked;
  for (let n = 0; n < 20; n++)
    await verify(await token({ header: { alg: 'ES256', kid: `k${n}` } }));
  expect(asked - before).toBeLessThanOrEqual(1);
});

test('an issuer that does not answer lets nobody in, and the log names it', async () => {
  const gone = { ...issuer, jwks: 'http://127.0.0.1:1/keys' };
  expect(await verifier([gone])(await token())).toBeUndefined();
  expect(said).toContainEqual(
    expect.objectContaining({ event: 'console-issuer-keys', issuer: issuer.issuer }),
  );
});
