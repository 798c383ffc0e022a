/**
 * Which policy do the regions say is in force?
 *
 * The greatest version that any of them has put in force: an apply that was cut off in between left
 * it in some of them only, and is to be resumed, not taken back.
 */
import type { Policy } from '../policies/policy.ts';
import { readPolicy } from '../policies/read-policy.ts';
import { formatComplaint } from '../regions/yaml-complaint.ts';
import { OperatorError, type Session } from './operator.ts';

/** Undefined before the first one. @throws OperatorError when this version cannot read its text. */
export async function recordedPolicyInForce(
  session: Session,
): Promise<{ policy: Policy; text: string } | undefined> {
  const { catalogue } = session.operator;
  const found = await Promise.all(
    [...catalogue.regions.keys()].map((region) =>
      session.on(
        region,
        (sql) => sql<{ version: number; text: string }[]>`
          select version, text from domicile.policies
          where in_force_at is not null order by version desc limit 1`,
      ),
    ),
  );
  const [latest] = found.flat().sort((a, b) => b.version - a.version);
  if (latest === undefined) return undefined;
  const { version, text } = latest;
  const reading = readPolicy(text, `policy version ${version}, which is in force`, catalogue);
  if ('complaints' in reading) {
    throw new OperatorError(reading.complaints.map(formatComplaint).join('\n'));
  }
  return { policy: reading.policy, text };
}
