"""The catalog on the command line: `fiso.yaml`, what it would change, and the commands that write a version."""
