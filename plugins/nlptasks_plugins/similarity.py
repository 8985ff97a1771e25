"""Vectors of texts, and what is near: embedding, similarity, rerank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from nlptasks import Model, Recipe, Result, TaskInput, TextInput, TextVectors, VectorOptions, hookimpl
from nlptasks_plugins.english import noted


class Embedding(Result):
    """A text as a vector."""

    main_field: ClassVar[str] = "vector"

    vector: tuple[float, ...] = Field(description="Unit length; texts of like meaning have vectors of like direction.")

    def to_hf(self) -> list[float]:
        """The vector, as sentence-transformers' `encode` returns it."""
        return list(self.vector)


class TextEmbedding(TextVectors[TextInput, Embedding]):
    """A text as a vector, for search, clustering and classifiers of your own."""

    name = "embedding"
    aliases = ("feature-extraction", "sentence-embedding")
    input_type = TextInput
    result_type = Embedding
    recipe = Recipe(base="minilm")
    examples = ("The train to Bergen leaves at noon.",)

    def run(self, inputs: Sequence[TextInput], options: VectorOptions, model: Model) -> list[Embedding]:
        vectors = self.vectors((item.text for item in inputs), options, model)
        results = [Embedding(vector=vectors[i.text].values, **self.reading([vectors[i.text]])) for i in inputs]
        return noted(results, [item.text for item in inputs], model)


Visible = Annotated[str, Field(min_length=1, pattern=r"\S")]


def _lines(value: Any) -> Any:
    """A text as its lines, which is how a file or the command line gives several texts."""
    return [line.strip() for line in value.splitlines() if line.strip()] if isinstance(value, str) else value


Texts = Annotated[tuple[Visible, ...], BeforeValidator(_lines)]

_TEXTS = Field(
    min_length=1,
    max_length=10_000,
    description="The texts to compare with it: a list, or a text with one in each line.",
    json_schema_extra={"format": "lines"},
)


class SimilarityInput(TaskInput):
    """A text, and the texts to compare it with."""

    text: str = Field(min_length=1, pattern=r"\S", description="The text to compare.")
    candidates: Texts = _TEXTS


class ScoredText(BaseModel):
    """A text and how near it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int = Field(ge=0, description="Place of the text in the input, from 0.")
    score: float = Field(ge=-1, le=1, description="Cosine similarity: 1 for the same meaning, about 0 for none shared.")
    text: str


class Similarities(Result):
    """How near each candidate is to a text."""

    scores: tuple[float, ...] = Field(description="Cosine similarity of each candidate, in the order of the input.")
    best: ScoredText = Field(description="The nearest candidate.")

    def to_hf(self) -> list[float]:
        """The scores, as sentence-transformers' `similarity` returns them."""
        return list(self.scores)


class Similarity(TextVectors[SimilarityInput, Similarities]):
    """How near each of many texts is to a text in meaning."""

    name = "similarity"
    aliases = ("sentence-similarity",)
    input_type = SimilarityInput
    result_type = Similarities
    recipe = Recipe(base="minilm")
    examples = (
        {
            "text": "How do I get my money back?",
            "candidates": ("Refunds are paid within a week.", "We open at nine.", "The lift is out of order."),
        },
    )

    def run(self, inputs: Sequence[SimilarityInput], options: VectorOptions, model: Model) -> list[Similarities]:
        vectors = self.vectors((text for i in inputs for text in (i.text, *i.candidates)), options, model)
        results = []
        for item in inputs:
            scores = tuple(vectors[item.text].cosine(vectors[text]) for text in item.candidates)
            best = max(range(len(scores)), key=scores.__getitem__)
            nearest = ScoredText(index=best, score=scores[best], text=item.candidates[best])
            read = self.reading(vectors[text] for text in (item.text, *item.candidates))
            results.append(Similarities(scores=scores, best=nearest, **read))
        return noted(results, [item.text for item in inputs], model)


class RerankInput(TaskInput):
    """A query, and the documents to put in order."""

    query: str = Field(min_length=1, pattern=r"\S", description="What is sought.")
    documents: Texts = _TEXTS


class RerankOptions(VectorOptions):
    """How to rank."""

    top_k: int | None = Field(default=None, ge=1, description="Most documents in the answer. Unset: all.")


class Ranking(Result):
    """Documents in the order of their nearness to a query."""

    ranking: tuple[ScoredText, ...] = Field(description="The documents, nearest first.")

    def to_hf(self) -> list[dict[str, float]]:
        """The shape of sentence-transformers' `CrossEncoder.rank`: `[{"corpus_id", "score"}]`."""
        return [{"corpus_id": one.index, "score": one.score} for one in self.ranking]


class Rerank(TextVectors[RerankInput, Ranking]):
    """Documents in the order in which they answer a query."""

    name = "rerank"
    input_type = RerankInput
    options_type = RerankOptions
    result_type = Ranking
    recipe = Recipe(base="minilm")
    examples = (
        {
            "query": "When is the shop open?",
            "documents": ("Refunds are paid within a week.", "We open at nine and close at six.", "Mind the step."),
        },
    )

    def run(self, inputs: Sequence[RerankInput], options: RerankOptions, model: Model) -> list[Ranking]:
        vectors = self.vectors((text for i in inputs for text in (i.query, *i.documents)), options, model)
        results = []
        for item in inputs:
            scored = [
                ScoredText(index=index, score=vectors[item.query].cosine(vectors[text]), text=text)
                for index, text in enumerate(item.documents)
            ]
            order = sorted(scored, key=lambda one: (-one.score, one.index))[: options.top_k]
            read = self.reading(vectors[text] for text in (item.query, *item.documents))
            results.append(Ranking(ranking=tuple(order), **read))
        return noted(results, [item.query for item in inputs], model, "query")


@hookimpl
def register_tasks(register):  # type: ignore[no-untyped-def]
    """Register the tasks."""
    for task in (TextEmbedding(), Similarity(), Rerank()):
        register(task)
