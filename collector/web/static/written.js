// What somebody has typed or chosen and not sent yet.

const chosen = (one) => one.value !== ([...one.options].find((option) => option.defaultSelected) || one.options[0] || one).value;

/** Whether a field is not as it came. */
export function changed(one) {
  if (one.matches("select")) return chosen(one);
  return one.type === "checkbox" || one.type === "radio" ? one.checked !== one.defaultChecked : one.value !== one.defaultValue;
}

const FIELDS = "input[name]:not([type=hidden]), textarea[name], select[name]";
const sends = (form) => form && (form.method === "post" || form.dataset.verb) && form.getClientRects().length;

/** Whether a form that changes something, and is seen, has been filled in. */
export const written = () => [...document.querySelectorAll(FIELDS)].some((one) => sends(one.form) && changed(one));
