// Types of the pages' JavaScript, as its JSDoc comments say them: `tsc --checkJs`, with the URLs under /vendor known.
import { readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "../..");
const ts = createRequire(join(root, "tests/node_modules/"))("typescript");

const options = {
  allowJs: true,
  checkJs: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  lib: ["lib.es2023.d.ts", "lib.dom.d.ts", "lib.dom.iterable.d.ts"],
};
const vendor = join(import.meta.dirname, "vendor.d.ts");
const files = readdirSync(join(root, "static/js"), { recursive: true })
  .filter((name) => name.endsWith(".js"))
  .map((name) => join(root, "static/js", name));
const host = ts.createCompilerHost(options);
const readFile = host.readFile;
// A URL that begins with a slash is a file's path for the compiler; without it, it is a module that vendor.d.ts declares.
host.getSourceFile = (name, target) => {
  const text = readFile(name);
  return text === undefined ? undefined : ts.createSourceFile(name, text.replaceAll('from "/vendor/', 'from "vendor/'), target);
};
const program = ts.createProgram([vendor, ...files], options, host);
const found = ts.getPreEmitDiagnostics(program);
console.log(ts.formatDiagnostics(found, { ...host, getCurrentDirectory: () => root }).trim());
process.exit(found.length ? 1 : 0);
