"""PyTorch nets on tables."""

import torch
from torch import nn

import rows
from export.torch_export import add

NET = "net"
DYNAMO = {"exporter": "dynamo"}


def perceptron(last=None):
    layers = [nn.Linear(rows.FEATURES, 24), nn.ReLU(), nn.Linear(24, 16), nn.Tanh(), nn.Linear(16, 3 if last else 1)]
    return nn.Sequential(*layers, *([last] if last else []))


def classes():
    return perceptron(nn.Softmax(dim=1))


def normed():
    return nn.Sequential(
        nn.BatchNorm1d(rows.FEATURES),
        nn.Linear(rows.FEATURES, 24),
        nn.BatchNorm1d(24),
        nn.GELU(),
        nn.Dropout(0.1),
        nn.Linear(24, 16),
        nn.LayerNorm(16),
        nn.SiLU(),
        nn.Linear(16, 1),
    )


class Residual(nn.Module):
    """Blocks that add to what they take, with a gated unit."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(rows.FEATURES, 16)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 32), nn.GLU(dim=1)) for _ in range(2))
        self.last = nn.Linear(16, 1)

    def forward(self, features):
        hidden = torch.nn.functional.leaky_relu(self.first(features))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return self.last(torch.nn.functional.elu(hidden))


class WithIds(nn.Module):
    """Embeddings of ids beside numbers."""

    def __init__(self):
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(count, 4) for count in rows.IDS)
        self.layers = nn.Sequential(nn.Linear(4 * len(rows.IDS) + 4, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, ids, numbers):
        parts = [table(ids[:, at]) for at, table in enumerate(self.tables)]
        return torch.softmax(self.layers(torch.cat([*parts, numbers], dim=1)), dim=1)


class WideAndDeep(nn.Module):
    """A linear part beside a deep one; ids by one summed table."""

    def __init__(self):
        super().__init__()
        self.register_buffer("offsets", torch.tensor([0, rows.IDS[0], rows.IDS[0] + rows.IDS[1]]))
        self.wide = nn.Embedding(sum(rows.IDS), 1)
        self.deep = nn.Sequential(nn.Linear(4, 12), nn.Hardswish(), nn.Linear(12, 1), nn.Softplus())

    def forward(self, ids, numbers):
        return self.wide(ids + self.offsets).sum(dim=1) + self.deep(numbers)


class Factors(nn.Module):
    """A factorisation machine: linear part and pairwise products."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(rows.FEATURES, 1)
        self.factors = nn.Parameter(torch.randn(rows.FEATURES, 4) * 0.1)

    def forward(self, features):
        whole = (features @ self.factors) ** 2
        parts = (features**2) @ (self.factors**2)
        return self.linear(features) + 0.5 * (whole - parts).sum(dim=1, keepdim=True)


class Mixture(nn.Module):
    """Experts that a gate weighs."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList(nn.Linear(rows.FEATURES, 4) for _ in range(3))
        self.gate = nn.Linear(rows.FEATURES, 3)

    def forward(self, features):
        answers = torch.stack([torch.sigmoid(expert(features)) for expert in self.experts], dim=1)
        weights = torch.softmax(self.gate(features), dim=1).unsqueeze(2)
        return (answers * weights).sum(dim=1)


class Autoencoder(nn.Module):
    """The error of each row's reconstruction."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(rows.FEATURES, 3), nn.Tanh(), nn.Linear(3, rows.FEATURES))

    def forward(self, features):
        return ((self.layers(features) - features) ** 2).mean(dim=1, keepdim=True)


class Neighbours(nn.Module):
    """The mean target of the nearest of a table of rows, by distance and top-k."""

    def __init__(self):
        super().__init__()
        self.known = nn.Parameter(torch.randn(40, rows.FEATURES))
        self.values = nn.Parameter(torch.randn(40))

    def forward(self, features):
        distances = ((features.unsqueeze(1) - self.known) ** 2).sum(dim=2)
        _, nearest = torch.topk(distances, 5, dim=1, largest=False)
        return self.values[nearest].mean(dim=1, keepdim=True)


add("net_perceptron", NET, perceptron)
add("net_perceptron_opset9", NET, perceptron, opset=9)
add("net_perceptron_opset11", NET, classes, opset=11, kind="classes")
add("net_perceptron_dynamo", NET, perceptron, opset=18, **DYNAMO)
add("net_classes", NET, classes, opset=13, kind="classes")
add("net_classes_dynamo", NET, classes, opset=20, kind="classes", **DYNAMO)
add("net_float64", NET, perceptron, dtype="float64")
add("net_float64_dynamo", NET, normed, dtype="float64", opset=19, **DYNAMO)
add("net_float16", NET, perceptron, dtype="float16")
add("net_float16_classes", NET, classes, dtype="float16", kind="classes", opset=15)
add("net_float16_dynamo", NET, perceptron, dtype="float16", opset=21, **DYNAMO)
add("net_batch_norm", NET, normed, opset=17)
add("net_batch_norm_opset12", NET, normed, opset=12)
add("net_batch_norm_dynamo", NET, normed, opset=22, **DYNAMO)
add("net_residual", NET, Residual)
add("net_residual_dynamo", NET, Residual, opset=20, **DYNAMO)
add("net_embeddings", NET, WithIds, ("ids", "numbers"), kind="classes")
add("net_embeddings_dynamo", NET, WithIds, ("ids", "numbers"), kind="classes", opset=18, **DYNAMO)
add("net_wide_and_deep", NET, WideAndDeep, ("ids", "numbers"), opset=16)
add("net_wide_and_deep_dynamo", NET, WideAndDeep, ("ids", "numbers"), opset=18, **DYNAMO)
add("net_factors", NET, Factors, opset=14)
add("net_mixture", NET, Mixture)
add("net_mixture_dynamo", NET, Mixture, opset=21, **DYNAMO)
add("net_autoencoder", NET, Autoencoder)
add("net_neighbours", NET, Neighbours)
