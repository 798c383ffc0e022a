/** Are toxics created, read, changed and removed as they should be, whatever they do to bytes? */
import { describe, expect, test } from 'vitest';
import type { Rig } from './rig.ts';

const ATTRIBUTES = {
  bandwidth: ['rate'],
  latency: ['jitter', 'latency'],
  limit_data: ['bytes'],
  noop: [],
  reset_peer: ['timeout'],
  slicer: ['average_size', 'delay', 'size_variation'],
  slow_close: ['delay'],
  timeout: ['timeout'],
} as const;

export function toxicCases(rig: () => Rig): void {
  describe('toxics', () => {
    test('a named toxic reads back as it was created', async () => {
      const { name } = await rig().createProxy();
      const toxic = {
        name: 'slow',
        type: 'latency',
        stream: 'upstream',
        toxicity: 1,
        attributes: { latency: 10, jitter: 2 },
      };
      expect(await rig().addToxic(name, toxic)).toEqual(toxic);
      expect((await rig().api('GET', `/proxies/${name}/toxics/slow`)).json).toEqual(toxic);
      expect((await rig().api('GET', `/proxies/${name}/toxics`)).json).toEqual([toxic]);
      expect((await rig().proxy(name)).toxics).toEqual([toxic]);
    });

    test('of every type the defaults are all there, and zero', async () => {
      const { name } = await rig().createProxy();
      for (const [type, attributes] of Object.entries(ATTRIBUTES)) {
        const toxic = await rig().addToxic(name, { type });
        const zeros = Object.fromEntries(attributes.map((key) => [key, 0]));
        const rest = { type, stream: 'downstream', toxicity: 1, attributes: zeros };
        expect(toxic).toEqual({ name: `${type}_downstream`, ...rest });
      }
    });

    test('two of one type stand side by side', async () => {
      const { name } = await rig().createProxy();
      await rig().addToxic(name, { type: 'latency', name: 'a', attributes: { latency: 1 } });
      await rig().addToxic(name, { type: 'latency', name: 'b', attributes: { latency: 2 } });
      const { toxics } = await rig().proxy(name);
      expect(toxics.map(({ attributes }) => attributes.latency)).toEqual([1, 2]);
    });

    test('a name is unique over both streams', async () => {
      const { name } = await rig().createProxy();
      await rig().addToxic(name, { type: 'latency', name: 'a', stream: 'upstream' });
      for (const stream of ['upstream', 'downstream']) {
        const body = { type: 'noop', name: 'a', stream };
        const { json } = await rig().api('POST', `/proxies/${name}/toxics`, body);
        expect(json).toEqual({ error: 'toxic already exists', status: 409 });
      }
    });

    test('default names carry the stream, so both streams can have one', async () => {
      const { name } = await rig().createProxy();
      const up = await rig().addToxic(name, { type: 'latency', stream: 'upstream' });
      const down = await rig().addToxic(name, { type: 'latency' });
      expect([up.name, down.name]).toEqual(['latency_upstream', 'latency_downstream']);
    });

    test('the stream may be spelt in any case and is echoed as sent', async () => {
      const { name } = await rig().createProxy();
      const toxic = await rig().addToxic(name, { type: 'noop', stream: 'UpStream' });
      expect(toxic).toMatchObject({ name: 'noop_UpStream', stream: 'UpStream' });
    });

    test('toxicity is a 32-bit float without a range', async () => {
      const { name } = await rig().createProxy();
      for (const [sent, kept] of [
        [0.2, 0.2],
        [0.123456789, 0.12345679],
        [-3, -3],
        [7, 7],
        [0, 0],
      ]) {
        const toxic = await rig().addToxic(name, {
          type: 'noop',
          name: `t${sent}`,
          toxicity: sent,
        });
        expect(toxic.toxicity).toBe(kept);
      }
    });

    test('a noop toxic can be created and lets everything pass', async () => {
      const { client } = await rig().echo({ type: 'noop' }, { type: 'noop', stream: 'upstream' });
      await client.echoMs('hello');
      expect(client.text()).toBe('hello');
    });

    test('an update merges, and changes neither name nor type nor stream', async () => {
      const { name } = await rig().createProxy();
      const created = await rig().addToxic(name, {
        type: 'latency',
        toxicity: 0.5,
        attributes: { latency: 10, jitter: 3 },
      });
      const updated = await rig().updateToxic(name, created.name, {
        name: 'other',
        type: 'noop',
        stream: 'upstream',
        attributes: { latency: 20, jitter: null },
      });
      expect(updated).toEqual({ ...created, attributes: { latency: 20, jitter: 3 } });
      expect(await rig().updateToxic(name, created.name, { toxicity: 0.25 })).toEqual({
        ...updated,
        toxicity: 0.25,
      });
    });

    test('a removed toxic is gone', async () => {
      const { name } = await rig().createProxy();
      const toxic = await rig().addToxic(name, { type: 'latency' });
      await rig().removeToxic(name, toxic.name);
      expect((await rig().proxy(name)).toxics).toEqual([]);
      expect((await rig().api('DELETE', `/proxies/${name}/toxics/${toxic.name}`)).status).toBe(404);
      expect((await rig().addToxic(name, { type: 'latency' })).name).toBe(toxic.name);
    });

    test('unknown streams and types are refused, the stream first', async () => {
      const { name } = await rig().createProxy();
      const add = (body: unknown) => rig().api('POST', `/proxies/${name}/toxics`, body);
      const stream = 'stream was invalid, can be either upstream or downstream';
      for (const body of [
        { type: 'x', stream: 'sideways' },
        { type: 'noop', stream: '' },
      ]) {
        expect((await add(body)).json).toEqual({ error: stream, status: 400 });
      }
      for (const body of [{}, { type: 'x' }, { type: 'Latency' }]) {
        expect((await add(body)).json).toEqual({ error: 'invalid toxic type', status: 400 });
      }
    });

    test('an unknown proxy or toxic is not found, even with a bad body', async () => {
      const { name } = await rig().createProxy();
      for (const method of ['GET', 'DELETE', 'POST', 'PATCH']) {
        const body = method === 'GET' || method === 'DELETE' ? undefined : '{';
        const toxic = await rig().api(method, `/proxies/${name}/toxics/none`, body);
        expect(toxic.json).toEqual({ error: 'toxic not found', status: 404 });
        const proxy = await rig().api(method, '/proxies/none/toxics/none', body);
        expect(proxy.json).toEqual({ error: 'proxy not found', status: 404 });
      }
      expect((await rig().api('POST', '/proxies/none/toxics', '{')).status).toBe(404);
    });

    test('an attribute that is not a whole number is refused, and no toxic is left', async () => {
      const { name } = await rig().createProxy();
      for (const latency of [1.5, '10', true, {}, []]) {
        const body = { type: 'latency', attributes: { latency } };
        const { status, json } = await rig().api('POST', `/proxies/${name}/toxics`, body);
        expect(status, String(latency)).toBe(400);
        expect(json).toMatchObject({ error: expect.stringMatching(/^bad request body: /) });
      }
      expect((await rig().proxy(name)).toxics).toEqual([]);
    });

    test('toxics are listed upstream first, then in order of creation', async () => {
      const { name } = await rig().createProxy();
      for (const [toxic, stream] of [
        ['d1', 'downstream'],
        ['u1', 'upstream'],
        ['d0', 'downstream'],
        ['u0', 'upstream'],
      ]) {
        await rig().addToxic(name, { type: 'noop', name: toxic, stream });
      }
      const { toxics } = await rig().proxy(name);
      expect(toxics.map((toxic) => toxic.name)).toEqual(['u1', 'u0', 'd1', 'd0']);
    });
  });
}
