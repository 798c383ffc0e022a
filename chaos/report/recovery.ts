/**
 * How long after a fault was a write of a home acknowledged again?
 *
 * From the fault to the end of the first acknowledged write that began after it. A write that was
 * under way already proves nothing about what the fault has left.
 */
import type { Operation } from '../history.ts';
import type { FaultSpan } from '../run-record.ts';

export type Recovery =
  | { kind: 'acknowledged'; home: string; afterMs: number; operation: number }
  /** Clients tried so often until the run ended. */
  | { kind: 'never'; home: string; tried: number }
  /** No client wrote to this home after the fault. */
  | { kind: 'not-tried'; home: string };

/** For each fault, one of each region that it concerns. */
export function recoveries(
  faults: readonly FaultSpan[],
  operations: readonly Operation[],
): Recovery[][] {
  const homes = new Set(faults.flatMap(({ regions }) => regions));
  const writes = Map.groupBy(
    operations.filter(({ home, action }) => homes.has(home) && writesSomething(action)),
    ({ home }) => home,
  );
  const byHome = new Map([...writes].map(([home, list]) => [home, inOrder(list)]));
  return faults.map(({ fromMs, regions }) =>
    [...new Set(regions)].map((home): Recovery => {
      const { invoked, firstAcknowledged } = byHome.get(home) ?? NOTHING;
      const begin = firstAtOrAfter(invoked, fromMs);
      const tried = invoked.length - begin;
      if (tried === 0) return { kind: 'not-tried', home };
      const first = firstAcknowledged[begin];
      if (first === undefined) return { kind: 'never', home, tried };
      return {
        kind: 'acknowledged',
        home,
        afterMs: first.endedAtMs - fromMs,
        operation: first.id,
      };
    }),
  );
}

/** The longest of them; `never` is longer than any. Undefined where nobody tried. */
export function slowest(all: readonly Recovery[]): Recovery | undefined {
  const never = all.find(({ kind }) => kind === 'never');
  if (never !== undefined) return never;
  let longest: Extract<Recovery, { kind: 'acknowledged' }> | undefined;
  for (const recovery of all) {
    if (recovery.kind !== 'acknowledged') continue;
    if (longest === undefined || recovery.afterMs > longest.afterMs) longest = recovery;
  }
  return longest;
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

type InOrder = {
  /** Ascending. */
  invoked: readonly number[];
  /** At each place: of the writes from there on, the one that was acknowledged first. */
  firstAcknowledged: readonly (Operation | undefined)[];
};
const NOTHING: InOrder = { invoked: [], firstAcknowledged: [] };

function inOrder(writes: readonly Operation[]): InOrder {
  const sorted = writes.toSorted((a, b) => a.invokedAtMs - b.invokedAtMs);
  const firstAcknowledged: (Operation | undefined)[] = new Array(sorted.length);
  let first: Operation | undefined;
  for (let at = sorted.length - 1; at >= 0; at -= 1) {
    const write = sorted[at];
    if (write === undefined) continue;
    const { outcome } = write;
    // A swap or an order that changed nothing was answered, and it wrote nothing.
    const wrote = outcome.kind === 'ok' && outcome.shown.kind !== 'unchanged';
    if (wrote && (first === undefined || write.endedAtMs <= first.endedAtMs)) first = write;
    firstAcknowledged[at] = first;
  }
  return { invoked: sorted.map(({ invokedAtMs }) => invokedAtMs), firstAcknowledged };
}

function firstAtOrAfter(ascending: readonly number[], value: number): number {
  let [low, high] = [0, ascending.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ascending[middle] ?? 0) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
