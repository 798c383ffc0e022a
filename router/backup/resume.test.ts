import { expect, test } from 'vitest';
import { whereToResume } from './resume.ts';
import { type Line, segmentName, startOf } from './wal-names.ts';

const BYTES = 16 * 1024 * 1024;
const at = (segment: number, offset = 0) => startOf(BigInt(segment), BYTES) + BigInt(offset);
/** Timeline 1 ended in segment 5. */
const LINE: Line = { timeline: 2, ancestors: [{ timeline: 1, end: at(5, 100) }] };
const FIRST: Line = { timeline: 1, ancestors: [] };

function resume(line: Line, whole: [number, number][], partial: [number, number][]) {
  const map = (names: [number, number][]) =>
    new Map(
      names.map(([timeline, number]) => {
        const segment = { timeline, number: BigInt(number) };
        return [segmentName(segment, BYTES), segment];
      }),
    );
  return whereToResume({ whole: map(whole), partial: map(partial) }, line, at(3, 77), BYTES);
}

test('an empty archive begins with the segment that the server keeps', () => {
  expect(resume(FIRST, [], [])).toEqual({ timeline: 1, from: at(3) });
});

test('a segment that was being received is received again from its beginning', () => {
  expect(resume(FIRST, [[1, 3]], [[1, 4]])).toEqual({ timeline: 1, from: at(4) });
  expect(resume(FIRST, [[1, 3]], [])).toEqual({ timeline: 1, from: at(4) });
});

test('a timeline that has ended is received up to its end first', () => {
  expect(resume(LINE, [[1, 3]], [[1, 4]])).toEqual({ timeline: 1, from: at(4) });
  expect(resume(LINE, [[1, 4]], [[1, 5]])).toEqual({ timeline: 1, from: at(5) });
});

test('what was received beyond the fork is left, and the fork’s segment received once more', () => {
  expect(resume(LINE, [[1, 5]], [[1, 6]])).toEqual({ timeline: 2, from: at(5) });
  expect(resume(LINE, [[1, 5]], [])).toEqual({ timeline: 2, from: at(5) });
  const atBoundary: Line = { timeline: 2, ancestors: [{ timeline: 1, end: at(6) }] };
  expect(resume(atBoundary, [[1, 5]], [])).toEqual({ timeline: 2, from: at(6) });
});

test('the newest timeline that is here decides, and one of another history does not count', () => {
  expect(resume(LINE, [[1, 9]], [[2, 5]])).toEqual({ timeline: 2, from: at(5) });
  const other: Line = { timeline: 4, ancestors: [{ timeline: 1, end: at(5, 100) }] };
  expect(
    resume(
      other,
      [
        [1, 4],
        [3, 7],
      ],
      [],
    ),
  ).toEqual({ timeline: 1, from: at(5) });
});
