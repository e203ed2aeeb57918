"""The training texts, the student's vocabulary, and what keeps the evaluation texts out of them."""

import random
import re
from collections import Counter

from own_text import own_sentences
from public_text import public_sentences

COUNTS = {"english": 30000, "foreign": 4500, "code": 4000, "odds": 1500, "salad": 18000}
LONG_TEXTS = 1200
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# Of the pieces that fill the vocabulary, this share comes from the teacher's order, which is by
# frequency in general text; the rest from what the training texts use most.
GENERAL_SHARE = 0.75


def words_of(text):
    """Lower case words, for comparing texts."""
    return re.findall(r"\w+", text.lower())


def too_near(text, forbidden_runs, forbidden_sets):
    """True where a text shares four words in a row, or 60 % of its words, with an evaluation text."""
    words = words_of(text)
    if any(tuple(words[i : i + 4]) in forbidden_runs for i in range(len(words) - 3)):
        return True
    mine = set(words)
    return bool(mine) and any(len(mine & s) / len(mine | s) >= 0.6 for s in forbidden_sets)


def without_evaluation(texts, evaluation):
    """Drops texts that are too near an evaluation text; says how many."""
    runs, sets = set(), []
    for text in evaluation:
        for sentence in [text, *re.split(r"(?<=[.!?;])\s+", text)]:
            words = words_of(sentence)
            runs.update(tuple(words[i : i + 4]) for i in range(len(words) - 3))
            if words:
                sets.append(set(words))
    kept = [text for text in texts if not too_near(text, runs, sets)]
    print(f"dropped {len(texts) - len(kept)} of {len(texts)} texts near an evaluation text")
    return kept


def general_words(teacher_vocabulary, count):
    """The most frequent whole words of the teacher's vocabulary (it is in order of frequency)."""
    ordered = sorted(teacher_vocabulary, key=teacher_vocabulary.get)
    return [w for w in ordered if re.fullmatch(r"[a-z]{2,}", w)][:count]


def training_texts(public_folder, teacher_vocabulary, evaluation, seed):
    """All training texts in a shuffled order, without doubles."""
    words = general_words(teacher_vocabulary, 9000)
    texts = public_sentences(public_folder, seed) + own_sentences(COUNTS, words, seed)
    texts = without_evaluation(list(dict.fromkeys(texts)), evaluation)
    rng = random.Random(f"{seed}/order")
    rng.shuffle(texts)
    long = [" ".join(rng.sample(texts, rng.randint(4, 16))) for _ in range(LONG_TEXTS)]
    texts += long
    rng.shuffle(texts)
    return texts


def student_vocabulary(teacher_vocabulary, token_lists, size):
    """`size` pieces of the teacher's vocabulary: specials, single Latin letters and signs, the
    general ones by the teacher's order, then those that the training texts use most."""
    ordered = sorted(teacher_vocabulary, key=teacher_vocabulary.get)
    single = [p for p in ordered if re.fullmatch(r"(##)?[\x21-\x7e\u00a1-\u017f\u2010-\u2026€]", p)]
    latin = [p for p in ordered if re.fullmatch(r"(##)?[\x21-\x7e\u00a1-\u017f]+", p)]
    latin = [p for p in latin if not re.fullmatch(r"\[.+\]", p)]
    chosen = dict.fromkeys([*SPECIALS, *single])
    general = round((size - len(chosen)) * GENERAL_SHARE) + len(chosen)
    for piece in latin:
        if len(chosen) == general:
            break
        chosen[piece] = None
    usable = set(latin)
    uses = Counter(token for tokens in token_lists for token in tokens if token in usable)
    for piece, _ in uses.most_common():
        if len(chosen) == size:
            break
        chosen[piece] = None
    if len(chosen) != size:
        raise SystemExit(f"only {len(chosen)} pieces for a vocabulary of {size}; ask for fewer")
    return list(chosen)
