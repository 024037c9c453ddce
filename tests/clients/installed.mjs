// Loads a package from the folder node_modules that TALLYCAST_NODE_MODULES names: nothing is installed beside the sources.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const folder = process.env.TALLYCAST_NODE_MODULES;
if (!folder) throw new Error('TALLYCAST_NODE_MODULES does not say where the packages are: run scripts/test');
const require = createRequire(join(folder, 'anything.js'));

export async function load(name) {
  return require(name);
}
