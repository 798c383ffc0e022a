/**
 * Which key of the policy says that this data may not be served, or created, in another region?
 *
 * For whoever is refused because a home does not answer: a person who reads the refusal can look the
 * rule up, and a lawyer can say whether it is the right one.
 */
import type { RegionId } from '../regions/catalogue.ts';
import { complaintAt, type Path } from '../regions/yaml-complaint.ts';
import type { Policy, TableName } from './policy.ts';

/** What the request is about, beside the home. */
export type About = {
  /** The rule that has placed a newcomer. */
  rule?: string | undefined;
  /** A table about nobody, whose owner the home is. */
  reference?: TableName | undefined;
};

export type KeptBy = {
  /** The key of the policy file that decides, such as `failover.scope`. */
  says: string;
  /** Without its folder. */
  file: string;
  /** Counted from 1. */
  line: number;
};

export function whyNowhereElse(policy: Policy, home: RegionId, about: About): KeptBy {
  const { source } = policy.written;
  const { path, line, file } = complaintAt(source, pathOf(policy, home, about), {
    message: '',
    at: 'key',
  });
  return { says: path, file: file.slice(file.lastIndexOf('/') + 1), line };
}

function pathOf(policy: Policy, home: RegionId, { rule, reference }: About): Path {
  if (reference !== undefined) return ['tables', reference, 'reference'];
  const placing = policy.placement.findIndex((one) => one.rule === rule);
  if (placing >= 0) return ['placement', placing];
  if (policy.failover.scope === 'region') {
    return policy.failover.sites.has(home) ? ['failover', 'sites', home] : ['failover', 'scope'];
  }
  const law = [...policy.jurisdictions.values()].find(({ regions }) => regions.includes(home));
  return law === undefined ? ['jurisdictions'] : ['jurisdictions', law.name, 'regions'];
}
