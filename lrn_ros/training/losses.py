# Copyright 2026 The lrn_ros authors
# SPDX-License-Identifier: Apache-2.0
"""Losses (cross entropy, Lovász, pixel contrast), and the heads that exist in training only."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lrn_ros.errors import UserError
from lrn_ros.model.labels import UNLABELLED
from lrn_ros.networks.blocks import he_initialise
from lrn_ros.networks.ndnet import separable
from lrn_ros.training.recipe import HEADS, Recipe

_FAR = -1e4  # replaces -inf, because a softmax over nothing would give NaN gradients


def class_weights(shares: Tensor, recipe: Recipe) -> Tensor:
    """(K,) float32 loss weights of the classes from their (K,) pixel shares.

    "log" is 1 / ln(weight_offset + share) (ENet, Paszke et al. 2016, section 5.2), "median" the
    median of the shares over the share (SegNet, Badrinarayanan et al. 2017, section 4.1); both to
    the power of weight_power.
    """
    if recipe.class_weights == "none":
        weights = torch.ones_like(shares)
    elif recipe.class_weights == "log":
        weights = 1 / torch.log(recipe.weight_offset + shares)
    else:
        weights = shares[shares > 0].median() / shares.clamp(min=1e-6)
    return weights.pow(recipe.weight_power).float()


def cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, ohem: dict[str, float] | None
) -> Tensor:
    """Weighted cross entropy; its mean over the labelled pixels, divided by their weights.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64, 255 unlabelled.
        weights: (K,).
        ohem: None, or the keys `threshold` and `keep`: online hard example mining (Shrivastava et
            al. 2016) keeps the pixels whose true class has a probability below `threshold`, and
            at least the share `keep` of the labelled pixels, the hardest ones.
    """
    if ohem is None:
        total = F.cross_entropy(logits, labels, weights, ignore_index=UNLABELLED, reduction="sum")
        return total / _weight_of(labels, weights).sum().clamp(min=1e-6)
    losses = F.cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="none").flatten()
    share = _weight_of(labels, weights).flatten()
    labelled = labels.flatten() != UNLABELLED
    count = max(1, math.ceil(ohem["keep"] * int(labelled.sum())))
    ranked = torch.where(labelled, losses.detach(), -1.0)
    hardest = ranked.topk(min(count, len(ranked))).values
    limit = hardest[-1].clamp(max=-math.log(ohem["threshold"]))
    hard = (labelled & (ranked >= limit)).to(losses.dtype) * share
    return (losses * hard).sum() / hard.sum().clamp(min=1e-6)


def lovasz(logits: Tensor, labels: Tensor) -> Tensor:
    """Lovász-Softmax: a convex surrogate of 1 - IoU, mean over the classes that are present.

    The error of a pixel for class c is 1 - p(c) where c is its label and p(c) elsewhere. The loss
    is the Lovász extension of the Jaccard loss at these errors (Berman et al., CVPR 2018, Equations
    8 and 9), over all labelled pixels of the batch. A missed pixel of a rare class counts as much
    as a false one, which is not so in weighted cross entropy.

    Args:
        logits: (B, K, H, W).
        labels: (B, H, W) int64, 255 unlabelled.

    Returns:
        Scalar; 0 where nothing is labelled.
    """
    labelled = labels != UNLABELLED
    truth = labels[labelled]
    probabilities = logits.float().softmax(1).permute(0, 2, 3, 1)[labelled]
    losses = []
    for c in truth.unique().tolist():
        of_class = (truth == c).float()
        errors, order = (of_class - probabilities[:, c]).abs().sort(descending=True)
        found = of_class[order].cumsum(0)
        missed = found[-1] - found
        jaccard = 1 - missed / (missed + torch.arange(1, len(order) + 1, device=order.device))
        losses.append(errors @ torch.diff(jaccard, prepend=jaccard.new_zeros(1)))
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def _weight_of(labels: Tensor, weights: Tensor) -> Tensor:
    """Weight of every pixel, 0 where unlabelled."""
    labelled = labels != UNLABELLED
    return weights[labels.where(labelled, 0)] * labelled


def pixel_contrast(
    embedding: Tensor, labels: Tensor, logits: Tensor, temperature: float, samples: int
) -> Tensor:
    """Supervised contrast between pixels: same class close, other classes apart.

    For a sampled pixel i with the positives P (same class) and negatives N (other classes):
    -mean over p in P of log(exp(i.p / t) / (exp(i.p / t) + sum over n in N of exp(i.n / t))) on
    unit vectors (Wang et al., ICCV 2021, Equation 3; FRM, Equation 6). Every class present gives
    the same number of pixels, half of them misclassified ones where there are enough.

    Args:
        embedding: (B, D, h, w).
        labels: (B, H, W) int64, 255 unlabelled; read at the nearest pixel.
        logits: (B, K, h2, w2), to know which pixels are misclassified; no gradient flows to them.
        temperature: t.
        samples: pixels compared with each other, over all classes.

    Returns:
        Scalar; 0 where fewer than two classes are present.
    """
    size = embedding.shape[2:]
    truth = F.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].long()
    guess = F.interpolate(logits.detach().float(), size, mode="bilinear").argmax(1)
    truth, guess = truth.flatten(), guess.flatten()
    present = [c for c in truth.unique().tolist() if c != UNLABELLED]
    if len(present) < 2:
        return embedding.sum() * 0
    per_class = max(2, samples // len(present))
    chosen = []
    for c in present:
        of_class = torch.nonzero(truth == c).flatten()
        of_class = of_class[torch.randperm(len(of_class), device=of_class.device)]
        wrong = guess[of_class] != c
        hard, easy = of_class[wrong], of_class[~wrong]
        n_hard = max(per_class // 2, per_class - len(easy))
        chosen.append(torch.cat([hard[:n_hard], easy[: per_class - min(n_hard, len(hard))]]))
    index = torch.cat(chosen)
    points = F.normalize(embedding.permute(0, 2, 3, 1).flatten(0, 2)[index].float(), dim=1)
    classes = truth[index]
    similarity = points @ points.T / temperature
    same = classes[:, None] == classes
    positive = same & ~torch.eye(len(index), dtype=torch.bool, device=same.device)
    negative = similarity.masked_fill(same, _FAR).logsumexp(1, keepdim=True)
    terms = torch.logaddexp(similarity, negative) - similarity
    counts = positive.sum(1)
    per_pixel = (terms * positive).sum(1) / counts.clamp(min=1)
    return per_pixel[counts > 0].mean() if bool((counts > 0).any()) else embedding.sum() * 0


SEPARABLE_WIDTH = 128  # channels inside NDNet's auxiliary head


def make_head(kind: str, channels: int, outputs: int) -> nn.Sequential:
    """A head that maps (B, channels, h, w) to (B, outputs, h, w).

    Args:
        kind: "two_convolutions": two 1x1 convolutions with BN and ReLU between them;
            "convolution": one 1x1 convolution, the embedding of FRM's contrast loss; "separable": a
            separable convolution to 128 channels, ReLU and a 1x1 convolution, the auxiliary
            classifier of NDNet's official code, initialised as there.
        channels: channels of the input.
        outputs: channels of the output.
    """
    if kind == "convolution":
        return nn.Sequential(nn.Conv2d(channels, outputs, 1))
    if kind == "separable":
        head = nn.Sequential(
            *separable(channels, SEPARABLE_WIDTH), nn.ReLU(), nn.Conv2d(SEPARABLE_WIDTH, outputs, 1)
        )
        he_initialise(head)
        return head
    return nn.Sequential(
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, outputs, 1),
    )


class TrainingOutputs(NamedTuple):
    """The outputs of a training step: logits (B, K, h, w), and those of the heads or None."""

    logits: Tensor
    auxiliary: Tensor | None
    embedding: Tensor | None


class TrainingNetwork(nn.Module):
    """A network with the heads of its recipe on inner layers, by their module names.

    Args:
        network: has `coarse(x)`.
        recipe: its `auxiliary` and `contrastive` say which layers.
        num_classes: K.

    Raises:
        UserError: the network has no such layer, with those it has.
    """

    def __init__(self, network: nn.Module, recipe: Recipe, num_classes: int) -> None:
        super().__init__()
        self.network = network
        self._seen: dict[str, Tensor] = {}
        self.heads = nn.ModuleDict()
        wanted = {"auxiliary": recipe.auxiliary, "contrastive": recipe.contrastive}
        for head, options in wanted.items():
            if options is not None:
                self._listen(head, options["layer"])
        if self._seen or any(wanted.values()):
            self._build(wanted, num_classes)

    def _listen(self, head: str, layer: str) -> None:
        modules = dict(self.network.named_modules())
        if not layer or layer not in modules:
            known = [n for n in modules if n and n.count(".") < 2]
            raise UserError(f"{head}: no layer {layer!r}; there are {', '.join(known)}")

        def note(module: nn.Module, inputs: Any, output: Tensor) -> None:
            self._seen[head] = output

        modules[layer].register_forward_hook(note)

    def _build(self, wanted: dict[str, dict[str, Any] | None], num_classes: int) -> None:
        training = self.network.training
        with torch.no_grad():
            self.network.eval().coarse(torch.zeros(1, 3, 64, 64))  # type: ignore[operator]
        self.network.train(training)
        for head, features in self._seen.items():
            options = wanted[head] or {}
            outputs = num_classes if head == "auxiliary" else int(options["dim"])
            kind = options.get("head", HEADS[0])
            self.heads[head] = make_head(kind, features.shape[1], outputs)
        self._seen.clear()

    def forward(self, x: Tensor) -> TrainingOutputs:
        """(B, 3, H, W) normalised images -> TrainingOutputs."""
        logits = self.network.coarse(x)  # type: ignore[operator]
        found = {name: head(self._seen[name]) for name, head in self.heads.items()}
        self._seen.clear()
        return TrainingOutputs(logits, found.get("auxiliary"), found.get("contrastive"))


def freeze_batch_norm(network: nn.Module) -> None:
    """Let batch normalisation use its running statistics and leave them alone, until `.train()`."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
