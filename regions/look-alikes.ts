/**
 * Could a person mistake this text for another one?
 *
 * Letters of other scripts can look exactly like ASCII ones, and some characters cannot be seen at
 * all. Names of ours are ASCII and compared byte for byte, so nothing is let in by mistake; but a
 * complaint that says `no region "eu"; did you mean "eu"?` helps nobody, and two values of one
 * attribute that look the same let a policy read differently from what it does.
 */

/** Cyrillic and Greek letters that fonts draw like the ASCII letter after them. */
const PAIRS =
  'аa сc ԁd еe һh іi јj ӏl оo рp ԛq ѕs уy ԝw хx АA ВB СC ЕE НH ІI ЈJ КK МM ОO РP ЅS ТT ХX ' +
  'αa οo νv ρp ΑA ΒB ΕE ΖZ ΗH ΙI ΚK ΜM ΝN ΟO ΡP ΤT ΥY ΧX';
const LIKE = new Map(PAIRS.split(' ').map((pair) => [pair.charAt(0), pair.charAt(1)]));

/** What the text looks like. Two texts with one appearance are not to be told apart. */
export function appearance(text: string): string {
  const folded = text.normalize('NFKC').replace(/\p{Cf}/gu, '');
  return Array.from(folded, (letter) => LIKE.get(letter) ?? letter).join('');
}

/** The text with every letter spelt out that makes a word pass for an ASCII one. */
export function unmasked(text: string): string {
  return text
    .split(' ')
    .map((word) => (ASCII.test(appearance(word)) ? word.replace(NOT_ASCII, spelt) : word))
    .join(' ');
}

const ASCII = /^[\0-\x7f]*$/;
const NOT_ASCII = /[^\0-\x7f]/g;

/** By UTF-16 unit, as in JSON. */
function spelt(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
