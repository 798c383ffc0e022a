/**
 * Was an operation before, during or after the faults?
 *
 * Before: it had ended when the first fault began. After: it was sent when the last one was over. A
 * kill is over when the pause of writes is, at each home that it concerns.
 */
import type { Operation } from '../history.ts';
import type { FaultSpan } from '../run-record.ts';
import type { WritePause } from './write-pauses.ts';

export const PHASES = ['before', 'during', 'after'] as const;
export type Phase = (typeof PHASES)[number];

/** Undefined: no fault, so everything is before. */
export type FaultTime = { fromMs: number; untilMs: number } | undefined;

/** `paused` has one entry for each fault. */
export function faultTime(
  faults: readonly FaultSpan[],
  paused: readonly (readonly WritePause[])[],
): FaultTime {
  if (faults.length === 0) return undefined;
  let [fromMs, untilMs] = [Number.POSITIVE_INFINITY, 0];
  for (const [index, fault] of faults.entries()) {
    fromMs = Math.min(fromMs, fault.fromMs);
    untilMs = Math.max(untilMs, fault.untilMs ?? overAt(fault, paused[index] ?? []));
  }
  return { fromMs, untilMs };
}

export function phaseOf({ invokedAtMs, endedAtMs }: Operation, faults: FaultTime): Phase {
  if (faults === undefined || endedAtMs < faults.fromMs) return 'before';
  return invokedAtMs > faults.untilMs ? 'after' : 'during';
}

function overAt({ fromMs }: FaultSpan, paused: readonly WritePause[]): number {
  let untilMs = fromMs;
  for (const pause of paused) {
    if (pause.kind === 'never') return Number.POSITIVE_INFINITY;
    if (pause.kind === 'over') untilMs = Math.max(untilMs, pause.untilMs);
  }
  return untilMs;
}
