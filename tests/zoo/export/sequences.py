"""PyTorch nets on sequences: recurrent, convolutional, attention, N-BEATS."""

import math

import torch
from torch import nn

import rows
from export.torch_export import add

RECURRENT, CONVOLUTION, ATTENTION, BEATS = "recurrent", "convolution", "attention", "N-BEATS"
SEQUENCE, SERIES = ("sequence",), ("series",)
DYNAMO = {"exporter": "dynamo"}
WIDTH = 8


class Recurrent(nn.Module):
    """A recurrent net, its last state to one number."""

    def __init__(self, kind, *, last="step", **options):
        super().__init__()
        self.net = kind(rows.CHANNELS, WIDTH, batch_first=True, **options)
        self.last = last
        width = WIDTH * (2 if options.get("bidirectional") else 1)
        self.head = nn.Linear(width, 1)

    def forward(self, sequence):
        steps, state = self.net(sequence)
        if self.last == "step":
            return self.head(steps[:, -1, :])
        if self.last == "mean":
            return self.head(steps.mean(dim=1))
        hidden = state[0] if isinstance(state, tuple) else state
        return self.head(torch.cat([hidden[-2], hidden[-1]], dim=1))


class WithAttention(nn.Module):
    """An LSTM whose steps are weighed."""

    def __init__(self):
        super().__init__()
        self.net = nn.LSTM(rows.CHANNELS, WIDTH, batch_first=True)
        self.weigh = nn.Linear(WIDTH, 1)
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, sequence):
        steps, _ = self.net(sequence)
        weights = torch.softmax(self.weigh(torch.tanh(steps)), dim=1)
        return torch.softmax(self.head((steps * weights).sum(dim=1)), dim=1)


class Causal(nn.Module):
    """A dilated convolution that sees no later step, with a shortcut."""

    def __init__(self, before, after, dilation):
        super().__init__()
        self.padding = 2 * dilation
        self.net = nn.Conv1d(before, after, 3, dilation=dilation)
        self.shortcut = nn.Conv1d(before, after, 1)

    def forward(self, x):
        padded = nn.functional.pad(x, (self.padding, 0))
        return torch.relu(self.net(padded)) + self.shortcut(x)


def tcn():
    """A temporal convolutional net (Bai, Kolter, Koltun 2018)."""
    return Temporal(nn.Sequential(Causal(rows.CHANNELS, WIDTH, 1), Causal(WIDTH, WIDTH, 2), Causal(WIDTH, WIDTH, 4)))


class Temporal(nn.Module):
    """Convolutions, then the last step to one number."""

    def __init__(self, layers):
        super().__init__()
        self.layers = layers
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, sequence):
        return self.head(self.layers(sequence.transpose(1, 2))[:, :, -1])


class Pooled(nn.Module):
    """Convolutions with norm and pooling, then both kinds of global pooling."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(rows.CHANNELS, WIDTH, 3, padding=1),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.MaxPool1d(2),
            nn.Conv1d(WIDTH, WIDTH, 3, padding=1, groups=2),
            nn.ReLU(),
        )
        self.head = nn.Linear(2 * WIDTH, 1)

    def forward(self, sequence):
        found = self.layers(sequence.transpose(1, 2))
        return self.head(torch.cat([found.mean(dim=2), found.amax(dim=2)], dim=1))


class Beats(nn.Module):
    """N-BEATS (Oreshkin et al. 2020): blocks that take away what they explain."""

    def __init__(self, horizon=4, length=32):
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(length, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, length + horizon)
            )
            for _ in range(3)
        )
        self.length = length

    def forward(self, series):
        level = series[:, -1:]
        rest, forecast = series - level, 0.0
        for block in self.blocks:
            found = block(rest)
            rest = rest - found[:, : self.length]
            forecast = forecast + found[:, self.length :]
        return forecast + level


class Encoder(nn.Module):
    """Attention layers over the steps, with places by sines."""

    def __init__(self, layers=2):
        super().__init__()
        self.first = nn.Linear(rows.CHANNELS, WIDTH)
        places = torch.arange(rows.STEPS)[:, None] / torch.pow(1000.0, torch.arange(0, WIDTH, 2) / WIDTH)
        self.register_buffer("places", torch.stack([places.sin(), places.cos()], dim=2).reshape(rows.STEPS, WIDTH))
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True, activation="gelu")
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, sequence):
        return self.head(self.layers(self.first(sequence) + self.places).mean(dim=1))


class CausalAttention(nn.Module):
    """One attention head by hand, with a mask."""

    def __init__(self):
        super().__init__()
        self.parts = nn.Linear(rows.CHANNELS, 3 * WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 1)
        self.register_buffer("mask", torch.full((rows.STEPS, rows.STEPS), -1e9).triu(1))

    def forward(self, sequence):
        query, key, value = self.parts(sequence).chunk(3, dim=2)
        weights = query @ key.transpose(1, 2) / math.sqrt(WIDTH) + self.mask
        return self.head(self.norm(torch.softmax(weights, dim=2) @ value)[:, -1, :])


def recurrent(kind, **options):
    return lambda: Recurrent(kind, **options)


add("lstm", RECURRENT, recurrent(nn.LSTM), SEQUENCE)
add("lstm_opset9", RECURRENT, recurrent(nn.LSTM), SEQUENCE, opset=9)
add("lstm_opset14", RECURRENT, recurrent(nn.LSTM), SEQUENCE, opset=14)
add("lstm_dynamo", RECURRENT, recurrent(nn.LSTM), SEQUENCE, opset=18, **DYNAMO)
add("lstm_stacked", RECURRENT, recurrent(nn.LSTM, num_layers=2), SEQUENCE)
add("lstm_both_ways", RECURRENT, recurrent(nn.LSTM, bidirectional=True, last="mean"), SEQUENCE)
add(
    "lstm_both_ways_dynamo",
    RECURRENT,
    recurrent(nn.LSTM, bidirectional=True, last="mean"),
    SEQUENCE,
    opset=20,
    **DYNAMO,
)
add("lstm_stacked_both_ways", RECURRENT, recurrent(nn.LSTM, num_layers=2, bidirectional=True, last="state"), SEQUENCE)
add("lstm_float64", RECURRENT, recurrent(nn.LSTM), SEQUENCE, dtype="float64")
add("lstm_float16", RECURRENT, recurrent(nn.LSTM), SEQUENCE, dtype="float16")
add("lstm_attention", RECURRENT, WithAttention, SEQUENCE, kind="classes")
add("gru", RECURRENT, recurrent(nn.GRU), SEQUENCE)
add("gru_dynamo", RECURRENT, recurrent(nn.GRU), SEQUENCE, opset=18, **DYNAMO)
add("gru_stacked_both_ways", RECURRENT, recurrent(nn.GRU, num_layers=2, bidirectional=True, last="state"), SEQUENCE)
add("gru_float64", RECURRENT, recurrent(nn.GRU, num_layers=2), SEQUENCE, dtype="float64")
add("rnn_tanh", RECURRENT, recurrent(nn.RNN), SEQUENCE)
add("rnn_relu", RECURRENT, recurrent(nn.RNN, nonlinearity="relu", num_layers=2), SEQUENCE, opset=15)
add("rnn_both_ways", RECURRENT, recurrent(nn.RNN, bidirectional=True, last="state"), SEQUENCE)
add("rnn_dynamo", RECURRENT, recurrent(nn.RNN), SEQUENCE, opset=18, **DYNAMO)
add("tcn", CONVOLUTION, tcn, SEQUENCE)
add("tcn_opset11", CONVOLUTION, tcn, SEQUENCE, opset=11)
add("tcn_dynamo", CONVOLUTION, tcn, SEQUENCE, opset=18, **DYNAMO)
add("tcn_float64", CONVOLUTION, tcn, SEQUENCE, dtype="float64")
add("tcn_float16", CONVOLUTION, tcn, SEQUENCE, dtype="float16")
add("convolutions_pooled", CONVOLUTION, Pooled, SEQUENCE)
add("convolutions_pooled_dynamo", CONVOLUTION, Pooled, SEQUENCE, opset=22, **DYNAMO)
add("beats", BEATS, Beats, SERIES)
add("beats_dynamo", BEATS, Beats, SERIES, opset=20, **DYNAMO)
add("attention_encoder", ATTENTION, Encoder, SEQUENCE)
add("attention_encoder_opset14", ATTENTION, Encoder, SEQUENCE, opset=14)
add("attention_encoder_dynamo", ATTENTION, Encoder, SEQUENCE, opset=20, **DYNAMO)
add("attention_encoder_float64", ATTENTION, Encoder, SEQUENCE, dtype="float64")
add("attention_causal", ATTENTION, CausalAttention, SEQUENCE, opset=13)
add("attention_causal_dynamo", ATTENTION, CausalAttention, SEQUENCE, opset=23, **DYNAMO)
