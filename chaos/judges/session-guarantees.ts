/**
 * Did every session see what it had written and read, at every edge, and nobody its writes out of order?
 *
 * Read your writes, monotonic reads, monotonic writes, writes follow reads. An operation follows
 * another one of its session if that one had ended before it was sent. Reads with `session` and
 * `strong` have to show what was known; reads with `bounded` do not, but what they show is known
 * from then on; reads with `eventual` do neither. What a write transaction has read is not held against
 * the floor: it runs on the primary, which can show a commit later than its replica.
 *
 * A log shows everything that came before. Of a cell only the last value is seen, so versions are put
 * in order by whatever is known of them, and an order that leads back to itself is a broken promise:
 * acknowledged before the other was sent, swapped for it, or seen before it by a session.
 */
import type { History, Operation, Settled, Value } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import {
  bySubject,
  cellShown,
  hasNotPut,
  hasPut,
  isWrite,
  logsShown,
  type Place,
  putsOf,
  upsert,
} from './contents.ts';
import { cyclicComponents, shortestPath } from './digraph.ts';
import { idsOf, inWords, listed, said } from './in-words.ts';
import { judgement } from './judgement.ts';
import { isBeginning, type LogOrder, logOrders } from './log-order.ts';
import { stretchesOf } from './stretches.ts';

const PROMISES = {
  'read your writes': 'a session reads its writes',
  'monotonic reads': 'a session never sees less than it saw',
  'monotonic writes': 'the writes of a session come in its order',
  'writes follow reads': 'a write comes after what its session had seen',
} as const;
type Guarantee = keyof typeof PROMISES;

export function sessionGuarantees(history: History): Judgement {
  const settledOf = new Map(history.settled.map((settled) => [settled.subject, settled]));
  const violations: Violation[] = [];
  let checked = 0;
  for (const [subject, operations] of bySubject(history.operations)) {
    const stretches = stretchesOf(operations);
    const orders = ordersOfWrites(history, operations, settledOf.get(subject));
    for (const stretch of stretches) {
      const found = judgeLogs(subject, stretch, orders);
      violations.push(...found.violations);
      checked += found.checked;
    }
    for (const cell of cellsOf(operations, stretches)) {
      checked += cell.checked;
      violations.push(...judgeCell(subject, cell));
    }
  }
  return judgement({
    judge: 'session-guarantees',
    checked,
    violations,
    nothing: 'no session did anything after it had seen something',
  });
}

function isHeldToFloor(operation: Operation): boolean {
  const { level, outcome } = operation;
  return (
    outcome.kind === 'ok' && !isWrite(operation) && (level === 'session' || level === 'strong')
  );
}

/** Where a home has gone on without some writes, the order is what it has now. */
function ordersOfWrites(
  { acceptedLosses }: History,
  operations: readonly Operation[],
  settled: Settled | undefined,
): Orders {
  const home = operations[0]?.home;
  const hasLost = acceptedLosses.some((loss) => loss.home === home);
  const orders = new Map<Place, LogOrder[]>();
  for (const [place, order] of logOrders(hasLost ? [] : operations, settled)) {
    const strays = order.strays.slice(0, STRAYS_MAX).map((longest): LogOrder => {
      const position = new Map(longest.values.map((value, index) => [value, index]));
      return { place, longest, position, strays: [] };
    });
    orders.set(place, [order, ...strays]);
  }
  return orders;
}

/** Of each log the longest answer, and after it those that show another order. */
type Orders = ReadonlyMap<Place, readonly LogOrder[]>;

/** Answers of another order are looked at one by one; that there are any is a violation already. */
const STRAYS_MAX = 20;

// Logs

/** How a session came to know of a value. */
type Source = { operation: Operation; how: 'wrote' | 'read' };

type Floor = {
  /** A beginning of the log that was shown, and by whom. */
  seen: readonly Value[];
  seenBy: Operation | undefined;
  /** Whether it is a beginning of the order of writes. */
  isInOrder: boolean;
  /** Known, and not in `seen`. */
  others: Map<Value, Source>;
};

function judgeLogs(
  subject: string,
  stretch: readonly Operation[],
  orders: Orders,
): { checked: number; violations: Violation[] } {
  const violations: Violation[] = [];
  const floors = new Map<Place, Floor>();
  const ended = [...stretch].sort((a, b) => a.endedAtMs - b.endedAtMs);
  let next = 0;
  let checked = 0;
  for (const operation of stretch) {
    for (let past = ended[next]; past !== undefined; past = ended[++next]) {
      if (past.endedAtMs >= operation.invokedAtMs) break;
      learn(floors, past, orders);
    }
    let isChecked = false;
    if (isHeldToFloor(operation)) {
      for (const { place, values } of logsShown(operation)) {
        const floor = floors.get(place);
        if (floor === undefined) continue;
        isChecked = true;
        const missing = firstMissing(floor, values);
        if (missing !== undefined) violations.push(unseen(subject, place, missing, operation));
      }
    }
    if (isWrite(operation) && !hasNotPut(operation)) {
      for (const { place, kind, value } of putsOf(operation)) {
        const floor = floors.get(place);
        if (kind !== 'log' || floor === undefined) continue;
        for (const [index, order] of (orders.get(place) ?? []).entries()) {
          if (!order.longest.ordered) continue;
          isChecked = true;
          const late = firstLater(floor, order, value, index === 0 && floor.isInOrder);
          if (late === undefined) continue;
          violations.push(outOfOrder(subject, place, late, operation, value, order));
          break;
        }
      }
    }
    if (isChecked) checked++;
  }
  return { checked, violations };
}

function learn(floors: Map<Place, Floor>, operation: Operation, orders: Orders): void {
  if (operation.outcome.kind !== 'ok') return;
  const floorOf = (place: Place) =>
    upsert(floors, place, () => ({
      seen: [],
      seenBy: undefined,
      isInOrder: true,
      others: new Map(),
    }));
  if (operation.level !== 'eventual' || isWrite(operation)) {
    for (const { place, values } of logsShown(operation)) {
      const floor = floorOf(place);
      if (isBeginning(values, floor.seen)) continue;
      if (isBeginning(floor.seen, values)) {
        floor.seen = values;
        floor.seenBy = operation;
        floor.isInOrder = isBeginning(values, orders.get(place)?.[0]?.longest.values ?? []);
        if (floor.others.size > 0) for (const value of values) floor.others.delete(value);
      } else {
        const seen = new Set(floor.seen);
        for (const value of values) {
          if (!seen.has(value)) floor.others.set(value, { operation, how: 'read' });
        }
      }
    }
  }
  if (!hasPut(operation)) return;
  for (const { place, kind, value } of putsOf(operation)) {
    if (kind !== 'log') continue;
    const floor = floorOf(place);
    if (!floor.seen.includes(value)) floor.others.set(value, { operation, how: 'wrote' });
  }
}

type Known = Source & { value: Value };

function firstMissing(floor: Floor, values: readonly Value[]): Known | undefined {
  const { seen, seenBy, others } = floor;
  let shown: Set<Value> | undefined;
  if (seenBy !== undefined && !isBeginning(seen, values)) {
    shown = new Set(values);
    for (const value of seen) {
      if (!shown.has(value)) return { value, operation: seenBy, how: 'read' };
    }
  }
  if (others.size === 0) return undefined;
  shown ??= new Set(values);
  for (const [value, source] of others) if (!shown.has(value)) return { value, ...source };
  return undefined;
}

/** What the session knew and what does not come before its write. */
function firstLater(
  floor: Floor,
  order: LogOrder,
  written: Value,
  isInOrder: boolean,
): Known | undefined {
  const at = order.position.get(written);
  // Nobody has seen it, and so nobody without the others.
  if (at === undefined) return undefined;
  const { seen, seenBy, others } = floor;
  const isBefore = (value: Value) => (order.position.get(value) ?? Number.POSITIVE_INFINITY) < at;
  if (seenBy !== undefined && !(isInOrder && seen.length <= at)) {
    const late = seen.find((value) => !isBefore(value));
    if (late !== undefined) return { value: late, operation: seenBy, how: 'read' };
  }
  for (const [value, source] of others) {
    // Steps of one transaction are not out of order with themselves.
    if (!isBefore(value)) return { value, ...source };
  }
  return undefined;
}

function unseen(subject: string, place: Place, known: Known, reader: Operation): Violation {
  const guarantee = known.how === 'wrote' ? 'read your writes' : 'monotonic reads';
  return {
    promise: PROMISES[guarantee],
    says: `${place} of ${subject}, session ${reader.session}, ${guarantee}: ${inWords(known.operation)}; later ${inWords(reader)}, which lacks ${known.value}.`,
    operations: idsOf([known.operation, reader]),
  };
}

function outOfOrder(
  subject: string,
  place: Place,
  known: Known,
  writer: Operation,
  value: Value,
  order: LogOrder,
): Violation {
  const guarantee = known.how === 'wrote' ? 'monotonic writes' : 'writes follow reads';
  const reader = order.longest.by;
  const shown = reader === undefined ? `in the end ${place} is without it` : inWords(reader);
  const where = order.position.has(known.value)
    ? `${value} comes before ${known.value}`
    : `${value} is there without ${known.value}: ${shown}`;
  return {
    promise: PROMISES[guarantee],
    says: `${place} of ${subject}, session ${writer.session}, ${guarantee}: ${inWords(known.operation)}; later ${inWords(writer)}; and yet ${where}.`,
    operations: idsOf([known.operation, writer, reader]),
  };
}

// Cells

/** Why one version comes before another. */
type Reason = {
  earlier: Operation | undefined;
  later: Operation | undefined;
  guarantee: Guarantee | undefined;
};

type Cell = {
  place: Place;
  versions: readonly (Value | undefined)[];
  edges: ReadonlyMap<number, Reason>[];
  /** Nodes from this one on are instants: whatever leads to one was over by then. */
  instants: number;
  checked: number;
};

function cellsOf(
  operations: readonly Operation[],
  stretches: readonly (readonly Operation[])[],
): readonly Cell[] {
  const writers = new Map<Place, Operation[]>();
  const values = new Map<Place, Set<Value>>();
  const twice = new Set<Place>();
  for (const operation of operations) {
    for (const { place, kind, value } of putsOf(operation)) {
      if (kind !== 'cell' || hasNotPut(operation)) continue;
      const known = upsert(values, place, () => new Set());
      if (known.has(value)) twice.add(place);
      known.add(value);
      upsert(writers, place, () => []).push(operation);
    }
  }
  const cells: Cell[] = [];
  const byPlace = new Map<Place, Operation[][]>();
  stretches.forEach((stretch) => {
    const parts = new Map<Place, Operation[]>();
    for (const operation of stretch) {
      const place = cellShown(operation)?.place ?? putsOf(operation)[0]?.place;
      if (place !== undefined) upsert(parts, place, () => []).push(operation);
    }
    for (const [place, part] of parts) upsert(byPlace, place, () => []).push(part);
  });
  for (const [place, puts] of writers) {
    // Which of two equal values was seen, nobody can say.
    if (twice.has(place)) continue;
    cells.push(cellOf(place, puts, byPlace.get(place) ?? []));
  }
  return cells;
}

function cellOf(
  place: Place,
  puts: readonly Operation[],
  stretches: readonly (readonly Operation[])[],
): Cell {
  const versions: (Value | undefined)[] = [undefined];
  const numbers = new Map<Value | undefined, number>([[undefined, 0]]);
  const edges: Map<number, Reason>[] = [new Map()];
  const add = (from: number, to: number, reason: Reason) => {
    const known = edges[from] as Map<number, Reason>;
    if (!known.has(to)) known.set(to, reason);
  };
  const node = () => edges.push(new Map()) - 1;
  const putBy = (operation: Operation) => putsOf(operation)[0]?.value;
  for (const operation of puts) {
    const value = putBy(operation);
    numbers.set(value, versions.length);
    versions.push(value);
    add(0, node(), { earlier: undefined, later: operation, guarantee: undefined });
  }
  for (const operation of puts) {
    const { action } = operation;
    if (action.kind !== 'register-swap' || !hasPut(operation)) continue;
    const from = numbers.get(action.expected);
    const to = numbers.get(action.value);
    if (from === undefined || to === undefined) continue;
    const earlier = puts.find((put) => putBy(put) === action.expected);
    add(from, to, { earlier, later: operation, guarantee: undefined });
  }
  const instants = edges.length;
  addTimes(puts, (put) => numbers.get(putBy(put)) as number, add, node);
  let checked = 0;
  for (const stretch of stretches) checked += addStretch(stretch, numbers, add);
  return { place, versions, edges, instants, checked };
}

type Add = (from: number, to: number, reason: Reason) => void;

/** Acknowledged before the other was sent, over instants, so that edges stay few. */
function addTimes(
  puts: readonly Operation[],
  numberOf: (put: Operation) => number,
  add: Add,
  node: () => number,
): void {
  const begun = [...puts].sort((a, b) => a.invokedAtMs - b.invokedAtMs);
  const ended = puts.filter(hasPut).sort((a, b) => a.endedAtMs - b.endedAtMs);
  let next = 0;
  let instant: number | undefined;
  for (const later of begun) {
    for (let earlier = ended[next]; earlier !== undefined; earlier = ended[++next]) {
      if (earlier.endedAtMs >= later.invokedAtMs) break;
      const passed = node();
      const reason = { earlier, later: undefined, guarantee: undefined };
      if (instant !== undefined) add(instant, passed, reason);
      add(numberOf(earlier), passed, reason);
      instant = passed;
    }
    if (instant !== undefined) {
      add(instant, numberOf(later), { earlier: undefined, later, guarantee: undefined });
    }
  }
}

/** What the session knew comes before what it saw or wrote afterwards. */
function addStretch(
  stretch: readonly Operation[],
  numbers: ReadonlyMap<Value | undefined, number>,
  add: Add,
): number {
  let checked = 0;
  /** Of what is known, what nothing else that is known comes after. */
  let frontier: Knows[] = [];
  const covered = new Map<Operation, readonly Knows[]>();
  const ended = [...stretch].sort((a, b) => a.endedAtMs - b.endedAtMs);
  let next = 0;
  for (const operation of stretch) {
    for (let past = ended[next]; past !== undefined; past = ended[++next]) {
      if (past.endedAtMs >= operation.invokedAtMs) break;
      const version = versionKnown(past, numbers);
      if (version === undefined) continue;
      const gone = covered.get(past) ?? [];
      frontier = frontier.filter((known) => !gone.includes(known) && known.version !== version);
      frontier.push({ version, operation: past });
    }
    const isRead = isHeldToFloor(operation);
    const version = isRead ? versionKnown(operation, numbers) : versionWritten(operation, numbers);
    if (version === undefined || (!isRead && hasNotPut(operation))) continue;
    if (frontier.length > 0) checked++;
    for (const known of frontier) {
      if (known.version === version) continue;
      add(known.version, version, {
        earlier: known.operation,
        later: operation,
        guarantee: guaranteeOf(known.operation, operation),
      });
    }
    covered.set(operation, frontier);
  }
  return checked;
}

type Knows = { version: number; operation: Operation };

function versionKnown(
  operation: Operation,
  numbers: ReadonlyMap<Value | undefined, number>,
): number | undefined {
  if (operation.outcome.kind !== 'ok') return undefined;
  if (isWrite(operation)) {
    return hasPut(operation) ? versionWritten(operation, numbers) : undefined;
  }
  const shown = operation.level === 'eventual' ? undefined : cellShown(operation);
  return shown === undefined ? undefined : numbers.get(shown.value);
}

function versionWritten(
  operation: Operation,
  numbers: ReadonlyMap<Value | undefined, number>,
): number | undefined {
  const [put] = putsOf(operation);
  return put?.kind === 'cell' ? numbers.get(put.value) : undefined;
}

function guaranteeOf(earlier: Operation, later: Operation): Guarantee {
  if (isWrite(earlier)) return isWrite(later) ? 'monotonic writes' : 'read your writes';
  return isWrite(later) ? 'writes follow reads' : 'monotonic reads';
}

function judgeCell(subject: string, { place, versions, edges, instants }: Cell): Violation[] {
  const violations: Violation[] = [];
  const graph = edges.map((to) => [...to.keys()]);
  for (const component of cyclicComponents(graph)) {
    const members = new Set(component);
    const within = (node: number) => (graph[node] ?? []).filter((to) => members.has(to));
    let shortest: number[] | undefined;
    for (const from of component) {
      for (const to of within(from)) {
        if (edges[from]?.get(to)?.guarantee === undefined) continue;
        const back = shortestPath(within, to, from);
        const cycle = back === undefined ? undefined : [from, ...back];
        if (cycle !== undefined && cycle.length < (shortest?.length ?? Number.POSITIVE_INFINITY)) {
          shortest = cycle;
        }
      }
    }
    // Without a session it is a matter of linearizability.
    if (shortest === undefined) continue;
    const reasons: Reason[] = [];
    for (let index = 1; index < shortest.length; index++) {
      const reason = edges[shortest[index - 1] as number]?.get(shortest[index] as number);
      if (reason !== undefined) reasons.push(reason);
    }
    const broken = GUARANTEES.find((name) => reasons.some(({ guarantee }) => guarantee === name));
    if (broken === undefined) continue;
    const operations = reasons.flatMap(({ earlier, later }) => [earlier ?? [], later ?? []].flat());
    const unique = [...new Set(operations)].sort((a, b) => a.invokedAtMs - b.invokedAtMs);
    const session = reasons.find(({ guarantee }) => guarantee === broken)?.later?.session;
    const round = shortest
      .filter((node) => node < instants)
      .map((node) => said(versions[node]))
      .join(' before ');
    violations.push({
      promise: PROMISES[broken],
      says: `${place} of ${subject}, session ${session}, ${broken}: ${round}, which cannot be. ${listed(unique)}.`,
      operations: idsOf(unique),
    });
  }
  return violations;
}

const GUARANTEES: readonly Guarantee[] = [
  'read your writes',
  'monotonic reads',
  'monotonic writes',
  'writes follow reads',
];
