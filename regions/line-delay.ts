/**
 * How long would one more caller stand in this line?
 *
 * As long as those before it need, at the pace at which the served ones have come home lately. When
 * nobody has come home for longer than that, the pace is not what it was, so the silence counts. A
 * line that has not been empty for a while is a standing one: it makes every answer late and none
 * more likely, so it is kept short. Times are handed in.
 */

/** One part in so many of the mean is the latest; a single outlier is forgotten after some dozens. */
const MEAN_OVER = 16;
/**
 * What a line may hold for so long is a burst, which it is there for (RFC 8289, section 3.2). And so
 * long must nobody have waited, or wanted to, before there can be another one.
 */
export const BURST_MS_MAX = 100;

/** A shorter silence is a server at work, or this process. */
export const SILENCE_MS_MIN = 20;

export class LineDelay {
  #serviceMs = 0;
  #served = 0;
  #lastHomeAtMs = Number.NEGATIVE_INFINITY;
  /** Since when somebody has been waiting, without a moment in which nobody was. */
  #beganAtMs: number | undefined;
  /** The same, but for moments that were shorter than a burst. */
  #standsSinceMs: number | undefined;
  #lastOneAtMs = Number.NEGATIVE_INFINITY;

  /** Recent mean of the time that one is served. */
  get serviceMs(): number {
    return this.#serviceMs;
  }

  cameHome(servedMs: number, nowMs: number): void {
    this.#lastHomeAtMs = nowMs;
    // The first ones are a mean by themselves, or a cold pool would look fast.
    this.#served = Math.min(MEAN_OVER, this.#served + 1);
    this.#serviceMs += (servedMs - this.#serviceMs) / this.#served;
  }

  /** Tells how many wait, whenever that has changed. */
  waits(waiting: number, nowMs: number): void {
    if (waiting === 0) {
      if (this.#beganAtMs !== undefined) this.#lastOneAtMs = nowMs;
      this.#beganAtMs = undefined;
    } else if (this.#beganAtMs === undefined) {
      this.#beganAtMs = nowMs;
      if (nowMs - this.#lastOneAtMs > BURST_MS_MAX) this.#standsSinceMs = nowMs;
    }
  }

  /** Somebody came who was not let into the line: it is as good as full. */
  turnedAway(nowMs: number): void {
    this.#lastOneAtMs = nowMs;
  }

  /** Until one who joins behind `waiting` others would be served. */
  expectedMs(waiting: number, servers: number, nowMs: number): number {
    const silentMs = nowMs - Math.max(this.#lastHomeAtMs, this.#beganAtMs ?? nowMs);
    const slowestMs = silentMs < SILENCE_MS_MIN ? 0 : silentMs;
    return ((waiting + 1) / servers) * Math.max(this.#serviceMs, slowestMs);
  }

  isStanding(nowMs: number): boolean {
    if (this.#standsSinceMs === undefined) return false;
    if (this.#beganAtMs === undefined && nowMs - this.#lastOneAtMs > BURST_MS_MAX) return false;
    return nowMs - this.#standsSinceMs > BURST_MS_MAX;
  }
}
