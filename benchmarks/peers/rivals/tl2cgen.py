"""Trees as C, by treelite and tl2cgen: in its own runtime, and the same shared object by ctypes alone.

As its documentation says: ``parallel_comp`` splits the source, without which gcc takes long for a large forest; and
``quantize`` compares integers, which is a quarter smaller here and a bit quicker. How often branches are taken, which
``annotate_in`` would bring, is in scikit-learn's trees already.
"""

import shutil
from collections.abc import Mapping, Sequence

from benchmarks.peers.models import Fitted
from benchmarks.peers.rivals.generated import Generated
from infra.runtime import ROOT, pinned

_COMPILE = """
import sys
import joblib
import tl2cgen
import treelite.sklearn
classifier, library = sys.argv[1:]
model = treelite.sklearn.import_model(joblib.load(classifier))
tl2cgen.export_lib(model, toolchain="gcc", libpath=library, params={"parallel_comp": model.num_tree, "quantize": 1})
"""


class BareTl2cgen(Generated):
    """The shared object by ctypes: no numpy, no scipy; it scores a row at a time, on one thread."""

    name = "tl2cgen-bare"
    title = "tl2cgen by ctypes, bare"
    # tl2cgen holds a treelite of its own, 4.1.2, and warns that the model is of a newer one.
    tool = ("tl2cgen==1.0.0", "treelite==4.8.1")
    program = _COMPILE
    code = "libtrees.so"
    modules: Mapping[str, str] = {"handler": "generated_bare", "generated": "generated", "trees": "tl2cgen_trees"}

    def refuses(self, fitted: Fitted) -> str | None:
        """Say that there is no compiler, where there is none."""
        return super().refuses(fitted) if shutil.which("gcc") else "it needs gcc, which is not here"


class CheckedTl2cgen(BareTl2cgen):
    """The same with msgspec's checks, and Powertools' Metrics and Logger."""

    name = "tl2cgen-checked"
    title = "tl2cgen by ctypes, with checks, metrics, Logger"
    checked = True
    modules: Mapping[str, str] = {**BareTl2cgen.modules, "handler": "generated_checked"}


class Tl2cgen(BareTl2cgen):
    """The shared object in tl2cgen's own runtime."""

    name = "tl2cgen"
    title = "tl2cgen in its own runtime, bare"
    modules: Mapping[str, str] = {"handler": "tl2cgen_runtime"}

    def requirements(self, fitted: Fitted) -> Sequence[str]:
        """Return its runtime, and all that this imports."""
        own = ROOT / "requirements.txt"
        return [*self.tool, pinned("numpy", own), pinned("scipy", own), "packaging==26.4"]
