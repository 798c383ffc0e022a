/**
 * What happened to this one request, and how is it told?
 *
 * A visit collects the decision, the options passed over, the node that served and the session
 * while the request runs. When the response is ready, it becomes the `Domicile-*` headers, in one
 * place, so that every answer carries them: a refusal and a 404 as much as a read.
 */
import { type Level, levelText, SESSION } from '../policies/consistency.ts';
import type { PassedOver, Rung } from '../policies/place-read.ts';
import type { Placed } from '../policies/placement.ts';
import type { TableName } from '../policies/policy.ts';
import { NO_SESSION, type Session } from '../policies/session.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { type CookieDuty, NEW_COOKIE, SESSION_HEADER } from './carried-session.ts';
import type { SharedTransaction } from './once.ts';
import type { PeerBody } from './peers.ts';
import type { PolicyInForce } from './policy-in-force.ts';
import type { Durability } from './region-database.ts';
import type { LockedBody } from './request-body.ts';
import { ATTRIBUTES, type Part } from './telemetry/names.ts';
import { NO_TRACE, TRACE_RESPONSE_HEADER, type Trace } from './telemetry/telemetry.ts';

export type Decision =
  | { kind: 'serve'; node: string; rung: Rung | 'mirror' }
  | { kind: 'forward'; to: RegionId }
  /** The client was sent to the home: nothing may pass through here. */
  | { kind: 'redirect'; to: RegionId }
  | { kind: 'refuse'; because: string }
  /** The answer needed no data: an unknown route, a health check. */
  | { kind: 'answer' };

export const CONSISTENCY_HEADER = 'domicile-consistency';

/** Fields that each edge writes for itself; of a relayed answer they are combined. */
const OWN_FIELDS: ReadonlySet<string> = new Set([
  'domicile-served-by',
  'domicile-decision',
  'domicile-home',
  'domicile-policy',
  CONSISTENCY_HEADER,
  'domicile-staleness-ms',
  'server-timing',
  TRACE_RESPONSE_HEADER,
]);

/**
 * Why a request is decided once more, under the policy that is in force by then; at most once for
 * each reason. In both cases nothing was changed: the home refused before any handler, or a handler
 * only read.
 */
export type Anew = 'policy-version-differs' | 'copy-withdrawn';

/** Thrown to end a turn of a request that is decided anew; no client sees it. */
export class DecideAnew extends Error {}

const FIRST_TURN: readonly Anew[] = [];

/** What is timed for the client is a part of the trace as well, where nobody tells it in more detail. */
const TIMED_PARTS: Readonly<Record<string, readonly [part: Part, waitFor?: string]>> = {
  directory: ['directory'],
  claim: ['claim'],
  barrier: ['wait', 'acknowledgement'],
};

export class Visit {
  readonly region: RegionId;
  /** Everything that decides about this request uses this, and asks for no other. */
  readonly policy: PolicyInForce;
  /** Monotonic milliseconds. */
  readonly arrivedAtMs: number;
  /** When the answer must be out; travels with a hop as what is left of it. */
  readonly deadlineMs: number;
  /** The region whose edge sent this request on; undefined when it came from a client. */
  readonly hopFrom: RegionId | undefined;
  /** For which reasons this request was decided anew before. */
  readonly turns: readonly Anew[];
  /** Set when it is to be decided anew, with the body that was read already. */
  anew: { because: Anew; body: Uint8Array | undefined } | undefined;

  /** Where telemetry hears of this request. */
  trace: Trace = NO_TRACE;

  decision: Decision = { kind: 'answer' };
  /** Of a request that was refused by its handler or on the way to it. */
  route: { method: string; pattern: string } | undefined;
  passedOver: readonly PassedOver[] = [];
  home: RegionId | undefined;
  /** Upper bound of the age of what was served, in milliseconds. */
  stalenessMs: number | undefined;
  /** Where the last write of this request is; undefined when it wrote nothing. */
  durability: Durability | undefined;
  /** How fresh the answer must be. */
  level: Level = SESSION;
  /** Whether the handler may write; undefined follows the method. */
  access: 'read' | 'write' | undefined;
  /** The body, while only the home may read it and the home is not known. */
  lockedBody: LockedBody | undefined;

  /** The directory key of the subject whose data this is about. */
  about: string | undefined;
  /** Where the policy placed a newcomer, and why. */
  placed: Placed | undefined;
  /** The table about nobody that this is about. */
  reference: TableName | undefined;
  /** Set when everything the handler does with its data is one transaction, and for good. */
  shared: SharedTransaction | undefined;
  /** Whose rows SQL may touch, as PostgreSQL is told; empty: rows about nobody only. */
  entered = '';

  session: Session = NO_SESSION;
  /** The session as the client sent it; undefined until somebody asked. */
  sessionBefore: Session | undefined;
  /** The client holds several tokens, or one that is better replaced. */
  retell = false;
  cookies: CookieDuty = NEW_COOKIE;
  /** What the home gave to the client, once its answer is being relayed. */
  tokenFromHome: string | undefined;

  /** What the home edge said of itself, once its answer is being relayed. */
  #relayed = new Map<string, string>();
  #timings = '';

  constructor(
    region: RegionId,
    policy: PolicyInForce,
    arrivedAtMs: number,
    deadlineMs: number,
    hopFrom: RegionId | undefined,
    turns = FIRST_TURN,
  ) {
    this.region = region;
    this.policy = policy;
    this.arrivedAtMs = arrivedAtMs;
    this.deadlineMs = deadlineMs;
    this.hopFrom = hopFrom;
    this.turns = turns;
  }

  /** The same request from its beginning, under another policy and in the time that is left. */
  anewUnder(policy: PolicyInForce, because: Anew): Visit {
    const { region, arrivedAtMs, deadlineMs, hopFrom, turns } = this;
    const next = new Visit(region, policy, arrivedAtMs, deadlineMs, hopFrom, [...turns, because]);
    next.trace = this.trace;
    return next;
  }

  /** Adds one metric to `Server-Timing`, of something that has ended now. */
  timed(name: string, ms: number): void {
    this.#timings += `${name};dur=${ms.toFixed(2)}, `;
    const [part, waitFor] = TIMED_PARTS[name] ?? [];
    if (part !== undefined) {
      this.trace.took(part, ms, waitFor === undefined ? {} : { [ATTRIBUTES.waitFor]: waitFor });
    }
  }

  #serverTiming(nowMs: number): string {
    return `${this.#timings}${this.region};dur=${(nowMs - this.arrivedAtMs).toFixed(2)}`;
  }

  /** The home's answer as this edge's answer; what the home said of itself is kept for the stamp. */
  relay(status: number, headers: readonly [string, string][], body: PeerBody): Response {
    const passed = new Headers();
    for (const [name, value] of headers) {
      if (OWN_FIELDS.has(name)) this.#relayed.set(name, value);
      else passed.append(name, value);
      if (name === SESSION_HEADER) this.tokenFromHome = value;
    }
    return new Response(body, { status, headers: passed });
  }

  /** The session as the client should keep it; undefined when it holds what is true already. */
  sessionToTell(): Session | undefined {
    // The home that answered a relayed request has told it already, knowing more.
    if (this.#relayed.size > 0) return undefined;
    // A redirect has seen nothing. The client takes the token that it has to the home.
    if (this.decision.kind === 'redirect') return undefined;
    const changed = this.session !== (this.sessionBefore ?? NO_SESSION);
    return changed || this.retell ? this.session : undefined;
  }

  /** The header fields that every answer carries. */
  fields(nowMs: number): [string, string][] {
    const relayed = (name: string) => this.#relayed.get(name);
    const fields: [string, string][] = [
      ['domicile-served-by', relayed('domicile-served-by') ?? this.#servedBy()],
      ['domicile-decision', joined(this.#decision(), relayed('domicile-decision'))],
      ['server-timing', joined(this.#serverTiming(nowMs), relayed('server-timing'))],
    ];
    fields.push(['domicile-policy', this.policy.field]);
    const home = relayed('domicile-home') ?? this.home;
    if (home !== undefined) fields.push(['domicile-home', home]);
    const level = relayed(CONSISTENCY_HEADER) ?? this.#level();
    if (level !== undefined) fields.push([CONSISTENCY_HEADER, level]);
    const staleness =
      relayed('domicile-staleness-ms') ??
      (this.stalenessMs === undefined ? undefined : String(Math.ceil(this.stalenessMs)));
    if (staleness !== undefined) fields.push(['domicile-staleness-ms', staleness]);
    if (this.durability !== undefined) fields.push(['domicile-durability', this.durability]);
    return fields;
  }

  #servedBy(): string {
    return this.decision.kind === 'serve' ? `${this.region}/${this.decision.node}` : this.region;
  }

  /** The level that was kept; undefined where nothing was read or written. */
  #level(): string | undefined {
    return this.decision.kind === 'serve' ? levelText(this.level) : undefined;
  }

  /** One member of the `Domicile-Decision` list, in the syntax of RFC 9651 structured fields. */
  #decision(): string {
    const { decision } = this;
    const passed = this.passedOver.length === 0 ? '' : `;passed-over="${this.#passedOver()}"`;
    switch (decision.kind) {
      case 'serve':
        return `serve;node=${decision.node};rung=${decision.rung}${passed}`;
      case 'forward':
        return `forward;to=${decision.to}${passed}`;
      case 'redirect':
        return `redirect;to=${decision.to}`;
      case 'refuse':
        return `refuse;because=${decision.because}${passed}`;
      case 'answer':
        return 'answer';
    }
  }

  #passedOver(): string {
    return this.passedOver.map(({ node, because }) => `${node}:${because}`).join(' ');
  }
}

function joined(ours: string, theirs: string | undefined): string {
  return theirs === undefined ? ours : `${ours}, ${theirs}`;
}
