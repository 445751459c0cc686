/**
 * The administrators' secret on a developer's machine: made once, kept to its owner, never weaker than the gateway asks for.
 */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, expect, test } from "vitest"
import { adminTokenPath, ensureAdminToken } from "../../cli/admin-token.ts"
import { readAdminSecret } from "../../src/core/admin.ts"

let state: string
beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "sekisho-admin-"))
})
afterAll(() => rm(state, { recursive: true, force: true }))

test("ensureAdminToken() makes a secret that the gateway takes, and keeps it", async () => {
  const made = await ensureAdminToken("ADMIN_TOKEN", state)
  expect(readAdminSecret(made)).toEqual({ ok: true, secret: made })
  expect(await ensureAdminToken("ADMIN_TOKEN", state)).toBe(made)
  expect(await readFile(adminTokenPath("ADMIN_TOKEN", state), "utf8")).toBe(made)
})

test("ensureAdminToken() makes one secret when two gateways ask at once", async () => {
  const made = await Promise.all([1, 2, 3].map(async () => ensureAdminToken("SHARED", state)))
  expect(new Set(made).size).toBe(1)
  expect((await readdir(join(state, "keys"))).filter((name) => name.startsWith("SHARED"))).toEqual(["SHARED"])
})

test.skipIf(process.platform === "win32")("the file is its owner's alone", async () => {
  await ensureAdminToken("MODE", state)
  expect((await stat(adminTokenPath("MODE", state))).mode & 0o777).toBe(0o600)
})

test("ensureAdminToken() refuses a file with a weak secret, names it and shows nothing of it", async () => {
  await ensureAdminToken("WEAK", state)
  await writeFile(adminTokenPath("WEAK", state), "hunter2")
  const refused = ensureAdminToken("WEAK", state)
  await expect(refused).rejects.toThrow(/keys\/WEAK holds no secret of at least 32 octets/)
  await expect(refused).rejects.not.toThrow(/hunter2/)
})
