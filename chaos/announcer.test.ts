/** What the edges are told, in which order, and what one that does not answer costs. */
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Announcer } from './announcer.ts';

let server: Server;
let url: string;
let heard: { authorization: string | undefined; said: { kind: string; id: string } }[];
/** How long each answer takes, the next one first. */
let delaysMs: number[];

beforeEach(async () => {
  heard = [];
  delaysMs = [];
  server = createServer((request, answer) => {
    let text = '';
    request.on('data', (part) => {
      text += part;
    });
    request.on('end', () => {
      const { authorization } = request.headers;
      setTimeout(() => {
        heard.push({ authorization, said: JSON.parse(text) });
        answer.writeHead(204).end();
      }, delaysMs.shift() ?? 0);
    });
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

test('an edge is told one thing after the other, however long each takes', async () => {
  delaysMs = [60, 0, 30];
  const announcer = new Announcer({ urls: [url], token: 'secret', id: 'run' });
  announcer.say({ kind: 'start', name: 'lost-primary' });
  announcer.say({ kind: 'fault', fault: '0', what: 'x'.repeat(400), where: ['eu'] });
  announcer.say({ kind: 'heal', fault: '0' });
  announcer.say({ kind: 'end', verdict: 'holds' });
  expect(heard).toEqual([]);
  await announcer.done();
  expect(heard.map(({ said }) => said.kind)).toEqual(['start', 'fault', 'heal', 'end']);
  expect(heard[1]?.said).toMatchObject({ id: 'run', what: 'x'.repeat(300) });
  expect(new Set(heard.map(({ authorization }) => authorization))).toEqual(
    new Set(['Bearer secret']),
  );
});

test('an edge that is not there keeps no other from being told', async () => {
  const urls = ['http://127.0.0.1:1', url];
  const announcer = new Announcer({ urls, token: 'secret', id: 'run' });
  announcer.say({ kind: 'start', name: 'n' });
  await announcer.done();
  expect(heard).toHaveLength(1);
});

test('without a token nobody is told', async () => {
  const announcer = new Announcer({ urls: [url], token: undefined, id: 'run' });
  announcer.say({ kind: 'start', name: 'n' });
  await announcer.done();
  expect(heard).toEqual([]);
});
