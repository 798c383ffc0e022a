/**
 * Which tables, publications and subscriptions follow from the policy?
 *
 * Pure text: policy, catalogue and the app's columns in, SQL out. Data leaves a region in two hops:
 * the private primary publishes to each airlock what the peers of that airlock may see, and the
 * airlock publishes to each of them what that peer may see. Every publication names its columns and filters its rows; none
 * carries TRUNCATE, which ignores filters. On the way out an app table becomes a table of its own
 * (`mirror_eu.users`), so that no peer's own rows are ever touched.
 *
 * The renaming uses a partition: the airlock's `app.users` has one leaf, `mirror_eu.users`. Rows
 * arrive under the parent's name and leave under the leaf's.
 */
import type { Airlock, Catalogue, RegionId } from '../regions/catalogue.ts';
import { exportsOf, type Mirror, type Policy, type ReferenceTable } from './policy.ts';

export type Column = { name: string; type: string; notNull: boolean };
/** An app table as the database has it. */
export type TableShape = { columns: readonly Column[]; primaryKey: readonly string[] };
export type Shapes = ReadonlyMap<string, TableShape>;

/** What one policy asks of one region's clusters. Statements can be repeated unless said. */
export type RegionSql = {
  /** Private primary: schemas and empty tables for what arrives from peers. */
  mirrors: readonly string[];
  /** By the name of the airlock. */
  exits: ReadonlyMap<string, Exit>;
};

/** The way out of a region through one of its airlocks. */
export type Exit = {
  /** Airlock: the app's tables as they leave here. */
  airlock: readonly string[];
  /** Private primary: what this airlock may fetch. */
  out: Publication;
  /** Airlock: what each of its peers may fetch. */
  toPeers: ReadonlyMap<RegionId, Publication>;
};

export type Publication = { name: string; tables: readonly string[] };

/** On the private primary. Names of airlocks are spelt like region ids. */
export const publicationOut = (airlock: string) => `domicile_out_${identifier(airlock)}`;
/** On the airlock; the slot that the private primary keeps for it has the same name. */
export const subscriptionHome = (airlock: string) => `domicile_home_${identifier(airlock)}`;
export const publicationTo = (peer: RegionId) => `domicile_to_${identifier(peer)}`;
export const subscriptionFrom = (peer: RegionId) => `domicile_from_${identifier(peer)}`;
export const peerRole = (peer: RegionId) => `domicile_peer_${identifier(peer)}`;

/** @throws RangeError naming the mirror when the schema does not allow it to be replicated. */
export function regionSql(
  policy: Policy,
  catalogue: Catalogue,
  here: RegionId,
  shapes: Shapes,
): RegionSql {
  for (const { table, mirrors } of tablesLeaving(policy, here)) {
    for (const mirror of mirrors) checkMirror(mirror, table, shapes);
  }
  const airlocks = catalogue.regions.get(here)?.airlocks ?? [];
  return {
    mirrors: mirrorTables(policy, catalogue, here, shapes),
    exits: new Map(
      airlocks.map((airlock) => [airlock.name, exit(policy, here, airlock, shapes)] as const),
    ),
  };
}

function exit(policy: Policy, here: RegionId, { name, peers }: Airlock, shapes: Shapes): Exit {
  const owned = referenceTables(policy).filter(({ owner }) => owner === here);
  const leaving = tablesLeaving(policy, here, peers);
  const always = (home: RegionId) => [
    `domicile.directory (key, home, epoch, settled_at) where (home = ${literal(home)})`,
    `domicile.pulses (region, system_id, timeline, lsn, at) where (region = ${literal(home)})`,
  ];
  const referenceOut = owned.map(({ name }) => `app.${name} (${names(shapeOf(shapes, name))})`);
  const out: Publication = {
    name: publicationOut(name),
    tables: [
      ...always(here),
      ...referenceOut,
      ...leaving.map(({ table, columns }) => `app.${table} (${columns.join(', ')})`),
    ],
  };
  const toPeers = new Map(
    peers.map((peer) => {
      const mirrored = tablesLeaving(policy, here, [peer]).map(
        ({ table, columns }) => `${mirrorSchema(here)}.${table} (${columns.join(', ')})`,
      );
      const tables = [...always(here), ...referenceOut, ...mirrored];
      return [peer, { name: publicationTo(peer), tables }] as const;
    }),
  );
  return { airlock: airlockTables(owned, leaving, here, shapes), out, toPeers };
}

export function createPublication({ name, tables }: Publication): string {
  return `create publication ${name} for table ${tables.join(', ')} with (publish = 'insert, update, delete')`;
}

export function alterPublication({ name, tables }: Publication): string {
  return `alter publication ${name} set table ${tables.join(', ')}`;
}

export function referenceTables(policy: Policy): ReferenceTable[] {
  return [...policy.tables.values()].filter((table) => table.kind === 'reference');
}

type Leaving = { table: string; columns: readonly string[]; mirrors: readonly Mirror[] };

/** App tables with a mirror that leaves `from` for any of `peers`, and the columns that go. */
function tablesLeaving(policy: Policy, from: RegionId, peers?: readonly RegionId[]): Leaving[] {
  const found = new Map<string, { columns: Set<string>; mirrors: Set<Mirror> }>();
  for (const way of exportsOf(policy)) {
    if (way.from !== from || peers?.includes(way.to) === false) continue;
    const leaving = found.get(way.table) ?? { columns: new Set(), mirrors: new Set() };
    for (const column of way.mirror.columns) leaving.columns.add(column);
    leaving.mirrors.add(way.mirror);
    found.set(way.table, leaving);
  }
  return [...found].map(([table, { columns, mirrors }]) => ({
    table,
    columns: [...columns].sort(),
    mirrors: [...mirrors],
  }));
}

function airlockTables(
  owned: readonly ReferenceTable[],
  leaving: readonly Leaving[],
  here: RegionId,
  shapes: Shapes,
): string[] {
  const schema = mirrorSchema(here);
  const sql = ['create schema if not exists app', `create schema if not exists ${schema}`];
  for (const { name } of owned) {
    sql.push(createTable(`app.${name}`, shapeOf(shapes, name)));
  }
  for (const { table, columns } of leaving) {
    const shape = narrowed(shapeOf(shapes, table), columns);
    const key = shape.primaryKey.join(', ');
    sql.push(
      `create table if not exists app.${table} (${columnList(shape)}) partition by hash (${key})`,
      `create table if not exists ${schema}.${table} partition of app.${table} (primary key (${key}))
        for values with (modulus 1, remainder 0)`,
    );
  }
  return sql;
}

/** Tables that fill from peers, and one view per mirror over all homes that open it to here. */
function mirrorTables(
  policy: Policy,
  catalogue: Catalogue,
  here: RegionId,
  shapes: Shapes,
): string[] {
  const sql = ['create schema if not exists mirror'];
  for (const peer of catalogue.regions.keys()) {
    if (peer === here) continue;
    sql.push(`create schema if not exists ${mirrorSchema(peer)}`);
    for (const { table, columns } of tablesLeaving(policy, peer, [here])) {
      const shape = narrowed(shapeOf(shapes, table), columns);
      sql.push(createTable(`${mirrorSchema(peer)}.${table}`, shape));
    }
  }
  for (const table of policy.tables.values()) {
    if (table.kind === 'reference') continue;
    for (const mirror of table.mirrors) {
      const columns = mirror.columns.join(', ');
      const homes = mirror.homes.filter((home) => home !== here && mirror.to.includes(here));
      const sources = [
        `app.${table.name}`,
        ...homes.map((home) => `${mirrorSchema(home)}.${table.name}`),
      ];
      const union = sources.map((source) => `select ${columns} from ${source}`).join(' union all ');
      sql.push(`create or replace view mirror.${mirror.as} as ${union}`);
    }
  }
  return sql;
}

function checkMirror(mirror: Mirror, table: string, shapes: Shapes): void {
  const { columns, primaryKey } = shapeOf(shapes, table);
  const known = new Set(columns.map(({ name }) => name));
  for (const column of mirror.columns) {
    if (!known.has(column)) {
      throw new RangeError(`mirror ${mirror.as}: table ${table} has no column ${column}`);
    }
  }
  const missing = primaryKey.filter((column) => !mirror.columns.includes(column));
  if (missing.length > 0) {
    throw new RangeError(
      `mirror ${mirror.as}: the primary key of ${table} must be among its columns, ${missing.join(', ')} is not`,
    );
  }
  if (mirror.rows.length > 0) {
    throw new RangeError(`mirror ${mirror.as}: row conditions cannot be replicated yet`);
  }
}

function createTable(name: string, shape: TableShape): string {
  return `create table if not exists ${name} (${columnList(shape)}, primary key (${shape.primaryKey.join(', ')}))`;
}

function columnList({ columns }: TableShape): string {
  return columns
    .map(({ name, type, notNull }) => `${name} ${type}${notNull ? ' not null' : ''}`)
    .join(', ');
}

function narrowed(shape: TableShape, columns: readonly string[]): TableShape {
  return { ...shape, columns: shape.columns.filter(({ name }) => columns.includes(name)) };
}

function names({ columns }: TableShape): string {
  return columns.map(({ name }) => name).join(', ');
}

/** @throws RangeError when the policy names a table that the database does not have. */
function shapeOf(shapes: Shapes, table: string): TableShape {
  const shape = shapes.get(table);
  if (shape === undefined)
    throw new RangeError(`the policy names table ${table}, which does not exist`);
  if (shape.primaryKey.length === 0) throw new RangeError(`table ${table} has no primary key`);
  return shape;
}

function mirrorSchema(home: RegionId): string {
  return `mirror_${identifier(home)}`;
}

/** Region ids are lower-case words with hyphens; those become identifiers without quotes. */
function identifier(region: RegionId): string {
  return region.replaceAll('-', '_');
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
