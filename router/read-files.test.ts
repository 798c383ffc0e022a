import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeAuthority } from '../regions/certificates-for-tests.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { catalogueText } from './catalogue-text.ts';
import { readFiles } from './read-files.ts';

const POLICY = new URL('../examples/storefront/residency.yaml', import.meta.url).pathname;
const { ca } = makeAuthority();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'domicile-files-'));
  writeFileSync(join(folder, 'eu.pem'), ca);
  writeFileSync(join(folder, 'empty.pem'), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** The storefront's regions, of which eu is spoken to like this. */
async function read(caFile: string) {
  const sample = new URL('../examples/storefront/regions.yaml', import.meta.url);
  const text = readFileSync(sample, 'utf8').replace(
    /\n {2}eu:\n/,
    `$&    tls: { mode: verify-full, caFile: ${caFile} }\n`,
  );
  const regions = join(folder, 'regions.yaml');
  writeFileSync(regions, text);
  return readFiles({ policy: POLICY, regions, app: '', schema: '', migrations: '' });
}

test('certificates in a file beside the regions file are read with it, for each server', async () => {
  const files = await read('eu.pem');
  if ('complaints' in files) throw new Error(files.complaints.join('\n'));
  const { regions } = files.catalogue;
  const tls = { mode: 'verify-full', ca };
  const eu = regions.get('eu');
  expect(eu?.tls).toEqual(tls);
  for (const server of [...(eu?.nodes ?? []), ...(eu?.airlocks ?? [])]) {
    expect(server.tls).toEqual(tls);
  }
  expect(regions.get('us')?.nodes[0]).not.toHaveProperty('tls');
  // For a process that has no such file.
  const again = readCatalogue(catalogueText(files.catalogue), 'world.json');
  expect(again).toEqual({ catalogue: files.catalogue });
});

test.each([
  ['us.pem', 'us.pem  no such file: tls.caFile of eu'],
  ['empty.pem', 'empty.pem  has no certificate in PEM form in it: tls.caFile of eu'],
])('%s is complained about before anything is dialled', async (caFile, words) => {
  const files = await read(caFile);
  expect('complaints' in files && files.complaints.join('\n')).toContain(words);
});
