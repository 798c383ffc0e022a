/**
 * What do many runs leave in a folder?
 *
 * Of each run its report and its record; of all a page that lists them, the table as a document, and
 * the same rows for programs. Written anew after each run, so that a night that somebody ends has
 * its pages too.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { reportHtml } from './report/html-report.ts';
import { indexHtml, type RunSummary, summaryOf } from './report/index-page.ts';
import type { RunRecord } from './run-record.ts';
import { tableMarkdown } from './scenario-table.ts';
import type { Result } from './summary.ts';

export class Reports {
  readonly #folder: string;
  readonly #runs: RunSummary[] = [];
  readonly #results: Result[] = [];
  readonly #names = new Map<string, number>();

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  get index(): string {
    return join(this.#folder, 'index.html');
  }

  add(record: RunRecord, result: Result): void {
    const name = this.#nameOf(record);
    this.#write(`${name}.html`, reportHtml(record));
    this.#write(`${name}.json`, `${JSON.stringify(record)}\n`);
    this.#runs.push(summaryOf(record, `${name}.html`));
    this.#list(result);
  }

  addNotPlayed(result: Result): void {
    const { scenario, claim, seed, outcomes, why = '' } = result;
    this.#runs.push({
      scenario,
      claim,
      seed,
      startedAt: '',
      durationMs: 0,
      verdict: 'void',
      evidence: [why],
      operations: outcomes,
      violations: 0,
      pause: undefined,
    });
    this.#list(result);
  }

  #list(result: Result): void {
    this.#results.push(result);
    this.#write('index.html', indexHtml(this.#runs));
    this.#write('table.md', tableMarkdown(this.#results));
    this.#write('table.json', `${JSON.stringify(this.#results, undefined, 1)}\n`);
  }

  /** The same scenario may be asked for twice. */
  #nameOf({ scenario, seed }: RunRecord): string {
    const name = `${scenario}-${seed}`;
    const times = (this.#names.get(name) ?? 0) + 1;
    this.#names.set(name, times);
    return times === 1 ? name : `${name}-${times}`;
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.#folder, name), text);
  }
}
