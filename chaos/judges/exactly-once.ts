/**
 * Has each request with an idempotency key had one effect, however often it was sent?
 *
 * In the end a log holds the value of such a request once if it was acknowledged, else at most once,
 * and no answer has ever shown it twice. Of cells this is not asked: a value that is written again
 * after another one is found by whoever judges linearizability.
 */
import type { History, Operation } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import { bySubject, hasPut, logsShown, putsOf, settledLogs } from './contents.ts';
import { mayBeLost } from './eras.ts';
import { idsOf, inWords } from './in-words.ts';
import { judgement } from './judgement.ts';

const PROMISE = 'done once, with an Idempotency-Key';

export function exactlyOnce(history: History): Judgement {
  const settledOf = new Map(history.settled.map((settled) => [settled.subject, settled]));
  const violations: Violation[] = [];
  let checked = 0;
  let unread = 0;
  for (const [subject, operations] of bySubject(history.operations)) {
    const keyed = operations.filter(
      (operation) => operation.keyed && putsOf(operation).some(({ kind }) => kind === 'log'),
    );
    if (keyed.length === 0) continue;
    const repeated = keyed.filter(({ attempts, told }) => attempts > 1 || told?.replayed === true);
    const settled = settledOf.get(subject);
    const logs = settled === undefined ? undefined : settledLogs(settled);
    if (logs === undefined) unread += repeated.length;
    else checked += repeated.length;
    const shownTwice = doubles(operations);
    for (const operation of keyed) {
      for (const { place, kind, value } of putsOf(operation)) {
        if (kind !== 'log') continue;
        const reader = shownTwice.get(`${place} ${value}`);
        const values = logs?.get(place)?.values ?? [];
        const times = values.reduce((count, each) => (each === value ? count + 1 : count), 0);
        const sent = `sent ${operation.attempts} time${operation.attempts === 1 ? '' : 's'}`;
        if (times > 1 || reader !== undefined) {
          const where =
            reader === undefined
              ? `in the end ${place} of ${subject} holds ${value} ${times} times`
              : `${inWords(reader)} shows ${value} of ${place} more than once`;
          violations.push({
            promise: PROMISE,
            says: `${inWords(operation)}, ${sent} under one key; ${where}.`,
            operations: idsOf([operation, reader]),
          });
        }
        if (logs === undefined || times > 0 || !hasPut(operation)) continue;
        if (mayBeLost(history, operation) || operation.told?.durability === 'asynchronous')
          continue;
        violations.push({
          promise: PROMISE,
          says: `${inWords(operation)}, ${sent} under one key and acknowledged; in the end ${place} of ${subject} lacks ${value}.`,
          operations: [operation.id],
        });
      }
    }
  }
  return judgement({
    judge: 'exactly-once',
    checked,
    violations,
    nothing: 'no request with a key was sent more than once',
    undecided:
      unread === 0 ? undefined : `could not be read at the end: what ${unread} requests had done`,
  });
}

/** The first answer that shows a value more than once. */
function doubles(operations: readonly Operation[]): ReadonlyMap<string, Operation> {
  const found = new Map<string, Operation>();
  for (const operation of operations) {
    for (const { place, values } of logsShown(operation)) {
      if (new Set(values).size === values.length) continue;
      const seen = new Set<number>();
      for (const value of values) {
        if (seen.has(value) && !found.has(`${place} ${value}`)) {
          found.set(`${place} ${value}`, operation);
        }
        seen.add(value);
      }
    }
  }
  return found;
}
