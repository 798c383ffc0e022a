/**
 * Did the sessions get what they were promised?
 *
 * Reads only what clients and the region's keeper recorded: what was sent, what was answered, what
 * was announced as lost. It knows no floor, no token and no position, so that it cannot share a
 * mistake with what it judges.
 */
import type { Level } from '../consistency.ts';
import type { Write } from './cluster.ts';
import { contains, copyOf, include, includeAll, missing, noWrites, type Writes } from './writes.ts';

export type Violation = {
  promise: Promise;
  subject: number;
  /** The writes that are missing, or that should be. */
  writes: readonly number[];
  atMs: number;
};

export type Promise =
  | 'read your writes'
  | 'monotonic reads'
  | 'writes in order'
  | 'strong'
  | 'bounded'
  | 'not applied stays away'
  | 'applied stays'
  | 'one epoch acknowledges'
  | 'quiet regions serve'
  | 'positions are believed'
  | 'positions from nowhere are refused';

/** What one session has been shown, and what it wrote and was told of. */
export type Knowledge = { written: Writes; read: Writes };

export function knowNothing(): Knowledge {
  return { written: noWrites(), read: noWrites() };
}

export function copyKnowledge({ written, read }: Knowledge): Knowledge {
  return { written: copyOf(written), read: copyOf(read) };
}

export function learn(from: Knowledge, into: Knowledge): void {
  includeAll(into.written, from.written);
  includeAll(into.read, from.read);
}

/** What was settled before a request began. */
export type Before = { acknowledged: Writes; strong: Writes };

type Subject = {
  acknowledged: Writes;
  /** In the order of time. */
  acknowledgedAt: { atMs: number; number: number }[];
  notApplied: Writes;
  /** The region went on without them, and says so. */
  gone: Writes;
  strong: Writes;
  /** What the session of each write had seen before it. */
  followed: Writes[];
};

export class Judge {
  readonly violations: Violation[] = [];
  #subjects: Subject[];

  constructor(subjects: number) {
    this.#subjects = Array.from({ length: subjects }, () => ({
      acknowledged: noWrites(),
      acknowledgedAt: [],
      notApplied: noWrites(),
      gone: noWrites(),
      strong: noWrites(),
      followed: [],
    }));
  }

  /** What every strong read that begins now must show. */
  before(subject: number): Before {
    const { acknowledged, strong } = this.#of(subject);
    return { acknowledged: copyOf(acknowledged), strong: copyOf(strong) };
  }

  sent({ subject, number }: Write, { written, read }: Knowledge): void {
    const followed = copyOf(written);
    includeAll(followed, read);
    this.#of(subject).followed[number] = followed;
  }

  acknowledged({ subject, number }: Write, atMs: number): void {
    const of = this.#of(subject);
    include(of.acknowledged, number);
    of.acknowledgedAt.push({ atMs, number });
  }

  notApplied({ subject, number }: Write): void {
    include(this.#of(subject).notApplied, number);
  }

  /** A loss that the operator chose to risk. */
  gone({ subject, number }: Write): void {
    include(this.#of(subject).gone, number);
  }

  read(
    answer: {
      level: Level;
      subject: number;
      value: Writes;
      knew: Knowledge;
      before: Before | undefined;
      placedAtMs: number;
    },
    atMs: number,
  ): void {
    const { level, subject, value, knew, before, placedAtMs } = answer;
    const of = this.#of(subject);
    const complain = (promise: Promise, writes: readonly number[]) => {
      if (writes.length > 0) this.violations.push({ promise, subject, writes, atMs });
    };
    for (let word = 0; word < value.length; word++) {
      const ghosts = (value[word] as number) & (of.notApplied[word] as number);
      if (ghosts !== 0) complain('not applied stays away', bits(word, ghosts));
      const known = (knew.read[word] as number) | (knew.written[word] as number);
      const news = (value[word] as number) & ~known;
      if (news === 0) continue;
      for (const number of bits(word, news)) {
        const followed = of.followed[number];
        if (followed !== undefined) complain('writes in order', missing(value, followed));
      }
    }
    if (level.kind === 'session' || level.kind === 'strong') {
      complain('read your writes', missing(value, knew.written));
      complain('monotonic reads', missing(value, knew.read));
    }
    if (level.kind === 'strong' && before !== undefined) {
      const stays = (number: number) => !contains(of.gone, number);
      complain('strong', missing(value, before.acknowledged).filter(stays));
      complain('strong', missing(value, before.strong).filter(stays));
      includeAll(of.strong, value);
    }
    if (level.kind === 'bounded') {
      const late = of.acknowledgedAt.filter(
        ({ atMs, number }) =>
          atMs < placedAtMs - level.maxStalenessMs &&
          !contains(value, number) &&
          !contains(of.gone, number),
      );
      complain(
        'bounded',
        late.map(({ number }) => number),
      );
    }
  }

  /** Something that only whoever watches the whole region can say. */
  complain(promise: Promise, { subject, number }: Write, atMs: number): void {
    this.violations.push({ promise, subject, writes: [number], atMs });
  }

  #of(subject: number): Subject {
    const of = this.#subjects[subject];
    if (of === undefined) throw new RangeError(`no subject ${subject}`);
    return of;
  }
}

function bits(word: number, mask: number): number[] {
  const found: number[] = [];
  for (let bit = 0; bit < 32; bit++) if (mask & (1 << bit)) found.push(word * 32 + bit);
  return found;
}
