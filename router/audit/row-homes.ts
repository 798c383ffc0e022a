/**
 * Is every row where the directory says that its subject is at home?
 *
 * Three books have to agree: the rows of subject tables, the residents of each region, and the
 * directory, at home and in every copy. The constraint holds new rows to the residents; old rows,
 * rows put in while it was away, and the books themselves are looked at here. Subjects are named by
 * their directory key, and rows by their place.
 */
import type { Policy } from '../../policies/policy.ts';
import type { Region, RegionId } from '../../regions/catalogue.ts';
import { waitUntil } from '../../regions/local/wait-until.ts';
import { LeasePool, type Sql, verbatim } from '../../regions/postgres.ts';
import { directoryKeyOf } from '../directory.ts';
import { type AuditedWorld, primaryOf } from './audited-world.ts';
import type { Finding } from './finding.ts';

/** Findings of one kind in one table; the rest is counted. */
const NAMED_MAX = 20;
const PAGE_ROWS = 5_000;
/** A full look at a large table takes its time. */
const STATEMENT_MS_MAX = 600_000;
const CONNECT_MS_MAX = 10_000;
/** What is on its way to a copy arrives well within this. */
const SETTLE_MS_MAX = 10_000;
const LOOK_EVERY_MS = 100;

export type RowHomes = { findings: Finding[]; looked: number };

/** @throws DatabaseError when a cluster cannot be looked at. */
export async function checkRowHomes(
  world: AuditedWorld,
  policy: Policy,
  settleMsMax = SETTLE_MS_MAX,
): Promise<RowHomes> {
  const books = new Books(world, policy, settleMsMax);
  try {
    return await books.check();
  } finally {
    await books.close();
  }
}

type Entry = { key: Buffer; epoch: number };
/** A copy that says something else about subjects of a home than the home itself. */
type Differing = { region: RegionId; home: string; copy: string; keys: readonly string[] };

class Books {
  readonly #world: AuditedWorld;
  readonly #policy: Policy;
  readonly #settleMsMax: number;
  readonly #pools = new Map<string, LeasePool>();
  readonly #findings: Finding[] = [];
  #looked = 0;

  constructor(world: AuditedWorld, policy: Policy, settleMsMax: number) {
    this.#world = world;
    this.#policy = policy;
    this.#settleMsMax = settleMsMax;
  }

  async check(): Promise<RowHomes> {
    const primaries = new Map<RegionId, string>();
    for (const region of this.#world.catalogue.regions.values()) {
      const primary = await primaryOf(this.#world, region);
      if (primary === undefined) throw new NoPrimary(region.id);
      primaries.set(region.id, primary);
    }
    for (const [region, node] of primaries) {
      await this.#rows(region, node);
      await this.#residents(region, node);
      await this.#entriesWithoutResidents(region, node);
    }
    await this.#copies(primaries);
    return { findings: this.#findings, looked: this.#looked };
  }

  async close(): Promise<void> {
    const pools = [...this.#pools.values()];
    await Promise.all(pools.map((pool) => pool.close({ timeoutMs: 1_000 })));
  }

  /** Rows of somebody who is not at home here. */
  async #rows(region: RegionId, node: string): Promise<void> {
    for (const table of this.#policy.tables.values()) {
      if (table.kind !== 'subject') continue;
      // Names come from a checked policy: words that need no quotes.
      const strangers = `from app.${table.name} t where not exists (
        select from domicile.residents r where r.subject = t.${table.subject}::text)`;
      const { count, rows } = await this.#on(node, async (sql) => {
        const [all] = await sql<{ rows: string; strangers: string }[]>(
          verbatim(`select (select count(*) from app.${table.name})::text as rows,
            (select count(*) ${strangers})::text as strangers`),
        );
        this.#looked += Number(all?.rows ?? 0);
        const named = await sql<{ subject: string; place: string; file: string }[]>(
          verbatim(`select t.${table.subject}::text as subject, t.ctid::text as place,
              pg_relation_filepath(t.tableoid) as file ${strangers} limit ${NAMED_MAX}`),
        );
        return { count: Number(all?.strangers ?? 0), rows: named };
      });
      for (const { subject, place, file } of rows) {
        const key = this.#keyOf(subject);
        const home = await this.#homeOf(node, key);
        this.#find(
          'row-without-resident',
          region,
          `${node}, app.${table.name}`,
          `${region}: app.${table.name} on ${node} has a row at ${place} of ${file} whose subject is not at home in ${region}: no resident has the key ${text(key)}, ${home}`,
        );
      }
      this.#more(count - rows.length, 'row-without-resident', region, `app.${table.name}`);
    }
  }

  async #residents(region: RegionId, node: string): Promise<void> {
    let after = '';
    let found = 0;
    for (;;) {
      const page = await this.#on(
        node,
        (sql) => sql<
          { subject: string; key: Buffer; home: string | null }[]
        >`select r.subject, r.key, d.home
          from domicile.residents r left join domicile.directory d on d.key = r.key
          where r.subject > ${after} order by r.subject limit ${PAGE_ROWS}`,
      );
      this.#looked += page.length;
      for (const { subject, key, home } of page) {
        const right = this.#keyOf(subject);
        const finding = (kind: Finding['kind'], words: string) => {
          found++;
          if (found <= NAMED_MAX) {
            this.#find(kind, region, `${node}, domicile.residents`, `${region}: ${words}`);
          }
        };
        if (!right.equals(key)) {
          finding(
            'resident-key-wrong',
            `a resident of ${node} is entered under the key ${text(key)}, which is not the keyed hash of the id; that is ${text(right)}`,
          );
        }
        if (home === null) {
          finding(
            'resident-without-entry',
            `the resident with the key ${text(key)} on ${node} has no entry in the directory`,
          );
        } else if (home !== region) {
          finding(
            'resident-elsewhere',
            `the resident with the key ${text(key)} lives on ${node}, but the directory there says ${home}`,
          );
        }
      }
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_ROWS) break;
      after = last.subject;
    }
    this.#more(found - NAMED_MAX, 'resident-without-entry', region, 'domicile.residents');
  }

  async #entriesWithoutResidents(region: RegionId, node: string): Promise<void> {
    const rows = await this.#on(
      node,
      (sql) => sql<{ key: Buffer }[]>`
        select d.key from domicile.directory d
        where d.home = ${region}
          and not exists (select from domicile.residents r where r.key = d.key)
        order by d.key`,
    );
    for (const { key } of rows.slice(0, NAMED_MAX)) {
      this.#find(
        'entry-without-resident',
        region,
        `${node}, domicile.directory`,
        `${region}: the directory on ${node} says that the subject with the key ${text(key)} lives here, but no resident has it`,
      );
    }
    this.#more(rows.length - NAMED_MAX, 'entry-without-resident', region, 'domicile.directory');
  }

  /** What each other cluster says about the subjects of a home, against what the home says. */
  async #copies(primaries: ReadonlyMap<RegionId, string>): Promise<void> {
    const differing: Differing[] = [];
    for (const region of this.#world.catalogue.regions.values()) {
      const home = primaries.get(region.id) ?? '';
      for (const copy of copiesOf(region, primaries)) {
        const keys = await this.#differing(region.id, home, copy);
        if (keys.length > 0) differing.push({ region: region.id, home, copy, keys });
      }
    }
    // Whatever is on its way has its time to arrive, to all at once; what then differs, differs.
    const left = await Promise.all(differing.map((one) => this.#leftOf(one)));
    for (const { region, home, copy, keys } of left) {
      for (const key of keys.slice(0, NAMED_MAX)) {
        this.#find(
          'directory-copy-differs',
          region,
          `${copy}, domicile.directory`,
          `${region}: the copy of its directory on ${copy} differs from ${home}'s own about the subject with the key ${key}`,
        );
      }
      const more = keys.length - NAMED_MAX;
      this.#more(more, 'directory-copy-differs', region, `directory on ${copy}`);
    }
  }

  async #leftOf({ region, home, copy, keys }: Differing): Promise<Differing> {
    let left = keys;
    await waitUntil(
      async () => {
        left = (await this.#differing(region, home, copy)).filter((key) => keys.includes(key));
        return left.length === 0 || undefined;
      },
      { timeoutMs: this.#settleMsMax, everyMs: LOOK_EVERY_MS },
    );
    return { region, home, copy, keys: left };
  }

  /** Keys that only one of the two has, or that they have differently; both in order of keys. */
  async #differing(region: RegionId, home: string, copy: string): Promise<string[]> {
    const differing: string[] = [];
    const own = this.#entries(region, home);
    const theirs = this.#entries(region, copy);
    let [one, other] = [await own.next(), await theirs.next()];
    while (one.done !== true || other.done !== true) {
      const order =
        one.done === true
          ? 1
          : other.done === true
            ? -1
            : Buffer.compare(one.value.key, other.value.key);
      if (order !== 0 || one.value?.epoch !== other.value?.epoch) {
        const key = order <= 0 ? one.value?.key : other.value?.key;
        if (key !== undefined) differing.push(text(key));
      }
      if (order <= 0) one = await own.next();
      if (order >= 0) other = await theirs.next();
    }
    return differing;
  }

  async *#entries(region: RegionId, node: string): AsyncGenerator<Entry, undefined> {
    let after = Buffer.alloc(0);
    for (;;) {
      const page = await this.#on(
        node,
        (sql) => sql<Entry[]>`
          select key, epoch from domicile.directory
          where home = ${region} and key > ${after} order by key limit ${PAGE_ROWS}`,
      );
      this.#looked += page.length;
      yield* page;
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE_ROWS) return undefined;
      after = Buffer.from(last.key);
    }
  }

  async #homeOf(node: string, key: Buffer): Promise<string> {
    const [entry] = await this.#on(
      node,
      (sql) => sql<{ home: string }[]>`
        select home from domicile.directory where key = ${key}`,
    );
    return entry === undefined
      ? 'and the directory has no such entry'
      : `and the directory says ${entry.home}`;
  }

  #keyOf(subject: string): Buffer {
    return directoryKeyOf(this.#world.key('directory'), subject);
  }

  #find(kind: Finding['kind'], region: RegionId, at: string, words: string): void {
    this.#findings.push({ kind, region, at, words });
  }

  #more(count: number, kind: Finding['kind'], region: RegionId, at: string): void {
    if (count <= 0) return;
    this.#find(kind, region, at, `${region}: ${count} more of this kind in ${at}`);
  }

  #on<T>(node: string, use: (sql: Sql) => Promise<T>): Promise<T> {
    let pool = this.#pools.get(node);
    if (pool === undefined) {
      pool = new LeasePool({
        endpoint: this.#world.superuser(node),
        connectionsMax: 1,
        // Each copy is compared with its home, two pages at a time.
        waitersMax: 2 * this.#world.nodes.length,
        connectTimeoutMs: CONNECT_MS_MAX,
        settings: { application_name: 'domicile audit' },
      });
      this.#pools.set(node, pool);
    }
    return pool.run(use, { timeoutMs: STATEMENT_MS_MAX });
  }
}

/** A region in which no node takes writes has no book that could be compared with. */
export class NoPrimary extends Error {
  constructor(region: RegionId) {
    super(`no node of ${region} takes writes`);
  }
}

/** Where entries of a home arrive: its airlocks, and the primaries of all others. */
function copiesOf(region: Region, primaries: ReadonlyMap<RegionId, string>): string[] {
  const abroad = [...primaries].filter(([id]) => id !== region.id).map(([, node]) => node);
  return [...region.airlocks.map(({ name }) => name), ...abroad];
}

function text(key: Buffer): string {
  return key.toString('base64url');
}
