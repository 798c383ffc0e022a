/** Whether a region whose primary is moved by a real Patroni loses nothing, and is followed. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ask } from '../../regions/local/world-for-tests.ts';
import { followedHistory, followedStatus, followedSwitchover } from '../followed-region-command.ts';
import { edgePassword } from '../password-names.ts';
import { callUrl, eventually } from '../world-for-tests.ts';
import { PatroniSteward } from './patroni.ts';
import {
  findPatroni,
  type PatroniCluster,
  REPLICATION_ROLE,
  startPatroni,
} from './patroni-for-tests.ts';
import {
  DATABASE,
  password,
  routerEndpoint,
  serveNotesOn,
  type TestRegion,
  Writers,
} from './region-for-tests.ts';

const found = findPatroni();
const NODES = ['eu-a', 'eu-b', 'eu-c'];
/** The least that Patroni's documentation allows; a dead leader keeps its lock for so long. */
const TTL_S = 20;
/** The lock, a turn of the new leader and its standby's, on a machine that may be busy. */
const FAILOVER_MS_MAX = 60_000;
const AUTH = { user: 'operator', password: 'of a test' };

if (found.kind === 'missing') {
  console.warn(`SKIPPED the real Patroni: ${found.why}`);
}
const title = found.kind === 'found' ? '' : ` (skipped: ${found.why})`;

describe.skipIf(found.kind === 'missing')(`a region under a real Patroni${title}`, () => {
  let folder: string;
  let patroni: PatroniCluster;
  let region: TestRegion;
  let steward: PatroniSteward;
  const user = 'somebody';
  const acknowledged: string[] = [];

  const follow = (auth: typeof AUTH): PatroniSteward => {
    const own = region.catalogue.regions.get('eu');
    if (own === undefined) throw new Error('there is one region');
    return new PatroniSteward({
      region: own,
      members: patroni.members.map(({ url }) => url),
      endpoint: (node) => routerEndpoint(own, node),
      auth,
      now: () => performance.now(),
    });
  };
  const storedAt = (node: string) =>
    ask({ superuser: (one) => patroni.superuser(one, DATABASE) }, node, (sql) =>
      sql<{ id: string }[]>`select id from app.notes`.then((rows) => rows.map(({ id }) => id)),
    );
  const lostAt = async (node: string) => {
    const stored = new Set(await storedAt(node));
    return acknowledged.filter((note) => !stored.has(note));
  };
  /** All follow one primary, and commits wait for a standby. */
  const calm = (timeline: number) =>
    eventually(`all are on timeline ${timeline}`, async () => {
      const view = await steward.observe();
      return (
        view.timeline === timeline &&
        view.nodes.every((node) => node.kind === 'seen' && node.timeline === timeline) &&
        view.patroni.kind === 'answered' &&
        view.patroni.members.some(({ role }) => role === 'sync_standby')
      );
    });
  const primaryNow = async () => {
    const { primary, doubt } = await steward.observe();
    if (primary === undefined) throw new Error(doubt);
    return primary;
  };
  const standbyOf = async (role: 'sync_standby' | 'replica') => {
    const { patroni: says } = await steward.observe();
    const member =
      says.kind === 'answered' ? says.members.find((one) => one.role === role) : undefined;
    if (member === undefined) throw new Error(`no ${role}`);
    return member.name;
  };

  beforeAll(async () => {
    if (found.kind === 'missing') return;
    folder = await mkdtemp(join(tmpdir(), 'domicile-followed-'));
    patroni = await startPatroni(found.programs, NODES, {
      ttl: TTL_S,
      loopWait: 1,
      retryTimeout: 3,
      synchronousMode: true,
      synchronousModeStrict: true,
      auth: AUTH,
    });
    const leader = (await patroni.said())?.members.find(({ role }) => role === 'leader');
    const nodes = patroni.members.map(({ name, host, port }) => ({ name, host, port }));
    region = await serveNotesOn(folder, nodes, patroni.superuser, {
      primary: leader?.name ?? '',
      replicationRole: REPLICATION_ROLE,
      keeper: { kind: 'patroni', members: patroni.members.map(({ url }) => url) },
    });
    steward = follow(AUTH);
    const made = { id: user, name: 'Somebody', country: 'DE' };
    await eventually('the edge takes people in', async () => {
      const { status } = await callUrl(region.edgeUrl, 'POST', '/users', { body: made });
      return status === 201;
    });
  }, 150_000);
  afterAll(async () => {
    await region?.edge.stop();
    await steward?.close();
    await patroni?.remove();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }, 30_000);

  test('what Patroni says and what SQL says are one view', async () => {
    await calm(1);
    const view = await steward.observe();
    expect(view).toMatchObject({ timeline: 1, patroni: { kind: 'answered', isPaused: false } });
    expect(view.nodes.filter((node) => node.kind === 'seen' && node.role === 'primary')).toEqual([
      expect.objectContaining({ node: view.primary, timeline: 1 }),
    ]);
    expect(await steward.history()).toEqual({ ok: [] });
    expect(await steward.complaints()).toEqual({ ok: [] });
  });

  test('an operator is told the same, and why where it is not well', async () => {
    const asked = {
      region: 'eu',
      regions: region.regionsFile,
      environment: {
        DOMICILE_DATABASE_PASSWORD: password(edgePassword('eu')),
        DOMICILE_PATRONI_USER: AUTH.user,
        DOMICILE_PATRONI_PASSWORD: AUTH.password,
      },
      now: () => performance.now(),
    };
    const { lines, exitCode } = await followedStatus(asked);
    expect(lines[0]).toMatch(/^eu: eu-[abc] is the primary, on timeline 1$/);
    expect(lines.filter((line) => / replica, timeline 1, at /.test(line))).toHaveLength(2);
    expect(lines.filter((line) => line.endsWith('; commits wait for it'))).toHaveLength(1);
    expect(exitCode).toBe(0);
    const primary = await primaryNow();
    expect((await followedSwitchover({ ...asked, to: primary })).lines).toEqual([
      `refused: ${primary} is no replica that answers over SQL. Nothing was changed.`,
    ]);
    expect((await followedHistory({ ...asked, count: '5' })).lines).toEqual(['no promotion yet']);
  });

  test('wishes that would lose something, or are not ours to grant, are refused in words', async () => {
    const primary = await primaryNow();
    const behind = await standbyOf('replica');
    const next = await standbyOf('sync_standby');
    const words = async (outcome: Promise<unknown>) => JSON.stringify(await outcome);
    expect(await words(steward.promote(behind, { timeline: 1 }))).toMatch(
      /"refused".*does not call eu-. a synchronous standby/,
    );
    expect(await words(steward.promote(next, { timeline: 7 }))).toMatch(
      /"refused".*follows timeline 1, not 7/,
    );
    expect(await words(steward.demote(primary))).toMatch(/"refused".*Patroni demotes/);
    const stranger = follow({ ...AUTH, password: 'guessed' });
    expect(await words(stranger.promote(next, { timeline: 1 }))).toMatch(
      /"refused".*Patroni refuses to promote eu-.: 40[13]/,
    );
    await stranger.close();
    expect(await primaryNow()).toBe(primary);
  });

  test('a switchover that we ask for moves the primary under load and loses nothing', async () => {
    const before = await primaryNow();
    const next = await standbyOf('sync_standby');
    const writers = new Writers(region.edgeUrl, user, 4);
    await eventually('writes are acknowledged', async () => writers.acknowledged.length > 50);
    const fromMs = performance.now();
    expect(await steward.promote(next, { timeline: 1 })).toEqual({ kind: 'done' });
    const tookMs = performance.now() - fromMs;
    expect(await primaryNow()).toBe(next);
    await eventually('writes are acknowledged again', async () =>
      writers.acknowledged.some(({ atMs }) => atMs > fromMs + tookMs),
    );
    await calm(2);
    await writers.stop();
    acknowledged.push(...writers.acknowledged.map(({ note }) => note));
    const { pauseMs } = writers.pauseSince(fromMs);
    console.log(
      `switchover: done after ${Math.round(tookMs)} ms; no write for ${Math.round(pauseMs)} ms; ${acknowledged.length} acknowledged; others ${JSON.stringify([...writers.others])}`,
    );
    expect(await lostAt(next)).toEqual([]);
    // Who comes late with the same wish changes nothing.
    expect(await steward.promote(next, { timeline: 1 })).toEqual({ kind: 'done' });
    expect(await steward.promote(before, { timeline: 1 })).toMatchObject({ kind: 'refused' });
    expect(await steward.history()).toMatchObject({ ok: [{ timeline: 1 }] });
  });

  test('a leader that is killed under load is replaced, the edge follows, nothing is lost', async () => {
    const killed = await primaryNow();
    const writers = new Writers(region.edgeUrl, user, 4);
    await eventually('writes are acknowledged', async () => writers.acknowledged.length > 50);
    const fromMs = performance.now();
    patroni.kill(killed, 'SIGKILL');
    await eventually(
      'writes are acknowledged again',
      async () => {
        const last = writers.acknowledged.at(-1)?.atMs ?? 0;
        return last > fromMs + 2_000;
      },
      FAILOVER_MS_MAX,
    );
    const { pauseMs, untilMs } = writers.pauseSince(fromMs);
    await writers.stop();
    acknowledged.push(...writers.acknowledged.map(({ note }) => note));
    console.log(
      `kill -9 of the leader at ttl ${TTL_S}: first new acknowledged write after ${Math.round(untilMs - fromMs)} ms (no write for ${Math.round(pauseMs)} ms); ${acknowledged.length} acknowledged; others ${JSON.stringify([...writers.others])}`,
    );
    const view = await steward.observe();
    expect(view).toMatchObject({ timeline: 3 });
    expect(view.primary).not.toBe(killed);
    expect(view.nodes).toContainEqual({ node: killed, kind: 'silent', because: 'refused' });
    expect(await lostAt(view.primary ?? '')).toEqual([]);
    const notes = await callUrl(region.edgeUrl, 'GET', `/users/${user}/notes`, {
      headers: { 'domicile-consistency': 'strong' },
    });
    expect(notes.status).toBe(200);
    expect(new Set(notes.json)).toEqual(new Set(await storedAt(view.primary ?? '')));

    // Patroni makes a standby of it again, and that is waited for.
    await patroni.start(killed);
    expect(await steward.follow(killed, view.primary ?? '')).toEqual({ kind: 'done' });
    await calm(3);
  }, 150_000);

  test('without any Patroni nothing is believed and nothing is asked for; the edge needs none', async () => {
    const { nodes } = await steward.observe();
    const next = await standbyOf('sync_standby');
    for (const name of NODES) patroni.killPatroni(name, 'SIGSTOP');
    try {
      const view = await steward.observe();
      expect([view.primary, view.patroni.kind]).toEqual([undefined, 'silent']);
      expect(view.doubt).toContain('no answer within');
      expect(view.nodes.map(({ kind }) => kind)).toEqual(nodes.map(() => 'seen'));
      expect(await steward.promote(next, { timeline: 3 })).toMatchObject({ kind: 'refused' });
      const written = await callUrl(region.edgeUrl, 'POST', `/users/${user}/notes/unminded`);
      expect(written.status).toBe(201);
    } finally {
      for (const name of NODES) patroni.killPatroni(name, 'SIGCONT');
    }
  });
});
