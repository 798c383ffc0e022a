/**
 * Who may use the console, by the file that the operators of an installation keep?
 *
 * Hashes of tokens, and issuers of tokens that others sign. Nothing in it lets anybody in: a token
 * cannot be had from its hash, and what an issuer signs is verified with its public keys.
 */
import { createHash } from 'node:crypto';
import * as z from 'zod';
import {
  type Complaint,
  complaintAt,
  type Path,
  quote,
  type Source,
} from '../../regions/yaml-complaint.ts';
import { readYaml } from '../../regions/yaml-file.ts';
import type { ConsoleRole } from './console-state.ts';

/** Signatures that a public key verifies; with a shared secret, whoever verifies could sign. */
export const JWT_ALGORITHMS = [
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA'],
] as const;

const OPERATORS_MAX = 1_000;
const ISSUERS_MAX = 16;
const CLOCK_TOLERANCE_SECONDS_MAX = 300;
const SIGN_IN_MINUTES_MIN = 5;
const SIGN_IN_MINUTES_MAX = 720;
const SIGN_IN_MINUTES = 60;

const role = z
  .enum(['viewer', 'operator'])
  .describe(
    'viewer: sees the console. operator: may look up subjects and announce experiments too.',
  );

const claimValues = z.array(z.string().min(1).max(200)).max(100).optional();

const operator = z.strictObject({
  name: z.string().min(1).max(100).describe('Who it is, for the log and the console.'),
  role,
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'is not a SHA-256: 64 lower-case hexadecimal digits')
    .describe('The SHA-256 of the token, in lower-case hexadecimal digits.'),
});

const signIn = z
  .strictObject({
    clientId: z.string().min(1).max(500).describe('As which client the issuer knows the console.'),
    clientSecretVariable: z
      .string()
      .regex(/^(?!DOMICILE_)[A-Za-z_][A-Za-z0-9_]*$/, 'is no name of a variable of your own')
      .optional()
      .describe('The variable of the environment of an edge that holds the secret of the client.'),
    clientSecretFile: z
      .string()
      .min(1)
      .max(1_000)
      .optional()
      .describe('The file that holds it, as seen from the folder of this file.'),
    redirects: z
      .array(z.string().max(1_000))
      .min(1)
      .max(64)
      .describe('Where the issuer may send a browser back to: one for each address of an edge.'),
    scope: z
      .string()
      .regex(/^[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*$/, 'is no list of words')
      .max(500)
      .optional()
      .describe('What is asked of the issuer; openid is among it. Default: openid.'),
    title: z
      .string()
      .min(1)
      .max(60)
      .optional()
      .describe('What the button says. Default: its host.'),
    minutes: z
      .int()
      .min(SIGN_IN_MINUTES_MIN)
      .max(SIGN_IN_MINUTES_MAX)
      .optional()
      .describe('After how long somebody must sign in there again. Default: 60.'),
  })
  .describe('Lets people sign in on the page of the issuer. Without it they paste its tokens.');

const issuer = z.strictObject({
  issuer: z.string().min(1).max(500).describe('What the claim iss of its tokens says, exactly.'),
  audience: z
    .string()
    .min(1)
    .max(500)
    .describe('What the claim aud must name, so that a token made for another service is refused.'),
  jwks: z.string().max(1_000).describe('Where its public keys are, as a JSON Web Key Set.'),
  algorithms: z
    .array(z.enum(JWT_ALGORITHMS))
    .min(1)
    .describe('The algorithms that its tokens may be signed with.'),
  roles: z
    .strictObject({
      claim: z.string().min(1).max(200).describe('The claim that says what somebody may do.'),
      viewer: claimValues.describe('Values of that claim that make a viewer.'),
      operator: claimValues.describe('Values of that claim that make an operator.'),
    })
    .describe('How a claim becomes a role; a token that has none of these values is refused.'),
  name: z
    .string()
    .min(1)
    .max(200)
    .optional()
    .describe('The claim that names its holder for the log and the console. Default: sub.'),
  clockToleranceSeconds: z
    .int()
    .min(0)
    .max(CLOCK_TOLERANCE_SECONDS_MAX)
    .optional()
    .describe('How far its clock may be from that of an edge. Default: 5.'),
  signIn: signIn.optional(),
});

export const OperatorsFile = z
  .strictObject({
    version: z.literal(1).describe('The version of this file format: 1.'),
    operators: z
      .array(operator)
      .max(OPERATORS_MAX)
      .optional()
      .describe('Who comes with a token of our own.'),
    issuers: z
      .array(issuer)
      .max(ISSUERS_MAX)
      .optional()
      .describe('Whose signed tokens (OpenID Connect, JWT) are taken.'),
  })
  .meta({ title: 'Domicile operators', description: 'Who may use the console of an edge.' });

export type OperatorsFile = z.infer<typeof OperatorsFile>;

export type StaticOperator = { name: string; role: ConsoleRole; sha256: Buffer };
export type Issuer = {
  issuer: string;
  audience: string;
  jwks: string;
  algorithms: readonly string[];
  roles: { claim: string; viewer: readonly string[]; operator: readonly string[] };
  nameClaim: string;
  clockToleranceSeconds: number;
  signIn?: SignIn;
};
export type SecretPlace = { kind: 'variable'; name: string } | { kind: 'file'; path: string };
export type SignIn = {
  clientId: string;
  /** Undefined: the issuer knows the console as a public client, which PKCE protects alone. */
  secret?: SecretPlace;
  redirects: readonly string[];
  scope: string;
  title: string;
  minutes: number;
};
export type Operators = { operators: readonly StaticOperator[]; issuers: readonly Issuer[] };

export type OperatorsReading =
  | { operators: Operators }
  | { complaints: readonly [Complaint, ...Complaint[]] };

const CLOCK_TOLERANCE_SECONDS = 5;

export function readOperators(text: string, file: string): OperatorsReading {
  const reading = readYaml(text, file, OperatorsFile, judge);
  if (!('ok' in reading)) return reading;
  const { operators = [], issuers = [] } = reading.ok;
  return {
    operators: {
      operators: operators.map(({ name, role, sha256 }) => ({
        name,
        role,
        sha256: Buffer.from(sha256, 'hex'),
      })),
      issuers: issuers.map(({ name, roles, clockToleranceSeconds, signIn, ...rest }) => ({
        ...rest,
        ...(signIn !== undefined && { signIn: signInOf(signIn, rest.issuer) }),
        roles: { claim: roles.claim, viewer: roles.viewer ?? [], operator: roles.operator ?? [] },
        nameClaim: name ?? 'sub',
        clockToleranceSeconds: clockToleranceSeconds ?? CLOCK_TOLERANCE_SECONDS,
      })),
    },
  };
}

function signInOf(read: z.infer<typeof signIn>, issuer: string): SignIn {
  const { clientId, clientSecretVariable, clientSecretFile, redirects } = read;
  const secret: SecretPlace | undefined =
    clientSecretVariable !== undefined
      ? { kind: 'variable', name: clientSecretVariable }
      : clientSecretFile !== undefined
        ? { kind: 'file', path: clientSecretFile }
        : undefined;
  return {
    ...{ clientId, redirects },
    ...(secret !== undefined && { secret }),
    scope: read.scope ?? 'openid',
    title: read.title ?? new URL(issuer).host,
    minutes: read.minutes ?? SIGN_IN_MINUTES,
  };
}

/** What stands for an entry as it is: of two that differ in anything no two are alike. */
export function entryOf(entry: StaticOperator | Issuer): string {
  return createHash('sha256').update(JSON.stringify(entry)).digest('base64url');
}

function judge({ operators = [], issuers = [] }: OperatorsFile, source: Source): Complaint[] {
  const complaints: Complaint[] = [];
  const say = (path: Path, message: string) =>
    complaints.push(complaintAt(source, path, { message }));
  if (operators.length + issuers.length === 0) {
    say([], 'lets nobody in: name operators or issuers, or start without this file');
  }
  const once = (taken: Map<string, number>, what: string, index: number, path: Path) => {
    const first = taken.get(what);
    if (first === undefined) taken.set(what, index);
    else say(path, `is that of entry ${first + 1} already`);
  };
  const names = new Map<string, number>();
  const hashes = new Map<string, number>();
  operators.forEach(({ name, sha256 }, index) => {
    once(names, name, index, ['operators', index, 'name']);
    once(hashes, sha256, index, ['operators', index, 'sha256']);
  });
  const known = new Map<string, number>();
  const backs = new Map<string, number>();
  issuers.forEach(({ issuer, jwks, roles, signIn }, index) => {
    once(known, issuer, index, ['issuers', index, 'issuer']);
    const path = ['issuers', index];
    if (signIn !== undefined) {
      const at = [...path, 'signIn'];
      const { clientSecretVariable, clientSecretFile, scope, redirects } = signIn;
      if (!isTrustedAddress(issuer)) {
        say([...path, 'issuer'], `${quote(issuer)} is no https address, nor http on this machine`);
      }
      if (clientSecretVariable !== undefined && clientSecretFile !== undefined) {
        say(at, 'names two places of the secret: keep one');
      }
      if (scope !== undefined && !scope.split(' ').includes('openid')) {
        say([...at, 'scope'], 'lacks openid, without which nobody is named');
      }
      const paths = new Set(redirects.map(backPath));
      redirects.forEach((redirect, n) => {
        if (backPath(redirect) === undefined) {
          const form = 'https://…/console/sign-in/callback, or that with one more word behind it';
          say([...at, 'redirects', n], `${quote(redirect)} is not ${form}`);
        }
      });
      // What comes back at the place of one issuer was not sent by another one.
      for (const back of paths)
        if (back !== undefined) once(backs, back, index, [...at, 'redirects']);
    }
    if (!isTrustedAddress(jwks)) {
      say([...path, 'jwks'], `${quote(jwks)} is no https address, nor http on this machine`);
    }
    const { viewer = [], operator = [] } = roles;
    if (viewer.length + operator.length === 0) {
      say([...path, 'roles'], 'makes nobody anything: name values for viewer or operator');
    }
    const both = viewer.find((value) => operator.includes(value));
    if (both !== undefined)
      say([...path, 'roles'], `${quote(both)} makes both, viewer and operator`);
  });
  return complaints;
}

/** The path of an address to come back to; undefined for what is none. */
function backPath(redirect: string): string | undefined {
  if (!isTrustedAddress(redirect)) return undefined;
  const { pathname, search, hash, username } = new URL(redirect);
  if (search + hash + username !== '') return undefined;
  return /^\/console\/sign-in\/callback(\/[a-z0-9-]+)?$/.test(pathname) ? pathname : undefined;
}

/** Keys that came over a line that anybody may change verify nothing. */
export function isTrustedAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  if (protocol === 'https:') return true;
  return protocol === 'http:' && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}
