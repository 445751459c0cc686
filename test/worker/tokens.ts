/**
 * An authorization server for tests: its key set, its tokens, and every way of getting a token wrong.
 *
 * Tokens are put together by hand, because a library would refuse to make most of them.
 */
import { ask, createGateway, fixtures, type GatewayOptions, type TestGateway } from "./harness.ts"
import type { CertificateName, KeyServerScript, TokenKeyName } from "./provided.ts"
import { formatBase64url } from "../../src/core/base64url.ts"
import { parseHex } from "../../src/core/hex.ts"

export const ISSUER = "https://login.test"
export const AUDIENCE = "https://gw.test"

/** The public keys that a sound key set has. */
export const ALL_KEYS = (["es256", "ps256", "eddsa", "rs256"] as const).map(
  (name) => fixtures.tokenKeys[name].publicJwk,
)

/** Returns the usual configuration with routes that ask for tokens of the server under test. */
function tokenVariables(server: object = {}, more: Readonly<Record<string, unknown>> = {}) {
  return (name: string): Readonly<Record<string, unknown>> => ({
    TOKENS: {
      login: {
        issuer: ISSUER,
        jwks_url: `http://127.0.0.1:${fixtures.keyServerPort}/${name}`,
        audience: AUDIENCE,
        algorithms: ["ES256", "PS256", "EdDSA"],
        ...server,
      },
    },
    ROUTES: [
      { path: "/open", origin: "stub", limits: "generous" },
      { path: "/plain", origin: "stub", limits: "generous", token: "login" },
      { path: "/passed", origin: "stub", limits: "generous", token: "login", forward_token: true },
      { prefix: "/admin", origin: "stub", limits: "generous", token: "login", scopes: ["admin"] },
      {
        path: "/pay",
        methods: ["GET", "POST"],
        origin: "stub",
        limits: "generous",
        token: "login",
        scopes: { GET: ["read"], POST: ["read", "pay"] },
      },
      { path: "/here", limits: "generous", token: "login", respond: { status: 200, body: "ok\n" } },
    ],
    ...more,
  })
}

/** Returns a gateway whose authorization server answers with its keys, with its guard off. */
export async function createTokenGateway(
  server: object = {},
  options: GatewayOptions = {},
  more: Readonly<Record<string, unknown>> = {},
): Promise<TestGateway> {
  return createGuardedGateway({ guard: false, ...server }, options, more)
}

/** As {@link createTokenGateway}, with the guard that nobody has to ask for. */
export async function createGuardedGateway(
  server: object = {},
  options: GatewayOptions = {},
  more: Readonly<Record<string, unknown>> = {},
): Promise<TestGateway> {
  const gateway = createGateway(tokenVariables(server, more), options)
  await serveKeys(gateway, { body: { keys: ALL_KEYS } })
  return gateway
}

/** Says what the key server answers with from now on. */
export async function serveKeys(gateway: TestGateway, script: KeyServerScript): Promise<void> {
  await ask(`script/${gateway.name}/${encodeURIComponent(JSON.stringify(script))}`)
}

/** Returns how often the keys were fetched. */
export async function fetchCount(gateway: TestGateway): Promise<number | null> {
  return ask<number>(`fetches/${gateway.name}`)
}

/** Returns `x5t#S256` of a certificate. */
export function thumbprintOf(certificate: CertificateName): string {
  return formatBase64url(parseHex(fixtures.certificates[certificate].fingerprint) ?? new Uint8Array())
}

/** What a token says that is good for `acme-a` of this gateway. */
export function claimsFor(gateway: TestGateway, nowMs: number = Date.now()): Readonly<Record<string, unknown>> {
  const nowSeconds = Math.floor(nowMs / 1_000)
  return {
    iss: ISSUER,
    aud: AUDIENCE,
    sub: "service-a",
    client_id: gateway.clientId("acme-a"),
    jti: "0d1c2b3a",
    iat: nowSeconds,
    exp: nowSeconds + 300,
    scope: "admin read",
    cnf: { "x5t#S256": thumbprintOf("acme-a") },
  }
}

/** How each key signs, and the `alg` that says so. */
const SIGNING = {
  es256: ["ES256", { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }],
  "es256 two": ["ES256", { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }],
  other: ["ES256", { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" }],
  eddsa: ["EdDSA", { name: "Ed25519" }],
  ps256: ["PS256", { name: "RSA-PSS", hash: "SHA-256", saltLength: 32 }],
  rs256: ["RS256", { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" }],
} as const satisfies Readonly<Record<TokenKeyName, readonly [alg: string, algorithm: object]>>

/** What differs from a sound token. Members that are undefined are left out. */
export interface TokenParts {
  readonly header?: Readonly<Record<string, unknown>>
  readonly claims?: Readonly<Record<string, unknown>>
  readonly key?: TokenKeyName
}

/** Returns a token that a key has signed: good for `acme-a` of the gateway unless parts of it differ. */
export async function createToken(gateway: TestGateway, parts: TokenParts = {}): Promise<string> {
  const { header = {}, claims = {}, key = "es256" } = parts
  const payload = JSON.stringify({ ...claimsFor(gateway), ...claims })
  return sign(JSON.stringify({ alg: SIGNING[key][0], typ: "at+jwt", kid: key, ...header }), payload, key)
}

/** Returns a token of these very texts. */
export async function sign(header: string, payload: string, key: TokenKeyName): Promise<string> {
  const [, algorithm] = SIGNING[key]
  const jwk = fixtures.tokenKeys[key].privateJwk as unknown as JsonWebKey
  const privateKey = await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["sign"])
  const text = `${encode(header)}.${encode(payload)}`
  const signature = await crypto.subtle.sign(algorithm, privateKey, new TextEncoder().encode(text))
  return `${text}.${formatBase64url(new Uint8Array(signature))}`
}

/** Sends a token of these parts to a route of a gateway of its own, with what the server is configured with. */
export async function present(parts: TokenParts, target = "/admin/x", server: object = {}) {
  const gateway = await createTokenGateway(server)
  const exchanged = await gateway.send({ target, headers: bearer(await createToken(gateway, parts)) })
  return { gateway, exchanged, challenge: exchanged.response.headers.get("www-authenticate") }
}

/** Returns a text in base64url. */
export function encode(text: string): string {
  return formatBase64url(new TextEncoder().encode(text))
}

/** Returns the field that presents a token. */
export function bearer(token: string): Readonly<Record<string, string>> {
  return { Authorization: `Bearer ${token}` }
}
