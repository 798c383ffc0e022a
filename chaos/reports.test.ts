import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { reportHtml } from './report/html-report.ts';
import { calmRecord, killRecord } from './report/record-for-tests.ts';
import { Reports } from './reports.ts';
import { notPlayed, resultOf } from './summary.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'domicile-reports-'));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});
const read = (name: string) => readFileSync(join(folder, name), 'utf8');

test('each run leaves a report and its record, all together a page and a table', () => {
  const reports = new Reports(folder);
  const [killed, calm] = [killRecord(600), calmRecord(60)];
  reports.add(killed, resultOf(killed));
  reports.add(calm, resultOf(calm));
  reports.add(calm, resultOf(calm));
  const absent = { name: 'absent', claim: 'It can be played.' };
  reports.addNotPlayed(notPlayed(absent, 7, 'the world did not start'));
  const pages = [`${killed.scenario}-7`, 'calm-3', 'calm-3-2'];
  expect(readdirSync(folder).sort()).toEqual(
    [
      ...pages.flatMap((name) => [`${name}.html`, `${name}.json`]),
      'index.html',
      'table.json',
      'table.md',
    ].sort(),
  );
  for (const name of pages) expect(read('index.html')).toContain(`href="./${name}.html"`);
  expect(read('index.html')).toContain('the world did not start');
  expect(read(`${pages[0]}.html`)).toBe(reportHtml(killed));
  expect(JSON.parse(read(`${pages[0]}.json`))).toMatchObject({ scenario: killed.scenario });
  const rows = JSON.parse(read('table.json')) as { scenario: string }[];
  expect(rows.map(({ scenario }) => scenario)).toEqual([killed.scenario, 'calm', 'calm', 'absent']);
  expect(rows[0]).toMatchObject({
    claim: killed.claim,
    verdict: 'holds',
    bit: true,
    longestWritePauseAt: 'eu',
    longestWritePauseMs: expect.any(Number),
    outcomes: { ok: expect.any(Number), fail: expect.any(Number), unknown: expect.any(Number) },
  });
  expect(read('table.md').split('\n')).toHaveLength(7);
});

test('a record that was kept is drawn again, to the byte', () => {
  const [record, page] = [join(folder, 'run.json'), join(folder, 'run.html')];
  const killed = killRecord(600);
  writeFileSync(record, JSON.stringify(killed));
  const chaos = (...words: string[]) =>
    spawnSync(process.execPath, [resolve(import.meta.dirname, 'main.ts'), ...words], {
      encoding: 'utf8',
    });
  expect(chaos('report', record, page)).toMatchObject({ status: 0, stderr: '' });
  expect(readFileSync(page, 'utf8')).toBe(reportHtml(killed));
  writeFileSync(record, '{"format":1}');
  expect(chaos('report', record, page)).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/run\.json {2}scenario: /),
  });
  expect(chaos('report', join(folder, 'none.json'), page).stderr).toMatch(/none\.json cannot be/);
});
