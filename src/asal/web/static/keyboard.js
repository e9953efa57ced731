// What a key press means on any keyboard. The character that is typed comes first. Where it means nothing, the key
// itself counts: a digit of the number row or the number pad, which French, Czech and Arabic keyboards type otherwise,
// or the Latin letter on the keys of another script.

const NOTHING = new Set(["Dead", "Process", "Unidentified"]); // half an accent, or a key that an input method took

/** Return the character of a press, "" for one that is the browser's, an input method's or a combination's. */
export function typed(event) {
  const { key, isComposing, keyCode, metaKey, ctrlKey, altKey } = event;
  if (isComposing || keyCode === 229 || metaKey || NOTHING.has(key)) return "";
  return (ctrlKey || altKey) && !graph(event) ? "" : key.normalize("NFC");
}

/** Return whether AltGr makes the character; Windows reports it as Ctrl and Alt. */
export const graph = (event) => event.getModifierState("AltGraph");

/** Return what stands on the key beside its character: a digit or a small Latin letter, or "". */
export function printed(event) {
  const { key, code, shiftKey } = event;
  if ([...key].length !== 1 || graph(event)) return ""; // without Num Lock the number pad types no character
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(code ?? "")?.[1];
  if (digit) return shiftKey ? "" : digit;
  const letter = /^Key([A-Z])$/.exec(code ?? "")?.[1];
  return letter && /^\p{L}$/u.test(key) && !/\p{Script=Latin}/u.test(key) ? letter.toLowerCase() : "";
}

/** Knows which keys are down: one that is held, or that a remote screen sends again and again, is one press. */
export class Held {
  constructor() {
    this.codes = new Set();
    document.addEventListener("keyup", ({ code, key }) => (key === "Meta" ? this.codes.clear() : this.codes.delete(code)), true);
    addEventListener("blur", () => this.codes.clear());
  }

  /** Note a press; return whether the key was down already. */
  again({ repeat, code, metaKey }) {
    const before = repeat || this.codes.has(code);
    if (code && !metaKey) this.codes.add(code);
    return before;
  }
}

/** Return `{ find(event), torn(character) }` for classes with keys. */
export function classKeys(classes) {
  const numbers = new Map(classes.filter(({ key }) => key).map(({ key, number }) => [key, number]));
  const lone = classes.filter(({ name }) => [...name.trim().normalize("NFC")].length === 1);
  const of = (character) => (character ? numbers.get(character) ?? numbers.get(character.toLowerCase()) : undefined);
  return {
    has: (key) => numbers.has(key),
    /** Return the number of the class that a press means, or undefined. */
    find: (event) => of(typed(event)) ?? (typed(event) ? of(printed(event)) : undefined),
    /** Return the classes between which a character cannot tell: their names differ by case alone. */
    torn: (character) => {
      const meant = lone.filter(({ name }) => name.trim().normalize("NFC").toLowerCase() === character.toLowerCase());
      return character && of(character) === undefined ? meant : [];
    },
  };
}
