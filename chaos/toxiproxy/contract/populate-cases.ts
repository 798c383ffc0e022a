/** Are many proxies brought about at once, and everything healed at once? */
import { describe, expect, test } from 'vitest';
import { type ProxyView, portOf, type Reply, type Rig } from './rig.ts';

export function populateCases(rig: () => Rig): void {
  const populate = (...proxies: Record<string, unknown>[]): Promise<Reply> =>
    rig().api('POST', '/populate', proxies);
  const listed = ({ json }: Reply): ProxyView[] => (json as { proxies: ProxyView[] }).proxies;
  const one = { name: 'one', listen: 'localhost:0', upstream: '127.0.0.1:1' };
  const two = { name: 'two', listen: 'localhost:0', upstream: '127.0.0.1:2' };

  describe('populate and reset', () => {
    test('two proxies come back in the order they were asked for', async () => {
      const reply = await populate(two, one);
      expect(reply.status).toBe(201);
      expect(listed(reply).map(({ name }) => name)).toEqual(['two', 'one']);
      expect(Object.keys((await rig().api('GET', '/proxies')).json as object)).toHaveLength(2);
    });

    test('a populated proxy is enabled unless it says otherwise', async () => {
      const [proxy] = listed(await populate(one));
      expect(proxy?.enabled).toBe(true);
      expect(await rig().dialError(portOf(proxy?.listen ?? ''))).toBeUndefined();
    });

    test('enabled and disabled proxies may be mixed', async () => {
      const port = await rig().freePort();
      const asleep = { ...two, listen: `localhost:${port}`, enabled: false };
      const proxies = listed(await populate({ ...one, enabled: true }, asleep));
      expect(proxies.map(({ enabled }) => enabled)).toEqual([true, false]);
      expect(await rig().dialError(port)).toBe('ECONNREFUSED');
    });

    test('a proxy at the same place, even by another name of the host, keeps its toxics', async () => {
      const { name, listen, upstream } = await rig().createProxy();
      await rig().addToxic(name, { type: 'latency' });
      const again = { name, listen: `localhost:${portOf(listen)}`, upstream };
      const [proxy] = listed(await populate(again));
      expect(proxy?.toxics).toHaveLength(1);
      expect(proxy?.listen).toBe(listen);
    });

    test('one bad entry and nothing is created', async () => {
      const reply = await populate(one, { ...two, name: '' });
      const error = 'missing required field: name at proxy 2';
      expect(reply.status).toBe(400);
      expect(reply.headers.get('content-type')).toBe('application/json');
      expect(reply.json).toEqual({ error, status: 400, proxies: null });
      expect((await rig().api('GET', '/proxies')).json).toEqual({});
    });

    test('what came before a failure stays, what came after is skipped', async () => {
      const { listen } = await rig().createProxy({ name: 'occupant' });
      const reply = await populate(one, { ...two, listen }, { ...two, name: 'three' });
      expect(reply.status).toBe(500);
      expect(listed(reply).map(({ name }) => name)).toEqual(['one']);
      const { json } = await rig().api('GET', '/proxies');
      expect(Object.keys(json as object).sort()).toEqual(['occupant', 'one']);
    });

    test('another upstream means a new proxy, without toxics', async () => {
      const { name, listen } = await rig().createProxy();
      await rig().addToxic(name, { type: 'latency' });
      const [proxy] = listed(await populate({ name, listen, upstream: '127.0.0.1:2' }));
      expect(proxy).toMatchObject({ upstream: '127.0.0.1:2', toxics: [], enabled: true });
    });

    test('a replacement that cannot listen leaves the old proxy listed and disabled', async () => {
      const taken = await rig().createProxy();
      const { name, upstream } = await rig().createProxy();
      expect((await populate({ name, listen: taken.listen, upstream })).status).toBe(500);
      expect((await rig().proxy(name)).enabled).toBe(false);
    });

    test('enabled is not looked at when the place is the same', async () => {
      const { name, listen, upstream } = await rig().createProxy();
      const [proxy] = listed(await populate({ name, listen, upstream, enabled: false }));
      expect(proxy?.enabled).toBe(true);
    });

    test('an empty list comes back as null', async () => {
      const reply = await populate();
      expect([reply.status, reply.json]).toEqual([201, { proxies: null }]);
    });

    test('a reset removes every toxic and enables every proxy', async () => {
      const first = await rig().createProxy();
      const second = await rig().createProxy();
      await rig().addToxic(first.name, { type: 'latency' });
      await rig().addToxic(first.name, { type: 'timeout', stream: 'upstream' });
      await rig().updateProxy(second.name, { enabled: false });
      expect((await rig().api('POST', '/reset')).status).toBe(204);
      expect((await rig().proxy(first.name)).toxics).toEqual([]);
      expect(await rig().proxy(second.name)).toEqual(second);
      expect(await rig().dialError(portOf(second.listen))).toBeUndefined();
    });

    test('a populated proxy takes toxics like any other', async () => {
      await populate(one);
      const toxic = await rig().addToxic('one', { type: 'latency', attributes: { latency: 7 } });
      expect((await rig().proxy('one')).toxics).toEqual([toxic]);
    });
  });
}
