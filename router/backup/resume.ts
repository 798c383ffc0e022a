/**
 * Where does an archive go on, when this is what it holds and this is the primary's history?
 *
 * Always at the beginning of a segment: the one that was being received, or the one after the last
 * whole one. On a timeline that has ended, up to its end; beyond that, where the history forks off.
 */
import type { Lsn } from '../../regions/position.ts';
import type { KeptLog } from './archive-folder.ts';
import { endOf, type Line, segmentOf, startOf, timelineOfSegment } from './wal-names.ts';

/** `kept` is the position from which the primary has kept the log for us. */
export function whereToResume(
  { whole, partial }: Pick<KeptLog, 'whole' | 'partial'>,
  line: Line,
  kept: Lsn,
  segmentBytes: number,
): { timeline: number; from: Lsn } {
  const newestFirst = [line.timeline, ...line.ancestors.map(({ timeline }) => timeline).reverse()];
  for (const timeline of newestFirst) {
    const next = [
      ...[...whole.values()].map((one) => ({ ...one, number: one.number + 1n })),
      ...partial.values(),
    ]
      .filter((one) => one.timeline === timeline)
      .map(({ number }) => number);
    if (next.length === 0) continue;
    const from = startOf(
      next.reduce((a, b) => (a > b ? a : b)),
      segmentBytes,
    );
    const end = endOf(line, timeline);
    if (end === undefined || from < end) return { timeline, from };
    // Whatever was received beyond the fork, nobody's history goes through it.
    return beginning(line, end, segmentBytes);
  }
  return beginning(line, kept, segmentBytes);
}

/** The segment with this position, on the timeline whose file of it is the one to read. */
export function beginning(
  line: Line,
  lsn: Lsn,
  segmentBytes: number,
): { timeline: number; from: Lsn } {
  const number = segmentOf(lsn, segmentBytes);
  return {
    timeline: timelineOfSegment(line, number, segmentBytes),
    from: startOf(number, segmentBytes),
  };
}
