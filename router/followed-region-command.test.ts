import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { freePorts } from '../regions/local/ports.ts';
import { followedHistory, followedStatus, followedSwitchover } from './followed-region-command.ts';

const PASSWORD = { DOMICILE_DATABASE_PASSWORD: 'of a test' };
let folder = '';
let nobody: number[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'domicile-followed-'));
  nobody = await freePorts(2);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function asked(keeper: string, environment: Record<string, string> = PASSWORD) {
  const regions = join(folder, 'regions.yaml');
  await writeFile(
    regions,
    `version: 1
regions:
  eu:
    title: Europe
    edges: [{ name: edge-eu, url: http://127.0.0.1:1 }]
    nodes: [{ name: eu-a, host: 127.0.0.1, port: ${nobody[0]} }]
    airlock: { name: eu-x, host: 127.0.0.1, port: 3 }
${keeper === '' ? '' : `    keeper: { ${keeper} }\n`}`,
  );
  return { region: 'eu', regions, environment, now: () => performance.now() };
}
const patroni = () => `kind: patroni, members: ["http://127.0.0.1:${nobody[1]}"]`;
const MANAGED = 'kind: managed, endpoint: { host: 127.0.0.1, port: 4 }';

describe('what cannot be asked is said', () => {
  test.each<[string, string, Record<string, string>, RegExp]>([
    ['a region that nobody moves', '', PASSWORD, /does not say that Patroni or a managed service/],
    [
      'a region with a keeper of ours',
      'url: http://127.0.0.1:5',
      PASSWORD,
      /without --regions, the keeper/,
    ],
    ['no password', MANAGED, {}, /^DOMICILE_DATABASE_PASSWORD {2}is needed/],
    [
      'half of a login',
      'kind: patroni, members: [http://h:1]',
      { ...PASSWORD, DOMICILE_PATRONI_USER: 'me' },
      /go together; one is set/,
    ],
    [
      'a mistake in the file',
      'kind: patroni',
      PASSWORD,
      /regions.yaml:8:5 {2}regions.eu.keeper.members: missing/,
    ],
    [
      'an authority that is not there',
      `${MANAGED} }\n    tls: { mode: verify-full, caFile: eu.pem`,
      PASSWORD,
      /eu.pem {2}no such file: tls.caFile of eu/,
    ],
  ])('%s', async (_, keeper, environment, complaint) => {
    const { lines, exitCode } = await followedStatus(await asked(keeper, environment));
    expect(exitCode).toBe(1);
    expect(lines.join('\n')).toMatch(complaint);
  });

  test('another region', async () => {
    const answer = await followedStatus({ ...(await asked(MANAGED)), region: 'us' });
    expect(answer.lines).toEqual(['no region "us"; there are eu']);
  });

  test('a file that is not there', async () => {
    const answer = await followedStatus({ ...(await asked('')), regions: join(folder, 'none') });
    expect(answer.lines).toEqual([`${join(folder, 'none')}  no such file`]);
  });
});

test('a region of which nothing answers has no primary, and each silence is named', async () => {
  const { lines, exitCode } = await followedStatus(await asked(patroni()));
  expect(exitCode).toBe(1);
  expect(lines).toEqual([
    `eu: nobody is known to be the primary: no Patroni answers: http://127.0.0.1:${nobody[1]}: ECONNREFUSED`,
    '  eu-a         nobody listens there',
  ]);
  const moved = await followedSwitchover(await asked(patroni()));
  expect(moved.lines.join()).toMatch(/^refused: no Patroni answers: .* Nothing was changed\.$/);
  expect((await followedHistory({ ...(await asked(patroni())), count: '5' })).exitCode).toBe(1);
});

test('a managed service is named as who moves the primary and remembers it', async () => {
  const moved = await followedSwitchover({ ...(await asked(MANAGED)), to: 'eu-b' });
  expect(moved.lines).toEqual([
    'refused: the managed service behind 127.0.0.1:4 promotes; ask it to fail over to eu-b. Nothing was changed.',
  ]);
  const history = await followedHistory({ ...(await asked(MANAGED)), count: '5' });
  expect(history.lines).toEqual(['only the service behind 127.0.0.1 remembers what it did']);
});
