/**
 * Goal: a rule that recognises a client is read as it was meant, and two clients never have rules that are known to meet.
 * Method: one client a test in a configuration that is otherwise valid; dates as a string and as wrangler hands them over.
 */
import { describe, expect, test } from "vitest"
import type { Config } from "../../src/config/config.ts"
import { loadConfig } from "../../src/config/load.ts"
import { formatSpkiPin } from "../../src/core/certificate/spki-pin.ts"

const SKI = "73656b6973686f2d646576656c6f706d656e742d"
const OTHER_SKI = "00000000000000000000000000000000deadbeef"
const DIGEST = "0123456789abcdef".repeat(4)
const BASE = {
  GATEWAY: { hosts: ["localhost"] },
  ISSUERS: { partners: { ski: SKI }, others: { ski: OTHER_SKI } },
  ORIGINS: { bank: { url: "http://127.0.0.1:9000" } },
  LIMITS: { standard: { rate: "1/s", burst: 1 } },
  ROUTES: [{ path: "/a", origin: "bank", limits: "standard" }],
}

type Rules = readonly Readonly<Record<string, unknown>>[]

function load(...clients: readonly Rules[]): ReturnType<typeof loadConfig> {
  const ids = ["acme", "globex", "initech"]
  return loadConfig({
    ...BASE,
    CLIENTS: clients.map((certificates, index) => ({ id: ids[index], certificates })),
  })
}

function accept(...rules: Rules): Config["clients"][number]["certificates"] {
  const loaded = load(rules)
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors))
  return loaded.config.clients[0]?.certificates ?? []
}

function errorsOf(...clients: readonly Rules[]): readonly string[] {
  const loaded = load(...clients)
  return loaded.ok ? [] : loaded.errors.map(({ path, accepted }) => `${path}: ${accepted}`)
}

describe("rules", () => {
  test.each([
    [{ spki: DIGEST.toUpperCase() }, { kind: "spki", spki: DIGEST }],
    [{ spki: formatSpkiPin(DIGEST) }, { kind: "spki", spki: DIGEST }],
    [
      { spki: DIGEST, issuer: "partners" },
      { kind: "spki", spki: DIGEST, issuerSki: SKI },
    ],
    [
      { issuer: "partners", san_dns: "API.Acme.example" },
      { kind: "san-dns", issuerSki: SKI, sanDns: "api.acme.example" },
    ],
    [
      { issuer: "partners", san_email: "Ops@ACME.example" },
      { kind: "san-email", issuerSki: SKI, sanEmail: "Ops@acme.example" },
    ],
    [
      { issuer: "partners", spiffe_id: "spiffe://acme.example/a" },
      { kind: "spiffe-id", issuerSki: SKI, spiffeId: "spiffe://acme.example/a" },
    ],
  ])("%j becomes %j", (rule, expected) => {
    expect(accept(rule)).toEqual([expected])
  })

  test.each([
    [{ spki: DIGEST.slice(2) }, "spki: the SHA-256 of the certificate's SubjectPublicKeyInfo"],
    [{ issuer: "partners", san_dns: "*.acme.example" }, "san_dns: the DNS name in the certificate"],
    [{ issuer: "partners", san_dns: "192.0.2.1" }, "san_dns: the DNS name in the certificate"],
    [{ issuer: "partners", san_email: "acme.example" }, "san_email: the mail address in the certificate"],
    [{ issuer: "partners", spiffe_id: "spiffe://acme.example" }, "spiffe_id: a SPIFFE id with a path"],
    [{ issuer: "partners", spiffe_id: "spiffe://Acme.example/a" }, "spiffe_id: a SPIFFE id with a path"],
    [{ san_dns: "api.acme.example" }, "issuer: the CA that issues this certificate"],
    [{ san_email: "ops@acme.example" }, "issuer: the CA that issues this certificate"],
    [{ spiffe_id: "spiffe://acme.example/a" }, "issuer: the CA that issues this certificate"],
    [{ spki: DIGEST, issuer: "nobody" }, 'issuer: one of "partners", "others" (ISSUERS)'],
  ])("%j is refused at %s", (rule, expected) => {
    expect(errorsOf([rule])).toEqual([expect.stringContaining(`CLIENTS[0].certificates[0].${expected}`)])
  })

  test("of two kinds at once are refused", () => {
    expect(errorsOf([{ spki: DIGEST, fingerprint: DIGEST }])).toEqual([
      expect.stringContaining("CLIENTS[0].certificates[0]: exactly one of fingerprint, spki"),
    ])
  })
})

describe("retire_at", () => {
  /** What wrangler's reader of TOML hands over: a date that prints as it was written. */
  const tomlDate = (written: string): Date => Object.assign(new Date(Date.parse(written)), { toJSON: () => written })

  test.each([
    ["2027-01-31", Date.UTC(2027, 0, 31)],
    ["2027-01-31T12:00:00Z", Date.UTC(2027, 0, 31, 12)],
    ["2027-01-31T12:00:00.000+09:00", Date.UTC(2027, 0, 31, 3)],
  ])("%s is the same instant as a text and as a date of TOML", (written, retireAtMs) => {
    const ends = [written, tomlDate(written)].map(
      (retireAt) => accept({ fingerprint: DIGEST, retire_at: retireAt })[0]?.retireAtMs,
    )
    expect(ends).toEqual([retireAtMs, retireAtMs])
  })

  test.each(["2027-01-31T12:00:00", "12:00:00.000", "2027-02-29", "soon", "", 1_800_000_000, new Date(Number.NaN)])(
    "may not be %j",
    (retireAt) => {
      expect(errorsOf([{ fingerprint: DIGEST, retire_at: retireAt }])).toEqual([
        expect.stringContaining("CLIENTS[0].certificates[0].retire_at: an RFC 3339 date"),
      ])
    },
  )

  test("a local time of TOML is refused, because nobody can say when it is", () => {
    expect(errorsOf([{ fingerprint: DIGEST, retire_at: tomlDate("2027-01-31T12:00:00.000") }])).toHaveLength(1)
  })
})

describe("two clients", () => {
  const uri = "spiffe://acme.example/a"
  test.each([
    ["the same key", { spki: DIGEST }, { spki: formatSpkiPin(DIGEST) }],
    ["a key with and without its CA", { spki: DIGEST }, { spki: DIGEST, issuer: "others" }],
    ["a key without and with its CA", { spki: DIGEST, issuer: "others" }, { spki: DIGEST }],
    ["a URI and the same SPIFFE id", { issuer: "partners", san_uri: uri }, { issuer: "partners", spiffe_id: uri }],
    ["a SPIFFE id and the same URI", { issuer: "partners", spiffe_id: uri }, { issuer: "partners", san_uri: uri }],
    [
      "one host in two spellings",
      { issuer: "partners", san_dns: "a.example" },
      { issuer: "partners", san_dns: "A.EXAMPLE" },
    ],
    [
      "one mailbox in two spellings",
      { issuer: "partners", san_email: "a@a.example" },
      { issuer: "partners", san_email: "a@A.example" },
    ],
    ["a rule that retires", { fingerprint: DIGEST, retire_at: "2020-01-01" }, { fingerprint: DIGEST }],
  ])("may not share %s", (_, first, second) => {
    expect(errorsOf([first], [second])).toEqual([
      "CLIENTS[1].certificates[0]: a certificate that nothing else matches; CLIENTS[0].certificates[0] matches the same one",
    ])
  })

  test.each([
    ["a key of two CAs", { spki: DIGEST, issuer: "partners" }, { spki: DIGEST, issuer: "others" }],
    ["a URI of two CAs", { issuer: "partners", san_uri: uri }, { issuer: "others", spiffe_id: uri }],
    [
      "mailboxes that differ in case",
      { issuer: "partners", san_email: "a@a.example" },
      { issuer: "partners", san_email: "A@a.example" },
    ],
    // Whether one certificate has both only shows when it comes; then nobody passes.
    ["a subject and a host", { issuer: "partners", subject: "CN=a" }, { issuer: "partners", san_dns: "a.example" }],
  ])("may have %s", (_, first, second) => {
    expect(errorsOf([first], [second])).toEqual([])
  })
})

describe("one client", () => {
  test("may say the same in two ways", () => {
    const uri = "spiffe://acme.example/a"
    expect(
      errorsOf([
        { issuer: "partners", san_uri: uri },
        { issuer: "partners", spiffe_id: uri },
      ]),
    ).toEqual([])
  })

  test("may not say the same twice", () => {
    expect(errorsOf([{ spki: DIGEST }, { spki: DIGEST }])).toHaveLength(1)
  })

  test("is enabled unless it says disabled", () => {
    const client = { certificates: [{ fingerprint: DIGEST }] }
    const other = { certificates: [{ spki: DIGEST }] }
    const loaded = loadConfig({
      ...BASE,
      CLIENTS: [
        { id: "a", ...client },
        { id: "b", ...other, disabled: true },
      ],
    })
    expect(loaded.ok && loaded.config.clients.map(({ isDisabled }) => isDisabled)).toEqual([false, true])
  })
})

describe("expiry", () => {
  test.each([
    [{}, 30 * 86_400_000],
    [{ certificate_warning: "14d" }, 14 * 86_400_000],
  ])("GATEWAY %j warns that early", (gateway, expected) => {
    const loaded = loadConfig({ ...BASE, GATEWAY: { hosts: ["localhost"], ...gateway } })
    expect(loaded.ok && loaded.config.certificateWarningMs).toBe(expected)
  })

  test("expiry_header needs a certificate that could end", () => {
    const route = { path: "/b", client_certificate: "none", respond: { status: 200 }, expiry_header: true }
    const loaded = loadConfig({ ...BASE, ROUTES: [route] })
    expect(!loaded.ok && loaded.errors.map(({ path }) => path)).toEqual(["ROUTES[0].expiry_header"])
  })
})
