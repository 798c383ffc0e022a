/**
 * Why could the edge of another region not be asked?
 *
 * What an operator reads where its part of a picture is missing.
 */

const WORDS: Readonly<Record<string, string>> = {
  NO_EDGE: 'it has not answered lately',
  dark: 'none of its edges has answered lately',
  full: 'too many questions to it are under way',
  ECONNREFUSED: 'nothing listens where its edge should be',
  ECONNRESET: 'it closed the connection',
  UND_ERR_CONNECT_TIMEOUT: 'no connection to it comes about',
  DEADLINE: 'it does not answer in time',
};

/** @see Edge.pictureOf, which names the reason last. */
export function whyInWords(error: unknown): string {
  const reason = error instanceof Error ? error.message.split(': ').at(-1) : undefined;
  return WORDS[reason ?? ''] ?? `it cannot be asked (${reason ?? 'no reason'})`;
}
