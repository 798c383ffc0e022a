/**
 * Which mirrors may lack what the primary that is gone had confirmed?
 *
 * A region's primary reads the airlocks of the peers, and tells each how far it has come. Where its
 * commits wait for a standby, so does that. A primary that ran alone has confirmed what is nowhere
 * else: its successor would be sent only what comes after, the row in between would be missing for
 * good, and the pulses that arrive would say that nothing is. So where an operator or the policy
 * accepts a loss, the places that the old primary read from are taken away at the peers, and each
 * of these mirrors is filled anew.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { placeKeptFor, publicationTo, subscriptionFrom } from '../../policies/desired-state.ts';
import type { Region, RegionId } from '../../regions/catalogue.ts';
import { verbatim } from '../../regions/postgres.ts';
import { dropSlot } from '../drop-slot.ts';
import { peersOf, poolAsPeer } from './feeds.ts';
import { type FeedSite, LOOK_MS_MAX, valued } from './standby-slots.ts';

export type EndedFeeds = {
  /** Peers whose mirrors here have to be filled anew. */
  anew: readonly RegionId[];
  /** Peers that did not answer. What was read from them may go on and must not be believed. */
  silent: readonly { peer: RegionId; why: string }[];
};

/** All peers are asked at once; writes wait for this. */
const END_MS_MAX = 3_000;
const LOOK_EVERY_MS = 20;

/** Takes the places away, whoever reads from them now. Calling it again is safe. Rejects for bugs only. */
export async function endFeeds(site: FeedSite): Promise<EndedFeeds> {
  const ended = await Promise.all(
    peersOf(site).map(async (peer) => ({ peer: peer.id, end: await endFeed(site, peer) })),
  );
  return {
    anew: ended.flatMap(({ peer, end }) => (end.kind === 'ended' ? [peer] : [])),
    silent: ended.flatMap(({ peer, end }) => (end.kind === 'unknown' ? [{ peer, ...end }] : [])),
  };
}

/** On the new primary: as long as a peer is silent nothing is taken from where the old one was. */
export async function stopFeedsFrom(
  { session }: FeedSite,
  primary: string,
  peers: readonly RegionId[],
): Promise<void> {
  for (const peer of peers) {
    await session
      .node(primary)
      .run((sql) => sql(verbatim(`alter subscription ${subscriptionFrom(peer)} disable`)), {
        timeoutMs: LOOK_MS_MAX,
      });
  }
}

async function endFeed(
  site: FeedSite,
  peer: Region,
): Promise<{ kind: 'ended' } | { kind: 'unknown'; why: string }> {
  const pool = poolAsPeer(site, peer);
  const untilMs = performance.now() + END_MS_MAX;
  try {
    for (;;) {
      const gone = await valued(() =>
        pool.run(
          // The kept one first: nobody may begin anew from it.
          async (sql) =>
            (await dropSlot(sql, placeKeptFor(site.region))) &&
            (await dropSlot(sql, publicationTo(site.region))),
          { timeoutMs: LOOK_MS_MAX },
        ),
      );
      if (gone === true) return { kind: 'ended' };
      if (performance.now() >= untilMs) {
        return gone === false ? { kind: 'unknown', why: 'somebody keeps its place' } : gone;
      }
      await pause(LOOK_EVERY_MS);
    }
  } finally {
    await pool.close({ timeoutMs: LOOK_MS_MAX });
  }
}
