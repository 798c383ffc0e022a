/**
 * How does one process keep a region's primary alive?
 *
 * It looks at every node four times a second, each in a loop of its own so that a silent one holds
 * up nobody, and takes one step at a time (`policies/keeper/decide.ts`). What is decided is in the
 * record before it is done. Long acts run beside the loop; while one is under way for a node, no
 * other is begun for it.
 */
import { setTimeout as pause } from 'node:timers/promises';
import {
  type Act,
  decide,
  depose,
  healthOf,
  type Outlook,
  type Step,
} from '../../policies/keeper/decide.ts';
import {
  type NodeFacts,
  type NodeState,
  type PrimaryHealth,
  STALL_MS,
} from '../../policies/keeper/judge-primary.ts';
import { type LastSeen, planRelocation } from '../../policies/keeper/plan-relocation.ts';
import {
  type AcceptedLoss,
  isAlone,
  type KeeperEvent,
  type KeeperRecord,
  type RecordChange,
  succeed,
} from '../../policies/keeper/record.ts';
import type { BetweenSites, Commits } from '../../policies/policy.ts';
import { type Region, type RegionId, type SiteId, siteOf } from '../../regions/catalogue.ts';
import { formatLsn, type Lsn } from '../../regions/position.ts';
import type { Look, OwnServers } from './own-servers.ts';
import type { RecordStore } from './record-store.ts';
import { refused, type StewardOutcome } from './steward.ts';
import { handOver } from './switchover.ts';

export type KeeperOptions = {
  region: Region;
  store: RecordStore;
  servers: OwnServers;
  /** How long ago an edge of the region heard from this node, ms; undefined when none answers. */
  edgesHeardMsAgo: (node: string) => Promise<number | undefined>;
  commits: Commits;
  /** Which loss the policy accepts; with asynchronous commits only. */
  possibleLoss?: string | undefined;
  betweenSites: BetweenSites;
  /** Why the primary may not go to this site; undefined where it may. */
  refuseSite: (site: SiteId) => string | undefined;
  /** Called when a node has become the primary, until it resolves with true. */
  onPrimary?: (node: string) => Promise<boolean>;
  /** Called before a node is promoted whose predecessor did not end in good order. */
  onTakeover?: (node: string) => Promise<void>;
  /**
   * Called when a node takes over that may lack something: before it is promoted, and afterwards
   * until it resolves with the peers whose mirrors have to begin anew. Undefined: not all is done.
   */
  onLoss?: (
    node: string,
    when: 'before_promotion' | 'after_promotion',
  ) => Promise<readonly RegionId[] | undefined>;
  /** Monotonic milliseconds. */
  now: () => number;
  /** The time of day as ISO 8601, for the history. */
  at: () => string;
  /** Names this process in the history. */
  name: string;
  log: (line: Record<string, unknown>) => void;
};

export type KeeperStatus = {
  region: string;
  record: KeeperRecord | undefined;
  isAlone: boolean;
  primary: PrimaryHealth | undefined;
  /** Why nothing is done although something is wrong. */
  why: string | undefined;
  nodes: {
    node: string;
    site: SiteId;
    says: string;
    forMs: number;
    underWay: string | undefined;
  }[];
};

export type KeeperFigures = {
  /** What this process has recorded, by the kind of event. */
  recorded: ReadonlyMap<string, number>;
  /** Acts that did not succeed, by their kind. */
  notDone: ReadonlyMap<string, number>;
  /** Of every node that was looked at; 0 for one that answers. */
  silentForMs: ReadonlyMap<string, number>;
};

export type RelocationOrder = {
  site: SiteId;
  by: string;
  /** Why what is lost may be lost; undefined: nobody answers for a loss. */
  acceptLoss: string | undefined;
};

const LOOK_EVERY_MS = 250;
const TICK_MS = 100;
/** After an act that did not succeed, so that a machine that refuses is not asked all the time. */
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 10_000;

export class Keeper {
  readonly #options: KeeperOptions;
  readonly #nodes = new Map<string, NodeFacts & { sinceMs: number; askedAtMs: number }>();
  /** What was seen of a node before this moment was seen before the last change. */
  readonly #changedAtMs = new Map<string, number>();
  /** Ends the pause of the loop that looks at a node. */
  readonly #lookNow = new Map<string, () => void>();
  readonly #streamedAtMs = new Map<string, number>();
  readonly #confirmedAtMs = new Map<string, number>();
  /** What is being done for a node, or was tried so recently that it is not tried again yet. */
  readonly #underWay = new Map<string, string>();
  readonly #retryMs = new Map<string, number>();
  readonly #recorded = new Map<string, number>();
  readonly #notDone = new Map<string, number>();
  #primaryLookMs = Number.NEGATIVE_INFINITY;
  #edges: { node: string; heardAtMs: number } | undefined;
  #processes: ReadonlyMap<string, 'runs' | 'ended'> = new Map();
  #record: KeeperRecord | undefined;
  #why: string | undefined;
  #said = '';
  #turning: Promise<void> | undefined;
  #again = false;
  #ending = false;
  #loops: Promise<void>[] = [];
  #ticker: NodeJS.Timeout | undefined;
  #tickedAtMs = 0;
  #stalledUntilMs = Number.NEGATIVE_INFINITY;
  #follows: string | undefined;
  /** Before this node was promoted from that timeline. */
  #endedFeeds: { node: string; before: number; peers: readonly RegionId[] } | undefined;
  /** This process carries out the move that is pending. */
  #isMoving = false;
  #lastSeen: { node: string; lsn: Lsn; atMs: number } | undefined;

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  /** @throws DamagedRecord when the memory of this region cannot be read. */
  async start(): Promise<void> {
    const { store, now, region } = this.#options;
    this.#record = await store.read();
    this.#tickedAtMs = now();
    this.#ticker = setInterval(() => this.#tick(), TICK_MS);
    this.#loops = region.nodes.map(({ name }) => this.#watch(name));
  }

  async stop(): Promise<void> {
    this.#ending = true;
    clearInterval(this.#ticker);
    await Promise.all(this.#loops);
    await this.#turning;
    await this.#options.servers.close();
  }

  /** As written, not as remembered: whoever asks knows what was decided before the question. */
  async primary(): Promise<KeeperRecord | undefined> {
    return this.#options.store.read();
  }

  status(): KeeperStatus {
    const { region, now } = this.#options;
    const record = this.#record;
    return {
      region: region.id,
      record,
      isAlone: record !== undefined && isAlone(record),
      primary: record && healthOf(record, this.#outlook()),
      why: this.#why,
      nodes: region.nodes.map(({ name }) => {
        const facts = this.#nodes.get(name);
        return {
          node: name,
          site: siteOf(region, name) ?? region.id,
          says: facts === undefined ? 'nothing yet' : wordsFor(facts.state),
          forMs: facts === undefined ? 0 : Math.round(now() - facts.sinceMs),
          underWay: this.#underWay.get(name),
        };
      }),
    };
  }

  figures(): KeeperFigures {
    const nowMs = this.#options.now();
    return {
      recorded: this.#recorded,
      notDone: this.#notDone,
      silentForMs: new Map(
        [...this.#nodes.values()].map(({ node, state, sinceMs }) => [
          node,
          state.kind === 'silent' ? nowMs - sinceMs : 0,
        ]),
      ),
    };
  }

  /** Moves the primary to a standby, both being well. Resolves when the new one takes writes. */
  async switchover(to: string | undefined, by: string): Promise<StewardOutcome> {
    const record = this.#record;
    if (record === undefined) return refused('nothing is known of the region yet');
    if (record.pending !== null) return refused(`a ${record.pending.kind} is under way already`);
    const health = healthOf(record, this.#outlook());
    if (health.kind !== 'serves') return refused(`${record.primary} does not serve`);
    const lawful = this.#heirs(record);
    const heir = to ?? lawful[0];
    if (heir === undefined)
      return refused(`${record.primary} runs alone: no standby has all it has`);
    if (!lawful.includes(heir)) {
      const named = lawful.join(', ') || 'nobody';
      return refused(`commits do not wait for ${heir}; who may take over: ${named}`);
    }
    const { standbys } = record;
    return standbys.length === 1 && standbys[0] === heir
      ? this.#handOver(record, heir, by)
      : this.#move(record, [heir], { by });
  }

  /** Moves the primary to another site of its region, living or not. */
  async relocate({ site, by, acceptLoss }: RelocationOrder): Promise<StewardOutcome> {
    const refusal = this.#options.refuseSite(site);
    if (refusal !== undefined) return refused(refusal);
    const untilMs = this.#options.now() + DOUBT_MS_MAX;
    for (;;) {
      const record = this.#record;
      if (record === undefined) return refused('nothing is known of the region yet');
      const plan = planRelocation(record, this.#outlook(), site, this.#lastSeenOf(record.primary));
      switch (plan.kind) {
        case 'refuse':
          return refused(plan.why);
        case 'wait':
          if (this.#options.now() >= untilMs) return refused(plan.why);
          await pause(LOOK_EVERY_MS);
          continue;
        case 'move':
          return this.#move(record, plan.to, { by, site });
        case 'loss': {
          const { node, because, mayLack } = plan;
          if (acceptLoss === undefined) {
            return refused(
              `${node} may lack what was acknowledged: ${mayLack}. Bring the old site back, or say --accept-loss, and --why for the record`,
            );
          }
          const loss = { by, why: `${acceptLoss} (${mayLack})` };
          return this.#deposeWithLoss(record, node, because, loss);
        }
      }
    }
  }

  /** Has commits wait for one of these alone, so that it has everything, and lets it take over. */
  async #move(
    record: KeeperRecord,
    to: readonly string[],
    { by, site }: { by: string; site?: SiteId },
  ): Promise<StewardOutcome> {
    if (this.#isMoving) return refused('a move is under way already');
    const { now } = this.#options;
    this.#isMoving = true;
    try {
      const event: KeeperEvent = { kind: 'move', to, by, ...(site !== undefined && { site }) };
      const begun = await this.#write(record, { pending: { kind: 'move', to }, event });
      if (begun === undefined) return refused('another keeper has written the record meanwhile');
      const untilMs = now() + MOVE_MS_MAX;
      while (now() < untilMs && !this.#ending) {
        this.#wake();
        await pause(TICK_MS / 4);
        const current = this.#record;
        if (current === undefined) continue;
        if (current.pending?.kind !== 'move') {
          // The primary was lost on the way, and a successor was chosen as ever.
          if (to.includes(current.primary)) return await this.#promoted(current.primary);
          return refused(`${current.primary} has become the primary meanwhile`);
        }
        const [heir] = current.standbys;
        const isSettled = current.standbys.length === 1 && heir !== undefined && to.includes(heir);
        const serves = healthOf(current, this.#outlook()).kind === 'serves';
        if (isSettled && serves && !this.#underWay.has(current.primary)) {
          return await this.#handOver(current, heir, by);
        }
      }
      const because = `${to.join(' and ')} had not everything within ${MOVE_MS_MAX / 1_000} s`;
      const current = this.#record;
      if (current?.pending?.kind === 'move') {
        await this.#write(current, { pending: null, event: { kind: 'called_off', because } });
      }
      return refused(because);
    } finally {
      this.#isMoving = false;
      this.#wake();
    }
  }

  /** To the only standby that commits wait for. */
  async #handOver(record: KeeperRecord, heir: string, by: string): Promise<StewardOutcome> {
    const { primary } = record;
    if (this.#underWay.has(primary)) return refused('something is done to the primary now');
    this.#underWay.set(primary, `hands over to ${heir}`);
    try {
      const begun = await this.#write(record, {
        pending: { kind: 'switchover', to: heir },
        event: { kind: 'switchover', to: heir, by },
      });
      if (begun === undefined) return refused('another keeper has written the record meanwhile');
      const handed = await handOver(this.#options.servers, { primary, heir });
      if (handed.kind === 'done') {
        const because = `a switchover to ${heir}, asked for by ${by}`;
        await this.#write(begun, depose(begun, heir, because, { isClean: true }));
        return await this.#promoted(heir);
      }
      const { why } = handed;
      if (handed.kind === 'refused') {
        await this.#write(begun, { pending: null, event: { kind: 'called_off', because: why } });
      }
      return handed;
    } finally {
      this.#underWay.delete(primary);
      this.#wake();
    }
  }

  /** Promotes a standby that may lack what was acknowledged, because somebody answers for it. */
  async acceptLoss(node: string, by: string, why: string): Promise<StewardOutcome> {
    const record = this.#record;
    if (record === undefined) return refused('nothing is known of the region yet');
    const health = healthOf(record, this.#outlook());
    if (health.kind === 'serves') {
      return refused(`${record.primary} serves; to move the primary without loss use switchover`);
    }
    if (health.kind === 'hidden') {
      return refused(
        `${record.primary} lives: ${health.heardBy} hears it, only this keeper does not`,
      );
    }
    const state = this.#nodes.get(node)?.state;
    if (state?.kind !== 'seen' || state.role !== 'replica') {
      return refused(`${node} is no standby that answers`);
    }
    if (state.timeline !== record.timeline) {
      return refused(
        `${node} is on timeline ${state.timeline}, the region is on ${record.timeline}: promoted, it would give another history the same number`,
      );
    }
    const because = `${health.kind === 'gone' ? health.why : 'an operator says so'}`;
    return this.#deposeWithLoss(record, node, because, { by, why });
  }

  async #deposeWithLoss(
    record: KeeperRecord,
    node: string,
    because: string,
    loss: AcceptedLoss,
  ): Promise<StewardOutcome> {
    const written = await this.#write(record, depose(record, node, because, { loss }));
    if (written === undefined) return refused('another keeper has written the record meanwhile');
    return this.#promoted(node);
  }

  /** Who may take over while the primary serves, those at its own site first. */
  #heirs(record: KeeperRecord): string[] {
    const { region } = this.#options;
    const { primary, standbys, commits } = record;
    const isNear = (node: string) => siteOf(region, node) === siteOf(region, primary);
    const state = this.#nodes.get(primary)?.state;
    const streaming = state?.kind === 'seen' ? state.streaming.map(({ node }) => node) : [];
    const lawful = commits === 'asynchronous' ? streaming.filter(isNear) : standbys;
    return [...lawful].sort((a, b) => Number(isNear(b)) - Number(isNear(a)));
  }

  #lastSeenOf(node: string): LastSeen | undefined {
    const seen = this.#lastSeen;
    if (seen?.node !== node) return undefined;
    return { lsn: seen.lsn, msAgo: this.#options.now() - seen.atMs };
  }

  /** Resolves when the record says that this node writes. */
  async #promoted(node: string): Promise<StewardOutcome> {
    const { now } = this.#options;
    const untilMs = now() + PROMOTED_MS_MAX;
    while (now() < untilMs && !this.#ending) {
      this.#wake();
      await pause(TICK_MS / 4);
      const record = this.#record;
      if (record?.primary === node && record.pending === null) return { kind: 'done' };
    }
    return { kind: 'unknown', why: `${node} is to be promoted, and has not said so yet` };
  }

  async #watch(node: string): Promise<void> {
    const { servers, now } = this.#options;
    while (!this.#ending) {
      const startedAtMs = now();
      this.#take(node, await servers.look(node));
      this.#wake();
      if ((this.#changedAtMs.get(node) ?? 0) > startedAtMs) continue;
      const woken = Promise.withResolvers<void>();
      this.#lookNow.set(node, woken.resolve);
      await Promise.race([woken.promise, pause(LOOK_EVERY_MS - (now() - startedAtMs))]);
    }
  }

  #take(node: string, { state, askedAtMs }: Look): void {
    const before = this.#nodes.get(node);
    const continues =
      before !== undefined &&
      before.state.kind === state.kind &&
      (state.kind === 'silent' ||
        before.state.kind === 'silent' ||
        before.state.role === state.role);
    const sinceMs = continues ? before.sinceMs : askedAtMs;
    this.#nodes.set(node, { node, state, sinceMs, askedAtMs, forMs: 0 });
    if (node !== this.#record?.primary || state.kind !== 'seen' || state.role !== 'primary') return;
    this.#lastSeen = { node, lsn: state.lsn, atMs: askedAtMs };
    // Nobody can tell what happened while the primary was not looked at.
    const knows = askedAtMs - this.#primaryLookMs < 4 * LOOK_EVERY_MS;
    this.#primaryLookMs = askedAtMs;
    for (const { name } of this.#options.region.nodes) {
      const stream = state.streaming.find((one) => one.node === name);
      if (stream !== undefined || !knows) this.#streamedAtMs.set(name, askedAtMs);
      if (stream?.isLevel === true || !knows) this.#confirmedAtMs.set(name, askedAtMs);
    }
  }

  /** A process that slept has heard nothing for as long, whatever the others did. */
  #tick(): void {
    const nowMs = this.#options.now();
    const lateMs = nowMs - this.#tickedAtMs - TICK_MS;
    this.#tickedAtMs = nowMs;
    if (lateMs < STALL_MS) return;
    this.#stalledUntilMs = nowMs + LOOK_EVERY_MS * 2;
    this.#primaryLookMs = Number.NEGATIVE_INFINITY;
    for (const facts of this.#nodes.values()) facts.sinceMs = nowMs;
  }

  #outlook(): Outlook {
    const { region, now, commits, possibleLoss, betweenSites } = this.#options;
    const nowMs = now();
    const since = (times: ReadonlyMap<string, number>) =>
      new Map(region.nodes.map(({ name }) => [name, nowMs - (times.get(name) ?? nowMs)]));
    const primary = this.#record?.primary;
    const edges = this.#edges;
    return {
      nodes: new Map(
        [...this.#nodes.values()].map(({ node, state, sinceMs }) => [
          node,
          { node, state, forMs: nowMs - sinceMs },
        ]),
      ),
      hearsay: {
        edgesMsAgo:
          edges === undefined || edges.node !== primary ? undefined : nowMs - edges.heardAtMs,
      },
      unstreamedForMs: since(this.#streamedAtMs),
      unconfirmedForMs: since(this.#confirmedAtMs),
      processes: this.#processes,
      busy: new Set([
        ...this.#underWay.keys(),
        ...[...this.#nodes.values()]
          .filter(({ node, askedAtMs }) => askedAtMs < (this.#changedAtMs.get(node) ?? 0))
          .map(({ node }) => node),
      ]),
      hasStalled: nowMs < this.#stalledUntilMs,
      commits,
      ...(possibleLoss !== undefined && { possibleLoss }),
      sites: new Map(region.nodes.map(({ name, site }) => [name, site ?? region.id])),
      betweenSites,
      isMoving: this.#isMoving,
    };
  }

  #wake(): void {
    if (this.#ending) return;
    if (this.#turning !== undefined) {
      this.#again = true;
      return;
    }
    this.#turning = this.#turn()
      .catch((error: unknown) => {
        this.#why = error instanceof Error ? error.message : String(error);
        this.#options.log({ level: 'error', message: 'a keeper cannot go on', why: this.#why });
      })
      .finally(() => {
        this.#turning = undefined;
        if (!this.#again) return;
        this.#again = false;
        this.#wake();
      });
  }

  async #turn(): Promise<void> {
    const record = this.#record ?? (await this.#found());
    if (record === undefined) return;
    this.#follow(record);
    await this.#askOthers(record);
    // An act by what was decided before would tell a server what the record no longer says.
    if (this.#record !== record) {
      this.#again = true;
      return;
    }
    const step = decide(record, this.#outlook());
    this.#tell(step, record);
    switch (step.kind) {
      case 'rest':
        return;
      case 'record':
        await this.#write(record, step.change);
        this.#again = true;
        return;
      case 'act':
        this.#perform(step.act, record);
    }
  }

  /** Edges and machines are asked only when somebody is silent. */
  async #askOthers(record: KeeperRecord): Promise<void> {
    const { edgesHeardMsAgo, servers, now } = this.#options;
    const silent = [...this.#nodes.values()].filter(({ state }) => state.kind === 'silent');
    if (silent.length === 0) return;
    const isPrimary = silent.some(({ node }) => node === record.primary);
    const [msAgo, processes] = await Promise.all([
      isPrimary ? edgesHeardMsAgo(record.primary) : undefined,
      servers.processes(),
    ]);
    this.#edges =
      msAgo === undefined ? undefined : { node: record.primary, heardAtMs: now() - msAgo };
    this.#processes = processes;
  }

  /** The first version is written when every node was seen and exactly one is a primary. */
  async #found(): Promise<KeeperRecord | undefined> {
    const { region, store, name, at, commits } = this.#options;
    const states = region.nodes.map((node) => ({
      node: node.name,
      state: this.#nodes.get(node.name)?.state,
    }));
    const primaries = states.flatMap(({ node, state }) =>
      state?.kind === 'seen' && state.role === 'primary' ? [{ node, state }] : [],
    );
    const [only] = primaries;
    const unseen = states.filter(({ state }) => state?.kind !== 'seen').map(({ node }) => node);
    if (only === undefined || primaries.length > 1 || unseen.length > 0) {
      this.#why =
        unseen.length > 0
          ? `there is no record yet, and ${unseen.join(', ')} was not seen`
          : `there is no record yet, and ${primaries.length} nodes say that they are the primary`;
      return undefined;
    }
    const { node, state } = only;
    const known = region.nodes.map((one) => one.name);
    const standbys = state.commitsWaitFor.filter((one) => known.includes(one));
    const first: KeeperRecord = {
      version: 1,
      region: region.id,
      systemId: String(state.systemId),
      primary: node,
      timeline: state.timeline,
      standbys: commits === 'asynchronous' ? [] : standbys,
      commits,
      pending: null,
      former: null,
      event: { kind: 'founded' },
      by: name,
      at: at(),
    };
    const isMine = await store.write(first);
    if (isMine) countOne(this.#recorded, first.event.kind);
    this.#record = isMine ? first : await store.read();
    return this.#record;
  }

  /** Undefined when somebody else has written meanwhile; what they wrote is what holds. */
  async #write(record: KeeperRecord, change: RecordChange): Promise<KeeperRecord | undefined> {
    const { store, name, at, log } = this.#options;
    const next = succeed(record, change, { by: name, at: at() });
    const isMine = this.#record?.version === record.version && (await store.write(next));
    if (!isMine) {
      this.#record = await store.read();
      log({
        level: 'warn',
        message: 'another keeper has written the record',
        version: next.version,
      });
      return undefined;
    }
    this.#record = next;
    countOne(this.#recorded, next.event.kind);
    this.#changed(next.primary);
    const { primary, timeline, standbys, pending, event } = next;
    log({
      level: 'info',
      message: 'record',
      version: next.version,
      primary,
      timeline,
      standbys,
      pending,
      event,
    });
    return next;
  }

  #perform(act: Act, record: KeeperRecord): void {
    const node = act.kind === 'require' || act.kind === 'require_proved' ? act.primary : act.node;
    this.#underWay.set(node, act.kind);
    const { log } = this.#options;
    log({ level: 'info', message: 'act', act });
    void this.#do(act)
      .then(async (outcome) => {
        if (outcome.kind !== 'done') return this.#later(node, act, outcome.why);
        this.#retryMs.delete(node);
        if (act.kind === 'require_proved') {
          await this.#write(record, { standbys: act.standbys, event: act.event });
        }
      })
      .catch((error: unknown) => this.#later(node, act, String(error)))
      .finally(() => {
        this.#underWay.delete(node);
        this.#changed(node);
        this.#wake();
      });
  }

  /** Nothing is done about a node before it was looked at again. */
  #changed(node: string): void {
    this.#changedAtMs.set(node, this.#options.now());
    this.#lookNow.get(node)?.();
  }

  #do(act: Act): Promise<StewardOutcome> {
    const { servers } = this.#options;
    switch (act.kind) {
      case 'promote':
        return this.#promote(act);
      case 'detach':
        return servers.detach(act.node);
      case 'require':
        return servers.require(act.primary, act.standbys, { proved: false });
      case 'require_proved':
        return servers.require(act.primary, act.standbys, { proved: true });
      case 'start':
        return servers.start(act.node);
      case 'follow':
        return servers.follow(act.node, act.primary, act);
    }
  }

  /** As long as the node is a standby it takes nothing from where the old primary was. */
  async #promote({ node, from }: Extract<Act, { kind: 'promote' }>): Promise<StewardOutcome> {
    const { onLoss, onTakeover, servers, log } = this.#options;
    if (this.#record?.feedsAreUnsure === true && onLoss !== undefined) {
      const ended = await onLoss(node, 'before_promotion').catch((error: unknown) => {
        log({ level: 'warn', message: 'mirrors are not ended yet', why: String(error) });
        return undefined;
      });
      this.#endedFeeds = ended && { node, before: from.timeline, peers: ended };
    } else if (this.#record?.former?.isClean !== true && onTakeover !== undefined) {
      await onTakeover(node).catch((error: unknown) => {
        log({ level: 'warn', message: 'places are not looked at', why: String(error) });
      });
    }
    return servers.promote(node, from);
  }

  /** Whether nothing flows any more that may have a hole. */
  async #endFeeds(primary: string): Promise<boolean> {
    const { onLoss } = this.#options;
    const known = this.#endedFeeds;
    if (onLoss === undefined || this.#record?.feedsAreUnsure !== true) return true;
    const peers =
      known?.node === primary && known.before < this.#record.timeline
        ? known.peers
        : await onLoss(primary, 'after_promotion');
    const record = this.#record;
    if (peers === undefined || record.primary !== primary || record.pending !== null) return false;
    const event = { kind: 'feeds_ended', peers } as const;
    return (await this.#write(record, { feedsAreUnsure: false, event })) !== undefined;
  }

  /** Keeps the node busy for a while. */
  async #later(node: string, act: Act, why: string): Promise<void> {
    countOne(this.#notDone, act.kind);
    const pauseMs = this.#retryMs.get(node) ?? RETRY_MS_MIN;
    this.#retryMs.set(node, Math.min(RETRY_MS_MAX, pauseMs * 2));
    this.#options.log({ level: 'warn', message: 'act not done', act: act.kind, node, why });
    this.#underWay.set(node, `${act.kind} again soon: ${why}`);
    // A promotion is what everybody waits for.
    await pause(act.kind === 'promote' ? TICK_MS : pauseMs);
  }

  /** What else has to know who the primary is, is told until it has heard. */
  #follow({ primary, pending, timeline }: KeeperRecord): void {
    const { onPrimary, log } = this.#options;
    const name = `${primary} ${timeline}`;
    if (onPrimary === undefined || pending !== null || this.#follows === name) return;
    this.#follows = name;
    void (async () => {
      while (!this.#ending && this.#follows === name) {
        const isDone = await Promise.all([this.#endFeeds(primary), onPrimary(primary)]).catch(
          (error: unknown) => {
            log({ level: 'warn', message: 'feeds do not follow yet', why: String(error) });
            return [false];
          },
        );
        if (isDone.every(Boolean)) return;
        await pause(RETRY_MS_MIN);
      }
    })();
  }

  /** Once for each thing that there is to say. */
  #tell(step: Step, { primary }: KeeperRecord): void {
    if (step.kind !== 'rest') return;
    const { health, why } = step;
    this.#why = why ?? (health.kind === 'serves' ? undefined : wordsOf(health));
    const said = `${health.kind} ${why ?? ''}`;
    if (said === this.#said) return;
    this.#said = said;
    this.#options.log({ level: 'info', message: 'primary', node: primary, health, why });
  }
}

/** The longest patience with a silent primary, and a look. */
const DOUBT_MS_MAX = 5_000;
/** Three steps, each with a commit that has to be confirmed from afar, and failed attempts at them. */
const MOVE_MS_MAX = 30_000;
/** From the record of a promotion to a server that takes writes. */
const PROMOTED_MS_MAX = 15_000;

function countOne(counts: Map<string, number>, kind: string): void {
  counts.set(kind, (counts.get(kind) ?? 0) + 1);
}

function wordsFor(state: NodeState): string {
  if (state.kind === 'silent') return `nothing (${state.because.replaceAll('_', ' ')})`;
  return `${state.role} on timeline ${state.timeline} at ${formatLsn(state.lsn)}`;
}

function wordsOf(health: Exclude<PrimaryHealth, { kind: 'serves' }>): string {
  return health.kind === 'hidden'
    ? `only this keeper does not hear it: ${health.heardBy} does`
    : health.why;
}
