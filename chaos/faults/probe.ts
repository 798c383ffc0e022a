/**
 * What happens to somebody who asks through this link now?
 *
 * A question that changes nothing: an edge's health, or whether a server would encrypt.
 */
import { connect } from 'node:net';

export type Probed = {
  kind: 'answered' | 'refused' | 'silent' | 'ended';
  ms: number;
  says: string;
};

/** `SSLRequest`; any Postgres answers it with one byte. */
const SSL_REQUEST = Buffer.from([0, 0, 0, 8, 4, 210, 22, 47]);
/** Whoever is asked must not hang up by itself: that would show where its answer does not. */
const HEALTH = Buffer.from('GET /.domicile/health HTTP/1.1\r\nhost: probe\r\n\r\n');
export const ANSWER_MS_MAX = 1_000;

/** An answer that is made late on purpose needs a later limit than others. */
export function probe(
  listen: string,
  protocol: 'http' | 'postgres',
  limitMs = ANSWER_MS_MAX,
): Promise<Probed> {
  const [host = '', port = ''] = listen.split(':');
  const beganAtMs = performance.now();
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(port) });
    const end = (kind: Probed['kind'], says: string) => {
      clearTimeout(limit);
      socket.destroy();
      resolve({ kind, ms: performance.now() - beganAtMs, says });
    };
    const took = () => `${Math.round(performance.now() - beganAtMs)} ms`;
    const limit = setTimeout(() => end('silent', `no answer in ${took()}`), limitMs);
    socket.setNoDelay();
    socket.on('connect', () => socket.write(protocol === 'http' ? HEALTH : SSL_REQUEST));
    socket.on('data', () => end('answered', `answered in ${took()}`));
    socket.on('end', () => end('ended', 'ended without an answer'));
    socket.on('error', ({ code }: NodeJS.ErrnoException) => {
      if (code === 'ECONNREFUSED') end('refused', 'refused');
      else end('ended', `ended by ${code}`);
    });
  });
}
