/**
 * What must every cluster hold under this policy?
 *
 * Pure: policy, catalogue and the app's tables in, one state for each private cluster and each
 * airlock out. Data leaves a region in two hops: the private primary publishes to an airlock what
 * any of the airlock's peers may see, and the airlock publishes to each peer what that peer may
 * see. Every publication names its columns and filters its rows; none carries TRUNCATE, which
 * ignores filters. On the way out an app table becomes a table of its own (`mirror_eu.users`), so
 * that no peer's own rows are ever touched; `docs/decisions/0003` says how.
 *
 * How to get from what there is to this is the matter of `plan.ts`.
 */
import {
  type Airlock,
  airlockFor,
  type Catalogue,
  type Region,
  type RegionId,
} from '../regions/catalogue.ts';
import {
  type ClusterName,
  type ClusterState,
  type Expression,
  PUBLICATION_OPTIONS,
  ROW_POLICY_SCOPE,
  type Shapes,
  stateOf,
  type TableShape,
  type Thing,
} from './cluster-state.ts';
import { enforcementOf } from './enforcement.ts';
import {
  type Constant,
  exportsOf,
  type Mirror,
  type Policy,
  type ReferenceTable,
  type SubjectTable,
} from './policy.ts';
import { grantsOnRouterSchema } from './router-grants.ts';

/** The logins of a region's edges, by what they are for. */
export type Logins = { writer: string; reader: string; abroad: string; router: string };

/** The app's own schema in one region, as the database has it. */
export type AppSchema = { tables: Shapes; sequences: readonly string[] };

export type Installed = Readonly<
  Record<'private' | 'airlock', ReadonlyMap<string, readonly string[]>>
>;

export type DesiredInput = {
  policy: Policy;
  catalogue: Catalogue;
  /** Of every region. */
  schemas: ReadonlyMap<RegionId, AppSchema>;
  logins: Logins;
  /** Roles that the installation itself brings, such as its superuser, with their attributes. */
  installed: (region: RegionId) => Installed;
  /** How each subscriber reaches its publisher, by `connectionName`. */
  connections: ReadonlyMap<string, string>;
};

export const FEED_ROLE = 'domicile_feed';
export const FEED_ATTRIBUTES = ['login', 'replication', 'bypassrls'] as const;
export const PEER_ATTRIBUTES = ['login', 'replication'] as const;
/** On the private primary. Names of airlocks are spelt like region ids. */
export const publicationOut = (airlock: string) => `domicile_out_${identifier(airlock)}`;
/** On the airlock; the slot that the private primary keeps for it has the same name. */
export const subscriptionHome = (airlock: string) => `domicile_home_${identifier(airlock)}`;
/** On an airlock, for one peer; the slot of that peer's subscription has the same name. */
export const publicationTo = (peer: RegionId) => `domicile_to_${identifier(peer)}`;
/**
 * A second slot on an airlock, which the keeper of that peer moves. It is nobody's wish but the
 * keeper's own tool, so no plan speaks of it.
 */
export const placeKeptFor = (peer: RegionId) => `domicile_kept_${identifier(peer)}`;
export const subscriptionFrom = (peer: RegionId) => `domicile_from_${identifier(peer)}`;
export const peerRole = (peer: RegionId) => `domicile_peer_${identifier(peer)}`;
export const connectionName = (cluster: ClusterName, subscription: string) =>
  `${cluster} ${subscription}`;

export function airlocksOf(region: RegionId, catalogue: Catalogue): readonly Airlock[] {
  return regionOf(region, catalogue).airlocks;
}

function regionOf(region: RegionId, { regions }: Catalogue): Region {
  const found = regions.get(region);
  if (found === undefined) throw new RangeError(`no region ${region}`);
  return found;
}

/** @throws RangeError naming table and mirror when the schema does not allow what the policy says. */
export function desiredState(input: DesiredInput): Map<ClusterName, ClusterState> {
  const states = new Map<ClusterName, ClusterState>();
  for (const region of input.catalogue.regions.keys()) {
    states.set(region, stateOf(privateThings(input, region)));
    for (const airlock of airlocksOf(region, input.catalogue)) {
      if (input.catalogue.regions.has(airlock.name) || states.has(airlock.name)) {
        throw new RangeError(`two clusters are called ${airlock.name}`);
      }
      states.set(airlock.name, stateOf(airlockThings(input, region, airlock)));
    }
  }
  return states;
}

export function referenceTables({ tables }: Policy): ReferenceTable[] {
  return [...tables.values()].filter((table) => table.kind === 'reference');
}

export function subjectTables({ tables }: Policy): SubjectTable[] {
  return [...tables.values()].filter((table) => table.kind === 'subject');
}

/** What a region's private cluster holds, on its primary and so on its replicas. */
function privateThings(input: DesiredInput, here: RegionId): Thing[] {
  const { policy, catalogue, logins, installed } = input;
  const { writer, reader, abroad, router } = logins;
  const { sequences } = schemaOf(input, here);
  const peers = [...catalogue.regions.keys()].filter((id) => id !== here);
  const things: Thing[] = [
    ...roles(installed(here).private),
    // The first copy of a table is a query, and row security would hold it to one subject's rows.
    { kind: 'role', name: FEED_ROLE, attributes: FEED_ATTRIBUTES },
    ...[writer, reader, abroad, router].map(
      (name): Thing => ({ kind: 'role', name, attributes: ['login'] }),
    ),
    { kind: 'setting', role: writer, name: 'search_path', value: 'app, mirror' },
    { kind: 'setting', role: reader, name: 'search_path', value: 'app, mirror' },
    { kind: 'setting', role: abroad, name: 'search_path', value: 'mirror, app' },
    { kind: 'membership', role: router, of: 'pg_read_all_stats' },
    ...['app', 'domicile', 'mirror'].map((name): Thing => ({ kind: 'schema', name })),
    ...grants('usage', 'schema app', [writer, reader, abroad, FEED_ROLE]),
    ...grants('usage', 'schema mirror', [writer, reader, abroad]),
    ...grantsOnRouterSchema({ ...logins, feed: FEED_ROLE }),
    ...sequences.flatMap((name) => grants('usage', `sequence ${name}`, [writer])),
    { kind: 'identity', table: 'domicile.directory', columns: ['home', 'key'] },
  ];

  for (const table of policy.tables.values()) {
    const shape = shapeOf(input, here, table.name);
    const name = `app.${table.name}`;
    things.push(
      { kind: 'table', name, ...shape, part: undefined },
      ...grants('select', `table ${name}`, [writer, reader]),
    );
    if (table.kind === 'subject' || table.owner === here) {
      for (const privilege of ['insert', 'update', 'delete']) {
        things.push(...grants(privilege, `table ${name}`, [writer]));
      }
    }
    if (table.kind === 'reference') {
      things.push(
        ...grants('select', `table ${name}`, [abroad]),
        { kind: 'identity', table: name, columns: 'primary key' },
        { kind: 'row security', table: name, enabled: false, forced: false },
      );
      if (table.owner !== here)
        things.push({ kind: 'opening', name: table.name, home: table.owner });
      continue;
    }
    const columns = homeIdentity(input, here, table.name);
    things.push({ kind: 'identity', table: name, columns }, ...enforcement(table, shape));
    for (const mirror of table.mirrors) {
      things.push(viewOf(input, mirror, table.name, here));
      things.push(...grants('select', `table mirror.${mirror.as}`, [writer, reader, abroad]));
      if (!mirror.to.includes(here)) continue;
      for (const home of mirror.homes) {
        if (home !== here) things.push({ kind: 'opening', name: mirror.as, home });
      }
    }
  }
  for (const airlock of airlocksOf(here, catalogue)) {
    const publication = publicationOut(airlock.name);
    const published = publishedOut(input, here, airlock);
    things.push(
      { kind: 'publication', name: publication, options: PUBLICATION_OPTIONS },
      ...published,
      ...published.flatMap(({ table }) => grants('select', `table ${table}`, [FEED_ROLE])),
      {
        kind: 'slot',
        name: subscriptionHome(airlock.name),
        replica: undefined,
        definition: 'logical pgoutput, failover',
      },
    );
  }

  for (const peer of peers) {
    const schema = mirrorSchema(peer);
    const airlock = airlockFor(regionOf(peer, catalogue), here);
    things.push({ kind: 'schema', name: schema });
    for (const leaving of tablesLeaving(policy, peer, [here])) {
      const shape = narrowed(shapeOf(input, peer, leaving.table), leaving.columns);
      things.push({ kind: 'table', name: `${schema}.${leaving.table}`, ...shape, part: undefined });
    }
    const name = subscriptionFrom(peer);
    things.push({
      kind: 'subscription',
      name,
      connection: connectionOf(input, here, name),
      publications: [publicationTo(here)],
      slot: publicationTo(here),
      // The airlock got every row from its home, so all of them carry an origin here: with
      // `origin = none` nothing would ever arrive.
      options: SUBSCRIPTION.fromPeer,
    });
    for (const { table } of publishedTo(input, peer, airlock, here)) {
      things.push({ kind: 'followed', subscription: name, table });
    }
  }
  return things;
}

/** Options of the two hops, as both the plan and the observer write them. */
export const SUBSCRIPTION = {
  // Rows that the airlock's own subscription brought carry an origin; only home's are wanted. The
  // slot survives a promotion of the home's standby.
  fromHome: 'enabled, failover, origin none, synchronous_commit on',
  fromPeer: 'enabled, origin any, synchronous_commit on',
} as const;

function airlockThings(input: DesiredInput, here: RegionId, airlock: Airlock): Thing[] {
  const { policy, installed } = input;
  const schema = mirrorSchema(here);
  const owned = referenceTables(policy).filter(({ owner }) => owner === here);
  const leaving = tablesLeaving(policy, here, airlock.peers);
  const subscription = subscriptionHome(airlock.name);
  const things: Thing[] = [
    ...roles(installed(here).airlock),
    ...['app', 'domicile', schema].map((name): Thing => ({ kind: 'schema', name })),
    { kind: 'identity', table: 'domicile.directory', columns: ['home', 'key'] },
    {
      kind: 'subscription',
      name: subscription,
      connection: connectionOf(input, airlock.name, subscription),
      publications: [publicationOut(airlock.name)],
      slot: subscription,
      options: SUBSCRIPTION.fromHome,
    },
    ...publishedOut(input, here, airlock).map(
      ({ table }): Thing => ({ kind: 'followed', subscription, table }),
    ),
  ];
  for (const { name } of owned) {
    const table = `app.${name}`;
    const shape = shapeOf(input, here, name);
    things.push(
      { kind: 'table', name: table, ...shape, part: undefined },
      { kind: 'identity', table, columns: 'primary key' },
    );
  }
  for (const { table, columns } of leaving) {
    const shape = narrowed(shapeOf(input, here, table), columns);
    const parent = `app.${table}`;
    const leaf = `${schema}.${table}`;
    things.push(
      { kind: 'table', name: parent, columns: shape.columns, primaryKey: [], part: 'parent' },
      { kind: 'table', name: leaf, ...shape, part: { of: parent } },
      { kind: 'identity', table: leaf, columns: airlockIdentity(input, here, airlock, table) },
    );
  }
  for (const peer of airlock.peers) {
    const role = peerRole(peer);
    const publication = publicationTo(peer);
    const published = publishedTo(input, here, airlock, peer);
    const schemas = new Set(published.map(({ table }) => table.split('.', 1)[0] ?? ''));
    things.push(
      { kind: 'role', name: role, attributes: PEER_ATTRIBUTES },
      { kind: 'publication', name: publication, options: PUBLICATION_OPTIONS },
      ...published,
      ...[...schemas].flatMap((name) => grants('usage', `schema ${name}`, [role])),
      ...published.flatMap(({ table }) => grants('select', `table ${table}`, [role])),
      {
        kind: 'slot',
        name: publication,
        replica: undefined,
        definition: 'logical pgoutput',
      },
    );
  }
  return things;
}

type Published = Extract<Thing, { kind: 'published' }>;

/** What the private primary lets an airlock have. */
function publishedOut(input: DesiredInput, here: RegionId, airlock: Airlock): Published[] {
  const publication = publicationOut(airlock.name);
  const { policy } = input;
  return [
    ...always(publication, here),
    ...referenceOut(input, publication, here),
    ...tablesLeaving(policy, here, airlock.peers).map(({ table, columns, mirrors }): Published => {
      for (const mirror of mirrors) checkMirror(mirror, table, shapeOf(input, here, table));
      const identity = homeIdentity(input, here, table);
      const lacking = identity === 'primary key' ? [] : identity;
      for (const column of lacking) {
        if (columns.includes(column)) continue;
        throw new RangeError(
          `mirror ${mirrors[0]?.as}: rows of ${table} are chosen by ${column} on another way out of ${here}, so ${column} must be among its columns, too`,
        );
      }
      return {
        kind: 'published',
        publication,
        table: `app.${table}`,
        columns,
        where: any(mirrors),
      };
    }),
  ];
}

/** What an airlock lets one peer have. */
function publishedTo(
  input: DesiredInput,
  here: RegionId,
  airlock: Airlock,
  peer: RegionId,
): Published[] {
  if (!airlock.peers.includes(peer)) throw new RangeError(`${airlock.name} does not serve ${peer}`);
  const publication = publicationTo(peer);
  return [
    ...always(publication, here),
    ...referenceOut(input, publication, here),
    ...tablesLeaving(input.policy, here, [peer]).map(
      ({ table, columns, mirrors }): Published => ({
        kind: 'published',
        publication,
        table: `${mirrorSchema(here)}.${table}`,
        columns,
        where: any(mirrors),
      }),
    ),
  ];
}

/** Whatever the policy: where this region's subjects live, its pulse, its receipts' newest seal. */
function always(publication: string, here: RegionId): Published[] {
  return [
    {
      kind: 'published',
      publication,
      table: 'domicile.directory',
      columns: ['epoch', 'home', 'key', 'settled_at'],
      where: { sql: `home = ${literal(here)}` },
    },
    {
      kind: 'published',
      publication,
      table: 'domicile.pulses',
      columns: ['at', 'lsn', 'region', 'system_id', 'timeline'],
      where: { sql: `region = ${literal(here)}` },
    },
    {
      kind: 'published',
      publication,
      table: 'domicile.anchors',
      columns: ['at', 'hash', 'region', 'seq'],
      where: { sql: `region = ${literal(here)}` },
    },
  ];
}

function referenceOut(input: DesiredInput, publication: string, here: RegionId): Published[] {
  const owned = referenceTables(input.policy).filter(({ owner }) => owner === here);
  return owned.map(({ name }) => ({
    kind: 'published',
    publication,
    table: `app.${name}`,
    columns: shapeOf(input, here, name)
      .columns.map((column) => column.name)
      .sort(),
    where: undefined,
  }));
}

type Leaving = { table: string; columns: readonly string[]; mirrors: readonly Mirror[] };

/** App tables with a mirror that leaves `from` to any of `peers`, and the columns that go. */
export function tablesLeaving(
  policy: Policy,
  from: RegionId,
  peers: readonly RegionId[],
): Leaving[] {
  const found = new Map<string, { columns: Set<string>; mirrors: Set<Mirror> }>();
  for (const way of exportsOf(policy)) {
    if (way.from !== from || !peers.includes(way.to)) continue;
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

/** Key and filter columns of every way out: an update must carry them or the filter cannot judge it. */
function homeIdentity(
  input: DesiredInput,
  here: RegionId,
  table: string,
): readonly string[] | 'primary key' {
  const peers = airlocksOf(here, input.catalogue).flatMap((airlock) => airlock.peers);
  return identityFor(input, here, table, peers);
}

function airlockIdentity(
  input: DesiredInput,
  here: RegionId,
  airlock: Airlock,
  table: string,
): readonly string[] | 'primary key' {
  return identityFor(input, here, table, airlock.peers);
}

function identityFor(
  input: DesiredInput,
  here: RegionId,
  table: string,
  peers: readonly RegionId[],
): readonly string[] | 'primary key' {
  const { primaryKey } = shapeOf(input, here, table);
  const leaving = tablesLeaving(input.policy, here, peers).find((one) => one.table === table);
  const filters = (leaving?.mirrors ?? []).flatMap(({ rows }) => rows.map(({ column }) => column));
  const further = filters.filter((column) => !primaryKey.includes(column));
  return further.length === 0 ? 'primary key' : [...new Set([...primaryKey, ...further])].sort();
}

function checkMirror(mirror: Mirror, table: string, { columns, primaryKey }: TableShape): void {
  const known = new Map(columns.map((column) => [column.name, column]));
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
  for (const { column } of mirror.rows) {
    if (!mirror.columns.includes(column)) {
      throw new RangeError(
        `mirror ${mirror.as}: its rows are chosen by ${column}, so ${column} must be among its columns`,
      );
    }
    if (known.get(column)?.notNull !== true) {
      throw new RangeError(
        `mirror ${mirror.as}: its rows are chosen by ${column}, so ${column} must be NOT NULL in ${table}`,
      );
    }
  }
}

/** One row filter for several mirrors of a table; undefined when one of them takes all rows. */
function any(mirrors: readonly Mirror[]): Expression | undefined {
  const filters = mirrors.map(rowsText);
  if (filters.includes(undefined)) return undefined;
  const distinct = [...new Set(filters)];
  return {
    sql: distinct.length === 1 ? `${distinct[0]}` : distinct.map((one) => `(${one})`).join(' or '),
  };
}

/** The rows of one mirror, as a condition; undefined: all of them. */
function rowsText({ rows }: Mirror): string | undefined {
  if (rows.length === 0) return undefined;
  return rows
    .map(({ column, oneOf }) => `${column} in (${oneOf.map(constant).join(', ')})`)
    .join(' and ');
}

/** One view per mirror over the rows of here and of all homes that open it to here. */
function viewOf(
  input: DesiredInput,
  mirror: Mirror,
  table: string,
  here: RegionId,
): Extract<Thing, { kind: 'view' }> {
  checkMirror(mirror, table, shapeOf(input, here, table));
  const homes = mirror.homes.filter((home) => home !== here && mirror.to.includes(here));
  return mirrorView(mirror, [
    `app.${table}`,
    ...homes.map((home) => `${mirrorSchema(home)}.${table}`),
  ]);
}

export function mirrorView(
  mirror: Mirror,
  sources: readonly string[],
): Extract<Thing, { kind: 'view' }> {
  const rows = rowsText(mirror);
  const parts = sources.map(
    (source) =>
      `select ${mirror.columns.join(', ')} from ${source}${rows === undefined ? '' : ` where ${rows}`}`,
  );
  return {
    kind: 'view',
    name: `mirror.${mirror.as}`,
    query: { sql: parts.join(' union all ') },
    columns: mirror.columns,
  };
}

function enforcement(table: SubjectTable, shape: TableShape): Thing[] {
  const name = `app.${table.name}`;
  const { constraint, policies } = enforcementOf(table, shape);
  return [
    {
      kind: 'constraint',
      table: name,
      name: constraint.name,
      check: { sql: constraint.expression },
      enforced: true,
    },
    { kind: 'row security', table: name, enabled: true, forced: true },
    ...policies.map(
      (policy): Thing => ({
        kind: 'row policy',
        table: name,
        name: policy.name,
        using: { sql: policy.using },
        check: { sql: policy.check },
        scope: ROW_POLICY_SCOPE,
      }),
    ),
  ];
}

function roles(installed: ReadonlyMap<string, readonly string[]>): Thing[] {
  return [...installed].map(([name, attributes]) => ({ kind: 'role', name, attributes }));
}

function grants(privilege: string, on: string, to: readonly string[]): Thing[] {
  return to.map((role) => ({ kind: 'grant', privilege, on, to: role }));
}

function narrowed(shape: TableShape, columns: readonly string[]): TableShape {
  return { ...shape, columns: shape.columns.filter(({ name }) => columns.includes(name)) };
}

function schemaOf({ schemas }: DesiredInput, region: RegionId): AppSchema {
  const schema = schemas.get(region);
  if (schema === undefined) throw new RangeError(`nobody has looked at the tables of ${region}`);
  return schema;
}

/** @throws RangeError when the policy names a table that the database does not have. */
function shapeOf(input: DesiredInput, region: RegionId, table: string): TableShape {
  const shape = schemaOf(input, region).tables.get(table);
  if (shape === undefined) {
    throw new RangeError(`the policy names table ${table}, which does not exist in ${region}`);
  }
  if (shape.primaryKey.length === 0) throw new RangeError(`table ${table} has no primary key`);
  return shape;
}

function connectionOf(input: DesiredInput, cluster: ClusterName, subscription: string): string {
  const connection = input.connections.get(connectionName(cluster, subscription));
  if (connection === undefined) {
    throw new RangeError(`nobody says how ${cluster} connects for ${subscription}`);
  }
  return connection;
}

export function mirrorSchema(home: RegionId): string {
  return `mirror_${identifier(home)}`;
}

/** Region and airlock names are lower-case words with hyphens; those become bare identifiers. */
function identifier(name: string): string {
  return name.replaceAll('-', '_');
}

function constant(value: Constant): string {
  return typeof value === 'string' ? literal(value) : String(value);
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
