/**
 * Is what the pages say still so?
 *
 * Links lead somewhere, numbers are those of the code, excerpts are excerpts, and every command
 * exists. What a command prints is the matter of `walk.world.test.ts`.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { SIGHTING_AGE_MS_MAX } from '../policies/place-read.ts';
import { edgePorts, postgresPorts } from '../regions/local/catalogue-ports.ts';
import { settingsText } from '../regions/local/postgres-settings.ts';
import { readCatalogue } from '../regions/read-catalogue.ts';
import { DEFAULT_LIMITS } from '../router/edge.ts';
import { fromOutside } from '../router/init-command.ts';
import { STALL_PROBE_EVERY_MS } from '../router/stall-guard.ts';
import { PATIENCE_MS } from '../router/waiting-room.ts';
import { steps } from './console-for-tests.ts';

/** What is no script of ours. */
const NPMS_OWN = /^npm (ci$|pack$|install )/;
const CHECKOUT = fileURLToPath(new URL('..', import.meta.url));
const read = (path: string) => readFileSync(join(CHECKOUT, path), 'utf8');

const pages = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.md'], {
  cwd: CHECKOUT,
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && existsSync(join(CHECKOUT, path)));
/** Pages of this folder and above it; `policy.md` has a test of its own. */
const ours = pages.filter((path) => /^(docs\/|[^/]+$)/.test(path) && path !== 'docs/policy.md');

const prose = (page: string) => page.replace(/^```[\s\S]*?^```/gm, '');

/** The name that GitHub gives a heading. */
function anchor(heading: string): string {
  return heading
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-');
}

function anchors(path: string): string[] {
  return [...prose(read(path)).matchAll(/^#+ (.+)$/gm)].map(([, text = '']) => anchor(text));
}

/** A dozen commands are started for their help, on a machine that may be busy. */
const COMMANDS_MS_MAX = 300_000;

describe('links', () => {
  test.each(pages)('of %s lead to files and headings that exist', (path) => {
    const dead: string[] = [];
    for (const [, link = ''] of prose(read(path)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link)) continue;
      const [file = '', heading] = link.split('#');
      const target = file === '' ? path : join(dirname(path), file);
      if (!existsSync(join(CHECKOUT, target))) dead.push(link);
      else if (heading !== undefined && statSync(join(CHECKOUT, target)).isFile()) {
        if (!anchors(target).includes(heading)) dead.push(link);
      }
    }
    expect(dead).toEqual([]);
  });
});

describe('numbers', () => {
  const constant = (path: string, name: string) => {
    const found = new RegExp(`\\b${name} = ([\\d_]+);`).exec(read(path))?.[1];
    return Number(found?.replaceAll('_', ''));
  };
  const settings = settingsText({
    kind: 'private',
    node: { name: 'a', host: '127.0.0.1', port: 1 },
    durable: true,
    follows: undefined,
  });
  const seconds = (ms: number) => `${ms / 1_000} s`;
  /** Every number with a unit that a page may state, made from the code. */
  const stated = new Set([
    seconds(DEFAULT_LIMITS.budgetMs),
    seconds(DEFAULT_LIMITS.connectTimeoutMs),
    seconds(SIGHTING_AGE_MS_MAX),
    seconds(PATIENCE_MS),
    seconds(constant('router/keeper/kept-places.ts', 'TAKE_MS_MAX')),
    `${SIGHTING_AGE_MS_MAX} `,
    `${DEFAULT_LIMITS.replicaWaitMs} ms`,
    `${DEFAULT_LIMITS.bodyBytesMax / 1024 / 1024} MiB`,
    `${constant('router/session-token.ts', 'TOKEN_CHARS_MAX').toLocaleString('en-US')} characters`,
    `${constant('router/directory.ts', 'KEY_BYTES') * 8}-bit`,
    // 80 drawn bits of a UUID without its version and variant.
    `${80 - 4 - 2} random bits`,
    settings.match(/max_slot_wal_keep_size = '(\d+)GB'/)?.[1]?.concat(' GB') ?? '',
  ]);
  const unit = /\b\d[\d,.]*[ -]?(?:ms|s|seconds?|bytes?|[KMG]i?B|characters|(?:random )?bits?)\b/g;

  test.each(ours)('with a unit in %s are those of the code', (path) => {
    const strays = [...prose(read(path)).matchAll(unit)]
      .map(([text]) => text)
      .filter((text) => !stated.has(text));
    expect(strays).toEqual([]);
  });

  test('in words are those of the code', () => {
    expect(STALL_PROBE_EVERY_MS).toBe(1_000); // "one a second is let through"
    expect(constant('router/watch.ts', 'HURRY_MS')).toBe(50); // "looks twenty times a second"
    expect(read('docs/runbook.md')).toContain(`\`seenMsAgo\` is above ${SIGHTING_AGE_MS_MAX},`);
    const { version } = JSON.parse(read('package.json')) as { version: string };
    expect(read('CHANGELOG.md')).toContain(`## ${version}`);
    expect(read('README.md')).toContain(`Version ${version.replace(/\.0$/, '')}.`);
  });

  test.each(ours)('of ports in %s are those of the storefront’s regions', (path) => {
    const file = readCatalogue(read('examples/storefront/regions.yaml'), 'regions.yaml');
    if (!('catalogue' in file)) throw new Error('regions.yaml has complaints');
    const ports = [...postgresPorts(file.catalogue), ...edgePorts(file.catalogue)];
    const known = new Set(ports.map(({ port }) => String(port)));
    const named = [...read(path).matchAll(/(?:127\.0\.0\.1:|listens on )(\d+)/g)];
    expect(named.map(([, port = '']) => port).filter((port) => !known.has(port))).toEqual([]);
  });
});

describe('the README', () => {
  test('shows an app as it is', () => {
    const app = fromOutside(read('examples/notes/app.ts'));
    const excerpts = [...read('README.md').matchAll(/^```ts\n([\s\S]*?)^```/gm)];
    expect(excerpts.length).toBeGreaterThan(0);
    for (const [, excerpt = ''] of excerpts) expect(app).toContain(excerpt.trimEnd());
  });

  test(
    'names only commands and options that exist',
    () => {
      const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
      const help = new Map<string, string>();
      const helpOf = (words: readonly string[]) => {
        const asked = words.join(' ');
        const args = ['router/main.ts', ...words, '--help'];
        const text =
          help.get(asked) ??
          execFileSync(process.execPath, args, { cwd: CHECKOUT, encoding: 'utf8' });
        help.set(asked, text);
        return text;
      };
      const commands = ours.flatMap((path) => [
        ...steps(read(path)).map(({ command }) => command),
        ...[...read(path).matchAll(/`(npm [^`]+)`/g)].map(([, command = '']) => command),
      ]);
      const npm = new Set(
        commands
          .flatMap((command) => command.split(' && '))
          .filter((command) => command.startsWith('npm ') && !NPMS_OWN.test(command)),
      );
      expect(npm.size).toBeGreaterThan(8);
      const measured = measurements();
      const chaos = scenarios();
      const groups = groupsOfMutants();
      for (const command of npm) {
        const [, name = '', rest = ''] = /^npm (?:run )?([a-z]+)(?: -- (.+))?$/.exec(command) ?? [];
        expect(Object.keys(scripts), command).toContain(name);
        for (const word of scripts[name]?.split(' ') ?? []) {
          if (word.endsWith('.ts')) expect(existsSync(join(CHECKOUT, word)), command).toBe(true);
        }
        if (rest === '') continue;
        const words = rest.split(' ').filter((word) => /^[a-z]+(-[a-z]+)*$/.test(word));
        if (name === 'bench') {
          // It has no help; a wrong word makes it say what there is, without measuring anything.
          expect(measured, command).toEqual(expect.arrayContaining(words));
          expect(rest.replaceAll(/--json|[a-z]+| /g, ''), command).toBe('');
          continue;
        }
        if (name === 'chaos') {
          const [what = '', ...more] = rest.split(' ');
          expect(chaos.words, command).toContain(what);
          for (const [option] of rest.matchAll(/--[a-z-]+/g)) {
            expect(chaos.usage, command).toContain(option);
          }
          const isFile = (word: string) => /(\.(json|html)|\/)$/.test(word);
          const values = more.filter((word) => !word.startsWith('--') && !isFile(word));
          expect(
            values.filter((word) => !/^(\d+|\.domicile)$/.test(word)),
            command,
          ).toEqual([]);
          continue;
        }
        if (name === 'mutants') {
          expect(groups, command).toContain(rest);
          continue;
        }
        const text = helpOf(name === 'start' ? ['up'] : words);
        for (const [option] of rest.matchAll(/--[a-z-]+/g)) expect(text, command).toContain(option);
        const usage = words.map((word) => (REGION_IDS.has(word) ? '<region>' : word)).join(' ');
        if (name !== 'start') expect(text, command).toContain(`Usage: domicile ${usage}`);
      }
    },
    COMMANDS_MS_MAX,
  );
});

/** Whoever reads puts another one there. */
const REGION_IDS = new Set(['us', 'eu', 'asia']);

/** What `npm run bench` says there is, when it is asked for something else. */
function measurements(): string[] {
  const { stderr } = spawnSync(process.execPath, ['bench/main.ts', 'nothing'], {
    cwd: CHECKOUT,
    encoding: 'utf8',
  });
  return /there are (.+)$/m.exec(stderr)?.[1]?.split(', ') ?? [];
}

/** What `npm run chaos` knows: the names of its list, and how it is used. */
function scenarios(): { words: readonly string[]; usage: string } {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, ['chaos/main.ts', ...args], { cwd: CHECKOUT, encoding: 'utf8' });
  const names = run('list').stdout.match(/^[a-z-]+/gm) ?? [];
  expect(names.length).toBeGreaterThan(20);
  return {
    words: [...names, 'list', 'quick', 'all', 'replay', 'report', 'storm'],
    usage: run().stderr,
  };
}

/** What `npm run mutants` says there is, when it is asked for something else. */
function groupsOfMutants(): string[] {
  const { stderr } = spawnSync(process.execPath, ['chaos/mutants/main.ts', 'nothing'], {
    cwd: CHECKOUT,
    encoding: 'utf8',
  });
  return /neither a group \(([^)]+)\)/.exec(stderr)?.[1]?.split(', ') ?? [];
}
