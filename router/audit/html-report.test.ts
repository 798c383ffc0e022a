import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { AuditResult } from './finding.ts';
import { htmlReport } from './html-report.ts';
import { makeReport, signReport } from './report.ts';

const channel = {
  name: 'us-a data directory',
  positiveControl: true,
  hits: 0,
  expected: 12,
  bytes: 81_234_567,
  because: undefined,
};
const RESULT: AuditResult = {
  findings: [
    {
      kind: 'row-without-resident',
      region: 'us',
      at: 'us-a, app.users',
      words: 'a row of <script>alert("x")</script> & others',
    },
  ],
  checks: [{ name: 'settings of us-a', looked: 1_234, because: undefined }],
  channels: [channel, { ...channel, name: 'edge-us memory', positiveControl: false, bytes: 0 }],
  canaries: [{ text: 'canary0123', home: 'us', columns: ['users.id', 'orders.user_id'] }],
  left: ['canary9999'],
  leftOut: ['wires'],
};

function page(result: AuditResult): string {
  const about = {
    startedAt: '2026-11-21T12:00:00.000Z',
    endedAt: '2026-11-21T12:00:31.000Z',
    policy: { version: 3, sha256: 'ab', because: 'a reason' },
    regions: ['us', 'eu'],
  };
  return htmlReport(signReport(makeReport(result, about), generateKeyPairSync('ed25519')));
}

describe('the page', () => {
  test('says first what the verdict is, then what was found and what was not looked at', () => {
    const html = page(RESULT);
    const order = ['<h1 class="bad">Findings', 'What was found', 'What was not looked at', 'Where'];
    const places = order.map((words) => html.indexOf(words));
    expect(places.every((at) => at > 0)).toBe(true);
    expect([...places].sort((a, b) => a - b)).toEqual(places);
    expect(html).toContain('edge-us memory</strong></p><p>the control that was put there was not');
    expect(html).toContain('81 MB');
    expect(html).toContain('1,234');
    expect(html).toContain('canary9999');
    expect(html).toContain('wires');
    expect(html).toContain('31 s');
  });

  test('of a clean audit has neither of those parts', () => {
    const html = page({ ...RESULT, findings: [], channels: [channel], left: [], leftOut: [] });
    expect(html).toContain('<h1 class="good">Clean');
    expect(html).not.toContain('What was found');
    expect(html).not.toContain('What was not looked at');
  });

  test('takes whatever came from outside as text', () => {
    const html = page(RESULT);
    expect(html).toContain('&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; others');
    expect(html).not.toContain('<script');
  });

  test('needs nothing from anywhere', () => {
    expect(page(RESULT)).not.toMatch(/https?:|src=|href=|@import|url\(/);
  });
});
