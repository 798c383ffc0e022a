/** Does each toxic do to bytes and endings what its name says, and let go when it is told to? */
import { describe, expect, test } from 'vitest';
import { expectAbout, pattern, type Rig, TIMING } from './rig.ts';

type Attributes = Readonly<Record<string, number>>;

const up = (type: string, attributes: Attributes = {}, rest: object = {}) => ({
  type,
  name: `${type}_up`,
  stream: 'upstream',
  attributes,
  ...rest,
});

const down = (type: string, attributes: Attributes = {}, rest: object = {}) => ({
  type,
  name: `${type}_down`,
  stream: 'downstream',
  attributes,
  ...rest,
});

/** Longer than any test: what is seen before was not released by a clock. */
const AGES_MS = 60_000;

export function effectCases(rig: () => Rig): void {
  const now = () => rig().nowMs();

  describe('latency', TIMING, () => {
    test('delays each direction it is set on, and none at zero', async () => {
      for (const [toxics, expectedMs] of [
        [[up('latency', { latency: 80 })], 80],
        [[down('latency', { latency: 80 })], 80],
        [[up('latency', { latency: 60 }), down('latency', { latency: 80 })], 140],
        [[up('latency'), down('latency')], 0],
      ] as const) {
        const { client } = await rig().echo(...toxics);
        expectAbout(await client.echoMs('x'), expectedMs);
      }
    });

    test('two of them add up', async () => {
      const second = up('latency', { latency: 70 }, { name: 'second' });
      const { client } = await rig().echo(up('latency', { latency: 60 }), second);
      expectAbout(await client.echoMs('x'), 130);
    });

    test('jitter stays within its bounds on either side, and does vary', async () => {
      const { client } = await rig().echo(up('latency', { latency: 50, jitter: 40 }));
      const measuredMs: number[] = [];
      for (let round = 0; round < 10; round += 1) measuredMs.push(await client.echoMs('x'));
      expect(Math.min(...measuredMs)).toBeGreaterThanOrEqual(5);
      expect(Math.max(...measuredMs)).toBeLessThanOrEqual(150);
      // Ten draws from an 80 ms interval that lie within 5 ms of each other: 1 in 10^9.
      expect(Math.max(...measuredMs) - Math.min(...measuredMs)).toBeGreaterThan(5);
    });

    test('order is kept while it comes, changes and goes', async () => {
      const { name, client } = await rig().echo();
      const sent = pattern(400_000);
      const changes = async () => {
        for (let round = 0; round < 8; round += 1) {
          await rig().addToxic(name, up('latency', { latency: 10, jitter: 8 }));
          await rig().addToxic(name, down('latency', { latency: 15 }));
          await rig().updateToxic(name, 'latency_up', { attributes: { latency: 1 } });
          await rig().removeToxic(name, 'latency_up');
          await rig().removeToxic(name, 'latency_down');
        }
      };
      const changed = changes();
      for (let at = 0; at < sent.length; at += 4_000) {
        client.send(sent.subarray(at, at + 4_000));
        await client.received(Math.max(0, at - 20_000));
      }
      expect(sent.equals(await client.received(sent.length))).toBe(true);
      await changed;
    });

    test('it does not cost throughput', async () => {
      const { client, server } = await rig().pair(up('latency', { latency: 100 }));
      const sent = pattern(4_000_000);
      const startMs = now();
      client.send(sent);
      expect(sent.equals(await server.received(sent.length))).toBe(true);
      // One chunk after the other would take twelve seconds.
      expect(now() - startMs).toBeLessThan(1_000);
    });

    test('a FIN is not delayed when there is no data', async () => {
      const { client, server } = await rig().pair(up('latency', { latency: AGES_MS }));
      const startMs = now();
      client.finish();
      expect(await server.ended()).toBe('fin');
      expectAbout(now() - startMs, 0);
    });

    test('a FIN queues behind data, which is delivered after its source has closed', async () => {
      const { client, server } = await rig().pair(up('latency', { latency: 100 }));
      const startMs = now();
      client.send('last words');
      client.finish();
      expect(await server.ended()).toBe('fin');
      expectAbout(now() - startMs, 100);
      expect(server.text()).toBe('last words');
    });

    test('its removal releases all it held', async () => {
      const { name, client, server } = await rig().pair(up('latency', { latency: AGES_MS }));
      for (const message of ['one ', 'two ', 'three']) {
        client.send(message);
        await rig().api('GET', '/version');
      }
      expect(server.bytes).toBe(0);
      await rig().removeToxic(name, 'latency_up');
      expect((await server.received(13)).toString()).toBe('one two three');
    });

    test('an update releases the chunk it was busy with', async () => {
      const { name, client, server } = await rig().pair(up('latency', { latency: AGES_MS }));
      client.send('held');
      server.send('read by now');
      await client.received(11);
      expect(server.bytes).toBe(0);
      await rig().updateToxic(name, 'latency_up', { attributes: { latency: AGES_MS + 1 } });
      expect((await server.received(4)).toString()).toBe('held');
    });
  });

  describe('bandwidth', TIMING, () => {
    test('480 KB at 1000 KB/s take 480 ms', async () => {
      const { client, server } = await rig().pair(up('bandwidth', { rate: 1_000 }));
      const sent = pattern(480_000);
      const startMs = now();
      client.send(sent);
      expect(sent.equals(await server.received(sent.length))).toBe(true);
      expectAbout(now() - startMs, 480);
    });

    test('a chunk of more than 100 ms trickles in slices', async () => {
      const { client, server } = await rig().pair(up('bandwidth', { rate: 10 }));
      const startMs = now();
      client.send(pattern(2_500));
      await server.received(2_500);
      expectAbout(now() - startMs, 250);
      expect(server.arrivals.map(({ data }) => data.length)).toEqual([1_000, 1_000, 500]);
    });

    test('nothing passes at rate 0 until it is removed', async () => {
      const { name, client, server } = await rig().pair(up('bandwidth'));
      client.send('blocked');
      for (const message of ['the ', 'other ', 'way']) {
        server.send(message);
        await client.received(client.bytes + message.length);
      }
      expect(server.bytes).toBe(0);
      await rig().removeToxic(name, 'bandwidth_up');
      expect((await server.received(7)).toString()).toBe('blocked');
    });

    test('a FIN alone passes at rate 0', async () => {
      const { client, server } = await rig().pair(up('bandwidth'));
      client.finish();
      expect(await server.ended()).toBe('fin');
    });

    test('removing rate 0 under load does not hang', async () => {
      const { name, client, server } = await rig().pair(up('bandwidth'));
      const sent = pattern(2_000_000);
      client.send(sent);
      await rig().api('GET', '/version');
      await rig().removeToxic(name, 'bandwidth_up');
      expect(sent.equals(await server.received(sent.length))).toBe(true);
    });
  });

  describe('slow_close', TIMING, () => {
    test('delays the FIN and nothing else', async () => {
      const { client, server } = await rig().pair(up('slow_close', { delay: 100 }));
      const startMs = now();
      client.send('now');
      await server.received(3);
      expectAbout(now() - startMs, 0);
      const finishedMs = now();
      client.finish();
      expect(await server.ended()).toBe('fin');
      expectAbout(now() - finishedMs, 100);
    });

    test('on the way up it lets a reply through after the client has closed its side', async () => {
      const { client, server } = await rig().pair(up('slow_close', { delay: 100 }));
      client.finish();
      // The FIN is in the proxy by now, and the reply is on its way before the delay is over.
      await rig().api('GET', '/version');
      server.send('in time');
      expect((await client.received(7)).toString()).toBe('in time');
    });

    test('its removal closes now', async () => {
      const { name, client, server } = await rig().pair(up('slow_close', { delay: AGES_MS }));
      client.finish();
      await rig().api('GET', '/version');
      await rig().removeToxic(name, 'slow_close_up');
      expect(await server.ended()).toBe('fin');
    });

    test('an update starts the delay again', async () => {
      const { name, client, server } = await rig().pair(up('slow_close', { delay: AGES_MS }));
      client.finish();
      await rig().api('GET', '/version');
      const startMs = now();
      await rig().updateToxic(name, 'slow_close_up', { attributes: { delay: 80 } });
      expect(await server.ended()).toBe('fin');
      expectAbout(now() - startMs, 80);
    });

    test('disabling does not wait for it', async () => {
      const { name, client, server } = await rig().pair(up('slow_close', { delay: AGES_MS }));
      client.finish();
      await rig().updateProxy(name, { enabled: false });
      expect(await server.ended()).toBe('fin');
    });
  });

  describe('timeout', TIMING, () => {
    test('closes a connection that is idle for so long', async () => {
      const { port } = await rig().pair(up('timeout', { timeout: 100 }));
      const startMs = now();
      const client = await rig().connect(port);
      expect(await client.ended()).toBe('fin');
      expectAbout(now() - startMs, 100);
    });

    test('data is dropped and starts the clock again', async () => {
      const { client, server } = await rig().pair(up('timeout', { timeout: 100 }));
      let lastMs = 0;
      for (let round = 0; round < 4; round += 1) {
        lastMs = now();
        client.send('x');
        if (round < 3) await new Promise((done) => setTimeout(done, 60));
      }
      expect(await client.ended()).toBe('fin');
      expectAbout((client.endedAtMs ?? 0) - lastMs, 100);
      expect(server.bytes).toBe(0);
    });

    test('its removal closes the connections that are there, on both ends', async () => {
      const { name, client, server } = await rig().pair(up('timeout'));
      client.send('dropped');
      await rig().removeToxic(name, 'timeout_up');
      expect(await client.ended()).toBe('fin');
      expect(await server.ended()).toBe('fin');
      expect(server.bytes).toBe(0);
    });

    test('a reset closes them too, even those that toxicity spared', async () => {
      const { client } = await rig().echo(up('timeout', {}, { toxicity: 0 }));
      await client.echoMs('spared');
      await rig().api('POST', '/reset');
      expect(await client.ended()).toBe('fin');
    });

    test('at 0 it drops for ever, and its neighbours can be removed', async () => {
      const toxics = [up('noop'), up('timeout'), up('latency', { latency: 5 })];
      const { name, client, server } = await rig().pair(...toxics);
      client.send('dropped');
      await rig().removeToxic(name, 'noop_up');
      await rig().removeToxic(name, 'latency_up');
      client.send('dropped too');
      server.send('still open');
      await client.received(10);
      expect(server.bytes).toBe(0);
      client.finish();
      expect(await server.ended()).toBe('fin');
      expect(server.bytes).toBe(0);
    });

    test('toxicity 0 lets data flow again on the same connection', async () => {
      const { name, client } = await rig().echo(up('timeout'));
      client.send('dropped');
      await rig().api('GET', '/version');
      await rig().updateToxic(name, 'timeout_up', { toxicity: 0 });
      await client.echoMs('flows');
      expect(client.text()).toBe('flows');
    });
  });

  describe('toxicity', TIMING, () => {
    test('0 passes everything, and an update to 1 acts on the open connection', async () => {
      const { name, client } = await rig().echo(up('latency', { latency: 100 }, { toxicity: 0 }));
      expectAbout(await client.echoMs('x'), 0);
      await rig().updateToxic(name, 'latency_up', { toxicity: 1 });
      expectAbout(await client.echoMs('x'), 100);
    });

    test('one half spares some connections and takes others', async () => {
      const backend = await rig().backend((peer) => peer.echo());
      const { name, listen } = await rig().createProxy({ upstream: backend.upstream });
      await rig().addToxic(name, up('limit_data', {}, { toxicity: 0.5 }));
      const port = Number(listen.split(':')[1]);
      let spared = 0;
      // 40 equal tosses of a fair coin: 1 in 5 * 10^11.
      for (let round = 0; round < 40; round += 1) {
        const client = await rig().connect(port);
        const echoed = client.echoMs('x').then(
          () => 1,
          () => 0,
        );
        spared += await echoed;
      }
      expect(spared).toBeGreaterThan(0);
      expect(spared).toBeLessThan(40);
    });
  });

  describe('reset_peer', TIMING, () => {
    test('resets after its timeout, counted from the first data, up and down', async () => {
      for (const toxic of [
        up('reset_peer', { timeout: 100 }),
        down('reset_peer', { timeout: 100 }),
      ]) {
        const { client } = await rig().echo(toxic);
        const startMs = now();
        client.send('x');
        expect(await client.ended()).toBe('rst');
        expectAbout(now() - startMs, 100);
        expect(client.bytes).toBe(0);
      }
    });

    test('the upstream is reset as well', async () => {
      const { client, server } = await rig().pair(up('reset_peer'));
      client.send('x');
      expect(await server.ended()).toBe('rst');
      expect(await client.ended()).toBe('rst');
    });

    test('an idle connection is left alone', async () => {
      const { port, client } = await rig().echo(up('reset_peer'));
      const other = await rig().connect(port);
      other.send('x');
      expect(await other.ended()).toBe('rst');
      expect(client.ending).toBeUndefined();
    });

    test('added to an open connection it closes with a FIN', async () => {
      const { name, client } = await rig().echo();
      await client.echoMs('established');
      await rig().addToxic(name, up('reset_peer'));
      client.send('x');
      expect(await client.ended()).toBe('fin');
    });

    test('a connection opened beside it ends by RST even after its removal', async () => {
      const { name, client } = await rig().echo(up('reset_peer', {}, { toxicity: 0 }));
      await client.echoMs('spared');
      await rig().removeToxic(name, 'reset_peer_up');
      await client.echoMs('removed');
      await rig().updateProxy(name, { enabled: false });
      expect(await client.ended()).toBe('rst');
    });
  });

  describe('limit_data', TIMING, () => {
    test('delivers exactly so many bytes and closes', async () => {
      for (const [limitBytes, messages] of [
        [10, ['0123456789']],
        [10, ['0123456789abcdef']],
        [10, ['0123', '4567', '89abcdef']],
      ] as const) {
        const { client, server } = await rig().pair(up('limit_data', { bytes: limitBytes }));
        let sentBytes = 0;
        for (const message of messages) {
          client.send(message);
          sentBytes = Math.min(limitBytes, sentBytes + message.length);
          await server.received(sentBytes);
        }
        expect(await server.ended()).toBe('fin');
        expect(server.text()).toBe('0123456789');
        await client.ended();
      }
    });

    test('below the limit everything passes', async () => {
      const { client } = await rig().echo(up('limit_data', { bytes: 10 }));
      await client.echoMs('012345678');
      await rig().api('GET', '/version');
      expect(client.ending).toBeUndefined();
    });

    test('0 closes on the first data', async () => {
      const { client, server } = await rig().pair(up('limit_data'));
      await rig().api('GET', '/version');
      expect(server.ending).toBeUndefined();
      client.send('x');
      expect(await server.ended()).toBe('fin');
      expect(server.bytes).toBe(0);
    });

    test('an update goes on counting', async () => {
      const { name, client, server } = await rig().pair(up('limit_data', { bytes: 100 }));
      client.send('01234567');
      await server.received(8);
      await rig().updateToxic(name, 'limit_data_up', { attributes: { bytes: 10 } });
      client.send('89abcdef');
      expect(await server.ended()).toBe('fin');
      expect(server.text()).toBe('0123456789');
    });

    test('a limit lowered below the count closes at the next data', async () => {
      const { name, client, server } = await rig().pair(up('limit_data', { bytes: 100 }));
      client.send('01234567');
      await server.received(8);
      await rig().updateToxic(name, 'limit_data_up', { attributes: { bytes: 4 } });
      server.send('open');
      await client.received(4);
      expect(server.ending).toBeUndefined();
      client.send('8');
      expect(await server.ended()).toBe('fin');
      expect(server.text()).toBe('01234567');
    });
  });

  describe('slicer', TIMING, () => {
    test('cuts into pieces of at most average plus variation, and loses nothing', async () => {
      const attributes = { average_size: 20, size_variation: 10, delay: 20_000 };
      const { client, server } = await rig().pair(up('slicer', attributes));
      const sent = pattern(200);
      client.send(sent);
      expect(sent.equals(await server.received(sent.length))).toBe(true);
      const sizes = server.arrivals.map(({ data }) => data.length);
      expect(Math.max(...sizes)).toBeLessThanOrEqual(30);
    });

    test('without variation it halves evenly', async () => {
      const attributes = { average_size: 15, delay: 20_000 };
      const { client, server } = await rig().pair(up('slicer', attributes));
      const startMs = now();
      client.send(pattern(100));
      await server.received(100);
      expectAbout(now() - startMs, 140);
      const sizes = server.arrivals.map(({ data }) => data.length);
      expect(sizes).toEqual([12, 13, 12, 13, 12, 13, 12, 13]);
    });

    test('its removal releases the rest at once', async () => {
      const attributes = { average_size: 1, delay: 1_000_000 };
      const { name, client, server } = await rig().pair(up('slicer', attributes));
      const sent = pattern(1_000);
      client.send(sent);
      await server.received(1);
      await rig().removeToxic(name, 'slicer_up');
      expect(sent.equals(await server.received(sent.length))).toBe(true);
    });
  });

  describe('order of toxics', TIMING, () => {
    // 20 KB at 100 KB/s take 200 ms; latency counts from when the bytes were read.
    const measure = async (...toxics: ReturnType<typeof up>[]) => {
      const { client, server } = await rig().pair(...toxics);
      const startMs = now();
      client.send(pattern(20_000));
      await server.received(20_000);
      return now() - startMs;
    };
    const thin = up('bandwidth', { rate: 100 });
    const long = up('latency', { latency: 300 });

    test('bandwidth before latency overlaps, latency before bandwidth adds', async () => {
      expectAbout(await measure(thin, long), 300);
      expectAbout(await measure(long, thin), 500);
    });
  });
}
