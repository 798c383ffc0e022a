import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { encodingsOf } from './canary-encodings.ts';
import { CanaryScanner } from './canary-scanner.ts';
import { Gathering } from './channel.ts';
import { scanFolder } from './scan-files.ts';

const CANARY = 'Cn4f9a02c71be8';
const CONTROL = 'Ct77d0e5a93c2f';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'domicile-scan-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function scan(at = folder) {
  const into = new Gathering(new CanaryScanner([CANARY, CONTROL].flatMap(encodingsOf)), CONTROL);
  const unread = await scanFolder(at, into);
  const hits = into.hits.map(({ at, offset, encoding }) => `${at}:${offset} ${encoding}`).sort();
  return { hits, unread, control: [...into.controlAt], bytes: into.bytes };
}

function put(path: string, content: string | Buffer): void {
  mkdirSync(join(folder, path, '..'), { recursive: true });
  writeFileSync(join(folder, path), content);
}

test('a canary is found in each kind of file, with its place', async () => {
  put('base/5/16384', Buffer.concat([Buffer.alloc(8_192 * 3), Buffer.from(CANARY)]));
  put('pg_wal/000000010000000000000001', Buffer.from(`${CANARY}..`, 'utf16le'));
  put('base/pgsql_tmp/pgsql_tmp1.0', Buffer.from(`xx${CANARY}xx`).toString('base64'));
  put('log/postgres.log', `before\n\\x${Buffer.from(CANARY).toString('hex')}\n`);
  put('innocent', 'nothing');
  put('control', CONTROL);
  const { hits, unread, control } = await scan();
  expect(hits).toEqual([
    'base/5/16384:24576 utf-8',
    'base/pgsql_tmp/pgsql_tmp1.0:3 base64',
    'log/postgres.log:9 hex',
    'pg_wal/000000010000000000000001:0 utf-16le',
  ]);
  expect(control).toEqual(['control']);
  expect(unread).toEqual([]);
});

test('a canary across the border of two reads is found', async () => {
  put('large', Buffer.concat([Buffer.alloc(1024 * 1024 - 5), Buffer.from(CANARY)]));
  expect((await scan()).hits).toEqual([`large:${1024 * 1024 - 5} utf-8`]);
});

test('the end of one file and the beginning of the next are not one text', async () => {
  put('a', CANARY.slice(0, 7));
  put('b', CANARY.slice(7));
  expect((await scan()).hits).toEqual([]);
});

test('a name is searched like a content', async () => {
  put(`of-${CANARY}.txt`, 'nothing');
  expect((await scan()).hits).toEqual([`name of of-${CANARY}.txt:3 utf-8`]);
});

test('links are followed, once, and in no circle', async () => {
  const elsewhere = mkdtempSync(join(tmpdir(), 'domicile-tablespace-'));
  try {
    writeFileSync(join(elsewhere, 'file'), CANARY);
    mkdirSync(join(folder, 'pg_tblspc'));
    symlinkSync(elsewhere, join(folder, 'pg_tblspc', '16385'));
    symlinkSync(elsewhere, join(folder, 'again'));
    symlinkSync(folder, join(elsewhere, 'back'));
    symlinkSync(join(folder, 'nowhere'), join(folder, 'dangling'));
    const { hits, unread } = await scan();
    expect(hits.length).toBe(1);
    expect(unread).toEqual([]);
  } finally {
    rmSync(elsewhere, { recursive: true, force: true });
  }
});

test('a pipe does not hold the search up', async () => {
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  put('beside', CANARY);
  expect((await scan()).hits).toEqual(['beside:0 utf-8']);
});

test('a folder that is not there is no clean folder', async () => {
  const missing = join(folder, 'missing');
  expect((await scan(missing)).unread).toEqual([{ path: missing, code: 'ENOENT' }]);
});
