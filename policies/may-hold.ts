/**
 * May a canary be in this place?
 *
 * A canary stands for the columns it was written to. A place is open to one or more regions, and
 * the policy has to allow one of those columns in each of them: bytes that lie in an airlock are in
 * the hands of every peer that it serves, bytes on a wire in the hands of both its ends.
 */
import type { RegionId } from '../regions/catalogue.ts';
import { type Keeps, mayBeAt, type Whereabouts } from './explain.ts';
import type { ColumnName, Constant, Policy, RowCondition, TableName } from './policy.ts';

export type CanaryColumn = {
  table: TableName;
  column: ColumnName;
  /** Other columns of its row, for mirrors of some rows only. */
  row?: Readonly<Record<ColumnName, Constant>>;
};

export type PlacedCanary = {
  text: string;
  /** Home of the subject whose row it is in. */
  home: RegionId;
  columns: readonly CanaryColumn[];
};

export type Place =
  /** Inside a region: its private nodes, its edges, their files and memory. */
  | { kind: 'region'; region: RegionId }
  /** What these peers can copy from a region. */
  | { kind: 'airlock'; region: RegionId; peers: readonly RegionId[] }
  | { kind: 'wire'; between: readonly [RegionId, RegionId] }
  /** Nobody knows whose bytes lie there. */
  | { kind: 'anywhere'; regions: readonly RegionId[] };

export type MayHold =
  | { kind: 'allowed' }
  | {
      kind: 'refused';
      /** The first region that may not have it. */
      region: RegionId;
      column: CanaryColumn;
      because: Keeps | 'row-not-mirrored';
      /** The key of the policy file that decides. */
      says: string;
    };

export function mayHold(policy: Policy, canary: PlacedCanary, place: Place): MayHold {
  for (const region of regionsOf(place)) {
    if (region === canary.home) continue;
    const refusal = refusalAt(policy, canary, region);
    if (refusal !== undefined) return refusal;
  }
  return { kind: 'allowed' };
}

/** Undefined when one of the canary's columns may be there. */
function refusalAt(policy: Policy, canary: PlacedCanary, region: RegionId): MayHold | undefined {
  let first: MayHold | undefined;
  for (const column of canary.columns) {
    const { table, column: name, row } = column;
    const answer = mayBeAt(policy, { table, column: name, home: canary.home, region });
    const because = objection(answer, row);
    if (because === undefined) return undefined;
    first ??= { kind: 'refused', region, column, because, says: answer.says };
  }
  return first;
}

function objection(
  answer: Whereabouts,
  row: CanaryColumn['row'],
): Keeps | 'row-not-mirrored' | undefined {
  if (answer.kind === 'refused') return answer.because;
  if (answer.as !== 'mirror') return undefined;
  return answer.rows.every((condition) => satisfies(row, condition))
    ? undefined
    : 'row-not-mirrored';
}

/** A value that nobody stated may be any. */
function satisfies(row: CanaryColumn['row'], { column, oneOf }: RowCondition): boolean {
  const value = row?.[column];
  return value === undefined || oneOf.includes(value);
}

function regionsOf(place: Place): readonly RegionId[] {
  switch (place.kind) {
    case 'region':
      return [place.region];
    case 'airlock':
      return [place.region, ...place.peers];
    case 'wire':
      return place.between;
    case 'anywhere':
      return place.regions;
  }
}
