/**
 * Does the source tree still keep its own rules?
 *
 * Who may import whom, one door for each package, who may read clock, environment and randomness,
 * and nothing left undone. `docs/decisions/` says why.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { describe, expect, test } from 'vitest';

type Source = { path: string; text: string; imports: string[] };

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s(?:[^'";]*?\sfrom\s)?'([^']+)'|\bimport\(\s*'([^']+)'\s*\)/g;

const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && existsSync(path));
const sources: Source[] = files
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
  .map((path) => {
    const text = readFileSync(path, 'utf8');
    const imports = [...text.matchAll(IMPORT)].map((match) => match[1] ?? match[2] ?? '');
    return { path, text, imports };
  });
const isTest = (path: string) => /\.test\.ts$|for-tests?\.ts$|^tidy/.test(path);
const product = sources.filter(({ path }) => !isTest(path));

/** The text without its comments. */
function code(text: string): string {
  return text.replaceAll(/\/\*\*[\s\S]*?\*\/|\/\/.*/g, '');
}

/** Top-level folder of what a relative import leads to. */
function folderOf(path: string, imported: string): string {
  return normalize(join(dirname(path), imported)).split('/')[0] ?? '';
}

describe('who may import whom', () => {
  const allowed: Record<string, readonly string[]> = {
    regions: ['regions'],
    policies: ['policies', 'regions'],
    router: ['router', 'policies', 'regions'],
    // The judge shares no code with the accused.
    chaos: ['chaos', 'regions'],
    // What stands there judges and computes for itself; only its tests look at the rest.
    terraform: ['terraform'],
    // It tries what others made; its tests ask the router what settings an edge takes.
    compose: ['compose', 'regions'],
  };
  for (const [folder, mayImport] of Object.entries(allowed)) {
    test(`${folder}/ imports only from ${mayImport.join(', ')}`, () => {
      const strays = product
        .filter(({ path }) => path.startsWith(`${folder}/`))
        .flatMap(({ path, imports }) =>
          imports
            .filter((name) => name.startsWith('.'))
            .filter((name) => !mayImport.includes(folderOf(path, name)))
            .map((name) => `${path} imports ${name}`),
        );
      expect(strays).toEqual([]);
    });
  }

  test('from regions/, chaos/ takes the catalogue and the local world only', () => {
    const open = /^\.\.\/(\.\.\/)*regions\/(catalogue|read-catalogue|toxiproxy|local\/.+)\.ts$/;
    const strays = product
      .filter(({ path }) => path.startsWith('chaos/'))
      .flatMap(({ path, imports }) =>
        imports
          .filter((name) => folderOf(path, name) === 'regions' && !open.test(name))
          .map((name) => `${path} imports ${name}`),
      );
    expect(strays).toEqual([]);
  });

  const ENTRIES_OF_POLICIES = new Set(['policies/write-schema.ts', 'policies/simulation/main.ts']);

  test('policies/ decides without I/O, clock or randomness', () => {
    const strays = product
      .filter(({ path }) => path.startsWith('policies/') && !ENTRIES_OF_POLICIES.has(path))
      .filter(
        ({ text, imports }) =>
          imports.some((name) => name.startsWith('node:')) ||
          /\b(Date\.now|performance\.now|Math\.random|fetch)\(|new Date\(\)/.test(code(text)),
      )
      .map(({ path }) => path);
    expect(strays).toEqual([]);
  });
});

describe('one door for each package', () => {
  const doors: Record<string, readonly string[]> = {
    // The bench measures against the bare package.
    postgres: ['regions/postgres.ts', 'bench/bare-server.ts'],
    undici: ['router/peers.ts'],
    'toxiproxy-node-client': ['regions/toxiproxy.ts'],
    'countries-list': ['policies/countries.ts'],
    autocannon: ['bench/forward.ts'],
    jose: ['router/console/verify-jwt.ts'],
    '@opentelemetry/api': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/core': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/exporter-metrics-otlp-http': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/exporter-metrics-otlp-proto': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/exporter-prometheus': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/exporter-trace-otlp-http': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/exporter-trace-otlp-proto': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/resources': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/sdk-metrics': ['router/telemetry/open-telemetry.ts'],
    '@opentelemetry/sdk-trace': ['router/telemetry/open-telemetry.ts'],
  };
  for (const [name, expected] of Object.entries(doors)) {
    test(`${name} is imported by ${expected.join(' and ')} alone`, () => {
      const found = product.filter(({ imports }) => imports.includes(name)).map(({ path }) => path);
      expect(found.filter((path) => !expected.includes(path))).toEqual([]);
      expect(found.length).toBeGreaterThan(0);
    });
  }
});

test('only entry files read the environment, the wall clock and randomness', () => {
  const entries = new Set([
    'router/main.ts',
    'router/edge-command.ts',
    'chaos/toxiproxy/main.ts',
    'policies/write-schema.ts',
    'policies/simulation/main.ts',
    'chaos/main.ts',
    'chaos/mutants/main.ts',
    'chaos/mutants/standing-world.ts',
    'chaos/faults/jumping-clock.ts',
    'vitest.config.ts',
  ]);
  const strays = product
    .filter(({ path }) => /^(router|policies|chaos)\//.test(path) && !entries.has(path))
    .filter(({ text }) =>
      /process\.env|Date\.now\(\)|new Date\(\)|Math\.random\(|randomBytes\(|randomUUID\(|process\.exit\(/.test(
        code(text),
      ),
    )
    .map(({ path }) => path);
  expect(strays).toEqual([]);
});

test('every source file opens by saying what it is for', () => {
  const strays = product
    .filter(({ text }) => !/^(#!.*\n)?\/\*\*/.test(text))
    .map(({ path }) => path);
  expect(strays).toEqual([]);
});

test('no file is called utils, helpers or index, and names are in kebab case', () => {
  const strays = sources
    .map(({ path }) => path)
    .filter(
      (path) =>
        /(^|\/)(utils?|helpers?|index|misc|common)\.ts$/.test(path) ||
        !/^[a-z0-9.-]+$/.test(path.split('/').at(-1) ?? ''),
    );
  expect(strays).toEqual([]);
});

test('nothing is left undone or switched off', () => {
  // Put together here, so that this file does not find itself.
  const marks = new RegExp(
    `\\b(${['TO', 'FIX', 'X'].map((half, i) => half + ['DO', 'ME', 'XX'][i]).join('|')})\\b`,
  );
  const off = /\b(it|test|describe)\.(only|skip|todo)\(/;
  const strays = sources
    .filter(({ path }) => path !== 'tidy.test.ts')
    .filter(({ text }) => marks.test(text) || off.test(text))
    .map(({ path }) => path);
  expect(strays).toEqual([]);
});

test('the lock file names no host and no platform package is missing from it', () => {
  const lock = readFileSync('package-lock.json', 'utf8');
  expect(lock).not.toMatch(/"resolved"/);
  const { packages } = JSON.parse(lock) as { packages: Record<string, { version?: string }> };
  const unresolved = Object.entries(packages)
    .filter(([path, { version }]) => path !== '' && version === undefined)
    .map(([path]) => path);
  expect(unresolved).toEqual([]);
});

test('the tests run on the Node that the lock file brings', () => {
  expect(process.versions.node.split('.')[0]).toBe('24');
});
