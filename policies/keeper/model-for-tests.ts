/**
 * Servers, links, clients and a keeper, as small as they can be while every lawful mistake is
 * possible: looks are stale, acts arrive late or after their keeper has died, a superseded primary
 * goes on taking writes, and what waited for a standby becomes visible at a restart.
 */

import type { BetweenSites, Commits } from '../policy.ts';
import { Random } from '../simulation/random.ts';
import { type Act, decide, depose, healthOf, type Outlook } from './decide.ts';
import type { NodeFacts, NodeState } from './judge-primary.ts';
import { planRelocation } from './plan-relocation.ts';
import { type KeeperRecord, type RecordChange, succeed } from './record.ts';

type Server = {
  name: string;
  process: 'runs' | 'frozen' | 'ended';
  role: 'primary' | 'replica';
  timeline: number;
  log: number[];
  waitsFor: string[];
  follows: string | undefined;
  heardAtMs: number;
};

type Waiting = { id: number; at: Server; timeline: number };
/** What a keeper does in a move, once commits wait for nobody else. */
type HandOver = { kind: 'hand_over'; node: string; heir: string };
type InFlight = { act: Act | HandOver; record: KeeperRecord; keeper: number; begun: boolean };

export type ModelOptions = {
  /** The site of each node; all at one by default. */
  sites?: Readonly<Record<string, string>>;
  betweenSites?: BetweenSites;
  /** By default a quorum where there are three nodes. */
  commits?: Commits;
  /** What a keeper that is wrong does instead. */
  mistake?: (act: Act) => Act;
};

const SYSTEM = 7n;

export class Model {
  readonly random: Random;
  readonly #mistake: (act: Act) => Act;
  readonly #sites: ReadonlyMap<string, string>;
  readonly #betweenSites: BetweenSites;
  /** Which keeper carries out the move that is pending. */
  #moving: number | undefined;
  readonly servers: Server[];
  readonly #cuts = new Set<string>();
  readonly acknowledged = new Set<number>();
  #waiting: Waiting[] = [];
  #inFlight: InFlight[] = [];
  /** Both what is written and how often it was changed, so that a lost update shows. */
  record: KeeperRecord;
  #keeper = 1;
  #keeperRuns = true;
  #facts = new Map<string, { state: NodeState; sinceMs: number }>();
  #streamedAtMs = new Map<string, number>();
  #confirmedAtMs = new Map<string, number>();
  #edgesHeardAtMs = 0;
  #before = 0;
  #nowMs = 0;
  #ids = 0;
  broken: string | undefined;
  promotions = 0;
  /** Primaries that an operator has moved to another site. */
  moves = 0;

  constructor(
    seed: number,
    names: readonly string[],
    {
      sites = {},
      betweenSites = 'order',
      commits = names.length > 2 ? 'quorum' : 'synchronous',
      mistake = (act) => act,
    }: ModelOptions = {},
  ) {
    this.random = new Random(seed);
    this.#mistake = mistake;
    this.#sites = new Map(names.map((name) => [name, sites[name] ?? 'one']));
    this.#betweenSites = betweenSites;
    const [first = '', ...others] = names;
    this.servers = names.map((name) => ({
      name,
      process: 'runs',
      role: name === first ? 'primary' : 'replica',
      timeline: 1,
      log: [],
      waitsFor: [...others],
      follows: name === first ? undefined : first,
      heardAtMs: 0,
    }));
    this.record = {
      version: 1,
      region: 'eu',
      systemId: String(SYSTEM),
      primary: first,
      timeline: 1,
      standbys: others,
      commits,
      pending: null,
      former: null,
      event: { kind: 'founded' },
      by: 'model',
      at: '',
    };
  }

  /** Something happens. */
  step(): void {
    const dice = this.random.below(100);
    if (dice < 12) this.#nowMs += this.random.between(20, 400);
    else if (dice < 30) this.#write();
    else if (dice < 46) this.#replicate();
    else if (dice < 56) this.#acknowledge();
    else if (dice < 70) this.#look();
    else if (dice < 84) this.#turn();
    else if (dice < 96) this.#arrive();
    else this.#fault();
    if (new Set(this.#sites.values()).size === 1) return;
    if (this.random.chance(0.05)) this.#order();
    this.#goOnMoving();
  }

  /** Everything that was broken is mended, and time passes; whether the region serves again. */
  heal(): boolean {
    this.#cuts.clear();
    this.#keeperRuns = true;
    this.#moving = undefined;
    for (let round = 0; round < 600; round++) {
      for (const server of this.servers) if (server.process === 'frozen') server.process = 'runs';
      this.#nowMs += 100;
      for (let i = 0; i < this.servers.length * 2; i++) {
        this.#replicate();
        this.#look();
      }
      this.#turn();
      this.#arrive();
      this.#write();
      this.#acknowledge();
    }
    const primary = this.#at(this.record.primary);
    return (
      this.record.pending === null &&
      this.record.standbys.length > 0 &&
      primary.role === 'primary' &&
      this.servers.filter(({ role }) => role === 'primary').length === 1
    );
  }

  #at(name: string): Server {
    const found = this.servers.find((server) => server.name === name);
    if (found === undefined) throw new RangeError(name);
    return found;
  }

  #some(): Server {
    return this.servers[this.random.below(this.servers.length)] as Server;
  }

  #linked(a: string, b: string): boolean {
    return !this.#cuts.has([a, b].sort().join());
  }

  #write(): void {
    const at = this.#some();
    if (at.role !== 'primary' || at.process !== 'runs' || !this.#linked('clients', at.name)) return;
    const id = ++this.#ids;
    at.log.push(id);
    this.#waiting.push({ id, at, timeline: at.timeline });
  }

  #streams(from: Server, to: Server): boolean {
    return (
      to.role === 'replica' &&
      to.process === 'runs' &&
      from.process === 'runs' &&
      to.follows === from.name &&
      this.#linked(from.name, to.name) &&
      to.timeline <= from.timeline &&
      to.log.every((id, index) => from.log[index] === id)
    );
  }

  #replicate(): void {
    const to = this.#some();
    if (to.follows === undefined) return;
    const from = this.#at(to.follows);
    if (!this.#streams(from, to)) return;
    to.heardAtMs = this.#nowMs;
    to.timeline = from.timeline;
    const missing = from.log.length - to.log.length;
    const upTo =
      to.log.length + (this.random.chance(0.7) ? missing : this.random.below(missing + 1));
    to.log = from.log.slice(0, upTo);
  }

  #acknowledge(): void {
    this.#waiting = this.#waiting.filter(({ id, at, timeline }) => {
      if (at.role !== 'primary' || at.timeline !== timeline) return false;
      if (at.process !== 'runs' || !this.#linked('clients', at.name)) return true;
      const isConfirmed =
        at.waitsFor.length === 0 ||
        at.waitsFor.some((name) => {
          const standby = this.#at(name);
          return this.#streams(at, standby) && standby.log.includes(id);
        });
      if (!isConfirmed) return true;
      this.acknowledged.add(id);
      const newest = this.servers
        .filter(({ role }) => role === 'primary')
        .reduce((a, b) => (b.timeline > a.timeline ? b : a), at);
      if (!newest.log.includes(id)) {
        this.broken ??= `${at.name} on timeline ${timeline} acknowledged ${id} while ${newest.name} writes timeline ${newest.timeline}`;
      }
      return false;
    });
  }

  #look(): void {
    if (!this.#keeperRuns) return;
    const { name } = this.#some();
    const state = this.#seen(this.#at(name));
    const before = this.#facts.get(name);
    const continues =
      before?.state.kind === state.kind &&
      (state.kind === 'silent' ||
        before.state.kind === 'silent' ||
        before.state.role === state.role);
    this.#facts.set(name, {
      state,
      sinceMs: continues && before !== undefined ? before.sinceMs : this.#nowMs,
    });
    if (name !== this.record.primary || state.kind !== 'seen') return;
    for (const server of this.servers) {
      const stream = state.streaming.find(({ node }) => node === server.name);
      if (stream !== undefined) this.#streamedAtMs.set(server.name, this.#nowMs);
      if (stream?.isLevel === true) this.#confirmedAtMs.set(server.name, this.#nowMs);
    }
  }

  #seen(server: Server): NodeState {
    if (server.process === 'ended') return { kind: 'silent', because: 'refused' };
    if (server.process === 'frozen' || !this.#linked('keeper', server.name)) {
      return { kind: 'silent', because: 'no_answer' };
    }
    const level = this.#before;
    if (server.name === this.record.primary) this.#before = server.log.length;
    return {
      kind: 'seen',
      role: server.role,
      systemId: SYSTEM,
      timeline: server.timeline,
      lsn: BigInt(server.log.length),
      commitsWaitFor: [...server.waitsFor],
      streaming: this.servers
        .filter((one) => this.#streams(server, one))
        .map((one) => ({ node: one.name, isLevel: one.log.length >= level })),
      heardMsAgo: server.follows === undefined ? undefined : this.#nowMs - server.heardAtMs,
      feedsReady: true,
    };
  }

  #outlook(): Outlook {
    const since = (times: ReadonlyMap<string, number>) =>
      new Map(
        this.servers.map(({ name }) => [name, this.#nowMs - (times.get(name) ?? this.#nowMs)]),
      );
    const primary = this.#at(this.record.primary);
    if (primary.process === 'runs' && this.#linked('clients', primary.name)) {
      this.#edgesHeardAtMs = this.#nowMs;
    }
    return {
      nodes: new Map(
        [...this.#facts].map(([node, { state, sinceMs }]): [string, NodeFacts] => [
          node,
          { node, state, forMs: this.#nowMs - sinceMs },
        ]),
      ),
      hearsay: { edgesMsAgo: this.#nowMs - this.#edgesHeardAtMs },
      unstreamedForMs: since(this.#streamedAtMs),
      unconfirmedForMs: since(this.#confirmedAtMs),
      processes: new Map(
        this.servers.map(({ name, process }) => [name, process === 'ended' ? 'ended' : 'runs']),
      ),
      busy: new Set(this.#inFlight.filter(({ keeper }) => keeper === this.#keeper).map(subjectOf)),
      hasStalled: false,
      commits: this.record.commits,
      sites: this.#sites,
      betweenSites: this.#betweenSites,
      isMoving: this.#moving === this.#keeper,
    };
  }

  /** An operator wants the primary elsewhere, if that loses nothing. */
  #order(): void {
    if (!this.#keeperRuns) return;
    const sites = [...new Set(this.#sites.values())];
    const site = sites[this.random.below(sites.length)] as string;
    const plan = planRelocation(this.record, this.#outlook(), site, undefined);
    if (plan.kind !== 'move') return;
    const event = { kind: 'move' as const, to: plan.to, by: 'model', site };
    this.#change(this.record, { pending: { kind: 'move', to: plan.to }, event });
    this.#moving = this.#keeper;
  }

  #goOnMoving(): void {
    const { pending, standbys, primary } = this.record;
    if (pending?.kind !== 'move' || this.#moving !== this.#keeper || !this.#keeperRuns) return;
    const [heir = ''] = standbys;
    const outlook = this.#outlook();
    if (standbys.length !== 1 || !pending.to.includes(heir) || outlook.busy.has(primary)) return;
    if (healthOf(this.record, outlook).kind !== 'serves') return;
    const event = { kind: 'switchover' as const, to: heir, by: 'model' };
    this.#change(this.record, { pending: { kind: 'switchover', to: heir }, event });
    const act: HandOver = { kind: 'hand_over', node: primary, heir };
    this.#inFlight.push({ act, record: this.record, keeper: this.#keeper, begun: false });
  }

  #turn(): void {
    if (!this.#keeperRuns) return;
    const step = decide(this.record, this.#outlook());
    if (step.kind === 'record') this.#change(this.record, step.change);
    if (step.kind === 'act') {
      const act = this.#mistake(step.act);
      this.#inFlight.push({ act, record: this.record, keeper: this.#keeper, begun: false });
    }
  }

  #change(record: KeeperRecord, change: RecordChange): void {
    // The compare-and-swap.
    if (record.version !== this.record.version) return;
    const { pending, primary } = record;
    const isElsewhere = this.#sites.get(change.primary ?? primary) !== this.#sites.get(primary);
    const isOrdered = pending?.kind === 'move' || pending?.kind === 'switchover';
    if (isElsewhere && !isOrdered && this.#betweenSites === 'order') {
      this.broken ??= `nobody has ordered ${primary} to be replaced by ${change.primary}`;
    }
    if (isElsewhere && isOrdered) this.moves++;
    this.record = succeed(record, change, { by: 'model', at: '' });
    // A look from before it says nothing of what it has changed.
    this.#facts.delete(this.record.primary);
  }

  /** An act reaches its server, also when the keeper that sent it has died meanwhile. */
  #arrive(): void {
    const index = this.random.below(Math.max(1, this.#inFlight.length));
    const [one] = this.#inFlight.splice(index, 1);
    if (one === undefined) return;
    const { act, record, keeper } = one;
    const isCurrent = keeper === this.#keeper && this.#keeperRuns;
    const node = this.#at(subjectOf(one));
    const isReached = node.process === 'runs' && this.#linked('keeper', node.name);
    switch (act.kind) {
      case 'promote':
        if (isReached && node.role === 'replica' && node.timeline === act.from.timeline) {
          this.#promote(node);
        }
        break;
      case 'detach':
        if (isReached) node.follows = undefined;
        break;
      case 'require':
        if (isReached) node.waitsFor = [...act.standbys];
        break;
      case 'require_proved':
        if (!isReached || node.role !== 'primary') break;
        node.waitsFor = [...act.standbys];
        // A commit now waits for one of them.
        if (!one.begun) {
          this.#inFlight.push({ ...one, begun: true });
          return;
        }
        if (
          isCurrent &&
          act.standbys.some((name) => {
            const standby = this.#at(name);
            return this.#streams(node, standby) && standby.log.length === node.log.length;
          })
        ) {
          this.#change(record, { standbys: act.standbys, event: act.event });
        }
        break;
      case 'hand_over':
        if (!isReached || node.role !== 'primary') break;
        // A gentle end: whoever streams gets all of it first.
        for (const server of this.servers) {
          if (this.#streams(node, server)) server.log = [...node.log];
        }
        node.process = 'ended';
        this.#waiting = this.#waiting.filter(({ at }) => at !== node);
        if (isCurrent) this.#change(record, depose(record, act.heir, '', { isClean: true }));
        break;
      case 'start':
        if (node.process === 'ended') node.process = 'runs';
        break;
      case 'follow':
        this.#follow(node, this.#at(act.primary), act.copy);
        break;
    }
    this.#facts.delete(node.name);
  }

  #promote(node: Server): void {
    this.promotions++;
    const lost = [...this.acknowledged].filter((id) => !node.log.includes(id));
    if (lost.length > 0) this.broken ??= `${node.name} is promoted without ${lost.join()}`;
    node.role = 'primary';
    node.timeline++;
    node.follows = undefined;
    node.waitsFor = [];
  }

  #follow(node: Server, primary: Server, copy: boolean): void {
    if (primary.process !== 'runs' || primary.role !== 'primary' || node === primary) return;
    const fits = node.log.every((id, index) => primary.log[index] === id);
    if (copy || !fits) node.log = [...primary.log];
    const lost = [...this.acknowledged].filter((id) => !primary.log.includes(id));
    if (lost.length > 0)
      this.broken ??= `${node.name} is made a copy of one without ${lost.join()}`;
    node.process = 'runs';
    node.role = 'replica';
    node.follows = primary.name;
    node.timeline = primary.timeline;
    node.waitsFor = [...primary.waitsFor];
  }

  #fault(): void {
    const server = this.#some();
    const others = ['keeper', 'clients', ...this.servers.map(({ name }) => name)];
    const other = others[this.random.below(others.length)] as string;
    const link = [server.name, other].sort().join();
    switch (this.random.below(7)) {
      case 0:
        server.process = 'ended';
        this.#waiting = this.#waiting.filter(({ at }) => at !== server);
        break;
      case 1:
        if (server.process === 'runs') server.process = 'frozen';
        break;
      case 2:
        if (server.process === 'frozen') server.process = 'runs';
        break;
      case 3:
        this.#cuts.add(link);
        break;
      case 4:
        this.#cuts.clear();
        break;
      case 5:
        this.#keeperRuns = !this.#keeperRuns;
        if (this.#keeperRuns) this.#keeper++;
        this.#facts.clear();
        this.#streamedAtMs.clear();
        this.#confirmedAtMs.clear();
        break;
      default:
        // Somebody at the machine starts it again as what its files say.
        if (server.process === 'ended' && this.random.chance(0.3)) server.process = 'runs';
    }
  }
}

function subjectOf({ act }: Pick<InFlight, 'act'>): string {
  return act.kind === 'require' || act.kind === 'require_proved' ? act.primary : act.node;
}
