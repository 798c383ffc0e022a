/**
 * What are the statements of a migration, and which of them must not be in one?
 *
 * Reads SQL as far as needed to tell statements from each other and words from texts and comments.
 * What is refused here is refused for its words, with line and column, before anything runs. It is
 * not the last line: `router/rehearse-migrations.ts` compares what a script has done, because a `do`
 * block can say anything.
 */

/** One statement, with where it begins in its script, counted from 0. */
export type Statement = { text: string; at: number };
export type ScriptComplaint = { at: number; message: string };

type Token = { word: string; at: number; end: number };

/** Without its comments and empty statements. */
export function statementsOf(script: string): Statement[] {
  return split(script).flatMap(({ first, end }) =>
    first === undefined ? [] : [{ text: script.slice(first.at, end), at: first.at }],
  );
}

/** Why this script must not be run as a migration; empty when nothing in its words is against it. */
export function checkScript(script: string): ScriptComplaint[] {
  return split(script).flatMap(({ tokens }) => objections(tokens));
}

/** Line and column, counted from 1, as editors show them. */
export function lineAndColumn(script: string, at: number): { line: number; column: number } {
  const lines = script.slice(0, at).split('\n');
  return { line: lines.length, column: [...(lines.at(-1) ?? '')].length + 1 };
}

const ENDS = new Set(['begin', 'commit', 'end', 'rollback', 'abort', 'savepoint', 'release']);
const OWN_SCHEMA = /^(domicile|domicile_migrations|mirror|mirror_.*)$/;
/** What a script may ask the router's schema. */
const ASKABLE = new Set(['here']);

function objections(tokens: readonly Token[]): ScriptComplaint[] {
  const found: ScriptComplaint[] = [];
  const say = (token: Token | undefined, message: string) => {
    if (token !== undefined) found.push({ at: token.at, message });
  };
  const words = tokens.map(({ word }) => word);
  const [first = '', second = ''] = words;
  const has = (...sequence: readonly string[]): Token | undefined => {
    const at = words.findIndex((_, index) =>
      sequence.every((word, offset) => words[index + offset] === word),
    );
    return tokens[at];
  };
  if (
    ENDS.has(first) ||
    (first === 'start' && second === 'transaction') ||
    (first === 'prepare' && second === 'transaction')
  ) {
    say(
      tokens[0],
      `"${first}" must not be in a migration: each script runs in one transaction of its own`,
    );
  }
  if (first === 'set' && second !== 'local' && second !== 'constraints') {
    say(tokens[0], 'a setting would outlive the script; say "set local"');
  }
  if (first === 'reset' || first === 'discard') {
    say(tokens[0], `"${first}" must not be in a migration: others use the connection, too`);
  }
  if (['set', 'reset'].includes(first) && words.some((word) => word === 'role')) {
    say(has('role'), 'a migration runs as the owner of the app’s tables and as nobody else');
  }
  if (first === 'copy' && words.includes('stdin')) {
    say(tokens[0], 'nobody is there to send the rows of "copy … from stdin"; use "insert"');
  }
  for (const what of ['publication', 'subscription']) {
    if (['create', 'alter', 'drop'].includes(first) && second === what) {
      say(tokens[0], `what leaves a region is for the policy to say; no ${what} in a migration`);
    }
  }
  if (words.includes('concurrently')) {
    say(
      has('concurrently'),
      '"concurrently" cannot be in a transaction, and each script is one; leave the word out',
    );
  }
  say(
    has('disable', 'row', 'level', 'security') ?? has('no', 'force', 'row', 'level', 'security'),
    'row security is what keeps one subject’s rows from another; the policy decides about it',
  );
  say(
    has('replica', 'identity'),
    'what identifies a row on its way follows from the policy; no "replica identity" in a migration',
  );
  say(
    has('domicile_home'),
    'the constraint domicile_home keeps rows of others out; the policy decides about it',
  );
  say(
    tokens.find(({ word }) => word === 'session_replication_role' || word === 'row_security'),
    'this setting would go around what protects the rows',
  );
  tokens.forEach((token, index) => {
    if (!OWN_SCHEMA.test(token.word)) return;
    const names =
      words[index + 1] === '.' ||
      words[index - 1] === 'schema' ||
      words[index - 1] === 'search_path';
    const asks = ASKABLE.has(words[index + 2] ?? '') && words[index + 3] === '(';
    if (names && !(token.word === 'domicile' && words[index + 1] === '.' && asks)) {
      say(token, `schema ${token.word} belongs to the router; a migration changes schema app only`);
    }
  });
  return found;
}

type Piece = { first: Token | undefined; end: number; tokens: Token[] };

function split(script: string): Piece[] {
  const pieces: Piece[] = [];
  let tokens: Token[] = [];
  let parentheses = 0;
  let bodies = 0;
  const finish = (end: number) => {
    pieces.push({ first: tokens[0], end, tokens });
    tokens = [];
    parentheses = 0;
    bodies = 0;
  };
  for (const token of tokensOf(script)) {
    const { word } = token;
    if (word === ';' && parentheses === 0 && bodies === 0) {
      finish(token.at);
      continue;
    }
    if (word === '(') parentheses++;
    if (word === ')') parentheses--;
    // The body of a function in standard SQL holds statements of its own, and `end` closes a `case`.
    if (word === 'atomic' && tokens.at(-1)?.word === 'begin' && isRoutine(tokens)) bodies++;
    else if (bodies > 0 && word === 'case') bodies++;
    else if (bodies > 0 && word === 'end') bodies--;
    tokens.push(token);
  }
  finish(script.length);
  return pieces;
}

function isRoutine(tokens: readonly Token[]): boolean {
  const [first, ...others] = tokens.slice(0, 4).map(({ word }) => word);
  return first === 'create' && others.some((word) => word === 'function' || word === 'procedure');
}

const SPACE = /\s+/y;
const LINE_COMMENT = /--[^\n]*/y;
const DOLLAR = /\$(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?\$/y;
const WORD = /[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*/y;
const NUMBER = /\d[\w.]*/y;
const ESCAPED_TEXT = /[eE]'(?:[^'\\]|\\[\s\S]|'')*'?/y;
const TEXT = /(?:[nNbBxX]|[uU]&)?'(?:[^']|'')*'?/y;
const QUOTED = /(?:[uU]&)?"(?:[^"]|"")*"?/y;

/** Words as SQL folds them; a text is one token that no word is equal to. */
function tokensOf(script: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  const take = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at;
    return pattern.exec(script)?.[0];
  };
  const push = (word: string, length: number) => {
    tokens.push({ word, at, end: at + length });
    at += length;
  };
  while (at < script.length) {
    const skipped = take(SPACE) ?? take(LINE_COMMENT);
    if (skipped !== undefined) {
      at += skipped.length;
      continue;
    }
    if (script.startsWith('/*', at)) {
      at = endOfComment(script, at);
      continue;
    }
    const text = take(ESCAPED_TEXT) ?? take(TEXT);
    if (text !== undefined) {
      push("'", text.length);
      continue;
    }
    const dollar = take(DOLLAR);
    if (dollar !== undefined) {
      const close = script.indexOf(dollar, at + dollar.length);
      push("'", (close < 0 ? script.length : close + dollar.length) - at);
      continue;
    }
    const quoted = take(QUOTED);
    if (quoted !== undefined) {
      const name = quoted.slice(quoted.indexOf('"') + 1, -1).replaceAll('""', '"');
      push(name, quoted.length);
      continue;
    }
    const word = take(WORD) ?? take(NUMBER);
    if (word !== undefined) push(word.toLowerCase(), word.length);
    else push(script[at] ?? '', 1);
  }
  return tokens;
}

/** Comments of this form nest. */
function endOfComment(script: string, from: number): number {
  let depth = 0;
  for (let at = from; at < script.length; at++) {
    if (script.startsWith('/*', at)) {
      depth++;
      at++;
    } else if (script.startsWith('*/', at)) {
      depth--;
      at++;
      if (depth === 0) return at + 1;
    }
  }
  return script.length;
}
