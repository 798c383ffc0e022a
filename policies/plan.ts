/**
 * Which steps lead from what the clusters hold to what the policy wants, and in which order?
 *
 * Pure. Narrowing comes before widening: edges stop serving a copy, then it stops travelling, then
 * it goes; only then is the new version put in force, and only then does anything new travel. What
 * arrives needs its table first, so subscribers come before publishers when something opens and
 * publishers before subscribers when something closes. A cut-off apply is not continued from a list:
 * whoever resumes it plans again from what there is, so every state in between leads here, too.
 *
 * A table that is to travel in other columns, other rows or another shape is never altered in
 * place: it is closed, emptied, filled anew and opened again, because a changed row filter neither
 * removes what it no longer lets out nor brings what it newly lets out.
 */
import type { Catalogue, RegionId } from '../regions/catalogue.ts';
import {
  type ClusterName,
  compareStates,
  type Difference,
  definitionOf,
  normalText,
  type Of,
  objectOf,
  ofKind,
  type States,
  type Thing,
  withoutPasswords,
} from './cluster-state.ts';
import {
  airlocksOf,
  connectionName,
  FEED_ROLE,
  mirrorSchema,
  mirrorView,
  peerRole,
  publicationOut,
  publicationTo,
  subjectTables,
  subscriptionFrom,
  subscriptionHome,
} from './desired-state.ts';
import type { Policy } from './policy.ts';

/** In the order of an apply. Each phase ends everywhere before the next one begins. */
export const PHASES = [
  'record',
  'close',
  'enforce',
  'stop sending',
  'stop passing on',
  'forget',
  'erase',
  'put in force',
  'make tables',
  'prepare airlocks',
  'send',
  'fill airlocks',
  'pass on',
  'fill peers',
  'open',
] as const;
export type Phase = (typeof PHASES)[number];

export type Step = {
  phase: Phase;
  cluster: ClusterName;
  object: string;
  kind: 'create' | 'change' | 'drop';
  direction: 'narrow' | 'widen' | 'neutral';
  words: string;
  action: Action;
};

export type Action =
  /** One transaction with its neighbours. */
  | { do: 'sql'; statements: readonly string[] }
  /** Each statement for itself: PostgreSQL refuses these in a transaction. */
  | { do: 'lone sql'; statements: readonly string[] }
  | { do: 'create role'; role: string; attributes: readonly string[] }
  /** On a replica, too, which may have slots of its own. */
  | { do: 'drop slot'; slot: string; replica: string | undefined }
  /** Waits until the reader of a slot has everything that was written before this step. */
  | { do: 'await slot'; slot: string }
  /** Lets a subscription look again at its publication; `empty` makes room for what it will copy. */
  | { do: 'follow'; subscription: string; empty: readonly string[]; create: string | undefined }
  /** Waits until a subscription has copied all its tables. */
  | { do: 'await copies'; subscription: string }
  /** Gives every edge the time to see that something was closed. */
  | { do: 'await edges' }
  /** Notes since when nothing can be queried, and then works on the bytes. */
  | { do: 'withdraw'; what: readonly string[] }
  | { do: 'erase'; what: readonly string[] }
  | { do: 'record version' }
  | { do: 'put in force' };

export type PlanInput = {
  policy: Policy;
  catalogue: Catalogue;
  wanted: States;
  found: States;
  /** Tables that a subscription is still copying. */
  pending: ReadonlyMap<ClusterName, readonly { subscription: string; table: string }[]>;
  /** What each region has recorded of policy versions. */
  versions: ReadonlyMap<RegionId, RecordedVersions>;
  /** Whether this text is the one that a region has recorded for this version. */
  sameText: (region: RegionId) => boolean;
  /** Subscriptions that are to begin anew though nothing is wrong with them, by `connectionName`. */
  anew: ReadonlySet<string>;
  /** Withdrawn and not yet proven to be off the disk, by the cluster that held it. */
  remains: ReadonlyMap<ClusterName, readonly string[]>;
};

export type RecordedVersions = {
  /** The greatest version in force; undefined before the first. */
  inForce: number | undefined;
  /** All recorded ones. */
  recorded: readonly number[];
};

export type Plan = {
  version: number;
  /** The greatest version in force in any region. */
  inForce: number | undefined;
  steps: readonly Step[];
  differences: readonly Difference[];
  /** Why this plan cannot be applied; empty when it can. */
  refusals: readonly Refusal[];
};

export type Refusal = { kind: 'undeclared table'; cluster: ClusterName; words: string };

export function plan(input: PlanInput): Plan {
  const planner = new Planner(input);
  const differences = compareStates(input.wanted, input.found);
  planner.narrow();
  planner.force();
  planner.widen();
  const rank = new Map(PHASES.map((phase, index) => [phase, index]));
  const steps = planner.steps
    .map((step, index) => ({ step, index }))
    .sort(
      (a, b) => (rank.get(a.step.phase) ?? 0) - (rank.get(b.step.phase) ?? 0) || a.index - b.index,
    )
    .map(({ step }) => step);
  return {
    version: input.policy.version,
    inForce: highest([...input.versions.values()].map(({ inForce }) => inForce)),
    steps,
    differences,
    refusals: planner.refusals,
  };
}

/** One way from a publisher to a subscriber. */
type Hop = {
  /** Of the data. */
  home: RegionId;
  from: ClusterName;
  to: ClusterName;
  publication: string;
  subscription: string;
  slot: string;
  /** The first hop; undefined for it. */
  before: Hop | undefined;
};

/** Options that can be changed without losing or repeating a row. */
const CHANGEABLE = /^(enabled|disabled|synchronous_commit .*)$/;
/** What makes a role dangerous, taken from those that nobody declared. */
const HARMLESS = 'nosuperuser noreplication nobypassrls nocreaterole';

class Planner {
  readonly steps: Step[] = [];
  readonly refusals: Refusal[] = [];
  readonly #input: PlanInput;
  /** As it will be after the steps so far. */
  readonly #now: Map<ClusterName, Map<string, Thing>>;
  readonly #hops: readonly Hop[];
  /** Tables that have to be copied anew, by hop and name at the subscriber. */
  readonly #refill = new Map<Hop, Set<string>>();

  constructor(input: PlanInput) {
    this.#input = input;
    this.#now = new Map(
      [...input.wanted.keys()].map((cluster) => [cluster, new Map(input.found.get(cluster))]),
    );
    this.#hops = hopsOf(input.catalogue);
    for (const hop of this.#hops) this.#refill.set(hop, this.#tablesToRefill(hop));
  }

  narrow(): void {
    this.#closeOpenings();
    for (const cluster of this.#input.wanted.keys()) this.#enforce(cluster);
    for (const hop of this.#hops) this.#mend(hop);
    for (const hop of this.#hops) this.#stopTravel(hop);
    for (const cluster of this.#input.wanted.keys()) this.#dropSubscriptions(cluster);
    for (const cluster of this.#input.wanted.keys()) this.#dropPublications(cluster);
    for (const cluster of this.#input.wanted.keys()) this.#dropSlots(cluster);
    for (const hop of this.#hops) this.#unfollow(hop);
    for (const cluster of this.#input.wanted.keys()) this.#forget(cluster);
    for (const [cluster, what] of this.#input.remains) {
      this.#erase(cluster, what);
    }
  }

  /** The version is recorded everywhere before anything changes, and in force before it widens. */
  force(): void {
    const { versions, policy, sameText } = this.#input;
    for (const [region, { inForce, recorded }] of versions) {
      const object = `policy version ${policy.version}`;
      if (!recorded.includes(policy.version) || !sameText(region)) {
        this.#step('record', region, object, 'create', 'neutral', {
          words: `record policy version ${policy.version} in ${region}`,
          action: { do: 'record version' },
        });
      }
      if (inForce !== policy.version) {
        this.#step('put in force', region, object, 'change', 'neutral', {
          words: `put policy version ${policy.version} in force in ${region}${inForce === undefined ? '' : ` in place of version ${inForce}`}`,
          action: { do: 'put in force' },
        });
      }
    }
  }

  widen(): void {
    const { wanted, catalogue } = this.#input;
    for (const cluster of wanted.keys()) {
      const isPrivate = catalogue.regions.has(cluster);
      this.#createBasics(cluster, isPrivate ? 'make tables' : 'prepare airlocks');
    }
    for (const hop of this.#hops) this.#startTravel(hop);
    for (const hop of this.#hops) this.#follow(hop);
    for (const cluster of catalogue.regions.keys()) {
      for (const opening of this.#missing(cluster, 'opening')) {
        this.#create('open', cluster, opening, 'widen', {
          words: `let edges of ${cluster} read ${opening.name} of ${opening.home} there`,
          statements: [
            `insert into domicile.openings (name, home) values (${literal(opening.name)}, ${literal(opening.home)}) on conflict do nothing`,
          ],
        });
      }
    }
  }

  #closeOpenings(): void {
    const { catalogue } = this.#input;
    let closed = false;
    for (const cluster of catalogue.regions.keys()) {
      for (const opening of ofKind(this.#now.get(cluster), 'opening')) {
        const { name, home } = opening;
        const wanted = this.#wants(cluster, opening);
        if (wanted && !this.#isRefilled(cluster, opening)) continue;
        closed = true;
        this.#drop('close', cluster, opening, {
          words: `stop edges of ${cluster} from reading ${name} of ${home} there${wanted ? ' while it is filled anew' : ''}`,
          statements: [
            `delete from domicile.openings where name = ${literal(name)} and home = ${literal(home)}`,
          ],
        });
      }
    }
    // Whoever was cut off after closing may not have waited.
    const leaves = this.#hops.some((hop) =>
      this.#followedBy(hop).some((table) => this.#leaves(hop, table)),
    );
    if (!closed && !leaves) return;
    const [first = ''] = catalogue.regions.keys();
    this.#step('close', first, 'edges', 'change', 'narrow', {
      words: 'wait until every edge has seen what is closed',
      action: { do: 'await edges' },
    });
  }

  /** Whether the table behind an opening is about to be emptied. */
  #isRefilled(cluster: ClusterName, { name, home }: Of<'opening'>): boolean {
    const { catalogue, policy } = this.#input;
    if (!catalogue.regions.has(home)) return true;
    const hop = this.#hops.find((one) => one.to === cluster && one.home === home && one.before);
    if (hop === undefined) return true;
    const table = subjectTables(policy).find(({ mirrors }) =>
      mirrors.some((mirror) => mirror.as === name),
    );
    const arrives = table === undefined ? `app.${name}` : `${mirrorSchema(home)}.${table.name}`;
    return this.#refill.get(hop)?.has(arrives) === true;
  }

  /** Roles, rights and row rules that allow more than they should. */
  #enforce(cluster: ClusterName): void {
    const state = this.#now.get(cluster);
    for (const role of ofKind(state, 'role')) {
      const want = this.#wanted(cluster, role);
      if (want === undefined) {
        this.#drop('enforce', cluster, role, {
          words: `take ${role.attributes.filter((one) => one !== 'login').join(' and ')} from role ${role.name} in ${cluster}, which nobody declared`,
          statements: [`alter role ${quoted(role.name)} ${HARMLESS}`],
        });
      } else if (want.kind === 'role' && definitionOf(want) !== definitionOf(role)) {
        this.#change('enforce', cluster, want, 'narrow', {
          words: `make role ${role.name} in ${cluster} ${definitionOf(want)}, not ${definitionOf(role)}`,
          statements: [`alter role ${quoted(role.name)} ${attributesText(want.attributes)}`],
        });
      }
    }
    for (const membership of this.#rogue(cluster, 'membership')) {
      this.#drop('enforce', cluster, membership, {
        words: `take role ${membership.role} in ${cluster} out of ${membership.of}`,
        statements: [`revoke ${quoted(membership.of)} from ${quoted(membership.role)} cascade`],
      });
    }
    for (const setting of ofKind(state, 'setting')) {
      const want = this.#wanted(cluster, setting);
      if (want !== undefined) continue;
      this.#drop('enforce', cluster, setting, {
        words: `reset ${setting.name} of ${setting.role} in ${cluster}`,
        statements: settingStatements(setting, 'reset', this.#database(cluster)),
      });
    }
    for (const grant of this.#rogue(cluster, 'grant')) {
      this.#drop('enforce', cluster, grant, {
        words: `take ${grant.privilege} on ${grant.on} in ${cluster} from ${grant.to}`,
        statements: [revokeText(grant)],
      });
    }
    this.#enforceRows(cluster);
  }

  /** Row rules of the app's tables: new rows are judged by them from here on. */
  #enforceRows(cluster: ClusterName): void {
    const { wanted } = this.#input;
    for (const constraint of ofKind(wanted.get(cluster), 'constraint')) {
      const { table, name, check } = constraint;
      const have = this.#have(cluster, constraint);
      if (same(have, constraint)) continue;
      const remove = have === undefined ? [] : [`alter table ${table} drop constraint ${name}`];
      this.#put('enforce', cluster, constraint, have, 'narrow', {
        words: `let ${table} in ${cluster} hold rows of subjects at home there only`,
        statements: [
          ...remove,
          `alter table ${table} add constraint ${name} check (${check.sql}) not valid`,
        ],
      });
    }
    for (const policy of ofKind(wanted.get(cluster), 'row policy')) {
      const { table, name, using, check } = policy;
      const have = this.#have(cluster, policy);
      if (same(have, policy)) continue;
      const remove = have === undefined ? [] : [`drop policy ${quoted(name)} on ${table}`];
      this.#put('enforce', cluster, policy, have, 'narrow', {
        words: `let a request see and store rows of ${table} in ${cluster} of its own subject only`,
        statements: [
          ...remove,
          `create policy ${quoted(name)} on ${table} using (${using.sql}) with check (${check.sql})`,
        ],
      });
    }
    for (const policy of this.#rogue(cluster, 'row policy')) {
      this.#drop('enforce', cluster, policy, {
        words: `drop row policy ${policy.name} of ${policy.table} in ${cluster}, which nobody declared`,
        statements: [`drop policy ${quoted(policy.name)} on ${policy.table}`],
      });
    }
    for (const constraint of this.#rogue(cluster, 'constraint')) {
      this.#drop('enforce', cluster, constraint, {
        words: `drop constraint ${constraint.name} of ${constraint.table} in ${cluster}`,
        statements: [`alter table ${constraint.table} drop constraint ${quoted(constraint.name)}`],
      });
    }
    for (const security of ofKind(wanted.get(cluster), 'row security')) {
      const { table, enabled, forced } = security;
      const have = this.#have(cluster, security);
      if (same(have, security)) continue;
      this.#put('enforce', cluster, security, have, enabled ? 'narrow' : 'widen', {
        words: `make row security of ${table} in ${cluster} ${definitionOf(security)}`,
        statements: [
          `alter table ${table} ${enabled ? 'enable' : 'disable'} row level security, ${forced ? 'force' : 'no force'} row level security`,
        ],
      });
    }
  }

  /** A subscription that rests, or looks for its publisher in the wrong place, confirms nothing. */
  #mend(hop: Hop): void {
    const { to, subscription } = hop;
    const want = this.#input.wanted.get(to)?.get(`subscription ${subscription}`);
    const have = this.#now.get(to)?.get(`subscription ${subscription}`);
    if (want?.kind !== 'subscription' || have?.kind !== 'subscription') return;
    if (!this.#isUsable(hop) || same(have, want)) return;
    this.#step('enforce', to, objectOf(want), 'change', 'neutral', {
      words: `let subscription ${subscription} of ${to} be: ${withoutPasswords(definitionOf(want))}`,
      action: { do: 'lone sql', statements: alterSubscription(have, want) },
    });
    this.#puts(to, want);
  }

  #stopTravel(hop: Hop): void {
    const { from, publication, subscription, slot } = hop;
    const phase = hop.before === undefined ? 'stop sending' : 'stop passing on';
    let stopped = false;
    for (const line of ofKind(this.#now.get(from), 'published')) {
      if (line.publication !== publication) continue;
      // A subscription that begins anew copies everything, whatever was published before.
      const again = this.#isUsable(hop) && this.#isRefilledThrough(hop, line.table);
      if (same(line, this.#wanted(from, line)) && !again) continue;
      stopped = true;
      this.#drop(phase, from, line, {
        words: `stop ${line.table} from leaving ${from} for ${hop.to}`,
        statements: [`alter publication ${publication} drop table ${line.table}`],
      });
    }
    const follows = this.#followedBy(hop);
    const leaves = follows.some((table) => this.#leaves(hop, table));
    const slotThing = this.#now.get(from)?.get(`slot ${slot}`);
    const alive = slotThing?.kind === 'slot' && !/\blost\b/.test(slotThing.definition);
    const subscribed = this.#now.get(hop.to)?.has(`subscription ${subscription}`) === true;
    if ((stopped || leaves) && alive && subscribed && this.#isUsable(hop)) {
      this.#step(phase, from, `slot ${slot}`, 'change', 'narrow', {
        words: `wait until ${hop.to} has everything that ${from} sent before`,
        action: { do: 'await slot', slot },
      });
    }
  }

  /** Those that nobody declared, and those that cannot be mended. */
  #dropSubscriptions(cluster: ClusterName): void {
    for (const subscription of ofKind(this.#now.get(cluster), 'subscription')) {
      const hop = this.#hops.find(
        (one) => one.to === cluster && one.subscription === subscription.name,
      );
      if (hop !== undefined && this.#wants(cluster, subscription) && this.#isUsable(hop)) continue;
      const { name } = subscription;
      this.#drop('stop passing on', cluster, subscription, {
        words: `drop subscription ${name} of ${cluster}${hop === undefined ? ', which nobody declared' : ', which has to begin anew'}`,
        lone: [
          `alter subscription ${name} disable`,
          `alter subscription ${name} set (slot_name = none)`,
          `drop subscription ${name}`,
        ],
      });
      for (const followed of ofKind(this.#now.get(cluster), 'followed')) {
        if (followed.subscription === name) this.#takes(cluster, followed);
      }
    }
  }

  #dropPublications(cluster: ClusterName): void {
    const phase = 'stop sending';
    for (const publication of ofKind(this.#now.get(cluster), 'publication')) {
      const wanted = this.#wants(cluster, publication);
      if (wanted && !/all tables/.test(publication.options)) continue;
      this.#drop(phase, cluster, publication, {
        words: `drop publication ${publication.name} of ${cluster}, which ${wanted ? `carries ${publication.options}` : 'nobody declared'}`,
        statements: [`drop publication ${quoted(publication.name)}`],
      });
      for (const line of ofKind(this.#now.get(cluster), 'published')) {
        if (line.publication === publication.name) this.#takes(cluster, line);
      }
    }
    for (const line of this.#rogue(cluster, 'published')) {
      this.#drop(phase, cluster, line, {
        words: `stop ${line.table} from leaving ${cluster} in ${line.publication}`,
        statements: [`alter publication ${quoted(line.publication)} drop table ${line.table}`],
      });
    }
  }

  /** Of readers that nobody declared, or that were dropped just now. */
  #dropSlots(cluster: ClusterName): void {
    for (const slot of ofKind(this.#now.get(cluster), 'slot')) {
      const hop =
        slot.replica === undefined
          ? this.#hops.find((one) => one.from === cluster && one.slot === slot.name)
          : undefined;
      if (hop !== undefined && this.#subscribed(hop)) continue;
      this.#step('forget', cluster, objectOf(slot), 'drop', 'narrow', {
        words: `drop slot ${slot.name} of ${slot.replica ?? cluster}${hop === undefined ? ', which nobody declared' : ', which nobody reads any more'}`,
        action: { do: 'drop slot', slot: slot.name, replica: slot.replica },
      });
      this.#takes(cluster, slot);
    }
  }

  /** A subscription gives up the tables that no longer travel, before they go. */
  #unfollow(hop: Hop): void {
    const leaving = this.#followedBy(hop).filter((table) => this.#leaves(hop, table));
    if (leaving.length === 0 || !this.#subscribed(hop)) return;
    this.#step('forget', hop.to, `subscription ${hop.subscription}`, 'change', 'narrow', {
      words: `let ${hop.to} follow ${leaving.join(', ')} of ${hop.home} no more`,
      action: { do: 'follow', subscription: hop.subscription, create: undefined, empty: [] },
    });
    for (const table of leaving) {
      this.#takes(hop.to, { kind: 'followed', subscription: hop.subscription, table });
    }
  }

  /** Views, tables and schemas that are not wanted, or not in this form. */
  #forget(cluster: ClusterName): void {
    const { wanted, policy } = this.#input;
    const doomed = ofKind(this.#now.get(cluster), 'table').filter((table) =>
      this.#isDoomed(cluster, table),
    );
    const names = new Set(doomed.map(({ name }) => name));
    for (const view of ofKind(this.#now.get(cluster), 'view')) {
      const want = wanted.get(cluster)?.get(objectOf(view));
      if (want === undefined) {
        this.#drop('forget', cluster, view, {
          words: `drop view ${view.name} of ${cluster}`,
          statements: [`drop view ${view.name}`],
        });
        this.#takeGrants(cluster, view.name);
        continue;
      }
      const touched = [...names].some((name) => mentions(view, name));
      if (same(view, want) && !touched) continue;
      const mirror = subjectTables(policy)
        .flatMap(({ mirrors }) => mirrors)
        .find(({ as }) => `mirror.${as}` === view.name);
      if (mirror === undefined || want.kind !== 'view') continue;
      const kept = sourcesOf(want).filter(
        (source) => this.#now.get(cluster)?.has(`table ${source}`) === true && !names.has(source),
      );
      this.#replaceView('forget', cluster, mirrorView(mirror, kept), 'narrow');
    }
    const lost: string[] = [];
    for (const table of doomed) {
      // A part goes with its whole.
      if (typeof table.part === 'object' && names.has(table.part.of)) {
        this.#takeTable(cluster, table);
        lost.push(table.name);
        continue;
      }
      this.#drop('forget', cluster, table, {
        words: `drop ${table.name} of ${cluster} with its rows`,
        statements: [`drop table ${table.name}`],
      });
      this.#takeTable(cluster, table);
      lost.push(table.name);
    }
    for (const schema of this.#rogue(cluster, 'schema')) {
      this.#drop('forget', cluster, schema, {
        words: `drop schema ${schema.name} of ${cluster}`,
        statements: [`drop schema ${schema.name}`],
      });
    }
    const parents = new Set(doomed.filter(({ part }) => part === 'parent').map(({ name }) => name));
    const withdrawn = lost.filter((name) => !parents.has(name));
    if (withdrawn.length > 0) {
      this.#step('forget', cluster, 'withdrawals', 'create', 'narrow', {
        words: `note since when ${withdrawn.join(', ')} cannot be queried in ${cluster}`,
        action: { do: 'withdraw', what: withdrawn },
      });
      this.#erase(cluster, withdrawn);
    }
  }

  #erase(cluster: ClusterName, what: readonly string[]): void {
    if (what.length === 0) return;
    this.#step('erase', cluster, 'bytes on disk', 'drop', 'narrow', {
      words: `let the bytes of ${what.join(', ')} leave the disks of ${cluster}, and prove it`,
      action: { do: 'erase', what },
    });
  }

  /** A table goes when it is not wanted, has another shape, or held what it may no longer hold. */
  #isDoomed(cluster: ClusterName, table: Of<'table'>): boolean {
    const want = this.#wanted(cluster, table);
    const isPrivate = this.#input.catalogue.regions.has(cluster);
    const isMirror = table.name.startsWith('mirror_');
    if (isPrivate && !isMirror) {
      if (want === undefined) {
        this.refusals.push({
          kind: 'undeclared table',
          cluster,
          words: `${cluster}: the policy does not say whose ${table.name.replace(/^app\./, '')} is; declare it under "tables"`,
        });
      }
      return false;
    }
    if (want === undefined || !same(table, want)) return true;
    if (typeof table.part === 'object') {
      const whole = this.#input.found.get(cluster)?.get(`table ${table.part.of}`);
      if (whole?.kind === 'table' && this.#isDoomed(cluster, whole)) return true;
    }
    // In other columns or rows: the old ones must not wait in the same files.
    return this.#hops.some((hop) => {
      if (hop.to !== cluster) return false;
      const sent = this.#input.found
        .get(hop.from)
        ?.get(`${table.name} in publication ${hop.publication}`);
      const shall = this.#input.wanted
        .get(hop.from)
        ?.get(`${table.name} in publication ${hop.publication}`);
      const arrives = this.#input.wanted
        .get(cluster)
        ?.has(`${table.name} in subscription ${hop.subscription}`);
      return arrives === true && sent !== undefined && !same(sent, shall);
    });
  }

  /** Everything a cluster needs before rows can arrive or leave. */
  #createBasics(cluster: ClusterName, phase: Phase): void {
    const { wanted, catalogue } = this.#input;
    const isPrivate = catalogue.regions.has(cluster);
    for (const role of this.#missing(cluster, 'role')) {
      this.#step(phase, cluster, objectOf(role), 'create', 'widen', {
        words: `create role ${role.name} in ${cluster}`,
        action: { do: 'create role', role: role.name, attributes: role.attributes },
      });
      this.#puts(cluster, role);
    }
    for (const membership of this.#missing(cluster, 'membership')) {
      this.#create(phase, cluster, membership, 'widen', {
        words: `put role ${membership.role} of ${cluster} into ${membership.of}`,
        statements: [`grant ${membership.of} to ${membership.role}`],
      });
    }
    for (const setting of ofKind(wanted.get(cluster), 'setting')) {
      const have = this.#have(cluster, setting);
      if (same(have, setting)) continue;
      this.#put(phase, cluster, setting, have, 'neutral', {
        words: `set ${setting.name} of ${setting.role} in ${cluster}`,
        statements: settingStatements(setting, 'set', this.#database(cluster)),
      });
    }
    for (const schema of this.#missing(cluster, 'schema')) {
      this.#create(phase, cluster, schema, 'widen', {
        words: `create schema ${schema.name} in ${cluster}`,
        statements: [`create schema if not exists ${schema.name}`],
      });
    }
    for (const table of this.#missing(cluster, 'table')) {
      this.#create(phase, cluster, table, 'widen', {
        words: `create table ${table.name} in ${cluster}`,
        statements: [createTable(table, this.#keyOfPart(cluster, table.name))],
      });
    }
    for (const identity of ofKind(wanted.get(cluster), 'identity')) {
      const have = this.#have(cluster, identity);
      // A new table goes by its primary key.
      if (have === undefined && identity.columns === 'primary key') {
        this.#puts(cluster, identity);
        continue;
      }
      if (same(have, identity) || identity.columns === 'other') continue;
      this.#step(phase, cluster, objectOf(identity), 'change', 'neutral', {
        words: `let changes of ${identity.table} in ${cluster} carry ${definitionOf(identity)}`,
        action: { do: 'lone sql', statements: identityStatements(identity) },
      });
      this.#puts(cluster, identity);
    }
    for (const view of ofKind(wanted.get(cluster), 'view')) {
      if (!same(this.#have(cluster, view), view)) this.#replaceView(phase, cluster, view, 'widen');
    }
    for (const grant of this.#missing(cluster, 'grant')) {
      // What may leave is granted when it leaves.
      const leaves = isPrivate ? grant.to === FEED_ROLE : grant.to.startsWith(peerRole(''));
      this.#create(leaves ? (isPrivate ? 'send' : 'pass on') : phase, cluster, grant, 'widen', {
        words: `grant ${grant.privilege} on ${grant.on} in ${cluster} to ${grant.to}`,
        statements: [grantText(grant)],
      });
    }
  }

  /** What the one part of a partitioned table goes by. */
  #keyOfPart(cluster: ClusterName, table: string): readonly string[] {
    const parts = ofKind(this.#input.wanted.get(cluster), 'table').filter(
      ({ part }) => typeof part === 'object' && part.of === table,
    );
    return parts[0]?.primaryKey ?? [];
  }

  #replaceView(
    phase: Phase,
    cluster: ClusterName,
    view: Of<'view'>,
    direction: Step['direction'],
  ): void {
    const have = this.#have(cluster, view);
    const on = `table ${view.name}`;
    const grants = ofKind(this.#input.wanted.get(cluster), 'grant').filter((one) => one.on === on);
    this.#put(phase, cluster, view, have, direction, {
      words: `let ${view.name} in ${cluster} show ${view.columns.join(', ')} of ${sourcesOf(view).join(', ')}`,
      // Its columns may be fewer than before, which "or replace" refuses.
      statements: [
        `drop view if exists ${view.name}`,
        `create view ${view.name} as ${view.query.sql}`,
        ...grants.map(grantText),
      ],
    });
    for (const grant of grants) this.#puts(cluster, grant);
  }

  #startTravel(hop: Hop): void {
    const { from, to, publication } = hop;
    const phase = hop.before === undefined ? 'send' : 'pass on';
    const wanted = this.#input.wanted.get(from);
    const lines = ofKind(wanted, 'published').filter((line) => line.publication === publication);
    const want = wanted?.get(`publication ${publication}`);
    if (want?.kind !== 'publication') return;
    const have = this.#have(from, want);
    if (have === undefined) {
      this.#create(phase, from, want, 'widen', {
        words: `create publication ${publication} in ${from} for ${to}`,
        statements: [
          `create publication ${publication} for table ${lines.map(lineText).join(', ')} with (publish = 'insert, update, delete')`,
        ],
      });
      for (const line of lines) this.#puts(from, line);
      return;
    }
    if (!same(have, want)) {
      this.#change(phase, from, want, 'narrow', {
        words: `let publication ${publication} of ${from} carry inserts, updates and deletes only`,
        statements: [
          `alter publication ${publication} set (publish = 'insert, update, delete', publish_via_partition_root = false)`,
        ],
      });
    }
    for (const line of lines) {
      if (same(this.#have(from, line), line)) continue;
      this.#create(phase, from, line, 'widen', {
        words: `let ${line.table} leave ${from} for ${to}: ${definitionOf(line)}`,
        statements: [`alter publication ${publication} add table ${lineText(line)}`],
      });
    }
  }

  #follow(hop: Hop): void {
    const { to, from, subscription } = hop;
    const phase = hop.before === undefined ? 'fill airlocks' : 'fill peers';
    const want = this.#input.wanted.get(to)?.get(`subscription ${subscription}`);
    if (want?.kind !== 'subscription') return;
    const have = this.#have(to, want);
    const unfollowed = this.#unfollowed(hop);
    if (have === undefined || unfollowed.length > 0) {
      this.#step(phase, to, objectOf(want), have === undefined ? 'create' : 'change', 'widen', {
        words: `fill ${unfollowed.join(', ')} in ${to} from ${from}`,
        action: {
          do: 'follow',
          subscription,
          create: have === undefined ? createSubscription(want) : undefined,
          empty: unfollowed.map((table) => emptyText(hop, table)),
        },
      });
      this.#puts(to, want);
      for (const table of unfollowed) this.#puts(to, { kind: 'followed', subscription, table });
      const slot = this.#input.wanted.get(from)?.get(`slot ${hop.slot}`);
      if (slot !== undefined) this.#puts(from, slot);
    }
    const pending = this.#input.pending.get(to)?.some((one) => one.subscription === subscription);
    if (have === undefined || unfollowed.length > 0 || pending === true) {
      this.#step(phase, to, objectOf(want), 'change', 'widen', {
        words: `wait until ${to} has copied everything from ${from}`,
        action: { do: 'await copies', subscription },
      });
    }
  }

  #tablesToRefill(hop: Hop): Set<string> {
    const { found, wanted } = this.#input;
    const all = ofKind(wanted.get(hop.to), 'followed').filter(
      (one) => one.subscription === hop.subscription,
    );
    const refilled = hop.before === undefined ? undefined : this.#refill.get(hop.before);
    return new Set(
      all
        .filter((followed) => {
          const { table } = followed;
          const line = `${table} in publication ${hop.publication}`;
          const origin = hop.before === undefined ? undefined : this.#arrivesAs(hop.before, table);
          return (
            !this.#isUsable(hop) ||
            (origin !== undefined && refilled?.has(origin) === true) ||
            !same(found.get(hop.from)?.get(line), wanted.get(hop.from)?.get(line)) ||
            found.get(hop.to)?.has(objectOf(followed)) !== true ||
            this.#tablesBehind(hop.to, table).some(
              (one) => !same(found.get(hop.to)?.get(objectOf(one)), one),
            )
          );
        })
        .map(({ table }) => table),
    );
  }

  /** The name under which a table that leaves an airlock has arrived there. */
  #arrivesAs(first: Hop, table: string): string {
    const part = this.#input.wanted.get(first.to)?.get(`table ${table}`);
    return part?.kind === 'table' && typeof part.part === 'object' ? part.part.of : table;
  }

  /** The table that receives, and its parts. App tables of a private cluster stay as they are. */
  #tablesBehind(cluster: ClusterName, table: string): Of<'table'>[] {
    const isPrivate = this.#input.catalogue.regions.has(cluster);
    if (isPrivate && !table.startsWith('mirror_')) return [];
    return ofKind(this.#input.wanted.get(cluster), 'table').filter(
      (one) => one.name === table || (typeof one.part === 'object' && one.part.of === table),
    );
  }

  /** Whether what a subscription and its slot are can stay, apart from what is easily changed. */
  #isUsable(hop: Hop): boolean {
    const { found, wanted, anew } = this.#input;
    if (anew.has(connectionName(hop.to, hop.subscription))) return false;
    const have = found.get(hop.to)?.get(`subscription ${hop.subscription}`);
    const want = wanted.get(hop.to)?.get(`subscription ${hop.subscription}`);
    if (have?.kind !== 'subscription' || want?.kind !== 'subscription') return false;
    const slot = found.get(hop.from)?.get(`slot ${hop.slot}`);
    return (
      have.slot === want.slot &&
      have.publications.join() === want.publications.join() &&
      lasting(have.options) === lasting(want.options) &&
      same(slot, wanted.get(hop.from)?.get(`slot ${hop.slot}`))
    );
  }

  #isRefilledThrough(hop: Hop, table: string): boolean {
    return this.#refill.get(hop)?.has(table) === true;
  }

  #leaves(hop: Hop, table: string): boolean {
    const object = `${table} in subscription ${hop.subscription}`;
    return (
      this.#input.wanted.get(hop.to)?.has(object) !== true || this.#isRefilledThrough(hop, table)
    );
  }

  #subscribed(hop: Hop): boolean {
    return this.#now.get(hop.to)?.has(`subscription ${hop.subscription}`) === true;
  }

  #followedBy(hop: Hop): string[] {
    return ofKind(this.#now.get(hop.to), 'followed')
      .filter(({ subscription }) => subscription === hop.subscription)
      .map(({ table }) => table);
  }

  /** Published by now and not followed by now. */
  #unfollowed(hop: Hop): string[] {
    const followed = new Set(this.#followedBy(hop));
    return ofKind(this.#now.get(hop.from), 'published')
      .filter(({ publication }) => publication === hop.publication)
      .map(({ table }) => table)
      .filter((table) => !followed.has(table));
  }

  #wanted(cluster: ClusterName, thing: Thing): Thing | undefined {
    return this.#input.wanted.get(cluster)?.get(objectOf(thing));
  }

  #wants(cluster: ClusterName, thing: Thing): boolean {
    return this.#wanted(cluster, thing) !== undefined;
  }

  #have(cluster: ClusterName, thing: Thing): Thing | undefined {
    return this.#now.get(cluster)?.get(objectOf(thing));
  }

  /** There and not wanted. */
  #rogue<K extends Thing['kind']>(cluster: ClusterName, kind: K): Of<K>[] {
    return ofKind(this.#now.get(cluster), kind).filter((thing) => !this.#wants(cluster, thing));
  }

  /** Wanted and not there. */
  #missing<K extends Thing['kind']>(cluster: ClusterName, kind: K): Of<K>[] {
    return ofKind(this.#input.wanted.get(cluster), kind).filter(
      (thing) => this.#have(cluster, thing) === undefined,
    );
  }

  #database(cluster: ClusterName): string {
    const { regions } = this.#input.catalogue;
    const owner = [...regions.values()].find(
      ({ id }) =>
        id === cluster ||
        airlocksOf(id, this.#input.catalogue).some(({ name }) => name === cluster),
    );
    return owner?.database ?? '';
  }

  #takeGrants(cluster: ClusterName, relation: string): void {
    for (const grant of ofKind(this.#now.get(cluster), 'grant')) {
      if (grant.on === `table ${relation}`) this.#takes(cluster, grant);
    }
  }

  /** What goes with a table when it is dropped. */
  #takeTable(cluster: ClusterName, { name }: Of<'table'>): void {
    this.#takeGrants(cluster, name);
    for (const thing of this.#now.get(cluster)?.values() ?? []) {
      const goes =
        (thing.kind === 'table' && thing.name === name) ||
        ((thing.kind === 'identity' || thing.kind === 'published' || thing.kind === 'followed') &&
          thing.table === name);
      if (goes) this.#takes(cluster, thing);
    }
  }

  #puts(cluster: ClusterName, thing: Thing): void {
    this.#now.get(cluster)?.set(objectOf(thing), thing);
  }

  #takes(cluster: ClusterName, thing: Thing): void {
    this.#now.get(cluster)?.delete(objectOf(thing));
  }

  #step(
    phase: Phase,
    cluster: ClusterName,
    object: string,
    kind: Step['kind'],
    direction: Step['direction'],
    { words, action }: { words: string; action: Action },
  ): void {
    this.steps.push({ phase, cluster, object, kind, direction, words, action });
  }

  #create(
    phase: Phase,
    cluster: ClusterName,
    thing: Thing,
    direction: Step['direction'],
    how: { words: string; statements: readonly string[] },
  ): void {
    this.#put(phase, cluster, thing, undefined, direction, how);
  }

  #change(
    phase: Phase,
    cluster: ClusterName,
    thing: Thing,
    direction: Step['direction'],
    how: { words: string; statements: readonly string[] },
  ): void {
    this.#put(phase, cluster, thing, thing, direction, how);
  }

  #put(
    phase: Phase,
    cluster: ClusterName,
    thing: Thing,
    have: Thing | undefined,
    direction: Step['direction'],
    { words, statements }: { words: string; statements: readonly string[] },
  ): void {
    const kind = have === undefined ? 'create' : 'change';
    const action: Action = { do: 'sql', statements };
    this.#step(phase, cluster, objectOf(thing), kind, direction, { words, action });
    this.#puts(cluster, thing);
  }

  #drop(
    phase: Phase,
    cluster: ClusterName,
    thing: Thing,
    how: { words: string; statements?: readonly string[]; lone?: readonly string[] },
  ): void {
    const action: Action =
      how.lone === undefined
        ? { do: 'sql', statements: how.statements ?? [] }
        : { do: 'lone sql', statements: how.lone };
    const { words } = how;
    this.#step(phase, cluster, objectOf(thing), 'drop', 'narrow', { words, action });
    this.#takes(cluster, thing);
  }
}

/** First hops before the second ones that depend on them. */
function hopsOf(catalogue: Catalogue): Hop[] {
  const first: Hop[] = [];
  const second: Hop[] = [];
  for (const home of catalogue.regions.keys()) {
    for (const airlock of airlocksOf(home, catalogue)) {
      const name = subscriptionHome(airlock.name);
      const hop: Hop = {
        home,
        from: home,
        to: airlock.name,
        publication: publicationOut(airlock.name),
        subscription: name,
        slot: name,
        before: undefined,
      };
      first.push(hop);
      for (const peer of airlock.peers) {
        const publication = publicationTo(peer);
        second.push({
          home,
          from: airlock.name,
          to: peer,
          publication,
          subscription: subscriptionFrom(home),
          slot: publication,
          before: hop,
        });
      }
    }
  }
  return [...first, ...second];
}

function same(a: Thing | undefined, b: Thing | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return definitionOf(a) === definitionOf(b);
}

function lasting(options: string): string {
  return options
    .split(', ')
    .filter((option) => !CHANGEABLE.test(option))
    .join(', ');
}

function sourcesOf({ query }: Of<'view'>): string[] {
  return [...query.sql.matchAll(/ from (\S+)/g)].map(([, source = '']) => source);
}

function mentions({ query }: Of<'view'>, table: string): boolean {
  return ` ${normalText(query)} `.replaceAll(/[;(),]/g, ' ').includes(` ${table} `);
}

/** The router's own tables, and the column that says whose row it is. */
const OWN: Readonly<Record<string, string>> = {
  'domicile.directory': 'home',
  'domicile.pulses': 'region',
  'domicile.anchors': 'region',
};

/** Makes room at the subscriber for a copy, and touches no row of another home. */
function emptyText({ to, home, before }: Hop, table: string): string {
  if (before === undefined || table.startsWith('mirror_')) return `truncate ${table}`;
  const own = OWN[table];
  if (own !== undefined) return `delete from ${table} where ${own} = ${literal(home)}`;
  if (!table.startsWith('app.')) throw new RangeError(`${table} in ${to} is not to be emptied`);
  // Other tables may refer to it, so it cannot be truncated.
  return `delete from ${table}`;
}

function createTable(
  { name, columns, primaryKey, part }: Of<'table'>,
  keyOfPart: readonly string[],
): string {
  const list = columns.map((one) => `${one.name} ${one.type}${one.notNull ? ' not null' : ''}`);
  const key = `primary key (${primaryKey.join(', ')})`;
  if (part === 'parent') {
    return `create table if not exists ${name} (${list.join(', ')}) partition by hash (${keyOfPart.join(', ')})`;
  }
  if (part !== undefined) {
    return `create table if not exists ${name} partition of ${part.of} (${key}) for values with (modulus 1, remainder 0)`;
  }
  return `create table if not exists ${name} (${[...list, key].join(', ')})`;
}

/**
 * Built beside the writes of the app, and under a new name: the old index carries changes until the
 * new one is there. One that was cut off while it was built is invalid and begins anew.
 */
function identityStatements({ table, columns }: Of<'identity'>): string[] {
  const [schema = '', name = ''] = table.split('.');
  const prefix = `domicile_identity_${name}`;
  const index = typeof columns === 'string' ? '' : identityIndex(name, columns);
  const make =
    typeof columns === 'string'
      ? [`alter table ${table} replica identity default`]
      : [
          `do $$ begin if exists (select from pg_index where indexrelid = to_regclass('${schema}.${index}') and not indisvalid) then drop index ${schema}.${index}; end if; end $$`,
          `create unique index concurrently if not exists ${index} on ${table} (${columns.join(', ')})`,
          `alter table ${table} replica identity using index ${index}`,
        ];
  return [
    ...make,
    `do $$ declare old text; begin for old in select i.indexrelid::regclass::text from pg_index i join pg_class c on c.oid = i.indexrelid where i.indrelid = '${table}'::regclass and not i.indisreplident and starts_with(c.relname, '${prefix}_') and c.relname <> '${index}' loop execute 'drop index ' || old; end loop; end $$`,
  ];
}

/** PostgreSQL would cut a longer name, and then not find it. */
const IDENTIFIER_BYTES_MAX = 63;

function identityIndex(table: string, columns: readonly string[]): string {
  const whole = `domicile_identity_${table}_${columns.join('_')}`;
  if (whole.length <= IDENTIFIER_BYTES_MAX) return whole;
  // Unlike names of one beginning must stay unlike.
  let sum = 0;
  for (const char of whole) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 1_000_000_007;
  return `domicile_identity_${table.slice(0, 30)}_${sum.toString(36)}`;
}

function lineText({ table, columns, where }: Of<'published'>): string {
  const filter = where === undefined ? '' : ` where (${where.sql})`;
  return `${table} (${columns?.join(', ')})${filter}`;
}

function createSubscription(want: Of<'subscription'>): string {
  const { name, connection, publications, slot, options } = want;
  return `create subscription ${name} connection ${literal(connection)} publication ${publications.join(', ')} with (slot_name = ${slot}, ${withOptions(options)})`;
}

function alterSubscription(have: Of<'subscription'>, want: Of<'subscription'>): string[] {
  const { name, connection, options } = want;
  const statements: string[] = [];
  if (have.connection !== connection) {
    statements.push(`alter subscription ${name} connection ${literal(connection)}`);
  }
  const commit = /synchronous_commit (\w+)/.exec(options)?.[1];
  if (have.options !== options) {
    statements.push(`alter subscription ${name} set (synchronous_commit = ${commit})`);
    statements.push(`alter subscription ${name} enable`);
  }
  return statements;
}

function withOptions(options: string): string {
  return options
    .split(', ')
    .flatMap((option) => {
      const [key = '', value] = option.split(' ');
      if (key === 'enabled') return [];
      return [value === undefined ? `${key} = true` : `${key} = '${value}'`];
    })
    .join(', ');
}

function settingStatements(
  { role, name, value }: Of<'setting'>,
  verb: 'set' | 'reset',
  database: string,
): string[] {
  if (verb === 'set') return [`alter role ${role} in database ${database} set ${name} = ${value}`];
  const whose = role === 'everybody' ? 'all' : quoted(role);
  return [
    `alter role ${whose} in database ${database} reset ${quoted(name)}`,
    `alter role ${whose} reset ${quoted(name)}`,
    ...(role === 'everybody' ? [`alter database ${database} reset ${quoted(name)}`] : []),
  ];
}

const ATTRIBUTES = ['login', 'superuser', 'replication', 'bypassrls', 'createrole', 'createdb'];

export function attributesText(attributes: readonly string[]): string {
  return ATTRIBUTES.map((one) => (attributes.includes(one) ? one : `no${one}`)).join(' ');
}

function grantText({ privilege, on, to }: Of<'grant'>): string {
  return `grant ${privilege} on ${on} to ${to === 'public' ? to : quoted(to)}`;
}

function revokeText({ privilege, on, to }: Of<'grant'>): string {
  const [right = ''] = privilege.split(' with ');
  const column = /^column (\S+) of (\S+)$/.exec(on);
  const what =
    column === null ? `${right} on ${on}` : `${right} (${column[1]}) on table ${column[2]}`;
  return `revoke ${what} from ${to === 'public' ? to : quoted(to)} cascade`;
}

function highest(versions: readonly (number | undefined)[]): number | undefined {
  const known = versions.filter((version) => version !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

/** Names that others made may need quotes; ours do not, and look better without. */
function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
