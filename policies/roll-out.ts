/**
 * In which order does a change of the app's tables reach all clusters, so that no copy ever stops?
 *
 * PostgreSQL does not replicate DDL, and a row that does not fit the table it arrives in stops the
 * whole way it came on. So whoever receives is changed before whoever sends. What cannot be done in
 * that order, such as a column that goes, makes the table rest: edges stop reading its copies, then
 * it stops travelling, and after the change it is filled anew like any table that the policy opens.
 *
 * Pure, and computed from what the clusters hold, so that a roll-out that was cut off is resumed by
 * computing it again.
 */
import type { Catalogue, RegionId } from '../regions/catalogue.ts';
import {
  type ClusterName,
  type ClusterState,
  type Column,
  type Of,
  ofKind,
  type States,
  type TableShape,
} from './cluster-state.ts';
import { type AppSchema, airlocksOf, mirrorSchema, publicationOut } from './desired-state.ts';
import type { Policy, TableName } from './policy.ts';

export type Away = 'nothing' | 'views' | 'views and publications';

/** What the scripts that one region has not run yet would make of its tables. */
export type Rehearsed = {
  /** Names of the scripts, in order; empty when the region has run them all. */
  scripts: readonly string[];
  before: AppSchema;
  after: AppSchema;
  /** What had to be taken out of the way for the scripts to pass, if anything. */
  away: Away;
  /** Whether values are computed anew while a type changes, as `using` does. */
  converts: boolean;
  /** Why rows that are written elsewhere might not fit a table of this region meanwhile. */
  obstacles: readonly { table: TableName; why: string }[];
};

export type RollOutInput = {
  /** The one that is to be in force afterwards. */
  policy: Policy;
  catalogue: Catalogue;
  found: States;
  rehearsed: ReadonlyMap<RegionId, Rehearsed>;
};

export type RollOut = {
  rests: readonly Rest[];
  alterations: readonly Alteration[];
  /** Those who write reference data that grows come last. */
  regions: readonly RegionId[];
};

/** A table that stops travelling from its home while it is changed. */
export type Rest = { home: RegionId; table: TableName; why: string; words: string };

/** A table that receives, changed in place before what it receives changes. */
export type Alteration = {
  cluster: ClusterName;
  table: string;
  statements: readonly string[];
  words: string;
};

export function rollOut(input: RollOutInput): RollOut {
  const rests = restsOf(input);
  const resting = new Set(rests.map(({ home, table }) => `${home} ${table}`));
  return {
    rests,
    alterations: alterationsOf(input, (home, table) => resting.has(`${home} ${table}`)),
    regions: orderOf(input),
  };
}

function restsOf(input: RollOutInput): Rest[] {
  const rests: Rest[] = [];
  for (const [home, { scripts }] of input.rehearsed) {
    if (scripts.length === 0) continue;
    for (const table of travelling(input, home)) {
      const why = whyRest(input, home, table);
      if (why === undefined) continue;
      const words = `let ${table.name} of ${home} rest: edges elsewhere stop reading it, and it stops leaving (${why})`;
      rests.push({ home, table: table.name, why, words });
    }
  }
  return rests;
}

type Travelling = { name: TableName; columns: readonly string[] };

/** App tables that leave a region now, with the columns that do. */
function travelling({ catalogue, found }: RollOutInput, home: RegionId): Travelling[] {
  const tables = new Map<TableName, Set<string>>();
  const ways = airlocksOf(home, catalogue).map(({ name }) => publicationOut(name));
  for (const { publication, table, columns } of ofKind(found.get(home), 'published')) {
    if (!ways.includes(publication) || !table.startsWith('app.')) continue;
    const name = table.slice('app.'.length);
    const known = tables.get(name) ?? new Set();
    for (const column of columns ?? []) known.add(column);
    tables.set(name, known);
  }
  return [...tables].map(([name, columns]) => ({ name, columns: [...columns] }));
}

function whyRest(
  input: RollOutInput,
  home: RegionId,
  { name, columns }: Travelling,
): string | undefined {
  const { policy, rehearsed } = input;
  const own = rehearsed.get(home);
  const before = own?.before.tables.get(name);
  const after = own?.after.tables.get(name);
  if (own === undefined || before === undefined || after === undefined) return 'it goes';
  if (before.primaryKey.join() !== after.primaryKey.join()) return 'its primary key changes';
  const changed = shapeText(before) !== shapeText(after);
  const left = after.columns.filter((column) => before.columns.some(named(column.name)));
  const kept = before.columns.filter((column) => after.columns.some(named(column.name)));
  if (left.map(byName).join() !== kept.map(byName).join()) return 'its columns change places';
  for (const column of columns) {
    const was = before.columns.find(named(column));
    const is = after.columns.find(named(column));
    if (was === undefined || is === undefined) return `${column} goes`;
    if (!sameOrWider(was.type, is.type)) return `${column} becomes ${is.type}`;
    if (was.type !== is.type && own.converts) return `values of ${column} are converted`;
    // An airlock's table is divided by its key, whose type PostgreSQL then holds on to.
    if (was.type !== is.type && after.primaryKey.includes(column)) {
      return `${column} of its key becomes ${is.type}`;
    }
  }
  if (policy.tables.get(name)?.kind !== 'reference') return undefined;
  for (const { obstacles } of rehearsed.values()) {
    const obstacle = obstacles.find(({ table }) => table === name);
    if (obstacle !== undefined) return obstacle.why;
  }
  if (changed && orderOf(input).at(-1) !== home && grows(input, name)) {
    return 'reference data of two regions grows at once';
  }
  return undefined;
}

function alterationsOf(
  input: RollOutInput,
  rests: (home: RegionId, table: TableName) => boolean,
): Alteration[] {
  const { catalogue, found, rehearsed } = input;
  const peers: Alteration[] = [];
  const airlocks: Alteration[] = [];
  for (const home of catalogue.regions.keys()) {
    const after = rehearsed.get(home)?.after.tables;
    if (after === undefined) continue;
    for (const [name, shape] of after) {
      if (rests(home, name)) continue;
      for (const peer of catalogue.regions.keys()) {
        if (peer === home) continue;
        const table = `${mirrorSchema(home)}.${name}`;
        peers.push(...alteration(peer, found.get(peer), table, shape, []));
      }
      const columns = input.policy.tables.get(name)?.kind === 'reference' ? shape.columns : [];
      for (const airlock of airlocksOf(home, catalogue)) {
        const state = found.get(airlock.name);
        airlocks.push(...alteration(airlock.name, state, `app.${name}`, shape, columns));
      }
    }
  }
  return [...peers, ...airlocks];
}

function alteration(
  cluster: ClusterName,
  state: ClusterState | undefined,
  table: string,
  wanted: TableShape,
  /** That are to be there; others are not added. */
  all: readonly Column[],
): Alteration[] {
  const found = state?.get(`table ${table}`);
  if (found?.kind !== 'table') return [];
  const changes: string[] = [];
  for (const { name, type, notNull } of found.columns) {
    const want = wanted.columns.find(named(name));
    if (want === undefined) continue;
    if (want.type !== type && sameOrWider(type, want.type)) {
      changes.push(`alter column ${name} type ${want.type}`);
    }
    if (notNull && !want.notNull) changes.push(`alter column ${name} drop not null`);
  }
  for (const { name, type } of all) {
    // Without values yet, so it cannot be NOT NULL before its owner has sent them.
    if (!found.columns.some(named(name))) changes.push(`add column ${name} ${type}`);
  }
  if (changes.length === 0) return [];
  const statements = changes.map((change) => `alter table ${table} ${change}`);
  return [{ cluster, table, statements, words: `${table} of ${cluster}: ${changes.join(', ')}` }];
}

function orderOf({ policy, catalogue, rehearsed, ...rest }: RollOutInput): RegionId[] {
  const owners = new Set(
    [...policy.tables.values()].flatMap((table) =>
      table.kind === 'reference' && grows({ policy, catalogue, rehearsed, ...rest }, table.name)
        ? [table.owner]
        : [],
    ),
  );
  const regions = [...catalogue.regions.keys()];
  return [...regions.filter((id) => !owners.has(id)), ...regions.filter((id) => owners.has(id))];
}

/** Whether any region has still to change this table. */
function grows({ rehearsed }: RollOutInput, table: TableName): boolean {
  return [...rehearsed.values()].some(
    ({ before, after }) =>
      shapeText(before.tables.get(table)) !== shapeText(after.tables.get(table)),
  );
}

/** Publications whose list of columns lags behind a reference table, and can follow it in place. */
export function laggingLines(
  policy: Policy,
  owner: RegionId,
  state: ClusterState | undefined,
  tables: ReadonlyMap<TableName, TableShape>,
): Of<'published'>[] {
  return ofKind(state, 'published').flatMap((line) => {
    const name = line.table.replace(/^app\./, '');
    const table = policy.tables.get(name);
    const shape = tables.get(name);
    if (table?.kind !== 'reference' || table.owner !== owner || shape === undefined) return [];
    const columns = shape.columns.map(byName).sort();
    const sent = line.columns ?? [];
    if (!sent.every((column) => columns.includes(column)) || sent.length === columns.length) {
      return [];
    }
    return [{ ...line, columns }];
  });
}

function shapeText(shape: TableShape | undefined): string {
  return JSON.stringify(shape ?? null);
}

function named(name: string): (column: Column) => boolean {
  return (column) => column.name === name;
}

function byName({ name }: Column): string {
  return name;
}

const WHOLE = ['smallint', 'integer', 'bigint', 'numeric'];

/** Whether every value of the one, as text, is the same value of the other. */
export function sameOrWider(from: string, to: string): boolean {
  if (from === to) return true;
  if (WHOLE.includes(from) && WHOLE.includes(to)) return WHOLE.indexOf(from) < WHOLE.indexOf(to);
  const characters = /^character varying(?:\((\d+)\))?$/;
  const narrow = characters.exec(from);
  if (narrow !== null) {
    if (to === 'text') return true;
    const wide = characters.exec(to);
    if (wide === null) return false;
    return (
      wide[1] === undefined || (narrow[1] !== undefined && Number(narrow[1]) <= Number(wide[1]))
    );
  }
  const digits = /^numeric\((\d+),(\d+)\)$/;
  const few = digits.exec(from)?.slice(1).map(Number);
  const many = digits.exec(to)?.slice(1).map(Number);
  if (few === undefined) return false;
  if (to === 'numeric') return true;
  if (many === undefined) return false;
  const [precision = 0, scale = 0] = few;
  const [wider = 0, same = 0] = many;
  return same === scale && wider >= precision;
}
