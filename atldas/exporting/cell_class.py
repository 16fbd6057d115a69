"""A fixed cell as the text of a class of its own: one line for each node."""

from __future__ import annotations

from ..cell import Cell
from .layout import WIDTH, Call, laid_out


def cell_class(name: str, cell: Cell) -> str:
    """The class's text. It takes in_channels, channels, stride and input_strides; without adapters the inner two."""
    adapted, genotype = cell.place.adapted, cell.genotype
    arguments = "in_channels, channels, stride, input_strides" if adapted else "channels, stride"
    inputs = [f"x{i}" for i in range(genotype.inputs)]
    lines = [
        f"class {name}(nn.Module):",
        f'    """The {cell.place.kind} cell.',
        "",
        f"    {_shapes(cell)}.",
        '    """',
        "",
        f"    def __init__(self, {arguments}):",
        "        super().__init__()",
    ]
    if adapted:
        lines += [
            "        # Inputs are brought to `channels` channels, and to the size of the smallest of them.",
            "        self.adapters = nn.ModuleList(",
            "            FactorizedReduce(c, channels) if s == 2 else conv_bn(c, channels)",
            "            for c, s in zip(in_channels, input_strides)",
            "        )",
        ]
    lines += ["        self.edges = nn.ModuleDict({", *_edges(cell), "        })", ""]
    lines += [f"    def forward(self, {', '.join(inputs)}):"]
    if adapted:
        lines += [f"        x{i} = self.adapters[{i}](x{i})" for i in range(genotype.inputs)]
    for node, edges in enumerate(genotype.nodes, start=genotype.inputs):
        terms = [f'self.edges["{node}_from_{edge.input}"].{edge.operation}(x{edge.input})' for edge in edges]
        if not all(edge.operation.isidentifier() for edge in edges):
            terms = [f'self.edges["{node}_from_{e.input}"]["{e.operation}"](x{e.input})' for e in edges]
        lines += _sum(node, terms)
    lines.append(f"        return torch.cat([{', '.join(f'x{node}' for node in genotype.concat)}], dim=1)")
    return "\n".join(lines)


def _edges(cell: Cell) -> list[str]:
    """The operations by edge, in the order of the cell's state dict."""
    grouped: dict[tuple[int, int], dict[str, str]] = {}
    for node, edge in cell.genotype.edges():
        stride = "stride" if edge.input < cell.genotype.inputs else "1"
        made = f'OPERATIONS["{edge.operation}"](channels, {stride})'
        grouped.setdefault((node, edge.input), {})[edge.operation] = made
    lines = []
    for (node, source), operations in grouped.items():
        call = Call("nn.ModuleDict({", [(f'"{name}": ', text) for name, text in operations.items()], "})")
        lines.append(laid_out(call, f'            "{node}_from_{source}": ', ","))
    return lines


def _sum(node: int, terms: list[str]) -> list[str]:
    line = f"        x{node} = " + " + ".join(terms)
    if len(line) <= WIDTH:
        return [line]
    inner = [f"            {'+ ' if n else ''}{term}" for n, term in enumerate(terms)]
    return [f"        x{node} = (", *inner, "        )"]


def _shapes(cell: Cell) -> str:
    count = len(cell.genotype.concat)
    channels, size = ("in_channels[i]", "H * input_strides[i]") if cell.place.adapted else ("channels", "H")
    width = size.replace("H", "W")
    return f"Inputs [N, {channels}, {size}, {width}] -> [N, {count} * channels, H / stride, W / stride]"
