/**
 * Is this text anywhere in the memory of that process?
 *
 * Reads all of `/proc/PID/mem` that can be read, which only Linux has, and looks for the text as
 * UTF-8, as UTF-16, in base64 and in hexadecimal. One look is not a proof: what was there before
 * may have been overwritten, so a test also shows that it finds what it should.
 */
import { open, readFile } from 'node:fs/promises';

const PIECE_BYTES = 8 * 1024 * 1024;

/** Which of these texts are there now. */
export async function inMemory(pid: number, texts: readonly string[]): Promise<string[]> {
  const forms = texts.map((text) => ({ text, bytes: formsOf(text) }));
  const overlap = Math.max(...forms.flatMap(({ bytes }) => bytes.map(({ length }) => length)));
  const found = new Set<string>();
  const memory = await open(`/proc/${pid}/mem`);
  try {
    for (const { from, to } of await readable(pid)) {
      for (let at = from; at < to; at += PIECE_BYTES - overlap) {
        const piece = Buffer.alloc(Math.min(PIECE_BYTES, to - at));
        // What was unmapped meanwhile holds nothing any more.
        const read = await memory.read(piece, 0, piece.length, at).catch(() => undefined);
        const bytes = piece.subarray(0, read?.bytesRead ?? 0);
        for (const form of forms) {
          if (form.bytes.some((one) => bytes.includes(one))) found.add(form.text);
        }
        if (at + piece.length >= to) break;
      }
    }
  } finally {
    await memory.close();
  }
  return texts.filter((text) => found.has(text));
}

/** Base64 depends on where in a group of three bytes the text begins; the middle does not. */
export function formsOf(text: string): Buffer[] {
  const plain = Buffer.from(text);
  const base64 = [0, 1, 2].map((shift) => {
    const padded = Buffer.concat([Buffer.alloc(shift), plain]).toString('base64');
    return Buffer.from(padded.slice(shift === 0 ? 0 : 4, -4));
  });
  return [plain, Buffer.from(text, 'utf16le'), Buffer.from(plain.toString('hex')), ...base64];
}

async function readable(pid: number): Promise<{ from: number; to: number }[]> {
  const maps = await readFile(`/proc/${pid}/maps`, 'utf8');
  return maps.split('\n').flatMap((line) => {
    const [, from = '', to = ''] = /^([0-9a-f]+)-([0-9a-f]+) r/.exec(line) ?? [];
    // The kernel's own pages cannot be read this way.
    if (from === '' || line.includes('[vvar') || line.includes('[vsyscall]')) return [];
    return [{ from: Number.parseInt(from, 16), to: Number.parseInt(to, 16) }];
  });
}
