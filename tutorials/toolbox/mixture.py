# Copyright Contributors to the pyro_hypergeo project.
# SPDX-License-Identifier: Apache-2.0

"""For 05_clustering: a variational autoencoder with a mixture of normals as its prior.

Its data are bags of images: ``images`` (bags, places, 784), ``present`` (bags, places), the numbers
of images in stock, ``sizes`` (bags, clusters), and of images in a bag, ``total`` (bags,).
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from pyro_hypergeo import FisherHypergeometric, FisherHypergeometricStraightThrough

CLUSTERS, LATENT = 10, 10


class Bags(NamedTuple):
    images: Tensor
    present: Tensor
    sizes: Tensor
    total: Tensor

    def take(self, rows: Tensor) -> Bags:
        return Bags(*(tensor[rows] for tensor in self))


def one_bag(images: Tensor) -> Bags:
    """A batch as one bag, from a stock in which any cluster has room for the whole batch."""
    size = torch.tensor([float(len(images))])
    present = torch.ones(1, len(images), dtype=torch.bool)
    return Bags(images.unsqueeze(0), present, size.expand(1, CLUSTERS), size)


class MixtureVAE(nn.Module):
    """A variational autoencoder. Its prior is a mixture of normals with diagonal covariances.

    ``prior`` is the prior of the labels of a bag:

    - ``"uniform"``, ``"categorical"``: independent labels, with weights learned in the second;
    - ``"stock"``: independent labels, with weights times the numbers in stock;
    - ``"mean"``: independent labels, with the mean counts of Fisher's law as shares;
    - ``"field"``: Fisher's law of the counts and any labelling with these counts, by mean field;
    - ``"sampled"``: the same law, by ``draws`` straight-through draws of the counts.
    """

    def __init__(self, prior: str = "uniform", draws: int = 1):
        super().__init__()
        self.prior, self.draws = prior, draws
        layers = nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU()
        self.encoder = nn.Sequential(*layers, nn.Linear(128, 2 * LATENT))
        layers = nn.Linear(LATENT, 128), nn.ReLU(), nn.Linear(128, 256), nn.ReLU()
        self.decoder = nn.Sequential(*layers, nn.Linear(256, 784))
        self.head = nn.Linear(LATENT, 32)  # for the contrast in pretraining only
        self.centers = nn.Parameter(torch.zeros(CLUSTERS, LATENT))
        self.log_scales = nn.Parameter(torch.zeros(CLUSTERS, LATENT))
        self.log_weights = nn.Parameter(torch.zeros(CLUSTERS))
        self.gain = nn.Parameter(torch.tensor(1.5))

    def encode(self, images: Tensor) -> Normal:
        mean, log_scale = self.encoder(images).chunk(2, -1)
        return Normal(mean, log_scale.clamp(-5, 1).exp())

    def log_components(self, z: Tensor) -> Tensor:
        normal = Normal(self.centers, self.log_scales.clamp(-4, 3).exp())
        return normal.log_prob(z.unsqueeze(-2)).sum(-1)

    def label_terms(self, components: Tensor, bags: Bags) -> tuple[Tensor, Tensor]:
        """A bound on log p(latent points of a bag), or its value, and q(label)."""
        theta, there = self.log_weights, bags.present.unsqueeze(-1)
        if self.prior in ("field", "sampled"):
            return getattr(self, "_" + self.prior)(components, bags)
        shares = {
            "uniform": lambda: torch.zeros(len(bags.total), CLUSTERS),
            "categorical": lambda: theta.expand(len(bags.total), -1),
            "stock": lambda: theta + bags.sizes.log(),
            "mean": lambda: self._urn(bags).mean.clamp(min=1e-6).log(),
        }[self.prior]()
        joint = components + shares.log_softmax(-1).unsqueeze(-2)
        evidence = torch.where(bags.present, joint.logsumexp(-1), 0.0).sum(-1)
        return evidence, joint.softmax(-1) * there

    def _urn(self, bags: Bags) -> FisherHypergeometric:
        return FisherHypergeometric(bags.total, bags.sizes, log_weights=self.log_weights)

    def _field(self, components: Tensor, bags: Bags) -> tuple[Tensor, Tensor]:
        """q(label = k) ~ w_k (free room of k) p(z | k), in several damped rounds."""
        theta, sizes, there = self.log_weights, bags.sizes, bags.present.unsqueeze(-1)
        urn = self._urn(bags)
        with torch.no_grad():
            prior = urn.mean.clamp(min=1e-6).log().unsqueeze(-2)
            probs = (components + prior).softmax(-1) * there
            for _ in range(6):
                free = (sizes.unsqueeze(-2) - (probs.sum(-2, keepdim=True) - probs)).clamp(min=1e-2)
                prior = torch.lerp(prior, free.log() + theta, 0.5)  # half a step: no oscillation
                probs = (components + prior).softmax(-1) * there
        counts = probs.sum(-2)
        # p(labels) = prod_k w_k^n_k (m_k)_n_k / (n! e_n), at the mean counts
        ways = torch.lgamma(sizes + 1) - torch.lgamma((sizes - counts).clamp(min=0) + 1)
        log_prior = (counts * theta + ways).sum(-1) - torch.lgamma(bags.total + 1)
        terms = (probs * components + torch.special.entr(probs)).sum((-1, -2))
        return terms + log_prior - urn.log_partition, probs

    def _sampled(self, components: Tensor, bags: Bags) -> tuple[Tensor, Tensor]:
        """Counts from q, by straight-through draws; then labels that have these counts."""
        p, total, there = self._urn(bags), bags.total, bags.present.unsqueeze(-1)
        prior = p.mean.clamp(min=1e-6)
        seen = ((components + prior.log().unsqueeze(-2)).softmax(-1) * there).sum(-2)
        theta = self.log_weights + self.gain * ((seen + 0.5) / (prior + 0.5)).log()
        q = FisherHypergeometricStraightThrough(total, bags.sizes, log_weights=theta)
        counts = q.rsample((self.draws,))
        # Shifts of the scores, so that the probabilities of labels add up to the counts. A count of
        # 0 is taken as 0.2, so that the shift stays finite.
        target = counts.clamp(min=0.2)
        target = target * (total.unsqueeze(-1) / target.sum(-1, keepdim=True))
        with torch.no_grad():
            shifts = (target / total.unsqueeze(-1)).log()
            for _ in range(20):
                probs = (components + shifts.unsqueeze(-2)).softmax(-1) * there
                shifts = shifts + (target / probs.sum(-2).clamp(min=1e-6)).log()
        joint = components + shifts.unsqueeze(-2)
        evidence = torch.where(bags.present, joint.logsumexp(-1), 0.0).sum(-1)
        evidence = evidence - (target * shifts).sum(-1)  # log of the sum over labellings
        log_ways = torch.lgamma(total + 1) - torch.lgamma(counts + 1).sum(-1)
        log_ratios = evidence - log_ways + p.log_prob(counts) - q.log_prob(counts)
        importance = log_ratios.softmax(0)[..., None, None]
        bound = log_ratios.logsumexp(0) - math.log(self.draws)
        return bound, (importance * joint.softmax(-1)).sum(0) * there

    def loss(self, bags: Bags, noise: float = 0.3) -> Tensor:
        """Negative ELBO per image; the encoder sees a distorted image."""
        q = self.encode(distorted(bags.images))
        z = q.rsample()
        terms = Normal(self.decoder(z), noise).log_prob(bags.images).sum(-1) - q.log_prob(z).sum(-1)
        terms = torch.where(bags.present, terms, 0.0).sum()
        labels, _ = self.label_terms(self.log_components(z), bags)
        return -(terms + labels.sum()) / bags.total.sum()

    @torch.no_grad()
    def label_probs(self, bags: Bags) -> Tensor:
        return self.label_terms(self.log_components(self.encode(bags.images).mean), bags)[1]


def distorted(images: Tensor) -> Tensor:
    """Images turned, sheared, scaled and moved at random, a little."""
    flat = images.reshape(-1, 1, 28, 28)
    noise = torch.randn(len(flat), 6)
    angle, (wide, high) = 0.25 * noise[:, 0], (0.15 * noise[:, 1:3].T).exp()
    top = torch.stack([angle.cos() * wide, 0.2 * noise[:, 3] - angle.sin(), 0.12 * noise[:, 4]], -1)
    low = torch.stack([angle.sin(), angle.cos() * high, 0.12 * noise[:, 5]], -1)
    grid = F.affine_grid(torch.stack([top, low], -2), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, align_corners=False).reshape(images.shape)


def pretrained(images: Tensor, epochs: int, seed: int) -> tuple[MixtureVAE, Tensor]:
    """An autoencoder with a mixture by k-means on its latent points, and the labels of k-means.

    Two distorted copies of an image shall have like latent points, and unlike those of others.
    """
    torch.manual_seed(seed)
    model = MixtureVAE()
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(250):
            twice = images[rows].repeat(2, 1)
            z = model.encode(distorted(twice)).mean
            point = F.normalize(model.head(z), dim=-1)
            likeness = (point @ point.T / 0.5).fill_diagonal_(-torch.inf)
            partner = torch.arange(len(twice)).roll(len(rows))
            rebuilt = (model.decoder(z) - twice).square().sum(-1).mean()
            optimizer.zero_grad()
            (10 * F.cross_entropy(likeness, partner) + rebuilt).backward()
            optimizer.step()
    with torch.no_grad():
        z = model.encode(images).mean
        fit = KMeans(CLUSTERS, n_init=10, random_state=seed).fit(z.numpy())
        labels = torch.tensor(fit.labels_).long()
        model.centers.copy_(torch.tensor(fit.cluster_centers_))
        spread = (z - model.centers[labels]).square()
        for k in range(CLUSTERS):
            model.log_scales[k] = spread[labels == k].mean(0).log() / 2
        # The encoder starts with small variances. So its latent points hardly move at first.
        model.encoder[-1].bias[LATENT:] -= 2.0
    return model, labels


def trained(
    start: MixtureVAE, prior: str, bags: Bags, epochs: int, seed: int, draws: int = 1
) -> MixtureVAE:
    """A copy of ``start``, trained under this prior; one bag is cut into batches of 250."""
    torch.manual_seed(seed)
    model = copy.deepcopy(start)
    model.prior, model.draws = prior, draws
    own = [model.log_weights, model.gain]
    others = [p for name, p in model.named_parameters() if name not in ("log_weights", "gain")]
    optimizer = torch.optim.Adam([{"params": others}, {"params": own, "lr": 5e-2}], 1e-3)
    alone = len(bags.total) == 1
    for _ in range(epochs):
        for rows in torch.randperm(bags.images.shape[1] if alone else len(bags.total)).split(
            250 if alone else 10
        ):
            optimizer.zero_grad()
            model.loss(one_bag(bags.images[0, rows]) if alone else bags.take(rows)).backward()
            optimizer.step()
    return model


def name_clusters(model: MixtureVAE, bags: Bags) -> None:
    """Order the clusters so that their counts go with the stocks, bag by bag; no label is seen."""
    model.prior = "uniform"
    found = model.label_probs(bags).sum(-2) / bags.total.unsqueeze(-1)
    stock = bags.sizes / bags.sizes.sum(-1, keepdim=True)
    with np.errstate(invalid="ignore"):  # an empty cluster goes with nothing
        together = np.corrcoef(stock.T, found.T)[:CLUSTERS, CLUSTERS:]
    order = linear_sum_assignment(-np.nan_to_num(together))[1]
    with torch.no_grad():
        model.centers.copy_(model.centers[order])
        model.log_scales.copy_(model.log_scales[order])


def clustering_scores(labels: Tensor, truth: Tensor) -> dict[str, float]:
    """Accuracy if clusters are matched to digits in the best way, NMI, and ARI."""
    table = contingency_matrix(truth.numpy(), labels.numpy())
    rows, columns = linear_sum_assignment(-table)
    return {
        "ACC": table[rows, columns].sum() / table.sum(),
        "NMI": normalized_mutual_info_score(truth, labels),
        "ARI": adjusted_rand_score(truth, labels),
    }
