"""The words for labels and instructions, all written for this recipe: `key = name: description | name`."""

from __future__ import annotations

from collections.abc import Mapping

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
