/**
 * Which operations contradict each other, and how did they lie in time?
 *
 * Each violation has its sentence, its operations as a table, and a drawing of them beside their
 * neighbours: what else was done to the same subject around them. Nothing else of the history is on
 * the page, so that its size does not grow with the run.
 */
import type { Operation } from '../history.ts';
import type { Judgement, RunRecord, Violation } from '../run-record.ts';
import type { DrawnViolation } from './bands.ts';
import { barLabel, percent } from './drawing.ts';
import { count, counted, duration, moment } from './figures.ts';
import { cut, html, type Markup } from './markup.ts';
import { asked, thingsOf, told } from './operation-words.ts';
import { writesSomething } from './write-pauses.ts';

export const VIOLATIONS_MAX = 40;
const OPERATIONS_MAX = 12;
/** Of each violation, on either side. */
const NEIGHBOURS_MAX = 2;
const WORDS_MAX = 240;
const SENTENCE_MAX = 1_200;

export type ShownViolation = Violation & {
  number: number;
  judge: string;
  /** In order of invocation; not those beyond the limit. */
  shown: readonly Operation[];
  neighbours: readonly Operation[];
};

/** As many as are shown: of each judge in turn, so that none is crowded out by another. */
export function shownViolations({ judgements, history }: RunRecord): ShownViolation[] {
  const queues = judgements.map(({ judge, violations }) =>
    violations.map((violation) => ({ judge, violation })),
  );
  const chosen: { judge: string; violation: Violation }[] = [];
  const most = Math.max(0, ...queues.map(({ length }) => length));
  for (let turn = 0; turn < most && chosen.length < VIOLATIONS_MAX; turn += 1)
    for (const queue of queues) {
      const next = queue[turn];
      if (next !== undefined && chosen.length < VIOLATIONS_MAX) chosen.push(next);
    }
  const order = new Map(judgements.map(({ judge }, index) => [judge, index]));
  chosen.sort((a, b) => (order.get(a.judge) ?? 0) - (order.get(b.judge) ?? 0));
  if (chosen.length === 0) return [];
  const byId = new Map(history.operations.map((operation) => [operation.id, operation]));
  const subjects = new Set(
    chosen.flatMap(({ violation }) =>
      violation.operations.map((id) => byId.get(id)?.subject ?? ''),
    ),
  );
  const bySubject = Map.groupBy(
    history.operations.filter(({ subject }) => subjects.has(subject)),
    ({ subject }) => subject,
  );
  return chosen.map(({ judge, violation }, index) => {
    const shown = inOrder(
      [...new Set(violation.operations)].flatMap((id) => byId.get(id) ?? []),
    ).slice(0, OPERATIONS_MAX);
    return {
      ...violation,
      number: index + 1,
      judge,
      shown,
      neighbours: neighboursOf(shown, bySubject),
    };
  });
}

/** Where they lie on the timeline; one without operations lies nowhere. */
export function drawnViolations(violations: readonly ShownViolation[]): DrawnViolation[] {
  return violations.flatMap(({ number, says, shown }) => {
    const first = shown[0];
    if (first === undefined) return [];
    const untilMs = Math.max(...shown.map(({ endedAtMs }) => endedAtMs));
    return [{ number, says, fromMs: first.invokedAtMs, untilMs }];
  });
}

export function violationsSection(
  shown: readonly ShownViolation[],
  judgements: readonly Judgement[],
): Markup {
  const all = judgements.reduce((sum, { violations }) => sum + violations.length, 0);
  if (all === 0) return html``;
  const left = all - shown.length;
  return html`<section id="violations"><h2>Violations <span class="count">${count(all)}</span></h2>
${left > 0 ? html`<p>The first ${count(shown.length)} are shown, of each judge in turn. The record has the other ${count(left)}.</p>` : undefined}
<p class="dim">A bar reaches from the moment before an operation was sent to the moment after its answer came. Their order is
exact; distances are drawn shorter the longer they are.</p>
${shown.map(violationCard)}
</section>`;
}

function violationCard(violation: ShownViolation): Markup {
  const { number, judge, promise, says, operations, shown, neighbours } = violation;
  const left = new Set(operations).size - shown.length;
  return html`<article class="violation" id="violation-${number}">
<h3><span class="number">V${number}</span> ${cut(promise, WORDS_MAX)} <span class="tag">${cut(judge, 60)}</span></h3>
<p class="says">${cut(says, SENTENCE_MAX)}</p>
${shown.length === 0 ? html`<p class="dim">The judge names no operation.</p>` : html`${swimLanes(shown, neighbours)}${operationsTable(shown, neighbours)}`}
${left > 0 ? html`<p class="dim">${counted(left, 'more operation')} of it in the record.</p>` : undefined}
</article>`;
}

function operationsTable(shown: readonly Operation[], neighbours: readonly Operation[]): Markup {
  const involved = new Set(shown);
  return html`<table class="cards operations"><thead><tr><th scope="col">Operation</th><th scope="col">Client, session</th><th scope="col">Asked</th><th scope="col">Told</th><th scope="col">When</th><th scope="col">Answered by</th></tr></thead><tbody>
${inOrder([...shown, ...neighbours]).map((operation) => {
  const { id, client, session, subject, edge, home, level, invokedAtMs, endedAtMs } = operation;
  const { servedBy, decision } = operation.told ?? {};
  const isInvolved = involved.has(operation);
  return html`<tr class="${isInvolved ? '' : 'neighbour'}"><th scope="row">#${id}${isInvolved ? undefined : html` <span class="dim">neighbour</span>`}</th>
<td data-label="Client, session" class="aside"><span><span class="brief">client ${client}, session ${session}</span><br><span class="dim">edge ${cut(edge, 40)}, home ${cut(home, 40)}</span></span></td>
<td data-label="Asked"><span><strong>${cut(asked(operation.action), WORDS_MAX)}</strong><br><span class="dim">${cut(subject, 80)}, ${level}</span></span></td>
<td data-label="Told"><span class="outcome ${operation.outcome.kind}">${cut(told(operation), WORDS_MAX)}</span></td>
<td data-label="When" class="brief"><span>${moment(invokedAtMs)}<br><span class="dim">for ${duration(endedAtMs - invokedAtMs)}</span></span></td>
<td data-label="Answered by" class="aside"><span>${cut(servedBy ?? 'nobody', 60)}<br><span class="dim">${cut(decision ?? '', WORDS_MAX)}</span></span></td></tr>
`;
})}</tbody></table>`;
}

const CLIENT_PX = 18;
const OPERATION_PX = 32;

/** One lane for each client, and in it one row for each operation. */
function swimLanes(shown: readonly Operation[], neighbours: readonly Operation[]): Markup {
  const involved = new Set(shown);
  const all = inOrder([...shown, ...neighbours]);
  const share = shortened(all);
  const clients = [...Map.groupBy(all, ({ client }) => client)];
  let top = 0;
  const drawn = clients.map(([client, operations]) => {
    const [laneTop, height] = [top, CLIENT_PX + operations.length * OPERATION_PX + 6];
    top += height + 4;
    return html`<rect class="swim" x="0" width="100%" y="${laneTop}" height="${height}" rx="4"/><text class="label lane-name" x="6" y="${laneTop + 14}">client ${client}, edge ${cut(operations[0]?.edge ?? '', 24)}</text>${operations.map((operation, row) => swimBar(operation, share, laneTop + CLIENT_PX + row * OPERATION_PX, involved.has(operation)))}`;
  });
  const says = all.map(
    (operation) =>
      `client ${operation.client}: ${sentence(operation)}, ${moment(operation.invokedAtMs)} to ${moment(operation.endedAtMs)}`,
  );
  return html`<svg class="lane swims" width="100%" height="${top}" role="img" aria-label="${cut(`In order of invocation. ${says.join('. ')}.`, 2_500)}">${drawn}</svg>`;
}

function swimBar(
  operation: Operation,
  share: (ms: number) => number,
  y: number,
  isInvolved: boolean,
): Markup {
  const { invokedAtMs, endedAtMs, outcome } = operation;
  const [from, to] = [share(invokedAtMs), share(endedAtMs)];
  const tone = `swim-bar ${outcome.kind}${isInvolved ? '' : ' neighbour'}`;
  return html`${barLabel(`#${operation.id} ${sentence(operation)}`, [from, to], y + 12, { tone: isInvolved ? '' : 'dim', brief: brief(operation) })}<rect class="${tone}" x="${percent(from)}" y="${y + 17}" width="${percent(to - from)}" height="9" rx="2"><title>${moment(invokedAtMs)} to ${moment(endedAtMs)}</title></rect>`;
}

/** Of a write what it wrote, of a read what it saw: that is what contradicts. */
function brief(operation: Operation): string {
  const words = writesSomething(operation.action)
    ? `${asked(operation.action)} → ${operation.outcome.kind}`
    : `read → ${told(operation)}`;
  return `#${operation.id} ${cut(words, 80)}`;
}

function sentence(operation: Operation): string {
  return cut(`${asked(operation.action)} → ${told(operation)}`, 160);
}

/**
 * A scale on which the order of all begins and ends is kept and none of them is lost to the eye,
 * though one operation may last a millisecond and the next come a minute later.
 */
function shortened(operations: readonly Operation[]): (ms: number) => number {
  const moments = [
    ...new Set(operations.flatMap(({ invokedAtMs, endedAtMs }) => [invokedAtMs, endedAtMs])),
  ].sort((a, b) => a - b);
  const places = new Map<number, number>();
  let sum = 1;
  for (const [index, at] of moments.entries()) {
    if (index > 0) sum += 1 + Math.log10(1 + at - (moments[index - 1] ?? at));
    places.set(at, sum);
  }
  return (ms) => (places.get(ms) ?? 0) / (sum + 1);
}

/**
 * The last before, the first after, and what overlaps, of the same subjects and of the same lists,
 * registers or products. What was told that it was not done is no neighbour: it explains nothing.
 */
function neighboursOf(
  shown: readonly Operation[],
  bySubject: ReadonlyMap<string, readonly Operation[]>,
): Operation[] {
  const involved = new Set(shown);
  const found = new Set<Operation>();
  for (const subject of new Set(shown.map((operation) => operation.subject))) {
    const mine = shown.filter((operation) => operation.subject === subject);
    const fromMs = Math.min(...mine.map(({ invokedAtMs }) => invokedAtMs));
    const untilMs = Math.max(...mine.map(({ endedAtMs }) => endedAtMs));
    const about = new Set(mine.flatMap(({ action }) => thingsOf(action)));
    const others = inOrder(bySubject.get(subject) ?? []).filter(
      (one) =>
        !involved.has(one) &&
        one.outcome.kind !== 'fail' &&
        thingsOf(one.action).some((thing) => about.has(thing)),
    );
    const before = others.filter(({ invokedAtMs }) => invokedAtMs < fromMs).at(-1);
    const within = others.filter(
      ({ invokedAtMs }) => invokedAtMs >= fromMs && invokedAtMs <= untilMs,
    );
    const after = others.find(({ invokedAtMs }) => invokedAtMs > untilMs);
    for (const one of [before, ...within.slice(0, NEIGHBOURS_MAX), after])
      if (one !== undefined && found.size < 2 * NEIGHBOURS_MAX) found.add(one);
  }
  return [...found];
}

function inOrder(operations: readonly Operation[]): Operation[] {
  return operations.toSorted((a, b) => a.invokedAtMs - b.invokedAtMs || a.id - b.id);
}
