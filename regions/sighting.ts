/**
 * What was last seen of each node of one region?
 *
 * Memory only: whoever looks at the nodes writes here, whoever decides reads. Times are those of
 * one process's monotonic clock, handed in; clocks of two machines are never compared.
 */
import type { History, Lsn, Position } from './position.ts';

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
   * Every commit acknowledged before this moment, by whichever server was the primary then, was
   * visible at the sighting. Undefined while nothing is known of that.
   */
  freshAsOfMs: number | undefined;
  /** A primary's commits up to here were acknowledged cleanly: its standby has them as well. */
  acknowledged: Lsn | undefined;
  /** Whether a replica follows closely enough that a read may wait for it. True of a primary. */
  keepsUp: boolean;
  /** Whether a primary's commits wait for a standby; undefined where nobody has looked. */
  synchronous?: boolean | undefined;
};

/** What one look at a node shows. */
export type Look = Pick<
  Sighting,
  'node' | 'role' | 'at' | 'incarnation' | 'seenAtMs' | 'synchronous'
>;

/** A commit that its primary has acknowledged cleanly, and where its log stood afterwards. */
export type Acknowledgement = {
  node: string;
  incarnation: string;
  at: Position;
  /**
   * A position that was written before the commit, so the standby has confirmed it with the commit.
   * `at` is no such position: commits of others may have been flushed meanwhile, and still wait.
   */
  confirmed?: Lsn | undefined;
  /** Monotonic milliseconds when the transaction was sent. */
  sentAtMs: number;
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

/** 128 samples, eight a second, measure up to 16 s of lag; beyond, staleness is unknown. */
const SAMPLES_MAX = 128;

/** A replica that lacks what its primary had this long ago is not worth a wait. */
const LAG_MS_MAX = 50;
/**
 * How many looks in a row must find a lagging replica level with its primary before reads wait for
 * it again: a second, at four looks a second. One look is chance, when the lag is as long as the
 * pause between two samples.
 */
const LOOKS_TO_RECOVER = 4;

type Sample = { at: Position; seenAtMs: number };

export class Sightings {
  #nodes = new Map<string, Sighting>();
  #mirrors = new Map<string, MirrorSighting>();
  /** Positions of the primary, oldest first; LSNs grow with time on one timeline. */
  #looks: Sample[] = [];
  /** The same where a commit proved that it was the primary. */
  #acknowledged: Sample[] = [];
  /** How often in a row each lagging replica was found level. */
  #levelLooks = new Map<string, number>();
  #histories = new Map<string, History>();
  #newest: Position | undefined;
  #heard: () => void = () => {};

  /** Calls back whenever a node was seen. */
  whenSeen(then: () => void): void {
    this.#heard = then;
  }

  /** Stores what was seen, unless something later is known already. */
  record(seen: Look): void {
    const earlier = this.#nodes.get(seen.node);
    const continues = earlier !== undefined && sameHistory(earlier, seen);
    if (continues && earlier.seenAtMs > seen.seenAtMs) return;
    const at = continues && earlier.at.lsn > seen.at.lsn ? earlier.at : seen.at;
    const acknowledged = continues ? earlier.acknowledged : undefined;
    if (seen.role === 'primary') {
      this.#notice(seen.at);
      sample(this.#looks, { at: seen.at, seenAtMs: seen.seenAtMs });
      const freshAsOfMs = this.#freshAsOf(at);
      this.#nodes.set(seen.node, { ...seen, at, freshAsOfMs, acknowledged, keepsUp: true });
      this.#heard();
      return;
    }
    const freshAsOfMs = this.#freshAsOf(at) ?? (continues ? earlier.freshAsOfMs : undefined);
    const keepsUp = this.#keepsUp(seen, at, continues ? earlier.keepsUp : true);
    this.#nodes.set(seen.node, { ...seen, at, freshAsOfMs, acknowledged, keepsUp });
    this.#heard();
  }

  /** A commit came back clean: its server was the primary when it was sent. */
  acknowledge({ node, incarnation, at, confirmed, sentAtMs }: Acknowledgement): void {
    this.#notice(at);
    if (this.isSuperseded(at)) return;
    const last = this.#acknowledged.at(-1);
    // Of commits that overlap, the later answer may be of the one that was sent first.
    if (
      last === undefined ||
      !sameLog(last.at, at) ||
      (last.at.lsn <= at.lsn && last.seenAtMs <= sentAtMs)
    ) {
      sample(this.#acknowledged, { at, seenAtMs: sentAtMs });
    }
    const seen = this.#nodes.get(node);
    if (seen?.role !== 'primary' || seen.incarnation !== incarnation || !sameLog(seen.at, at))
      return;
    const acknowledged = higher(seen.acknowledged, confirmed);
    const reached = seen.at.lsn > at.lsn ? seen.at : at;
    const freshAsOfMs = Math.max(seen.freshAsOfMs ?? sentAtMs, sentAtMs);
    this.#nodes.set(node, { ...seen, at: reached, acknowledged, freshAsOfMs });
  }

  /** A standby has confirmed what this primary has written up to `lsn`. */
  release(node: string, incarnation: string, lsn: Lsn): void {
    const seen = this.#nodes.get(node);
    if (seen?.role !== 'primary' || seen.incarnation !== incarnation) return;
    if (seen.acknowledged !== undefined && seen.acknowledged >= lsn) return;
    this.#nodes.set(node, { ...seen, acknowledged: lsn });
  }

  /** A node was found at `lsn` outside the regular look: logs only grow, so keep it. */
  advance(node: string, incarnation: string, lsn: Lsn): void {
    const seen = this.#nodes.get(node);
    if (seen === undefined || seen.incarnation !== incarnation || seen.at.lsn >= lsn) return;
    this.#nodes.set(node, { ...seen, at: { ...seen.at, lsn } });
  }

  /** A read waited at this replica in vain. */
  fellBehind(node: string): void {
    const seen = this.#nodes.get(node);
    if (seen === undefined) return;
    this.#levelLooks.delete(node);
    this.#nodes.set(node, { ...seen, keepsUp: false });
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

  recordHistory(history: History): void {
    this.#histories.set(historyName(history.systemId, history.timeline), history);
  }

  /** How a timeline of this region's log came about; undefined until somebody has read it. */
  history(systemId: bigint, timeline: number): History | undefined {
    return this.#histories.get(historyName(systemId, timeline));
  }

  /**
   * Whether a newer timeline of the same log is known: then a primary on this one was replaced. It
   * is remembered for as long as this process lives, so that silence of the new primary does not
   * bring the old one back.
   */
  isSuperseded({ systemId, timeline }: Position): boolean {
    return this.#newest?.systemId === systemId && this.#newest.timeline > timeline;
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

  #notice(at: Position): void {
    const newest = this.#newest;
    if (newest?.systemId !== at.systemId || newest.timeline < at.timeline) this.#newest = at;
  }

  #freshAsOf(replayed: Position): number | undefined {
    return this.#acknowledged.findLast(({ at }) => sameLog(at, replayed) && at.lsn <= replayed.lsn)
      ?.seenAtMs;
  }

  #keepsUp({ node, seenAtMs }: Look, at: Position, before: boolean): boolean {
    const missed = this.#looks.find((sample) => sameLog(sample.at, at) && sample.at.lsn > at.lsn);
    if (missed !== undefined) {
      this.#levelLooks.delete(node);
      return before && seenAtMs - missed.seenAtMs <= LAG_MS_MAX;
    }
    if (before) return true;
    const looks = (this.#levelLooks.get(node) ?? 0) + 1;
    this.#levelLooks.set(node, looks);
    return looks >= LOOKS_TO_RECOVER;
  }
}

function higher(a: Lsn | undefined, b: Lsn | undefined): Lsn | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return a > b ? a : b;
}

function sample(samples: Sample[], one: Sample): void {
  const last = samples.at(-1);
  if (last !== undefined && !sameLog(last.at, one.at)) samples.length = 0;
  samples.push(one);
  if (samples.length > SAMPLES_MAX) samples.shift();
}

function sameLog(a: Position, b: Position): boolean {
  return a.systemId === b.systemId && a.timeline === b.timeline;
}

function sameHistory(a: Look, b: Look): boolean {
  return a.incarnation === b.incarnation && a.role === b.role && sameLog(a.at, b.at);
}

function historyName(systemId: bigint, timeline: number): string {
  return `${systemId} ${timeline}`;
}
