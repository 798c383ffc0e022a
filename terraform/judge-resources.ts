/**
 * Would anything in these resources let data out of its region?
 *
 * The resources are Terraform's own words: of a plan (`terraform show -json`) or of a state. What is
 * not known before an apply cannot be judged; what is known and not on the list of what may be, is a
 * finding. The modules here have none; `check-plan.ts` asks the same of your own.
 */

export type Resource = { address: string; type: string; values: Readonly<Record<string, unknown>> };

export type Finding = { address: string; because: string };

/** They copy data by being there. */
const COPIERS: ReadonlyMap<string, string> = new Map([
  ['aws_s3_bucket_replication_configuration', 'replicates a bucket'],
  ['aws_s3control_multi_region_access_point', 'joins buckets of several regions'],
  ['aws_kms_replica_key', 'copies a key into another region'],
  ['aws_kms_replica_external_key', 'copies a key into another region'],
  ['aws_ebs_snapshot_copy', 'copies a snapshot'],
  ['aws_ami_copy', 'copies a machine image'],
  ['aws_db_snapshot_copy', 'copies a snapshot'],
  ['aws_rds_global_cluster', 'spans regions'],
  ['aws_db_instance_automated_backups_replication', 'replicates backups'],
  ['aws_dynamodb_global_table', 'spans regions'],
  ['aws_ecr_replication_configuration', 'replicates images'],
  ['aws_snapshot_create_volume_permission', 'hands a snapshot to another account'],
  // The rules of these cannot be judged one by one.
  ['aws_security_group_rule', 'is a rule of the old kind; write aws_vpc_security_group_…_rule'],
]);

/** Between regions: an edge calls a hop, and a private cluster subscribes to an airlock. */
const PORT_OF_TIER = {
  aws_vpc_security_group_ingress_rule: new Map([
    ['edge', 443],
    ['data', 5432],
  ]),
  aws_vpc_security_group_egress_rule: new Map([
    ['edge', 443],
    ['airlock', 5432],
  ]),
};
const TIERS_LINKED = new Set(['edge', 'data', 'airlock']);
const EVERYBODY = new Set(['0.0.0.0/0', '::/0']);
const PUBLIC_PORT = 443;

export function judgeResources(resources: readonly Resource[]): Finding[] {
  const tiers = resources.flatMap(tierOf);
  return resources.flatMap((resource) =>
    [...objections(resource), ...judgeRule(resource, tiers), ...judgeRoute(resource, tiers)].map(
      (because) => ({ address: resource.address, because }),
    ),
  );
}

function objections({ type, values }: Resource): string[] {
  const found: string[] = [];
  const copier = COPIERS.get(type);
  if (copier !== undefined) found.push(copier);
  if (type === 'aws_kms_key' && values.multi_region === true) {
    found.push('is a key that other regions may have');
  }
  if (type === 'aws_secretsmanager_secret' && listOf(values.replica).length > 0) {
    found.push('is replicated to another region');
  }
  if (type === 'aws_backup_plan') {
    const copies = listOf(values.rule).some(
      (rule) => listOf(recordOf(rule).copy_action).length > 0,
    );
    if (copies) found.push('copies backups into another vault');
  }
  if (type === 'aws_ebs_volume' && values.encrypted !== true) found.push('is not encrypted');
  if (type === 'aws_instance') {
    if (values.associate_public_ip_address !== false) found.push('may have a public address');
    const disks = listOf(values.root_block_device);
    if (!disks.some((disk) => recordOf(disk).encrypted === true)) {
      found.push('has a root disk that is not encrypted');
    }
  }
  if (type === 'aws_ecs_service') {
    const [network] = listOf(values.network_configuration);
    if (recordOf(network).assign_public_ip !== false) found.push('may have a public address');
  }
  if (type === 'aws_security_group' || type === 'aws_default_security_group') {
    const inline = [...listOf(values.ingress), ...listOf(values.egress)];
    if (inline.length > 0) found.push('has rules inside of the group, which nobody judges');
  }
  if (type === 'aws_nat_gateway' || type === 'aws_egress_only_internet_gateway') {
    found.push('is a way out to the internet');
  }
  return found;
}

function judgeRule({ type, values }: Resource, tiers: readonly Tier[]): string[] {
  if (
    type !== 'aws_vpc_security_group_ingress_rule' &&
    type !== 'aws_vpc_security_group_egress_rule'
  ) {
    return [];
  }
  const { from_port: port, to_port: last, ip_protocol: protocol } = values;
  if (protocol !== 'tcp' || port !== last || typeof port !== 'number') {
    return ['opens more than one TCP port'];
  }
  const cidr = values.cidr_ipv4 ?? values.cidr_ipv6;
  if (cidr === undefined || cidr === null) return [];
  if (EVERYBODY.has(String(cidr))) {
    if (type === 'aws_vpc_security_group_ingress_rule' && port === PUBLIC_PORT) return [];
    return [`opens port ${port} to the whole internet`];
  }
  const touched = tiersIn(String(cidr), tiers);
  const [tier] = touched;
  if (tier === undefined) return [`opens port ${port} to ${cidr}, which is no tier of a region`];
  if (touched.length > 1) {
    return [`opens port ${port} to ${cidr}, in which there are ${named(touched)}`];
  }
  const allowed = PORT_OF_TIER[type].get(tier.tier);
  if (allowed === port) return [];
  return [`opens port ${port} to ${named(touched)}, which has no business there`];
}

function judgeRoute({ type, values }: Resource, tiers: readonly Tier[]): string[] {
  const { destination_cidr_block: cidr, gateway_id: gateway } = values;
  if (type !== 'aws_route' || typeof cidr !== 'string') return [];
  // The way to the internet, which the public tier alone has; its table is known after an apply.
  if (EVERYBODY.has(cidr)) {
    return gateway === null ? ['leads everything to somewhere else than the internet gateway'] : [];
  }
  const touched = tiersIn(cidr, tiers);
  const [tier] = touched;
  if (tier !== undefined && touched.length === 1 && TIERS_LINKED.has(tier.tier)) return [];
  return [`leads to ${cidr}, in which there is ${named(touched) || 'nothing that may be linked'}`];
}

type Tier = { name: string; tier: string; first: number; last: number };

/** `domicile-eu-data-0`: the tier is in the name of the subnet. */
function tierOf({ type, values }: Resource): Tier[] {
  if (type !== 'aws_subnet' || typeof values.cidr_block !== 'string') return [];
  const called = String(recordOf(values.tags).Name);
  const [, name = '', tier = ''] = /^domicile-((?:.+)-([a-z]+))-\d+$/.exec(called) ?? [];
  return [{ name, tier, ...rangeOf(values.cidr_block) }];
}

/** Each tier once, whichever of its subnets are in it. */
function tiersIn(cidr: string, tiers: readonly Tier[]): Tier[] {
  const { first, last } = rangeOf(cidr);
  const touched = tiers.filter((tier) => tier.first <= last && first <= tier.last);
  return [...new Map(touched.map((tier) => [tier.name, tier])).values()];
}

function rangeOf(cidr: string): { first: number; last: number } {
  const [address = '', bits = '32'] = cidr.split('/');
  const number = address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - Number(bits));
  const first = Math.floor(number / size) * size;
  return { first, last: first + size - 1 };
}

function named(tiers: readonly Tier[]): string {
  return tiers.map(({ name }) => name).join(', ');
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
