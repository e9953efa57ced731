// Class names where room is short: shortened in the middle, and never so that two look alike.

/** Return a text for each name, of at most `most` characters where that is possible, unlike all the others. */
export function shortNames(names, most) {
  const plain = visible(names);
  const used = new Set(plain.filter((name) => chars(name).length <= most));
  const ways = splits(most).map(([head, tail]) => plain.map((name) => cut(name, head, tail)));
  const counts = ways.map((texts) => count(texts));
  return plain.map((name, i) => {
    if (chars(name).length <= most) return name;
    const ends = ` ${i + 1}`;
    const way = ways.findIndex((texts, k) => counts[k].get(texts[i]) === 1 && !used.has(texts[i]));
    const text = way < 0 ? fresh(cut(name, Math.max(1, most - 1 - ends.length), 0) + ends, used) : ways[way][i];
    used.add(text);
    return text;
  });
}

/** Return the names as a page shows them; those that differ in spaces alone get their number. */
function visible(names) {
  const shown = names.map((name) => name.normalize("NFC").replace(/[\s\p{Cc}\p{Cf}]+/gu, " ").trim());
  const counts = count(shown);
  const used = new Set(shown);
  return shown.map((name, i) => (counts.get(name) === 1 ? name : fresh(`${name} (${i + 1})`, used)));
}

/** Where to cut: in the middle, before the end, before all but the end, after the beginning. */
function splits(most) {
  const room = Math.max(2, most - 1);
  return [[Math.ceil(room / 2), Math.floor(room / 2)], [Math.ceil(room / 4), Math.floor((3 * room) / 4)], [0, room], [room, 0]];
}

function cut(name, head, tail) {
  const all = chars(name);
  const [first, last] = [all.slice(0, head).join(""), tail ? all.slice(-tail).join("") : ""];
  return `${first.trimEnd()}…${last.trimStart()}`;
}

function fresh(text, used) {
  let found = text;
  for (let i = 2; used.has(found); i += 1) found = `${text}·${i}`;
  used.add(found);
  return found;
}

const chars = (text) => [...text];

function count(texts) {
  const counts = new Map();
  for (const text of texts) counts.set(text, (counts.get(text) ?? 0) + 1);
  return counts;
}

/** Return a name without case, accents and double spaces, to be searched in. */
export const plainText = (name) => name.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase().replace(/\s+/g, " ").trim();

/** Return how well a name fits what was typed, 0 best; null where it does not. Each word must stand somewhere in it. */
export function fits(plain, words) {
  const text = words.join(" ");
  if (plain === text) return 0;
  if (plain.startsWith(text)) return 1;
  if (!words.every((word) => plain.includes(word))) return null;
  const starts = plain.split(/[\s_\-/.,()]+/);
  return words.every((word) => starts.some((start) => start.startsWith(word))) ? 2 : 3;
}
