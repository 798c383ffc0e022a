/** How is a verdict told, so that nobody has to know colours or signs to read it? */
import type { RunRecord } from '../run-record.ts';
import { html, type Markup } from './markup.ts';

type Words = { word: string; says: string; sign: string };

export const VERDICTS: Readonly<Record<RunRecord['verdict'], Words>> = {
  holds: {
    word: 'Holds',
    says: 'The faults bit, and no judge found anything that contradicts the promises.',
    sign: 'M3 8.5 6.5 12 13 4.5',
  },
  broken: {
    word: 'Broken',
    says: 'What clients were told contradicts a promise. No order of events explains it.',
    sign: 'M4 4 12 12M12 4 4 12',
  },
  inconclusive: {
    word: 'Inconclusive',
    says: 'Nothing contradicts a promise, but a judge had too little to say that all of them held.',
    sign: 'M5 6C5 2.5 11 2.5 11 6 11 8 8 8 8 10M8 12.4V13',
  },
  void: {
    word: 'Void',
    says: 'No fault did what it should have done, so the run proves nothing, whatever it shows.',
    sign: 'M3 8H13',
  },
};

/** Sign and word in one; the word is always there. */
export function verdictBadge(verdict: RunRecord['verdict']): Markup {
  const { word, sign } = VERDICTS[verdict];
  return html`<span class="badge ${verdict}"><svg viewBox="0 0 16 16" width="1em" height="1em" aria-hidden="true"><path d="${sign}"/></svg>${word}</span>`;
}
