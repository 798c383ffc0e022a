/** Do bytes and endings cross a proxy without toxics as the original lets them cross? */
import { describe, expect, test } from 'vitest';
import { pattern, portOf, type Rig } from './rig.ts';

export function proxyingCases(rig: () => Rig): void {
  describe('proxying', () => {
    test('a message arrives, and so does its end', async () => {
      const { client, server } = await rig().pair();
      client.send('hello');
      expect((await server.received(5)).toString()).toBe('hello');
      client.finish();
      expect(await server.ended()).toBe('fin');
      expect(server.text()).toBe('hello');
    });

    test('64 KB and two parts arrive whole', async () => {
      const { client, server } = await rig().pair();
      const sent = pattern(65_536);
      client.send(sent.subarray(0, 40_000));
      await server.received(40_000);
      client.send(sent.subarray(40_000));
      expect(sent.equals(await server.received(65_536))).toBe(true);
    });

    test('a megabyte comes back unchanged, both directions at once', async () => {
      const { client } = await rig().echo();
      const sent = pattern(1_048_576);
      client.send(sent);
      expect(sent.equals(await client.received(sent.length))).toBe(true);
    });

    test('with a dead upstream the client connects and is hung up on', async () => {
      const upstream = `127.0.0.1:${await rig().freePort()}`;
      const { name, listen } = await rig().createProxy({ upstream });
      const client = await rig().connect(portOf(listen));
      expect(await client.ended()).toBe('fin');
      expect(client.bytes).toBe(0);
      expect((await rig().proxy(name)).enabled).toBe(true);
      const again = await rig().connect(portOf(listen));
      expect(await again.ended()).toBe('fin');
    });

    test('listening on port 0 again moves to a new port and cuts connections', async () => {
      const { name, port, client } = await rig().echo();
      await client.echoMs('here');
      const moved = portOf((await rig().updateProxy(name, { listen: 'localhost:0' })).listen);
      expect(moved).not.toBe(port);
      expect(await client.ended()).toBe('fin');
      expect(await rig().dialError(port)).toBe('ECONNREFUSED');
      expect(await rig().dialError(moved)).toBeUndefined();
    });

    test('the same place by another name of the host keeps the connection', async () => {
      const { name, port, client } = await rig().echo();
      const { listen } = await rig().updateProxy(name, { listen: `localhost:${port}` });
      expect(listen).toBe(`127.0.0.1:${port}`);
      await client.echoMs('still there');
    });

    test('a new upstream cuts connections and keeps toxics', async () => {
      const { name, port, client } = await rig().echo({ type: 'noop' });
      const elsewhere = await rig().backend((peer) => peer.send('elsewhere'));
      const moved = await rig().updateProxy(name, { upstream: elsewhere.upstream });
      expect(moved).toMatchObject({ listen: `127.0.0.1:${port}`, enabled: true });
      expect(moved.toxics).toHaveLength(1);
      expect(await client.ended()).toBe('fin');
      const second = await rig().connect(port);
      expect((await second.received(9)).toString()).toBe('elsewhere');
    });

    test('there is no half-close: after the FIN of a client its reply is lost', async () => {
      const { client, server } = await rig().pair();
      client.send('question');
      client.finish();
      expect(await server.ended()).toBe('fin');
      expect(await client.ended()).toBe('fin');
      // Only a write shows that the socket behind the FIN is gone: it is answered by an RST.
      for (let round = 0; round < 100 && !server.broken; round += 1) {
        server.send('answer');
        await rig().api('GET', '/version');
      }
      expect(server.broken).toBe(true);
      expect(client.bytes).toBe(0);
    });

    test('an RST of the upstream reaches the client as a FIN', async () => {
      const { client, server } = await rig().echo();
      await client.echoMs('established');
      server.reset();
      expect(await client.ended()).toBe('fin');
    });

    test('an RST of the client reaches the upstream as a FIN', async () => {
      const { client, server } = await rig().echo();
      await client.echoMs('established');
      client.reset();
      expect(await server.ended()).toBe('fin');
    });

    test('disable and delete end both sides', async () => {
      for (const deleted of [false, true]) {
        const { name, client, server } = await rig().echo();
        await client.echoMs('established');
        if (deleted) await rig().api('DELETE', `/proxies/${name}`);
        else await rig().updateProxy(name, { enabled: false });
        expect(await client.ended()).toBe('fin');
        expect(await server.ended()).toBe('fin');
      }
    });

    test('disabling loses what a toxic held', async () => {
      const held = { type: 'latency', stream: 'upstream', attributes: { latency: 60_000 } };
      const { name, client, server } = await rig().pair(held);
      client.send('held');
      // Proof that the proxy runs on; the message is with the toxic by now.
      server.send('over here');
      await client.received(9);
      await rig().updateProxy(name, { enabled: false });
      expect(await server.ended()).toBe('fin');
      expect(server.bytes).toBe(0);
    });

    test('a receiver that stops reading stops the sender, and loses nothing', async () => {
      const { client, server } = await rig().pair();
      server.stall();
      const chunk = pattern(1_048_576);
      let sentBytes = 0;
      // Kernel buffers take a few megabytes at each hop; a proxy that stored more would take all.
      while (sentBytes < 64 * chunk.length) {
        sentBytes += chunk.length;
        if (!(await client.sendWhenDrained(chunk)) && (await stuck(client, rig()))) break;
      }
      expect(sentBytes).toBeLessThan(64 * chunk.length);
      server.drain();
      await server.received(sentBytes);
      expect(server.bytes).toBe(sentBytes);
    });

    test('toxics come and go under 100 echoes', async () => {
      const { name, client } = await rig().echo();
      for (let round = 0; round < 100; round += 1) {
        const stream = round % 2 === 0 ? 'upstream' : 'downstream';
        const echoed = client.echoMs(`message ${round};`);
        const { name: toxic } = await rig().addToxic(name, { type: 'noop', stream });
        await echoed;
        await rig().removeToxic(name, toxic);
      }
      const expected = Array.from({ length: 100 }, (_, round) => `message ${round};`).join('');
      expect(client.text()).toBe(expected);
    });
  });
}

/** Nothing leaves the socket while the server answers twenty questions. */
async function stuck(client: { readonly unsentBytes: number }, rig: Rig): Promise<boolean> {
  const before = client.unsentBytes;
  if (before === 0) return false;
  for (let question = 0; question < 20; question += 1) await rig.api('GET', '/version');
  return client.unsentBytes === before;
}
