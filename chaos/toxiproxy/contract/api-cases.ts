/** Does the HTTP API answer as it should, before any byte is proxied? */
import { describe, expect, test } from 'vitest';
import { portOf, type Rig } from './rig.ts';

export function apiCases(rig: () => Rig): void {
  describe('API', () => {
    test('the version is JSON with its own content type', async () => {
      const { status, headers, json } = await rig().api('GET', '/version');
      expect(status).toBe(200);
      expect(headers.get('content-type')).toBe('application/json;charset=utf-8');
      expect(json).toEqual({ version: expect.any(String) });
    });

    test('every matched route carries a request id of its own', async () => {
      const ids = new Set<string | null>();
      for (const path of ['/version', '/proxies', '/proxies/nobody']) {
        const { headers } = await rig().api('GET', path);
        expect(headers.get('x-toxiproxy-request-id')).toMatch(/^\w{20}$/);
        ids.add(headers.get('x-toxiproxy-request-id'));
      }
      expect(ids.size).toBe(3);
    });

    test('a browser is turned away, anything else is not', async () => {
      const as = (agent: string) =>
        rig().api('GET', '/proxies', undefined, { 'user-agent': agent });
      expect((await as('Mozilla/5.0 (X11)')).status).toBe(403);
      expect((await as('curl/8 Mozilla/5.0')).status).toBe(200);
    });

    test('without proxies the list is an empty object', async () => {
      const { status, json } = await rig().api('GET', '/proxies');
      expect(status).toBe(200);
      expect(json).toEqual({});
    });

    test('a created proxy reports the address it was bound to', async () => {
      const upstream = '127.0.0.1:1';
      const body = { name: 'created', listen: 'localhost:0', upstream };
      const { status, json } = await rig().api('POST', '/proxies', body);
      expect(status).toBe(201);
      expect(json).toMatchObject({ name: 'created', upstream, enabled: true, toxics: [] });
      expect(json).toMatchObject({ listen: expect.stringMatching(/^127\.0\.0\.1:[1-9]\d*$/) });
    });

    test('a proxy without a name is refused', async () => {
      const { status, json, headers } = await rig().api('POST', '/proxies', {});
      expect(status).toBe(400);
      expect(headers.get('content-type')).toBe('text/plain; charset=utf-8');
      expect(json).toEqual({ error: 'missing required field: name', status: 400 });
    });

    test('a proxy without an upstream is refused', async () => {
      const { json } = await rig().api('POST', '/proxies', { name: 'x', listen: 'localhost:0' });
      expect(json).toEqual({ error: 'missing required field: upstream', status: 400 });
    });

    test('a name is taken until its proxy is deleted', async () => {
      const { name } = await rig().createProxy();
      const body = { name, listen: 'localhost:0', upstream: '127.0.0.1:1' };
      const second = await rig().api('POST', '/proxies', body);
      expect(second.json).toEqual({ error: 'proxy already exists', status: 409 });
      await rig().api('DELETE', `/proxies/${name}`);
      expect((await rig().api('POST', '/proxies', body)).status).toBe(201);
    });

    test('of ten that ask for one name at once, one gets it', async () => {
      const body = { name: 'coveted', listen: 'localhost:0', upstream: '127.0.0.1:1' };
      const create = () => rig().api('POST', '/proxies', body);
      const replies = await Promise.all(Array.from({ length: 10 }, create));
      const count = (wanted: number) => replies.filter(({ status }) => status === wanted).length;
      expect([count(201), count(409)]).toEqual([1, 9]);
    });

    test('a port is taken until its proxy is deleted, and the loser is not stored', async () => {
      const { name, listen } = await rig().createProxy();
      const body = { name: 'loser', listen, upstream: '127.0.0.1:1' };
      const second = await rig().api('POST', '/proxies', body);
      const error = `listen tcp ${listen}: bind: address already in use`;
      expect(second.json).toEqual({ error, status: 500 });
      expect((await rig().api('GET', '/proxies/loser')).status).toBe(404);
      await rig().api('DELETE', `/proxies/${name}`);
      expect((await rig().api('POST', '/proxies', body)).status).toBe(201);
    });

    test('a proxy created disabled keeps its address as given and listens on nothing', async () => {
      const port = await rig().freePort();
      const { listen, enabled } = await rig().createProxy({
        listen: `localhost:${port}`,
        enabled: false,
      });
      expect({ listen, enabled }).toEqual({ listen: `localhost:${port}`, enabled: false });
      expect(await rig().dialError(port)).toBe('ECONNREFUSED');
    });

    test('disabling refuses connections and enabling takes them again', async () => {
      const { name, port, client } = await rig().echo();
      expect(await client.echoMs('before')).toBeGreaterThan(0);
      expect((await rig().updateProxy(name, { enabled: false })).enabled).toBe(false);
      expect(await rig().dialError(port)).toBe('ECONNREFUSED');
      expect((await rig().updateProxy(name, { enabled: false })).enabled).toBe(false);
      expect((await rig().updateProxy(name, { enabled: true })).enabled).toBe(true);
      expect(await rig().dialError(port)).toBeUndefined();
      expect((await rig().updateProxy(name, { enabled: true })).enabled).toBe(true);
    });

    test('a deleted proxy stops listening and cannot be deleted again', async () => {
      const { name, listen } = await rig().createProxy();
      const first = await rig().api('DELETE', `/proxies/${name}`);
      expect([first.status, first.text]).toEqual([204, '']);
      expect(await rig().dialError(portOf(listen))).toBe('ECONNREFUSED');
      const second = await rig().api('DELETE', `/proxies/${name}`);
      expect(second.json).toEqual({ error: 'proxy not found', status: 404 });
    });

    test('the list shows each proxy under its name, without toxics when it has none', async () => {
      const one = await rig().createProxy();
      const two = await rig().createProxy({ enabled: false });
      const { json } = await rig().api('GET', '/proxies');
      expect(json).toEqual({ [one.name]: one, [two.name]: two });
      expect(one.toxics).toEqual([]);
      expect(await rig().proxy(one.name)).toEqual(one);
    });

    test('PATCH and POST update alike', async () => {
      const { name } = await rig().createProxy();
      for (const method of ['PATCH', 'POST']) {
        const upstream = `127.0.0.1:${method.length}`;
        const { status, json } = await rig().api(method, `/proxies/${name}`, { upstream });
        expect(status).toBe(200);
        expect(json).toMatchObject({ name, upstream, enabled: true });
      }
      await rig().addToxic(name, { type: 'latency' });
      for (const method of ['PATCH', 'POST']) {
        const path = `/proxies/${name}/toxics/latency_downstream`;
        const latency = method.length;
        const { status, json } = await rig().api(method, path, { attributes: { latency } });
        expect(status).toBe(200);
        expect(json).toMatchObject({ attributes: { latency, jitter: 0 } });
      }
    });

    test('an update cannot rename', async () => {
      const { name } = await rig().createProxy();
      expect((await rig().updateProxy(name, { name: 'other' })).name).toBe(name);
      expect((await rig().api('GET', '/proxies/other')).status).toBe(404);
    });

    test('a body that is not JSON, or of another type, is a bad request', async () => {
      const { name } = await rig().createProxy();
      await rig().addToxic(name, { type: 'noop' });
      const bodies = ['', '{', 'nonsense', '{"name":1}', '[1]', '"text"'];
      const paths = ['/proxies', `/proxies/${name}`, `/proxies/${name}/toxics`, '/populate'];
      for (const path of paths) {
        for (const body of bodies) {
          const { status, json } = await rig().api('POST', path, body);
          expect(status, `${path} ${body}`).toBe(400);
          expect(json).toMatchObject({ error: expect.stringMatching(/^bad request body: /) });
        }
      }
      expect((await rig().proxy(name)).enabled).toBe(true);
    });

    test('bytes after the value, unknown keys, the case of keys and nulls do not matter', async () => {
      const name = rig().freshName();
      const body = `{"NAME":"${name}","Upstream":"127.0.0.1:1","listen":"localhost:0","enabled":null,"x":{"y":[]}} trailing`;
      const { status, json } = await rig().api('POST', '/proxies', body);
      expect(status).toBe(201);
      expect(json).toMatchObject({ name, enabled: true });
    });

    test('an unknown route is not found, a wrong method is not allowed', async () => {
      for (const path of ['/', '/nope', '/proxies/', '/proxies/x/y', '/version/']) {
        const { status, headers } = await rig().api('GET', path);
        expect([path, status]).toEqual([path, 404]);
        expect(headers.get('x-toxiproxy-request-id')).toBeNull();
      }
      for (const method of ['PUT', 'HEAD', 'DELETE']) {
        const { status, text } = await rig().api(method, '/proxies');
        expect([method, status, text]).toEqual([method, 405, '']);
      }
      const doubled = await rig().api('GET', '//proxies');
      expect([doubled.status, doubled.headers.get('location')]).toEqual([301, '/proxies']);
    });

    test('an address without a port cannot be listened on', async () => {
      const body = { name: 'portless', listen: '127.0.0.1', upstream: '127.0.0.1:1' };
      const { json } = await rig().api('POST', '/proxies', body);
      const error = 'listen tcp: address 127.0.0.1: missing port in address';
      expect(json).toEqual({ error, status: 500 });
    });

    test('an address that does not resolve changes nothing; one that is taken disables', async () => {
      const taken = await rig().createProxy();
      const { name, listen } = await rig().createProxy();
      const change = (to: string) => rig().api('POST', `/proxies/${name}`, { listen: to });
      expect((await change('127.0.0.1')).status).toBe(500);
      expect(await rig().proxy(name)).toMatchObject({ listen, enabled: true });
      expect((await change(taken.listen)).status).toBe(500);
      expect(await rig().proxy(name)).toMatchObject({ listen: taken.listen, enabled: false });
    });

    test('a port is kept over disable and enable', async () => {
      const { name, listen } = await rig().createProxy();
      expect((await rig().updateProxy(name, { enabled: false })).listen).toBe(listen);
      expect((await rig().updateProxy(name, { enabled: true })).listen).toBe(listen);
    });
  });
}
