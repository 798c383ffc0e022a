/**
 * How is a primary taken out of service so that nobody's request fails?
 *
 * Every write transaction of an edge holds the gate, a lock, in common with the others. Taken alone
 * it lets those under way end and keeps new ones from beginning. Then the primary ends gently: it
 * does not go before its standby has all that it wrote. Whoever stands at the gate loses the
 * connection before anything was done, and begins again at the new primary.
 */
import type { OwnServers } from './own-servers.ts';
import type { StewardOutcome } from './steward.ts';

/** Key of the advisory lock: "domicile" in ASCII (regions/schema/0007-gate.sql). */
export const GATE_KEY = '7237953633302080613';

/** What a write under way may still take; longer ones make the switchover give up, not the write. */
const GATE_MS_MAX = 1_000;
/** A fast shutdown, whose checkpoint has little left to do. */
const HAND_OVER_MS_MAX = 10_000;

/** `refused`: the primary serves as before. */
export async function handOver(
  servers: OwnServers,
  { primary, heir }: { primary: string; heir: string },
): Promise<StewardOutcome> {
  // So that the checkpoint at the shutdown, while everybody waits, is short.
  const flushed = await servers.hold(primary, HAND_OVER_MS_MAX, async (sql) => {
    await sql`checkpoint`;
    return { kind: 'done' };
  });
  if (flushed.kind !== 'done') return { ...flushed, kind: 'refused' };
  let demoted: StewardOutcome | undefined;
  const held = await servers.hold(primary, HAND_OVER_MS_MAX, async (sql) => {
    await sql`select set_config('lock_timeout', ${`${GATE_MS_MAX}ms`}, false)`;
    await sql`select pg_advisory_lock(${GATE_KEY}::bigint)`;
    // A shutdown may end this connection before others, and then the lock would be free again.
    await sql`select domicile.shut_gate(${HAND_OVER_MS_MAX})`;
    const { state } = await servers.look(heir);
    if (state.kind === 'seen' && state.role === 'replica') demoted = await servers.demote(primary);
    // Where it has ended, this connection has as well.
    if (demoted?.kind !== 'done') {
      await sql`select domicile.open_gate()`;
      await sql`select pg_advisory_unlock(${GATE_KEY}::bigint)`;
    }
    return demoted ?? { kind: 'refused', why: `${heir} does not answer as a standby now` };
  });
  // Without an answer from the machine nobody knows; before it was asked, nothing was done.
  if (demoted !== undefined) return demoted;
  const why = held.kind === 'done' ? 'the primary was not asked' : held.why;
  return {
    kind: 'refused',
    why: `${why}; a write that takes longer than ${GATE_MS_MAX} ms keeps the gate`,
  };
}
