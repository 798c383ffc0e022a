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
      issuers: issuers.map(({ name, roles, clockToleranceSeconds, ...rest }) => ({
        ...rest,
        roles: { claim: roles.claim, viewer: roles.viewer ?? [], operator: roles.operator ?? [] },
        nameClaim: name ?? 'sub',
        clockToleranceSeconds: clockToleranceSeconds ?? CLOCK_TOLERANCE_SECONDS,
      })),
    },
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
  issuers.forEach(({ issuer, jwks, roles }, index) => {
    once(known, issuer, index, ['issuers', index, 'issuer']);
    const path = ['issuers', index];
    if (!isKeyAddress(jwks)) {
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

/** Keys that came over a line that anybody may change verify nothing. */
function isKeyAddress(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname } = new URL(text);
  if (protocol === 'https:') return true;
  return protocol === 'http:' && /^(localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}
