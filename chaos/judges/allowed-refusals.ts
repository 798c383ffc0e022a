/**
 * Which refusals are an answer, and no lack of service?
 *
 * A session that is told once what it has lost, and an id that somebody else has.
 */
import type { Operation } from '../history.ts';

export const ANSWERS: ReadonlySet<string> = new Set([
  'session-guarantee-lost',
  'subject-exists',
  // Whether somebody who was created is gone is for other judges to say.
  'unknown-subject',
]);

export function isServed({ outcome, told, guaranteeLost }: Operation): boolean {
  if (outcome.kind === 'ok' || guaranteeLost === true) return true;
  return outcome.kind === 'fail' && ANSWERS.has(told?.problem ?? '');
}
