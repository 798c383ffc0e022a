/**
 * How is a setting read from the environment, and what is said of a wrong one?
 *
 * A table says of each variable how it is parsed, what it is without, and one line of help. All that
 * is wrong is said together. Nothing is clamped or ignored.
 */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What a parser throws; the name and the help are put around it. */
export class Complaint extends Error {}

export type Setting<T> = { help: string; parse: (text: string) => T; default?: T; optional?: true };

type Values<Table> = { [Name in keyof Table]: Table[Name] extends Setting<infer T> ? T : never };

export function readSettings<Table extends Record<string, unknown>>(
  table: Table,
  environment: Environment,
): { values: Values<Table> } | { complaints: string[] } {
  const complaints: string[] = [];
  const values: Record<string, unknown> = {};
  for (const [name, { help, parse, default: fallback, optional }] of entries(table)) {
    const text = environment[name];
    if (text === undefined) {
      if (fallback === undefined && optional !== true) {
        complaints.push(`${name}  missing: ${help}`);
      }
      values[name] = fallback;
      continue;
    }
    try {
      values[name] = parse(text);
    } catch (error) {
      if (!(error instanceof Complaint)) throw error;
      complaints.push(`${name}  ${error.message}: ${help}`);
    }
  }
  return complaints.length > 0 ? { complaints } : { values: values as Values<Table> };
}

/** One line a setting. */
export function helpOf(table: Record<string, unknown>): string {
  return entries(table)
    .map(([name, { help, default: fallback, optional }]) =>
      optional === true
        ? `  ${name}  ${help}`
        : fallback === undefined
          ? `  ${name}  ${help} (required)`
          : `  ${name}  ${help} (${fallback})`,
    )
    .join('\n');
}

function entries(table: Record<string, unknown>): [string, Setting<unknown>][] {
  return Object.entries(table as Record<string, Setting<unknown>>);
}

export function setting<T>(help: string, parse: (text: string) => T, fallback?: T): Setting<T> {
  return fallback === undefined ? { help, parse } : { help, parse, default: fallback };
}

/** Nothing is missing without it. */
export function optional<T>(help: string, parse: (text: string) => T): Setting<T | undefined> {
  return { help, parse, optional: true };
}

export function nonEmpty(text: string): string {
  if (text === '') throw new Complaint('is empty');
  return text;
}

export function hostPort(text: string): { host: string; port: number } {
  const [, host = '', port = ''] = /^(\[[0-9a-fA-F:]+\]|[^:/\s]+):(\d{1,5})$/.exec(text) ?? [];
  if (host === '' || Number(port) > 65_535) {
    throw new Complaint(`${JSON.stringify(text)} is not host:port`);
  }
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/** It may carry credentials, so a complaint does not repeat it. */
export function url(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new Complaint('is no http or https address');
}

export function ratio(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= 1) return value;
  throw new Complaint(`${JSON.stringify(text)} is not a number from 0 to 1`);
}

export function oneOf<const T extends string>(...words: T[]): (text: string) => T {
  return (text) => {
    const word = words.find((one) => one === text);
    if (word !== undefined) return word;
    throw new Complaint(`${JSON.stringify(text)} is none of ${words.join(', ')}`);
  };
}

export function whole(unit: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new Complaint(
      `${JSON.stringify(text)} is not a whole number of ${unit} from ${min} to ${max}`,
    );
  };
}
