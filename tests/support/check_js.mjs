// Types of the pages' and the client's JavaScript, as its JSDoc comments say them: `tsc --checkJs`.
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const ts = createRequire(join(root, "tests/node_modules/"))("typescript");

const options = {
  allowJs: true,
  checkJs: true,
  noEmit: true,
  noUnusedLocals: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
  // As in server/modules.py.
  paths: {
    "@bellwire/client": [join(root, "clients/js/src/index.js")],
    "uplot": [join(root, "static/node_modules/uplot/dist/uPlot.d.ts")],
    "socket.io-client": [join(root, "static/node_modules/socket.io-client")],
  },
};
const scripts = (folder) => readdirSync(join(root, folder), { recursive: true })
  .filter((name) => name.endsWith(".js"))
  .map((name) => join(root, folder, name));
const files = [join(import.meta.dirname, "vendor.d.ts"), ...scripts("static/js"), ...scripts("clients/js/src")];
const program = ts.createProgram(files, options);
const found = ts.getPreEmitDiagnostics(program);
console.log(ts.formatDiagnostics(found, { getCanonicalFileName: (name) => name, getNewLine: () => "\n", getCurrentDirectory: () => root }).trim());
process.exit(found.length ? 1 : 0);
