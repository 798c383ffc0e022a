/**
 * How is what a session has seen of one region written into a trace?
 *
 * One text for each history that it met, such as `2/0/3000060`: timeline, then position.
 */
import { floorOf, type Session } from '../../policies/session.ts';
import type { RegionId } from '../../regions/catalogue.ts';
import { formatLsn } from '../../regions/position.ts';

export function floorTexts(session: Session | undefined, region: RegionId): string[] {
  if (session === undefined) return [];
  return floorOf(session, region).map(({ timeline, lsn }) => `${timeline}/${formatLsn(lsn)}`);
}
