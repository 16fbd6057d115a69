"""npm's package of ONNX Runtime for browsers, where it was fetched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cheapmatting.server.browser_runtime import FETCH, TARBALL

RUNTIME = Path(os.environ.get("ONNXRUNTIME_WEB", Path(__file__).parents[2] / TARBALL))
NEEDS_RUNTIME = pytest.mark.skipif(not RUNTIME.exists(), reason=f"{TARBALL} is not here: {FETCH}")
