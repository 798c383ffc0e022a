/**
 * What does a read from abroad cost?
 *
 * With real distances between the regions, the same read through the home edge and through each
 * foreign edge. If a forwarded request takes one round trip, its latency is the distance and the
 * local read; `roundTrips` says how many distances it really took.
 */
import autocannon from 'autocannon';
import { roundTripMs } from '../regions/catalogue.ts';
import { type Bench, edgeOf, signUp } from './measured-world.ts';
import { inWords, type Spread, spread } from './ratio.ts';

export type Forward = {
  localMs: Spread;
  abroad: Record<string, { meanMs: Spread; roundTripMs: number; roundTrips: Spread }>;
};

export async function measureForward(
  { world, report }: Bench,
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<Forward> {
  const home = edgeOf(world, 'eu');
  const token = await signUp(home, 'traveller');
  const mean = async (edge: string) => {
    const result = await autocannon({
      url: `${edge}/users/traveller`,
      headers: { 'domicile-session': token },
      connections: 8,
      duration: seconds,
    });
    const failed = result.non2xx + result.errors + result.timeouts;
    if (failed > 0) throw new Error(`${failed} requests to ${edge} failed`);
    return result.latency.average;
  };
  const foreign = ['us', 'asia'];
  const local: number[] = [];
  const abroad = new Map(foreign.map((region) => [region, [] as number[]]));
  for (let round = 0; round <= rounds; round++) {
    const here = await mean(home);
    if (round > 0) local.push(here);
    for (const region of foreign) {
      const there = await mean(edgeOf(world, region));
      if (round > 0) abroad.get(region)?.push(there);
    }
  }
  const result: Forward = { localMs: spread(local), abroad: {} };
  report(`local read, mean           ${inWords(result.localMs, ' ms')}`);
  for (const [region, values] of abroad) {
    const distanceMs = roundTripMs(world.catalogue, region, 'eu');
    const trips = spread(values.map((ms, i) => (ms - (local[i] ?? 0)) / distanceMs));
    result.abroad[region] = { meanMs: spread(values), roundTripMs: distanceMs, roundTrips: trips };
    report(`read from ${region.padEnd(6)} mean       ${inWords(spread(values), ' ms')}`);
    report(`  of ${distanceMs} ms round trips      ${inWords(trips)}`);
  }
  return result;
}
