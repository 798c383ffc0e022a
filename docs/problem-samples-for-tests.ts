/**
 * One failure of every kind, as `docs/problems.md` shows it.
 *
 * The compiler keeps the list complete: a new kind of failure without a sample does not compile.
 */
import type { Failure } from '../router/problem.ts';

type Samples = { [K in Failure['kind']]: Extract<Failure, { kind: K }> };

export const SAMPLES: Samples = {
  'not-found': { kind: 'not-found' },
  'nothing-here': { kind: 'nothing-here' },
  'method-not-allowed': { kind: 'method-not-allowed', allowed: ['GET', 'HEAD'] },
  'malformed-json': { kind: 'malformed-json', why: 'It breaks at character 17.' },
  'invalid-request': {
    kind: 'invalid-request',
    complaints: [{ path: 'email', message: 'Invalid email address' }],
  },
  'body-too-large': { kind: 'body-too-large', bytesMax: 1_048_576 },
  'idempotency-key-malformed': {
    kind: 'idempotency-key-malformed',
    why: 'It is longer than 255 characters',
  },
  'idempotency-key-reused': { kind: 'idempotency-key-reused', home: undefined },
  'idempotency-key-in-flight': { kind: 'idempotency-key-in-flight' },
  'answer-too-large': { kind: 'answer-too-large', bytesMax: 1_048_576 },
  'precondition-failed': { kind: 'precondition-failed', field: 'If-Match', etag: '"3"' },
  'precondition-required': { kind: 'precondition-required', etag: '"3"' },
  'unknown-country': {
    kind: 'unknown-country',
    why: '"UK" is not an ISO 3166-1 alpha-2 code, such as DE or JP. Did you mean GB?',
  },
  'placement-refused': {
    kind: 'placement-refused',
    why: 'The policy needs to know "contract", one of standard, eu-only.',
  },
  'home-not-yours-to-choose': {
    kind: 'home-not-yours-to-choose',
    asked: 'us',
    home: 'eu',
    rule: 'europe',
  },
  'unknown-subject': { kind: 'unknown-subject' },
  'subject-exists': { kind: 'subject-exists', home: 'eu' },
  'session-token-malformed': {
    kind: 'session-token-malformed',
    why: 'not base64url',
    which: undefined,
  },
  'session-token-forged': { kind: 'session-token-forged', which: 'Token 2 of the header' },
  'session-token-foreign': { kind: 'session-token-foreign' },
  'session-tokens-of-two-subjects': { kind: 'session-tokens-of-two-subjects' },
  'session-tokens-too-many': {
    kind: 'session-tokens-too-many',
    why: '65 tokens came; at most 64 are taken. The answer carries one that covers them',
  },
  'session-floor-unmet': {
    kind: 'session-floor-unmet',
    region: 'eu',
    passedOver: [
      { node: 'eu-a', because: 'never_seen' },
      { node: 'eu-b', because: 'behind' },
    ],
  },
  'session-guarantee-lost': {
    kind: 'session-guarantee-lost',
    region: 'eu',
    lost: [{ timeline: 1, seen: 0x3000460n, kept: 0x3000400n }],
  },
  'session-of-other-cluster': { kind: 'session-of-other-cluster', region: 'eu' },
  'session-position-unknown': { kind: 'session-position-unknown', region: 'eu' },
  'staleness-unmet': {
    kind: 'staleness-unmet',
    region: 'eu',
    passedOver: [
      { node: 'eu-a', because: 'never_seen' },
      { node: 'eu-b', because: 'too_stale' },
    ],
  },
  'primary-unconfirmed': {
    kind: 'primary-unconfirmed',
    region: 'eu',
    passedOver: [
      { node: 'eu-b', because: 'not_the_primary' },
      { node: 'eu-a', because: 'not_confirmed' },
    ],
  },
  'strong-unprovable': { kind: 'strong-unprovable' },
  'unknown-consistency': { kind: 'unknown-consistency', why: '"strong" takes no parameter' },
  'residency-unavailable': {
    kind: 'residency-unavailable',
    home: 'eu',
    keptBy: { says: 'failover.scope', file: 'residency.yaml', line: 41 },
  },
  'home-unknown': { kind: 'home-unknown', silent: ['eu'] },
  'claim-undecided': { kind: 'claim-undecided', silent: ['us', 'asia'] },
  'region-unavailable': {
    kind: 'region-unavailable',
    region: 'eu',
    passedOver: [
      { node: 'eu-a', because: 'never_seen' },
      { node: 'eu-b', because: 'seen_too_long_ago' },
    ],
  },
  'write-outcome-unknown': { kind: 'write-outcome-unknown' },
  'write-not-applied': {
    kind: 'write-not-applied',
    why: 'The primary acknowledges no commit now',
  },
  'deadline-exceeded': { kind: 'deadline-exceeded' },
  overloaded: {
    kind: 'overloaded',
    where: { kind: 'node', region: 'eu', node: 'eu-b' },
    retryAfterMs: 340,
  },
  conflict: { kind: 'conflict', constraint: 'users_pkey' },
  'constraint-violated': { kind: 'constraint-violated', constraint: 'orders_total_cents_check' },
  'hop-refused': { kind: 'hop-refused', why: 'the signature does not fit the request' },
  'policy-version-differs': {
    kind: 'policy-version-differs',
    sender: { region: 'us', version: 4 },
    receiver: { region: 'eu', version: 3 },
  },
  misdirected: { kind: 'misdirected', home: 'asia' },
  'home-elsewhere': {
    kind: 'home-elsewhere',
    home: 'eu',
    address: 'https://eu.shop.example/users/ada/messages',
  },
  'transit-refused': {
    kind: 'transit-refused',
    from: 'us',
    home: 'eu',
    address: 'https://eu.shop.example/users/ada/messages',
  },
  'body-before-home': { kind: 'body-before-home' },
  'read-only-route': { kind: 'read-only-route' },
  'not-permitted': { kind: 'not-permitted' },
  'undeclared-in-policy': {
    kind: 'undeclared-in-policy',
    what: 'The mirror "public_profiles"',
  },
  'console-unauthenticated': { kind: 'console-unauthenticated' },
  'console-attempts-limited': { kind: 'console-attempts-limited', retryAfterMs: 700 },
  'console-cross-origin': { kind: 'console-cross-origin' },
  'console-forbidden': { kind: 'console-forbidden', role: 'viewer' },
  'console-nothing-here': { kind: 'console-nothing-here' },
  'console-streams-full': { kind: 'console-streams-full' },
  'console-sign-in-failed': { kind: 'console-sign-in-failed', because: 'not-begun-here' },
  internal: { kind: 'internal' },
};
