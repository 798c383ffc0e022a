/**
 * Did an issuer that we trust sign this token for us, and whom does it name?
 *
 * The one door to `jose`. Signature, issuer, audience, algorithm and times are checked by it; which
 * issuer is asked follows from the token's own claim, which is believed only after its keys fit. Keys
 * are kept, and asked for anew when a token names one that is not there, though not for every such.
 */
import { createRemoteJWKSet, decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import type { ConsoleRole } from './console-state.ts';
import type { ForSignIn, Person, VerifyJwt } from './credentials.ts';
import { entryOf, type Issuer } from './operators-file.ts';

export type JwtOptions = {
  issuers: readonly Issuer[];
  /** Milliseconds since the epoch. */
  wallClock: () => number;
  log: (line: Record<string, unknown>) => void;
};

/** An operator waits for it. */
const KEYS_MS_MAX = 3_000;
/** After keys were asked for, a token with an unknown one makes nobody ask for so long. */
const KEYS_AGAIN_MS = 30_000;
/** A key that its issuer has withdrawn is believed for so long at most. */
const KEYS_KEPT_MS = 10 * 60_000;
const NAME_CHARS_MAX = 100;

/** What is wrong with the token itself; anything else is wrong with the issuer or the way there. */
const OF_THE_TOKEN = [
  errors.JWTClaimValidationFailed,
  errors.JWTExpired,
  errors.JWTInvalid,
  errors.JWSInvalid,
  errors.JWSSignatureVerificationFailed,
  errors.JOSEAlgNotAllowed,
  errors.JOSENotSupported,
  errors.JWKSNoMatchingKey,
  errors.JWKSMultipleMatchingKeys,
];

export function jwtVerifier({ issuers, wallClock, log }: JwtOptions): VerifyJwt {
  const known = new Map(
    issuers.map((issuer) => [
      issuer.issuer,
      {
        issuer,
        keys: createRemoteJWKSet(new URL(issuer.jwks), {
          timeoutDuration: KEYS_MS_MAX,
          cooldownDuration: KEYS_AGAIN_MS,
          cacheMaxAge: KEYS_KEPT_MS,
        }),
      },
    ]),
  );
  return async (token, signIn) => {
    const trusted = known.get(claimedIssuer(token) ?? '');
    if (trusted === undefined) return undefined;
    const { issuer, keys } = trusted;
    try {
      const { payload } = await jwtVerify(token, keys, {
        issuer: issuer.issuer,
        audience: signIn?.audience ?? issuer.audience,
        algorithms: [...issuer.algorithms],
        clockTolerance: issuer.clockToleranceSeconds,
        currentDate: new Date(wallClock()),
        requiredClaims: signIn === undefined ? ['exp', 'sub'] : ['exp', 'sub', 'iat', 'nonce'],
      });
      if (signIn !== undefined && !isForSignIn(payload, signIn)) return undefined;
      return personOf(payload, issuer);
    } catch (error) {
      if (!OF_THE_TOKEN.some((kind) => error instanceof kind)) {
        // Its message may quote what was asked.
        const why = error instanceof Error ? error.name : 'unknown';
        log({ level: 'warn', event: 'console-issuer-keys', issuer: issuer.issuer, why });
      }
      return undefined;
    }
  };
}

/** OpenID Connect Core, section 3.1.3.7: of this sign-in, and given to no other client. */
function isForSignIn({ nonce, aud, azp }: JWTPayload, signIn: ForSignIn): boolean {
  if (nonce !== signIn.nonce) return false;
  if (azp !== undefined) return azp === signIn.audience;
  return !Array.isArray(aud) || aud.length === 1;
}

/** Nothing is checked. */
function claimedIssuer(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    return undefined;
  }
}

function personOf(payload: JWTPayload, entry: Issuer): Person | undefined {
  const { issuer, roles, nameClaim } = entry;
  const { sub, exp } = payload;
  const role = roleOf(claimAt(payload, roles.claim), roles);
  if (role === undefined || sub === undefined || exp === undefined) return undefined;
  const named = claimAt(payload, nameClaim);
  const name = (typeof named === 'string' && named !== '' ? named : sub).slice(0, NAME_CHARS_MAX);
  return { id: `${issuer} ${sub}`, name, role, entry: entryOf(entry), expiresAtMs: exp * 1_000 };
}

/** One value, a list of them, or several in one text as in `scope`. */
function roleOf(value: unknown, { viewer, operator }: Issuer['roles']): ConsoleRole | undefined {
  const texts = (Array.isArray(value) ? value : [value]).filter((one) => typeof one === 'string');
  const has = (wanted: readonly string[]) =>
    wanted.some((one) => texts.some((text) => text === one || text.split(' ').includes(one)));
  if (has(operator)) return 'operator';
  return has(viewer) ? 'viewer' : undefined;
}

/** `realm_access.roles` is a key inside another, unless a claim has just that name. */
function claimAt(payload: JWTPayload, path: string): unknown {
  if (Object.hasOwn(payload, path)) return payload[path];
  let here: unknown = payload;
  for (const step of path.split('.')) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Record<string, unknown>)[step];
  }
  return here;
}
