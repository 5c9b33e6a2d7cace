// Exact decimals as canonical text: no exponent, no trailing or leading zeros, so that equal numbers are equal strings.
// Most amounts are only rescaled, which moves a point in a string; BigInt computes where numbers are multiplied.

const CANONICAL = /^(?:0|[1-9]\d*)(?:\.\d*[1-9])?$/;
const NUMBER = /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([-+]?\d+))?$/;
const DIGITS = /^\d{1,100}$/;
const PLACES = 18;
const POWERS = Array.from({ length: 64 }, (_, exponent) => 10n ** BigInt(exponent));

const power = (exponent) => POWERS[exponent] ?? 10n ** BigInt(exponent);

/** A number's text in canonical form; null when it is none. */
export function plain(text) {
  if (typeof text !== "string") return null;
  if (CANONICAL.test(text)) return text;
  const parts = NUMBER.exec(text);
  if (parts === null) return null;
  const [, sign, integer, fraction = "", exponent = "0"] = parts;
  const places = fraction.length - Number(exponent);
  if (Math.abs(places) > 200) return null;
  const units = BigInt(sign + integer + fraction);
  return places > 0 ? placed(units, places) : String(units * power(-places));
}

/** A whole number of smallest units, as text without leading zeros; null when it is none. */
export function digits(value) {
  const text = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value;
  if (typeof text !== "string" || !DIGITS.test(text)) return null;
  return text.charCodeAt(0) === 48 && text.length > 1 ? String(BigInt(text)) : text;
}

/** Whole tokens of a number of smallest units. */
export function whole(raw, decimals) {
  if (decimals === 0 || raw === "0") return raw;
  const point = raw.length - decimals;
  const least = Math.max(point, 0);
  let end = raw.length;
  while (end > least && raw.charCodeAt(end - 1) === 48) end -= 1;
  if (point <= 0) return `0.${"0".repeat(-point)}${raw.slice(0, end)}`;
  return end === point ? raw.slice(0, point) : `${raw.slice(0, point)}.${raw.slice(point, end)}`;
}

/** Smallest units of whole tokens; null when that is no whole number. */
export function raw(amount, decimals) {
  const dot = amount.indexOf(".");
  if (dot < 0) return amount === "0" ? amount : amount + "0".repeat(decimals);
  const places = amount.length - dot - 1;
  if (places > decimals) return null;
  const units = amount.slice(0, dot) + amount.slice(dot + 1);
  let start = 0;
  while (units.charCodeAt(start) === 48) start += 1;
  return units.slice(start) + "0".repeat(decimals - places);
}

/** A canonical number as an integer and the number of its fraction digits. */
export function unscaled(text) {
  const dot = text.indexOf(".");
  if (dot < 0) return { units: BigInt(text), places: 0 };
  return { units: BigInt(text.slice(0, dot) + text.slice(dot + 1)), places: text.length - dot - 1 };
}

/** A number times an unscaled factor, rounded half-even to 18 places where it has more. */
export function times(text, factor) {
  const number = unscaled(text);
  const units = number.units * factor.units;
  const places = number.places + factor.places;
  return places > PLACES ? placed(divided(units, power(places - PLACES)), PLACES) : placed(units, places);
}

/** Value × amount ÷ of, rounded half-even to 18 places. */
export function proportion(value, amount, of) {
  const [first, second, third] = [unscaled(value), unscaled(amount), unscaled(of)];
  const places = PLACES + third.places - first.places - second.places;
  const numerator = first.units * second.units * (places > 0 ? power(places) : 1n);
  return placed(divided(numerator, third.units * (places < 0 ? power(-places) : 1n)), PLACES);
}

/** Less than 0 if the first number is less, 0 if they are equal. */
export function compare(one, other) {
  if (one === other) return 0;
  // Reading as a double never turns the order of two numbers round; it only makes close ones equal.
  const apart = Number(one) - Number(other);
  if (apart !== 0) return apart;
  const [first, second] = [unscaled(one), unscaled(other)];
  const difference = first.units * power(second.places) - second.units * power(first.places);
  return difference < 0n ? -1 : Number(difference > 0n);
}

function placed(units, places) {
  return units < 0n ? `-${whole(String(-units), places)}` : whole(String(units), places);
}

/** The quotient of positive numbers, rounded half-even. */
function divided(numerator, denominator) {
  const quotient = numerator / denominator;
  const twice = 2n * (numerator - quotient * denominator);
  const up = twice > denominator || (twice === denominator && (quotient & 1n) === 1n);
  return up ? quotient + 1n : quotient;
}
