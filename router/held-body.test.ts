import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { serve } from '@hono/node-server';
import { Hono } from 'hono';
import { afterEach, expect, test } from 'vitest';
import { holdBodies, leaveBody } from './held-body.ts';

const MIB = 1024 * 1024;
/** What Node reads from a socket at once. */
const CHUNK_BYTES = 64 * 1024;

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

type Handle = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

/** A server that holds bodies, and the server's side of its connections. */
async function serving(handle: Handle): Promise<{ port: number; sockets: Socket[] }> {
  return listening(createServer(handle));
}

async function listening(server: Server): Promise<{ port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  server.on('connection', (socket) => sockets.push(socket));
  holdBodies(server);
  servers.push(server);
  if (!server.listening) {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  }
  return { port: (server.address() as AddressInfo).port, sockets };
}

/** A client that writes bytes and keeps what it hears. */
async function client(port: number): Promise<{ socket: Socket; heard: () => string }> {
  const socket = connect(port, '127.0.0.1');
  let heard = '';
  socket.on('data', (part) => {
    heard += part.toString('latin1');
  });
  socket.on('error', () => {});
  await once(socket, 'connect');
  return { socket, heard: () => heard };
}

/** Ended, be it by a reset: a client that still sends when nobody reads is cut off. */
function closed(socket: Socket): Promise<void> {
  return new Promise((done) => socket.once('close', () => done()));
}

async function until(is: () => boolean): Promise<void> {
  while (!is()) await new Promise((look) => setTimeout(look, 5));
}

const WAITING = 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n';
const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

test('a client that waits is told to go on when something reads, once', async () => {
  const { port } = await serving((incoming, outgoing) => {
    incoming.on('data', (part) => outgoing.end(part));
  });
  const { socket, heard } = await client(port);
  socket.write(WAITING);
  await until(() => heard() !== '');
  expect(heard()).toBe(CONTINUE);
  socket.write('hello');
  await until(() => heard().endsWith('hello'));
  expect(heard().split(CONTINUE)).toHaveLength(2);
});

test.each([
  ['leaves the body', leaveBody],
  ['never looks', () => {}],
])('a handler that answers and %s never tells the client to send it', async (_how, leave) => {
  const { port } = await serving((incoming, outgoing) => {
    leave(incoming, outgoing);
    outgoing.end('no');
  });
  const { socket, heard } = await client(port);
  socket.write(WAITING);
  await closed(socket);
  expect(heard()).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  expect(heard()).toMatch(/\r\nconnection: close\r\n/i);
});

test.each([
  ['with a length', `Content-Length: ${16 * MIB}`],
  ['in chunks', 'Transfer-Encoding: chunked'],
])('of a body %s that is left, no more is read than came with the header', async (_how, field) => {
  const { port, sockets } = await serving((incoming, outgoing) => {
    leaveBody(incoming, outgoing);
    outgoing.writeHead(307, { location: 'http://home.example/' }).end();
  });
  const { socket, heard } = await client(port);
  // The end of the answer is heard while the connection still stands.
  let stoodAtEnd: boolean | undefined;
  socket.on('end', () => {
    stoodAtEnd = sockets[0]?.destroyed === false;
  });
  const chunked = field.startsWith('Transfer');
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${field}\r\n\r\n`);
  const part = Buffer.alloc(MIB, 'x');
  for (let i = 0; i < 16; i++) {
    if (chunked) socket.write(`${MIB.toString(16)}\r\n`);
    socket.write(part);
    if (chunked) socket.write('\r\n');
  }
  await closed(socket);
  expect(heard()).toMatch(/^HTTP\/1\.1 307 /);
  expect(stoodAtEnd).toBe(true);
  const [accepted] = sockets;
  await until(() => accepted?.destroyed === true);
  expect(accepted?.bytesRead).toBeGreaterThan(0);
  expect(accepted?.bytesRead).toBeLessThanOrEqual(CHUNK_BYTES);
});

test('a body that has not been asked for stays on the wire, and is whole when it is read', async () => {
  let read: () => void = () => {};
  const { port, sockets } = await serving((incoming, outgoing) => {
    read = () => {
      let bytes = 0;
      incoming.on('data', (part: Buffer) => {
        bytes += part.length;
      });
      incoming.on('end', () => outgoing.end(`read ${bytes}`));
    };
  });
  const { socket, heard } = await client(port);
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${8 * MIB}\r\n\r\n`);
  const sent = new Promise((done) => socket.write(Buffer.alloc(8 * MIB, 'x'), done));
  await until(() => sockets[0]?.isPaused() === true);
  // The kernel takes what it has room for; a second connection is served all the same.
  const { socket: other, heard: otherHeard } = await client(port);
  other.write('GET /* HTTP/1.1\r\n\r\n');
  await until(() => otherHeard().includes('400 Bad Request'));
  expect(sockets[0]?.bytesRead).toBeLessThanOrEqual(CHUNK_BYTES);
  read();
  await sent;
  await until(() => heard().endsWith(`read ${8 * MIB}`));
});

test('a left body that came whole ends the connection at once', async () => {
  const { port, sockets } = await serving((incoming, outgoing) => {
    leaveBody(incoming, outgoing);
    outgoing.writeHead(307, { location: 'http://home.example/' }).end();
  });
  const { socket, heard } = await client(port);
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello');
  await closed(socket);
  expect(heard()).toMatch(/^HTTP\/1\.1 307 /);
  await until(() => sockets[0]?.destroyed === true);
});

test('a request without a body keeps its connection', async () => {
  const { port, sockets } = await serving((incoming, outgoing) => {
    leaveBody(incoming, outgoing);
    outgoing.writeHead(307, { location: 'http://home.example/' }).end();
  });
  const { socket, heard } = await client(port);
  for (const times of [1, 2]) {
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n');
    await until(() => heard().split('307').length === times + 1);
  }
  expect(sockets).toHaveLength(1);
});

test('the adapter to Hono neither reads nor drains a body that is left', async () => {
  const app = new Hono<{ Bindings: { incoming: IncomingMessage; outgoing: ServerResponse } }>();
  app.post('/', (c) => {
    leaveBody(c.env.incoming, c.env.outgoing);
    return c.body(null, 307, { location: 'http://home.example/' });
  });
  const server = serve({ fetch: app.fetch, port: 0, hostname: '127.0.0.1' }) as Server;
  await once(server, 'listening');
  const { port, sockets } = await listening(server);
  const { socket, heard } = await client(port);
  socket.write(`POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${16 * MIB}\r\n\r\n`);
  socket.write(Buffer.alloc(16 * MIB, 'x'));
  await closed(socket);
  expect(heard()).toMatch(/^HTTP\/1\.1 307 /);
  await until(() => sockets[0]?.destroyed === true);
  expect(sockets[0]?.bytesRead).toBeLessThanOrEqual(CHUNK_BYTES);
});
