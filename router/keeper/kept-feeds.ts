/**
 * What does a keeper do about the feeds while it keeps the primary?
 *
 * After a promotion it lets them follow, until nothing is left to try. And before it lets commits
 * wait for a standby, which is what makes one a successor, it has the feeds' slots there, if that
 * can be had: a region must not go without a standby because an airlock is away.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { KeeperRecord } from '../../policies/keeper/record.ts';
import type { RegionId } from '../../regions/catalogue.ts';
import { formatLsn } from '../../regions/position.ts';
import { type Operator, Session } from '../operator.ts';
import { type Feed, followPrimary } from './feeds.ts';
import { KeptPlaces, type TakenBack } from './kept-places.ts';
import { dropLeftSlots, type FeedSite, LOOK_MS_MAX, slotsReady, valued } from './standby-slots.ts';
import { endFeeds, stopFeedsFrom } from './unsure-feeds.ts';

/** While a place stands still, the peer's airlock keeps its log for it. */
const MOVE_UP_EVERY_MS = 2_000;

/** Of a keeper's record. */
export type Standing = Pick<KeeperRecord, 'primary' | 'standbys' | 'pending' | 'feedsAreUnsure'>;

export type KeptFeedsOptions = {
  operator: Operator;
  region: RegionId;
  log: (line: Record<string, unknown>) => void;
};

export class KeptFeeds {
  readonly #site: FeedSite;
  readonly #log: KeptFeedsOptions['log'];
  readonly #looks = new Map<string, { isReady: boolean; underWay: boolean }>();
  readonly #places: KeptPlaces;
  readonly #closing = new AbortController();
  #primary: string | undefined;
  #keeping: Promise<void> | undefined;

  constructor({ operator, region, log }: KeptFeedsOptions) {
    this.#site = { session: new Session(operator), region };
    this.#places = new KeptPlaces(this.#site);
    this.#log = log;
  }

  /** From now on, until it is closed, as long as nothing is being changed. */
  keepPlaces(standing: () => Standing | undefined): void {
    this.#keeping ??= (async () => {
      while (!this.#closing.signal.aborted) {
        const is = standing();
        if (is !== undefined && is.pending === null && is.feedsAreUnsure !== true) {
          // Who runs alone has what nobody else has, and loses it with its machine.
          await this.#places.moveUp(is.standbys.length > 0 ? is.standbys : [is.primary]);
        }
        await pause(MOVE_UP_EVERY_MS, undefined, { signal: this.#closing.signal }).catch(() => {});
      }
    })().catch((error: unknown) => {
      this.#log({ level: 'error', message: 'places are not kept any more', why: String(error) });
    });
  }

  /** Before `heir` is promoted in place of a primary that did not end in good order. */
  async takePlacesBack(heir: string): Promise<void> {
    for (const [peer, state] of await this.#places.takeBack(heir)) {
      if (state.kind === 'as_it_was') continue;
      const level = state.kind === 'taken_back' ? 'info' : 'warn';
      this.#log({ level, message: 'place at a peer', peer, ...told(state) });
    }
  }

  /** False when it is to be called again. What only an operator can mend is said once and is done. */
  async follow(primary: string): Promise<boolean> {
    this.#primary = primary;
    const feeds = await followPrimary(this.#site, { primary });
    for (const feed of feeds) this.#tell(feed);
    return feeds.every(({ state }) => state.kind === 'flows' || state.kind === 'must_refill');
  }

  /**
   * After a loss: ends what may have a hole at its beginning. Answers with the peers whose mirrors
   * here have to be filled anew, or undefined when it is to be called again.
   */
  async end(
    node: string,
    when: 'before_promotion' | 'after_promotion',
  ): Promise<readonly RegionId[] | undefined> {
    const { anew, silent } = await endFeeds(this.#site);
    for (const { peer, why } of silent) {
      this.#log({ level: 'warn', message: 'a mirror is not ended yet', peer, why });
    }
    if (silent.length === 0) return anew;
    const peers = silent.map(({ peer }) => peer);
    if (when === 'after_promotion') await stopFeedsFrom(this.#site, node, peers);
    return undefined;
  }

  /**
   * Whether commits may wait for this standby: every feed that is alive could go on from it. As it
   * was found at the question before, because whoever looks at a standby waits for nobody else.
   */
  isReady(standby: string): boolean {
    const looks = this.#looks.get(standby) ?? { isReady: false, underWay: false };
    this.#looks.set(standby, looks);
    if (!looks.underWay) {
      looks.underWay = true;
      void this.#look(standby)
        .then((isReady) => {
          looks.isReady = isReady;
        })
        .catch((error: unknown) => {
          looks.isReady = false;
          this.#log({ level: 'warn', message: 'feeds cannot be looked at', why: String(error) });
        })
        .finally(() => {
          looks.underWay = false;
        });
    }
    return looks.isReady;
  }

  async #look(standby: string): Promise<boolean> {
    const ready = await slotsReady(this.#site, standby);
    if (ready.kind !== 'not_ready') return ready.kind === 'ready';
    if (ready.lacking.some(({ because }) => because === 'left_behind')) {
      await dropLeftSlots(this.#site, standby);
      return false;
    }
    const read = await this.#slotsInUse();
    return read !== undefined && !ready.lacking.some(({ slot }) => read.has(slot));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#keeping;
    await this.#places.close();
    await this.#site.session.close();
  }

  /** Those that an airlock reads at the primary now, which is asked to let standbys copy them. */
  async #slotsInUse(): Promise<ReadonlySet<string> | undefined> {
    const primary = this.#primary;
    if (primary === undefined) return undefined;
    const rows = await valued(() =>
      this.#site.session.node(primary).run(
        async (sql) => {
          await sql`select pg_log_standby_snapshot() where not pg_is_in_recovery()`;
          return sql<{ slot: string }[]>`
            select slot_name::text as slot from pg_replication_slots where active`;
        },
        { timeoutMs: LOOK_MS_MAX },
      ),
    );
    return Array.isArray(rows) ? new Set(rows.map(({ slot }) => slot)) : undefined;
  }

  #tell({ from, to, state }: Feed): void {
    if (state.kind === 'flows' && !state.changed) return;
    const level = state.kind === 'flows' ? 'info' : 'warn';
    this.#log({ level, message: 'feed', from, to, ...state });
  }
}

function told(state: TakenBack) {
  if (state.kind !== 'taken_back') return state;
  return { ...state, from: formatLsn(state.from), to: formatLsn(state.to) };
}
