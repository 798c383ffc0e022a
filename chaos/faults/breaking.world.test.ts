/** Does each fault really bite a running system, and is nothing left of it when it is healed? */
import { resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ChaosError, ChaosWorld } from '../world.ts';
import { Breaking } from './breaking.ts';
import { airlock, around, between, edge, type Fault, keeper, primary, replica } from './fault.ts';
import { isStopped } from './process-state.ts';

const APP = resolve('examples/witness/app.ts');
const WELL_MS_MAX = 90_000;
const HOUR_MS = 3_600_000;
const never = new AbortController().signal;

let world: ChaosWorld;
let breaking: Breaking;

beforeAll(async () => {
  world = await ChaosWorld.start({
    app: APP,
    wan: false,
    environment: { PATH: process.env.PATH, HOME: process.env.HOME },
    report: () => {},
    signal: never,
  });
  breaking = new Breaking(world);
}, 240_000);
afterAll(async () => {
  await breaking?.healAll();
  await world?.stop();
}, 120_000);

// What one test leaves behind must not be another one's failure.
afterEach(() => breaking.healAll());

const edges = { from: edge('us'), to: edge('eu') };
const to = (region: string) => ({ to: airlock(region) });
const answers = async () => (await world.health(world.edgesOf('eu')[0] ?? '')) !== undefined;

async function untouched(): Promise<boolean> {
  const proxies = [...(await world.faults.proxies()).values()];
  return proxies.every(({ enabled, toxics }) => enabled && toxics.length === 0);
}

describe('a fault of the network', () => {
  test.each<[string, Fault, RegExp]>([
    ['cut', { kind: 'cut', links: between('us', 'eu') }, /answered.*refused/],
    ['hole', { kind: 'hole', links: edges }, /answered.*no answer/],
    ['half a hole', { kind: 'hole', links: edges, direction: 'downstream' }, /answered.*no answer/],
    ['slow', { kind: 'slow', links: edges, latencyMs: 300 }, /answered.*answered in \d{3,} ms/],
    // There and back it takes longer than anybody waits for an answer otherwise.
    [
      'very slow',
      { kind: 'slow', links: to('us'), latencyMs: 900 },
      /answered.*in (1[89]|2)\d+ ms/,
    ],
    ['narrow', { kind: 'narrow', links: edges, kBps: 64 }, /bandwidth/],
    ['reset', { kind: 'reset', links: edges, afterMs: 0 }, /reset_peer/],
    ['limit', { kind: 'limit', links: edges, bytes: 100 }, /limit_data/],
    ['slice', { kind: 'slice', links: edges, bytes: 32, delayUs: 100 }, /slicer/],
    ['flap', { kind: 'flap', links: edges, how: 'cut', upMs: 100, downMs: 5_000 }, /refused/],
  ])('%s shows, and leaves nothing', async (_, fault, evidence) => {
    const broken = await breaking.begin(fault);
    expect(broken.evidence).toMatch(evidence);
    expect(await untouched()).toBe(false);
    await broken.heal();
    expect(await untouched()).toBe(true);
  });

  test('two that cut the same link: it opens with the second one’s end', async () => {
    const [one, other] = [
      await breaking.begin({ kind: 'cut', links: edges }),
      await breaking.begin({ kind: 'cut', links: between('us', 'eu') }),
    ];
    await other.heal();
    expect((await world.faults.proxy('us-to-edge-eu')).enabled).toBe(false);
    expect((await world.faults.proxy('us-to-eu-x')).enabled).toBe(true);
    await one.heal();
    expect(await untouched()).toBe(true);
  });

  test('for links that there are not: refused', async () => {
    const fault: Fault = { kind: 'cut', links: { from: keeper('us'), to: keeper('eu') } };
    await expect(breaking.begin(fault)).rejects.toThrow(ChaosError);
  });
});

describe('a fault of a process', () => {
  test('frozen, twice over: stands still until both are over', async () => {
    const [pid = 0] = await world.pidsOf('edge-eu');
    const one = await breaking.begin({ kind: 'freeze', who: edge('eu') });
    const other = await breaking.begin({ kind: 'freeze', who: { name: 'edge-eu' } });
    expect(one.evidence).toMatch(/1 processes stand still/);
    await one.heal();
    expect(isStopped(pid)).toBe(true);
    await other.heal();
    expect(isStopped(pid)).toBe(false);
    expect(await answers()).toBe(true);
  });

  test('a whole server stutters', async () => {
    const who = replica('us');
    const broken = await breaking.begin({ kind: 'stutter', who, stopMs: 200, goMs: 50 });
    expect(Number(/^\d+/.exec(broken.evidence ?? '')?.[0])).toBeGreaterThan(4);
    await broken.heal();
    expect((await world.pidsOf('us-b')).some(isStopped)).toBe(false);
  });

  test('replay is paused, and goes on', async () => {
    const broken = await breaking.begin({ kind: 'pause-replay', region: 'asia' });
    expect(broken.evidence).toMatch(/process \d+, which replays, is stopped/);
    await broken.heal();
    expect((await world.pidsOf('asia-b')).some(isStopped)).toBe(false);
  });

  test('a clock is wrong, and right again', async () => {
    const broken = await breaking.begin({ kind: 'clock', who: edge('us'), byMs: HOUR_MS });
    const said = /it is (\S+)$/.exec(broken.evidence ?? '')?.[1] ?? '';
    expect(Math.abs(Date.parse(said) - Date.now() - HOUR_MS)).toBeLessThan(60_000);
    await broken.heal();
  });

  test.each([edge('us'), keeper('asia'), airlock('asia')])(
    'killed and started again: %j',
    async (who) => {
      const broken = await breaking.begin({ kind: 'kill', who });
      expect(broken.evidence).toMatch(/processes are gone/);
      const missing = async () => (await world.processes()).filter(({ pid }) => pid === undefined);
      expect(await missing()).toHaveLength(1);
      await broken.heal();
      expect(await missing()).toEqual([]);
    },
  );

  test('a primary is killed: its standby takes over, and all is well again by itself', async () => {
    expect(await world.untilWell(WELL_MS_MAX, never)).toBeUndefined();
    const before = await world.keeper('eu');
    const broken = await breaking.begin({ kind: 'kill', who: primary('eu') });
    expect(broken.evidence).toMatch(/processes are gone/);
    expect(await world.untilWell(WELL_MS_MAX, never)).toBeUndefined();
    const after = await world.keeper('eu');
    expect(after?.timeline).toBe((before?.timeline ?? 0) + 1);
    expect(after?.primary).not.toBe(before?.primary);
  }, 150_000);

  test('isolated with all its links: five of them', async () => {
    const broken = await breaking.begin({ kind: 'hole', links: around(primary('us')) });
    expect(broken.says).toMatch(/\(5 links\)$/);
    await broken.heal();
    expect(await untouched()).toBe(true);
  });
});
