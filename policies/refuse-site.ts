/**
 * May the primary of this region go to this site?
 *
 * Only to one that the policy lists, because all data of the region goes with it. The answer names
 * the line to read.
 */
import type { Region, SiteId } from '../regions/catalogue.ts';
import { sitesOf } from '../regions/catalogue.ts';
import { complaintAt } from '../regions/yaml-complaint.ts';
import type { Policy } from './policy.ts';

/** A sentence without its full stop; undefined where the policy allows it and a node stands there. */
export function refuseSite(policy: Policy, region: Region, site: SiteId): string | undefined {
  const listed = policy.failover.sites.get(region.id);
  const known = sitesOf(region);
  if (listed === undefined) {
    return `${says(policy, ['failover'])} lists no sites for ${region.id}, so its primary stays at ${known.join(', ')}`;
  }
  const where = says(policy, ['failover', 'sites', region.id]);
  if (!listed.includes(site)) {
    return `${site} is not among the sites that ${where} lists for ${region.id}: ${listed.join(', ')}`;
  }
  if (known.includes(site)) return undefined;
  return `no node of ${region.id} stands at ${site}, which ${where} lists`;
}

function says({ written }: Policy, path: readonly string[]): string {
  const { file, line } = complaintAt(written.source, path, { message: '', at: 'key' });
  return `${file}:${line}`;
}
