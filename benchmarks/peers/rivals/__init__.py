"""All rivals, in the table's order."""

from benchmarks.peers.rival import Rival, Server
from benchmarks.peers.rivals.floor import Floor, TunedFloor

RIVALS: tuple[Rival, ...] = (Floor(), TunedFloor())
SERVERS: tuple[Server, ...] = ()
