import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Region } from '../../regions/catalogue.ts';
import { findBinaries } from '../../regions/local/platform-binaries.ts';
import { postgresPidsOn } from '../../regions/local/process-identity.ts';
import { serverUser } from '../../regions/local/process-user.ts';
import type { LocalClusters } from '../../regions/local/start-clusters.ts';
import { waitUntil } from '../../regions/local/wait-until.ts';
import { ask, makeTestWorld, type TestWorld } from '../../regions/local/world-for-tests.ts';
import { lsnFromPostgres } from '../../regions/position.ts';
import { LeasePool } from '../../regions/postgres.ts';
import {
  type ArchiveFolder,
  archiveAt,
  keptLog,
  lastReceived,
  makeArchive,
} from './archive-folder.ts';
import { listBackups, pruneArchive } from './backups.ts';
import { type DrillCheck, type DrillOptions, type DrillReport, drill } from './drill.ts';
import { GENERIC_CHECKS } from './drill-checks.ts';
import { startIsolated, takeSeat } from './isolated-instance.ts';
import { recoverySettings, restoreFiles } from './restore.ts';
import { takeBackup } from './take-backup.ts';

// Commands and servers are started one after the other, on machines that may have much else to do.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const SEGMENT_BYTES = 16 * 1024 * 1024;

let world: TestWorld;
let clusters: LocalClusters;
let region: Region;
let folder: ArchiveFolder;
let place: string;
let archiver: ChildProcess;
/** Acknowledged, in order. */
const acknowledged: number[] = [];
let primary = 'us-a';
let writing = true;
let writers: Promise<void>[] = [];
let nextId = 1;

beforeAll(async () => {
  world = await makeTestWorld(['us']);
  clusters = await world.start();
  const found = world.catalogue.regions.get('us');
  if (found === undefined) throw new Error('no region');
  region = found;
  place = join(world.root, 'postgres');
  folder = archiveAt(join(place, 'backups', 'us'), serverUser(process.geteuid?.()));
  await makeArchive(folder);
  await ask(clusters, primary, async (sql) => {
    await sql`create table owners (id int primary key, name text not null check (name <> ''))`;
    await sql`insert into owners select n, 'owner ' || n from generate_series(1, 50) n`;
    await sql`create table notes (id int primary key, owner int not null references owners,
      text text not null, at timestamptz not null default now())`;
    await sql`create sequence numbers`;
  });
  archiver = startArchiverProcess();
  writers = [0, 1].map((lane) => keepWriting(lane));
  await waitUntil(() => acknowledged.length > 20 || undefined, { timeoutMs: 10_000 });
});

afterAll(async () => {
  writing = false;
  await Promise.allSettled(writers);
  archiver?.kill('SIGKILL');
  await world?.remove();
});

function startArchiverProcess(): ChildProcess {
  const given = {
    region,
    path: folder.path,
    user: folder.user,
    login: clusters.standbyRole('us'),
    durable: false,
  };
  const script = join(import.meta.dirname, 'archiver-for-tests.ts');
  return spawn(process.execPath, [script, JSON.stringify(given)], { stdio: 'inherit' });
}

/** Inserts, updates and deletes in one transaction each; only what was acknowledged is noted. */
async function keepWriting(lane: number): Promise<void> {
  let pool: LeasePool | undefined;
  let at = '';
  while (writing) {
    if (pool === undefined || at !== primary) {
      await pool?.close({ timeoutMs: 100 });
      at = primary;
      pool = new LeasePool({
        endpoint: clusters.superuser(at),
        connectionsMax: 1,
        waitersMax: 1,
        connectTimeoutMs: 1_000,
        settings: {},
      });
    }
    const id = nextId++;
    const outcome = await pool
      .transaction(
        async (sql) => {
          await sql`insert into notes (id, owner, text) values (${id}, ${1 + (id % 50)},
            ${`note ${id} of ${lane}`} || repeat('x', 500))`;
          await sql`update owners set name = name || '.' where id = ${1 + (id % 50)}
            and length(name) < 200`;
          await sql`select nextval('numbers')`;
        },
        { timeoutMs: 1_000 },
      )
      .catch(() => undefined);
    if (outcome?.kind === 'applied') acknowledged.push(id);
    else await new Promise((done) => setTimeout(done, 50));
  }
  await pool?.close({ timeoutMs: 1_000 });
}

async function backUp() {
  const taken = await takeBackup({
    region,
    folder,
    login: clusters.standbyRole('us'),
    durable: false,
    wallClock: Date.now,
    ending: new AbortController().signal,
  });
  if (taken.kind === 'failed') throw new Error(taken.because);
  return taken;
}

async function runDrill(more: Partial<DrillOptions> = {}): Promise<DrillReport> {
  return drill({
    region: 'us',
    folder,
    place,
    binaries: await findBinaries(folder.user, () => {}),
    primary: clusters.superuser(primary),
    reader: 'postgres',
    checks: GENERIC_CHECKS,
    wallClock: Date.now,
    now: () => performance.now(),
    random: () => Math.random().toString(16).slice(2),
    report: () => {},
    ending: new AbortController().signal,
    ...more,
  });
}

/** Everything acknowledged before the drill began must be in what it restores. */
function holdsAcknowledged(): DrillCheck {
  const told = [...acknowledged];
  return {
    name: 'acknowledged',
    run: async ({ pool }) => {
      const rows = await pool.run((sql) => sql<{ id: number }[]>`select id from notes`, {
        timeoutMs: 20_000,
      });
      const there = new Set(rows.map(({ id }) => id));
      const lost = told.filter((id) => !there.has(id));
      return { findings: lost.map((id) => `note ${id} is lost`), looked: told.length };
    },
  };
}

/** A drill that finds nothing to complain of, while writers go on. */
async function goodDrill(): Promise<DrillReport> {
  const before = acknowledged.length;
  const report = await runDrill({ checks: [...GENERIC_CHECKS, holdsAcknowledged()] });
  expect(report.findings).toEqual([]);
  expect(report.verdict).toBe('restorable');
  expect(report.rpo?.ms).toBeLessThan(10_000);
  expect(report.rows).toBeGreaterThanOrEqual(before);
  // Writers do not wait for what is restored, only until the tables have been read.
  expect(report.lockedMs).toBeLessThan(report.rto?.ms ?? 0);
  expect(report.checks.find(({ name }) => name === 'acknowledged')?.looked).toBe(before);
  expect(acknowledged.length).toBeGreaterThan(before);
  expect(await readdir(join(place, 'drills'))).toEqual([]);
  return report;
}

async function archivedUpTo(node: string): Promise<void> {
  const [row] = await ask(
    clusters,
    node,
    (sql) => sql<{ at: string }[]>`select pg_current_wal_flush_lsn()::text as at`,
  );
  const at = lsnFromPostgres(row?.at ?? '');
  const there = await waitUntil(
    async () => ((await lastReceived(folder))?.flushed ?? 0n) >= at || undefined,
    { timeoutMs: 15_000 },
  );
  expect(there).toBe(true);
}

async function switchSegments(count: number): Promise<void> {
  for (let done = 0; done < count; done++) {
    await ask(clusters, primary, async (sql) => {
      await sql`select pg_logical_emit_message(true, 'test', 'something')`;
      await sql`select pg_switch_wal()`;
    });
  }
}

async function wholeSegments(): Promise<string[]> {
  return [...(await keptLog(folder, SEGMENT_BYTES)).whole.keys()].sort();
}

async function killArchiver(): Promise<void> {
  const ended = once(archiver, 'exit');
  archiver.kill('SIGKILL');
  await ended;
}

/** Each ends as it began. */
async function whileFlipped(path: string, at: number, run: () => Promise<void>): Promise<void> {
  const flip = async () => {
    const file = await open(path, 'r+');
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.from([(byte[0] ?? 0) ^ 0x10]), 0, 1, at);
    await file.close();
  };
  await flip();
  await run().finally(flip);
}

test('a base backup is private to its owner, and usable once the log behind it is there', async () => {
  const { backup, archived } = await backUp();
  expect(archived).toBe(true);
  const [found, ...more] = await listBackups(folder);
  expect(more).toEqual([]);
  expect(found).toMatchObject({ id: backup.id, usable: true, because: undefined, timeline: 1 });
  const names = await readdir(folder.wal);
  for (const path of [
    join(folder.base, backup.id, 'base.tar'),
    ...names
      .filter((name) => !name.startsWith('unfinished-'))
      .map((name) => join(folder.wal, name)),
  ]) {
    const { mode, uid } = await stat(path);
    expect([path, mode & 0o777, uid]).toEqual([
      path,
      0o600,
      folder.user?.uid ?? process.geteuid?.(),
    ]);
  }
});

test('a drill restores what the live side has at one point, while two writers do not stop', async () => {
  const report = await goodDrill();
  expect(report.rto?.ms).toBeGreaterThan(0);
  expect(report.tables).toBe(2);
});

test('an archiver that is killed goes on without a gap', async () => {
  await killArchiver();
  const before = acknowledged.length;
  await switchSegments(2);
  await waitUntil(() => acknowledged.length > before + 5 || undefined, { timeoutMs: 10_000 });
  archiver = startArchiverProcess();
  await archivedUpTo(primary);
  const [backup] = await listBackups(folder);
  expect(backup).toMatchObject({ usable: true, because: undefined });
  await goodDrill();
});

describe('what is damaged is refused, with the name of the file', () => {
  test('a byte of a data file', async () => {
    const [backup] = await listBackups(folder);
    const tar = join(folder.base, backup?.id ?? '', 'base.tar');
    await whileFlipped(tar, Math.floor((backup?.bytes ?? 0) / 2), async () => {
      const { verdict, findings } = await runDrill();
      expect(verdict).toBe('findings');
      expect(findings).toHaveLength(1);
      expect(findings[0]?.file).toBe(tar);
      expect(findings[0]?.words).toMatch(/base\/\d+\/\d+.* is not what the server sent/);
    });
  });

  test('a tar archive that was cut off', async () => {
    const [backup] = await listBackups(folder);
    const tar = join(folder.base, backup?.id ?? '', 'base.tar');
    const { size } = await stat(tar);
    const tail = Buffer.alloc(size - 1_000_000);
    const file = await open(tar, 'r+');
    await file.read(tail, 0, tail.length, 1_000_000);
    await file.truncate(1_000_000);
    try {
      const { findings } = await runDrill();
      expect(findings[0]?.words).toContain(`${tar}: is cut off after 1000000 bytes`);
      expect(findings.length).toBeGreaterThan(2);
    } finally {
      await file.write(tail, 0, tail.length, 1_000_000);
      await file.close();
    }
  });

  test('a segment of the log that is missing', async () => {
    const [backup] = await listBackups(folder);
    const segment = (await wholeSegments()).at(-1) ?? '';
    const path = join(folder.wal, segment);
    await rename(path, join(folder.path, 'elsewhere'));
    try {
      const { findings } = await runDrill();
      expect(findings.map(({ words }) => words).join()).toContain(`${path}: is missing`);
      expect((await listBackups(folder))[0]?.because).toContain(`${segment} is missing`);
    } finally {
      await rename(join(folder.path, 'elsewhere'), path);
    }
    expect(backup?.usable).toBe(true);
  });

  test('a byte of a segment of the log', async () => {
    const segment = (await wholeSegments()).at(-1) ?? '';
    const path = join(folder.wal, segment);
    await whileFlipped(path, 4_000, async () => {
      const { findings } = await runDrill();
      expect(findings).toEqual([
        {
          check: 'backup',
          file: path,
          words: `${path}: is not what was received: its SHA-256 differs`,
        },
      ]);
    });
  });

  test('a byte of the segment that is being received, which has no hash yet', async () => {
    await waitUntil(
      async () =>
        ((await lastReceived(folder))?.flushed ?? 0n) % BigInt(SEGMENT_BYTES) > 20_000n ||
        undefined,
      { timeoutMs: 10_000 },
    );
    const [partial = ''] = [...(await keptLog(folder, SEGMENT_BYTES)).partial.keys()].slice(-1);
    await whileFlipped(join(folder.wal, `${partial}.partial`), 10_000, async () => {
      const { findings } = await runDrill();
      expect(findings).toHaveLength(1);
      expect(findings[0]?.words).toContain('recovery did not reach its point');
    });
  });
});

test('a drill that was killed is cleared away by the next one, and two at once are not had', async () => {
  const seat = await takeSeat({ place, region: 'us', user: folder.user, report: () => {} });
  await expect(runDrill()).rejects.toThrow(/A drill of us is under way: process \d+/);
  // Its owner is dead, and a server of it runs on.
  const [backup] = await listBackups(folder);
  if (backup === undefined) throw new Error('no backup');
  const files = await restoreFiles({ folder, backup, into: seat.data, durable: false });
  if (files.kind === 'damaged') throw new Error(JSON.stringify(files));
  const recovery = recoverySettings(folder, files.timeline, { kind: 'end' });
  const binaries = await findBinaries(folder.user, () => {});
  const options = { seat, folder, binaries, name: 'left', durable: false, reader: 'postgres' };
  await startIsolated({ ...options, recovery });
  expect(postgresPidsOn(seat.data).length).toBeGreaterThan(0);
  const owner = join(seat.data, '..', 'owner');
  await writeFile(owner, JSON.stringify({ pid: process.pid, born: 'before' }));
  const steps: string[] = [];
  const report = await runDrill({ report: (step) => steps.push(step) });
  expect(report.verdict).toBe('restorable');
  expect(steps[0]).toContain('removing what a drill that was cut off has left');
  expect(postgresPidsOn(seat.data)).toEqual([]);
  expect(await readdir(join(place, 'drills'))).toEqual([]);
});

test('after a promotion the archive goes on, past what the old primary wrote and nobody was told of', async () => {
  // It keeps for the archive what it may have to hand out as the next primary.
  const kept = await waitUntil(
    async () => {
      const slots = await ask(
        clusters,
        'us-b',
        (sql) => sql`select from pg_replication_slots where slot_name = 'domicile_archive'
          and restart_lsn is not null`,
      );
      return slots.length > 0 || undefined;
    },
    { timeoutMs: 20_000 },
  );
  expect(kept).toBe(true);
  clusters.kill('us-b', 'SIGSTOP');
  const before = await lastReceived(folder);
  // These reach the archive, and nobody else: no commit is acknowledged without the standby.
  await ask(clusters, 'us-a', async (sql) => {
    await sql`set synchronous_commit = off`;
    // Nothing more waits for the frozen standby in the buffers of its connection.
    await sql`select pg_terminate_backend(pid) from pg_stat_replication
      where application_name = 'us-b'`;
    await sql`insert into notes (id, owner, text) select -n, 1, 'never told' from generate_series(1, 500) n`;
  });
  await archivedUpTo('us-a');
  clusters.kill('us-a', 'SIGKILL');
  clusters.kill('us-b', 'SIGCONT');
  await ask(clusters, 'us-b', (sql) => sql`select pg_promote()`);
  primary = 'us-b';
  const followed = await waitUntil(
    async () => (await lastReceived(folder))?.timeline === 2 || undefined,
    { timeoutMs: 20_000 },
  );
  expect(followed).toBe(true);
  const { histories } = await keptLog(folder, SEGMENT_BYTES);
  expect(histories).toEqual([2]);
  expect((await lastReceived(folder))?.node).toBe('us-b');
  expect(before?.timeline).toBe(1);
  await archivedUpTo('us-b');
  const [row] = await ask(
    clusters,
    'us-b',
    (sql) => sql<{ told: boolean }[]>`select exists (select from notes where id < 0) as told`,
  );
  // Otherwise nothing was written beyond the fork.
  expect(row?.told).toBe(false);
  const report = await goodDrill();
  expect(report.backup?.timeline).toBe(1);
});

test('what no usable backup needs goes, and nothing else', async () => {
  const [first] = await listBackups(folder);
  await backUp();
  expect(await pruneArchive(folder, 2)).toEqual({ backups: [], segments: expect.any(Number) });
  const third = await backUp();
  const pruned = await pruneArchive(folder, 2);
  expect(pruned.backups).toEqual([first?.id]);
  expect(pruned.segments).toBeGreaterThan(0);
  const left = await listBackups(folder);
  expect(left.map(({ usable }) => usable)).toEqual([true, true]);
  // The only usable one keeps what it needs, and what is broken does not count as one.
  const tar = join(folder.base, third.backup.id, 'base.tar');
  await rename(tar, join(folder.path, 'elsewhere'));
  expect((await pruneArchive(folder, 1)).backups).toEqual([]);
  expect((await listBackups(folder)).map(({ usable }) => usable)).toEqual([true, false]);
  await rename(join(folder.path, 'elsewhere'), tar);
});

test('a server that has given up what the archive lacks leaves a hole, and it is said', async () => {
  // What the last backup needs lies in whole segments, so that the hole comes after it.
  await switchSegments(1);
  await archivedUpTo(primary);
  await killArchiver();
  await switchSegments(1);
  // What has come is still restored and looked at, but it is not what the region has.
  const behind = await runDrill({ patienceMs: 500, checks: [] });
  expect(behind.verdict).toBe('findings');
  expect(behind.findings[0]?.words).toMatch(/the archive ends at .* Does its archiver run\?$/);
  expect(behind.rpo?.bytes).toBeGreaterThan(1_000);
  expect(behind.rpo?.ms).toBeGreaterThan(500);
  expect(behind.checks.map(({ because }) => because)).toEqual([expect.any(String), undefined]);
  await ask(clusters, primary, async (sql) => {
    await sql`alter system set max_slot_wal_keep_size = '16MB'`;
    await sql`alter system set wal_keep_size = 0`;
    await sql`alter system set max_wal_size = '32MB'`;
    await sql`select pg_reload_conf()`;
  });
  const lost = await waitUntil(
    async () => {
      await switchSegments(2);
      const [slot] = await ask(clusters, primary, async (sql) => {
        await sql`checkpoint`;
        return sql<{ status: string }[]>`
          select wal_status as status from pg_replication_slots
          where slot_name = 'domicile_archive'`;
      });
      return slot?.status === 'lost' || undefined;
    },
    { timeoutMs: 20_000 },
  );
  expect(lost).toBe(true);
  archiver = startArchiverProcess();
  await archivedUpTo(primary);
  expect((await listBackups(folder)).at(-1)).toMatchObject({
    usable: true,
    because: expect.stringMatching(/^only up to .*: [0-9A-F]{24} is missing$/),
  });
  const { findings } = await runDrill();
  expect(findings[0]?.words).toContain('is missing, so the log ends at');
  await backUp();
  await goodDrill();
});
