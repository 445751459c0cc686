/**
 * The path that an origin gets, where it is another than the caller's: a prefix taken away or replaced, or a path made from
 * what a regular expression captured.
 *
 * A rewrite is given nothing but a canonical path and gives nothing but a canonical path, or it refuses: whatever is joined with an
 * origin's base stays below it, can change neither host nor query, and has one meaning. Pure and total. Checked when the
 * configuration is loaded as far as it can be known then; called by the `route` stage.
 */
import { TARGET_BYTES_MAX } from "../bounds.ts"
import type { RouteMatch } from "./route.ts"
import { canonicalizePath } from "./target.ts"

/** How a path is rewritten. Paths and templates as the configuration has them, checked by {@link checkRewrite}. */
export type Rewrite =
  /** Takes away the prefix, which is the beginning of the route's own path. */
  | { readonly kind: "strip-prefix"; readonly prefix: string }
  /** Puts `prefix` in the place of the route's own path. */
  | { readonly kind: "replace-prefix"; readonly prefix: string }
  /** Puts the captures `$1` to `$9` of the route's expression into a path; `$$` is a dollar sign. */
  | { readonly kind: "path"; readonly template: string }

/** The path for the origin, or why there is none; the reason is for the log only. */
export type RewriteDecision =
  | { readonly ok: true; readonly path: string }
  | { readonly ok: false; readonly reason: "rewrite_capture" | "rewrite_path" | "rewrite_too_long" }

type Match = RouteMatch["match"]

/** What stands for a value in a template: a capture by its number, or a dollar sign. */
const VALUE = /\$([1-9$])/g

/**
 * Returns what would be accepted in place of a rewrite, or undefined when it can work on this route. What depends on the
 * request, such as a capture that is empty, is left to {@link rewritePath}.
 */
export function checkRewrite(rewrite: Rewrite, match: Match): string | undefined {
  if (rewrite.kind === "path") {
    if (match.kind !== "regex")
      return "strip_prefix or replace_prefix: only a regex route has captures to make a path of"
    return checkTemplate(rewrite.template, match.source)
  }
  if (match.kind === "regex") return 'path, such as { path = "/items/$1" }: a regex route has no prefix'
  const canonical = canonicalizePath(rewrite.prefix)
  if (!canonical.ok || canonical.path !== rewrite.prefix) return 'a path in canonical form, such as "/v1"'
  if (rewrite.kind === "replace-prefix" || restOf(rewrite.prefix, match.path) !== undefined) return undefined
  return `a path that ${JSON.stringify(match.path)} begins with, on a segment border: nothing else could be taken away`
}

function checkTemplate(template: string, source: string): string | undefined {
  if (/\$/.test(template.replace(VALUE, ""))) return "$1 to $9 for captures, and $$ for a dollar sign"
  const groups = countGroups(source)
  const most = Math.max(0, ...[...template.matchAll(VALUE)].map(([, digit]) => (digit === "$" ? 0 : Number(digit))))
  if (most > groups) return `captures that the expression has: it has ${groups}`
  // A letter is what no neighbour can turn into something else: what is refused with it is refused with any value.
  const example = template.replace(VALUE, (_, digit: string) => (digit === "$" ? "$" : "a"))
  const canonical = canonicalizePath(example)
  if (canonical.ok && canonical.path === example) return undefined
  return 'a path in canonical form without query and fragment, such as "/items/$1"'
}

/** Returns how many captures an expression has. With an empty alternative every text matches, and each capture is listed. */
function countGroups(source: string): number {
  return (new RegExp(`${source}|`, "u").exec("")?.length ?? 1) - 1
}

/**
 * Returns the path for the origin: `path` itself without a rewrite.
 *
 * Captures are inserted as they stand in the canonical path, encodings and all; one that took no part is empty. Refused are
 * captures that cut an encoding in two, results that are not canonical (a dot segment, an empty segment, an encoding of a
 * plain character), and results longer than TARGET_BYTES_MAX.
 *
 * @param path canonical and matched by `match`
 */
export function rewritePath(rewrite: Rewrite | undefined, match: Match, path: string): RewriteDecision {
  if (rewrite === undefined) return { ok: true, path }
  const rewritten = rewrite.kind === "path" ? fill(rewrite.template, match, path) : move(rewrite, match, path)
  if (rewritten === undefined) return { ok: false, reason: "rewrite_capture" }
  if (rewritten.length > TARGET_BYTES_MAX) return { ok: false, reason: "rewrite_too_long" }
  const canonical = canonicalizePath(rewritten)
  return canonical.ok && canonical.path === rewritten ? canonical : { ok: false, reason: "rewrite_path" }
}

/** Returns the path below another beginning. */
function move(rewrite: Exclude<Rewrite, { kind: "path" }>, match: Match, path: string): string {
  const [from, to] =
    rewrite.kind === "strip-prefix" ? [rewrite.prefix, ""] : [match.kind === "regex" ? "" : match.path, rewrite.prefix]
  const moved = withoutSlash(to) + (restOf(from, path) ?? path)
  return moved === "" ? "/" : moved
}

/** Returns the template with its values; undefined when one of them is not canonical text by itself. */
function fill(template: string, match: Match, path: string): string | undefined {
  const captures = match.kind === "regex" ? match.regex.exec(path) : null
  if (captures === null || !captures.every((capture) => isCanonicalText(capture ?? ""))) return undefined
  return template.replace(VALUE, (_, digit: string) => (digit === "$" ? "$" : (captures[Number(digit)] ?? "")))
}

/**
 * Returns true when a part of a path holds whole encodings only. Behind a letter a dot is no dot segment, so `.` and `..` are
 * left to the check of the result.
 */
function isCanonicalText(text: string): boolean {
  const path = `/a${text}`
  const canonical = canonicalizePath(path)
  return canonical.ok && canonical.path === path
}

/** Returns what follows a prefix on a segment border: empty, or from the slash on; undefined when the path is not below it. */
function restOf(prefix: string, path: string): string | undefined {
  const base = withoutSlash(prefix)
  if (!path.startsWith(base)) return undefined
  const rest = path.slice(base.length)
  return rest === "" || rest.startsWith("/") ? rest : undefined
}

function withoutSlash(prefix: string): string {
  return prefix.endsWith("/") ? prefix.slice(0, -1) : prefix
}
