/**
 * Did the system feel a fault?
 *
 * What a scenario asks of a run, beside what each fault says of itself. Each answer is a sentence
 * with figures, or none.
 */
import type { Operation } from './history.ts';
import type { FaultSpan } from './run-record.ts';
import type { Seen } from './scenario.ts';

export type Some = {
  home?: string;
  edge?: string;
  /** At an edge that is not at home. */
  abroad?: boolean;
  kind?: Operation['action']['kind'];
  level?: Operation['level'];
};

/** Operations that overlapped a fault and did not end well, or only with another attempt. */
export function hampered(seen: Seen, some: Some = {}): string[] {
  const during = chosen(seen, some).filter((one) =>
    seen.faults.some((span) => overlaps(one, span)),
  );
  const failed = during.filter(({ outcome, attempts }) => outcome.kind !== 'ok' || attempts > 1);
  if (failed.length === 0) return [];
  const kinds = new Map<string, number>();
  for (const { outcome, told } of failed) {
    const what = outcome.kind === 'ok' ? 'repeated' : (told?.problem ?? outcome.because);
    kinds.set(what, (kinds.get(what) ?? 0) + 1);
  }
  const listed = [...kinds].sort((a, b) => b[1] - a[1]).slice(0, 4);
  const words = listed.map(([what, count]) => `${count} ${what}`).join(', ');
  return [
    `${failed.length} of ${during.length} operations${someText(some)} did not go well: ${words}`,
  ];
}

/** Operations that took longer than any at rest would. */
export function slower(seen: Seen, thanMs: number, some: Some = {}): string[] {
  const during = chosen(seen, some).filter((one) =>
    seen.faults.some((span) => overlaps(one, span)),
  );
  const slow = during.filter(({ invokedAtMs, endedAtMs }) => endedAtMs - invokedAtMs > thanMs);
  return slow.length === 0
    ? []
    : [`${slow.length} of ${during.length} operations${someText(some)} took over ${thanMs} ms`];
}

/** A primary was replaced. */
export function promoted({ looks }: Seen, region: string): string[] {
  const timelines = looks.flatMap((look) =>
    look.region === region && look.timeline !== undefined ? [look.timeline] : [],
  );
  const [first = 0, last = 0] = [timelines[0], timelines.at(-1)];
  return last > first ? [`the timeline of ${region} grew from ${first} to ${last}`] : [];
}

/** A region acknowledged what is on one machine only, having said so. */
export function ranAlone({ looks }: Seen, region: string): string[] {
  const count = looks.filter((look) => look.region === region && look.alone === true).length;
  return count === 0 ? [] : [`${region} ran alone at ${count} looks`];
}

/** A replica had so much left to replay. */
export function lagged({ looks }: Seen, region: string, bytes: number): string[] {
  const most = Math.max(
    0,
    ...looks.flatMap((look) => (look.region === region ? Object.values(look.lagBytes ?? {}) : [])),
  );
  return most < bytes ? [] : [`a replica of ${region} had ${most} bytes left to replay`];
}

/** Answers carried this decision, such as `forward`, while a fault lasted. */
export function decided(seen: Seen, pattern: RegExp, some: Some = {}): string[] {
  const found = chosen(seen, some).filter(
    (one) =>
      seen.faults.some((span) => overlaps(one, span)) && pattern.test(one.told?.decision ?? ''),
  );
  return found.length === 0
    ? []
    : [`${found.length} operations${someText(some)} were decided ${pattern.source}`];
}

/** Something that onlookers noted. */
export function noted({ incidents }: Seen, pattern: RegExp): string[] {
  return incidents.filter(({ says }) => pattern.test(says)).map(({ says }) => says);
}

function overlaps({ invokedAtMs, endedAtMs }: Operation, { fromMs, untilMs }: FaultSpan): boolean {
  // A kill is over at once; what was under way or came just after felt it.
  return endedAtMs >= fromMs && invokedAtMs <= (untilMs ?? fromMs + KILL_FELT_MS);
}

const KILL_FELT_MS = 5_000;

function chosen({ operations }: Seen, { home, edge, abroad, kind, level }: Some): Operation[] {
  return operations.filter(
    (one) =>
      (home === undefined || one.home === home) &&
      (edge === undefined || one.edge === edge) &&
      (abroad === undefined || (one.edge !== one.home) === abroad) &&
      (kind === undefined || one.action.kind === kind) &&
      (level === undefined || one.level === level),
  );
}

function someText({ home, edge, abroad, kind, level }: Some): string {
  const words = [
    level,
    kind,
    home === undefined ? undefined : `of ${home}`,
    edge === undefined ? undefined : `at ${edge}`,
    abroad === true ? 'abroad' : undefined,
  ].filter((word) => word !== undefined);
  return words.length === 0 ? '' : ` (${words.join(', ')})`;
}
