"""Two tokenizers, one text: where they meet, what the teacher is heard to say there, and the chain rule where they do not."""

from __future__ import annotations

import math
import string
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from stillhouse.dataset import Example
from stillhouse.errors import TrainingError
from stillhouse.losses.ranked import Ranked
from stillhouse.losses.sources import Sparse
from stillhouse.losses.top_k import TopK
from stillhouse.method import WhiteBox
from stillhouse.students.causal import CausalStudent
from stillhouse.tensors import Batch, Encoded
from stillhouse.training.objective import Distillation, Window
from stillhouse.training.teachers.aligned import AlignedTeacher, meeting_of
from tests.students.tiny import SPECIAL, TEMPLATE, tiny_spec, write_tokenizer

torch.set_num_threads(1)

MERGES = [("t", "h"), ("th", "e"), ("a", "n"), ("an", "s"), ("w", "e"), ("we", "r"), (" ", "the")]


def write_merging(folder: Path) -> Path:
    """Letters as `write_tokenizer`'s, and a few longer tokens: the, ans, wer, " the"."""
    tokens = [*SPECIAL, *string.printable, *(left + right for left, right in MERGES)]
    return _written(Tokenizer(BPE({token: i for i, token in enumerate(tokens)}, MERGES, unk_token="<unk>")), folder)


def write_bytes(folder: Path) -> Path:
    """Every byte a token, as byte-level vocabularies write them."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(BPE({token: i for i, token in enumerate([*SPECIAL, *alphabet])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return _written(tokenizer, folder, decoder=decoders.ByteLevel())


def _written(tokenizer: Tokenizer, folder: Path, decoder: decoders.Decoder | None = None) -> Path:
    tokenizer.decoder = decoder or decoders.Fuse()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<bos>", unk_token="<unk>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tokenizers")
    write_tokenizer(root / "letters")
    write_merging(root / "merging")
    write_bytes(root / "bytes")
    return root


def made(root: Path, tokenizer: str, *, seed: int = 0, **shape: object) -> CausalStudent:
    student = CausalStudent.build(tiny_spec(root / tokenizer, **shape), seed=seed)
    with torch.no_grad():
        for parameter in student.network.parameters():
            parameter.mul_(5.0 if parameter.dim() > 1 else 1.0)
    student.network.double().eval()
    return student


EXAMPLES = [
    Example(id="a", messages=[{"role": "user", "content": "2+2?"}], answer="the answer"),
    Example(id="b", messages=[{"role": "user", "content": "who"}], answer="an other"),
]


def batch_of(student: CausalStudent) -> Batch:
    return student.collate(student.encode(EXAMPLES, max_tokens=100))


def heard(teacher: AlignedTeacher, batch: Batch) -> Sparse:
    source = teacher.source(batch)
    assert isinstance(source, Sparse)
    return source


def spoken(teacher: CausalStudent, answer: list[int]) -> Tensor:
    """log_probs_TV of the first example's answer by a plain pass: row t predicts the t-th token."""
    prompt = teacher.prompt_ids(EXAMPLES[0].messages)
    with torch.no_grad():
        scores_TV: Tensor = teacher.network(torch.tensor([prompt + answer])).logits[0]
    return scores_TV.log_softmax(-1)[len(prompt) - 1 :].float()


def ids(student: CausalStudent, text: str) -> list[int]:
    found: list[int] = student.tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def log_prob(source: Sparse, row: int, token: int) -> float:
    kept = (source.ids_NK[row] == token) & (source.log_probs_NK[row] > -torch.inf)
    return float(source.log_probs_NK[row][kept].exp().sum().log())


def test_they_meet_where_their_tokens_begin_at_the_same_byte(root: Path) -> None:
    letters, merging = made(root, "letters"), made(root, "merging")
    fine = (*ids(letters, "the answer"), letters.eos_id)
    meeting = meeting_of(letters, merging, fine)
    assert [merging.decode([token]) for token in meeting.tokens[:-1]] == ["the", " ", "ans", "wer"]
    assert meeting.tokens[-1] == merging.eos_id
    assert meeting.places.tolist() == [0, -1, -1, 1, 2, -1, -1, 3, -1, -1, 4]
    assert meeting.moved.tolist() == [1, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0]  # t of the, a of ans, w of wer
    back = meeting_of(merging, letters, meeting.tokens)
    assert back.tokens == fine
    assert back.places.tolist() == [0, 3, 4, 7, 10]
    assert back.moved.tolist() == [3, 0, 3, 3, 0]


def test_bytes_inside_a_character_are_no_place_to_meet(root: Path) -> None:
    single, merging = made(root, "bytes"), made(root, "merging")
    text = "a√the"
    meeting = meeting_of(single, merging, tuple(ids(single, text)))
    assert single.decode(ids(single, text)) == text
    assert meeting.places.tolist()[:2] == [0, 1]
    assert meeting.places.tolist()[2:4] == [-1, -1]  # the root sign is three bytes


def test_an_answer_that_was_cut_off_meets_up_to_there_and_has_no_end(root: Path) -> None:
    letters, merging = made(root, "letters"), made(root, "merging")
    meeting = meeting_of(letters, merging, tuple(ids(letters, "the a")))
    assert [merging.decode([token]) for token in meeting.tokens] == ["the", " ", "a"]
    assert meeting_of(letters, merging, ()).tokens == ()


def test_trl_gold_a_merged_tokens_probability_is_the_product_under_the_rows_that_predict_its_parts(root: Path) -> None:
    """TRL #5905: probs[k] was multiplied with token k, though probs[k] predicts token k + 1."""
    student, teacher = made(root, "merging"), made(root, "letters", seed=1)
    parts = ids(teacher, "the answer")
    rows_TV = spoken(teacher, parts)
    source = heard(AlignedTeacher(teacher, student, EXAMPLES, k=200), batch_of(student))
    [the, _, ans, *_] = ids(student, "the answer")
    assert log_prob(source, 0, the) == pytest.approx(float(sum(rows_TV[t, parts[t]] for t in range(3))), abs=1e-4)
    assert log_prob(source, 2, ans) == pytest.approx(float(sum(rows_TV[t, parts[t]] for t in range(4, 7))), abs=1e-4)
    [t] = ids(student, "t")
    rest = math.exp(rows_TV[0, parts[0]]) - math.exp(sum(rows_TV[t, parts[t]] for t in range(3)))
    assert log_prob(source, 0, t) == pytest.approx(math.log(rest), abs=1e-4)  # what "the" took came out of "t"


def test_a_longer_token_of_the_teachers_counts_for_the_students_it_begins_with(root: Path) -> None:
    student, teacher = made(root, "letters"), made(root, "merging", seed=1)
    said = ids(teacher, "the answer")
    rows_TV = spoken(teacher, said)
    source = heard(AlignedTeacher(teacher, student, EXAMPLES, k=200), batch_of(student))
    [t], [other] = ids(student, "t"), ids(teacher, "t")
    both = rows_TV[0, other].exp() + rows_TV[0, said[0]].exp()
    assert log_prob(source, 0, t) == pytest.approx(float(both.log()), abs=1e-4)
    assert float(source.log_probs_NK.exp().sum(-1).max()) <= 1 + 1e-5


def test_places_where_they_do_not_meet_say_nothing_and_cost_nothing(root: Path) -> None:
    student, teacher = made(root, "letters"), made(root, "merging", seed=1)
    batch = batch_of(student)
    silent = torch.tensor([1, 2, 5, 6, 8, 9])
    for by, loss in (("tokens", TopK()), ("ranks", Ranked())):
        source = heard(AlignedTeacher(teacher, student, EXAMPLES, by=by), batch)  # type: ignore[arg-type]
        target = source.target(silent, batch.targets_N[silent], torch.ones(6, 1), student.vocabulary_size)
        scores_NV = student.output(batch).scores_NV[silent].float().detach().requires_grad_()
        cost_N = loss(scores_NV, target)
        assert cost_N.tolist() == pytest.approx([0.0] * 6, abs=1e-6)
        [gradient_NV] = torch.autograd.grad(cost_N.sum(), scores_NV)
        assert float(gradient_NV.abs().max()) < 1e-6


@pytest.mark.parametrize("by", ["tokens", "ranks"])
def test_with_the_same_tokens_and_weights_there_is_nothing_to_learn(root: Path, by: str) -> None:
    student, teacher = made(root, "letters"), made(root, "letters")
    loss = TopK() if by == "tokens" else Ranked()
    objective = Distillation(WhiteBox(weight=1.0), AlignedTeacher(teacher, student, EXAMPLES, by=by), loss)  # type: ignore[arg-type]
    batch = batch_of(student)
    assert objective.losses(student, batch, Window.of([batch]))["loss"].item() == pytest.approx(0.0, abs=1e-5)


def test_ranks_are_the_teachers_largest_probabilities(root: Path) -> None:
    student, teacher = made(root, "letters"), made(root, "merging", seed=1)
    source = heard(AlignedTeacher(teacher, student, EXAMPLES, by="ranks", k=5), batch_of(student))
    rows_TV = spoken(teacher, ids(teacher, "the answer"))
    torch.testing.assert_close(source.log_probs_NK[0], rows_TV[0].topk(5).values, rtol=0, atol=1e-4)
    torch.testing.assert_close(source.log_probs_NK[3], rows_TV[1].topk(5).values, rtol=0, atol=1e-4)


@pytest.mark.parametrize("by", ["tokens", "ranks"])
def test_a_student_learns_from_a_teacher_with_other_tokens(root: Path, by: str) -> None:
    student, teacher = made(root, "letters"), made(root, "merging", seed=1)
    student.network.float()
    loss = TopK() if by == "tokens" else Ranked()
    objective = Distillation(WhiteBox(weight=1.0), AlignedTeacher(teacher, student, EXAMPLES, by=by), loss)  # type: ignore[arg-type]
    optimizer = torch.optim.Adam(student.network.parameters(), lr=1e-2)
    batch, seen = batch_of(student), []
    for _ in range(15):
        found = objective.losses(student, batch, Window.of([batch]))["loss"]
        optimizer.zero_grad()
        torch.autograd.backward(found)
        optimizer.step()
        seen.append(found.item())
    assert seen[-1] < 0.5 * seen[0]


def test_an_answer_too_long_for_the_teacher_is_named(root: Path) -> None:
    student, teacher = made(root, "merging"), made(root, "letters", max_position_embeddings=12)
    with pytest.raises(TrainingError, match="The example a is"):
        AlignedTeacher(teacher, student, EXAMPLES).source(batch_of(student))


def test_rollouts_meet_too(root: Path) -> None:
    student, teacher = made(root, "letters"), made(root, "merging", seed=1)
    prompt = student.prompt_ids(EXAMPLES[0].messages)
    nothing = Encoded("a", tuple(prompt), len(prompt), 1.0)
    cut = Encoded("b", (*prompt, *ids(student, "the")), len(prompt), 1.0)
    source = heard(AlignedTeacher(teacher, student, EXAMPLES), student.collate([nothing, cut]))
    assert (source.log_probs_NK > -torch.inf).any(-1).tolist() == [True, False, False]
    empty = heard(AlignedTeacher(teacher, student, EXAMPLES), student.collate([nothing]))
    assert len(empty.ids_NK) == 0
