/**
 * What is wrong in a YAML file, and where exactly?
 *
 * A complaint is a value that names file, line and column, so that an editor can jump there. The
 * reader of the text makes some (`yaml-file.ts`); whoever compares one key with another makes the
 * rest, with `complaintAt` and the `Source` that came with the value.
 */
import { unmasked } from './look-alikes.ts';

export type Complaint = {
  file: string;
  /** Counted from 1, as editors do. */
  line: number;
  /** Counted from 1. */
  column: number;
  /** Keys from the top: `tables.users.subject`, `placement[2].home`; empty for the whole file. */
  path: string;
  message: string;
  /** What was probably meant. */
  suggestion?: string;
};

export type Path = readonly (string | number)[];
export type LineColumn = { line: number; column: number };

/** Where every key and value of one file stands. Plain data, so a value can carry it along. */
export type Source = {
  file: string;
  /** By `pathText`. */
  places: ReadonlyMap<string, Place>;
};

export type Place = {
  /** Where the key is written; undefined for list items and for the whole file. */
  key: LineColumn | undefined;
  value: LineColumn;
};

export type Remark = {
  message: string;
  suggestion?: string | undefined;
  /** The key when the key is wrong or lacks something, else the value (default). */
  at?: 'key' | 'value';
};

/** A complaint about `path`, or about the nearest thing above it that is written in the file. */
export function complaintAt(source: Source, path: Path, remark: Remark): Complaint {
  const { line, column } = placeOf(source, path, remark.at ?? 'value');
  const complaint: Complaint = {
    file: source.file,
    line,
    column,
    path: pathText(path),
    message: remark.message,
  };
  if (remark.suggestion !== undefined) complaint.suggestion = remark.suggestion;
  return complaint;
}

function placeOf(source: Source, path: Path, at: 'key' | 'value'): LineColumn {
  const exact = source.places.get(pathText(path));
  if (exact !== undefined) return at === 'key' ? (exact.key ?? exact.value) : exact.value;
  for (let length = path.length - 1; length >= 0; length--) {
    const above = source.places.get(pathText(path.slice(0, length)));
    // What is missing inside `users:` is best shown at the word `users`.
    if (above !== undefined) return above.key ?? above.value;
  }
  return { line: 1, column: 1 };
}

/** `residency.yaml:12:5  tables.users.subjct: no such key; did you mean "subject"?` */
export function formatComplaint(complaint: Complaint): string {
  const { file, line, column, path, message, suggestion } = complaint;
  const subject = path === '' ? '' : `${path}: `;
  const hint = suggestion === undefined ? '' : `; did you mean ${quote(suggestion)}?`;
  return `${file}:${line}:${column}  ${subject}${message}${hint}`;
}

export function inFileOrder(complaints: Iterable<Complaint>): Complaint[] {
  return [...complaints].sort((a, b) => a.line - b.line || a.column - b.column);
}

const PLAIN_KEY = /^[A-Za-z0-9_-]+$/;

export function pathText(path: Path): string {
  let text = '';
  for (const step of path) {
    if (typeof step === 'number') text += `[${step}]`;
    // Quoting keeps two paths from having one text, and control characters out of the terminal.
    else if (!PLAIN_KEY.test(step)) text += `[${quote(step)}]`;
    else text += text === '' ? step : `.${step}`;
  }
  return text;
}

/** Long enough for any honest value, short enough for one line of a terminal. */
const QUOTED_LENGTH_MAX = 80;

/** A value from the file, safe to print and to be told from what it looks like. */
export function quote(value: unknown): string {
  const text = typeof value === 'string' ? value : String(value);
  const json = JSON.stringify(text.slice(0, QUOTED_LENGTH_MAX));
  const printable = json.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '\uFFFD');
  const shown = unmasked(printable).slice(1, -1) + (text.length > QUOTED_LENGTH_MAX ? '…' : '');
  return typeof value === 'string' ? `"${shown}"` : shown;
}
