/**
 * Whom did this edge turn away lately, and why?
 *
 * The last ones, whether their traces are recorded or not. Nothing in them says who asked.
 */
import type { RecordedRefusal } from './telemetry.ts';

/** Enough for a page that a person reads, and under a MB. */
export const REFUSALS_MAX = 200;

export class RecentRefusals {
  #kept: RecordedRefusal[] = [];
  /** Where the next one goes, once there are as many as are kept. */
  #next = 0;

  add(refusal: RecordedRefusal): void {
    this.#kept[this.#next] = refusal;
    this.#next = (this.#next + 1) % REFUSALS_MAX;
  }

  /** Newest first. */
  all(): RecordedRefusal[] {
    return [...this.#kept.slice(this.#next), ...this.#kept.slice(0, this.#next)].reverse();
  }
}
