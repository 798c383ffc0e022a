/**
 * Which session does a request bring, and how does its answer give it back?
 *
 * A client may hold several tokens, because answers to requests that ran at once each bring one. It
 * sends all that it has, they are merged, and the answer's token covers them: the client then drops
 * what it sent and keeps what came. So it does not matter in which order answers arrive. A browser
 * does the same without knowing, because each token is a cookie of its own name, and an answer ends
 * the cookies that came with its request.
 */
import { merge, NO_SESSION, regionsOf, type Session } from '../policies/session.ts';
import { REGIONS_MAX } from '../regions/read-catalogue.ts';
import type { Failure } from './problem.ts';
import type { SessionTokens } from './session-token.ts';

export const SESSION_HEADER = 'domicile-session';
/** The name of a cookie begins with this and goes on with the end of its token. */
export const SESSION_COOKIE = 'domicile-session';

/**
 * A client that does what is asked of it has as many tokens as answers to requests that ran at the
 * same time; browsers let about a hundred run on one connection, and half of them change nothing.
 */
export const TOKENS_MAX = 64;

/** Of the 43 characters that sign a token, enough that no two cookies of a browser share a name. */
const NAME_CHARS = 8;

export type SessionCookie = { name: string; token: string };

/** What the answer does to the client's cookies. */
export type CookieDuty = {
  /**
   * `none`: the client keeps its session itself. `when-told`: they are replaced with the next token.
   * `now`: they are not to come again.
   */
  kind: 'none' | 'when-told' | 'now';
  spent: readonly SessionCookie[];
};

export const NEW_COOKIE: CookieDuty = { kind: 'when-told', spent: [] };
const NO_COOKIES: CookieDuty = { kind: 'none', spent: [] };

export type Carried = {
  session: Session;
  /** Whether the answer gives a token even if it showed nothing new. */
  retell: boolean;
  cookies: CookieDuty;
  /** The request is not to be handled. */
  failure: Failure | undefined;
};

const NOTHING_CARRIED: Carried = {
  session: NO_SESSION,
  retell: false,
  cookies: NEW_COOKIE,
  failure: undefined,
};

/** A token and where it stood. */
type Sent = { token: string; cookie: SessionCookie | undefined };
type Opened = Sent & { session: Session; current: boolean };

export function carriedSession(
  header: string | undefined,
  cookieHeader: string | undefined,
  tokens: SessionTokens,
): Carried {
  const listed = header?.split(',').flatMap((word) => word.trim() || []);
  const cookies = sessionCookies(cookieHeader);
  if (listed === undefined && cookies.length === 0) return NOTHING_CARRIED;
  const refusal = (failure: Failure, spent: readonly SessionCookie[]): Carried => ({
    ...NOTHING_CARRIED,
    cookies: spent.length === 0 ? NO_COOKIES : { kind: 'now', spent },
    failure,
  });
  if (listed?.length === 0) {
    return refusal({ kind: 'session-token-malformed', why: 'empty', which: undefined }, []);
  }
  const sent: Sent[] = [
    ...(listed ?? []).map((token) => ({ token, cookie: undefined })),
    ...cookies.map((cookie) => ({ token: cookie.token, cookie })),
  ];
  const opened: Opened[] = [];
  const bad: SessionCookie[] = [];
  let failure: Failure | undefined;
  for (const [at, one] of sent.entries()) {
    const found = tokens.open(one.token);
    if (found.kind === 'session') {
      opened.push({ ...one, ...found });
      continue;
    }
    if (one.cookie !== undefined) bad.push(one.cookie);
    failure ??= { ...found, which: sent.length === 1 ? undefined : placeOf(one, at) };
  }
  // Nobody but the edge can take back a cookie that scripts cannot see.
  if (failure !== undefined) return refusal(failure, bad);

  const own = opened.filter(({ cookie }) => cookie === undefined);
  const spoken = merged(own);
  if (spoken === undefined) return refusal({ kind: 'session-tokens-of-two-subjects' }, []);
  const { subject } = spoken;
  // A browser adds its cookies unasked; the header says whose session this is.
  const covered =
    own.length === 0 || subject === undefined
      ? opened
      : opened.filter(
          ({ session, cookie }) => cookie === undefined || (session.subject ?? subject) === subject,
        );
  const session = merged(covered);
  if (session === undefined) {
    return refusal({ kind: 'session-tokens-of-two-subjects' }, cookies);
  }
  const spent = covered.flatMap(({ cookie }) => cookie ?? []);
  // In a jar that is somebody else's, or that was not brought, a new cookie would be in the way.
  const inHeaderOnly = own.length > 0 && spent.length === 0;
  const regions = regionsOf(session).size;
  if (regions > REGIONS_MAX) {
    const why = `Together they name ${regions} regions; at most ${REGIONS_MAX} fit into a token`;
    return refusal({ kind: 'session-tokens-too-many', why }, spent);
  }
  const words = new Set(covered.map(({ token }) => token)).size;
  const why = `${words} tokens came; at most ${TOKENS_MAX} are taken. The answer carries one that covers them`;
  return {
    session,
    retell: words > 1 || covered.some(({ current }) => !current),
    cookies: inHeaderOnly ? NO_COOKIES : { kind: 'when-told', spent },
    failure: words > TOKENS_MAX ? { kind: 'session-tokens-too-many', why } : undefined,
  };
}

/** The values of `Set-Cookie` with which the client keeps `token` and drops what it replaces. */
export function cookieFields(
  { kind, spent }: CookieDuty,
  token: string | undefined,
  secure: boolean,
): string[] {
  if (kind === 'none' || (kind === 'when-told' && token === undefined)) return [];
  const attributes = `; Path=/; HttpOnly; SameSite=Lax${secure ? '; Secure' : ''}`;
  const name = token === undefined ? undefined : cookieName(token);
  const fields = spent
    .filter((cookie) => cookie.name !== name)
    .map((cookie) => `${cookie.name}=; Max-Age=0${attributes}`);
  if (token !== undefined) fields.push(`${name}=${token}${attributes}`);
  return fields;
}

/**
 * Whether the client has addressed its own machine without encryption. Plain http alone proves
 * nothing: what stands before an edge may have ended the encryption.
 */
export function isLoopback(url: string): boolean {
  return /^http:\/\/(?:(?:[^/:]+\.)?localhost|127(?:\.\d+){3}|\[::1\])(?:[:/]|$)/i.test(url);
}

function cookieName(token: string): string {
  return `${SESSION_COOKIE}-${token.slice(-NAME_CHARS)}`;
}

/** Of each session cookie its name and value; the one without an ending is from an earlier version. */
function sessionCookies(header: string | undefined): SessionCookie[] {
  if (header?.includes(SESSION_COOKIE) !== true) return [];
  const found: SessionCookie[] = [];
  for (const pair of header.split(';')) {
    const [, name, token] = COOKIE.exec(pair.trim()) ?? [];
    if (name !== undefined && token !== undefined) found.push({ name, token });
  }
  return found;
}

const COOKIE = new RegExp(`^(${SESSION_COOKIE}(?:-[A-Za-z0-9_-]+)?)=(.*)$`);

/** Undefined when they belong to two subjects. */
function merged(opened: readonly Opened[]): Session | undefined {
  let all: Session | undefined = opened[0]?.session ?? NO_SESSION;
  for (const { session } of opened) all = all && merge(all, session);
  return all;
}

function placeOf({ cookie }: Sent, at: number): string {
  return cookie === undefined ? `Token ${at + 1} of the header` : `The cookie ${cookie.name}`;
}
