/**
 * Where in one cluster's write-ahead log is something?
 *
 * A position is a triple because a bare LSN means nothing: each cluster has its own log (named by
 * its system identifier), and each promotion starts a new timeline whose positions cannot be
 * compared with the old one's beyond the fork.
 */

/** Write-ahead log position in bytes, an unsigned 64-bit integer. */
export type Lsn = bigint;

export type Position = {
  /** `system_identifier` of `pg_control_system()`: drawn once by initdb, unsigned 64-bit. */
  systemId: bigint;
  /** Starts at 1, grows by one with each promotion. */
  timeline: number;
  lsn: Lsn;
};

/** How the second position stands to the first. Two histories have no order at all. */
export type Order = 'before' | 'same' | 'after' | 'other_timeline' | 'other_cluster';

const LSN_TEXT = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i;

/** Reads PostgreSQL's text form, `16/B374D848`. Undefined when it is not one. */
export function parseLsn(text: string): Lsn | undefined {
  const match = LSN_TEXT.exec(text);
  if (match === null) return undefined;
  return (BigInt(`0x${match[1]}`) << 32n) | BigInt(`0x${match[2]}`);
}

/** Reads what PostgreSQL itself sent; anything but an LSN there is a bug, so it throws. */
export function lsnFromPostgres(text: string): Lsn {
  const lsn = parseLsn(text);
  if (lsn === undefined) throw new TypeError(`PostgreSQL sent ${JSON.stringify(text)} for an LSN`);
  return lsn;
}

/** PostgreSQL's text form, accepted back by `::pg_lsn`. */
export function formatLsn(lsn: Lsn): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffff_ffffn).toString(16).toUpperCase()}`;
}

/** The order of `b` relative to `a`; LSNs compare as integers, never as text (9/FF < 10/0). */
export function order(a: Position, b: Position): Order {
  if (a.systemId !== b.systemId) return 'other_cluster';
  if (a.timeline !== b.timeline) return 'other_timeline';
  if (a.lsn === b.lsn) return 'same';
  return b.lsn < a.lsn ? 'before' : 'after';
}

/**
 * How one timeline came about: the timelines before it, oldest first, and where each of them ended.
 * Positions of an ancestor up to its end are part of the timeline's own history; what an ancestor's
 * server wrote beyond it is not.
 */
export type History = {
  systemId: bigint;
  timeline: number;
  ancestors: readonly Ancestor[];
};

export type Ancestor = { timeline: number; end: Lsn };

/**
 * Reads `pg_wal/<timeline>.history`: a line for each ancestor, its number, the position of the
 * switch, the reason. Undefined when a line is none of these (PostgreSQL, timeline.c).
 */
export function parseHistory(text: string): Ancestor[] | undefined {
  const ancestors: Ancestor[] = [];
  for (const line of text.split('\n')) {
    const said = line.replace(/#.*/, '').trim();
    if (said === '') continue;
    const [timeline = '', end = ''] = said.split(/\s+/);
    const lsn = parseLsn(end);
    if (!/^\d+$/.test(timeline) || lsn === undefined) return undefined;
    ancestors.push({ timeline: Number(timeline), end: lsn });
  }
  return ancestors;
}
