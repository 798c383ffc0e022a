/**
 * How does a plan become so, whatever happens on the way?
 *
 * One operator at a time, step by step, each step repeatable. Nothing remembers how far it came: an
 * apply that was cut off is resumed by planning again from what there is. After the last step the
 * world is looked at once more, and only an empty plan counts as applied.
 */
import { setTimeout as pause } from 'node:timers/promises';
import type { ClusterName } from '../policies/cluster-state.ts';
import { FEED_ROLE, peerRole } from '../policies/desired-state.ts';
import { attributesText, PHASES, type Plan, type Step } from '../policies/plan.ts';
import type { Policy } from '../policies/policy.ts';
import type { RegionId } from '../regions/catalogue.ts';
import { DatabaseError, verbatim } from '../regions/postgres.ts';
import { ApplyLock, type Holder } from './apply-lock.ts';
import { awaitSlot, CONFIRM_MS_MAX, untilTrue } from './await-slot.ts';
import { type Effects, measureEffects } from './data-effects.ts';
import { dropSlot } from './drop-slot.ts';
import { eraseBytes } from './erase-bytes.ts';
import { observeWorld, sha256, type WorldView } from './observe-world.ts';
import { type Operator, OperatorError, Session, STATEMENT_MS_MAX } from './operator.ts';
import { edgePassword, feedPassword, peerPassword } from './password-names.ts';

export type ApplyOptions = {
  operator: Operator;
  policy: Policy;
  /** The policy file as written. */
  text: string;
  /** `YYYY-MM-DD`; undefined: the date of the servers. */
  today: string | undefined;
  /** Who applies it, for the record. */
  by: string;
  /** The hash of the plan that somebody agreed to; any plan when undefined. */
  agreed?: string;
  /** Subscriptions to fill anew though nothing is wrong with them, by `connectionName`. */
  anew?: ReadonlySet<string>;
  /** How long edges may go on serving from what was closed: until their next look at it. */
  edgesNoticeMs: number;
  /** False: when every step has been done, that is the end. */
  lookAgain?: boolean;
  report: (step: string) => void;
  signal?: AbortSignal;
};

export type Applied =
  | { kind: 'applied'; version: number; steps: number; view: WorldView }
  | { kind: 'refused'; because: readonly string[] }
  /** Some steps are done and some are not; the command can be run again. */
  | { kind: 'stopped'; done: readonly RegionId[]; failures: readonly Failed[] };

export type Failed = { cluster: ClusterName; step: string; why: string };

/** A step may leave the next plan something to do, such as a slot that was busy. */
const ROUNDS_MAX = 4;
/** A table's first copy takes its time. */
export const COPY_MS_MAX = 600_000;
/** DDL that waits for one long transaction makes everybody behind it wait, so it waits in turns. */
const LOCK_MS_MAX = 2_000;
const LOCK_TURNS_MAX = 15;
const DATE = /^\d{4}-\d{2}-\d{2}$/;

export type Preview = { view: WorldView; effects: Effects; refusals: readonly string[] };

/** What an apply would do, and why it would not. Changes nothing. */
export async function preview(
  session: Session,
  options: Pick<ApplyOptions, 'policy' | 'text' | 'today' | 'anew'>,
  measure: 'subjects' | 'rows, too' = 'rows, too',
): Promise<Preview> {
  const view = await observeWorld(session, options.policy, options.text, options.anew);
  const effects = await measureEffects(session, options.policy, view, measure);
  const refusals = [
    ...(await versionRefusals(session, options, view)),
    ...view.plan.refusals.map(({ words }) => words),
    ...effects.refusals,
  ];
  return { view, effects, refusals };
}

export async function applyPolicy(options: ApplyOptions): Promise<Applied> {
  const session = new Session(options.operator);
  const lock = new ApplyLock(session);
  try {
    const busy = await lock.take({ by: options.by, version: options.policy.version });
    if (busy !== undefined) return { kind: 'refused', because: [busyText(busy)] };
    return await new Application(session, lock, options).run();
  } finally {
    await lock.release();
    await session.close();
  }
}

/** For whoever has the lock already. */
export function applyPolicyHolding(
  session: Session,
  lock: ApplyLock,
  options: ApplyOptions,
): Promise<Applied> {
  return new Application(session, lock, options).run();
}

class Application {
  readonly #session: Session;
  readonly #lock: ApplyLock;
  readonly #options: ApplyOptions;

  constructor(session: Session, lock: ApplyLock, options: ApplyOptions) {
    this.#session = session;
    this.#lock = lock;
    this.#options = options;
  }

  async run(): Promise<Applied> {
    const { policy, agreed, report } = this.#options;
    let done = 0;
    for (let round = 1; ; round++) {
      // What was filled anew in the first round is not to be in the second.
      const { anew: _anew, ...later } = this.#options;
      const { view, refusals } = await preview(
        this.#session,
        round === 1 ? this.#options : later,
        'subjects',
      );
      if (round === 1 && agreed !== undefined && agreed !== view.hash) {
        const resumes = this.#lock.resumes(agreed);
        if (!resumes) return { kind: 'refused', because: [STALE] };
      }
      if (refusals.length > 0) return { kind: 'refused', because: refusals };
      if (view.plan.steps.length === 0) {
        return { kind: 'applied', version: policy.version, steps: done, view };
      }
      if (round > ROUNDS_MAX) {
        const failures = view.plan.steps.map(({ cluster, words }) => ({
          cluster,
          step: words,
          why: 'is still to be done after every attempt',
        }));
        return { kind: 'stopped', done: [], failures };
      }
      await this.#lock.announce(agreed ?? view.hash);
      report(`${view.plan.steps.length} steps to policy version ${policy.version}`);
      const failures = await this.#carryOut(view.plan);
      if (failures.length > 0) {
        const failed = new Set(failures.map(({ cluster }) => this.#session.regionOf(cluster)));
        const regions = [...this.#options.operator.catalogue.regions.keys()];
        return { kind: 'stopped', done: regions.filter((id) => !failed.has(id)), failures };
      }
      done += view.plan.steps.length;
      if (this.#options.lookAgain === false) {
        return { kind: 'applied', version: policy.version, steps: done, view };
      }
      // Bytes that cannot be proven to be gone now are asked about the next time.
      if (view.plan.steps.every(({ action }) => action.do === 'erase')) {
        return { kind: 'applied', version: policy.version, steps: done, view };
      }
    }
  }

  async #carryOut({ steps }: Plan): Promise<Failed[]> {
    for (const phase of PHASES) {
      const these = steps.filter((step) => step.phase === phase);
      if (these.length === 0) continue;
      this.#options.signal?.throwIfAborted();
      await this.#lock.say(phase);
      const lanes = Map.groupBy(these, laneOf);
      const outcomes = await Promise.all([...lanes.values()].map((lane) => this.#inOrder(lane)));
      const failures = outcomes.filter((failure) => failure !== undefined);
      if (failures.length > 0) return failures;
    }
    return [];
  }

  /** The first failure ends what is to be done in this cluster; the others go on to the phase's end. */
  async #inOrder(steps: readonly Step[]): Promise<Failed | undefined> {
    for (const group of grouped(steps)) {
      const [first] = group;
      if (first === undefined) continue;
      try {
        this.#options.signal?.throwIfAborted();
        await this.#do(group);
        for (const { words } of group) this.#options.report(words);
      } catch (error) {
        if (!(error instanceof DatabaseError) && !(error instanceof OperatorError)) throw error;
        return { cluster: first.cluster, step: first.words, why: error.message };
      }
    }
    return undefined;
  }

  async #do(group: readonly Step[]): Promise<void> {
    const [step] = group;
    if (step === undefined) return;
    const { cluster, action } = step;
    switch (action.do) {
      case 'sql': {
        const statements = group.flatMap((one) =>
          one.action.do === 'sql' ? one.action.statements : [],
        );
        return this.#transaction(cluster, statements);
      }
      case 'lone sql':
        for (const statement of action.statements) await this.#lone(cluster, statement);
        return;
      case 'create role':
        return this.#createRole(cluster, action.role, action.attributes);
      case 'drop slot':
        return this.#dropSlot(cluster, action.slot, action.replica);
      case 'await slot':
        return awaitSlot(this.#session, cluster, action.slot, this.#options.signal);
      case 'follow':
        if (action.empty.length > 0) await this.#transaction(cluster, action.empty);
        return this.#lone(
          cluster,
          action.create ?? `alter subscription ${action.subscription} refresh publication`,
        );
      case 'await copies':
        return this.#awaitCopies(cluster, action.subscription);
      case 'await edges':
        await pause(this.#options.edgesNoticeMs, undefined, this.#abortable());
        return;
      case 'withdraw':
        return this.#withdraw(cluster, action.what);
      case 'erase': {
        const remains = await eraseBytes(this.#session, cluster, action.what);
        if (remains !== undefined) this.#options.report(`${cluster}: ${remains}`);
        return;
      }
      case 'record version':
        return this.#recordVersion(cluster);
      case 'put in force':
        return this.#session.transaction(cluster, async (sql) => {
          await this.#lock.hold(sql, cluster);
          await sql`
            update domicile.policies set in_force_at = now()
            where version = ${this.#options.policy.version} and in_force_at is null`;
        });
    }
  }

  /** All or nothing, and only while this operator holds the region. */
  async #transaction(cluster: ClusterName, statements: readonly string[]): Promise<void> {
    for (let turn = 1; ; turn++) {
      try {
        return await this.#session.transaction(cluster, async (sql) => {
          await sql(verbatim(`set local lock_timeout = ${LOCK_MS_MAX}`));
          await this.#lock.hold(sql, cluster);
          for (const statement of statements) await sql(verbatim(statement));
        });
      } catch (error) {
        if (turn >= LOCK_TURNS_MAX || !isBusy(error)) throw error;
      }
    }
  }

  async #lone(cluster: ClusterName, statement: string): Promise<void> {
    await this.#session.on(cluster, (sql) => sql(verbatim(statement)), COPY_MS_MAX);
  }

  async #createRole(
    cluster: ClusterName,
    role: string,
    attributes: readonly string[],
  ): Promise<void> {
    const secret = this.#secretOf(cluster, role);
    await this.#transaction(cluster, [
      `create role ${role} ${attributesText(attributes)} password '${secret}'`,
    ]);
  }

  #secretOf(cluster: ClusterName, role: string): string {
    const { password, catalogue } = this.#options.operator;
    const region = this.#session.regionOf(cluster);
    if (role === FEED_ROLE) return password(feedPassword(region));
    for (const peer of catalogue.regions.keys()) {
      if (role === peerRole(peer)) return password(peerPassword(region, peer));
    }
    return password(edgePassword(region));
  }

  /** Its reader may still hold it for a moment. */
  async #dropSlot(cluster: ClusterName, slot: string, replica: string | undefined): Promise<void> {
    const server = replica ?? (await this.#session.nodeOf(cluster)).name;
    await untilTrue(
      `slot ${slot} of ${server} stays in use`,
      CONFIRM_MS_MAX,
      this.#options.signal,
      () =>
        this.#session
          .node(server)
          .run((sql) => dropSlot(sql, slot), { timeoutMs: STATEMENT_MS_MAX }),
    );
  }

  async #awaitCopies(cluster: ClusterName, subscription: string): Promise<void> {
    const why = `subscription ${subscription} of ${cluster} has not copied all its tables; the log of ${cluster} says why`;
    await untilTrue(why, COPY_MS_MAX, this.#options.signal, () =>
      this.#session.on(cluster, async (sql) => {
        const rows = await sql`
          select from pg_subscription s join pg_subscription_rel r on r.srsubid = s.oid
          where s.subname = ${subscription} and r.srsubstate <> 'r' limit 1`;
        return rows.length === 0;
      }),
    );
  }

  async #withdraw(cluster: ClusterName, what: readonly string[]): Promise<void> {
    const { version } = this.#options.policy;
    await this.#session.transaction(this.#session.regionOf(cluster), async (sql) => {
      for (const one of what) {
        await sql`
          insert into domicile.withdrawals as w (what, cluster, version, unqueryable_since)
          values (${one}, ${cluster}, ${version}, now())
          on conflict (what, cluster, version) do update
            set unqueryable_since = now(), off_disk_since = null`;
      }
    });
  }

  async #recordVersion(region: RegionId): Promise<void> {
    const { policy, text, by } = this.#options;
    const { version, because, effective } = policy;
    await this.#session.transaction(region, async (sql) => {
      await this.#lock.hold(sql, region);
      await sql`
        insert into domicile.policies as p
          (version, text, sha256, because, effective, applied_by)
        values (${version}, ${text}, ${sha256(text)}, ${because}, ${effective}::date, ${by})
        on conflict (version) do update
          set text = excluded.text, sha256 = excluded.sha256, because = excluded.because,
            effective = excluded.effective, applied_by = excluded.applied_by, recorded_at = now()
          where p.in_force_at is null`;
    });
  }

  #abortable(): { signal?: AbortSignal } {
    const { signal } = this.#options;
    return signal === undefined ? {} : { signal };
  }
}

const STALE =
  'the plan has gone stale: the policy file or a cluster is not what it was when the plan was made; make a new one with "policy plan"';

export async function versionRefusals(
  session: Session,
  { policy, text, today }: Pick<ApplyOptions, 'policy' | 'text' | 'today'>,
  { plan, versions }: Pick<WorldView, 'versions'> & { plan: Pick<Plan, 'inForce'> },
): Promise<string[]> {
  const { version, effective } = policy;
  const { inForce } = plan;
  const refusals: string[] = [];
  const day = today ?? (await serverDate(session));
  if (DATE.test(effective) && effective > day) {
    refusals.push(
      `policy version ${version} is effective from ${effective}, and today is ${day}; apply it then`,
    );
  }
  if (inForce !== undefined && version < inForce) {
    refusals.push(
      `policy version ${version} is lower than version ${inForce}, which is in force; a policy that is taken back is a new version`,
    );
  }
  const digest = sha256(text);
  const other = [...versions].filter(([, rows]) =>
    rows.some((row) => row.version === version && row.inForce && row.sha256 !== digest),
  );
  if (other.length > 0) {
    refusals.push(
      `version ${version} is in force in ${other.map(([region]) => region).join(', ')} with another text; raise version to ${version + 1}`,
    );
  }
  return refusals;
}

async function serverDate(session: Session): Promise<string> {
  const [first = ''] = session.operator.catalogue.regions.keys();
  const [row] = await session.on(
    first,
    (sql) => sql<{ today: string }[]>`select current_date::text as today`,
  );
  return row?.today ?? '';
}

export function busyText({ region, by, version, step, since }: Holder): string {
  return `${by} has been applying policy version ${version} since ${since} and is at "${step}" in ${region}; wait until that ends, then make a new plan`;
}

/** Steps of one lane wait for each other: those of a cluster, or of one subscription that fills. */
function laneOf({ phase, cluster, object }: Step): string {
  return phase === 'fill airlocks' || phase === 'fill peers' ? `${cluster} ${object}` : cluster;
}

/** Neighbours that may share a transaction, in order. */
function grouped(steps: readonly Step[]): Step[][] {
  const groups: Step[][] = [];
  for (const step of steps) {
    const last = groups.at(-1);
    if (last?.[0]?.action.do === 'sql' && step.action.do === 'sql') last.push(step);
    else groups.push([step]);
  }
  return groups;
}

function isBusy(error: unknown): boolean {
  if (!(error instanceof DatabaseError) || error.failure.kind !== 'rejected') return false;
  return error.failure.sqlstate === '55P03' || error.failure.sqlstate === '40P01';
}
