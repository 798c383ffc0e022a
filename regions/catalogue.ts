/**
 * Which regions exist, and how is each one reached?
 *
 * The shape only; `read-catalogue.ts` reads it from a file. Which node is the primary is not
 * written here: that changes with every failover, so it is seen (`sighting.ts`), never declared.
 */

/** Short lower-case name of a region, such as `eu`. */
export type RegionId = string;

export type Catalogue = {
  regions: ReadonlyMap<RegionId, Region>;
  /** Network round trip between two regions in milliseconds; orders peers from near to far. */
  distances: readonly Distance[];
};

export type Region = {
  id: RegionId;
  /** Words for a person: `Frankfurt, Germany`. */
  title: string;
  /** Degrees, north and east positive; for drawing it. */
  place?: { latitude: number; longitude: number };
  /** Name of the app's database on every node of the region. */
  database: string;
  edges: readonly EdgeAddress[];
  /** The primary and its physical replicas, in no particular order. */
  nodes: readonly RegionNode[];
  /** The small separate clusters that hold only what policy lets out; one serves each peer. */
  airlocks: readonly Airlock[];
  /** How its nodes and airlocks are spoken to; each of them has it, too. */
  tls?: Tls;
  /** Who watches the nodes and promotes one of them; undefined where nobody does. */
  keeper?: Keeper;
  /** Where base backups and archived log are kept; undefined: where the installation has its data. */
  backup?: BackupPlace;
};

export type EdgeAddress = {
  name: string;
  /** Where other edges reach it, and clients too unless `publicUrl` says otherwise. */
  url: string;
  publicUrl?: string;
};
export type Keeper = KeeperAddress | PatroniKeeper | ManagedKeeper;
/** Where edges and operators ask a keeper, and only its own region's. */
export type KeeperAddress = { kind?: undefined; url: string };
/** Patroni moves the primary; `members` are the origins of its REST interfaces. */
export type PatroniKeeper = { kind: 'patroni'; url?: undefined; members: readonly string[] };
/** A managed service does, and lets one name lead to the primary. */
export type ManagedKeeper = {
  kind: 'managed';
  url?: undefined;
  endpoint: { host: string; port: number };
};
/** A folder inside the region, which no other region's backups share. */
export type BackupPlace = { folder: string };
export type NodeAddress = { name: string; host: string; port: number; tls?: Tls };
/**
 * What must be so before anything is said to a server, in libpq's words. Undefined: plain text,
 * because nobody said anything.
 */
export type Tls = {
  mode: TlsMode;
  /** Certificates in PEM form: the authorities that are believed. Undefined: those of Node. */
  ca?: string;
  /** Where they are written, until whoever has read the catalogue from a file has read that, too. */
  caFile?: string;
};
/** Without `allow` and `prefer`: whoever stands between takes TLS away from those. */
export type TlsMode = 'disable' | 'require' | 'verify-ca' | 'verify-full';
/** A place that can be lost as a whole: a town, or a zone of a provider. */
export type SiteId = string;
/** Undefined: at the site that is called like the region. */
export type RegionNode = NodeAddress & { site?: SiteId };
/**
 * Whoever may read an airlock at all can read everything in it, so peers that may see different
 * things have different ones.
 */
export type Airlock = NodeAddress & { peers: readonly RegionId[] };
export type Distance = { between: readonly [RegionId, RegionId]; roundTripMs: number };

/** Peers of `from`, nearest first; an unmeasured distance counts as the farthest. */
export function peersNearestFirst(catalogue: Catalogue, from: RegionId): Region[] {
  return [...catalogue.regions.values()]
    .filter((region) => region.id !== from)
    .sort((a, b) => roundTripMs(catalogue, from, a.id) - roundTripMs(catalogue, from, b.id));
}

/** Where its nodes stand, in the order of the nodes; most regions have one. */
export function sitesOf({ id, nodes }: Region): SiteId[] {
  return [...new Set(nodes.map(({ site }) => site ?? id))];
}

/** Undefined for a node of another region. */
export function siteOf({ id, nodes }: Region, node: string): SiteId | undefined {
  const found = nodes.find(({ name }) => name === node);
  return found && (found.site ?? id);
}

/** @throws RangeError for a region that `of` has no airlock for, which no read catalogue has. */
export function airlockFor(of: Region, peer: RegionId): Airlock {
  const airlock = of.airlocks.find(({ peers }) => peers.includes(peer));
  if (airlock === undefined) throw new RangeError(`no airlock of ${of.id} serves ${peer}`);
  return airlock;
}

/** Round trip in milliseconds, or Infinity where the catalogue does not say. */
export function roundTripMs(catalogue: Catalogue, a: RegionId, b: RegionId): number {
  const found = catalogue.distances.find(
    ({ between: [x, y] }) => (x === a && y === b) || (x === b && y === a),
  );
  return found?.roundTripMs ?? Number.POSITIVE_INFINITY;
}

/** The physical replication slot of a replica, by the name of its node: slots know no hyphens. */
export function slotName(node: string): string {
  return node.replaceAll('-', '_');
}
