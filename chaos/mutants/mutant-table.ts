/**
 * Which mistakes were noticed, where are they, and by whom?
 *
 * One row for each that was asked for, also for those that could not be tried.
 */
import { type Killer, killerName, type Mutant, type Verdict } from './mutant.ts';

export type MutantRow = {
  name: string;
  mistake: string;
  /** The file that it is made in. */
  place: string;
  /** What should notice it. */
  shownBy: string;
  scenario: string | null;
  seed: number | null;
  /** The judge that has to object; null: any, or no judge at all. */
  judge: string | null;
  caught: boolean;
  /** Who objected: judges, a promise, or a test. */
  by: string | null;
  /** Why it is neither caught nor missed. */
  void: string | null;
  ms: number | null;
};

const VOID_WORDS_MAX = 160;
const NOT_TRIED: Verdict = { kind: 'void', why: 'it was not tried' };

export function rowOf(mutant: Mutant, verdict: Verdict = NOT_TRIED): MutantRow {
  const { name, mistake, file, killer } = mutant;
  const isScenario = killer.kind === 'scenario';
  return {
    name,
    mistake,
    place: file,
    shownBy: killerName(killer),
    scenario: isScenario ? killer.scenario : null,
    seed: seedOf(killer),
    judge: isScenario ? (killer.judge ?? null) : null,
    caught: verdict.kind === 'killed',
    by: verdict.kind === 'killed' ? verdict.by : null,
    void: verdict.kind === 'void' ? verdict.why : null,
    ms: verdict.kind === 'void' ? null : Math.round(verdict.ms),
  };
}

/** In the format of documents, the columns below each other. */
export function mutantTable(rows: readonly MutantRow[]): string[] {
  const table = [
    ['caught', 'mistake', 'place', 'scenario', 'judge', 'who objects', 'took'],
    ...rows.map((row) => [
      row.caught ? 'yes' : row.void === null ? 'NO' : 'void',
      row.mistake,
      row.place,
      row.scenario === null ? row.shownBy : `${row.scenario}, seed ${row.seed}`,
      row.judge ?? '',
      row.by ?? (row.void === null ? 'nobody' : cut(row.void)),
      row.ms === null ? '' : `${Math.round(row.ms / 1_000)} s`,
    ]),
  ].map((cells) => cells.map((cell) => cell.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|')));
  const [head = []] = table;
  const widths = head.map((_, at) => Math.max(...table.map((cells) => cells[at]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, at) => cell.padEnd(widths[at] ?? 0)).join(' | ')} |`;
  const [first = '', ...others] = table.map(line);
  return [first, `|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`, ...others];
}

function seedOf(killer: Killer): number | null {
  return killer.kind === 'test' ? null : killer.seed;
}

function cut(words: string): string {
  return words.length <= VOID_WORDS_MAX ? words : `${words.slice(0, VOID_WORDS_MAX - 1)}…`;
}
