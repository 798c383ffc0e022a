import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import type { Policy } from './policy.ts';
import { readPolicy } from './read-policy.ts';
import { type About, whyNowhereElse } from './why-nowhere-else.ts';

const storefront = (name: string) =>
  readFileSync(new URL(`../examples/storefront/${name}`, import.meta.url), 'utf8');
const text = storefront('residency.yaml');

function policyOf(written: string): Policy {
  const catalogue = readCatalogue(storefront('regions.yaml'), 'regions.yaml');
  if ('complaints' in catalogue) throw new Error(catalogue.complaints.map(formatComplaint).join());
  const read = readPolicy(written, '/etc/domicile/residency.yaml', catalogue.catalogue);
  if ('complaints' in read) throw new Error(read.complaints.map(formatComplaint).join('\n'));
  return read.policy;
}

/** The key, and what stands in the line that it names. */
function told(policy: Policy, written: string, home: string, about: About) {
  const { says, file, line } = whyNowhereElse(policy, home, about);
  return [says, file, written.split('\n')[line - 1]];
}

test('data that exists is kept by what failover may do', () => {
  expect(told(policyOf(text), text, 'eu', {})).toEqual([
    'failover.scope',
    'residency.yaml',
    'failover: { scope: region }',
  ]);
});

test('where the region has sites, by their list', () => {
  const listed = text.replace('{ scope: region }', '{ scope: region, sites: { eu: [eu] } }');
  expect(told(policyOf(listed), listed, 'eu', {})[0]).toBe('failover.sites.eu');
  expect(told(policyOf(listed), listed, 'us', {})[0]).toBe('failover.scope');
});

test('where failover may leave the region, by the law that lists the regions', () => {
  const wider = text
    .replace('failover: { scope: region }', 'failover: { scope: jurisdiction }')
    .replace('regions: [us]', 'regions: [us, eu]');
  const [says, , line] = told(policyOf(wider), wider, 'asia', {});
  expect(says).toMatch(/^jurisdictions\..*\.regions$/);
  expect(line).toContain('asia');
});

test('a newcomer is kept by the rule that has placed them, and a product by its owner', () => {
  const policy = policyOf(text);
  const [first] = policy.placement;
  const [says, , line] = told(policy, text, first?.home ?? '', { rule: first?.rule });
  expect([says, line]).toEqual(['placement[0]', expect.stringContaining(`${first?.rule}`)]);
  const owned = told(policy, text, 'us', { reference: 'products' });
  expect(owned[0]).toBe('tables.products.reference');
  expect(owned[2]).toContain('owner: us');
});
