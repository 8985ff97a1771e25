"""The entity types of the training sets in words: several names and descriptions for each, written for the recipe."""

from __future__ import annotations

TYPES: dict[str, dict[str, str]] = {}
"""By set and label: names between bars, then descriptions between bars, with a colon between them."""

TYPES["few_nerd_inter"] = {
    "other organization": "organization|organisation|group or institution: an organised group of people, such as an association, union or charity|a club, society, agency or institution",
    "country, city or region": "place|country, city or region|geopolitical entity|GPE: a country, state, province, city, town or village|a named place where people live|any country, city or administrative region",
    "politician": "politician|statesman|political figure: a person who holds or seeks political office|a president, minister, senator, mayor or king|someone active in politics",
    "biological thing": "biological entity|biomolecule: a protein, gene, cell or other biological substance|things that biology studies, such as proteins, enzymes and genes",
    "sports team": "sports team|club|football club: a team that plays a sport|a club or national team that competes in matches",
    "road or railway": "road or railway|transport route|highway: a named road, street, motorway, railway line or station|routes on which people travel",
    "other artwork": "artwork|work of art: a painting, sculpture, opera or other creative work|something that an artist made",
    "company": "company|business|corporation|firm: a business that makes or sells things|a commercial enterprise, such as a manufacturer, record label or airline",
    "education": "school or university|university|educational institution|college: a school, college, university or academy|where people study",
    "other product": "product|product or model: a thing that is made and sold, such as a device, an engine or a game console|a commercial item",
    "disease": "disease|illness|medical condition: a sickness or disorder|a condition that makes people or animals ill",
    "airport": "airport|airfield: a place where airplanes take off and land|an aerodrome or air base",
    "food": "food|dish or drink: something to eat or drink|a meal, an ingredient, a beverage or a crop",
    "sports facility": "stadium|sports venue|sports facility: a stadium, arena, track or other place where sport is played|where matches take place",
    "sports league": "sports league|league|championship: a league or division in which teams compete|an organisation of teams that play one another",
    "island": "island|isle: land surrounded by water|an island or a group of islands",
    "airplane": "aircraft|airplane|plane: a type of airplane or helicopter|a machine that flies",
    "restaurant": "restaurant|restaurant or bar: a place where meals are served|a named restaurant, cafe, pub or diner",
    "award": "award|prize|honour: a prize, medal or title given for an achievement|an honour that someone wins or receives",
    "language": "language|human language: a language that people speak or write|English, Latin, Chinese and other languages",
    "astronomical object": "astronomical object|celestial body|star or planet: a star, planet, moon, galaxy or comet|an object in space",
    "artist or author": "artist or author|artist|author|musician|writer: a person who writes, paints, composes or makes music|a writer, poet, painter, singer or band member",
    "mountain": "mountain|mountain range: a mountain, hill, peak or range|a high natural elevation of land",
    "media or newspaper": "newspaper or broadcaster|media|magazine|journal|news outlet: a newspaper, magazine, journal, radio or television station|an organisation that publishes news",
    "software": "software|computer program|programming language: a program, an operating system, a programming language or an app|a piece of software",
    "battle or war": "battle or war|war|military conflict: an armed conflict, a battle, a siege or a campaign|fighting between armies",
    "protest": "protest|revolution: a demonstration, uprising, strike or revolution|an event in which people rise against something",
    "director": "film director|director|filmmaker: a person who directs films, plays or programmes|the person who directed a movie",
    "broadcast program": "television or radio show|TV series|broadcast program: a series, show or programme on television or radio|something that people watch on TV",
    "soldier": "soldier|military person|officer: a member of an army, navy or air force|a general, an admiral or another person in the military",
    "ship": "ship|vessel|boat: a ship, submarine or boat|a vessel that sails on water",
    "law": "law|legal act|treaty: a law, constitution, treaty or amendment|a legal document or rule",
    "film": "film|movie: a motion picture|the title of a movie",
    "hotel": "hotel|inn: a place where travellers stay|a named hotel, resort or motel",
    "god": "god|deity|religious figure: a god, goddess or divine being|a being that people worship",
    "disaster": "disaster|natural disaster|accident: an earthquake, hurricane, flood, fire or crash|an event that destroys much",
}
TYPES["wnut17"] = {
    "person": "person|person's name|people: the name of a human being|someone, real or fictional",
    "location": "location|place: a city, country, landmark or other place|a geographic name",
    "group": "group|band or team|organization: a music band, sports team or other group that is no company|a non-commercial group of people",
    "corporation": "company|corporation|business: a commercial company or brand owner|a firm",
    "creative-work": "creative work|title of a work: a song, film, book, show or game|the title of something creative",
    "product": "product|consumer product|brand: a thing that one can buy, such as a phone or a car|a named product",
}
_PER = "person|PER|human|name of a person: a named human being|people, by first or last name"
_ORG = "organization|organisation|ORG|institution: a company, agency, team, party, band or other organised group|companies, institutions and clubs"
_LOC = "location|LOC|place|geographic location: a country, city, river, building or other place|somewhere on a map"
TYPES["wikigold"] = {
    "PER": _PER,
    "ORG": _ORG,
    "LOC": _LOC,
    "MISC": "miscellaneous|other named entity|misc: a name that is no person, organization or location, such as a nationality, language, event or title of a work|other proper names",
}
TYPES["broad_twitter_corpus"] = {"PER": _PER, "ORG": _ORG, "LOC": _LOC}
TYPES["uner_en_ewt"] = {"PER": _PER, "ORG": _ORG, "LOC": _LOC}
TYPES["bc5cdr"] = {
    "Chemical": "chemical|drug|chemical compound|medication|substance: a drug, a chemical element or a compound|a medicine or another chemical substance",
    "Disease": "disease|symptom or disease|disorder|medical condition: an illness, a symptom or a side effect|a disorder that a patient has",
}
TYPES["ncbi_disease"] = {
    "Disease": "disease|disorder|illness|genetic disease: a disease, a syndrome or a tumour|a condition that makes people ill"
}
TYPES["bionlp13cg"] = {
    "gene or gene product": "gene or protein|protein|gene|enzyme: a gene, a protein or another gene product|a biological macromolecule that a gene codes for",
    "cancer": "cancer|tumour: a cancer, carcinoma or another malignant tumour|a kind of cancer",
    "cell": "cell|cell type: a type of cell or a cell line|cells",
    "organism": "organism|species|living being: a species or an individual, such as mice, patients or a virus|animals, plants, people and microbes",
    "simple chemical": "chemical|small molecule|chemical compound: a simple chemical, a drug or an ion|a substance that is no protein",
    "multi-tissue structure": "body structure|anatomical structure: a part of the body made of several tissues, such as vessels|vessels, nerves and membranes",
    "organ": "organ|body organ: liver, heart, lung and other organs|an organ of the body",
    "organism subdivision": "body part|region of the body: a limb, the head or another part of the body",
    "tissue": "tissue|body tissue: a kind of tissue, such as endothelium or bone|what organs are made of",
    "organism substance": "body fluid|bodily substance: blood, serum, urine and other substances of a body",
    "cellular component": "cell part|cellular component: a part of a cell, such as nucleus or membrane|organelles",
    "pathological formation": "lesion|pathological formation: an abnormal growth, a lesion or an ulcer|diseased tissue",
    "amino acid": "amino acid: a building block of proteins, such as serine or glycine",
    "anatomical system": "anatomical system|organ system: the immune system, the nervous system and others",
    "immaterial anatomical entity": "body cavity|space in the body: a cavity, lumen or space within a body",
}
TYPES["cyner"] = {
    "Malware": "malware|computer virus|trojan: a harmful program, a virus or a botnet|malicious software by name",
    "System": "system|software or platform|operating system: an operating system, a program, an app or a device|a computer system",
    "Organization": "organization|company|vendor: a company, an agency or a security firm|who makes or investigates software",
    "Indicator": "indicator of compromise|technical indicator: a hash, a domain, an IP address, a URL or a file name|a trace of an attack",
    "Vulnerability": "vulnerability|security hole|CVE: a weakness of software that attackers use|a CVE number or the name of an exploit",
}
TYPES["snips_slots"] = {
    "artist": "artist|musician|singer|band: who makes the music|the name of a singer or a group",
    "album": "album|record: the title of a music album",
    "service": "music service|streaming service: where music is played, such as an app or a website",
    "playlist": "playlist|name of a playlist: a list of songs by its name",
    "object type": "kind of thing|type of work: the kind of work that is meant, such as book, movie or song",
    "rating value": "rating|score: the number of points or stars that something gets|how good it is rated",
    "best rating": "highest possible rating|maximum score: the number of points that are possible",
    "music item": "kind of music item|music item: song, track, album or tune",
    "track": "song|track|song title: the title of a piece of music",
    "playlist owner": "owner|whose it is: a word that says whose list it is, such as my or a person's name",
    "year": "year|release year|decade: a year or a decade|when it was released",
    "sort": "order|sorting: a word such as best, newest, top or popular|quality by which results are ordered",
    "movie name": "movie title|film|movie: the title of a film",
    "party size number": "number of people|party size: how many persons a table is for|the number of guests",
    "state": "state|province: a state of a country|US states",
    "city": "city|town: the name of a city or town",
    "timeRange": "time|date or time|time range: a day, an hour or a period|when something happens",
    "object part of series type": "part of a series|series part: saga, chronicle, novel or another part of a series",
    "movie type": "kind of movie|movie type: films, animated movies and other kinds of movies",
    "spatial relation": "distance|spatial relation|proximity: words such as near, close to or nearby|how far away something is",
    "geographic poi": "landmark|sight: a park, monument or other landmark",
    "restaurant type": "kind of restaurant|type of restaurant: restaurant, bar, cafe, pub or diner",
    "party size description": "guests|people in the party: who comes along, such as my mother and I",
    "object location type": "venue|kind of venue: cinema, movie theatre or movie house",
    "object name": "title|title of a work|name of the object: the name of a book, a movie, a show or a song|what the work is called",
    "rating unit": "unit of rating|rating unit: stars or points",
    "location name": "cinema|theater chain: the name of a cinema or a company of cinemas",
    "current location": "current position|here: words for the place where the speaker is",
    "served dish": "dish|food|meal: a dish that a restaurant serves|something to eat",
    "country": "country|nation: the name of a country",
    "condition temperature": "temperature|weather temperature: hot, cold, warmer and the like",
    "condition description": "weather|weather condition: rain, snow, storm, fog, sun and the like",
    "genre": "genre|music genre|style of music: a kind of music such as jazz or rock",
    "restaurant name": "restaurant name|name of the restaurant: what a restaurant is called",
    "cuisine": "cuisine|kind of food: a style of cooking, such as Italian or Thai|the nationality of the food",
    "facility": "amenity|facility|service offered: something that a restaurant has, such as wifi, parking or a pool",
    "poi": "point of interest|address or place: a street, a station or a building near which something is",
    "entity name": "title|name of a song or artist: the song, album or artist that is to be added",
}
TYPES["stackoverflow"] = {
    "data structure": "data structure: array, list, table, tree and the like|how data is organised",
    "application": "application|software|program|tool: a program, server, browser or tool by its name",
    "library function": "function|library function|method: a function or method of a library|what code calls",
    "data type": "data type: string, integer, boolean and the like",
    "language": "programming language|computer language: Java, Python, HTML and the like|a language that code is written in",
    "library": "library|software library|framework: a software package or framework that programs use",
    "variable name": "variable|variable name: the name of a variable in code",
    "value": "value|literal value: a number or text as a value in code",
    "device": "device|hardware: a computer, phone or piece of hardware",
    "user interface element": "user interface element|UI element: button, window, menu, page and the like|part of a screen",
    "error name": "error|exception: the name of an error or exception",
    "class name": "class|class name: the name of a class that the author wrote",
    "library class": "library class|class of a library: a class or type that a library has",
    "website": "website|web site: the name or address of a web site",
    "version": "version|version number: the version of a program, such as 2.7",
    "file name": "file name|file: the name or path of a file",
    "file type": "file type|file format: PDF, CSV, image and other kinds of files",
    "operating system": "operating system|OS: Windows, Linux, Android and the like",
    "algorithm": "algorithm|method: a named algorithm, such as quicksort",
    "html xml tag": "HTML tag|XML element|markup tag: an element of HTML or XML",
    "organization": "organization|company: a company or community",
}
TYPES["restaurants8k"] = {
    "people": "number of people|party size|guests: how many people come",
    "date": "date|day: a day, such as tomorrow or 5 May|when, as a day",
    "time": "time|hour|time of day: a time of day, such as 7 pm|at what hour",
    "first name": "first name|given name: the first name of a person",
    "last name": "last name|surname|family name: the family name of a person",
}
TYPES["skillspan"] = {
    "knowledge": "knowledge|subject or field|technology: a field, a technology or a subject that one has to know|academic discipline, programming language or tool",
    "skill": "skill|task|ability: something that one has to be able to do|a task or an attitude that a job needs",
}
TYPES["pii_presidio_synth"] = {
    "credit card": "credit card number|credit card: the number of a payment card",
    "person": "person|full name|name: the name of a person",
    "age": "age|person's age: how old someone is",
    "gpe": "city or country|place|geopolitical entity: a city, state or country",
    "street address": "address|street address|postal address: street and house number",
    "nrp": "nationality|nationality, religion or political group: a nationality, a religion or a political group|words such as German or Buddhist",
    "organization": "organization|company: the name of a company or institution",
    "title": "form of address|title: Mr., Mrs., Dr. and the like",
    "date time": "date or time|date: a date, a time or a weekday",
    "phone number": "phone number|telephone: the number of a telephone",
    "email address": "email address|e-mail: an address for electronic mail",
    "domain name": "domain name|web address|URL: the address of a web site",
    "us ssn": "social security number|SSN: a US social security number",
    "zip code": "zip code|postal code: the postcode of an address",
    "iban code": "IBAN|bank account number: the number of a bank account",
    "ip address": "IP address: the address of a computer in a network",
    "us driver license": "driver's license number|driving licence: the number of a driving licence",
}
TYPES["grobid_wikipedia"] = {
    "event": "event|historical event: a war, battle, treaty or other event in history",
    "location": "location|place: a country, city, region or river|a geographic place",
    "period": "period|date|time period: a year, a century, a date or an age|when it was",
    "organisation": "organisation|organization|institution: an army, a government, a company or an association",
    "concept": "concept|idea: an abstract idea, such as socialism",
    "measure": "measure|quantity|number: an amount with or without a unit",
    "person type": "kind of person|profession|role: a profession, rank or role of people",
    "title": "title|rank: a title or rank of a person, such as emperor",
    "person": "person|human: the name of a person",
    "national": "nationality|people of a nation|ethnic group: a nation's people or an adjective of nationality, such as French",
    "artifact": "artifact|man-made object: a thing that people made, such as a weapon",
}
TYPES["toxic_spans"] = {
    "toxic": "insult|toxic words|swear word|rude expression: words that insult, threaten or curse|offensive language"
}

UNIONS: dict[str, tuple[str, ...]] = {
    "person": ("politician", "artist or author", "director", "soldier"),
    "any organization": (
        "other organization",
        "sports team",
        "company",
        "education",
        "sports league",
        "media or newspaper",
    ),
    "creative work": ("film", "other artwork", "broadcast program"),
    "event": ("battle or war", "protest", "disaster"),
    "building": ("airport", "restaurant", "sports facility", "hotel"),
    "natural place": ("island", "mountain"),
    "vehicle": ("airplane", "ship"),
}
"""Wider classes of Few-NERD's types. Not all of their entities are marked: athletes are persons too."""

OPEN = frozenset(UNIONS)
TYPES["few_nerd_inter"] |= {
    "person": "person|human|people|person's name: the name of a human being|a named individual",
    "any organization": "organization|organisation|institution: a company, team, school, party or other institution|an organised group of people with a name",
    "creative work": "creative work|title of a work|work: a film, song, book, painting or show|the title of something that someone created",
    "event": "event|historical event: something that happened, such as a war, a disaster or a festival|a named occurrence",
    "building": "building|facility: a building or another place that people made",
    "natural place": "natural feature|landform: a mountain, island, lake or another part of nature",
    "vehicle": "vehicle|means of transport: a ship, an aircraft, a car or a train",
    "country": "country|nation|sovereign state: the name of a country|a nation such as France or Japan",
    "city or region": "location|city or region|city|place that is no country: a city, a town, a region or another place|a place within a country",
}

TYPES["dbpedia14"] = {
    "artist": "artist|musician or writer: a singer, painter, writer, actor or another artist",
    "company": "company|business: a business that makes or sells things",
    "office holder": "politician|office holder: a person in a public office, such as a minister or a judge",
    "building": "building|historic building: a house, church, school, tower or another building",
    "village": "village|settlement: a small place where people live",
    "plant": "plant|species of plant: a plant, a flower or a tree",
    "educational institution": "school|educational institution|university: a school, college or university",
    "animal": "animal|species of animal: an animal, an insect or a bird",
    "album": "album|record: an album of music by its title",
    "written work": "written work|book or magazine|book: a book, novel, magazine or journal|something to read",
    "natural place": "natural place|river or mountain|landform: a river, lake, mountain or another part of nature",
    "mean of transportation": "vehicle|means of transport: a ship, an aircraft, a car or a train",
    "athlete": "athlete|sportsperson|player: a person who does a sport",
    "film": "film|movie: a motion picture",
}

COUNTRIES = frozenset(
    name.strip()
    for name in """
afghanistan, albania, algeria, angola, argentina, armenia, australia, austria, azerbaijan, bahamas, bahrain, bangladesh,
barbados, belarus, belgium, belize, benin, bhutan, bolivia, bosnia and herzegovina, botswana, brazil, brunei, bulgaria,
burkina faso, burundi, cambodia, cameroon, canada, chad, chile, china, colombia, congo, costa rica, croatia, cuba, cyprus,
czech republic, czechoslovakia, denmark, djibouti, dominican republic, east germany, ecuador, egypt, el salvador, england,
eritrea, estonia, ethiopia, fiji, finland, france, gabon, gambia, georgia, germany, ghana, great britain, greece, grenada,
guatemala, guinea, guyana, haiti, honduras, hungary, iceland, india, indonesia, iran, iraq, ireland, israel, italy,
ivory coast, jamaica, japan, jordan, kazakhstan, kenya, kosovo, kuwait, kyrgyzstan, laos, latvia, lebanon, lesotho, liberia,
libya, liechtenstein, lithuania, luxembourg, madagascar, malawi, malaysia, maldives, mali, malta, mauritania, mauritius,
mexico, moldova, monaco, mongolia, montenegro, morocco, mozambique, myanmar, namibia, nepal, netherlands, new zealand,
nicaragua, niger, nigeria, north korea, north macedonia, northern ireland, norway, oman, pakistan, palestine, panama,
papua new guinea, paraguay, peru, philippines, poland, portugal, prussia, qatar, republic of ireland, romania, russia,
rwanda, samoa, san marino, saudi arabia, scotland, senegal, serbia, sierra leone, singapore, slovakia, slovenia, somalia,
south africa, south korea, soviet union, spain, sri lanka, sudan, suriname, sweden, switzerland, syria, taiwan, tajikistan,
tanzania, thailand, togo, tonga, trinidad and tobago, tunisia, turkey, turkmenistan, uganda, uk, ukraine,
united arab emirates, united kingdom, united states, united states of america, uruguay, us, u.s., usa, ussr, uzbekistan,
vanuatu, venezuela, vietnam, wales, west germany, yemen, yugoslavia, zambia, zimbabwe
""".split(",")
)
