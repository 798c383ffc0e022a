/**
 * Which known word was probably meant?
 *
 * The fewest letters added, dropped, changed or swapped wins. A word too far from all of them gets
 * no suggestion: a wrong hint costs more than none.
 */

/** Longer words are not compared: nobody names a key like that, and the table is quadratic. */
const WORD_LENGTH_MAX = 64;

export function nearest(word: string, known: Iterable<string>): string | undefined {
  const limit = Math.max(1, Math.min(3, Math.floor(word.length / 3)));
  let best: { candidate: string; edits: number } | undefined;
  for (const candidate of known) {
    if (candidate === word) continue;
    if (Math.max(candidate.length, word.length) > WORD_LENGTH_MAX) continue;
    const edits = distance(word.toLowerCase(), candidate.toLowerCase());
    // One-letter words are one edit from each other, so at least one letter has to be shared.
    if (edits > limit || edits >= Math.max(candidate.length, word.length)) continue;
    if (best === undefined || edits < best.edits) best = { candidate, edits };
  }
  return best?.candidate;
}

/** Optimal string alignment: Levenshtein, with a swap of neighbours counted once. */
function distance(a: string, b: string): number {
  let twoUp: number[] = [];
  let up = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const here = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let edits = Math.min(
        at(up, column) + 1,
        at(here, column - 1) + 1,
        at(up, column - 1) + (same ? 0 : 1),
      );
      const swapped = a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (row > 1 && column > 1 && swapped) edits = Math.min(edits, at(twoUp, column - 2) + 1);
      here.push(edits);
    }
    twoUp = up;
    up = here;
  }
  return at(up, b.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY;
}
