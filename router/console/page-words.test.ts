/** Does the page say what the problem documents say, and are its files typed? */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { consoleFiles } from './console-files.ts';

const PAGE = join(import.meta.dirname, 'page');
const read = (name: string) => readFileSync(join(PAGE, name), 'utf8');

test('each kind of failure has the title that its problem document has', () => {
  const problems = readFileSync(join(import.meta.dirname, '../problem.ts'), 'utf8');
  const described = problems.slice(problems.indexOf('function describe('));
  const titles = [...described.matchAll(/case '([a-z-]+)':[\s\S]*?title:\s*'([^']+)'/g)].map(
    ([, kind, title]) => `${kind}: ${title}`,
  );
  expect(titles.length).toBeGreaterThan(40);
  const table = /const REFUSALS = \{([\s\S]*?)\n\};/.exec(read('words.js'))?.[1] ?? '';
  const said = [...table.matchAll(/'?([a-z-]+)'?:\s*'([^']+)'/g)].map(
    ([, kind, title]) => `${kind}: ${title}`,
  );
  expect(titles.filter((one) => !said.includes(one))).toEqual([]);
});

test('the scripts of the page are typed as they are', () => {
  const tsc = join(import.meta.dirname, '../../node_modules/.bin/tsc');
  expect(execFileSync(tsc, ['-p', PAGE], { encoding: 'utf8' })).toBe('');
});

test('each file says what it is for, and nothing in it is run from or loaded from elsewhere', () => {
  for (const [path, { body }] of consoleFiles()) {
    const text = new TextDecoder().decode(body);
    if (/\.(js|css)$/.test(path)) expect(text, path).toMatch(/^(\/\* biome[^\n]*\n)?\/\*\*?\n \* /);
    const addresses = text.match(/\bhttps?:\/\/[^'"\s)]+/g) ?? [];
    expect(addresses.filter((one) => one !== 'http://www.w3.org/2000/svg')).toEqual([]);
    expect(text, path).not.toMatch(
      /innerHTML|insertAdjacentHTML|\beval\(|new Function|\son[a-z]+=|style="/,
    );
  }
});

test('what the sign-in page needs is open to everybody, and nothing else is', () => {
  const files = consoleFiles();
  const open = [...files].filter(([, file]) => file.open).map(([path]) => path);
  const asked = [...read('sign-in.html').matchAll(/(?:src|href)="([^"]+)"/g)].map(([, at]) => at);
  expect(open.toSorted()).toEqual(['/console/sign-in', ...asked].toSorted());
  expect(files.get('/console')?.open).toBe(false);
});
