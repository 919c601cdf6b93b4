"""Deployment packages: what each function and layer ships, built the same way on every host.

    target      the pinned runtime that wheels are resolved for
    manifest    what each function ships, and how large it may be
    wheels      locked wheels, resolved for the target, stripped, zipped once and cached by the lock
    contents    the function's folder and its part of `shared/`, the packaged model
    sbom        what is in each archive, as a bill of materials
    template    the CloudFormation template, without an account

`build` in `build.py` joins them. Imports no cloud SDK and nothing of what it packages.
"""
