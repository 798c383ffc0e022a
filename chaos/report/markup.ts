/**
 * How does text become part of a page without becoming markup?
 *
 * Names of subjects, texts of problems and whatever else a run has recorded may be hostile. So a page
 * is put together by one template tag, which escapes every string. Only what the tag itself has made
 * goes in as it is, and nothing else can make that.
 */

const NAMES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
  '`': '&#96;',
};

/**
 * What no text on a page needs and some browsers or terminals act on: control characters, halves of
 * surrogate pairs, and marks that turn the direction of the text around them.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for.
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

class Markup {
  readonly #source: string;
  constructor(source: string) {
    this.#source = source;
  }
  toString(): string {
    return this.#source;
  }
}

export type { Markup };

type Part = string | number | Markup | undefined | readonly Part[];

/** Attributes must be in double quotes. Lists are joined without a mark between, undefined is nothing. */
export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  let source = strings[0] ?? '';
  for (const [index, part] of parts.entries()) source += shown(part) + (strings[index + 1] ?? '');
  return new Markup(source);
}

export function escaped(value: string): string {
  return value
    .toWellFormed()
    .replace(UNSEEN, '\uFFFD')
    .replace(/[&<>"'`]/g, (sign) => NAMES[sign] ?? '');
}

/** A text of somebody else's, cut so that a page stays of a size that can be read. */
export function cut(value: string, lengthMax: number): string {
  return value.length <= lengthMax ? value : `${value.slice(0, lengthMax - 1)}…`;
}

function shown(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Markup) return part.toString();
  if (Array.isArray(part)) return part.map(shown).join('');
  return escaped(String(part));
}
