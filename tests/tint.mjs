// Compiles one shader with Tint, the WGSL compiler of Dawn and Chromium, on a device without a GPU.
//
// node tests/tint.mjs FOLDER   FOLDER holds node_modules/webgpu; standard input: {"source", "subgroup", "launches": [{…}]}
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const folder = resolve(process.argv[2]);
const { create, globals } = await import(pathToFileURL(`${folder}/node_modules/webgpu/index.js`));
const { source, subgroup, launches } = JSON.parse(readFileSync(0, "utf8"));

// Rooted, or the garbage collector frees what the native side still uses.
Object.assign(globalThis, globals);
globalThis.gpu = create(["backend=null"]);
globalThis.adapter = await gpu.requestAdapter();
globalThis.device = await adapter.requestDevice({
  requiredFeatures: ["subgroups", "shader-f16"].filter((feature) => adapter.features.has(feature)),
});

let failed = false;
// Tint asks for the extension by name, and naga does not know the name.
const code = subgroup ? `enable subgroups;\n${source}` : source;
const module = device.createShaderModule({ code });
for (const { type, lineNum, message } of (await module.getCompilationInfo()).messages) {
  console.log(`${type}: line ${lineNum}: ${message}`);
  failed ||= type === "error";
}
for (const constants of launches) {
  try {
    await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main", constants } });
  } catch (error) {
    console.log(`${JSON.stringify(constants)}: ${error.message}`);
    failed = true;
  }
}
process.exit(failed ? 1 : 0);
