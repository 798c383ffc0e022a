/**
 * Can an installation be made on these servers?
 *
 * Asked before anything is changed. Every server is looked at, and everything that stands in the way
 * is said at once: who does not answer, what is too old or set too low, which roles and slots the
 * policy would take away because nobody has named them. Remarks are about what works, but worse.
 */
import {
  FEED_ROLE,
  peerRole,
  publicationTo,
  subscriptionHome,
} from '../../policies/desired-state.ts';
import {
  type Catalogue,
  type NodeAddress,
  type Region,
  slotName,
} from '../../regions/catalogue.ts';
import { DatabaseError, type Endpoint, LeasePool, type Sql } from '../../regions/postgres.ts';
import { ARCHIVE_SLOT } from '../backup/archive-slot.ts';
import { passwordsWanted } from '../feed-connections.ts';
import type { Operator } from '../operator.ts';
import { passwordFor, passwordLines } from '../password-lines.ts';
import { LOGINS } from '../region-database.ts';
import { rolesThere } from '../roles-there.ts';

export type Survey = { complaints: readonly string[]; remarks: readonly string[] };

/** A subscription's slot survives a promotion from this version on. */
const VERSION_MIN = 17;
/** The one that everything is tried with. */
const VERSION_TRIED = 18;
/** While a table is copied the first time, its copy is one more of each. */
const COPIES = 1;
const CONNECT_MS_MAX = 10_000;
const LOOK_MS_MAX = 10_000;

type Server = {
  node: NodeAddress;
  kind: 'private' | 'airlock';
  region: Region;
};

type Seen = {
  version: number;
  superuser: boolean;
  systemId: string;
  replica: boolean;
  encoding: string;
  settings: Readonly<Record<string, string>>;
  roles: readonly { name: string; attributes: readonly string[] }[];
  slots: readonly string[];
};

type Looked = Server & { seen: Seen | undefined; complaint: string | undefined };

/** Of a database that is missing nothing is said where it is going to be made. */
export async function surveyServers(
  operator: Operator,
  { makesDatabases }: { makesDatabases: boolean },
): Promise<Survey> {
  const { catalogue } = operator;
  const servers = serversOf(catalogue);
  const looked = await Promise.all(servers.map((server) => look(operator, server, makesDatabases)));
  const found = looked.flatMap((one) =>
    one.seen === undefined ? [] : [{ ...one, seen: one.seen }],
  );
  const complaints = [
    ...looked.flatMap(({ complaint }) => complaint ?? []),
    ...found.flatMap((one) => complaintsOf(operator, one)),
    ...[...catalogue.regions.values()].flatMap((region) => complaintsOfRegion(region, found)),
    ...sharedClusters(found),
    ...(await passwordComplaints(operator, found)),
  ];
  const remarks = [
    ...found.flatMap(({ node, seen }) =>
      seen.version < VERSION_TRIED && seen.version >= VERSION_MIN
        ? [`${node.name} runs PostgreSQL ${seen.version}; Domicile is tried with ${VERSION_TRIED}`]
        : [],
    ),
    ...[...catalogue.regions.values()].flatMap((region) => remarksOf(region, found)),
  ];
  return { complaints, remarks };
}

/** Databases that are not there yet, on the primary of each cluster. @throws DatabaseError */
export async function createDatabases(
  operator: Operator,
  report: (step: string) => void,
): Promise<void> {
  for (const server of serversOf(operator.catalogue)) {
    const endpoint = operator.superuser(server.node.name);
    const database = server.region.database;
    await asking({ ...endpoint, database: 'postgres' }, async (sql) => {
      const rows = await sql`
        select from pg_database where datname = ${database}
        union all select where pg_is_in_recovery()`;
      if (rows.length > 0) return;
      await sql`create database ${sql(database)} encoding 'UTF8' template template0`;
      report(`${server.node.name}: database ${database} is made`);
    });
  }
}

function serversOf({ regions }: Catalogue): Server[] {
  return [...regions.values()].flatMap((region) => [
    ...region.nodes.map((node): Server => ({ node, region, kind: 'private' })),
    ...region.airlocks.map((node): Server => ({ node, region, kind: 'airlock' })),
  ]);
}

async function look(operator: Operator, server: Server, makesDatabases: boolean): Promise<Looked> {
  const endpoint = operator.superuser(server.node.name);
  try {
    return { ...server, seen: await asking(endpoint, see), complaint: undefined };
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    const complaint = notSeen(endpoint, error);
    if (codeOf(error) !== NO_DATABASE || endpoint.database === 'postgres') {
      return { ...server, seen: undefined, complaint };
    }
    // The server is there, and what else stands in the way is said with it.
    const rest = await look(withDatabase(operator, 'postgres'), server, makesDatabases);
    return { ...rest, complaint: rest.complaint ?? (makesDatabases ? undefined : complaint) };
  }
}

const NO_DATABASE = '3D000';

function withDatabase(operator: Operator, database: string): Operator {
  return { ...operator, superuser: (node) => ({ ...operator.superuser(node), database }) };
}

function codeOf({ failure }: DatabaseError): string | undefined {
  if (failure.kind === 'connect-failed') return failure.code;
  return failure.kind === 'rejected' ? failure.sqlstate : undefined;
}

function notSeen(endpoint: Endpoint, error: DatabaseError): string {
  const { name, host, port, user, database } = endpoint;
  const code = codeOf(error);
  switch (code) {
    case '28P01':
    case '28000':
      return `${name} at ${host}:${port} does not let ${user} in (${code}): the password in the secrets file is another one, or pg_hba.conf has no line for where this command runs`;
    case NO_DATABASE:
      return `${name} at ${host}:${port} has no database ${database}: make it with --create-databases, or correct "database" in the regions file`;
    default:
      return `${name} at ${host}:${port} cannot be reached: ${error.message}`;
  }
}

async function see(sql: Sql): Promise<Seen> {
  const [row] = await sql<
    {
      version: number;
      superuser: boolean;
      systemId: string;
      replica: boolean;
      encoding: string;
    }[]
  >`
    select current_setting('server_version_num')::int / 10000 as version,
      (select rolsuper from pg_roles where rolname = current_user) as superuser,
      (select system_identifier::text from pg_control_system()) as "systemId",
      pg_is_in_recovery() as replica, current_setting('server_encoding') as encoding`;
  if (row === undefined) throw new RangeError('a select without a row');
  // Of a superuser's sight, where it is one.
  const settings = await sql<{ name: string; value: string }[]>`
    select name, setting as value from pg_settings where name = any (${SETTINGS as string[]})`;
  const roles = await rolesThere(sql);
  const slots = await sql<{ name: string }[]>`
    select slot_name::text as name from pg_replication_slots where not temporary order by 1`;
  return {
    ...row,
    settings: Object.fromEntries(settings.map(({ name, value }) => [name, value])),
    roles,
    slots: slots.map(({ name }) => name),
  };
}

const SETTINGS = [
  'wal_level',
  'max_wal_senders',
  'max_replication_slots',
  'max_active_replication_origins',
  'max_logical_replication_workers',
  'max_worker_processes',
  'sync_replication_slots',
  'hot_standby_feedback',
  'synchronized_standby_slots',
  'synchronous_standby_names',
  'primary_slot_name',
  'primary_conninfo',
];

type Found = Server & { seen: Seen };

function complaintsOf(operator: Operator, found: Found): string[] {
  const { node, kind, seen } = found;
  const { settings } = seen;
  const complaints: string[] = [];
  const say = (words: string) => complaints.push(`${node.name}: ${words}`);
  if (seen.version < VERSION_MIN) {
    say(`runs PostgreSQL ${seen.version}; ${VERSION_MIN} or newer is needed`);
  }
  if (!seen.superuser) say(`${operator.superuser(node.name).user} is no superuser there`);
  if (seen.encoding !== 'UTF8') {
    say(`its database is in ${seen.encoding}; UTF8 is needed, because rows pass between regions`);
  }
  if (settings.wal_level !== 'logical') {
    say(`wal_level is ${settings.wal_level}; set it to logical and restart the server`);
  }
  for (const [name, least, what] of needs(operator, found)) {
    const has = Number(settings[name] ?? Number.POSITIVE_INFINITY);
    if (has < least) say(`${name} is ${has}; at least ${least} are needed for ${what}`);
  }
  if (kind === 'airlock' && seen.replica) {
    say('is a standby, and an airlock has to be a cluster of its own that takes writes');
  }
  if (!seen.replica) complaints.push(...strangers(operator, found));
  return complaints;
}

/** Setting, least value, and what for; of a version that lacks a setting nothing is asked. */
function needs({ catalogue }: Operator, { kind, region, node }: Found): [string, number, string][] {
  const peers = catalogue.regions.size - 1;
  const serves =
    kind === 'private'
      ? region.airlocks.length
      : (region.airlocks.find(({ name }) => name === node.name)?.peers.length ?? 0);
  const standbys = kind === 'private' ? region.nodes.length - 1 : 0;
  const senders = serves + (serves > 0 ? COPIES : 0) + standbys;
  const reads = kind === 'private' ? peers : 1;
  const workers = reads + (reads > 0 ? COPIES : 0);
  const subscribers = `${serves} ${serves === 1 ? 'subscriber' : 'subscribers'}${standbys > 0 ? ` and ${standbys} ${standbys === 1 ? 'standby' : 'standbys'}` : ''}`;
  const subscriptions = `${reads} ${reads === 1 ? 'subscription' : 'subscriptions'}`;
  return [
    ['max_replication_slots', senders, subscribers],
    ['max_wal_senders', senders, subscribers],
    ['max_logical_replication_workers', workers, subscriptions],
    // The launcher is one, too; a standby copies slots in another one.
    ['max_worker_processes', workers + 1 + (standbys > 0 ? 1 : 0), subscriptions],
    ['max_active_replication_origins', workers, subscriptions],
  ];
}

/** What a policy would disarm or drop: better that somebody names it first. */
function strangers(operator: Operator, { node, kind, region, seen }: Found): string[] {
  const complaints: string[] = [];
  const installed = operator.installed(region.id)[kind];
  const own = new Set<string>([
    ...Object.values(LOGINS),
    FEED_ROLE,
    ...[...operator.catalogue.regions.keys()].map(peerRole),
  ]);
  const there = new Map(seen.roles.map(({ name, attributes }) => [name, attributes]));
  for (const [name, attributes] of installed) {
    const has = there.get(name);
    if (has === undefined) {
      complaints.push(
        `${node.name}: there is no role ${name}, which the installation file has under roles`,
      );
    } else if ([...has].sort().join() !== [...attributes].sort().join()) {
      complaints.push(
        `${node.name}: role ${name} is ${has.join(', ') || 'plain'}; the installation file says ${attributes.join(', ') || 'plain'}`,
      );
    }
  }
  for (const [name, attributes] of there) {
    if (installed.has(name) || own.has(name)) continue;
    if (!attributes.some((one) => DANGEROUS.has(one))) continue;
    complaints.push(
      `${node.name}: role ${name} is ${attributes.join(', ')}, and would lose that: name it in the installation file, such as roles: { ${kind}: { ${name}: [${attributes.join(', ')}] } }`,
    );
  }
  const slots = new Set([
    ARCHIVE_SLOT,
    ...region.nodes.map(({ name }) => slotName(name)),
    ...region.airlocks.map(({ name }) => subscriptionHome(name)),
    ...[...operator.catalogue.regions.keys()].map(publicationTo),
  ]);
  for (const name of seen.slots) {
    if (slots.has(name) || name.startsWith('pg_')) continue;
    complaints.push(
      `${node.name}: nobody of this installation reads replication slot ${name}, and it would be dropped: drop it yourself, or let its reader look elsewhere`,
    );
  }
  return complaints;
}

const DANGEROUS = new Set(['superuser', 'replication', 'bypassrls', 'createrole']);

function complaintsOfRegion(region: Region, found: readonly Found[]): string[] {
  const nodes = found.filter((one) => one.region === region && one.kind === 'private');
  const primaries = nodes.filter(({ seen }) => !seen.replica).map(({ node }) => node.name);
  const complaints: string[] = [];
  // Whoever did not answer may be it.
  if (primaries.length === 0 && nodes.length === region.nodes.length) {
    complaints.push(`${region.id}: none of its nodes takes writes; promote one of them`);
  }
  if (primaries.length > 1) {
    complaints.push(
      `${region.id}: ${primaries.join(' and ')} take writes; one is the primary, and the others have to be its standbys`,
    );
  }
  const ids = new Set(nodes.map(({ seen }) => seen.systemId));
  if (ids.size > 1 && primaries.length < 2) {
    complaints.push(
      `${region.id}: ${nodes.map(({ node }) => node.name).join(', ')} are not copies of one cluster`,
    );
  }
  return complaints;
}

/** A role that may replicate from a cluster can copy all of it, so each has one of its own. */
function sharedClusters(found: readonly Found[]): string[] {
  const clusters = new Map<string, Found[]>();
  for (const one of found) {
    clusters.set(one.seen.systemId, [...(clusters.get(one.seen.systemId) ?? []), one]);
  }
  return [...clusters.values()].flatMap((members) => {
    const of = new Set(
      members.map(({ node, region, kind }) => (kind === 'private' ? region.id : node.name)),
    );
    if (of.size < 2) return [];
    const names = members.map(({ node }) => node.name).join(', ');
    return [
      `${names} are one cluster: each region and each airlock needs a cluster of its own, made by its own initdb`,
    ];
  });
}

/** What a promotion would cost: all of it about regions with standbys. */
function remarksOf(region: Region, found: readonly Found[]): string[] {
  const remarks: string[] = [];
  if (region.keeper !== undefined && region.keeper.url !== undefined) {
    remarks.push(
      `${region.id}: Domicile's own keeper moves primaries of local worlds only; let Patroni or a managed service do it, and say so under keeper`,
    );
  }
  if (region.nodes.length < 2) {
    remarks.push(
      `${region.id} has no standby: when ${region.nodes[0]?.name} is lost, so is its data`,
    );
    return remarks;
  }
  const nodes = found.filter((one) => one.region === region && one.kind === 'private');
  for (const { node, seen } of nodes) {
    const { settings } = seen;
    if (!seen.replica) {
      if (settings.synchronous_standby_names === '') {
        remarks.push(
          `${node.name}: synchronous_standby_names is empty, so a commit is acknowledged that a failover loses`,
        );
      }
      if (settings.synchronized_standby_slots === '') {
        remarks.push(
          `${node.name}: synchronized_standby_slots is empty, so the airlock may have rows that a failover loses; name the slots of the standbys`,
        );
      }
      continue;
    }
    const lacking = [
      ...(settings.sync_replication_slots === 'off' ? ['sync_replication_slots is off'] : []),
      ...(settings.hot_standby_feedback === 'off' ? ['hot_standby_feedback is off'] : []),
      ...(settings.primary_slot_name === '' ? ['primary_slot_name is empty'] : []),
      ...(/\bdbname\s*=/.test(settings.primary_conninfo ?? 'dbname=')
        ? []
        : ['primary_conninfo names no dbname']),
    ];
    if (lacking.length === 0) continue;
    remarks.push(
      `${node.name}: ${lacking.join(', ')}; were it promoted, the airlock would have to be filled anew`,
    );
  }
  return remarks;
}

/** Where the servers have a password file, it has to let them in: else no subscription starts. */
async function passwordComplaints(operator: Operator, found: readonly Found[]): Promise<string[]> {
  const wanted = passwordsWanted(operator);
  const complaints = await Promise.all(
    found.map(async ({ node, kind, region }) => {
      const reader = kind === 'private' ? region.id : node.name;
      const lines = wanted
        .filter((one) => one.reader === reader)
        .flatMap(({ database, entries }) =>
          entries.map(({ to, user, password }) => ({ ...to, database, user, password })),
        );
      const file = await operator.passfile(reader, []);
      if (file === undefined || lines.length === 0) return [];
      const endpoint = { ...operator.superuser(node.name), database: 'postgres' };
      return passwordsOf(endpoint, file, lines);
    }),
  );
  return complaints.flat();
}

type Line = { host: string; port: number; database: string; user: string; password: string };

async function passwordsOf(
  endpoint: Endpoint,
  file: string,
  wanted: readonly Line[],
): Promise<string[]> {
  let text: string | undefined;
  try {
    text = await asking(endpoint, async (sql) => {
      const [row] = await sql<{ text: string | null }[]>`
        select pg_read_file(${file}, true) as text`;
      return row?.text ?? undefined;
    });
  } catch (error) {
    if (!(error instanceof DatabaseError)) throw error;
    return [`${endpoint.name}: ${file} cannot be read by the server: ${error.message}`];
  }
  if (text === undefined) {
    return [`${endpoint.name}: there is no ${file}, which the installation file names`];
  }
  const lines = passwordLines(text);
  return wanted.flatMap(({ host, port, database, user, password }) => {
    const fields = [host, String(port), database, user];
    const written = passwordFor(fields, lines);
    const place = fields.join(':');
    if (written === undefined) return [`${endpoint.name}: ${file} has no line for ${place}`];
    if (written === password) return [];
    return [`${endpoint.name}: ${file} has another password for ${place} than the secrets file`];
  });
}

async function asking<T>(endpoint: Endpoint, use: (sql: Sql) => Promise<T>): Promise<T> {
  const pool = new LeasePool({
    endpoint,
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: CONNECT_MS_MAX,
    settings: { application_name: 'domicile provision', search_path: 'pg_catalog' },
  });
  try {
    return await pool.run(use, { timeoutMs: LOOK_MS_MAX });
  } finally {
    await pool.close({ timeoutMs: 1_000 });
  }
}
