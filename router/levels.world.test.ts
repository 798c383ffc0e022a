/** What the four levels show, at home and abroad, while a replica stands still or is frozen. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verbatim } from '../regions/postgres.ts';
import {
  type Answer,
  Client,
  COUNTRY_OF,
  eventually,
  newUser,
  problemOf,
  REGIONS,
  startTestDomicile,
  type TestDomicile,
  type Where,
} from './world-for-tests.ts';

let domicile: TestDomicile;

beforeAll(async () => {
  domicile = await startTestDomicile();
});
afterAll(() => domicile?.remove());

type Person = { id: string; path: string; client: Client };

async function personOf(home: Where): Promise<Person> {
  const client = new Client(domicile);
  const user = newUser(COUNTRY_OF[home]);
  const created = await client.call(home, 'POST', '/users', user);
  expect(created.status).toBe(201);
  return { id: user.id, path: `/users/${user.id}`, client };
}

const at = (level: string) => ({ headers: { 'domicile-consistency': level } });
const levelOf = ({ headers }: Answer) => headers['domicile-consistency'];
const decided = ({ headers }: Answer) => String(headers['domicile-decision']);
const ageOf = ({ headers }: Answer) => Number(headers['domicile-staleness-ms']);

/** The node shows nothing new while `use` runs. */
async function whileReplayRests<T>(node: string, use: () => Promise<T>): Promise<T> {
  await domicile.sql(node, (sql) => sql`select pg_wal_replay_pause()`);
  try {
    await eventually('replay rests', async () => {
      const [row] = await domicile.sql(
        node,
        (sql) => sql`select pg_get_wal_replay_pause_state() as state`,
      );
      return row?.state === 'paused';
    });
    return await use();
  } finally {
    await domicile.sql(node, (sql) => sql`select pg_wal_replay_resume()`);
  }
}

/** As its owner would; the storefront has no route for it. */
async function rename(home: Where, id: string, name: string): Promise<void> {
  await domicile.sql(
    `${home}-a`,
    (sql) => sql`update app.users set display_name = ${name} where id = ${id}`,
  );
}

describe('a level', () => {
  test.each(['latest', 'strong, session', 'strong; max-staleness=1s', 'bounded'])(
    '%j is refused with those that there are, and nothing is done',
    async (level) => {
      const { path } = await personOf('eu');
      for (const edge of REGIONS) {
        const answer = await domicile.call(edge, 'GET', path, at(level));
        expect(problemOf(answer)).toEqual([400, 'unknown-consistency', 'after-change']);
        expect(answer.json.detail).toContain(
          'session, strong, bounded; max-staleness=<duration>, eventual',
        );
      }
      const write = await domicile.call('eu', 'POST', `${path}/orders`, {
        ...at(level),
        body: { items: [{ product: 'lamp-brass', quantity: 1 }] },
      });
      expect(write.status).toBe(400);
      expect((await domicile.call('eu', 'GET', `${path}/orders`)).json.orders).toEqual([]);
    },
  );

  test('that was kept is stated by every answer that has data, at home and abroad', async () => {
    const { path, client } = await personOf('eu');
    for (const edge of REGIONS) {
      expect(levelOf(await client.call(edge, 'GET', path))).toBe('session');
      for (const level of ['strong', 'bounded; max-staleness=60000ms', 'eventual']) {
        const read = await domicile.call(edge, 'GET', path, at(level));
        expect([read.status, levelOf(read)]).toEqual([200, level]);
      }
    }
    expect(levelOf(await domicile.call('eu', 'GET', '/no/such/route'))).toBeUndefined();
  });
});

test('strong shows what anybody has written before, without a token, at every edge', async () => {
  const { id, path } = await personOf('eu');
  await eventually('the replica has it', async () => {
    const read = await domicile.call('eu', 'GET', path);
    return read.status === 200 && decided(read).includes('rung=replica');
  });
  await whileReplayRests('eu-b', async () => {
    for (const edge of REGIONS) {
      await rename('eu', id, `seen from ${edge}`);
      const weak = await domicile.call(edge, 'GET', path, at('eventual'));
      const read = await domicile.call(edge, 'GET', path, at('strong'));
      expect([read.status, read.json.displayName]).toEqual([200, `seen from ${edge}`]);
      expect(decided(read)).toContain(
        'serve;node=eu-a;rung=primary;passed-over="eu-b:not_the_primary"',
      );
      expect(read.headers['server-timing']).toContain('barrier;dur=');
      expect(ageOf(read)).toBe(0);
      // The control: another level did not have to look so far.
      expect(weak.json.displayName).not.toBe(`seen from ${edge}`);
      expect(decided(weak)).toContain('serve;node=eu-b;rung=replica');
    }
  });
});

test('bounded takes the replica within the bound and the primary beyond it', async () => {
  const { id, path } = await personOf('eu');
  await eventually('the replica has it', async () => {
    const read = await domicile.call('eu', 'GET', path);
    return read.status === 200 && decided(read).includes('rung=replica');
  });
  await whileReplayRests('eu-b', async () => {
    await rename('eu', id, 'renamed');
    const near = await domicile.call('eu', 'GET', path, at('bounded; max-staleness=60m'));
    expect(decided(near)).toContain('node=eu-b;rung=replica');
    await eventually('the replica is older than a second', async () => {
      const read = await domicile.call('eu', 'GET', path, at('bounded; max-staleness=1s'));
      expect(read.status).toBe(200);
      // Never older than asked for, whoever answered.
      expect(ageOf(read)).toBeLessThanOrEqual(1_000 + read.ms);
      return (
        read.json.displayName === 'renamed' && decided(read).includes('node=eu-a;rung=primary')
      );
    });
    const now = await domicile.call('eu', 'GET', path, at('bounded; max-staleness=0ms'));
    expect([now.json.displayName, ageOf(now)]).toEqual(['renamed', 0]);
    expect(now.headers['server-timing']).toContain('barrier;dur=');
  });
});

describe('a primary whose standby is frozen', () => {
  test('answers nobody who wants a proof, within the budget, and everybody else', async () => {
    const { path, client } = await personOf('asia');
    domicile.clusters.kill('asia-b', 'SIGSTOP');
    try {
      // The session is read from the primary as soon as the frozen replica has been silent.
      await eventually('the primary serves sessions', async () => {
        const read = await client.call('asia', 'GET', path);
        return read.status === 200 && decided(read).includes('node=asia-a');
      });
      for (const level of ['strong', 'bounded; max-staleness=0ms']) {
        for (const edge of ['asia', 'us']) {
          const read = await domicile.call(edge, 'GET', path, at(level));
          expect(problemOf(read), level).toEqual([503, 'primary-unconfirmed', 'safe']);
          expect(read.ms).toBeLessThan(4_000);
        }
      }
      const eventual = await domicile.call('asia', 'GET', path, at('eventual'));
      expect(eventual.status).toBe(200);
    } finally {
      domicile.clusters.kill('asia-b', 'SIGCONT');
    }
    await eventually('strong is answered again', async () => {
      return (await domicile.call('us', 'GET', path, at('strong'))).status === 200;
    });
  });
});

test('the edge counts its decisions by rung and level', async () => {
  const { path } = await personOf('eu');
  const counted = async (): Promise<Record<string, number>> =>
    (await domicile.call('eu', 'GET', '/.domicile/health')).json.decisions;
  const before = await counted();
  for (const level of ['strong', 'strong', 'eventual']) {
    await domicile.call('eu', 'GET', path, at(level));
  }
  await domicile.call('eu', 'GET', path, at('latest'));
  const after = await counted();
  const more = (name: string) => (after[name] ?? 0) - (before[name] ?? 0);
  expect(more('serve;rung=primary;level=strong')).toBe(2);
  expect(more('serve;rung=replica;level=eventual')).toBe(1);
  expect(more('refuse;because=unknown-consistency')).toBe(1);
});

describe('a copy abroad', () => {
  const card = ({ path }: Person) => `${path}/card`;
  const copied = (answer: Answer) => decided(answer).includes('rung=mirror');

  async function cardIn(edge: string, person: Person, name: string): Promise<void> {
    await eventually(`the copy in ${edge} says ${name}`, async () => {
      const read = await domicile.call(edge, 'GET', card(person), at('eventual'));
      return copied(read) && read.json.displayName === name;
    });
  }

  test('answers eventual and session, and strong goes home', async () => {
    const person = await personOf('us');
    await cardIn('eu', person, `Name of ${person.id}`);
    const fresh = new Client(domicile);
    expect(copied(await fresh.call('eu', 'GET', card(person)))).toBe(true);
    const strong = await domicile.call('eu', 'GET', card(person), at('strong'));
    expect(decided(strong)).toMatch(
      /^forward;to=us;passed-over="eu-[ab]:not_the_home", serve;node=us-a;rung=primary/,
    );
    const bounded = await domicile.call(
      'eu',
      'GET',
      card(person),
      at('bounded; max-staleness=0ms'),
    );
    expect(decided(bounded)).toMatch(/^forward;to=us;passed-over="eu-[ab]:too_stale", serve/);
  });

  test('that a session has read: the home does not show it less, though its replica lags', async () => {
    const person = await personOf('us');
    await cardIn('eu', person, `Name of ${person.id}`);
    await eventually('the replica at home serves', async () =>
      decided(await domicile.call('us', 'GET', person.path)).includes('node=us-b;rung=replica'),
    );
    await whileReplayRests('us-b', async () => {
      await rename('us', person.id, 'seen abroad first');
      await cardIn('eu', person, 'seen abroad first');
      const traveller = new Client(domicile);
      const abroad = await traveller.call('eu', 'GET', card(person));
      expect([copied(abroad), abroad.json.displayName]).toEqual([true, 'seen abroad first']);
      // The control: who has not been abroad is shown the old name.
      const other = await domicile.call('us', 'GET', person.path);
      expect([decided(other), other.json.displayName]).toEqual([
        'serve;node=us-b;rung=replica',
        `Name of ${person.id}`,
      ]);
      const home = await traveller.call('us', 'GET', person.path);
      expect([home.status, home.json.displayName]).toEqual([200, 'seen abroad first']);
      // And in a third region the copy may be older, so the home is asked.
      const third = await new Client(domicile, abroad.headers['domicile-session'] as string).call(
        'asia',
        'GET',
        card(person),
      );
      expect(third.json.displayName).toBe('seen abroad first');
      expect(decided(third)).toMatch(/^forward;to=us;passed-over="asia-[ab]:seen_elsewhere"/);
    });
  });
});

test('a primary that is slow to say what its standby has is asked for the proof instead', async () => {
  const { id, path } = await personOf('eu');
  const [row] = await domicile.sql(
    'eu-a',
    (sql) =>
      sql`select pg_get_functiondef('domicile.released_up_to(text[])'::regprocedure) as text`,
  );
  const usual = String(row?.text);
  // Longer than it is waited for, and far less than a read may take.
  const slow = usual.replace(/\bbegin\n/i, 'begin\n  perform pg_sleep(0.4);\n');
  expect(slow).not.toBe(usual);
  await domicile.sql('eu-a', (sql) => sql(verbatim(slow)));
  try {
    const shownBy: string[] = [];
    let slowly = 0;
    for (let round = 0; round < 12; round++) {
      await rename('eu', id, `renamed ${round}`);
      // Shown by the replica: nobody has told the edge that this is acknowledged.
      const shown = await new Client(domicile).call('eu', 'GET', path);
      const strong = await domicile.call('eu', 'GET', path, {
        headers: {
          ...at('strong').headers,
          'domicile-session': String(shown.headers['domicile-session']),
        },
      });
      expect([shown.status, strong.status]).toEqual([200, 200]);
      expect(strong.json.displayName).toBe(`renamed ${round}`);
      shownBy.push(decided(shown));
      if (strong.ms >= 100) slowly++;
    }
    expect(shownBy).toContain('serve;node=eu-b;rung=replica');
    expect(slowly).toBeGreaterThan(0);
  } finally {
    await domicile.sql('eu-a', (sql) => sql(verbatim(usual)));
  }
});
