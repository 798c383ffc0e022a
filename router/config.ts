/**
 * With what settings does an edge run?
 *
 * One table of environment variables: name, parser, default, help. It is read once; all complaints
 * come together, a misspelt variable among them, and nothing is clamped or ignored. Secrets come
 * from here and from nowhere else.
 */
import { nearest } from '../regions/yaml-suggestion.ts';
import { type CookieSecure, DEFAULT_LIMITS, type EdgeLimits } from './edge.ts';
import type { TelemetrySettings } from './telemetry/telemetry.ts';

export type EdgeConfig = {
  databasePassword: string;
  sessionKeys: Uint8Array[];
  hopKey: Uint8Array;
  directoryKey: Uint8Array;
  subjectKey: Uint8Array;
  limits: EdgeLimits;
  cookieSecure: CookieSecure;
  telemetry: TelemetrySettings;
};

export type ConfigReading = { config: EdgeConfig } | { complaints: string[] };

type Environment = Readonly<Record<string, string | undefined>>;

const KEY_BYTES_MIN = 32;
/** PostgreSQL holds the key as the two pads of an HMAC, which are one block long. */
const SUBJECT_KEY_BYTES_MAX = 64;

/** One that signs, one that is on its way in, one on its way out: each costs a MAC for a new token. */
const SESSION_KEYS_MAX = 3;

class Complaint extends Error {}

type Setting<T> = { help: string; parse: (text: string) => T; default?: T; optional?: true };

const SETTINGS = {
  DOMICILE_DATABASE_PASSWORD: setting(
    'the password of this region’s four domicile_* logins',
    nonEmpty,
  ),
  DOMICILE_SESSION_KEYS: setting(
    'keys of session tokens, base64url, comma-separated: the first signs, all verify',
    sessionKeys,
  ),
  DOMICILE_HOP_KEY: setting('key of requests between edges, base64url', (text) => key(text)),
  DOMICILE_DIRECTORY_KEY: setting('key of the hashes in the directory, base64url', (text) =>
    key(text),
  ),
  DOMICILE_SUBJECT_KEY: setting(
    'key with which this region’s edges tell PostgreSQL for whom they ask, base64url',
    (text) => key(text, SUBJECT_KEY_BYTES_MAX),
  ),
  DOMICILE_BUDGET_MS: setting(
    'time in which a request must be answered',
    whole('milliseconds', 1, 60_000),
    DEFAULT_LIMITS.budgetMs,
  ),
  DOMICILE_BODY_BYTES_MAX: setting(
    'the largest request body that is taken',
    whole('bytes', 1, 64 * 1024 * 1024),
    DEFAULT_LIMITS.bodyBytesMax,
  ),
  DOMICILE_CONNECT_TIMEOUT_MS: setting(
    'time in which a connection to a node or a peer must stand',
    whole('milliseconds', 1, 60_000),
    DEFAULT_LIMITS.connectTimeoutMs,
  ),
  DOMICILE_REPLICA_WAIT_MS: setting(
    'how long a read waits for a replica before it takes the primary',
    whole('milliseconds', 0, 10_000),
    DEFAULT_LIMITS.replicaWaitMs,
  ),
  DOMICILE_CONNECTIONS_MAX: setting(
    'connections to each node for each login',
    whole('connections', 1, 1_000),
    DEFAULT_LIMITS.connectionsMax,
  ),
  DOMICILE_WAITERS_MAX: setting(
    'requests that may wait for a connection to one node',
    whole('requests', 1, 1_000_000),
    DEFAULT_LIMITS.waitersMax,
  ),
  DOMICILE_REQUESTS_MAX: setting(
    'requests of clients under way at once, and as many of other edges; half may be abroad',
    whole('requests', 1, 1_000_000),
    DEFAULT_LIMITS.requestsMax,
  ),
  DOMICILE_HELD_BYTES_MAX: setting(
    'bytes of bodies held at once for clients, for other edges, and for each other region',
    whole('bytes', 1, 64 * 1024 * 1024 * 1024),
    DEFAULT_LIMITS.heldBytesMax,
  ),
  DOMICILE_QUEUE_MS_MAX: setting(
    'the delay by a standing queue from which on requests are turned away',
    whole('milliseconds', 1, 60_000),
    DEFAULT_LIMITS.queueMsMax,
  ),
  DOMICILE_DIRECTORY_ENTRIES_MAX: setting(
    'subjects whose home is remembered',
    whole('subjects', 1, 100_000_000),
    DEFAULT_LIMITS.directoryEntriesMax,
  ),
  DOMICILE_LOOK_EVERY_MS: setting(
    'how often each node is looked at',
    whole('milliseconds', 10, 10_000),
    DEFAULT_LIMITS.lookEveryMs,
  ),
  DOMICILE_COOKIE_SECURE: setting(
    'whether session cookies have the attribute Secure; auto: unless the client asks this machine itself over plain http',
    oneOf('auto', 'on', 'off'),
    'auto',
  ),
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

type Settings = typeof SETTINGS;
type Values = { [Name in keyof Settings]: Settings[Name] extends Setting<infer T> ? T : never };

export function readConfig(environment: Environment): ConfigReading {
  const complaints: string[] = [];
  const values: Record<string, unknown> = {};
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('DOMICILE_') || Object.hasOwn(SETTINGS, name)) continue;
    const meant = nearest(name, Object.keys(SETTINGS));
    complaints.push(
      `${name}  no such setting${meant === undefined ? '' : `; did you mean ${meant}?`}`,
    );
  }
  for (const [name, { help, parse, default: fallback, optional }] of Object.entries<
    Setting<unknown>
  >(SETTINGS)) {
    const text = environment[name];
    if (text === undefined) {
      if (fallback === undefined && optional !== true) {
        complaints.push(`${name}  missing: ${help}`);
      }
      values[name] = fallback;
      continue;
    }
    try {
      values[name] = parse(text);
    } catch (error) {
      if (!(error instanceof Complaint)) throw error;
      complaints.push(`${name}  ${error.message}: ${help}`);
    }
  }
  if (complaints.length > 0) return { complaints };
  const read = values as Values;
  return {
    config: {
      databasePassword: read.DOMICILE_DATABASE_PASSWORD,
      sessionKeys: read.DOMICILE_SESSION_KEYS,
      hopKey: read.DOMICILE_HOP_KEY,
      directoryKey: read.DOMICILE_DIRECTORY_KEY,
      subjectKey: read.DOMICILE_SUBJECT_KEY,
      limits: {
        budgetMs: read.DOMICILE_BUDGET_MS,
        bodyBytesMax: read.DOMICILE_BODY_BYTES_MAX,
        connectTimeoutMs: read.DOMICILE_CONNECT_TIMEOUT_MS,
        replicaWaitMs: read.DOMICILE_REPLICA_WAIT_MS,
        connectionsMax: read.DOMICILE_CONNECTIONS_MAX,
        waitersMax: read.DOMICILE_WAITERS_MAX,
        requestsMax: read.DOMICILE_REQUESTS_MAX,
        heldBytesMax: read.DOMICILE_HELD_BYTES_MAX,
        queueMsMax: read.DOMICILE_QUEUE_MS_MAX,
        directoryEntriesMax: read.DOMICILE_DIRECTORY_ENTRIES_MAX,
        lookEveryMs: read.DOMICILE_LOOK_EVERY_MS,
      },
      cookieSecure: read.DOMICILE_COOKIE_SECURE,
      telemetry: telemetryOf(read),
    },
  };
}

/** One line a setting, for `domicile edge --help`. */
export function settingsHelp(): string {
  return Object.entries<Setting<unknown>>(SETTINGS)
    .map(([name, { help, default: fallback, optional }]) =>
      optional === true
        ? `  ${name}  ${help}`
        : fallback === undefined
          ? `  ${name}  ${help} (required)`
          : `  ${name}  ${help} (${fallback})`,
    )
    .join('\n');
}

function setting<T>(help: string, parse: (text: string) => T, fallback?: T): Setting<T> {
  return fallback === undefined ? { help, parse } : { help, parse, default: fallback };
}

/** Nothing is missing without it. */
function optional<T>(help: string, parse: (text: string) => T): Setting<T | undefined> {
  return { help, parse, optional: true };
}

function telemetryOf(read: Values): TelemetrySettings {
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

function nonEmpty(text: string): string {
  if (text === '') throw new Complaint('is empty');
  return text;
}

/** The value itself is a secret, so a complaint never repeats it. */
function key(text: string, bytesMax = Number.POSITIVE_INFINITY): Uint8Array {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.toString('base64url') !== text) throw new Complaint('is not base64url');
  if (bytes.length < KEY_BYTES_MIN) {
    throw new Complaint(`has ${bytes.length} bytes, at least ${KEY_BYTES_MIN} are needed`);
  }
  if (bytes.length > bytesMax) {
    throw new Complaint(`has ${bytes.length} bytes, at most ${bytesMax} are taken`);
  }
  return bytes;
}

/** A key that is there twice was meant to be another one. */
function sessionKeys(text: string): Uint8Array[] {
  const words = text.split(',');
  if (new Set(words).size < words.length) throw new Complaint('has the same key twice');
  if (words.length > SESSION_KEYS_MAX) {
    throw new Complaint(`has ${words.length} keys, at most ${SESSION_KEYS_MAX} are taken`);
  }
  return words.map((one) => key(one));
}

function hostPort(text: string): { host: string; port: number } {
  const [, host = '', port = ''] = /^(\[[0-9a-fA-F:]+\]|[^:/\s]+):(\d{1,5})$/.exec(text) ?? [];
  if (host === '' || Number(port) > 65_535) {
    throw new Complaint(`${JSON.stringify(text)} is not host:port`);
  }
  return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/** It may carry credentials, so a complaint does not repeat it. */
function url(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new Complaint('is no http or https address');
}

function ratio(text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= 1) return value;
  throw new Complaint(`${JSON.stringify(text)} is not a number from 0 to 1`);
}

function oneOf<const T extends string>(...words: T[]): (text: string) => T {
  return (text) => {
    const word = words.find((one) => one === text);
    if (word !== undefined) return word;
    throw new Complaint(`${JSON.stringify(text)} is none of ${words.join(', ')}`);
  };
}

function whole(unit: string, min: number, max: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw new Complaint(
      `${JSON.stringify(text)} is not a whole number of ${unit} from ${min} to ${max}`,
    );
  };
}
