from octavo.ir import Graph
def move_transposes(graph: Graph) -> None:
    pass
