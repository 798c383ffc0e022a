/**
 * Who wants to look?
 *
 * Sends the token once, in a body, and keeps it nowhere: what stays is a cookie that no script can
 * read.
 */
const form = /** @type {HTMLFormElement} */ (document.getElementById('sign-in'));
const field = /** @type {HTMLInputElement} */ (document.getElementById('token'));
const button = /** @type {HTMLButtonElement} */ (document.getElementById('enter'));
const says = /** @type {HTMLElement} */ (document.getElementById('says'));

form.addEventListener('submit', async (event) => {
  event.preventDefault();
  if (button.disabled) return;
  const token = field.value.trim();
  if (token === '') return refuse('Paste a token first.');
  button.disabled = true;
  says.textContent = '';
  try {
    const answer = await fetch('/console/sign-in', {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'domicile-console': '1' },
      body: JSON.stringify({ token }),
    });
    if (answer.ok) return location.replace('/console');
    const problem = await answer.json().catch(() => ({}));
    const words = [problem.title, problem.detail].filter((one) => typeof one === 'string');
    refuse(words.length > 0 ? words.join('. ') : `The edge answered with ${answer.status}.`);
  } catch {
    refuse('The edge does not answer. Nothing was sent anywhere else.');
  }
  button.disabled = false;
});

/** @param {string} why */
function refuse(why) {
  says.textContent = why;
  field.setAttribute('aria-invalid', 'true');
  field.focus();
  field.select();
}
