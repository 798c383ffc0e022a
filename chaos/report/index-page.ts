/**
 * How did many runs end?
 *
 * One table with a link to each report. What it needs of a run is small, so that a long night of runs
 * need not be kept in memory to be listed.
 */
import type { RunRecord } from '../run-record.ts';
import { count, counted, duration } from './figures.ts';
import { cut, html, type Markup } from './markup.ts';
import { page } from './page.ts';
import { VERDICTS, verdictBadge } from './verdict-words.ts';
import { lengthOf, longest, type WritePause, writePauses } from './write-pauses.ts';

export type RunSummary = {
  scenario: string;
  claim: string;
  seed: number;
  startedAt: string;
  durationMs: number;
  verdict: RunRecord['verdict'];
  evidence: readonly string[];
  operations: { ok: number; fail: number; unknown: number };
  violations: number;
  /** The longest of writes; undefined where nobody tried. */
  pause: WritePause | undefined;
  /** Where its report lies, relative to the index: names between slashes. */
  report?: string;
};

const ORDER: readonly RunRecord['verdict'][] = ['broken', 'void', 'inconclusive', 'holds'];
const EVIDENCE_MAX = 3;
const WORDS_MAX = 300;

export function summaryOf(record: RunRecord, report?: string): RunSummary {
  const { scenario, claim, seed, startedAt, durationMs, verdict, bit, judgements } = record;
  const operations = { ok: 0, fail: 0, unknown: 0 };
  for (const { outcome } of record.history.operations) operations[outcome.kind] += 1;
  return {
    scenario,
    claim,
    seed,
    startedAt,
    durationMs,
    verdict,
    evidence: bit.evidence,
    operations,
    violations: judgements.reduce((sum, { violations }) => sum + violations.length, 0),
    pause: longest(writePauses(record.faults, record.history.operations).flat()),
    ...(report === undefined ? {} : { report }),
  };
}

/** In the order given; only the sentence above counts by verdict, worst first. */
export function indexHtml(runs: readonly RunSummary[]): string {
  const counts = ORDER.map((verdict) => ({
    verdict,
    runs: runs.filter((run) => run.verdict === verdict).length,
  })).filter((one) => one.runs > 0);
  const total = runs.reduce(
    (sum, { operations: { ok, fail, unknown } }) => sum + ok + fail + unknown,
    0,
  );
  const words = counts
    .map(({ verdict, runs: of }) => `${count(of)} ${inSentence(verdict, of)}`)
    .join(', ');
  const content = html`<header><p class="over">Chaos runs</p>
<h1>${runs.length === 0 ? 'No run yet' : `${counted(runs.length, 'run')}: ${words}`}</h1>
<p>${counted(total, 'operation')} were recorded and judged from outside.</p></header>
${
  runs.length === 0
    ? undefined
    : html`<section><h2>Scenarios</h2>
<table class="cards runs"><thead><tr><th scope="col">Scenario and claim</th><th scope="col">Verdict</th><th scope="col">Evidence that the faults bit</th><th scope="col" class="figure">Writes paused</th><th scope="col" class="figure">ok</th><th scope="col" class="figure">fail</th><th scope="col" class="figure">unknown</th><th scope="col" class="figure">Took</th></tr></thead><tbody>
${runs.map(row)}</tbody></table>
<p class="dim">Writes are paused from the last acknowledged write of a home to the next one, as far as somebody was waiting; the longest such time that a fault brought counts. A void run proves nothing: no fault did what it should have done.</p></section>`
}`;
  return page(`Chaos: ${words === '' ? 'no run yet' : words}`, content);
}

function inSentence(verdict: RunRecord['verdict'], runs: number): string {
  return verdict === 'holds' && runs !== 1 ? 'hold' : VERDICTS[verdict].word.toLowerCase();
}

function row(run: RunSummary): Markup {
  const { scenario, claim, seed, verdict, violations, evidence, operations, pause, report } = run;
  const name = cut(scenario, 120);
  return html`<tr><th scope="row">${report === undefined ? html`<strong>${name}</strong>` : html`<a href="${address(report)}"><strong>${name}</strong></a>`} <span class="dim">seed ${seed}</span><br>${cut(claim, WORDS_MAX)}</th>
<td data-label="Verdict"><span>${verdictBadge(verdict)}${violations > 0 ? html`<br>${counted(violations, 'violation')}` : undefined}</span></td>
<td data-label="Evidence"><span>${evidence.length === 0 ? 'none' : cut(evidence.slice(0, EVIDENCE_MAX).join('; '), WORDS_MAX)}${evidence.length > EVIDENCE_MAX ? `; ${count(evidence.length - EVIDENCE_MAX)} more` : undefined}</span></td>
<td data-label="Writes paused" class="figure"><span>${pauseCell(pause)}</span></td>
<td data-label="ok" class="figure">${count(operations.ok)}</td><td data-label="fail" class="figure">${count(operations.fail)}</td><td data-label="unknown" class="figure">${count(operations.unknown)}</td>
<td data-label="Took" class="figure">${duration(run.durationMs)}</td></tr>
`;
}

function pauseCell(pause: WritePause | undefined): Markup {
  if (pause === undefined || pause.kind === 'not-tried') return html`–`;
  const words = pause.kind === 'over' ? duration(lengthOf(pause)) : 'until the end';
  return html`${words}<br><span class="dim">${cut(pause.home, 40)}</span>`;
}

/** Always a path below the index, never a scheme or a host, whatever the name is. */
function address(report: string): string {
  return `./${report
    .split('/')
    .map((part) => encodeURIComponent(part.toWellFormed()))
    .join('/')}`;
}
