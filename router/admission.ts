/**
 * May this request begin?
 *
 * Asked before any work is done for it. Clients, hops and the questions of other edges have a share
 * each, so that none can crowd out another; what each may have of its share follows from how far
 * the process is behind (`policies/request-limit.ts`). Nobody waits here. Why a loaded edge cannot
 * make its peers wait for each other in a circle is told in `docs/decisions/0017-backpressure.md`.
 */
import { LRUCache } from 'lru-cache';
import {
  afterLook,
  isBehind,
  type LimitBounds,
  openLimit,
  type RequestLimit,
} from '../policies/request-limit.ts';
import { type Place, Share, type ShareStats } from './share.ts';

/**
 * - `client`: from outside, wherever its data is.
 * - `hop`: sent on by an edge abroad, which has taken it from its client.
 * - `question`: of an edge abroad about the directory or a claim; short, and asks nobody else.
 * - `stranger`: says that it is one of the last two, and comes from an edge that was never heard of.
 */
export type Comer = 'client' | 'hop' | 'question' | 'stranger';

export type AdmissionOptions = {
  requestsMax: number;
  heldBytesMax: number;
  /** How late the process may come to its work, all the time, before it lets in less. */
  queueMsMax: number;
};

export type Admitted =
  | { kind: 'admitted'; place: Place }
  | { kind: 'refused'; retryAfterMs: number };

export type AdmissionStats = Record<Comer, ShareStats & { limit: number }> & {
  /** How late the process came to its work when it was looked at last, in milliseconds. */
  behindMs: number;
};

/** Often enough to see a delay that a client would; each look costs a few microseconds. */
const LOOK_EVERY_MS = 25;
/**
 * A turn of the event loop that has lasted for so many times the bound sheds by itself, before a
 * standing delay was seen: without it, each turn would find more work than the one before.
 */
const SUDDEN = 2;
/** Hops have cost another edge work already: they are shed this much later than clients. */
const HOPS_LATER = 2;
/** Questions are short. */
const QUESTIONS_PART = 4;
/** New edges prove who they are with their first hop; this many may be at it at once. */
const STRANGERS_MAX = 16;
/** Senders are edge processes, as in `hop.ts`. */
const SENDERS_MAX = 4_096;

export class Admission {
  #shares: Record<Comer, Share>;
  #bounds: LimitBounds;
  #limit: RequestLimit;
  #proven = new LRUCache<string, true>({ max: SENDERS_MAX });
  #behindMs = 0;
  /** When the turn of the event loop began in which requests are let in now. */
  #turnBeganAtMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor({ requestsMax, heldBytesMax, queueMsMax }: AdmissionOptions) {
    const share = (max: number) => new Share({ requestsMax: max, bytesMax: heldBytesMax });
    this.#shares = {
      client: share(requestsMax),
      hop: share(requestsMax),
      question: share(Math.ceil(requestsMax / QUESTIONS_PART)),
      stranger: share(STRANGERS_MAX),
    };
    this.#bounds = { requestsMax, delayMsMax: queueMsMax };
    this.#limit = openLimit(this.#bounds);
  }

  /** From here on it is known how far the process is behind. */
  start(now: () => number): void {
    let dueAtMs = now() + LOOK_EVERY_MS;
    this.#timer = setInterval(() => {
      const nowMs = now();
      this.look(Math.max(0, nowMs - dueAtMs));
      dueAtMs = nowMs + LOOK_EVERY_MS;
    }, LOOK_EVERY_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  enter(comer: Comer, bytes: number, nowMs: number): Admitted {
    const share = this.#shares[comer];
    const place = this.#isLate(comer, nowMs)
      ? share.refuse()
      : share.enter(bytes, nowMs, this.#limitOf(comer));
    if (place !== undefined) return { kind: 'admitted', place };
    return { kind: 'refused', retryAfterMs: share.retryAfterMs };
  }

  /** An edge that calls itself so has signed a hop. */
  prove(sender: string): void {
    this.#proven.set(sender, true);
  }

  isProven(sender: string | undefined): boolean {
    return sender !== undefined && this.#proven.has(sender);
  }

  /** The process came to its work this late. */
  look(delayMs: number): void {
    this.#behindMs = delayMs;
    const { client, hop } = this.#shares;
    const look = { delayMs, clientsUnderWay: client.underWay, hopsUnderWay: hop.underWay };
    this.#limit = afterLook(this.#limit, look, this.#bounds);
  }

  /**
   * Whoever is met in one turn of the event loop had been waiting when it began. Handlers that only
   * compute are never under way together, so their queue is there and nowhere else.
   */
  #isLate(comer: Comer, nowMs: number): boolean {
    if (this.#turnBeganAtMs === undefined) {
      this.#turnBeganAtMs = nowMs;
      setImmediate(() => {
        this.#turnBeganAtMs = undefined;
      });
      return false;
    }
    const boundMs = this.#bounds.delayMsMax * (comer === 'client' ? 1 : HOPS_LATER);
    const waitedMs = nowMs - this.#turnBeganAtMs;
    return waitedMs > boundMs * (isBehind(this.#limit) ? 1 : SUDDEN);
  }

  stats(): AdmissionStats {
    const of = (comer: Comer) => ({
      ...this.#shares[comer].stats(),
      limit: this.#limitOf(comer),
    });
    return {
      client: of('client'),
      hop: of('hop'),
      question: of('question'),
      stranger: of('stranger'),
      behindMs: Math.round(this.#behindMs),
    };
  }

  #limitOf(comer: Comer): number {
    switch (comer) {
      case 'client':
        return this.#limit.clients;
      case 'hop':
        return this.#limit.hops;
      default:
        return this.#shares[comer].bounds.requestsMax;
    }
  }
}
