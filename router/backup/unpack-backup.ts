/**
 * Is a base backup still what the server sent, and how does it become a data directory?
 *
 * Its files are written out and hashed in one pass, and held against the manifest that the server
 * made: each one with its size and SHA-256, none missing, none beside them. The manifest itself
 * carries a hash of its own. Everything that is wrong is named with its file.
 */
import { createHash, type Hash } from 'node:crypto';
import {
  chownSync,
  closeSync,
  createReadStream,
  fsyncSync,
  mkdirSync,
  openSync,
  writeSync,
} from 'node:fs';
import { dirname, join, posix } from 'node:path';
import type { ProcessUser } from '../../regions/local/process-user.ts';
import { TarFiles } from '../../regions/tar-files.ts';
import { textOf } from './archive-folder.ts';

const CHUNK_BYTES = 1024 * 1024;
/** Findings that are named one by one; whoever has more has a different problem. */
const NAMED_MAX = 10;

export type Damage = { file: string; words: string };
export type Unpacked =
  | { kind: 'unpacked'; files: number; bytes: number }
  | { kind: 'damaged'; damage: readonly Damage[] };

type Wanted = { size: number; sha256: string };

export async function unpackBackup(given: {
  /** The backup's folder. */
  from: string;
  /** The data directory, which does not exist yet. */
  into: string;
  user: ProcessUser | undefined;
  durable: boolean;
}): Promise<Unpacked> {
  const { from, into, user, durable } = given;
  const tar = join(from, 'base.tar');
  const manifestPath = join(from, 'backup_manifest');
  const manifest = readManifest(await textOf(manifestPath));
  if (typeof manifest === 'string') {
    return { kind: 'damaged', damage: [{ file: manifestPath, words: manifest }] };
  }
  const damage: Damage[] = [];
  const say = (file: string, words: string) => {
    if (damage.length < NAMED_MAX) damage.push({ file, words });
  };
  const writer = new DirectoryWriter(into, user, durable);
  const seen = new Map<string, string>();
  let current: string | undefined;
  let bytes = 0;
  const finish = () => {
    const done = writer.finish();
    if (current !== undefined && done !== undefined) {
      seen.set(current, done.sha256);
      const wanted = manifest.get(current);
      if (wanted === undefined) say(tar, `holds ${current}, which the manifest does not know`);
      else if (done.size !== wanted.size) {
        say(tar, `${current} has ${done.size} bytes in it, and the server sent ${wanted.size}`);
      } else if (done.sha256 !== wanted.sha256) {
        say(tar, `${current} is not what the server sent: its SHA-256 differs`);
      }
    }
    current = undefined;
  };
  const files = new TarFiles(({ name, kind }) => {
    finish();
    const path = posix.normalize(name).replace(/\/$/, '');
    if (posix.isAbsolute(path) || path.startsWith('..')) {
      say(tar, `${name} leads out of the data directory`);
    } else if (kind === 'link') say(tar, `${name} is a link, and there should be none`);
    else if (kind === 'folder') writer.folder(path);
    else {
      current = path;
      writer.begin(path);
    }
  });
  writer.folder('.');
  try {
    for await (const chunk of createReadStream(tar, { highWaterMark: CHUNK_BYTES })) {
      bytes += chunk.length;
      for (const piece of files.push(chunk)) {
        if (current !== undefined) writer.write(piece.bytes);
      }
    }
    if (!files.isOver) say(tar, `is cut off after ${bytes} bytes`);
    finish();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT' && code !== 'EACCES' && code !== 'EIO') throw error;
    say(tar, `cannot be read (${code})`);
  } finally {
    writer.finish();
  }
  for (const path of manifest.keys()) {
    if (!seen.has(path)) say(tar, `${path} is missing from it`);
  }
  if (damage.length > 0) return { kind: 'damaged', damage };
  return { kind: 'unpacked', files: seen.size, bytes };
}

/** Files by path, or why it cannot be believed. */
function readManifest(text: string | undefined): Map<string, Wanted> | string {
  if (text === undefined) return 'is missing';
  // The last line holds the hash of all lines before it.
  const body = text.slice(0, text.trimEnd().lastIndexOf('\n') + 1);
  type Manifest = {
    'Manifest-Checksum'?: string;
    Files?: {
      Path?: string;
      'Encoded-Path'?: string;
      Size: number;
      'Checksum-Algorithm'?: string;
      Checksum?: string;
    }[];
  };
  let manifest: Manifest;
  try {
    manifest = JSON.parse(text) as Manifest;
  } catch {
    return 'is no JSON any more';
  }
  const digest = createHash('sha256').update(body).digest('hex');
  if (manifest['Manifest-Checksum'] !== digest) {
    return 'is not what the server sent: its own checksum differs';
  }
  const files = new Map<string, Wanted>();
  for (const file of manifest.Files ?? []) {
    const encoded = file['Encoded-Path'];
    const path = file.Path ?? Buffer.from(encoded ?? '', 'hex').toString();
    if (file['Checksum-Algorithm'] !== 'SHA256') return `has no SHA-256 for ${path}`;
    files.set(path, { size: file.Size, sha256: file.Checksum ?? '' });
  }
  return files.size === 0 ? 'names no files' : files;
}

/** One file at a time, hashed as it is written. */
class DirectoryWriter {
  readonly #root: string;
  readonly #user: ProcessUser | undefined;
  readonly #durable: boolean;
  #file: { descriptor: number; hash: Hash; size: number } | undefined;

  constructor(root: string, user: ProcessUser | undefined, durable: boolean) {
    this.#root = root;
    this.#user = user;
    this.#durable = durable;
  }

  folder(path: string): void {
    const made = mkdirSync(join(this.#root, path), { recursive: true, mode: 0o700 });
    // All that were made, from the outermost one on.
    for (let at = join(this.#root, path); made !== undefined; at = dirname(at)) {
      this.#give(at);
      if (at === made) break;
    }
  }

  begin(path: string): void {
    this.folder(dirname(path));
    const full = join(this.#root, path);
    const descriptor = openSync(full, 'wx', 0o600);
    this.#file = { descriptor, hash: createHash('sha256'), size: 0 };
    this.#give(full);
  }

  write(bytes: Buffer): void {
    if (this.#file === undefined) throw new Error('no file was begun');
    for (let done = 0; done < bytes.length; ) {
      done += writeSync(this.#file.descriptor, bytes, done);
    }
    this.#file.hash.update(bytes);
    this.#file.size += bytes.length;
  }

  finish(): { size: number; sha256: string } | undefined {
    if (this.#file === undefined) return undefined;
    const { descriptor, hash, size } = this.#file;
    this.#file = undefined;
    if (this.#durable) fsyncSync(descriptor);
    closeSync(descriptor);
    return { size, sha256: hash.digest('hex') };
  }

  #give(path: string): void {
    if (this.#user !== undefined) chownSync(path, this.#user.uid, this.#user.gid);
  }
}
