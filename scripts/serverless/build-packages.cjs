// Builds the deployment packages before `serverless package` and `serverless deploy` look for them.
//
// serverless.yml names ready archives under build/<stage>/. osls compares a deployment with the last one only by the archives
// in its package folder, so they are laid there too; and it keeps an unchanged layer out of a deployment, which would
// then differ from the next one, so the layer always goes along. With both, an unchanged deployment is "no changes".
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

class BuildPackages {
  constructor(serverless, options, { progress }) {
    this.serverless = serverless;
    this.options = options;
    this.progress = progress;
    this.hooks = {
      'before:package:initialize': () => this.build([]),
      'before:deploy:function:initialize': () => this.build(['--only', this.options.function]),
      'after:package:createDeploymentArtifacts': () => this.layOut(),
      'after:package:compileLayers': () => this.takeLayersAlong(),
    };
  }

  get stage() {
    return this.serverless.getProvider('aws').getStage();
  }

  python() {
    const own = path.join(this.serverless.serviceDir, '.venv', 'bin', 'python');
    return process.env.FISO_PYTHON || (fs.existsSync(own) ? own : 'python3');
  }

  build(only) {
    this.progress.create({ name: 'fiso', message: 'Building packages' });
    const done = spawnSync(this.python(), ['-m', 'fiso_cli.packaging', '--stage', this.stage, ...only], {
      cwd: this.serverless.serviceDir,
      encoding: 'utf8',
    });
    this.progress.get('fiso').remove();
    if (done.error) throw new this.serverless.classes.Error(`cannot build packages: ${done.error.message}`);
    if (done.status !== 0) throw new this.serverless.classes.Error(`cannot build packages: ${done.stderr.trim()}`);
    process.stderr.write(done.stdout);
  }

  archives() {
    const { functions, layers } = this.serverless.service;
    return [...Object.values(functions), ...Object.values(layers || {})]
      .map((part) => part.package && part.package.artifact)
      .filter(Boolean)
      .map((artifact) => path.resolve(this.serverless.serviceDir, artifact));
  }

  layOut() {
    const folder = this.serverless.service.package.path || path.join(this.serverless.serviceDir, '.serverless');
    fs.mkdirSync(folder, { recursive: true });
    for (const archive of this.archives()) {
      fs.copyFileSync(archive, path.join(folder, path.basename(archive)));
    }
  }

  takeLayersAlong() {
    for (const layer of Object.values(this.serverless.service.layers || {})) delete layer.artifactAlreadyUploaded;
  }
}

module.exports = BuildPackages;
