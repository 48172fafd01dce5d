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

from .dropout import draw_mask, scale_of


class Weights(NamedTuple):
    """The decoder's parameters, in the order in which `PackedRollout` takes them."""

    init_hidden: Tensor  # (H, D)
    init_hidden_bias: Tensor
    init_cell: Tensor  # (H, D)
    init_cell_bias: Tensor
    embedding: Tensor  # (C + 2, E)
    input: Tensor  # (4 H, E + D)
    recurrent: Tensor  # (4 H, H)
    input_bias: Tensor
    recurrent_bias: Tensor
    classifier: Tensor  # (C + 1, H)
    classifier_bias: Tensor
    key: Optional[Tensor] = None  # (A, D); this and what follows: None without attention
    key_bias: Optional[Tensor] = None
    query: Optional[Tensor] = None  # (A, H)
    energy: Optional[Tensor] = None  # (1, A)
    gate: Optional[Tensor] = None  # (D, H)
    gate_bias: Optional[Tensor] = None


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


class Saved(NamedTuple):
    """What the backward pass needs of a forward pass; "flat" is step after step, R rows."""

    grid: Tensor  # sorted and dropped, (B, L, D)
    mask: Optional[Tensor]  # of the dropout, (B, L, D)
    keys: Optional[Tensor]  # (B, L, A)
    pooled: Tensor  # (B, D)
    inputs: Tensor  # tokens fed, flat
    before: Tensor  # h_{t−1}, flat (R, H)
    hidden: Tensor  # h_t, flat
    cell_before: Tensor  # c_{t−1}, flat
    cell: Tensor  # c_t, flat
    gates: Tensor  # after their nonlinearities, flat (R, 4 H): input, forget, candidate, output
    attention: Optional[Tensor]  # flat (R, L)
    attended: Optional[Tensor]  # before the context gate, flat (R, D)
    context_gate: Optional[Tensor]  # flat (R, D)
    query: Optional[Tensor]  # flat (R, A)


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
        *parameters: Optional[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Decode.

        Args:
            ctx: PyTorch's context.
            grid: cells, shape (B, L, D).
            plan: from `plan_steps`.
            feed: tokens to feed back instead of the arg max, shape (B, T).
            dropout: probability of dropping an entry of the attended cells.
            *parameters: in the order of `Weights`.
        """
        device = grid.device.type
        ctx.dtype = grid.dtype
        if torch.is_autocast_enabled(device):
            ctx.dtype = torch.get_autocast_dtype(device)
        with torch.autocast(device, enabled=False):
            logits, tokens, saved = _forward(grid, plan, feed, dropout, parameters, ctx.dtype)
        ctx.plan, ctx.dropout, ctx.num_cells = plan, dropout, grid.shape[1]
        ctx.num_parameters = len(parameters)
        ctx.save_for_backward(*parameters, *saved)
        ctx.mark_non_differentiable(tokens)
        return logits, tokens

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_logits: Tensor, grad_tokens: Tensor) -> tuple:
        """Backpropagate through time."""
        parameters = ctx.saved_tensors[: ctx.num_parameters]
        saved = Saved(*ctx.saved_tensors[ctx.num_parameters :])
        with torch.autocast(grad_logits.device.type, enabled=False):
            grad_grid, gradients = _backward(
                ctx.plan,
                ctx.dropout,
                parameters,
                saved,
                grad_logits,
                ctx.dtype,
                ctx.num_cells if ctx.needs_input_grad[0] else 0,
            )
        gradients = [
            None if gradient is None else gradient.to(parameter.dtype)
            for gradient, parameter in zip(gradients, parameters)
        ]
        return grad_grid, None, None, None, *gradients


def _cast(parameters: Sequence[Optional[Tensor]], dtype: torch.dtype) -> Weights:
    return Weights(*[None if weight is None else weight.to(dtype) for weight in parameters])


def _forward(
    grid: Tensor,
    plan: Plan,
    feed: Optional[Tensor],
    dropout: float,
    parameters: Sequence[Optional[Tensor]],
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Saved]:
    w = _cast(parameters, dtype)
    wide = torch.promote_types(dtype, torch.float32)  # of softmax and of the LSTM's cell
    num_rows, (batch, num_steps) = sum(plan.rows), plan.shape
    num_outputs, hidden_size = w.classifier.shape
    embed_size, num_gates = w.embedding.shape[1], 4 * hidden_size
    attends = w.key is not None

    pooled = grid.mean(1).to(dtype)[plan.order]  # (B, D); not dropped
    hidden = torch.addmm(w.init_hidden_bias, pooled, w.init_hidden.t())
    cell = torch.addmm(w.init_cell_bias, pooled, w.init_cell.t()).to(wide)
    cells, mask, keys = grid.new_empty(0), None, None
    projection, bias = w.recurrent, w.input_bias + w.recurrent_bias
    if attends:
        cells = grid.to(dtype).index_select(0, plan.order)  # (B, L, D)
        if dropout > 0:
            mask = draw_mask(cells, dropout)
            cells.mul_(mask).mul_(scale_of(dropout))
        # One mask per rollout, not per step, so that W_k f is computed once.
        keys = torch.addmm(w.key_bias, cells.flatten(0, 1), w.key.t()).unflatten(0, cells.shape[:2])
        projection = torch.cat([w.recurrent, w.query, w.gate])  # (P, H)
        bias = torch.cat([bias, bias.new_zeros(len(w.query)), w.gate_bias])
    embeds, attends_to = w.input[:, :embed_size], w.input[:, embed_size:]
    table = None
    if len(w.embedding) <= num_rows:  # else it is cheaper to project the embeddings that occur
        table = w.embedding @ embeds.t()  # (C + 2, 4 H)

    def flat(width: int, kind: torch.dtype = dtype) -> Tensor:
        return grid.new_empty((num_rows, width), dtype=kind)

    logits = flat(num_outputs)
    before, after = flat(hidden_size), flat(hidden_size)
    cell_before, cell_after = flat(hidden_size, wide), flat(hidden_size, wide)
    gates = flat(num_gates, wide)
    inputs = torch.empty(num_rows, dtype=torch.long, device=grid.device)
    emitted = torch.empty_like(inputs)
    attention = attended = context_gate = query = None
    if attends:
        attention = flat(cells.shape[1])
        attended, context_gate, query = flat(cells.shape[2]), flat(cells.shape[2]), flat(len(w.key))
    if feed is not None:
        feed = feed[plan.order]

    start = num_outputs  # START is the token after END, which is the last output
    token = torch.full((batch,), start, device=grid.device)
    end = 0
    for t, rows in enumerate(plan.rows):
        here, end = slice(end, end + rows), end + rows
        hidden, cell, token = hidden[:rows], cell[:rows], token[:rows]
        before[here], cell_before[here], inputs[here] = hidden, cell, token
        projected = torch.addmm(bias, hidden, projection.t())  # (R_t, P)
        gate = projected[:, :num_gates]
        if table is not None:
            gate = gate + table[token]
        else:
            gate = torch.addmm(gate, w.embedding[token], embeds.t())
        if attends:
            query[here] = projected[:, num_gates : num_gates + len(w.key)]
            torch.sigmoid(projected[:, num_gates + len(w.key) :], out=context_gate[here])
            raised = (keys[:rows] + query[here][:, None]).relu_()
            energy = raised.flatten(0, 1) @ w.energy[0]
            attention[here] = energy.view(rows, -1).to(wide).softmax(1)
            torch.bmm(attention[here][:, None], cells[:rows], out=attended[here][:, None])
            context = attended[here] * context_gate[here]
            gate = torch.addmm(gate, context, attends_to.t())
        i, f, g, o = gate.to(wide).chunk(4, 1)
        activated = gates[here]
        i, f = (
            torch.sigmoid(i, out=activated[:, :hidden_size]),
            torch.sigmoid(f, out=activated[:, hidden_size : 2 * hidden_size]),
        )
        g = torch.tanh(g, out=activated[:, 2 * hidden_size : 3 * hidden_size])
        o = torch.sigmoid(o, out=activated[:, 3 * hidden_size :])
        cell = f * cell + i * g
        hidden = (o * cell.tanh()).to(dtype)
        cell_after[here], after[here] = cell, hidden
        torch.addmm(w.classifier_bias, hidden, w.classifier.t(), out=logits[here])
        emitted[here] = logits[here].argmax(1)
        token = emitted[here] if feed is None else feed[:rows, t]
    full = logits.new_zeros(batch * num_steps, num_outputs).index_copy_(0, plan.place, logits)
    tokens = torch.full_like(plan.place[:1], num_outputs - 1).repeat(batch * num_steps)
    tokens = tokens.index_copy_(0, plan.place, emitted)
    saved = Saved(
        cells,
        mask,
        keys,
        pooled,
        inputs,
        before,
        after,
        cell_before,
        cell_after,
        gates,
        attention,
        attended,
        context_gate,
        query,
    )
    return full.view(batch, num_steps, -1), tokens.view(batch, num_steps), saved


def _backward(
    plan: Plan,
    dropout: float,
    parameters: Sequence[Optional[Tensor]],
    saved: Saved,
    grad_logits: Tensor,
    dtype: torch.dtype,
    num_cells: int,
) -> tuple[Optional[Tensor], Sequence[Optional[Tensor]]]:
    w = _cast(parameters, dtype)
    wide = torch.promote_types(dtype, torch.float32)
    hidden_size, embed_size = w.classifier.shape[1], w.embedding.shape[1]
    num_gates = 4 * hidden_size
    attends = w.key is not None
    embeds, attends_to = w.input[:, :embed_size], w.input[:, embed_size:]
    projection = torch.cat([w.recurrent, w.query, w.gate]) if attends else w.recurrent

    d_logits = grad_logits.to(dtype).flatten(0, 1).index_select(0, plan.place)  # (R, C + 1)
    d_hidden = d_logits @ w.classifier  # (R, H)
    d_projected = d_hidden.new_empty(len(d_hidden), len(projection))  # (R, P)
    d_attended = d_keys = d_energy = None
    if attends:
        d_attended = torch.empty_like(saved.attended)  # (R, D)
        d_keys = torch.zeros_like(saved.keys)
        d_energy = torch.zeros_like(w.energy, dtype=wide)
    carried = carried_cell = None  # gradients of h_t and c_t from step t + 1
    begin = len(d_hidden)
    for rows in reversed(plan.rows):
        here, begin = slice(begin - rows, begin), begin - rows
        dh = d_hidden[here].to(wide)
        if carried is not None:
            dh[: len(carried)] += carried
        i, f, g, o = saved.gates[here].chunk(4, 1)
        squashed = saved.cell[here].tanh()
        dc = dh * o * (1 - squashed * squashed)
        if carried_cell is not None:
            dc[: len(carried_cell)] += carried_cell
        d_gate = torch.cat(
            [
                dc * g * i * (1 - i),
                dc * saved.cell_before[here] * f * (1 - f),
                dc * i * (1 - g * g),
                dh * squashed * o * (1 - o),
            ],
            1,
        ).to(dtype)
        d_projected[here, :num_gates] = d_gate
        if attends:
            opened = saved.context_gate[here]
            d_context = d_gate @ attends_to  # (R_t, D)
            d_attended[here] = d_context * opened
            d_projected[here, num_gates + len(w.key) :] = (
                d_context * saved.attended[here] * opened * (1 - opened)
            )
            alpha = saved.attention[here].to(wide)  # (R_t, L)
            d_alpha = torch.bmm(saved.grid[:rows], d_attended[here][:, :, None])[:, :, 0].to(wide)
            d_score = alpha * (d_alpha - (alpha * d_alpha).sum(1, keepdim=True))
            d_score = d_score.to(dtype)  # (R_t, L)
            raised = (saved.keys[:rows] + saved.query[here][:, None]).relu_()  # (R_t, L, A)
            d_energy[0] += (d_score.flatten() @ raised.flatten(0, 1)).to(wide)
            d_raised = (raised > 0) * d_score[:, :, None]
            d_raised *= w.energy[0]
            d_keys[:rows] += d_raised
            d_projected[here, num_gates : num_gates + len(w.key)] = d_raised.sum(1)
        carried = (d_projected[here] @ projection).to(wide)
        carried_cell = dc * f

    gradients: dict[str, Tensor] = {}
    gradients["classifier"] = d_logits.t() @ saved.hidden
    gradients["classifier_bias"] = d_logits.sum(0)
    d_projection = d_projected.t() @ saved.before  # (P, H)
    d_bias = d_projected.sum(0)
    d_gates = d_projected[:, :num_gates]
    gradients["recurrent"] = d_projection[:num_gates]
    gradients["input_bias"] = gradients["recurrent_bias"] = d_bias[:num_gates]
    if len(w.embedding) <= len(d_gates):
        d_table = d_gates.new_zeros(len(w.embedding), num_gates)
        d_table.index_add_(0, saved.inputs, d_gates)
        gradients["embedding"] = d_table @ embeds
        d_embeds = d_table.t() @ w.embedding
    else:
        d_embeds = d_gates.t() @ w.embedding[saved.inputs]
        gradients["embedding"] = torch.zeros_like(w.embedding).index_add_(
            0, saved.inputs, d_gates @ embeds
        )
    gradients["input"] = d_embeds
    carried, carried_cell = carried.to(dtype), carried_cell.to(dtype)
    gradients["init_hidden"] = carried.t() @ saved.pooled
    gradients["init_hidden_bias"] = carried.sum(0)
    gradients["init_cell"] = carried_cell.t() @ saved.pooled
    gradients["init_cell_bias"] = carried_cell.sum(0)
    if attends:
        context = saved.attended * saved.context_gate
        gradients["input"] = torch.cat([d_embeds, d_gates.t() @ context], 1)
        gradients["query"] = d_projection[num_gates : num_gates + len(w.key)]
        gradients["gate"] = d_projection[num_gates + len(w.key) :]
        gradients["gate_bias"] = d_bias[num_gates + len(w.key) :]
        gradients["energy"] = d_energy
        gradients["key"] = d_keys.flatten(0, 1).t() @ saved.grid.flatten(0, 1)
        gradients["key_bias"] = d_keys.sum((0, 1))
    d_grid = None
    if num_cells:
        d_pooled = carried @ w.init_hidden + carried_cell @ w.init_cell  # (B, D)
        d_pooled = (d_pooled / num_cells)[:, None].expand(-1, num_cells, -1)
        d_grid = torch.empty_like(d_pooled, memory_format=torch.contiguous_format)
        if attends:
            d_cells = torch.bmm(  # (B, L, D)
                by_image(saved.attention, plan).transpose(1, 2), by_image(d_attended, plan)
            )
            d_cells.view(-1, d_cells.shape[2]).addmm_(d_keys.flatten(0, 1), w.key)
            if saved.mask is not None:
                d_cells.mul_(saved.mask).mul_(scale_of(dropout))
            d_pooled = d_cells.add_(d_pooled)
        d_grid.index_copy_(0, plan.order, d_pooled)
    return d_grid, [gradients.get(name) for name in Weights._fields]


def by_image(rows: Tensor, plan: Plan) -> Tensor:
    """Arrange flat rows (R, X) by image, in the plan's order, and step: (B, T, X), 0 elsewhere."""
    arranged = rows.new_zeros(*plan.shape, rows.shape[1])
    end = 0
    for t, count in enumerate(plan.rows):
        begin, end = end, end + count
        arranged[:count, t] = rows[begin:end]
    return arranged
