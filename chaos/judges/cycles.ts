/**
 * Which transactions over lists depend on each other in a circle?
 *
 * Adya's anomalies, inferred as Elle does it: a list keeps every append, so what was read tells the
 * order of versions, and with it who overwrote whom (ww), who read whom (wr) and who did not see whom
 * (rw). Promised is what PostgreSQL gives a transaction by default, READ COMMITTED: no G0, G1a, G1b,
 * G1c. Statements of one transaction may see different instants, so read skew (G-single) inside one is
 * not promised away, unless the app reads in one statement (`consistent view`) or asks for more
 * (`serializable`). What is promised on top, at every isolation, is that a `strong` read sees what was
 * over before it began, and that `session` and `strong` see what their session saw: such edges count
 * too. What is found and not promised away stands apart.
 */
import type { History, Operation, Settled, Value } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import { bySubject, hasPut, isWrite, listPlace, type Place, putsOf, upsert } from './contents.ts';
import { cyclicComponents, shortestPath } from './digraph.ts';
import { type Era, erasOf, isWithin } from './eras.ts';
import { idsOf, inWords, listed, tail } from './in-words.ts';
import { judgement } from './judgement.ts';
import { isBeginning, type LogOrder, logOrders } from './log-order.ts';
import { stretchesOf } from './stretches.ts';

/** Names after Adya; each promises what those before it promise. */
export type Isolation = 'read committed' | 'consistent view' | 'serializable';

export type CyclesOptions = { isolation?: Isolation };

/** So many edges of unsuccessful reads are followed in one subject; a good history has none. */
const SKEWS_MAX = 1_000;

export function cycles(
  history: History,
  { isolation = 'read committed' }: CyclesOptions = {},
): Judgement {
  const settledOf = new Map(history.settled.map((settled) => [settled.subject, settled]));
  const violations: Violation[] = [];
  const apart: Violation[] = [];
  let checked = 0;
  for (const [subject, operations] of bySubject(history.operations)) {
    const transactions = operations.filter(({ action }) => action.kind === 'lists');
    checked += transactions.filter(({ outcome }) => outcome.kind === 'ok').length;
    const eras = erasOf(history, operations[0]?.home ?? '');
    for (const era of eras) {
      const isLast = era.number === eras.length - 1;
      const settled = isLast ? settledOf.get(subject) : undefined;
      const found = judgeEra(
        { subject, transactions, era, isOnly: eras.length === 1, settled },
        isolation,
      );
      violations.push(...found.violations);
      apart.push(...found.apart);
    }
  }
  return judgement({
    judge: 'cycles',
    checked,
    violations,
    apart,
    nothing: 'no transaction over lists was answered',
  });
}

type Part = {
  subject: string;
  transactions: readonly Operation[];
  era: Era;
  isOnly: boolean;
  settled: Settled | undefined;
};

function judgeEra(
  { subject, transactions, era, isOnly, settled }: Part,
  isolation: Isolation,
): { violations: Violation[]; apart: Violation[] } {
  // After a loss, a copy that nobody vouches for may show what is gone.
  const within = transactions.filter(
    (operation) => isWithin(era, operation) && (isOnly || operation.level !== 'eventual'),
  );
  const answered = within.filter(({ outcome }) => outcome.kind === 'ok');
  const orders = logOrders(answered, settled);
  const writers = new Map<Place, Map<Value, Operation>>();
  for (const operation of transactions) {
    for (const { place, value } of putsOf(operation)) {
      upsert(writers, place, () => new Map()).set(value, operation);
    }
  }
  const violations = [
    ...answered.flatMap((reader) => judgeReads(subject, reader, writers, orders)),
    ...[...orders.values()].flatMap((order) => judgeOrder(subject, order)),
  ];
  const graph = new Dependencies(within, orders, writers);
  const found = judgeGraph(subject, graph, isolation);
  return { violations: [...violations, ...found.violations], apart: found.apart };
}

type Writers = ReadonlyMap<Place, ReadonlyMap<Value, Operation>>;

/** A read of a list inside a transaction, without what the transaction itself had appended. */
type Read = { place: Place; values: readonly Value[]; own: readonly Value[]; ends: number };

function readsOf({ action, outcome }: Operation): Read[] {
  if (action.kind !== 'lists' || outcome.kind !== 'ok' || outcome.shown.kind !== 'lists') return [];
  const { lists } = outcome.shown;
  const reads: Read[] = [];
  const appended = new Map<Place, Value[]>();
  action.steps.forEach((step, index) => {
    const place = listPlace(step.list);
    const own = upsert(appended, place, () => []);
    if (step.do === 'append') {
      own.push(step.value);
      return;
    }
    const values = lists[index];
    if (values === undefined) return;
    let ends = values.length;
    const mine = new Set(own);
    while (ends > 0 && mine.has(values[ends - 1] as Value)) ends--;
    reads.push({ place, values, own: [...own], ends });
  });
  return reads;
}

function judgeReads(
  subject: string,
  reader: Operation,
  writers: Writers,
  orders: ReadonlyMap<Place, LogOrder>,
): Violation[] {
  const violations: Violation[] = [];
  const accuse = (name: string, because: string, other?: Operation) => {
    const who = other === undefined ? '' : ` ${inWords(other)};`;
    violations.push({
      promise: `read committed: ${name}`,
      says: `In ${subject}:${who} ${inWords(reader)}. ${because}.`,
      operations: idsOf([reader, other]),
    });
  };
  for (const { place, values, own, ends } of readsOf(reader)) {
    const writerOf = (value: Value) => writers.get(place)?.get(value);
    const missing = own.find((value) => !values.includes(value));
    if (missing !== undefined) {
      accuse('internal', `It appended ${missing} to ${place} and did not read it`);
    }
    const order = orders.get(place);
    // Every value of the longest answer is looked at with its own read.
    const isLongest = order?.longest.by === reader || order?.strays.some(({ by }) => by === reader);
    if (isLongest === true) {
      for (const value of values) {
        const writer = writerOf(value);
        if (writer?.outcome.kind !== 'fail') continue;
        accuse('G1a, aborted read', `${value} was told to be not applied`, writer);
      }
    }
    const last = values[ends - 1];
    const writer = last === undefined ? undefined : writerOf(last);
    if (last === undefined || writer === undefined || writer === reader) continue;
    const puts = putsOf(writer).filter((put) => put.place === place);
    if (puts.at(-1)?.value === last) continue;
    accuse('G1b, intermediate read', `${last} is not the last that was appended there`, writer);
  }
  return violations;
}

function judgeOrder(subject: string, { place, longest, strays }: LogOrder): Violation[] {
  const violations: Violation[] = [];
  const { values } = longest;
  const seen = new Set<Value>();
  const doubled = values.find((value) => seen.size === seen.add(value).size);
  if (doubled !== undefined) {
    violations.push({
      promise: 'read committed: one order of versions',
      says: `${place} of ${subject} holds ${doubled} more than once: ${showing(longest.by, values)}.`,
      operations: idsOf([longest.by]),
    });
  }
  for (const stray of strays) {
    violations.push({
      promise: 'read committed: one order of versions',
      says: `${place} of ${subject} cannot have had both orders: ${showing(longest.by, values)}; ${showing(stray.by, stray.values)}.`,
      operations: idsOf([longest.by, stray.by]),
    });
  }
  return violations;
}

function showing(by: Operation | undefined, values: readonly Value[]): string {
  return by === undefined ? `in the end it holds ${tail(values)}` : inWords(by);
}

// The graph

type Kind = 'ww' | 'wr' | 'rw' | 'time' | 'session';
type Edge = { kind: Kind; why: string };

/**
 * Transactions are nodes, and so are instants: whatever leads to one was over by then. They keep the
 * number of edges small where everything that is over comes before everything that begins.
 */
class Dependencies {
  readonly nodes: (Operation | undefined)[] = [];
  readonly edges: Map<number, Edge>[] = [];
  #numbers = new Map<Operation, number>();

  constructor(
    within: readonly Operation[],
    orders: ReadonlyMap<Place, LogOrder>,
    writers: Writers,
  ) {
    for (const operation of within) {
      if (operation.outcome.kind === 'ok') this.#node(operation);
    }
    // Unknown, but somebody has seen it: it was done.
    for (const [place, { longest }] of orders) {
      for (const value of longest.values) {
        const writer = writers.get(place)?.get(value);
        if (writer?.outcome.kind === 'unknown') this.#node(writer);
      }
    }
    this.#data(within, orders, writers);
    const done = [...this.#numbers.keys()];
    const isCurrent = ({ level }: Operation) => level === 'strong';
    this.#follow(
      done.filter((each) => each.outcome.kind === 'ok' && (isWrite(each) || isCurrent(each))),
      done.filter((each) => isWrite(each) || isCurrent(each)),
      'time',
    );
    for (const stretch of stretchesOf(within)) {
      const known = stretch.filter((each) => this.#numbers.has(each));
      this.#follow(
        known.filter(
          (each) => each.outcome.kind === 'ok' && (isWrite(each) || each.level !== 'eventual'),
        ),
        known.filter((each) => isWrite(each) || each.level === 'session' || isCurrent(each)),
        'session',
      );
    }
  }

  #node(operation: Operation | undefined): number {
    const known = operation === undefined ? undefined : this.#numbers.get(operation);
    if (known !== undefined) return known;
    const node = this.nodes.push(operation) - 1;
    this.edges.push(new Map());
    if (operation !== undefined) this.#numbers.set(operation, node);
    return node;
  }

  #edge(from: number, to: number, edge: Edge): void {
    const edges = this.edges[from] as Map<number, Edge>;
    const known = edges.get(to);
    if (from === to || (known !== undefined && STRENGTH[known.kind] >= STRENGTH[edge.kind])) return;
    edges.set(to, edge);
  }

  #between(from: Operation | undefined, to: Operation | undefined, edge: Edge): void {
    const [a, b] = [from, to].map((each) => each && this.#numbers.get(each));
    if (a !== undefined && b !== undefined) this.#edge(a, b, edge);
  }

  #data(
    within: readonly Operation[],
    orders: ReadonlyMap<Place, LogOrder>,
    writers: Writers,
  ): void {
    /** Acknowledged, and in nobody's answer: they come after all that was shown. */
    const unseen = new Map<Place, Operation[]>();
    for (const operation of within) {
      if (!hasPut(operation)) continue;
      for (const { place, value } of putsOf(operation)) {
        if (orders.get(place)?.position.has(value) === true) continue;
        upsert(unseen, place, () => []).push(operation);
      }
    }
    for (const [place, { longest, position }] of orders) {
      const writerOf = (index: number) => {
        const value = longest.values[index];
        return value === undefined ? undefined : writers.get(place)?.get(value);
      };
      // A value that is there twice makes no order.
      if (position.size !== longest.values.length) continue;
      longest.values.forEach((value, index) => {
        const [earlier, later] = [writerOf(index - 1), writerOf(index)];
        if (earlier === undefined || later === undefined) return;
        const [one, other] = [idOf(earlier), idOf(later)];
        const why = `${other} appended ${value} to ${place} after the ${longest.values[index - 1]} of ${one}`;
        this.#between(earlier, later, { kind: 'ww', why });
      });
      const last = longest.values.length - 1;
      for (const later of unseen.get(place) ?? []) {
        const why = `${idOf(later)} appended to ${place} after everything that was read there`;
        this.#between(writerOf(last), later, { kind: 'ww', why });
      }
    }
    for (const reader of within) {
      for (const { place, values, ends } of readsOf(reader)) {
        const order = orders.get(place);
        if (order === undefined || order.position.size !== order.longest.values.length) continue;
        const seen = values.slice(0, ends);
        const all = order.longest.values;
        if (!isBeginning(seen, all)) continue;
        const last = all[ends - 1];
        const writer = last === undefined ? undefined : writers.get(place)?.get(last);
        if (writer !== undefined) {
          const why = `${idOf(reader)} read the ${last} of ${idOf(writer)} in ${place}`;
          this.#between(writer, reader, { kind: 'wr', why });
        }
        const next = all[ends];
        const overwriter = next === undefined ? undefined : writers.get(place)?.get(next);
        const after = next === undefined ? (unseen.get(place) ?? []) : [overwriter ?? []].flat();
        for (const later of after) {
          const what = next === undefined ? 'what was appended' : `the ${next}`;
          const why = `${idOf(reader)} did not see ${what} of ${idOf(later)} in ${place}`;
          this.#between(reader, later, { kind: 'rw', why });
        }
      }
    }
  }

  #follow(
    sources: readonly Operation[],
    targets: readonly Operation[],
    kind: 'time' | 'session',
  ): void {
    const ended = [...sources].sort((a, b) => a.endedAtMs - b.endedAtMs);
    const begun = [...targets].sort((a, b) => a.invokedAtMs - b.invokedAtMs);
    let next = 0;
    let instant: number | undefined;
    for (const later of begun) {
      for (let earlier = ended[next]; earlier !== undefined; earlier = ended[++next]) {
        if (earlier.endedAtMs >= later.invokedAtMs) break;
        const passed = this.#node(undefined);
        if (instant !== undefined) this.#edge(instant, passed, { kind, why: '' });
        this.#edge(this.#node(earlier), passed, { kind, why: '' });
        instant = passed;
      }
      if (instant !== undefined) this.#edge(instant, this.#node(later), { kind, why: '' });
    }
  }

  /** Its edges of these kinds. */
  of(...kinds: readonly Kind[]): number[][] {
    const wanted = new Set(kinds);
    return this.edges.map((edges) =>
      [...edges].filter(([, { kind }]) => wanted.has(kind)).map(([to]) => to),
    );
  }

  edge(from: number, to: number): Edge {
    const edge = this.edges[from]?.get(to);
    if (edge === undefined) throw new Error('a way over an edge that is not there');
    return edge;
  }
}

/** Where two transactions depend on each other twice, what says most. */
const STRENGTH: Record<Kind, number> = { session: 0, time: 0, rw: 1, wr: 2, ww: 3 };

function idOf({ id }: Operation): string {
  return `#${id}`;
}

function judgeGraph(
  subject: string,
  graph: Dependencies,
  isolation: Isolation,
): { violations: Violation[]; apart: Violation[] } {
  const violations: Violation[] = [];
  const apart: Violation[] = [];
  const report = (into: Violation[], name: string, cycle: readonly number[]) => {
    into.push(cycleInWords(subject, graph, name, cycle));
  };
  const accused = new Set<number>();
  const circles = (name: string, kinds: readonly Kind[]) => {
    const edges = graph.of(...kinds);
    for (const component of cyclicComponents(edges)) {
      if (component.some((node) => accused.has(node))) continue;
      for (const node of component) accused.add(node);
      const cycle = shortestCycle(edges, component);
      if (cycle !== undefined) report(violations, name, cycle);
    }
  };
  circles('read committed: G0, write cycle', ['ww']);
  circles('read committed: G1c, circular information flow', ['ww', 'wr']);
  circles('read committed: G1c, with the order of time', ['ww', 'wr', 'time', 'session']);

  const forward = graph.of('ww', 'wr', 'time', 'session');
  const all = graph.of('ww', 'wr', 'rw', 'time', 'session');
  const skewed = new Set<number>();
  let followed = 0;
  for (const component of cyclicComponents(all)) {
    const members = new Set(component);
    for (const reader of component) {
      if (accused.has(reader)) continue;
      for (const [writer, { kind }] of graph.edges[reader] ?? []) {
        if (kind !== 'rw' || !members.has(writer) || followed++ > SKEWS_MAX) continue;
        const inside = (node: number) => (forward[node] ?? []).filter((to) => members.has(to));
        const inTime = shortestPath(
          (node) => inside(node).filter((to) => to !== reader || graph.nodes[node] === undefined),
          writer,
          reader,
        );
        const path = inTime ?? shortestPath(inside, writer, reader);
        if (path === undefined) continue;
        skewed.add(reader).add(writer);
        if (inTime !== undefined) {
          report(violations, 'strong and session see what was before them: G-single', [
            reader,
            ...inTime,
          ]);
        } else {
          const name = 'consistent view: G-single, read skew';
          report(isolation === 'read committed' ? apart : violations, name, [reader, ...path]);
        }
      }
    }
  }
  const data = graph.of('ww', 'wr', 'rw');
  for (const component of cyclicComponents(data)) {
    if (component.some((node) => accused.has(node) || skewed.has(node))) continue;
    const cycle = shortestCycle(data, component);
    if (cycle === undefined) continue;
    const name = 'serializable: G2-item, anti-dependency cycle';
    report(isolation === 'serializable' ? violations : apart, name, cycle);
  }
  return { violations, apart };
}

/** Starting and ending with the same node; of large components not every start is tried. */
function shortestCycle(
  edges: readonly (readonly number[])[],
  component: readonly number[],
): number[] | undefined {
  const startsMax = 100;
  const members = new Set(component);
  const inside = (node: number) => (edges[node] ?? []).filter((to) => members.has(to));
  let shortest: number[] | undefined;
  for (const start of component.slice(0, startsMax)) {
    const cycle = shortestPath(inside, start, start);
    if (cycle !== undefined && cycle.length < (shortest?.length ?? Number.POSITIVE_INFINITY)) {
      shortest = cycle;
    }
  }
  return shortest;
}

function cycleInWords(
  subject: string,
  graph: Dependencies,
  name: string,
  cycle: readonly number[],
): Violation {
  const steps: string[] = [];
  const involved = new Set<Operation>();
  // It begins with a transaction; on the way between two of them there may be instants.
  const first = cycle.slice(0, -1).findIndex((node) => graph.nodes[node] !== undefined);
  const round = [...cycle.slice(first, -1), ...cycle.slice(0, first + 1)];
  let before: Operation | undefined;
  for (let index = 0; index < round.length; index++) {
    const operation = graph.nodes[round[index] as number];
    if (operation === undefined) continue;
    involved.add(operation);
    if (before !== undefined) {
      const { kind, why } = graph.edge(round[index - 1] as number, round[index] as number);
      const [one, other] = [idOf(before), idOf(operation)];
      if (kind === 'time') steps.push(`${one} was over before ${other} began`);
      else if (kind === 'session') steps.push(`${one} came before ${other} in one session`);
      else steps.push(why);
    }
    before = operation;
  }
  const operations = [...involved].sort((a, b) => a.invokedAtMs - b.invokedAtMs);
  return {
    promise: name,
    says: `In ${subject} each of these comes before itself: ${steps.join('; ')}. ${listed(operations)}.`,
    operations: idsOf(operations),
  };
}
