/**
 * What strangers write, made fit for the record: the one place where it is cut, disarmed and masked.
 *
 * Every text of a record that somebody outside chose goes through {@link redactText}: paths, methods, ids, reasons, URLs of spans.
 * What looks like a credential or a card number is masked, what acts on a terminal or a line reader is spelled out, and
 * nothing is longer than the bound. Header values, queries and bodies are never recorded, so none comes here on purpose; one that an
 * error message quotes is masked by its name. Pure and total; what it has treated it leaves as it is.
 */
import { EVENT_VALUE_LENGTH_MAX } from "../bounds.ts"

/** What is written in the place of what is masked. */
export const REDACTED = "[redacted]"

/** C0, DEL, C1, line separators, marks and overrides of direction, byte order marks: what a terminal or a line reader acts on. */
const ACTIVE = /[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]/g

/** Names whose values are secrets, as parameters of a query, a form or a field that an error message quotes. */
const NAMED_SECRET =
  /\b((?:access|refresh|id|csrf|session)?_?token|pass(?:word|wd|phrase)?|pin|otp|(?:client_?)?secret|api[_-]?key|(?:client_?)?assertion|auth(?:orization)?|(?:set-)?cookie|code|credentials?|session(?:_?id)?|sid|signature|sig|idempotency-key)(=|: )(?!\[redacted\])[^&;,\s"'/]+/gi
const SCHEME = /\b(bearer|basic|digest|dpop|negotiate)( +)(?!\[redacted\])[^\s"',;]+/gi

/** A JWT or JWE in compact form, whole or cut: its header is JSON, and base64 of "{" and what JSON has next begins in few ways. */
const JWT = /ey(?:J|Ai)[\w-]{4,}(?:\.[\w-]*)+|ew(?:og|0K)[\w-]{4,}(?:\.[\w-]*)+/g

/** Groups of digits with at most one separator between them, 13 digits at least. A canonical path spells a space as %20. */
const DIGITS = /[0-9](?:(?:[ -]|%20)?[0-9]){12,}/g

/** User information and query of a URL that a text quotes: both may be credentials. */
const URL_PARTS = /\b([a-z][a-z0-9+.-]*:\/\/)(?:([^\s/?#"'<>@]*)@)?([^\s?#"'<>]*)(\?[^\s#"'<>]*)?/gi

/** Times that a text is gone through at most. */
const PASSES_MAX = 8

/** What a text has in which there may be anything to do. Three searches: each of them is fast, all in one is not. */
const UNPLAIN = /[^!-9;<>-~]/
const JWT_START = /e[yw][JAo0]/
const MANY_DIGITS = /[0-9](?:(?:-|%20)?[0-9]){12}/

/**
 * Returns the text as a record may hold it: at most `EVENT_VALUE_LENGTH_MAX` characters, valid UTF-8, marked by "…" where it was
 * cut; active characters as `\u{1b}`; JWTs, digits that pass as a card number (13 to 19, Luhn), values of secret
 * names, user information and queries of URLs as {@link REDACTED}.
 */
export function redactText(text: string): string {
  if (text.length <= EVENT_VALUE_LENGTH_MAX && !isSuspect(text)) return text.toWellFormed()
  // Masking can make neighbours of what was apart: until nothing is left to do, which is the second time for nearly every text.
  let redacted = text
  for (let pass = 0; pass < PASSES_MAX; pass++) {
    const before = redacted
    redacted = redactOnce(before)
    if (redacted === before) break
  }
  return redacted
}

function isSuspect(text: string): boolean {
  return hasMore(text) || MANY_DIGITS.test(text)
}

/** Whether there may be more to mask than card numbers, such as in a path with a UUID. */
function hasMore(text: string): boolean {
  return UNPLAIN.test(text) || JWT_START.test(text)
}

function redactOnce(text: string): string {
  // What will be cut away need not be read; a credential at the border is masked before it is cut.
  const read = text.slice(0, 2 * EVENT_VALUE_LENGTH_MAX)
  const masked = hasMore(read)
    ? read
        .replace(URL_PARTS, maskUrl)
        .replace(JWT, REDACTED)
        .replace(SCHEME, (_, scheme: string, space: string) => `${scheme}${space}${REDACTED}`)
        .replace(NAMED_SECRET, (_, name: string, sign: string) => `${name}${sign}${REDACTED}`)
    : read
  return cut(masked.replace(DIGITS, maskCards).replace(ACTIVE, spellOut), read.length < text.length)
}

function maskUrl(_: string, scheme: string, user: string | undefined, rest: string, query: string | undefined): string {
  return `${scheme}${user === undefined ? "" : `${REDACTED}@`}${rest}${query === undefined ? "" : `?${REDACTED}`}`
}

/** The closing brace keeps what follows from being read as part of the code. */
function spellOut(char: string): string {
  return `\\u{${char.charCodeAt(0).toString(16)}}`
}

/** Masks every row of whole groups that passes as a card number, in a run of groups of digits. */
function maskCards(run: string): string {
  const groups = run.split(/( |-|%20)/)
  const isMasked = groups.map(() => false)
  for (let from = 0; from < groups.length; from += 2) {
    let digits = ""
    for (let to = from; to < groups.length && digits.length <= 19; to += 2) {
      digits += groups[to] ?? ""
      if (digits.length >= 13 && digits.length <= 19 && hasLuhnSum(digits)) isMasked.fill(true, from, to + 1)
    }
  }
  if (!isMasked.includes(true)) return run
  return groups.map((group, index) => (!isMasked[index] ? group : isMasked[index - 1] ? "" : REDACTED)).join("")
}

/** @see ISO/IEC 7812-1 annex B */
function hasLuhnSum(digits: string): boolean {
  let sum = 0
  for (let i = 0; i < digits.length; i++) {
    const digit = digits.charCodeAt(digits.length - 1 - i) - 48
    sum += i % 2 === 0 ? digit : digit > 4 ? 2 * digit - 9 : 2 * digit
  }
  return sum % 10 === 0
}

/** A run of digits at the cut goes whole: what is left of it could pass as a card number. */
function cut(text: string, isPart: boolean): string {
  if (text.length <= EVENT_VALUE_LENGTH_MAX && !isPart) return text.toWellFormed()
  const kept = text.slice(0, EVENT_VALUE_LENGTH_MAX - 1)
  return `${kept.replace(/[0-9](?:(?:[ -]|%20)?[0-9])*(?:[ -]|%2?)?$/, "")}…`.toWellFormed()
}
