import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { STOREFRONT, welcome } from './welcome.ts';

function catalogueOf(path: string) {
  const reading = readCatalogue(readFileSync(path, 'utf8'), path);
  if ('complaints' in reading) throw new Error(reading.complaints.join('\n'));
  return reading.catalogue;
}

const shop = catalogueOf(join(dirname(STOREFRONT), 'regions.yaml'));
const curls = (lines: readonly string[]) => lines.filter((line) => line.startsWith('  curl '));

test('the storefront is tried at its own edges', () => {
  const lines = curls(welcome(STOREFRONT, shop, 'targets'));
  expect(lines.length).toBe(5);
  const edges = [...shop.regions.values()].map(({ edges: [edge] }) => `${edge?.url}/`);
  for (const line of lines) expect(edges.some((edge) => line.includes(edge))).toBe(true);
});

test('nothing of the storefront is told of another app, or of the storefront in other regions', () => {
  const { us, ...others } = Object.fromEntries(shop.regions);
  if (us === undefined) throw new Error('the storefront has no region us');
  const elsewhere = {
    ...shop,
    regions: new Map(Object.entries({ ...others, mars: { ...us, id: 'mars' } })),
  };
  for (const lines of [
    welcome('/elsewhere/storefront/app.ts', shop, 'targets'),
    welcome(STOREFRONT, elsewhere, 'targets'),
  ]) {
    expect(curls(lines)).toEqual([expect.stringMatching(/^ {2}curl http:\S+\/openapi\.json$/)]);
    expect(lines.join('\n')).not.toContain('ada');
  }
});
