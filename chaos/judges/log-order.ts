/**
 * In which order did values come into a log?
 *
 * A log only grows, so every answer shows a beginning of the same order, and the longest answer shows
 * most of it. Answers that are no beginning of it are strays: they and it cannot both be right.
 */
import type { Operation, Settled, Value } from '../history.ts';
import { type LogShown, logsShown, type Place, settledLogs, upsert } from './contents.ts';

export type Showing = {
  values: readonly Value[];
  ordered: boolean;
  /** Undefined: what was read when the run was over. */
  by: Operation | undefined;
};

export type LogOrder = {
  place: Place;
  longest: Showing;
  position: ReadonlyMap<Value, number>;
  strays: readonly Showing[];
};

export function logOrders(
  operations: readonly Operation[],
  settled: Settled | undefined,
): ReadonlyMap<Place, LogOrder> {
  const showings = new Map<Place, Showing[]>();
  const add = ({ place, values, ordered }: LogShown, by: Operation | undefined) => {
    upsert(showings, place, () => []).push({ values, ordered, by });
  };
  for (const operation of operations) {
    for (const shown of logsShown(operation)) add(shown, operation);
  }
  if (settled !== undefined) {
    for (const shown of settledLogs(settled).values()) add(shown, undefined);
  }
  const orders = new Map<Place, LogOrder>();
  for (const [place, list] of showings) orders.set(place, orderOf(place, list));
  return orders;
}

function orderOf(place: Place, showings: readonly Showing[]): LogOrder {
  let [longest] = showings;
  for (const showing of showings) {
    if (longest === undefined || showing.values.length > longest.values.length) longest = showing;
  }
  if (longest === undefined) throw new Error('a log that nobody has shown');
  const position = new Map<Value, number>();
  longest.values.forEach((value, index) => {
    if (!position.has(value)) position.set(value, index);
  });
  const { values } = longest;
  const strays = showings.filter((showing) => !isBeginning(showing.values, values));
  return { place, longest, position, strays };
}

export function isBeginning(short: readonly Value[], long: readonly Value[]): boolean {
  if (short.length > long.length) return false;
  for (let index = short.length - 1; index >= 0; index--) {
    if (short[index] !== long[index]) return false;
  }
  return true;
}

/** The first answer that has shown a value, for a person to look at. */
export function whoShowed(
  operations: readonly Operation[],
  place: Place,
  value: Value,
): Operation | undefined {
  return operations.find((operation) =>
    logsShown(operation).some((shown) => shown.place === place && shown.values.includes(value)),
  );
}
