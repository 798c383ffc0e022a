/**
 * What does a keeper tell those who watch over it, and where?
 *
 * What its record says and how its nodes look to it, read at the moment of the look. It has no
 * requests, so it has no traces. Where telemetry is off nothing of it is loaded.
 */
import type { Server } from 'node:http';
import { serveMetrics } from '../telemetry/metrics-server.ts';
import { ATTRIBUTES as A, KEEPER_METRICS } from '../telemetry/names.ts';
import type { Attributes, TelemetrySettings } from '../telemetry/telemetry.ts';
import type { Keeper, KeeperFigures, KeeperStatus } from './keeper.ts';

export type KeeperTelemetryOptions = {
  keeper: Pick<Keeper, 'status' | 'figures'>;
  region: string;
  /** As Prometheus and the collector tell it from others. */
  name: string;
  version: string;
  settings: TelemetrySettings;
  now: () => number;
  log: (line: Record<string, unknown>) => void;
};

export type KeeperObservation = {
  metric: keyof typeof KEEPER_METRICS;
  value: number;
  attributes: Attributes;
};

const HEALTHS = ['serves', 'doubtful', 'hidden', 'gone'] as const;

export async function startKeeperTelemetry(
  options: KeeperTelemetryOptions,
): Promise<{ stop: () => Promise<void> } | { complaints: readonly string[] }> {
  const { keeper, settings } = options;
  if (!settings.enabled) return { stop: async () => {} };
  const { openMetrics } = await import('../telemetry/open-telemetry.ts');
  const metrics = openMetrics(
    { ...options, service: 'domicile-keeper' },
    { metrics: KEEPER_METRICS, observe: () => observeKeeper(keeper.status(), keeper.figures()) },
  );
  let server: Server | undefined;
  const stop = async () => {
    server?.close();
    server?.closeAllConnections();
    await metrics.stop();
  };
  if (settings.metricsListen === undefined) return { stop };
  try {
    server = await serveMetrics(metrics, settings.metricsListen);
    return { stop };
  } catch (error) {
    await stop();
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    const { host, port } = settings.metricsListen;
    return {
      complaints: [`DOMICILE_METRICS_LISTEN  ${host}:${port} cannot be listened on (${code})`],
    };
  }
}

export function observeKeeper(
  { record, isAlone, primary }: KeeperStatus,
  { recorded, notDone, silentForMs }: KeeperFigures,
): KeeperObservation[] {
  const observations: KeeperObservation[] = [];
  const see = (metric: keyof typeof KEEPER_METRICS, value: number, attributes: Attributes = {}) => {
    observations.push({ metric, value, attributes });
  };
  if (record !== undefined) {
    see('recordVersion', record.version);
    see('recordTimeline', record.timeline);
    see('recordPrimary', 1, { [A.node]: record.primary });
    see('heirs', record.standbys.length);
    see('keeperAlone', isAlone ? 1 : 0);
    see('pending', record.pending === null ? 0 : 1);
  }
  if (primary !== undefined) {
    for (const health of HEALTHS) {
      see('primaryHealth', health === primary.kind ? 1 : 0, { [A.health]: health });
    }
  }
  for (const [node, ms] of silentForMs) see('nodeSilence', ms / 1_000, { [A.node]: node });
  for (const [event, times] of recorded) see('recorded', times, { [A.event]: event });
  for (const [act, times] of notDone) see('notDone', times, { [A.act]: act });
  return observations;
}
