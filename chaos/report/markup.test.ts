import { describe, expect, test } from 'vitest';
import { cut, escaped, html } from './markup.ts';

describe('text on a page', () => {
  test('cannot open a tag, leave an attribute or begin a character reference', () => {
    expect(escaped(`<b a="1" c='2'>&amp;\``)).toBe(
      '&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;amp;&#96;',
    );
  });

  test('cannot turn the direction of what follows, and shows what cannot be shown as such', () => {
    expect(escaped('a\u202eb\u0000c\u009bd\ud800e')).toBe('a\uFFFDb\uFFFDc\uFFFDd\uFFFDe');
    expect(escaped('Grüße, 東京 🏠\n\t')).toBe('Grüße, 東京 🏠\n\t');
  });

  test('is escaped wherever it comes in, once, and markup is not', () => {
    const inner = html`<i>${'<'}</i>`;
    expect(html`${inner}${['<', [inner, 7]]}${undefined}`.toString()).toBe(
      '<i>&lt;</i>&lt;<i>&lt;</i>7',
    );
  });

  test('that looks like markup to the type checker is still text', () => {
    const forged = { toString: () => '<script>' } as unknown as string;
    expect(html`${forged}`.toString()).toBe('&lt;script&gt;');
  });

  test('is cut to a length that counts the sign of the cut', () => {
    expect([cut('abcd', 4), cut('abcde', 4)]).toEqual(['abcd', 'abc…']);
  });
});
