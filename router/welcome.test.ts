import { readFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { expect, test } from 'vitest';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { STOREFRONT, welcome } from './welcome.ts';

function catalogueOf(path: string) {
  const reading = readCatalogue(readFileSync(path, 'utf8'), path);
  if ('complaints' in reading) throw new Error(reading.complaints.join('\n'));
  return reading.catalogue;
}

const shop = catalogueOf(join(dirname(STOREFRONT), 'regions.yaml'));
const ROOT = resolve('.domicile');
const curls = (lines: readonly string[]) => lines.filter((line) => line.startsWith('  curl '));

test('the storefront is tried at its own edges', () => {
  const lines = curls(welcome(STOREFRONT, shop, 'targets', ROOT));
  expect(lines.length).toBe(5);
  const edges = [...shop.regions.values()].map(({ edges: [edge] }) => `${edge?.url}/`);
  for (const line of lines) expect(edges.some((edge) => line.includes(edge))).toBe(true);
});

test('the way to a token for the console is a command that is there, and finds this world', () => {
  const hint = (root: string) =>
    /"([^"]+)" prints what to sign in with/.exec(
      welcome(STOREFRONT, shop, 'x', root).join('\n'),
    )?.[1];
  expect(hint(ROOT)).toBe('npm run domicile -- console-token');
  expect(hint('/elsewhere/world')).toBe(
    'npm run domicile -- console-token --root /elsewhere/world',
  );
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8'));
  expect(scripts.domicile).toContain('router/main.ts');
});

test('nothing of the storefront is told of another app, or of the storefront in other regions', () => {
  const { us, ...others } = Object.fromEntries(shop.regions);
  if (us === undefined) throw new Error('the storefront has no region us');
  const elsewhere = {
    ...shop,
    regions: new Map(Object.entries({ ...others, mars: { ...us, id: 'mars' } })),
  };
  for (const lines of [
    welcome('/elsewhere/storefront/app.ts', shop, 'targets', ROOT),
    welcome(STOREFRONT, elsewhere, 'targets', ROOT),
  ]) {
    expect(curls(lines)).toEqual([expect.stringMatching(/^ {2}curl http:\S+\/openapi\.json$/)]);
    expect(lines.join('\n')).not.toContain('ada');
  }
});
