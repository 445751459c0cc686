/**
 * Goal: an origin that verifies as the sample bank does serves exactly the requests that the gateway sent it, each unsafe one
 * once.
 * Method: the bank on a socket with assertions that are signed here, one thing wrong in each; then the road, where the bank
 * fetches the keys from the gateway's endpoint as any origin does.
 */
import { createHash } from "node:crypto"
import { request as startRequest } from "node:http"
import {
  CompactSign,
  createLocalJWKSet,
  exportJWK,
  generateKeyPair,
  SignJWT,
  type CryptoKey,
  type JWTVerifyGetKey,
} from "jose"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { createGatewayKeys, createProver, type ProofOptions } from "../../examples/bank/assertion.ts"
import { startBank, type Bank } from "../../examples/bank/server.ts"
import { startOrigin, startRoad, type Road } from "./road.ts"

const NOW_MS = Date.UTC(2027, 0, 1)
const IAT = NOW_MS / 1_000
/** FIPS 180-2, appendix B.1: the digest of "abc". */
const ABC = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"

let keys: { readonly es: CryptoKey; readonly ed: CryptoKey; readonly stranger: CryptoKey }
let published: JWTVerifyGetKey
let nowMs = NOW_MS
const reasons: string[] = []
const banks: Bank[] = []

beforeAll(async () => {
  const [es, ed, stranger] = await Promise.all([
    generateKeyPair("ES256", { extractable: true }),
    generateKeyPair("EdDSA", { extractable: true }),
    generateKeyPair("ES256"),
  ])
  keys = { es: es.privateKey, ed: ed.privateKey, stranger: stranger.privateKey }
  published = createLocalJWKSet({
    keys: [
      { ...(await exportJWK(es.publicKey)), kid: "es", alg: "ES256" },
      { ...(await exportJWK(ed.publicKey)), kid: "ed", alg: "EdDSA" },
    ],
  })
})
afterAll(async () => {
  for (const bank of banks.splice(0)) await bank.close()
})

/** Opens a bank that wants proof, by the clock of this file. */
async function open(options: Partial<ProofOptions> = {}): Promise<number> {
  const prove = createProver({
    issuer: "https://gw.test",
    audience: "bank",
    keys: published,
    now: () => nowMs,
    ...options,
  })
  const bank = await startBank({ host: "127.0.0.1", port: 0, prove, onUnproven: (_, reason) => reasons.push(reason) })
  banks.push(bank)
  return bank.port
}

interface Call {
  readonly method?: string
  readonly target?: string
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
  readonly key?: CryptoKey
  readonly fields?: Readonly<Record<string, string | string[]>>
}

const CLAIMS = {
  iss: "https://gw.test",
  aud: "bank",
  sub: "acme",
  cnf: { "x5t#S256": ABC },
  jti: "request-1",
  iat: IAT,
  exp: IAT + 30,
  htm: "GET",
  htu: "https://gw.test/echo",
  cfgv: "1",
}

function sign({ claims = {}, header = {}, key = keys.es }: Call): Promise<string> {
  return new SignJWT({ ...CLAIMS, ...claims })
    .setProtectedHeader({ alg: "ES256", kid: "es", typ: "gw-assertion+jwt", ...header })
    .sign(key)
}

/** Sends a request that is right in everything that the call does not change. */
async function call(port: number, parts: Call & { readonly token?: string | string[] } = {}) {
  const { method = "GET", target = "/echo", fields = {} } = parts
  const headers = {
    "X-Client-Id": "acme",
    "X-Forwarded-Host": "gw.test",
    "Gateway-Assertion": parts.token ?? (await sign(parts)),
    ...fields,
  }
  return new Promise<{ status: number; code: unknown; guardOutcome: unknown }>((done, fail) => {
    const outgoing = startRequest({ host: "127.0.0.1", port, method, path: target, headers, agent: false })
    outgoing.on("error", fail)
    outgoing.on("response", (incoming) => {
      let body = ""
      incoming.on("data", (chunk: Buffer) => (body += chunk.toString()))
      incoming.on("end", () => {
        const { code } = JSON.parse(body || "{}") as { code?: unknown }
        done({ status: incoming.statusCode ?? 0, code, guardOutcome: incoming.headers["guard-outcome"] })
      })
    })
    outgoing.end()
  })
}

/** Returns why the bank refused, and checks that it did so as it should. */
async function reasonOf(port: number, parts: Parameters<typeof call>[1]): Promise<string | undefined> {
  reasons.length = 0
  const { status, code, guardOutcome } = await call(port, parts)
  if (status === 200) return undefined
  expect([status, code, guardOutcome]).toEqual([401, "assertion-invalid", "neutral"])
  return reasons[0]
}

describe("a request with an assertion", () => {
  let port: number
  beforeAll(async () => {
    port = await open()
  })

  test.each<readonly [string, () => Call]>([
    ["signed with ES256", () => ({})],
    ["signed with EdDSA", () => ({ header: { alg: "EdDSA", kid: "ed" }, key: keys.ed })],
    ["at the end of its life, with clocks apart", () => ({ claims: { iat: IAT - 34, exp: IAT - 4 } })],
    ["from a clock that is ahead", () => ({ claims: { iat: IAT + 4, exp: IAT + 34 } })],
    ["about a query", () => ({ target: "/echo?abc", claims: { htu: `https://gw.test/echo?sha-256=${ABC}` } })],
  ])("%s is served", async (_, parts) => {
    expect(await reasonOf(port, parts())).toBeUndefined()
  })

  test.each<readonly [string, () => Parameters<typeof call>[1]]>([
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ claims: { iss: "https://evil.example" } })],
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ claims: { aud: "other-bank" } })],
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ claims: { sub: undefined } })],
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ claims: { jti: undefined } })],
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ claims: { exp: undefined } })],
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ claims: { cnf: undefined } })],
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ claims: { iat: IAT + 6 } })],
    ["ERR_JWT_EXPIRED", () => ({ claims: { iat: IAT - 36, exp: IAT - 6 } })],
    // A long life in the token does not lengthen its age.
    ["ERR_JWT_EXPIRED", () => ({ claims: { iat: IAT - 36, exp: IAT + 3_600 } })],
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ header: { typ: "at+jwt" } })],
    ["ERR_JWT_CLAIM_VALIDATION_FAILED", () => ({ header: { typ: undefined } })],
    ["ERR_JWKS_NO_MATCHING_KEY", () => ({ header: { kid: "stranger" } })],
    ["ERR_JWS_SIGNATURE_VERIFICATION_FAILED", () => ({ key: keys.stranger })],
    ["ERR_JWS_INVALID", () => ({ token: "forged" })],
    ["ERR_JWS_INVALID", () => ({ token: "" })],
    ["other_method", () => ({ claims: { htm: "POST" } })],
    ["other_target", () => ({ target: "/balance" })],
    ["other_target", () => ({ target: "/echo/" })],
    ["other_target", () => ({ target: "/echo?" })],
    ["other_target", () => ({ target: "/echo?abd", claims: { htu: `https://gw.test/echo?sha-256=${ABC}` } })],
    ["other_target", () => ({ fields: { "X-Forwarded-Host": "other.test" } })],
    ["other_client", () => ({ fields: { "X-Client-Id": "globex" } })],
    ["other_certificate", () => ({ fields: { "Client-Cert": ":YWJk:" } })],
    ["other_certificate", () => ({ fields: { "Client-Cert": "YWJj" } })],
    ["other_certificate", () => ({ claims: { cnf: {} } })],
  ])("PRX-19 is refused as %s (%s)", async (reason, parts) => {
    expect(await reasonOf(port, parts())).toBe(reason)
  })

  test("JWT-02, JWT-03 is refused without a signature and with the public key as a secret", async () => {
    const payload = Buffer.from(JSON.stringify(CLAIMS)).toString("base64url")
    const none = Buffer.from('{"alg":"none","typ":"gw-assertion+jwt"}').toString("base64url")
    expect(await reasonOf(port, { token: `${none}.${payload}.` })).toBe("ERR_JOSE_ALG_NOT_ALLOWED")
    const hmac = await new CompactSign(Buffer.from(JSON.stringify(CLAIMS)))
      .setProtectedHeader({ alg: "HS256", kid: "es", typ: "gw-assertion+jwt" })
      .sign(createHash("sha256").update("public key").digest())
    expect(await reasonOf(port, { token: hmac })).toBe("ERR_JOSE_ALG_NOT_ALLOWED")
  })

  test("is refused beside a second one", async () => {
    const token = await sign({})
    expect(await reasonOf(port, { token: [token, token] })).toBe("ERR_JWS_INVALID")
  })

  test("shows the certificate that it is bound to", async () => {
    expect(await reasonOf(port, { fields: { "Client-Cert": ":YWJj:" } })).toBeUndefined()
  })

  test("names the target without the base path of the origin", async () => {
    const based = await open({ basePath: "/api" })
    expect(await reasonOf(based, { target: "/echo" })).toBe("other_target")
    // The bank has no such path; that it looks for it is proof enough.
    expect(await call(based, { target: "/api/echo" })).toMatchObject({ status: 404, code: "not-found" })
  })
})

test("PRX-19 a request without an assertion is refused", async () => {
  const { status, code } = await call(await open(), { fields: { "Gateway-Assertion": [] } })
  expect([status, code]).toEqual([401, "assertion-missing"])
})

describe("a replayed assertion", () => {
  const post = { method: "POST", claims: { htm: "POST" } }

  test("PRX-19 passes once for an unsafe method, however often it is sent and whatever its signature is made to look like", async () => {
    const port = await open()
    const token = await sign(post)
    const answers = await Promise.all([1, 2, 3].map(() => call(port, { ...post, token })))
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 401, 401])
    expect(await reasonOf(port, { ...post, token: mirrored(token) })).toBe("replayed")
  })

  test("passes again for a safe one: a GET changes nothing, and a cache would cost every reader", async () => {
    const port = await open()
    const token = await sign({})
    expect([await reasonOf(port, { token }), await reasonOf(port, { token })]).toEqual([undefined, undefined])
  })

  test("is no other request, also when the caller gave both of them one id", async () => {
    const port = await open()
    const later = { ...post, claims: { ...post.claims, iat: IAT + 1, exp: IAT + 31 } }
    expect([await reasonOf(port, post), await reasonOf(port, later)]).toEqual([undefined, undefined])
  })

  test("is forgotten when it is worthless, not before", async () => {
    const port = await open()
    const token = await sign(post)
    await call(port, { ...post, token })
    nowMs = NOW_MS + 34_999
    expect(await reasonOf(port, { ...post, token })).toBe("replayed")
    nowMs = NOW_MS + 35_001
    expect(await reasonOf(port, { ...post, token })).toBe("ERR_JWT_EXPIRED")
    nowMs = NOW_MS
  })
})

test("without the gateway's keys the bank answers 503, which is no word about the caller", async () => {
  const nobody = await startOrigin()
  await nobody.close()
  const port = await open({
    keys: createGatewayKeys(new URL(`https://localhost:${nobody.port}/`), { address: "127.0.0.1" }),
  })
  expect(await call(port)).toMatchObject({ status: 503, code: "assertion-unverifiable", guardOutcome: "neutral" })
})

/** The same ECDSA signature in its other form: (r, n - s) verifies like (r, s). */
function mirrored(token: string): string {
  const [header, payload, signature = ""] = token.split(".")
  const octets = Buffer.from(signature, "base64url")
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n
  const s = order - BigInt(`0x${octets.subarray(32).toString("hex")}`)
  const other = Buffer.concat([octets.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, "0"), "hex")])
  return `${header}.${payload}.${other.toString("base64url")}`
}

describe("on the road", () => {
  let road: Road
  beforeAll(async () => {
    road = await startRoad()
  })
  afterAll(() => road?.close())

  test("the gateway shows its public key over TLS, to callers without a certificate", async () => {
    const { status, headers, body } = await road.call("/.well-known/jwks.json")
    expect([status, headers["cache-control"]]).toEqual([200, "public, max-age=300"])
    const set = JSON.parse(body) as { keys: Record<string, unknown>[] }
    expect(set.keys.map((key) => Object.keys(key).toSorted())).toEqual([["alg", "crv", "kid", "kty", "use", "x", "y"]])
  })

  test.each([
    ["GET", "/balance", undefined, 200],
    ["GET", "/accounts?page='1'&q=%22", undefined, 200],
    ["POST", "/payments", { amount: 1, currency: "JPY", to: "globex-operating", reference: "proof" }, 201],
  ])("PRX-19 the bank serves %s %s that came through the gateway", async (method, path, body, status) => {
    const answer = await road.call(path, {
      as: "acme",
      method,
      ...(body === undefined
        ? {}
        : {
            headers: { "Content-Type": "application/json", "Idempotency-Key": '"proof"' },
            body: JSON.stringify(body),
          }),
    })
    expect([answer.status, answer.code]).toEqual([status, undefined])
  })

  test("PRX-19 the bank refuses whoever comes past the gateway, and says so at the terminal", async () => {
    const noticed = road.noticeOf(/the bank refused GET \/balance: no_assertion/)
    const answer = await fetch(`${road.bankUrl}/balance`, { headers: { "X-Client-Id": "acme" } })
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([401, "assertion-missing"])
    expect(await noticed).toMatchObject({ level: "warn" })
  })

  test("HDR-02 the bank sees one assertion, whatever the caller types beside it", async () => {
    const fields = ["Gateway-Assertion: forged", "Gateway_Assertion: forged", "Connection: Gateway-Assertion"]
    const answer = await road.send("GET /echo HTTP/1.1", ["Host: localhost", ...fields], { as: "acme" })
    const { headers } = JSON.parse(answer.body) as { headers: readonly (readonly [string, string])[] }
    expect(headers.filter(([name]) => /^gateway.assertion$/i.test(name))).toHaveLength(1)
    expect(answer.body).not.toContain("forged")
  })

  test("PRX-19 what the gateway asserted about one request opens no other", async () => {
    const answer = await road.call("/echo", { as: "acme" })
    const seen = JSON.parse(answer.body) as { headers: readonly (readonly [string, string])[] }
    const kept = seen.headers.filter(([name]) => /^(?:gateway-assertion|x-client-id|x-forwarded-host)$/i.test(name))
    const direct = (path: string) => fetch(`${road.bankUrl}${path}`, { headers: Object.fromEntries(kept) })
    expect([(await direct("/echo")).status, (await direct("/balance")).status]).toEqual([200, 401])
  })

  test("a change of the configuration that asks for no proof is taken over by the bank, and one that asks again", async () => {
    const direct = async () => (await fetch(`${road.bankUrl}/balance`, { headers: { "X-Client-Id": "acme" } })).status
    await road.reload({ ORIGINS: { bank: { url: "http://127.0.0.1:9000" } } })
    expect(await direct()).toBe(200)
    await road.reload()
    expect([await direct(), (await road.call("/balance", { as: "acme" })).status]).toEqual([401, 200])
  })
})
