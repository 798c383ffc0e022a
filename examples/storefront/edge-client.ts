/**
 * How does a client outside talk to an edge?
 *
 * JSON over HTTP on connections that are kept, because a sample load is a hundred thousand small
 * requests. What an edge refuses is a value; whoever asked decides whether to ask again.
 */
import { Agent, type IncomingHttpHeaders, request } from 'node:http';

export type Answer =
  | { kind: 'answered'; status: number; headers: IncomingHttpHeaders; body: unknown }
  /** No whole answer came; whether the edge acted is unknown. */
  | { kind: 'silent'; why: string };

export type Asked = {
  method: 'GET' | 'POST' | 'PATCH';
  path: string;
  body?: unknown;
  session?: string | undefined;
};

export type EdgeClient = {
  /** The region, as the command line names it. */
  region: string;
  ask(asked: Asked): Promise<Answer>;
  close(): void;
};

/** An edge answers within 2 s by itself; what takes longer has been lost. */
const ANSWER_MS_MAX = 10_000;

export function edgeClient(region: string, origin: string, connectionsMax: number): EdgeClient {
  const agent = new Agent({ keepAlive: true, maxSockets: connectionsMax });
  const ask = ({ method, path, body, session }: Asked) =>
    new Promise<Answer>((resolve) => {
      const text = body === undefined ? undefined : JSON.stringify(body);
      const headers: Record<string, string | number> = {
        ...(text !== undefined && {
          'content-type': 'application/json',
          'content-length': Buffer.byteLength(text),
        }),
        ...(session !== undefined && { 'domicile-session': session }),
      };
      const silent = (error: Error) =>
        resolve({ kind: 'silent', why: (error as NodeJS.ErrnoException).code ?? error.message });
      const asked = request(
        origin + path,
        { agent, method, headers, timeout: ANSWER_MS_MAX },
        (response) => {
          let received = '';
          response.setEncoding('utf8');
          response.on('data', (part) => {
            received += part;
          });
          response.on('error', silent);
          response.on('end', () => {
            const { statusCode: status = 0, headers: fields } = response;
            const json = fields['content-type']?.includes('json') === true && received !== '';
            resolve({
              kind: 'answered',
              status,
              headers: fields,
              body: json ? JSON.parse(received) : received,
            });
          });
        },
      );
      asked.on('timeout', () => asked.destroy(new Error(`no answer in ${ANSWER_MS_MAX} ms`)));
      asked.on('error', silent);
      asked.end(text);
    });
  return { region, ask, close: () => agent.destroy() };
}
