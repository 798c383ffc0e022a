/**
 * How does a keeper have a server of this machine started, ended or made a standby?
 *
 * Only the supervisor may start what it will have to end, so it listens on loopback for whoever
 * shows the password of one region, and obeys for the nodes of that region. One act at a time for
 * each node; the answer comes when it is done. Whoever shows the world's own password is told which
 * processes there are, and may have any that has ended started again as it was.
 */
import { timingSafeEqual } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Catalogue, Region, RegionId } from '../catalogue.ts';
import type { LocalClusters } from './start-clusters.ts';

export type Machine = { url: string; close(): Promise<void> };

/** Far above what an order is; more is not read. */
const BODY_BYTES_MAX = 4_096;

/** The name of the password that a region's keeper shows. */
export function machineSecret(region: string): string {
  return `${region}.machine`;
}

/** The name of the password of the whole world, which is kept with the others of its folder. */
export const WORLD_SECRET = 'world.machine';
/** Where it is asked for; no region can be called this. */
const WORLD_PATH = '.world';

/** A process of the world that serves requests or keeps a region. */
export type WorldProcess = {
  name: string;
  kind: 'edge' | 'keeper' | 'node' | 'airlock';
  region: RegionId;
  /** Undefined while it does not run. Of a server: its postmaster. */
  pid: number | undefined;
  /** Of a server. */
  dataDirectory?: string;
};

/** The processes of the world that are no servers. */
export type Supervised = {
  list: () => WorldProcess[];
  start: (name: string) => Promise<void>;
};

export async function serveMachine({
  catalogue,
  clusters,
  supervised,
  report,
}: {
  catalogue: Catalogue;
  clusters: LocalClusters;
  supervised: Supervised;
  report: (step: string) => void;
}): Promise<Machine> {
  const busy = new Set<string>();
  const server = createServer((request, response) => {
    void answer(request, response).catch((error: unknown) => {
      say(response, 500, { why: error instanceof Error ? error.message : String(error) });
    });
  });
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const { pathname } = new URL(request.url ?? '/', 'http://machine');
    const [, id = '', node, act] = pathname.split('/');
    if (id === WORLD_PATH) return answerOwner(request, response, node, act);
    const region = catalogue.regions.get(id);
    const secret = region && clusters.password(machineSecret(id));
    if (region === undefined || !isToken(request.headers.authorization, `Bearer ${secret}`)) {
      return say(response, 403, { why: 'This machine obeys the keepers of its regions only.' });
    }
    if (request.method === 'GET' && node === undefined) {
      return say(response, 200, processesOf(region, clusters));
    }
    if (request.method !== 'POST' || !region.nodes.some(({ name }) => name === node)) {
      return say(response, 404, { why: `no such node or act in ${id}` });
    }
    const order = JSON.parse((await bodyOf(request)) || '{}') as Partial<Order>;
    if (node === undefined || busy.has(node)) {
      return say(response, 409, { why: `something is being done to ${node} already` });
    }
    busy.add(node);
    try {
      await obey(clusters, region, node, act, order);
      report(`${node}: ${act}, as its keeper has asked`);
      say(response, 200, {});
    } finally {
      busy.delete(node);
    }
  };
  const processes = () => [...supervised.list(), ...serversOf(catalogue, clusters)];
  const answerOwner = async (
    { method, headers }: IncomingMessage,
    response: ServerResponse,
    name: string | undefined,
    act: string | undefined,
  ) => {
    if (!isToken(headers.authorization, `Bearer ${clusters.password(WORLD_SECRET)}`)) {
      return say(response, 403, { why: 'This is for the owner of the world only.' });
    }
    if (method === 'GET' && name === undefined) return say(response, 200, processes());
    const found = processes().find((one) => one.name === name);
    if (method !== 'POST' || found === undefined || act !== 'start') {
      return say(response, 404, { why: 'no such process or act' });
    }
    if (busy.has(found.name)) {
      return say(response, 409, { why: `something is being done to ${name} already` });
    }
    if (found.pid !== undefined) return say(response, 200, {});
    busy.add(found.name);
    try {
      const isServer = found.dataDirectory !== undefined;
      await (isServer ? clusters : supervised).start(found.name);
      report(`${name}: start, as the owner of the world has asked`);
      say(response, 200, {});
    } finally {
      busy.delete(found.name);
    }
  };
  const { port } = await listening(server);
  return {
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      const closed = new Promise((done) => server.close(done));
      server.closeAllConnections();
      await closed;
    },
  };
}

type Order = { primary: string; copy: boolean; keepData: boolean };

async function obey(
  clusters: LocalClusters,
  region: Region,
  node: string,
  act: string | undefined,
  { primary, copy, keepData }: Partial<Order>,
): Promise<void> {
  switch (act) {
    case 'start':
      if (!clusters.runs(node)) await clusters.start(node);
      return;
    case 'halt':
      return clusters.halt(node);
    case 'follow':
      if (primary === undefined || !region.nodes.some(({ name }) => name === primary)) {
        throw new Error(`${primary} is no node of ${region.id}`);
      }
      return clusters.follow(node, { primary, copy: copy === true, keepData: keepData !== false });
    default:
      throw new Error(`${act} is nothing that can be done to a server`);
  }
}

function processesOf({ nodes }: Region, clusters: LocalClusters): Record<string, 'runs' | 'ended'> {
  return Object.fromEntries(
    nodes.map(({ name }) => [name, clusters.runs(name) ? ('runs' as const) : ('ended' as const)]),
  );
}

function serversOf({ regions }: Catalogue, clusters: LocalClusters): WorldProcess[] {
  return [...regions.values()].flatMap(({ id, nodes, airlocks }) => {
    const listed = (kind: 'node' | 'airlock') => (server: { name: string }) => ({
      name: server.name,
      kind,
      region: id,
      pid: clusters.postmaster(server.name),
      dataDirectory: clusters.dataDirectory(server.name),
    });
    return [...nodes.map(listed('node')), ...airlocks.map(listed('airlock'))];
  });
}

function isToken(given: string | undefined, expected: string): boolean {
  const [a, b] = [Buffer.from(given ?? ''), Buffer.from(expected)];
  return a.length === b.length && timingSafeEqual(a, b);
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    size += (chunk as Buffer).length;
    if (size > BODY_BYTES_MAX) throw new Error('the order is too long');
    chunks.push(chunk as Buffer);
  }
  return Buffer.concat(chunks).toString();
}

function say(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent) return;
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function listening(server: Server): Promise<AddressInfo> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server.address() as AddressInfo));
  });
}
