/**
 * Who wants to look?
 *
 * Sends the token once, in a body, and keeps it nowhere: what stays is a cookie that no script can
 * read. Or leads to the page of an issuer; what the browser brings back from there is taken out of
 * the address at once, and sent in a body as well.
 */
const form = /** @type {HTMLFormElement} */ (document.getElementById('sign-in'));
const field = /** @type {HTMLInputElement} */ (document.getElementById('token'));
const button = /** @type {HTMLButtonElement} */ (document.getElementById('enter'));
const says = /** @type {HTMLElement} */ (document.getElementById('says'));
const ways = /** @type {HTMLElement} */ (document.getElementById('ways'));

/** @typedef {import('../console-state.ts').WaysAnswer} WaysAnswer */

/**
 * Undefined where the edge has refused it, and why was said.
 * @param {string} path
 * @param {object} body
 * @returns {Promise<{ location?: string } | undefined>}
 */
async function send(path, body) {
  try {
    const answer = await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'domicile-console': '1' },
      body: JSON.stringify(body),
    });
    const said = await answer.json().catch(() => ({}));
    if (answer.ok) return said;
    const words = [said.title, said.detail].filter((one) => typeof one === 'string');
    says.textContent =
      words.length > 0 ? words.join('. ') : `The edge answered with ${answer.status}.`;
  } catch {
    says.textContent = 'The edge does not answer. Nothing was sent anywhere else.';
  }
  return undefined;
}

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (button.disabled) return;
  const token = field.value.trim();
  if (token === '') return refuse('Paste a token first.');
  busy(true);
  if ((await send('/console/sign-in', { token })) !== undefined)
    return location.replace('/console');
  busy(false);
  refuse();
});

/** @param {string} [why] */
function refuse(why) {
  if (why !== undefined) says.textContent = why;
  field.setAttribute('aria-invalid', 'true');
  field.focus();
  field.select();
}

/** @param {boolean} is */
function busy(is) {
  if (is) says.textContent = '';
  for (const one of document.querySelectorAll('button')) one.disabled = is;
}

async function offer() {
  const answer = await fetch('/console/sign-in/ways').catch(() => undefined);
  if (answer?.ok !== true) return;
  const offered = /** @type {WaysAnswer} */ (await answer.json());
  for (const [way, { title }] of offered.ways.entries()) {
    const made = document.createElement('button');
    made.type = 'button';
    made.textContent = `Sign in with ${title}`;
    made.addEventListener('click', () => void begin(way));
    ways.append(made);
  }
}

/** @param {number} way */
async function begin(way) {
  busy(true);
  const begun = await send('/console/sign-in/begin', { way });
  if (begun?.location !== undefined) return location.assign(begun.location);
  busy(false);
  return undefined;
}

async function comeBack() {
  const brought = new URLSearchParams(location.search);
  const path = location.pathname;
  // Neither the history nor a copied address shall hold it.
  history.replaceState(null, '', '/console');
  busy(true);
  says.textContent = 'Asking the edge …';
  const [state, code, iss, error] = ['state', 'code', 'iss', 'error'].map(
    (name) => brought.get(name) ?? undefined,
  );
  if (
    (await send('/console/sign-in/finish', { path, state: state ?? '', code, iss, error })) !==
    undefined
  )
    return location.replace('/console');
  return busy(false);
}

if (location.pathname.startsWith('/console/sign-in/callback')) void comeBack().then(offer);
else void offer();
