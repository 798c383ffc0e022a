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

/** All of them, or nothing: a run in which one part is missing is another one. */
export function all(...felt: readonly (readonly string[])[]): readonly string[] {
  return felt.some((one) => one.length === 0) ? [] : felt.flat();
}

/** Operations that overlapped a fault, however they ended: for faults that nobody is to feel. */
export function during(seen: Seen, some: Some = {}): string[] {
  const count = chosen(seen, some).filter((one) =>
    seen.faults.some((span) => overlaps(one, span)),
  ).length;
  return count === 0 ? [] : [`${count} operations${someText(some)} meanwhile`];
}

/** Operations that overlapped a fault and did not end well, or only with another attempt. */
export function hampered(seen: Seen, some: Some = {}): string[] {
  const met = chosen(seen, some).filter((one) => seen.faults.some((span) => overlaps(one, span)));
  const failed = met.filter(({ outcome, attempts }) => outcome.kind !== 'ok' || attempts > 1);
  if (failed.length === 0) return [];
  const kinds = new Map<string, number>();
  for (const { outcome, told } of failed) {
    const what = outcome.kind === 'ok' ? 'repeated' : (told?.problem ?? outcome.because);
    kinds.set(what, (kinds.get(what) ?? 0) + 1);
  }
  const listed = [...kinds].sort((a, b) => b[1] - a[1]).slice(0, 4);
  const words = listed.map(([what, count]) => `${count} ${what}`).join(', ');
  return [
    `${failed.length} of ${met.length} operations${someText(some)} did not go well: ${words}`,
  ];
}

/** Operations that took longer than any at rest would. */
export function slower(seen: Seen, thanMs: number, some: Some = {}): string[] {
  const met = chosen(seen, some).filter((one) => seen.faults.some((span) => overlaps(one, span)));
  const slow = met.filter(({ invokedAtMs, endedAtMs }) => endedAtMs - invokedAtMs > thanMs);
  return slow.length === 0
    ? []
    : [`${slow.length} of ${met.length} operations${someText(some)} took over ${thanMs} ms`];
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

/** Sessions were told that something they had seen is lost. */
export function toldOfLoss({ operations }: Seen, home: string): string[] {
  const told = operations.filter((one) => one.home === home && one.guaranteeLost === true).length;
  return told === 0 ? [] : [`${told} operations of ${home} were told that their session has lost`];
}

/** A replica had so much left to replay. */
export function lagged({ looks }: Seen, region: string, bytes: number): string[] {
  const most = Math.max(
    0,
    ...looks.flatMap((look) => (look.region === region ? Object.values(look.lagBytes ?? {}) : [])),
  );
  return most < bytes ? [] : [`a replica of ${region} had ${most} bytes left to replay`];
}

/** The edge of a region had to open so many connections anew while faults lasted. */
export function reconnected({ looks, faults }: Seen, region: string, atLeast: number): string[] {
  const fromMs = Math.min(...faults.map((span) => span.fromMs));
  const untilMs = Math.max(...faults.map((span) => span.untilMs ?? span.fromMs + KILL_FELT_MS));
  const counts = looks.flatMap(({ region: its, atMs, opened }) =>
    its === region && opened !== undefined && atMs >= fromMs && atMs <= untilMs ? [opened] : [],
  );
  const grew = Math.max(...counts) - Math.min(...counts);
  return grew >= atLeast ? [`the edge of ${region} opened ${grew} connections anew`] : [];
}

/**
 * Other regions' copies of a home were so old while faults lasted, at half of the looks: one look at
 * an old one is had on a busy machine as well.
 */
export function copiesAged({ looks, faults }: Seen, home: string, ms: number): string[] {
  const fromMs = Math.min(...faults.map((span) => span.fromMs));
  const untilMs = Math.max(...faults.map((span) => span.untilMs ?? span.fromMs + KILL_FELT_MS));
  const ages = looks
    .filter(({ atMs }) => atMs >= fromMs && atMs <= untilMs)
    .flatMap(({ copyAgeMs }) => copyAgeMs?.[home] ?? [])
    .sort((a, b) => a - b);
  const middle = ages[Math.floor(ages.length / 2)] ?? 0;
  if (middle < ms) return [];
  return [
    `copies of ${home} were over ${Math.round(middle)} ms old at half of ${ages.length} looks, and up to ${Math.round(ages.at(-1) ?? 0)} ms`,
  ];
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
