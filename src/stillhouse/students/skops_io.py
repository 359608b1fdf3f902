"""skops' reader and writer, imported without PyTorch: a linear student has no use for it, and importing it takes seconds.

To list the types it trusts, skops has scikit-learn import each of its packages. One of them, an adapter without estimators that
is passed over in that list, imports PyTorch wherever it is installed. An empty module stands in its place meanwhile.
"""

from __future__ import annotations

import sys
from types import ModuleType

ADAPTER = "sklearn.externals.array_api_compat.torch"

__all__ = ["dump", "get_untrusted_types", "load"]

_stands_in = "torch" not in sys.modules and ADAPTER not in sys.modules
if _stands_in:
    sys.modules[ADAPTER] = ModuleType(ADAPTER)
try:
    from skops.io import dump, get_untrusted_types, load
finally:
    if _stands_in:
        del sys.modules[ADAPTER]
