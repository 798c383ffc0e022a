/**
 * Are the modules what Terraform, the provider's schema, the router and the policy want?
 *
 * With the real Terraform, where it is installed: format, `validate` of both examples, the modules' own
 * tests, and then a look at what they would make. Without it the committed regions file is held against
 * catalogue and policy all the same.
 */
import { execFileSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { placeSubject } from '../policies/placement.ts';
import { jurisdictionOf } from '../policies/policy.ts';
import { readPolicy } from '../policies/read-policy.ts';
import type { Catalogue } from '../regions/catalogue.ts';
import { DISCREET_LOG } from '../regions/local/postgres-settings.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { readInstallation } from '../regions/read-installation.ts';
import { readConfig } from '../router/config.ts';
import { type Reader, secretsOf } from '../router/installation/secrets-file.ts';
import { settingComplaints } from '../router/keeper/patroni-settings.ts';
import { judgeResources, type Resource } from './judge-resources.ts';
import { findTerraform, HOW_TO_GET_IT, type Run, Terraform } from './terraform-for-tests.ts';

const read = (path: string) => readFileSync(join(import.meta.dirname, path), 'utf8');
const COMMITTED = 'examples/three-regions/regions.yaml';
const INSTALLATION = 'examples/three-regions/installation.yaml';
const TERRAFORM_MS_MAX = 600_000;

/** In which country each of them stands, as AWS says. */
const COUNTRY: Readonly<Record<string, string>> = {
  'us-east-1': 'US',
  'eu-central-1': 'DE',
  'ap-northeast-1': 'JP',
};

function catalogueOf(text: string): Catalogue {
  const file = readCatalogue(text, COMMITTED);
  if (!('catalogue' in file)) throw new Error(file.complaints.map((one) => one.message).join('\n'));
  return file.catalogue;
}

/** AWS region by id, as the example writes them. */
function awsRegions(): Map<string, string> {
  const places = read('examples/three-regions/main.tf').matchAll(
    /^ {4}(\w+) = \{\s+title += ".*"\s+aws_region += "([a-z0-9-]+)"/gm,
  );
  return new Map([...places].map(([, id = '', region = '']) => [id, region]));
}

describe('the regions file that the example gives out', () => {
  const ours = catalogueOf(read(COMMITTED));
  const storefront = catalogueOf(read('../examples/storefront/regions.yaml'));

  test('has the storefront’s regions, titles, database and distances', () => {
    const facts = ({ regions, distances }: Catalogue) => ({
      regions: [...regions.values()]
        .map(({ id, title, database }) => ({ id, title, database }))
        .sort((a, b) => (a.id < b.id ? -1 : 1)),
      distances,
    });
    expect(facts(ours)).toEqual(facts(storefront));
  });

  test('fits the storefront’s policy', () => {
    const reading = readPolicy(
      read('../examples/storefront/residency.yaml'),
      'residency.yaml',
      ours,
    );
    expect('policy' in reading ? [] : reading.complaints).toEqual([]);
  });

  test('puts each home into a country that the policy wants at home there', () => {
    const reading = readPolicy(
      read('../examples/storefront/residency.yaml'),
      'residency.yaml',
      ours,
    );
    if (!('policy' in reading)) throw new Error('the policy has complaints');
    const { policy } = reading;
    const places = awsRegions();
    expect([...places.keys()].sort()).toEqual([...ours.regions.keys()].sort());
    for (const [id, region] of places) {
      const country = COUNTRY[region] ?? '';
      const placed = placeSubject(policy, { country });
      expect(placed.kind === 'placed' && placed.home, `${region} is in ${country}`).toBe(id);
      expect(jurisdictionOf(policy, country)?.regions).toContain(id);
    }
  });
});

describe('the installation file that the example gives out', () => {
  const catalogue = catalogueOf(read(COMMITTED));
  const reading = readInstallation(read(INSTALLATION), INSTALLATION, catalogue);

  test('is one that the commands take, and reaches every server', () => {
    if ('complaints' in reading) throw new Error(reading.complaints[0].message);
    const servers = [...catalogue.regions.values()].flatMap(({ nodes, airlocks }) => [
      ...[...nodes, ...airlocks].map(({ name }) => name),
    ]);
    expect([...reading.installation.reach.keys()].sort()).toEqual(servers.sort());
    // The role that Patroni replicates as, and the file that servers write their passwords to.
    expect(Object.fromEntries(reading.installation.roles('eu').private)).toHaveProperty(
      /replication = \{ username = "(\w+)" \}/.exec(read('modules/region/postgres.tf'))?.[1] ?? '',
      ['login', 'replication'],
    );
    expect(read('modules/region/server.sh.tftpl')).toContain(
      `passwords.in >${reading.installation.subscriptions.passwordFile}`,
    );
  });

  test('asks for the secrets that there are places for, under the same names', () => {
    const places = read('modules/region/secrets.tf');
    const own = (reader: Reader) => {
      const block = new RegExp(`^ {4}${reader} = \\{[\\s\\S]*?^ {4}\\}`, 'm').exec(places)?.[0];
      return [...(block ?? '').matchAll(/"((?:[A-Z_]+|\$\{upper\(peer\)\})+)"/g)].map(
        ([, name = '']) => name,
      );
    };
    for (const reader of ['edge', 'postgres', 'airlock'] as const) {
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is Terraform's.
      const ofPeer = '_OF_${upper(peer)}_';
      const asked = secretsOf(catalogue)
        .filter((secret) => secret.region === 'us' && secret.reader === reader)
        .map(({ variable }) => variable.replace(/_OF_(EU|ASIA)_/, ofPeer));
      expect(own(reader).sort(), reader).toEqual([...new Set(asked)].sort());
    }
  });

  test('wants no other line of a password file than the servers write', () => {
    const template = read('modules/region/postgres.tf');
    expect(template).toContain(
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is Terraform's.
      'airlock-${peer}.links.${var.shared.domain}:${local.ports.postgres}:${var.shared.database}:domicile_peer_${replace(var.id, "-", "_")}:$${AIRLOCK_OF_${upper(peer)}_PASSWORD}',
    );
    expect(template).toContain(
      // biome-ignore lint/suspicious/noTemplateCurlyInString: it is Terraform's.
      '${name}.nodes.${var.shared.domain}:${local.ports.postgres}:${var.shared.database}:domicile_feed:$${FEED_PASSWORD}',
    );
    const us = catalogue.regions.get('us');
    expect(us?.nodes[0]).toMatchObject({ host: 'us-a.nodes.shop.example.com', port: 5432 });
    expect(us?.airlocks[0]).toMatchObject({
      host: 'airlock-us.links.shop.example.com',
      port: 5432,
    });
  });
});

const command = findTerraform(process.env.PATH);

if (command === undefined) {
  test('the modules are validated and planned', (context) => {
    console.warn(HOW_TO_GET_IT);
    context.skip(HOW_TO_GET_IT);
  });
} else {
  describe('by the real Terraform', () => withTerraform(command));
}

function withTerraform(command: string): void {
  let terraform: Terraform;
  beforeAll(async () => {
    terraform = await Terraform.start(command);
  });
  afterAll(() => terraform?.close());

  test('every file is formatted', async () => {
    const { status, text } = await terraform.run('.', 'fmt', '-check', '-recursive');
    expect({ status, text }).toEqual({ status: 0, text: '' });
  });

  test.each(['examples/three-regions', 'examples/guardrails'])(
    '%s is valid under the provider’s schema',
    async (example) => {
      expect((await terraform.in(example, 'validate', '-no-color')).text).toContain('is valid');
    },
    TERRAFORM_MS_MAX,
  );

  test.each(['modules/link', 'modules/guardrails'])(
    '%s passes its own tests',
    async (module) => {
      const runs = await terraform.tested(module);
      expect(runs.size).toBeGreaterThan(0);
      for (const { resources } of runs.values()) expect(resources.length).toBeGreaterThan(0);
    },
    TERRAFORM_MS_MAX,
  );

  test(
    'values that would lead data astray are refused',
    async () => {
      const alone = join(terraform.folder, 'variables-alone');
      mkdirSync(join(alone, 'tests'), { recursive: true });
      cpSync(join(terraform.folder, 'variables.tf'), join(alone, 'variables.tf'));
      cpSync(join(terraform.folder, 'tests/rejections'), join(alone, 'tests'), { recursive: true });
      const { status, text } = await terraform.in('variables-alone', 'test', '-no-color');
      expect(text).toMatch(/Success! [1-9]\d* passed, 0 failed/);
      expect(status).toBe(0);
    },
    TERRAFORM_MS_MAX,
  );

  describe('the whole, planned', () => {
    let whole: Run;
    beforeAll(async () => {
      const runs = await terraform.tested('.');
      whole = runs.get('everything') ?? { resources: [], outputs: {} };
    }, TERRAFORM_MS_MAX);

    test('gives out the regions file that is committed', () => {
      expect(String(whole.outputs.regions_yaml)).toBe(read(COMMITTED));
    });

    test('gives out the installation file that is committed', () => {
      expect(String(whole.outputs.installation_yaml)).toBe(read(INSTALLATION));
    });

    test('lets nothing out of a region', () => {
      expect(whole.resources.length).toBeGreaterThan(300);
      expect(judgeResources(whole.resources)).toEqual([]);
    });

    test('has the same in every region', () => {
      const types = (id: string) =>
        whole.resources
          .filter(({ address }) => address.startsWith(`module.${id}.`))
          .map(({ address }) => address.replace(`module.${id}.`, '').replaceAll(/\[.*?\]/g, ''))
          .sort();
      expect(types('eu').length).toBeGreaterThan(50);
      expect(types('us')).toEqual(types('eu'));
      expect(types('asia')).toEqual(types('eu'));
    });

    test('no region names another one’s place', () => {
      const places = awsRegions();
      const strays = [...places].flatMap(([id]) =>
        whole.resources
          .filter(({ address }) => address.startsWith(`module.${id}.`))
          .flatMap(({ address, values }) =>
            [...places]
              .filter(([other, place]) => other !== id && JSON.stringify(values).includes(place))
              .map(([other]) => `${address} speaks of ${other}`),
          ),
      );
      expect(strays).toEqual([]);
    });

    test('links each two regions, and leads clients to the nearest', () => {
      const of = (type: string) => whole.resources.filter((one) => one.type === type);
      expect(of('aws_vpc_peering_connection')).toHaveLength(3);
      const nearest = of('aws_route53_record').filter(
        ({ values }) => (values.latency_routing_policy as unknown[]).length > 0,
      );
      expect(nearest.map(({ values }) => values.set_identifier).sort()).toEqual([
        'asia',
        'eu',
        'us',
      ]);
    });
  });

  describe('one region, made', () => {
    let resources: Resource[];
    const one = (address: string) => {
      const found = resources.find((resource) => resource.address === address);
      if (found === undefined) throw new Error(`there is no ${address}`);
      return found.values;
    };
    const policyOf = (address: string, key = 'policy') =>
      JSON.parse(String(one(address)[key])) as { Statement: Statement[] };
    beforeAll(async () => {
      resources = (await terraform.tested('modules/region')).get('made')?.resources ?? [];
    }, TERRAFORM_MS_MAX);

    test('the private cluster hears edges, its airlock and itself, and nobody abroad', () => {
      expect(heard(resources, 'data')).toEqual([
        'airlock:5432',
        'data:2379',
        'data:2380',
        'data:5432',
        'data:8008',
        'edge:5432',
      ]);
    });

    test('the airlock hears its own cluster and the private clusters of peers', () => {
      expect(heard(resources, 'airlock')).toEqual([
        '10.10.32.0/20:5432',
        '10.30.32.0/20:5432',
        'data:5432',
      ]);
    });

    test('edges hear load balancers; of these one hears everybody, the other peers’ edges', () => {
      expect(heard(resources, 'edge')).toEqual(['front:8080', 'hop:8080']);
      expect(heard(resources, 'front')).toEqual(['0.0.0.0/0:443']);
      expect(heard(resources, 'hop')).toEqual(['10.10.16.0/20:443', '10.30.16.0/20:443']);
    });

    test('each secret is denied to all but one role, and none may be replicated', () => {
      const readers = { edge: 'launch', postgres: 'server["data"]', airlock: 'server["airlock"]' };
      for (const [secret, role] of Object.entries(readers)) {
        const { Statement } = policyOf(`aws_secretsmanager_secret_policy.of["${secret}"]`);
        expect(Statement.find(({ Sid }) => Sid === 'OneReader')).toMatchObject({
          Effect: 'Deny',
          Action: 'secretsmanager:GetSecretValue',
          Condition: { ArnNotEquals: { 'aws:PrincipalArn': one(`aws_iam_role.${role}`).arn } },
        });
        expect(denied(Statement)).toContain('secretsmanager:ReplicateSecretToRegions');
      }
    });

    test('no role reads more than its own secret', () => {
      const reads = (role: string) =>
        policyOf(`aws_iam_role_policy.${role}`)
          .Statement.filter(({ Action }) => JSON.stringify(Action).includes('secretsmanager'))
          .map(({ Resource }) => Resource);
      const arn = (secret: string) => one(`aws_secretsmanager_secret.of["${secret}"]`).arn;
      expect(reads('launch')).toEqual([arn('edge')]);
      expect(reads('data')).toEqual([arn('postgres')]);
      expect(reads('airlock')).toEqual([arn('airlock')]);
      expect(reads('edge')).toEqual([]);
    });

    test('bucket, vault, key and the boundary of every role forbid copies', () => {
      const bucket = policyOf('aws_s3_bucket_policy.backups').Statement;
      expect(denied(bucket)).toEqual(
        expect.arrayContaining(['s3:PutReplicationConfiguration', 's3:ReplicateObject']),
      );
      expect(denied(policyOf('aws_backup_vault_policy.region').Statement)).toEqual([
        'backup:CopyFromBackupVault',
        'backup:CopyIntoBackupVault',
        'backup:StartCopyJob',
      ]);
      expect(denied(policyOf('aws_kms_key.region').Statement)).toContain('kms:ReplicateKey');
      const boundary = one('aws_iam_policy.boundary');
      const { Statement } = policyOf('aws_iam_policy.boundary');
      expect(denied(Statement)).toEqual(
        expect.arrayContaining(['ec2:CopySnapshot', 'backup:StartCopyJob', 'kms:ReplicateKey']),
      );
      expect(Statement[0]?.Condition).toEqual({
        StringEquals: { 'aws:RequestedRegion': 'eu-central-1' },
      });
      const roles = resources.filter(({ type }) => type === 'aws_iam_role');
      expect(roles.map(({ values }) => values.permissions_boundary)).toEqual(
        roles.map(() => boundary.arn),
      );
    });

    test('backups are written and read from the region’s network, over TLS, under its key', () => {
      const { Statement } = policyOf('aws_s3_bucket_policy.backups');
      const upload = {
        action: 's3:PutObject',
        keys: { 'aws:SecureTransport': 'true', 'aws:SourceVpce': one('aws_vpc_endpoint.s3').id },
      };
      const named = (arn: unknown) => ({
        'aws:SecureTransport': 'true',
        'aws:SourceVpce': one('aws_vpc_endpoint.s3').id,
        's3:x-amz-server-side-encryption-aws-kms-key-id': arn,
      });
      const ok: string[] = [];
      expect(deniedBy(Statement, upload)).toEqual(ok);
      expect(deniedBy(Statement, { ...upload, action: 's3:GetObject' })).toEqual(ok);
      expect(
        deniedBy(Statement, { ...upload, keys: named(one('aws_kms_key.region').arn) }),
      ).toEqual(ok);
      expect(deniedBy(Statement, { ...upload, keys: named('another') })).toEqual([
        'OnlyWithThisKey',
      ]);
      const outside = { 'aws:SecureTransport': 'true' };
      expect(deniedBy(Statement, { ...upload, keys: outside })).toEqual(['OnlyFromThisNetwork']);
      expect(deniedBy(Statement, { action: 's3:GetObjectVersion', keys: outside })).toEqual([
        'OnlyFromThisNetwork',
      ]);
      const plain = { ...upload.keys, 'aws:SecureTransport': 'false' };
      expect(deniedBy(Statement, { ...upload, keys: plain })).toEqual(['OnlyOverTls']);
    });

    test('the secret’s one reader may read it, and its keepers may change it unseen', () => {
      const { Statement } = policyOf('aws_secretsmanager_secret_policy.of["edge"]');
      const by = (arn: unknown, action = 'secretsmanager:GetSecretValue') =>
        deniedBy(Statement, { action, keys: { 'aws:PrincipalArn': arn } });
      expect(by(one('aws_iam_role.launch').arn)).toEqual([]);
      expect(by(one('aws_iam_role.edge').arn)).toEqual(['OneReader']);
      expect(by('arn:aws:iam::123456789012:user/admin')).toEqual(['OneReader']);
      expect(by('arn:aws:iam::123456789012:user/admin', 'secretsmanager:PutSecretValue')).toEqual(
        [],
      );
    });

    test('everything at rest is under the region’s key', () => {
      const key = one('aws_kms_key.region').arn;
      const kept = ['aws_ebs_volume', 'aws_secretsmanager_secret', 'aws_cloudwatch_log_group'];
      const keys = resources
        .filter(({ type }) => kept.includes(type))
        .map(({ values }) => values.kms_key_id);
      expect(keys.length).toBeGreaterThan(8);
      expect(new Set(keys)).toEqual(new Set([key]));
    });

    test('edges are started with settings that they know, and all that they need', () => {
      const [edge] = JSON.parse(
        String(one('aws_ecs_task_definition.edge').container_definitions),
      ) as {
        command: string[];
        environment: { name: string; value: string }[];
        secrets: { name: string }[];
      }[];
      const key = Buffer.alloc(32, 7).toString('base64url');
      const environment = Object.fromEntries([
        ...(edge?.environment ?? []).map(({ name, value }) => [name, value]),
        ...(edge?.secrets ?? []).map(({ name }) => [name, key]),
      ]);
      const reading = readConfig(environment);
      expect('complaints' in reading ? reading.complaints : []).toEqual([]);
      expect('config' in reading && reading.config.limits.connectionsMax).toBe(8);
      const help = execFileSync(process.execPath, ['router/main.ts', 'edge', '--help'], {
        cwd: join(import.meta.dirname, '..'),
        encoding: 'utf8',
      });
      const options = [...(edge?.command[0] ?? '').matchAll(/--[a-z-]+/g)].map(
        ([option]) => option,
      );
      expect(options.length).toBeGreaterThan(4);
      for (const option of options) expect(help).toContain(option);
    });

    test('Patroni is set as edges and the airlock’s feed want it', () => {
      for (const letter of ['a', 'b', 'c']) {
        const files = filesOf(String(one(`aws_instance.node["eu-${letter}"]`).user_data));
        const patroni = parse(files.get('/etc/domicile/patroni.yml') ?? '') as Patroni;
        expect(settingComplaints(patroni.bootstrap.dcs)).toEqual([]);
        const { parameters } = patroni.bootstrap.dcs.postgresql;
        for (const [name, value] of Object.entries(DISCREET_LOG)) {
          // Where the log goes is the image's matter.
          if (['log_destination', 'logging_collector', 'log_line_prefix'].includes(name)) continue;
          expect(String(parameters[name]), name).toBe(String(value));
        }
        const others = ['eu_a', 'eu_b', 'eu_c'].filter((slot) => slot !== `eu_${letter}`);
        expect(patroni.postgresql.parameters.synchronized_standby_slots).toBe(others.join(','));
        expect(patroni.name).toBe(`eu-${letter}`);
        // Passwords come from the secret, never from here.
        expect(JSON.stringify(patroni)).not.toMatch(/"password"/);
      }
    });

    test('what servers run at their first start is a script that bash can read', () => {
      const servers = resources.filter(({ type }) => type === 'aws_instance');
      expect(servers).toHaveLength(4);
      for (const { values } of servers) {
        const script = String(values.user_data);
        execFileSync('bash', ['-n'], { input: script });
        for (const [, inner = ''] of script.matchAll(/<<'END'\n(#![\s\S]*?)\nEND\n/g)) {
          execFileSync('bash', ['-n'], { input: inner });
        }
        // What AWS takes.
        expect(script.length).toBeLessThan(16_384);
      }
    });

    test('peers come into the airlock as their own role and from their own cluster', () => {
      const files = filesOf(String(one('aws_instance.airlock').user_data));
      const rules = (files.get('/etc/domicile/pg_hba.conf') ?? '').trim().split('\n');
      expect(rules.filter((rule) => rule.includes('peer_'))).toEqual([
        'host storefront domicile_peer_asia 10.30.32.0/20 scram-sha-256',
        'host storefront domicile_peer_us 10.10.32.0/20 scram-sha-256',
      ]);
      expect(rules.join('\n')).not.toMatch(/0\.0\.0\.0|::\/0|trust/);
    });
  });

  describe('a mistake is found:', () => {
    const spoiled = async (file: string, from: string, to: string, module = 'modules/region') => {
      const path = join(terraform.folder, file);
      const good = readFileSync(path, 'utf8');
      expect(good).toContain(from);
      writeFileSync(path, good.replace(from, to));
      try {
        return (await terraform.in(module, 'validate', '-no-color')).text;
      } finally {
        writeFileSync(path, good);
      }
    };

    test(
      'an argument that is spelt wrongly',
      async () => {
        expect(
          await spoiled('modules/region/keys.tf', 'multi_region ', 'multi_regional '),
        ).toContain('Unsupported argument');
      },
      TERRAFORM_MS_MAX,
    );

    test(
      'one that is required and missing',
      async () => {
        const volume = '  availability_zone = local.airlock.zone\n';
        expect(await spoiled('modules/region/postgres.tf', volume, '')).toMatch(
          /Missing required argument[\s\S]*"availability_zone"/,
        );
      },
      TERRAFORM_MS_MAX,
    );

    test(
      'a block that the provider does not have, and a reference to nothing',
      async () => {
        expect(
          await spoiled('modules/region/postgres.tf', 'metadata_options {', 'meta_options {'),
        ).toContain('Unsupported block type');
        expect(
          await spoiled(
            'modules/region/keys.tf',
            'aws_kms_key.region.key_id',
            'aws_kms_key.regional.key_id',
          ),
        ).toContain('Reference to undeclared resource');
      },
      TERRAFORM_MS_MAX,
    );

    test(
      'a bucket that is replicated, and a database that is open to everybody',
      async () => {
        const path = join(terraform.folder, 'modules/region/security.tf');
        const good = readFileSync(path, 'utf8');
        appendFileSync(path, MISTAKES);
        try {
          const runs = await terraform.tested('modules/region');
          const findings = judgeResources(runs.get('made')?.resources ?? []);
          // Alone, the region does not know the networks of its peers.
          expect(findings.filter(({ address }) => address.endsWith('.mistake'))).toEqual([
            {
              address: 'aws_s3_bucket_replication_configuration.mistake',
              because: 'replicates a bucket',
            },
            {
              address: 'aws_vpc_security_group_ingress_rule.mistake',
              because: 'opens port 5432 to the whole internet',
            },
          ]);
        } finally {
          writeFileSync(path, good);
        }
      },
      TERRAFORM_MS_MAX,
    );
  });
}

const MISTAKES = `
resource "aws_s3_bucket_replication_configuration" "mistake" {
  bucket = aws_s3_bucket.backups.id
  role   = aws_iam_role.backup.arn

  rule {
    status = "Enabled"

    destination {
      bucket = "arn:aws:s3:::elsewhere"
    }
  }
}

resource "aws_vpc_security_group_ingress_rule" "mistake" {
  security_group_id = aws_security_group.tier["data"].id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 5432
  to_port           = 5432
}
`;

type Statement = {
  Sid?: string;
  Effect: string;
  Action: string | string[];
  Resource: unknown;
  Condition?: Readonly<Record<string, Readonly<Record<string, string>>>>;
};

type Patroni = {
  name: string;
  bootstrap: {
    dcs: Record<string, unknown> & { postgresql: { parameters: Record<string, unknown> } };
  };
  postgresql: { parameters: Record<string, unknown> };
};

function denied(statements: readonly Statement[]): string[] {
  return statements
    .filter(({ Effect, Condition }) => Effect === 'Deny' && Condition === undefined)
    .flatMap(({ Action }) => Action);
}

type AwsRequest = { action: string; keys: Readonly<Record<string, unknown>> };

/** Which statements refuse a request, as AWS reads them: a negated operator holds where there is no key. */
function deniedBy(statements: readonly Statement[], { action, keys }: AwsRequest): string[] {
  const holds = (operator: string, key: string, wanted: string) => {
    const value = keys[key];
    if (operator === 'Null') return String(value === undefined) === wanted;
    if (operator === 'Bool') return value === wanted;
    if (operator === 'StringNotEquals' || operator === 'ArnNotEquals') return value !== wanted;
    throw new Error(`no idea what ${operator} means`);
  };
  return statements
    .filter(({ Effect }) => Effect === 'Deny')
    .filter(({ Action }) =>
      [Action].flat().some((one) => new RegExp(`^${one.replaceAll('*', '.*')}$`).test(action)),
    )
    .filter(({ Condition = {} }) =>
      Object.entries(Condition).every(([operator, wanted]) =>
        Object.entries(wanted).every(([key, value]) => holds(operator, key, value)),
      ),
    )
    .map(({ Sid = '' }) => Sid);
}

/** Who may open connections to a group: other groups by name, or networks. */
function heard(resources: readonly Resource[], group: string): string[] {
  const names = new Map(
    resources
      .filter(({ type }) => type === 'aws_security_group')
      .map(({ address, values }) => [values.id, /\["(\w+)"\]/.exec(address)?.[1] ?? '']),
  );
  return resources
    .filter(
      ({ type, values }) =>
        type === 'aws_vpc_security_group_ingress_rule' &&
        names.get(values.security_group_id) === group,
    )
    .map(({ values }) => {
      const from = values.cidr_ipv4 ?? names.get(values.referenced_security_group_id);
      return `${from}:${values.from_port}`;
    })
    .sort();
}

/** The files that a first start writes. */
function filesOf(script: string): Map<string, string> {
  return new Map(
    [...script.matchAll(/^base64 -d >(\S+) <<'END'\n(.*)\nEND$/gm)].map(
      ([, path = '', text = '']) => [path, Buffer.from(text, 'base64').toString('utf8')],
    ),
  );
}
