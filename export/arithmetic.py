"""What a model's trees and all above them compute, as part of an ONNX graph: one node for each step, in float64.

Sums and products are taken in the order of scikit-learn's own, so that they round as it does. Only what exp and log
round differs, by the last bit or two.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from export import calibration, tree_ensemble
from export.graph import INT64, Graph
from export.refusal import NotFoldable
from export.trees.ensemble import Ensemble, Link
from export.trees.expression import Calibrated, Columns, Expression, Mean, Member


class Arithmetic:
    """Writes an expression of ensembles on raw columns into a graph.

    Parameters
    ----------
    graph : Graph
    rows : str
        The graph's value of the rows to score, [R, F].
    """

    def __init__(self, graph: Graph, rows: str) -> None:
        self._graph = graph
        self._rows = rows
        self._count = 0
        self._written: dict[tuple[int, int | None], str] = {}

    def write(self, expression: Expression, place: int | None = None) -> str:
        """Write what an expression gives, [R, K]; or, where ``place`` is given, that one of its columns, [R, 1]."""
        key = id(expression), place
        if key not in self._written:
            self._written[key] = self._write(expression, place)
        return self._written[key]

    def _write(self, expression: Expression, place: int | None) -> str:
        match expression:
            case Member(ensemble=ensemble):
                raw = self.raw(ensemble, place)
                return raw if expression.gives == "raw" else self._linked(ensemble, raw, place)
            case Mean(of=parts, weights=weights):
                return self._mean([self.write(part, place) for part in parts], weights)
            case Columns(of=part, places=(only,)):
                return self.write(part, only)
            case Calibrated(of=part, calibrators=(calibrator,), n_classes=2) if place == 1:
                return calibration.write(self._graph, calibrator, self.write(part), self._name("calibrated"))
            case _:
                raise NotFoldable(f"{type(expression).__name__} of {expression} has no nodes")

    def raw(self, ensemble: Ensemble, place: int | None = None) -> str:
        """Write the raw sums of an ensemble on raw columns, [R, n_outputs] or [R, 1]."""
        key = id(ensemble), place
        if key not in self._written:
            self._written[key] = self._raw(ensemble, place)
        return self._written[key]

    def _raw(self, ensemble: Ensemble, place: int | None) -> str:
        trees, name = ensemble.trees, self._name("raw")
        if trees.weight.shape[1] == 1:
            return self._sums(ensemble, name)
        if place is None:
            return self._sums_of_vectors(ensemble, name)
        one = replace(trees, weight=trees.weight[:, [place]])
        self._graph.nodes.append(tree_ensemble.node(one, self._rows, name, is_mean=True))
        return name

    def _sums(self, ensemble: Ensemble, name: str) -> str:
        raise NotFoldable(f"sums of {ensemble.n_outputs} outputs have no nodes yet: {name}")

    def _sums_of_vectors(self, ensemble: Ensemble, name: str) -> str:
        """Sum leaves that weigh a number for every class.

        A leaf of ``TreeEnsemble`` weighs one number. So the trees give the place of each one's leaf in a table, and the
        table's rows are added up; by a running sum, because that alone adds in order.
        """
        graph, trees = self._graph, ensemble.trees
        table, place = np.unique(trees.weight, axis=0, return_inverse=True)
        places = replace(trees, weight=place.reshape(-1, 1).astype(float), output=np.arange(len(trees.root)))
        graph.nodes.append(tree_ensemble.node(places, self._rows, f"{name}_place", n_targets=len(trees.root)))
        graph.cast(f"{name}_place", INT64, to=f"{name}_leaf")
        graph.add("Gather", graph.constant(f"{name}_table", table), f"{name}_leaf", to=f"{name}_shares")
        graph.add("CumSum", f"{name}_shares", graph.constant(f"{name}_axis", np.array(1)), to=f"{name}_sums")
        graph.add("Gather", f"{name}_sums", graph.constant(f"{name}_last", np.array(-1)), to=f"{name}_sum", axis=1)
        return graph.add("Div", f"{name}_sum", graph.constant(f"{name}_trees", float(len(trees.root))), to=name)

    def _linked(self, ensemble: Ensemble, raw: str, place: int | None) -> str:
        if ensemble.link is not Link.IDENTITY:
            raise NotFoldable(f"the link {ensemble.link} has no nodes yet, nor has its column {place}")
        return raw

    def _mean(self, parts: list[str], weights: tuple[float, ...]) -> str:
        graph, name = self._graph, self._name("mean")
        terms = [
            graph.add("Mul", part, graph.constant(f"{name}_weight_{i}", weight), to=f"{name}_term_{i}")
            for i, (part, weight) in enumerate(zip(parts, weights, strict=True))
        ]
        total = terms[0]
        for i, term in enumerate(terms[1:], 1):
            total = graph.add("Add", total, term, to=f"{name}_total_{i}")
        return graph.add("Div", total, graph.constant(f"{name}_weights", float(_sum(weights))), to=name)

    def _name(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def _sum(weights: tuple[float, ...]) -> NDArray[np.float64]:
    return np.asarray(np.sum(weights))
