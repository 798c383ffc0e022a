/**
 * What does a page tell its reader to type, and what to expect?
 *
 * A console block is a list of commands, each after `$ `, continued on the next line after a
 * backslash, and followed by its output. In an output `...` stands for anything: alone on a line
 * for any lines, inside a line for any part of it. What differs from run to run is replaced by the
 * same word on both sides.
 */
export type Step = { command: string; output: string; line: number };

export function steps(page: string): Step[] {
  const found: Step[] = [];
  let inside = false;
  let continued = false;
  for (const [index, text] of page.split('\n').entries()) {
    if (text.startsWith('```')) {
      inside = text === '```console';
      continue;
    }
    if (!inside) continue;
    const last = found.at(-1);
    if (continued && last !== undefined) {
      last.command += `\n${text}`;
    } else if (text.startsWith('$ ')) {
      found.push({ command: text.slice(2), output: '', line: index + 1 });
    } else if (last === undefined) {
      throw new Error(`line ${index + 1}: output before any command`);
    } else {
      last.output += `${text}\n`;
      continue;
    }
    continued = text.endsWith('\\');
  }
  return found;
}

const VARYING: readonly [RegExp, string][] = [
  [/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/g, '(id)'],
  [/\b\d{4}-\d\d-\d\dT[\d:.]+Z/g, '(time)'],
  [/(domicile-session[:=] ?)[\w-]+/g, '$1(token)'],
  [/(domicile-staleness-ms: )\d+/g, '$1(ms)'],
  [/dur=[\d.]+/g, 'dur=(ms)'],
  [/^ *\d+\.\d s /gm, '(s) '],
  [/\r/g, ''],
];

export function withoutVarying(text: string): string {
  let same = text;
  for (const [varying, word] of VARYING) same = same.replace(varying, word);
  return same;
}

/** Whether an output is what a page shows. */
export function shows(page: string, output: string): boolean {
  const pattern = withoutVarying(page.trimEnd())
    .split('\n')
    .map((line) =>
      line === '...' ? '(?:.*\\n)*?' : `${line.split('...').map(escaped).join('.*')}\\n`,
    )
    .join('');
  return new RegExp(`^${pattern}$`).test(`${withoutVarying(output).trimEnd()}\n`);
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
