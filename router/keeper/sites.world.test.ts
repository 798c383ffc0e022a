/** Whether a primary goes to another site of its region by order only, and loses nothing unsaid. */
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { KeeperRecord } from '../../policies/keeper/record.ts';
import { lsnFromPostgres } from '../../regions/position.ts';
import { eventually, problemOf, tokenOf } from '../world-for-tests.ts';
import { type KeptRegion, startKeptRegion } from './kept-region-for-tests.ts';
import { Writers } from './region-for-tests.ts';

const ONE = ['eu-a', 'eu-b'];
const TWO = ['eu-c', 'eu-d'];
const NODES = [
  ...ONE.map((name) => ({ name, site: 'eu-1' })),
  ...TWO.map((name) => ({ name, site: 'eu-2' })),
];
const FAILOVER = 'failover: { scope: region, sites: { eu: [eu-1, eu-2] } }';
const USER = 'somebody';
/** Servers of a busy machine are copied and started again in a test. */
const LIMIT_MS = 300_000;
vi.setConfig({ testTimeout: LIMIT_MS, hookTimeout: LIMIT_MS });

let region: KeptRegion;
/** Every note that was acknowledged and that nobody has accepted the loss of. */
const acknowledged: string[] = [];
let nth = 0;

const siteOf = (node: string) => (ONE.includes(node) ? 'eu-1' : 'eu-2');
const at = (site: string) => (record: KeeperRecord) =>
  siteOf(record.primary) === site &&
  record.standbys.length === 1 &&
  siteOf(record.standbys[0] ?? '') === site;

/** Until a write is acknowledged; its note and the session that knows of it. */
async function nextWrite(): Promise<{ note: string; token: string | undefined }> {
  let written: { note: string; token: string | undefined } | undefined;
  await eventually(
    'a write is acknowledged',
    async () => {
      const note = `by-hand-${nth++}`;
      const answer = await region.call('POST', `/users/${USER}/notes/${note}`);
      if (answer.status === 201) written = { note, token: tokenOf(answer) };
      return written !== undefined;
    },
    120_000,
  );
  acknowledged.push(written?.note ?? '');
  return written as { note: string; token: string | undefined };
}

async function lostAt(node: string): Promise<string[]> {
  const stored = await region.notesAt(node);
  return acknowledged.filter((note) => !stored.has(note));
}

async function writing<T>(use: () => Promise<T>): Promise<{ result: T; writers: Writers }> {
  const writers = new Writers(region.edgeUrl, USER, 4);
  try {
    await pause(500);
    const result = await use();
    await pause(500);
    return { result, writers };
  } finally {
    await writers.stop();
    acknowledged.push(...writers.acknowledged.map(({ note }) => note));
  }
}

beforeAll(async () => {
  region = await startKeptRegion(NODES, FAILOVER);
  await eventually('the edge takes people in', async () => {
    const made = { id: USER, name: 'Somebody', country: 'DE' };
    return (await region.call('POST', '/users', { body: made })).status === 201;
  });
});
afterAll(() => region?.remove());

test('commits wait for the standby at the primary’s own site, and status says where nodes stand', async () => {
  const record = await region.settled('one standby is named', at('eu-1'));
  expect(record).toMatchObject({ primary: 'eu-a', standbys: ['eu-b'] });
  const { stdout } = await region.command('status');
  expect(stdout).toMatch(/eu-a {9}at eu-1 {5}primary on timeline 1/);
  expect(stdout).toMatch(/eu-c {9}at eu-2 {5}replica on timeline 1/);
});

test('a site that the policy does not list is refused, with file and line', async () => {
  const before = (await region.record()).version;
  const refused = await region.command('relocate-primary', '--to', 'eu-9');
  expect([refused.status, refused.stdout]).toEqual([
    1,
    expect.stringMatching(
      /eu-9 is not among the sites that .*residency\.yaml:17 lists for eu: eu-1, eu-2\. Nothing was changed/,
    ),
  ]);
  const there = await region.command('relocate-primary', '--to', 'eu-1');
  expect([there.status, there.stdout]).toEqual([
    1,
    expect.stringContaining('eu-a, the primary, is at eu-1 already'),
  ]);
  const half = await region.command('relocate-primary', '--to', 'eu-2', '--accept-loss');
  expect([half.status, half.stdout]).toEqual([1, expect.stringContaining('belong together')]);
  expect((await region.record()).version).toBe(before);
});

test('while everything is well the primary moves under load: nothing fails and nothing is lost', async () => {
  const { result, writers } = await writing(async () => {
    const fromMs = performance.now();
    const ran = await region.command('relocate-primary', '--to', 'eu-2', '--by', 'a test');
    return { fromMs, ran };
  });
  expect([result.ran.status, result.ran.stderr]).toEqual([0, '']);
  expect([...writers.others]).toEqual([]);
  const { pauseMs } = writers.pauseSince(result.fromMs);
  console.info(`relocation: writes paused for ${Math.round(pauseMs)} ms`);
  const record = await region.settled('its standby is at the new site, too', at('eu-2'));
  expect(await lostAt(record.primary)).toEqual([]);
  const history = await region.command('history', '--count', '100');
  expect(history.stdout).toContain('eu-a is to move to eu-2: eu-c or eu-d, asked for by a test');
  expect(history.stdout).toMatch(/eu-a is deposed, eu-[cd] takes over: a switchover to eu-[cd]/);
  expect(history.stdout).toMatch(/commits no longer wait for eu-b: eu-[cd] is enough/);
});

test('a site that is lost is not replaced without an order, nor without --accept-loss where the other one may lack writes', async () => {
  const { primary: old, timeline } = await region.settled('all is well', at('eu-2'));
  // The other site falls behind. What was sent while it slept must not be found in its sockets.
  for (const node of ONE) region.clusters.kill(node, 'SIGSTOP');
  await region.sql(
    old,
    (sql) => sql`select pg_terminate_backend(pid) from pg_stat_replication
      where application_name = any (${sql.array(ONE)})`,
  );
  const kept = await region.sql(
    old,
    (sql) => sql<{ n: number }[]>`select count(*)::int as n from app.notes`,
  );
  const { note, token } = await nextWrite();
  // So that the keeper can say how much is missing, it has to have looked since.
  const [written] = await region.sql(
    old,
    (sql) => sql<{ lsn: string }[]>`select pg_current_wal_flush_lsn()::text as lsn`,
  );
  await eventually('the keeper has seen the write', async () => {
    const { nodes } = await region.status();
    const lsn = nodes.find(({ node }) => node === old)?.says.split(' at ')[1] ?? '0/0';
    return lsnFromPostgres(lsn) >= lsnFromPostgres(written?.lsn ?? '');
  });
  region.lose(...TWO);
  for (const node of ONE) region.clusters.kill(node, 'SIGCONT');
  await eventually('the keeper says why it does nothing', async () => {
    const { why, nodes } = await region.status();
    const isSeen = nodes.every(
      ({ node, says }) => says.startsWith('replica') === ONE.includes(node),
    );
    return isSeen && why?.includes('may have what it acknowledged, and is silent') === true;
  });
  const refused = await region.command('relocate-primary', '--to', 'eu-1');
  expect(refused.status).toBe(1);
  expect(refused.stdout).toMatch(
    /eu-[ab] may lack what was acknowledged: eu-[cd] may have more, and is silent; eu-[ab] has the log up to [0-9A-F/]+; eu-[cd] was last seen at [0-9A-F/]+, [0-9.]+ s ago, \d+ bytes further; what it wrote after that nobody knows/,
  );
  expect(await region.record()).toMatchObject({ primary: old, timeline, pending: null });

  const words = ['--accept-loss', '--why', 'the site has burnt', '--by', 'an operator'];
  const done = await region.command('relocate-primary', '--to', 'eu-1', ...words);
  expect([done.status, done.stdout]).toEqual([
    0,
    expect.stringMatching(/eu: eu-[ab] is the primary/),
  ]);
  // Whoever knows of the write is told that it is gone; whoever asks for nothing of the kind is served.
  const told = await region.call('GET', `/users/${USER}/notes`, { token });
  expect(problemOf(told)).toEqual([409, 'session-guarantee-lost', 'after-change']);
  acknowledged.splice(acknowledged.indexOf(note), 1);
  await nextWrite();
  const { primary } = await region.record();
  expect((await region.notesAt(primary)).size).toBeGreaterThanOrEqual(kept[0]?.n ?? 0);
  expect(await lostAt(primary)).toEqual([]);
  const history = await region.command('history');
  expect(history.stdout).toMatch(
    /an operator accepts what is lost: the site has burnt \(eu-[cd] may/,
  );
});

test('the lost site comes back as standbys, keeps aside what it had, and acknowledges nothing', async () => {
  const { primary, timeline } = await region.record();
  const { writers } = await writing(() => region.bring(...TWO));
  await region.settled('commits wait for a standby of the site', at('eu-1'));
  await eventually(
    'both are standbys of the new primary',
    async () => {
      const { nodes } = await region.status();
      return nodes
        .filter(({ node }) => TWO.includes(node))
        .every(({ says }) => says.startsWith(`replica on timeline ${timeline}`));
    },
    120_000,
  );
  expect((await region.record()).primary).toBe(primary);
  expect([...writers.others]).toEqual([]);
  expect(await lostAt(primary)).toEqual([]);
  for (const node of TWO) {
    expect(await region.keptAside(node)).toBe(1);
    await eventually(`${node} has everything`, async () => (await lostAt(node)).length === 0);
  }
});

test('a standby of the other site that commits waited for has everything: then nothing is lost', async () => {
  const { primary, standbys } = await region.settled('all is well', at('eu-1'));
  region.lose(...standbys);
  const { standbys: far } = await region.settled('commits wait for the other site', (record) =>
    record.standbys.some((node) => TWO.includes(node)),
  );
  const { result } = await writing(async () => {
    region.lose(primary);
    await eventually('the keeper leaves it to an operator', async () => {
      const { why } = await region.status();
      return why?.includes('leaves a move to another site to an operator') === true;
    });
    expect((await region.record()).primary).toBe(primary);
    return region.command('relocate-primary', '--to', 'eu-2');
  });
  expect([result.status, result.stdout]).toEqual([
    0,
    expect.stringContaining(`eu: ${far[0]} is the primary`),
  ]);
  await nextWrite();
  expect(await lostAt(far[0] ?? '')).toEqual([]);

  // The old primary waits for who does not follow it any more.
  await region.bring(primary, ...standbys);
  const record = await region.settled('the standby is at the new site', at('eu-2'));
  await eventually(
    'all nodes of the old site are standbys',
    async () => {
      const { nodes } = await region.status();
      return nodes
        .filter(({ node }) => ONE.includes(node))
        .every(({ says }) => says.startsWith(`replica on timeline ${record.timeline}`));
    },
    120_000,
  );
  expect(await lostAt(record.primary)).toEqual([]);
});

test('a keeper that is killed in a move calls it off or has done it', async () => {
  const isWell = (record: KeeperRecord) => at('eu-1')(record) || at('eu-2')(record);
  const { primary } = await region.settled('all is well', isWell);
  const { version } = await region.record();
  const to = siteOf(primary) === 'eu-1' ? 'eu-2' : 'eu-1';
  const { writers } = await writing(async () => {
    const moved = region.order('relocate-primary', { to, by: 'a test' }).catch(() => undefined);
    await eventually(
      'the move is written down',
      async () => (await region.record()).version > version,
      120_000,
    );
    await region.restartKeeper();
    await moved;
  });
  const record = await region.settled('primary and standby are at one site', isWell);
  expect([...writers.others]).toEqual([]);
  expect(await lostAt(record.primary)).toEqual([]);
  const since = (await region.history()).filter((one) => one.version > version);
  const isOff = since.some(({ event }) => event.kind === 'called_off');
  expect(record.primary === primary).toBe(isOff);
});
