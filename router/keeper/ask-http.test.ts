import { once } from 'node:events';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTcpServer, type Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { ANSWER_BYTES_MAX, askHttp } from './ask-http.ts';

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

async function serveTcp(taken: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    sockets.add(socket.on('error', () => {}));
    taken(socket);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

const get = (url: string, timeoutMs = 2_000) => askHttp({ method: 'GET', url, timeoutMs });

test('a question is sent with its body and its credentials, and any status is an answer', async () => {
  const url = await serve(async (request, response) => {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const { method, headers } = request;
    response.writeHead(412, { 'content-type': 'text/html' });
    response.end(JSON.stringify([method, headers.authorization, `${Buffer.concat(parts)}`]));
  });
  const answer = await askHttp({
    method: 'POST',
    url: `${url}/switchover`,
    body: { leader: 'eu-a' },
    auth: { user: 'me', password: 'ä:b' },
    timeoutMs: 2_000,
  });
  if (answer.kind !== 'answered') throw new Error(answer.why);
  expect(answer.status).toBe(412);
  const basic = `Basic ${Buffer.from('me:ä:b').toString('base64')}`;
  expect(JSON.parse(answer.text)).toEqual(['POST', basic, '{"leader":"eu-a"}']);
});

test('where nobody listens, nobody has seen the question', async () => {
  const url = await serveTcp(() => {});
  for (const close of closing.splice(0)) close();
  expect(await get(url)).toEqual({ kind: 'failed', sent: false, why: 'ECONNREFUSED' });
  expect(await get('http://no.such.host.invalid')).toMatchObject({ kind: 'failed', sent: false });
});

test.each([
  ['says nothing', (_: Socket) => {}, 'no answer within 300 ms'],
  ['hangs up', (socket: Socket) => void socket.end(), /socket hang up|ECONNRESET/],
  [
    'ends half way',
    (socket: Socket) => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"a'),
    /aborted|ECONNRESET/,
  ],
  [
    'stops half way',
    (socket: Socket) => void socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"a'),
    'no answer within 300 ms',
  ],
  ['speaks something else', (socket: Socket) => void socket.end('SSH-2.0\r\n'), /HPE_/],
])('who takes the question and %s may have acted on it', async (_, taken, why) => {
  const answer = await get(await serveTcp(taken), 300);
  expect(answer).toMatchObject({ kind: 'failed', sent: true });
  expect(answer.kind === 'failed' && answer.why).toMatch(why);
});

test.each([
  [0, 'answered'],
  [1, 'failed'],
])('an answer of the most bytes and %s more is %s', async (more, kind) => {
  const url = await serve((_, response) => response.end('x'.repeat(ANSWER_BYTES_MAX + more)));
  expect((await get(url)).kind).toBe(kind);
});
