/** What becomes of a world that has data when its policy changes between two starts? */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { parseDocument } from 'yaml';
import { portsNeeded, withPorts } from '../regions/local/catalogue-ports.ts';
import { freePorts } from '../regions/local/ports.ts';
import { wipe } from '../regions/local/wipe-world.ts';
import { besideApp, readFiles } from './read-files.ts';
import { startWorld } from './world.ts';
import { callUrl, eventually, newUser, STOREFRONT } from './world-for-tests.ts';

/** Three worlds are started, one after the other. */
const STARTS_MS_MAX = 240_000;

test(
  'a mirror that the new policy opens fills with what was there before',
  async () => {
    const parent = await mkdtemp(join(tmpdir(), 'domicile-policy-change-'));
    await chmod(parent, 0o711);
    const root = join(parent, 'world');
    const policy = join(parent, 'residency.yaml');
    const storefront = await readFile(join(dirname(STOREFRONT), 'residency.yaml'), 'utf8');
    const closed = parseDocument(storefront);
    closed.deleteIn(['tables', 'users', 'mirrors']);
    const files = { ...besideApp(STOREFRONT, {}), policy };
    let ports: number[] | undefined;
    const run = async (text: string, use: (edge: (region: string) => string) => Promise<void>) => {
      await writeFile(policy, text);
      const read = await readFiles(files);
      if ('complaints' in read) throw new Error(read.complaints.join('\n'));
      ports ??= await freePorts(portsNeeded(read.catalogue));
      const catalogue = withPorts(read.catalogue, ports);
      const world = await startWorld({
        root,
        files,
        catalogue,
        policy: read.policy,
        durable: false,
        wan: false,
        environment: {},
        report: () => {},
      });
      try {
        await use((region) => catalogue.regions.get(region)?.edges[0]?.url ?? '');
      } finally {
        await world.stop();
      }
    };
    try {
      const user = newUser('US');
      await run(String(closed), async (edge) => {
        await eventually('she is stored', async () => {
          const { status } = await callUrl(edge('us'), 'POST', '/users', { body: user });
          // An edge that was started this moment, on a machine with much to do, may be late once.
          return status === 201 || status === 409;
        });
      });
      // What was recorded cannot be said anew under its old number.
      await expect(run(storefront, async () => {})).rejects.toThrow('raise version to 2');
      const opened = storefront.replace(/^version: 1$/m, 'version: 2');
      await run(opened, async (edge) => {
        await eventually('her card is served in eu from the mirror', async () => {
          const card = await callUrl(edge('eu'), 'GET', `/users/${user.id}/card`);
          return (
            /^serve;node=eu-[ab];rung=mirror/.test(String(card.headers['domicile-decision'])) &&
            card.json.displayName === user.displayName
          );
        });
      });
    } finally {
      await wipe(root, () => {});
      await rm(parent, { recursive: true, force: true });
    }
  },
  STARTS_MS_MAX,
);
