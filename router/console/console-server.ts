/**
 * Who may see what below `/console`, and in which answer?
 *
 * Outside of everything that an edge does for an app: no visit, no decision, no place among the
 * clients, and none of the fields that name region and policy. Whoever has not signed in gets the
 * page to do so, which is the same at every edge, and for any other address one and the same
 * refusal, whether there is something or not.
 */

import * as z from 'zod';
import { isLoopback } from '../carried-session.ts';
import type { Edge, NodeEnv } from '../edge.ts';
import { healthOf } from '../health.ts';
import { type Failure, problem } from '../problem.ts';
import { limitedBody } from '../request-body.ts';
import type { ConsoleFile } from './console-files.ts';
import { ConsoleSessions } from './console-sessions.ts';
import type { ConsoleState, RefusalsAnswer, WaysAnswer } from './console-state.ts';
import { Credentials, networkOf, type Person } from './credentials.ts';
import { EventStreams } from './event-streams.ts';
import { Announcement, type Experiments } from './experiments.ts';
import { AnswerOfIssuer, FLOW_MS_MAX, OidcSignIn } from './oidc-sign-in.ts';
import type { SecretPlace } from './operators-file.ts';
import type { OperatorsInForce } from './operators-in-force.ts';
import { isFromElsewhere, isFromOwnPage } from './same-origin.ts';
import { SubjectQuestionBody, type Subjects } from './subjects.ts';
import type { TraceSearch } from './trace-search.ts';
import { tracesAnswer } from './traces.ts';
import type { WorldLooker } from './world-picture.ts';

export type ConsoleServerOptions = {
  edge: Edge;
  operators: OperatorsInForce;
  secretOf: (place: SecretPlace) => Promise<string | undefined>;
  /** By path. `open` are those that the sign-in page is made of. */
  files: ReadonlyMap<string, ConsoleFile>;
  world: WorldLooker;
  subjects: Subjects;
  search: TraceSearch;
  experiments: Experiments;
  drawSecret: () => string;
  /** Milliseconds since the epoch. */
  wallClock: () => number;
  log: (line: Record<string, unknown>) => void;
};

/** Whoever asks, and for how long he may go on. */
type Caller = Person & {
  /** Undefined for a bearer. */
  sessionSecret: string | undefined;
};

const ROOT = '/console';
const SIGN_IN = `${ROOT}/sign-in`;
/** The page of an issuer sends back to it, or to one below it. */
const CALLBACK = `${SIGN_IN}/callback`;
const SIGN_OUT = `${ROOT}/sign-out`;
const API = `${ROOT}/api`;
const COOKIE = 'domicile-console';
/** What a sign-in at an issuer's page remembers meanwhile. */
const FLOW_COOKIE = 'domicile-console-flow';

/** More than any token, question or announcement needs. */
const BODY_BYTES_MAX = 32 * 1024;
/** Those who look for other traces are through by then. */
const SEARCH_AGAIN_MS = 1_000;
/** A body that comes drop by drop is given up. */
const BODY_MS_MAX = 5_000;

const BeginBody = z.strictObject({ way: z.int().min(0) });

/** Nothing but what this edge serves itself; no page may put it into a frame of its own. */
const PROTECTION: Readonly<Record<string, string>> = {
  'cache-control': 'private, no-store',
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

export class ConsoleServer {
  #options: ConsoleServerOptions;
  #sessions: ConsoleSessions;
  #credentials: Credentials;
  #streams: EventStreams;
  #issuers: OidcSignIn;

  constructor(options: ConsoleServerOptions) {
    this.#options = options;
    const { edge, operators, secretOf, drawSecret, wallClock, log, world } = options;
    const { now } = edge;
    const outside = { secretOf, drawSecret, now, wallClock, log };
    this.#issuers = new OidcSignIn({ allowed: operators, ...outside });
    this.#sessions = new ConsoleSessions({ drawSecret, now, wallClock });
    this.#credentials = new Credentials({ allowed: operators, now, wallClock });
    this.#streams = new EventStreams({ look: () => world.look(), now });
    operators.onChange(() => this.#endRevoked());
  }

  /** Undefined for what does not lie below `/console`. */
  answer(request: Request, env: NodeEnv): Promise<Response> | undefined {
    if (!liesBelowConsole(request.url)) return undefined;
    return this.#answer(request, env).then(protect);
  }

  /** Streams end, and with them the connections that a server waits for. */
  stop(): void {
    this.#streams.stop();
    this.#sessions.endAll();
  }

  #endRevoked(): void {
    const { operators, log } = this.#options;
    for (const { name } of this.#sessions.endWhere(({ entry }) => !operators.has(entry))) {
      log({ level: 'info', event: 'console-session-revoked', operator: name });
    }
    this.#streams.sweep();
  }

  async #answer(request: Request, env: NodeEnv): Promise<Response> {
    const path = new URL(request.url).pathname.replace(/(?<=.)\/$/, '');
    const { method, headers } = request;
    const field = (name: string) => headers.get(name);
    const reads = method === 'GET' || method === 'HEAD';
    const file = this.#options.files.get(path);
    if (reads && file?.open === true) return served(request, file);
    if (path === SIGN_IN && method === 'POST') return this.#signIn(request, env);
    if (path.startsWith(`${SIGN_IN}/`)) {
      const answer = await this.#atIssuer(path, request, env);
      if (answer !== undefined) return answer;
    }
    const caller = await this.#caller(request, env);
    if (caller === undefined || 'refused' in caller) {
      const signIn = this.#options.files.get(SIGN_IN);
      if (path === ROOT && reads && signIn !== undefined) return served(request, signIn, 401);
      return caller?.refused ?? unauthenticated(method);
    }
    if (caller.sessionSecret !== undefined) {
      const isForged = reads
        ? path.startsWith(`${API}/`) && isFromElsewhere(field)
        : !isFromOwnPage(field);
      if (isForged) return problem({ kind: 'console-cross-origin' });
    }
    if (reads && file !== undefined) return served(request, file);
    return this.#serve(request, path, caller);
  }

  async #serve(request: Request, path: string, caller: Caller): Promise<Response> {
    const { method } = request;
    if (path === SIGN_OUT) {
      return method === 'POST' ? this.#signOut(request, caller) : notAllowed('POST');
    }
    if (path === `${API}/subjects/explain`) {
      return method === 'POST' ? this.#explain(request, caller) : notAllowed('POST');
    }
    if (path === `${API}/experiments`) {
      return method === 'POST' ? this.#announce(request, caller) : notAllowed('POST');
    }
    const answer = path.startsWith(`${API}/`) ? this.#read(path.slice(API.length), caller) : null;
    if (answer === null) return problem({ kind: 'console-nothing-here' });
    return method === 'GET' || method === 'HEAD' ? answer() : notAllowed('GET', 'HEAD');
  }

  #read(path: string, caller: Caller): (() => Promise<Response>) | null {
    const { edge, world, search } = this.#options;
    const { telemetry } = edge;
    switch (path) {
      case '/state':
        return async () => json(this.#stateFor(caller)(await world.look()));
      case '/events':
        return async () => this.#streamFor(caller);
      case '/health':
        return async () => json(healthOf(edge));
      case '/refusals':
        return async () => {
          const refusals = telemetry?.lastRefusals() ?? [];
          const isOn = telemetry === undefined ? 'off' : 'on';
          return json({ telemetry: isOn, refusals } satisfies RefusalsAnswer);
        };
      case '/traces':
        return async () => json(tracesAnswer(telemetry));
    }
    const [, traceId] = /^\/traces\/([0-9a-f]{32})$/.exec(path) ?? [];
    if (traceId === undefined) return null;
    return async () => {
      const found = await search.find(traceId);
      switch (found.kind) {
        case 'found':
          return json(found.answer);
        case 'nowhere':
          return problem({ kind: 'console-nothing-here' });
        case 'busy':
          return problem({
            kind: 'overloaded',
            where: { kind: 'edge', region: edge.here },
            retryAfterMs: SEARCH_AGAIN_MS,
          });
      }
    };
  }

  #stateFor({ name, role }: Caller) {
    return (picture: Omit<ConsoleState, 'operator'>): ConsoleState => ({
      ...picture,
      operator: { name, role },
    });
  }

  #streamFor(caller: Caller): Response {
    const { sessionSecret, expiresAtMs, id, entry } = caller;
    const { operators, wallClock } = this.#options;
    const stream = this.#streams.open({
      id,
      state: this.#stateFor(caller),
      isOver: () =>
        sessionSecret === undefined
          ? !operators.has(entry) || (expiresAtMs !== undefined && expiresAtMs <= wallClock())
          : this.#sessions.find(sessionSecret) === undefined,
    });
    if (stream === undefined) return problem({ kind: 'console-streams-full' });
    return new Response(stream, {
      headers: { 'content-type': 'text/event-stream', 'x-accel-buffering': 'no' },
    });
  }

  async #signIn(request: Request, env: NodeEnv): Promise<Response> {
    if (!isFromOwnPage((name) => request.headers.get(name))) {
      return problem({ kind: 'console-cross-origin' });
    }
    const body = await readJson(request);
    if ('failure' in body) return problem(body.failure);
    const token = (body.value as { token?: unknown } | null)?.token;
    if (typeof token !== 'string') {
      const complaints = [{ path: 'token', message: 'is not text' }];
      return problem({ kind: 'invalid-request', complaints });
    }
    const verdict = await this.#credentials.of(token.trim(), addressOf(env));
    if (verdict.kind !== 'known') return this.#turnAway(verdict, request.method);
    return this.#letIn(request, verdict.person);
  }

  #letIn(request: Request, person: Person): Response {
    // A browser that signs in anew leaves what it was signed in as.
    const former = cookieOf(request, this.#isSecure(request));
    if (former !== undefined) this.#sessions.end(former);
    const secret = this.#sessions.begin(person);
    const { name, role } = person;
    this.#options.log({ level: 'info', event: 'console-sign-in', operator: name, role });
    const answer = json({ operator: { name, role } });
    answer.headers.append('set-cookie', this.#cookie(request, secret));
    return answer;
  }

  /** Undefined where there is nothing for whoever has not signed in. */
  async #atIssuer(path: string, request: Request, env: NodeEnv): Promise<Response | undefined> {
    const { method } = request;
    const page = this.#options.files.get(SIGN_IN);
    const isCallback = path === CALLBACK || path.startsWith(`${CALLBACK}/`);
    // The same page: it reads what came with the address, and takes it out of there.
    if (isCallback && method === 'GET' && page !== undefined) return served(request, page);
    if (path === `${SIGN_IN}/ways` && method === 'GET') {
      return json({ ways: this.#issuers.ways() } satisfies WaysAnswer);
    }
    if (method !== 'POST') return undefined;
    const deed =
      path === `${SIGN_IN}/begin`
        ? () => this.#beginAtIssuer(request)
        : path === `${SIGN_IN}/finish`
          ? () => this.#comeFromIssuer(request, env)
          : undefined;
    if (deed === undefined) return undefined;
    const isOwn = isFromOwnPage((name) => request.headers.get(name));
    return isOwn ? deed() : problem({ kind: 'console-cross-origin' });
  }

  async #beginAtIssuer(request: Request): Promise<Response> {
    const body = await readJson(request);
    if ('failure' in body) return problem(body.failure);
    const asked = BeginBody.safeParse(body.value);
    if (!asked.success) return problem(misread(asked.error));
    // The browser's own word: whoever ends TLS in front of an edge changes what the edge sees.
    const origin = request.headers.get('origin') ?? '';
    const begun = await this.#issuers.begin(asked.data.way, origin);
    if (begun.kind === 'failed') {
      return problem({ kind: 'console-sign-in-failed', because: begun.because });
    }
    const answer = json({ location: begun.location });
    answer.headers.append('set-cookie', this.#flowCookie(request, begun.flow));
    return answer;
  }

  async #comeFromIssuer(request: Request, env: NodeEnv): Promise<Response> {
    const body = await readJson(request);
    if ('failure' in body) return problem(body.failure);
    const said = AnswerOfIssuer.safeParse(body.value);
    if (!said.success) return problem(misread(said.error));
    const address = addressOf(env);
    const retryAfterMs = this.#credentials.attempt(address);
    if (retryAfterMs > 0) return problem({ kind: 'console-attempts-limited', retryAfterMs });
    const flow = cookieOf(request, this.#isSecure(request), FLOW_COOKIE);
    const ended = await this.#issuers.end(flow, said.data);
    if (ended.kind === 'known') this.#credentials.forgive(address);
    const answer =
      ended.kind === 'known'
        ? this.#letIn(request, ended.person)
        : problem({ kind: 'console-sign-in-failed', because: ended.because });
    // Whatever came of it, it is over.
    answer.headers.append('set-cookie', `${this.#flowCookie(request, '')}`);
    return answer;
  }

  #signOut(request: Request, { sessionSecret, name }: Caller): Response {
    const answer = new Response(null, { status: 204 });
    if (sessionSecret === undefined) return answer;
    this.#sessions.end(sessionSecret);
    this.#streams.sweep();
    this.#options.log({ level: 'info', event: 'console-sign-out', operator: name });
    answer.headers.append('set-cookie', `${this.#cookie(request, '')}; Max-Age=0`);
    return answer;
  }

  async #explain(request: Request, { name, role }: Caller): Promise<Response> {
    if (role !== 'operator') return problem({ kind: 'console-forbidden', role });
    const body = await readJson(request);
    if ('failure' in body) return problem(body.failure);
    const question = SubjectQuestionBody.safeParse(body.value);
    if (!question.success) return problem(misread(question.error));
    const answer = await this.#options.subjects.explain(question.data.subject);
    const subject = answer.kind === 'found' ? answer.subject : null;
    this.#options.log({ level: 'info', event: 'console-explain', operator: name, subject });
    return json(answer);
  }

  async #announce(request: Request, { role }: Caller): Promise<Response> {
    if (role !== 'operator') return problem({ kind: 'console-forbidden', role });
    const body = await readJson(request);
    if ('failure' in body) return problem(body.failure);
    const said = Announcement.safeParse(body.value);
    if (!said.success) return problem(misread(said.error));
    const { experiments, wallClock } = this.#options;
    const announced = experiments.announce(said.data, wallClock());
    switch (announced.kind) {
      case 'noted':
        return new Response(null, { status: 204 });
      case 'unknown-experiment':
        return unfit('id', 'is no experiment that was started here and runs');
      case 'unknown-fault':
        return unfit('fault', 'is no fault of this experiment that lasts');
      case 'too-many-faults':
        return unfit('fault', 'is one more than are kept of an experiment');
    }
  }

  async #caller(
    request: Request,
    env: NodeEnv,
  ): Promise<Caller | { refused: Response } | undefined> {
    const authorization = request.headers.get('authorization');
    if (authorization !== null) {
      const [, token] = /^Bearer +(\S+)$/i.exec(authorization) ?? [];
      const verdict = await this.#credentials.of(token ?? '', addressOf(env));
      if (verdict.kind === 'known') return { ...verdict.person, sessionSecret: undefined };
      return { refused: this.#turnAway(verdict, request.method) };
    }
    const secret = cookieOf(request, this.#isSecure(request));
    const session = secret === undefined ? undefined : this.#sessions.find(secret);
    if (session === undefined || secret === undefined) return undefined;
    const { id, name, role, entry } = session;
    return { id, name, role, entry, expiresAtMs: undefined, sessionSecret: secret };
  }

  #turnAway(
    verdict: { kind: 'unknown' } | { kind: 'limited'; retryAfterMs: number },
    method: string,
  ): Response {
    if (verdict.kind === 'unknown') return unauthenticated(method);
    const { retryAfterMs } = verdict;
    return problem({ kind: 'console-attempts-limited', retryAfterMs });
  }

  #isSecure({ url }: Request): boolean {
    const { cookieSecure } = this.#options.edge;
    return cookieSecure === 'on' || (cookieSecure === 'auto' && !isLoopback(url));
  }

  #cookie(request: Request, secret: string): string {
    const secure = this.#isSecure(request);
    const fields = `HttpOnly; SameSite=Strict; Path=${ROOT}${secure ? '; Secure' : ''}`;
    return `${cookieName(request.url, secure, COOKIE)}=${secret}; ${fields}`;
  }

  /** It comes back from the page itself, which is of this edge again by then. */
  #flowCookie(request: Request, flow: string): string {
    const secure = this.#isSecure(request);
    const seconds = flow === '' ? 0 : FLOW_MS_MAX / 1_000;
    const fields = `HttpOnly; SameSite=Strict; Path=${SIGN_IN}; Max-Age=${seconds}${secure ? '; Secure' : ''}`;
    return `${cookieName(request.url, secure, FLOW_COOKIE)}=${flow}; ${fields}`;
  }
}

function liesBelowConsole(url: string): boolean {
  const at = url.indexOf('/', url.indexOf('://') + 3);
  if (!url.startsWith(ROOT, at)) return false;
  const next = url[at + ROOT.length];
  return next === undefined || next === '/' || next === '?' || next === '#';
}

/**
 * Browsers keep the cookies of all ports of a host together, and the edges of a local world are
 * ports of one. With Secure the name says so, and then no page of plain http can set it.
 */
function cookieName(url: string, secure: boolean, cookie: string): string {
  const { port } = new URL(url);
  return `${secure ? '__Secure-' : ''}${cookie}${port === '' ? '' : `-${port}`}`;
}

function cookieOf({ url, headers }: Request, secure: boolean, cookie = COOKIE): string | undefined {
  const name = cookieName(url, secure, cookie);
  for (const pair of headers.get('cookie')?.split(';') ?? []) {
    const at = pair.indexOf('=');
    if (pair.slice(0, at).trim() === name) return pair.slice(at + 1).trim();
  }
  return undefined;
}

function addressOf({ incoming }: NodeEnv): string {
  return networkOf(incoming?.socket.remoteAddress);
}

/** The same, whatever was asked for and however wrong the credentials were. */
function unauthenticated(method: string): Response {
  const answer = problem({ kind: 'console-unauthenticated' });
  answer.headers.set('www-authenticate', 'Bearer');
  return method === 'HEAD' ? new Response(null, answer) : answer;
}

function notAllowed(...allowed: string[]): Response {
  return problem({ kind: 'method-not-allowed', allowed });
}

function unfit(path: string, message: string): Response {
  return problem({ kind: 'invalid-request', complaints: [{ path, message }] });
}

function misread(error: {
  issues: readonly { path: readonly PropertyKey[]; message: string }[];
}): Failure {
  return {
    kind: 'invalid-request',
    complaints: error.issues.map(({ path, message }) => ({ path: path.join('.'), message })),
  };
}

function served(
  { method, headers }: Request,
  { type, body, etag }: ConsoleFile,
  status = 200,
): Response {
  // What is the same as last time is not sent again; it is asked for each time.
  const fields = { 'content-type': type, etag, 'cache-control': 'private, no-cache' };
  if (status === 200 && headers.get('if-none-match') === etag) {
    return new Response(null, { status: 304, headers: fields });
  }
  const bytes = method === 'HEAD' ? null : body;
  return new Response(bytes, { status, headers: fields });
}

function json(value: unknown): Response {
  return new Response(JSON.stringify(value), { headers: { 'content-type': 'application/json' } });
}

function protect(response: Response): Response {
  for (const [name, value] of Object.entries(PROTECTION)) {
    if (name !== 'cache-control' || !response.headers.has('etag')) {
      response.headers.set(name, value);
    }
  }
  return response;
}

async function readJson(request: Request): Promise<{ value: unknown } | { failure: Failure }> {
  const tooLarge = { failure: { kind: 'body-too-large', bytesMax: BODY_BYTES_MAX } } as const;
  if (Number(request.headers.get('content-length') ?? 0) > BODY_BYTES_MAX) return tooLarge;
  try {
    const text = await textInTime(limitedBody(request, BODY_BYTES_MAX));
    if (text === undefined) return { failure: { kind: 'deadline-exceeded' } };
    return { value: JSON.parse(text) };
  } catch (error) {
    if (!(error instanceof SyntaxError)) return tooLarge;
    return { failure: { kind: 'malformed-json', why: 'It cannot be read as JSON.' } };
  }
}

async function textInTime(request: Request): Promise<string | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => late.resolve(undefined), BODY_MS_MAX);
  return Promise.race([request.text(), late.promise]).finally(() => clearTimeout(timer));
}
