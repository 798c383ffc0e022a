/**
 * When did what last over a run: faults, primaries, incidents and violations?
 *
 * Bars along the time of the run. A few faults have a row each; of many, those of one kind share one.
 */
import type { FaultSpan, Incident, Look, RunRecord } from '../run-record.ts';
import { barLabel, insideLabel, percent, widthOnNarrow } from './drawing.ts';
import { count, counted, duration, moment } from './figures.ts';
import { cut, html, type Markup } from './markup.ts';

export type Band = {
  title: string;
  /** What its signs mean. */
  legend: Markup;
  heightPx: number;
  drawing: Markup;
  says: string;
};

/** Each with a row of its own. */
const FAULT_ROWS_MAX = 12;
const KINDS_MAX = 12;
/** More lines where something struck at once would hide what is drawn before them. */
const STRUCK_MAX = 24;
/** More shades behind everything are a pattern and no help; the faults have their rows. */
const SHADES_MAX = 60;
/** In a row of more than these, signs are small. */
const LARGE_SIGNS_MAX = 12;
const ROW_PX = 30;
/** Bars nearer than this cannot be told apart; where there are many, they are drawn as one. */
const JOINED_SHARE = 1 / 1_500;
const SEGMENTS_MAX = 200;
const VIOLATION_ROWS_MAX = 8;
export const LABEL_LENGTH_MAX = 90;

export function faultsBand(faults: readonly FaultSpan[], endMs: number): Band | undefined {
  if (faults.length === 0) return undefined;
  const numbered = faults.map((fault, index) => ({ ...fault, number: index + 1 }));
  const rows =
    faults.length <= FAULT_ROWS_MAX
      ? numbered.map((fault) => ({
          words: `F${fault.number} ${cut(fault.says, LABEL_LENGTH_MAX)}, ${lasted(fault)}`,
          brief: `F${fault.number} ${cut(fault.says, LABEL_LENGTH_MAX)}`,
          members: [fault],
        }))
      : kinds(numbered);
  return {
    title: 'Faults',
    legend: html`<p class="key"><svg class="sign" aria-hidden="true"><rect class="fault" x="1" y="3" width="14" height="8"/></svg>while it lasted</p>
<p class="key"><svg class="sign" aria-hidden="true"><path class="fault" d="M8 1 15 7 8 13 1 7Z"/></svg>over at once</p>
<p class="key"><svg class="sign" aria-hidden="true"><rect class="fault idle" x="1.5" y="3.5" width="13" height="7"/></svg>nothing shows that it bit</p>`,
    heightPx: rows.length * ROW_PX + 2,
    drawing: html`${rows.map(({ words, brief, members }, row) => {
      const first = members[0];
      const reach =
        first === undefined || members.length > 1 ? ([0, 1] as const) : reachOf(first, endMs);
      return html`${barLabel(words, reach, row * ROW_PX + 12, { brief })}${bars(members, endMs, row * ROW_PX + 17)}`;
    })}`,
    says: `${counted(faults.length, 'fault')}: ${rows.map(({ words }) => words).join('; ')}.`,
  };
}

/** Behind everything: the time under faults, and a line where one struck at once. */
export function faultShade(faults: readonly FaultSpan[], endMs: number): Markup {
  const lasting = joined(
    faults.flatMap(({ fromMs, untilMs }) =>
      untilMs === undefined ? [] : [[fromMs / endMs, untilMs / endMs] as const],
    ),
  );
  const struck = joined(
    faults.flatMap(({ fromMs, untilMs }) =>
      untilMs === undefined ? [[fromMs / endMs, fromMs / endMs] as const] : [],
    ),
  );
  const lines = struck.length > STRUCK_MAX ? [] : struck;
  const shades = lasting.length > SHADES_MAX ? [] : lasting;
  return html`${shades.map(([from, to]) => html`<rect class="shade" x="${percent(from)}" y="0" width="${percent(to - from)}" height="100%"/>`)}${lines.map(([at]) => html`<line class="struck" x1="${percent(at)}" x2="${percent(at)}" y1="0" y2="100%"/>`)}`;
}

export function primariesBand({ looks, regions }: RunRecord, endMs: number): Band | undefined {
  const byRegion = Map.groupBy(looks, ({ region }) => region);
  const known = regions.map(({ id }) => id).filter((id) => byRegion.has(id));
  const seen = [...known, ...[...byRegion.keys()].filter((id) => !known.includes(id)).sort()];
  if (seen.length === 0) return undefined;
  const rows = seen.map((region) => ({
    region,
    segments: reigns(byRegion.get(region) ?? [], endMs),
  }));
  return {
    title: 'Primary of each region',
    legend: html`<p class="key"><svg class="sign" aria-hidden="true"><rect class="reign" x="1" y="1" width="14" height="12"/></svg>commits wait for a standby</p>
<p class="key"><svg class="sign" aria-hidden="true"><rect class="reign next" x="1" y="1" width="14" height="12"/></svg>after a change</p>
<p class="key"><svg class="sign" aria-hidden="true"><rect class="reign" x="1" y="1" width="14" height="12"/><rect class="alone" x="1" y="1" width="14" height="12"/></svg>alone: commits wait for nobody</p>
<p class="key"><svg class="sign" aria-hidden="true"><line class="absent" x1="0" x2="16" y1="7" y2="7"/></svg>no primary seen</p>`,
    heightPx: rows.length * (ROW_PX + 6) + 2,
    drawing: html`${rows.map(({ region, segments }, row) => {
      const top = row * (ROW_PX + 6);
      return html`${barLabel(summary(region, segments), [0, 1], top + 12)}<line class="absent" x1="0" x2="100%" y1="${top + 24.5}" y2="${top + 24.5}"/>${segments.map((segment) => reignBar(segment, top + 17))}`;
    })}`,
    says: rows.map(({ region, segments }) => story(region, segments)).join(' '),
  };
}

export function incidentsBand(incidents: readonly Incident[], endMs: number): Band | undefined {
  if (incidents.length === 0) return undefined;
  let drawnTo = -1;
  const marks = incidents
    .map((incident, index) => ({ ...incident, number: index + 1 }))
    .toSorted((a, b) => a.atMs - b.atMs)
    .map(({ atMs, says, number }) => {
      const at = atMs / endMs;
      const words = String(number);
      const isFree = at >= drawnTo;
      if (isFree) drawnTo = at + widthOnNarrow(words) + 0.005;
      const anchor = at > 0.97 ? 'end' : 'start';
      const shift = anchor === 'end' ? -5 : 5;
      return html`<svg x="${percent(at)}" overflow="visible"><g><title>${moment(atMs)}: ${cut(says, LABEL_LENGTH_MAX)}</title><line class="incident" x1="0" x2="0" y1="3" y2="21"/>${isFree ? html`<text class="label" x="${shift}" y="16" text-anchor="${anchor}">${words}</text>` : undefined}</g></svg>`;
    });
  return {
    title: 'Incidents',
    legend: html`<p class="key">promotions, processes, policies; <a href="#incidents">the list</a> has their numbers</p>`,
    heightPx: 24,
    drawing: html`${thinned(marks)}`,
    says: `${counted(incidents.length, 'incident')}, listed below.`,
  };
}

export type DrawnViolation = { number: number; fromMs: number; untilMs: number; says: string };

export function violationsBand(
  violations: readonly DrawnViolation[],
  endMs: number,
): Band | undefined {
  if (violations.length === 0) return undefined;
  const ends: number[] = [];
  const drawn = violations.map(({ number, fromMs, untilMs, says }) => {
    const words = `V${number}`;
    const [from, to] = [fromMs / endMs, untilMs / endMs];
    const room = widthOnNarrow(words) + 0.05;
    const labelFirst = to + room > 1;
    const left = labelFirst ? from - room : from - 0.02;
    const right = labelFirst ? to + 0.02 : to + room;
    const free = ends.findIndex((end) => end <= left);
    const row = free >= 0 ? free : ends.length < VIOLATION_ROWS_MAX ? ends.length : -1;
    if (row >= 0) ends[row] = right;
    const y = Math.max(0, row) * 18 + 9;
    const label =
      row < 0
        ? undefined
        : html`<text class="label broken" x="${labelFirst ? -8 : 8}" y="4" text-anchor="${labelFirst ? 'end' : 'start'}">${words}</text>`;
    return html`<a href="#violation-${number}"><title>Violation ${number}: ${cut(says, LABEL_LENGTH_MAX)}</title><line class="broken" x1="${percent(from)}" x2="${percent(to)}" y1="${y}" y2="${y}"/><svg x="${percent(from)}" y="${y}" overflow="visible"><circle class="broken" r="2.5"/></svg><svg x="${percent(to)}" y="${y}" overflow="visible"><path class="broken" d="M-4-4 4 4M-4 4 4-4"/>${labelFirst ? undefined : label}</svg>${labelFirst ? html`<svg x="${percent(from)}" y="${y}" overflow="visible">${label}</svg>` : undefined}</a>`;
  });
  return {
    title: 'Violations',
    legend: html`<p class="key">from the first to the last of the operations that contradict each other</p>`,
    heightPx: Math.max(1, ends.length) * 18 + 2,
    drawing: html`${drawn}`,
    says: `${counted(violations.length, 'violation')} drawn, told below.`,
  };
}

function lasted({ fromMs, untilMs }: FaultSpan): string {
  return untilMs === undefined
    ? `at ${duration(fromMs)}`
    : `${duration(fromMs)} to ${duration(untilMs)}`;
}

function reachOf({ fromMs, untilMs }: FaultSpan, endMs: number): readonly [number, number] {
  return [fromMs / endMs, (untilMs ?? fromMs) / endMs];
}

type Row = { words: string; brief: string; members: FaultSpan[] };

function kinds(faults: readonly FaultSpan[]): Row[] {
  const rowOf = (words: string, members: FaultSpan[]) => ({ words, brief: words, members });
  const groups = [...Map.groupBy(faults, ({ kind }) => kind)].sort(
    ([, a], [, b]) => b.length - a.length,
  );
  const rows = groups
    .slice(0, KINDS_MAX)
    .map(([kind, members]) =>
      rowOf(`${cut(kind, LABEL_LENGTH_MAX)}, ${times(members.length)}`, members),
    );
  const rest = groups.slice(KINDS_MAX).flatMap(([, members]) => members);
  return rest.length === 0
    ? rows
    : [
        ...rows,
        rowOf(
          `of ${counted(groups.length - KINDS_MAX, 'other kind')}, ${times(rest.length)}`,
          rest,
        ),
      ];
}

function times(value: number): string {
  return value === 1 ? 'once' : `${count(value)} times`;
}

function bars(faults: readonly FaultSpan[], endMs: number, yPx: number): Markup[] {
  const diamond = faults.length > LARGE_SIGNS_MAX ? 'M0-4 4 0 0 4-4 0Z' : 'M0-6 7 0 0 6-7 0Z';
  const drawn = faults.map((fault) => {
    const [from, to] = reachOf(fault, endMs);
    const tone = fault.evidence === undefined ? 'fault idle' : 'fault';
    return fault.untilMs === undefined
      ? html`<svg x="${percent(from)}" y="${yPx + 4}" overflow="visible"><path class="${tone}" d="${diamond}"/></svg>`
      : html`<rect class="${tone}" x="${percent(from)}" y="${yPx}" width="${percent(to - from)}" height="8"/>`;
  });
  return faults.length > 1 ? thinned(drawn) : drawn;
}

/** Those that would be drawn at the very same place are drawn once. */
function thinned(marks: readonly Markup[]): Markup[] {
  return [...new Map(marks.map((mark) => [mark.toString(), mark])).values()];
}

function joined(spans: readonly (readonly [number, number])[]): [number, number][] {
  const found: [number, number][] = [];
  for (const [from, to] of spans.toSorted(([a], [b]) => a - b)) {
    const last = found.at(-1);
    if (last !== undefined && from <= last[1] + JOINED_SHARE) last[1] = Math.max(last[1], to);
    else found.push([from, to]);
  }
  return found;
}

type Reign = {
  fromMs: number;
  untilMs: number;
  from: number;
  to: number;
  primary: string;
  timeline: number | undefined;
  alone: boolean;
  /** How many other primaries or timelines there were before it. */
  changes: number;
};

function reigns(looks: readonly Look[], endMs: number): Reign[] {
  const found: Reign[] = [];
  let open: Reign | undefined;
  for (const { atMs, primary, timeline, alone = false } of looks.toSorted(
    (a, b) => a.atMs - b.atMs,
  )) {
    if (open !== undefined) [open.untilMs, open.to] = [atMs, atMs / endMs];
    if (primary === undefined) {
      open = undefined;
      continue;
    }
    const before = found.at(-1);
    const isSame = before?.primary === primary && before.timeline === timeline;
    if (open !== undefined && isSame && open.alone === alone) continue;
    const changes = before === undefined ? 0 : before.changes + (isSame ? 0 : 1);
    const span = { fromMs: atMs, untilMs: atMs, from: atMs / endMs, to: atMs / endMs };
    open = { ...span, primary, timeline, alone, changes };
    found.push(open);
  }
  // The last look stands for what came after it.
  if (open !== undefined) [open.untilMs, open.to] = [endMs, 1];
  const longEnough = ({ from, to }: Reign) => to - from >= JOINED_SHARE;
  return found.length > SEGMENTS_MAX ? found.filter(longEnough).slice(0, SEGMENTS_MAX) : found;
}

function reignBar({ from, to, primary, timeline, alone, changes }: Reign, yPx: number): Markup {
  const place = html`x="${percent(from)}" y="${yPx}" width="${percent(to - from)}" height="15"`;
  const words = `${primary}${timeline === undefined ? '' : ` · timeline ${timeline}`}${alone ? ' · alone' : ''}`;
  const short = `${primary}${timeline === undefined ? '' : ` · ${timeline}`}`;
  const long = insideLabel(cut(words, LABEL_LENGTH_MAX), [from, to], yPx + 11.5);
  return html`<g><title>${cut(words, LABEL_LENGTH_MAX)}</title><rect class="reign${changes % 2 === 1 ? ' next' : ''}" ${place}/>${alone ? html`<rect class="alone" ${place}/>` : undefined}${
    long.toString() === ''
      ? insideLabel(cut(short, LABEL_LENGTH_MAX), [from, to], yPx + 11.5)
      : long
  }</g>`;
}

function summary(region: string, segments: readonly Reign[]): string {
  const changes = segments.at(-1)?.changes ?? 0;
  const aloneMs = segments.reduce(
    (sum, { alone, fromMs, untilMs }) => sum + (alone ? untilMs - fromMs : 0),
    0,
  );
  const alone = aloneMs > 0 ? `, ${duration(aloneMs)} alone` : '';
  return `${cut(region, 24)}: ${changes === 0 ? 'no change' : counted(changes, 'change')}${alone}`;
}

function story(region: string, segments: readonly Reign[]): string {
  const told = segments
    .slice(0, 10)
    .map(
      ({ primary, timeline, alone, fromMs, untilMs }) =>
        `${primary}${timeline === undefined ? '' : ` on timeline ${timeline}`}${alone ? ', alone,' : ''} from ${duration(fromMs)} to ${duration(untilMs)}`,
    );
  const left = segments.length - told.length;
  return `Primary of ${region}: ${told.join('; ')}${left > 0 ? `; and ${left} more spans` : ''}.`;
}
