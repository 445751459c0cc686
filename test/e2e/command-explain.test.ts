/**
 * Goal: `sekisho explain` prints what would become of a request and ends with 0 only when it would be forwarded or answered.
 * Method: the real process on the repository's own file. What it says is tested in `test/core/explain-request.test.ts`.
 */
import { expect, test } from "vitest"
import { runCommand } from "./command.ts"

test("prints the stages and where a request goes, and ends with 0", async () => {
  const { code, stderr, stdout } = await runCommand("explain", "GET", "/accounts/1?x=1", "--client", "acme")
  expect([code, stderr]).toEqual([0, ""])
  expect(stdout).toMatch(
    /✓ target +localhost \/accounts\/1\?x=1\n[^]*✓ route [^]*✓ origin +GET http[^]*forwarded to bank\n/,
  )
})

test("prints which stage refuses with which code, and ends with 1", async () => {
  const { code, stderr, stdout } = await runCommand("explain", "GET", "/accounts/1")
  expect([code, stderr]).toEqual([1, ""])
  expect(stdout).toMatch(/✗ certificate [^]*refused by certificate with 401 client-cert-required/)
})

test("prints JSON for programs", async () => {
  const { code, stdout } = await runCommand("explain", "GET", "/healthz", "--json")
  expect([code, (JSON.parse(stdout) as { end: unknown }).end]).toEqual([0, { kind: "answered", status: 200 }])
})

test.each([
  [["GET"], /takes a method and a URL or path/],
  [["GET", "/", "x"], /takes a method and a URL or path/],
  [["GET", "/", "--client", "nobody"], /no client "nobody"\. Clients: acme/],
])("explain %j says what is missing", async (args, message) => {
  const { code, stderr } = await runCommand("explain", ...args)
  expect(code).toBe(1)
  expect(stderr).toMatch(message)
})
