/**
 * Which of these texts lie in the files below a folder?
 *
 * Every byte of every regular file, as it is, in hexadecimal digits, and within base64. Files come
 * and go under running servers; one that is gone before it could be read held nothing that stayed.
 * Links are not followed: below the data directories of a local world there are none.
 * What is compressed or encrypted hides anything: whoever asks has to know of a text that must be
 * there, and see it found.
 */
import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join, relative } from 'node:path';

export type Found = { text: string; path: string; offset: number };
export type Search = { found: readonly Found[]; files: number; unread: readonly string[] };

const CHUNK_BYTES = 1024 * 1024;
/** A shorter beginning would stop the search at every other byte. */
const PREFIX_BYTES_MIN = 5;

type Form = { text: string; bytes: Buffer };
/** Forms that begin alike, so that one search finds where any of them may begin. */
type Group = { prefix: Buffer; forms: readonly Form[] };

/** Of each text the first place in each file. `path` is relative to `folder`. */
export async function findMarks(
  folder: string,
  texts: readonly string[],
  takes: (path: string) => boolean = () => true,
): Promise<Search> {
  const groups = groupsOf(texts);
  const longest = Math.max(
    ...groups.flatMap(({ forms }) => forms.map(({ bytes }) => bytes.length)),
  );
  const room = Buffer.alloc(CHUNK_BYTES + longest);
  const search: { found: Found[]; files: number; unread: string[] } = {
    found: [],
    files: 0,
    unread: [],
  };
  const pending = [folder];
  for (let at = pending.pop(); at !== undefined; at = pending.pop()) {
    const entries = await readdir(at, { withFileTypes: true }).catch(given(at, search.unread, []));
    for (const entry of entries) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) pending.push(path);
      else if (entry.isFile() && takes(relative(folder, path))) {
        const first = await firstPlaces(path, groups, room, longest).catch(
          given(path, search.unread, undefined),
        );
        if (first === undefined) continue;
        search.files++;
        for (const [text, offset] of first) {
          search.found.push({ text, path: relative(folder, path), offset });
        }
      }
    }
  }
  return search;
}

async function firstPlaces(
  path: string,
  groups: readonly Group[],
  room: Buffer,
  longest: number,
): Promise<Map<string, number>> {
  const first = new Map<string, number>();
  const file: FileHandle = await open(path, 'r');
  try {
    let kept = 0;
    for (let offset = 0; ; ) {
      const { bytesRead } = await file.read(room, kept, CHUNK_BYTES);
      if (bytesRead === 0) return first;
      const filled = room.subarray(0, kept + bytesRead);
      for (const { prefix, forms } of groups) {
        for (let at = filled.indexOf(prefix); at >= 0; at = filled.indexOf(prefix, at + 1)) {
          for (const { text, bytes } of forms) {
            const isHere = filled.subarray(at, at + bytes.length).equals(bytes);
            if (isHere && !first.has(text)) first.set(text, offset + at);
          }
        }
      }
      // A text may begin in this chunk and end in the next one.
      const keep = Math.min(filled.length, longest - 1);
      offset += filled.length - keep;
      filled.copy(room, 0, filled.length - keep);
      kept = keep;
    }
  } finally {
    await file.close();
  }
}

function groupsOf(texts: readonly string[]): Group[] {
  const ways: ((text: string) => Buffer)[] = [
    (text) => Buffer.from(text),
    (text) => Buffer.from(Buffer.from(text).toString('hex')),
    ...[0, 1, 2].map((before) => (text: string) => Buffer.from(insideBase64(text, before))),
  ];
  return ways.flatMap((way) => {
    const forms = texts.map((text) => ({ text, bytes: way(text) }));
    const prefix = commonPrefix(forms.map(({ bytes }) => bytes));
    if (prefix.length >= PREFIX_BYTES_MIN) return [{ prefix, forms }];
    return forms.map((form) => ({ prefix: form.bytes, forms: [form] }));
  });
}

/** The characters that stand for this text alone where it begins after so many bytes of a third. */
function insideBase64(text: string, before: number): string {
  const whole = Buffer.concat([Buffer.alloc(before), Buffer.from(text)]);
  return whole
    .toString('base64')
    .slice(Math.ceil((before * 4) / 3), Math.floor((whole.length * 4) / 3));
}

function commonPrefix(all: readonly Buffer[]): Buffer {
  const [one = Buffer.alloc(0), ...others] = all;
  let length = one.length;
  for (const other of others) {
    let same = 0;
    while (same < length && other[same] === one[same]) same++;
    length = same;
  }
  return one.subarray(0, length);
}

/** What is gone is nothing; what cannot be read is noted. */
function given<T>(path: string, unread: string[], instead: T): (error: unknown) => T {
  return (error) => {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    if (code !== 'ENOENT') unread.push(`${path} (${code})`);
    return instead;
  };
}
