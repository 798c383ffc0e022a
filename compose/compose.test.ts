/** Do the files beside this one fit each other and the rest of the repository? */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import type { Region } from '../regions/catalogue.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { readConfig } from '../router/config.ts';
import { readDockerfile, sentToBuilder } from './build-image.ts';
import { DASHBOARDS, dashboardFile } from './dashboards.ts';
import { judgeCompose } from './judge-compose.ts';

const HERE = dirname(fileURLToPath(import.meta.url));
const read = (path: string) => readFileSync(join(HERE, path), 'utf8');
const yaml = (path: string) => parse(read(path), { merge: true });
const schema = JSON.parse(read('compose-spec.schema.json'));
const judged = (file: unknown) =>
  judgeCompose(file, schema, (path) => existsSync(join(HERE, path)));

const file = judged(yaml('compose.yaml'));

function catalogueOf(path: string) {
  const reading = readCatalogue(read(path), path);
  if (!('catalogue' in reading)) throw new Error(`${path} has complaints`);
  return reading.catalogue;
}

describe('compose.yaml', () => {
  test('keeps to the specification, with versions, on this machine only', () => {
    expect('complaints' in file ? file.complaints : []).toEqual([]);
  });

  test.each([
    ['a misspelt key', { network_mod: 'host' }, 'services.a  Unrecognized key: "network_mod"'],
    ['a wrong type', { init: 3 }, 'services.a.init  '],
    ['an image without a version', { image: 'a:latest' }, 'services.a  image "a:latest" has no'],
    [
      'a mount of nothing',
      { volumes: ['./nowhere:/x:ro'] },
      'services.a  volume "./nowhere" is not',
    ],
    ['a mount to write to', { volumes: ['./grafana:/x'] }, 'services.a  volume "./grafana" may be'],
    ['a port for everybody', { ports: ['80:80'] }, 'services.a  port "80:80" is open to others'],
    ['a network of nobody', { network_mode: 'service:b' }, 'services.a  there is no service "b"'],
  ])('%s is complained about', (_, wrong, complaint) => {
    const answer = judged({ services: { a: { image: 'a:1.2.3', ...wrong } } });
    expect('complaints' in answer ? answer.complaints.join('\n') : '').toContain(complaint);
  });

  test('has settings that an edge takes', () => {
    if (!('file' in file)) throw new Error('compose.yaml has complaints');
    const key = Buffer.alloc(32, 7).toString('base64url');
    const secrets = {
      DOMICILE_DATABASE_PASSWORD: 'x',
      DOMICILE_SESSION_KEYS: key,
      DOMICILE_HOP_KEY: key,
      DOMICILE_DIRECTORY_KEY: key,
      DOMICILE_SUBJECT_KEY: key,
    };
    const blocks = Object.entries(file.file.services).filter(([, { environment = {} }]) =>
      Object.keys(environment).some((name) => /^(OTEL|DOMICILE)_/.test(name)),
    );
    expect(blocks.map(([name]) => name)).toEqual(['world']);
    for (const [name, { environment = {} }] of blocks) {
      const reading = readConfig({ ...secrets, ...environment });
      expect('complaints' in reading ? reading.complaints : [], name).toEqual([]);
      if ('config' in reading) expect(reading.config.telemetry.enabled).toBe(true);
    }
  });
});

describe('the regions', () => {
  const ours = catalogueOf('regions.yaml');
  const storefront = catalogueOf('../examples/storefront/regions.yaml');

  test('are the storefront’s, with one more replica each', () => {
    const withoutLast = (region: Region) => ({ ...region, nodes: region.nodes.slice(0, -1) });
    const regions = [...ours.regions].map(([id, region]) => [id, withoutLast(region)] as const);
    expect({ ...ours, regions: new Map(regions) }).toEqual(storefront);
    for (const { nodes } of ours.regions.values()) expect(nodes).toHaveLength(3);
  });

  test('have their edges behind Toxiproxy, at the ports that they name', () => {
    if (!('file' in file)) throw new Error('compose.yaml has complaints');
    const published = new Map(
      file.file.services.toxiproxy?.ports?.map((port) => {
        const [, outer = '', inner = ''] = port.split(':');
        return [inner, outer];
      }),
    );
    const proxies = JSON.parse(read('toxiproxy.json')) as {
      name: string;
      listen: string;
      upstream: string;
    }[];
    const reached = proxies.map(({ name, listen, upstream }) => ({
      name,
      outer: published.get(listen.split(':')[1] ?? ''),
      upstream,
    }));
    expect(reached).toEqual(
      [...ours.regions.values()].flatMap(({ edges }) =>
        edges.map(({ name, url }) => ({
          name: `clients-to-${name}`,
          outer: new URL(url).port,
          upstream: new URL(url).host,
        })),
      ),
    );
  });

  test('have their edges in the health check and in the image', () => {
    if (!('file' in file)) throw new Error('compose.yaml has complaints');
    const ports = [...ours.regions.values()].flatMap(({ edges }) =>
      edges.map(({ url }) => new URL(url).port),
    );
    const { test: check } = yaml('compose.yaml').services.world.healthcheck;
    expect(check.slice(3)).toEqual(ports);
    expect(read('Dockerfile')).toContain(`EXPOSE ${ports.join(' ')}\n`);
  });
});

describe('Prometheus', () => {
  type Rule = { alert: string; expr: string; annotations: { runbook_url: string } };
  const rules = yaml('prometheus/rules.yml').groups.flatMap(
    ({ rules }: { rules: Rule[] }) => rules,
  ) as Rule[];

  test('alerts of what an operator must be told, each with a heading of the runbook', () => {
    const headings = [...read('../docs/runbook.md').matchAll(/^## (.+)$/gm)].map(([, text = '']) =>
      text
        .toLowerCase()
        .replace(/[^a-z0-9\s-]/g, '')
        .replaceAll(' ', '-'),
    );
    for (const { alert, annotations } of rules) {
      const [page, heading] = annotations.runbook_url.split('#');
      expect(page, alert).toBe('/docs/runbook.md');
      expect(headings, alert).toContain(heading);
    }
    expect(rules.map(({ alert }) => alert)).toEqual(
      expect.arrayContaining([
        'TailLatency',
        'ReplicationLag',
        'ConnectionSaturation',
        'Alone',
        'ResidencyDrift',
      ]),
    );
  });

  const told = new Set(
    [...read('../docs/telemetry.md').matchAll(/^\| `[^`]+` \| `([a-z_]+)` \|/gm)].map(
      ([, name]) => name,
    ),
  );
  const queries = DASHBOARDS.flatMap(({ title, panels }) =>
    panels.flatMap((panel) =>
      panel.queries.map(({ expr }) => [`${title}: ${panel.title}`, expr] as const),
    ),
  );
  test.each([...rules.map(({ alert, expr }) => [alert, expr] as const), ...queries])(
    'is asked only for metrics that an edge tells: %s',
    (name, expr) => {
      // Without the names of labels.
      const expression = expr.replaceAll(/\b(by|on|group_left)\s*\([^)]*\)|\{[^}]*\}/g, '');
      const asked = [
        ...expression.matchAll(
          /\b(?:domicile|http|db|up)\b[a-z_]*|\b(?:domicile|http|db)_[a-z_]+/g,
        ),
      ].map(([metric]) => metric.replace(/_bucket$/, ''));
      expect(asked.length, name).toBeGreaterThan(0);
      for (const metric of asked) expect([...told, 'up']).toContain(metric);
    },
  );

  const promtool = spawnSync('promtool', ['--version']).status === 0;
  test('has rules that fire when they should and not before', ({ skip }) => {
    skip(!promtool, 'promtool is not here');
    const folder = { cwd: join(HERE, 'prometheus'), encoding: 'utf8' } as const;
    execFileSync('promtool', ['check', 'rules', 'rules.yml'], folder);
    execFileSync('promtool', ['check', 'config', 'prometheus.yml'], folder);
    expect(execFileSync('promtool', ['test', 'rules', 'rules-test.yml'], folder)).toContain(
      'SUCCESS',
    );
  });
});

describe('Grafana', () => {
  test.each(DASHBOARDS)('shows $title as the code has it', (dashboard) => {
    const committed = JSON.parse(read(`grafana/dashboards/${dashboard.uid}.json`));
    expect(committed).toEqual(JSON.parse(dashboardFile(dashboard)));
  });

  test('finds its dashboards and the sources that they ask', () => {
    const { services } = yaml('compose.yaml');
    const [provider] = yaml('grafana/provisioning/dashboards/domicile.yaml').providers;
    expect(services.grafana.volumes).toContain(`./grafana/dashboards:${provider.options.path}:ro`);
    const home = services.grafana.environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH;
    expect(home).toBe(`${provider.options.path}/${DASHBOARDS[0]?.uid}.json`);
    type Source = { uid: string; url: string };
    const { datasources } = yaml('grafana/provisioning/datasources/prometheus.yaml');
    const hosts = Object.fromEntries(
      (datasources as Source[]).map(({ uid, url }) => [uid, new URL(url).host]),
    );
    expect(hosts).toEqual({ prometheus: 'toxiproxy:9090', jaeger: 'jaeger:16686' });
    for (const { uid } of DASHBOARDS) {
      const asked = JSON.parse(read(`grafana/dashboards/${uid}.json`)).panels.map(
        ({ datasource }: { datasource: { uid: string } }) => datasource.uid,
      );
      expect(new Set(asked)).toEqual(new Set(['prometheus']));
    }
  });
});

describe('the Dockerfile', () => {
  test('has versions, a user that is not root, and only steps that can be tried', () => {
    expect(readDockerfile(read('Dockerfile')).complaints).toEqual([]);
    const wrong = 'FROM node:latest\nADD http://example.org /x\n';
    expect(readDockerfile(wrong).complaints).toEqual([
      'Dockerfile:2  "ADD http://example.org /x" is no step known here',
      'Dockerfile  runs as root',
      'Dockerfile:1  "node:latest" has no full version',
    ]);
  });

  test('is sent what it copies, and neither tests nor secrets', () => {
    const paths = [
      '.env',
      'package.json',
      'router/main.ts',
      'router/main.test.ts',
      'router/audit/page.ts',
      'router/app-for-tests.ts',
      'examples/storefront/.domicile/secrets.json',
      'compose/compose.yaml',
      'compose/regions.yaml',
    ];
    expect(sentToBuilder(paths, read('Dockerfile.dockerignore'))).toEqual([
      'package.json',
      'router/main.ts',
      'router/audit/page.ts',
      'compose/regions.yaml',
    ]);
  });
});
