/** Everything that docs/policy.md shows is read here, and everything that can be written is there. */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { jsonSchemaOf } from '../regions/yaml-json-schema.ts';
import { PolicyFile } from './policy-file.ts';
import { readPolicy } from './read-policy.ts';

const text = (path: string) => readFileSync(new URL(path, import.meta.url), 'utf8');
const page = text('../docs/policy.md');
const blocks = [...page.matchAll(/^```(yaml|text)\n(.*?)^```$/gms)].map(([, kind, body]) => ({
  kind,
  body: body ?? '',
}));
const examples = blocks.flatMap(({ kind, body }, index) => {
  const next = blocks[index + 1];
  const expected = next?.kind === 'text' ? next.body.trimEnd().split('\n') : [];
  return kind === 'yaml' ? [{ body, expected }] : [];
});
const whole = examples[0]?.body ?? '';

/** The example first, so that its lines keep their numbers, then what it does not replace. */
function completed(example: string): string {
  const sections = whole.split(/^(?=[a-z])/m);
  const replaced = new Set(example.match(/^[a-z]+:/gm));
  const others = sections.filter((section) => !replaced.has(/^[a-z]+:/.exec(section)?.[0] ?? ''));
  return example === whole ? whole : example + others.join('');
}

test.each(examples.map((example) => ({ ...example, title: example.body.trim().slice(0, 60) })))(
  'docs/policy.md: $title',
  ({ body, expected }) => {
    const regions = readCatalogue(text('../examples/storefront/regions.yaml'), 'regions.yaml');
    if ('complaints' in regions) throw new Error(regions.complaints.map(formatComplaint).join());
    const reading = readPolicy(completed(body), 'residency.yaml', regions.catalogue);
    const found = 'complaints' in reading ? reading.complaints.map(formatComplaint) : [];
    expect(found).toEqual(expected);
  },
);

test('the page has examples that are right and examples that are wrong', () => {
  expect(examples.filter(({ expected }) => expected.length === 0).length).toBeGreaterThan(7);
  expect(examples.filter(({ expected }) => expected.length > 0).length).toBeGreaterThan(7);
});

test('every key that can be written is explained on the page', () => {
  const keys = new Set<string>();
  const collect = (at: unknown): void => {
    if (typeof at !== 'object' || at === null) return;
    if ('properties' in at) for (const key of Object.keys(at.properties as object)) keys.add(key);
    for (const inner of Object.values(at)) collect(inner);
  };
  collect(jsonSchemaOf(PolicyFile));
  const missing = [...keys].filter((key) => !new RegExp(`\`${key}(\`|:)`).test(page));
  expect(missing).toEqual([]);
});
