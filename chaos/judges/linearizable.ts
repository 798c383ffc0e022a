/**
 * Can `strong` reads and all writes of each place be put into one order in real time?
 *
 * Takes part: `strong` reads, what a `strong` swap found that changed nothing, acknowledged writes, and
 * what was read in the end. Reads of other levels do not. A write of unknown outcome may be done at
 * any time after it was sent, or never; it is held to nothing until a read shows it. What was told to
 * be not done takes no part. Linearizability composes, so each register and each list is judged alone.
 *
 * Of a log everything is known that a search would have to find: the longest answer is the order. So it
 * is enough to look for two operations, one of them over before the other began, that stand in it the
 * other way round. Registers need the search.
 */
import type { History, Operation, Settled, Value } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import { type CellCall, explainCell, NEVER, type State } from './cell-search.ts';
import {
  bySubject,
  cellShown,
  hasPut,
  isWrite,
  logsShown,
  type Place,
  putsOf,
  registerPlace,
  settledCells,
  settledLogs,
  upsert,
} from './contents.ts';
import { type Era, endOf, erasOf, isWithin, touches } from './eras.ts';
import { idsOf, inWords, listed, tail } from './in-words.ts';
import { judgement } from './judgement.ts';
import { isBeginning } from './log-order.ts';

export const PROMISE = 'strong is linearizable for one subject';

/** For one register; a history of a thousand operations takes a few thousand. */
export const STEPS_MAX = 1_000_000;

export type LinearizableOptions = { stepsMax?: number };

export function linearizable(
  history: History,
  { stepsMax = STEPS_MAX }: LinearizableOptions = {},
): Judgement {
  const settledOf = new Map(history.settled.map((settled) => [settled.subject, settled]));
  const violations: Violation[] = [];
  const undecided: string[] = [];
  let checked = 0;
  let reads = 0;
  for (const [subject, operations] of bySubject(history.operations)) {
    const eras = erasOf(history, operations[0]?.home ?? '');
    for (const era of eras) {
      const isLast = era.number === eras.length - 1;
      const settled = isLast ? settledOf.get(subject) : undefined;
      for (const [place, calls] of cellsOf(operations, era, settled)) {
        const found = judgeCell(place, subject, era, calls, stepsMax);
        if (found.kind === 'broken') violations.push(found.violation);
        if (found.kind === 'given-up') undecided.push(found.why);
      }
      for (const log of logsOf(operations, era, settled)) {
        violations.push(...judgeLog(subject, log));
      }
    }
    for (const operation of operations) {
      const isRead = isStrongRead(operation);
      if (isRead) reads++;
      if (isRead || (isWrite(operation) && operation.outcome.kind !== 'fail')) checked++;
    }
  }
  return judgement({
    judge: 'linearizable',
    checked: reads === 0 ? 0 : checked,
    violations,
    nothing: 'no strong read was answered',
    undecided: undecided.length === 0 ? undefined : undecided.join('; '),
  });
}

function isStrongRead(operation: Operation): boolean {
  const { outcome, level } = operation;
  return level === 'strong' && outcome.kind === 'ok' && outcome.shown.kind !== 'nothing';
}

// Cells

function cellsOf(
  operations: readonly Operation[],
  era: Era,
  settled: Settled | undefined,
): ReadonlyMap<Place, CellCall[]> {
  const cells = new Map<Place, CellCall[]>();
  const add = (place: Place, call: CellCall) => upsert(cells, place, () => []).push(call);
  for (const operation of operations) {
    const { invokedAtMs, endedAtMs, outcome } = operation;
    if (outcome.kind === 'fail' || !touches(era, operation)) continue;
    const within = isWithin(era, operation);
    const shown = within && isStrongRead(operation) ? shownOf(operation) : undefined;
    if (shown !== undefined) {
      add(shown.place, { invokedAtMs, endedAtMs, operation, expects: shown.value ?? NEVER });
      continue;
    }
    const [put] = putsOf(operation);
    if (put?.kind !== 'cell' || (outcome.kind === 'ok' && !hasPut(operation))) continue;
    const { action } = operation;
    const expects: State | undefined =
      action.kind === 'register-swap' ? (action.expected ?? NEVER) : undefined;
    add(put.place, {
      invokedAtMs: Math.max(invokedAtMs, era.fromMs),
      endedAtMs: within ? endOf(operation) : Number.POSITIVE_INFINITY,
      operation,
      puts: put.value,
      ...(expects !== undefined && { expects }),
    });
  }
  if (settled !== undefined) {
    const values = settledCells(settled);
    const end = Number.MAX_VALUE;
    for (const [place, calls] of cells) {
      const expects = values.get(place) ?? NEVER;
      calls.push({ invokedAtMs: end, endedAtMs: end, operation: undefined, expects });
    }
  }
  return cells;
}

/** What a `strong` operation that changed nothing has shown of a cell. */
function shownOf(operation: Operation): { place: Place; value: Value | undefined } | undefined {
  const { action, outcome } = operation;
  if (action.kind === 'register-swap') {
    if (outcome.kind !== 'ok' || outcome.shown.kind !== 'unchanged') return undefined;
    return { place: registerPlace(action.register), value: outcome.shown.found };
  }
  return cellShown(operation);
}

type CellVerdict =
  | { kind: 'holds' }
  | { kind: 'broken'; violation: Violation }
  | { kind: 'given-up'; why: string };

function judgeCell(
  place: Place,
  subject: string,
  era: Era,
  calls: readonly CellCall[],
  stepsMax: number,
): CellVerdict {
  const found = explainCell(calls, era.number > 0, stepsMax);
  switch (found.kind) {
    case 'explained':
      return { kind: 'holds' };
    case 'given-up':
      return { kind: 'given-up', why: `${place} of ${subject}: ${found.why}` };
    case 'contradiction': {
      const { involved, order, stuck, holds } = found;
      const known = involved.flatMap(({ operation }) => operation ?? []);
      const end = involved.find(({ operation }) => operation === undefined);
      const settled =
        end === undefined ? '' : `; in the end it holds ${stateInWords(end.expects ?? NEVER)}`;
      const after =
        order.length === 0
          ? 'In the beginning'
          : `After ${order.map(({ operation }) => idOf(operation)).join(', ')}`;
      const next = `${after} it holds ${stateInWords(holds)}, and ${idOf(stuck.operation)} cannot come next`;
      return {
        kind: 'broken',
        violation: {
          promise: PROMISE,
          says: `No order explains ${place} of ${subject}: ${listed(known)}${settled}. ${next}.`,
          operations: idsOf(known),
        },
      };
    }
  }
}

function idOf(operation: Operation | undefined): string {
  return operation === undefined ? 'what is there in the end' : `#${operation.id}`;
}

function stateInWords(state: State): string {
  if (state === NEVER) return 'nothing';
  return state === 'unknown' ? 'what a loss has left' : String(state);
}

// Logs

type Entry = {
  /** Undefined: what was read in the end. */
  operation: Operation | undefined;
  does: 'read' | 'write';
  invokedAtMs: number;
  endedAtMs: number;
  /** Where it stands in the order of the log; a write of several values stands at several places. */
  first: number;
  last: number;
};

type Log = { place: Place; entries: readonly Entry[]; clashes: readonly Clash[] };
/** Two answers of which neither is a beginning of the other. */
type Clash = { one: Shown; other: Shown };
type Shown = { operation: Operation | undefined; values: readonly Value[] };

function logsOf(
  operations: readonly Operation[],
  era: Era,
  settled: Settled | undefined,
): readonly Log[] {
  const shown = new Map<Place, { reads: Shown[]; ordered: boolean }>();
  const writes = new Map<Place, { operation: Operation; values: Value[] }[]>();
  for (const operation of operations) {
    if (operation.outcome.kind === 'fail') continue;
    if (isStrongRead(operation) && isWithin(era, operation)) {
      for (const { place, values, ordered } of logsShown(operation)) {
        upsert(shown, place, () => ({ reads: [], ordered })).reads.push({ operation, values });
      }
    }
    // What was sent before this era began may be in it or not.
    if (operation.invokedAtMs <= era.fromMs || operation.invokedAtMs > era.untilMs) continue;
    if (operation.outcome.kind === 'ok' && !hasPut(operation)) continue;
    const own = new Map<Place, Value[]>();
    for (const { place, kind, value } of putsOf(operation)) {
      if (kind === 'log') upsert(own, place, () => []).push(value);
    }
    for (const [place, values] of own) upsert(writes, place, () => []).push({ operation, values });
  }
  if (settled !== undefined) {
    const logs = settledLogs(settled);
    for (const place of writes.keys()) {
      const { values, ordered } = logs.get(place) ?? { values: [], ordered: true };
      upsert(shown, place, () => ({ reads: [], ordered })).reads.push({
        operation: undefined,
        values,
      });
    }
  }
  const logs: Log[] = [];
  for (const [place, { reads, ordered }] of shown) {
    const { stands, clashes, readAt } = ordered ? inList(reads) : inSets(reads);
    const entries: Entry[] = [];
    reads.forEach(({ operation }, index) => {
      const at = readAt[index];
      if (at === undefined) return;
      const end = Number.MAX_VALUE;
      entries.push({
        operation,
        does: 'read',
        invokedAtMs: operation?.invokedAtMs ?? end,
        endedAtMs: operation?.endedAtMs ?? end,
        first: at,
        last: at,
      });
    });
    for (const { operation, values } of writes.get(place) ?? []) {
      const places = values.map((value) => stands.get(value) ?? Number.POSITIVE_INFINITY);
      const isSure = hasPut(operation) && isWithin(era, operation);
      entries.push({
        operation,
        does: 'write',
        invokedAtMs: operation.invokedAtMs,
        endedAtMs: isSure ? operation.endedAtMs : Number.POSITIVE_INFINITY,
        first: Math.min(...places),
        last: Math.max(...places),
      });
    }
    logs.push({ place, entries, clashes });
  }
  return logs;
}

type Order = {
  /** Writes have odd places, reads even ones. */
  stands: ReadonlyMap<Value, number>;
  /** Undefined for an answer that clashes with the order. */
  readAt: readonly (number | undefined)[];
  clashes: readonly Clash[];
};

/** A list: the longest answer is the order. */
function inList(reads: readonly Shown[]): Order {
  let [longest] = reads;
  for (const read of reads) {
    if (longest === undefined || read.values.length > longest.values.length) longest = read;
  }
  if (longest === undefined) throw new Error('a list that nobody has read');
  const order = longest;
  const stands = new Map(order.values.map((value, index) => [value, 2 * index + 1]));
  const clashes: Clash[] = [];
  const readAt = reads.map((read) => {
    if (isBeginning(read.values, order.values)) return 2 * read.values.length;
    clashes.push({ one: order, other: read });
    return undefined;
  });
  return { stands, readAt, clashes };
}

/** Orders of a product come in no order: what a smaller answer shows is in every larger one. */
function inSets(reads: readonly Shown[]): Order {
  const sorted = [...reads].sort((a, b) => a.values.length - b.values.length);
  const stands = new Map<Value, number>();
  const at = new Map<Shown, number>();
  const clashes: Clash[] = [];
  let before: Shown | undefined;
  let place = 0;
  for (const read of sorted) {
    const news = read.values.filter((value) => !stands.has(value));
    const isLarger = read.values.length === stands.size + news.length;
    if (!isLarger || (news.length > 0 && before?.values.length === read.values.length)) {
      if (before !== undefined) clashes.push({ one: before, other: read });
      continue;
    }
    if (news.length > 0 || before === undefined) {
      place += 2;
      for (const value of news) stands.set(value, place - 1);
    }
    at.set(read, place);
    before = read;
  }
  return { stands, clashes, readAt: reads.map((read) => at.get(read)) };
}

function judgeLog(subject: string, { place, entries, clashes }: Log): Violation[] {
  const violations: Violation[] = clashes.map(({ one, other }) => ({
    promise: PROMISE,
    says: `Of ${place} of ${subject} these two cannot both be right: ${shownInWords(one)}; ${shownInWords(other)}.`,
    operations: idsOf([one.operation, other.operation]),
  }));
  const begun = [...entries].sort((a, b) => a.invokedAtMs - b.invokedAtMs);
  const ended = [...entries].sort((a, b) => a.endedAtMs - b.endedAtMs);
  const accused = new Set<Entry>();
  let next = 0;
  let highest: Entry | undefined;
  for (const later of begun) {
    for (let entry = ended[next]; entry !== undefined; entry = ended[++next]) {
      if (entry.endedAtMs >= later.invokedAtMs) break;
      if (highest === undefined || entry.last > highest.last) highest = entry;
    }
    if (highest === undefined || highest.last <= later.first || accused.has(highest)) continue;
    accused.add(highest);
    violations.push({
      promise: PROMISE,
      says: `${inThisOrder(place, subject, highest, later)}.`,
      operations: idsOf([highest.operation, later.operation]),
    });
  }
  return violations;
}

function shownInWords({ operation, values }: Shown): string {
  if (operation === undefined) return `in the end it holds ${tail(values)}`;
  return inWords(operation);
}

function inThisOrder(place: Place, subject: string, earlier: Entry, later: Entry): string {
  const [first, second] = [entryInWords(earlier), entryInWords(later)];
  const pair = `${place} of ${subject}: ${first}; ${second}`;
  if (earlier.does === 'write') {
    return later.does === 'read'
      ? `${pair}. The first was acknowledged before the second began, which does not show it`
      : `${pair}. The first was acknowledged before the second was sent, and yet comes after it`;
  }
  return later.does === 'read'
    ? `${pair}. The first was over before the second began, which shows less`
    : `${pair}. The first was over before the second was sent, and yet shows it`;
}

function entryInWords({ operation }: Entry): string {
  return operation === undefined ? 'what is there in the end' : inWords(operation);
}
