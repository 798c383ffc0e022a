/**
 * Is everybody served again when all faults are healed?
 *
 * What is sent later than a grace after the healing succeeds. The grace is for what recovers by
 * itself: a promotion, a replica that streams again, circuits that close.
 */
import type { History } from '../history.ts';
import type { Judgement } from '../run-record.ts';
import { isServed } from './allowed-refusals.ts';
import { idsOf, inWords, ms } from './in-words.ts';
import { judgement } from './judgement.ts';

export const GRACE_MS = 15_000;

export type LivenessOptions = { healedAtMs?: number | undefined; graceMs?: number };

export function liveness(
  { operations }: History,
  { healedAtMs, graceMs = GRACE_MS }: LivenessOptions = {},
): Judgement {
  const fromMs = healedAtMs === undefined ? Number.POSITIVE_INFINITY : healedAtMs + graceMs;
  const later = operations.filter(({ invokedAtMs }) => invokedAtMs >= fromMs);
  const violations = later
    .filter((operation) => !isServed(operation))
    .map((operation) => ({
      promise: 'when faults are over, everybody is served',
      says: `All was healed at ${ms(healedAtMs ?? 0)} ms, and ${ms(operation.invokedAtMs - (healedAtMs ?? 0))} ms later this did not succeed (${because(operation.outcome)}): ${inWords(operation)}.`,
      operations: idsOf([operation]),
    }));
  return judgement({
    judge: 'liveness',
    checked: later.length,
    violations,
    nothing:
      healedAtMs === undefined
        ? 'nobody said when all was healed'
        : `nothing was sent later than ${graceMs} ms after the healing`,
  });
}

function because(outcome: History['operations'][number]['outcome']): string {
  return outcome.kind === 'ok' ? 'ok' : outcome.because;
}
