/**
 * How does the telemetry of an edge come to run?
 *
 * Where it is off nothing is loaded: the packages cost an edge a tenth of a second and some 60 MB.
 */
import type { Server } from 'node:http';
import type { Edge } from '../edge.ts';
import { serveMetrics } from './metrics-server.ts';
import { ServerStats } from './server-stats.ts';
import type { Telemetry, TelemetrySettings } from './telemetry.ts';

export type TelemetryOptions = {
  edge: Edge;
  name: string;
  version: string;
  settings: TelemetrySettings;
  directoryKey: Uint8Array;
  wallClock: () => number;
  log: (line: Record<string, unknown>) => void;
};

export type RunningTelemetry = { telemetry: Telemetry | undefined; stop: () => Promise<void> };

/** Rejects when the address for `/metrics` cannot be listened on. */
export async function startTelemetry(options: TelemetryOptions): Promise<RunningTelemetry> {
  const { edge, settings } = options;
  if (!settings.enabled) return { telemetry: undefined, stop: async () => {} };
  const { openTelemetry } = await import('./open-telemetry.ts');
  const servers = new ServerStats({
    nodes: edge.database.nodes,
    on: (node, query, timeoutMs) => edge.database.on(node, 'router', query, timeoutMs),
    now: edge.now,
    everyMs: settings.statsEveryMs,
  });
  const telemetry = openTelemetry({ ...options, servers });
  let server: Server | undefined;
  const stop = async () => {
    servers.stop();
    server?.close();
    server?.closeAllConnections();
    await telemetry.stop();
  };
  try {
    if (settings.metricsListen !== undefined) {
      server = await serveMetrics(telemetry, settings.metricsListen);
    }
  } catch (error) {
    await stop();
    throw error;
  }
  servers.start();
  return { telemetry, stop };
}
