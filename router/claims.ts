/**
 * May this id be given to a subject of this home, and to no other?
 *
 * Two edges may be asked at the same moment to create the same id with different homes. Each
 * region keeps one claim for an id, first come first served; whoever holds a majority of the
 * regions, its own home among them, may store the subject. Majorities intersect, so there is one
 * such home. Everybody asks the regions in the same order, so that a loser stops at the first
 * region it shares with the winner instead of both blocking each other. The home verifies its own
 * claim once more in the storing transaction, so a claim that was given back cannot be used late.
 *
 * Ids that an edge draws itself are random and need none of this. The order is rendezvous hashing
 * (Thaler and Ravishankar 1998): it spreads the first question evenly over the regions.
 */
import { createHash } from 'node:crypto';
import type { RegionId } from '../regions/catalogue.ts';

/** One region's answer to a claim. */
export type Ballot =
  | { kind: 'granted' }
  /** Another home holds the id; `settled` when its subject is stored already. */
  | { kind: 'held'; home: RegionId; settled: boolean }
  | { kind: 'silent' };

export type ClaimOutcome =
  | { kind: 'held-by-us'; claim: string }
  | { kind: 'held-elsewhere'; home: RegionId }
  | { kind: 'undecided'; silent: readonly RegionId[] };

export type Electorate = {
  here: RegionId;
  regions: readonly RegionId[];
  claimAt: (region: RegionId, key: string, claim: string) => Promise<Ballot>;
  /** Best effort: a claim left behind only keeps the id reserved for this home. */
  releaseAt: (region: RegionId, key: string, claim: string) => Promise<void>;
};

export async function claimId(
  key: string,
  claim: string,
  { here, regions, claimAt, releaseAt }: Electorate,
): Promise<ClaimOutcome> {
  const majority = Math.floor(regions.length / 2) + 1;
  const granted: RegionId[] = [];
  const silent: RegionId[] = [];
  for (const region of inOrder(key, regions)) {
    // The last vote of the majority must be our own if it is still missing.
    const ownMissing = !granted.includes(here) && region !== here;
    if (granted.length === majority - 1 && ownMissing) continue;
    const ballot = await claimAt(region, key, claim);
    if (ballot.kind === 'silent') {
      silent.push(region);
      continue;
    }
    if (ballot.kind === 'held') {
      await release(key, claim, here, granted, releaseAt);
      return { kind: 'held-elsewhere', home: ballot.home };
    }
    granted.push(region);
    if (granted.length >= majority) return { kind: 'held-by-us', claim };
  }
  await release(key, claim, here, granted, releaseAt);
  return { kind: 'undecided', silent };
}

/** Gives the id back, our own region first: from then on the claim stores nothing. */
export async function release(
  key: string,
  claim: string,
  here: RegionId,
  regions: readonly RegionId[],
  releaseAt: Electorate['releaseAt'],
): Promise<void> {
  try {
    if (regions.includes(here)) await releaseAt(here, key, claim);
  } catch {
    // It stands here, so it may as well stand everywhere; the request has its answer all the same.
    return;
  }
  await Promise.all(
    regions.filter((region) => region !== here).map((region) => releaseAt(region, key, claim)),
  );
}

/** The same order for the same key everywhere. */
export function inOrder(key: string, regions: readonly RegionId[]): RegionId[] {
  const weight = (region: RegionId) =>
    createHash('sha256').update(`${region} ${key}`).digest('hex').slice(0, 16);
  return regions
    .map((region) => ({ region, weight: weight(region) }))
    .sort((a, b) => (a.weight < b.weight ? 1 : -1))
    .map(({ region }) => region);
}
