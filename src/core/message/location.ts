/**
 * Where an origin's Location and Content-Location lead a caller: to the gateway instead of the origin, or nowhere.
 *
 * A URL of the origin's own base becomes one of the gateway, another one passes only where it is listed; everything else is
 * refused, so that neither an open redirect nor the name of an inner host gets out. Whatever is rewritten comes out as a whole
 * URL: a path that begins with two slashes would name a host. References without a path from the root cannot leave the
 * gateway's host and pass as they are. Pure and total; called by `src/origin/`.
 *
 * @see RFC 3986 §4.2, RFC 9110 §10.2.2
 */

/** What a reference is measured against. */
export interface LocationScope {
  /** The origin's fixed base. */
  readonly base: { readonly scheme: "http" | "https"; readonly authority: string; readonly path: string }
  /** The Host field of the request, which has passed the list of hosts: host, and port where it had one. */
  readonly host: string
  /** Web origins that may be led to besides. */
  readonly allowed: ReadonlySet<string>
}

/** The reference to hand on, or undefined when the answer may not be. */
export function rewriteLocation(reference: string, { allowed, base, host }: LocationScope): string | undefined {
  // A backslash is a slash to browsers, and what is no visible ASCII is skipped by some of them.
  if (!/^[\x21-\x5b\x5d-\x7e]*$/.test(reference)) return undefined
  const withScheme = reference.startsWith("//") ? `${base.scheme}:${reference}` : reference
  if (/^[a-z][a-z0-9+.-]*:/i.test(withScheme)) {
    const match = /^(https?):\/\/([^/?#]+)([/?#].*)?$/i.exec(withScheme)
    const scheme = match?.[1]?.toLowerCase()
    const rest = match?.[3] ?? ""
    if (match === null || scheme === undefined) return undefined
    const target = webOrigin(scheme, match[2] ?? "")
    if (target === webOrigin(base.scheme, base.authority)) return inGateway(rest, base.path, host)
    return target === webOrigin("https", host) || allowed.has(target) ? `${target}${rest}` : undefined
  }
  return reference.startsWith("/") ? inGateway(reference, base.path, host) : reference
}

/** Returns the URL at the gateway for a path at the origin; undefined for one outside of its base, which no request reaches. */
function inGateway(rest: string, basePath: string, host: string): string | undefined {
  if (!rest.startsWith(basePath)) return undefined
  const tail = rest.slice(basePath.length)
  if (tail !== "" && !/^[/?#]/.test(tail)) return undefined
  return `https://${host}${tail.startsWith("/") ? "" : "/"}${tail}`
}

/** Scheme and authority in one spelling: lower case, without the scheme's own port. */
function webOrigin(scheme: string, authority: string): string {
  return `${scheme}://${authority.toLowerCase().replace(scheme === "https" ? /:443$/ : /:80$/, "")}`
}
