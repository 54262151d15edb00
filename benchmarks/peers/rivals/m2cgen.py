"""Trees as plain Python, by m2cgen: no package at all where they are served.

It knows scikit-learn's forests, but neither its histogram boosting nor today's XGBoost. Its documentation says to raise
the recursion limit for ensembles, and to cast where a model casts.
"""

from collections.abc import Mapping

from benchmarks.peers.rivals.generated import Generated

_WRITE = """
import sys
import joblib
import m2cgen
sys.setrecursionlimit(100_000)
classifier, module = sys.argv[1:]
code = m2cgen.export_to_python(joblib.load(classifier))
compile(code, module, "exec")  # Python takes no sum that is nested deeper than 200
with open(module, "w") as file:
    file.write(code)
"""


class BareM2cgen(Generated):
    """The generated module, bare."""

    name = "m2cgen-bare"
    title = "m2cgen, bare"
    tool = ("m2cgen==0.10.0",)
    program = _WRITE
    code = "model.py"
    modules: Mapping[str, str] = {"handler": "generated_bare", "generated": "generated", "trees": "m2cgen_trees"}


class CheckedM2cgen(BareM2cgen):
    """The same with msgspec's checks, and Powertools' Metrics and Logger."""

    name = "m2cgen-checked"
    title = "m2cgen, with checks, metrics, Logger"
    checked = True
    modules: Mapping[str, str] = {**BareM2cgen.modules, "handler": "generated_checked"}
