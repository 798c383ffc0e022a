/**
 * Over which stretches does a session keep what it has seen?
 *
 * From its beginning to the first answer that says that something is gone, and from one such answer to
 * the next. What was under way while the session was told lies in no stretch: nobody can say with
 * which of its tokens it was sent.
 */
import type { Operation } from '../history.ts';
import { upsert } from './contents.ts';

/** Operations of one session and subject each, in the order in which they were sent. */
export function stretchesOf(operations: readonly Operation[]): readonly Operation[][] {
  const sessions = new Map<number, Operation[]>();
  for (const operation of operations) {
    upsert(sessions, operation.session, () => []).push(operation);
  }
  const stretches: Operation[][] = [];
  for (const session of sessions.values()) {
    session.sort((a, b) => a.invokedAtMs - b.invokedAtMs);
    const told = session.filter(({ guaranteeLost }) => guaranteeLost === true);
    let fromMs = Number.NEGATIVE_INFINITY;
    for (const { invokedAtMs, endedAtMs } of told) {
      stretches.push(between(session, fromMs, invokedAtMs));
      fromMs = Math.max(fromMs, endedAtMs);
    }
    stretches.push(between(session, fromMs, Number.POSITIVE_INFINITY));
  }
  return stretches.filter(({ length }) => length > 0);
}

function between(session: readonly Operation[], fromMs: number, untilMs: number): Operation[] {
  return session.filter(
    ({ invokedAtMs, endedAtMs, guaranteeLost }) =>
      invokedAtMs > fromMs && endedAtMs < untilMs && guaranteeLost !== true,
  );
}
