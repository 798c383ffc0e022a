/**
 * Is everything there that was acknowledged, once, and nothing else?
 *
 * Holds what each subject has in the end against what clients were told. A write that was told to be
 * unknown may be there once or not at all; one that was told not to be done is never seen by anybody.
 * Of a cell only its last value is there, so a write counts as lost only where another one, which was
 * over before it began, is what is left.
 */
import type { History, Operation, Value } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import {
  bySubject,
  cellShown,
  hasNotPut,
  hasPut,
  type Place,
  putsOf,
  settledCells,
  settledLogs,
  upsert,
} from './contents.ts';
import { mayBeLost } from './eras.ts';
import { idsOf, inWords, said } from './in-words.ts';
import { judgement } from './judgement.ts';
import { logOrders, whoShowed } from './log-order.ts';

const KEPT = 'an acknowledged write stays';
const ONCE = 'a write is done once';
const SENT = 'nothing is there that nobody sent';
const NOT_APPLIED = 'what was told to be not applied is never seen';

export function acknowledged(history: History): Judgement {
  const settledOf = new Map(history.settled.map((settled) => [settled.subject, settled]));
  const violations: Violation[] = [];
  let checked = 0;
  let unread = 0;
  for (const [subject, operations] of bySubject(history.operations)) {
    const settled = settledOf.get(subject);
    const writers = writersOf(operations);
    violations.push(...strangers(subject, operations, writers, settled));
    if (settled === undefined) {
      if (operations.some((operation) => hasPut(operation) && putsOf(operation).length > 0))
        unread++;
      continue;
    }
    const counts = new Map<Place, Map<Value, number>>();
    for (const { place, values } of settledLogs(settled).values()) {
      const count = upsert(counts, place, () => new Map());
      for (const value of values) count.set(value, (count.get(value) ?? 0) + 1);
    }
    for (const operation of operations) {
      const puts = putsOf(operation);
      if (puts.length > 0) checked++;
      for (const { place, kind, value } of puts) {
        if (kind !== 'log') continue;
        const times = counts.get(place)?.get(value) ?? 0;
        if (times > 1) {
          violations.push({
            promise: ONCE,
            says: `In the end ${place} of ${subject} holds ${value} ${times} times; sent once by ${inWords(operation)}.`,
            operations: [operation.id],
          });
        }
        if (times > 0 || !hasPut(operation) || isExcused(history, operation)) continue;
        violations.push({
          promise: KEPT,
          says: `In the end ${place} of ${subject} lacks ${value}, which was acknowledged: ${inWords(operation)}.`,
          operations: [operation.id],
        });
      }
    }
    const cells = settledCells(settled);
    for (const [place, puts] of cellWriters(operations)) {
      const value = cells.get(place);
      const lost = lastLost(history, puts, value);
      if (lost === undefined) continue;
      const left = value === undefined ? undefined : writers.get(place)?.get(value);
      const over = left === undefined ? '' : `, left by ${inWords(left)}`;
      violations.push({
        promise: KEPT,
        says: `In the end ${place} of ${subject} holds ${said(value)}${over}; later than that this was acknowledged: ${inWords(lost)}.`,
        operations: idsOf([left, lost]),
      });
    }
  }
  return judgement({
    judge: 'acknowledged',
    checked,
    violations,
    nothing: 'no subject that was written could be read at the end',
    undecided: unread === 0 ? undefined : `could not be read at the end: ${subjects(unread)}`,
  });
}

function subjects(count: number): string {
  return `${count} subject${count === 1 ? '' : 's'} with acknowledged writes`;
}

/** Told to be lost with its only server, or accepted as lost by a person. */
function isExcused(history: History, operation: Operation): boolean {
  return operation.told?.durability === 'asynchronous' || mayBeLost(history, operation);
}

type Writers = ReadonlyMap<Place, ReadonlyMap<Value, Operation>>;

export function writersOf(operations: readonly Operation[]): Writers {
  const writers = new Map<Place, Map<Value, Operation>>();
  for (const operation of operations) {
    for (const { place, value } of putsOf(operation)) {
      upsert(writers, place, () => new Map()).set(value, operation);
    }
  }
  return writers;
}

function cellWriters(operations: readonly Operation[]): ReadonlyMap<Place, Operation[]> {
  const cells = new Map<Place, Operation[]>();
  for (const operation of operations) {
    for (const { place, kind } of putsOf(operation)) {
      if (kind === 'cell' && hasPut(operation)) upsert(cells, place, () => []).push(operation);
    }
  }
  return cells;
}

/** An acknowledged write that came after what is left in the cell, the latest of them. */
function lastLost(
  history: History,
  puts: readonly Operation[],
  left: Value | undefined,
): Operation | undefined {
  const kept = puts.filter((operation) => !isExcused(history, operation));
  const latest = kept.reduce<Operation | undefined>(
    (last, put) => (last === undefined || put.invokedAtMs > last.invokedAtMs ? put : last),
    undefined,
  );
  if (latest === undefined || left === undefined) return latest;
  const by = puts.find((operation) => putsOf(operation).some(({ value }) => value === left));
  // Left by an unknown one, which may have come last; or by a stranger, who is told of elsewhere.
  if (by === undefined || by === latest) return undefined;
  return by.endedAtMs < latest.invokedAtMs ? latest : undefined;
}

/** Values that somebody was shown, or that are there in the end, and should not be. */
function strangers(
  subject: string,
  operations: readonly Operation[],
  writers: Writers,
  settled: Parameters<typeof logOrders>[1],
): Violation[] {
  const violations: Violation[] = [];
  const told = new Set<string>();
  const look = (place: Place, value: Value, by: () => Operation | undefined) => {
    const writer = writers.get(place)?.get(value);
    if (writer !== undefined && !hasNotPut(writer)) return;
    if (told.has(`${place} ${value}`)) return;
    told.add(`${place} ${value}`);
    const reader = by();
    const seen =
      reader === undefined ? `in the end ${place} of ${subject} holds it` : inWords(reader);
    violations.push({
      promise: writer === undefined ? SENT : NOT_APPLIED,
      says:
        writer === undefined
          ? `Nobody sent ${value} to ${place} of ${subject}, and yet: ${seen}.`
          : `${inWords(writer)}; and yet: ${seen}.`,
      operations: idsOf([writer, reader]),
    });
  };
  for (const { place, longest, strays } of logOrders(operations, settled).values()) {
    for (const { values } of [longest, ...strays]) {
      for (const value of values) look(place, value, () => whoShowed(operations, place, value));
    }
  }
  for (const operation of operations) {
    const cell = cellShown(operation);
    if (cell?.value !== undefined) look(cell.place, cell.value, () => operation);
    const { outcome, action } = operation;
    if (outcome.kind !== 'ok' || outcome.shown.kind !== 'unchanged') continue;
    const { found } = outcome.shown;
    if (action.kind !== 'register-swap' || found === undefined) continue;
    look(`register ${action.register}`, found, () => operation);
  }
  if (settled !== undefined) {
    for (const [place, value] of settledCells(settled)) {
      if (value !== undefined) look(place, value, () => undefined);
    }
  }
  return violations;
}
