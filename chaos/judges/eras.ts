/**
 * Which operations can be held against each other although an operator has accepted a loss?
 *
 * A loss ends one era of a home and begins another, whose beginning nobody knows: acknowledged writes
 * may be missing from it, and which ones is not told. Promises are judged within each era. An
 * operation that overlaps the loss lies in none; its write may be found in either, or be lost.
 */
import type { History, Operation } from '../history.ts';

export type Era = { number: number; fromMs: number; untilMs: number };

/** Every home has at least one. */
export function erasOf({ acceptedLosses }: History, home: string): readonly Era[] {
  const losses = acceptedLosses
    .filter((loss) => loss.home === home)
    .map(({ atMs, doneAtMs }) => ({ atMs, doneAtMs: Math.max(atMs, doneAtMs ?? atMs) }))
    .sort((a, b) => a.atMs - b.atMs);
  const eras: Era[] = [];
  let fromMs = Number.NEGATIVE_INFINITY;
  for (const { atMs, doneAtMs } of losses) {
    eras.push({ number: eras.length, fromMs, untilMs: atMs });
    fromMs = Math.max(fromMs, doneAtMs);
  }
  eras.push({ number: eras.length, fromMs, untilMs: Number.POSITIVE_INFINITY });
  return eras;
}

export function isWithin({ fromMs, untilMs }: Era, operation: Operation): boolean {
  return operation.invokedAtMs > fromMs && endOf(operation) < untilMs;
}

/** Whether the operation can have happened in the era, in part of its time at least. */
export function touches({ fromMs, untilMs }: Era, operation: Operation): boolean {
  return operation.invokedAtMs <= untilMs && endOf(operation) >= fromMs;
}

/** The latest time at which the operation can have happened. */
export function endOf({ outcome, endedAtMs }: Operation): number {
  return outcome.kind === 'unknown' ? Number.POSITIVE_INFINITY : endedAtMs;
}

/** The last loss that may have taken what this operation did. */
export function mayBeLost({ acceptedLosses }: History, operation: Operation): boolean {
  return acceptedLosses.some(
    ({ home, atMs, doneAtMs }) =>
      home === operation.home && operation.invokedAtMs <= Math.max(atMs, doneAtMs ?? atMs),
  );
}

/** Whether what `earlier` did may be missing from `later` because of a loss between them. */
export function lossBetween(history: History, earlier: Operation, later: Operation): boolean {
  return history.acceptedLosses.some(
    ({ home, atMs, doneAtMs }) =>
      home === earlier.home &&
      earlier.invokedAtMs <= Math.max(atMs, doneAtMs ?? atMs) &&
      later.endedAtMs >= atMs,
  );
}
