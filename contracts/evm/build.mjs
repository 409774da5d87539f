#!/usr/bin/env node
// Builds the contract artefacts that the Python package ships.
//
//   node build.mjs            compile and write the artefacts
//   node build.mjs --check    compile and compare: exit 1 when a committed artefact is not what the sources give
//   node build.mjs --stale    compare the recorded source hash only, without a compiler (milliseconds)
//   node build.mjs --vectors  write vectors/order.json from the contracts (the forge tests compare it)
//
// An artefact is {contractName, abi, bytecode, deployedBytecode, sourceHash, compiler}. `sourceHash` is the SHA-256 of
// the lines "<path>\0<SHA-256 of the file>\n" over all inputs, paths relative to this folder, in byte order.
import { createHash } from "node:crypto";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = dirname(fileURLToPath(import.meta.url));
const SHIPPED = join(HERE, "..", "..", "src", "lockstep", "chains", "evm", "artifacts");
const FOR_TESTS = join(HERE, "test-artifacts");
const ARTIFACTS = [
  { name: "DemoToken", folder: SHIPPED },
  { name: "DemoMulticall", folder: SHIPPED },
  { name: "EscrowFactory", folder: SHIPPED },
  { name: "SourceEscrow", folder: SHIPPED },
  { name: "DestinationEscrow", folder: SHIPPED },
  { name: "DemoFeeToken", folder: FOR_TESTS },
  { name: "DemoBatchAccount", folder: FOR_TESTS },
];
const SINGLE_INPUTS = ["foundry.toml", "package-lock.json", "tools/solc"];
const SOURCE_FOLDERS = ["src", "test/tokens"];

class Failure extends Error {}

function solidityFiles(folder) {
  return readdirSync(join(HERE, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory()) return solidityFiles(path);
    return entry.name.endsWith(".sol") ? [path] : [];
  });
}

const sha256 = (data) => createHash("sha256").update(data).digest("hex");

function sourceHash() {
  const paths = [...SINGLE_INPUTS, ...SOURCE_FOLDERS.flatMap(solidityFiles)].sort((a, b) => (a < b ? -1 : 1));
  return sha256(paths.map((path) => `${path}\0${sha256(readFileSync(join(HERE, path)))}\n`).join(""));
}

function forge(args, environment = {}) {
  const done = spawnSync(process.execPath, [join(HERE, "tools", "forge"), ...args], {
    cwd: HERE,
    encoding: "utf8",
    env: { ...process.env, ...environment, FOUNDRY_PROFILE: "default" },
  });
  if (done.error) throw done.error;
  if (done.status !== 0) {
    process.stderr.write(done.stdout + done.stderr);
    throw new Failure(`forge ${args[0]} failed; its output is above`);
  }
}

function compiled(name, hash) {
  const [source] = ["src", "test/tokens"].map((folder) => `${folder}/${name}.sol`).filter((path) => existsSync(join(HERE, path)));
  const output = JSON.parse(readFileSync(join(HERE, "out", "artifacts", `${name}.sol`, `${name}.json`), "utf8"));
  if (!(source in output.metadata.settings.compilationTarget)) {
    throw new Failure(`forge compiled ${name} from ${JSON.stringify(output.metadata.settings.compilationTarget)}, expected ${source}`);
  }
  if (Object.keys(output.bytecode.linkReferences).length > 0) {
    throw new Failure(`${name} needs linked libraries, which the artefacts do not carry`);
  }
  const artifact = {
    contractName: name,
    abi: output.abi,
    bytecode: output.bytecode.object,
    deployedBytecode: output.deployedBytecode.object,
    sourceHash: hash,
    compiler: `solc ${output.metadata.compiler.version}`,
  };
  return `${JSON.stringify(artifact, null, 1)}\n`;
}

const pathOf = ({ name, folder }) => join(folder, `${name}.json`);
const shown = (path) => relative(join(HERE, "..", ".."), path).split(sep).join("/");
const committed = (artifact) => (existsSync(pathOf(artifact)) ? readFileSync(pathOf(artifact), "utf8") : null);

function refuseStale(stale) {
  if (stale.length === 0) return;
  const names = stale.map((artifact) => shown(pathOf(artifact))).join(", ");
  throw new Failure(`contract artefacts are stale (${names}): run \`node contracts/evm/build.mjs\` and commit the result`);
}

function main(mode) {
  if (!["", "--check", "--stale", "--vectors"].includes(mode)) {
    throw new Failure(`expected --check, --stale, --vectors or nothing, got ${mode}`);
  }
  if (mode === "--vectors") {
    forge(["test", "--match-contract", "VectorsTest"], { LOCKSTEP_WRITE_VECTORS: "true" });
    return;
  }
  const hash = sourceHash();
  if (mode === "--stale") {
    refuseStale(ARTIFACTS.filter((artifact) => JSON.parse(committed(artifact) ?? "{}").sourceHash !== hash));
    return;
  }
  forge(["build", ...SOURCE_FOLDERS, "--out", "out/artifacts", "--cache-path", "cache/artifacts"]);
  const fresh = ARTIFACTS.map((artifact) => ({ artifact, text: compiled(artifact.name, hash) }));
  if (mode === "--check") {
    refuseStale(fresh.filter(({ artifact, text }) => committed(artifact) !== text).map(({ artifact }) => artifact));
    return;
  }
  for (const { artifact, text } of fresh) {
    mkdirSync(artifact.folder, { recursive: true });
    writeFileSync(pathOf(artifact), text);
    console.log(`wrote ${shown(pathOf(artifact))}`);
  }
}

try {
  main(process.argv[2] ?? "");
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(`contracts/evm: ${error.message}`);
  process.exitCode = 1;
}
