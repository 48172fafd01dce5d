"""The decoder's rollout for training, with its gradient written out.

It computes what `AttentionLSTM.rollout` computes, faster, for three reasons:

- An image is decoded for the n_i + 1 steps that its loss counts, not for the longest of the batch.
  Images are sorted by length, so that step t works on the first R_t rows, as in PyTorch's packed
  sequences.
- Backpropagation through time meets every weight at every step. Only what carries from step to
  step is computed there; the gradients of the weights and of the feature map, which are sums over
  the steps, are one matrix product each at the end.
- ReLU(W_k f + W_q h) of a step, (R_t, L, A), is computed again in the backward pass instead of
  being kept, since that costs one addition an entry.

Letters: as in `decoder`; R = Σ R_t = Σ (n_i + 1) rows in all, P = 4 H + A + D.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from mmorderless.models.decoders.dropout import draw_mask, scale_of


class Weights(NamedTuple):
    """The decoder's parameters without those of attention."""

    init_hidden: Tensor  # (H, D)
    init_hidden_bias: Tensor
    init_cell: Tensor  # (H, D)
    init_cell_bias: Tensor
    embedding: Tensor  # (C + 2, E)
    input: Tensor  # (4 H, E + D); (4 H, E) without attention
    recurrent: Tensor  # (4 H, H)
    input_bias: Tensor
    recurrent_bias: Tensor
    classifier: Tensor  # (C + 1, H)
    classifier_bias: Tensor


class AttentionWeights(NamedTuple):
    """Attention's parameters."""

    key: Tensor  # (A, D)
    key_bias: Tensor
    query: Tensor  # (A, H)
    energy: Tensor  # (1, A)
    gate: Tensor  # (D, H)
    gate_bias: Tensor


class Plan(NamedTuple):
    """Which images are decoded at which step.

    Args:
        order: images by falling number of steps, shape (B,).
        rows: R_t, how many of them step t decodes; never rising.
        place: where each of the R rows belongs in (B, T), flattened, shape (R,).
        shape: (B, T).
    """

    order: Tensor
    rows: list[int]
    place: Tensor
    shape: tuple[int, int]


def plan_steps(lengths: Sequence[int], device: torch.device) -> Plan:
    """Sort images by their number of steps.

    Args:
        lengths: steps of each image, at least 1 each.
        device: where the plan's tensors go, in one copy that nothing waits for.
    """
    batch, most = len(lengths), max(lengths)
    order = sorted(range(batch), key=lambda i: -lengths[i])
    rows = [sum(length > t for length in lengths) for t in range(most)]
    place = [i * most + t for t, count in enumerate(rows) for i in order[:count]]
    index = torch.tensor(order + place)
    if device.type == "cuda":
        index = index.pin_memory()
    index = index.to(device, non_blocking=True)
    return Plan(index[:batch], rows, index[batch:], (batch, most))


class Decoded(NamedTuple):
    """What the backward pass needs of the steps; flat: step after step, R rows."""

    pooled: Tensor  # mean of the cells, (B, D), not flat
    inputs: Tensor  # tokens fed, (R,)
    before: Tensor  # h_{t−1}, (R, H)
    hidden: Tensor  # h_t, (R, H)
    cell_before: Tensor  # c_{t−1}, (R, H)
    cell: Tensor  # c_t, (R, H)
    gates: Tensor  # after their nonlinearities, (R, 4 H): input, forget, candidate, output
    projection: Tensor  # all weights of h, stacked, (P, H)


class Attended(NamedTuple):
    """What it needs of attention; images in the plan's order, steps flat."""

    cells: Tensor  # after dropout, (B, L, D)
    keys: Tensor  # W_k f, (B, L, A)
    query: Tensor  # (R, A)
    weights: Tensor  # softmax over the cells, (R, L)
    context: Tensor  # weighted sum of the cells, before its gate, (R, D)
    gate: Tensor  # (R, D)


class PackedRollout(Function):
    """Logits (B, T, C + 1) and tokens (B, T) of a batch whose numbers of steps are known.

    Entries of steps that an image does not have are 0 (logits) and END (tokens).
    """

    @staticmethod
    def forward(
        ctx: Any,
        grid: Tensor,
        plan: Plan,
        feed: Optional[Tensor],
        dropout: float,
        *parameters: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            ctx: PyTorch's context.
            grid: cells, shape (B, L, D).
            plan: from `plan_steps`.
            feed: tokens to feed back instead of the arg max, shape (B, T).
            dropout: probability of dropping an entry of the attended cells.
            *parameters: the fields of `Weights`, and those of `AttentionWeights` if it attends.
        """
        device = grid.device.type
        dtype = grid.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            weights, attention_weights = _cast(parameters, dtype)
            attention, mask = None, None
            if attention_weights is not None:
                cells = grid.to(dtype).index_select(0, plan.order)
                if dropout > 0:
                    mask = draw_mask(cells, dropout)
                    cells.mul_(mask).mul_(scale_of(dropout))
                attention = _Attention.over(cells, attention_weights, sum(plan.rows))
            pooled = grid.mean(1).to(dtype)[plan.order]  # (B, D); not dropped
            logits, tokens, decoded = _decode(pooled, plan, feed, weights, attention)
        ctx.plan, ctx.dropout, ctx.dtype, ctx.num_cells = plan, dropout, dtype, grid.shape[1]
        ctx.num_parameters = len(parameters)
        attended = () if attention is None else attention.saved
        ctx.save_for_backward(mask, *parameters, *decoded, *attended)
        ctx.mark_non_differentiable(tokens)
        return logits, tokens

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logits: Tensor, grad_tokens: Tensor) -> tuple:
        """Backpropagate through time."""
        mask, *tensors = ctx.saved_tensors
        parameters = tensors[: ctx.num_parameters]
        rest = tensors[ctx.num_parameters :]
        decoded = Decoded(*rest[: len(Decoded._fields)])
        with torch.autocast(grad_logits.device.type, enabled=False):
            weights, attention_weights = _cast(parameters, ctx.dtype)
            attention = None
            if attention_weights is not None:
                attended = Attended(*rest[len(Decoded._fields) :])
                attention = _AttentionGradient(attended, attention_weights)
            # (R, C + 1)
            d_logits = grad_logits.to(ctx.dtype).flatten(0, 1).index_select(0, ctx.plan.place)
            d_pooled, *gradients = _backpropagate(d_logits, ctx.plan, decoded, weights, attention)
            d_grid = None
            if ctx.needs_input_grad[0]:
                d_grid = (d_pooled / ctx.num_cells)[:, None].expand(-1, ctx.num_cells, -1)
                if attention is not None:
                    d_grid = attention.of_cells(ctx.plan, mask, scale_of(ctx.dropout)).add_(d_grid)
                unsorted = torch.empty_like(d_grid, memory_format=torch.contiguous_format)
                d_grid = unsorted.index_copy_(0, ctx.plan.order, d_grid)
        gradients = [g.to(parameter.dtype) for g, parameter in zip(gradients, parameters)]
        return d_grid, None, None, None, *gradients


def _cast(
    parameters: Sequence[Tensor], dtype: torch.dtype
) -> tuple[Weights, Optional[AttentionWeights]]:
    cast = [parameter.to(dtype) for parameter in parameters]
    own, rest = cast[: len(Weights._fields)], cast[len(Weights._fields) :]
    return Weights(*own), AttentionWeights(*rest) if rest else None


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Type of softmax and of the LSTM's cell: not below float32."""
    return torch.promote_types(dtype, torch.float32)


def _decode(
    pooled: Tensor,
    plan: Plan,
    feed: Optional[Tensor],
    w: Weights,
    attention: "Optional[_Attention]",
) -> tuple[Tensor, Tensor, Decoded]:
    """Decode step by step: logits (B, T, C + 1), tokens (B, T) and what is to be saved."""
    dtype, wide = pooled.dtype, _wide(pooled.dtype)
    num_rows, (batch, num_steps) = sum(plan.rows), plan.shape
    num_outputs, size = w.classifier.shape
    projection, bias = w.recurrent, w.input_bias + w.recurrent_bias
    if attention is not None:
        projection, bias = attention.stack(projection), attention.stack_bias(bias)
    embeds, attends = w.input.split(
        [w.embedding.shape[1], w.input.shape[1] - w.embedding.shape[1]], 1
    )
    table = None
    if len(w.embedding) <= num_rows:  # else it is cheaper to project the embeddings that occur
        table = w.embedding @ embeds.t()  # (C + 2, 4 H)

    def flat(width: int, kind: torch.dtype) -> Tensor:
        return pooled.new_empty((num_rows, width), dtype=kind)

    saved = Decoded(
        pooled=pooled,
        inputs=plan.place.new_empty(num_rows),
        before=flat(size, dtype),
        hidden=flat(size, dtype),
        cell_before=flat(size, wide),
        cell=flat(size, wide),
        gates=flat(4 * size, wide),
        projection=projection,
    )
    logits, emitted = flat(num_outputs, dtype), plan.place.new_empty(num_rows)
    hidden = torch.addmm(w.init_hidden_bias, pooled, w.init_hidden.t())  # (B, H)
    cell = torch.addmm(w.init_cell_bias, pooled, w.init_cell.t()).to(wide)
    token = plan.order.new_full((batch,), num_outputs)  # START, the token after END
    feed = None if feed is None else feed[plan.order]
    end = 0
    for t, rows in enumerate(plan.rows):
        here, end = slice(end, end + rows), end + rows
        hidden, cell, token = hidden[:rows], cell[:rows], token[:rows]
        saved.before[here], saved.cell_before[here], saved.inputs[here] = hidden, cell, token
        projected = torch.addmm(bias, hidden, projection.t())  # (R_t, P)
        gate = projected[:, : 4 * size]
        if table is not None:
            gate = gate + table[token]
        else:
            gate = torch.addmm(gate, w.embedding[token], embeds.t())
        if attention is not None:
            context = attention.look(here, projected[:, 4 * size :])
            gate = torch.addmm(gate, context, attends.t())
        activated = saved.gates[here]
        i, f, g, o = activated.split(size, 1)
        for squash, raw, out in zip(
            (torch.sigmoid, torch.sigmoid, torch.tanh, torch.sigmoid),
            gate.to(wide).split(size, 1),
            (i, f, g, o),
        ):
            squash(raw, out=out)
        cell = f * cell + i * g
        hidden = (o * cell.tanh()).to(dtype)
        saved.cell[here], saved.hidden[here] = cell, hidden
        torch.addmm(w.classifier_bias, hidden, w.classifier.t(), out=logits[here])
        emitted[here] = logits[here].argmax(1)
        token = emitted[here] if feed is None else feed[:rows, t]
    everywhere = logits.new_zeros(batch * num_steps, num_outputs)
    everywhere.index_copy_(0, plan.place, logits)
    tokens = emitted.new_full((batch * num_steps,), num_outputs - 1)
    tokens.index_copy_(0, plan.place, emitted)
    return everywhere.view(batch, num_steps, -1), tokens.view(batch, num_steps), saved


class _Attention:
    """Attention over the cells of one rollout.

    Args:
        saved: cells and keys, and room for what the steps leave.
        weights: the parameters.
    """

    def __init__(self, saved: Attended, weights: AttentionWeights) -> None:
        self.saved = saved
        self.weights = weights

    @classmethod
    def over(cls, cells: Tensor, w: AttentionWeights, num_rows: int) -> "_Attention":
        """Compute the keys: one mask per rollout, not per step, so that W_k f is computed once."""
        batch, num_cells, channels = cells.shape
        keys = torch.addmm(w.key_bias, cells.flatten(0, 1), w.key.t())
        saved = Attended(
            cells=cells,
            keys=keys.view(batch, num_cells, -1),
            query=cells.new_empty(num_rows, len(w.key)),
            weights=cells.new_empty(num_rows, num_cells),
            context=cells.new_empty(num_rows, channels),
            gate=cells.new_empty(num_rows, channels),
        )
        return cls(saved, w)

    def stack(self, recurrent: Tensor) -> Tensor:
        """Weights of all that is linear in h, for one product: gates, query, context gate."""
        return torch.cat([recurrent, self.weights.query, self.weights.gate])  # (P, H)

    def stack_bias(self, bias: Tensor) -> Tensor:
        """Bias of the same, (P,); the query has none, since the keys have one."""
        w = self.weights
        return torch.cat([bias, bias.new_zeros(len(w.query)), w.gate_bias])

    def look(self, here: slice, projected: Tensor) -> Tensor:
        """Context of a step after its gate, (R_t, D).

        Args:
            here: the step's rows.
            projected: what the hidden state gives for query and gate, (R_t, A + D).
        """
        saved, rows = self.saved, here.stop - here.start
        query, gate = projected.split([saved.query.shape[1], saved.gate.shape[1]], 1)
        saved.query[here] = query
        torch.sigmoid(gate, out=saved.gate[here])
        energy = self.raised(here).flatten(0, 1) @ self.weights.energy[0]
        saved.weights[here] = energy.view(rows, -1).to(_wide(energy.dtype)).softmax(1)
        context = saved.context[here]
        torch.bmm(saved.weights[here][:, None], saved.cells[:rows], out=context[:, None])
        return context * saved.gate[here]

    def raised(self, here: slice) -> Tensor:
        """ReLU(W_k f + W_q h) of a step's rows, (R_t, L, A)."""
        keys = self.saved.keys[: here.stop - here.start]
        return (keys + self.saved.query[here][:, None]).relu_()


def _backpropagate(
    d_logits: Tensor,
    plan: Plan,
    saved: Decoded,
    w: Weights,
    attention: "Optional[_AttentionGradient]",
) -> list[Tensor]:
    """Gradients of the pooled cells and of all parameters, in their order."""
    dtype, wide = d_logits.dtype, _wide(d_logits.dtype)
    size, embed_size = w.classifier.shape[1], w.embedding.shape[1]
    embeds, attends = w.input.split([embed_size, w.input.shape[1] - embed_size], 1)
    d_hidden = d_logits @ w.classifier  # (R, H)
    d_projected = d_hidden.new_empty(len(d_hidden), len(saved.projection))  # (R, P)
    carried = carried_cell = d_hidden.new_zeros(0, size, dtype=wide)  # from step t + 1
    begin = len(d_hidden)
    for rows in reversed(plan.rows):
        here, begin = slice(begin - rows, begin), begin - rows
        dh = d_hidden[here].to(wide, copy=True)
        dh[: len(carried)] += carried
        i, f, g, o = saved.gates[here].split(size, 1)
        squashed = saved.cell[here].tanh()
        dc = dh * o * (1 - squashed * squashed)
        dc[: len(carried_cell)] += carried_cell
        d_gates = d_projected[here, : 4 * size]
        d_i, d_f, d_g, d_o = d_gates.split(size, 1)
        d_i.copy_(dc * g * i * (1 - i))
        d_f.copy_(dc * saved.cell_before[here] * f * (1 - f))
        d_g.copy_(dc * i * (1 - g * g))
        d_o.copy_(dh * squashed * o * (1 - o))
        if attention is not None:
            attention.step(here, d_gates @ attends, d_projected[here, 4 * size :])
        carried, carried_cell = (d_projected[here] @ saved.projection).to(wide), dc * f

    # Sums over the steps, each as one product.
    d_gates = d_projected[:, : 4 * size]
    d_projection, d_bias = d_projected.t() @ saved.before, d_projected.sum(0)  # (P, H), (P,)
    d_input = torch.empty_like(w.input)  # (4 H, E + D)
    d_embeds, d_attends = d_input.split([embed_size, w.input.shape[1] - embed_size], 1)
    if len(w.embedding) <= len(d_gates):
        d_table = d_gates.new_zeros(len(w.embedding), 4 * size)
        d_table.index_add_(0, saved.inputs, d_gates)
        d_embedding = d_table @ embeds
        torch.mm(d_table.t(), w.embedding, out=d_embeds)
    else:
        d_embedding = torch.zeros_like(w.embedding)
        d_embedding.index_add_(0, saved.inputs, d_gates @ embeds)
        torch.mm(d_gates.t(), w.embedding[saved.inputs], out=d_embeds)
    if attention is not None:
        torch.mm(d_gates.t(), attention.gated_context(), out=d_attends)
    d_first, d_first_cell = carried.to(dtype), carried_cell.to(dtype)  # of h_0 and c_0
    gradients = Weights(
        init_hidden=d_first.t() @ saved.pooled,
        init_hidden_bias=d_first.sum(0),
        init_cell=d_first_cell.t() @ saved.pooled,
        init_cell_bias=d_first_cell.sum(0),
        embedding=d_embedding,
        input=d_input,
        recurrent=d_projection[: 4 * size],
        input_bias=d_bias[: 4 * size],
        # Not the same memory: a parameter's gradient is changed in place (clipping, unscaling).
        recurrent_bias=d_bias[: 4 * size].clone(),
        classifier=d_logits.t() @ saved.hidden,
        classifier_bias=d_logits.sum(0),
    )
    of_attention: Sequence[Tensor] = ()
    if attention is not None:
        of_attention = attention.of_weights(d_projection[4 * size :], d_bias[4 * size :])
    d_pooled = d_first @ w.init_hidden + d_first_cell @ w.init_cell  # (B, D)
    return [d_pooled, *gradients, *of_attention]


class _AttentionGradient(_Attention):
    """Gradient of `_Attention`, step by step from the last."""

    def __init__(self, saved: Attended, weights: AttentionWeights) -> None:
        super().__init__(saved, weights)
        self.d_context = torch.empty_like(saved.context)  # (R, D)
        self.d_keys = torch.zeros_like(saved.keys)  # (B, L, A)
        wide = _wide(saved.keys.dtype)
        self.d_energy = torch.zeros_like(weights.energy, dtype=wide)  # (1, A)

    def step(self, here: slice, d_gated: Tensor, d_projected: Tensor) -> None:
        """Take a step back.

        Args:
            here: the step's rows.
            d_gated: gradient of the context after its gate, (R_t, D).
            d_projected: filled with the gradient of query and gate, (R_t, A + D).
        """
        saved, rows = self.saved, here.stop - here.start
        d_query, d_gate = d_projected.split([saved.query.shape[1], saved.gate.shape[1]], 1)
        gate = saved.gate[here]
        d_gate.copy_(d_gated * saved.context[here] * gate * (1 - gate))
        d_context = self.d_context[here]
        torch.mul(d_gated, gate, out=d_context)
        alpha = saved.weights[here].to(self.d_energy.dtype)  # (R_t, L)
        d_alpha = torch.bmm(saved.cells[:rows], d_context[:, :, None])[:, :, 0].to(alpha.dtype)
        d_score = alpha * (d_alpha - (alpha * d_alpha).sum(1, keepdim=True))
        d_score = d_score.to(saved.keys.dtype)  # (R_t, L)
        raised = self.raised(here)  # (R_t, L, A)
        self.d_energy[0] += d_score.flatten() @ raised.flatten(0, 1)
        d_raised = (raised > 0) * d_score[:, :, None]
        d_raised *= self.weights.energy[0]
        self.d_keys[:rows] += d_raised
        d_query.copy_(d_raised.sum(1))

    def gated_context(self) -> Tensor:
        """The contexts that went into the gates, flat (R, D)."""
        return self.saved.context * self.saved.gate

    def of_weights(self, d_projection: Tensor, d_bias: Tensor) -> AttentionWeights:
        """Gradients of the parameters.

        Args:
            d_projection: of query and gate, stacked, (A + D, H).
            d_bias: of the same, (A + D,).
        """
        sizes = [self.saved.query.shape[1], self.saved.gate.shape[1]]
        d_query, d_gate = d_projection.split(sizes)
        return AttentionWeights(
            key=self.d_keys.flatten(0, 1).t() @ self.saved.cells.flatten(0, 1),
            key_bias=self.d_keys.sum((0, 1)),
            query=d_query,
            energy=self.d_energy,
            gate=d_gate,
            gate_bias=d_bias.split(sizes)[1],
        )

    def of_cells(self, plan: Plan, mask: Optional[Tensor], scale: float) -> Tensor:
        """Gradient of the cells before dropout, (B, L, D) in the plan's order."""
        weights, d_context = (by_image(x, plan) for x in (self.saved.weights, self.d_context))
        d_cells = torch.bmm(weights.transpose(1, 2), d_context)
        d_cells.view(-1, d_cells.shape[2]).addmm_(self.d_keys.flatten(0, 1), self.weights.key)
        return d_cells if mask is None else d_cells.mul_(mask).mul_(scale)


def by_image(rows: Tensor, plan: Plan) -> Tensor:
    """Arrange flat rows (R, X) by image, in the plan's order, and step: (B, T, X), 0 elsewhere."""
    arranged = rows.new_zeros(*plan.shape, rows.shape[1])
    end = 0
    for t, count in enumerate(plan.rows):
        begin, end = end, end + count
        arranged[:count, t] = rows[begin:end]
    return arranged
