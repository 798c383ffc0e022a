/**
 * What does a person see of an audit?
 *
 * One page that needs nothing else: no scripts, no fonts, no pictures from anywhere. The verdict
 * comes first, then what was found, then what could not be looked at, then everything that was.
 */
import type { FindingKind, Verdict } from './finding.ts';
import type { SignedReport } from './report.ts';

const VERDICTS: Record<Verdict, { title: string; says: string; tone: string }> = {
  clean: {
    title: 'Clean',
    says: 'Every check was done, every channel would have shown a canary, and nothing was found.',
    tone: 'good',
  },
  findings: {
    title: 'Findings',
    says: 'Something is not as the policy wants it.',
    tone: 'bad',
  },
  'could-not-look': {
    title: 'Could not look',
    says: 'Nothing was found, but not everything could be looked at, so this is no clean bill.',
    tone: 'unsure',
  },
};

const KINDS: Record<FindingKind, string> = {
  'catalogue-differs': 'Databases that differ from the policy',
  'row-without-resident': 'Rows of subjects who are not at home there',
  'resident-without-entry': 'Residents that the directory does not know',
  'resident-elsewhere': 'Residents whose home is elsewhere by the directory',
  'resident-key-wrong': 'Residents under a wrong key',
  'entry-without-resident': 'Directory entries for nobody',
  'directory-copy-differs': 'Copies of the directory that differ',
  'canary-where-policy-keeps-it': 'Canaries where the policy does not let them be',
  'peer-let-in': 'Logins that open more than they should',
  'setting-leaks': 'Settings that let data out',
  'setting-unbounded': 'Settings without a bound',
  'setting-unsafe': 'Settings that promise too little',
  'secret-inline': 'Secrets in the wrong place',
  receipts: 'Receipts that do not hold',
};

export function htmlReport(report: SignedReport): string {
  const { verdict, policy, regions, findings, channels, checks, canaries } = report;
  const { title, says, tone } = VERDICTS[verdict];
  const blind = [...checks.filter(({ because }) => because !== null), ...channels.filter(isBlind)]
    .length;
  const bytes = channels.reduce((sum, channel) => sum + channel.bytes, 0);
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Residency audit: ${text(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<header>
<p class="over">Residency audit</p>
<h1 class="${tone}">${text(title)}</h1>
<p class="lead">${text(says)}</p>
<dl class="facts">
${fact('When', `${shortTime(report.startedAt)}, ${seconds(report)}`)}
${fact('Policy', `version ${policy.version}`)}
${fact('Regions', regions.join(', '))}
</dl>
</header>
<ul class="tiles">
${tile(findings.length, 'findings', findings.length > 0 ? 'bad' : '')}
${tile(blind, 'not looked at', blind > 0 ? 'unsure' : '')}
${tile(channels.length, 'channels searched', '')}
${tile(size(bytes), 'read', '')}
${tile(canaries.length, 'canaries', '')}
</ul>
${findingsSection(report)}
${blindSection(report)}
${channelsSection(report)}
${checksSection(report)}
${canariesSection(report)}
${signatureSection(report)}
</main>
</body>
</html>
`;
}

function findingsSection({ findings }: SignedReport): string {
  if (findings.length === 0) return '';
  const byKind = Map.groupBy(findings, ({ kind }) => kind);
  const groups = [...byKind].map(
    ([kind, found]) => `<h3>${text(KINDS[kind])} <span class="count">${found.length}</span></h3>
<ul class="cards">
${found
  .map(
    ({ region, at, words }) =>
      `<li class="bad"><p>${text(words)}</p><p class="at"><span class="tag">${text(region)}</span> ${text(at)}</p></li>`,
  )
  .join('\n')}
</ul>`,
  );
  return section('What was found', groups.join('\n'));
}

function blindSection({ checks, channels, leftOut, left }: SignedReport): string {
  const said = [
    ...checks.flatMap(({ name, because }) => (because === null ? [] : [{ name, because }])),
    ...channels.filter(isBlind).map(({ name, because }) => ({
      name,
      because: because ?? 'the control that was put there was not found, so silence means nothing',
    })),
  ];
  const items = said.map(
    ({ name, because }) =>
      `<li class="unsure"><p><strong>${text(name)}</strong></p><p>${text(because)}</p></li>`,
  );
  if (leftOut.length > 0) {
    items.push(
      `<li class="unsure"><p><strong>Left out on request</strong></p><p>${text(leftOut.join(', '))}</p></li>`,
    );
  }
  if (left.length > 0) {
    items.push(
      `<li class="unsure"><p><strong>Canary subjects that are still there</strong></p><p>${text(left.join(', '))}</p></li>`,
    );
  }
  if (items.length === 0) return '';
  return section('What was not looked at', `<ul class="cards">${items.join('\n')}</ul>`);
}

function channelsSection({ channels }: SignedReport): string {
  if (channels.length === 0) return '';
  const rows = channels.map((channel) => {
    const { name, hits, expected, bytes, positiveControl } = channel;
    return `<tr>
<th scope="row">${text(name)}</th>
<td data-label="Control">${positiveControl ? '<span class="good">found</span>' : '<span class="unsure">not found</span>'}</td>
<td data-label="Not allowed" class="number">${hits > 0 ? `<span class="bad">${hits}</span>` : '0'}</td>
<td data-label="Allowed" class="number">${expected}</td>
<td data-label="Read" class="number">${text(size(bytes))}</td>
</tr>`;
  });
  return section(
    'Where canaries were searched for',
    `<p>Each channel was also searched for a control, a text that was put there just before. A channel
whose control is not found was not looked at. Numbers are canaries, each once for each file or table.</p>
<table>
<thead><tr><th scope="col">Channel</th><th scope="col">Control</th><th scope="col">Not allowed</th><th scope="col">Allowed</th><th scope="col">Read</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>`,
  );
}

function checksSection({ checks }: SignedReport): string {
  const rows = checks.map(
    ({ name, looked, because }) => `<tr>
<th scope="row">${text(name)}</th>
<td data-label="Looked at" class="number">${looked.toLocaleString('en-US')}</td>
<td data-label="Done">${because === null ? '<span class="good">yes</span>' : '<span class="unsure">no</span>'}</td>
</tr>`,
  );
  return section(
    'What else was checked',
    `<table>
<thead><tr><th scope="col">Check</th><th scope="col">Things looked at</th><th scope="col">Done</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>`,
  );
}

function canariesSection({ canaries }: SignedReport): string {
  if (canaries.length === 0) return '';
  const rows = canaries.map(
    ({ text: canary, home, columns }) => `<tr>
<th scope="row"><code>${text(canary)}</code></th>
<td data-label="Home">${text(home)}</td>
<td data-label="Written to">${text(columns.join(', '))}</td>
</tr>`,
  );
  return section(
    'The canaries of this audit',
    `<p>Drawn for this audit and written through the API at home. Their rows were removed afterwards; bytes
stay on a disk until vacuum and the turnover of the log.</p>
<table>
<thead><tr><th scope="col">Text</th><th scope="col">Home</th><th scope="col">Written to</th></tr></thead>
<tbody>
${rows.join('\n')}
</tbody>
</table>`,
  );
}

function signatureSection({ signature }: SignedReport): string {
  return section(
    'How to believe this',
    `<p>This page is for reading. What counts is the JSON report beside it, which is signed with Ed25519. With
the auditor’s public key, which you should have from elsewhere:</p>
<pre><code>domicile audit verify report.json --key audit.pub</code></pre>
<p class="at">Public key <code>${text(signature.publicKey)}</code></p>`,
  );
}

function isBlind({ positiveControl, because }: SignedReport['channels'][number]): boolean {
  return !positiveControl || because !== null;
}

function section(title: string, content: string): string {
  return `<section><h2>${text(title)}</h2>\n${content}</section>`;
}

function fact(name: string, value: string): string {
  return `<div><dt>${text(name)}</dt><dd>${text(value)}</dd></div>`;
}

function tile(value: number | string, name: string, tone: string): string {
  return `<li class="${tone}"><strong>${text(String(value))}</strong> ${text(name)}</li>`;
}

function seconds({ startedAt, endedAt }: SignedReport): string {
  return `${Math.max(1, Math.round((Date.parse(endedAt) - Date.parse(startedAt)) / 1_000))} s`;
}

function shortTime(iso: string): string {
  return `${iso.slice(0, 10)} ${iso.slice(11, 19)} UTC`;
}

function size(bytes: number): string {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1_000 && unit < units.length - 1) {
    value /= 1_000;
    unit++;
  }
  return `${value.toPrecision(value >= 100 ? 3 : 2).replace(/\.0$/, '')} ${units[unit]}`;
}

/** Whatever came from a database, a file name or a person is text and nothing else. */
function text(value: string): string {
  const names: Record<string, string> = {
    '&': '&amp;',
    '<': '&lt;',
    '>': '&gt;',
    '"': '&quot;',
    "'": '&#39;',
  };
  return value.replace(/[&<>"']/g, (sign) => names[sign] ?? '');
}

const STYLE = `
:root {
  --paper: #ffffff; --soft: #f5f6f8; --ink: #1c2128; --dim: #57606a; --line: #d8dee4;
  --good: #17723a; --bad: #b3261e; --unsure: #8a5a00;
  --bad-soft: #fdf0ee; --unsure-soft: #fdf6e3;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171c; --soft: #1d2127; --ink: #e6e8eb; --dim: #9aa4af; --line: #343b44;
    --good: #5fcf86; --bad: #ff8a80; --unsure: #f0c05a;
    --bad-soft: #2c1b1b; --unsure-soft: #2a2416;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, 'Segoe UI', sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
.over { margin: 0; color: var(--dim); letter-spacing: .08em; text-transform: uppercase; font-size: .8rem; }
h1 { margin: .1em 0; font-size: 2.4rem; line-height: 1.15; }
h2 { margin: 2.5rem 0 .5rem; font-size: 1.3rem; border-bottom: 1px solid var(--line); padding-bottom: .3rem; }
h3 { margin: 1.5rem 0 .5rem; font-size: 1rem; }
.lead { margin: .2rem 0 1rem; font-size: 1.1rem; }
.good { color: var(--good); } .bad { color: var(--bad); } .unsure { color: var(--unsure); }
.facts { display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: 0; }
.facts dt { color: var(--dim); font-size: .85rem; } .facts dd { margin: 0; }
ul { list-style: none; padding: 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem; margin: 1.5rem 0 0; }
.tiles li { background: var(--soft); border-radius: .5rem; padding: .7rem .9rem; color: var(--dim); font-size: .9rem; }
.tiles strong { display: block; color: var(--ink); font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tiles .bad strong { color: var(--bad); } .tiles .unsure strong { color: var(--unsure); }
.cards { margin: 0; display: grid; gap: .6rem; }
.cards li { color: var(--ink); border-left: 4px solid var(--line); border-radius: .25rem; padding: .6rem .9rem; }
.cards li.bad { border-color: var(--bad); background: var(--bad-soft); }
.cards li.unsure { border-color: var(--unsure); background: var(--unsure-soft); }
.cards p { margin: 0; overflow-wrap: anywhere; }
.at { color: var(--dim); font-size: .85rem; overflow-wrap: anywhere; }
.tag { border: 1px solid var(--line); border-radius: 1rem; padding: 0 .5rem; }
.count { color: var(--dim); font-weight: normal; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; padding: .4rem .6rem .4rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
thead th { color: var(--dim); font-weight: normal; font-size: .85rem; }
tbody th { font-weight: normal; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
thead th:nth-child(n+3) { text-align: right; }
code, pre { font: .88rem/1.5 ui-monospace, SFMono-Regular, Menlo, monospace; }
pre { background: var(--soft); border-radius: .5rem; padding: .8rem; overflow-x: auto; }
@media (max-width: 40rem) {
  main { padding: 1.25rem 1rem 3rem; }
  h1 { font-size: 1.9rem; }
  thead { display: none; }
  tbody, tr, th, td { display: block; border: 0; padding: 0; }
  tr { border-bottom: 1px solid var(--line); padding: .6rem 0; }
  tbody th { font-weight: 600; }
  td, td.number { display: flex; justify-content: space-between; gap: 1rem; text-align: right; white-space: normal; }
  td::before { content: attr(data-label); color: var(--dim); }
}
@media print { .cards li, tr { break-inside: avoid; } }
`;
