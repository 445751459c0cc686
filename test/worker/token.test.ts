/**
 * Goal: a token opens a route only when it stands in the Authorization field and the authorization server has signed it with
 * a key and an algorithm that nobody but the configuration chose. Method: a real key server, real keys of three algorithms,
 * tokens put together by hand, one thing wrong a test.
 */
import { describe, expect, test, vi } from "vitest"
import { fieldValues, fixtures, expectRefusal, writtenLines, trapConnections } from "./harness.ts"
import { bearer, claimsFor, createToken, createTokenGateway, encode, fetchCount, present, sign } from "./tokens.ts"

const INVALID = 'Bearer realm="sekisho", error="invalid_token"'

describe("a good token", () => {
  test.each(["es256", "ps256", "eddsa"] as const)("signed with %s opens the route", async (key) => {
    const { exchanged } = await present({ key })
    expect(exchanged.response.status).toBe(200)
  })

  test("is on the record by server, client and id, and nowhere as itself", async () => {
    const gateway = await createTokenGateway()
    const token = await createToken(gateway)
    const { event } = await gateway.send({ target: "/admin/x", headers: bearer(token) })
    expect(event).toMatchObject({
      outcome: "forwarded",
      token: "login",
      token_client: gateway.clientId("acme-a"),
      token_id: "0d1c2b3a",
    })
    expect(writtenLines().join("\n")).not.toContain(token.slice(-40))
  })

  test("does not reach the origin, unless the route forwards it", async () => {
    const gateway = await createTokenGateway()
    const headers = bearer(await createToken(gateway))
    for (const target of ["/plain", "/passed"]) await gateway.send({ target, headers })
    const [plain, passed] = await gateway.originRequests()
    expect([fieldValues(plain, "authorization"), fieldValues(passed, "authorization")]).toEqual([
      [],
      [headers["Authorization"]],
    ])
  })

  test("opens a route that is answered here", async () => {
    expect((await present({}, "/here")).exchanged.response.status).toBe(200)
  })

  test("Authorization of a route without token is the origin's, whatever it says", async () => {
    const gateway = await createTokenGateway()
    await gateway.send({ target: "/open", headers: { Authorization: "Basic YTpi" } })
    expect(fieldValues((await gateway.originRequests())[0], "authorization")).toEqual(["Basic YTpi"])
  })

  test.each(["at+jwt", "AT+JWT", "application/at+jwt"])("may be of the type %s", async (typ) => {
    expect((await present({ header: { typ } })).exchanged.response.status).toBe(200)
  })

  test("of a server that does not follow RFC 9068 needs no claims of it", async () => {
    const claims = { sub: undefined, jti: undefined, iat: undefined }
    const { exchanged } = await present({ header: { typ: "JWT" }, claims }, "/admin/x", { typ: ["at+jwt", "JWT"] })
    expect(exchanged.response.status).toBe(200)
  })
})

describe("without a token", () => {
  test("the challenge has no error code, because no credentials were sent (RFC 6750 §3.1)", async () => {
    const gateway = await createTokenGateway()
    const exchanged = await gateway.send({ target: "/admin/x" })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-missing", reason: "no_authorization" })
    expect(exchanged.response.headers.get("www-authenticate")).toBe('Bearer realm="sekisho"')
  })

  test.each([
    ["/admin/x?access_token=", {}],
    ["/admin/x?a=b&access%5Ftoken=", {}],
    ["/admin/x", { Cookie: "access_token=" }],
  ])("JWT-19: %s with %j is none", async (target, cookie: Readonly<Record<string, string>>) => {
    const gateway = await createTokenGateway()
    const token = await createToken(gateway)
    const headers = Object.fromEntries(Object.entries(cookie).map(([name, value]) => [name, value + token]))
    const exchanged = await gateway.send({ target: target.endsWith("=") ? target + token : target, headers })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-missing" })
    expect(writtenLines().join("\n")).not.toContain(token.slice(-40))
  })

  test("JWT-19: a token in the query is refused beside a good field, too", async () => {
    const gateway = await createTokenGateway()
    const token = await createToken(gateway)
    const exchanged = await gateway.send({ target: `/admin/x?access_token=${token}`, headers: bearer(token) })
    await expectRefusal(gateway, exchanged, { status: 400, code: "malformed-request", reason: "token_in_query" })
    expect(exchanged.response.headers.get("www-authenticate")).toContain('error="invalid_request"')
  })

  test("JWT-18: only Bearer, one space and one token is read", async () => {
    const gateway = await createTokenGateway()
    const jwt = await createToken(gateway)
    const answers = []
    for (const field of [
      `Basic ${jwt}`,
      `Token ${jwt}`,
      jwt,
      "Bearer",
      `Bearer  ${jwt}`,
      `Bearer\t${jwt}`,
      `Bearer ${jwt} x`,
      `Bearer "${jwt}"`,
      `bearer ${jwt}`,
    ]) {
      const { response, event } = await gateway.send({ target: "/admin/x", headers: { Authorization: field } })
      answers.push([response.status, event.problem])
    }
    expect(answers).toEqual([...Array.from({ length: 8 }, () => [401, "token-invalid"]), [200, undefined]])
  })

  test("JWT-18: two tokens in two lines are refused before anybody chooses one", async () => {
    const gateway = await createTokenGateway()
    const headers = new Headers(bearer(await createToken(gateway)))
    headers.append("Authorization", `Bearer ${await createToken(gateway)}`)
    const exchanged = await gateway.send({ target: "/admin/x", headers })
    await expectRefusal(gateway, exchanged, { status: 400, code: "duplicate-header" })
  })
})

describe("JWT-01: without an algorithm", () => {
  test.each([["none"], ["None"], ["NONE"], ["nOnE"], [""], [undefined], [null]])("%j verifies nothing", async (alg) => {
    const gateway = await createTokenGateway()
    const header = encode(JSON.stringify({ alg, typ: "at+jwt", kid: "es256" }))
    const token = `${header}.${encode(JSON.stringify(claimsFor(gateway)))}.`
    const exchanged = await gateway.send({ target: "/admin/x", headers: bearer(token) })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "alg_not_allowed" })
    expect(exchanged.response.headers.get("www-authenticate")).toBe(INVALID)
  })
})

describe("JWT-02: HS256 with a public key as the secret", () => {
  const secrets: readonly (readonly [string, () => string])[] = [
    ["its JWK", () => JSON.stringify(fixtures.tokenKeys.ps256.publicJwk)],
    ["its modulus", () => fixtures.tokenKeys.ps256.publicJwk["n"] ?? ""],
    ["a point of it", () => fixtures.tokenKeys.es256.publicJwk["x"] ?? ""],
  ]
  test.each(secrets)("%s verifies nothing", async (_, secret) => {
    const gateway = await createTokenGateway()
    const text = `${encode(JSON.stringify({ alg: "HS256", typ: "at+jwt", kid: "ps256" }))}.${encode(JSON.stringify(claimsFor(gateway)))}`
    const algorithm = { name: "HMAC", hash: "SHA-256" }
    const key = await crypto.subtle.importKey("raw", new TextEncoder().encode(secret()), algorithm, false, ["sign"])
    const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text))
    const token = `${text}.${encode(String.fromCharCode(...new Uint8Array(mac)))}`
    const exchanged = await gateway.send({ target: "/admin/x", headers: bearer(token) })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "alg_not_allowed" })
  })
})

describe("JWT-03: the header chooses no algorithm", () => {
  test.each([
    ["RS256", "alg_not_allowed"],
    ["RS512", "alg_not_allowed"],
    ["PS256", "signature_invalid"],
    ["ES256", "signature_invalid"],
  ])("%s on a key without alg", async (alg, reason) => {
    const { gateway, exchanged } = await present({ key: "rs256", header: { alg } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason })
  })
})

describe("JWT-04: a key id is data", () => {
  test.each([
    ["../../../dev/null"],
    ["' OR 1=1--"],
    ["http://evil.example/k"],
    ["A".repeat(3_000)],
    ["\0"],
    ["__proto__"],
    ["constructor"],
    [123],
    [["es256"]],
    ['\n{"level":"audit"}'],
    [undefined],
    [""],
  ])("%j finds no key", async (kid) => {
    const { gateway, exchanged } = await present({ header: { kid } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid" })
    expect(exchanged.event.reason).toMatch(/^kid_(?:unknown|missing|too_long)/)
    expect(exchanged.event.reason?.length).toBeLessThan(150)
    expect(await fetchCount(gateway)).toBeLessThanOrEqual(2)
  })
})

describe("JWT-05: a token brings no key", () => {
  test.each([
    ["jwk", () => fixtures.tokenKeys.other.publicJwk],
    ["jku", () => `http://127.0.0.1:${fixtures.trapPort}/keys`],
    ["x5u", () => `http://127.0.0.1:${fixtures.trapPort}/chain`],
    ["x5c", () => [fixtures.certificates["acme-a"].der]],
  ])("in %s", async (name, value) => {
    const before = await trapConnections()
    const { gateway, exchanged } = await present({ key: "other", header: { kid: "es256", [name]: value() } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "key_in_header" })
    expect(await trapConnections()).toBe(before)
  })

  test("and the signature of a foreign key verifies nothing", async () => {
    const { gateway, exchanged } = await present({ key: "other", header: { kid: "es256" } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "signature_invalid" })
  })

  test("and critical extensions are not understood", async () => {
    const { gateway, exchanged } = await present({ header: { crit: ["b64"], b64: false } })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "crit_not_supported" })
  })
})

describe("JWT-17: hostile texts", () => {
  const hostile: readonly (readonly [string, () => string, string])[] = [
    ["10 KB", () => `${encode('{"alg":"ES256"}')}.${"A".repeat(10_000)}.AAAA`, "token_too_large"],
    ["nested lists", () => `${encode("[".repeat(5_000))}.AAAA.AAAA`, "token_malformed"],
    ["a header that is a list", () => `${encode("[]")}.AAAA.AAAA`, "token_malformed"],
    ["a header that is no UTF-8", () => "gICA.AAAA.AAAA", "token_malformed"],
    ["stray bits", () => `${encode('{"alg":"ES256"}')}.AAB.AAAA`, "token_malformed"],
    ["padding", () => `${encode('{"alg":"ES256"}')}.AAA.AAA=`, "token_malformed"],
    ["one part", () => "AAAA", "token_malformed"],
    ["many parts", () => "A.".repeat(4_000), "token_malformed"],
  ]
  test.each(hostile)("%s", async (_, token, reason) => {
    const gateway = await createTokenGateway()
    const exchanged = await gateway.send({ target: "/admin/x", headers: bearer(token()) })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason })
    expect(await fetchCount(gateway)).toBe(0)
  })

  test("64 KB are more than all fields of a request may have", async () => {
    const gateway = await createTokenGateway()
    const exchanged = await gateway.send({ target: "/admin/x", headers: bearer("A".repeat(65_536)) })
    await expectRefusal(gateway, exchanged, { status: 431, code: "headers-too-large" })
  })

  test("claims that are no object, though signed", async () => {
    const gateway = await createTokenGateway()
    const token = await sign('{"alg":"ES256","typ":"at+jwt","kid":"es256"}', '["iss"]', "es256")
    const exchanged = await gateway.send({ target: "/admin/x", headers: bearer(token) })
    await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "claims_malformed" })
  })
})

test("JWT-20: an encrypted token is refused unread", async () => {
  const gateway = await createTokenGateway()
  const header = { alg: "PBES2-HS256+A128KW", enc: "A128GCM", p2c: 2_147_483_647, zip: "DEF", kid: "es256" }
  const headers = bearer(`${encode(JSON.stringify(header))}.AAAA.AAAA.AAAA.AAAA`)
  const exchanged = await gateway.send({ target: "/admin/x", headers })
  await expectRefusal(gateway, exchanged, { status: 401, code: "token-invalid", reason: "token_encrypted" })
})

test("a token that is remembered costs no second look at its signature", async () => {
  const gateway = await createTokenGateway()
  const headers = bearer(await createToken(gateway))
  await gateway.send({ target: "/here", headers })
  const verify = vi.spyOn(crypto.subtle, "verify")
  await gateway.send({ target: "/here", headers })
  expect(verify).not.toHaveBeenCalled()
})
