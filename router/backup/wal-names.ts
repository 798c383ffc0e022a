/**
 * Which file of the log holds a position, and which files lead from one position to another?
 *
 * PostgreSQL cuts its log into segments and names each by its timeline and its number. After a
 * promotion the segment with the fork exists on both timelines; the new timeline's one holds the
 * old log up to the fork, so it is the one to read.
 */
import type { Ancestor, Lsn } from '../../regions/position.ts';

export const SEGMENT_NAME = /^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$/;
export const HISTORY_NAME = /^([0-9A-F]{8})\.history$/;

const LOG_BYTES = 0x1_0000_0000n;

export type Segment = { timeline: number; number: bigint };

export function segmentName({ timeline, number }: Segment, segmentBytes: number): string {
  const perLog = LOG_BYTES / BigInt(segmentBytes);
  return hex(BigInt(timeline)) + hex(number / perLog) + hex(number % perLog);
}

export function parseSegment(name: string, segmentBytes: number): Segment | undefined {
  const [, timeline, log, rest] = SEGMENT_NAME.exec(name) ?? [];
  if (timeline === undefined) return undefined;
  const perLog = LOG_BYTES / BigInt(segmentBytes);
  const number = BigInt(`0x${log}`) * perLog + BigInt(`0x${rest}`);
  return { timeline: Number.parseInt(timeline, 16), number };
}

export function historyName(timeline: number): string {
  return `${hex(BigInt(timeline))}.history`;
}

export function segmentOf(lsn: Lsn, segmentBytes: number): bigint {
  return lsn / BigInt(segmentBytes);
}

export function startOf(segment: bigint, segmentBytes: number): Lsn {
  return segment * BigInt(segmentBytes);
}

/** A timeline with where the ones before it ended, oldest first. */
export type Line = { timeline: number; ancestors: readonly Ancestor[] };

/** The timeline whose file of a segment is the one to read. */
export function timelineOfSegment(
  { timeline, ancestors }: Line,
  number: bigint,
  segmentBytes: number,
): number {
  // The first one that did not end before or in this segment.
  const lasting = ancestors.find(({ end }) => segmentOf(end, segmentBytes) > number);
  return lasting?.timeline ?? timeline;
}

/** Where a timeline of this line ended; undefined for the last one and for strangers. */
export function endOf({ ancestors }: Line, timeline: number): Lsn | undefined {
  return ancestors.find((one) => one.timeline === timeline)?.end;
}

/** Whether a position on a timeline is part of this line. */
export function leadsTo(line: Line, timeline: number, lsn: Lsn): boolean {
  if (timeline === line.timeline) return true;
  const end = endOf(line, timeline);
  return end !== undefined && lsn <= end;
}

function hex(number: bigint): string {
  return number.toString(16).toUpperCase().padStart(8, '0');
}
