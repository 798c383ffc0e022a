/**
 * What was last seen of each node of one region?
 *
 * Memory only: whoever looks at the nodes writes here, whoever decides reads. Times are those of
 * one process's monotonic clock, handed in; clocks of two machines are never compared.
 */
import type { Lsn, Position } from './position.ts';

export type Role = 'primary' | 'replica';

export type Sighting = {
  node: string;
  role: Role;
  /** Last flushed record on a primary, last replayed one on a replica. */
  at: Position;
  /**
   * Names one start of one server. A replica that crashed may come back *behind* what it served
   * before, so nothing learned from an earlier incarnation holds.
   */
  incarnation: string;
  /** Monotonic milliseconds when the question was sent, so never later than the truth. */
  seenAtMs: number;
  /**
   * Every commit acknowledged before this moment was visible at the sighting. Equal to
   * `seenAtMs` on a primary; undefined while a replica has not reached any primary sample.
   */
  freshAsOfMs: number | undefined;
};

/** How far another region's data had come here, by the pulse that travels with it. */
export type MirrorSighting = {
  region: string;
  /** The local node, and its start, on which the pulse was seen. */
  node: string;
  incarnation: string;
  /** Position in the home region's log that everything mirrored here has reached. */
  at: Position;
  /** Age of that state when it was seen, by the home's clock against this region's. */
  ageMs: number;
  seenAtMs: number;
};

/** 64 samples a quarter of a second apart measure up to 16 s of lag; beyond, staleness is unknown. */
const PRIMARY_SAMPLES_MAX = 64;

export class Sightings {
  #nodes = new Map<string, Sighting>();
  #mirrors = new Map<string, MirrorSighting>();
  /** Oldest first; LSNs grow with time on one timeline. */
  #primarySamples: { at: Position; seenAtMs: number }[] = [];

  /** Stores what was seen, unless something later is known already. */
  record(seen: Omit<Sighting, 'freshAsOfMs'>): void {
    const earlier = this.#nodes.get(seen.node);
    if (earlier !== undefined && sameHistory(earlier, seen) && earlier.seenAtMs > seen.seenAtMs)
      return;
    if (seen.role === 'primary') {
      this.#sample(seen);
      this.#nodes.set(seen.node, { ...seen, freshAsOfMs: seen.seenAtMs });
      return;
    }
    const continues = earlier !== undefined && sameHistory(earlier, seen);
    const freshAsOfMs = this.#freshAsOf(seen.at) ?? (continues ? earlier.freshAsOfMs : undefined);
    const at = continues && earlier.at.lsn > seen.at.lsn ? earlier.at : seen.at;
    this.#nodes.set(seen.node, { ...seen, at, freshAsOfMs });
  }

  /** A replica was found at `lsn` outside the regular look: replay only grows, so keep it. */
  advance(node: string, incarnation: string, lsn: Lsn): void {
    const seen = this.#nodes.get(node);
    if (seen === undefined || seen.incarnation !== incarnation || seen.at.lsn >= lsn) return;
    this.#nodes.set(node, { ...seen, at: { ...seen.at, lsn } });
  }

  /** Nothing learned of this node holds any longer. */
  forget(node: string): void {
    this.#nodes.delete(node);
    for (const [region, seen] of this.#mirrors) {
      if (seen.node === node) this.#mirrors.delete(region);
    }
  }

  recordMirror(seen: MirrorSighting): void {
    this.#mirrors.set(seen.region, seen);
  }

  of(node: string): Sighting | undefined {
    return this.#nodes.get(node);
  }

  mirrorOf(region: string): MirrorSighting | undefined {
    return this.#mirrors.get(region);
  }

  all(): IterableIterator<Sighting> {
    return this.#nodes.values();
  }

  mirrors(): IterableIterator<MirrorSighting> {
    return this.#mirrors.values();
  }

  #sample(seen: Omit<Sighting, 'freshAsOfMs'>): void {
    const last = this.#primarySamples.at(-1);
    const continues =
      last !== undefined &&
      last.at.systemId === seen.at.systemId &&
      last.at.timeline === seen.at.timeline;
    if (!continues) this.#primarySamples.length = 0;
    this.#primarySamples.push({ at: seen.at, seenAtMs: seen.seenAtMs });
    if (this.#primarySamples.length > PRIMARY_SAMPLES_MAX) this.#primarySamples.shift();
  }

  #freshAsOf(replayed: Position): number | undefined {
    for (let i = this.#primarySamples.length - 1; i >= 0; i--) {
      const sample = this.#primarySamples[i];
      if (sample === undefined || sample.at.systemId !== replayed.systemId) return undefined;
      if (sample.at.timeline !== replayed.timeline) return undefined;
      if (sample.at.lsn <= replayed.lsn) return sample.seenAtMs;
    }
    return undefined;
  }
}

function sameHistory(
  a: { incarnation: string; at: Position; role: Role },
  b: { incarnation: string; at: Position; role: Role },
): boolean {
  return (
    a.incarnation === b.incarnation &&
    a.role === b.role &&
    a.at.systemId === b.at.systemId &&
    a.at.timeline === b.at.timeline
  );
}
