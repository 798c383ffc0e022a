/**
 * How does one client carry out a plan, and what is noted of it?
 *
 * One operation after the other. With an idempotency key, an operation is sent until it is answered
 * for good, at the same edge or another one; without, once. It has ended as soon as nothing more
 * will be sent for it. When any attempt may have been done and none was acknowledged, the outcome
 * is `unknown`, whatever the last one said. Whoever does not know what they did goes on as somebody
 * new: a client number has one operation under way, and that one may be under way for ever.
 */
import { Agent } from 'node:http';
import type { Action, Operation, Outcome, Shown, Told, Value } from '../history.ts';
import { askEdge, type Exchange } from './ask-edge.ts';
import type { Plan } from './next-plan.ts';
import type { Population } from './population.ts';
import { problemOf, readOutcome, SESSION_BEGINS_ANEW } from './read-outcome.ts';
import type { Sessions } from './sessions.ts';
import { requestOf, shownBy } from './witness-requests.ts';

export type ClientOptions = {
  population: Population;
  sessions: Sessions;
  /** The number that it begins with. */
  number: number;
  /** Numbers for clients who go on as somebody new, and for operations. */
  draw: { client: () => number; operation: () => number };
  now: () => number;
  /** Resolves after so many milliseconds, or early when all clients are to end. */
  rest: (ms: number) => Promise<void>;
  isEnding: () => boolean;
  /** Of one attempt. */
  answerMsMax: number;
  /** Of one operation: no attempt begins later. */
  retryMsMax: number;
};

/** A first retry soon, for a connection that was refused; later ones give a region time to heal. */
const FIRST_PAUSE_MS = 60;
const PAUSE_MS_MAX = 1_500;

export class Client {
  readonly #options: ClientOptions;
  readonly #agent = new Agent({ keepAlive: true });
  #number: number;
  /** What registers held when this client last heard of them. */
  readonly #lastSeen = new Map<string, Value | undefined>();

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#number = options.number;
  }

  async carryOut(plan: Plan): Promise<Operation> {
    const { sessions, draw, now } = this.#options;
    const { subject, level, key } = plan;
    if (plan.newSession) sessions.forget(subject.id);
    const { session } = sessions.of(subject.id);
    const action = this.#filledIn(plan);
    const client = this.#number;
    const id = draw.operation();
    const invokedAtMs = now();
    const attempts = await this.#attempt(plan, action, invokedAtMs);
    const endedAtMs = now();
    const { outcome } = attempts;
    if (outcome.kind === 'unknown') this.#number = draw.client();
    if (outcome.kind === 'ok') this.#remember(subject.id, action, outcome.shown);
    const [first, ...others] = attempts.askedAt;
    return {
      id,
      client,
      session,
      subject: subject.id,
      home: subject.home,
      edge: first ?? '',
      action,
      level,
      ...(plan.maxStalenessMs !== undefined && { maxStalenessMs: plan.maxStalenessMs }),
      keyed: key !== undefined,
      attempts: attempts.askedAt.length,
      invokedAtMs,
      endedAtMs,
      outcome,
      ...(attempts.told !== undefined && { told: attempts.told }),
      ...(attempts.guaranteeLost && { guaranteeLost: true }),
      ...(others.length > 0 && { retriedAt: others }),
    };
  }

  close(): void {
    this.#agent.destroy();
  }

  async #attempt(plan: Plan, action: Action, invokedAtMs: number) {
    const { population, sessions, now, rest, isEnding, answerMsMax, retryMsMax } = this.#options;
    const { subject, key } = plan;
    const mark =
      action.kind === 'notice-write'
        ? population.noticeMark(subject.home)
        : population.privateMark(subject.home);
    const request = requestOf(subject.id, action, mark.text);
    const tokens = sessions.of(subject.id);
    const askedAt: string[] = [];
    let told: Told | undefined;
    let guaranteeLost = false;
    let unsure: string | undefined;
    const ended = (outcome: Outcome) => ({ outcome, told, guaranteeLost, askedAt });

    for (const edge of plan.edges) {
      askedAt.push(edge.region);
      const sent = tokens.sent;
      const exchange = await askEdge(
        edge.url,
        { ...request, headers: headersOf(plan, sent) },
        { agent: this.#agent, limitMs: answerMsMax },
      );
      if (exchange.kind === 'answered') {
        told = toldBy(exchange);
        tokens.answered(sent, text(exchange.headers['domicile-session']));
        if (told.problem !== undefined) guaranteeLost ||= SESSION_BEGINS_ANEW.has(told.problem);
      }
      const outcome = readOutcome(exchange);
      let again = true;
      let because: string;
      if (outcome.kind === 'ok') {
        const shown = shownBy(action, outcome.body);
        if (shown !== undefined) return ended({ kind: 'ok', shown });
        because = unsure = `${told?.status} with another answer than the app gives`;
      } else if (outcome.kind === 'unknown') {
        because = unsure = outcome.because;
      } else {
        ({ because, again } = outcome);
      }
      const pauseMs = Math.min(FIRST_PAUSE_MS * 2 ** (askedAt.length - 1), PAUSE_MS_MAX);
      const isLast =
        key === undefined ||
        !again ||
        askedAt.length === plan.edges.length ||
        now() + pauseMs - invokedAtMs > retryMsMax;
      if (!isLast && !isEnding()) await rest(pauseMs);
      if (!isLast && !isEnding()) continue;
      return ended(
        unsure === undefined ? { kind: 'fail', because } : { kind: 'unknown', because: unsure },
      );
    }
    throw new Error('a plan without edges');
  }

  #filledIn({ subject, action }: Plan): Action {
    if (action.kind !== 'register-swap') return action;
    return { ...action, expected: this.#lastSeen.get(`${subject.id} ${action.register}`) };
  }

  #remember(subject: string, action: Action, shown: Shown): void {
    if (!('register' in action)) return;
    const at = `${subject} ${action.register}`;
    if (shown.kind === 'unchanged') this.#lastSeen.set(at, shown.found);
    else if (action.kind === 'register-read' && shown.kind === 'register') {
      this.#lastSeen.set(at, shown.value);
    } else if (action.kind !== 'register-read') this.#lastSeen.set(at, action.value);
  }
}

function headersOf({ level, maxStalenessMs, key }: Plan, tokens: readonly string[]) {
  return {
    'domicile-consistency':
      maxStalenessMs === undefined ? level : `bounded; max-staleness=${maxStalenessMs}ms`,
    ...(tokens.length > 0 && { 'domicile-session': tokens.join(', ') }),
    ...(key !== undefined && { 'idempotency-key': `"${key}"` }),
  };
}

function toldBy(exchange: Extract<Exchange, { kind: 'answered' }>): Told {
  const { status, headers } = exchange;
  const stalenessMs = text(headers['domicile-staleness-ms']);
  const fields = {
    servedBy: text(headers['domicile-served-by']),
    decision: text(headers['domicile-decision']),
    consistency: text(headers['domicile-consistency']),
    stalenessMs: stalenessMs === undefined ? undefined : Number(stalenessMs),
    durability: text(headers['domicile-durability']),
    policy: text(headers['domicile-policy']),
    replayed: headers['idempotency-replayed'] === 'true' ? true : undefined,
    problem: problemOf(exchange)?.kind,
  };
  const said = Object.entries(fields).filter(([, value]) => value !== undefined);
  return { status, ...(Object.fromEntries(said) as Omit<Told, 'status'>) };
}

function text(field: string | string[] | undefined): string | undefined {
  return typeof field === 'string' ? field : undefined;
}
