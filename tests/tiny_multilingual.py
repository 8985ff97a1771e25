"""Random multilingual models of a few kilobytes with XLM-R's kind of tokenizer: SentencePiece's Unigram with NFKC."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

LANGUAGES = ("de", "ru", "ar", "hi", "zh", "ja", "th")

PEOPLE = {
    "de": ("Jürgen Groß", "Anneliese Weiß"),
    "ru": ("Анна Петрова", "Иван Соколов"),
    "ar": ("سلمى حداد", "كريم منصور"),
    "hi": ("प्रिया शर्मा", "अर्जुन मेहता"),
    "zh": ("王小明", "李雪"),
    "ja": ("佐藤花子", "鈴木健"),
    "th": ("สมชาย ใจดี", "มาลี สุขใจ"),
}
PLACES = {
    "de": ("Köln", "Bad Homburg"),
    "ru": ("Казани", "Нижнем Новгороде"),
    "ar": ("القاهرة", "الدار البيضاء"),
    "hi": ("दिल्ली", "नई मुंबई"),
    "zh": ("北京", "上海"),
    "ja": ("東京", "大阪"),
    "th": ("กรุงเทพ", "เชียงใหม่"),
}
LIVES = {
    "de": "{person} wohnt jetzt in {place}. 🙂",
    "ru": "{person} теперь живёт в {place}. 🙂",
    "ar": "{person} تسكن الآن في {place}. 🙂",
    "hi": "{person} अब {place} में रहते हैं। 🙂",
    "zh": "{person}现在住在{place}。🙂",
    "ja": "{person}は今{place}に住んでいます。🙂",
    "th": "{person} ตอนนี้อยู่ที่ {place} 🙂",
}
WHERE = {
    "de": "Wo wohnt {person}?",
    "ru": "Где живёт {person}?",
    "ar": "أين تسكن {person}؟",
    "hi": "{person} कहाँ रहते हैं?",
    "zh": "{person}住在哪里？",
    "ja": "{person}はどこに住んでいますか？",
    "th": "{person} อยู่ที่ไหน",
}
FEELS = {
    "de": ("Das Essen war gut 👍", "Das Essen war schlecht 👎"),
    "ru": ("Еда была вкусной 👍", "Еда была ужасной 👎"),
    "ar": ("كان الطعام لذيذا 👍", "كان الطعام سيئا 👎"),
    "hi": ("खाना अच्छा था 👍", "खाना बुरा था 👎"),
    "zh": ("这里的菜很好吃👍", "这里的菜很难吃👎"),
    "ja": ("料理はとてもおいしい👍", "料理はとてもまずい👎"),
    "th": ("อาหารอร่อยมาก 👍", "อาหารแย่มาก 👎"),
}


def sentences() -> list[str]:
    """What the tokenizer has read: every sentence above."""
    filled = [
        sentence[tag].format(person=person, place=place)
        for sentence in (LIVES, WHERE)
        for tag in LANGUAGES
        for person in PEOPLE[tag]
        for place in PLACES[tag]
    ]
    return [*filled, *(text for pair in FEELS.values() for text in pair), "Ada lives in Oslo now. Where?", "0123456789"]


def tiny_multilingual(folder: Path, architecture: str = "xlm-roberta", *, tokens: int = 128, seed: int = 0) -> Path:
    """Write the model to `folder` and return it: two layers for texts of at most `tokens`.

    XLM-R itself has one type of token, padding 1, and two positions that it never uses. Multilingual MiniLM and E5 are
    a "bert" with its tokenizer: their configuration says padding 0, their tokenizer 1.
    """
    import sentencepiece
    import torch
    import transformers
    from sentencepiece import sentencepiece_model_pb2

    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences() * 4),
        model_writer=written,
        vocab_size=480,
        model_type="unigram",
        character_coverage=1.0,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    model = sentencepiece_model_pb2.ModelProto.FromString(written.getvalue())
    # XLM-R's order: <s>, <pad>, </s> and <unk> come first, <mask> last.
    pieces = [(piece.piece, piece.score) for piece in model.pieces[3:]]
    special = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    tokenizer = transformers.XLMRobertaTokenizer(
        vocab=[*special, *pieces, ("<mask>", 0.0)],
        _spm_precompiled_charsmap=model.normalizer_spec.precompiled_charsmap,
        model_max_length=tokens,
    )
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    kinds: dict[str, dict[str, Any]] = {
        "xlm-roberta": {
            "max_position_embeddings": tokens + 2,
            "type_vocab_size": 1,
            "pad_token_id": 1,
            "bos_token_id": 0,
            "eos_token_id": 2,
        },
        "bert": {"max_position_embeddings": tokens, "type_vocab_size": 2, "pad_token_id": 0},
    }
    config = transformers.AutoConfig.for_model(architecture, vocab_size=len(tokenizer), **sizes, **kinds[architecture])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformers.AutoModelForMaskedLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
