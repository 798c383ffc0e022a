import { expect, test } from 'vitest';
import type { KeptLog, Received } from './archive-folder.ts';
import { chainFrom, judge } from './backups.ts';
import type { BackupNote } from './take-backup.ts';
import {
  type Line,
  leadsTo,
  parseSegment,
  segmentName,
  startOf,
  timelineOfSegment,
} from './wal-names.ts';

const BYTES = 16 * 1024 * 1024;
const at = (segment: number, offset = 0) => startOf(BigInt(segment), BYTES) + BigInt(offset);
/** Timeline 1 ended in segment 5, timeline 2 at the very end of segment 7. */
const LINE: Line = {
  timeline: 3,
  ancestors: [
    { timeline: 1, end: at(5, 100) },
    { timeline: 2, end: at(8) },
  ],
};

test('a name says timeline and number, also beyond the first log', () => {
  expect(segmentName({ timeline: 10, number: 0x1ffn }, BYTES)).toBe('0000000A00000001000000FF');
  expect(parseSegment('0000000A00000001000000FF', BYTES)).toEqual({ timeline: 10, number: 0x1ffn });
  expect(parseSegment('0000000A00000001000000FF.partial', BYTES)).toBeUndefined();
  expect(parseSegment('unfinished-0000000A00000001000000FF', BYTES)).toBeUndefined();
});

test('the segment of a fork is read on the timeline that goes on', () => {
  const read = [4, 5, 6, 7, 8, 9].map((number) => timelineOfSegment(LINE, BigInt(number), BYTES));
  expect(read).toEqual([1, 2, 2, 2, 3, 3]);
});

test('a position leads on up to the fork and no further', () => {
  expect(leadsTo(LINE, 1, at(5, 100))).toBe(true);
  expect(leadsTo(LINE, 1, at(5, 101))).toBe(false);
  expect(leadsTo(LINE, 3, at(99))).toBe(true);
  expect(leadsTo(LINE, 4, at(1))).toBe(false);
});

function kept(whole: string[], partial: string[] = []): KeptLog {
  const map = (names: string[]) =>
    new Map(names.map((name) => [name, parseSegment(name, BYTES) ?? { timeline: 0, number: 0n }]));
  return { whole: map(whole), partial: map(partial), histories: [2, 3] };
}
const name = (timeline: number, number: number) =>
  segmentName({ timeline, number: BigInt(number) }, BYTES);
const note = (from: string, to: string, timeline = 1): BackupNote => ({
  id: 'x',
  startedAtMs: 0,
  takenAtMs: 0,
  node: 'a',
  timeline,
  from,
  to,
  bytes: 1,
});
const received = (flushed: bigint): Received => ({ timeline: 3, flushed, node: 'a', atMs: 0 });
const ALL = [name(1, 4), name(2, 5), name(2, 6), name(2, 7), name(3, 8)];

test('a backup of an earlier timeline leads over both forks to the segment that is being received', () => {
  const log = kept(ALL, [name(3, 9), name(1, 5)]);
  const archived = { log, received: received(at(9, 50)), line: LINE, segmentBytes: BYTES };
  const backup = note('0/4000028', '0/4000100');
  expect(judge(backup, archived)).toEqual({
    usable: true,
    because: undefined,
    reaches: at(9, 50),
  });
  expect(chainFrom(backup, archived, LINE, received(at(9, 50))).files).toEqual([
    ...ALL,
    `${name(3, 9)}.partial`,
  ]);
});

test('at the beginning of a segment nothing of it has to be there', () => {
  const log = kept(ALL);
  const archived = { log, received: received(at(9)), line: LINE, segmentBytes: BYTES };
  expect(judge(note('0/4000028', '0/4000100'), archived).because).toBeUndefined();
});

test('a hole behind a backup bounds it, a hole in it makes it useless', () => {
  const line = LINE;
  const segmentBytes = BYTES;
  const log = kept(
    ALL.filter((one) => one !== name(2, 6)),
    [name(3, 9)],
  );
  const archived = { log, received: received(at(9, 50)), line, segmentBytes };
  expect(judge(note('0/4000028', '0/4000100'), archived)).toEqual({
    usable: true,
    because: `only up to 0/6000000: ${name(2, 6)} is missing`,
    reaches: at(6),
  });
  expect(judge(note('0/5000028', '0/6000100', 2), archived)).toMatchObject({
    usable: false,
    because: `${name(2, 6)} is missing`,
  });
  // Not yet is not never, but it is not now.
  const early = { ...archived, log: kept(ALL, [name(3, 9)]), received: received(at(8, 10)) };
  expect(judge(note('0/8000028', '0/8000100', 3), early)).toMatchObject({
    usable: false,
    because: 'the archive ends at 0/800000A, before it does',
  });
});

test('a backup that ended beyond the fork of its timeline is of a history that nobody went on with', () => {
  const archived = {
    log: kept(ALL, [name(3, 9)]),
    received: received(at(9, 50)),
    line: LINE,
    segmentBytes: BYTES,
  };
  expect(judge(note('0/5000028', '0/5000100', 1), archived)).toMatchObject({
    usable: false,
    because: 'timeline 1 was left before it ended',
  });
});
