"""An encoder that starts from its teacher: the four steps (tokens, layers, widths, table) put together for both architectures.

Shapes: V tokens, H the teacher's width, E columns of the new table, S the student's width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from stillhouse.dataset import Example
from stillhouse.errors import RecipeError
from stillhouse.recipe import Initialisation
from stillhouse.students.initialising.converting import as_compact
from stillhouse.students.initialising.embeddings import alike_in_size, components, directions, projection, said_alone
from stillhouse.students.initialising.layers import chosen_layers
from stillhouse.students.initialising.vocabulary import pruned
from stillhouse.students.initialising.widths import Heads, Kept, cut, keep, measure
from stillhouse.students.networks.compact import Compact, CompactShape
from stillhouse.students.networks.folded import Folded
from stillhouse.students.texts import naming_task

TEXTS = 64
"""Texts on which importance is measured."""


def vocabulary_of(teacher: Any, init: Initialisation, examples: Sequence[Example] | None) -> tuple[Any, Tensor | None]:
    """The student's tokenizer, and the teacher's rows of its tokens; None: all. Raises RecipeError where they cannot be told."""
    if init.vocabulary == "all":
        return teacher.tokenizer, None
    if not examples:
        raise RecipeError('[student.init] vocabulary: there is no train split to tell its tokens from. Set vocabulary = "all".')
    texts = [row.tokens for row in teacher.questions([naming_task(example) for example in examples])]
    tokenizer, kept = pruned(teacher.tokenizer, texts, init.vocabulary)
    return tokenizer, torch.tensor(kept)


def texts_through(teacher: Any, network: Any, examples: Sequence[Example] | None) -> Callable[[], None] | None:
    """Puts some of the training texts through `network`, one at a time, so that no padding is measured."""
    if not examples:
        return None
    step = -(-len(examples) // TEXTS)
    rows = teacher.questions([naming_task(example) for example in examples[::step]])

    def run() -> None:
        for row in rows:
            batch = teacher.collate([row])
            network(batch.inputs)

    return run


def start_plain(
    teacher: Any,
    student: Any,
    init: Initialisation,
    examples: Sequence[Example] | None,
    vocabulary: Tensor | None,
    labels: Sequence[str],
) -> None:
    """Fill `student` (a reader around a random transformers network, its scores of `labels`) from the teacher's, in place."""
    theirs, ours = teacher.network.body, student.body
    if theirs.config.model_type != ours.config.model_type:
        raise RecipeError(
            f"A '{ours.config.model_type}' cannot start from a '{theirs.config.model_type}': take the same architecture."
        )
    if init.embeddings != "copy":
        raise RecipeError(f'[student.init] embeddings = "{init.embeddings}" needs [student.config] architecture = "compact".')
    layers = _layers(init, ours.config, theirs.config)
    if not layers:
        raise RecipeError("[student.init] layers = []: only a compact encoder can start from a table alone.")
    run = texts_through(teacher, teacher.network, examples)
    kept = _kept(theirs, ours.config, run, vocabulary)
    cut(theirs, ours, layers, kept)
    _copy_head(teacher, teacher.network.last, student.last, kept.width, labels)


def start_compact(
    teacher: Any,
    student: Compact,
    init: Initialisation,
    examples: Sequence[Example] | None,
    vocabulary: Tensor | None,
    labels: Sequence[str],
) -> None:
    """Fill a random compact network, its scores of `labels`, from the teacher's, in place."""
    source, shape = as_compact(teacher.network, each_token=student.each_token), student.config
    layers = _layers(init, shape, source.config)
    width = torch.arange(min(shape.hidden_size, source.config.hidden_size))
    if layers:
        if shape.norm != source.config.norm:
            raise RecipeError(f'[student.config] norm = "{shape.norm}": layers of the teacher are normed {source.config.norm}.')
        kept = _kept(source, shape, texts_through(teacher, source, examples), vocabulary)
        cut(source, student, layers, kept)
        width = kept.width
        if isinstance(teacher.network, Compact) or _averages(teacher):
            _copy_head(teacher, source.last, student.last, width, labels)
    _fill_table(teacher, source, student, init, width, vocabulary, copied=bool(layers))


def _averages(teacher: Any) -> bool:
    """Whether its head reads states as a compact one's does: their mean, or each of them."""
    return bool(teacher.card.pooling == "mean" or teacher.card.objective == "tokens")


def _layers(init: Initialisation, ours: Any, theirs: Any) -> tuple[int, ...]:
    return chosen_layers(init.layers, int(ours.num_hidden_layers), int(theirs.num_hidden_layers))


def _kept(theirs: Any, config: Any, run: Callable[[], None] | None, vocabulary: Tensor | None) -> Kept:
    importance = measure(theirs, run)
    ffn = int(getattr(config, "intermediate_size", None) or config.hidden_dim)
    return keep(
        importance, Heads.of(theirs.config), Heads.of(config), width=int(config.hidden_size), ffn=ffn, vocabulary=vocabulary
    )


def _copy_head(teacher: Any, theirs: nn.Linear, ours: nn.Linear, width: Tensor, labels: Sequence[str]) -> None:
    """The teacher's scores, of the columns that are kept, each to its label's; labels that it does not know stay random."""
    if ours.in_features != len(width) or theirs.in_features <= int(width.max()):
        return
    known = {label: row for row, label in enumerate(teacher.row_labels)} or {"": 0}  # a number has one score without a name
    rows = [(row, known[label]) for row, label in enumerate(labels or [""]) if label in known]
    with torch.no_grad():
        for mine, other in rows:
            ours.weight[mine] = theirs.weight[other, width]
            ours.bias[mine] = theirs.bias[other]


def embeddings_of(network: Any) -> Tensor:
    """What a reader's layers get of each token: VxH, without a gradient."""
    body = network.body
    with torch.no_grad():
        whole_VH: Tensor = body.widen(body.tokens.weight) if isinstance(body, Compact) else _table_of(body)
    return whole_VH.detach()


def _table_of(body: Any) -> Tensor:
    weight_VH: Tensor = body.base_model.get_input_embeddings().weight
    return weight_VH


def table_of(teacher: Any, init: Initialisation, vocabulary: Tensor | None, size: int) -> nn.Embedding | Folded:
    """A table of `size` columns that is not copied, for students without layers; a mean square of 1."""
    whole = embeddings_of(teacher.network)
    tokens = torch.arange(len(whole)) if vocabulary is None else vocabulary
    if init.embeddings == "copy":
        raise RecipeError('[student.init] embeddings = "copy": a static table is made anew. Take "folded", "outputs" or "pca".')
    return _narrow(teacher, init, whole, tokens, size)


def _narrow(teacher: Any, init: Initialisation, table_VH: Tensor, tokens: Tensor, size: int) -> nn.Embedding | Folded:
    """The principal components of the table, or (`outputs`, `folded`) of it and of what the teacher says of each token alone."""
    known = [table_VH[tokens]]
    if init.embeddings != "pca":
        known.append(said_alone(teacher, tokens.tolist()))
    known_VX = known[0] if len(known) == 1 else alike_in_size(known)
    if size > known_VX.shape[1]:
        raise RecipeError(f"[student.config] embedding_size = {size}: no more than {known_VX.shape[1]} are known of a token.")
    if init.embeddings == "folded":
        return Folded(known_VX, directions(known_VX, size))
    table = nn.Embedding(len(known_VX), size)
    with torch.no_grad():
        table.weight.copy_(components(known_VX, size))
    return table


def _fill_table(
    teacher: Any,
    source: Compact,
    student: Compact,
    init: Initialisation,
    width: Tensor,
    vocabulary: Tensor | None,
    *,
    copied: bool,
) -> None:
    """The table of embeddings, and the projection that widens it to what copied layers expect."""
    shape: CompactShape = student.config
    with torch.no_grad():
        table_VH = source.widen(source.tokens.weight).detach()
    tokens = torch.arange(len(table_VH)) if vocabulary is None else vocabulary
    wanted_VS = table_VH[tokens][:, width]
    if init.embeddings == "copy":
        _copy_table(source, student, tokens, wanted_VS)
        return
    student.tokens = _narrow(teacher, init, table_VH, tokens, shape.embedding_size)
    with torch.no_grad():
        table_VE = student.tokens.weight
        if copied and isinstance(student.widen, nn.Linear):
            weight_SE, rest_S = projection(table_VE, wanted_VS)
            student.widen.weight.copy_(weight_SE)
            student.positions.weight.add_(rest_S)


def _copy_table(source: Compact, student: Compact, tokens: Tensor, wanted_VS: Tensor) -> None:
    """The rows that are kept: of a table as wide as the network, or of one that is factorised alike."""
    same = source.config.embedding_size == student.config.embedding_size
    whole = student.config.embedding_size == student.config.hidden_size
    if not same and not whole:
        raise RecipeError(
            f'[student.init] embeddings = "copy": a table of {student.config.embedding_size} columns, and the teacher has '
            f'{source.config.embedding_size}. Set embeddings = "folded", "outputs" or "pca", or embedding_size = hidden_size.'
        )
    with torch.no_grad():
        student.tokens.weight.copy_(wanted_VS if whole else source.tokens.weight[tokens])
