/** Does the judge of resources find each way out that it knows, and leave the good ones alone? */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { judgeResources, type Resource } from './judge-resources.ts';

const subnet = (name: string, cidr: string): Resource => ({
  address: `aws_subnet.${name}`,
  type: 'aws_subnet',
  values: { cidr_block: cidr, tags: { Name: `domicile-${name}` } },
});

const NETWORK = [
  subnet('eu-edge-0', '10.20.16.0/22'),
  subnet('eu-edge-1', '10.20.20.0/22'),
  subnet('eu-data-0', '10.20.32.0/22'),
  subnet('eu-airlock-0', '10.20.48.0/22'),
  subnet('eu-endpoint-0', '10.20.64.0/22'),
];

function found(type: string, values: Record<string, unknown>): string[] {
  const findings = judgeResources([...NETWORK, { address: 'it', type, values }]);
  return findings.map(({ because }) => because);
}

const INGRESS = 'aws_vpc_security_group_ingress_rule';
const EGRESS = 'aws_vpc_security_group_egress_rule';
const tcp = (port: number, cidr?: string) => ({
  ip_protocol: 'tcp',
  from_port: port,
  to_port: port,
  ...(cidr !== undefined && { cidr_ipv4: cidr }),
});

test('rules between regions are those of the hop and of the airlock', () => {
  expect(found(INGRESS, tcp(443, '10.20.16.0/20'))).toEqual([]);
  expect(found(INGRESS, tcp(5432, '10.20.32.0/20'))).toEqual([]);
  expect(found(EGRESS, tcp(443, '10.20.16.0/20'))).toEqual([]);
  expect(found(EGRESS, tcp(5432, '10.20.48.0/20'))).toEqual([]);
  expect(found(INGRESS, tcp(443, '0.0.0.0/0'))).toEqual([]);
  // Between two groups the schema has no network.
  expect(found(INGRESS, tcp(8008))).toEqual([]);
});

test.each([
  ['Postgres to everybody', INGRESS, tcp(5432, '0.0.0.0/0')],
  ['anything to everybody, by IPv6', INGRESS, { ...tcp(5432), cidr_ipv6: '::/0' }],
  ['a way out to everybody', EGRESS, tcp(443, '0.0.0.0/0')],
  ['an edge at a peer’s database', EGRESS, tcp(5432, '10.20.32.0/20')],
  ['a peer’s edge at a database', INGRESS, tcp(5432, '10.20.16.0/20')],
  ['a peer’s airlock coming in', INGRESS, tcp(5432, '10.20.48.0/20')],
  ['two tiers at once', INGRESS, tcp(5432, '10.20.0.0/16')],
  ['a network of nobody', INGRESS, tcp(5432, '192.168.0.0/16')],
  ['many ports', INGRESS, { ...tcp(5432, '10.20.32.0/20'), to_port: 6000 }],
  ['every protocol', INGRESS, { ip_protocol: '-1', cidr_ipv4: '10.20.32.0/20' }],
  ['a route to more than a tier', 'aws_route', { destination_cidr_block: '10.20.0.0/16' }],
  ['a route to endpoints', 'aws_route', { destination_cidr_block: '10.20.64.0/20' }],
  ['a replicated bucket', 'aws_s3_bucket_replication_configuration', {}],
  ['a copied machine image', 'aws_ami_copy', {}],
  ['a key for many regions', 'aws_kms_key', { multi_region: true }],
  ['a secret elsewhere', 'aws_secretsmanager_secret', { replica: [{ region: 'us-east-1' }] }],
  ['backups elsewhere', 'aws_backup_plan', { rule: [{ copy_action: [{}] }] }],
  ['an open disk', 'aws_ebs_volume', { encrypted: false }],
  ['rules inside of a group', 'aws_security_group', { ingress: [{}] }],
  ['edges with addresses', 'aws_ecs_service', { network_configuration: [{}] }],
  ['a way out for servers', 'aws_nat_gateway', {}],
])('%s is a finding', (_, type, values) => {
  expect(found(type, values)).toHaveLength(1);
});

test('check-plan names what it finds in a plan, and says by its status that it did', () => {
  const folder = mkdtempSync(join(tmpdir(), 'domicile-plan-'));
  const checked = (content: unknown) => {
    const file = join(folder, 'plan.json');
    writeFileSync(file, JSON.stringify(content));
    const script = join(import.meta.dirname, 'check-plan.ts');
    const { status, stdout } = spawnSync(process.execPath, [script, file], { encoding: 'utf8' });
    return { status, stdout };
  };
  const plan = (...resources: Resource[]) => ({
    planned_values: { root_module: { child_modules: [{ resources }] } },
  });
  try {
    const copy: Resource = {
      address: 'module.eu.aws_ami_copy.it',
      type: 'aws_ami_copy',
      values: {},
    };
    expect(checked(plan(...NETWORK)).status).toBe(0);
    expect(checked(plan(...NETWORK, copy))).toEqual({
      status: 1,
      stdout: 'module.eu.aws_ami_copy.it  copies a machine image\n6 resources, 1 findings\n',
    });
    expect(checked({}).status).toBe(2);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
