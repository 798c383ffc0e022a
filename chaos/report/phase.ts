/**
 * Was an operation before, during or after the faults?
 *
 * Before: it had ended when the first fault began. After: it was sent when the last one was over. A
 * kill is over when the homes that it concerns had a write acknowledged again.
 */
import type { Operation } from '../history.ts';
import type { FaultSpan } from '../run-record.ts';
import type { Recovery } from './recovery.ts';

export const PHASES = ['before', 'during', 'after'] as const;
export type Phase = (typeof PHASES)[number];

/** Undefined: no fault, so everything is before. */
export type FaultTime = { fromMs: number; untilMs: number } | undefined;

/** `recovered` has one entry for each fault. */
export function faultTime(
  faults: readonly FaultSpan[],
  recovered: readonly (readonly Recovery[])[],
): FaultTime {
  if (faults.length === 0) return undefined;
  let [fromMs, untilMs] = [Number.POSITIVE_INFINITY, 0];
  for (const [index, fault] of faults.entries()) {
    fromMs = Math.min(fromMs, fault.fromMs);
    untilMs = Math.max(untilMs, fault.untilMs ?? overAt(fault, recovered[index] ?? []));
  }
  return { fromMs, untilMs };
}

export function phaseOf({ invokedAtMs, endedAtMs }: Operation, faults: FaultTime): Phase {
  if (faults === undefined || endedAtMs < faults.fromMs) return 'before';
  return invokedAtMs > faults.untilMs ? 'after' : 'during';
}

function overAt({ fromMs }: FaultSpan, recovered: readonly Recovery[]): number {
  let untilMs = fromMs;
  for (const recovery of recovered) {
    if (recovery.kind === 'never') return Number.POSITIVE_INFINITY;
    if (recovery.kind === 'acknowledged') untilMs = Math.max(untilMs, fromMs + recovery.afterMs);
  }
  return untilMs;
}
