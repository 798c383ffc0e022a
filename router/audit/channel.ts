/**
 * What did a look for canaries find in one place, and does its silence mean anything?
 *
 * A channel is one way in which data could be somewhere: a data directory, the memory of a process,
 * a wire. Each look also searches for a control, a string that was put there on purpose just
 * before. A channel whose control is not found was not looked at, whatever else it says.
 */
import type { Place } from '../../policies/may-hold.ts';
import type { CanaryScanner, Hit } from './canary-scanner.ts';

/** A file, an object or a memory region, and where in it. */
export type LocatedHit = Hit & { at: string };

export type Look = {
  /** `eu-x data directory`, `us as peer of eu: base backup`. */
  name: string;
  /** Who can have these bytes. */
  place: Place;
  positiveControl: boolean;
  hits: readonly LocatedHit[];
  bytes: number;
  /** Why the look is not complete, in words; undefined when it is. */
  because: string | undefined;
};

/** More hits than this in one channel say nothing new. */
export const HITS_MAX = 10_000;

/** Collects what a scanner finds in the parts of one channel, control and canaries apart. */
export class Gathering {
  readonly hits: LocatedHit[] = [];
  /** Where the control was found. */
  readonly controlAt = new Set<string>();
  bytes = 0;
  readonly #scanner: CanaryScanner;
  readonly #control: string;

  constructor(scanner: CanaryScanner, control: string) {
    this.#scanner = scanner;
    this.#control = control;
  }

  /** A part with a name of its own, whose bytes follow each other. */
  part(at: string): (bytes: Buffer) => void {
    const stream = this.#scanner.stream();
    return (bytes) => {
      this.bytes += bytes.length;
      for (const hit of stream.push(bytes)) {
        if (hit.canary === this.#control) this.controlAt.add(at);
        else if (this.hits.length < HITS_MAX) this.hits.push({ ...hit, at });
      }
    };
  }
}
