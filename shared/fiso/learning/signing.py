"""Signing: a model's files with their manifest signed, checked as whoever will serve them checks it."""

import base64
from dataclasses import replace

from fiso.domain.errors import ModelRefused
from fiso.ports import ModelFiles, ModelSigner


def signed(files: ModelFiles, signer: ModelSigner) -> ModelFiles:
    """The files with a signature. Raises what the signer raises, and `ModelRefused` for files without a manifest."""
    manifest = files.pointer.manifest
    if manifest is None:
        raise ModelRefused(f"model {files.pointer.version} has no manifest to sign")
    key_id, signature = signer.sign(manifest.text.encode("ascii"))
    sealed = replace(manifest, key_id=key_id, signature=base64.b64encode(signature).decode("ascii"))
    return replace(files, pointer=replace(files.pointer, manifest=sealed))
