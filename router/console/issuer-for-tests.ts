/**
 * What does an issuer of OpenID Connect do with this client?
 *
 * A small one over real HTTP, which is as strict as the specification lets it be: known clients and
 * places to send back to, codes that are good once and for whoever has the verifier, signed tokens.
 * Whoever comes to its page has signed in there already, as the person that a test names.
 */
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { exportJWK, generateKeyPair, type JWTPayload, SignJWT } from 'jose';

export type TestIssuer = {
  url: string;
  clientId: string;
  clientSecret: string;
  redirects: string[];
  /** Claims of whoever signs in now. */
  claims: JWTPayload;
  /** What a test spoils before the token is signed. */
  spoil: (claims: JWTPayload) => JWTPayload;
  signedBy: 'own' | 'foreign';
  /** In the place of its own token, from the nonce that it was sent. */
  handsOver: ((nonce: string) => Promise<string>) | undefined;
  sign(claims: JWTPayload): Promise<string>;
  metadata: Record<string, unknown>;
  /** Whether `iss` comes back beside the code. */
  says: { iss?: string };
  silent: boolean;
  tokenStatus: number;
  asked: { path: string; authorization: string | undefined; body: string }[];
  /** What the page would answer a browser with: the address that it sends it to. */
  visit(location: string): Promise<URL>;
  close(): Promise<void>;
};

type Grant = { challenge: string; redirect: string; nonce: string; clientId: string };

export async function startIssuer(now: () => number): Promise<TestIssuer> {
  const [own, foreign] = await Promise.all([generateKeyPair('ES256'), generateKeyPair('ES256')]);
  const grants = new Map<string, Grant>();
  const server = createServer((request, answer) => {
    void handle(request, answer);
  });

  async function handle(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    const { pathname, searchParams } = new URL(request.url ?? '/', issuer.url);
    let body = '';
    for await (const part of request.setEncoding('utf8')) body += part;
    issuer.asked.push({ path: pathname, authorization: request.headers.authorization, body });
    if (issuer.silent) return void request.socket.destroy();
    const json = (status: number, value: unknown) => {
      answer.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' });
      answer.end(JSON.stringify(value));
    };
    switch (pathname) {
      case '/.well-known/openid-configuration':
        return json(200, {
          issuer: issuer.url,
          authorization_endpoint: `${issuer.url}/authorize`,
          token_endpoint: `${issuer.url}/token`,
          jwks_uri: `${issuer.url}/keys`,
          ...issuer.metadata,
        });
      case '/keys':
        return json(200, {
          keys: [{ ...(await exportJWK(own.publicKey)), kid: 'one', alg: 'ES256', use: 'sig' }],
        });
      case '/authorize':
        return authorize(searchParams, answer);
      case '/token':
        return json(...(await token(new URLSearchParams(body), request.headers.authorization)));
    }
    json(404, {});
  }

  function authorize(asked: URLSearchParams, answer: ServerResponse): void {
    const field = (name: string) => asked.get(name) ?? '';
    const redirect = field('redirect_uri');
    const isFit =
      field('response_type') === 'code' &&
      field('client_id') === issuer.clientId &&
      issuer.redirects.includes(redirect) &&
      field('scope').split(' ').includes('openid') &&
      field('code_challenge_method') === 'S256' &&
      /^[\w-]{43}$/.test(field('code_challenge')) &&
      field('state').length >= 32 &&
      field('nonce').length >= 32;
    if (!isFit) return void answer.writeHead(400).end('This is no request of a client.');
    const code = randomBytes(24).toString('base64url');
    grants.set(code, {
      ...{ challenge: field('code_challenge'), nonce: field('nonce'), redirect },
      clientId: issuer.clientId,
    });
    const back = new URL(redirect);
    const brought = { code, state: field('state'), ...issuer.says };
    for (const [name, value] of Object.entries(brought)) back.searchParams.set(name, value);
    answer.writeHead(302, { location: back.href }).end();
  }

  async function token(
    asked: URLSearchParams,
    authorization: string | undefined,
  ): Promise<[number, unknown]> {
    if (issuer.tokenStatus !== 200) return [issuer.tokenStatus, { error: 'server_error' }];
    const { clientId, clientSecret } = issuer;
    const expected = `Basic ${Buffer.from(`${clientId}:${clientSecret}`).toString('base64')}`;
    const isClient =
      clientSecret === ''
        ? authorization === undefined && asked.get('client_id') === clientId
        : authorization === expected || asked.get('client_secret') === clientSecret;
    if (!isClient) return [401, { error: 'invalid_client' }];
    const code = asked.get('code') ?? '';
    const grant = grants.get(code);
    grants.delete(code);
    const challenge = createHash('sha256')
      .update(asked.get('code_verifier') ?? '')
      .digest('base64url');
    const isFit =
      asked.get('grant_type') === 'authorization_code' &&
      grant?.challenge === challenge &&
      grant.redirect === asked.get('redirect_uri');
    if (!isFit || grant === undefined) return [400, { error: 'invalid_grant' }];
    const nowS = Math.floor(now() / 1_000);
    const claims = issuer.spoil({
      ...{ iss: issuer.url, aud: grant.clientId, nonce: grant.nonce, iat: nowS, exp: nowS + 300 },
      ...issuer.claims,
    });
    const idToken = (await issuer.handsOver?.(grant.nonce)) ?? (await issuer.sign(claims));
    return [200, { id_token: idToken, access_token: 'x', token_type: 'Bearer' }];
  }

  const issuer: TestIssuer = {
    url: '',
    clientId: 'domicile-console',
    clientSecret: '',
    redirects: [],
    claims: { sub: 'u-1', email: 'eve@example.org', groups: ['staff'] },
    spoil: (claims) => claims,
    signedBy: 'own',
    handsOver: undefined,
    sign(claims) {
      const key = issuer.signedBy === 'own' ? own : foreign;
      const header = { alg: 'ES256', kid: 'one' };
      return new SignJWT(claims).setProtectedHeader(header).sign(key.privateKey);
    },
    metadata: {},
    says: {},
    silent: false,
    tokenStatus: 200,
    asked: [],
    async visit(location) {
      const answer = await fetch(location, { redirect: 'manual' });
      const back = answer.headers.get('location');
      if (back === null) throw new Error(`${answer.status} ${await answer.text()}`);
      return new URL(back);
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  await once(server.listen(0, '127.0.0.1'), 'listening');
  issuer.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return issuer;
}
