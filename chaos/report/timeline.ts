/**
 * How do faults and everything that was measured lie beside each other over the time of a run?
 *
 * One grid: labels and legends at the left (above, on a narrow screen), drawings at the right, all on
 * the same time axis, with the time under faults shaded behind all of them. The figures stand in a
 * table as well, for whoever cannot see or will not guess them; the read-out takes them from there.
 */
import type { FaultSpan, Incident, RunRecord } from '../run-record.ts';
import {
  type Band,
  type DrawnViolation,
  faultShade,
  faultsBand,
  incidentsBand,
  LABEL_LENGTH_MAX,
  primariesBand,
  violationsBand,
} from './bands.ts';
import { percent } from './drawing.ts';
import { axisTime, duration, moment } from './figures.ts';
import { type Lane, lanes, type Series } from './lanes.ts';
import { cut, html, type Markup } from './markup.ts';
import type { Bucket, Buckets } from './time-buckets.ts';

const TICKS_MAX = 12;
/** In one slice of the table. */
const NAMED_MAX = 4;

export function timeline(
  record: RunRecord,
  buckets: Buckets,
  violations: readonly DrawnViolation[],
): Markup {
  const { faults, incidents } = record;
  const { endMs } = buckets;
  const drawn = lanes(record, buckets);
  const numbered = drawn.flatMap(({ series }) => series);
  const axis = timeAxis(endMs);
  const shade = html`<svg class="behind" width="100%" height="100%" aria-hidden="true">${axis.lines}${faultShade(faults, endMs)}<line class="cross" x1="0" x2="0" y1="0" y2="100%" visibility="hidden"/></svg>`;
  return html`<svg class="defs" width="0" height="0" aria-hidden="true"><defs><pattern id="hatch" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch" width="2.5" height="6"/></pattern></defs></svg>
<div class="timeline" id="timeline">
${shade}
<p class="readout" id="readout" hidden><span id="readout-time"></span> <span id="readout-says"></span></p>
${bandRow(faultsBand(faults, endMs))}
${axisRow(axis)}
${drawn.map((lane) => laneRow(lane, numbered))}
${bandRow(primariesBand(record, endMs))}
${bandRow(incidentsBand(incidents, endMs))}
${bandRow(violationsBand(violations, endMs))}
${axisRow(axis)}
</div>
${figuresTable(buckets, drawn, numbered, faults, incidents)}`;
}

function bandRow(band: Band | undefined): Markup {
  if (band === undefined) return html``;
  const { title, legend, heightPx, drawing, says } = band;
  const role = title === 'Violations' ? html`role="group"` : html`role="img"`;
  return html`<div class="about"><h3>${title}</h3>${legend}</div>
<div class="plot"><svg class="lane" width="100%" height="${heightPx}" ${role} aria-label="${cut(says, 1_500)}">${drawing}</svg></div>`;
}

function laneRow(
  { title, unit, series, heightPx, drawing, says }: Lane,
  numbered: readonly Series[],
): Markup {
  return html`<div class="about"><h3>${title}</h3><p class="unit">${unit}</p><ul class="legend">${series.map(
    (one) =>
      html`<li><svg class="sign ${one.tone}" aria-hidden="true"><line class="line ${one.tone}" x1="0" x2="16" y1="7" y2="7"/></svg>${cut(one.name, 24)} <output data-column="${numbered.indexOf(one) + 3}"></output></li>`,
  )}</ul></div>
<div class="plot"><svg class="lane" width="100%" height="${heightPx}" role="img" aria-label="${says}">${drawing}</svg></div>`;
}

type Axis = { lines: Markup; labels: Markup };

function timeAxis(endMs: number): Axis {
  const stepMs = axisStepMs(endMs);
  const marks: number[] = [];
  for (let ms = 0; ms <= endMs; ms += stepMs) marks.push(ms);
  return {
    lines: html`${marks.map((ms) => html`<line class="mark" x1="${percent(ms / endMs)}" x2="${percent(ms / endMs)}" y1="0" y2="100%"/>`)}`,
    labels: html`${marks.map((ms, index) => {
      const share = ms / endMs;
      const anchor = index === 0 ? 'start' : share > 0.96 ? 'end' : 'middle';
      // Every second one on a narrow screen.
      return html`<text class="tick ${index % 2 === 1 ? 'on-wide' : ''}" x="${percent(share)}" y="13" text-anchor="${anchor}">${axisTime(ms, stepMs)}</text>`;
    })}`,
  };
}

/** Steps of which a person can tell the next: 1, 2 or 5 of a unit, or parts of a minute. */
export function axisStepMs(endMs: number): number {
  const steps = [1, 2, 5].flatMap((factor) => [1, 10, 100, 1_000].map((scale) => factor * scale));
  const long = [10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600].map((seconds) => seconds * 1_000);
  const all = [...steps, ...long].sort((a, b) => a - b);
  const hourMs = 3_600_000;
  return (
    all.find((step) => endMs / step <= TICKS_MAX) ?? Math.ceil(endMs / TICKS_MAX / hourMs) * hourMs
  );
}

function axisRow({ labels }: Axis): Markup {
  return html`<div class="about axis"><p class="unit">time since the run began</p></div>
<div class="plot axis" aria-hidden="true"><svg class="lane" width="100%" height="18">${labels}</svg></div>`;
}

function figuresTable(
  { list, widthMs, endMs }: Buckets,
  drawn: readonly Lane[],
  numbered: readonly Series[],
  faults: readonly FaultSpan[],
  incidents: readonly Incident[],
): Markup {
  const heads = drawn.map(
    ({ title, series }) => html`<th scope="colgroup" colspan="${series.length}">${title}</th>`,
  );
  return html`<details class="figures"><summary>The figures behind the timeline, in slices of ${duration(widthMs)}</summary>
<div class="scroll" tabindex="0" role="region" aria-label="Figures of the timeline"><table class="dense" id="figures" data-end="${endMs}" data-width="${widthMs}">
<thead><tr><th rowspan="2" scope="col">From</th><th rowspan="2" scope="col">Faults</th><th rowspan="2" scope="col">Incidents</th>${heads}</tr>
<tr>${numbered.map(({ name }) => html`<th scope="col">${cut(name, 24)}</th>`)}</tr></thead>
<tbody>
${list.map(
  (
    bucket,
    index,
  ) => html`<tr><th scope="row">${moment(bucket.fromMs).replace(/\.?0+ s$/, ' s')}</th><td>${faultsIn(faults, bucket)}</td><td>${incidentsIn(incidents, bucket, index === list.length - 1)}</td>${numbered.map(
    ({ values, written }) => {
      const value = values[index];
      return html`<td>${value === undefined ? undefined : written(value)}</td>`;
    },
  )}</tr>
`,
)}</tbody></table></div></details>`;
}

function faultsIn(faults: readonly FaultSpan[], { fromMs, untilMs }: Bucket): string {
  return named(
    faults.flatMap((fault, index) => {
      const over = fault.untilMs ?? fault.fromMs;
      const isIn = fault.fromMs < untilMs && over >= fromMs;
      return isIn ? [`F${index + 1} ${cut(fault.says, LABEL_LENGTH_MAX)}`] : [];
    }),
  );
}

function incidentsIn(
  incidents: readonly Incident[],
  { fromMs, untilMs }: Bucket,
  isLast: boolean,
): string {
  return named(
    incidents.flatMap(({ atMs, says }) =>
      atMs >= fromMs && (isLast || atMs < untilMs) ? [cut(says, LABEL_LENGTH_MAX)] : [],
    ),
  );
}

function named(all: readonly string[]): string {
  const left = all.length - NAMED_MAX;
  return [...all.slice(0, NAMED_MAX), ...(left > 0 ? [`${left} more`] : [])].join('; ');
}
