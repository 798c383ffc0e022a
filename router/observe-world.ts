/**
 * How does every cluster differ from what the policy wants?
 *
 * Looks at all clusters at once, derives what each must hold, and lets each server put that into its
 * own words. Nothing is changed. The plan, the apply and the audit all look through here.
 */
import { createHash } from 'node:crypto';
import {
  type ClusterName,
  type ClusterState,
  compareStates,
  type Difference,
  definitionOf,
  objectOf,
} from '../policies/cluster-state.ts';
import {
  type AppSchema,
  airlocksOf,
  connectionName,
  desiredState,
  placeKeptFor,
  publicationTo,
  subscriptionFrom,
  subscriptionHome,
} from '../policies/desired-state.ts';
import { type Plan, plan, type RecordedVersions } from '../policies/plan.ts';
import type { Policy } from '../policies/policy.ts';
import type { Catalogue, RegionId } from '../regions/catalogue.ts';
import type { LeasePool } from '../regions/postgres.ts';
import { ARCHIVE_SLOT } from './backup/archive-slot.ts';
import { connectionsOf } from './feed-connections.ts';
import {
  normalised,
  type Observed,
  observeAppSchema,
  observeCluster,
  slots,
} from './observe-cluster.ts';
import { type Operator, OperatorError, Session, STATEMENT_MS_MAX } from './operator.ts';
import { LOGINS } from './region-database.ts';

export type WorldView = {
  wanted: ReadonlyMap<ClusterName, ClusterState>;
  found: ReadonlyMap<ClusterName, ClusterState>;
  plan: Plan;
  /** Of the policy's text and everything that was seen: the same plan for the same hash. */
  hash: string;
  versions: ReadonlyMap<RegionId, VersionRow[]>;
};

export type VersionRow = { version: number; sha256: string; inForce: boolean };

/**
 * Every object of every cluster that is not as the policy wants it: missing, different, or there
 * without being wanted. @throws OperatorError when a cluster cannot be looked at.
 */
export async function differences(
  operator: Operator,
  policy: Policy,
  catalogue: Catalogue = operator.catalogue,
): Promise<Difference[]> {
  const session = new Session({ ...operator, catalogue });
  try {
    const { wanted, found } = await observeStates(session, policy);
    return compareStates(wanted, found);
  } finally {
    await session.close();
  }
}

/** What says how clusters reach each other, which a restored copy by itself cannot have. */
const BETWEEN_CLUSTERS = /^(slot|subscription) |in subscription /;

/**
 * The same of one private cluster by itself, somewhere else than its region's nodes: a restored
 * copy. Nothing outside of it is looked at.
 * @throws OperatorError when the policy does not fit its tables.
 */
export async function differencesOfCopy(
  pool: LeasePool,
  region: RegionId,
  policy: Policy,
  { catalogue, installed }: Pick<Operator, 'catalogue' | 'installed'>,
): Promise<Difference[]> {
  const limits = { timeoutMs: STATEMENT_MS_MAX };
  const schema = await pool.run(observeAppSchema, limits);
  const regions = [...catalogue.regions.keys()];
  // Everybody's tables are alike, and nobody connects to a copy.
  const connections = new Map(
    regions.flatMap((id) => [
      ...airlocksOf(id, catalogue).map(
        ({ name }) => [connectionName(name, subscriptionHome(name)), ''] as const,
      ),
      ...regions.map((peer) => [connectionName(id, subscriptionFrom(peer)), ''] as const),
    ]),
  );
  const desired = desire({
    policy,
    catalogue,
    schemas: new Map(regions.map((id) => [id, schema])),
    logins: LOGINS,
    installed,
    connections,
  }).get(region);
  if (desired === undefined) throw new RangeError(`no region ${region}`);
  const wanted = await normalised(pool, desired);
  const roles = [...desired.values()].flatMap((thing) =>
    thing.kind === 'role' ? [thing.name] : [],
  );
  const { state } = await pool.run(
    (sql) => observeCluster(sql, { kind: 'private', roles: new Set(roles), toolSlots: new Set() }),
    limits,
  );
  return compareStates(new Map([[region, wanted]]), new Map([[region, state]])).filter(
    ({ object }) => !BETWEEN_CLUSTERS.test(object),
  );
}

/** @throws OperatorError when a cluster cannot be looked at, or the policy does not fit the tables. */
export async function observeWorld(
  session: Session,
  policy: Policy,
  text: string,
  anew: ReadonlySet<string> = new Set(),
): Promise<WorldView> {
  const { catalogue } = session.operator;
  const { wanted, found, pending } = await observeStates(session, policy);
  const versions = new Map<RegionId, VersionRow[]>();
  const remains = new Map<ClusterName, string[]>();
  await Promise.all(
    [...catalogue.regions.keys()].map(async (region) => {
      versions.set(region, await recordedVersions(session, region));
      for (const { cluster, what } of await withdrawnAndThere(session, region)) {
        remains.set(cluster, [...(remains.get(cluster) ?? []), what]);
      }
    }),
  );
  const digest = sha256(text);
  const inOrder = ordered(versions, catalogue.regions.keys());
  const planned = plan({
    policy,
    catalogue,
    wanted,
    found,
    pending,
    versions: new Map(
      [...catalogue.regions.keys()].map((region) => [region, recorded(versions.get(region) ?? [])]),
    ),
    sameText: (region) =>
      versions
        .get(region)
        ?.some(({ version, sha256: known }) => version === policy.version && known === digest) ===
      true,
    anew,
    remains,
  });
  return { wanted, found, plan: planned, versions: inOrder, hash: hashOf(digest, found, inOrder) };
}

type States = {
  wanted: Map<ClusterName, ClusterState>;
  found: Map<ClusterName, ClusterState>;
  pending: Map<ClusterName, Observed['pending']>;
};

async function observeStates(session: Session, policy: Policy): Promise<States> {
  const { operator } = session;
  const { catalogue, installed } = operator;
  const schemas = new Map<RegionId, AppSchema>();
  const [connections] = await Promise.all([
    connectionsOf(operator, ({ id }) => session.nodeOf(id)),
    ...[...catalogue.regions.keys()].map(async (region) => {
      schemas.set(region, await session.on(region, observeAppSchema));
    }),
  ]);
  const desired = desire({
    policy,
    catalogue,
    schemas,
    logins: LOGINS,
    installed,
    connections,
  });
  const states: States = { wanted: new Map(), found: new Map(), pending: new Map() };
  await Promise.all(
    [...desired].map(async ([cluster, state]) => {
      const [wanted, { state: found, pending }] = await Promise.all([
        normalised(await session.pool(cluster), state),
        observeOne(session, cluster, state),
      ]);
      states.wanted.set(cluster, wanted);
      states.found.set(cluster, found);
      states.pending.set(cluster, pending);
    }),
  );
  return {
    wanted: ordered(states.wanted, desired.keys()),
    found: ordered(states.found, desired.keys()),
    pending: ordered(states.pending, desired.keys()),
  };
}

/** Whoever answered first must not decide the order. */
function ordered<T>(map: ReadonlyMap<string, T>, names: Iterable<string>): Map<string, T> {
  const pairs: [string, T][] = [];
  for (const name of names) {
    const value = map.get(name);
    if (value !== undefined) pairs.push([name, value]);
  }
  return new Map(pairs);
}

/** What the tables do not allow is for a person to mend, so it is said in words. */
function desire(input: Parameters<typeof desiredState>[0]): ReturnType<typeof desiredState> {
  try {
    return desiredState(input);
  } catch (error) {
    if (error instanceof RangeError) throw new OperatorError(error.message);
    throw error;
  }
}

async function observeOne(
  session: Session,
  cluster: ClusterName,
  wanted: ClusterState,
): Promise<Observed> {
  const { catalogue, slotOfNode } = session.operator;
  const region = catalogue.regions.get(session.regionOf(cluster));
  const isPrivate = catalogue.regions.has(cluster);
  const roles = [...wanted.values()].flatMap((thing) =>
    thing.kind === 'role' ? [thing.name] : [],
  );
  const toolSlots = new Set(
    isPrivate
      ? [...(region?.nodes ?? []).map(({ name }) => slotOfNode(name)), ARCHIVE_SLOT].map(
          (name) => `physical ${name}`,
        )
      : [...catalogue.regions.keys()]
          .filter((peer) => wanted.has(`slot ${publicationTo(peer)}`))
          .map((peer) => `logical ${placeKeptFor(peer)}`),
  );
  const [{ state, pending }, ...further] = await Promise.all([
    session.on(cluster, (sql) =>
      observeCluster(sql, {
        kind: isPrivate ? 'private' : 'airlock',
        roles: new Set(roles),
        toolSlots,
      }),
    ),
    ...(isPrivate ? await session.replicasOf(cluster) : []).map((replica) =>
      session.onReplica(replica, (sql) => slots(sql, toolSlots, replica)),
    ),
  ]);
  // One that does not answer keeps commits waiting, too; what it has is looked at the next time.
  const elsewhere = further.flatMap((found) => found ?? []);
  return {
    state: new Map([...state, ...elsewhere.map((slot) => [objectOf(slot), slot] as const)]),
    pending,
  };
}

export async function recordedVersions(session: Session, region: RegionId): Promise<VersionRow[]> {
  return session.on(
    region,
    (sql) => sql<VersionRow[]>`
      select version, sha256, in_force_at is not null as "inForce"
      from domicile.policies order by version`,
  );
}

async function withdrawnAndThere(session: Session, region: RegionId) {
  return session.on(
    region,
    (sql) => sql<{ cluster: string; what: string }[]>`
      select cluster, what from domicile.withdrawals
      where off_disk_since is null order by cluster, what`,
  );
}

function recorded(rows: readonly VersionRow[]): RecordedVersions {
  const inForce = rows.filter((row) => row.inForce).map(({ version }) => version);
  return {
    inForce: inForce.length === 0 ? undefined : Math.max(...inForce),
    recorded: rows.map(({ version }) => version),
  };
}

export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function hashOf(
  digest: string,
  found: ReadonlyMap<ClusterName, ClusterState>,
  versions: ReadonlyMap<RegionId, VersionRow[]>,
): string {
  const seen = [...found].map(([cluster, state]) => [
    cluster,
    [...state].map(([object, thing]) => [object, definitionOf(thing)]).sort(),
  ]);
  return sha256(JSON.stringify([digest, seen, [...versions].sort()]));
}
