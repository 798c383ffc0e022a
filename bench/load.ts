/**
 * How many requests a second does a server answer?
 *
 * A closed loop over keep-alive connections that sends one fixed request and counts whole answers.
 * autocannon would do, but it takes more processor time a request than the servers measured here,
 * and on two cores it is then the load that is measured.
 */
import { connect, type Socket } from 'node:net';

export type LoadOptions = {
  url: string;
  method: 'GET' | 'POST';
  headers?: Readonly<Record<string, string>>;
  connections: number;
  seconds: number;
};

export type LoadResult = { requests: number; perSecond: number };

const END_OF_HEAD = Buffer.from('\r\n\r\n');
const STATUS_AT = 'HTTP/1.1 '.length;

/** @throws Error with the first answer that is not a 200, or when a connection breaks. */
export async function load(options: LoadOptions): Promise<LoadResult> {
  const { url, connections, seconds } = options;
  const { hostname, port, pathname } = new URL(url);
  const request = requestBytes(options, pathname, `${hostname}:${port}`);
  const startedAtMs = performance.now();
  const untilMs = startedAtMs + seconds * 1000;
  const counts = await Promise.all(
    Array.from({ length: connections }, () =>
      oneConnection(hostname, Number(port), request, untilMs),
    ),
  );
  const requests = counts.reduce((sum, count) => sum + count, 0);
  return { requests, perSecond: (requests / (performance.now() - startedAtMs)) * 1000 };
}

function oneConnection(
  host: string,
  port: number,
  request: Buffer,
  untilMs: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ host, port, noDelay: true });
    let pending: Buffer | undefined;
    let answered = 0;
    socket.on('connect', () => socket.write(request));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`${host}:${port} closed the connection`)));
    socket.on('data', (part) => {
      const answer = pending === undefined ? part : Buffer.concat([pending, part]);
      const length = wholeLength(answer);
      if (length === undefined || answer.length < length) {
        pending = answer;
        return;
      }
      pending = undefined;
      if (answer.toString('latin1', STATUS_AT, STATUS_AT + 3) !== '200') {
        socket.destroy();
        reject(new Error(`an answer was not 200: ${answer.toString()}`));
        return;
      }
      answered++;
      if (performance.now() < untilMs) {
        socket.write(request);
        return;
      }
      socket.removeAllListeners('close');
      socket.destroy();
      resolve(answered);
    });
  });
}

/** Head and body in bytes; undefined while the head is not complete. */
function wholeLength(answer: Buffer): number | undefined {
  const headEnd = answer.indexOf(END_OF_HEAD);
  if (headEnd < 0) return undefined;
  const head = answer.toString('latin1', 0, headEnd).toLowerCase();
  const at = head.indexOf('\r\ncontent-length:');
  if (at < 0) throw new Error('an answer has no content-length');
  return headEnd + END_OF_HEAD.length + Number.parseInt(head.slice(at + 17), 10);
}

function requestBytes({ method, headers = {} }: LoadOptions, path: string, host: string): Buffer {
  const fields = Object.entries({
    host,
    ...headers,
    ...(method === 'POST' && { 'content-length': '0' }),
  });
  const head = fields.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.from(`${method} ${path} HTTP/1.1\r\n${head}\r\n`);
}
