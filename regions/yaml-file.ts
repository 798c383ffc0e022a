/**
 * Is this text the YAML file that the schema describes?
 *
 * Every complaint comes at once, each with its line and column, and no input makes it throw. It
 * takes text: reading the disk is for the caller. A schema here only describes shape (no
 * transforms, no defaults), so that what is written and what is read are the same value, and so
 * that `judge` may still look at a file whose only faults are misspelt keys or malformed words.
 */
import {
  type Alias,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
} from 'yaml';
import * as z from 'zod';
import {
  type Complaint,
  complaintAt,
  inFileOrder,
  type LineColumn,
  type Path,
  type Place,
  pathText,
  quote,
  type Source,
} from './yaml-complaint.ts';
import { nearest } from './yaml-suggestion.ts';

/** The largest sample is 20 kB. A file past this is not one that a person keeps in order. */
export const TEXT_LENGTH_MAX = 400_000;
/** Counted after aliases are followed: ten lines of them can otherwise stand for gigabytes. */
export const VALUES_MAX = 50_000;
/** Each one followed costs a search of the file. Ours have none; a page of lists has a few. */
export const ALIASES_MAX = 100;
/** Our files are six levels deep; an alias that contains itself has no bottom. */
export const DEPTH_MAX = 32;
/** More than anybody corrects in one go. */
export const COMPLAINTS_MAX = 100;

/**
 * Neither printed nor typed by a person. PostgreSQL stores no NUL, and marks that turn the
 * direction of writing make a reader see another text than the one that is obeyed.
 */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
const UNPRINTABLE = /[\0-\x08\x0b\x0c\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]|\r(?!\n)/;

export type YamlReading<T> =
  | { ok: T; source: Source }
  | { complaints: readonly [Complaint, ...Complaint[]] };

/** Complaints that no schema can express, such as a name that another key should have declared. */
export type Judge<T> = (value: T, source: Source) => readonly Complaint[];

export function readYaml<T>(
  text: string,
  file: string,
  schema: z.ZodType<T>,
  judge: Judge<T> = () => [],
): YamlReading<T> {
  const written = readValue(text, file);
  if ('complaints' in written) return { complaints: ordered(written.complaints) };
  const { value, source, remarks } = written;

  const parsed = schema.safeParse(value);
  if (parsed.success) {
    const [first, ...rest] = [...remarks, ...judge(parsed.data, source)];
    if (first === undefined) return { ok: parsed.data, source };
    return { complaints: ordered([first, ...rest]) };
  }
  const { issues } = parsed.error;
  const described = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) as Described;
  const [first, ...rest] = issues.flatMap((issue) => translate(issue, value, source, described));
  if (first === undefined) throw new Error('zod refused a value without saying why');
  const judged = issues.every((issue) => keepsShape(issue, value)) ? judge(value as T, source) : [];
  return { complaints: ordered([first, ...rest, ...remarks, ...judged]) };
}

function ordered([first, ...rest]: readonly [Complaint, ...Complaint[]]): [
  Complaint,
  ...Complaint[],
] {
  const [earliest = first, ...others] = inFileOrder([first, ...rest]);
  const left = others.splice(COMPLAINTS_MAX - 1);
  const [next] = left;
  if (next === undefined) return [earliest, ...others];
  const message = `${left.length} more complaints from here on; correct these first`;
  return [earliest, ...others, { ...next, path: '', message }];
}

// From text to a plain value ----------------------------------------------------------------

type Written = { value: unknown; source: Source; remarks: readonly Complaint[] };

function readValue(
  text: string,
  file: string,
): Written | { complaints: [Complaint, ...Complaint[]] } {
  const fail = (message: string, where: LineColumn = { line: 1, column: 1 }) => ({
    complaints: [{ file, ...where, path: '', message }] as [Complaint],
  });
  if (text.length > TEXT_LENGTH_MAX) return fail(`longer than ${TEXT_LENGTH_MAX} characters`);

  const unprintable = UNPRINTABLE.exec(text);
  if (unprintable !== null) return fail(...unprintableAt(text, unprintable));

  const lines = new LineCounter();
  let doc: Document.Parsed;
  try {
    doc = parseDocument(text, {
      version: '1.2',
      lineCounter: lines,
      prettyErrors: false,
      stringKeys: true,
      // Found below, where the path is known; the library's own search is quadratic as well.
      uniqueKeys: false,
    });
  } catch (error) {
    // The parser recurses, so thousands of open brackets exhaust the stack.
    if (error instanceof RangeError) return fail('nested too deeply');
    return fail(`not the YAML we read: ${firstLine(String(error))}`);
  }
  const [syntax, ...more] = syntaxComplaints(doc, file, lines);
  if (syntax !== undefined) return { complaints: [syntax, ...more] };
  // Under YAML 1.1 the country NO would be the value false.
  if (doc.directives?.yaml.explicit && doc.directives.yaml.version !== '1.2') {
    return fail('asks for another version of YAML than 1.2');
  }
  if (doc.contents === null || (isScalar(doc.contents) && doc.contents.value === null)) {
    return fail('the file is empty');
  }
  return new Walk(file, doc, lines).result();
}

function unprintableAt(text: string, { 0: found, index }: RegExpExecArray): [string, LineColumn] {
  const lines = text.slice(0, index).split('\n');
  const where = { line: lines.length, column: (lines.at(-1)?.length ?? 0) + 1 };
  return [`${codePoint(found)} does not belong in a text file`, where];
}

function codePoint(character: string): string {
  return `U+${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
}

/** One per line: a parser that lost its way complains about everything that follows. */
function syntaxComplaints(doc: Document.Parsed, file: string, lines: LineCounter): Complaint[] {
  const byLine = new Map<number, Complaint>();
  for (const { message, pos } of [...doc.errors, ...doc.warnings]) {
    const where = lineColumn(lines, pos[0]);
    if (byLine.has(where.line)) continue;
    const tooDeep = message.includes('call stack');
    byLine.set(where.line, {
      file,
      ...where,
      path: '',
      message: tooDeep ? 'nested too deeply' : `not the YAML we read: ${firstLine(message)}`,
    });
  }
  return [...byLine.values()];
}

function firstLine(message: string): string {
  return quote(message.split('\n', 1)[0]).slice(1, -1);
}

/** Follows the tree once: plain value, place of everything, duplicate keys, all of it bounded. */
class Walk {
  readonly #doc: Document.Parsed;
  readonly #lines: LineCounter;
  readonly #places = new Map<string, Place>();
  readonly #source: Source;
  readonly #remarks: Complaint[] = [];
  #values = 0;
  #aliases = 0;

  constructor(file: string, doc: Document.Parsed, lines: LineCounter) {
    this.#doc = doc;
    this.#lines = lines;
    this.#source = { file, places: this.#places };
  }

  result(): Written | { complaints: [Complaint] } {
    try {
      const value = this.#value(this.#doc.contents, [], undefined);
      return { value, source: this.#source, remarks: this.#remarks };
    } catch (stop) {
      if (stop instanceof TooMuch) return { complaints: [stop.complaint] };
      throw stop;
    }
  }

  #value(written: unknown, path: Path, key: LineColumn | undefined): unknown {
    const start = (written as Node | null)?.range?.[0];
    const here = start === undefined ? (key ?? { line: 1, column: 1 }) : this.#at(start);
    this.#places.set(pathText(path), { key, value: here });
    this.#values += 1;
    if (this.#values > VALUES_MAX) this.#stop(path, `more than ${VALUES_MAX} values`);
    if (path.length > DEPTH_MAX) this.#stop(path.slice(0, 3), `more than ${DEPTH_MAX} levels deep`);

    const node = isAlias(written) ? this.#follow(written, path) : written;
    if (isMap(node)) {
      const value: Record<string, unknown> = {};
      for (const pair of node.items) {
        const name = isScalar(pair.key) ? String(pair.key.value) : String(pair.key);
        const keyStart = (pair.key as Node | null)?.range?.[0];
        const keyAt = keyStart === undefined ? here : this.#at(keyStart);
        this.#entry(value, name, keyAt, pair.value, [...path, name]);
      }
      return value;
    }
    if (isSeq(node)) {
      return node.items.map((item, index) => this.#value(item, [...path, index], undefined));
    }
    if (!isScalar(node)) return null;
    const escaped = typeof node.value === 'string' ? UNPRINTABLE.exec(node.value) : null;
    // Not in the text, so written as an escape such as \0.
    if (escaped !== null) this.#remark(path, here, `contains ${codePoint(escaped[0])}`);
    return node.value;
  }

  #entry(into: Record<string, unknown>, name: string, at: LineColumn, node: unknown, path: Path) {
    if (name === '__proto__') return this.#remark(path, at, 'cannot be a key');
    if (name === '<<') return this.#remark(path, at, 'merge keys are not read; write the keys out');
    if (Object.hasOwn(into, name)) {
      const first = this.#places.get(pathText(path))?.key;
      return this.#remark(path, at, `a second time; the first is in line ${first?.line}`);
    }
    into[name] = this.#value(node, path, at);
  }

  #follow(alias: Alias, path: Path): unknown {
    this.#aliases += 1;
    if (this.#aliases > ALIASES_MAX) this.#stop(path, `more than ${ALIASES_MAX} aliases`);
    const node = alias.resolve(this.#doc);
    if (node === undefined)
      this.#stop(path, `${quote(`*${alias.source}`)} stands for nothing above it`);
    return node;
  }

  #remark(path: Path, at: LineColumn, message: string): void {
    this.#remarks.push({ file: this.#source.file, ...at, path: pathText(path), message });
  }

  #at(offset: number): LineColumn {
    return lineColumn(this.#lines, offset);
  }

  #stop(path: Path, message: string): never {
    throw new TooMuch(complaintAt(this.#source, path, { message }));
  }
}

class TooMuch extends Error {
  readonly complaint: Complaint;
  constructor(complaint: Complaint) {
    super(complaint.message);
    this.complaint = complaint;
  }
}

function lineColumn(lines: LineCounter, offset: number): LineColumn {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(1, line), column: Math.max(1, col) };
}

// From zod's issues to complaints -----------------------------------------------------------

type Issue = z.core.$ZodIssue;

/** The part of JSON Schema that our own schemas produce. */
type Described = {
  type?: string;
  description?: string;
  properties?: Record<string, Described>;
  additionalProperties?: Described | boolean;
  items?: Described | boolean;
  prefixItems?: Described[];
  anyOf?: Described[];
};

function translate(issue: Issue, value: unknown, source: Source, schema: Described): Complaint[] {
  const path = issue.path as Path;
  const found = valueAt(value, path);
  const say = (message: string, suggestion?: string) => [
    complaintAt(source, path, { message, suggestion }),
  ];
  switch (issue.code) {
    case 'unrecognized_keys': {
      const known = describedAt(schema, path).flatMap((at) => Object.keys(at.properties ?? {}));
      return issue.keys.map((key, nth) =>
        complaintAt(source, [...path, key], {
          message: 'no such key',
          suggestion: nth < COMPLAINTS_MAX ? nearest(key, known) : undefined,
          at: 'key',
        }),
      );
    }
    case 'invalid_type':
    case 'invalid_value': {
      if (found === undefined) return say(`missing${explanation(schema, path)}`);
      if (issue.code === 'invalid_type') {
        const whole = describedAt(schema, path).some(({ type }) => type === 'integer');
        const wanted = whole ? 'int' : issue.expected;
        return say(`expected ${EXPECTED[wanted] ?? wanted}, not ${shown(found)}`);
      }
      const allowed = issue.values.map(String);
      const meant = typeof found === 'string' ? nearest(found, allowed) : undefined;
      return say(`${shown(found)} is not ${oneOf(allowed)}`, meant);
    }
    case 'invalid_key': {
      const message = issue.issues[0]?.message ?? issue.message;
      return [complaintAt(source, path, { message: `the key ${message}`, at: 'key' })];
    }
    case 'invalid_union': {
      if (found === undefined) return say(`missing${explanation(schema, path)}`);
      // The branch that got past the outermost type is the one that was meant.
      const meant = issue.errors.find((branch) => branch.every((inner) => inner.path.length > 0));
      if (meant !== undefined) {
        return meant.flatMap((inner) =>
          translate({ ...inner, path: [...issue.path, ...inner.path] }, value, source, schema),
        );
      }
      const words = issue.errors
        .flat()
        .flatMap((inner) => (inner.code === 'invalid_value' ? inner.values.map(String) : []));
      const word = isText(found) ? nearest(found, words) : undefined;
      return say(`${shown(found)} does not fit${explanation(schema, path)}`, word);
    }
    case 'too_small':
      if (issue.origin === 'array') {
        if (issue.minimum === 1) return say('is empty: name at least one');
        return say(`has fewer than ${issue.minimum} items`);
      }
      if (issue.origin === 'string') return say('is empty');
      return say(`${shown(found)} is less than ${issue.minimum}`);
    case 'too_big':
      if (issue.origin === 'string') return say(`is longer than ${issue.maximum} characters`);
      if (issue.origin === 'array') return say(`has more than ${issue.maximum} items`);
      return say(`${shown(found)} is more than ${issue.maximum}`);
    default:
      return say(isText(found) ? `${quote(found)} ${issue.message}` : issue.message);
  }
}

/** True when the value has the type that the schema wants, whatever else is wrong with it. */
function keepsShape(issue: Issue, value: unknown): boolean {
  switch (issue.code) {
    case 'unrecognized_keys':
    case 'invalid_format':
    case 'custom':
      return true;
    case 'too_small':
      // A tuple that is too short has not had its items looked at.
      return issue.origin !== 'array' || issue.minimum === 1;
    case 'too_big':
      // The judge compares items with each other, and the limit is what keeps that short.
      return issue.origin !== 'array';
    case 'invalid_value':
      return typeof valueAt(value, issue.path as Path) === typeof issue.values[0];
    default:
      // Among them a key that its record does not allow: zod has not looked at its value.
      return false;
  }
}

const EXPECTED: Readonly<Record<string, string>> = {
  string: 'text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
  array: 'a list',
  tuple: 'a list',
  object: 'keys with values',
  record: 'keys with values',
};

function shown(value: unknown): string {
  if (value === null) return 'nothing';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'keys with values';
  return typeof value === 'string' ? quote(value) : `the ${typeof value} ${quote(value)}`;
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function oneOf(words: readonly string[]): string {
  return words.length === 1 ? String(words[0]) : `one of ${words.join(', ')}`;
}

function explanation(schema: Described, path: Path): string {
  const text = describedAt(schema, path).find((at) => at.description !== undefined)?.description;
  return text === undefined ? '' : `: ${firstSentence(text)}`;
}

function firstSentence(text: string): string {
  const sentence = /^.*?(?=\.(\s|$))/s.exec(text)?.[0] ?? text;
  return sentence.charAt(0).toLowerCase() + sentence.slice(1);
}

function describedAt(schema: Described, path: Path): Described[] {
  let here = [schema];
  for (const step of path) here = here.flatMap(branches).flatMap((at) => inside(at, step));
  return [...here, ...here.flatMap((at) => at.anyOf ?? [])];
}

function branches(schema: Described): Described[] {
  return [schema, ...(schema.anyOf ?? []).flatMap(branches)];
}

function inside(schema: Described, step: string | number): Described[] {
  const { properties, additionalProperties, items, prefixItems } = schema;
  const found: (Described | boolean | undefined)[] = [];
  if (typeof step === 'number') found.push(prefixItems?.[step], items);
  else if (properties !== undefined && Object.hasOwn(properties, step))
    found.push(properties[step]);
  else found.push(additionalProperties);
  return found.filter((at): at is Described => typeof at === 'object');
}

function valueAt(value: unknown, path: Path): unknown {
  let here = value;
  for (const step of path) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, step)) return undefined;
    here = (here as Record<string | number, unknown>)[step];
  }
  return here;
}
