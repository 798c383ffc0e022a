/**
 * What passes between regions, byte for byte?
 *
 * A relay in every link that leads from one region to another: edge to edge, and primary to the
 * airlock of a peer. Each connection leaves two files, what was sent and what was received, and a
 * byte is in its file before it goes on. This is for audits: the files hold whatever the wire
 * holds, grow without limit, and lie in a folder that only their owner can enter.
 */
import { once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import {
  airlockFor,
  type Catalogue,
  type NodeAddress,
  type Region,
  type RegionId,
} from '../regions/catalogue.ts';

export type Address = { host: string; port: number };

/** Who reaches what through which address; undefined: as the catalogue says. */
export type Links = {
  link: (from: RegionId, to: NodeAddress) => Address | undefined;
  seenFrom: (region: RegionId) => Catalogue;
};

export type RecordedLink = {
  from: RegionId;
  to: RegionId;
  /** The edge or airlock at its far end. */
  name: string;
  kind: 'edge' | 'airlock';
  /** Where the relay listens. */
  address: Address;
  /** Name of its folder beside the list. */
  folder: string;
};

/** The list of links, in the folder of the recordings. */
export const LINKS_FILE = 'links.json';

export type WireRecorder = Links & { stop: () => Promise<void> };

export async function recordWire(options: {
  catalogue: Catalogue;
  folder: string;
  /** What a link led through without us, such as a proxy that delays. */
  through: Links | undefined;
}): Promise<WireRecorder> {
  const { catalogue, folder, through } = options;
  await mkdir(folder, { recursive: true });
  await chmod(folder, 0o700);
  const relays: Relay[] = [];
  const links: RecordedLink[] = [];
  const add = async (link: Omit<RecordedLink, 'address' | 'folder'>, target: Address) => {
    const name = `${link.from}-to-${link.name}`;
    const relay = await Relay.start(join(folder, name), target);
    relays.push(relay);
    links.push({ ...link, address: relay.address, folder: name });
  };
  for (const from of catalogue.regions.keys()) {
    const seen = through?.seenFrom(from) ?? catalogue;
    for (const to of seen.regions.values()) {
      if (to.id === from) continue;
      const airlock = airlockFor(to, from);
      const target = through?.link(from, airlock) ?? airlock;
      await add({ from, to: to.id, name: airlock.name, kind: 'airlock' }, target);
      for (const { name, url } of to.edges) {
        const { hostname, port } = new URL(url);
        await add({ from, to: to.id, name, kind: 'edge' }, { host: hostname, port: Number(port) });
      }
    }
  }
  await writeFile(join(folder, LINKS_FILE), `${JSON.stringify(links, null, 2)}\n`);
  const addressOf = (from: RegionId, name: string) =>
    links.find((link) => link.from === from && link.name === name)?.address;
  return {
    link: (from, to) => addressOf(from, to.name) ?? through?.link(from, to),
    seenFrom: (region) => {
      const seen = through?.seenFrom(region) ?? catalogue;
      const regions = [...seen.regions].map(([id, one]): [RegionId, Region] => [
        id,
        {
          ...one,
          edges: one.edges.map((edge) => {
            const relay = addressOf(region, edge.name);
            return relay === undefined
              ? edge
              : { ...edge, url: `http://${relay.host}:${relay.port}` };
          }),
        },
      ]);
      return { ...seen, regions: new Map(regions) };
    },
    stop: async () => {
      await Promise.all(relays.map((relay) => relay.stop()));
    },
  };
}

class Relay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(folder: string, target: Address, recorded: number) {
    let number = recorded;
    // Each side may say that it has nothing more to send and go on listening.
    this.#server = createServer({ allowHalfOpen: true }, (client) => {
      number++;
      const path = join(folder, String(number).padStart(6, '0'));
      const server = connect({ ...target, allowHalfOpen: true });
      this.#pass(client, server, `${path}.sent`);
      this.#pass(server, client, `${path}.received`);
    });
  }

  static async start(folder: string, target: Address): Promise<Relay> {
    await mkdir(folder, { recursive: true });
    const recorded = (await readdir(folder)).map((name) => Number.parseInt(name, 10) || 0);
    const relay = new Relay(folder, target, Math.max(0, ...recorded));
    relay.#server.listen(0, '127.0.0.1');
    await once(relay.#server, 'listening');
    return relay;
  }

  get address(): Address {
    const { address, port } = this.#server.address() as AddressInfo;
    return { host: address, port };
  }

  async stop(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #pass(from: Socket, to: Socket, path: string): void {
    const file = openSync(path, 'a', 0o600);
    this.#sockets.add(from);
    from.setNoDelay();
    from.on('data', (bytes: Buffer) => {
      writeWhole(file, bytes);
      if (!to.write(bytes)) from.pause();
    });
    to.on('drain', () => from.resume());
    from.on('end', () => to.end());
    // Its close follows, and says what was lost.
    from.on('error', () => {});
    from.on('close', () => {
      this.#sockets.delete(from);
      closeSync(file);
      // One side has dropped the connection: the other learns it the same way.
      if (!from.readableEnded) to.resetAndDestroy();
    });
  }
}

function writeWhole(file: number, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
}
