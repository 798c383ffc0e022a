/**
 * How does received log become segments that are whole or plainly not?
 *
 * A segment is written under the name `.partial`, always from its beginning, and gets its own name
 * once all of it is durable and its SHA-256 lies beside it. Its length is the full one from the
 * start, with zeros where nothing has come yet: that is how PostgreSQL wants to read it.
 */
import { createHash, type Hash } from 'node:crypto';
import { type FileHandle, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogSink } from '../../regions/log-stream.ts';
import type { Lsn } from '../../regions/position.ts';
import { type ArchiveFolder, DIGEST, PARTIAL, syncFolder, writeWhole } from './archive-folder.ts';
import { segmentName, startOf } from './wal-names.ts';

export type WriterOptions = {
  folder: ArchiveFolder;
  segmentBytes: number;
  timeline: number;
  /** The beginning of a segment. */
  from: Lsn;
  /** Whether what is confirmed survives a crash of the machine. */
  durable: boolean;
  /** Hears of each position once it is durable. */
  onFlushed(flushed: Lsn): Promise<void>;
};

type Open = { name: string; file: FileHandle; hash: Hash };

export class SegmentWriter implements LogSink {
  readonly #options: WriterOptions;
  #next: Lsn;
  #flushed: Lsn;
  #open: Open | undefined;

  constructor(options: WriterOptions) {
    if (options.from % BigInt(options.segmentBytes) !== 0n) {
      throw new RangeError('a segment is received from its beginning');
    }
    this.#options = options;
    this.#next = options.from;
    this.#flushed = options.from;
  }

  async write(start: Lsn, bytes: Buffer): Promise<void> {
    if (start !== this.#next) {
      throw new Error(`the log goes on at ${start}, and ${this.#next} was expected`);
    }
    const { segmentBytes } = this.#options;
    let rest = bytes;
    while (rest.length > 0) {
      const at = Number(this.#next % BigInt(segmentBytes));
      this.#open ??= await this.#begin();
      const piece = rest.subarray(0, segmentBytes - at);
      await writeAll(this.#open.file, piece, at);
      this.#open.hash.update(piece);
      this.#next += BigInt(piece.length);
      rest = rest.subarray(piece.length);
      if (at + piece.length === segmentBytes) await this.#complete(this.#open);
    }
  }

  /** Opens the first segment, empty: the place where an archive goes on. */
  async begin(): Promise<void> {
    this.#open ??= await this.#begin();
  }

  async flush(): Promise<Lsn> {
    if (this.#flushed === this.#next) return this.#flushed;
    const reached = this.#next;
    if (this.#options.durable) await this.#open?.file.datasync();
    this.#flushed = reached;
    await this.#options.onFlushed(reached);
    return reached;
  }

  async close(): Promise<void> {
    await this.#open?.file.close();
    this.#open = undefined;
  }

  async #begin(): Promise<Open> {
    const { folder, segmentBytes, timeline } = this.#options;
    const number = this.#next / BigInt(segmentBytes);
    if (this.#next !== startOf(number, segmentBytes)) throw new Error('not at a beginning');
    const name = segmentName({ timeline, number }, segmentBytes);
    // What lies there from before is the same log, so it is written over and never cut off first.
    const file = await open(join(folder.wal, name + PARTIAL), 'a').then(async (made) => {
      await made.close();
      return open(join(folder.wal, name + PARTIAL), 'r+');
    });
    await file.chmod(0o600);
    if (folder.user !== undefined) await file.chown(folder.user.uid, folder.user.gid);
    await file.truncate(segmentBytes);
    return { name, file, hash: createHash('sha256') };
  }

  async #complete({ name, file, hash }: Open): Promise<void> {
    const { folder, durable } = this.#options;
    if (durable) await file.datasync();
    await file.close();
    this.#open = undefined;
    const path = join(folder.wal, name);
    await writeWhole(folder, path + DIGEST, `${hash.digest('hex')}\n`, durable);
    await rename(path + PARTIAL, path);
    if (durable) await syncFolder(folder.wal);
    this.#flushed = this.#next;
    await this.#options.onFlushed(this.#next);
  }
}

async function writeAll(file: FileHandle, bytes: Buffer, at: number): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
