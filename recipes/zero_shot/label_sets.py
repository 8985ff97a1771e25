"""The rows and the label wordings that `classify.py` trains on and chooses by.

The files are public data sets as rows of JSON; `classify.py` says how their folder is laid out. Every wording of a
label was written for this recipe.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILES: dict[str, tuple[int, str]] = {}
"""Rows and SHA-256 of every file that was read."""

Row = tuple[str, str]
"""A text and the key of its label."""


@dataclass
class LabelSet:
    """Texts of several labels. `wordings` are what may stand for a label: (name, description) pairs by its key.

    Without wordings the keys are the labels, and any two texts with different ones are each other's negatives.
    """

    name: str
    rows: list[Row]
    wordings: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)
    instructions: Sequence[str] = ("",)
    weight: float = 1.0
    by_label: dict[str, list[str]] = field(init=False)

    def __post_init__(self) -> None:
        self.keep(self.rows)

    def keep(self, rows: list[Row]) -> None:
        """Have these rows only."""
        self.rows, self.by_label = rows, defaultdict(list)
        for text, label in rows:
            self.by_label[label].append(text)


def read(data: Path, name: str, most: int | None = None) -> list[dict[str, Any]]:
    """The rows of a JSONL file, packed or not; the first ones if there are more than `most`."""
    file = data / f"{name}.jsonl"
    packed = data / f"{name}.jsonl.gz"
    source = packed if packed.exists() else file
    content = source.read_bytes()
    text = gzip.decompress(content) if source == packed else content
    rows = [json.loads(line) for line in text.decode("utf-8").split("\n")[:most] if line]
    FILES[str(source.relative_to(data))] = len(rows), hashlib.sha256(content).hexdigest()
    return rows


def labelled(data: Path, name: str, label: str = "label_text") -> list[Row]:
    """Texts and labels of a classification set."""
    return [(row["text"], str(row[label])) for row in read(data, name)]


def words_of(data: Path, name: str) -> list[str]:
    """The sentences of a set of tokens."""
    texts = [" ".join(row["tokens"]) if "tokens" in row else row["text"] for row in read(data, name)]
    return [text for text in texts if len(text.split()) > 5]


def field_of(data: Path, name: str, column: str, least: int = 6) -> list[str]:
    """One column's texts of at least so many words, each once."""
    return list(dict.fromkeys(row[column] for row in read(data, name, 20_000) if len(str(row[column]).split()) >= least))


def described(table: str) -> dict[str, list[tuple[str, str]]]:
    """Wordings from lines of the form `key = name: description | name: description | name`."""
    wordings: dict[str, list[tuple[str, str]]] = {}
    for line in table.strip().splitlines():
        key, _, rest = line.partition(" = ")
        parts = [part.strip().partition(": ") for part in rest.split(" | ")]
        wordings[key.strip()] = [(name, text) for name, _, text in parts]
    return wordings


def plain(labels: Iterable[str], *templates: str) -> dict[str, list[tuple[str, str]]]:
    """Wordings of labels that explain themselves: the name, and the name with each template as its description."""
    return {label: [(label, ""), *((label, text.format(label)) for text in templates)] for label in labels}


INTENT = ("", "What does the user want?", "What is the intent of this message?", "Which request is this?")
BANK = ("", "What does the bank's customer want?", "What is this question about?", "Why does the customer write?")
ABOUT = ("", "What is this text about?", "Which topic does this belong to?", "The topic of the text:")
KIND = ("", "What kind of text is this?", "Where was this text published?", "The genre:")
FEELS = ("", "What does the writer feel?", "Which emotion does this express?", "How does the person feel?", "The mood:")
OPINION = (
    "",
    "What is the sentiment?",
    "Is the customer content?",
    "What does the writer think of it?",
    "The opinion:",
)
ASKS = ("", "What does the question ask for?", "What kind of answer is expected?", "The type of the answer:")
HARM = ("", "Is this comment toxic?", "Does this message insult someone?", "Should a moderator remove this?")

SNIPS = """
add to playlist = add to playlist: put a song or an album on a list of music | playlist: add a track to it
book restaurant = book restaurant: reserve a table to eat | reservation: a table at a restaurant
get weather = get weather: forecast, temperature, rain or sun | weather: what it will be like outside
play music = play music: listen to a song, an artist or an album | listening: start some music
rate book = rate book: give stars or points to a book | book rating: how good a book is
search creative work = search creative work: find a film, a song, a game or a show by its title | find a title
search screening event = search screening event: when and where films are shown | cinema times
"""

DBPEDIA = """
artist = artist: a painter, musician, writer or actor | a person in the arts
company = company: a business, its products and owners | business
office holder = office holder: a politician, a judge or a minister | politics: a person in office
building = building: a house, a church, a hotel or a station | architecture
village = village: a small settlement and its inhabitants | a small place where people live
plant = plant: a tree, a flower or another species of plants | botany
educational institution = educational institution: a school, a college or a university | education
animal = animal: a species of mammals, birds, insects or fish | zoology
album = album: a record of songs, its tracks and its release | music
written work = written work: a book, a novel, a magazine or a journal | literature
natural place = natural place: a river, a lake, a mountain or another landform | nature: landscapes
mean of transportation = means of transportation: a ship, a car, an aircraft or a train | vehicles
athlete = athlete: a player, a runner, a coach, their teams and records | sports
film = film: a movie, its director and its cast | cinema
"""

DOMAINS = """
auto and commute = cars and traffic: driving, fuel, tires and directions | car
banking = banking: accounts, transfers and payments | money
credit cards = credit cards: limits, rewards, lost cards | card
home = home: lists, reminders, music and smart devices | household
kitchen and dining = kitchen and dining: recipes, meals and restaurants | food
meta = settings: the assistant's name, language, volume | about the assistant
small talk = small talk: greetings, jokes, questions about the assistant itself | chat
travel = travel: flights, hotels, visas, luggage | trip
utility = utilities: time, calculations, weather, translations, timers | tools
work = work: payday, holidays, taxes, meetings | job
"""

REVIEWS = """
positive = positive: good, satisfied, full of praise | satisfied: the buyer likes it | praise: it works well | good
negative = negative: bad, disappointed, complaining | unhappy: the buyer dislikes it | complaint: it is wrong | bad
"""
NEUTRAL = """
neutral = neutral: a plain fact, no opinion | no opinion: neither good nor bad | factual: says what is | neutral
"""

RATINGS = """
very positive = very positive: wonderful, perfect, the best | excellent: five stars | delighted: loves it
positive = positive: good, pleasant, worth it | good: four stars | pleased: likes it
neutral = neutral: mixed, average, neither good nor bad | okay: three stars | indifferent: has no clear opinion
negative = negative: weak, disappointing, not worth it | poor: two stars | dissatisfied: does not like it
very negative = very negative: terrible, awful, the worst | horrible: one star | furious: hates it
"""

HARMFUL = """
toxic = toxic: insulting, hateful or vulgar | offensive: rude words, insults, swearing | abusive: attacks people | toxic
not toxic = not toxic: polite and harmless | harmless: no insult, no hatred | acceptable: a normal comment | neither
"""

COUNTERFACTUAL = """
counterfactual = counterfactual: I wish, would have, if only | unreal: imagines what did not happen | a wish
not counterfactual = not counterfactual: says what is or was | real: describes what happened | a fact
"""

TYPES = """
person = person: somebody's name, who it is | human: a person or a group of people | who
place = place: a city, a country, where something is | location: where | where
date = date: a day, a year, a time, when it was | point in time: when | when
number = number: how many, how much, how long, how old | quantity: a count or an amount | numeric value
reason = reason: why something happens | cause: because of what | explanation of why
manner = manner: how something is done or works | method: a way to do something | description of how
definition = definition: what a word or thing is | meaning: an explanation of a term | description of what it is
thing = thing: an object, an animal, a work, an event, a name | entity: a thing | what or which thing
yes or no = yes or no: whether something is true | confirmation: true or false | yes-no question
"""

DOLLY = """
open_qa = question: asks for a fact about the world | knowledge
general_qa = advice: asks for an opinion or a general explanation | opinion
classification = classification: put things into groups | sorting a list
closed_qa = reading: answer from the passage | question about a text
information_extraction = extraction: find names, dates or facts in a text | pull data out of a text
summarization = summary: make a text shorter | sum up
brainstorming = brainstorming: give a list of ideas | ideas
creative_writing = creative writing: write a story, a poem, a letter | invent a text
"""

GENRES = """
review = product review: a buyer's opinion of a thing | shopping: a buyer writes about a product | customer review
wiki = encyclopedia article: facts about a person, a place or a thing | Wikipedia | reference work
reddit = forum post: people chat and tell about their day on social media | discussion | social media comment
tale = fairy tale: kings, princesses, giants and magic | a story for children | fiction
science = scientific abstract: what a paper does and shows | academic paper | research abstract
doctor = conversation with a doctor: symptoms and medicines | medical visit | dialogue of patient and doctor
job = job advert: skills, tasks and the team | a company looks for staff | vacancy
code = programming question: code, errors and libraries | how to write a program | question of a developer
booking = table reservation: date, time and number of guests | message to a restaurant
bible = Bible: the Lord, prophets and kings of Israel | scripture | holy book
law = law: sections, regulations and penalties | legal text | government regulations
manual = software manual: functions, settings and how to use them | technical documentation | instructions for software
meeting = meeting transcript: people discuss what to do | spoken conversation | minutes of a meeting
tweet = tweet: a short public message with tags and links | short social media message | microblog
"""

SECTIONS = """
FAM/SOCHX = family and social history: relatives, job, smoking, alcohol | family | habits
GENHX = history of the illness: how the complaint began and went | present illness | symptoms over time
PASTMEDICALHX = past medical history: earlier illnesses | earlier diseases | chronic conditions
CC = chief complaint: why the patient comes today | reason for the visit | main problem
PASTSURGICAL = past surgery: operations | earlier operations | surgery
ROS = review of systems: asks about all parts of the body | check of all symptoms | other symptoms
ALLERGY = allergies: what the patient cannot take | allergy | reactions to drugs or food
MEDICATIONS = medications: drugs and doses that are taken now | medicines | pills
"""

FEELINGS = {
    "sadness": "sad miserable heartbroken gloomy lonely empty hopeless down hurt crushed melancholy defeated tearful",
    "joy": "happy joyful cheerful delighted glad thrilled elated content pleased jolly ecstatic merry blissful",
    "love": "loving affectionate tender devoted adored caring fond passionate romantic cherished sympathetic warm",
    "anger": "angry furious irritated enraged annoyed mad resentful outraged bitter cross hostile frustrated offended",
    "fear": "afraid scared anxious terrified nervous worried frightened insecure uneasy panicked shaky threatened",
    "surprise": "surprised amazed astonished stunned shocked startled curious dazed impressed speechless",
    "disgust": "disgusted revolted repulsed sickened nauseated appalled",
    "pride": "proud accomplished triumphant honoured dignified victorious",
    "shame": "ashamed embarrassed guilty humiliated sorry regretful remorseful",
    "gratitude": "grateful thankful blessed appreciative indebted",
    "hope": "hopeful optimistic confident encouraged inspired eager determined",
    "boredom": "bored dull listless weary indifferent uninterested",
    "calm": "calm peaceful relaxed serene quiet rested",
    "envy": "envious jealous covetous",
    "confusion": "confused puzzled lost bewildered uncertain",
}
"""Words for each feeling; the label's other names are some of them."""

FEELING_TEXTS = """
i feel {0} {1} | i am so {0} {1} | feeling {0} {1} | {1} and now i feel rather {0} | she was {0} {1} | {1}. So {0}!
i was left feeling {0} {1} | they are all {0} {1} | i feel a little {0} {1} but it will pass | {1}, i am {0} #{0}
i have been {0} since yesterday, {1} | why am i so {0} {1}? | he seemed {0} {1} | i could not help feeling {0} {1}
i think i feel {0} whenever this happens {1} | it makes me {0} {1} | i started the day feeling {0} {1}
"""
FEELING_CONTEXTS = """
about my new job | because of what he said | when i think of home | after the phone call | about the exam tomorrow
with my family this weekend | since we moved | while i was waiting for the bus | about how the year went | at the party
when the letter came | about the election | after reading her message | on the way to work | about my old friends
while watching the game | now that the kids have left | about the state of the house | with all this snow
after three weeks of rain | about being forty soon | when my neighbour rang | on the first day of school
"""

THINGS = "film book hotel phone meal course app camera song show restaurant game play novel service album laptop plot"
GRADES = {
    "very positive": "brilliant superb perfect outstanding breathtaking magnificent unforgettable flawless fantastic",
    "positive": "good nice enjoyable pleasant solid charming likeable decent clever fun",
    "neutral": "average ordinary okay so-so middling passable acceptable unremarkable",
    "negative": "weak dull disappointing tedious flat clumsy forgettable mediocre annoying bland",
    "very negative": "terrible awful horrible dreadful unbearable atrocious appalling disastrous worthless",
}
GRADE_TEXTS = """
the {1} is {0} . | what a {0} {1} . | a {0} {1} from start to end | i thought the {1} was {0} | {0} {1} , {0} people
it is a {0} {1} , and i would say so to anyone | a {1} so {0} that i told everyone | honestly , the {1} was {0} .
we found this {1} {0} and our friends did too | the {1} turns out to be {0} , just like the last one
"""
MIXED_TEXTS = """
the {1} has a {0} start but a {2} end . | a {0} idea , {2} in its execution | parts are {0} , parts are {2}
the {1} is {0} for some and {2} for others | i liked the {0} first half and not the {2} second one
"""


def parts_of(table: str) -> list[str]:
    """The parts between bars and lines."""
    return [part.strip() for part in re.split(r"[|\n]", table) if part.strip()]


def feelings(chance: random.Random, count: int = 3000) -> LabelSet:
    """Sentences made of a word for a feeling and a context."""
    templates, contexts = parts_of(FEELING_TEXTS), parts_of(FEELING_CONTEXTS)
    rows = []
    for _ in range(count):
        feeling = chance.choice([*FEELINGS])
        word = chance.choice(FEELINGS[feeling].split())
        rows.append((chance.choice(templates).format(word, chance.choice(contexts)), feeling))
    wordings = {}
    for feeling, words in FEELINGS.items():
        known = words.split()
        chance.shuffle(known)
        names = [feeling, feeling, *known[:2]]
        lists = [", ".join(chance.sample(known, 3)) for _ in names]
        wordings[feeling] = [(name, f"feeling {text}") for name, text in zip(names, lists, strict=True)]
    return LabelSet("feelings", rows, wordings, FEELS, 1.5)


def ratings(chance: random.Random, count: int = 2000) -> LabelSet:
    """Opinions made of an adjective and a thing."""
    rows = []
    for _ in range(count):
        grade, thing = chance.choice([*GRADES]), chance.choice(THINGS.split())
        word = chance.choice(GRADES[grade].split())
        if grade == "neutral" and chance.random() < 0.5:
            good, bad = (chance.choice(GRADES[name].split()) for name in ("positive", "negative"))
            rows.append((chance.choice(parts_of(MIXED_TEXTS)).format(good, thing, bad), grade))
        else:
            rows.append((chance.choice(parts_of(GRADE_TEXTS)).format(word, thing), grade))
    return LabelSet("ratings", rows, described(RATINGS), OPINION, 0.7)


def answer_type(question: str) -> str:
    """The type of a question's answer by its first words; '' if they do not say it."""
    rules = (
        (r"(who|whom|whose)\b|(what|which) (person|man|woman|actor|singer|king|president|author)\b", "person"),
        (r"where\b|(in |at |to |from )?(what|which) (city|country|place|state|town|river|street|region)\b", "place"),
        (r"when\b|(in |on |during )?(what|which) (year|date|day|month|century|decade|time)\b", "date"),
        (r"how (many|much|long|old|far|often|tall|big|high)\b|what (percentage|number|amount)\b", "number"),
        (r"why\b|what (caused|is the reason)\b", "reason"),
        (r"how (do|does|did|can|is|are|was|were|to|could|would|should)\b", "manner"),
        (r"what (is|are) (a|an) [\w-]+( [\w-]+)?\s*\?$|what does .* mean\b|define\b", "definition"),
        (r"(what|which) (is|are|was|were|did|does|do|[a-z]+)\b", "thing"),
    )
    return next((kind for pattern, kind in rules if re.match(pattern, question.strip().casefold())), "")


def capped(rows: Sequence[Any], count: int, chance: random.Random) -> list[Any]:
    """At most so many of the rows."""
    return chance.sample(list(rows), min(count, len(rows)))


def pool(rows: Sequence[Row], count: int, chance: random.Random) -> list[Row]:
    """About so many rows, of each label the same number."""
    by_label: dict[str, list[Row]] = defaultdict(list)
    for row in chance.sample(list(rows), len(rows)):
        by_label[row[1]].append(row)
    labels = chance.sample(sorted(by_label), min(count, len(by_label)))
    return [row for label in labels for row in by_label[label][: max(1, count // len(labels))]]


def training_sets(data: Path, chance: random.Random) -> list[LabelSet]:
    """The sets that are trained on."""
    squad = read(data, "qa/squad_v2.0_train_sample/train")
    shifts: Callable[[str], list[str]] = lambda name: field_of(data, f"qa/squadshifts_{name}/train", "context")  # noqa: E731
    wiki = field_of(data, "qa/qamr/train", "context")
    genres = {
        "review": shifts("amazon_reviews"),
        "wiki": field_of(data, "qa/squad_v2.0_train_sample/train", "context") + wiki,
        "reddit": shifts("reddit"),
        "tale": field_of(data, "qa/fairytaleqa_extractive/train", "context"),
        "science": field_of(data, "summarization/acl_abstract_title/train", "document"),
        "doctor": field_of(data, "summarization/mts_dialog/train", "document"),
        "job": words_of(data, "ner/skillspan/train"),
        "code": words_of(data, "ner/stackoverflow/train"),
        "booking": field_of(data, "ner/restaurants8k/train", "text"),
        "bible": field_of(data, "translation/bible_en_de/train", "en"),
        "law": field_of(data, "translation/canada_laws_en_fr/train", "en"),
        "manual": field_of(data, "translation/php_docs_en_fr/train", "en"),
        "meeting": field_of(data, "summarization/qmsum_query/train", "document"),
        "tweet": words_of(data, "ner/broad_twitter_corpus/train"),
    }
    genres = {name: capped(texts, 400, chance) for name, texts in genres.items()}
    questions = [row["question"] for row in (*squad, *capped(read(data, "qa/qamr/train"), 6000, chance))]
    questions += [row["instruction"] for row in read(data, "generation/dolly/train") if row["category"] == "open_qa"]
    types = [(text, kind) for text in questions if (kind := answer_type(text))]
    types += [(row["question"] + "?", "yes or no") for row in read(data, "qa/boolq/train")]
    toxic = [(row["text"], "toxic") for row in read(data, "ner/toxic_spans/train") if row["entities"]]
    calm = [(text, "not toxic") for text in capped(genres["reddit"], 150, chance)]
    harm = [*labelled(data, "classification/surge_toxicity/train"), *capped(toxic, 150, chance), *calm]
    reviews = labelled(data, "sentiment/customer_reviews/train")
    facts = [(text, "neutral") for text in capped([*wiki, *genres["tweet"]], 1200, chance)]
    titles = [(row["context"], row["title"]) for row in squad]
    titles += [(row["passage"], row["title"]) for row in read(data, "qa/boolq/train")]
    shifted = read(data, "qa/squadshifts_new_wiki/train")
    titles += [(row["context"], row["title"].replace("_", " ")) for row in shifted]
    papers = [(row["document"], row["summary"]) for row in read(data, "summarization/acl_abstract_title/train")]
    queries = [(row["context"], row["question"]) for row in capped([*squad, *shifted], 4000, chance)]
    clinc = [row for row in read(data, "classification/clinc150/train") if row["label_text"] != "out of scope"]
    intents, domains = ([(row["text"], row[key]) for row in clinc] for key in ("label_text", "domain"))
    banking, bitext = (labelled(data, f"classification/{n}/train") for n in ("banking77", "bitext_support_intents"))
    sections = described(SECTIONS)
    visits = [(row["document"], row["section"]) for row in read(data, "summarization/mts_dialog/train")]
    dolly = [(row["instruction"], row["category"]) for row in read(data, "generation/dolly/train")]
    support = ("the customer asks about: {}", "{} with a shop")
    sets = [
        LabelSet("banking77", banking, plain({label for _, label in banking}, "the customer asks about: {}"), BANK),
        LabelSet("clinc150", intents, plain({label for _, label in intents}, "a request about {}"), INTENT),
        LabelSet("clinc150 domains", domains, described(DOMAINS), ABOUT, 1.0),
        LabelSet("bitext", bitext, plain({label for _, label in bitext}, *support), INTENT, 0.7),
        LabelSet("snips", labelled(data, "classification/snips_intents/train"), described(SNIPS), INTENT, 0.5),
        LabelSet("dbpedia14", labelled(data, "classification/dbpedia14/train"), described(DBPEDIA), ABOUT, 2.0),
        LabelSet("customer reviews", reviews, described(REVIEWS), OPINION, 1.5),
        LabelSet("reviews and facts", [*reviews, *facts], described(REVIEWS + NEUTRAL.lstrip()), OPINION, 1.5),
        LabelSet(
            "counterfactual",
            labelled(data, "classification/amazon_counterfactual/train"),
            described(COUNTERFACTUAL),
            ("", "Did this happen?", "Is this real?"),
            0.3,
        ),
        LabelSet("toxicity", harm, described(HARMFUL), HARM, 0.8),
        LabelSet("answer types", types, described(TYPES), ASKS, 1.5),
        LabelSet("dolly", dolly, described(DOLLY), ("", "What does this instruction ask for?"), 0.5),
        LabelSet(
            "genres", [(t, n) for n, texts in genres.items() for t in texts], described(GENRES), KIND + ABOUT, 2.0
        ),
        LabelSet("visits", [row for row in visits if row[1] in sections], sections, ABOUT, 0.3),
        LabelSet("titles", [row for row in titles if row[1].strip()], {}, ABOUT, 3.0),
        LabelSet("papers", papers, {}, ("", "The title of this paper:"), 1.0),
        LabelSet("questions", queries, {}, ("", "Which question does this text answer?"), 1.0),
        feelings(chance),
        ratings(chance),
    ]
    for each in sets:
        each.keep(pool(each.rows, 1200 if len(each.by_label) > 50 else 500, chance))
    return sets


def hypotheses(data: Path) -> list[tuple[str, list[tuple[str, bool]]]]:
    """Premises, each with hypotheses and whether they follow."""
    by_premise: dict[str, list[tuple[str, bool]]] = defaultdict(list)
    for name in ("nli/snli/validation", "nli/fever_nli/train"):
        for row in read(data, name):
            by_premise[row["premise"]].append((row["hypothesis"], row["label"] == "entailment"))
    return list(by_premise.items())


CHOOSING: Mapping[str, tuple[str, str, str]] = {
    "classification/sib200/test": (
        "What is this text about?",
        "label_text",
        """
        science and technology = science and technology: research, machines and discoveries
        travel = travel: trips, places to see and transport
        politics = politics: governments, laws and wars
        sports = sports: games and players
        health = health: illnesses and medicine
        entertainment = entertainment: music, film and celebrities
        geography = geography: countries, landscapes and climate
        """,
    ),
    "classification/sms_spam/test": (
        "Is this text message spam?",
        "label_text",
        """
        not spam = not spam: a private message between friends or family
        spam = spam: advertising, a prize to claim or a number to call
        """,
    ),
    "classification/scicite_sample/test": (
        "Why is the other work cited?",
        "label_text",
        """
        background = background: what is known about the topic
        method = method: a technique, a tool or data that is used
        result = result: a comparison with the results of others
        """,
    ),
    "classification/hatecheck/test": (
        "Is this hateful?",
        "label_text",
        """
        hateful = hateful: attacks a group of people
        non-hateful = not hateful: no attack on a group of people
        """,
    ),
    "sentiment/rotten_tomatoes/validation": (
        "What does the critic think of the film?",
        "label_text",
        """
        negative = negative: a bad film
        positive = positive: a good film
        """,
    ),
    "classification/goemotions/validation": (
        "Which emotion does the comment express?",
        "label_texts",
        """
        admiration = admiration: impressed by somebody or something
        amusement = amusement: finds something funny
        confusion = confusion: does not understand
        disappointment = disappointment: had hoped for more
        disgust = disgust: finds something revolting
        gratitude = gratitude: says thanks
        optimism = optimism: hopes for the best
        remorse = remorse: says sorry
        """,
    ),
    "classification/tweet_eval_stance/test": (
        "Does the writer agree or disagree?",
        "label_text",
        """
        none = no opinion: does not take a side
        against = against: opposes it
        favor = in favor: supports it
        """,
    ),
    "classification/subj/test": (
        "Is this a fact or an opinion?",
        "label_text",
        """
        objective = objective: tells what happens in a story
        subjective = subjective: says what the reviewer thinks
        """,
    ),
}
"""Sets by which the adapter is chosen and calibrated, never trained on: instructions, column, labels."""


FITTED = ("sib200", "hatecheck", "rotten_tomatoes", "goemotions")
"""Those that temperature and bias are fitted to."""


def choosing_sets(data: Path, count: int) -> list[LabelSet]:
    """The sets of `CHOOSING`, with at most so many rows each."""
    chance = random.Random(7)
    sets = []
    for name, (instructions, column, table) in CHOOSING.items():
        wordings = described(table)
        values = [(row["text"], row[column]) for row in read(data, name)]
        rows = [(text, v[0] if isinstance(v, list) else v) for text, v in values if isinstance(v, str) or len(v) == 1]
        rows = [row for row in rows if row[1] in wordings]
        sets.append(LabelSet(name.split("/")[1], capped(rows, count, chance), wordings, (instructions,)))
    return sets
