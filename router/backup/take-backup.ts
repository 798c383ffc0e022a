/**
 * How does a base backup come to lie in a region's archive?
 *
 * From the primary, with the login of a replica, into a folder that gets its name when everything
 * in it is durable. It counts as taken once the archive has the log up to its end as well: before
 * that it could not be restored.
 */
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { receiveBaseBackup } from '../../regions/base-backup.ts';
import type { Region } from '../../regions/catalogue.ts';
import { giveTo, type ProcessUser } from '../../regions/local/process-user.ts';
import { waitUntil } from '../../regions/local/wait-until.ts';
import { formatLsn, lsnFromPostgres } from '../../regions/position.ts';
import { failureInWords, identifySystem } from '../../regions/replication-client.ts';
import {
  type ArchiveFolder,
  claimArchive,
  lastReceived,
  makeArchive,
  syncFolder,
  textOf,
  UNFINISHED,
  writeWhole,
} from './archive-folder.ts';
import { RegionNodes, type ReplicationLogin, rowsOf } from './region-nodes.ts';

/** The archive is behind by as much as was written while it was copied, and catches up. */
const ARCHIVED_MS_MAX = 30_000;

export type TakeOptions = {
  region: Region;
  folder: ArchiveFolder;
  login: ReplicationLogin;
  durable: boolean;
  wallClock: () => number;
  ending: AbortSignal;
};

/** What `backup.json` says. */
export type BackupNote = {
  id: string;
  /** Wall clock at its beginning and end, milliseconds. */
  startedAtMs: number;
  takenAtMs: number;
  node: string;
  timeline: number;
  from: string;
  to: string;
  bytes: number;
};

export type Taken =
  | {
      kind: 'taken';
      backup: BackupNote /** Whether the log up to its end is archived. */;
      archived: boolean;
    }
  | { kind: 'failed'; because: string };

export async function takeBackup(options: TakeOptions): Promise<Taken> {
  const nodes = new RegionNodes(options.region, options.login);
  try {
    await makeArchive(options.folder);
    return await takeFrom(nodes, options);
  } finally {
    nodes.close();
  }
}

async function takeFrom(nodes: RegionNodes, options: TakeOptions): Promise<Taken> {
  const { region, folder, durable, wallClock, ending } = options;
  const primary = await nodes.primary();
  if (primary === undefined) return failed(`no node of ${region.id} takes writes`);
  const { node } = primary;
  const opened = await nodes.open(node);
  if (opened.kind === 'failed') return failed(`${node.name}: ${failureInWords(opened.failure)}`);
  const { session } = opened;
  const leave = () => session.close();
  ending.addEventListener('abort', leave);
  const startedAtMs = wallClock();
  const id = idOf(startedAtMs);
  const draft = join(folder.base, `${UNFINISHED}${id}`);
  try {
    const system = await identifySystem(session);
    if (system.kind === 'failed') return failed(failureInWords(system.failure));
    const size = await rowsOf(
      session,
      `select setting from pg_settings where name = 'wal_segment_size'`,
    );
    if ('because' in size) return failed(size.because);
    await claimArchive(folder, {
      region: region.id,
      systemId: system.systemId,
      segmentBytes: Number(size.rows[0]?.setting),
    });
    await mkdir(draft, { mode: 0o700 });
    await giveTo(folder.user, draft);
    const archive = await ownFile(join(draft, 'base.tar'), folder.user);
    const manifest = await ownFile(join(draft, 'backup_manifest'), folder.user);
    let received: Awaited<ReturnType<typeof receiveBaseBackup>>;
    try {
      received = await receiveBaseBackup(session, `domicile-${id}`, {
        archive: (bytes) => archive.appendFile(bytes),
        manifest: (bytes) => manifest.appendFile(bytes),
      });
      if (durable) for (const file of [archive, manifest]) await file.sync();
    } finally {
      await archive.close();
      await manifest.close();
    }
    if (received.kind === 'failed') {
      return failed(ending.aborted ? 'it was stopped' : failureInWords(received.failure));
    }
    const { from, to, timeline, bytes } = received;
    const backup: BackupNote = {
      id,
      startedAtMs,
      takenAtMs: wallClock(),
      node: node.name,
      timeline,
      from: formatLsn(from),
      to: formatLsn(to),
      bytes,
    };
    await writeWhole(folder, join(draft, 'backup.json'), JSON.stringify(backup), durable);
    if (durable) await syncFolder(draft);
    await rename(draft, join(folder.base, id));
    if (durable) await syncFolder(folder.base);
    const archived = await waitUntil(
      async () => {
        const reached = await lastReceived(folder);
        if (ending.aborted) return false;
        return (reached !== undefined && reached.flushed >= to) || undefined;
      },
      { timeoutMs: ARCHIVED_MS_MAX, everyMs: 50 },
    );
    return { kind: 'taken', backup, archived: archived === true };
  } finally {
    ending.removeEventListener('abort', leave);
    session.close();
    await rm(draft, { recursive: true, force: true });
  }
}

export async function readNote(folder: string): Promise<BackupNote | undefined> {
  const text = await textOf(join(folder, 'backup.json'));
  return text === undefined ? undefined : (JSON.parse(text) as BackupNote);
}

export const fromOf = ({ from }: BackupNote) => lsnFromPostgres(from);
export const toOf = ({ to }: BackupNote) => lsnFromPostgres(to);

async function ownFile(path: string, user: ProcessUser | undefined): Promise<FileHandle> {
  const file = await open(path, 'wx', 0o600);
  if (user !== undefined) await file.chown(user.uid, user.gid);
  return file;
}

/** Sorts as time does, and is a name on every file system. */
function idOf(ms: number): string {
  return new Date(ms).toISOString().replace(/[-:.]/g, '');
}

function failed(because: string): Taken {
  return { kind: 'failed', because };
}
