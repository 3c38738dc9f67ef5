from octavo.ir import Graph
def fuse(graph: Graph) -> None:
    pass
