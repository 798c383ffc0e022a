/**
 * What does a node say about the policy of its region?
 *
 * The two questions that an edge has for the tables of `0003-policy-versions.sql`: the stamp, asked
 * at every look, and the whole record, asked when the stamp has moved. The record is one statement
 * and so one snapshot: version, text and openings belong together.
 */
import type { Sql } from '../regions/postgres.ts';
import type { Role } from '../regions/sighting.ts';
import type { Opening } from './policy-in-force.ts';

/** Who said it. Stamps compare within one timeline of one cluster. */
export type Origin = { role: Role; systemId: bigint; timeline: number };

export type PolicyRecord = {
  origin: Origin;
  stamp: bigint;
  /** Whether this region has recorded any version, in force or not. */
  everRecorded: boolean;
  /** Greatest version first. One that cannot be read leaves the one before it in force. */
  inForce: readonly RecordedPolicy[];
  openings: readonly Opening[];
};

export type RecordedPolicy = { version: number; text: string; sha256: string };

/** An edge that starts after a mistake goes by the version before it, like those that ran on. */
const VERSIONS_MAX = 3;

type RecordRow = {
  stamp: string;
  ever_recorded: boolean;
  policies: RecordedPolicy[];
  openings: [name: string, home: string][];
};

export async function stampAt(sql: Sql): Promise<bigint> {
  const [row] = await sql<{ stamp: string }[]>`
    select coalesce(max(stamp), 0)::text as stamp from domicile.policy_stamp`;
  return BigInt(row?.stamp ?? 0);
}

/**
 * `heardOf` is a version that another region has in force. Versions are recorded in every region
 * before any puts one in force, so it counts here as well from the moment that it is heard of.
 */
export async function recordAt(sql: Sql, heardOf: number): Promise<Omit<PolicyRecord, 'origin'>> {
  const [row] = await sql<RecordRow[]>`
    select
      (select coalesce(max(stamp), 0) from domicile.policy_stamp)::text as stamp,
      exists (select from domicile.policies) as ever_recorded,
      (
        select coalesce(
          json_agg(json_build_object('version', version, 'text', text, 'sha256', sha256)
            order by version desc), '[]')
        from (
          select version, text, sha256 from domicile.policies
          where in_force_at is not null or version = ${heardOf}
          order by version desc limit ${VERSIONS_MAX}
        ) as newest
      ) as policies,
      (
        select coalesce(json_agg(json_build_array(name, home) order by name, home), '[]')
        from domicile.openings
      ) as openings`;
  if (row === undefined) throw new TypeError('a select without from gave no row');
  return {
    stamp: BigInt(row.stamp),
    everRecorded: row.ever_recorded,
    inForce: row.policies,
    openings: row.openings.map(([name, home]) => ({ name, home })),
  };
}
