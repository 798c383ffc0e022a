import { describe, expect, test } from 'vitest';
import { shows, steps } from './console-for-tests.ts';

describe('a console block', () => {
  test('is read as commands with their outputs', () => {
    const page = 'Text.\n```console\n$ one \\\n    more\nout\n$ two\n```\n```ts\n$ three\n```\n';
    expect(steps(page)).toEqual([
      { command: 'one \\\n    more', output: 'out\n', line: 3 },
      { command: 'two', output: '', line: 6 },
    ]);
  });
});

describe('an output', () => {
  test('is what the page shows, apart from what differs from run to run', () => {
    const page = 'domicile-staleness-ms: 12\n{"at":"2026-11-20T23:51:03.938Z"}\n';
    expect(shows(page, 'domicile-staleness-ms: 7\r\n{"at":"2027-01-01T00:00:00.000Z"}')).toBe(true);
    expect(shows(page, 'domicile-staleness-ms: 7\n{"at":"soon"}')).toBe(false);
  });

  test('may have more than the page shows only where the page says so', () => {
    expect(shows('a\n...\nd\n', 'a\nb\nc\nd\n')).toBe(true);
    expect(shows('a\n...\nd\n', 'a\nd\n')).toBe(true);
    expect(shows('a\nd\n', 'a\nb\nd\n')).toBe(false);
    expect(shows('a ... z\n', 'a b z\n')).toBe(true);
    expect(shows('a\n', 'a\nb\n')).toBe(false);
    expect(shows('a\n...\n', 'a\nb\n')).toBe(true);
  });
});
