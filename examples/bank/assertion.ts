/**
 * The proof that a request came through the gateway: how an origin verifies `Gateway-Assertion`. Copy this file.
 *
 * Nothing is taken from the token before it is verified: algorithms, type, issuer and audience are pinned here, the key is
 * chosen by `kid` out of the gateway's published set. Method, host, path and query have to be those of this request, and a
 * request that changes something has to be the first of its kind. The body is not covered. It proves the way of a request;
 * it does not keep others from reaching the origin, which needs a network or mutual TLS.
 */
import { createHash } from "node:crypto"
import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { request as startRequest } from "node:https"
import { createRemoteJWKSet, customFetch, errors, jwtVerify, type JWTPayload, type JWTVerifyGetKey } from "jose"
import { readBody } from "../read-body.ts"

/** What is insisted on. */
export interface ProofOptions {
  /** `GATEWAY.assertion.issuer`. */
  readonly issuer: string
  /** The audience of this origin: its name in the gateway's configuration unless that says otherwise. */
  readonly audience: string
  readonly keys: JWTVerifyGetKey
  /** The path of this origin's URL in the gateway's configuration, without a slash at its end. Default: none. */
  readonly basePath?: string
  /** Epoch ms. Default: the system clock. */
  readonly now?: () => number
}

/** Who asks, or which problem to answer with; `reason` is for the log. */
export type Proof =
  | { readonly ok: true; readonly client: string; readonly scopes: readonly string[] }
  | {
      readonly ok: false
      readonly problem: "assertion-missing" | "assertion-invalid" | "assertion-unverifiable"
      readonly reason: string
    }

/** Longest life of an assertion, and how far the clocks may be apart, in seconds. */
const AGE_SECONDS_MAX = 30
const CLOCK_TOLERANCE_SECONDS = 5
/** Assertions that are remembered at a time: 100,000 unsafe requests in 35 seconds. One more is refused, none is forgotten. */
const SEEN_MAX = 100_000
/** Largest key set in octets, and how long to wait for one, in ms. */
const JWKS_BYTES_MAX = 65_536
const JWKS_TIMEOUT_MS = 5_000
const SAFE_METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS", "TRACE"])

/** Returns the check of requests. It never throws. */
export function createProver(options: ProofOptions): (request: IncomingMessage) => Promise<Proof> {
  const { issuer, audience, keys, basePath = "", now = Date.now } = options
  const seen = new Map<string, number>()
  return async function prove(request) {
    const { headers, method = "", url = "" } = request
    const token = headers["gateway-assertion"]
    if (token === undefined) return refuse("no_assertion", "assertion-missing")
    // Two fields arrive joined by a comma, which no token has.
    if (typeof token !== "string") return refuse("several_assertions")
    let claims: JWTPayload
    try {
      const verified = await jwtVerify(token, keys, {
        algorithms: ["ES256", "EdDSA"],
        typ: "gw-assertion+jwt",
        issuer,
        audience,
        maxTokenAge: AGE_SECONDS_MAX,
        clockTolerance: CLOCK_TOLERANCE_SECONDS,
        requiredClaims: ["sub", "jti", "iat", "exp", "htm", "htu", "cnf"],
        currentDate: new Date(now()),
      })
      claims = verified.payload
    } catch (error) {
      return isAboutKeys(error)
        ? refuse("keys_unavailable", "assertion-unverifiable")
        : refuse(error instanceof errors.JOSEError ? error.code : "unreadable")
    }
    const { cnf, exp = 0, htm, htu, scope, sub = "" } = claims
    if (htm !== method) return refuse("other_method")
    if (!url.startsWith(`${basePath}/`)) return refuse("other_target")
    if (htu !== formatTargetUri(String(headers["x-forwarded-host"]), url.slice(basePath.length)))
      return refuse("other_target")
    // Fields beside the assertion say the same or are nobody's word.
    if (headers["x-client-id"] !== sub) return refuse("other_client")
    if (!isSameCertificate(headers["client-cert"], cnf)) return refuse("other_certificate")
    if (!SAFE_METHODS.has(method)) {
      const nowSeconds = now() / 1_000
      for (const [key, until] of seen) {
        if (until > nowSeconds) break
        seen.delete(key)
      }
      const key = replayKey(token)
      if (seen.has(key)) return refuse("replayed")
      if (seen.size >= SEEN_MAX) return refuse("replay_memory_full", "assertion-unverifiable")
      seen.set(key, exp + CLOCK_TOLERANCE_SECONDS)
    }
    return { ok: true, client: sub, scopes: typeof scope === "string" ? scope.split(" ") : [] }
  }
}

/**
 * Returns the keys that a gateway publishes: fetched when they are needed, kept for five minutes, fetched again for a key
 * that is not among them, at most once in thirty seconds. Redirects are not followed.
 *
 * @param options.ca PEM of the CA that issued the gateway's certificate. Default: the CAs that the system trusts.
 * @param options.address where to connect to instead of where the name leads
 */
export function createGatewayKeys(
  url: URL,
  options: { readonly ca?: string | undefined; readonly address?: string } = {},
): JWTVerifyGetKey {
  return createRemoteJWKSet(url, {
    cacheMaxAge: 300_000,
    cooldownDuration: 30_000,
    timeoutDuration: JWKS_TIMEOUT_MS,
    [customFetch]: async (href, { headers, signal }) =>
      fetchOverTls(new URL(href), new Headers(headers), signal, options),
  })
}

/** The platform's fetch() takes no CA of one's own. */
async function fetchOverTls(
  { hostname, host, pathname, port }: URL,
  headers: Headers,
  signal: AbortSignal,
  { ca, address = hostname }: { readonly ca?: string | undefined; readonly address?: string },
): Promise<Response> {
  const outgoing = startRequest({
    host: address,
    servername: hostname,
    port: port === "" ? 443 : Number(port),
    path: pathname,
    headers: { ...Object.fromEntries(headers), Host: host },
    agent: false,
    signal,
    ...(ca === undefined ? {} : { ca }),
  }).end()
  const [incoming] = (await once(outgoing, "response")) as [IncomingMessage]
  const body = await readBody(incoming, JWKS_BYTES_MAX)
  // More than fits is not read, so the connection is of no use any more.
  outgoing.destroy()
  if (body === undefined) throw new Error("Key set too large")
  return new Response(new Uint8Array(body), { status: incoming.statusCode ?? 502 })
}

/**
 * The `htu` of a request: host as the gateway's caller named it, path, and a digest of the query where there is one. The
 * gateway hands both on byte for byte, except that `"`, `'`, `<` and `>` of a query arrive encoded, and are signed so.
 */
function formatTargetUri(host: string, target: string): string {
  const mark = target.indexOf("?")
  if (mark === -1) return `https://${host}${target}`
  const digest = createHash("sha256")
    .update(target.slice(mark + 1), "latin1")
    .digest("base64url")
  return `https://${host}${target.slice(0, mark)}?sha-256=${digest}`
}

/** True when the `Client-Cert` field shows the certificate that the assertion is bound to, or when there is no such field. */
function isSameCertificate(field: string | string[] | undefined, cnf: unknown): boolean {
  const confirmed = (typeof cnf === "object" && cnf !== null ? cnf : {}) as Readonly<Record<string, unknown>>
  if (typeof confirmed["x5t#S256"] !== "string") return false
  if (field === undefined) return true
  const der = /^:([A-Za-z0-9+/]+={0,2}):$/.exec(String(field))?.[1]
  if (der === undefined) return false
  return createHash("sha256").update(Buffer.from(der, "base64")).digest("base64url") === confirmed["x5t#S256"]
}

/**
 * Names one assertion: what was signed, not the signature, which a stranger can write in another way. The request id alone
 * would not do: a caller may give several requests the same one.
 */
function replayKey(token: string): string {
  return createHash("sha256")
    .update(token.slice(0, token.lastIndexOf(".")))
    .digest("base64url")
}

/** True when the token was not judged at all, because the gateway's keys could not be had. */
function isAboutKeys(error: unknown): boolean {
  return !(error instanceof errors.JOSEError) || ["ERR_JWKS_TIMEOUT", "ERR_JOSE_GENERIC"].includes(error.code)
}

function refuse(
  reason: string,
  problem: Extract<Proof, { ok: false }>["problem"] = "assertion-invalid",
): Extract<Proof, { ok: false }> {
  return { ok: false, problem, reason }
}
