/**
 * What does a person read of one chaos run?
 *
 * One page that needs nothing else: it opens from a disk, asks nobody for anything, and works without
 * its script. What it claims can be checked against the record that it was drawn from.
 */
import type { Outcome } from '../history.ts';
import type { RunRecord } from '../run-record.ts';
import { count, counted, duration, moment } from './figures.ts';
import { cut, html, type Markup } from './markup.ts';
import { page } from './page.ts';
import { type Spread, spread } from './percentile.ts';
import { type FaultTime, faultTime, PHASES, type Phase, phaseOf } from './phase.ts';
import { runEndMs, timeBuckets } from './time-buckets.ts';
import { timeline } from './timeline.ts';
import { VERDICTS, verdictBadge } from './verdict-words.ts';
import { drawnViolations, shownViolations, violationsSection } from './violations.ts';
import { lengthOf, longest, type WritePause, writePauses } from './write-pauses.ts';

/** Rows beyond these are in the record only. */
const FAULTS_MAX = 500;
const INCIDENTS_MAX = 500;
const REASONS_MAX = 40;
const EDGES_MAX = 32;
const EVIDENCE_MAX = 60;
const EVIDENCE_OPEN_MAX = 6;
/** Longer tables are folded. */
const OPEN_ROWS_MAX = 30;
const WORDS_MAX = 400;

export function reportHtml(record: RunRecord): string {
  const { scenario, verdict, faults, history } = record;
  const paused = writePauses(faults, history.operations);
  const during = faultTime(faults, paused);
  const violations = shownViolations(record);
  const content = html`${header(record, paused)}
<section><h2>Timeline</h2>
${timeline(record, timeBuckets(record), drawnViolations(violations))}
</section>
${violationsSection(violations, record.judgements)}
${judgesSection(record)}
${faultsSection(record, paused)}
${latencySection(record, during)}
${outcomesSection(record, during)}
${incidentsSection(record)}
${worldSection(record)}`;
  return page(`${VERDICTS[verdict].word}: ${scenario}`, content);
}

function header(record: RunRecord, paused: readonly (readonly WritePause[])[]): Markup {
  const { scenario, claim, verdict, seed, command, notRepeated, startedAt, bit } = record;
  const { operations } = record.history;
  const outcomes = { ok: 0, fail: 0, unknown: 0 };
  for (const { outcome } of operations) outcomes[outcome.kind] += 1;
  const violations = record.judgements.reduce((sum, judged) => sum + judged.violations.length, 0);
  const left = bit.evidence.length - EVIDENCE_MAX;
  return html`<header>
<p class="over">Chaos run <code>${cut(scenario, 120)}</code></p>
<h1>${cut(claim, WORDS_MAX)}</h1>
<div class="verdict ${verdict}">${verdictBadge(verdict)}<p>${verdict === 'holds' && record.faults.length === 0 ? 'No fault was planned, and no judge found anything that contradicts the promises.' : VERDICTS[verdict].says}</p></div>
<ul class="tiles">
${tile(count(operations.length), operations.length === 1 ? 'operation' : 'operations')}
${tile(count(outcomes.ok), 'ok')}
${tile(count(outcomes.fail), 'told: not done')}
${tile(count(outcomes.unknown), 'outcome unknown')}
${tile(count(record.faults.length), record.faults.length === 1 ? 'fault' : 'faults')}
${pauseTile(longest(paused.flat()))}
${tile(count(violations), violations === 1 ? 'violation' : 'violations')}
</ul>
<div class="columns">
<div><h2>Evidence that the faults bit</h2>
${evidenceList(bit)}
${left > 0 ? html`<p class="dim">${count(left)} more in the record.</p>` : undefined}</div>
<div><h2>To repeat it</h2>
<pre tabindex="0"><code>${cut(command, 2_000)}</code></pre>
<p>Seed <code>${seed}</code>. ${notRepeated === '' ? undefined : html`Does not follow from the seed: ${cut(notRepeated, 1_200)}`}</p>
<p class="dim">Began ${startedAt.replace(/^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d).*$/, '$1 $2 UTC')}, took ${duration(record.durationMs)}.</p></div>
</div>
</header>`;
}

function evidenceList({ bit, evidence }: RunRecord['bit']): Markup {
  if (evidence.length === 0)
    return html`<p>${bit ? 'The run claims that they bit, and names nothing that shows it.' : 'None.'}</p>`;
  const items = evidence
    .slice(0, EVIDENCE_MAX)
    .map((words) => html`<li>${cut(words, WORDS_MAX)}</li>`);
  const [open, rest] = [items.slice(0, EVIDENCE_OPEN_MAX), items.slice(EVIDENCE_OPEN_MAX)];
  return html`<ul class="plain">${open}</ul>${rest.length === 0 ? undefined : html`<details><summary>${count(rest.length)} more</summary><ul class="plain">${rest}</ul></details>`}`;
}

function judgesSection({ judgements }: RunRecord): Markup {
  if (judgements.length === 0)
    return section('judges', 'Judges', html`<p>No judge has looked at this run.</p>`);
  return section(
    'judges',
    'Judges',
    html`<table class="cards judges"><thead><tr><th scope="col">Judge</th><th scope="col">Verdict</th><th scope="col" class="figure">Checked</th><th scope="col">Why</th></tr></thead><tbody>
${judgements.map(
  ({ judge, verdict, checked, violations, why }) =>
    html`<tr><th scope="row">${cut(judge, 80)}</th><td data-label="Verdict">${verdictBadge(verdict)}</td><td data-label="Checked" class="figure">${count(checked)}</td><td data-label="Why"><span>${violations.length > 0 ? html`<a href="#violations">${counted(violations.length, 'violation')}</a>. ` : undefined}${cut(why ?? '', WORDS_MAX)}</span></td></tr>
`,
)}</tbody></table>`,
  );
}

function faultsSection({ faults }: RunRecord, paused: readonly (readonly WritePause[])[]): Markup {
  if (faults.length === 0)
    return section('faults', 'Faults', html`<p>None: nothing was broken in this run.</p>`);
  const left = faults.length - FAULTS_MAX;
  const idle = faults.filter(({ evidence }) => evidence === undefined).length;
  const table = html`<table class="cards"><thead><tr><th scope="col">Fault</th><th scope="col">When</th><th scope="col">What shows that it bit</th><th scope="col">Writes paused</th></tr></thead><tbody>
${faults.slice(0, FAULTS_MAX).map(
  ({ says, fromMs, untilMs, evidence }, index) =>
    html`<tr><th scope="row"><strong>F${index + 1}</strong> ${cut(says, 200)}</th><td data-label="When"><span>${duration(fromMs)}${untilMs === undefined ? undefined : html` to ${duration(untilMs)}<br><span class="dim">for ${duration(untilMs - fromMs)}</span>`}</span></td><td data-label="What shows that it bit"><span>${evidence === undefined ? html`<span class="unsure">nothing</span>` : cut(evidence, WORDS_MAX)}</span></td><td data-label="Writes paused"><span>${(paused[index] ?? []).map((one) => html`${pauseWords(one)}<br>`)}</span></td></tr>
`,
)}</tbody></table>`;
  const worst = longest(paused.flat());
  return section(
    'faults',
    'Faults',
    html`<p>${faults.length > 1 && idle > 0 ? `${count(idle)} of ${count(faults.length)} left no evidence that they bit. ` : undefined}${worst === undefined ? undefined : `The longest pause of writes: ${pauseSentence(worst)}.`}
<span class="dim">A pause of writes is the time from the last acknowledged write of a home to the next one, as far as somebody was waiting: the longest that began before the fault was over, for each home that it concerns.</span></p>
${folded(table, faults.length, 'faults')}
${left > 0 ? html`<p class="dim">${count(left)} more in the record.</p>` : undefined}`,
  );
}

type Cell = { label: string; of: Spread | undefined };

function latencySection(record: RunRecord, during: FaultTime): Markup {
  const { operations } = record.history;
  if (operations.length === 0) return html``;
  const times = new Map<string, Record<Phase, number[]>>();
  const all: Record<Phase, number[]> = { before: [], during: [], after: [] };
  for (const operation of operations) {
    const phase = phaseOf(operation, during);
    const tookMs = operation.endedAtMs - operation.invokedAtMs;
    let edge = times.get(operation.edge);
    if (edge === undefined) {
      edge = { before: [], during: [], after: [] };
      times.set(operation.edge, edge);
    }
    edge[phase].push(tookMs);
    all[phase].push(tookMs);
  }
  const edges = [...times].sort(([a], [b]) => (a < b ? -1 : 1)).slice(0, EDGES_MAX);
  const groups = [...edges, ...(edges.length > 1 ? [['all edges', all] as const] : [])];
  const rows = groups.map(([edge, phases]) => {
    const cells = PHASES.map((label): Cell => ({ label, of: spread(phases[label]) })).filter(
      ({ of }) => of !== undefined,
    );
    return cells.map(
      ({ label, of }, index) =>
        html`<tr${index === 0 ? html` class="first"` : undefined}><th scope="row"><span class="${index === 0 ? '' : 'repeated'}">${cut(edge, 40)}</span></th><td data-label="Sent">${label}${during === undefined ? undefined : ' the faults'}</td><td data-label="Requests" class="figure">${count(of?.count ?? 0)}</td>${(['p50', 'p95', 'p99', 'max'] as const).map((name) => html`<td data-label="${name}" class="figure">${duration(of?.[name] ?? 0)}</td>`)}</tr>
`,
    );
  });
  return section(
    'latency',
    'Latency by edge',
    html`<p class="dim">${phasesSay(during)} All outcomes count, also those that nobody answered, with the time that their client waited.</p>
<table class="cards"><thead><tr><th scope="col">Edge</th><th scope="col">Sent</th><th scope="col" class="figure">Requests</th><th scope="col" class="figure">p50</th><th scope="col" class="figure">p95</th><th scope="col" class="figure">p99</th><th scope="col" class="figure">max</th></tr></thead><tbody>
${rows}</tbody></table>`,
  );
}

function outcomesSection({ history }: RunRecord, during: FaultTime): Markup {
  const { operations } = history;
  if (operations.length === 0)
    return section('outcomes', 'Outcomes', html`<p>No client has sent anything.</p>`);
  type Line = { outcome: Outcome['kind']; reason: string; in: Record<Phase, number> };
  const lines = new Map<string, Line>();
  for (const operation of operations) {
    const { outcome, told } = operation;
    const reason = outcome.kind === 'ok' ? '' : (told?.problem ?? outcome.because);
    const key = `${outcome.kind} ${reason}`;
    const line = lines.get(key) ?? {
      outcome: outcome.kind,
      reason,
      in: { before: 0, during: 0, after: 0 },
    };
    line.in[phaseOf(operation, during)] += 1;
    lines.set(key, line);
  }
  const total = (line: Line) => line.in.before + line.in.during + line.in.after;
  const order: readonly Outcome['kind'][] = ['ok', 'fail', 'unknown'];
  const sorted = [...lines.values()].sort(
    (a, b) => order.indexOf(a.outcome) - order.indexOf(b.outcome) || total(b) - total(a),
  );
  const kept = sorted.slice(0, REASONS_MAX);
  const rest = sorted.slice(REASONS_MAX);
  const left = rest.reduce((sum, line) => sum + total(line), 0);
  return section(
    'outcomes',
    'Outcomes',
    html`<table class="cards"><thead><tr><th scope="col">Outcome</th><th scope="col">Problem or reason</th><th scope="col" class="figure">Requests</th><th scope="col" class="figure">Share</th>${PHASES.map((phase) => html`<th scope="col" class="figure">${phase}</th>`)}</tr></thead><tbody>
${kept.map(
  (line) =>
    html`<tr><th scope="row"><span class="outcome ${line.outcome}">${line.outcome}</span></th><td data-label="Problem or reason"><span>${cut(line.reason, 200)}</span></td><td data-label="Requests" class="figure">${count(total(line))}</td><td data-label="Share" class="figure">${share(total(line), operations.length)}</td>${PHASES.map((phase) => html`<td data-label="${phase}" class="figure">${count(line.in[phase])}</td>`)}</tr>
`,
)}</tbody></table>
${left > 0 ? html`<p class="dim">${counted(left, 'more request')} for ${counted(rest.length, 'other reason')} in the record.</p>` : undefined}`,
  );
}

function incidentsSection({ incidents }: RunRecord): Markup {
  if (incidents.length === 0) return html``;
  const left = incidents.length - INCIDENTS_MAX;
  const table = html`<table class="cards"><thead><tr><th scope="col">At</th><th scope="col">Region</th><th scope="col">What happened</th></tr></thead><tbody>
${incidents.slice(0, INCIDENTS_MAX).map(
  ({ atMs, region, says }, index) =>
    html`<tr><th scope="row"><span class="dim">${index + 1}</span> ${moment(atMs)}</th><td data-label="Region">${cut(region ?? '', 40)}</td><td data-label="What happened"><span>${cut(says, WORDS_MAX)}</span></td></tr>
`,
)}</tbody></table>`;
  return section(
    'incidents',
    'Incidents',
    html`<p class="dim">What an onlooker saw. It takes no part in the verdict.</p>
${folded(table, incidents.length, 'incidents')}
${left > 0 ? html`<p class="dim">${count(left)} more in the record.</p>` : undefined}`,
  );
}

function worldSection(record: RunRecord): Markup {
  const { regions, toxiproxy, history } = record;
  return section(
    'world',
    'The world of this run',
    html`<table class="cards"><thead><tr><th scope="col">Region</th><th scope="col">Edges</th><th scope="col">Nodes</th></tr></thead><tbody>
${regions.map(
  ({
    id,
    title,
    edges,
    nodes,
  }) => html`<tr><th scope="row"><strong>${cut(id, 40)}</strong> ${cut(title, 80)}</th><td data-label="Edges"><span>${cut(edges.join(', '), WORDS_MAX)}</span></td><td data-label="Nodes"><span>${cut(nodes.join(', '), WORDS_MAX)}</span></td></tr>
`,
)}</tbody></table>
<p class="dim">Links run through ${cut(toxiproxy, 200)}. ${counted(history.settled.length, 'subject')} read with strong consistency after the run, which ended at ${moment(runEndMs(record))}. ${history.acceptedLosses.map(({ home, atMs, by }) => `At ${moment(atMs)} ${cut(by, 80)} accepted to lose writes of ${cut(home, 40)}. `)}</p>`,
  );
}

function phasesSay(during: FaultTime): string {
  if (during === undefined) return 'There was no fault, so everything is before.';
  const until = Number.isFinite(during.untilMs)
    ? duration(during.untilMs)
    : 'the end, as a home had no write acknowledged any more';
  return `Before: answered before the first fault began (${duration(during.fromMs)}). After: sent when the last one was over (${until}); a kill is over when writes are no longer paused at the homes it concerns.`;
}

function pauseTile(pause: WritePause | undefined): Markup {
  if (pause === undefined) return tile('–', 'longest pause of writes');
  const words = `longest pause of writes, at home in ${cut(pause.home, 40)}`;
  return tile(pauseFigure(pause), words);
}

function pauseFigure(pause: WritePause): string {
  return pause.kind === 'over' ? duration(lengthOf(pause)) : 'until the end';
}

function pauseWords(pause: WritePause): Markup {
  const home = cut(pause.home, 40);
  switch (pause.kind) {
    case 'over':
      return html`${home}: <strong>${pauseFigure(pause)}</strong>`;
    case 'never':
      return html`${home}: <strong class="bad">until the end</strong>, ${count(pause.tried)} tried`;
    case 'not-tried':
      return html`${home}: <span class="dim">nobody wrote</span>`;
  }
}

function pauseSentence(pause: WritePause): string {
  const home = cut(pause.home, 40);
  return pause.kind === 'over'
    ? `${pauseFigure(pause)}, of home ${home}, from ${moment(pause.fromMs)} to ${moment(pause.untilMs)}`
    : `home ${home} had no write acknowledged until the run ended`;
}

function folded(table: Markup, rows: number, what: string): Markup {
  return rows > OPEN_ROWS_MAX
    ? html`<details><summary>All ${count(rows)} ${what}</summary>${table}</details>`
    : table;
}

function section(id: string, title: string, content: Markup): Markup {
  return html`<section id="${id}"><h2>${title}</h2>
${content}</section>`;
}

function tile(value: string, name: string): Markup {
  return html`<li><strong>${value}</strong> ${name}</li>`;
}

function share(part: number, whole: number): string {
  const percent = (100 * part) / whole;
  return percent > 0 && percent < 0.1 ? '< 0.1 %' : `${percent.toFixed(1)} %`;
}
