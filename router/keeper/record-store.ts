/**
 * Where does a keeper's record lie, so that no version is written twice and none is lost?
 *
 * Each version is a file of its own, named by its number. A file appears by a link, which the file
 * system grants once: that is the compare-and-swap. File and folder are flushed before a version
 * counts, because the keeper acts on it next. Old versions are the region's history.
 */
import { mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type KeeperRecord, readRecord } from '../../policies/keeper/record.ts';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import { linkIfFree } from '../../regions/local/world-lock.ts';

export type RecordStore = {
  /** The newest version; undefined when there is none yet. */
  read(): Promise<KeeperRecord | undefined>;
  /** False when somebody else has written this version, or a later one. Durable when true. */
  write(next: KeeperRecord): Promise<boolean>;
  /** Oldest first, at most `count` of the newest. */
  history(count: number): Promise<KeeperRecord[]>;
};

/** A file that cannot be read as what this store writes. Nothing is decided on such a memory. */
export class DamagedRecord extends CannotStart {}

const NAME = /^record\.(\d{8})\.json$/;

export function fileRecordStore(folder: string): RecordStore {
  const versions = async () => {
    const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    return names
      .flatMap((name) => NAME.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
  };
  const at = async (version: number): Promise<KeeperRecord> => {
    const path = join(folder, fileOf(version));
    const text = await readFile(path, 'utf8');
    const record = parse(text);
    if (record?.version === version) return record;
    throw new DamagedRecord(
      `${path} is not what a keeper has written; put it back from a copy, or move it away to go on from the version before it`,
    );
  };
  return {
    async read() {
      const newest = (await versions()).at(-1);
      return newest === undefined ? undefined : at(newest);
    },

    async write(next) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      if (((await versions()).at(-1) ?? 0) !== next.version - 1) return false;
      const desk = await mkdtemp(join(folder, 'draft-'));
      const draft = join(desk, 'record');
      try {
        const file = await open(draft, 'w', 0o600);
        try {
          await file.writeFile(`${JSON.stringify(next, null, 2)}\n`);
          await file.sync();
        } finally {
          await file.close();
        }
        if (!(await linkIfFree(draft, join(folder, fileOf(next.version))))) return false;
      } finally {
        await rm(desk, { recursive: true, force: true });
      }
      const directory = await open(folder, 'r');
      try {
        await directory.sync();
      } finally {
        await directory.close();
      }
      return true;
    },

    async history(count) {
      return Promise.all((await versions()).slice(-count).map(at));
    },
  };
}

function fileOf(version: number): string {
  return `record.${String(version).padStart(8, '0')}.json`;
}

function parse(text: string): KeeperRecord | undefined {
  try {
    return readRecord(JSON.parse(text));
  } catch {
    return undefined;
  }
}
