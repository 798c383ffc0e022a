/**
 * How does a report look, on a wide screen, a narrow one, in the dark and on paper?
 *
 * Colours are those of Okabe and Ito, which people with any colour vision can tell apart, and none of
 * them carries a meaning that words or shapes do not.
 */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --soft: #f4f5f7; --ink: #1b2027; --dim: #59626d; --line: #d7dce2; --faint: #e9ecf0;
  --holds: #00664d; --broken: #b02a00; --inconclusive: #7a5200; --void: #4a525c;
  --blue: #0072b2; --sky: #56b4e9; --green: #009e73; --orange: #e69f00; --red: #d55e00; --pink: #b8548f;
  --grey: #8b95a1; --violet: #5b4db3;
  --shade: #d55e0017; --struck: #d55e00b0; --link: #0a58a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171b; --soft: #1d2127; --ink: #e7eaed; --dim: #9fa9b4; --line: #39414b; --faint: #272d35;
    --holds: #4fd1a5; --broken: #ff9470; --inconclusive: #f0c05a; --void: #b4bdc7;
    --blue: #3d9fe0; --sky: #8fd0f7; --green: #2fc79a; --orange: #f0b429; --red: #f2803a; --pink: #e08fbf;
    --grey: #7d8793; --violet: #a99df5;
    --shade: #f2803a21; --struck: #f2803ab0; --link: #7cb8f5;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 3.5rem; -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; }
main { max-width: 82rem; margin: 0 auto; padding: 2rem 2rem 4rem; }
a { color: var(--link); }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
.over { margin: 0; color: var(--dim); font-size: .9rem; overflow-wrap: anywhere; }
h1 { margin: .15em 0 .6em; font-size: 1.9rem; line-height: 1.2; max-width: 48rem; overflow-wrap: anywhere; text-wrap: balance; }
h2 { margin: 0 0 .6rem; font-size: 1.25rem; line-height: 1.3; }
h3 { margin: 0; font-size: .95rem; line-height: 1.35; overflow-wrap: anywhere; }
section { margin-top: 3rem; }
section > h2 { border-bottom: 1px solid var(--line); padding-bottom: .35rem; }
p { margin: .4rem 0; overflow-wrap: anywhere; max-width: 62rem; }
.dim, .unit { color: var(--dim); } .dim { font-size: .92em; }
.bad { color: var(--broken); } .unsure { color: var(--inconclusive); }
code, pre { font: .9em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { margin: .3rem 0; background: var(--soft); border-radius: .4rem; padding: .7rem .9rem; white-space: pre-wrap; }
.count { color: var(--dim); font-weight: normal; }

.verdict { display: flex; align-items: center; gap: 1rem; border: 1px solid currentColor; border-left-width: .5rem;
  border-radius: .4rem; padding: .7rem 1rem; max-width: 52rem; }
.verdict p { margin: 0; color: var(--ink); }
.verdict .badge { font-size: 1.5rem; }
.badge { display: inline-flex; align-items: center; gap: .35em; font-weight: 650; white-space: nowrap; }
.badge path { fill: none; stroke: currentColor; stroke-width: 2.2; stroke-linecap: round; stroke-linejoin: round; }
.holds { color: var(--holds); } .broken { color: var(--broken); }
.inconclusive { color: var(--inconclusive); } .void { color: var(--void); }
.verdict.void, .verdict.inconclusive { border-style: dashed; border-left-style: solid; }

.tiles { list-style: none; padding: 0; margin: 1.2rem 0; display: grid; grid-template-columns: repeat(auto-fit, minmax(8.5rem, 1fr)); gap: .6rem; }
.tiles li { background: var(--soft); border-radius: .4rem; padding: .6rem .85rem; color: var(--dim); font-size: .88rem; line-height: 1.35; }
.tiles strong { display: block; color: var(--ink); font-size: 1.4rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.columns { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem 3rem; margin-top: 1.6rem; }
.columns > div { min-width: 0; }
.columns h2 { font-size: 1rem; margin-bottom: .3rem; }
.plain { margin: 0; padding-left: 1.1rem; } .plain li { overflow-wrap: anywhere; margin: .2rem 0; }

.timeline { position: relative; overflow-x: clip; display: grid; grid-template-columns: 13rem minmax(0, 1fr); }
.timeline .behind { position: absolute; top: 0; bottom: 0; left: 16.5rem; width: calc(100% - 16.5rem); height: 100%; pointer-events: none; }
.timeline > .about, .timeline > .plot { padding: .75rem 0 .55rem; position: relative; }
.about { font-size: .84rem; line-height: 1.4; border-top: 1px solid var(--faint); }
.plot { border-top: 1px solid var(--faint); }
.timeline > .plot { padding-left: 3.5rem; }
.about p { margin: 0; }
.timeline > .axis { padding-top: .1rem; padding-bottom: 0; }
.key { display: flex; gap: .45rem; align-items: baseline; color: var(--dim); }
.key a { white-space: nowrap; }
p.key:has(a) { display: block; }
.legend { list-style: none; margin: .25rem 0 0; padding: 0; }
.legend li { min-width: 0; overflow-wrap: anywhere; display: flex; align-items: baseline; gap: .45rem; }
.legend output { margin-left: auto; font-variant-numeric: tabular-nums; font-weight: 600; }
.sign { width: 16px; height: 14px; flex: none; align-self: center; }
.lane { display: block; overflow: visible; }
.defs { position: absolute; }
.readout { grid-column: 1 / -1; position: sticky; top: 0; z-index: 2; margin: 0; max-width: none; padding: .45rem .7rem;
  background: var(--soft); border-radius: .4rem; font-size: .88rem; line-height: 1.4; min-height: 2.1rem; color: var(--dim);
  white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
#readout-time { color: var(--ink); font-weight: 650; font-variant-numeric: tabular-nums; }

svg text { font-size: 11px; fill: var(--ink); font-family: inherit; }
svg .tick { fill: var(--dim); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-opacity: .8; }
svg .label { paint-order: stroke; stroke: var(--paper); stroke-width: 3px; stroke-opacity: .75; stroke-linejoin: round; }
svg .label.dim { fill: var(--dim); font-size: 11px; } svg .label.broken { fill: var(--broken); font-weight: 650; }
svg .label.inside { stroke: none; }
svg .label.lane-name { fill: var(--dim); stroke: none; font-weight: 600; }
.grid { stroke: var(--line); stroke-width: 1; stroke-dasharray: 1 3; }
.absent { stroke: var(--grey); stroke-dasharray: 2 3; }
.mark { stroke: var(--faint); }
.shade { fill: var(--shade); }
.struck { stroke: var(--struck); stroke-width: 1; stroke-dasharray: 4 3; }
.cross { stroke: var(--ink); stroke-width: 1; }
.area { stroke: none; fill: var(--tone); }
.line { fill: none; stroke: var(--tone); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.sign.t-ok .line, .sign.t-fail .line, .sign.t-unknown .line, .sign.t-serve-replica .line, .sign.t-serve-primary .line,
.sign.t-serve-mirror .line, .sign.t-forward .line, .sign.t-redirect .line, .sign.t-refuse .line, .sign.t-other .line,
.sign.t-no-answer .line { stroke-width: 11; }
.t-ok { --tone: var(--blue); } .t-fail { --tone: var(--orange); } .t-unknown { --tone: var(--pink); }
.t-serve-replica { --tone: var(--sky); } .t-serve-primary { --tone: var(--blue); } .t-serve-mirror { --tone: var(--green); }
.t-forward { --tone: var(--grey); } .t-redirect { --tone: var(--violet); } .t-refuse { --tone: var(--orange); }
.t-other { --tone: var(--red); } .t-no-answer { --tone: var(--pink); }
.t-p50 { --tone: var(--blue); } .t-p95 { --tone: var(--green); } .t-p99 { --tone: var(--red); }
.line.t-p99 { stroke-width: 2; } .line.t-p95 { stroke-dasharray: 5 2; }
.t-1 { --tone: var(--blue); } .t-2 { --tone: var(--red); } .t-3 { --tone: var(--green); }
.t-4 { --tone: var(--pink); } .t-5 { --tone: var(--orange); } .t-6 { --tone: var(--violet); }
.line.dash-1 { stroke-dasharray: 6 2; } .line.dash-2 { stroke-dasharray: 2 2; } .line.dash-3 { stroke-dasharray: 8 2 2 2; }
.fault { fill: var(--red); stroke: var(--red); stroke-width: 1; }
.fault.idle { fill: none; stroke-dasharray: 3 2; }
.reign { fill: var(--soft); stroke: var(--grey); } .reign.next { fill: var(--line); }
.alone { fill: url(#hatch); } .hatch { fill: var(--orange); fill-opacity: .75; }
.incident { stroke: var(--ink); stroke-width: 1.5; }
line.broken, path.broken { stroke: var(--broken); stroke-width: 2; fill: none; } circle.broken { fill: var(--broken); }
.on-narrow { display: none; }

/* A bound: a text that is wider than any expected one may not widen the page. */
.violation { overflow-x: clip; border: 1px solid var(--line); border-left: .35rem solid var(--broken); border-radius: .4rem; padding: .9rem 1.1rem; margin: 1rem 0; }
.violation:target { outline: 2px solid var(--broken); }
.violation .number { color: var(--broken); }
.says { font-size: 1.02rem; }
.tag { display: inline-block; border: 1px solid var(--line); border-radius: 1rem; padding: 0 .55rem; color: var(--dim); font-weight: normal; font-size: .82rem; }
.swims { margin: .7rem 0; }
.swim { fill: var(--soft); }
.swim-bar { stroke-width: 1.5; } .swim-bar.ok { fill: var(--blue); stroke: var(--blue); }
.swim-bar.fail { fill: var(--paper); stroke: var(--orange); } .swim-bar.unknown { fill: var(--paper); stroke: var(--pink); stroke-dasharray: 4 3; }
.swim-bar.neighbour { opacity: .45; }
.outcome::before { content: ''; display: inline-block; width: .7em; height: .7em; margin-right: .45em; border: 2px solid var(--tone); border-radius: 2px; }
.outcome.ok { --tone: var(--blue); } .outcome.fail { --tone: var(--orange); } .outcome.unknown { --tone: var(--pink); }
.outcome.ok::before { background: var(--tone); } .outcome.unknown::before { border-style: dashed; }
.brief { white-space: nowrap; }
.judges td:last-child { width: 50%; }
tr.neighbour { color: var(--dim); } tr.neighbour strong { font-weight: normal; }

table { border-collapse: collapse; font-size: .9rem; line-height: 1.4; width: 100%; margin: .6rem 0; }
th, td { text-align: left; padding: .4rem 1rem .4rem 0; border-bottom: 1px solid var(--faint); vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--dim); font-weight: normal; font-size: .84rem; border-color: var(--line); overflow-wrap: normal; }
tbody th { font-weight: normal; } td.strong { font-weight: 600; }
.figure { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.first > * { border-top: 1px solid var(--line); }
.repeated { visibility: hidden; }
.scroll { overflow-x: auto; max-height: 30rem; overflow-y: auto; border: 1px solid var(--line); border-radius: .4rem; }
.dense { font-size: .78rem; margin: 0; width: max-content; min-width: 100%; } .dense th, .dense td { padding: .15rem .6rem; white-space: nowrap; font-variant-numeric: tabular-nums; }
.dense thead th { position: sticky; top: 0; background: var(--paper); }
.dense td { text-align: right; } .dense td:nth-child(-n+3) { text-align: left; }
summary { cursor: pointer; color: var(--link); padding: .35rem 0; }
.figures { margin-top: 1rem; font-size: .9rem; }

@media (max-width: 62rem) {
  .on-wide { display: none; } .on-narrow { display: inline; }
  .timeline { display: block; }
  .timeline .behind { left: 2.9rem; width: calc(100% - 2.9rem); }
  .timeline > .about { padding: .8rem 0 .3rem; background: var(--paper); }
  .timeline > .plot { border-top: 0; padding: .4rem 0 .4rem 2.9rem; }
  .axis.about { display: none; }
  .axis.plot { background: var(--paper); }
  .legend, .about { display: flow-root; }
  .legend { display: flex; flex-wrap: wrap; gap: 0 1.1rem; }
  .legend output { margin-left: 0; min-width: 3.2rem; }
  .key { display: inline-flex; margin-right: 1rem !important; }
  .columns { grid-template-columns: 1fr; }
}
@media (max-width: 46rem) {
  main { padding: 1.1rem 1rem 3rem; }
  h1 { font-size: 1.45rem; }
  .verdict { display: block; }
  .tiles { grid-template-columns: repeat(auto-fit, minmax(7rem, 1fr)); }
  .violation { padding: .8rem .8rem; }
  table.cards thead { display: none; }
  table.cards, .cards tbody, .cards tr, .cards th, .cards td { display: block; width: auto; border: 0; padding: 0; }
  .cards tr { border-bottom: 1px solid var(--line); padding: .55rem 0; }
  .cards tbody th { font-weight: 600; padding-bottom: .15rem; }
  .cards td, .cards td.figure { display: flex; justify-content: space-between; gap: 1rem; text-align: right; white-space: normal; }
  .cards td::before { content: attr(data-label); color: var(--dim); flex: none; }
  .cards td:empty, .cards td:has(> span:only-child:empty) { display: none; }
  .cards .repeated { visibility: visible; }
  .violation .cards tr { padding: .45rem 0; }
  .cards tr.neighbour .aside { display: none; }
}
@media print {
  body { font-size: 12px; } main { max-width: none; padding: 0; }
  .readout, .figures { display: none; }
  .violation, tr, .tiles, .about, .plot { break-inside: avoid; }
  .area, .shade, .fault, .swim-bar, .reign, .alone { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
`;
