"""What turns gradients into steps: AdamW, or SOAP for the matrices and AdamW for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from neurocodec.errors import TrainingError

BETAS = (0.9, 0.98)
EVERY = {"cpu": 10, "cuda": 20}  # steps between two turns of a basis; on a GPU, other work costs less by comparison


class Soap(torch.optim.Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioner, for matrices.

    Vyas et al. 2024, "SOAP: improving and stabilizing Shampoo using Adam". Matrices of one shape are
    stacked and treated in one batched call. A basis is refreshed every `every` steps by one step of
    orthogonal iteration, each shape in its turn, so that no single step waits for all of them. A side
    larger than `largest` is not turned.
    """

    def __init__(
        self, parameters: list[nn.Parameter], every: int | None = None, memory: float = 0.95, largest: int = 400
    ) -> None:
        every = every or EVERY.get(parameters[0].device.type, 10)
        own = {"lr": 1.0, "betas": BETAS, "eps": 1e-8, "every": every, "memory": memory, "largest": largest}
        super().__init__(parameters, own)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            shapes: dict[torch.Size, list[nn.Parameter]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for turn, stack in enumerate(shapes.values()):
                self._step(group, stack, turn)

    def _step(self, group: dict[str, Any], stack: list[nn.Parameter], turn: int) -> None:
        gradient = torch.stack([p.grad for p in stack if p.grad is not None])  # (K, m, n)
        state = self.state[stack[0]]  # of the whole stack
        if not state:
            state["age"] = 0
            state["momentum"] = torch.zeros_like(gradient)
            state["square"] = torch.zeros_like(gradient)
        state["age"] += 1
        age, (beta_1, beta_2) = state["age"], group["betas"]
        self._look(group, state, gradient)
        # The momentum is kept in the eigenbases, too: it turns with them when they are refreshed.
        turned = _turn(state, gradient)
        state["momentum"].lerp_(turned, 1 - beta_1)
        state["square"].lerp_(turned.square_(), 1 - beta_2)
        scale = (1 - beta_2**age) ** 0.5 / (1 - beta_1**age)
        update = (state["momentum"] * scale).div_(state["square"].sqrt().add_(group["eps"]))
        torch._foreach_add_(list(stack), list(_turn_back(state, update).unbind()), alpha=-group["lr"])
        if (age + turn) % group["every"] == 0:
            _refresh(state)

    @staticmethod
    def _look(group: dict[str, Any], state: dict[str, Any], gradient: Tensor) -> None:
        """Update the preconditioners of the sides that are not too large."""
        for side, matrix, size in (("left", "u", gradient.shape[1]), ("right", "v", gradient.shape[2])):
            if size > group["largest"]:
                continue
            seen = gradient @ gradient.mT if side == "left" else gradient.mT @ gradient
            if side in state:
                state[side].lerp_(seen, 1 - group["memory"])
            else:
                state[side], state[matrix] = seen, _eigenvectors(seen)


def _eigenvectors(products: Tensor) -> Tensor:
    """Strongest first. In float64, for MKL finds nan in float32 where a gradient has many silent channels."""
    vectors: Tensor = torch.linalg.eigh(products.double())[1]
    return vectors.flip(-1).to(products.dtype)


def _turn(state: dict[str, Any], x: Tensor) -> Tensor:
    """x (K, m, n) in the eigenbases."""
    x = state["u"].mT @ x if "u" in state else x.clone()
    return x @ state["v"] if "v" in state else x


def _turn_back(state: dict[str, Any], x: Tensor) -> Tensor:
    x = state["u"] @ x if "u" in state else x
    return x @ state["v"].mT if "v" in state else x


def _refresh(state: dict[str, Any]) -> None:
    """Bring the bases nearer to the eigenvectors, strongest first."""
    for basis, matrix, axis in (("u", "left", 1), ("v", "right", 2)):
        if matrix not in state:
            continue
        old = state[basis]
        ahead = _product(state[matrix], old)
        order = (old * ahead).sum(1).argsort(dim=-1, descending=True)  # (K, m) by eigenvalue
        new = _orthonormal(ahead.gather(2, order[:, None, :].expand_as(ahead)), old, order)
        index = order[:, :, None] if axis == 1 else order[:, None, :]
        state["square"] = state["square"].gather(axis, index.expand_as(state["square"]))
        turn = new.mT @ old
        state["momentum"] = turn @ state["momentum"] if axis == 1 else state["momentum"] @ turn.mT
        state[basis] = new


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a @ b, where TF32 would lose the weak directions."""
    return (a.double() @ b.double()).float() if a.is_cuda else a @ b


def _orthonormal(ahead: Tensor, old: Tensor, order: Tensor) -> Tensor:
    """An orthonormal basis (K, m, m) of the columns of ahead, from the first to the last."""
    if not ahead.is_cuda:
        basis: Tensor = torch.linalg.qr(ahead)[0]
        return basis
    new, sound = cholesky_qr(ahead)
    kept = old.gather(2, order[:, None, :].expand_as(old))
    return torch.where(sound[:, None, None], new, kept)


def cholesky_qr(columns: Tensor) -> tuple[Tensor, Tensor]:
    """columns (K, m, m) -> the orthonormal factor of their QR decomposition, and where it is sound (K,).

    By the Cholesky factor of their products, in float64, twice: a GPU does that for all matrices at once, and
    Householder's reflections one by one.
    """
    q = columns.double()
    q = q / torch.linalg.vector_norm(q, dim=1, keepdim=True).clamp_min(1e-300)
    sound = torch.ones(len(q), dtype=torch.bool, device=q.device)
    for _ in range(2):
        products = q.mT @ q
        products.diagonal(dim1=1, dim2=2).add_(1e-13)
        factor, failed = torch.linalg.cholesky_ex(products)
        q = torch.linalg.solve_triangular(factor, q.mT, upper=False).mT
        sound &= failed == 0
    unit = torch.eye(q.shape[1], dtype=q.dtype, device=q.device)
    sound &= (q.mT @ q - unit).abs().amax((1, 2)) < 1e-3  # false for nan
    return q.float(), sound


def make_optimizers(model: nn.Module, name: str) -> list[torch.optim.Optimizer]:
    """The optimizers of a run; their learning rate is set at every step. Raises TrainingError."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if name == "adamw":
        return [torch.optim.AdamW(parameters, lr=1.0, betas=BETAS, weight_decay=0.0)]
    if name != "soap":
        raise TrainingError(f"optimizer {name!r} is not known: use adamw or soap.")
    matrices = {id(p) for n, p in model.named_parameters() if p.dim() == 2 and "table" not in n}
    rest = [p for p in parameters if id(p) not in matrices]
    return [
        Soap([p for p in parameters if id(p) in matrices]),
        torch.optim.AdamW(rest, lr=1.0, betas=BETAS, weight_decay=0.0),
    ]
