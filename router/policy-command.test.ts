import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { checkCommand, explainCommand } from './policy-command.ts';

const app = fileURLToPath(new URL('../examples/storefront/app.ts', import.meta.url));

test('the storefront policy is sound and says what it allows', async () => {
  const { lines, json, exitCode } = await checkCommand({ app });
  expect(exitCode).toBe(0);
  expect(json).toMatchObject({ sound: true, version: 1 });
  expect(lines).toContain("  products: nobody's, written in us");
});

test('complaints of both files come together, with file, line and column', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'domicile-policy-'));
  try {
    const policy = join(folder, 'residency.yaml');
    await writeFile(policy, 'version: one\nplacment: []\n');
    const { lines, exitCode } = await checkCommand({
      app,
      policy,
      regions: join(folder, 'none.yaml'),
    });
    expect(exitCode).toBe(1);
    expect(lines).toContain(`${join(folder, 'none.yaml')}  no such file`);
    expect(lines.some((line) => line.startsWith(`${policy}:1:10 `))).toBe(true);
    expect(lines.some((line) => /:2:1 .*did you mean "placement"/.test(line))).toBe(true);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a German may live in eu only, and her columns nowhere else', async () => {
  const { lines, exitCode } = await explainCommand({ app }, ['country=DE']);
  expect(exitCode).toBe(0);
  expect(lines[0]).toMatch(/^Home: eu, by rule "europe"/);
  expect(lines.filter((line) => /^ {2}(us|asia) +yes/.test(line))).toEqual([
    expect.stringContaining('yes, reference'),
    expect.stringContaining('yes, reference'),
  ]);
});

test.each([
  [['country=XX'], /^No home: "XX" is not an ISO 3166-1/],
  [['country=DE', 'home=us'], /^No home: The policy declares no attribute "home"/],
  [['DE'], /^"DE" is not a fact such as country=DE/],
  [[], /^No home: /],
])('%j has no home, and the reason is said', async (facts, reason) => {
  const { lines, exitCode } = await explainCommand({ app }, facts);
  expect(exitCode).toBe(1);
  expect(lines[0]).toMatch(reason);
});
