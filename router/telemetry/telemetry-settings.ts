/**
 * What is a process told about whom it shall tell?
 *
 * The part of the environment that edges and keepers have in common.
 */
import {
  type Environment,
  helpOf,
  hostPort,
  oneOf,
  optional,
  ratio,
  readSettings,
  setting,
  url,
  whole,
} from '../setting.ts';
import type { TelemetrySettings } from './telemetry.ts';

export const TELEMETRY_SETTINGS = {
  DOMICILE_TELEMETRY: setting(
    'whether traces and metrics are made; auto: where one of the two addresses below is set',
    oneOf('auto', 'on', 'off'),
    'auto',
  ),
  DOMICILE_METRICS_LISTEN: optional('host:port on which Prometheus may ask for /metrics', hostPort),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional('http(s) address of a collector, without /v1/traces', url),
  OTEL_EXPORTER_OTLP_PROTOCOL: setting(
    'how the collector is spoken to',
    oneOf('http/protobuf', 'http/json'),
    'http/protobuf',
  ),
  DOMICILE_TRACE_RATIO: setting('the part of the traces that is recorded', ratio, 0.01),
  DOMICILE_TRACE_CLIENTS: setting(
    'continue: the trace of a client goes on, and it decides whether it is recorded',
    oneOf('new', 'continue'),
    'new',
  ),
  DOMICILE_METRICS_EVERY_MS: setting(
    'how often metrics are sent to the collector',
    whole('milliseconds', 100, 3_600_000),
    30_000,
  ),
  DOMICILE_STATS_EVERY_MS: setting(
    'how often each node is asked for its statistics',
    whole('milliseconds', 100, 3_600_000),
    15_000,
  ),
};

type Reading = ReturnType<typeof readSettings<typeof TELEMETRY_SETTINGS>>;
type Values = Extract<Reading, { values: unknown }>['values'];

export function telemetryOf(read: Values): TelemetrySettings {
  const otlpEndpoint = read.OTEL_EXPORTER_OTLP_ENDPOINT;
  const metricsListen = read.DOMICILE_METRICS_LISTEN;
  const asked = otlpEndpoint !== undefined || metricsListen !== undefined;
  return {
    enabled: read.DOMICILE_TELEMETRY === 'on' || (read.DOMICILE_TELEMETRY === 'auto' && asked),
    traceRatio: read.DOMICILE_TRACE_RATIO,
    clientTraces: read.DOMICILE_TRACE_CLIENTS,
    otlpEndpoint,
    otlpProtocol: read.OTEL_EXPORTER_OTLP_PROTOCOL,
    metricsEveryMs: read.DOMICILE_METRICS_EVERY_MS,
    metricsListen,
    statsEveryMs: read.DOMICILE_STATS_EVERY_MS,
  };
}

/** For a process that has no other settings in a table. */
export function readTelemetry(
  environment: Environment,
): { settings: TelemetrySettings } | { complaints: readonly string[] } {
  const reading = readSettings(TELEMETRY_SETTINGS, environment);
  return 'complaints' in reading ? reading : { settings: telemetryOf(reading.values) };
}

/** One line a setting, for `domicile keeper --help`. */
export function telemetryHelp(): string {
  return helpOf(TELEMETRY_SETTINGS);
}
