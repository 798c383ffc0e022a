import { expect, test } from 'vitest';
import type { Catalogue, Region } from '../regions/catalogue.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { readPolicy } from './read-policy.ts';
import { refuseSite } from './refuse-site.ts';

const node = (name: string, site: string) => ({ name, host: name, port: 1, site });
const EU: Region = {
  id: 'eu',
  title: 'Europe',
  database: 'app',
  edges: [],
  nodes: [node('eu-a', 'eu-1'), node('eu-b', 'eu-2')],
  airlocks: [],
};
const POLICY = `version: 1
because: A test.
effective: 2026-11-01
jurisdictions: { all: { countries: others, regions: [eu] } }
placement: [{ rule: all, when: everyone, home: eu }]
tables: { users: { subject: id, transit: proxy } }
failover:
  scope: region
  sites: { eu: [eu-1, eu-2] }
idempotency: { retention: 24h }
`;

/** The policy as it was when it was checked, and the region as it has become. */
function refusal(site: string, region: Region, text = POLICY, checkedWith = EU) {
  const catalogue: Catalogue = { regions: new Map([['eu', checkedWith]]), distances: [] };
  const read = readPolicy(text, '/etc/residency.yaml', catalogue);
  if ('complaints' in read) throw new Error(read.complaints.map(formatComplaint).join('\n'));
  return refuseSite(read.policy, region, site);
}

test('a site that is listed, and where a node stands, is as good as another', () => {
  expect(['eu-1', 'eu-2'].map((site) => refusal(site, EU))).toEqual([undefined, undefined]);
});

test('any other site is refused, with the line that does not list it', () => {
  expect(refusal('eu-3', EU)).toBe(
    'eu-3 is not among the sites that /etc/residency.yaml:9 lists for eu: eu-1, eu-2',
  );
  expect(refusal('eu-2', { ...EU, nodes: EU.nodes.slice(0, 1) })).toBe(
    'no node of eu stands at eu-2, which /etc/residency.yaml:9 lists',
  );
});

test('without a list a primary stays', () => {
  const one = { ...EU, nodes: EU.nodes.slice(0, 1) };
  const text = POLICY.replace('  sites: { eu: [eu-1, eu-2] }\n', '');
  expect(refusal('eu-2', one, text, one)).toBe(
    '/etc/residency.yaml:7 lists no sites for eu, so its primary stays at eu-1',
  );
});
