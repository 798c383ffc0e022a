/**
 * How did many scenarios end, at a glance?
 *
 * One line each for a terminal; with claim and evidence, in the format of documents.
 */
import type { Result } from './summary.ts';

/** In the order given. What did not hold says why below the table. */
export function tableText(results: readonly Result[]): string[] {
  const rows = results.map((result) => [
    result.scenario,
    result.verdict,
    result.bit ? 'yes' : 'no',
    pauseWords(result),
    ...(['ok', 'fail', 'unknown'] as const).map((outcome) => String(result.outcomes[outcome])),
    String(result.violations.length),
  ]);
  const all = [HEAD, ...rows];
  const widths = HEAD.map((_, at) => Math.max(...all.map((row) => row[at]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, at) => {
        const width = widths[at] ?? 0;
        return at < TEXTS ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd();
  return [...all.map(line), ...results.flatMap(reasons)];
}

/** A table of a document, as complete as `--json` but for the operations of violations. */
export function tableMarkdown(results: readonly Result[]): string {
  const head = ['scenario', 'claim', 'what shows that it bit', 'verdict', ...HEAD.slice(TEXTS)];
  const rows = results.map((result) => [
    `${result.scenario} (seed ${result.seed})`,
    result.claim,
    result.bit ? result.evidence.join('; ') : ['void', ...result.evidence].join(': '),
    result.verdict,
    pauseWords(result),
    ...(['ok', 'fail', 'unknown'] as const).map((outcome) => String(result.outcomes[outcome])),
    String(result.violations.length),
  ]);
  const line = (cells: readonly string[]) => `| ${cells.map(cellText).join(' | ')} |`;
  return `${[line(head), line(head.map((_, at) => (at < 4 ? '---' : '---:'))), ...rows.map(line)].join('\n')}\n`;
}

const HEAD = [
  'scenario',
  'verdict',
  'bit',
  'writes paused',
  'done',
  'refused',
  'unknown',
  'violations',
] as const;
/** Columns of words; the others hold figures. */
const TEXTS = 3;

function pauseWords({ longestWritePauseMs: ms, longestWritePauseAt: home }: Result): string {
  if (home === null) return '-';
  return ms === null ? `${home}: until the end` : `${home}: ${ms} ms`;
}

function reasons({ scenario, verdict, why, inconclusive, violations, evidence }: Result): string[] {
  if (verdict === 'holds') return [];
  // A judge of what no client did in this mix has nothing to say, and that is not why.
  const looked = inconclusive.filter(({ checked }) => checked > 0);
  const undecided = (looked.length > 0 ? looked : inconclusive).map(
    ({ judge, why: its }) => `${judge}: ${its ?? 'undecided'}`,
  );
  const broken = [...new Set(violations.map(({ judge, promise }) => `${judge}: ${promise}`))];
  const said = {
    broken,
    inconclusive: undecided,
    void: why === undefined ? evidence : [why],
  }[verdict];
  return said.map((words) => `${scenario} is ${verdict}: ${words}`);
}

function cellText(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ');
}
