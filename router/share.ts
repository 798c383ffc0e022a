/**
 * How much of one kind is under way, and may one more begin?
 *
 * A share is counted in requests and in bytes of their bodies, and nobody waits for a place in it:
 * who finds none is refused at once and told when to come again. One share never takes from another,
 * which is how a slow neighbour, or a crowd of one kind, is kept from what the others need.
 */

/** One part in so many of the mean is the latest. */
const MEAN_OVER = 16;
/** Nobody can plan further ahead; a later time would only keep clients away for longer. */
const RETRY_AFTER_MS_MAX = 30_000;

export type ShareBounds = { requestsMax: number; bytesMax: number };

export type ShareStats = {
  underWay: number;
  max: number;
  bytesHeld: number;
  refused: number;
};

/** A request's place. Leaving twice is leaving once. */
export class Place {
  #share: Share;
  #bytes: number;
  readonly enteredAtMs: number;
  #left = false;

  constructor(share: Share, bytes: number, enteredAtMs: number) {
    this.#share = share;
    this.#bytes = bytes;
    this.enteredAtMs = enteredAtMs;
  }

  /** Counts further bytes, if there is room for them. */
  holds(bytes: number): boolean {
    if (this.#left || !this.#share.takeBytes(bytes)) return false;
    this.#bytes += bytes;
    return true;
  }

  leave(nowMs: number): void {
    if (this.#left) return;
    this.#left = true;
    this.#share.giveBack(this.#bytes, nowMs - this.enteredAtMs);
  }
}

export class Share {
  readonly bounds: ShareBounds;
  #underWay = 0;
  #bytes = 0;
  #refused = 0;
  /** Recent mean of the time that a place is taken. */
  #takenMs = 0;
  #left = 0;

  constructor(bounds: ShareBounds) {
    this.bounds = bounds;
  }

  get underWay(): number {
    return this.#underWay;
  }

  /** A place for a request whose body has so many bytes; of a share that holds none, any body is taken. */
  enter(bytes: number, nowMs: number, requestsMax = this.bounds.requestsMax): Place | undefined {
    if (this.#underWay >= requestsMax || !this.takeBytes(bytes)) return this.refuse();
    this.#underWay++;
    return new Place(this, bytes, nowMs);
  }

  refuse(): undefined {
    this.#refused++;
  }

  /** By then those who are under way now have left, as far as the recent past tells. */
  get retryAfterMs(): number {
    return Math.min(RETRY_AFTER_MS_MAX, this.#takenMs);
  }

  stats(): ShareStats {
    return {
      underWay: this.#underWay,
      max: this.bounds.requestsMax,
      bytesHeld: this.#bytes,
      refused: this.#refused,
    };
  }

  /** @internal */
  takeBytes(bytes: number): boolean {
    if (this.#bytes > 0 && this.#bytes + bytes > this.bounds.bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  /** @internal */
  giveBack(bytes: number, takenMs: number): void {
    this.#underWay--;
    this.#bytes -= bytes;
    this.#left = Math.min(MEAN_OVER, this.#left + 1);
    this.#takenMs += (takenMs - this.#takenMs) / this.#left;
  }
}
