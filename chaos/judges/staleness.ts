/**
 * Was any answer older than it may be, or older than it says?
 *
 * A `bounded` answer shows what was acknowledged longer than its bound before the read was sent, and
 * every answer what was acknowledged longer before than the age that it states. The age is that of the
 * moment of reading, which lies after the sending: so a write that was acknowledged too late for this
 * rule may have been due as well, and is let pass. Between regions an age is as good as their clocks.
 */
import type { History, Operation, Value } from '../history.ts';
import type { Judgement, Violation } from '../run-record.ts';
import {
  bySubject,
  type CellShown,
  cellShown,
  hasPut,
  isWrite,
  type LogShown,
  logsShown,
  type Place,
  putsOf,
  upsert,
} from './contents.ts';
import { lossBetween } from './eras.ts';
import { idsOf, inWords, ms } from './in-words.ts';
import { judgement } from './judgement.ts';

export type StalenessOptions = {
  /** By how much the clocks of two regions may differ. */
  clocksDifferMs?: number;
};

const PROMISES = {
  asked: 'bounded is never older than that',
  told: 'an answer states its age',
} as const;

export function staleness(
  history: History,
  { clocksDifferMs = 0 }: StalenessOptions = {},
): Judgement {
  const violations: Violation[] = [];
  let checked = 0;
  for (const [subject, operations] of bySubject(history.operations)) {
    const writes = writesOf(operations);
    for (const reader of operations) {
      if (reader.outcome.kind !== 'ok' || isWrite(reader)) continue;
      const ages = agesOf(reader);
      if (ages.length === 0) continue;
      checked++;
      for (const { what, ageMs } of ages) {
        const dueMs = reader.invokedAtMs - ageMs - clocksDifferMs;
        const missing = firstMissing(history, writes, reader, dueMs);
        if (missing === undefined) continue;
        const { place, writer } = missing;
        const earlier = ms(reader.invokedAtMs - writer.endedAtMs);
        const rule = what === 'asked' ? 'was to be no older than' : 'says that it is as old as';
        violations.push({
          promise: PROMISES[what],
          says: `${place} of ${subject}: ${inWords(writer)}; ${earlier} ms after that was acknowledged ${inWords(reader)}, which ${rule} ${ms(ageMs)} ms and does not show it.`,
          operations: idsOf([writer, reader]),
        });
        break;
      }
    }
  }
  return judgement({
    judge: 'bounded-staleness',
    checked,
    violations,
    nothing: 'no answer was bounded or stated its age',
  });
}

function agesOf({ level, maxStalenessMs, told }: Operation) {
  const ages: { what: keyof typeof PROMISES; ageMs: number }[] = [];
  if (level === 'bounded' && maxStalenessMs !== undefined) {
    ages.push({ what: 'asked', ageMs: maxStalenessMs });
  }
  if (told?.stalenessMs !== undefined) ages.push({ what: 'told', ageMs: told.stalenessMs });
  return ages;
}

type Writes = ReadonlyMap<Place, { writer: Operation; value: Value }[]>;

/** Acknowledged, in the order in which that was told. */
function writesOf(operations: readonly Operation[]): Writes {
  const writes = new Map<Place, { writer: Operation; value: Value }[]>();
  for (const writer of operations) {
    if (!hasPut(writer)) continue;
    for (const { place, value } of putsOf(writer)) {
      upsert(writes, place, () => []).push({ writer, value });
    }
  }
  for (const each of writes.values()) {
    each.sort((a, b) => a.writer.endedAtMs - b.writer.endedAtMs);
  }
  return writes;
}

function firstMissing(
  history: History,
  writes: Writes,
  reader: Operation,
  dueMs: number,
): { place: Place; writer: Operation } | undefined {
  for (const shown of logsShown(reader)) {
    const writer = missingFromLog(history, writes, shown, reader, dueMs);
    if (writer !== undefined) return { place: shown.place, writer };
  }
  const cell = cellShown(reader);
  if (cell === undefined) return undefined;
  const writer = overwrote(history, writes, cell, reader, dueMs);
  return writer === undefined ? undefined : { place: cell.place, writer };
}

function missingFromLog(
  history: History,
  writes: Writes,
  { place, values }: LogShown,
  reader: Operation,
  dueMs: number,
): Operation | undefined {
  const known = new Set(values);
  for (const { writer, value } of writes.get(place) ?? []) {
    if (writer.endedAtMs >= dueMs) return undefined;
    if (!known.has(value) && !lossBetween(history, writer, reader)) return writer;
  }
  return undefined;
}

/** What shows that the cell was older: it had been overwritten, and that was due. */
function overwrote(
  history: History,
  writes: Writes,
  { place, value }: CellShown,
  reader: Operation,
  dueMs: number,
): Operation | undefined {
  const all = writes.get(place) ?? [];
  const shown = all.find((write) => write.value === value)?.writer;
  // The value of an unknown write: it may have been done last.
  if (value !== undefined && shown === undefined) return undefined;
  for (const { writer } of all) {
    if (writer.endedAtMs >= dueMs) return undefined;
    if (shown !== undefined && shown.endedAtMs >= writer.invokedAtMs) continue;
    if (!lossBetween(history, writer, reader)) return writer;
  }
  return undefined;
}
