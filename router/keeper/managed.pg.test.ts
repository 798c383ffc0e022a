/** Whether a name that leads elsewhere after a failover is followed, and only to what SQL confirms. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { Region } from '../../regions/catalogue.ts';
import { freePorts } from '../../regions/local/ports.ts';
import type { LocalClusters } from '../../regions/local/start-clusters.ts';
import { ask, makeTestWorld, type TestWorld } from '../../regions/local/world-for-tests.ts';
import { type HostPort, ManagedSteward, type Resolve } from './managed.ts';

const ENDPOINT = { host: 'db.example', port: 5432 };

let world: TestWorld;
let clusters: LocalClusters;
let region: Region;
let nobody = 0;
/** Where the name leads, as a test wants it. */
let dns: (() => Promise<HostPort>) | undefined;
const stewards: ManagedSteward[] = [];

const addressOf = (node: string): HostPort => {
  const { host, port } = clusters.superuser(node);
  return { host, port };
};
const leadTo = (at: HostPort) => {
  dns = async () => at;
};
const resolve: Resolve = async (at) => {
  if (at.host !== ENDPOINT.host) return at;
  if (dns === undefined) throw new Error('ENOTFOUND');
  return dns();
};
function follow(nodes: Region['nodes']): ManagedSteward {
  const { database, user, password } = clusters.superuser('us-a');
  const steward = new ManagedSteward({
    region: { ...region, nodes },
    endpoint: ENDPOINT,
    login: () => ({ database, user, password }),
    resolve,
  });
  stewards.push(steward);
  return steward;
}
/** Both servers have names of their own beside the one that moves. */
let both: ManagedSteward;
/** The one name is all there is. */
let one: ManagedSteward;

beforeAll(async () => {
  world = await makeTestWorld();
  clusters = await world.start();
  const found = world.catalogue.regions.get('us');
  if (found === undefined) throw new Error('the world has one region');
  region = found;
  [nobody = 0] = await freePorts(1);
  both = follow(region.nodes);
  one = follow([{ name: 'us', ...ENDPOINT }]);
});
afterAll(async () => {
  for (const steward of stewards) await steward.close();
  await world?.remove();
});
beforeEach(() => leadTo(addressOf('us-a')));

test('the primary is where the name leads, when SQL says so', async () => {
  expect(await both.observe()).toMatchObject({
    primary: 'us-a',
    timeline: 1,
    leadsTo: addressOf('us-a'),
    nodes: [
      { node: 'us-a', kind: 'seen', role: 'primary', timeline: 1 },
      { node: 'us-b', kind: 'seen', role: 'replica', timeline: 1 },
    ],
  });
  expect(await one.observe()).toMatchObject({ primary: 'us', timeline: 1 });
});

test.each<[string, () => void, RegExp]>([
  [
    'leads to a replica',
    () => leadTo(addressOf('us-b')),
    /us-b the primary, and over SQL it is a replica/,
  ],
  [
    'leads to a stranger',
    () => leadTo({ host: '127.0.0.1', port: 9 }),
    /db.example:5432 leads to 127.0.0.1:9, where no node/,
  ],
  [
    'leads nowhere',
    () => {
      dns = undefined;
    },
    /db.example:5432 cannot be resolved/,
  ],
  [
    'is not resolved in time',
    () => {
      dns = () => new Promise(() => {});
    },
    /cannot be resolved/,
  ],
])('a name that %s is not believed, and the nodes are still shown', async (_, move, doubt) => {
  move();
  const view = await both.observe();
  expect(view.primary).toBeUndefined();
  expect(view.doubt).toMatch(doubt);
  expect(view.nodes.map(({ kind }) => kind)).toEqual(['seen', 'seen']);
});

test('a name that leads to where nobody listens shows a silent node', async () => {
  leadTo({ host: '127.0.0.1', port: nobody });
  expect(await one.observe()).toMatchObject({
    nodes: [{ node: 'us', kind: 'silent', because: 'refused' }],
    doubt: expect.stringMatching(/nobody listens there/),
  });
});

test('nothing is promoted by us, and it is said who does it', async () => {
  const by = 'the managed service behind db.example:5432';
  expect(await both.promote('us-b')).toEqual({
    kind: 'refused',
    why: `${by} promotes; ask it to fail over to us-b`,
  });
  expect(await both.demote('us-a')).toMatchObject({ kind: 'refused' });
  expect(await both.follow('us-a')).toMatchObject({ kind: 'refused' });
});

test('after a failover the name is followed once it leads to the new primary, and never back', async () => {
  await ask(clusters, 'us-b', async (sql) => {
    await sql`alter system set synchronous_standby_names = ''`;
    await sql`select pg_reload_conf()`;
    await sql`select pg_promote(true, 20)`;
  });
  // The name lags behind, and the old primary still runs and calls itself one.
  expect((await both.observe()).doubt).toMatch(/on timeline 1; timeline 2 has begun/);
  leadTo(addressOf('us-b'));
  expect(await both.observe()).toMatchObject({ primary: 'us-b', timeline: 2 });
  expect(await one.observe()).toMatchObject({
    primary: 'us',
    timeline: 2,
    nodes: [{ node: 'us', kind: 'seen', role: 'primary', timeline: 2 }],
  });
  leadTo(addressOf('us-a'));
  expect((await one.observe()).doubt).toMatch(/on timeline 1; timeline 2 has begun/);
});

test('a name of this machine is resolved by the system', async () => {
  const { database, user, password } = clusters.superuser('us-a');
  const steward = new ManagedSteward({
    region,
    endpoint: { host: 'localhost', port: addressOf('us-b').port },
    login: () => ({ database, user, password }),
  });
  stewards.push(steward);
  const { leadsTo } = await steward.observe();
  expect(['127.0.0.1', '::1']).toContain(leadsTo?.host);
  expect(leadsTo?.port).toBe(addressOf('us-b').port);
});
