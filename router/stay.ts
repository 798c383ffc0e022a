/**
 * Which place does a request take, from before anything is done for it until its answer is made?
 *
 * Who sends a hop is believed when its signature fits, and that takes its body. Until then a sender
 * that has signed before is taken at its word, and any other has one of a few places for strangers,
 * so that nobody outside can crowd the hops by claiming to be one.
 */
import type { Comer } from './admission.ts';
import type { Edge } from './edge.ts';
import { announcedBytes } from './held-body.ts';
import { HOP_HEADER, isSafe, senderOf } from './hop.ts';
import { Refusal } from './problem.ts';
import type { Place } from './share.ts';

/** Where edges ask each other; everything else belongs to the app. */
export const BETWEEN_EDGES = '/.domicile/';
/** Taken in without a place: it is looked at most when there is none. */
export const HEALTH = `${BETWEEN_EDGES}health`;
/** What the console of another region asks, second for second. */
export const CONSOLE_QUESTION = `${BETWEEN_EDGES}console`;
/** What it asks for its part of one trace. */
export const TRACE_QUESTION = `${CONSOLE_QUESTION}/traces/`;

/** Asked by whoever looks at an edge: no request of anybody's. What a client writes behind a `?` is its own. */
export function isLook(url: string): boolean {
  return (
    isAt(url, HEALTH) || isAt(url, CONSOLE_QUESTION) || url.startsWith(TRACE_QUESTION, pathAt(url))
  );
}

function pathAt(url: string): number {
  return url.indexOf('/', url.indexOf('://') + 3);
}

function isAt(url: string, path: string): boolean {
  const from = pathAt(url);
  return url.length === from + path.length && url.startsWith(path, from);
}

export class Stay {
  readonly hopHeader: string | null;
  #edge: Edge;
  #request: Request;
  #comer: Comer = 'client';
  #place: Place | undefined;

  constructor(edge: Edge, request: Request) {
    this.#edge = edge;
    this.#request = request;
    this.hopHeader = request.headers.get(HOP_HEADER);
  }

  /** Undefined when it may begin. */
  begin(): Refusal | undefined {
    const { hopHeader } = this;
    if (hopHeader !== null) {
      const proven = this.#edge.admission.isProven(senderOf(hopHeader));
      return this.#enter(proven ? this.#kindOfHop() : 'stranger');
    }
    return isAt(this.#request.url, HEALTH) ? undefined : this.#enter('client');
  }

  /** The hop is genuine. Undefined when it may go on. */
  proven(): Refusal | undefined {
    const sender = senderOf(this.hopHeader ?? '');
    if (sender !== undefined) this.#edge.admission.prove(sender);
    if (this.#comer !== 'stranger') return undefined;
    this.end();
    return this.#enter(this.#kindOfHop());
  }

  end(): void {
    this.#place?.leave(this.#edge.now());
  }

  #enter(comer: Comer): Refusal | undefined {
    const { admission, here, limits, now } = this.#edge;
    const { method, headers } = this.#request;
    const header = (name: string) => headers.get(name);
    const bytes = isSafe(method) ? 0 : announcedBytes(header, limits.bodyBytesMax);
    this.#comer = comer;
    const admitted = admission.enter(comer, bytes, now());
    if (admitted.kind === 'admitted') {
      this.#place = admitted.place;
      return undefined;
    }
    const { retryAfterMs } = admitted;
    return new Refusal({
      kind: 'overloaded',
      where: { kind: 'edge', region: here },
      retryAfterMs,
    });
  }

  #kindOfHop(): Comer {
    return new URL(this.#request.url).pathname.startsWith(BETWEEN_EDGES) ? 'question' : 'hop';
  }
}
