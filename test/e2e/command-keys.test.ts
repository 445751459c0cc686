/**
 * Goal: `sekisho keys` makes a key that the gateway signs with, prints it where a pipe takes it, and shows of it only what is
 * public.
 * Method: the real process; a key of the development command on the disk.
 */
import { spawnSync } from "node:child_process"
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { ensureAssertionKeys } from "../../cli/assertion-keys.ts"
import { parseAssertionKey } from "../../src/core/assertion/assertion-key.ts"
import { parseRecordKey } from "../../src/core/idempotency/record-key.ts"
import { ROOT } from "./command.ts"

function keys(args: readonly string[], input = "") {
  return spawnSync(process.execPath, ["cli/sekisho.ts", "keys", ...args], { cwd: ROOT, encoding: "utf8", input })
}

describe("sekisho keys", () => {
  test.each([
    [[], "ES256"],
    [["--alg", "ES256"], "ES256"],
    [["--alg", "EdDSA"], "EdDSA"],
  ])("%j prints one line with a private key that can sign, and hints beside it", (args, alg) => {
    const { status, stdout, stderr } = keys(args)
    const parsed = parseAssertionKey(stdout)
    expect([status, stdout.split("\n").length, parsed.ok && parsed.key.alg]).toEqual([0, 2, alg])
    expect(stderr).toContain("wrangler secret put")
    expect(parsed.ok && stderr.includes(parsed.key.privateJwk.d)).toBe(false)
  })

  test("names no two keys alike unless told to", () => {
    const [first, second, named] = [keys([]), keys([]), keys(["--kid", "2027-01"])].map(({ stdout }) => {
      const parsed = parseAssertionKey(stdout)
      return parsed.ok ? parsed.key.kid : ""
    })
    expect(first).toMatch(/^[A-Za-z0-9_-]{43}$/)
    expect(first).not.toBe(second)
    expect(named).toBe("2027-01")
  })

  test("--alg A256GCM prints a key that protects idempotency records, and no hint repeats it", () => {
    const [one, other] = [keys(["--alg", "A256GCM"]), keys(["--alg", "A256GCM", "--kid", "2027-01"])]
    const [first, named] = [parseRecordKey(one.stdout), parseRecordKey(other.stdout)]
    expect([one.status, first.ok, named.ok && named.kid]).toEqual([0, true, "2027-01"])
    expect(one.stderr).toContain("wrangler secret put IDEMPOTENCY_KEY")
    expect(one.stderr).not.toContain((JSON.parse(one.stdout) as { k: string }).k)
    expect(keys(["--public"], one.stdout).stderr).toMatch(/no private JWK/)
  })

  test("--public shows the public part of what it reads", () => {
    const { stdout } = keys(["--alg", "EdDSA", "--kid", "a"])
    const { x } = JSON.parse(stdout) as { x: string }
    const shown = keys(["--public"], stdout)
    expect([shown.status, shown.stderr]).toEqual([0, ""])
    expect(JSON.parse(shown.stdout)).toEqual({ kty: "OKP", crv: "Ed25519", x, kid: "a", alg: "EdDSA", use: "sig" })
  })

  test.each([
    [["--public"], '{"kty":"oct","k":"hunter2","kid":"a","alg":"HS256"}', /no private JWK.*\(alg_unsupported\)/],
    [["--public"], "", /no private JWK.*\(missing\)/],
    [["--alg", "RS256"], "", /--alg takes ES256 or EdDSA, or A256GCM for idempotency records, not "RS256"/],
    [["--kid", "a b"], "", /--kid takes 1 to 64 letters/],
  ])("%j of %j ends with 1 and one message that repeats no secret", (args, input, message) => {
    const { status, stdout, stderr } = keys(args, input)
    expect([status, stdout]).toEqual([1, ""])
    expect(stderr).toMatch(message)
    expect(stderr).not.toMatch(/hunter2|\n\s+at /)
  })
})

describe("keys of the development command", () => {
  let state: string
  beforeAll(async () => {
    state = await mkdtemp(join(tmpdir(), "sekisho-keys-"))
  })
  afterAll(() => rm(state, { recursive: true, force: true }))

  test("are made once, also by two at a time, and are the owner's alone", async () => {
    const [one, other] = await Promise.all([ensureAssertionKeys(["A"], state), ensureAssertionKeys(["A"], state)])
    expect(one).toEqual(other)
    expect(await ensureAssertionKeys(["A", "B"], state)).toMatchObject(one)
    if (process.platform !== "win32") expect((await stat(join(state, "keys", "A.json"))).mode & 0o777).toBe(0o600)
  })

  test("that cannot be used are named and left alone", async () => {
    const file = join(state, "keys", "C.json")
    await writeFile(file, "hunter2")
    await chmod(file, 0o600)
    await expect(ensureAssertionKeys(["C"], state)).rejects.toThrow(/C\.json holds no usable key \(not_json\)/)
    expect(await readFile(file, "utf8")).toBe("hunter2")
  })
})
