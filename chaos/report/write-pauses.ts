/**
 * For how long was no write of a home acknowledged because of a fault?
 *
 * From the last acknowledgement before to the first one after, whenever that began to be so while the
 * fault lasted: a killed server still answers what it has read, and a standby that is cut off is waited
 * for first. Of several such pauses the longest counts. Time in which nobody had a write under way is no
 * part of it: where people write seldom, the next acknowledgement is late without anybody waiting.
 */
import type { Operation } from '../history.ts';
import type { FaultSpan } from '../run-record.ts';

export type WritePause =
  | {
      kind: 'over';
      home: string;
      /** The last acknowledgement before it, or when somebody wrote again. */
      fromMs: number;
      untilMs: number;
      /** The write that was acknowledged at its end. */
      operation: number;
    }
  /** Clients tried so often until the run ended. */
  | { kind: 'never'; home: string; fromMs: number; tried: number }
  /** No client wrote to this home after the fault. */
  | { kind: 'not-tried'; home: string };

/** What follows from a fault that is over at once, a kill or an order, begins within so long. */
const FELT_MS = 5_000;

/** For each fault, one of each region that it concerns. */
export function writePauses(
  faults: readonly FaultSpan[],
  operations: readonly Operation[],
): WritePause[][] {
  const homes = new Set(faults.flatMap(({ regions }) => regions));
  const writes = Map.groupBy(
    operations.filter(({ home, action }) => homes.has(home) && writesSomething(action)),
    ({ home }) => home,
  );
  const byHome = new Map([...writes].map(([home, list]) => [home, inOrder(list)]));
  return faults.map((fault) =>
    [...new Set(fault.regions)].map((home) => pauseOf(home, fault, byHome.get(home) ?? NOTHING)),
  );
}

/** The longest of them; `never` is longer than any. Undefined where nobody tried. */
export function longest(all: readonly WritePause[]): WritePause | undefined {
  const never = all.find(({ kind }) => kind === 'never');
  if (never !== undefined) return never;
  return all
    .filter((one) => one.kind === 'over')
    .reduce<Over | undefined>(
      (most, one) => (most && lengthOf(most) >= lengthOf(one) ? most : one),
      undefined,
    );
}

export function writesSomething(action: Operation['action']): boolean {
  switch (action.kind) {
    case 'lists':
      return action.steps.some((step) => step.do === 'append');
    case 'register-write':
    case 'register-swap':
    case 'order':
    case 'notice-write':
    case 'create':
      return true;
    case 'register-read':
    case 'stock-read':
    case 'notice-read':
      return false;
  }
}

type Over = Extract<WritePause, { kind: 'over' }>;

export function lengthOf({ fromMs, untilMs }: Over): number {
  return untilMs - fromMs;
}

type InOrder = {
  /** Those that wrote something, by when they were acknowledged. */
  acknowledged: readonly Operation[];
  /** The others, by when they ended. */
  others: readonly Operation[];
  /** The earliest beginning of all that ended later than this, if anything did. */
  waitedSince: (ms: number) => number | undefined;
};
const NOTHING: InOrder = { acknowledged: [], others: [], waitedSince: () => undefined };

function inOrder(writes: readonly Operation[]): InOrder {
  const sorted = writes.toSorted((a, b) => a.endedAtMs - b.endedAtMs);
  // A swap or an order that changed nothing was answered, and it wrote nothing.
  const wrote = ({ outcome }: Operation) =>
    outcome.kind === 'ok' && outcome.shown.kind !== 'unchanged';
  const tries = sorted.filter((one) => one.outcome.kind !== 'ok' || wrote(one));
  const earliest = new Array<number>(tries.length);
  let least = Number.POSITIVE_INFINITY;
  for (let at = tries.length - 1; at >= 0; at -= 1) {
    least = Math.min(least, tries[at]?.invokedAtMs ?? least);
    earliest[at] = least;
  }
  return {
    acknowledged: sorted.filter(wrote),
    others: sorted.filter(({ outcome }) => outcome.kind !== 'ok'),
    waitedSince: (ms) => earliest[firstAfter(tries, ms)],
  };
}

function pauseOf(
  home: string,
  fault: FaultSpan,
  { acknowledged, others, waitedSince }: InOrder,
): WritePause {
  const { fromMs, untilMs = fromMs + FELT_MS } = fault;
  const first = firstAfter(acknowledged, fromMs);
  let since = acknowledged[first - 1]?.endedAtMs ?? fromMs;
  let most: Over | undefined;
  for (const next of acknowledged.slice(first)) {
    // It began when the fault was over.
    if (since >= untilMs) break;
    const waitsFromMs = Math.max(since, waitedSince(since) ?? since);
    if (most === undefined || next.endedAtMs - waitsFromMs > lengthOf(most)) {
      const { id: operation, endedAtMs } = next;
      most = { kind: 'over', home, fromMs: waitsFromMs, untilMs: endedAtMs, operation };
    }
    since = next.endedAtMs;
  }
  // Nothing was acknowledged any more. Was that because nobody tried?
  const tried = others.filter(({ endedAtMs }) => endedAtMs > Math.max(since, fromMs));
  const openFromMs = Math.max(since, waitedSince(since) ?? since);
  const openMs = (tried.at(-1)?.endedAtMs ?? openFromMs) - openFromMs;
  const isLonger = since < untilMs && openMs > (most === undefined ? 0 : lengthOf(most));
  if (isLonger) return { kind: 'never', home, fromMs: openFromMs, tried: tried.length };
  return most ?? { kind: 'not-tried', home };
}

function firstAfter(byEnd: readonly Operation[], ms: number): number {
  let [low, high] = [0, byEnd.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((byEnd[middle]?.endedAtMs ?? 0) <= ms) low = middle + 1;
    else high = middle;
  }
  return low;
}
