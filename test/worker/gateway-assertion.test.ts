/**
 * Goal: an origin that asks for proof gets exactly one assertion, about exactly its request, made with a key that the
 * gateway publishes; and without a usable key it gets no request.
 * Method: what reached a real origin is verified with jose against the set that the gateway serves. How an origin refuses
 * what does not hold is tested with the sample verifier in `test/e2e/assertion.test.ts`.
 */
import { createLocalJWKSet, exportJWK, generateKeyPair, jwtVerify, type JSONWebKeySet } from "jose"
import { beforeAll, describe, expect, test } from "vitest"
import { createGateway, expectRefusal, fieldValues, fixtures, writtenLines, type TestGateway } from "./harness.ts"
import { ALL_KEYS, AUDIENCE, bearer, claimsFor, createToken, ISSUER as TOKEN_ISSUER, serveKeys } from "./tokens.ts"

const NOW_MS = Date.now()
const ISSUER = "https://gw.test"
const JWKS = { path: "/.well-known/jwks.json", client_certificate: "none", jwks: true }

const secrets: Record<string, string> = {}
beforeAll(async () => {
  secrets["ES"] = await mint("ES256", "es-1")
  secrets["ED"] = await mint("EdDSA", "ed-1")
  secrets["TWIN"] = await mint("EdDSA", "es-1")
})

async function mint(alg: "ES256" | "EdDSA", kid: string): Promise<string> {
  const { privateKey } = await generateKeyPair(alg, { extractable: true })
  return JSON.stringify({ ...(await exportJWK(privateKey)), kid, alg })
}

/** A gateway whose origin asks for proof. @param token of which authorization server the route asks for one */
function createAsserting(
  keys: readonly string[] = ["ES"],
  origin: Readonly<Record<string, unknown>> = {},
  own: Readonly<Record<string, string>> = secrets,
  token?: "login",
): TestGateway {
  return createGateway(
    (name) => ({
      GATEWAY: { hosts: ["gw.test", "a.test"], assertion: { issuer: ISSUER, keys } },
      ORIGINS: { stub: { url: `http://127.0.0.1:${fixtures.originPort}/${name}`, assertion: true, ...origin } },
      TOKENS: {
        login: {
          issuer: TOKEN_ISSUER,
          jwks_url: `http://127.0.0.1:${fixtures.keyServerPort}/${name}`,
          audience: AUDIENCE,
        },
      },
      ROUTES: [JWKS, { prefix: "/public", origin: "stub", limits: "generous", ...(token && { token }) }],
    }),
    { secrets: own, nowMs: () => NOW_MS },
  )
}

async function publishedKeys(gateway: TestGateway): Promise<JSONWebKeySet> {
  const response = await gateway.fetch({ target: JWKS.path, cert: "none" })
  expect(response.status).toBe(200)
  return response.json()
}

/** Verifies the one assertion of a gateway's only request, as README tells an origin to. */
async function verifyOnly(gateway: TestGateway, audience = "stub") {
  const records = await gateway.originRequests()
  expect(records).toHaveLength(1)
  const [token = "", ...others] = fieldValues(records[0], "Gateway-Assertion")
  expect(others).toEqual([])
  return jwtVerify(token, createLocalJWKSet(await publishedKeys(gateway)), {
    algorithms: ["ES256", "EdDSA"],
    typ: "gw-assertion+jwt",
    issuer: ISSUER,
    audience,
    maxTokenAge: 30,
    currentDate: new Date(NOW_MS),
  })
}

async function digest(text: string): Promise<string> {
  const octets = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)))
  return btoa(String.fromCharCode(...octets))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replace(/=+$/, "")
}

describe("an assertion", () => {
  test.each([
    ["ES", { alg: "ES256", kid: "es-1" }],
    ["ED", { alg: "EdDSA", kid: "ed-1" }],
  ])("PRX-19 signed with the key %s verifies against the published set", async (key, header) => {
    const gateway = createAsserting([key])
    const { event } = await gateway.send({ method: "POST", target: "/public/x?a=1", body: "abc" })
    const { payload, protectedHeader } = await verifyOnly(gateway)
    const iat = Math.floor(NOW_MS / 1_000)
    const { fingerprint } = fixtures.certificates["acme-a"]
    const hash = btoa(String.fromCharCode(...(fingerprint.match(/../g) ?? []).map((pair) => Number.parseInt(pair, 16))))
    expect(protectedHeader).toEqual({ ...header, typ: "gw-assertion+jwt" })
    expect(payload).toEqual({
      iss: ISSUER,
      aud: "stub",
      sub: gateway.clientId("acme-a"),
      cnf: { "x5t#S256": hash.replaceAll("+", "-").replaceAll("/", "_").replace("=", "") },
      jti: event.request_id,
      iat,
      exp: iat + 30,
      htm: "POST",
      htu: `https://gw.test/public/x?sha-256=${await digest("a=1")}`,
      cfgv: gateway.config.version,
    })
  })

  test("names the host that was asked, the canonical path and the caller's own request id", async () => {
    const gateway = createAsserting()
    await gateway.send({ host: "a.test", target: "/public/%7Ex", headers: { "X-Request-Id": "order-4711" } })
    const { payload } = await verifyOnly(gateway)
    expect([payload["htu"], payload.jti]).toEqual(["https://a.test/public/~x", "order-4711"])
  })

  test.each(["?", "?a={}|[]^`\\&b=%27"])("covers the query %j as it reaches the origin", async (query) => {
    const gateway = createAsserting()
    await gateway.send({ target: `/public/x${query}` })
    const { payload } = await verifyOnly(gateway)
    const arrived = (await gateway.originRequests())[0]?.target ?? ""
    expect(payload["htu"]).toBe(`https://gw.test/public/x?sha-256=${await digest(arrived.slice("/public/x?".length))}`)
  })

  test.each([
    ["admin read", "admin read"],
    ["pay", "pay"],
    [undefined, undefined],
  ])("of a request whose token grants %j has the scope %j", async (scope, asserted) => {
    const gateway = createAsserting(["ES"], {}, secrets, "login")
    await serveKeys(gateway, { body: { keys: ALL_KEYS } })
    const token = await createToken(gateway, { claims: { ...claimsFor(gateway, NOW_MS), scope } })
    expect((await gateway.send({ headers: bearer(token) })).response.status).toBe(200)
    expect((await verifyOnly(gateway)).payload["scope"]).toBe(asserted)
  })

  test("is for the audience that the origin's table names", async () => {
    const gateway = createAsserting(["ES"], { assertion: { audience: "core-bank" } })
    await gateway.send()
    expect((await verifyOnly(gateway, "core-bank")).payload.aud).toBe("core-bank")
    await expect(verifyOnly(gateway, "stub")).rejects.toMatchObject({ claim: "aud" })
  })

  test("is nothing that an origin gets that did not ask", async () => {
    const gateway = createAsserting(["ES"], { assertion: false })
    await gateway.send()
    expect(fieldValues((await gateway.originRequests())[0], "Gateway-Assertion")).toEqual([])
  })

  test("is in no event and in no answer, also when the origin sends it back", async () => {
    const gateway = createAsserting()
    const { response } = await gateway.send({ target: "/public/forging" })
    const [token = ""] = fieldValues((await gateway.originRequests())[0], "Gateway-Assertion")
    expect(response.headers.has("gateway-assertion")).toBe(false)
    expect(writtenLines().join()).not.toContain(token.split(".")[1])
  })

  test("HDR-02, HDR-12 no copy, alias or nomination of a caller forges or removes it", async () => {
    const gateway = createAsserting()
    await gateway.send({
      headers: [
        ["Gateway-Assertion", "forged.forged.forged"],
        ["GATEWAY-ASSERTION", "forged.forged.forged"],
        ["Gateway_Assertion", "forged.forged.forged"],
        ["Gateway-Assertion-Key", "forged"],
        ["Connection", "close, Gateway-Assertion, Gateway_Assertion, X-Client-Id, Client-Cert"],
      ],
    })
    const { payload } = await verifyOnly(gateway)
    expect(payload.sub).toBe(gateway.clientId("acme-a"))
    const [record] = await gateway.originRequests()
    expect(JSON.stringify(record?.fields)).not.toContain("forged")
  })
})

describe("the certificate", () => {
  test.each([
    ["rfc9440", 1, 0],
    ["xfcc", 0, 1],
    ["both", 1, 1],
    ["none", 0, 0],
  ])("as %s arrives in %d Client-Cert and %d X-Forwarded-Client-Cert", async (form, clientCerts, xfccs) => {
    const gateway = createAsserting(["ES"], { client_cert: form })
    const forged = {
      "X-Forwarded-Client-Cert": "Hash=forged",
      X_Forwarded_Client_Cert: "Hash=forged",
      "Client-Cert": ":Zg==:",
    }
    await gateway.send({ headers: { ...forged, Connection: "X-Forwarded-Client-Cert, Client-Cert" } })
    const [record] = await gateway.originRequests()
    const { der, fingerprint } = fixtures.certificates["acme-a"]
    expect(fieldValues(record, "Client-Cert")).toEqual(Array.from({ length: clientCerts }, () => `:${der}:`))
    expect(fieldValues(record, "X-Forwarded-Client-Cert")).toEqual(
      Array.from({ length: xfccs }, () => `Hash=${fingerprint};Subject="CN=acme-a";URI=spiffe://acme/acme-a`),
    )
    expect(JSON.stringify(record?.fields)).not.toContain("forged")
  })
})

describe("the published set", () => {
  test("holds every key, the public part only, and may be kept for five minutes", async () => {
    const gateway = createAsserting(["ED", "ES"])
    const response = await gateway.fetch({ target: JWKS.path, cert: "none" })
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "application/jwk-set+json",
      "cache-control": "public, max-age=300",
    })
    const { keys } = await response.json<JSONWebKeySet>()
    expect(keys.map((key) => Object.keys(key).toSorted())).toEqual([
      ["alg", "crv", "kid", "kty", "use", "x"],
      ["alg", "crv", "kid", "kty", "use", "x", "y"],
    ])
    expect(keys.map(({ kid }) => kid)).toEqual(["ed-1", "es-1"])
    expect(writtenLines().map((line) => (JSON.parse(line) as { outcome: string }).outcome)).toEqual(["answered"])
  })

  test("answers HEAD without a body and no other method", async () => {
    const gateway = createAsserting()
    const head = await gateway.fetch({ method: "HEAD", target: JWKS.path, cert: "none" })
    const post = await gateway.fetch({ method: "POST", target: JWKS.path, cert: "none" })
    expect([head.status, await head.text(), post.status]).toEqual([200, "", 405])
  })

  test("rotation: a key that is published before it signs verifies what was signed before and after", async () => {
    const before = createAsserting(["ES", "ED"])
    const after = createAsserting(["ED", "ES"])
    await before.send()
    await after.send()
    expect((await verifyOnly(before)).protectedHeader.kid).toBe("es-1")
    expect((await verifyOnly(after)).protectedHeader.kid).toBe("ed-1")
    const kids = async (gateway: TestGateway) => new Set((await publishedKeys(gateway)).keys.map(({ kid }) => kid))
    expect(await kids(before)).toEqual(await kids(after))
  })

  test("is refused as a whole when two keys have one name", async () => {
    const gateway = createAsserting(["ES", "TWIN"])
    await expectRefusal(gateway, await gateway.send({ target: JWKS.path, cert: "none" }), {
      status: 503,
      code: "service-unavailable",
      reason: "assertion_key_kid_repeated:ES,TWIN",
    })
  })
})

describe("without a usable key", () => {
  /** A key with the private part of another one. */
  const mismatched = (name: string, other: string): string => {
    const { d } = JSON.parse(secrets[other] ?? "") as { readonly d: string }
    return JSON.stringify({ ...(JSON.parse(secrets[name] ?? "") as object), d })
  }

  test.each<readonly [string, () => Record<string, string>]>([
    ["missing", () => ({})],
    ["missing", () => ({ ES: "" })],
    ["not_json", () => ({ ES: "hunter2" })],
    ["alg_unsupported", () => ({ ES: '{"kty":"oct","k":"hunter2","kid":"x","alg":"HS256"}' })],
    ["inconsistent", () => ({ ES: mismatched("ES", "ED") })],
    ["inconsistent", () => ({ ES: mismatched("ED", "TWIN") })],
  ])(
    "(%s) neither a request nor the set passes, and the event names the secret and not what it holds",
    async (fault, own) => {
      const gateway = createAsserting(["ES"], {}, own())
      const refusal = { status: 503, code: "service-unavailable", reason: `assertion_key_${fault}:ES` }
      const sent = await gateway.send()
      expect(sent.response.headers.get("retry-after")).toBe("1")
      await expectRefusal(gateway, sent, refusal)
      await expectRefusal(gateway, await gateway.send({ target: JWKS.path, cert: "none" }), refusal)
      expect(writtenLines().join()).not.toContain("hunter2")
    },
  )

  test("beside the one that signs, requests pass and the set is refused", async () => {
    const gateway = createAsserting(["ES", "NEXT"])
    expect((await gateway.send()).response.status).toBe(200)
    const sent = await gateway.send({ target: JWKS.path, cert: "none" })
    expect([sent.response.status, sent.event.reason]).toEqual([503, "assertion_key_missing:NEXT"])
  })

  test("routes that need none still answer", async () => {
    const gateway = createGateway({
      ROUTES: [{ path: "/healthz", client_certificate: "none", respond: { status: 204 } }],
    })
    expect((await gateway.send({ target: "/healthz", cert: "none" })).response.status).toBe(204)
  })
})
