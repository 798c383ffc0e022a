/** Does the project's own client (`regions/toxiproxy.ts`) get on with this server? */
import { describe, expect, test } from 'vitest';
import { Faults, FaultsError, type NewToxic } from '../../../regions/toxiproxy.ts';
import { portOf, type Rig } from './rig.ts';

export function clientCases(rig: () => Rig): void {
  const faults = () => new Faults(`${rig().url}/`);
  const created = (name = 'link') =>
    faults().createProxy({ name, listen: 'localhost:0', upstream: '127.0.0.1:1' });

  describe('the client', () => {
    test('reads the version without its envelope', async () => {
      await faults().untilReady({ withinMs: 0 });
      expect(await faults().version()).toMatch(/^\S+$/);
    });

    test('creates, shows, updates, disables, enables and removes a proxy', async () => {
      const proxy = await created();
      expect(proxy).toEqual({ ...proxy, name: 'link', enabled: true, toxics: [] });
      expect(await faults().proxy('link')).toEqual(proxy);
      expect(await faults().proxies()).toEqual(new Map([['link', proxy]]));
      expect(await faults().disable('link')).toEqual({ ...proxy, enabled: false });
      expect(await rig().dialError(portOf(proxy.listen))).toBe('ECONNREFUSED');
      expect(await faults().enable('link')).toEqual(proxy);
      const upstream = '127.0.0.1:2';
      expect(await faults().updateProxy('link', { upstream })).toEqual({ ...proxy, upstream });
      await faults().removeProxy('link');
      expect((await faults().proxies()).size).toBe(0);
    });

    test('adds, lists, updates and removes toxics of every type', async () => {
      await created();
      const toxics: NewToxic[] = [
        { type: 'latency', stream: 'upstream', attributes: { latency: 85, jitter: 5 } },
        { type: 'bandwidth', attributes: { rate: 100 } },
        { type: 'slow_close', attributes: { delay: 1 } },
        { type: 'timeout', attributes: { timeout: 1 } },
        { type: 'reset_peer', attributes: { timeout: 1 } },
        { type: 'slicer', attributes: { average_size: 10 } },
        { type: 'limit_data', attributes: { bytes: 1 } },
        { type: 'noop', name: 'nothing', toxicity: 0.5 },
      ];
      for (const toxic of toxics) {
        expect(await faults().addToxic('link', toxic)).toMatchObject({
          type: toxic.type,
          attributes: toxic.attributes ?? {},
        });
      }
      const listed = await faults().toxics('link');
      expect(listed.map(({ type }) => type)).toEqual(toxics.map(({ type }) => type));
      expect((await faults().proxy('link')).toxics).toEqual(listed);
      const change = { toxicity: 0.25, attributes: { latency: 150 } };
      const updated = await faults().updateToxic('link', 'latency_upstream', change);
      expect(updated).toMatchObject({ toxicity: 0.25, attributes: { latency: 150, jitter: 5 } });
      await faults().removeToxic('link', 'nothing');
      expect(await faults().toxics('link')).toHaveLength(toxics.length - 1);
    });

    test('populates, an empty list too, and resets', async () => {
      expect(await faults().populate([])).toEqual([]);
      const wanted = { name: 'link', listen: 'localhost:0', upstream: '127.0.0.1:1' };
      const [proxy] = await faults().populate([wanted]);
      await faults().addToxic('link', { type: 'timeout' });
      await faults().disable('link');
      await faults().reset();
      expect(await faults().proxy('link')).toEqual(proxy);
    });

    test('a name may hold what a URL gives a meaning to', async () => {
      for (const name of ['eu -> us', 'a?b#c', '100%', 'café']) {
        const proxy = await created(name);
        await faults().addToxic(name, { type: 'noop', name: 'x?y%' });
        await faults().removeToxic(name, 'x?y%');
        expect(await faults().proxy(name)).toEqual(proxy);
        await faults().removeProxy(name);
      }
    });

    test('a refusal carries the status and the words of the server', async () => {
      await created();
      const refusal = await created().catch((error: unknown) => error);
      expect(refusal).toBeInstanceOf(FaultsError);
      expect((refusal as FaultsError).failure).toEqual({
        kind: 'refused',
        status: 409,
        said: 'proxy already exists',
      });
      await expect(faults().enable('nobody')).rejects.toThrow(/404 proxy not found/);
      await expect(faults().removeToxic('link', 'none')).rejects.toThrow(/404 toxic not found/);
    });
  });
}
