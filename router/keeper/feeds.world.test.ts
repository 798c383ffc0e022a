/**
 * Mirrors through promotions: nobody's row is lost, doubled, or shown abroad although it was never
 * acknowledged. One region, `us`, changes its primary again and again while people write there and
 * in `asia`; it is the publisher of the one mirror and a subscriber of the other.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  placeKeptFor,
  publicationTo,
  subscriptionFrom,
  subscriptionHome,
} from '../../policies/desired-state.ts';
import { type Sql, verbatim } from '../../regions/postgres.ts';
import { applyPolicy } from '../apply-plan.ts';
import { openLocalWorld } from '../local-operator.ts';
import { differences } from '../observe-world.ts';
import { type Operator, Session } from '../operator.ts';
import { recordedPolicyInForce } from '../recorded-policy.ts';
import {
  type Answer,
  Client,
  COUNTRY_OF,
  eventually,
  newUser,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  type Where,
} from '../world-for-tests.ts';
import { type Feed, followPrimary } from './feeds.ts';
import {
  directoryOf,
  type Expected,
  keepWriting,
  type Load,
  peopleOf,
  placeOf,
  poolOf,
  pulseOf,
  pulsesArrive,
} from './feeds-for-tests.ts';
import { KeptFeeds } from './kept-feeds.ts';
import { KeptPlaces, type TakenBack } from './kept-places.ts';
import {
  awaitSlotsReady,
  dropLeftSlots,
  type FeedSite,
  nameNobody,
  slotsReady,
} from './standby-slots.ts';

/** An age is rounded, and an edge learns of it a little later. */
const SKEW_MS_MAX = 20;
const SLOT = subscriptionHome('us-x');

let domicile: TestDomicile;
let operator: Operator;
let site: FeedSite;
let places: KeptPlaces;
/** What became of the places at the last promotion. */
let taken: ReadonlyMap<string, TakenBack>;
const primaries: Record<Where, string> = { us: 'us-a', eu: 'eu-a', asia: 'asia-a' };
const expected: Record<'us' | 'asia', Expected> = { us: new Map(), asia: new Map() };

const other = () => (primaries.us === 'us-a' ? 'us-b' : 'us-a');

beforeAll(async () => {
  domicile = await startTestDomicile();
  ({ operator } = await openLocalWorld(domicile.root));
  site = { session: new Session(operator), region: 'us' };
  places = new KeptPlaces(site);
  const ready = await awaitSlotsReady(site, { primary: 'us-a', standby: 'us-b' });
  expect(ready).toEqual({ kind: 'ready' });
});
afterAll(async () => {
  await places?.close();
  await site?.session.close();
  await domicile?.remove();
});

async function promote(): Promise<Feed[]> {
  const next = other();
  expect(await nameNobody(site, next)).toEqual({ kind: 'done' });
  taken = await places.takeBack(next);
  await domicile.sql(next, (sql) => sql`select pg_promote(true, 20)`);
  primaries.us = next;
  return followPrimary(site, { primary: next });
}

const states = (feeds: readonly Feed[]) =>
  Object.fromEntries(feeds.map(({ from, to, state }) => [`${from} ${to}`, state.kind]));
const ALL_FLOW = { 'us us-x': 'flows', 'eu-x us': 'flows', 'asia-x us': 'flows' };

/** People write at both homes from before `use` until after it. */
async function whileWriting<T>(
  use: (loads: Record<'us' | 'asia', Load>) => Promise<T>,
): Promise<T> {
  const loads = {
    us: keepWriting(domicile, 'us', () => primaries.us, expected.us),
    asia: keepWriting(domicile, 'asia', () => primaries.asia, expected.asia),
  };
  const wrote = async (load: Load, since: number) => load.acknowledged() > since + 5;
  try {
    await eventually('they write', () => wrote(loads.us, 0));
    await eventually('they write in asia', () => wrote(loads.asia, 0));
    const result = await use(loads);
    const { us, asia } = { us: loads.us.acknowledged(), asia: loads.asia.acknowledged() };
    await eventually('they write again', () => wrote(loads.us, us));
    await eventually('they go on writing in asia', () => wrote(loads.asia, asia));
    return result;
  } finally {
    await Promise.all([loads.us.stop(), loads.asia.stop()]);
  }
}

/** What was acknowledged is at home, what is at home is abroad, and nothing else is. */
async function expectMirrorsToBeEqual(): Promise<void> {
  for (const home of ['us', 'asia'] as const) {
    await pulsesArrive(domicile, home, primaries);
    const there = await peopleOf(domicile, home, { node: primaries[home], region: home });
    const wrong = [...expected[home]].filter(([id, may]) => !may.has(there.get(id)));
    expect(wrong, `rows of ${home} that are not as they were acknowledged`).toEqual([]);
    const keys = await directoryOf(domicile, home, primaries[home]);
    for (const region of REGIONS) {
      const node = primaries[region];
      const mirrored = await peopleOf(domicile, home, { node, region });
      expect([...mirrored], `${home} as ${region} shows it`).toEqual([...there]);
      const known = await directoryOf(domicile, home, node);
      expect(known, `the directory of ${home} as ${region} has it`).toEqual(keys);
    }
  }
}

/** The old primary becomes a standby of the new one, and commits wait for it again. */
async function rebuild(): Promise<void> {
  const standby = other();
  await domicile.clusters.rebuildReplica(standby);
  expect(await awaitSlotsReady(site, { primary: primaries.us, standby })).toEqual({
    kind: 'ready',
  });
  await domicile.clusters.requireReplicas('us', [standby]);
}

/** As an edge does it, for somebody whom no client knows. */
async function signUp(sql: Sql, id: string): Promise<void> {
  await sql`select domicile.settle(${domicile.keyOf(id)}, null, ${id}, 'americas', 'americas', 1)`;
  await sql`
    insert into app.users (id, display_name, email, country)
    values (${id}, 'Ghost', ${`${id}@mail.example`}, 'US')`;
}

/** A row that a primary has written and that nobody confirms. */
async function writeUnconfirmed(id: string): Promise<void> {
  const pool = poolOf(domicile, primaries.us);
  const outcome = await pool.transaction((sql) => signUp(sql, id), { timeoutMs: 500 });
  await pool.close({ timeoutMs: 100 });
  expect(outcome.kind).toBe('unknown');
}

async function nodesThatShow(id: string): Promise<string[]> {
  const found: string[] = [];
  for (const [node, table] of [
    [primaries.us, 'home'],
    ['us-x', 'mirror'],
    ['eu-a', 'mirror'],
    ['asia-a', 'mirror'],
  ] as const) {
    const rows = await domicile.sql(node, (sql) =>
      table === 'home'
        ? sql`select from app.users where id = ${id}`
        : sql`select from mirror_us.users where id = ${id}`,
    );
    if (rows.length > 0) found.push(node);
  }
  return found;
}

/** How long the airlocks of the peers wait for a reader that says nothing. */
async function senderTimeout(limit: '5s' | '60s'): Promise<void> {
  for (const airlock of ['eu-x', 'asia-x']) {
    await domicile.sql(airlock, async (sql) => {
      await sql(verbatim(`alter system set wal_sender_timeout = '${limit}'`));
      await sql`select pg_reload_conf()`;
    });
  }
}

async function planned() {
  return (await differences(operator, domicile.policy)).map(({ words }) => words);
}

describe('a primary is killed while people write', () => {
  test('mirrors go on from its standby: nothing lost, nothing doubled, nothing else', async () => {
    const feeds = await whileWriting(async () => {
      domicile.clusters.kill('us-a', 'SIGKILL');
      expect(await slotsReady(site, 'us-b')).toEqual({ kind: 'ready' });
      return promote();
    });
    expect(states(feeds)).toEqual(ALL_FLOW);
    await expectMirrorsToBeEqual();
  });

  test('following once more changes nothing', async () => {
    const again = await followPrimary(site, { primary: 'us-b' });
    expect(again.map(({ state }) => state)).toEqual(
      again.map(() => ({ kind: 'flows', changed: false })),
    );
  });

  test('the plan is empty, with the old primary gone and with it as a standby', async () => {
    expect(await planned()).toEqual([]);
    await rebuild();
    expect(await planned()).toEqual([]);
    const session = new Session(operator);
    const inForce = await recordedPolicyInForce(session);
    await session.close();
    if (inForce === undefined) throw new Error('no policy is in force');
    const applied = await applyPolicy({
      operator,
      ...inForce,
      today: inForce.policy.effective,
      by: 'test',
      edgesNoticeMs: 0,
      report: () => {},
    });
    expect(applied).toMatchObject({ kind: 'applied', steps: 0 });
  });
});

describe('a primary is frozen with a commit that nobody confirmed', () => {
  let feeds: Feed[];
  beforeAll(async () => {
    // The peers' airlocks would give a frozen reader up after 5 s: here, not while we look.
    await senderTimeout('60s');
    feeds = await whileWriting(async () => {
      const standby = other();
      await domicile.clusters.halt(standby);
      await writeUnconfirmed('ghost-1');
      // It has been written and read for the airlock; only the standby's slot keeps it back.
      await eventually('the feed waits for the standby', async () => {
        const rows = await domicile.sql(
          primaries.us,
          (sql) => sql`
            select from pg_stat_activity a join pg_replication_slots s on s.active_pid = a.pid
            where s.slot_name = ${SLOT} and a.wait_event = 'WaitForStandbyConfirmation'`,
        );
        return rows.length > 0;
      });
      await eventually('what arrives from asia waits for the standby, too', async () => {
        const rows = await domicile.sql(
          primaries.us,
          (sql) => sql`
            select from pg_stat_activity a join pg_stat_subscription s on s.pid = a.pid
            where s.subname = 'domicile_from_asia' and a.wait_event = 'SyncRep'`,
        );
        return rows.length > 0;
      });
      domicile.clusters.kill(primaries.us, 'SIGSTOP');
      await domicile.clusters.start(standby);
      return promote();
    });
  });

  afterAll(() => senderTimeout('5s'));

  test('mirrors go on from its standby, whose readers take over at the peers', async () => {
    expect(feeds.map(({ state }) => state)).toEqual(
      feeds.map(() => ({ kind: 'flows', changed: true })),
    );
    await expectMirrorsToBeEqual();
  });

  test('thawed, it feeds nobody, and what nobody confirmed is shown nowhere', async () => {
    const old = other();
    await whileWriting(async () => {
      domicile.clusters.kill(old, 'SIGCONT');
      await eventually('it answers', async () => {
        const rows = await domicile.sql(old, (sql) => sql`select 1 where not pg_is_in_recovery()`);
        return rows.length === 1;
      });
    });
    const readers = await domicile.sql(
      old,
      (sql) => sql`select from pg_replication_slots where slot_name = ${SLOT} and active`,
    );
    expect(readers.length).toBe(0);
    expect(await nodesThatShow('ghost-1')).toEqual([]);
    expect(states(await followPrimary(site, { primary: primaries.us }))).toEqual(ALL_FLOW);
    await expectMirrorsToBeEqual();
  });

  test('as a standby it has the places of all airlocks again', async () => {
    await rebuild();
    expect(await planned()).toEqual([]);
  });
});

describe('a primary dies while what arrives from a peer waits for its standby', () => {
  /** How far the airlock of asia believes that us is sure to have everything. */
  const confirmed = (slot: string) => placeOf(domicile, 'asia-x', slot);
  const signedUp = async () => {
    const user = newUser(COUNTRY_OF.asia);
    const answer = await domicile.call('asia', 'POST', '/users', { body: user });
    expect(answer.status).toBe(201);
    return user.id;
  };
  /** So that the change is what waits, and not a pulse before it. */
  const withoutPulses = async (use: () => Promise<void>) => {
    const pool = poolOf(domicile, 'asia-a');
    const outcome = await pool.transaction(
      async (sql) => {
        await sql`select from domicile.pulses where region = 'asia' for update`;
        const last = await pulseOf(domicile, 'asia-a', 'asia');
        await eventually('the last pulse has arrived', async () => {
          const seen = await Promise.all(
            [primaries.us, other()].map((node) => pulseOf(domicile, node, 'asia')),
          );
          return seen.every(({ lsn }) => lsn === last.lsn);
        });
        await use();
      },
      { timeoutMs: 60_000 },
    );
    await pool.close({ timeoutMs: 1_000 });
    expect(outcome).toMatchObject({ kind: 'applied' });
  };
  const dying = async (kill: (primary: string) => void) => {
    const [old, standby] = [primaries.us, other()];
    const id = await signedUp();
    for (const _ of ['made', 'moved']) {
      await pulsesArrive(domicile, 'asia', primaries);
      await places.moveUp([standby]);
    }
    const kept = await confirmed(placeKeptFor('us'));
    let more = 0n;
    await withoutPulses(async () => {
      // Frozen it would find the change in its socket when it is thawed.
      await domicile.clusters.halt(standby);
      await domicile.sql(
        'asia-a',
        (sql) => sql`update app.users set display_name = 'Renamed' where id = ${id}`,
      );
      expected.asia.set(id, new Set(['Renamed']));
      await eventually('the change waits for the standby', async () => {
        const rows = await domicile.sql(
          old,
          (sql) => sql`
            select from pg_stat_activity a join pg_stat_subscription s on s.pid = a.pid
            where s.subname = ${subscriptionFrom('asia')} and a.wait_event = 'SyncRep'`,
        );
        return rows.length > 0;
      });
      await places.moveUp([old, standby]);
      expect(await confirmed(placeKeptFor('us'))).toEqual(kept);
      const before = await confirmed(publicationTo('us'));
      kill(old);
      await eventually(
        'its reader has left',
        async () => (await confirmed(publicationTo('us'))).active === false,
      );
      more = (await confirmed(publicationTo('us'))).bytes - before.bytes;
    });
    await domicile.clusters.start(standby);
    expect(states(await promote())).toEqual(ALL_FLOW);
    await expectMirrorsToBeEqual();
    await rebuild();
    expect(await planned()).toEqual([]);
    return more;
  };

  test('as a whole, and nothing is confirmed that the standby lacks', async () => {
    expect(await dying((primary) => domicile.clusters.kill(primary, 'SIGKILL'))).toBe(0n);
  });

  test('its postmaster alone, and what PostgreSQL confirms all the same is sent again', async () => {
    const more = await dying((primary) => {
      process.kill(domicile.clusters.postmaster(primary) ?? 0, 'SIGKILL');
    });
    expect(more).toBeGreaterThan(0n);
    expect(taken.get('asia')).toMatchObject({ kind: 'taken_back' });
  });
});

test('a primary that is killed and comes back as one feeds nobody and takes no slot for good', async () => {
  const old = primaries.us;
  const feeds = await whileWriting(async () => {
    domicile.clusters.kill(old, 'SIGKILL');
    const followed = await promote();
    await domicile.clusters.start(old);
    return followed;
  });
  expect(states(feeds)).toEqual(ALL_FLOW);
  expect(states(await followPrimary(site, { primary: primaries.us }))).toEqual(ALL_FLOW);
  await expectMirrorsToBeEqual();
  await rebuild();
});

describe('a primary is stopped cleanly and started as a standby with its own data', () => {
  test('what it kept as a primary is in the way, is named, and removed', async () => {
    const old = primaries.us;
    const feeds = await whileWriting(async () => {
      await domicile.clusters.halt(old);
      return promote();
    });
    expect(states(feeds)).toEqual(ALL_FLOW);
    await writeFile(join(domicile.clusters.dataDirectory(old), 'standby.signal'), '');
    await domicile.clusters.start(old);
    const leftSlots = () =>
      domicile.sql(
        old,
        (sql) => sql`select slot_name as slot from pg_replication_slots where not synced`,
      );
    expect((await leftSlots()).length).toBeGreaterThan(0);
    expect(await dropLeftSlots(site, old)).toMatchObject({ kind: 'done' });
    expect((await leftSlots()).length).toBe(0);
    // A slot of the primary for it, which a copy would have made.
    await domicile.sql(
      primaries.us,
      (sql) => sql`
      select pg_create_physical_replication_slot(${operator.slotOfNode(old)}, true)
      where not exists (select from pg_replication_slots where slot_name = ${operator.slotOfNode(old)})`,
    );
    expect(await awaitSlotsReady(site, { primary: primaries.us, standby: old })).toEqual({
      kind: 'ready',
    });
    await domicile.clusters.requireReplicas('us', [old]);
  });

  test('and it can be promoted back, though its settings still named the other node', async () => {
    const old = primaries.us;
    const feeds = await whileWriting(async () => {
      domicile.clusters.kill(old, 'SIGKILL');
      return promote();
    });
    expect(states(feeds)).toEqual(ALL_FLOW);
    await expectMirrorsToBeEqual();
    await rebuild();
  });
});

describe('readers of copies, after the home was promoted', () => {
  const cardOf = (id: string) => `/users/${id}/card`;
  const rung = ({ headers }: Answer) =>
    /rung=([a-z-]+)/.exec(String(headers['domicile-decision']))?.[1] ?? 'none';
  const signedUp = async () => {
    const user = newUser(COUNTRY_OF.us);
    const client = new Client(domicile);
    expect((await client.call('us', 'POST', '/users', user)).status).toBe(201);
    const read = async () => {
      const answer = await client.call('eu', 'GET', cardOf(user.id));
      expect([answer.status, answer.json]).toEqual([
        200,
        { id: user.id, displayName: user.displayName },
      ]);
      return rung(answer);
    };
    return { user, read };
  };
  /** One that was written after this call. */
  const edgeSeesPulse = async () => {
    const began = performance.now();
    await eventually('the edge of eu sees a new pulse of us', async () => {
      const { json } = await domicile.call('eu', 'GET', '/.domicile/health');
      const mirrors = json.mirrors as { region: string; ageMs: number }[];
      const ageMs =
        mirrors.find(({ region }) => region === 'us')?.ageMs ?? Number.POSITIVE_INFINITY;
      return ageMs < performance.now() - began - SKEW_MS_MAX;
    });
  };
  let soon: Awaited<ReturnType<typeof signedUp>>;
  let later: Awaited<ReturnType<typeof signedUp>>;

  beforeAll(async () => {
    await eventually('the edge writes', async () => {
      soon = await signedUp();
      return true;
    });
    later = await signedUp();
    await edgeSeesPulse();
    expect(await soon.read()).toBe('mirror');
    domicile.clusters.kill(primaries.us, 'SIGKILL');
    expect(states(await promote())).toEqual(ALL_FLOW);
    await pulsesArrive(domicile, 'us', primaries);
  });

  test('with a bound are served by the copy: its pulses go on', async () => {
    const answer = await domicile.call('eu', 'GET', cardOf(soon.user.id), {
      headers: { 'domicile-consistency': 'bounded; max-staleness=2s' },
    });
    expect([answer.status, rung(answer)]).toEqual([200, 'mirror']);
  });

  test('with a session of the old timeline are asked home once, and then served by the copy', async () => {
    // A primary that runs alone proves nothing to a session of another timeline.
    await rebuild();
    expect(await later.read()).not.toBe('mirror');
    await edgeSeesPulse();
    expect(await later.read()).toBe('mirror');
  });
});

test('a keeper does without the feed of an airlock that is away, and of no other', async () => {
  const standby = other();
  const kept = new KeptFeeds({ operator, region: 'us', log: () => {} });
  try {
    await domicile.clusters.requireReplicas('us', []);
    await domicile.clusters.halt('us-x');
    await domicile.clusters.rebuildReplica(standby);
    expect(await kept.follow(primaries.us)).toBe(false);
    await eventually('it may be a standby', async () => kept.isReady(standby));
    expect((await slotsReady(site, standby)).kind).toBe('not_ready');
    await domicile.clusters.start('us-x');
    await eventually('the feed goes on', () => kept.follow(primaries.us));
    await eventually('the slot is awaited', async () => !kept.isReady(standby));
    await eventually('it has the slot', async () => {
      return kept.isReady(standby) && (await slotsReady(site, standby)).kind === 'ready';
    });
    await domicile.clusters.requireReplicas('us', [standby]);
  } finally {
    await kept.close();
  }
});

describe('an operator accepts a loss: the airlock has what the new primary never had, and peers believe that it has everything', () => {
  const writeInAsia = async () => {
    const user = newUser(COUNTRY_OF.asia);
    await eventually('asia writes', async () => {
      const answer = await domicile.call('asia', 'POST', '/users', { body: user });
      return answer.status === 201;
    });
    expected.asia.set(user.id, new Set([user.displayName]));
    await eventually('it has come to us', async () => {
      const rows = await domicile.sql(
        primaries.us,
        (sql) => sql`select from mirror_asia.users where id = ${user.id}`,
      );
      return rows.length === 1;
    });
    await eventually('and was confirmed', async () => {
      const rows = await domicile.sql(
        'asia-x',
        (sql) => sql`
          select from pg_replication_slots
          where slot_name = ${publicationTo('us')} and confirmed_flush_lsn >= pg_current_wal_lsn()`,
      );
      return rows.length === 1;
    });
  };

  beforeAll(async () => {
    // Alone: the feed waits for nobody.
    await domicile.clusters.requireReplicas('us', []);
    await domicile.clusters.halt(other());
    await domicile.sql(primaries.us, (sql) => signUp(sql, 'ghost-2'));
    await eventually('it is abroad', async () => (await nodesThatShow('ghost-2')).length === 4);
    // What a peer has sent was confirmed to it, and is on the lost machine only.
    await writeInAsia();
    domicile.clusters.kill(primaries.us, 'SIGKILL');
    await domicile.clusters.start(other());
  });

  test('it is not led there, nor is anything taken from where the old one was, and what it takes is said', async () => {
    const kept = new KeptFeeds({ operator, region: 'us', log: () => {} });
    try {
      expect(await kept.end(other(), 'before_promotion')).toEqual(['eu', 'asia']);
    } finally {
      await kept.close();
    }
    const mustRefill = [
      { from: 'us', to: 'us-x', state: { kind: 'must_refill', because: 'ahead' } },
      { from: 'eu-x', to: 'us', state: { kind: 'must_refill', because: 'no_slot' } },
      { from: 'asia-x', to: 'us', state: { kind: 'must_refill', because: 'no_slot' } },
    ];
    expect(await promote()).toMatchObject(mustRefill);
    mustRefill[0] = { from: 'us', to: 'us-x', state: { kind: 'must_refill', because: 'no_slot' } };
    expect(await followPrimary(site, { primary: primaries.us })).toMatchObject(mustRefill);
    const words = (await planned()).join('\n');
    for (const name of [SLOT, publicationTo('us')]) expect(words).toContain(name);
  });

  test('a peer that cannot be asked feeds nobody until it can', async () => {
    const lines: Record<string, unknown>[] = [];
    const kept = new KeptFeeds({ operator, region: 'us', log: (line) => lines.push(line) });
    const enabled = () =>
      domicile.sql(
        primaries.us,
        (sql) =>
          sql`select from pg_subscription where subname = ${subscriptionFrom('asia')} and subenabled`,
      );
    try {
      await domicile.clusters.halt('asia-x');
      expect(await kept.end(primaries.us, 'after_promotion')).toBeUndefined();
      expect(lines).toMatchObject([{ message: 'a mirror is not ended yet', peer: 'asia' }]);
      expect((await enabled()).length).toBe(0);
      await domicile.clusters.start('asia-x');
      await eventually('it can be asked again', async () => {
        return (await kept.end(primaries.us, 'after_promotion'))?.length === 2;
      });
    } finally {
      await kept.close();
    }
  });

  test('applying the policy begins it anew, and the row that was lost is nowhere', async () => {
    const session = new Session(operator);
    const inForce = await recordedPolicyInForce(session);
    await session.close();
    if (inForce === undefined) throw new Error('no policy is in force');
    const applied = await applyPolicy({
      operator,
      ...inForce,
      today: inForce.policy.effective,
      by: 'test',
      edgesNoticeMs: 0,
      report: () => {},
    });
    expect(applied).toMatchObject({ kind: 'applied' });
    expect(await nodesThatShow('ghost-2')).toEqual([]);
    expect(states(await followPrimary(site, { primary: primaries.us }))).toEqual(ALL_FLOW);
    await expectMirrorsToBeEqual();
  });
});
