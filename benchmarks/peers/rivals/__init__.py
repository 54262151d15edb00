"""All rivals, in the table's order."""

from benchmarks.peers.rival import Rival, Server
from benchmarks.peers.rivals.bentoml import BentoML
from benchmarks.peers.rivals.floor import Floor, TunedFloor
from benchmarks.peers.rivals.m2cgen import BareM2cgen, CheckedM2cgen
from benchmarks.peers.rivals.mlserver import MLServer
from benchmarks.peers.rivals.project import Bulk, Project, Queue
from benchmarks.peers.rivals.scikit_learn import ScikitLearn
from benchmarks.peers.rivals.skl2onnx import Skl2Onnx
from benchmarks.peers.rivals.tl2cgen import BareTl2cgen, CheckedTl2cgen, Tl2cgen

RIVALS: tuple[Rival, ...] = (
    Project(),
    Queue(),
    Bulk(),
    ScikitLearn(),
    Skl2Onnx(),
    Tl2cgen(),
    BareTl2cgen(),
    CheckedTl2cgen(),
    BareM2cgen(),
    CheckedM2cgen(),
    Floor(),
    TunedFloor(),
)
SERVERS: tuple[Server, ...] = (MLServer(), BentoML())
