/**
 * What has an operation put into which place of its subject, and what has it shown of it?
 *
 * Places are of two kinds. A *log* keeps everything that was ever put there: a list in its order, the
 * orders of a product in none. A *cell* shows the last value only: a register, or the notice.
 */
import type { Operation, Settled, Value } from '../history.ts';

/** In words, and unique within a subject: `list a`, `register r`, `the notice`. */
export type Place = string;

export type Put = { place: Place; kind: 'log' | 'cell'; value: Value };

export const NOTICE: Place = 'the notice';
export const listPlace = (list: string): Place => `list ${list}`;
export const registerPlace = (register: string): Place => `register ${register}`;
export const stockPlace = (product: string): Place => `the stock of ${product}`;

/** What the operation puts there if it is done and nothing in the state hinders it. */
export function putsOf({ action }: Operation): readonly Put[] {
  switch (action.kind) {
    case 'lists': {
      const puts: Put[] = [];
      for (const step of action.steps) {
        if (step.do !== 'append') continue;
        puts.push({ place: listPlace(step.list), kind: 'log', value: step.value });
      }
      return puts;
    }
    case 'register-write':
    case 'register-swap':
      return [{ place: registerPlace(action.register), kind: 'cell', value: action.value }];
    case 'notice-write':
      return [{ place: NOTICE, kind: 'cell', value: action.value }];
    case 'order':
      return [{ place: stockPlace(action.product), kind: 'log', value: action.value }];
    default:
      return [];
  }
}

/** Acknowledged, and it changed something. */
export function hasPut({ outcome }: Operation): boolean {
  return outcome.kind === 'ok' && outcome.shown.kind !== 'unchanged';
}

/** Told that it was not done, or done without a change. */
export function hasNotPut({ outcome }: Operation): boolean {
  return outcome.kind === 'fail' || (outcome.kind === 'ok' && outcome.shown.kind === 'unchanged');
}

export function isWrite({ action }: Operation): boolean {
  switch (action.kind) {
    case 'register-read':
    case 'stock-read':
    case 'notice-read':
      return false;
    case 'lists':
      return action.steps.some((step) => step.do === 'append');
    default:
      return true;
  }
}

/** What a log held, by a pure read; for a list the order counts. */
export type LogShown = { place: Place; values: readonly Value[]; ordered: boolean };
export type CellShown = { place: Place; value: Value | undefined };

/** Each log that the operation has shown, step by step; steps after an own append included. */
export function logsShown({ action, outcome }: Operation): readonly LogShown[] {
  if (outcome.kind !== 'ok') return [];
  const { shown } = outcome;
  if (action.kind === 'lists' && shown.kind === 'lists') {
    const logs: LogShown[] = [];
    action.steps.forEach((step, index) => {
      const values = shown.lists[index];
      if (step.do === 'read' && values !== undefined) {
        logs.push({ place: listPlace(step.list), values, ordered: true });
      }
    });
    return logs;
  }
  if (action.kind === 'stock-read' && shown.kind === 'stock') {
    const values = shown.ordered.map(({ value }) => value);
    return [{ place: stockPlace(action.product), values, ordered: false }];
  }
  return [];
}

/** The cell that a pure read has shown. */
export function cellShown({ action, outcome }: Operation): CellShown | undefined {
  if (outcome.kind !== 'ok' || outcome.shown.kind !== 'register') return undefined;
  const { value } = outcome.shown;
  if (action.kind === 'register-read') return { place: registerPlace(action.register), value };
  if (action.kind === 'notice-read') return { place: NOTICE, value };
  return undefined;
}

/** What the logs and cells of a subject hold in the end. */
export function settledLogs(settled: Settled): ReadonlyMap<Place, LogShown> {
  const logs = new Map<Place, LogShown>();
  for (const [list, values] of Object.entries(settled.lists)) {
    const place = listPlace(list);
    logs.set(place, { place, values, ordered: true });
  }
  for (const [product, { ordered }] of Object.entries(settled.stock)) {
    const place = stockPlace(product);
    logs.set(place, { place, values: ordered.map(({ value }) => value), ordered: false });
  }
  return logs;
}

export function settledCells(settled: Settled): ReadonlyMap<Place, Value | undefined> {
  const cells = new Map<Place, Value | undefined>([[NOTICE, settled.notice]]);
  for (const [register, value] of Object.entries(settled.registers)) {
    cells.set(registerPlace(register), value);
  }
  return cells;
}

export function bySubject(operations: readonly Operation[]): ReadonlyMap<string, Operation[]> {
  const subjects = new Map<string, Operation[]>();
  for (const operation of operations) {
    const known = subjects.get(operation.subject);
    if (known === undefined) subjects.set(operation.subject, [operation]);
    else known.push(operation);
  }
  return subjects;
}

/** The value of a key that may have to be made first. */
export function upsert<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
