import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { RunRecord } from '../run-record.ts';
import { reportHtml } from './html-report.ts';
import { indexHtml, summaryOf } from './index-page.ts';
import {
  brokenRecord,
  calmRecord,
  emptyRecord,
  hostileRecord,
  killRecord,
  stormRecord,
} from './record-for-tests.ts';

const broken = brokenRecord();

function violations(count: number): RunRecord {
  const [judgement] = broken.judgements;
  if (judgement === undefined) throw new Error('The sample has no judgement.');
  const ids = broken.history.operations.slice(0, 30).map(({ id }) => id);
  const one = { promise: 'p', says: 'x'.repeat(5_000), operations: ids };
  const many = Array.from({ length: count }, () => one);
  return { ...broken, judgements: [{ ...judgement, violations: many }] };
}

describe('the report', () => {
  test('says first what was claimed and whether it holds, then what shows it', () => {
    const html = reportHtml(broken);
    const order = [
      broken.claim,
      '</svg>Broken</span>',
      'Evidence that',
      'Timeline',
      'Violations',
      'Judges',
    ];
    const places = order.map((words) => html.indexOf(words, html.indexOf('<h1>')));
    expect(places.every((at) => at > 0)).toBe(true);
    expect(places.toSorted((a, b) => a - b)).toEqual(places);
    expect(html).toContain('<title>Broken: partition-us-eu</title>');
    expect(html).toContain(broken.command);
    expect(html).toContain(broken.notRepeated);
  });

  test.each(['holds', 'broken', 'inconclusive', 'void'] as const)(
    'has a word for %s',
    (verdict) => {
      const word = new RegExp(`<span class="badge ${verdict}">.*?</svg>${verdict}</span>`, 'i');
      expect(reportHtml({ ...emptyRecord(), verdict })).toMatch(word);
    },
  );

  test('shows each violation with its sentence and the operations that it names', () => {
    const html = reportHtml(broken);
    const named = broken.judgements.flatMap((judged) => judged.violations);
    expect(named).toHaveLength(3);
    for (const { promise, operations } of named) {
      expect(html).toContain(promise);
      for (const id of operations) expect(html).toContain(`<th scope="row">#${id}</th>`);
    }
    expect(html).toContain('ok: basket-1 = [90002, 90117]');
    expect(html).toContain('unknown: the answer never came');
    expect(html).toMatch(/href="#violation-2"[\s\S]*id="violation-2"/);
  });

  test('counts outcomes as the history does, and knows problems by their kind', () => {
    const { operations } = killRecord().history;
    const html = reportHtml(killRecord());
    const count = operations.filter(({ told }) => told?.problem === 'residency-unavailable').length;
    expect(count).toBeGreaterThan(20);
    expect(html).toMatch(
      new RegExp(
        `<span>residency-unavailable</span></td><td data-label="Requests" class="figure">${count}<`,
      ),
    );
  });

  test('tells how long writes of a home were not acknowledged', () => {
    expect(reportHtml(killRecord())).toMatch(/eu: <strong>\d\.\d\d s<\/strong>/);
    const dead = killRecord();
    const history = {
      ...dead.history,
      operations: dead.history.operations.map((one) =>
        one.invokedAtMs > 13_000 && one.home === 'eu'
          ? { ...one, outcome: { kind: 'fail', because: 'x' } as const }
          : one,
      ),
    };
    expect(reportHtml({ ...dead, history })).toContain('until the end</strong>, ');
  });

  test('of a run without operations, regions, judges or time is still a page', () => {
    const html = reportHtml(emptyRecord());
    expect(html).toContain('No client has sent anything.');
    expect(html).not.toMatch(/NaN|Infinity|undefined/);
  });

  test.each(
    Object.entries({ calm: calmRecord(), kill: killRecord(), broken, storm: stormRecord() }),
  )('of %s shows no figure that is none', (_, record) => {
    expect(reportHtml(record)).not.toMatch(/NaN|Infinity|undefined|\[object/);
  });

  test('is the same each time', () => {
    expect(reportHtml(killRecord())).toBe(reportHtml(killRecord()));
  });
});

const ATTACKS = [
  '</script><script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  "' onmouseover='alert(1)",
  '</title></style><script src="https://example.org/x.js"></script>',
  '<!--',
  ']]><svg onload=alert(1)>',
  'javascript:alert(1)',
];

describe('hostile text', () => {
  test.each(ATTACKS)('%s stays text on both pages', (attack) => {
    const record = hostileRecord(attack);
    const harmless = reportHtml(hostileRecord('x'.repeat(attack.length)));
    for (const html of [reportHtml(record), indexHtml([summaryOf(record, attack)])]) {
      expect(html.match(/<script|<style/g)).toEqual(['<style', '<script']);
      const own = html.replace(/<(style|script)>[\s\S]*?<\/\1>/g, '');
      // What stands in quotes is a value; everything else between < and > is a name.
      const names = own.replace(/"[^"]*"/g, '""').match(/<[^>]*>/g) ?? [];
      const strange = /<!--|<(img|iframe|object|embed|base|form)\b|\son[a-z]+=|[']/i;
      expect(names.filter((name) => strange.test(name))).toEqual([]);
      expect(own.match(/(href|src)="[^"#.d]/g)).toBeNull();
    }
    // The attack adds no element that a harmless text of its length would not.
    const tags = (html: string) => (html.match(/<[a-z]+/g) ?? []).length;
    expect(tags(reportHtml(record))).toBe(tags(harmless));
  });

  test('that names an index entry cannot leave its folder by a scheme or a host', () => {
    const addresses = ['javascript:alert(1)', '//example.org/x', 'https://example.org'].map(
      (report) => indexHtml([summaryOf(calmRecord(60), report)]).match(/<a href="([^"]*)"/)?.[1],
    );
    expect(addresses).toEqual([
      './javascript%3Aalert(1)',
      './//example.org/x',
      './https%3A//example.org',
    ]);
    for (const address of addresses)
      expect(new URL(address ?? '', 'file:///runs/index.html').href).toMatch(/^file:\/\/\/runs\//);
  });
});

describe('the content policy', () => {
  test('lets nothing in but the page’s own style and script', () => {
    const html = reportHtml(broken);
    const policy = html.match(/Content-Security-Policy" content="([^"]*)"/)?.[1] ?? '';
    const digest = (tag: string) => {
      const source = html.match(new RegExp(`<${tag}>([\\s\\S]*?)</${tag}>`))?.[1] ?? '';
      return createHash('sha256').update(source).digest('base64');
    };
    expect(policy.split('; ')).toEqual([
      "default-src 'none'",
      `style-src 'sha256-${digest('style')}'`,
      `script-src 'sha256-${digest('script')}'`,
      'img-src data:',
      "base-uri 'none'",
      "form-action 'none'",
    ]);
    expect(html).not.toMatch(/\sstyle="/);
    expect(html).not.toMatch(/(src|href)="(?!#|data:,")/);
    expect(html).not.toMatch(/url\((?!#)|@import/);
  });
});

describe('the size of the page', () => {
  const small = 700_000;
  const large = stormRecord(100_000);

  test('does not grow with the operations', () => {
    const sizes = [stormRecord(20_000), large].map((record) => reportHtml(record).length);
    expect(Math.max(...sizes)).toBeLessThan(small);
    expect((sizes[1] ?? 0) / (sizes[0] ?? 1)).toBeLessThan(1.1);
  });

  test('is bounded for thousands of violations, faults, incidents, reasons and replicas', () => {
    const most = violations(3_000);
    const text = 'y'.repeat(3_000);
    const huge: RunRecord = {
      ...most,
      faults: Array.from({ length: 5_000 }, (_, at) => ({
        says: text,
        kind: `${at % 900} ${text}`,
        regions: ['eu'],
        fromMs: at,
        untilMs: at + 3,
        evidence: text,
      })),
      incidents: Array.from({ length: 5_000 }, (_, at) => ({ atMs: at * 5, says: text })),
      looks: Array.from({ length: 20_000 }, (_, at) => ({
        atMs: at,
        region: 'eu',
        primary: `eu-${at % 7}`,
        timeline: at,
        lagBytes: { [`replica-${at % 400}`]: at },
      })),
      history: {
        ...most.history,
        operations: most.history.operations.map((one) => ({
          ...one,
          outcome: { kind: 'fail', because: `${one.id} ${text}` },
        })),
      },
    };
    expect(reportHtml(huge).length).toBeLessThan(4_000_000);
    expect(reportHtml(most)).toContain('The record has the other 2,960.');
  });

  test('100,000 operations are drawn in little time', () => {
    // Of this process only: what else the machine does is not the page's fault.
    const before = process.cpuUsage();
    reportHtml(large);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(3_000);
  });
});

describe('the list of runs', () => {
  test('has a row and a link for each, and counts by verdict, worst first', () => {
    const runs = [calmRecord(90), killRecord(300), broken, emptyRecord()];
    const html = indexHtml(runs.map((run) => summaryOf(run, `${run.scenario}.html`)));
    expect(html).toContain('4 runs: 1 broken, 1 void, 2 hold');
    for (const { scenario } of runs) expect(html).toContain(`href="./${scenario}.html"`);
    expect(html).toContain('3 violations');
  });

  test('of no runs says so', () => {
    expect(indexHtml([])).toContain('No run yet');
  });
});
