/**
 * Was it done, was it not, or does nobody know?
 *
 * As docs/problems.md promises it, and no more: a refusal counts as `fail` only if its page says that
 * the request has changed nothing. Whatever is not on this list, a 5xx of something in between, an
 * answer cut short, is `unknown`. So a system that promises too much is found out, and one that
 * promises little is not accused.
 */
import type { Exchange } from './ask-edge.ts';

export type AttemptOutcome =
  | { kind: 'ok'; body: unknown }
  /** `again`: the answer says that the same request may be sent once more. */
  | { kind: 'fail'; because: string; again: boolean }
  | { kind: 'unknown'; because: string };

/** Kinds of problems that say of their own request: nothing was done. */
export const NOTHING_DONE: ReadonlySet<string> = new Set([
  'answer-too-large',
  'body-before-home',
  'body-too-large',
  'claim-undecided',
  'conflict',
  'constraint-violated',
  'deadline-exceeded',
  'home-elsewhere',
  'home-not-yours-to-choose',
  'home-unknown',
  'hop-refused',
  'idempotency-key-malformed',
  'idempotency-key-reused',
  'invalid-request',
  'malformed-json',
  'method-not-allowed',
  'misdirected',
  'not-found',
  'nothing-here',
  'overloaded',
  'placement-refused',
  'policy-version-differs',
  'precondition-failed',
  'precondition-required',
  'primary-unconfirmed',
  'region-unavailable',
  'residency-unavailable',
  'session-floor-unmet',
  'session-guarantee-lost',
  'session-of-other-cluster',
  'session-position-unknown',
  'session-token-foreign',
  'session-token-forged',
  'session-token-malformed',
  'session-tokens-of-two-subjects',
  'session-tokens-too-many',
  'staleness-unmet',
  'strong-unprovable',
  'subject-exists',
  'transit-refused',
  'undeclared-in-policy',
  'unknown-consistency',
  'unknown-country',
  'unknown-subject',
  'write-not-applied',
]);

/** A retry is said to be safe, or a change is asked for, and yet something may have been done. */
export const MAY_BE_DONE: ReadonlySet<string> = new Set([
  // It speaks of a request before it, which is under way.
  'idempotency-key-in-flight',
  // Only the statement changed nothing; what the handler made of that, it has to say itself.
  'not-permitted',
  'read-only-route',
]);

/** The session of the answer begins anew, because what it had seen is gone or cannot be found. */
export const SESSION_BEGINS_ANEW: ReadonlySet<string> = new Set([
  'session-guarantee-lost',
  'session-of-other-cluster',
  'session-position-unknown',
]);

export function readOutcome(exchange: Exchange): AttemptOutcome {
  if (exchange.kind === 'unanswered') {
    const { sent, why } = exchange;
    if (sent) return { kind: 'unknown', because: why };
    return { kind: 'fail', because: `not connected: ${why}`, again: true };
  }
  const { status, text } = exchange;
  if (status >= 200 && status < 300) {
    const body = parsed(text);
    if (body !== undefined) return { kind: 'ok', body };
    return { kind: 'unknown', because: `${status} without JSON` };
  }
  const problem = problemOf(exchange);
  if (problem === undefined) return { kind: 'unknown', because: `${status} without a problem` };
  const { kind, retry } = problem;
  if (!NOTHING_DONE.has(kind) || retry === 'same-key-only') {
    return { kind: 'unknown', because: kind };
  }
  return {
    kind: 'fail',
    because: kind,
    again: retry === 'safe' || SESSION_BEGINS_ANEW.has(kind),
  };
}

/** The kind of a problem, and whether it may be retried; undefined for an answer that is none. */
export function problemOf(
  exchange: Extract<Exchange, { kind: 'answered' }>,
): { kind: string; retry: unknown } | undefined {
  const { headers, text } = exchange;
  if (!headers['content-type']?.startsWith('application/problem+json')) return undefined;
  const body = parsed(text) as { type?: unknown; retry?: unknown } | undefined;
  const kind = typeof body?.type === 'string' ? body.type.split('#')[1] : undefined;
  return kind === undefined ? undefined : { kind, retry: body?.retry };
}

/** Undefined for what is no JSON object. */
function parsed(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
