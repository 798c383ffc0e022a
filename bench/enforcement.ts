/**
 * What does PostgreSQL's own enforcement cost?
 *
 * The same statements on a subject table and on a copy of it without constraint and row security,
 * interleaved in one run, through the same pool as the edge's: one order a transaction, which waits
 * for disk and standby; a thousand rows a statement, where the check of each row shows; and a
 * reader's page of orders.
 */
import { LeasePool, type Sql, verbatim } from '../regions/postgres.ts';
import { edgePassword, keyFrom, subjectKeyName } from '../router/provision.ts';
import { LOGINS, type Login } from '../router/region-database.ts';
import { SubjectTokens } from '../router/subject-token.ts';
import { type Bench, edgeOf, signUp } from './measured-world.ts';
import { inWords, ratios, type Spread, spread } from './ratio.ts';

export type EnforcementCost = {
  /** Enforced divided by plain, of the throughput: 1 is free. */
  writes: Spread;
  rowsInBulk: Spread;
  reads: Spread;
  /** Enforced single writes a second, for orientation. */
  writesPerSecond: Spread;
};

type Variant = {
  table: string;
  login: Login;
  enters: boolean;
  run: (sql: Sql) => Promise<unknown>;
};

const USER = 'measured';
const LANES = 8;
const BULK_ROWS = 1_000;
const LIMIT_MS = 30_000;
/** A round gives each variant its time in so many slices, so that a slow moment befalls both. */
const SLICES = 4;

export async function measureEnforcement(
  { world, report }: Bench,
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<EnforcementCost> {
  await signUp(edgeOf(world, 'eu'), USER);
  const superuser = new LeasePool({ ...pool(world.clusters.superuser('eu-a')), connectionsMax: 1 });
  const region = world.catalogue.regions.get('eu');
  const node = region?.nodes[0];
  if (region === undefined || node === undefined) throw new RangeError('no region eu');
  const password = world.clusters.password(edgePassword('eu'));
  const key = keyFrom(world.clusters.password(subjectKeyName('eu')));
  const entered = new SubjectTokens(key).of(USER, 'direct');
  const pools = new Map(
    (['writer', 'reader'] as const).map((login) => {
      const endpoint = { ...node, database: region.database, user: LOGINS[login], password };
      return [login as Login, new LeasePool(pool(endpoint))];
    }),
  );
  try {
    await superuser.run(withoutEnforcement, { timeoutMs: LIMIT_MS });
    const variants: Record<string, Variant> = {};
    for (const [kind, table] of [
      ['enforced', 'orders'],
      ['plain', 'plain_orders'],
    ] as const) {
      const enters = kind === 'enforced';
      const insert = (rows: number) => (sql: Sql) =>
        sql(
          verbatim(
            `insert into ${table} (user_id, total_cents) select '${USER}', n from generate_series(1, ${rows}) n`,
          ),
        );
      variants[`${kind} write`] = { table, login: 'writer', enters, run: insert(1) };
      variants[`${kind} bulk`] = { table, login: 'writer', enters, run: insert(BULK_ROWS) };
      const page = (sql: Sql) =>
        sql(
          verbatim(
            `select id, status, total_cents from ${table} where user_id = '${USER}' order by placed_at desc, id desc limit 20`,
          ),
        );
      variants[`${kind} read`] = { table, login: 'reader', enters, run: page };
    }
    const names = Object.keys(variants);
    const rates = new Map(names.map((name) => [name, [] as number[]]));
    for (let round = 0; round <= rounds; round++) {
      const done = new Map(names.map((name) => [name, { count: 0, ms: 0 }]));
      for (let slice = 0; slice < SLICES; slice++) {
        for (const name of slice % 2 === 0 ? names : names.toReversed()) {
          const sum = done.get(name);
          const variant = variants[name];
          const lent = variant && pools.get(variant.login);
          if (sum === undefined || variant === undefined || lent === undefined) continue;
          const ran = await closedLoop(lent, variant, entered, (seconds * 1000) / SLICES);
          sum.count += ran.count;
          sum.ms += ran.ms;
        }
      }
      // The first round warms caches and plans.
      if (round === 0) continue;
      for (const [name, { count, ms }] of done) rates.get(name)?.push((count / ms) * 1000);
      report(
        `round ${round}: ${names.map((name) => `${name} ${Math.round(rates.get(name)?.at(-1) ?? 0)}/s`).join(', ')}`,
      );
    }
    const ratio = (what: string) =>
      ratios(rates.get(`enforced ${what}`) ?? [], rates.get(`plain ${what}`) ?? []);
    const result = {
      writes: ratio('write'),
      rowsInBulk: ratio('bulk'),
      reads: ratio('read'),
      writesPerSecond: spread(rates.get('enforced write') ?? []),
    };
    report(`writes, enforced / plain         ${inWords(result.writes)}`);
    report(`rows in bulk, enforced / plain   ${inWords(result.rowsInBulk)}`);
    report(`reads, enforced / plain          ${inWords(result.reads)}`);
    return result;
  } finally {
    for (const lent of [superuser, ...pools.values()]) await lent.close({ timeoutMs: 1_000 });
  }
}

/** Runs one thing over and over in every lane for so long. */
async function closedLoop(
  lent: LeasePool,
  { login, enters, run }: Variant,
  entered: string,
  forMs: number,
): Promise<{ count: number; ms: number }> {
  const startedAtMs = performance.now();
  const untilMs = startedAtMs + forMs;
  let count = 0;
  const work = async (sql: Sql) => {
    if (!enters) return run(sql);
    const local = login === 'writer';
    const entering = sql`select set_config('domicile.subject', ${entered}, ${local})`.then();
    await Promise.all([run(sql), entering]);
    return undefined;
  };
  const lane = async () => {
    while (performance.now() < untilMs) {
      if (login === 'reader') await lent.run(work, { timeoutMs: LIMIT_MS });
      else {
        const outcome = await lent.transaction(work, { timeoutMs: LIMIT_MS });
        if (outcome.kind !== 'applied') throw new Error(`a write was ${outcome.kind}`);
      }
      count++;
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
  return { count, ms: performance.now() - startedAtMs };
}

/** A copy of the orders with the same indexes and the same foreign key, and nothing of ours. */
async function withoutEnforcement(sql: Sql): Promise<void> {
  for (const statement of [
    'create table app.plain_orders (like app.orders including all)',
    'alter table app.plain_orders drop constraint domicile_home',
    'alter table app.plain_orders add foreign key (user_id) references app.users',
    `grant select, insert on app.plain_orders to ${LOGINS.writer}, ${LOGINS.reader}`,
  ]) {
    await sql(verbatim(statement));
  }
}

function pool<E>(endpoint: E) {
  return {
    endpoint,
    connectionsMax: LANES,
    waitersMax: LANES,
    connectTimeoutMs: 5_000,
    settings: {},
  };
}
