/**
 * Where does a drill's restored server run, so that it touches nothing and nothing of it stays?
 *
 * In a folder and on a port of its own, on loopback, for the superuser and the reader only. It
 * follows nobody, feeds nobody and archives nothing: no standby, no apply workers, no walsenders.
 * A drill that was killed leaves a folder whose owner is dead; the next drill ends what runs in it
 * and removes it first.
 */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { CannotStart } from '../../regions/local/cannot-start.ts';
import type { Binaries } from '../../regions/local/platform-binaries.ts';
import { freePorts } from '../../regions/local/ports.ts';
import { DISCREET_LOG, ON_THIS_MACHINE, SUPERUSER } from '../../regions/local/postgres-settings.ts';
import { birthOf } from '../../regions/local/process-identity.ts';
import { giveTo, type ProcessUser } from '../../regions/local/process-user.ts';
import { endLeftover, ServerProcess } from '../../regions/local/server-process.ts';
import type { ArchiveFolder } from './archive-folder.ts';
import { namesIn } from './archive-folder.ts';
import { askForRecovery, settingLines, writeOwn } from './restore.ts';

/** Recovery replays hours of log; a drill that takes longer is not one. */
const READY_MS_MAX = 3_600_000;

export type DrillSeat = {
  /** The data directory, which does not exist yet. */
  data: string;
  logFile: string;
  port: number;
  /** Ends the server if it runs, and removes everything. */
  remove(): Promise<void>;
};

/** @throws CannotStart while another drill of the region is under way. */
export async function takeSeat(given: {
  /** Below it the servers' user finds its way. */
  place: string;
  region: string;
  user: ProcessUser | undefined;
  report: (step: string) => void;
}): Promise<DrillSeat> {
  const { place, region, user, report } = given;
  const drills = join(place, 'drills');
  await mkdir(drills, { recursive: true });
  await giveTo(user, drills);
  const folder = join(drills, region);
  for (const name of await namesIn(drills)) {
    if (name.startsWith(`${region}.gone-`)) await removeFolder(join(drills, name));
  }
  for (;;) {
    try {
      await mkdir(folder, { mode: 0o700 });
      break;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      await clearDead(folder, region, report);
    }
  }
  const born = birthOf(process.pid);
  await writeFile(join(folder, 'owner'), JSON.stringify({ pid: process.pid, born }));
  await giveTo(user, folder);
  const [port = 0] = await freePorts(1);
  return {
    data: join(folder, 'data'),
    logFile: join(folder, 'log'),
    port,
    remove: () => removeFolder(folder),
  };
}

async function clearDead(
  folder: string,
  region: string,
  report: (step: string) => void,
): Promise<void> {
  const text = await readFile(join(folder, 'owner'), 'utf8').catch(() => '{}');
  const { pid, born } = JSON.parse(text === '' ? '{}' : text) as { pid?: number; born?: string };
  if (pid !== undefined && birthOf(pid) === born) {
    throw new CannotStart(`A drill of ${region} is under way: process ${pid} runs it.`);
  }
  report(`removing what a drill that was cut off has left in ${folder}`);
  // Whoever renames it first removes it.
  const gone = `${folder}.gone-${process.pid}`;
  await endLeftover(join(folder, 'data'));
  await rename(folder, gone).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error;
  });
  await removeFolder(gone);
}

async function removeFolder(folder: string): Promise<void> {
  await endLeftover(join(folder, 'data'));
  await rm(folder, { recursive: true, force: true, maxRetries: 20 });
}

export type InstanceOptions = {
  seat: DrillSeat;
  folder: ArchiveFolder;
  binaries: Binaries;
  name: string;
  /** As the live server writes. */
  durable: boolean;
  recovery: Readonly<Record<string, string>>;
  /** A login besides the superuser that may come in. */
  reader: string;
};

/** Settings and start; resolves when recovery is over and connections are taken. */
export async function startIsolated(options: InstanceOptions): Promise<ServerProcess> {
  const { seat, folder, binaries, name, durable, recovery, reader } = options;
  const settings = {
    ...ISOLATED,
    port: seat.port,
    cluster_name: name,
    fsync: durable,
    ...recovery,
  };
  await writeOwn(join(seat.data, 'postgresql.conf'), settingLines(settings), folder.user);
  // Whatever the live server was told at run time is not for this one.
  await writeOwn(join(seat.data, 'postgresql.auto.conf'), '', folder.user);
  const who = `${SUPERUSER},${reader}`;
  const hba = `host all ${who} 127.0.0.1/32 scram-sha-256\n`;
  await writeOwn(join(seat.data, 'pg_hba.conf'), hba, folder.user);
  await askForRecovery(seat.data, folder);
  const server = new ServerProcess({
    name,
    dataDirectory: seat.data,
    logFile: seat.logFile,
    binaries,
    user: folder.user,
    readyLimitMs: READY_MS_MAX,
    onExit: () => {},
  });
  await server.start();
  return server;
}

const ISOLATED = {
  ...ON_THIS_MACHINE,
  shared_buffers: '64MB',
  max_connections: 20,
  // Nobody is let in before recovery is over, so the primary's larger limits do not bind it.
  hot_standby: false,
  // Nothing follows it, and it follows nothing.
  wal_level: 'replica',
  max_wal_senders: 0,
  max_logical_replication_workers: 0,
  sync_replication_slots: false,
  primary_conninfo: '',
  synchronous_standby_names: '',
  archive_mode: 'off',
  // Recovery brings the progress of subscriptions along.
  max_active_replication_origins: 64,
  max_prepared_transactions: 64,
  autovacuum: false,
  track_commit_timestamp: true,
  ...DISCREET_LOG,
} as const;

/** The folder above a data directory that the drill made. */
export const folderOf = (seat: DrillSeat) => dirname(seat.data);
