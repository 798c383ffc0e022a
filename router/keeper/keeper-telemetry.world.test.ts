/** What a real keeper tells a Prometheus and a collector, while its primary moves and its standby is lost. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { KeeperRecord } from '../../policies/keeper/record.ts';
import { freePorts } from '../../regions/local/ports.ts';
import { type Collector, startCollector } from '../telemetry/collector-for-tests.ts';
import { TARGETS_FILE } from '../telemetry/local-metrics.ts';
import { KEEPER_METRICS, prometheusName } from '../telemetry/names.ts';
import {
  domicile as command,
  eventually,
  startTestDomicile,
  type TestDomicile,
} from '../world-for-tests.ts';

let domicile: TestDomicile;
let collector: Collector;

beforeAll(async () => {
  collector = await startCollector();
  domicile = await startTestDomicile({
    keepers: true,
    metrics: true,
    environment: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json',
    },
  });
});

afterAll(async () => {
  await domicile?.remove();
  await collector?.close();
});

type Target = { targets: string[]; labels: { region: string; edge?: string; keeper?: string } };

async function targets(): Promise<Target[]> {
  return JSON.parse(await readFile(join(domicile.root, TARGETS_FILE), 'utf8')) as Target[];
}

async function scrape(region: string): Promise<string> {
  const target = (await targets()).find(({ labels }) => labels.keeper === `keeper-${region}`);
  return (await fetch(`http://${target?.targets[0]}/metrics`)).text();
}

const record = async (): Promise<KeeperRecord> => {
  const url = domicile.catalogue.regions.get('eu')?.keeper?.url;
  return (await (await fetch(`${url}/primary`)).json()) as KeeperRecord;
};

async function wellAgain(): Promise<KeeperRecord> {
  let seen: KeeperRecord | undefined;
  await eventually('a standby is admitted', async () => {
    seen = await record();
    return seen.pending === null && seen.standbys.length === 1;
  });
  return seen as KeeperRecord;
}

/** The value of the series that has all of these labels. */
function told(text: string, metric: string, labels: Record<string, string> = {}) {
  const line = text
    .split('\n')
    .filter((one) => one.startsWith(`${metric}{`))
    .find((one) =>
      Object.entries(labels).every(([name, value]) => one.includes(`${name}="${value}"`)),
    );
  return line === undefined ? undefined : Number(line.split(' ').at(-1));
}

test('a Prometheus finds every keeper beside its edge, and what its record says', async () => {
  const { version, timeline } = await wellAgain();
  const kinds = (await targets()).map(({ labels: { edge, keeper } }) => edge ?? keeper);
  expect(kinds.sort()).toEqual(
    ['us', 'eu', 'asia'].flatMap((region) => [`edge-${region}`, `keeper-${region}`]).sort(),
  );
  const text = await scrape('eu');
  const of = { domicile_region: 'eu', service_instance_id: 'keeper-eu' };
  expect(told(text, 'domicile_keeper_version', of)).toBe(version);
  expect(told(text, 'domicile_keeper_timeline', of)).toBe(timeline);
  expect(told(text, 'domicile_keeper_heirs')).toBe(1);
  expect(told(text, 'domicile_keeper_alone')).toBe(0);
  const health = (kind: string) => ({ domicile_primary_health: kind });
  expect(told(text, 'domicile_keeper_primary_health', health('serves'))).toBe(1);
  expect(told(text, 'domicile_keeper_primary_health', health('gone'))).toBe(0);
  for (const node of ['eu-a', 'eu-b']) {
    expect(told(text, 'domicile_keeper_node_silence', { domicile_node: node })).toBe(0);
  }
  // Nothing has failed yet, and nothing about requests is told.
  const missing = Object.entries(KEEPER_METRICS).filter(
    ([key, metric]) => key !== 'notDone' && !text.includes(`\n${prometheusName(metric)}{`),
  );
  expect(missing).toEqual([]);
  expect(text).not.toContain('http_server');
});

test('a promotion is counted, and where it leads is seen', async () => {
  const before = await wellAgain();
  const [heir = ''] = before.standbys;
  const promoted = { domicile_keeper_event: 'promoted' };
  const count = async () => told(await scrape('eu'), 'domicile_keeper_recorded_total', promoted);
  const counted = (await count()) ?? 0;
  const ran = await command(['region', 'eu', 'switchover', '--root', domicile.root], {});
  expect([ran.status, ran.stderr]).toEqual([0, '']);
  const after = await wellAgain();
  expect(after.primary).toBe(heir);
  const text = await scrape('eu');
  expect(told(text, 'domicile_keeper_recorded_total', promoted)).toBe(counted + 1);
  expect(told(text, 'domicile_keeper_primary', { domicile_node: heir })).toBe(1);
  expect(told(text, 'domicile_keeper_primary', { domicile_node: before.primary })).toBe(undefined);
  expect(told(text, 'domicile_keeper_version')).toBe(after.version);
});

test('that a primary runs alone is told, and for how long its standby has been silent', async () => {
  const [standby = ''] = (await wellAgain()).standbys;
  domicile.clusters.kill(standby, 'SIGSTOP');
  try {
    await eventually('it runs alone', async () => {
      return told(await scrape('eu'), 'domicile_keeper_alone') === 1;
    });
    const text = await scrape('eu');
    expect(told(text, 'domicile_keeper_heirs')).toBe(0);
    const silence = told(text, 'domicile_keeper_node_silence', { domicile_node: standby });
    expect(silence).toBeGreaterThan(0.2);
  } finally {
    domicile.clusters.kill(standby, 'SIGCONT');
  }
  await wellAgain();
  expect(told(await scrape('eu'), 'domicile_keeper_alone')).toBe(0);
});

test('a keeper that cannot tell what it is asked to does not begin', async () => {
  const taken = (await targets()).find(({ labels }) => labels.keeper === 'keeper-us')?.targets[0];
  const start = (settings: Record<string, string>) =>
    command(
      [
        ...['keeper', '--region', 'eu', '--record', join(domicile.root, 'keepers', 'another')],
        ...['--regions', join(domicile.root, 'run', 'regions-of-keeper-eu.yaml')],
      ],
      { DOMICILE_KEEPER_PASSWORD: 'none', DOMICILE_OPERATOR_TOKEN: 'none', ...settings },
    );
  const listening = await start({ DOMICILE_METRICS_LISTEN: taken ?? '' });
  expect([listening.status, listening.stderr]).toEqual([
    1,
    expect.stringContaining(`DOMICILE_METRICS_LISTEN  ${taken} cannot be listened on (EADDRINUSE)`),
  ]);
  const misread = await start({ DOMICILE_TELEMETRY: 'perhaps' });
  expect([misread.status, misread.stderr]).toEqual([
    1,
    expect.stringContaining('DOMICILE_TELEMETRY  "perhaps" is none of'),
  ]);
});

test('a keeper whose address is taken gives up its office and ends', async () => {
  const [port = 0] = await freePorts(1);
  const ran = await command(
    [
      ...['keeper', '--region', 'eu', '--record', join(domicile.root, 'keepers', 'another')],
      ...['--regions', join(domicile.root, 'run', 'regions-of-keeper-eu.yaml')],
    ],
    {
      DOMICILE_KEEPER_PASSWORD: 'none',
      DOMICILE_OPERATOR_TOKEN: 'none',
      DOMICILE_METRICS_LISTEN: `127.0.0.1:${port}`,
    },
  );
  expect([ran.status, ran.stderr]).toEqual([1, expect.stringContaining('cannot be listened on')]);
});

test('a collector gets the last of it from a keeper that ends', async () => {
  await domicile.world.keepers.get('asia')?.stop();
  await eventually('it was told', async () => collector.metricNames().has('domicile.keeper.alone'));
});
