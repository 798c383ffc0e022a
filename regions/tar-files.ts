/**
 * Which bytes of a tar stream belong to which file?
 *
 * As much of the format (POSIX ustar) as PostgreSQL writes in a base backup, fed in pieces of any
 * size. Directories and links come out as files without bytes.
 */

export type TarPiece = { name: string; bytes: Buffer };

/** What a head says of what follows it. */
export type TarEntry = { name: string; kind: 'file' | 'folder' | 'link'; size: number };

const BLOCK = 512;
/** The type flags that are not a plain file's. */
const KINDS: Readonly<Record<number, TarEntry['kind']>> = { 50: 'link', 53: 'folder' };

export class TarFiles {
  #head = Buffer.alloc(0);
  #name = '';
  #left = 0;
  #padding = 0;
  #over = false;
  readonly #onEntry: (entry: TarEntry) => void;

  /** `onEntry` hears of each entry before its bytes; also of those that have none. */
  constructor(onEntry: (entry: TarEntry) => void = () => {}) {
    this.#onEntry = onEntry;
  }

  /** Whether the archive came to its end: one that was cut off did not. */
  get isOver(): boolean {
    return this.#over;
  }

  /** The pieces of files in these bytes, in order. */
  *push(bytes: Buffer): Generator<TarPiece> {
    let rest = bytes;
    while (rest.length > 0) {
      if (this.#left > 0) {
        const piece = rest.subarray(0, this.#left);
        this.#left -= piece.length;
        rest = rest.subarray(piece.length);
        yield { name: this.#name, bytes: piece };
      } else if (this.#padding > 0) {
        const skipped = Math.min(this.#padding, rest.length);
        this.#padding -= skipped;
        rest = rest.subarray(skipped);
      } else {
        const missing = BLOCK - this.#head.length;
        this.#head = Buffer.concat([this.#head, rest.subarray(0, missing)]);
        rest = rest.subarray(missing);
        if (this.#head.length < BLOCK) return;
        this.#begin(this.#head);
        this.#head = Buffer.alloc(0);
      }
    }
  }

  #begin(head: Buffer): void {
    // Two blocks of zeros end an archive.
    if (head[0] === 0) {
      this.#over = true;
      return;
    }
    const prefix = text(head, 345, 155);
    this.#name = prefix === '' ? text(head, 0, 100) : `${prefix}/${text(head, 0, 100)}`;
    this.#left = size(head);
    this.#padding = (BLOCK - (this.#left % BLOCK)) % BLOCK;
    this.#onEntry({ name: this.#name, kind: KINDS[head[156] ?? 0] ?? 'file', size: this.#left });
  }
}

function text(head: Buffer, at: number, length: number): string {
  const field = head.subarray(at, at + length);
  const end = field.indexOf(0);
  return field.toString('utf8', 0, end < 0 ? length : end);
}

/** Octal digits, or from 8 GiB on a big-endian number marked by its first bit. */
function size(head: Buffer): number {
  if (((head[124] ?? 0) & 0x80) === 0) return Number.parseInt(text(head, 124, 12), 8) || 0;
  return head.readUIntBE(130, 6);
}
