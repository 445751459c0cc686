/**
 * Goal: every refusal is a valid RFC 9457 problem, the same for every occurrence of a code, and says nothing about the
 * request. Method: the rules of the RFC's schema applied by hand to each code.
 */
import { describe, expect, test } from "vitest"
import {
  createProblem,
  PROBLEM_FIELDS,
  PROBLEM_MEDIA_TYPE,
  PROBLEMS,
  type ProblemCode,
} from "../../src/core/problem.ts"
import { readDataSet } from "../conformance.ts"

const REQUEST_ID = "01932c07-0000-7000-8000-000000000001"
const CODES = Object.keys(PROBLEMS) as ProblemCode[]

/** The slugs that callers may meet, agreed on outside the code; later stages use more of them. */
const AGREED =
  `malformed-request malformed-header duplicate-header host-rejected path-rejected method-not-allowed request-timeout
  body-too-large uri-too-long misdirected-request upgrade-not-allowed headers-too-large client-cert-required
  client-cert-invalid client-cert-retired edge-assertion-invalid client-unknown client-ambiguous client-disabled token-missing token-invalid
  token-expired token-binding-mismatch token-client-mismatch insufficient-scope tier-denied policy-denied
  origin-not-allowed route-not-found client-blocked rate-limited quota-exceeded concurrency-exceeded ip-rate-limited
  idempotency-key-required idempotency-key-invalid idempotency-in-progress idempotency-indeterminate
  idempotency-response-not-replayable idempotency-key-reused origin-unreachable origin-invalid-response
  service-unavailable origin-timeout admin-auth-required csrf-rejected version-conflict config-invalid`.split(/\s+/)

/** Usual statuses that were agreed on with the slugs. */
const STATUSES: Readonly<Record<string, number>> = {
  "malformed-request": 400,
  "malformed-header": 400,
  "duplicate-header": 400,
  "host-rejected": 400,
  "path-rejected": 400,
  "idempotency-key-required": 400,
  "idempotency-key-invalid": 400,
  "idempotency-in-progress": 409,
  "idempotency-indeterminate": 409,
  "idempotency-response-not-replayable": 409,
  "idempotency-key-reused": 422,
  "client-cert-required": 401,
  "client-cert-invalid": 401,
  "client-cert-retired": 401,
  "edge-assertion-invalid": 401,
  "token-missing": 401,
  "token-invalid": 401,
  "token-expired": 401,
  "token-binding-mismatch": 401,
  "admin-auth-required": 401,
  "token-client-mismatch": 403,
  "insufficient-scope": 403,
  "client-unknown": 403,
  "client-ambiguous": 403,
  "client-disabled": 403,
  "origin-not-allowed": 403,
  "route-not-found": 404,
  "method-not-allowed": 405,
  "request-timeout": 408,
  "body-too-large": 413,
  "uri-too-long": 414,
  "misdirected-request": 421,
  "upgrade-not-allowed": 426,
  "rate-limited": 429,
  "quota-exceeded": 429,
  "concurrency-exceeded": 429,
  "ip-rate-limited": 429,
  "client-blocked": 429,
  "headers-too-large": 431,
  "internal-error": 500,
  "origin-unreachable": 502,
  "service-unavailable": 503,
  "origin-invalid-response": 502,
  "origin-timeout": 504,
  "http-version-not-supported": 505,
}

describe("PROBLEMS", () => {
  test("has no code beyond the agreed ones but internal-error and a version of HTTP", () => {
    expect(CODES.filter((code) => !AGREED.includes(code))).toEqual(["internal-error", "http-version-not-supported"])
  })

  test.each(CODES)("gives %s its usual status", (code) => {
    expect(PROBLEMS[code].status).toBe(STATUSES[code])
  })
})

describe("createProblem()", () => {
  test.each(CODES)("makes a valid document of %s", (code) => {
    const problem = createProblem(code, REQUEST_ID)
    expect(problem).toEqual({
      type: expect.stringMatching(/^[a-z][a-z0-9+.-]*:[^\s<>"{}|\\^`]+$/) as string,
      title: expect.stringMatching(/^[A-Z].*[^.]$/) as string,
      status: PROBLEMS[code].status,
      detail: expect.stringMatching(/^[A-Z].*\.$/) as string,
      instance: `urn:uuid:${REQUEST_ID}`,
      code,
      request_id: REQUEST_ID,
    })
  })

  test.each(CODES)("gives %s a type of the registry or one that ends in the code", (code) => {
    const { type } = createProblem(code, REQUEST_ID)
    const registered = code === "client-blocked" ? "abnormal-usage-detected" : "quota-exceeded"
    const isRegistered = PROBLEMS[code].status === 429
    expect(type).toBe(
      isRegistered ? `https://iana.org/assignments/http-problem-types#${registered}` : `urn:sekisho:problem:${code}`,
    )
  })

  test.each(CODES)("uses for %s a status that is an error", (code) => {
    const { status } = createProblem(code, REQUEST_ID)
    expect(Number.isInteger(status) && status >= 400 && status <= 599).toBe(true)
  })

  test("gives each code a title of its own", () => {
    expect(new Set(CODES.map((code) => PROBLEMS[code].title)).size).toBe(CODES.length)
  })

  test("says the same about every occurrence but its id", () => {
    const [first, second] = [REQUEST_ID, "client-chosen.id_1"].map((id) => createProblem("route-not-found", id))
    expect({ ...first, instance: "", request_id: "" }).toEqual({ ...second, instance: "", request_id: "" })
  })

  test("names a request whose id is no UUID by a URN of its own", () => {
    expect(createProblem("route-not-found", "client-chosen.id_1").instance).toBe(
      "urn:sekisho:request:client-chosen.id_1",
    )
  })

  test("names the policies that refused", () => {
    expect(createProblem("rate-limited", REQUEST_ID, { violatedPolicies: ["standard"] })).toHaveProperty(
      "violated-policies",
      ["standard"],
    )
  })

  test("reports overload as reduced capacity", () => {
    expect(createProblem("service-unavailable", REQUEST_ID, { overloaded: true }).type).toBe(
      "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
    )
  })
})

test("PROBLEM_FIELDS hold what PRX-17 asks of every refusal", () => {
  expect(PROBLEM_FIELDS).toEqual([
    ["Content-Type", PROBLEM_MEDIA_TYPE],
    ["Cache-Control", "no-store"],
    ["X-Content-Type-Options", "nosniff"],
    ["Content-Security-Policy", "default-src 'none'"],
  ])
})

interface ProblemSchema {
  readonly properties: Readonly<
    Record<string, { readonly type: string; readonly minimum?: number; readonly maximum?: number }>
  >
}
interface ProblemChecks {
  readonly iana_types: readonly string[]
  readonly draft_types_ratelimit: readonly string[]
}
const schema = readDataSet("problem-details/rfc9457-problem.schema.json") as ProblemSchema | undefined
const checks = readDataSet("problem-details/checks.json") as ProblemChecks | undefined

describe.skipIf(schema === undefined || checks === undefined)("RFC 9457", () => {
  test.each(CODES)("the schema holds for %s", (code) => {
    const problem: Readonly<Record<string, unknown>> = { ...createProblem(code, REQUEST_ID) }
    const faults = Object.entries(schema?.properties ?? {}).filter(([name, { type, minimum = 0, maximum = 0 }]) => {
      const value = problem[name]
      if (type === "string") return typeof value !== "string"
      return !Number.isInteger(value) || Number(value) < minimum || Number(value) > maximum
    })
    expect(faults).toEqual([])
  })

  test("registered types are those of the registry and of the draft", () => {
    const used = CODES.flatMap((code) => [
      createProblem(code, REQUEST_ID).type,
      createProblem(code, REQUEST_ID, { overloaded: true }).type,
    ]).filter((type) => type.startsWith("https:"))
    const known = new Set([...(checks?.iana_types ?? []), ...(checks?.draft_types_ratelimit ?? [])])
    expect(used.filter((type) => !known.has(type))).toEqual([])
  })
})
