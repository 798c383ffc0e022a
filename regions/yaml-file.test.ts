import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import * as z from 'zod';
import { complaintAt, formatComplaint, pathText, quote } from './yaml-complaint.ts';
import {
  ALIASES_MAX,
  COMPLAINTS_MAX,
  DEPTH_MAX,
  readYaml,
  TEXT_LENGTH_MAX,
  VALUES_MAX,
} from './yaml-file.ts';

const Shop = z.strictObject({
  name: z.string().min(1).describe('What the sign says. Not longer than the sign.'),
  floor: z.int().min(0).max(9),
  kind: z.enum(['bakery', 'grocery']).optional(),
  open: z.union([z.literal('always'), z.array(z.string()).min(1)]).optional(),
  shelves: z
    .record(z.string().regex(/^[a-z]+$/, 'is not a shelf'), z.strictObject({ width: z.number() }))
    .optional(),
});

function complaints(text: string, schema: z.ZodType = Shop): string[] {
  const reading = readYaml(text, 'shop.yaml', schema);
  return 'ok' in reading ? [] : reading.complaints.map(formatComplaint);
}

test('a file that fits comes back as its value', () => {
  const reading = readYaml('name: Corner\nfloor: 0\n', 'shop.yaml', Shop);
  expect(reading).toMatchObject({ ok: { name: 'Corner', floor: 0 } });
});

test('every complaint comes at once, in the order of the file', () => {
  const text = `
name: Corner
flor: 1
kind: bakry
shelves:
  left: { width: wide, widht: 2 }
  Right: { width: 1 }
`;
  expect(complaints(text)).toEqual([
    'shop.yaml:2:1  floor: missing',
    'shop.yaml:3:1  flor: no such key; did you mean "floor"?',
    'shop.yaml:4:7  kind: "bakry" is not one of bakery, grocery; did you mean "bakery"?',
    'shop.yaml:6:18  shelves.left.width: expected a number, not "wide"',
    'shop.yaml:6:24  shelves.left.widht: no such key; did you mean "width"?',
    'shop.yaml:7:3  shelves.Right: the key is not a shelf',
  ]);
});

test('a missing key is explained by its description', () => {
  expect(complaints('floor: 1')).toEqual(['shop.yaml:1:1  name: missing: what the sign says']);
});

test('a missing key is shown at the key that lacks it', () => {
  expect(complaints('name: a\nfloor: 1\nshelves:\n  left: {}\n')).toEqual([
    'shop.yaml:4:3  shelves.left.width: missing',
  ]);
});

test.each([
  ['name: [a]', 'shop.yaml:1:7  name: expected text, not a list'],
  ['name:', 'shop.yaml:1:6  name: expected text, not nothing'],
  ['name: 3', 'shop.yaml:1:7  name: expected text, not the number 3'],
  ['name: ""', 'shop.yaml:1:7  name: is empty'],
  ['name: a\nfloor: 1.5', 'shop.yaml:2:8  floor: expected a whole number, not the number 1.5'],
  ['name: a\nfloor: 10', 'shop.yaml:2:8  floor: the number 10 is more than 9'],
  ['name: a\nfloor: -1', 'shop.yaml:2:8  floor: the number -1 is less than 0'],
  ['name: a\nopen: []', 'shop.yaml:2:7  open: is empty: name at least one'],
  ['name: a\nopen: alwasy', 'shop.yaml:2:7  open: "alwasy" does not fit; did you mean "always"?'],
  ['name: a\nopen: [1]', 'shop.yaml:2:8  open[0]: expected text, not the number 1'],
  ['name: a\nopen: {}', 'shop.yaml:2:7  open: keys with values does not fit'],
])('%j is answered with %j', (text, complaint) => {
  const floor = text.includes('floor') ? '' : '\nfloor: 1';
  expect(complaints(text + floor)).toEqual([complaint]);
});

test.each([
  ['', 'shop.yaml:1:1  the file is empty'],
  ['# only a comment\n', 'shop.yaml:1:1  the file is empty'],
  ['---\n', 'shop.yaml:1:1  the file is empty'],
  ['~', 'shop.yaml:1:1  the file is empty'],
  ['- name', 'shop.yaml:1:1  expected keys with values, not a list'],
  ['name', 'shop.yaml:1:1  expected keys with values, not "name"'],
  ['name: a\n\tfloor: 1\n', 'shop.yaml:2:1  not the YAML we read: Tabs are not allowed'],
  ['name: [a', 'shop.yaml:1:9  not the YAML we read: Flow sequence'],
  ['name: a\n---\nname: b\n', 'shop.yaml:2:1  not the YAML we read: Source contains multiple'],
  ['name: !shout a', 'shop.yaml:1:7  not the YAML we read: Unresolved tag: !shout'],
  ['name: *nobody', 'shop.yaml:1:7  name: "*nobody" stands for nothing above it'],
  ['[a]: b', 'shop.yaml:1:1  not the YAML we read: With stringKeys, all keys must be strings'],
  ['%YAML 1.1\n---\nname: a', 'shop.yaml:1:1  asks for another version of YAML than 1.2'],
])('%j is no file of ours', (text, start) => {
  const [first] = complaints(text);
  expect(first?.slice(0, start.length)).toBe(start);
});

test('a key given twice is shown the second time, with the line of the first', () => {
  expect(complaints('name: a\nfloor: 1\nname: b\n')).toEqual([
    'shop.yaml:3:1  name: a second time; the first is in line 1',
  ]);
});

test('a key that JavaScript would treat specially is refused, not dropped', () => {
  expect(complaints('name: a\nfloor: 1\nshelves: { __proto__: { width: 1 } }')).toEqual([
    'shop.yaml:3:12  shelves.__proto__: cannot be a key',
  ]);
  expect(complaints('name: a\nfloor: 1\nshelves: { constructor: { width: 1 } }')).toEqual([]);
});

test('NO is a country, not false', () => {
  const reading = readYaml('land: NO', 'f', z.strictObject({ land: z.string() }));
  expect(reading).toMatchObject({ ok: { land: 'NO' } });
});

test('an alias stands for what it names, and a complaint shows the words that are wrong', () => {
  const schema = z.strictObject({ a: z.array(z.string()), b: z.array(z.int()) });
  expect(complaints('a: &list [x]\nb: *list\n', schema)).toEqual([
    'shop.yaml:1:11  b[0]: expected a whole number, not "x"',
  ]);
});

const Anything = z.looseObject({});

test('aliases that multiply are refused before they fill the memory', () => {
  const long = `a: &a [${'x, '.repeat(VALUES_MAX / 60)}]\n`;
  const list = (aliases: number) => `b: [${'*a, '.repeat(aliases)}]\n`;
  expect(complaints(long + list(58), Anything)).toEqual([]);
  expect(complaints(long + list(60), Anything)[0]).toContain(`more than ${VALUES_MAX} values`);
});

test('one hundred aliases are followed and no more', () => {
  const list = (aliases: number) => `a: &a x\nb: [${'*a, '.repeat(aliases)}]\n`;
  expect(complaints(list(ALIASES_MAX), Anything)).toEqual([]);
  expect(complaints(list(ALIASES_MAX + 1), Anything)).toEqual([
    'shop.yaml:2:405  b[100]: more than 100 aliases',
  ]);
});

test('an alias that contains itself is refused', () => {
  expect(complaints('a: &a [*a]', Anything)).toEqual([
    `shop.yaml:1:8  a[0][0]: more than ${DEPTH_MAX} levels deep`,
  ]);
});

test('a file nested beyond all reason is refused, however deep', () => {
  const nested = (depth: number) => `a: ${'['.repeat(depth)}${']'.repeat(depth)}`;
  expect(complaints(nested(DEPTH_MAX), Anything)).toEqual([]);
  expect(complaints(nested(DEPTH_MAX + 1), Anything)[0]).toContain('levels deep');
  expect(complaints(nested(20_000), Anything)[0]).toContain('nested too deeply');
});

test.each([
  ['NUL', 'a: x\nb: "\0"', '2:5  U+0000'],
  ['an escape', 'a: \u001b[31m', '1:4  U+001B'],
  ['a mark that turns the direction of writing', 'a: x # \u202e', '1:8  U+202E'],
  ['the end of line of old machines', 'a: x\rb: y', '1:5  U+000D'],
])('%s does not belong in a file', (_, text, expected) => {
  expect(complaints(text, Anything)).toEqual([
    `shop.yaml:${expected} does not belong in a text file`,
  ]);
});

test('nor may a text contain it that writes it as an escape', () => {
  expect(complaints('a: "x\\0y"\nb: ["\\u202E"]', Anything)).toEqual([
    'shop.yaml:1:4  a: contains U+0000',
    'shop.yaml:2:5  b[0]: contains U+202E',
  ]);
  expect(complaints('\ufeffa: "x\\ny\\t"\r\nb: é 東京 👩‍🚀\r\n', Anything)).toEqual([]);
});

test('merge keys are refused by name, as they would be read as a key of their own', () => {
  expect(complaints('a: &a { b: 1 }\nc: { <<: *a }', Anything)).toEqual([
    'shop.yaml:2:6  c["<<"]: merge keys are not read; write the keys out',
  ]);
});

test('one hundred complaints are told, and of more how many there are', () => {
  const text = (keys: number) =>
    `name: a\nfloor: 1\n${Array.from({ length: keys }, (_, key) => `k${key}: 1\n`).join('')}`;
  expect(complaints(text(COMPLAINTS_MAX))).toHaveLength(COMPLAINTS_MAX);
  const most = complaints(text(COMPLAINTS_MAX + 5));
  expect(most).toHaveLength(COMPLAINTS_MAX + 1);
  expect(most[99]).toBe('shop.yaml:102:1  k99: no such key');
  expect(most[100]).toBe('shop.yaml:103:1  5 more complaints from here on; correct these first');
});

test('the longest file is read and one character more is not', () => {
  const text = `a: b # ${'x'.repeat(TEXT_LENGTH_MAX - 7)}`;
  expect(text).toHaveLength(TEXT_LENGTH_MAX);
  expect(complaints(text, Anything)).toEqual([]);
  expect(complaints(`${text}x`, Anything)[0]).toContain('longer than');
});

test('the judge still looks at a file whose keys are misspelt, and its complaints join in', () => {
  const reading = readYaml(
    'name: a\nfloor: 1\nflor: 2\n',
    'shop.yaml',
    Shop,
    ({ name }, source) => [
      complaintAt(source, ['name'], { message: `${quote(name)} is too short` }),
    ],
  );
  expect('complaints' in reading && reading.complaints.map(formatComplaint)).toEqual([
    'shop.yaml:1:7  name: "a" is too short',
    'shop.yaml:3:1  flor: no such key; did you mean "floor"?',
  ]);
});

const Garden = z.strictObject({
  pair: z.tuple([z.string(), z.string()]).optional(),
  few: z.array(z.string()).max(2).optional(),
  beds: z.record(z.string().regex(/^[a-z]+$/, 'is not a bed'), z.int()).optional(),
});

test.each([
  ['few: 3', 'few: expected a list, not the number 3'],
  ['pair: [a]', 'pair: has fewer than 2 items'],
  ['pair: [1]', 'pair: has fewer than 2 items'],
  ['few: [a, b, c]', 'few: has more than 2 items'],
  ['beds: { A: x }', 'beds.A: the key is not a bed'],
])('the judge is not shown %j, whose type nobody vouches for', (text, complaint) => {
  const reading = readYaml(text, 'f', Garden, () => {
    throw new Error('asked about a file that does not have the shape');
  });
  const [first] = 'complaints' in reading ? reading.complaints.map(formatComplaint) : [];
  expect(first?.replace(/^\S+ {2}/, '')).toBe(complaint);
});

test('lines end in CR LF or begin with a byte order mark, and the columns stay right', () => {
  expect(complaints('\uFEFFname: a\r\nfloor: x\r\n')).toEqual([
    'shop.yaml:2:8  floor: expected a whole number, not "x"',
  ]);
});

test('what the file says cannot move the cursor of a terminal', () => {
  const text = `name: a\nfloor: "\\e[2J\\u202e"\n"\\e]0;x": 1\n`;
  for (const line of complaints(text)) expect(line).not.toMatch(/\p{Cc}|\p{Cf}/u);
});

test('two different paths never have one text', () => {
  expect(pathText(['a', 'b.c'])).not.toBe(pathText(['a', 'b', 'c']));
  expect(pathText(['a', 0])).not.toBe(pathText(['a', '[0]']));
  expect(pathText(['placement', 2, 'home'])).toBe('placement[2].home');
});

test('no text whatever makes the reader throw, and every complaint has a place', async () => {
  const pieces = fc.constantFrom(
    'name: a\n',
    'floor: 1\n',
    '- ',
    ': ',
    '? ',
    '{',
    '}',
    '[',
    ']',
    '&a ',
    '*a ',
    '<<: *a\n',
    '!!binary ',
    '!!map ',
    '\t',
    '\n',
    '  ',
    '"',
    "'",
    '|\n',
    '>-\n',
    '#',
    '---\n',
    '...\n',
    '%YAML 1.1\n',
    '\u0000',
    '\ud800',
    '~',
  );
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.array(pieces).map((some) => some.join('')),
  );
  await fc.assert(
    fc.property(text, (some) => {
      const reading = readYaml(some, 'f', Shop);
      if ('ok' in reading) return;
      for (const { line, column } of reading.complaints) {
        expect(line).toBeGreaterThanOrEqual(1);
        expect(column).toBeGreaterThanOrEqual(1);
      }
    }),
    { numRuns: 1_000 },
  );
}, 60_000);
