import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Catalogue, Region } from '../../regions/catalogue.ts';
import { drawSecrets, readSecrets } from './secrets-file.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'domicile-secrets-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const region = (id: string, more: Partial<Region> = {}): [string, Region] => [
  id,
  { id, title: id, database: 'app', edges: [], nodes: [], airlocks: [], ...more },
];
const CATALOGUE: Catalogue = {
  regions: new Map([
    region('us'),
    region('eu-1', { keeper: { kind: 'patroni', members: ['http://eu.example:8008'] } }),
  ]),
  distances: [],
};

async function drawn(name: string): Promise<string> {
  const path = join(folder, name);
  const draw = await drawSecrets(path, CATALOGUE, randomBytes);
  expect(draw).toMatchObject({ kept: 0 });
  return path;
}

async function changed(name: string, from: RegExp, to: string): Promise<readonly string[]> {
  const path = await drawn(name);
  const text = await readFile(path, 'utf8');
  expect(text).toMatch(from);
  await writeFile(path, text.replace(from, to));
  const read = await readSecrets(path, CATALOGUE);
  if (!('complaints' in read)) throw new Error('nothing is wrong with it');
  return read.complaints.map((complaint) => complaint.slice(path.length + 2));
}

test('what was drawn is for its owner only, complete, and in the form that regions are given', async () => {
  const path = await drawn('drawn.json');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const file = JSON.parse(await readFile(path, 'utf8'));
  expect(Object.keys(file.us.postgres)).toEqual(['SUPERUSER_PASSWORD', 'AIRLOCK_OF_EU_1_PASSWORD']);
  expect(Object.keys(file['eu-1'].postgres)).toEqual([
    'SUPERUSER_PASSWORD',
    'STANDBY_PASSWORD',
    'PATRONI_API_PASSWORD',
    'AIRLOCK_OF_US_PASSWORD',
  ]);
  for (const shared of ['DOMICILE_SESSION_KEYS', 'DOMICILE_HOP_KEY', 'DOMICILE_DIRECTORY_KEY']) {
    expect(file.us.edge[shared]).toBe(file['eu-1'].edge[shared]);
  }
  expect(file.us.edge.DOMICILE_SUBJECT_KEY).not.toBe(file['eu-1'].edge.DOMICILE_SUBJECT_KEY);
  const read = await readSecrets(path, CATALOGUE);
  if ('complaints' in read) throw new Error(read.complaints.join('\n'));
  const { password, key, edge } = read.secrets;
  expect(password('airlock of us for eu-1')).toBe(file['eu-1'].postgres.AIRLOCK_OF_US_PASSWORD);
  expect(password('feed of us')).toBe(file.us.airlock.FEED_PASSWORD);
  expect(password('us.airlock.superuser')).toBe(file.us.airlock.SUPERUSER_PASSWORD);
  expect(password('us.superuser')).toBe(file.us.postgres.SUPERUSER_PASSWORD);
  expect(key('subjects of us').toString('base64url')).toBe(file.us.edge.DOMICILE_SUBJECT_KEY);
  expect(edge('us')).toEqual(file.us.edge);
});

test('drawing again changes nothing, and adds what a new region lacks', async () => {
  const path = await drawn('again.json');
  const before = await readFile(path, 'utf8');
  expect(await drawSecrets(path, CATALOGUE, randomBytes)).toMatchObject({ drawn: [] });
  expect(await readFile(path, 'utf8')).toBe(before);
  const more = { ...CATALOGUE, regions: new Map([...CATALOGUE.regions, region('asia')]) };
  expect(await drawSecrets(path, more, randomBytes)).toMatchObject({
    drawn: expect.arrayContaining([
      'us.postgres.AIRLOCK_OF_ASIA_PASSWORD',
      'asia.edge.DOMICILE_HOP_KEY',
    ]),
  });
  const after = JSON.parse(await readFile(path, 'utf8'));
  expect(after.asia.edge.DOMICILE_HOP_KEY).toBe(after.us.edge.DOMICILE_HOP_KEY);
  expect(after.us.edge).toEqual(JSON.parse(before).us.edge);
});

test('a file that others can read is refused, for reading and for drawing', async () => {
  for (const mode of [0o640, 0o604, 0o602]) {
    const path = await drawn(`open-${mode}.json`);
    await chmod(path, mode);
    const words = `is open to others than its owner (mode ${mode.toString(8)}): chmod 600 ${path}, and draw anew what they may have read`;
    const refused = { complaints: [`${path}  ${words}`] };
    expect(await readSecrets(path, CATALOGUE)).toEqual(refused);
    expect(await drawSecrets(path, CATALOGUE, randomBytes)).toEqual(refused);
  }
});

test('everything that is wrong is named, and no secret is repeated', async () => {
  expect(
    await changed('short.json', /"FEED_PASSWORD": "[^"]+"/, '"FEED_PASSWORD": "short"'),
  ).toEqual([
    'us.airlock.FEED_PASSWORD: is not made of 16 or more letters, digits, hyphens and underscores',
  ]);
  // It would end the statement that it stands in.
  const quote = `"FEED_PASSWORD": "aaaaaaaaaaaaaaaaaa'; drop role"`;
  expect(await changed('quote.json', /"FEED_PASSWORD": "[^"]+"/, quote)).toHaveLength(1);
  const twice = /"DOMICILE_HOP_KEY": "[^"]+"/;
  const other = `"DOMICILE_HOP_KEY": "${randomBytes(32).toString('base64url')}"`;
  expect(await changed('shared.json', twice, other)).toEqual([
    'edge.DOMICILE_HOP_KEY: differs between us, eu-1, and has to be the same everywhere',
  ]);
  expect(
    await changed('missing.json', /"AIRLOCK_OF_US_PASSWORD"/, '"AIRLOCK_OF_UK_PASSWORD"'),
  ).toEqual(['eu-1.postgres.AIRLOCK_OF_US_PASSWORD: missing']);
  expect(await changed('json.json', /\{/, '{ secret')).toEqual(['is not JSON']);
});

test('what Patroni alone needs may be missing', async () => {
  const path = await drawn('patroni.json');
  const text = await readFile(path, 'utf8');
  await writeFile(path, text.replace(/"STANDBY_PASSWORD": "[^"]+",/, ''));
  expect(await readSecrets(path, CATALOGUE)).toHaveProperty('secrets');
});
