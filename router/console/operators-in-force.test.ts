/** When a changed operators file counts, and what a broken one leaves as it was. */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readText } from '../read-files.ts';
import { Credentials, type Person, sha256, type VerifyJwt } from './credentials.ts';
import { readOperators } from './operators-file.ts';
import { OperatorsInForce } from './operators-in-force.ts';

const TOKENS = { ada: 'a'.repeat(48), bob: 'b'.repeat(48) };
type Name = keyof typeof TOKENS;

let folder: string;
let file: string;
let inForce: OperatorsInForce;
let logged: Record<string, unknown>[];
let changes: number;
const time = { ms: 1_000 };
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'operators-'));
  file = join(folder, 'operators.yaml');
  logged = [];
  changes = 0;
  time.ms = 1_000;
});
afterEach(async () => {
  inForce.stop();
  await rm(folder, { recursive: true });
});

function textOf(names: readonly Name[], role = 'viewer'): string {
  const lines = names.map(
    (name) =>
      `  - { name: ${name}, role: ${role}, sha256: ${sha256(TOKENS[name]).toString('hex')} }`,
  );
  return ['version: 1', 'operators:', ...lines].join('\n');
}

async function start(text: string, verifyJwt?: VerifyJwt): Promise<Credentials> {
  await writeFile(file, text);
  const reading = readOperators(text, file);
  if ('complaints' in reading) throw new Error('the text is wrong');
  inForce = await OperatorsInForce.start({
    ...{ text, operators: reading.operators, file },
    read: () => readText(file),
    verifierOf: async () => verifyJwt,
    wallClock: () => time.ms,
    log: (line) => logged.push(line),
    everyMs: 3_600_000,
  });
  inForce.onChange(() => {
    changes += 1;
  });
  const now = () => time.ms;
  return new Credentials({ allowed: inForce, now, wallClock: now });
}

const entryOf = async (credentials: Credentials, name: Name) => {
  const verdict = await credentials.of(TOKENS[name], 'here');
  return verdict.kind === 'known' ? verdict.person.entry : undefined;
};

test('who is taken out is let in no more, who is put in is, and the others stay as they were', async () => {
  const credentials = await start(textOf(['ada']));
  const ada = (await entryOf(credentials, 'ada')) ?? '';
  expect(inForce.has(ada)).toBe(true);
  await writeFile(file, textOf(['ada', 'bob']));
  await inForce.look();
  expect(inForce.has(ada)).toBe(true);
  const bob = (await entryOf(credentials, 'bob')) ?? '';
  // As an editor or a mounted volume does it.
  await writeFile(`${file}.new`, textOf(['bob']));
  await rename(`${file}.new`, file);
  await inForce.look();
  expect([inForce.has(ada), inForce.has(bob)]).toEqual([false, true]);
  expect(await entryOf(credentials, 'ada')).toBeUndefined();
  expect(changes).toBe(2);
  expect(logged.at(-1)).toMatchObject({ event: 'console-operators-read', operators: 1 });
});

test('another role is another entry, so that what was let in with the old one ends', async () => {
  const credentials = await start(textOf(['ada'], 'operator'));
  const before = (await entryOf(credentials, 'ada')) ?? '';
  await writeFile(file, textOf(['ada'], 'viewer'));
  await inForce.look();
  expect(inForce.has(before)).toBe(false);
  expect(inForce.has((await entryOf(credentials, 'ada')) ?? '')).toBe(true);
});

test('a file that is the same is not read again, and nobody is told', async () => {
  await start(textOf(['ada']));
  await writeFile(file, textOf(['ada']));
  await inForce.look();
  expect([changes, logged.length, inForce.version]).toEqual([0, 0, 1]);
});

describe('a file that', () => {
  test.each([
    ['is cut off', async () => writeFile(file, `${textOf(['bob'])}\n  - { name: eve`)],
    ['lets nobody in', async () => writeFile(file, 'version: 1\n')],
    ['is empty', async () => writeFile(file, '')],
    ['is gone', async () => rm(file)],
  ])('%s changes nothing, is said once, and is over when it is mended', async (_, spoil) => {
    const credentials = await start(textOf(['ada']));
    const ada = (await entryOf(credentials, 'ada')) ?? '';
    await spoil();
    await inForce.look();
    time.ms = 9_000;
    await inForce.look();
    expect(inForce.has(ada)).toBe(true);
    expect(await entryOf(credentials, 'ada')).toBe(ada);
    expect(await entryOf(credentials, 'bob')).toBeUndefined();
    expect([inForce.brokenSinceMs, changes]).toEqual([1_000, 0]);
    expect(logged).toHaveLength(1);
    expect(logged[0]).toMatchObject({ level: 'error', event: 'console-operators-unreadable' });
    expect(String(logged[0]?.complaints)).toContain('operators.yaml');
    await writeFile(file, textOf(['ada']));
    await inForce.look();
    expect(inForce.brokenSinceMs).toBeUndefined();
    expect(inForce.has(ada)).toBe(true);
  });
});

test('a signed token that was verified before the change is verified anew', async () => {
  const person: Person = {
    ...{ id: 'eve', name: 'eve', role: 'viewer', entry: 'e' },
    expiresAtMs: 1_000_000,
  };
  const verdicts: (Person | undefined)[] = [person, undefined, person];
  let meanwhile = async () => {};
  const credentials = await start(textOf(['ada']), async () => {
    await meanwhile();
    return verdicts.shift();
  });
  const ask = () => credentials.of('aaa.bbb.ccc', 'here');
  expect((await ask()).kind).toBe('known');
  expect((await ask()).kind).toBe('known');
  await writeFile(file, textOf(['ada', 'bob']));
  await inForce.look();
  expect((await ask()).kind).toBe('unknown');
  // Under way while it changes: the keys that it fits are those of before.
  await writeFile(file, textOf(['bob']));
  meanwhile = () => inForce.look();
  expect((await credentials.of('aaa.bbb.ddd', 'here')).kind).toBe('unknown');
  expect([inForce.version, verdicts]).toEqual([3, []]);
});
