/**
 * Who comes back from an issuer's own sign-in page?
 *
 * The authorization code flow of OpenID Connect with PKCE. What a flow needs to remember is sealed
 * into a cookie of the browser that began it, so that strangers can fill no memory, and nobody else can
 * end it: `state` ties the answer to that browser, the verifier ties the code to it, the nonce the
 * token. The code is exchanged from here, and no token ever reaches a browser, an address or a log.
 */
import { createCipheriv, createDecipheriv, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';
import type { SignInFailure } from '../problem.ts';
import { type Person, sha256, type VerifyJwt } from './credentials.ts';
import {
  type Issuer,
  isTrustedAddress,
  type Operators,
  type SecretPlace,
  type SignIn,
} from './operators-file.ts';

export type OidcOptions = {
  allowed: {
    readonly operators: Operators;
    readonly verifyJwt: VerifyJwt | undefined;
    readonly version: number;
  };
  /** The secret that an entry names; undefined where there is none. */
  secretOf: (place: SecretPlace) => Promise<string | undefined>;
  /** 256 random bits in base64url. */
  drawSecret: () => string;
  /** Monotonic milliseconds. */
  now: () => number;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
  log: (line: Record<string, unknown>) => void;
};

export type Way = { title: string };

export type Begun =
  | { kind: 'begun'; location: string; flow: string }
  | { kind: 'failed'; because: SignInFailure };

export const AnswerOfIssuer = z.strictObject({
  state: z.string().max(200),
  code: z.string().max(4_096).optional(),
  iss: z.string().max(500).optional(),
  error: z.string().max(200).optional(),
  /** The path that the issuer has sent the browser to. */
  path: z.string().max(300),
});
export type AnswerOfIssuer = z.infer<typeof AnswerOfIssuer>;

export type Ended = { kind: 'known'; person: Person } | { kind: 'failed'; because: SignInFailure };

export const FLOW_MS_MAX = 10 * 60_000;
/** An operator waits for it. */
const ISSUER_MS_MAX = 5_000;
const ANSWER_BYTES_MAX = 256 * 1024;
/** Where its pages are an issuer changes seldom. */
const DISCOVERED_MS = 10 * 60_000;
/** An issuer that does not answer is not asked for everybody who comes by. */
const SILENT_MS = 3_000;

const Metadata = z.object({
  issuer: z.string(),
  authorization_endpoint: z.string(),
  token_endpoint: z.string(),
  token_endpoint_auth_methods_supported: z.array(z.string()).optional(),
  authorization_response_iss_parameter_supported: z.boolean().optional(),
});
type Metadata = z.infer<typeof Metadata>;

const Tokens = z.object({ id_token: z.string().max(32_768) });

const Flow = z.strictObject({
  issuer: z.string(),
  redirect: z.string(),
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  beganAtMs: z.number(),
});
type Flow = z.infer<typeof Flow>;

type Offered = { issuer: Issuer; signIn: SignIn };

export class OidcSignIn {
  #options: OidcOptions;
  /** Of this process: a flow ends where it began, as sessions do. */
  #key: Buffer;
  #discovered = new Map<string, { metadata: Promise<Metadata | undefined>; untilMs: number }>();

  constructor(options: OidcOptions) {
    this.#options = options;
    this.#key = sha256(options.drawSecret());
  }

  ways(): Way[] {
    return this.#offered().map(({ signIn }) => ({ title: signIn.title }));
  }

  /** `origin`: by which address the browser has asked this edge. */
  async begin(way: number, origin: string): Promise<Begun> {
    const offered = this.#offered()[way];
    if (offered === undefined) return { kind: 'failed', because: 'not-allowed' };
    const { issuer, signIn } = offered;
    // Of those in the file, never made from what a request says of itself.
    const redirect = signIn.redirects.find((one) => new URL(one).origin === origin);
    if (redirect === undefined) return { kind: 'failed', because: 'other-address' };
    const metadata = await this.#discover(issuer.issuer);
    if (metadata === undefined) return { kind: 'failed', because: 'issuer-silent' };
    const { drawSecret, now } = this.#options;
    const [state, nonce, verifier] = [drawSecret(), drawSecret(), drawSecret()];
    const flow: Flow = {
      ...{ issuer: issuer.issuer, redirect, state, nonce, verifier },
      beganAtMs: now(),
    };
    const location = new URL(metadata.authorization_endpoint);
    const asked = {
      response_type: 'code',
      client_id: signIn.clientId,
      redirect_uri: redirect,
      scope: signIn.scope,
      state,
      nonce,
      code_challenge: sha256(verifier).toString('base64url'),
      code_challenge_method: 'S256',
    };
    for (const [name, value] of Object.entries(asked)) location.searchParams.set(name, value);
    return { kind: 'begun', location: location.href, flow: this.#seal(flow) };
  }

  async end(sealed: string | undefined, answer: AnswerOfIssuer): Promise<Ended> {
    const failed = (because: SignInFailure): Ended => ({ kind: 'failed', because });
    const flow = sealed === undefined ? undefined : this.#open(sealed);
    if (flow === undefined || !isSame(flow.state, answer.state)) return failed('not-begun-here');
    if (this.#options.now() - flow.beganAtMs > FLOW_MS_MAX) return failed('too-late');
    const offered = this.#offered().find(({ issuer }) => issuer.issuer === flow.issuer);
    if (offered === undefined) return failed('not-allowed');
    // Each issuer has a place of its own to send back to, so that none can end another's flow.
    if (new URL(flow.redirect).pathname !== answer.path) return failed('not-begun-here');
    const metadata = await this.#discover(flow.issuer);
    if (metadata === undefined) return failed('issuer-silent');
    const mustSay = metadata.authorization_response_iss_parameter_supported === true;
    if ((answer.iss !== undefined || mustSay) && answer.iss !== flow.issuer) {
      return failed('not-begun-here');
    }
    if (answer.code === undefined) return failed('issuer-refused');
    return this.#exchange(offered, flow, answer.code, metadata);
  }

  async #exchange(
    { issuer, signIn }: Offered,
    { redirect, verifier, nonce }: Flow,
    code: string,
    metadata: Metadata,
  ): Promise<Ended> {
    const { allowed, secretOf, wallClock } = this.#options;
    const { verifyJwt, version } = allowed;
    const { clientId } = signIn;
    const body = new URLSearchParams({
      ...{ grant_type: 'authorization_code', code, redirect_uri: redirect },
      ...{ code_verifier: verifier, client_id: clientId },
    });
    const headers: Record<string, string> = { accept: 'application/json' };
    if (signIn.secret !== undefined) {
      const secret = await secretOf(signIn.secret);
      if (secret === undefined) return this.#silent(issuer, 'no client secret');
      const methods = metadata.token_endpoint_auth_methods_supported ?? ['client_secret_basic'];
      if (methods.includes('client_secret_basic')) {
        headers.authorization = basic(clientId, secret);
      } else body.set('client_secret', secret);
    }
    const answer = await askJson(metadata.token_endpoint, { method: 'POST', headers, body });
    if (answer === undefined) return this.#silent(issuer, 'token endpoint');
    // Its words may quote the code.
    if (answer.status !== 200) {
      const why = `token endpoint answered ${answer.status}`;
      this.#complain(issuer, why);
      return { kind: 'failed', because: answer.status < 500 ? 'issuer-refused' : 'issuer-silent' };
    }
    const tokens = Tokens.safeParse(answer.body);
    if (!tokens.success) return this.#silent(issuer, 'no id_token');
    const forUs = { audience: clientId, nonce };
    const person = await verifyJwt?.(tokens.data.id_token, forUs);
    const isNamed = person?.id.startsWith(`${issuer.issuer} `);
    if (person === undefined || !isNamed || version !== allowed.version) {
      return { kind: 'failed', because: 'not-allowed' };
    }
    // The token says that somebody has signed in, and is over in minutes; how long that counts the
    // operators say.
    const expiresAtMs = wallClock() + signIn.minutes * 60_000;
    return { kind: 'known', person: { ...person, expiresAtMs } };
  }

  #offered(): Offered[] {
    return this.#options.allowed.operators.issuers.flatMap((issuer) =>
      issuer.signIn === undefined ? [] : [{ issuer, signIn: issuer.signIn }],
    );
  }

  #silent(issuer: Issuer, why: string): Ended {
    this.#complain(issuer, why);
    return { kind: 'failed', because: 'issuer-silent' };
  }

  #complain({ issuer }: { issuer: string }, why: string): void {
    this.#options.log({ level: 'warn', event: 'console-issuer-failed', issuer, why });
  }

  #discover(issuer: string): Promise<Metadata | undefined> {
    const { now } = this.#options;
    const known = this.#discovered.get(issuer);
    if (known !== undefined && known.untilMs > now()) return known.metadata;
    const kept = { metadata: this.#ask(issuer), untilMs: now() + DISCOVERED_MS };
    this.#discovered.set(issuer, kept);
    void kept.metadata.then((metadata) => {
      if (metadata === undefined) kept.untilMs = now() + SILENT_MS;
    });
    return kept.metadata;
  }

  async #ask(issuer: string): Promise<Metadata | undefined> {
    const path = '/.well-known/openid-configuration';
    const answer = await askJson(issuer.replace(/\/$/, '') + path, {});
    const metadata = Metadata.safeParse(answer?.body);
    const why =
      answer === undefined
        ? 'discovery: no answer'
        : answer.status !== 200 || !metadata.success
          ? 'discovery: no metadata'
          : // Of another one these would be pages that nobody has trusted.
            metadata.data.issuer !== issuer
            ? 'discovery: of another issuer'
            : ['authorization_endpoint', 'token_endpoint'].some(
                  (name) => !isTrustedAddress(metadata.data[name as 'token_endpoint']),
                )
              ? 'discovery: an endpoint without https'
              : undefined;
    if (why === undefined) return metadata.data;
    this.#complain({ issuer }, why);
    return undefined;
  }

  #seal(flow: Flow): string {
    const iv = sha256(this.#options.drawSecret()).subarray(0, 12);
    const cipher = createCipheriv('aes-256-gcm', this.#key, iv);
    const text = Buffer.concat([cipher.update(JSON.stringify(flow)), cipher.final()]);
    return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64url');
  }

  #open(sealed: string): Flow | undefined {
    const bytes = Buffer.from(sealed, 'base64url');
    if (bytes.length < 28) return undefined;
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, 12), {
        authTagLength: 16,
      });
      decipher.setAuthTag(bytes.subarray(12, 28));
      const text = Buffer.concat([decipher.update(bytes.subarray(28)), decipher.final()]);
      return Flow.parse(JSON.parse(text.toString()));
    } catch {
      // Not sealed here, or changed since.
      return undefined;
    }
  }
}

/** RFC 6749 section 2.3.1: both are form-encoded first. */
function basic(clientId: string, secret: string): string {
  const encoded = [clientId, secret].map((part) =>
    new URLSearchParams({ x: part }).toString().slice(2),
  );
  return `Basic ${Buffer.from(encoded.join(':')).toString('base64')}`;
}

function isSame(one: string, other: string): boolean {
  return timingSafeEqual(sha256(one), sha256(other));
}

/** Undefined where there is no answer in time, or none of a size that it could have. */
async function askJson(
  url: string,
  init: RequestInit,
): Promise<{ status: number; body: unknown } | undefined> {
  try {
    const answer = await fetch(url, {
      ...init,
      // Wherever it would lead, nobody has trusted it.
      redirect: 'error',
      signal: AbortSignal.timeout(ISSUER_MS_MAX),
    });
    const text = await boundedText(answer);
    return text === undefined ? undefined : { status: answer.status, body: jsonOf(text) };
  } catch {
    return undefined;
  }
}

async function boundedText({ body }: Response): Promise<string | undefined> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of body ?? []) {
    bytes += part.length;
    if (bytes > ANSWER_BYTES_MAX) return undefined;
    parts.push(part);
  }
  return Buffer.concat(parts).toString();
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
