/**
 * In which shapes may a text lie in files, memory and on wires?
 *
 * A canary that was carried off can be found only in the shape it was carried off in. These are the
 * shapes that the software around us produces without meaning to: character sets, hex dumps,
 * base64 of a larger whole, URLs, JSON, little-endian dumps. Compression and encryption hide
 * anything; channels that use them need a look from inside.
 */

export type Encoding =
  | 'utf-8'
  | 'upper-case'
  | 'lower-case'
  | 'utf-16le'
  | 'utf-16be'
  | 'hex'
  | 'base64'
  | 'base64url'
  | 'percent'
  | 'json-escapes'
  | 'reversed';

export type EncodedCanary = { canary: string; encoding: Encoding; bytes: Buffer };

/** Every distinct shape of a text. */
export function encodingsOf(canary: string): EncodedCanary[] {
  const shapes: [Encoding, readonly (string | Buffer)[]][] = [
    ['utf-8', [canary]],
    ['upper-case', [canary.toUpperCase()]],
    ['lower-case', [canary.toLowerCase()]],
    ['utf-16le', [Buffer.from(canary, 'utf16le')]],
    ['utf-16be', [Buffer.from(canary, 'utf16le').swap16()]],
    ['hex', bothCases(Buffer.from(canary).toString('hex'))],
    ['base64', insideBase64(canary, 'base64')],
    ['base64url', insideBase64(canary, 'base64url')],
    ['percent', [encodeURIComponent(canary), ...bothCases(percent(canary))]],
    ['json-escapes', [JSON.stringify(canary).slice(1, -1), ...jsonEscapes(canary)]],
    ['reversed', [Buffer.from(canary).reverse()]],
  ];
  const seen = new Set<string>();
  const found: EncodedCanary[] = [];
  for (const [encoding, forms] of shapes) {
    for (const form of forms) {
      const bytes = Buffer.from(form as string);
      const key = bytes.toString('latin1');
      if (seen.has(key)) continue;
      seen.add(key);
      found.push({ canary, encoding, bytes });
    }
  }
  return found;
}

/**
 * The text's characters in the base64 of a longer whole, wherever in it the text begins: three
 * alignments, without the first and last characters, which its neighbours have a share in.
 */
function insideBase64(text: string, alphabet: 'base64' | 'base64url'): string[] {
  const bytes = Buffer.from(text);
  return [0, 1, 2].map((before) => {
    const whole = Buffer.concat([Buffer.alloc(before), bytes]);
    const first = Math.ceil((before * 4) / 3);
    const last = Math.floor((whole.length * 4) / 3);
    return whole.toString(alphabet).slice(first, last);
  });
}

function percent(text: string): string {
  return [...Buffer.from(text)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
}

/** Hex digits in both cases; the `u` of an escape is always small. */
function jsonEscapes(text: string): string[] {
  const units = Array.from({ length: text.length }, (_, at) =>
    text.charCodeAt(at).toString(16).padStart(4, '0'),
  );
  return [
    units.map((unit) => `\\u${unit}`).join(''),
    units.map((unit) => `\\u${unit.toUpperCase()}`).join(''),
  ];
}

function bothCases(text: string): string[] {
  return [text, text.toUpperCase()];
}
