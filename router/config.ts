/**
 * With what settings does an edge run?
 *
 * One table of environment variables: name, parser, default, help. It is read once; all complaints
 * come together, a misspelt variable among them, and nothing is clamped or ignored. Secrets come
 * from here and from nowhere else.
 */
import { nearest } from '../regions/yaml-suggestion.ts';
import { type CookieSecure, DEFAULT_LIMITS, type EdgeLimits } from './edge.ts';
import type { OpenHealth } from './health.ts';
import {
  Complaint,
  type Environment,
  helpOf,
  nonEmpty,
  oneOf,
  readSettings,
  setting,
  whole,
} from './setting.ts';
import type { TelemetrySettings } from './telemetry/telemetry.ts';
import { TELEMETRY_SETTINGS, telemetryOf } from './telemetry/telemetry-settings.ts';

export type EdgeConfig = {
  databasePassword: string;
  sessionKeys: Uint8Array[];
  hopKey: Uint8Array;
  directoryKey: Uint8Array;
  subjectKey: Uint8Array;
  limits: EdgeLimits;
  cookieSecure: CookieSecure;
  openHealth: OpenHealth;
  telemetry: TelemetrySettings;
};

export type ConfigReading = { config: EdgeConfig } | { complaints: string[] };

const KEY_BYTES_MIN = 32;
/** PostgreSQL holds the key as the two pads of an HMAC, which are one block long. */
const SUBJECT_KEY_BYTES_MAX = 64;

/** One that signs, one that is on its way in, one on its way out: each costs a MAC for a new token. */
const SESSION_KEYS_MAX = 3;

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
  DOMICILE_HEALTH: setting(
    'what /.domicile/health tells anybody; status: that the edge serves; whole: nodes, policy and load too',
    oneOf('status', 'whole'),
    'status',
  ),
  ...TELEMETRY_SETTINGS,
};

export function readConfig(environment: Environment): ConfigReading {
  const complaints: string[] = [];
  for (const name of Object.keys(environment)) {
    if (!name.startsWith('DOMICILE_') || Object.hasOwn(SETTINGS, name)) continue;
    const meant = nearest(name, Object.keys(SETTINGS));
    complaints.push(
      `${name}  no such setting${meant === undefined ? '' : `; did you mean ${meant}?`}`,
    );
  }
  const reading = readSettings(SETTINGS, environment);
  if ('complaints' in reading) complaints.push(...reading.complaints);
  if (complaints.length > 0 || 'complaints' in reading) return { complaints };
  const { values: read } = reading;
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
      openHealth: read.DOMICILE_HEALTH,
      telemetry: telemetryOf(read),
    },
  };
}

/** One line a setting, for `domicile edge --help`. */
export function settingsHelp(): string {
  return helpOf(SETTINGS);
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
