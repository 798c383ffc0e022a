/** Whether a quorum, and commits that wait for nobody, keep what each of them promises. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually, problemOf, tokenOf } from '../world-for-tests.ts';
import { type KeptRegion, startKeptRegion } from './kept-region-for-tests.ts';
import { Writers } from './region-for-tests.ts';

const USER = 'somebody';
/** Servers of a busy machine are copied and started again in it. */
const LIMIT_MS = 300_000;

let region: KeptRegion;
/** Every note that was acknowledged and that nobody has accepted the loss of. */
let acknowledged: string[] = [];
let nth = 0;

async function begin(nodes: readonly string[], failover: string): Promise<void> {
  acknowledged = [];
  region = await startKeptRegion(
    nodes.map((name) => ({ name })),
    failover,
  );
  await eventually('the edge takes people in', async () => {
    const made = { id: USER, name: 'Somebody', country: 'DE' };
    return (await region.call('POST', '/users', { body: made })).status === 201;
  });
}

type Written = { note: string; token: string | undefined; durability: unknown };

/** Until a write is acknowledged. */
async function nextWrite(): Promise<Written> {
  let written: Written | undefined;
  await eventually(
    'a write is acknowledged',
    async () => {
      const note = `by-hand-${nth++}`;
      const answer = await region.call('POST', `/users/${USER}/notes/${note}`);
      if (answer.status !== 201) return false;
      written = { note, token: tokenOf(answer), durability: answer.headers['domicile-durability'] };
      return true;
    },
    120_000,
  );
  acknowledged.push(written?.note ?? '');
  return written as Written;
}

async function lostAt(node: string): Promise<string[]> {
  const stored = await region.notesAt(node);
  return acknowledged.filter((note) => !stored.has(note));
}

async function writing<T>(
  use: (writers: Writers) => Promise<T>,
): Promise<{ result: T; writers: Writers }> {
  const writers = new Writers(region.edgeUrl, USER, 4);
  try {
    await pause(500);
    const result = await use(writers);
    await pause(500);
    return { result, writers };
  } finally {
    await writers.stop();
    acknowledged.push(...writers.acknowledged.map(({ note }) => note));
  }
}

/** More was acknowledged than at the time of this call. */
async function goesOn(writers: Writers): Promise<void> {
  const before = writers.acknowledged.length;
  await eventually('writes go on', async () => writers.acknowledged.length > before + 20, 120_000);
}

/** Freezes what a standby receives with, so that it falls behind and answers all the same. */
async function deafen(node: string): Promise<() => void> {
  const [row] = await region.sql(
    node,
    (sql) => sql<{ pid: number }[]>`select pid from pg_stat_wal_receiver`,
  );
  if (row === undefined) throw new Error(`${node} receives nothing`);
  process.kill(row.pid, 'SIGSTOP');
  return () => {
    try {
      process.kill(row.pid, 'SIGCONT');
    } catch {
      // Its server was ended meanwhile.
    }
  };
}

const flushed = (node: string) =>
  region.sql(node, async (sql) => {
    const [row] = await sql<{ bytes: string }[]>`
      select (case when pg_is_in_recovery() then pg_last_wal_receive_lsn()
        else pg_current_wal_flush_lsn() end - '0/0'::pg_lsn)::text as bytes`;
    return BigInt(row?.bytes ?? 0);
  });

describe('a quorum of three', () => {
  beforeAll(
    () => begin(['eu-a', 'eu-b', 'eu-c'], 'failover: { scope: region, commits: quorum }'),
    LIMIT_MS,
  );
  afterAll(() => region?.remove());

  const whole = () =>
    region.settled('both standbys are named', ({ standbys }) => standbys.length === 2);

  test.each(['first', 'last'] as const)(
    'the standby that is ahead takes over, be the %s one by name behind',
    async (which) => {
      const { primary, standbys } = await whole();
      const [behind = '', ahead = ''] = which === 'first' ? standbys : [...standbys].reverse();
      const { writers } = await writing(async (load) => {
        const hearAgain = await deafen(behind);
        try {
          await goesOn(load);
          // Nobody has done without it yet: that would make it easy.
          expect((await region.record()).standbys).toEqual(standbys);
          region.lose(primary);
          const gap = (await flushed(ahead)) - (await flushed(behind));
          expect(gap).toBeGreaterThan(0n);
          await eventually(
            'somebody takes over',
            async () => {
              const record = await region.record();
              return record.primary !== primary && record.pending === null;
            },
            120_000,
          );
        } finally {
          hearAgain();
        }
        expect((await region.record()).primary).toBe(ahead);
        await goesOn(load);
      });
      expect(await lostAt(ahead)).toEqual([]);
      // A write whose fate nobody knows is said to be one, and none is denied that happened.
      const stored = await region.notesAt(ahead);
      expect(stored.size).toBeGreaterThanOrEqual(acknowledged.length);
      expect(
        [...writers.others.keys()].filter((kind) => !/unknown|write-not-applied/.test(kind)),
      ).toEqual([]);
      await region.bring(primary);
      expect((await whole()).primary).toBe(ahead);
    },
    LIMIT_MS,
  );

  test(
    'the loss of one standby is not waited for',
    async () => {
      const { primary, standbys } = await whole();
      const { result, writers } = await writing(async (load) => {
        const lostAtMs = performance.now();
        region.lose(standbys[0] ?? '');
        await region.settled('the other one is enough', (record) => record.standbys.length === 1);
        await goesOn(load);
        return lostAtMs;
      });
      expect([...writers.others]).toEqual([]);
      console.info(
        `loss of one of two standbys: ${Math.round(writers.pauseSince(result).pauseMs)} ms`,
      );
      expect((await nextWrite()).durability).toBe('replicated');
      expect((await region.record()).primary).toBe(primary);
      await region.bring(standbys[0] ?? '');
      await whole();
    },
    LIMIT_MS,
  );

  test(
    'without both the primary goes on alone and says so, and nobody but it takes over',
    async () => {
      const { primary, standbys } = await whole();
      region.lose(...standbys);
      const { durability } = await nextWrite();
      expect(durability).toBe('alone');
      const status = await region.command('status');
      expect([status.status, status.stdout]).toEqual([1, expect.stringContaining('It runs alone')]);
      // They have not what it acknowledged since.
      region.lose(primary);
      await region.bring(...standbys);
      await eventually('the keeper says why it does nothing', async () => {
        const { why } = await region.status();
        return why?.startsWith('it ran alone') === true;
      });
      await region.bring(primary);
      expect((await whole()).primary).toBe(primary);
      expect(await lostAt(primary)).toEqual([]);
    },
    LIMIT_MS,
  );

  test(
    'a switchover makes its heir the only one that commits wait for, and fails nothing',
    async () => {
      const { standbys } = await whole();
      const heir = standbys.at(-1) ?? '';
      const { result, writers } = await writing(() => region.command('switchover', '--to', heir));
      expect([result.status, result.stdout]).toEqual([
        0,
        expect.stringContaining(`eu: ${heir} is the primary`),
      ]);
      expect([...writers.others]).toEqual([]);
      expect(await lostAt(heir)).toEqual([]);
      const history = await region.history();
      const handed = history.findLast(({ event }) => event.kind === 'switchover');
      expect(handed?.standbys).toEqual([heir]);
      await whole();
    },
    LIMIT_MS,
  );
});

describe('commits that wait for nobody', () => {
  const ACCEPTED = 'The last seconds of notes; accepted by the notes team.';
  beforeAll(
    () =>
      begin(
        ['eu-a', 'eu-b'],
        `failover: { scope: region, commits: asynchronous, possibleLoss: "${ACCEPTED}" }`,
      ),
    LIMIT_MS,
  );
  afterAll(() => region?.remove());

  test(
    'a write says that nobody else has it',
    async () => {
      await region.settled('the record has no standby', ({ standbys }) => standbys.length === 0);
      expect((await nextWrite()).durability).toBe('asynchronous');
      const status = await region.command('status');
      expect(status.stdout).toContain('commits wait for nobody, as the policy wants it');
    },
    LIMIT_MS,
  );

  test(
    'a switchover loses nothing all the same',
    async () => {
      const { result, writers } = await writing(() => region.command('switchover'));
      expect([result.status, result.stdout]).toEqual([
        0,
        expect.stringContaining('eu: eu-b is the primary'),
      ]);
      expect([...writers.others]).toEqual([]);
      expect(await lostAt('eu-b')).toEqual([]);
      expect((await nextWrite()).durability).toBe('asynchronous');
      await eventually(
        'the former primary follows',
        async () => {
          const { nodes } = await region.status();
          return nodes.some(
            ({ node, says }) => node === 'eu-a' && says.startsWith('replica on timeline 2'),
          );
        },
        120_000,
      );
    },
    LIMIT_MS,
  );

  test(
    'a failover loses what the policy accepts, tells those whom it concerns, and throws nothing away',
    async () => {
      await eventually('eu-a has everything', async () => (await lostAt('eu-a')).length === 0);
      const before = await nextWrite();
      await eventually('eu-a has it', async () => (await lostAt('eu-a')).length === 0);
      const hearAgain = await deafen('eu-a');
      // Or it would find in its socket what was sent to it while it slept.
      await region.sql(
        'eu-b',
        (sql) => sql`select pg_terminate_backend(pid) from pg_stat_replication`,
      );
      let after: Written;
      try {
        after = await nextWrite();
        region.clusters.kill('eu-b', 'SIGKILL');
      } finally {
        // Whoever receives has to end before its server can be promoted.
        hearAgain();
      }
      await eventually(
        'eu-a takes over',
        async () => {
          const { primary, pending } = await region.record();
          return primary === 'eu-a' && pending === null;
        },
        120_000,
      );
      acknowledged.splice(acknowledged.indexOf(after.note), 1);
      expect(await region.notesAt('eu-a')).not.toContain(after.note);
      const told = await region.call('GET', `/users/${USER}/notes`, { token: after.token });
      expect(problemOf(told)).toEqual([409, 'session-guarantee-lost', 'after-change']);
      // Whoever has seen nothing that is gone is served as before.
      await eventually('the other session is served', async () => {
        const read = await region.call('GET', `/users/${USER}/notes`, { token: before.token });
        expect(read.json?.type ?? '').not.toContain('session-guarantee-lost');
        return read.status === 200 && read.json.includes(before.note);
      });
      expect((await nextWrite()).durability).toBe('asynchronous');
      expect(await lostAt('eu-a')).toEqual([]);
      const history = await region.command('history');
      expect(history.stdout).toContain(`the policy accepts what is lost: ${ACCEPTED}`);
      await eventually(
        'the former primary follows',
        async () => {
          const { nodes } = await region.status();
          return nodes.some(
            ({ node, says }) => node === 'eu-b' && says.startsWith('replica on timeline 3'),
          );
        },
        120_000,
      );
      expect(await region.keptAside('eu-b')).toBe(1);
    },
    LIMIT_MS,
  );
});
