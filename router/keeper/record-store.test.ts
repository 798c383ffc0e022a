/** The keeper's memory on a real disk: one writer wins, and damage is named. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { KeeperRecord } from '../../policies/keeper/record.ts';
import { DamagedRecord, fileRecordStore } from './record-store.ts';

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'domicile-record-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const record = (version: number, primary = 'eu-a'): KeeperRecord => ({
  version,
  region: 'eu',
  systemId: '18446744073709551615',
  primary,
  timeline: 1,
  standbys: ['eu-b'],
  commits: 'synchronous',
  pending: null,
  former: null,
  event: { kind: 'founded' },
  by: 'a test',
  at: '2026-11-21T00:00:00.000Z',
});

test('what was written is read, newest first in memory and oldest first in the history', async () => {
  const store = fileRecordStore(join(folder, 'not-there-yet'));
  expect(await store.read()).toBeUndefined();
  for (const version of [1, 2, 3]) expect(await store.write(record(version))).toBe(true);
  expect(await store.read()).toEqual(record(3));
  expect((await store.history(2)).map(({ version }) => version)).toEqual([2, 3]);
});

test('of many who write one version at once, one wins, and it is what is read', async () => {
  expect(await fileRecordStore(folder).write(record(1))).toBe(true);
  const names = Array.from({ length: 16 }, (_, i) => `eu-${i}`);
  const won = await Promise.all(
    names.map((name) => fileRecordStore(folder).write(record(2, name))),
  );
  expect(won.filter((one) => one)).toHaveLength(1);
  expect((await fileRecordStore(folder).read())?.primary).toBe(names[won.indexOf(true)]);
});

test('a version that is not the next one is not written', async () => {
  const store = fileRecordStore(folder);
  await store.write(record(1));
  expect([await store.write(record(1)), await store.write(record(3))]).toEqual([false, false]);
  expect(await store.history(9)).toHaveLength(1);
});

test.each(['', '{', 'null', '{"version":2}', JSON.stringify(record(7))])(
  'a newest version that holds %s is a damage, and nothing is decided on the one before',
  async (text) => {
    const store = fileRecordStore(folder);
    await store.write(record(1));
    await writeFile(join(folder, 'record.00000002.json'), text);
    await expect(store.read()).rejects.toThrow(DamagedRecord);
    await expect(store.read()).rejects.toThrow('record.00000002.json');
  },
);
