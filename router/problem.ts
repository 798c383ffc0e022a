/**
 * How does a failure look over HTTP?
 *
 * As RFC 9457 problem details. Every kind of failure has one case here, one heading in
 * `docs/problems.md`, and says whether asking again is safe. Nothing else writes an error response.
 */
import { HTTPException } from 'hono/http-exception';
import { LEVELS } from '../policies/consistency.ts';
import type { PassedOver } from '../policies/place-read.ts';
import type { KeptBy } from '../policies/why-nowhere-else.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { formatLsn, type Lsn } from '../regions/position.ts';

/**
 * - `safe`: nothing happened, or the method is safe; send the same request again.
 * - `after-change`: the same request would fail the same way; change what the problem names.
 * - `same-key-only`: it may have happened; look first, or retry under an idempotency key.
 */
export type Retry = 'safe' | 'after-change' | 'same-key-only';

export type Failure =
  | { kind: 'not-found' }
  | { kind: 'nothing-here' }
  | { kind: 'method-not-allowed'; allowed: readonly string[] }
  | { kind: 'malformed-json'; why: string }
  | { kind: 'invalid-request'; complaints: readonly { path: string; message: string }[] }
  | { kind: 'body-too-large'; bytesMax: number }
  | { kind: 'idempotency-key-malformed'; why: string }
  /** The home is said where the key has created, or is creating, a subject elsewhere. */
  | { kind: 'idempotency-key-reused'; home: RegionId | undefined }
  | { kind: 'idempotency-key-in-flight' }
  | { kind: 'answer-too-large'; bytesMax: number }
  /** The tag of what is stored now; undefined when nothing is. */
  | { kind: 'precondition-failed'; field: PreconditionField; etag: string | undefined }
  | { kind: 'precondition-required'; etag: string | undefined }
  | { kind: 'unknown-country'; why: string }
  | { kind: 'placement-refused'; why: string }
  | { kind: 'home-not-yours-to-choose'; asked: RegionId; home: RegionId; rule: string }
  | { kind: 'unknown-subject' }
  | { kind: 'subject-exists'; home: RegionId }
  | { kind: 'session-token-malformed'; why: string; which: WhichToken }
  | { kind: 'session-token-forged'; which: WhichToken }
  | { kind: 'session-token-foreign' }
  | { kind: 'session-tokens-of-two-subjects' }
  | { kind: 'session-tokens-too-many'; why: string }
  | { kind: 'session-floor-unmet'; region: RegionId; passedOver: readonly PassedOver[] }
  | { kind: 'session-guarantee-lost'; region: RegionId; lost: readonly LostPosition[] }
  | { kind: 'session-of-other-cluster'; region: RegionId }
  | { kind: 'session-position-unknown'; region: RegionId }
  | { kind: 'staleness-unmet'; region: RegionId; passedOver: readonly PassedOver[] }
  | { kind: 'primary-unconfirmed'; region: RegionId; passedOver: readonly PassedOver[] }
  | { kind: 'strong-unprovable' }
  | { kind: 'unknown-consistency'; why: string }
  /** `retryAfterMs` when the home was not even tried, because it has not answered lately. */
  | { kind: 'residency-unavailable'; home: RegionId; keptBy: KeptBy; retryAfterMs?: number }
  | { kind: 'home-unknown'; silent: readonly RegionId[] }
  | { kind: 'claim-undecided'; silent: readonly RegionId[] }
  | { kind: 'region-unavailable'; region: RegionId; passedOver: readonly PassedOver[] }
  | { kind: 'write-outcome-unknown' }
  | { kind: 'write-not-applied'; why: string }
  | { kind: 'deadline-exceeded' }
  | { kind: 'overloaded'; where: Bottleneck; retryAfterMs: number }
  | { kind: 'conflict'; constraint: string | undefined }
  | { kind: 'constraint-violated'; constraint: string | undefined }
  | { kind: 'hop-refused'; why: string }
  | { kind: 'policy-version-differs'; sender: RegionPolicy; receiver: RegionPolicy }
  | { kind: 'misdirected'; home: RegionId | undefined }
  | { kind: 'home-elsewhere'; home: RegionId; address: string }
  | { kind: 'transit-refused'; from: RegionId; home: RegionId; address: string }
  | { kind: 'body-before-home' }
  | { kind: 'read-only-route' }
  | { kind: 'not-permitted' }
  | { kind: 'undeclared-in-policy'; what: string }
  | { kind: 'console-unauthenticated' }
  | { kind: 'console-attempts-limited'; retryAfterMs: number }
  | { kind: 'console-cross-origin' }
  | { kind: 'console-forbidden'; role: string }
  | { kind: 'console-nothing-here' }
  | { kind: 'console-streams-full' }
  | { kind: 'console-sign-in-failed'; because: SignInFailure }
  | { kind: 'internal' };

/** Why somebody who came back from the sign-in page of an issuer was not let in. */
export type SignInFailure =
  /** The edge was asked by an address to which the issuer may not send anybody back. */
  | 'other-address'
  | 'not-begun-here'
  | 'too-late'
  | 'issuer-refused'
  | 'issuer-silent'
  | 'not-allowed';

/** What a session had seen of a timeline that ended earlier; `kept` undefined: it led nowhere. */
export type LostPosition = { timeline: number; seen: Lsn; kept: Lsn | undefined };

/** In words, where several came. */
export type WhichToken = string | undefined;

/** Where so many wait that one more would only wait in vain. */
export type Bottleneck =
  | { kind: 'edge'; region: RegionId }
  | { kind: 'node'; region: RegionId; node: string }
  /** The way there: the region itself may be well. */
  | { kind: 'region'; region: RegionId };

export type PreconditionField = 'If-Match' | 'If-None-Match';
export type RegionPolicy = { region: RegionId; version: number };

type Description = {
  status: number;
  title: string;
  detail: string;
  retry: Retry;
  /** Members beside the standard ones, named in docs/problems.md. */
  [extension: string]: unknown;
};

/** Problem types are headings of this page; a relative reference keeps them true offline. */
export const CATALOGUE = '/docs/problems.md';

export function problem(failure: Failure): Response {
  const { status, ...rest } = describe(failure);
  const headers = {
    'content-type': 'application/problem+json',
    // An answer about a person is nobody's to keep, a refusal included.
    'cache-control': 'private, no-store',
    ...(failure.kind === 'method-not-allowed' && { allow: failure.allowed.join(', ') }),
    ...(failure.kind === 'idempotency-key-in-flight' && { 'retry-after': '1' }),
    ...('retryAfterMs' in failure && { 'retry-after': wholeSeconds(failure.retryAfterMs) }),
  };
  const body = { type: `${CATALOGUE}#${failure.kind}`, status, ...rest };
  return new Response(JSON.stringify(body), { status, headers });
}

/** Never before there is a chance: rounded up, and at least one. */
function wholeSeconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1_000)));
}

/** Thrown through a handler to end its request with a problem. */
export class Refusal extends HTTPException {
  readonly failure: Failure;
  constructor(failure: Failure) {
    super(describe(failure).status as ConstructorParameters<typeof HTTPException>[0], {
      message: failure.kind,
    });
    this.name = 'Refusal';
    this.failure = failure;
  }
  override getResponse(): Response {
    return problem(this.failure);
  }
}

function describe(failure: Failure): Description {
  switch (failure.kind) {
    case 'not-found':
      return {
        status: 404,
        title: 'No such route',
        detail: 'This app has no route of that path.',
        retry: 'after-change',
      };
    case 'nothing-here':
      return {
        status: 404,
        title: 'Nothing is stored here',
        detail: 'The route exists and the app found nothing under this address.',
        retry: 'after-change',
      };
    case 'method-not-allowed':
      return {
        status: 405,
        title: 'The route does not take this method',
        detail: `It takes ${failure.allowed.join(', ')}.`,
        retry: 'after-change',
        allowed: failure.allowed,
      };
    case 'malformed-json':
      return {
        status: 400,
        title: 'The body is not JSON',
        detail: failure.why,
        retry: 'after-change',
      };
    case 'invalid-request':
      return {
        status: 422,
        title: 'The request does not have the expected shape',
        detail: failure.complaints.map(({ path, message }) => `${path}: ${message}`).join('; '),
        retry: 'after-change',
        complaints: failure.complaints,
      };
    case 'body-too-large':
      return {
        status: 413,
        title: 'The body is too large',
        detail: `At most ${failure.bytesMax} bytes are taken.`,
        retry: 'after-change',
        bytesMax: failure.bytesMax,
      };
    case 'idempotency-key-malformed':
      return {
        status: 400,
        title: 'The idempotency key is not one',
        detail: `${failure.why}. Nothing was changed.`,
        retry: 'after-change',
      };
    case 'idempotency-key-reused':
      return {
        status: 422,
        title: 'The idempotency key belongs to another request',
        detail:
          failure.home === undefined
            ? 'It came before with another method, address or body. Nothing was changed by this request.'
            : `It has created, or is creating, a subject whose home is "${failure.home}", and this request would be placed elsewhere. Nothing was changed by this request.`,
        retry: 'after-change',
        home: failure.home,
      };
    case 'idempotency-key-in-flight':
      return {
        status: 409,
        title: 'A request with this idempotency key is under way',
        detail:
          'Its outcome is not known yet. Send the same request again, with the same key, to hear it.',
        retry: 'safe',
      };
    case 'answer-too-large':
      return {
        status: 500,
        title: 'The answer is too large to be kept',
        detail: `An answer to a request with an idempotency key has at most ${failure.bytesMax} bytes. Nothing was changed.`,
        retry: 'after-change',
        bytesMax: failure.bytesMax,
      };
    case 'precondition-failed':
      return {
        status: 412,
        title: 'It is not the version that was asked for',
        detail: `${failure.field} does not allow this for what is stored now, ${failure.etag === undefined ? 'which is nothing' : `whose ETag is ${failure.etag}`}. Nothing was changed.`,
        retry: 'after-change',
        etag: failure.etag,
      };
    case 'precondition-required':
      return {
        status: 428,
        title: 'The request must say which version it changes',
        detail:
          'Without If-Match it could undo a change that its sender has not seen. Nothing was changed.',
        retry: 'after-change',
        etag: failure.etag,
      };
    case 'unknown-country':
      return {
        status: 422,
        title: 'No such country',
        detail: failure.why,
        retry: 'after-change',
      };
    case 'placement-refused':
      return {
        status: 422,
        title: 'The policy gives this subject no home',
        detail: failure.why,
        retry: 'after-change',
      };
    case 'home-not-yours-to-choose':
      return {
        status: 403,
        title: 'The policy, not the caller, chooses the home',
        detail: `The home "${failure.asked}" was asked for; rule "${failure.rule}" places this subject in "${failure.home}". Nothing was stored.`,
        retry: 'after-change',
        asked: failure.asked,
        home: failure.home,
        rule: failure.rule,
      };
    case 'unknown-subject':
      return {
        status: 404,
        title: 'No such subject',
        detail: 'Every region was asked and none has a subject of this id.',
        retry: 'after-change',
      };
    case 'subject-exists':
      return {
        status: 409,
        title: 'The subject exists already',
        detail: `It is at home in "${failure.home}". Nothing was stored.`,
        retry: 'after-change',
        home: failure.home,
      };
    case 'session-token-malformed':
      return {
        status: 400,
        title: 'The session token is not one',
        detail: `${whichText(failure.which)}${failure.why}. Send it as it was received, or leave it out and lose its guarantees.`,
        retry: 'after-change',
      };
    case 'session-token-forged':
      return {
        status: 401,
        title: 'The session token was not issued here',
        detail: `${whichText(failure.which)}Its signature fits no live key. Leave it out to begin a new session.`,
        retry: 'after-change',
      };
    case 'session-token-foreign':
      return {
        status: 403,
        title: 'The session token is of another subject',
        detail: 'A token serves only the subject that it was issued for.',
        retry: 'after-change',
      };
    case 'session-tokens-of-two-subjects':
      return {
        status: 403,
        title: 'The session tokens are of two subjects',
        detail:
          'Tokens that come together are merged into one session, and a session is of one subject.',
        retry: 'after-change',
      };
    case 'session-tokens-too-many':
      return {
        status: 400,
        title: 'Too many session tokens came with the request',
        detail: `${failure.why}.`,
        retry: 'after-change',
      };
    case 'session-floor-unmet':
      return {
        status: 503,
        title: 'No copy here has what this session has seen',
        detail: `No node of "${failure.region}" could show the session's last state within the budget, and an older one is not served.`,
        retry: 'safe',
        region: failure.region,
        passedOver: failure.passedOver,
      };
    case 'session-guarantee-lost':
      return {
        status: 409,
        title: 'Something this session has seen is gone',
        detail: `"${failure.region}" lost its primary before ${lossText(failure.lost)} had reached the server that took over. Writes acknowledged under asynchronous replication, and what was read of them, may be missing. The answer carries a fresh session; look at the data before you go on.`,
        retry: 'after-change',
        region: failure.region,
        lost: failure.lost.map(({ timeline, seen, kept }) => ({
          timeline,
          seen: formatLsn(seen),
          ...(kept !== undefined && { kept: formatLsn(kept) }),
        })),
      };
    case 'session-of-other-cluster':
      return {
        status: 409,
        title: 'The session is of another database cluster',
        detail: `"${failure.region}" was set up anew since this session last saw it, so nobody can say whether what it saw is there. The answer carries a fresh session.`,
        retry: 'after-change',
        region: failure.region,
      };
    case 'session-position-unknown':
      return {
        status: 409,
        title: 'The session has seen more than there is',
        detail: `"${failure.region}" has never written as far as this session says that it has read, as after a restore from a backup. The answer carries a fresh session.`,
        retry: 'after-change',
        region: failure.region,
      };
    case 'staleness-unmet':
      return {
        status: 503,
        title: 'No copy is as fresh as was asked for',
        detail: `No node of "${failure.region}" can prove that it is within max-staleness. Nothing older is served.`,
        retry: 'safe',
        region: failure.region,
        passedOver: failure.passedOver,
      };
    case 'primary-unconfirmed':
      return {
        status: 503,
        title: 'The primary could not prove that it is one',
        detail: `The primary of "${failure.region}" did not get a commit acknowledged in time, so it may have been replaced. What it would have answered is not shown.`,
        retry: 'safe',
        region: failure.region,
        passedOver: failure.passedOver,
      };
    case 'strong-unprovable':
      return {
        status: 503,
        title: 'This region cannot prove a strong read now',
        detail:
          'Commits of its primary wait for no standby, so a primary that was replaced could not be told from the present one.',
        retry: 'after-change',
      };
    case 'unknown-consistency':
      return {
        status: 400,
        title: 'Domicile-Consistency asks for no known level',
        detail: `${failure.why}. The levels are: ${LEVELS}.`,
        retry: 'after-change',
      };
    case 'residency-unavailable': {
      const { home, keptBy } = failure;
      return {
        status: 503,
        title: 'The only region where this data may be does not answer',
        detail: `The data is at home in "${home}", and the policy lets nobody serve or create it elsewhere (${keptBy.says}, ${keptBy.file} line ${keptBy.line}). Nothing was changed.`,
        retry: 'safe',
        home,
        rule: keptBy,
      };
    }
    case 'home-unknown':
      return {
        status: 503,
        title: 'The home of this subject could not be found out',
        detail: `This region has not heard of the subject, and ${list(failure.silent)} did not answer.`,
        retry: 'safe',
        silent: failure.silent,
      };
    case 'claim-undecided':
      return {
        status: 503,
        title: 'The id could not be claimed',
        detail: `A chosen id must be unique in all regions, which takes a majority of them; ${list(failure.silent)} did not answer. Nothing was stored. Without an id of your own choice no other region is asked.`,
        retry: 'safe',
        silent: failure.silent,
      };
    case 'region-unavailable':
      return {
        status: 503,
        title: 'The home region has no node that can serve this',
        detail: `No node of "${failure.region}" can take the request now. Nothing was changed.`,
        retry: 'safe',
        region: failure.region,
        passedOver: failure.passedOver,
      };
    case 'write-outcome-unknown':
      // The link died after COMMIT left us, so "it failed" would be a guess.
      return {
        status: 504,
        title: 'The write may have happened',
        detail:
          'The connection ended before the outcome was known, and the write may also take effect later. A second one may do it twice.',
        retry: 'same-key-only',
      };
    case 'write-not-applied':
      return {
        status: 503,
        title: 'The write did not happen',
        detail: `${failure.why}. Nothing was changed.`,
        retry: 'safe',
      };
    case 'deadline-exceeded':
      return {
        status: 504,
        title: 'The read took too long',
        detail: 'The request used up its budget of time. Nothing was changed.',
        retry: 'safe',
      };
    case 'overloaded':
      return {
        status: 503,
        title: 'Too many requests wait already',
        detail: `${bottleneckInWords(failure.where)}. The request was turned away before any work was done.`,
        retry: 'safe',
        where: failure.where.kind,
        region: failure.where.region,
        ...(failure.where.kind === 'node' && { node: failure.where.node }),
      };
    case 'conflict':
      return {
        status: 409,
        title: 'The write conflicts with what is stored',
        detail: `Constraint "${failure.constraint ?? 'unnamed'}" stands against it. Nothing was changed.`,
        retry: 'after-change',
        constraint: failure.constraint,
      };
    case 'constraint-violated':
      return {
        status: 422,
        title: 'The values break a rule of the schema',
        detail:
          failure.constraint === undefined
            ? 'A value does not fit its column. Nothing was changed.'
            : `Constraint "${failure.constraint}" stands against it. Nothing was changed.`,
        retry: 'after-change',
        constraint: failure.constraint,
      };
    case 'hop-refused':
      return {
        status: 401,
        title: 'The hop between edges is not genuine',
        detail: failure.why,
        retry: 'after-change',
      };
    case 'policy-version-differs': {
      const { sender, receiver } = failure;
      return {
        status: 503,
        title: 'The two regions have different policy versions in force',
        detail: `"${sender.region}" decided under version ${sender.version}, "${receiver.region}" is under version ${receiver.version}. No handler ran and nothing was changed.`,
        retry: 'safe',
        versions: {
          [sender.region]: sender.version,
          [receiver.region]: receiver.version,
        },
      };
    }
    case 'misdirected':
      return {
        status: 421,
        title: 'This region is not the home',
        detail: `A request is forwarded once. This edge finds the home in "${failure.home ?? 'no region'}".`,
        retry: 'safe',
        home: failure.home,
      };
    case 'home-elsewhere':
      return {
        status: 421,
        title: 'This request must go to the home itself',
        detail: `The policy sends it to "${failure.home}" before its body is read. Nothing was read or changed.`,
        retry: 'after-change',
        home: failure.home,
        address: failure.address,
      };
    case 'transit-refused':
      return {
        status: 421,
        title: 'This request came through another region, which the policy forbids',
        detail: `An edge of "${failure.from}" forwarded it instead of redirecting the client to "${failure.home}". Nothing was read or changed.`,
        retry: 'after-change',
        from: failure.from,
        home: failure.home,
        address: failure.address,
      };
    case 'body-before-home':
      return {
        status: 500,
        title: 'The app reads the body before the home is known',
        detail:
          'The policy lets this body be read at the home only, so what decides the home must come from the header fields or the address. Nothing was read or changed.',
        retry: 'after-change',
      };
    case 'read-only-route':
      return {
        status: 500,
        title: 'The handler tried to write in a read route',
        detail: 'GET and HEAD get a connection that cannot write. Mark the route with writes().',
        retry: 'after-change',
      };
    case 'not-permitted':
      return {
        status: 500,
        title: 'The handler reached for rows that it may not touch',
        detail:
          'PostgreSQL refused the statement: the rows belong to another subject or another home, or the table is not open to this route. The statement changed nothing.',
        retry: 'after-change',
      };
    case 'undeclared-in-policy':
      return {
        status: 500,
        title: 'The policy does not declare this',
        detail: `${failure.what} is not in the policy, so it is served nowhere.`,
        retry: 'after-change',
      };
    case 'console-unauthenticated':
      return {
        status: 401,
        title: 'Nothing here is for everybody',
        detail: 'Sign in, or send a token that is known here. Nothing was read or changed.',
        retry: 'after-change',
      };
    case 'console-attempts-limited':
      return {
        status: 429,
        title: 'Too many wrong tokens came from this address',
        detail: 'This one was not looked at. Nothing was read or changed.',
        retry: 'safe',
      };
    case 'console-cross-origin':
      return {
        status: 403,
        title: 'The request does not come from the page of this console',
        detail:
          'Another page may have made the browser send it. Scripts send "Authorization: Bearer" and no cookie. Nothing was read or changed.',
        retry: 'after-change',
      };
    case 'console-forbidden':
      return {
        status: 403,
        title: 'Only operators may do this',
        detail: `You are signed in as ${failure.role}. Nothing was read or changed.`,
        retry: 'after-change',
      };
    case 'console-nothing-here':
      return {
        status: 404,
        title: 'The console has nothing here',
        detail: 'No page, no question and no recorded trace has this address.',
        retry: 'after-change',
      };
    case 'console-streams-full':
      return {
        status: 503,
        title: 'Too many watch this console',
        detail: 'Close a page that nobody looks at, or ask for the state instead of the stream.',
        retry: 'safe',
      };
    case 'console-sign-in-failed':
      return {
        status: failure.because === 'issuer-silent' ? 503 : 403,
        title: 'Signing in did not come about',
        detail: SIGN_IN_FAILURES[failure.because],
        retry: failure.because === 'issuer-silent' ? 'safe' : 'after-change',
      };
    case 'internal':
      return {
        status: 500,
        title: 'The app failed',
        detail: 'The edge logged the reason. Whether anything was changed, the app has to say.',
        retry: 'same-key-only',
      };
  }
}

function whichText(which: WhichToken): string {
  return which === undefined ? '' : `${which}: `;
}

function lossText(lost: readonly LostPosition[]): string {
  return lost
    .map(({ timeline, seen, kept }) =>
      kept === undefined
        ? `position ${formatLsn(seen)} of timeline ${timeline}`
        : `what lies between ${formatLsn(kept)} and ${formatLsn(seen)} of timeline ${timeline}`,
    )
    .join(' and ');
}

function bottleneckInWords(where: Bottleneck): string {
  switch (where.kind) {
    case 'edge':
      return `An edge of "${where.region}" has as much to do as it can do in time`;
    case 'node':
      return `Too many wait for a connection to "${where.node}" in "${where.region}"`;
    case 'region':
      return `As many requests are on their way to "${where.region}" as may be`;
  }
}

function list(regions: readonly RegionId[]): string {
  return regions.map((region) => `"${region}"`).join(' and ');
}

const SIGN_IN_FAILURES: Readonly<Record<SignInFailure, string>> = {
  'other-address':
    'The operators file names no place to come back to below the address by which this edge was asked.',
  'not-begun-here':
    'What came back does not belong to a sign-in that this browser has begun at this edge. Begin anew.',
  'too-late': 'It took too long. Begin anew.',
  'issuer-refused': 'The issuer did not let you in, or the code was used or is over. Begin anew.',
  'issuer-silent': 'The issuer does not answer as it should; the log of the edge says how.',
  'not-allowed': 'The issuer let you in, and the operators file gives you no role here.',
};
