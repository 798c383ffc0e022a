/**
 * Where do requests wait while their region has no primary?
 *
 * Here, and not in line for a connection: one that waits at a server which has gone learns nothing
 * of the next one. Nobody asks again and again; news of a primary wakes everybody, and each one
 * looks whether it is the news that it waited for. A region that has had no primary for longer than
 * a failover takes keeps nobody waiting.
 */

/** A failover takes six seconds at worst, and its news some more. What takes longer is an outage. */
export const PATIENCE_MS = 8_000;

/** What is left of the budget when the wait ends in vain: enough to say so in time. */
export const ANSWER_MS = 50;

export type WaitingRoomOptions = {
  placesMax: number;
  now: () => number;
  /** Somebody has begun to wait. */
  onWait: () => void;
};

type Waiter = { wake: () => void; timer: NodeJS.Timeout };

export class WaitingRoom {
  #options: WaitingRoomOptions;
  #waiting = new Set<Waiter>();
  #turnedAway = 0;
  #lastSignMs: number;

  constructor(options: WaitingRoomOptions) {
    this.#options = options;
    this.#lastSignMs = options.now();
  }

  /** The region's primary has acknowledged a commit, or is a new one. */
  signOfLife(): void {
    this.#lastSignMs = this.#options.now();
  }

  /** Something was learned of a primary. */
  news(): void {
    for (const waiter of [...this.#waiting]) waiter.wake();
  }

  /** Whether there was news in time. False at once where waiting is in vain, or too many do it. */
  async wait(deadlineMs: number): Promise<boolean> {
    const { now, placesMax, onWait } = this.#options;
    const untilMs = Math.min(deadlineMs - ANSWER_MS, this.#lastSignMs + PATIENCE_MS);
    const leftMs = untilMs - now();
    if (leftMs <= 0) return false;
    if (this.#waiting.size >= placesMax) {
      this.#turnedAway++;
      return false;
    }
    const news = Promise.withResolvers<boolean>();
    const end = (isNews: boolean) => {
      clearTimeout(waiter.timer);
      this.#waiting.delete(waiter);
      news.resolve(isNews);
    };
    const waiter = { wake: () => end(true), timer: setTimeout(end, Math.ceil(leftMs), false) };
    this.#waiting.add(waiter);
    onWait();
    return news.promise;
  }

  stats(): { waiting: number; turnedAway: number } {
    return { waiting: this.#waiting.size, turnedAway: this.#turnedAway };
  }
}
