"""All rivals, in the table's order."""

from benchmarks.peers.rival import Rival, Server
from benchmarks.peers.rivals.floor import Floor, TunedFloor
from benchmarks.peers.rivals.project import Bulk, Project, Queue
from benchmarks.peers.rivals.scikit_learn import ScikitLearn
from benchmarks.peers.rivals.skl2onnx import Skl2Onnx

RIVALS: tuple[Rival, ...] = (Project(), Queue(), Bulk(), ScikitLearn(), Skl2Onnx(), Floor(), TunedFloor())
SERVERS: tuple[Server, ...] = ()
