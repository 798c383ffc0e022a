/**
 * Should another write be sent to a primary that does not acknowledge?
 *
 * A commit that waits for a lost standby cannot be taken back: it keeps a server process until the
 * standby returns, whatever the client does. So after one has timed out, a single commit at a
 * time finds out whether commits are acknowledged again, and the others wait without a connection.
 */

/** One stuck server process a second fills a primary's hundred connections in over a minute. */
export const STALL_PROBE_EVERY_MS = 1_000;

export class StallGuard {
  #stalled = false;
  #nextProbeAtMs = 0;
  #probeEveryMs: number;

  constructor(probeEveryMs = STALL_PROBE_EVERY_MS) {
    this.#probeEveryMs = probeEveryMs;
  }

  get isStalled(): boolean {
    return this.#stalled;
  }

  /** Whether a write may be sent now. */
  admits(nowMs: number): boolean {
    if (!this.#stalled) return true;
    if (nowMs < this.#nextProbeAtMs) return false;
    this.#nextProbeAtMs = nowMs + this.#probeEveryMs;
    return true;
  }

  timedOut(nowMs: number): void {
    this.#stalled = true;
    this.#nextProbeAtMs = nowMs + this.#probeEveryMs;
  }

  acknowledged(): void {
    this.#stalled = false;
  }
}
