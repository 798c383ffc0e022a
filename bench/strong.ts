/**
 * What does a strong read cost over a plain read of the primary?
 *
 * The replica's replay rests, so that a session with a floor is read from the primary; the same
 * session asks for `strong` in turn. Both read the same row over the same connections, and the
 * difference is the barrier. With more clients at once, more reads share one commit.
 */
import { LeasePool } from '../regions/postgres.ts';
import { load } from './load.ts';
import { type Bench, edgeOf, signUp } from './measured-world.ts';
import { inWords, ratios, type Spread, spread } from './ratio.ts';

export type Strong = {
  connections: number;
  /** Requests a second of the strong read, over those of the plain one. */
  throughput: Spread;
  /** Mean latency of the strong read, over that of the plain one. */
  latency: Spread;
  plainMs: Spread;
  strongMs: Spread;
};

export async function measureStrong(
  { world, report }: Bench,
  { rounds, seconds }: { rounds: number; seconds: number },
): Promise<Strong[]> {
  const edge = edgeOf(world, 'eu');
  const url = `${edge}/users/strong-reader`;
  const admin = new LeasePool({
    endpoint: world.clusters.superuser('eu-b'),
    connectionsMax: 1,
    waitersMax: 1,
    connectTimeoutMs: 5_000,
  });
  try {
    await signUp(edge, 'strong-reader');
    await admin.run((sql) => sql`select pg_wal_replay_pause()`, { timeoutMs: 5_000 });
    const written = await fetch(url, { method: 'POST' });
    const token = written.headers.get('domicile-session') ?? '';
    const results: Strong[] = [];
    // One more would find the primary's share of reads taken.
    for (const connections of [1, 8]) {
      const run = async (level: string) => {
        const headers = { 'domicile-session': token, 'domicile-consistency': level };
        const { perSecond } = await load({ url, method: 'GET', headers, connections, seconds });
        return perSecond;
      };
      const plain: number[] = [];
      const strong: number[] = [];
      for (let round = 0; round <= rounds; round++) {
        const [a, b] = [await run('session'), await run('strong')];
        if (round === 0) continue;
        plain.push(a);
        strong.push(b);
      }
      const ms = (rates: number[]) => rates.map((rate) => (connections / rate) * 1_000);
      const result: Strong = {
        connections,
        throughput: ratios(strong, plain),
        latency: ratios(ms(strong), ms(plain)),
        plainMs: spread(ms(plain)),
        strongMs: spread(ms(strong)),
      };
      results.push(result);
      report(
        `${connections} at once: strong / plain throughput ${inWords(result.throughput)}, ` +
          `latency ${inWords(result.latency)}; plain ${inWords(result.plainMs, ' ms')}, ` +
          `strong ${inWords(result.strongMs, ' ms')}`,
      );
    }
    return results;
  } finally {
    await admin.run((sql) => sql`select pg_wal_replay_resume()`, { timeoutMs: 5_000 });
    await admin.close({ timeoutMs: 1_000 });
  }
}
