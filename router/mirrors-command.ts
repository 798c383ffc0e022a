/**
 * `domicile mirrors status` and `domicile mirrors refill`: how copies of other homes' data do, and a
 * new beginning for those that cannot go on.
 *
 * A peer that was away for long has lost its place in the log of an airlock, and an airlock may have
 * lost its data. Both are filled anew under the policy in force: what they hold is closed to the
 * edges first, which ask its home meanwhile, and opened when it is complete.
 */
import {
  connectionName,
  publicationTo,
  subscriptionFrom,
  subscriptionHome,
} from '../policies/desired-state.ts';
import { airlockFor, type Catalogue } from '../regions/catalogue.ts';
import { applyPolicy } from './apply-plan.ts';
import { openWorld, type Where } from './open-world.ts';
import { type Operator, OperatorError, Session } from './operator.ts';
import { appliedAnswer, EDGES_NOTICE_MS, why } from './plan-command.ts';
import type { Answer } from './policy-command.ts';
import { recordedPolicyInForce } from './recorded-policy.ts';

export type RefillOptions = Where & {
  /** One peer's copy of one home, */
  from?: string;
  to?: string;
  /** or everything that leaves a region through one airlock. */
  airlock?: string;
  by: string;
  print: (line: string) => void;
  signal: AbortSignal;
};

/** One way from a publisher to a subscriber, and how it does. */
type Hop = { from: string; to: string; subscription: string; slot: string };
type HopStatus = Hop & {
  /** Undefined: the publisher keeps no place for this subscriber. */
  place: { lost: boolean; read: boolean; keptBytes: number } | undefined;
  tables: readonly { table: string; state: string }[];
};

export async function statusCommand(where: Where): Promise<Answer> {
  const { operator } = await openWorld(where);
  const session = new Session(operator);
  try {
    const hops = await Promise.all(
      hopsOf(operator.catalogue).map(async (hop) => ({
        ...hop,
        place: await placeOf(session, hop),
        tables: await tablesOf(session, hop),
      })),
    );
    const openings = await fromRegions(session, openingsOf);
    const withdrawals = await fromRegions(session, withdrawalsOf);
    const sound = hops.every(isSound);
    return {
      lines: [
        ...hops.map(hopLine),
        '',
        'Open to edges',
        ...openings.map(({ region, name, home }) => `  ${region}: ${name} of ${home}`),
        ...(withdrawals.length > 0 ? ['', 'Taken back'] : []),
        ...withdrawals.map(withdrawalLine),
      ],
      json: { sound, hops, openings, withdrawals },
      exitCode: sound ? 0 : 1,
    };
  } catch (error) {
    return failed(why(error));
  } finally {
    await session.close();
  }
}

export async function refillCommand(options: RefillOptions): Promise<Answer> {
  const { operator } = await openWorld(options);
  try {
    const anew = subscriptionToRefill(operator, options);
    const inForce = await underOneSession(operator, recordedPolicyInForce);
    if (inForce === undefined) throw new OperatorError('no policy is in force yet');
    return appliedAnswer(
      await applyPolicy({
        operator,
        ...inForce,
        today: inForce.policy.effective,
        by: options.by,
        anew: new Set([anew]),
        edgesNoticeMs: EDGES_NOTICE_MS,
        report: options.print,
        signal: options.signal,
      }),
    );
  } catch (error) {
    if (options.signal.aborted) {
      return failed('ended before the last step; run "policy apply" to go on from there');
    }
    return failed(why(error));
  }
}

/** @throws OperatorError when the question does not name one. */
function subscriptionToRefill(
  { catalogue }: Operator,
  { from, to, airlock }: RefillOptions,
): string {
  const named = (what: string, name: string, known: readonly string[]) => {
    if (known.includes(name)) return name;
    throw new OperatorError(`no ${what} ${name}; there are ${known.join(', ')}`);
  };
  if (airlock !== undefined && from === undefined && to === undefined) {
    const known = [...catalogue.regions.values()].flatMap(({ airlocks }) =>
      airlocks.map(({ name }) => name),
    );
    return connectionName(named('airlock', airlock, known), subscriptionHome(airlock));
  }
  if (airlock !== undefined || from === undefined || to === undefined) {
    throw new OperatorError('name either --from and --to, or --airlock alone');
  }
  const regions = [...catalogue.regions.keys()];
  const home = named('region', from, regions);
  if (named('region', to, regions) === home) {
    throw new OperatorError(`${home} holds its own rows and is not filled from itself`);
  }
  return connectionName(to, subscriptionFrom(home));
}

function hopsOf(catalogue: Catalogue): Hop[] {
  return [...catalogue.regions.values()].flatMap((region) => [
    ...region.airlocks.map(({ name }) => ({
      from: region.id,
      to: name,
      subscription: subscriptionHome(name),
      slot: subscriptionHome(name),
    })),
    ...[...catalogue.regions.keys()]
      .filter((peer) => peer !== region.id)
      .map((peer) => ({
        from: airlockFor(region, peer).name,
        to: peer,
        subscription: subscriptionFrom(region.id),
        slot: publicationTo(peer),
      })),
  ]);
}

async function placeOf(session: Session, { from, slot }: Hop): Promise<HopStatus['place']> {
  const [row] = await session.on(
    from,
    (sql) => sql<{ lost: boolean; read: boolean; kept: string }[]>`
      select wal_status = 'lost' as lost, active as read,
        coalesce(pg_current_wal_lsn() - restart_lsn, 0)::text as kept
      from pg_replication_slots where slot_name = ${slot}`,
  );
  return row && { lost: row.lost, read: row.read, keptBytes: Number(row.kept) };
}

async function tablesOf(session: Session, { to, subscription }: Hop) {
  return session.on(
    to,
    (sql) => sql<{ table: string; state: string }[]>`
      select n.nspname || '.' || c.relname as table,
        case r.srsubstate when 'r' then 'follows' when 's' then 'catches up'
          when 'i' then 'is to be copied' else 'is copied' end as state
      from pg_subscription s join pg_subscription_rel r on r.srsubid = s.oid
      join pg_class c on c.oid = r.srrelid join pg_namespace n on n.oid = c.relnamespace
      where s.subname = ${subscription} order by 1`,
  );
}

async function fromRegions<T extends object>(
  session: Session,
  ask: (session: Session, region: string) => Promise<readonly T[]>,
): Promise<(T & { region: string })[]> {
  const answers = await Promise.all(
    [...session.operator.catalogue.regions.keys()].map(async (region) =>
      (await ask(session, region)).map((row) => ({ region, ...row })),
    ),
  );
  return answers.flat();
}

async function openingsOf(session: Session, region: string) {
  return session.on(
    region,
    (sql) => sql<{ name: string; home: string }[]>`
      select name, home from domicile.openings order by name, home`,
  );
}

type Withdrawal = {
  cluster: string;
  what: string;
  version: number;
  unqueryableSince: string | null;
  offDiskSince: string | null;
  remains: string | null;
};

async function withdrawalsOf(session: Session, region: string) {
  return session.on(
    region,
    (sql) => sql<Withdrawal[]>`
      select cluster, what, version, unqueryable_since::text as "unqueryableSince",
        off_disk_since::text as "offDiskSince", remains
      from domicile.withdrawals order by version, cluster, what`,
  );
}

async function underOneSession<T>(
  operator: Operator,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const session = new Session(operator);
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}

function isSound({ place, tables }: HopStatus): boolean {
  return (
    place?.read === true && tables.length > 0 && tables.every(({ state }) => state === 'follows')
  );
}

function hopLine(hop: HopStatus): string {
  const { from, to, place, tables } = hop;
  const copied = tables.filter(({ state }) => state !== 'follows');
  const says = isSound(hop)
    ? `follows ${tables.length} tables, ${place?.keptBytes} bytes of log kept`
    : place === undefined
      ? 'has no place in the log: refill it'
      : place.lost
        ? 'has lost its place in the log: refill it'
        : !place.read
          ? `does not read; ${place.keptBytes} bytes of log are kept for it`
          : copied.map(({ table, state }) => `${table} ${state}`).join(', ') || 'follows nothing';
  return `${`${from} to ${to}`.padEnd(24)} ${says}`;
}

function withdrawalLine({
  cluster,
  what,
  unqueryableSince,
  offDiskSince,
  remains,
}: Withdrawal): string {
  const bytes =
    offDiskSince === null
      ? `not proven to be off the disks${remains === null ? '' : `: ${remains}`}`
      : `off the disks since ${offDiskSince}`;
  return `  ${cluster}: ${what} cannot be queried since ${unqueryableSince}; ${bytes}`;
}

function failed(complaint: string): Answer {
  return { lines: [complaint], json: { outcome: 'failed', complaints: [complaint] }, exitCode: 1 };
}
