/**
 * Does PostgreSQL keep the policy when the router is wrong, or is not asked?
 *
 * Each test goes round the router in its own way and must be stopped by the database. Beside each
 * refusal stands its control: the same statement where it is allowed.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { LeasePool, type Sql, verbatim } from '../regions/postgres.ts';
import { adoptResidents } from './adopt-residents.ts';
import { edgePassword, subjectKeyName } from './provision.ts';
import { LOGINS, type Login } from './region-database.ts';
import { SubjectTokens, type Way } from './subject-token.ts';
import {
  Client,
  eventually,
  type FurtherEdge,
  LAMP,
  newUser,
  problemOf,
  startTestDomicile,
  type TestDomicile,
  type Where,
} from './world-for-tests.ts';

let domicile: TestDomicile;
let careless: FurtherEdge;
/** Two people of eu, one of us, each with an order. */
const people = { greta: 'greta', hans: 'hans', uma: 'uma' } as const;

beforeAll(async () => {
  domicile = await startTestDomicile();
  careless = await domicile.startEdge({
    region: 'eu',
    app: new URL('./app-for-tests.ts', import.meta.url).pathname,
  });
  for (const [id, country] of Object.entries({ greta: 'DE', hans: 'AT', uma: 'US' })) {
    const client = new Client(domicile);
    const body = { id, displayName: `Name of ${id}`, email: `${id}@mail.example`, country };
    expect((await client.call('eu', 'POST', '/users', body)).status).toBe(201);
    expect((await client.call('eu', 'POST', `/users/${id}/orders`, LAMP)).status).toBe(201);
  }
});
afterAll(() => domicile?.remove());

/** SQL as one of the edge's logins, without an edge. */
async function as<T>(
  region: Where,
  login: Login,
  entered: string | undefined,
  use: (sql: Sql) => Promise<T>,
): Promise<T> {
  const { database, nodes } = domicile.catalogue.regions.get(region) ?? { nodes: [] };
  const node = nodes[0];
  if (node === undefined || database === undefined) throw new RangeError(region);
  const password = domicile.clusters.password(edgePassword(region));
  const pool = new LeasePool({
    endpoint: { ...node, database, user: LOGINS[login], password },
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: 5_000,
    settings: {},
  });
  try {
    return await pool.run(
      async (sql) => {
        if (entered !== undefined) {
          await sql`select set_config('domicile.subject', ${entered}, false)`;
        }
        return use(sql);
      },
      { timeoutMs: 10_000 },
    );
  } finally {
    await pool.close({ timeoutMs: 1_000 });
  }
}

function token(region: Where, subject: string, way: Way = 'direct'): string {
  return new SubjectTokens(domicile.secret(subjectKeyName(region))).of(subject, way);
}

const order = (user: string) => (sql: Sql) =>
  sql`insert into orders (user_id, total_cents) values (${user}, 1) returning user_id`;
const ofNode = (region: Where) => `${region}-a`;

async function rejectedAs(attempt: Promise<unknown>): Promise<string> {
  const failure = await attempt.then(
    (value) => `resolved with ${JSON.stringify(value)}`,
    (error) => error.failure,
  );
  if (failure?.kind !== 'rejected') throw new Error(`not rejected: ${JSON.stringify(failure)}`);
  return failure.constraint === undefined
    ? failure.sqlstate
    : `${failure.sqlstate} ${failure.constraint}`;
}

describe('psql as the app’s login', () => {
  test('reads and writes nothing before it has entered a subject', async () => {
    const read = as('eu', 'reader', undefined, (sql) => sql`select id from users`);
    expect(await rejectedAs(read)).toBe('DM002');
    expect(await rejectedAs(as('eu', 'writer', undefined, order('greta')))).toBe('DM002');
  });

  test('sees one subject’s rows with a token, and cannot make a token', async () => {
    const everyone = (sql: Sql) => sql`select id from users union all select user_id from orders`;
    const own = await as('eu', 'reader', token('eu', 'greta'), everyone);
    expect(own.map(({ id }) => id)).toEqual(['greta', 'greta']);
    const forged = [
      `${'0'.repeat(32)}dgreta`,
      'dgreta',
      'greta',
      token('us', 'greta'),
      token('eu', 'greta').replace('dgreta', 'dhans'),
      token('eu', 'greta', 'through-foreign-edge').replace('fgreta', 'dgreta'),
    ];
    for (const entered of forged) {
      expect(await rejectedAs(as('eu', 'reader', entered, everyone)), entered).toBe('DM003');
    }
  });

  test('cannot read the key of the tokens, or who is at home', async () => {
    for (const table of ['domicile.subject_key', 'domicile.residents']) {
      for (const login of Object.keys(LOGINS) as Login[]) {
        const read = as('eu', login, undefined, (sql) => sql(verbatim(`select * from ${table}`)));
        expect(await rejectedAs(read), `${login} ${table}`).toBe('42501');
      }
    }
  });

  test('stores no row of a subject who is at home elsewhere, even with a token of this region', async () => {
    const foreign = as('us', 'writer', token('us', 'greta'), order('greta'));
    expect(await rejectedAs(foreign)).toBe('23514 domicile_home');
    const control = await as('us', 'writer', token('us', 'uma'), order('uma'));
    expect(control).toEqual([{ user_id: 'uma' }]);
  });

  test('is told when it came through a foreign edge, where that is not allowed', async () => {
    const ask = (way: Way) =>
      as('eu', 'reader', token('eu', 'greta', way), (sql) => sql`select domicile.subject_direct()`);
    expect(await ask('direct')).toEqual([{ subject_direct: 'greta' }]);
    expect(await rejectedAs(ask('through-foreign-edge'))).toBe('DM004');
  });

  test('knows a subject by one spelling only', async () => {
    const uuid = '0198c1f2-0000-7000-8000-00000000000a';
    const ask = (said: string, type: string) =>
      as(
        'eu',
        'reader',
        undefined,
        (sql) => sql`select domicile.spelt_as(${said}, ${type}::regtype) as said`,
      );
    expect(await ask(uuid, 'uuid')).toEqual([{ said: uuid }]);
    expect(await ask('42', 'bigint')).toEqual([{ said: '42' }]);
    for (const [said, type] of [
      [uuid.toUpperCase(), 'uuid'],
      [`{${uuid}}`, 'uuid'],
      ['greta', 'uuid'],
      ['042', 'bigint'],
      [' 42', 'bigint'],
      ['99999999999999999999', 'bigint'],
    ] as const) {
      expect(await rejectedAs(ask(said, type)), said).toBe('DM005');
    }
  });

  test('moves no row to another subject, and empties no table', async () => {
    const steal = as(
      'eu',
      'writer',
      token('eu', 'greta'),
      (sql) => sql`update orders set user_id = 'hans'`,
    );
    expect(await rejectedAs(steal)).toBe('42501');
    const truncate = as('eu', 'writer', token('eu', 'greta'), (sql) => sql`truncate order_items`);
    expect(await rejectedAs(truncate)).toBe('42501');
  });
});

describe('whoever owns the tables', () => {
  test('is held to one subject’s rows as well, once it is no superuser', async () => {
    await domicile.sql('eu-a', async (sql) => {
      await sql`create role plain_owner`;
      await sql`grant usage on schema app, domicile to plain_owner`;
      await sql`grant execute on function domicile.subject() to plain_owner`;
      await sql`alter table app.orders owner to plain_owner`;
    });
    try {
      const seen = await domicile.sql('eu-a', async (sql) => {
        await sql`select set_config('domicile.subject', ${token('eu', 'hans')}, false)`;
        await sql`set role plain_owner`;
        return sql`select distinct user_id from app.orders`;
      });
      expect(seen).toEqual([{ user_id: 'hans' }]);
    } finally {
      await domicile.sql('eu-a', async (sql) => {
        await sql`alter table app.orders owner to postgres`;
        await sql`drop owned by plain_owner`;
        await sql`drop role plain_owner`;
      });
    }
  });

  test('a superuser, and one who plays a replica, store no foreign row', async () => {
    for (const role of ['origin', 'replica']) {
      const attempt = domicile.sql('us-a', async (sql) => {
        await sql`select set_config('session_replication_role', ${role}, false)`;
        return sql`insert into app.orders (user_id, total_cents) values ('greta', 1)`;
      });
      expect(await rejectedAs(attempt), role).toBe('23514 domicile_home');
    }
  });
});

test('a publication by hand brings no foreign row: the apply worker is refused', async () => {
  await domicile.sql('us-a', (sql) =>
    sql(verbatim('create publication rogue for table app.users')),
  );
  const { host, port } = domicile.catalogue.regions.get('us')?.nodes[0] ?? { host: '', port: 0 };
  const { database } = domicile.catalogue.regions.get('us') ?? { database: '' };
  const { user, password } = domicile.clusters.superuser('us-a');
  const errors = () =>
    domicile.sql(
      'eu-a',
      (sql) => sql`
        select apply_error_count + sync_error_count as n from pg_stat_subscription_stats
        where subname = 'rogue'`,
    );
  await domicile.sql('eu-a', (sql) =>
    sql(
      verbatim(
        `create subscription rogue connection 'host=${host} port=${port} dbname=${database} user=${user} password=${password}' publication rogue with (copy_data = false)`,
      ),
    ),
  );
  try {
    const client = new Client(domicile);
    const body = { id: 'ursula', displayName: 'U', email: 'u@mail.example', country: 'US' };
    expect((await client.call('us', 'POST', '/users', body)).status).toBe(201);
    await eventually('the worker has been refused', async () => Number((await errors())[0]?.n) > 0);
    const rows = await domicile.sql(
      'eu-a',
      (sql) => sql`select from app.users where id = 'ursula'`,
    );
    expect(rows).toEqual([]);
    // The control: where she is at home, the row is there.
    const home = await domicile.sql(
      'us-a',
      (sql) => sql`select from app.users where id = 'ursula'`,
    );
    expect(home.length).toBe(1);
  } finally {
    await domicile.sql('eu-a', (sql) => sql(verbatim('drop subscription rogue')));
    await domicile.sql('us-a', (sql) => sql(verbatim('drop publication rogue')));
  }
});

describe('a careless handler', () => {
  const call = (method: string, path: string) => domicile.call(careless.url, method, path);

  test('that forgets its where sees its own subject’s rows', async () => {
    expect((await call('GET', '/users/greta/all')).json).toEqual([{ id: 'greta' }]);
    expect((await call('GET', '/users/hans/all')).json).toEqual([{ id: 'hans' }]);
  });

  test('that writes for somebody else is refused, at home here or not', async () => {
    for (const other of ['hans', 'uma', 'nobody']) {
      const answer = await call('POST', `/users/greta/orders-for/${other}`);
      expect(problemOf(answer), other).toEqual([500, 'not-permitted', 'after-change']);
    }
    expect((await call('POST', '/users/greta/orders-for/greta')).status).toBe(200);
  });

  test('that takes somebody else’s rows finds none', async () => {
    expect((await call('POST', '/users/greta/takes/hans')).json).toEqual([]);
  });

  test('that lets SQL in is no way to another subject', async () => {
    for (const path of ['poses-as/hans', 'poses-as-nobody', 'key', 'residents']) {
      const answer = await call('GET', `/users/greta/${path}`);
      expect(problemOf(answer), path).toEqual([500, 'not-permitted', 'after-change']);
    }
    // The connection was returned with a setting that is not ours, and the next one is served.
    expect((await call('GET', '/users/hans/all')).json).toEqual([{ id: 'hans' }]);
  });

  test('of a route about nobody sees nobody', async () => {
    const us = await domicile.startEdge({
      region: 'us',
      app: new URL('./app-for-tests.ts', import.meta.url).pathname,
    });
    const answer = await domicile.call(us.url, 'GET', '/products/with-users');
    expect(problemOf(answer)).toEqual([500, 'not-permitted', 'after-change']);
  });
});

test('subjects that come and go on few connections never see each other', async () => {
  const one = await domicile.startEdge({
    region: 'eu',
    app: new URL('./app-for-tests.ts', import.meta.url).pathname,
    // Nobody is to be turned away here, however busy the machine is.
    settings: {
      DOMICILE_CONNECTIONS_MAX: '1',
      DOMICILE_BUDGET_MS: '20000',
      DOMICILE_QUEUE_MS_MAX: '20000',
    },
  });
  // Few at a time, or the edge would turn some away; each crowd has both of them in it.
  for (let crowd = 0; crowd < 20; crowd++) {
    const ids = Array.from({ length: 20 }, (_, i) => (i % 2 === 0 ? people.greta : people.hans));
    const answers = await Promise.all(
      ids.map((id) => domicile.call(one.url, 'GET', `/users/${id}/all`)),
    );
    expect(answers.map(({ json }) => json)).toEqual(ids.map((id) => [{ id }]));
  }
});

test('a region that has recorded nobody adopts whom its directory knows, and nobody else', async () => {
  const subjects = ['ida', 'ivo'];
  for (const id of subjects) {
    const answer = await domicile.call('eu', 'POST', '/users', { body: newUser('DE', id) });
    expect(answer.status).toBe(201);
  }
  const constraint = 'constraint domicile_home check (domicile.at_home(id)) not valid';
  await domicile.sql('eu-a', async (sql) => {
    await sql`alter table app.users drop constraint domicile_home`;
    await sql`
      insert into app.users (id, display_name, email, country) values ('uma', 'U', 'u@x', 'US')`;
    await sql(verbatim(`alter table app.users add ${constraint}`));
    await sql`delete from domicile.residents where subject in ${sql(subjects)}`;
  });
  const run = () =>
    domicile.sql('eu-a', (sql) => adoptResidents(sql, domicile.policy, 'eu', domicile.keyOf));
  try {
    expect(await run()).toEqual({ adopted: 2, strangers: 1 });
    const rows = await domicile.sql(
      'eu-a',
      (sql) => sql`
        select r.subject, r.rule, d.home from domicile.residents r
        join domicile.directory d using (key)
        where r.subject in ('ida', 'ivo', 'uma') order by 1`,
    );
    expect(rows).toEqual(subjects.map((subject) => ({ subject, rule: 'adopted', home: 'eu' })));
    expect(await run()).toEqual({ adopted: 0, strangers: 1 });
  } finally {
    await domicile.sql('eu-a', (sql) => sql`delete from app.users where id = 'uma'`);
  }
});

test('a region remembers who settled there, under which law and rule', async () => {
  const rows = await domicile.sql(
    ofNode('eu'),
    (sql) => sql`
      select r.subject, r.jurisdiction, r.rule, r.policy_version, d.home
      from domicile.residents r join domicile.directory d using (key)
      where r.subject in ('greta', 'hans', 'uma') order by 1`,
  );
  expect(rows).toEqual(
    ['greta', 'hans'].map((subject) => ({
      subject,
      jurisdiction: 'europe',
      rule: 'europe',
      policy_version: 1,
      home: 'eu',
    })),
  );
});
