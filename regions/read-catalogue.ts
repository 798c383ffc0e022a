/**
 * Is this `regions.yaml` a usable catalogue?
 *
 * Names and addresses must be unique, every distance known, every URL an origin. Whether anybody
 * answers at these addresses is seen later, never read.
 */
import { posix } from 'node:path';
import * as z from 'zod';
import type { Airlock, Catalogue, Keeper, Region, RegionId, TlsMode } from './catalogue.ts';
import { complaintAboutAuthorities } from './certificate-authorities.ts';
import { type Complaint, complaintAt, type Path, quote, type Source } from './yaml-complaint.ts';
import { readYaml } from './yaml-file.ts';
import { nearest } from './yaml-suggestion.ts';

export const DATABASE_DEFAULT = 'domicile';

/** Every pair needs a distance, and every region subscribes to every other. */
export const REGIONS_MAX = 32;
/** Each serves a peer at least. */
const AIRLOCKS_MAX = REGIONS_MAX - 1;

/** Short, because region ids become parts of Postgres names, which end at 63 bytes. */
const REGION_ID = /^[a-z][a-z0-9-]{0,15}$/;
const NODE_NAME = /^[a-z][a-z0-9-]{0,31}$/;
const DATABASE = /^[a-z_][a-z0-9_]{0,62}$/;
/** A name, an IPv4 or an IPv6 address; never `host:port`, which has only one colon. */
const HOST =
  /^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*)$/;

const name = z
  .string()
  .regex(NODE_NAME, 'is not a name: a lower-case letter, then up to 31 letters, digits or hyphens')
  .describe('A name that no other edge or node has, such as eu-a.');

const host = z
  .string()
  .regex(HOST, 'is not a host name or an address')
  .describe('Host name or IP address, without the port.');
const port = z.int().min(1).max(65_535).describe('The port that Postgres listens on.');

const node = z.strictObject({
  name,
  host,
  port,
});

const SITE_MESSAGE = 'is not a site: a lower-case letter, then up to 15 letters, digits or hyphens';

const regionNode = node.extend({
  site: z
    .string()
    .regex(REGION_ID, SITE_MESSAGE)
    .optional()
    .describe(
      'The place in the region that it stands at and could be lost with, such as eu-2. The policy must allow each one in failover.sites. Default: a site that is called like the region.',
    ),
});

const edge = z.strictObject({
  name,
  url: z
    .string()
    .max(300)
    .describe(
      'Where clients and other edges reach it: http:// or https://, host and port, no path.',
    ),
  publicUrl: z
    .string()
    .max(300)
    .optional()
    .describe(
      'Where clients reach it, if not at url: the address of a load balancer, say, which several edges may share.',
    ),
});

/** Etcd and Patroni grow slow beyond a handful. */
const PATRONI_MEMBERS_MAX = 16;

/** What each kind of keeper needs; our own complaints about it are made by hand. */
const KEEPER_NEEDS = {
  own: { key: 'url', what: 'where the keeper answers' },
  patroni: { key: 'members', what: 'the REST interfaces of the Patroni members' },
  managed: { key: 'endpoint', what: 'the name that leads to the primary' },
} as const;

const keeper = z
  .strictObject({
    kind: z
      .enum(['patroni', 'managed'])
      .optional()
      .describe(
        'patroni: Patroni moves the primary. managed: a managed service does. Default: the keeper that comes with Domicile.',
      ),
    url: z
      .string()
      .max(300)
      .optional()
      .describe("Where Domicile's keeper answers: http:// or https://, host and port, no path."),
    members: z
      .array(z.string().max(300))
      .min(1)
      .max(PATRONI_MEMBERS_MAX)
      .optional()
      .describe(
        "Where Patroni's REST interfaces answer: http:// or https://, host and port, no path. Patroni calls its members what the nodes are called here.",
      ),
    endpoint: z
      .strictObject({ host, port })
      .optional()
      .describe('The name that the managed service lets lead to the primary.'),
  })
  .meta({
    oneOf: [
      { required: ['url'] },
      { required: ['kind', 'members'] },
      { required: ['kind', 'endpoint'] },
    ],
  });

const backup = z.strictObject({
  folder: z
    .string()
    .min(2)
    .max(500)
    .describe(
      'An absolute path on storage that stands in this region. No other region may use it, or a folder in it.',
    ),
});

export const TLS_MODES = ['disable', 'require', 'verify-ca', 'verify-full'] as const;

const tls = z.strictObject({
  mode: z
    .enum(TLS_MODES)
    .describe(
      'verify-full: encrypted, and the server shows a certificate for its host name from an authority that is believed. verify-ca: whatever its name. require: encrypted, to whoever answers. disable: plain text, and no warning about it.',
    ),
  ca: z
    .string()
    .max(1_000_000)
    .optional()
    .describe('The authorities that are believed: certificates in PEM form.'),
  caFile: z
    .string()
    .min(1)
    .max(500)
    .optional()
    .describe(
      'The file that they are in, from the folder of this file. Default for verify-full: the authorities that browsers believe.',
    ),
});

const airlockWithPeers = node.extend({
  for: z
    .array(z.string())
    .min(1)
    .max(AIRLOCKS_MAX)
    .describe('The regions that read this airlock and no other one of this region.'),
});

const region = z
  .strictObject({
    title: z.string().min(1).max(100).describe('Words for a person, such as Frankfurt, Germany.'),
    place: z
      .strictObject({
        latitude: z.number().min(-90).max(90).describe('Degrees, north is positive.'),
        longitude: z.number().min(-180).max(180).describe('Degrees, east is positive.'),
      })
      .optional()
      .describe('Where the console draws it. Default: somewhere in a row with the others.'),
    database: z
      .string()
      .regex(DATABASE, 'is not a database name: lower-case letters, digits and underscores')
      .optional()
      .describe(`The app's database on every node of the region. Default: ${DATABASE_DEFAULT}.`),
    edges: z.array(edge).min(1).describe('The stateless HTTP processes of this region.'),
    nodes: z
      .array(regionNode)
      .min(1)
      .describe('The Postgres primary and its physical replicas, in any order.'),
    airlock: node
      .optional()
      .describe(
        'The small separate Postgres cluster that holds only what policy lets out of this region, for all other regions.',
      ),
    airlocks: z
      .array(airlockWithPeers)
      .min(1)
      .max(AIRLOCKS_MAX)
      .optional()
      .describe(
        'Instead of airlock, where other regions may see different things: several, each for some of the other regions.',
      ),
    tls: tls
      .optional()
      .describe(
        'How Domicile speaks to the nodes and airlocks of this region. Default: in plain text.',
      ),
    keeper: keeper
      .optional()
      .describe(
        'Who watches the nodes and promotes a replica when the primary is gone. Without it a person does.',
      ),
    backup: backup
      .optional()
      .describe(
        'Where base backups and the archived log of this region are kept. Default: below the data of the local world.',
      ),
  })
  .meta({
    // Editors see that one of the two is needed; our own complaint is made by hand.
    oneOf: [{ required: ['airlock'] }, { required: ['airlocks'] }],
  });

const distance = z.strictObject({
  between: z.tuple([z.string(), z.string()]).describe('Two region ids.'),
  roundTripMs: z
    .number()
    .min(0)
    .max(10_000)
    .describe('Network round trip between the two in milliseconds.'),
});

export const CatalogueFile = z
  .strictObject({
    version: z.literal(1).describe('The version of this file format: 1.'),
    regions: z
      .record(
        z
          .string()
          .regex(
            REGION_ID,
            'is not a region id: a lower-case letter, then up to 15 letters, digits or hyphens',
          ),
        region,
      )
      .describe('Every region, under the short id that policies use for it.'),
    distances: z
      .array(distance)
      .optional()
      .describe('The round trip between every two regions; needed when there is more than one.'),
  })
  .meta({
    title: 'Domicile regions',
    description: 'Which regions exist, and how each one is reached.',
  });

export type CatalogueFile = z.infer<typeof CatalogueFile>;

export type CatalogueReading =
  | { catalogue: Catalogue }
  | { complaints: readonly [Complaint, ...Complaint[]] };

export function readCatalogue(text: string, file: string): CatalogueReading {
  const reading = readYaml(text, file, CatalogueFile, judge);
  return 'ok' in reading ? { catalogue: catalogue(reading.ok) } : reading;
}

function catalogue({ regions, distances = [] }: CatalogueFile): Catalogue {
  const found = new Map<RegionId, Region>();
  const ids = Object.keys(regions);
  for (const [id, written] of Object.entries(regions)) {
    const { title, place, database, edges, nodes, keeper, backup } = written;
    const tls = written.tls === undefined ? {} : { tls: tlsOf(written.tls) };
    found.set(id, {
      id,
      title,
      ...(place !== undefined && { place }),
      database: database ?? DATABASE_DEFAULT,
      edges: edges.map(({ name, url, publicUrl }) => ({
        name,
        url: originOf(url) ?? url,
        ...(publicUrl !== undefined && { publicUrl: originOf(publicUrl) ?? publicUrl }),
      })),
      nodes: nodes.map(({ site, ...one }) => ({
        ...one,
        ...(site !== undefined && { site }),
        ...tls,
      })),
      airlocks: airlocksOf(written).map(
        ({ airlock: { name, host, port }, serves }): Airlock => ({
          name,
          host,
          port,
          ...tls,
          peers: serves ?? ids.filter((peer) => peer !== id),
        }),
      ),
      ...tls,
      ...(keeper !== undefined && { keeper: keeperOf(keeper) }),
      ...(backup !== undefined && { backup: { folder: posix.normalize(backup.folder) } }),
    });
  }
  return { regions: found, distances };
}

type TlsFile = z.infer<typeof tls>;

function tlsOf({ mode, ca, caFile }: TlsFile) {
  return { mode, ...(ca !== undefined && { ca }), ...(caFile !== undefined && { caFile }) };
}

type KeeperFile = z.infer<typeof keeper>;

function keeperOf({ kind, url = '', members = [], endpoint }: KeeperFile): Keeper {
  if (kind === 'patroni') return { kind, members: members.map((one) => originOf(one) ?? one) };
  if (kind === 'managed' && endpoint !== undefined) return { kind, endpoint };
  return { url: originOf(url) ?? url };
}

type RegionFile = CatalogueFile['regions'][string];
type AirlockFile = {
  airlock: z.infer<typeof node>;
  /** Undefined: all other regions. */
  serves: readonly RegionId[] | undefined;
  /** Where it is written, below its region. */
  at: Path;
};

/** Both forms as one. */
function airlocksOf({ airlock, airlocks = [] }: RegionFile): AirlockFile[] {
  const several = airlocks.map((one, index) => ({
    airlock: one,
    serves: one.for,
    at: ['airlocks', index],
  }));
  return airlock === undefined
    ? several
    : [{ airlock, serves: undefined, at: ['airlock'] }, ...several];
}

function judge(file: CatalogueFile, source: Source): Complaint[] {
  const complaints: Complaint[] = [];
  const say = (path: Path, message: string, suggestion?: string) =>
    complaints.push(complaintAt(source, path, { message, suggestion }));
  const ids = Object.keys(file.regions);
  if (ids.length === 0) say(['regions'], 'is empty: name at least one');
  if (ids.length > REGIONS_MAX) {
    say(['regions'], `has ${ids.length} regions; ${REGIONS_MAX} are the most that we compare`);
    return complaints;
  }

  const names = new Map<string, string>();
  const addresses = new Map<string, string>();
  const unique = (taken: Map<string, string>, what: string, by: string, path: Path) => {
    const first = taken.get(what);
    if (first === undefined) taken.set(what, by);
    else say(path, `${quote(what)} is taken by ${first}`);
  };
  for (const [id, written] of Object.entries(file.regions)) {
    const { edges, nodes, keeper } = written;
    edges.forEach(({ name, url, publicUrl }, index) => {
      const path = ['regions', id, 'edges', index];
      unique(names, name, `an edge of ${id}`, [...path, 'name']);
      const origin = originOf(url);
      if (origin === undefined) say([...path, 'url'], notAnOrigin(url));
      else unique(addresses, hostPort(new URL(origin)), name, [...path, 'url']);
      if (publicUrl !== undefined && originOf(publicUrl) === undefined) {
        say([...path, 'publicUrl'], notAnOrigin(publicUrl));
      }
    });
    if (keeper !== undefined) {
      complaints.push(...judgeKeeper(id, keeper, source));
      const { kind, url, members = [] } = keeper;
      const asked: [Path, string, string][] =
        kind === undefined && url !== undefined ? [[['url'], url, `the keeper of ${id}`]] : [];
      if (kind === 'patroni') {
        members.forEach((member, nth) => {
          asked.push([['members', nth], member, `a Patroni of ${id}`]);
        });
      }
      for (const [at, url, by] of asked) {
        const path = ['regions', id, 'keeper', ...at];
        const origin = originOf(url);
        if (origin === undefined) say(path, notAnOrigin(url));
        else unique(addresses, hostPort(new URL(origin)), by, path);
      }
    }
    const servers: [Path, z.infer<typeof node>][] = nodes.map((server, index) => [
      ['regions', id, 'nodes', index],
      server,
    ]);
    for (const { airlock, at } of airlocksOf(written)) {
      servers.push([['regions', id, ...at], airlock]);
    }
    for (const [path, { name, host, port }] of servers) {
      unique(names, name, `a node of ${id}`, [...path, 'name']);
      unique(addresses, `${host.toLowerCase()}:${port}`, name, [...path, 'port']);
    }
    complaints.push(...judgePeers(id, written, ids, source));
    if (written.tls !== undefined) complaints.push(...judgeTls(id, written.tls, source));
  }

  complaints.push(...judgeBackups(file, source), ...judgeSites(file, source));

  const measured = new Set<string>();
  (file.distances ?? []).forEach(({ between }, index) => {
    const path = ['distances', index, 'between'];
    const [a, b] = between;
    between.forEach((id, at) => {
      if (!ids.includes(id)) say([...path, at], `no region ${quote(id)}`, nearest(id, ids));
    });
    if (a === b) say(path, 'a region has no distance to itself');
    const pair = pairKey(a, b);
    if (measured.has(pair)) say(path, `the distance between ${a} and ${b} is given twice`);
    measured.add(pair);
  });
  ids.forEach((a, index) => {
    for (const b of ids.slice(index + 1)) {
      if (!measured.has(pairKey(a, b))) {
        const message = `the distance between ${a} and ${b} is missing`;
        complaints.push(complaintAt(source, ['distances'], { message, at: 'key' }));
      }
    }
  });
  return complaints;
}

/** Each kind has one key of its own, and no other's. */
function judgeKeeper(id: RegionId, written: KeeperFile, source: Source): Complaint[] {
  const complaints: Complaint[] = [];
  const path = ['regions', id, 'keeper'];
  for (const [kind, { key, what }] of Object.entries(KEEPER_NEEDS)) {
    const isMeant = kind === (written.kind ?? 'own');
    const isThere = written[key] !== undefined;
    if (isMeant === isThere) continue;
    const stray = kind === 'own' ? 'belongs to a keeper without kind' : `needs kind: ${kind}`;
    const message = isMeant ? `missing: ${what}` : stray;
    complaints.push(complaintAt(source, [...path, key], { message, at: 'key' }));
  }
  return complaints;
}

/** What is written and not used would be believed to protect. */
function judgeTls(id: RegionId, { mode, ca, caFile }: TlsFile, source: Source): Complaint[] {
  const complaints: Complaint[] = [];
  const say = (key: keyof TlsFile, message: string, at: 'key' | 'value' = 'key') =>
    complaints.push(complaintAt(source, ['regions', id, 'tls', key], { message, at }));
  const given = (['ca', 'caFile'] as const).filter((key) => (key === 'ca' ? ca : caFile));
  if (VERIFIES[mode]) {
    if (given.length === 2) say('caFile', 'keep this key or ca, not both');
    if (given.length === 0 && mode === 'verify-ca') {
      // Anybody gets a certificate for some name from those that browsers believe.
      say('caFile', 'missing: the authority whose certificates are believed, whatever their name');
    }
  } else {
    for (const key of given) say(key, `is not read with mode: ${mode}, which verifies nothing`);
  }
  const wrong = ca === undefined ? undefined : complaintAboutAuthorities(ca);
  if (wrong !== undefined) say('ca', wrong, 'value');
  return complaints;
}

const VERIFIES: Record<TlsMode, boolean> = {
  disable: false,
  require: false,
  'verify-ca': true,
  'verify-full': true,
};

/** A place for the backups of two regions would be outside of one of them. */
function judgeBackups(file: CatalogueFile, source: Source): Complaint[] {
  const complaints: Complaint[] = [];
  const taken: { id: RegionId; folder: string }[] = [];
  for (const [id, { backup: written }] of Object.entries(file.regions)) {
    if (written === undefined) continue;
    const path = ['regions', id, 'backup', 'folder'];
    const say = (message: string) => complaints.push(complaintAt(source, path, { message }));
    if (!posix.isAbsolute(written.folder)) {
      say(`${quote(written.folder)} is not an absolute path`);
      continue;
    }
    const folder = `${posix.normalize(written.folder).replace(/\/+$/, '')}/`;
    const other = taken.find(
      (one) => folder.startsWith(one.folder) || one.folder.startsWith(folder),
    );
    if (other === undefined) taken.push({ id, folder });
    else if (other.folder === folder) say(`the backups of ${other.id} are kept there already`);
    else if (folder.startsWith(other.folder))
      say(`lies in the place of the backups of ${other.id}`);
    else say(`the backups of ${other.id} lie in it`);
  }
  return complaints;
}

/** A place that two regions shared would hold the data of both, whatever their laws say. */
function judgeSites(file: CatalogueFile, source: Source): Complaint[] {
  const complaints: Complaint[] = [];
  const owner = new Map(Object.keys(file.regions).map((id) => [id, id]));
  for (const [id, { nodes }] of Object.entries(file.regions)) {
    nodes.forEach(({ site = id }, index) => {
      const first = owner.get(site);
      if (first === undefined) owner.set(site, id);
      else if (first !== id) {
        const message = `${quote(site)} is a site of ${first}; the same place cannot be in two regions`;
        complaints.push(complaintAt(source, ['regions', id, 'nodes', index, 'site'], { message }));
      }
    });
  }
  return complaints;
}

/** Every other region must find exactly one airlock here. */
function judgePeers(
  id: RegionId,
  written: RegionFile,
  ids: readonly RegionId[],
  source: Source,
): Complaint[] {
  const complaints: Complaint[] = [];
  const say = (path: Path, message: string, suggestion?: string, at: 'key' | 'value' = 'value') =>
    complaints.push(complaintAt(source, ['regions', id, ...path], { message, suggestion, at }));
  const { airlock, airlocks } = written;
  if (airlock !== undefined && airlocks !== undefined) {
    say(['airlocks'], 'keep this key or airlock, not both', undefined, 'key');
    return complaints;
  }
  if (airlock === undefined && airlocks === undefined) {
    const message =
      'missing: the small separate Postgres cluster that holds only what policy lets out of this region';
    say(['airlock'], message);
    return complaints;
  }
  const peers = ids.filter((peer) => peer !== id);
  const served = new Map<RegionId, string>();
  (airlocks ?? []).forEach(({ name, for: list }, index) => {
    list.forEach((peer, nth) => {
      const at = ['airlocks', index, 'for', nth];
      const first = served.get(peer);
      if (peer === id) say(at, `${id} has no airlock for itself; name other regions only`);
      else if (!ids.includes(peer)) say(at, `no region ${quote(peer)}`, nearest(peer, peers));
      else if (first === undefined) served.set(peer, name);
      else say(at, `${peer} is served by ${first} already; one airlock of ${id} for each region`);
    });
  });
  const left = airlocks === undefined ? [] : peers.filter((peer) => !served.has(peer));
  if (left.length > 0) {
    say(['airlocks'], `none of them is for ${left.join(', ')}`, undefined, 'key');
  }
  return complaints;
}

function pairKey(a: RegionId, b: RegionId): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

/** `http://host:port` in canonical form; undefined when the text says anything beyond that. */
function originOf(text: string): string | undefined {
  if (!URL.canParse(text) || /\s/.test(text)) return undefined;
  const url = new URL(text);
  const web = url.protocol === 'http:' || url.protocol === 'https:';
  const bare = url.pathname === '/' && url.search === '' && url.hash === '';
  return web && bare && url.username === '' && url.password === '' ? url.origin : undefined;
}

function notAnOrigin(url: string): string {
  // A password must not travel from the file into a log.
  return url.includes('@')
    ? 'is not an origin: leave user name and password out of it'
    : `${quote(url)} is not http:// or https:// with a host and no path`;
}

function hostPort(url: URL): string {
  return `${url.hostname}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`;
}
