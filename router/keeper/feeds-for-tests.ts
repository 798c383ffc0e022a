/**
 * How does a test keep people writing while a primary goes, and tell what became of it abroad?
 *
 * Clients sign up at their edges and note what was acknowledged; an operator changes and deletes
 * rows; a watch notes when pulses arrive. The judge compares whole tables: a mirror holds what its
 * home holds, and the home holds what was acknowledged.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { LeasePool } from '../../regions/postgres.ts';
import {
  COUNTRY_OF,
  eventually,
  newUser,
  problemOf,
  REGIONS,
  type TestDomicile,
  type Where,
} from '../world-for-tests.ts';

/** What was acknowledged: a name for each id, or that it is gone; several where nobody was told. */
export type Expected = Map<string, Set<string | undefined>>;

export type Load = {
  expected: Expected;
  acknowledged(): number;
  stop(): Promise<void>;
};

const CLIENTS = 3;
/** Enough for the apply worker to be in the middle of one when its server goes. */
const ROWS_AT_ONCE = 400;

/** People of one home sign up through its edge, are renamed and leave, until it is stopped. */
export function keepWriting(
  domicile: TestDomicile,
  home: Where,
  primary: () => string,
  expected: Expected = new Map(),
): Load {
  let stopped = false;
  let acknowledged = 0;
  const note = (id: string, name: string | undefined, certain: boolean) => {
    const may = certain ? new Set<string | undefined>() : (expected.get(id) ?? new Set());
    expected.set(id, may.add(name));
  };
  const client = async () => {
    while (!stopped) {
      const user = newUser(COUNTRY_OF[home]);
      expected.set(user.id, new Set([undefined, user.displayName]));
      try {
        const answer = await domicile.call(home, 'POST', '/users', { body: user });
        if (answer.status === 201) {
          note(user.id, user.displayName, true);
          acknowledged++;
        } else if (problemOf(answer)[2] === 'safe') {
          note(user.id, undefined, true);
        }
      } catch {
        // Whatever became of it, both are noted.
      }
      await pause(5);
    }
  };
  const operator = async () => {
    for (let turn = 1; !stopped; turn++) {
      const node = primary();
      const pool = poolOf(domicile, node);
      const certain = [...expected].filter(
        ([, may]) => may.size === 1 && [...may][0] !== undefined,
      );
      const ids = certain.slice(-ROWS_AT_ONCE).map(([id]) => id);
      const [gone = ''] = ids;
      const name = `Name ${turn} by ${node}`;
      const outcome = await pool.transaction(
        async (sql) => {
          await sql`update app.users set display_name = ${name} where id = any (${ids}) and id <> ${gone}`;
          await sql`delete from app.users where id = ${gone}`;
        },
        { timeoutMs: 1_000 },
      );
      if (outcome.kind !== 'not_applied') {
        for (const id of ids) {
          note(id, id === gone ? undefined : name, outcome.kind === 'applied');
        }
      }
      await pool.close({ timeoutMs: 100 });
      await pause(20);
    }
  };
  const work = [operator(), ...Array.from({ length: CLIENTS }, client)];
  return {
    expected,
    acknowledged: () => acknowledged,
    stop: async () => {
      stopped = true;
      await Promise.all(work);
    },
  };
}

/** One connection of the superuser's. */
export function poolOf({ clusters }: TestDomicile, node: string): LeasePool {
  return new LeasePool({
    endpoint: clusters.superuser(node),
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: 1_000,
    settings: {},
  });
}

/** The rows of people of `home`, as one node has them: id to name. */
export async function peopleOf(
  { sql }: TestDomicile,
  home: Where,
  at: { node: string; region: Where },
): Promise<Map<string, string>> {
  const rows = await sql(at.node, (sql) =>
    at.region === home
      ? sql<{ id: string; name: string }[]>`
          select id, display_name as name from app.users order by id`
      : home === 'us'
        ? sql<{ id: string; name: string }[]>`
            select id, display_name as name from mirror_us.users order by id`
        : sql<{ id: string; name: string }[]>`
            select id, display_name as name from mirror_asia.users order by id`,
  );
  return new Map(rows.map(({ id, name }) => [id, name]));
}

export async function directoryOf({ sql }: TestDomicile, home: Where, node: string) {
  const rows = await sql(
    node,
    (sql) => sql<{ key: string }[]>`
      select encode(key, 'hex') as key from domicile.directory where home = ${home} order by key`,
  );
  return rows.map(({ key }) => key);
}

/** How far the reader of a slot is believed to be, in bytes of its server's log, and whether it reads. */
export async function placeOf({ sql }: TestDomicile, node: string, slot: string) {
  const [row] = await sql(
    node,
    (sql) => sql<{ bytes: string; active: boolean }[]>`
      select (confirmed_flush_lsn - '0/0'::pg_lsn)::text as bytes, active
      from pg_replication_slots where slot_name = ${slot}`,
  );
  return { bytes: BigInt(row?.bytes ?? 0), active: row?.active };
}

/** Resolves when every peer shows a pulse of `home` that was written after this call. */
export async function pulsesArrive(
  domicile: TestDomicile,
  home: Where,
  primaries: Readonly<Record<Where, string>>,
): Promise<void> {
  const at = await pulseOf(domicile, primaries[home], home);
  for (const peer of REGIONS) {
    if (peer === home) continue;
    await eventually(`a pulse of ${home} arrives in ${peer}`, async () => {
      const seen = await pulseOf(domicile, primaries[peer], home);
      return seen.timeline === at.timeline && seen.lsn > at.lsn;
    });
  }
}

export async function pulseOf({ sql }: TestDomicile, node: string, home: Where) {
  const [row] = await sql(
    node,
    (sql) => sql<{ timeline: number; lsn: string }[]>`
      select timeline, (lsn - '0/0'::pg_lsn)::text as lsn
      from domicile.pulses where region = ${home}`,
  );
  return { timeline: row?.timeline ?? 0, lsn: BigInt(row?.lsn ?? 0) };
}

/** The longest time in which a node saw no new pulse of a home, until it is asked. */
export function watchPulses(domicile: TestDomicile, node: string, home: Where) {
  let stopped = false;
  let longestMs = 0;
  const work = (async () => {
    const pool = poolOf(domicile, node);
    let last = '';
    let since = performance.now();
    while (!stopped) {
      const [row] = await pool
        .run(
          (sql) =>
            sql<{ at: string }[]>`select at::text from domicile.pulses where region = ${home}`,
          {
            timeoutMs: 1_000,
          },
        )
        .catch(() => []);
      const now = performance.now();
      if (row !== undefined && row.at !== last) {
        if (last !== '') longestMs = Math.max(longestMs, now - since);
        last = row.at;
        since = now;
      }
      await pause(5);
    }
    longestMs = Math.max(longestMs, performance.now() - since);
    await pool.close({ timeoutMs: 100 });
  })();
  return {
    stop: async () => {
      stopped = true;
      await work;
      return Math.round(longestMs);
    },
  };
}
