import { expect, test } from 'vitest';
import { readConfig, settingsHelp } from './config.ts';

const key = Buffer.alloc(32, 1).toString('base64url');
const sound = {
  DOMICILE_DATABASE_PASSWORD: 'secret',
  DOMICILE_SESSION_KEYS: `${key},${Buffer.alloc(32, 2).toString('base64url')}`,
  DOMICILE_HOP_KEY: key,
  DOMICILE_SUBJECT_KEY: key,
  DOMICILE_DIRECTORY_KEY: key,
  PATH: '/bin',
};

test('a sound environment is read, with defaults for what it leaves out', () => {
  const reading = readConfig({ ...sound, DOMICILE_BUDGET_MS: '1500' });
  expect(reading).toMatchObject({ config: { limits: { budgetMs: 1_500, replicaWaitMs: 50 } } });
  expect('config' in reading && reading.config.sessionKeys.length).toBe(2);
});

test('all complaints come at once, and no secret is repeated', () => {
  const reading = readConfig({
    DOMICILE_HOP_KEY: 'c2hvcnQ',
    DOMICILE_DIRECTORY_KEY: 'not base64url!',
    DOMICILE_SUBJECT_KEY: Buffer.alloc(65, 1).toString('base64url'),
    DOMICILE_BUDGET_MS: '1s',
    DOMICILE_BODY_BYTES_MAX: '0',
    DOMICILE_BUGDET_MS: '5',
  });
  expect(reading).toEqual({
    complaints: [
      'DOMICILE_BUGDET_MS  no such setting; did you mean DOMICILE_BUDGET_MS?',
      expect.stringMatching(/^DOMICILE_DATABASE_PASSWORD {2}missing: /),
      expect.stringMatching(/^DOMICILE_SESSION_KEYS {2}missing: /),
      expect.stringMatching(/^DOMICILE_HOP_KEY {2}has 5 bytes, at least 32 are needed: /),
      expect.stringMatching(/^DOMICILE_DIRECTORY_KEY {2}is not base64url: /),
      expect.stringMatching(/^DOMICILE_SUBJECT_KEY {2}has 65 bytes, at most 64 are taken: /),
      'DOMICILE_BUDGET_MS  "1s" is not a whole number of milliseconds from 1 to 60000: time in which a request must be answered',
      'DOMICILE_BODY_BYTES_MAX  "0" is not a whole number of bytes from 1 to 67108864: the largest request body that is taken',
    ],
  });
});

test.each([
  ['the same key twice', [1, 2, 1], 'has the same key twice'],
  ['four keys', [1, 2, 3, 4], 'has 4 keys, at most 3 are taken'],
  ['no key', [], 'has 0 bytes, at least 32 are needed'],
])('a list of session keys with %s is refused', (_what, bytes, complaint) => {
  const list = bytes.map((byte) => Buffer.alloc(32, byte).toString('base64url')).join(',');
  const reading = readConfig({ ...sound, DOMICILE_SESSION_KEYS: list });
  expect(reading).toEqual({
    complaints: [expect.stringMatching(`^DOMICILE_SESSION_KEYS {2}${complaint}: `)],
  });
});

test('cookies are for encrypted connections as it is said', () => {
  for (const word of ['auto', 'on', 'off']) {
    expect(readConfig({ ...sound, DOMICILE_COOKIE_SECURE: word })).toMatchObject({
      config: { cookieSecure: word },
    });
  }
  expect(readConfig(sound)).toMatchObject({ config: { cookieSecure: 'auto' } });
  expect(readConfig({ ...sound, DOMICILE_COOKIE_SECURE: 'yes' })).toEqual({
    complaints: [
      expect.stringMatching(/^DOMICILE_COOKIE_SECURE {2}"yes" is none of auto, on, off: /),
    ],
  });
});

test('every setting is in the help with its default', () => {
  expect(settingsHelp()).toContain(
    'DOMICILE_BUDGET_MS  time in which a request must be answered (2000)',
  );
  expect(settingsHelp()).toContain('OTEL_EXPORTER_OTLP_ENDPOINT  http(s) address of a collector');
  expect(settingsHelp().split('\n').length).toBe(26);
});

test('telemetry is on where it has somewhere to go, or when it is asked for', () => {
  const enabled = (settings: Record<string, string>) => {
    const reading = readConfig({ ...sound, ...settings });
    return 'config' in reading && reading.config.telemetry.enabled;
  };
  const listen = { DOMICILE_METRICS_LISTEN: '127.0.0.1:9464' };
  expect(enabled({})).toBe(false);
  expect(enabled({ DOMICILE_TELEMETRY: 'on' })).toBe(true);
  expect(enabled(listen)).toBe(true);
  expect(enabled({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' })).toBe(true);
  expect(enabled({ ...listen, DOMICILE_TELEMETRY: 'off' })).toBe(false);
});

test('what is wrong with a setting of telemetry is said, without a secret', () => {
  const reading = readConfig({
    ...sound,
    DOMICILE_METRICS_LISTEN: '9464',
    DOMICILE_TRACE_RATIO: '1.01',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'user:secret@collector',
  });
  expect(reading).toEqual({
    complaints: [
      expect.stringMatching(/^DOMICILE_METRICS_LISTEN {2}"9464" is not host:port: /),
      expect.stringMatching(/^OTEL_EXPORTER_OTLP_ENDPOINT {2}is no http or https address: /),
      expect.stringMatching(/^DOMICILE_TRACE_RATIO {2}"1.01" is not a number from 0 to 1: /),
    ],
  });
  expect(JSON.stringify(reading)).not.toContain('secret');
  for (const text of ['0', '1', '0.25']) {
    expect(readConfig({ ...sound, DOMICILE_TRACE_RATIO: text })).toMatchObject({
      config: { telemetry: { traceRatio: Number(text) } },
    });
  }
  expect(readConfig({ ...sound, DOMICILE_METRICS_LISTEN: '[::1]:0' })).toMatchObject({
    config: { telemetry: { metricsListen: { host: '::1', port: 0 } } },
  });
});
