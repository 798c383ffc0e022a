/**
 * Does docs/telemetry.md name what the code tells, and nothing else?
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { settingsHelp } from '../router/config.ts';
import {
  ATTRIBUTES,
  KEEPER_METRICS,
  METRICS,
  PARTS,
  prometheusName,
} from '../router/telemetry/names.ts';
import { OBSERVED } from '../router/telemetry/observations.ts';

const page = readFileSync(new URL('telemetry.md', import.meta.url), 'utf8');
const source = readFileSync(
  new URL('../router/telemetry/open-telemetry.ts', import.meta.url),
  'utf8',
);

/** Names in backticks that begin so, with dots and without values. */
function named(text: string): string[] {
  const found = [...text.matchAll(/`((?:domicile|http|db|url|error|server)\.[a-z_.]+)`/g)];
  return found.map(([, name = '']) => name);
}

/** Of the resource, not of a span. */
const RESOURCE = ['domicile.region'];
/** What conventions have, and no edge tells. */
const NEVER = ['url.full', 'url.query', 'db.query.text'];

test('every attribute and span is explained, and nothing is explained that is not told', () => {
  const [before = ''] = page.split('\n## Metrics\n');
  const known = new Set<string>([
    ...Object.values(ATTRIBUTES),
    ...Object.values(PARTS),
    ...RESOURCE,
    ...NEVER,
  ]);
  expect(new Set(named(before))).toEqual(known);
});

test('every metric has its row, with its kind, its name in Prometheus, and what it is', () => {
  const rows = [...page.matchAll(/^\| `([^`]+)` \| `([^`]+)` \| (\w+) \| (.+) \|$/gm)];
  expect(rows.map(([, ...cells]) => cells)).toEqual(
    [...Object.values(METRICS), ...Object.values(KEEPER_METRICS)].map((one) => [
      one.name,
      prometheusName(one),
      one.kind,
      one.help,
    ]),
  );
});

test('every metric is told by somebody', () => {
  const recorded = Object.keys(METRICS).filter((key) => source.includes(`METRICS.${key}`));
  expect([...recorded, ...OBSERVED].sort()).toEqual(Object.keys(METRICS).sort());
});

test('every setting of telemetry is explained', () => {
  const settings = settingsHelp()
    .split('\n')
    .map((line) => line.trim().split('  ')[0] ?? '')
    .filter((name) => /^(OTEL_|DOMICILE_(TELEMETRY|TRACE|METRICS|STATS))/.test(name));
  expect(settings.length).toBe(8);
  for (const name of settings) expect(page).toContain(`| \`${name}\` |`);
});
