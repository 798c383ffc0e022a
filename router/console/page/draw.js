/**
 * How does the page become what it should look like now?
 *
 * What should be there is built anew each second, and what is there is changed only where it
 * differs, so that focus, selection and scrolling stay where the reader left them. Text is always
 * text: nothing here parses markup, and no attribute that could run or load anything is taken.
 */

/** @typedef {string | number | boolean | null | undefined} Value */
/** @typedef {Node | string | number | null | undefined | false | readonly Child[]} Child */

const SVG = 'http://www.w3.org/2000/svg';
const SVG_NAMES = new Set(
  'svg g path rect circle line text tspan title desc polyline defs pattern use clipPath'.split(' '),
);

/** What is written about an element; whatever else would be a mistake of this page. */
const PLAIN =
  /^(class|id|role|tabindex|title|for|type|name|colspan|scope|hidden|disabled|datetime|x|y|x1|x2|y1|y2|cx|cy|r|rx|d|points|width|height|viewBox|transform|fill|href|text-anchor|dominant-baseline|preserveAspectRatio|patternUnits|aria-[a-z]+|data-[a-z]+)$/;

/**
 * @param {string} tag
 * @param {Readonly<Record<string, Value>>} attributes
 * @param {...Child} children
 * @returns {Element}
 */
export function h(tag, attributes = {}, ...children) {
  const made = SVG_NAMES.has(tag)
    ? document.createElementNS(SVG, tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (!PLAIN.test(name)) throw new Error(`no such attribute: ${name}`);
    // Places of this page are the only ones that it leads to.
    if (name === 'href' && !String(value).startsWith('#')) throw new Error('a link leads away');
    made.setAttribute(name, value === true ? '' : String(value));
  }
  append(made, children);
  return made;
}

/**
 * @param {Element} to
 * @param {readonly Child[]} children
 */
function append(to, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(to, child);
    else to.append(child instanceof Node ? child : String(child));
  }
}

/**
 * Makes these the children of an element.
 * @param {string} id
 * @param {...Child} children
 */
export function show(id, ...children) {
  const there = document.getElementById(id);
  if (there === null) throw new Error(`nothing is called ${id}`);
  const wanted = there.cloneNode(false);
  append(/** @type {Element} */ (wanted), children);
  changeChildren(there, wanted);
}

/**
 * @param {Node} there
 * @param {Node} wanted
 */
function change(there, wanted) {
  if (there instanceof CharacterData && wanted instanceof CharacterData) {
    if (there.data !== wanted.data) there.data = wanted.data;
    return;
  }
  if (!(there instanceof Element) || !(wanted instanceof Element)) return;
  for (const { name } of [...there.attributes])
    if (!wanted.hasAttribute(name)) there.removeAttribute(name);
  for (const { name, value } of wanted.attributes)
    if (there.getAttribute(name) !== value) there.setAttribute(name, value);
  changeChildren(there, wanted);
}

/**
 * What has a `data-key` is found again by it, so that a new first line moves no other.
 * @param {Node} there
 * @param {Node} wanted
 */
function changeChildren(there, wanted) {
  /** @type {Map<string, ChildNode>} */
  const keyed = new Map();
  for (const child of there.childNodes) {
    const key = keyOf(child);
    if (key !== undefined) keyed.set(key, child);
  }
  const kept = new Set([...wanted.childNodes].map(keyOf));
  /** @type {ChildNode | null} */
  let next = there.firstChild;
  for (const child of [...wanted.childNodes]) {
    while (next !== null && isGone(next, kept)) {
      const gone = next;
      next = next.nextSibling;
      gone.remove();
    }
    const key = keyOf(child);
    const found =
      key === undefined
        ? next !== null && isAlike(next, child)
          ? next
          : undefined
        : keyed.get(key);
    if (found === undefined || !isAlike(found, child)) {
      there.insertBefore(child, next);
      continue;
    }
    if (found === next) next = next.nextSibling;
    else there.insertBefore(found, next);
    change(found, child);
  }
  while (next !== null) {
    const gone = next;
    next = next.nextSibling;
    gone.remove();
  }
}

/**
 * @param {Node} child
 * @param {ReadonlySet<string | undefined>} kept
 */
function isGone(child, kept) {
  const key = keyOf(child);
  return key !== undefined && !kept.has(key);
}

/**
 * @param {Node} one
 * @param {Node} other
 */
function isAlike(one, other) {
  return one.nodeName === other.nodeName && keyOf(one) === keyOf(other);
}

/**
 * @param {Node} child
 * @returns {string | undefined}
 */
function keyOf(child) {
  return child instanceof Element ? (child.getAttribute('data-key') ?? undefined) : undefined;
}
