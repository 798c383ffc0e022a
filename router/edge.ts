/**
 * What does one edge know, and what can it do for a request?
 *
 * The composition of everything that acts in one region: its database, its directory, its peers,
 * its policy. `domicile.ts` decides with it what happens to a route; `edge-server.ts` puts it on
 * the wire. It keeps nothing about a client between two requests.
 */
import type { KeyObject } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Context } from 'hono';
import { routePath } from 'hono/route';
import { placeCopy } from '../policies/place-copy.ts';
import { placeSubject, type Refused } from '../policies/placement.ts';
import type { Policy, ReferenceTable, Transit } from '../policies/policy.ts';
import { refusalInWords } from '../policies/refusal-in-words.ts';
import { bind, type Session } from '../policies/session.ts';
import { transitOf } from '../policies/transit.ts';
import { whyNowhereElse } from '../policies/why-nowhere-else.ts';
import type { Catalogue, RegionId } from '../regions/catalogue.ts';
import { peersNearestFirst } from '../regions/catalogue.ts';
import type { Fragment, Sql } from '../regions/postgres.ts';
import { Sightings } from '../regions/sighting.ts';
import { Admission } from './admission.ts';
import { carriedSession, SESSION_HEADER } from './carried-session.ts';
import { type Ballot, claimId, type Electorate, release } from './claims.ts';
import type { TrafficCounter } from './console/traffic.ts';
import { Directory, type Entry } from './directory.ts';
import { type Data, type Domicile, idempotencyKeyOf, isRead, type Newcomer } from './domicile.ts';
import { ForgetAnswers } from './forget-answers.ts';
import { AbroadData, type Claim, type Copy, HomeData, NewcomerData } from './handler-data.ts';
import { announcedBytes, leaveBody } from './held-body.ts';
import { HOP_HEADER, type HopPolicy, isSafe } from './hop.ts';
import { IdempotencyHashes } from './idempotency-key.ts';
import { readKeeper } from './keeper-says.ts';
import type { Keyed } from './once.ts';
import { type Passage, type PeerAnswer, Peers } from './peers.ts';
import { PolicyFeed } from './policy-feed.ts';
import { policyFromField } from './policy-in-force.ts';
import { type PolicyRecord, recordAt } from './policy-record.ts';
import { type Failure, problem, Refusal } from './problem.ts';
import { readPolicyText } from './read-files.ts';
import { isAboutResidency, Receipts, routeForReceipt } from './receipts.ts';
import { RefusalLog } from './refusal-log.ts';
import { RegionDatabase } from './region-database.ts';
import { inTime } from './request-body.ts';
import { SessionTokens } from './session-token.ts';
import type { Place } from './share.ts';
import { CONSOLE_QUESTION, TRACE_QUESTION } from './stay.ts';
import { SubjectTokens } from './subject-token.ts';
import {
  HOP_TRACE_HEADER,
  NO_TRACE,
  type Question,
  type Telemetry,
  type Trace,
} from './telemetry/telemetry.ts';
import { UnmetTrust, warnOfPlainText } from './unmet-trust.ts';
import { type Anew, DecideAnew, type Visit } from './visit.ts';
import { lookAt, originOf, Watch } from './watch.ts';

type Ctx = Context<Domicile>;

/** What node-server hands over of the connection; absent when the app is called in a test. */
export type NodeEnv = { incoming?: IncomingMessage; outgoing?: ServerResponse };

/** How a client wants to be told that the home is elsewhere: `location`, or `problem`. */
export const REDIRECT_HEADER = 'domicile-redirect';

export type EdgeOptions = {
  here: RegionId;
  /** Its name in the catalogue. */
  name: string;
  catalogue: Catalogue;
  /** The policy file: it counts until this region's databases say which version is in force. */
  policy: Policy;
  policyText: string;
  databasePassword: string;
  /** First signs, all verify. */
  sessionKeys: readonly Uint8Array[];
  hopKey: KeyObject;
  directoryKey: Uint8Array;
  /** Signs for this region's PostgreSQL whom a connection works for. */
  subjectKey: Uint8Array;
  /** Monotonic milliseconds. */
  now: () => number;
  /** An id for a subject: a UUID of version 8, never drawn twice. */
  drawId: () => string;
  /** A random UUID. */
  drawClaim: () => string;
  /** 16 random bytes as hex, a trace id of W3C Trace Context. */
  drawTraceParent: () => string;
  /** One line for each thing an operator must know. */
  log: (line: Record<string, unknown>) => void;
  limits: EdgeLimits;
  cookieSecure: CookieSecure;
};

/** Whether session cookies are for encrypted connections only; `auto`: unless on this machine. */
export type CookieSecure = 'auto' | 'on' | 'off';

export type EdgeLimits = {
  /** Time in which a request must be answered, hop included. */
  budgetMs: number;
  bodyBytesMax: number;
  connectTimeoutMs: number;
  replicaWaitMs: number;
  connectionsMax: number;
  waitersMax: number;
  /** Requests of clients under way at once, and as many of other edges; half may be abroad. */
  requestsMax: number;
  /** Bytes of bodies held for clients, for other edges, and for each other region. */
  heldBytesMax: number;
  /** How long a queue that stands may make everybody wait before some are turned away. */
  queueMsMax: number;
  directoryEntriesMax: number;
  lookEveryMs: number;
};

export const DEFAULT_LIMITS: EdgeLimits = {
  budgetMs: 2_000,
  bodyBytesMax: 1024 * 1024,
  // Half the budget: a dead edge leaves time for another one, and for an honest refusal.
  connectTimeoutMs: 1_000,
  // A replica in the same region is a millisecond behind; one that is 50 ms behind is in trouble.
  replicaWaitMs: 50,
  connectionsMax: 16,
  waitersMax: 1_024,
  // A thousand requests that take a tenth of a second each are more than one process can serve.
  requestsMax: 1_024,
  heldBytesMax: 64 * 1024 * 1024,
  // A quarter of the budget: a busy machine stands still for a tenth of a second now and then.
  queueMsMax: 500,
  directoryEntriesMax: 1_000_000,
  lookEveryMs: 250,
};

/** A refused hop waits for this twice at most: for the primary, then for a replica. */
const POLICY_MS_MAX = 400;

/** What edges ask each other; `edge-server.ts` answers. */
const ASK_DIRECTORY: Question = { method: 'GET', route: '/.domicile/directory/:key' };
const ASK_CLAIM: Question = { method: 'POST', route: '/.domicile/claims' };
const ASK_RELEASE: Question = { method: 'DELETE', route: '/.domicile/claims' };
const ASK_CONSOLE: Question = { method: 'GET', route: CONSOLE_QUESTION };
const ASK_TRACE: Question = { method: 'GET', route: `${TRACE_QUESTION}:key` };

/** An edge may give a peer or a node of its own at most this long for a router's own question. */
const QUESTION_MS_MAX = 1_000;

export class Edge {
  readonly here: RegionId;
  readonly catalogue: Catalogue;
  readonly policies: PolicyFeed;
  readonly limits: EdgeLimits;
  readonly now: () => number;
  readonly directory: Directory;
  readonly tokens: SessionTokens;
  readonly cookieSecure: CookieSecure;
  readonly sightings = new Sightings();
  /** How often each decision was taken since the start, by its name. */
  readonly decisions = new Map<string, number>();
  /** The same for each of the last seconds; undefined where nobody can look at them. */
  traffic: TrafficCounter | undefined;
  /** Undefined where telemetry is off. */
  telemetry: Telemetry | undefined;
  readonly database: RegionDatabase;
  readonly peers: Peers;
  readonly admission: Admission;
  readonly receipts: Receipts;
  readonly refusalLog: RefusalLog;
  #hashes: IdempotencyHashes;
  #forgetAnswers: ForgetAnswers;
  #options: EdgeOptions;
  #watch: Watch;
  #subjectTokens: SubjectTokens;
  /** Which subject id was found to be a session's; sessions live as long as their token is cached. */
  #recognised = new WeakMap<Session, string>();
  /** Clients are sent to the edges of a region in turn, so that a second try meets another one. */
  #turn = 0;

  constructor(options: EdgeOptions) {
    const { here, catalogue, policy, policyText, limits, now } = options;
    const region = catalogue.regions.get(here);
    if (region === undefined) throw new RangeError(`the catalogue has no region "${here}"`);
    this.#options = options;
    this.here = here;
    this.catalogue = catalogue;
    this.policies = new PolicyFeed({
      here,
      file: { policy, text: policyText },
      read: (text, label) => readPolicyText(text, label, catalogue),
      ask: (heardOf) => this.#policyRecord(heardOf),
      log: options.log,
    });
    this.limits = limits;
    this.now = now;
    this.refusalLog = new RefusalLog(options.log);
    warnOfPlainText(here, region.nodes, options.log);
    const { keeper } = region;
    this.#hashes = new IdempotencyHashes(options.directoryKey);
    this.tokens = new SessionTokens(options.sessionKeys);
    this.cookieSecure = options.cookieSecure;
    this.#subjectTokens = new SubjectTokens(options.subjectKey);
    this.database = new RegionDatabase({
      region,
      password: options.databasePassword,
      sightings: this.sightings,
      now,
      connectionsMax: limits.connectionsMax,
      waitersMax: limits.waitersMax,
      standingMsMax: limits.queueMsMax,
      connectTimeoutMs: limits.connectTimeoutMs,
      replicaWaitMs: limits.replicaWaitMs,
      onWait: () => this.#watch.hurry(),
      ...(keeper !== undefined && {
        askKeeper: async (timeoutMs) =>
          readKeeper(await this.peers.askNear(`${keeper.url}/primary`, timeoutMs), here),
      }),
      withoutStandby: () => {
        const { commits } = this.policies.current.policy.failover;
        return commits === 'asynchronous' ? 'asynchronous' : 'alone';
      },
    });
    this.#watch = new Watch({
      here,
      database: this.database,
      sightings: this.sightings,
      policies: this.policies,
      trust: new UnmetTrust(options.log),
      now,
      everyMs: limits.lookEveryMs,
      timeoutMs: QUESTION_MS_MAX,
    });
    this.peers = new Peers({
      here,
      catalogue,
      hopKey: options.hopKey,
      sender: options.drawClaim(),
      connectTimeoutMs: limits.connectTimeoutMs,
      silentMsMin: Math.min(limits.connectTimeoutMs, limits.budgetMs / 2),
      // The other half of the clients' places is always there for those who are at home here.
      requestsMax: Math.floor(limits.requestsMax / 2),
      heldBytesMax: limits.heldBytesMax,
      now,
    });
    this.admission = new Admission(limits);
    this.receipts = new Receipts({
      onPrimary: (query, timeoutMs) => this.database.onPrimary(query, timeoutMs),
      policy: () => this.policies.current.policy,
      edge: options.name,
      sender: options.drawClaim(),
      now,
    });
    this.#forgetAnswers = new ForgetAnswers({
      onPrimary: (query, timeoutMs) => this.database.onPrimary(query, timeoutMs),
      policy: () => this.policies.current.policy,
    });
    this.directory = new Directory({
      key: options.directoryKey,
      here,
      peers: peersNearestFirst(catalogue, here).map(({ id }) => id),
      entriesMax: limits.directoryEntriesMax,
      lookUpHere: (key, budgetMs) => this.lookUp(key, budgetMs),
      lookUpThere: (peer, key, budgetMs, trace) => this.#lookUpThere(peer, key, budgetMs, trace),
    });
  }

  /** Counts how a request was answered: each rung and level, each region, each kind of refusal. */
  count(visit: Visit, isLook: boolean): void {
    const { decision, level } = visit;
    if (!isLook) this.traffic?.add(visit, this.now());
    const counted =
      decision.kind === 'serve'
        ? `serve;rung=${decision.rung};level=${level.kind}`
        : decision.kind === 'refuse'
          ? `refuse;because=${decision.because}`
          : 'to' in decision
            ? `${decision.kind};to=${decision.to}`
            : decision.kind;
    this.decisions.set(counted, (this.decisions.get(counted) ?? 0) + 1);
  }

  async start(): Promise<void> {
    await this.#watch.start();
    this.receipts.start();
    this.#forgetAnswers.start();
    this.admission.start(this.now);
  }

  async stop(): Promise<void> {
    this.admission.stop();
    await this.#forgetAnswers.stop();
    await this.receipts.stop();
    await this.#watch.stop();
    await Promise.all([this.peers.close(), this.database.close()]);
  }

  /** Reads the caller's session once; a token that cannot be read is refused, not ignored. */
  openSession(visit: Visit, c: Ctx): Session {
    if (visit.sessionBefore !== undefined) return visit.session;
    const { session, retell, cookies, failure } = carriedSession(
      c.req.header(SESSION_HEADER),
      c.req.header('cookie'),
      this.tokens,
    );
    visit.session = session;
    visit.sessionBefore = session;
    visit.retell = retell;
    visit.cookies = cookies;
    if (failure !== undefined) throw new Refusal(failure);
    return session;
  }

  /**
   * The directory key of a subject. A client that repeats its token asks for the same subject
   * again, and then the token has the key already.
   */
  keyOf(session: Session, subject: string): string {
    if (session.subject !== undefined && this.#recognised.get(session) === subject) {
      return session.subject;
    }
    const key = this.directory.keyOf(subject);
    if (key === session.subject) this.#recognised.set(session, subject);
    return key;
  }

  /** An id for somebody who brought none; the same one for each attempt under one key. */
  drawId(idempotencyKey: string | undefined): string {
    return idempotencyKey === undefined
      ? this.#options.drawId()
      : this.#hashes.idOf(idempotencyKey);
  }

  /** What PostgreSQL is told of a request that is to be done once. */
  keyed(c: Ctx, scope: string, idempotencyKey: string, body: Uint8Array): Keyed {
    return {
      key: this.#hashes.ofKey(scope, idempotencyKey),
      request: this.#hashes.ofRequest(c.req.method, targetOf(c.req.url), body),
    };
  }

  /** The subject is stored and at home here. */
  settled(visit: Visit, id: string): void {
    const key = this.directory.keyOf(id);
    this.directory.learn(key, this.here, 1);
    this.bindSession(visit, key, this.here, 1);
  }

  bindSession(visit: Visit, key: string, home: RegionId, epoch: number): void {
    visit.session = bind(visit.session, key, home, epoch);
  }

  /** From here on, SQL of this visit sees the rows of one subject, who is at home here. */
  enter(visit: Visit, subject: string): void {
    const way = visit.hopFrom === undefined ? 'direct' : 'through-foreign-edge';
    visit.entered = this.#subjectTokens.of(subject, way);
  }

  /** The subject's home: from the session, else from the directory. */
  async homeOf(visit: Visit, key: string): Promise<Entry> {
    const { subject, home, epoch } = visit.session;
    if (subject === key && home !== undefined) return { home, epoch };
    const known = this.directory.recall(key);
    if (known !== undefined) return known;
    const startedAtMs = this.now();
    const found = await this.directory.find(key, this.#questionMs(visit), visit.trace);
    visit.timed('directory', this.now() - startedAtMs);
    switch (found.kind) {
      case 'found':
        return found.entry;
      case 'unknown':
        throw new Refusal({ kind: 'unknown-subject' });
      case 'unsure':
        throw new Refusal({ kind: 'home-unknown', silent: found.silent });
    }
  }

  /** The policy's home for a newcomer. @throws Refusal when it gives none, or another than asked. */
  place(visit: Visit, { attributes, asked }: Newcomer): RegionId {
    const placement = placeSubject(visit.policy.policy, attributes);
    if (placement.kind === 'refused') throw new Refusal(refusalOf(placement));
    const { home, rule } = placement;
    visit.home = home;
    visit.placed = placement;
    if (asked !== undefined && asked !== home) {
      throw new Refusal({ kind: 'home-not-yours-to-choose', asked, home, rule });
    }
    return home;
  }

  /** @throws Refusal `undeclared-in-policy` */
  ownerOf(visit: Visit, table: string): RegionId {
    const rule = visit.policy.policy.tables.get(table);
    if (rule?.kind !== 'reference') {
      throw new Refusal({ kind: 'undeclared-in-policy', what: `The reference table "${table}"` });
    }
    return (rule satisfies ReferenceTable).owner;
  }

  /**
   * Whether a request that touches these tables may pass through an edge abroad.
   * @throws Refusal `undeclared-in-policy`
   */
  transitOf(visit: Visit, tables: readonly string[]): Transit {
    const found = transitOf(visit.policy.policy, tables);
    if (found.kind === 'known') return found.transit;
    throw new Refusal({ kind: 'undeclared-in-policy', what: `The table "${found.table}"` });
  }

  dataAtHome(c: Ctx, visit: Visit): Data {
    visit.trace.decided(visit);
    return new HomeData(this, c, visit);
  }

  dataOfNewcomer(c: Ctx, visit: Visit, id: string, claim: Claim | undefined): Data {
    visit.trace.decided(visit);
    return new NewcomerData(this, c, visit, id, claim);
  }

  /** Data of another home as far as the policy lets it be here and the session has not seen more. */
  dataOfMirror(c: Ctx, visit: Visit, name: string, home: RegionId): Data | undefined {
    if (!visit.policy.declaresMirror(name)) {
      throw new Refusal({ kind: 'undeclared-in-policy', what: `The mirror "${name}"` });
    }
    return this.#dataAbroad(c, visit, { name, relation: `mirror.${name}`, home });
  }

  /** This region's copy of another region's reference data, if it is fresh enough. */
  dataOfReference(c: Ctx, visit: Visit, table: string, owner: RegionId): Data | undefined {
    return this.#dataAbroad(c, visit, { name: table, relation: `app.${table}`, home: owner });
  }

  #dataAbroad(c: Ctx, visit: Visit, copy: Copy): Data | undefined {
    const { name, home } = copy;
    if (!visit.policy.serves(name, home) || !isRead(c, visit)) return undefined;
    if (visit.turns.includes('copy-withdrawn')) return undefined;
    const seen = this.sightings.mirrorOf(home);
    const node = seen && this.sightings.of(seen.node);
    const { level, session } = visit;
    const asked = { level, session, home, here: this.here };
    const placed = placeCopy(asked, seen, node, this.database.known, this.now());
    if (placed.kind === 'serve') {
      visit.trace.decided(visit);
      return new AbroadData(this, c, visit, placed.seen, copy);
    }
    visit.passedOver = [{ node: seen?.node ?? this.here, because: placed.because }];
    return undefined;
  }

  /** A request that came through an edge abroad leaves a receipt where it was sent to. */
  receiptOfHop(c: Ctx, visit: Visit): void {
    if (visit.hopFrom === undefined || !visit.policy.policy.receipts.keep.includes('forward'))
      return;
    this.receipts.leave(visit.policy.policy, {
      kind: 'forward',
      subject: visit.about,
      from: visit.hopFrom,
      to: this.here,
      route: routeOf(c),
    });
  }

  /** A refusal that is about where data may be leaves a receipt with the edge that made it. */
  receiptOfRefusal(c: Ctx, visit: Visit, failure: Failure): void {
    if (!isAboutResidency(failure)) return;
    this.receipts.leave(visit.policy.policy, {
      kind: 'refuse',
      subject: visit.about,
      rule: visit.placed?.rule,
      jurisdiction: visit.placed?.jurisdiction,
      from: visit.hopFrom,
      to: visit.home,
      reason: failure.kind,
      route: routeOf(c),
    });
  }

  /**
   * What else the statement that settles a newcomer calls: a statement of its own would cost a
   * creation a round trip. PostgreSQL calls the functions of a select list from left to right, and
   * the second one refuses to come first.
   */
  receiptOfPlacement(c: Ctx, visit: Visit, key: Uint8Array, sql: Sql): Fragment {
    const { placed, hopFrom } = visit;
    if (placed === undefined || !visit.policy.policy.receipts.keep.includes('place')) return sql``;
    return sql`, domicile.leave_placement(${key}, ${visit.policy.version}, ${placed.rule},
      ${placed.jurisdiction}, ${hopFrom ?? null}, ${routeOf(c) ?? null}, ${this.#options.name})`;
  }

  /** To the home, on the way that the policy leaves open. */
  async sendHome(c: Ctx, visit: Visit, home: RegionId, transit: Transit): Promise<Response> {
    return transit === 'redirect' ? this.#redirect(c, visit, home) : this.forward(c, visit, home);
  }

  /** Tells the client where the home is, and leaves the body unread. */
  #redirect(c: Ctx, visit: Visit, home: RegionId): Response {
    const answer = redirectAnswer(c.req.header(REDIRECT_HEADER));
    const { incoming, outgoing } = c.env as NodeEnv;
    if (incoming !== undefined && outgoing !== undefined) leaveBody(incoming, outgoing);
    visit.decision = { kind: 'redirect', to: home };
    visit.trace.decided(visit);
    this.receipts.leave(visit.policy.policy, {
      kind: 'redirect',
      subject: visit.about,
      rule: visit.placed?.rule,
      jurisdiction: visit.placed?.jurisdiction,
      to: home,
      route: routeOf(c),
    });
    const address = this.addressAt(home, c.req.url);
    if (answer === 'problem') return problem({ kind: 'home-elsewhere', home, address });
    return c.body(null, 307, { location: address });
  }

  /** Where a client reaches the same path and query in that region. */
  addressAt(region: RegionId, url: string): string {
    const edges = this.catalogue.regions.get(region)?.edges ?? [];
    const edge = edges[this.#turn++ % edges.length];
    if (edge === undefined) throw new RangeError(`no edge in region "${region}"`);
    return (edge.publicUrl ?? edge.url) + targetOf(url);
  }

  /** Ships the whole request to its home, once. */
  async forward(c: Ctx, visit: Visit, home: RegionId): Promise<Response> {
    if (visit.hopFrom !== undefined) throw new Refusal({ kind: 'misdirected', home });
    visit.decision = { kind: 'forward', to: home };
    const { method } = c.req;
    const safe = isSafe(method);
    const { bodyBytesMax } = this.limits;
    const bytes = safe ? 0 : announcedBytes((name) => c.req.header(name), bodyBytesMax);
    const unavailable = () => this.#unavailable(visit, home);
    const place = placeAbroad(home, this.peers.enter(home, 'request', bytes), unavailable);
    let body: Uint8Array | undefined;
    try {
      const leftMs = visit.deadlineMs - this.now();
      body = safe ? undefined : new Uint8Array(await inTime(c.req.arrayBuffer(), leftMs));
    } catch (error) {
      place.leave(this.now());
      throw error;
    }
    const headers = headersOf(c);
    visit.trace.decided(visit);
    const hop = visit.trace.hop(home);
    // The trace of this edge goes on; without one, that of the client, or it begins here.
    if (hop.fields.traceparent !== undefined) delete headers.tracestate;
    Object.assign(headers, hop.fields);
    headers.traceparent ??= this.#options.drawTraceParent();
    const startedAtMs = this.now();
    const send = (place: Place) =>
      this.peers.send(home, place, {
        method,
        target: targetOf(c.req.url),
        headers,
        body,
        budgetMs: visit.deadlineMs - this.now(),
        policy: { version: visit.policy.version, recorded: visit.policy.source === 'recorded' },
      });
    let answer = await send(place);
    if (
      answer.kind === 'unreachable' &&
      answer.sent &&
      idempotencyKeyOf(c) !== undefined &&
      visit.deadlineMs > this.now()
    ) {
      // The home does it once, so another of its edges may be asked what came of it.
      const passage = this.peers.enter(home, 'request', bytes);
      if (passage.kind === 'free') {
        const again = await send(passage.place);
        if (again.kind === 'answered') answer = again;
      }
    }
    visit.timed('hop', this.now() - startedAtMs);
    hop.ended(answer.kind === 'answered' ? { status: answer.status } : { error: answer.code });
    if (answer.kind === 'unreachable') {
      if (answer.sent && !safe) throw new Refusal({ kind: 'write-outcome-unknown' });
      throw new Refusal(unavailable());
    }
    const theirs = otherPolicy(answer);
    if (theirs !== undefined) {
      await this.#catchUp(visit, theirs, body);
      throw new Refusal({
        kind: 'policy-version-differs',
        sender: { region: this.here, version: visit.policy.version },
        receiver: { region: home, version: theirs.version },
      });
    }
    return visit.relay(answer.status, answer.headers, answer.body);
  }

  /** The home does not answer, and this is the rule by which nobody answers in its place. */
  #unavailable(visit: Visit, home: RegionId): Failure & { kind: 'residency-unavailable' } {
    const { placed, reference } = visit;
    const about = { rule: placed?.rule, reference };
    const keptBy = whyNowhereElse(visit.policy.policy, home, about);
    return { kind: 'residency-unavailable', home, keptBy };
  }

  /** The home has another policy in force and ran nothing. @throws DecideAnew with one that is new */
  async #catchUp(visit: Visit, theirs: HopPolicy, body: Uint8Array | undefined): Promise<void> {
    const { policies } = this;
    if (visit.policy === policies.current && theirs.version > visit.policy.version) {
      await policies.refresh(theirs.recorded ? theirs.version : 0);
    }
    if (visit.policy === policies.current) return;
    this.decideAnew(visit, 'policy-version-differs', body);
  }

  /** Ends this turn of the request and begins the next, unless it had one for this reason. */
  decideAnew(visit: Visit, because: Anew, body: Uint8Array | undefined): void {
    if (visit.turns.includes(because)) return;
    visit.anew = { because, body };
    throw new DecideAnew();
  }

  /**
   * A claim on an id that another region may be asked for as well: a chosen one, or one that
   * follows from an idempotency key. Whoever drew a random one needs none.
   */
  async claimFor(
    visit: Visit,
    chosen: string | undefined,
    id: string,
    idempotencyKey: string | undefined,
  ): Promise<Claim | undefined> {
    if (chosen !== undefined) return this.claim(visit, id);
    if (idempotencyKey === undefined) return undefined;
    try {
      return await this.claim(visit, id);
    } catch (error) {
      if (!(error instanceof Refusal) || error.failure.kind !== 'subject-exists') throw error;
      const { home } = error.failure;
      if (home === this.here) throw error;
      throw new Refusal({ kind: 'idempotency-key-reused', home });
    }
  }

  /** Makes a chosen id this home's, in a majority of the regions. */
  async claim(visit: Visit, id: string): Promise<Claim> {
    const startedAtMs = this.now();
    const key = this.directory.keyOf(id);
    const outcome = await claimId(key, this.#options.drawClaim(), this.#electorate(visit));
    visit.timed('claim', this.now() - startedAtMs);
    switch (outcome.kind) {
      case 'held-by-us':
        return { id: outcome.claim, used: 'no' };
      case 'held-elsewhere':
        // Where the subject lives, not where the caller would have had it.
        visit.home = outcome.home;
        throw new Refusal({ kind: 'subject-exists', home: outcome.home });
      case 'undecided':
        throw new Refusal({ kind: 'claim-undecided', silent: outcome.silent });
    }
  }

  /** Gives back a claim that has certainly stored nothing. */
  async settleClaim(visit: Visit, id: string, claim: Claim | undefined): Promise<void> {
    if (claim === undefined || claim.used !== 'no') return;
    const { here, regions, releaseAt } = this.#electorate(visit);
    await release(this.directory.keyOf(id), claim.id, here, regions, releaseAt);
  }

  /** What this region itself holds of the directory, from the primary if a replica does not know. */
  async lookUp(key: string, budgetMs: number): Promise<Entry | undefined> {
    const bytes = Buffer.from(key, 'base64url');
    const ask = async (sql: Sql) => {
      const [row] = await sql<Entry[]>`
        select home, epoch from domicile.directory where key = ${bytes}`;
      return row;
    };
    const node = this.database.anyNode();
    if (node !== undefined) {
      // A replica that fails is no reason to call the subject unsure while the primary answers.
      const entry = await this.database.on(node, 'router', ask, budgetMs).catch(() => undefined);
      if (entry !== undefined) return entry;
    }
    return this.database.onPrimaryInTime(ask, budgetMs);
  }

  /** This region's vote on a claim. */
  async claimHere(key: string, home: RegionId, claim: string, budgetMs: number): Promise<Ballot> {
    const bytes = Buffer.from(key, 'base64url');
    const [row] = await this.database.onPrimaryInTime(
      (sql) => sql<{ home: string; settled: boolean }[]>`
        select home, settled from domicile.claim(${bytes}, ${home}, ${claim}::uuid)`,
      budgetMs,
    );
    if (row === undefined) return { kind: 'silent' };
    if (row.settled || row.home !== home) {
      return { kind: 'held', home: row.home, settled: row.settled };
    }
    return { kind: 'granted' };
  }

  async releaseHere(key: string, claim: string, budgetMs: number): Promise<void> {
    const bytes = Buffer.from(key, 'base64url');
    await this.database.onPrimaryInTime(
      (sql) => sql`select domicile.release(${bytes}, ${claim}::uuid)`,
      budgetMs,
    );
  }

  #electorate(visit: Visit): Electorate {
    const { here } = this;
    const regions = [...this.catalogue.regions.keys()].sort();
    return {
      here,
      regions,
      claimAt: async (region, key, claim) => {
        const budgetMs = this.#questionMs(visit);
        try {
          if (region === here) return await this.claimHere(key, here, claim, budgetMs);
          const answer = await this.#askPeer(region, ASK_CLAIM, budgetMs, visit.trace, {
            body: { key, home: here, claim },
          });
          return answer.status === 200 ? (answer.body as Ballot) : { kind: 'silent' };
        } catch {
          return { kind: 'silent' };
        }
      },
      releaseAt: async (region, key, claim) => {
        const budgetMs = this.#questionMs(visit);
        if (region === here) return this.releaseHere(key, claim, budgetMs);
        await this.#askPeer(region, ASK_RELEASE, budgetMs, visit.trace, {
          body: { key, claim },
        }).catch(() => undefined);
      },
    };
  }

  async #lookUpThere(
    peer: RegionId,
    key: string,
    budgetMs: number,
    trace: Trace,
  ): Promise<Entry | undefined> {
    const answer = await this.#askPeer(peer, ASK_DIRECTORY, budgetMs, trace, { key });
    if (answer.status === 404) return undefined;
    if (answer.status !== 200) throw new Error(`peer ${peer} answered ${answer.status}`);
    return answer.body as Entry;
  }

  /** How another region does. @throws Error whose message ends with the reason in a word. */
  pictureOf(peer: RegionId, budgetMs: number): Promise<{ status: number; body: unknown }> {
    return this.#askPeer(peer, ASK_CONSOLE, budgetMs, NO_TRACE, {});
  }

  /** What one edge of another region has of a trace. @throws Error as `pictureOf` */
  tracePartsOf(
    peer: RegionId,
    edge: string,
    traceId: string,
    budgetMs: number,
  ): Promise<{ status: number; body: unknown }> {
    return this.#askPeer(peer, ASK_TRACE, budgetMs, NO_TRACE, { key: traceId, edge });
  }

  async #askPeer(
    peer: RegionId,
    question: Question,
    budgetMs: number,
    trace: Trace,
    { key = '', edge, body }: { key?: string; edge?: string; body?: unknown },
  ): Promise<{ status: number; body: unknown }> {
    const payload = body === undefined ? undefined : new TextEncoder().encode(JSON.stringify(body));
    const passage = this.peers.enter(peer, 'question', payload?.length ?? 0);
    if (passage.kind !== 'free') throw new Error(`peer ${peer}: ${passage.kind}`);
    const asked = trace.question(peer, question);
    const answer = await this.peers.send(peer, passage.place, {
      method: question.method,
      target: question.route.replace(':key', key),
      headers: { 'content-type': 'application/json', ...asked.fields },
      body: payload,
      budgetMs,
      edge,
      // Directory and claims know homes, not policies.
      policy: undefined,
    });
    asked.ended(answer.kind === 'answered' ? { status: answer.status } : { error: answer.code });
    if (answer.kind === 'unreachable') throw new Error(`peer ${peer}: ${answer.code}`);
    const text = await new Response(answer.body).text();
    return { status: answer.status, body: text === '' ? undefined : JSON.parse(text) };
  }

  /** What this region has recorded, from the primary if it answers, because a replica may lag. */
  async #policyRecord(heardOf: number): Promise<PolicyRecord> {
    const ask = async (sql: Sql) => {
      const [seen, record] = await Promise.all([lookAt(sql), recordAt(sql, heardOf)]);
      if (seen === undefined) throw new Error('a replica that follows no timeline');
      return { ...record, origin: originOf(seen) };
    };
    try {
      return await this.database.onPrimary(ask, POLICY_MS_MAX);
    } catch {
      const node = this.database.anyNode();
      if (node === undefined) throw new Error('no node answers');
      return this.database.on(node, 'router', ask, POLICY_MS_MAX);
    }
  }

  #questionMs(visit: Visit): number {
    return Math.min(QUESTION_MS_MAX, visit.deadlineMs - this.now());
  }
}

/** @throws Refusal when the request is not even tried. */
function placeAbroad(
  home: RegionId,
  passage: Passage,
  unavailable: () => Failure & { kind: 'residency-unavailable' },
): Place {
  switch (passage.kind) {
    case 'free':
      return passage.place;
    case 'full':
      throw new Refusal({
        kind: 'overloaded',
        where: { kind: 'region', region: home },
        retryAfterMs: passage.retryAfterMs,
      });
    case 'dark':
      throw new Refusal({ ...unavailable(), retryAfterMs: passage.retryAfterMs });
  }
}

/** The policy of a home that refused because of it; undefined for every other answer. */
function otherPolicy(answer: PeerAnswer & { kind: 'answered' }): HopPolicy | undefined {
  if (answer.status !== 503) return undefined;
  const field = (wanted: string) => answer.headers.find(([name]) => name === wanted)?.[1];
  if (field('domicile-decision') !== 'refuse;because=policy-version-differs') return undefined;
  return policyFromField(field('domicile-policy') ?? '');
}

function refusalOf(refused: Refused): Failure {
  const why = refusalInWords(refused);
  return refused.because === 'unknown-country'
    ? { kind: 'unknown-country', why }
    : { kind: 'placement-refused', why };
}

/** @throws Refusal `invalid-request` */
function redirectAnswer(asked: string | undefined): 'location' | 'problem' {
  if (asked === undefined || asked === 'location') return 'location';
  if (asked === 'problem') return 'problem';
  const message = 'is neither "location" nor "problem"';
  throw new Refusal({
    kind: 'invalid-request',
    complaints: [{ path: 'Domicile-Redirect', message }],
  });
}

/** The pattern of the route that serves, or would have served, the request. */
export function routeOf(c: Ctx): string | undefined {
  return routeForReceipt(routePath(c, -1));
}

function headersOf(c: Ctx): Record<string, string> {
  const headers: Record<string, string> = {};
  c.req.raw.headers.forEach((value, name) => {
    if (name !== HOP_HEADER && name !== HOP_TRACE_HEADER) headers[name] = value;
  });
  return headers;
}

/** Path and query in normal form, which both ends of a hop can compute. */
export function targetOf(url: string): string {
  const { pathname, search } = new URL(url);
  return pathname + search;
}
