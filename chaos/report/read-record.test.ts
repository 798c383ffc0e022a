import { describe, expect, test } from 'vitest';
import { reportHtml } from './html-report.ts';
import { drawRecord, readRecord } from './read-record.ts';
import { brokenRecord, emptyRecord, killRecord, stormRecord } from './record-for-tests.ts';

const json = JSON.stringify(brokenRecord());

/** A record with something else in some places, such as `history.operations.3.level`. */
function changed(places: Readonly<Record<string, unknown>>): string {
  const record = JSON.parse(json) as object;
  for (const [path, value] of Object.entries(places)) {
    const names = path.split('.');
    const last = names.pop() ?? '';
    let at = record as Record<string, unknown>;
    for (const name of names) at = at[name] as Record<string, unknown>;
    at[last] = value;
  }
  return JSON.stringify(record);
}

function complaints(text: string): readonly string[] {
  const read = readRecord(text);
  return read.kind === 'record' ? [] : read.complaints;
}

describe('a record that was kept', () => {
  test.each([killRecord(), brokenRecord(), stormRecord(2_000), emptyRecord()])(
    'of $scenario is drawn again to the byte',
    (record) => {
      const drawn = drawRecord(JSON.stringify(record));
      expect(drawn).toEqual({ kind: 'drawn', html: reportHtml(record) });
    },
  );

  test('has what JSON had no word for', () => {
    const record = brokenRecord();
    const read = readRecord(JSON.stringify(record));
    expect(read).toEqual({ kind: 'record', record });
    expect(JSON.stringify(record)).toContain('[null,');
  });

  test('may have fields that nobody here knows', () => {
    const more = changed({ later: 1, 'bit.later': 2 });
    expect(readRecord(more).kind).toBe('record');
  });
});

describe('another file', () => {
  test.each([
    ['', /^It is not JSON/],
    ['<html>', /^It is not JSON/],
    ['[]', /no record of a chaos run: it has no "format"/],
    ['null', /it has no "format"/],
    ['{"format":2}', /^Its format is 2, and only 1 can be drawn\.$/],
    ['{"format":"1"}', /^Its format is "1", and only 1/],
  ])('%j is called what it is', (text, expected) => {
    expect(complaints(text)).toHaveLength(1);
    expect(complaints(text)[0]).toMatch(expected);
  });

  test('is told where it is wrong, and no more often than helps', () => {
    const wrong = changed({
      seed: 'seven',
      'history.operations.3.outcome': { kind: 'perhaps' },
      'history.operations.4.endedAtMs': -1,
    });
    expect(complaints(wrong)).toEqual([
      expect.stringMatching(/^seed: .*expected number/),
      expect.stringMatching(/^history\.operations\[3\]\.outcome\.kind: /),
      'history.operations[4].endedAtMs: lies before invokedAtMs',
    ]);
    const levels = Array.from({ length: 30 }, (_, at) => [
      `history.operations.${at}.level`,
      'none',
    ]);
    const all = changed(Object.fromEntries(levels));
    expect(complaints(all)).toHaveLength(9);
    expect(complaints(all)[8]).toMatch(/^and 22 more complaints$/);
  });

  test('may not name an operation that is not there, or one twice', () => {
    const missing = changed({ 'judgements.1.violations.0.operations.0': 99_999_999 });
    expect(complaints(missing)).toEqual([
      'judgements[1].violations[0]: no operation has the id 99999999',
    ]);
    const twice = changed({ 'history.operations.5.id': 4 });
    expect(complaints(twice)).toEqual(['history.operations: two of them have the id 4']);
  });
});
