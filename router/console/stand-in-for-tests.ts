/**
 * How does the page behave when an edge says this?
 *
 * A server that answers like an edge's console, with the real files and the real content policy,
 * and shows whatever state a test puts in. What it was asked for is kept.
 */
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { consoleFiles } from './console-files.ts';
import type {
  ConsoleState,
  RefusalsAnswer,
  SubjectAnswer,
  TraceAnswer,
  TracesAnswer,
  WaysAnswer,
} from './console-state.ts';

export const POLICY_OF_CONTENT =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'";

export type StandIn = {
  url: string;
  /** The token that is taken. */
  readonly token: string;
  ways: WaysAnswer['ways'];
  /** What streams tell from now on, at once and every second; undefined: they are silent. */
  tell(state: ((atMs: number) => ConsoleState) | undefined): void;
  refusalsAnswer: RefusalsAnswer;
  traces: TracesAnswer;
  trace: TraceAnswer | undefined;
  subject: SubjectAnswer;
  /** Ends all streams; while `refuses` is set none begins anew. */
  breakStreams(): void;
  refuses: boolean;
  signedIn: boolean;
  asked: { path: string; method: string; header: string | undefined; body: string }[];
  close(): Promise<void>;
};

export async function startStandIn(now: () => number, everyMs = 1_000): Promise<StandIn> {
  const files = consoleFiles();
  const streams = new Set<ServerResponse>();
  let telling: ((atMs: number) => ConsoleState) | undefined;
  const server = createServer((request, answer) => {
    void handle(request, answer);
  });
  const say = (stream: ServerResponse) => {
    if (telling !== undefined)
      stream.write(`event: state\ndata: ${JSON.stringify(telling(now()))}\n\n`);
  };
  const timer = setInterval(() => {
    for (const stream of streams) say(stream);
  }, everyMs);

  async function handle(request: IncomingMessage, answer: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? '/', 'http://x').pathname;
    const method = request.method ?? 'GET';
    let body = '';
    for await (const piece of request.setEncoding('utf8')) body += piece;
    const header = request.headers['domicile-console'];
    standIn.asked.push({ path, method, header: header?.toString(), body });
    answer.setHeader('content-security-policy', POLICY_OF_CONTENT);
    answer.setHeader('cache-control', 'no-store');
    const json = (status: number, value: unknown) => {
      answer.writeHead(status, { 'content-type': 'application/json' });
      answer.end(JSON.stringify(value));
    };
    const { signedIn } = standIn;
    if (path === '/console/sign-in' && method === 'POST') {
      if (JSON.parse(body).token !== standIn.token)
        return json(401, { title: 'The token is not one of an operator', retry: 'after-change' });
      standIn.signedIn = true;
      return void answer.writeHead(204).end();
    }
    if (path === '/console/sign-in/begin') return json(403, { title: 'Nothing begins here' });
    if (path === '/console/sign-out') {
      standIn.signedIn = false;
      return void answer.writeHead(204).end();
    }
    if (path === '/console/sign-in/ways') return json(200, { ways: standIn.ways });
    const file = files.get(path === '/console' && !signedIn ? '/console/sign-in' : path);
    if (file !== undefined && (signedIn || file.open)) {
      answer.writeHead(200, { 'content-type': file.type, etag: file.etag });
      return void answer.end(file.body);
    }
    if (!signedIn) return json(401, { title: 'Sign in first' });
    if (standIn.refuses) return void request.socket.destroy();
    if (path === '/console/api/state' && telling !== undefined) return json(200, telling(now()));
    if (path === '/console/api/refusals') return json(200, standIn.refusalsAnswer);
    if (path === '/console/api/traces') return json(200, standIn.traces);
    if (path.startsWith('/console/api/traces/'))
      return standIn.trace === undefined
        ? json(404, { title: 'This trace is not kept any more' })
        : json(200, standIn.trace);
    if (path === '/console/api/subjects/explain') return json(200, standIn.subject);
    if (path !== '/console/api/events') return json(404, { title: 'Nothing is here' });
    answer.writeHead(200, { 'content-type': 'text/event-stream' });
    streams.add(answer);
    answer.once('close', () => streams.delete(answer));
    say(answer);
  }

  const standIn: StandIn = {
    url: '',
    token: 'a token of an operator',
    ways: [],
    tell(state) {
      telling = state;
      for (const stream of streams) say(stream);
    },
    refusalsAnswer: { refusals: [] },
    traces: { traces: [] },
    trace: undefined,
    subject: { kind: 'not-found', why: 'Nobody asked for it.' },
    breakStreams() {
      for (const stream of streams) stream.destroy();
    },
    refuses: false,
    signedIn: false,
    asked: [],
    async close() {
      clearInterval(timer);
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  await once(server.listen(0, '127.0.0.1'), 'listening');
  standIn.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return standIn;
}
