import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { TarFiles } from './tar-files.ts';

const FILES: Record<string, string> = {
  'base/1/1259': 'x'.repeat(512),
  'base/1/2619': 'y'.repeat(513),
  'global/empty': '',
  'global/one': 'z',
};

function archive(): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'domicile-tar-'));
  try {
    for (const [name, text] of Object.entries(FILES)) {
      mkdirSync(join(folder, name, '..'), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    const args = ['--format=ustar', '-cf', '-', '-C', folder, ...Object.keys(FILES)];
    return execFileSync('tar', args);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function split(tar: Buffer, every: number): Record<string, string> {
  const files = new TarFiles();
  const found: Record<string, string> = {};
  for (let at = 0; at < tar.length; at += every) {
    for (const { name, bytes } of files.push(tar.subarray(at, at + every))) {
      found[name] = (found[name] ?? '') + bytes.toString();
    }
  }
  return found;
}

test.each([1, 7, 511, 512, 513, 100_000])('a stream in pieces of %i bytes comes apart', (every) => {
  const { 'global/empty': _, ...withBytes } = FILES;
  expect(split(archive(), every)).toEqual(withBytes);
});

test('a file of 8 GiB and more has its size in binary', () => {
  const tar = archive();
  tar.fill(0, 124, 136);
  tar[124] = 0x80;
  tar.writeUIntBE(512, 130, 6);
  expect(split(tar, 512)['base/1/1259']).toBe(FILES['base/1/1259']);
});
